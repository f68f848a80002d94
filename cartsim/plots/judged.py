"""Pictures of judged patients, those of a trial or a user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cartsim.endpoints.times import ENDPOINTS
from cartsim.errors import InputError
from cartsim.plots import style
from cartsim.plots.pictures import Pictures
from cartsim.plots.survival import kaplan_meier, tested

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.endpoints.judged import Judged

SCALES = {"DOR": "Still in response", "TTR": "Without response", "TTBR": "Before their best response"}
"""What the curve of an endpoint gives, where it is not called so itself."""
EVENTS = {"progression": (style.COLORS[1], "-"), "response": (style.COLORS[0], "-"), "death": (style.INK, "--")}


class JudgedPictures(Pictures):
    """Pictures of judged patients."""

    usual = "survival"
    _result: Judged

    def survival(self, endpoint: str = "PFS", *, last: float | None = None, ax: Axes | None = None) -> Figure:
        """Kaplan-Meier curves of every arm with medians and numbers at risk; progression-free survival by default.

        Parameters
        ----------
        endpoint
            PFS, OS, DOR, TTR or TTBR, see `cartsim.endpoints.times`.
        last
            Month at which the axis ends.
        ax
            Axes to draw the curves in, without the numbers at risk.

        Raises
        ------
        InputError
            For another endpoint, and where no arm has anybody to analyse.
        """
        result = self._result
        some = [arm for arm in result.arms if not np.isnan(result.times(endpoint, arm=arm).time).all()]
        if not some:
            raise InputError(f"{endpoint}: nobody to analyse")
        return kaplan_meier(
            {arm: result.survival(endpoint, arm=arm) for arm in some},
            what=ENDPOINTS[endpoint],
            scale=SCALES.get(endpoint),
            since="first response" if endpoint == "DOR" else "infusion",
            last=last,
            ax=ax,
        )

    def landmark(
        self, month: float = 6.0, *, by: str = "response", arm: str | None = None, ax: Axes | None = None
    ) -> Figure:
        """Progression-free survival from a month on, by what was known of those still at risk then.

        Parameters
        ----------
        month
            The landmark.
        by
            "response", the best one confirmed; in a trial also "MRD", residual disease.
        arm
            Its name; by default the first.
        ax
            Axes to draw the curves in, without the numbers at risk.

        Raises
        ------
        InputError
            Where measurements were not kept, and where nobody is at risk any more.
        """
        found = self._result.landmark(month, by=by, arm=self._result.arms[0] if arm is None else arm)
        return kaplan_meier(
            found.curves,
            what="Progression-free survival",
            since=f"month {month:g}",
            by=f"by {by} at month {month:g}{tested(found.logrank.pvalue)}",
            ax=ax,
        )

    def incidence(self, of: str = "progression", *, arm: str | None = None, ax: Axes | None = None) -> Figure:
        """Cumulative incidence of progression against death without it, or of response against both; a panel an arm.

        The share of patients that has had each of the competing events first, with limits.

        Parameters
        ----------
        of
            "progression" or "response".
        arm
            Its name; by default all.
        ax
            Axes to draw one arm in.

        Raises
        ------
        InputError
            For another event.
        """
        arms = self._result.arms if arm is None else [arm]
        found = {each: self._result.incidence(of, arm=each) for each in arms}
        figure, axes = style.panels(len(arms), ax=ax, width=3.6, height=3.4, sharex=True, sharey=True)
        end = max(float(own.times[-1]) for own in found.values())
        highest = max(float(np.nanmax(high)) for own in found.values() for high in own.high.values())
        seen: dict[str, None] = {}
        for axis, (name, own) in zip(axes, found.items(), strict=True):
            for event in own.events:
                seen[event] = None
                color, dash = EVENTS[event]
                low, high = 100 * own.low[event], 100 * own.high[event]
                axis.fill_between(own.times, low, high, step="post", color=color, alpha=0.15, lw=0)
                axis.step(own.times, 100 * own.incidence[event], where="post", color=color, ls=dash, lw=1.8)
            style.time_axis(axis, end, "months")
            axis.set_ylim(0, 20 * np.ceil(max(5 * highest, 0.01)))
            axis.set_title(f"{style.arm_title(name)}, n = {own.n}", fontsize=10)
        style.outer_labels(axes, style.time_label("months"), "Patients with the event (%)")
        handles = [style.line(f"{name} first", color=EVENTS[name][0], ls=EVENTS[name][1], lw=1.8) for name in seen]
        title = f"Cumulative incidence of {of} with {100 * own.level:g} % limits (Aalen-Johansen)"
        return style.finish(figure, title, handles, ax=ax)
