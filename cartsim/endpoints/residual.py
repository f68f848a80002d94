"""Minimal residual disease from visit to visit: who is negative, for how long, and when it is lost.

As in IMWG 2016 (Kumar 2016, doi:10.1016/S1470-2045(16)30206-6), negative counts in complete response alone, and is
sustained if seen again a year or more later. The marrow is that of the model, without error of sampling, at the visits
of response that took place; imaging is not simulated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.endpoints.categories import categorical
from cartsim.endpoints.censoring import TimeToEvent
from cartsim.endpoints.markers import mrd_negative
from cartsim.endpoints.rates import wilson
from cartsim.endpoints.rules import Response
from cartsim.errors import InputError
from cartsim.schedule import MONTH

if TYPE_CHECKING:
    import pandas as pd

SUSTAINED = 12 * MONTH
"""Days between the first and the last negative visit of a sustained negativity."""


@dataclass(frozen=True, eq=False)
class ResidualDisease:
    """Residual disease of n patients at v visits.

    Attributes
    ----------
    days
        (v,) From infusion; where patients were seen on days of their own, the median.
    assessed, complete, negative
        (n, v) Whether the visit took place; in confirmed CR; with residual disease below the limit.
    negative_day
        (n,) First visit negative in CR, NaN for none.
    sustained
        (n,) Negative in CR at every assessment from one visit to another a year or more later.
    loss
        From ``negative_day`` to the first assessment that is not negative, progression or death, by the censoring rule
        of PFS, and censored at the last assessment; months, NaN for patients never negative.
    """

    days: NDArray[np.float64]
    assessed: NDArray[np.bool_]
    complete: NDArray[np.bool_]
    negative: NDArray[np.bool_]
    negative_day: NDArray[np.float64]
    sustained: NDArray[np.bool_]
    loss: TimeToEvent

    def by_visit(self) -> pd.DataFrame:
        """A row a visit: numbers of patients, and percent negative in CR of those assessed, with Wilson limits.

        ``month``, ``n`` (all patients), ``assessed``, ``CR``, ``negative``, ``negative_in_CR``, ``percent``, ``low``,
        ``high``; percentages are NaN where nobody was assessed.
        """
        import pandas as pd

        n, both = self.assessed.sum(axis=0), (self.negative & self.complete).sum(axis=0)
        low, high = (np.where(n > 0, limit, np.nan) for limit in wilson(both, np.maximum(n, 1)))
        return pd.DataFrame(
            {
                "month": self.days / MONTH,
                "n": len(self.assessed),
                "assessed": n,
                "CR": self.complete.sum(axis=0),
                "negative": self.negative.sum(axis=0),
                "negative_in_CR": both,
                "percent": 100 * np.where(n > 0, both / np.maximum(n, 1), np.nan),
                "low": 100 * low,
                "high": 100 * high,
            }
        )


def residual_disease(
    per_1e5: ArrayLike, days: ArrayLike, confirmed: ArrayLike, pfs: TimeToEvent, *, limit: float = 1e-5
) -> ResidualDisease:
    """Residual disease of n patients at v visits.

    Parameters
    ----------
    per_1e5
        (n, v) Of `mrd_per_1e5`; NaN for a visit that did not take place.
    days
        (v,) or (n, v) From infusion, increasing.
    confirmed
        (n, v) Response held at each visit, see `Judgement.confirmed`.
    pfs
        Progression-free survival of the patients, days.
    limit
        Residual disease below it is negative: a share of nucleated cells.

    Raises
    ------
    InputError
        For shapes that do not fit and a limit outside 0 to 1.
    """
    cells, day, held = np.asarray(per_1e5, float), np.asarray(days, float), np.asarray(confirmed)
    if (
        cells.ndim != 2
        or held.shape != cells.shape
        or day.shape not in (cells.shape, cells.shape[1:])
        or pfs.time.size != len(cells)
    ):
        raise InputError(
            f"residual disease of shape {cells.shape}, days {day.shape}, responses {held.shape} and "
            f"{pfs.time.size} patients do not fit"
        )
    assessed, negative = ~np.isnan(cells), mrd_negative(cells, limit)
    complete = assessed & (held == Response.CR)
    n = len(cells)
    first, since, lost, last = (np.full(n, np.nan) for _ in range(4))
    sustained = np.zeros(n, bool)
    for v, today in enumerate(np.broadcast_to(day, cells.shape).T):
        seen, good = assessed[:, v], negative[:, v] & complete[:, v]
        first = np.where(good & np.isnan(first), today, first)
        # The stretch of negative assessments that this one belongs to; a visit that was missed does not end it.
        since = np.where(seen, np.where(good, np.fmin(since, today), np.nan), since)
        sustained |= good & (today - since >= SUSTAINED * (1 - 1e-9))
        lost = np.where(seen & ~negative[:, v] & ~np.isnan(first) & np.isnan(lost), today, lost)
        last = np.where(seen, today, last)
    counted = first <= pfs.time  # negative before progression-free survival has ended
    progressed = pfs.event & ~(lost < pfs.time)
    turned = lost <= pfs.time
    end = np.where(turned & ~progressed, lost, np.where(pfs.event, pfs.time, np.fmin(pfs.time, last)))
    code = np.select([~counted, turned & ~progressed, pfs.event], [0, 1, 2], 3)
    reason = categorical(code, ("never negative", "positive", "progression or death", "no event"))
    loss = TimeToEvent(
        np.where(counted, (end - first) / MONTH, np.nan), counted & ((turned & ~progressed) | pfs.event), reason
    )
    typical = day if day.ndim == 1 else np.median(day, axis=0)
    return ResidualDisease(typical, assessed, complete, negative, first, sustained, loss)
