"""Landmark analysis: survival from a month on, by what was known of the patients by then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from cartsim.endpoints.survival import KaplanMeier, LogRank, kaplan_meier, log_rank
from cartsim.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Landmark:
    """Survival after a landmark by group.

    Attributes
    ----------
    month
        The landmark.
    curves
        By group, of months since the landmark, of the patients at risk then.
    ended
        Patients left out: their time had ended, by event or censoring, at or before the landmark.
    logrank
        Of equal survival in the groups.
    """

    month: float
    curves: dict[str, KaplanMeier]
    ended: int
    logrank: LogRank

    def frame(self) -> pd.DataFrame:
        """A row a group: ``landmark_months``, ``group``, ``n``, ``events``, median months since then, ``logrank_p``."""
        import pandas as pd

        rows = [
            {"group": group, "n": curve.n, "events": curve.events} | curve.median.named("median", "_months")
            for group, curve in self.curves.items()
        ]
        table = pd.DataFrame(rows).assign(logrank_p=self.logrank.pvalue)
        table.insert(0, "landmark_months", self.month)
        return table


def landmark_analysis(
    time: ArrayLike, event: ArrayLike, group: pd.Categorical, month: float, *, level: float = 0.95
) -> Landmark:
    """Survival from a landmark on.

    Grouping patients by what they reach later would give those who reach it the time until then, in which they cannot
    have had the event (immortal time). Here ``group`` is what is known at the landmark, and only those count who are
    then still at risk (Anderson 1983, doi:10.1200/JCO.1983.1.11.710).

    Parameters
    ----------
    time, event
        (n,) Months from infusion and whether an event, as for `kaplan_meier`.
    group
        (n,) As known at the landmark; who is of no group is left out.
    month
        The landmark, 0 or later.

    Raises
    ------
    InputError
        For another landmark, and where nobody is at risk at it.
    """
    if not 0 <= month < np.inf:
        raise InputError(f"landmark at month {month!r}; give a month, 0 or later")
    t, events = np.asarray(time, float), np.asarray(event, bool)
    codes = np.asarray(group.codes)
    kept = (t > month) & (codes >= 0)
    if not kept.any():
        raise InputError(f"nobody is at risk at month {month:g}; give an earlier landmark")
    after = t[kept] - month
    curves = {
        str(name): kaplan_meier(after[codes[kept] == code], events[kept & (codes == code)], level=level)
        for code, name in enumerate(group.categories)
        if (codes[kept] == code).any()
    }
    ended = int((t <= month).sum())
    return Landmark(float(month), curves, ended, log_rank(after, events[kept], codes[kept]))
