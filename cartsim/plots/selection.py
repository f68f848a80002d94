"""How choosing plausible patients moved distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cartsim.errors import InputError
from cartsim.plots.pictures import Pictures
from cartsim.plots.style import (
    COLORS,
    FAINT,
    heading,
    label_with_unit,
    legend_below,
    outer_labels,
    panels,
    quantity_title,
    say_empty,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.experiments.selection import Selection

BINS = 30
SPAN = 20.0  # ratio of the 99th to the 1st percentile from which bins are even in the logarithm


def before_and_after(
    candidates: pd.DataFrame,
    names: Sequence[str],
    *,
    constraints: Mapping[str, tuple[float | None, float | None]] | None = None,
    labels: Mapping[str, str] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Distributions of all candidates and of the chosen ones, a panel a quantity.

    Parameters
    ----------
    candidates
        A row a patient with the columns ``names`` and ``kept``, such as `Selection.candidates`.
    names
        Quantities to show.
    constraints
        Ranges by name, dashed.
    labels
        Of the axes, for names that are not known here.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    for name in [*names, "kept"]:
        if name not in candidates:
            raise InputError(f"before_and_after: no column {name!r}; choose from {', '.join(candidates)}")
    if not names:
        raise InputError("before_and_after: no quantity is named; name at least one")
    kept = candidates["kept"].to_numpy(bool)
    figure, axes = panels(len(names), ax=ax, width=3.1, height=2.5)
    for axis, name in zip(axes, names, strict=True):
        values = candidates[name].to_numpy(float)
        known = np.isfinite(values)
        if not known.any():
            say_empty(axis)
            continue
        low, high = np.percentile(values[known], [1, 99])
        log = low > 0 and high > SPAN * low
        ends = values[known].min(), values[known].max()
        bins = np.geomspace(*ends, BINS + 1) if log and ends[0] > 0 else np.linspace(*ends, BINS + 1)
        if log and ends[0] > 0:
            axis.set_xscale("log")
        axis.hist(values[known], bins=bins.tolist(), color=FAINT, alpha=0.4, lw=0)
        axis.hist(values[known & kept], bins=bins.tolist(), histtype="step", color=COLORS[0], lw=1.6)
        for end in (constraints or {}).get(name, ()):
            if end is not None:
                axis.axvline(end, color=COLORS[1], lw=1, ls="--")
    outer_labels(axes, "", "Patients")
    for axis, name in zip(axes, names, strict=True):
        axis.set_xlabel(quantity_title(name, labels), fontsize=9)
    handles = [
        Patch(color=FAINT, alpha=0.4, lw=0, label=f"candidates, n = {len(kept):,}"),
        Line2D([], [], color=COLORS[0], lw=1.6, label=f"chosen, n = {kept.sum():,}"),
    ]
    if constraints:
        handles.append(Line2D([], [], color=COLORS[1], lw=1, ls="--", label="range required"))
    legend_below(figure, handles, ax=ax)
    heading(figure, "Plausible patients among the candidates", ax=ax)
    return figure


class SelectionPictures(Pictures):
    """Pictures of a choice of plausible patients."""

    usual = "distributions"
    _result: Selection

    def distributions(self, names: str | Sequence[str] | None = None, *, ax: Axes | None = None) -> Figure:
        """Distributions of candidates and of chosen patients, a panel a quantity.

        Parameters
        ----------
        names
            Of quantities that vary or measures; by default the constrained measures and all that varies by more than
            one percent.
        """
        found = self._result
        shown = [names] if isinstance(names, str) else names
        parameters = found.population.model.parameters
        if shown is None:
            spread = {name: np.ptp(found.candidates[name]) for name in found.population.varied}
            varied = [name for name, size in spread.items() if size > 0.01 * found.candidates[name].abs().median()]
            shown = list(dict.fromkeys([*found.constraints, *varied]))
        labels = {name: label_with_unit(name, parameters[name].unit) for name in found.population.varied}
        return before_and_after(found.candidates, shown, constraints=found.constraints, labels=labels, ax=ax)
