"""Pictures of regimens in the same patients: paired differences, and second responses after retreatment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cartsim.endpoints.rates import wilson
from cartsim.errors import InputError
from cartsim.experiments.retreatment import KARMMA_RESPONDED, KARMMA_RETREATED
from cartsim.plots import style
from cartsim.plots.pictures import Pictures, chosen

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.experiments.regimens import Comparison
    from cartsim.experiments.retreatment import Retreated

UNITS = {"points": "percentage points", "months": "months", "ratio": "ratio of geometric means"}


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

        Raises
        ------
        InputError
            For another unit.
        """
        table = chosen(self._result.differences, "unit", unit, "differences in")
        units = [unit for unit in UNITS if unit in set(table["unit"])]
        regimens = list(dict.fromkeys(table["regimen"]))
        counts = [table.loc[table["unit"] == unit, "endpoint"].nunique() for unit in units]
        height = 0.26 * sum(counts) * max(2, len(regimens)) ** 0.7 / len(units) + 0.75
        shares = [count + 0.6 for count in counts]
        figure, axes = style.panels(
            len(units), ax=ax, width=7.6, height=height, columns=1, extra=1.6, height_ratios=shares
        )
        reference = self._result.reference
        for axis, unit in zip(axes, units, strict=True):
            part = table[table["unit"] == unit]
            endpoints = list(dict.fromkeys(part["endpoint"]))
            for k, regimen in enumerate(regimens):
                own = part[part["regimen"] == regimen].set_index("endpoint").reindex(endpoints)
                place = np.arange(len(endpoints)) + 0.7 * ((k + 0.5) / len(regimens) - 0.5)
                value, low, high = own[["difference", "low", "high"]].to_numpy(float).T
                limits, color = style.reach(value, low, high), style.COLORS[k % len(style.COLORS)]
                axis.errorbar(value, place, xerr=limits, fmt="o", ms=4.5, color=color, capsize=2.5, lw=1.3)
            axis.axvline(1.0 if unit == "ratio" else 0.0, color=style.FAINT, lw=1, zorder=0)
            axis.set_yticks(range(len(endpoints)), endpoints, fontsize=9)
            axis.set_ylim(len(endpoints) - 0.45, -0.55)
            ratio = f"{reference} = 1, {UNITS[unit]}"
            axis.set_xlabel(ratio if unit == "ratio" else f"Difference to {reference} ({UNITS[unit]})")
            axis.margins(x=0.08)
        handles = [
            style.line(regimen, color=style.COLORS[k % len(style.COLORS)], marker="o", ms=4.5, lw=1.3)
            for k, regimen in enumerate(regimens)
        ]
        n = self._result.outcome.arm(reference).shape[0]
        note = f"{n:,} patients. Limits: Bonett and Price for rates, Student for means, Greenwood for months."
        return style.finish(
            figure, f"Regimens against {reference}, same patients, 95 % limits", handles, note=note, ax=ax
        )


class RetreatedPictures(Pictures):
    """Pictures of second infusions; those of the trial of the first are at ``first.plot``."""

    usual = "second_responses"
    _result: Retreated

    def second_responses(self, *, ax: Axes | None = None) -> Figure:
        """Response rates to the second infusion by its dose with Wilson limits, beside KarMMa's.

        Raises
        ------
        InputError
            Where nobody was retreated.
        """
        table = self._result.by_dose
        if not len(table):
            raise InputError("second_responses: nobody was retreated; give a trial in which some progress")
        figure, (axis,) = style.panels(1, ax=ax, width=6.4, height=3.4)
        x = np.arange(len(table))
        value, low, high = table[["percent", "low", "high"]].to_numpy(float).T
        limits = style.reach(value, low, high)
        axis.errorbar(x, value, yerr=limits, fmt="o", ms=6, color=style.COLORS[0], capsize=3, lw=1.4, label="simulated")
        responded, n = KARMMA_RESPONDED, KARMMA_RETREATED
        low, high = (100 * float(limit) for limit in wilson(responded, n))
        axis.axhspan(low, high, color=style.FAINT, alpha=0.18, lw=0)
        axis.axhline(100 * responded / n, color=style.FAINT, lw=1, ls="--", label=f"observed, {responded} of {n}")
        style.dose_axis(axis, [f"{dose:g}" for dose in table["second_dose"]], table["n"].to_numpy())
        axis.set_xlabel("Second dose")
        axis.set_xlim(-0.6, len(x) - 0.4)
        axis.set_ylim(-2, 102)
        axis.set_ylabel("Second response (%), 95 % limits")
        axis.legend(frameon=False, fontsize=9)
        return style.finish(figure, "Response to a second infusion at progression", ax=ax)
