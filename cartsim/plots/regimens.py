"""Paired differences between regimens, and what a second infusion brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cartsim.endpoints.rates import wilson
from cartsim.errors import InputError
from cartsim.experiments.retreatment import KARMMA_RESPONDED, KARMMA_RETREATED
from cartsim.plots.pictures import Pictures
from cartsim.plots.style import COLORS, FAINT, caption, clean, dose_axis, heading, legend_below, panels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.experiments.regimens import Comparison
    from cartsim.experiments.retreatment import Retreated


def differences(table: pd.DataFrame, *, title: str = "", note: str = "", ax: Axes | None = None) -> Figure:
    """Paired differences with limits: a row an endpoint, a color a regimen, a panel a unit.

    Parameters
    ----------
    table
        Columns regimen, reference, endpoint, unit (points, months or ratio), difference, low, high, such as
        `Comparison.differences`.
    title, note
        Above and below.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    if not len(table):
        raise InputError("differences: the table is empty; compare at least two regimens")
    units = [unit for unit in ("points", "months", "ratio") if unit in set(table["unit"])]
    regimens = list(dict.fromkeys(table["regimen"]))
    counts = [table.loc[table["unit"] == unit, "endpoint"].nunique() for unit in units]
    size = (7.6, 0.26 * sum(counts) * max(2, len(regimens)) ** 0.7 + 0.75 * len(units) + 1.6)
    if ax is None:
        figure = Figure(figsize=size, layout="constrained")
        axes = list(np.ravel(figure.subplots(len(units), 1, squeeze=False, height_ratios=[c + 0.6 for c in counts])))
    else:
        figure, axes = panels(len(units), ax=ax)
    reference = table["reference"].iloc[0]
    said = {
        "points": "percentage points",
        "months": "months",
        "ratio": "ratio of geometric means",
    }
    for axis, unit in zip(axes, units, strict=True):
        clean(axis)
        part = table[table["unit"] == unit]
        endpoints = list(dict.fromkeys(part["endpoint"]))
        for k, regimen in enumerate(regimens):
            own = part[part["regimen"] == regimen].set_index("endpoint").reindex(endpoints)
            place = np.arange(len(endpoints)) + 0.7 * ((k + 0.5) / len(regimens) - 0.5)
            value = own["difference"].to_numpy(float)
            ends = own[["low", "high"]].to_numpy(float).T
            limits = np.maximum([value - ends[0], ends[1] - value], 0)
            color = COLORS[k % len(COLORS)]
            axis.errorbar(value, place, xerr=limits, fmt="o", ms=4.5, color=color, capsize=2.5, lw=1.3)
        axis.axvline(1.0 if unit == "ratio" else 0.0, color=FAINT, lw=1, zorder=0)
        axis.set_yticks(range(len(endpoints)), endpoints, fontsize=9)
        axis.set_ylim(len(endpoints) - 0.45, -0.55)
        axis.set_xlabel(
            f"Difference to {reference} ({said[unit]})" if unit != "ratio" else f"{reference} = 1, {said[unit]}"
        )
        axis.margins(x=0.08)
    legend_below(
        figure,
        [
            Line2D([], [], color=COLORS[k % len(COLORS)], marker="o", ms=4.5, lw=1.3, label=regimen)
            for k, regimen in enumerate(regimens)
        ],
        ax=ax,
    )
    heading(figure, title or f"Regimens against {reference}, same patients, 95 % limits", ax=ax)
    if ax is None:
        caption(figure, note)
    return figure


def second_responses(
    by_dose: pd.DataFrame, *, observed: tuple[int, int] | None = None, ax: Axes | None = None
) -> Figure:
    """Response rates to a second infusion by its dose, with Wilson limits.

    Parameters
    ----------
    by_dose
        Columns second_dose (cells), n, percent, low, high, such as `Retreated.by_dose`.
    observed
        Responses and patients of a trial to compare with, drawn as a line and a band of its limits.
    """
    if not len(by_dose):
        raise InputError("second_responses: nobody was retreated; give a trial in which some progress")
    figure, (axis,) = panels(1, ax=ax, width=6.4, height=3.4)
    x = np.arange(len(by_dose))
    value = by_dose["percent"].to_numpy(float)
    limits = np.maximum([value - by_dose["low"], by_dose["high"] - value], 0)
    axis.errorbar(x, value, yerr=limits, fmt="o", ms=6, color=COLORS[0], capsize=3, lw=1.4, label="simulated")
    if observed is not None:
        responded, n = observed
        low, high = (float(limit[0]) for limit in wilson(np.array([responded]), np.array([n])))
        axis.axhspan(100 * low, 100 * high, color=FAINT, alpha=0.18, lw=0)
        axis.axhline(100 * responded / n, color=FAINT, lw=1, ls="--", label=f"observed, {responded} of {n}")
    dose_axis(axis, [f"{dose:g}" for dose in by_dose["second_dose"]], by_dose["n"].to_numpy())
    axis.set_xlabel("Second dose")
    axis.set_xlim(-0.6, len(x) - 0.4)
    axis.set_ylim(-2, 102)
    axis.set_ylabel("Second response (%), 95 % limits")
    axis.legend(frameon=False, fontsize=9)
    heading(figure, "Response to a second infusion at progression", ax=ax)
    return figure


class ComparisonPictures(Pictures):
    """Pictures of regimens in the same patients; those of the trial itself are at ``outcome.plot``."""

    usual = "differences"
    _result: Comparison

    def differences(self, unit: str | None = None, *, ax: Axes | None = None) -> Figure:
        """Paired differences to the reference with limits, a row an endpoint, a color a regimen, a panel a unit.

        Parameters
        ----------
        unit
            "points", "months" or "ratio"; by default all.
        """
        table = self._result.differences
        if unit is not None and unit not in set(table["unit"]):
            raise InputError(f"no differences in {unit!r}; choose one of {', '.join(dict.fromkeys(table['unit']))}")
        n = self._result.outcome.arm(self._result.reference).shape[0]
        note = f"{n:,} patients. Limits: Bonett and Price for rates, Student for means, Greenwood for months."
        return differences(table if unit is None else table[table["unit"] == unit], note=note, ax=ax)


class RetreatedPictures(Pictures):
    """Pictures of second infusions; those of the trial of the first are at ``first.plot``."""

    usual = "second_responses"
    _result: Retreated

    def second_responses(self, *, ax: Axes | None = None) -> Figure:
        """Response rates to the second infusion by its dose, beside KarMMa's."""
        observed = (KARMMA_RESPONDED, KARMMA_RETREATED)
        return second_responses(self._result.by_dose, observed=observed, ax=ax)
