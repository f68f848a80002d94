"""Pictures of a population fit: its estimates along the iterations, which shows whether they settled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cartsim.errors import InputError
from cartsim.plots import style
from cartsim.plots.pictures import Pictures, chosen

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.fitting.population import PopulationFit

KINDS = {"typical": "", "omega": "omega ", "correlation": "correlation ", "sigma": "sigma "}


class PopulationFitPictures(Pictures):
    """Pictures of an estimated population."""

    usual = "trace"
    _result: PopulationFit

    def trace(self, name: str | None = None, *, ax: Axes | None = None) -> Figure:
        """Every estimate at every iteration, with the final one and, of a fit that converged, its 95 % limits.

        Parameters
        ----------
        name
            Of a parameter; by default all.

        Raises
        ------
        InputError
            For a parameter that is not estimated, and where nothing moved.
        """
        iterations = self._result.trace
        model = getattr(self._result.likelihood, "model", None)  # a likelihood of one's own has none
        estimates = chosen(self._result.estimates, "name", name, "estimate of")
        columns = [KINDS[kind] + name for kind, name in zip(estimates["kind"], estimates["name"], strict=True)]
        moved = [iterations[name].nunique() > 1 for name in columns]  # what was held needs no panel
        if not any(moved):
            raise InputError("trace: no estimate moved, so there is nothing to draw")
        figure, axes = style.panels(sum(moved), ax=ax, width=2.7, height=1.9, sharex=True)
        changed = float(iterations.loc[iterations["phase"] == "smooth", "iteration"].min())
        rows = estimates.assign(name=columns)[moved]
        for axis, row in zip(axes, rows.itertuples(), strict=True):
            axis.axhspan(row.low, row.high, color=style.FAINT, alpha=0.18, lw=0)
            axis.axhline(row.value, color=style.FAINT, lw=0.9)
            axis.plot(iterations["iteration"], iterations[row.name], color=style.INK, lw=1.0)
            axis.axvline(changed, color=style.FAINT, lw=0.8, ls=":")
            unit = model.parameters[row.name].unit if model is not None and row.kind == "typical" else "1"
            axis.set_title(style.label_with_unit(row.name, unit), fontsize=9)
        style.outer_labels(axes, "Iteration")
        limits = np.isfinite(rows[["low", "high"]].to_numpy(float)).any()
        final = "the final estimate with 95 % limits" if limits else "where it ended, without limits: not converged"
        note = f"Gray: {final}; dotted: averaging begins."
        return style.finish(figure, "Estimates along the iterations of SAEM", note=note, ax=ax)
