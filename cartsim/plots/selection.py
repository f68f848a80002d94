"""Distributions of candidates and of those chosen as plausible patients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cartsim.errors import InputError
from cartsim.plots import style
from cartsim.plots.pictures import Pictures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.experiments.selection import Selection

BINS = 30
SPAN = 20.0  # ratio of the 99th to the 1st percentile from which bins are even in the logarithm


class SelectionPictures(Pictures):
    """Pictures of a choice of plausible patients."""

    usual = "distributions"
    _result: Selection

    def distributions(self, names: str | Sequence[str] | None = None, *, ax: Axes | None = None) -> Figure:
        """Distributions of candidates and of chosen patients, a panel a quantity, required ranges dashed.

        Parameters
        ----------
        names
            Of quantities that vary or measures; by default the constrained measures and all that varies by more than
            one percent.

        Raises
        ------
        InputError
            For a name that is not there, and for none.
        """
        found, candidates = self._result, self._result.candidates
        varied, parameters = found.population.varied, found.population.model.parameters
        if names is None:
            spread = {name: np.ptp(candidates[name]) for name in varied}
            moved = [name for name, size in spread.items() if size > 0.01 * candidates[name].abs().median()]
            names = list(dict.fromkeys([*found.constraints, *moved]))
        shown = [names] if isinstance(names, str) else names
        for name in shown:
            if name not in candidates:
                raise InputError(f"distributions: no column {name!r}; choose from {', '.join(candidates)}")
        if not shown:
            raise InputError("distributions: no quantity is named; name at least one")
        kept = candidates["kept"].to_numpy(bool)
        labels = {name: style.label_with_unit(name, parameters[name].unit) for name in varied}
        figure, axes = style.panels(len(shown), ax=ax, width=3.1, height=2.5)
        for axis, name in zip(axes, shown, strict=True):
            axis.set_xlabel(style.quantity_title(name, labels), fontsize=9)
            values = candidates[name].to_numpy(float)
            known = np.isfinite(values)
            if not known.any():
                style.say_empty(axis)
                continue
            low, high = np.percentile(values[known], [1, 99])
            ends = values[known].min(), values[known].max()
            log = ends[0] > 0 and high > SPAN * low
            bins = (np.geomspace if log else np.linspace)(*ends, BINS + 1).tolist()
            if log:
                axis.set_xscale("log")
            axis.locator_params("y", integer=True)
            axis.hist(values[known], bins=bins, color=style.FAINT, alpha=0.4, lw=0)
            axis.hist(values[known & kept], bins=bins, histtype="step", color=style.COLORS[0], lw=1.6)
            for end in found.constraints.get(name, ()):
                if end is not None:
                    axis.axvline(end, color=style.COLORS[1], lw=1, ls="--")
        style.outer_labels(axes, y="Patients")
        handles = [
            style.area(f"candidates, n = {len(kept):,}", color=style.FAINT, alpha=0.4, lw=0),
            style.line(f"chosen, n = {kept.sum():,}", color=style.COLORS[0], lw=1.6),
        ]
        if found.constraints:
            handles.append(style.line("range required", color=style.COLORS[1], lw=1, ls="--"))
        return style.finish(figure, "Plausible patients among the candidates", handles, ax=ax)
