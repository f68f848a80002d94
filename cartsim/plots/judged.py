"""Pictures of judged patients, those of a trial or a user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cartsim.endpoints.times import ENDPOINTS
from cartsim.errors import InputError
from cartsim.plots.incidence import cumulative_incidence
from cartsim.plots.pictures import Pictures
from cartsim.plots.survival import kaplan_meier

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.endpoints.judged import Judged

SCALES = {"DOR": "Still in response", "TTR": "Without response", "TTBR": "Before their best response"}
"""What the curve of an endpoint gives, where it is not called so itself."""


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
        p = found.logrank.pvalue
        tested = "" if np.isnan(p) else f", log-rank p {'< 0.001' if p < 0.001 else f'= {p:.2g}'}"
        return kaplan_meier(
            found.curves,
            what="Progression-free survival",
            since=f"month {month:g}",
            by=f"by {by} at month {month:g}{tested}",
            ax=ax,
        )

    def incidence(self, of: str = "progression", *, arm: str | None = None, ax: Axes | None = None) -> Figure:
        """Cumulative incidence of progression against death without it, or of response against both; a panel an arm.

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
        return cumulative_incidence({each: self._result.incidence(of, arm=each) for each in arms}, what=of, ax=ax)
