"""Cumulative incidence of events that compete: each patient has the first of them, or is censored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.endpoints.survival import kaplan_meier
from cartsim.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class CumulativeIncidence:
    """Aalen and Johansen's estimate of one group.

    Attributes
    ----------
    n, level
        Patients, and level of the limits.
    times
        (m,) Distinct observed times, beginning with 0.
    n_risk
        (m,) Patients just before each.
    events
        Number of events by cause.
    incidence, std_error, low, high
        (m,) By cause: the share of patients that has had the event, with log-log limits.
    """

    n: int
    level: float
    times: NDArray[np.float64]
    n_risk: NDArray[np.int64]
    events: dict[str, int]
    incidence: dict[str, NDArray[np.float64]]
    std_error: dict[str, NDArray[np.float64]]
    low: dict[str, NDArray[np.float64]]
    high: dict[str, NDArray[np.float64]]

    def frame(self) -> pd.DataFrame:
        """A row a cause and time: ``cause``, ``time``, ``n_risk``, ``incidence``, ``std_error``, ``low``, ``high``."""
        import pandas as pd

        names = ("incidence", "std_error", "low", "high")
        parts = [
            pd.DataFrame(
                {"cause": cause, "time": self.times, "n_risk": self.n_risk}
                | {name: getattr(self, name)[cause] for name in names}
            )
            for cause in self.events
        ]
        return pd.concat(parts, ignore_index=True)

    def at(self, time: float) -> pd.DataFrame:
        """A row a cause: what `frame` has at a time; NaN after the last observed one while some are without event."""
        import pandas as pd

        if not time >= 0:
            raise InputError(f"time is {time!r}; give one that is not negative")
        row = np.searchsorted(self.times, time, side="right") - 1
        known = time <= self.times[-1] or sum(shares[-1] for shares in self.incidence.values()) > 1 - 1e-8
        names = ("incidence", "std_error", "low", "high")
        rows = [
            {"cause": cause, "time": time}
            | {name: getattr(self, name)[cause][row] if known else np.nan for name in names}
            for cause in self.events
        ]
        return pd.DataFrame(rows)


def cumulative_incidence(time: ArrayLike, cause: pd.Categorical, *, level: float = 0.95) -> CumulativeIncidence:
    """Aalen-Johansen estimates of all causes.

    1 minus Kaplan-Meier with the other events censored would say how many had the event if nobody could have the
    others, and is too high. The variance is that of the delta method (Collett 2015, section 12.3.2; without censoring:
    binomial), as SAS PROC LIFETEST and statsmodels compute it; limits are of log(-log(incidence)), from 0 to 0 before
    the first event.

    Parameters
    ----------
    time
        (n,), NaN outside the analysis set (left out).
    cause
        (n,) The event at that time, missing where the patient is censored. Every category is a cause.

    Raises
    ------
    InputError
        For causes that are no categories or not as many as the times, none of them, and as `kaplan_meier`.
    """
    import pandas as pd
    from scipy.special import ndtri

    given = np.asarray(time, dtype=np.float64)
    if not isinstance(cause, pd.Categorical) or len(cause) != given.size or not len(cause.categories):
        raise InputError("causes are not a pandas.Categorical with a value for each time and at least one category")
    codes = np.asarray(cause.codes)
    curve = kaplan_meier(given, codes >= 0, level=level)
    kept = ~np.isnan(given)
    place, codes = np.searchsorted(curve.times, given[kept]), codes[kept]
    risk, died = curve.n_risk.astype(float), curve.n_event.astype(float)
    before = np.append(1.0, curve.survival[:-1])
    # Everybody dies at the last time: the term is multiplied by (F(t) - F(t)), 0.
    left = np.divide(died, risk * (risk - died), out=np.zeros(risk.size), where=risk > died)
    z = float(ndtri(0.5 + level / 2))
    found: dict[str, dict[str, NDArray[np.float64]]] = {name: {} for name in ("incidence", "se", "low", "high")}
    events = {}
    for code, name in enumerate(map(str, cause.categories)):
        own = np.bincount(place[codes == code], minlength=risk.size).astype(float)
        share = np.cumsum(before * own / risk)
        one, other = before**2 * own * (risk - own) / risk**3, before * own / risk**2
        variance = share**2 * left.cumsum() - 2 * share * (share * left).cumsum() + (share**2 * left).cumsum()
        variance += one.cumsum() - 2 * (share * other.cumsum() - (share * other).cumsum())
        se = np.sqrt(np.maximum(variance, 0))
        low, high = share.copy(), share.copy()
        inside = (share > 0) & (share < 1 - 1e-12)
        log = np.log(share[inside])
        reach = z * se[inside] / (share[inside] * -log)
        low[inside], high[inside] = np.exp(log * np.exp(reach)), np.exp(log * np.exp(-reach))
        events[name] = int(own.sum())
        for what, values in zip(found, (share, se, low, high), strict=True):
            found[what][name] = values
    return CumulativeIncidence(curve.n, level, curve.times, curve.n_risk, events, *found.values())
