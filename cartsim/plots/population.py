"""Population estimates along the iterations of their estimation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cartsim.errors import InputError
from cartsim.plots.pictures import Pictures
from cartsim.plots.style import FAINT, INK, caption, heading, outer_labels, panels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.fitting.population import PopulationFit

KINDS = {"typical": "", "omega": "omega ", "correlation": "correlation ", "sigma": "sigma "}


def trace(iterations: pd.DataFrame, estimates: pd.DataFrame, *, ax: Axes | None = None) -> Figure:
    """Every estimate at every iteration of SAEM, with the final estimate and, of a fit that converged, 95 % limits.

    Parameters
    ----------
    iterations, estimates
        `PopulationFit.trace` and `PopulationFit.estimates`.

    Raises
    ------
    InputError
        Where they do not fit, or where nothing moved.
    """
    names = [KINDS[kind] + name for kind, name in zip(estimates["kind"], estimates["name"], strict=True)]
    for name in names:
        if name not in iterations:
            raise InputError(f"trace: the iterations have no column {name!r}")
    moved = [iterations[name].nunique() > 1 for name in names]  # what was held needs no panel
    if not any(moved):
        raise InputError("trace: no estimate moved, so there is nothing to draw")
    figure, axes = panels(sum(moved), ax=ax, width=2.7, height=1.9, sharex=True)
    changed = float(iterations.loc[iterations["phase"] == "smooth", "iteration"].min())
    rows = estimates.assign(name=names)[moved]
    for axis, row in zip(axes, rows.itertuples(), strict=True):
        axis.axhspan(row.low, row.high, color=FAINT, alpha=0.18, lw=0)
        axis.axhline(row.value, color=FAINT, lw=0.9)
        axis.plot(iterations["iteration"], iterations[row.name], color=INK, lw=1.0)
        axis.axvline(changed, color=FAINT, lw=0.8, ls=":")
        axis.set_title(row.name, fontsize=9)
    outer_labels(axes, "Iteration", "")
    limits = np.isfinite(rows[["low", "high"]].to_numpy(float)).any()
    heading(figure, "Estimates along the iterations of SAEM", ax=ax)
    if ax is None:
        final = "the final estimate with 95 % limits" if limits else "where it ended, without limits: not converged"
        caption(figure, f"Gray: {final}; dotted: averaging begins.")
    return figure


class PopulationFitPictures(Pictures):
    """Pictures of an estimated population."""

    usual = "trace"
    _result: PopulationFit

    def trace(self, name: str | None = None, *, ax: Axes | None = None) -> Figure:
        """Every estimate at every iteration, with the final one and its limits.

        Parameters
        ----------
        name
            Of a parameter; by default all.
        """
        fit = self._result
        table = fit.estimates
        if name is not None:
            if name not in set(table["name"]):
                raise InputError(f"no estimate of {name!r}; choose one of {', '.join(dict.fromkeys(table['name']))}")
            table = table[table["name"] == name]
        return trace(fit.trace, table, ax=ax)
