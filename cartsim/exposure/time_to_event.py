"""Survival by exposure: Kaplan-Meier by quartile with the log-rank test, Cox regression, proportional hazards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.endpoints.survival import KaplanMeier, LogRank, cox, kaplan_meier, log_rank
from cartsim.errors import InputError, brief, choices
from cartsim.exposure.covariates import Covariate
from cartsim.exposure.data import TIMES, ExposureData
from cartsim.exposure.quartiles import quartile_codes

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class QuartileSurvival:
    """Survival by quartile of exposure.

    ``curves`` by quartile ("Q1", ...), in months; ``logrank`` of equal survival in all of them.
    """

    endpoint: str
    exposure: str
    curves: dict[str, KaplanMeier]
    logrank: LogRank

    def frame(self) -> pd.DataFrame:
        """A row a quartile: endpoint, quartile, n, events, median_months with limits, logrank_p (of all quartiles)."""
        import pandas as pd

        rows = [
            {"endpoint": self.endpoint, "quartile": name, "n": curve.n, "events": curve.events}
            | curve.median.named("median", "_months")
            for name, curve in self.curves.items()
        ]
        return pd.DataFrame(rows).assign(logrank_p=self.logrank.pvalue)


def has_times(data: ExposureData, endpoint: str) -> bool:
    """Whether the times of this endpoint are in the data."""
    return all(name in data.frame for name in TIMES[endpoint])


def survival_by_quartile(
    data: ExposureData, endpoint: str = "PFS", exposure: str = "auc028", *, groups: int = 4, level: float = 0.95
) -> QuartileSurvival:
    """Kaplan-Meier estimate of each quartile of exposure, and the log-rank test of all.

    Quartiles are those of the patients with a time: of responders alone for DOR. A patient enters the quartile of an
    exposure that is known on day 28 only, so that early progression can lower it: read a short first quartile with
    that in mind.

    Parameters
    ----------
    data
        With the columns of the endpoint.
    endpoint
        "PFS" or "DOR".
    exposure
        The column that divides patients.
    groups, level
        Number of quartiles, level of the limits.

    Raises
    ------
    InputError
        For another endpoint, columns that are not there, times that are negative, events other than 0 and 1.
    """
    _, time, event, x = _sample(data, endpoint, exposure)
    codes = quartile_codes(x, groups)
    names = [f"Q{k + 1}" for k in range(codes.max() + 1)]
    curves = {name: kaplan_meier(time[codes == k], event[codes == k], level=level) for k, name in enumerate(names)}
    return QuartileSurvival(endpoint, exposure, curves, log_rank(time, event, codes))


def cox_by_exposure(
    data: ExposureData,
    endpoint: str = "PFS",
    exposure: str = "auc028",
    covariates: Sequence[str | Covariate] = (),
    *,
    level: float = 0.95,
) -> pd.DataFrame:
    """Multivariable Cox regression on ln exposure and covariates, and whether hazards are proportional.

    Parameters
    ----------
    data, endpoint, exposure, level
        As for `survival_by_quartile`.
    covariates
        Columns, or how they are coded; one of categories has a term for each but the reference. Patients who lack one
        are left out.

    Returns
    -------
    pandas.DataFrame
        A row a term: ``endpoint``, ``term`` ("ln auc028"), ``n``, ``events``, ``coef`` (log hazard ratio) and
        ``std_error``, ``hazard_ratio`` with ``low`` and ``high``, ``pvalue``, ``proportional_p`` (below 0.05: the
        hazard ratio changes over time, see `proportional_hazards`) and ``note``, why there is no estimate.

    Raises
    ------
    InputError
        As `survival_by_quartile`, and for an exposure of 0 or less.
    """
    rows, time, event, x = _sample(data, endpoint, exposure)
    if (x <= 0).any():
        raise InputError(
            f"{data.source}: {exposure} of {int((x <= 0).sum())} patients is 0 or less, which has no logarithm; "
            "leave them out or give another exposure"
        )
    terms: dict[str, NDArray[np.float64]] = {f"ln {exposure}": np.log(x)}
    for name in covariates:
        terms |= data.terms(name, rows)
    complete = np.isfinite(np.column_stack(list(terms.values()))).all(axis=1)
    time, event = time[complete], event[complete]
    if not len(time):
        raise InputError(f"{data.source}: no patient has {endpoint} and every covariate; leave a covariate out")
    columns = {name: values[complete] for name, values in terms.items()}
    fit = cox(time, event, columns, level=level)
    table = fit.frame()
    p = proportional_hazards(time, event, np.column_stack(list(columns.values())), fit.coef)
    table["proportional_p"] = p if fit.converged else np.nan
    table["note"] = fit.note
    table.insert(0, "endpoint", endpoint)
    table.insert(2, "n", fit.n)
    table.insert(3, "events", fit.events)
    return table.drop(columns="z")


def proportional_hazards(
    time: ArrayLike, event: ArrayLike, covariates: ArrayLike, coef: ArrayLike
) -> NDArray[np.float64]:
    """p-value (k,) for each of k covariates of a Cox fit that its hazard ratio does not change over time.

    Grambsch and Therneau (1994), Biometrika 81:515: correlation of the scaled Schoenfeld residuals with 1 minus the
    Kaplan-Meier estimate; ties after Efron. ``time`` and ``event`` (n,), ``covariates`` (n, k), ``coef`` (k,).
    """
    from scipy.special import chdtrc

    t, died, x, beta = (np.asarray(each, float) for each in (time, event, covariates, coef))
    if not np.isfinite(beta).all() or not died.any():
        return np.full(x.shape[1], np.nan)
    x = x - x.mean(axis=0)
    with np.errstate(over="ignore"):
        weight = np.exp(x @ beta)
    curve = kaplan_meier(t, died == 1)
    residuals, place, information = [], [], np.zeros((x.shape[1],) * 2)
    for day in np.unique(t[died == 1]):
        ends = (t == day) & (died == 1)
        all_at_risk, all_ending = _moments(x[t >= day], weight[t >= day]), _moments(x[ends], weight[ends])
        d = int(ends.sum())
        # The k-th of those who end together sees k/d of each of them gone.
        gone = np.arange(d) / d
        total, first, second = (
            risk - np.multiply.outer(gone, end) for risk, end in zip(all_at_risk, all_ending, strict=True)
        )
        means = first / total
        information += (second / total[:, :, None]).sum(axis=0) - means.T @ means
        residuals.append(x[ends] - means.mean(axis=0))
        place += d * [1 - float(curve.survival[np.searchsorted(curve.times, day)])]
    try:
        variance = np.linalg.inv(information)
    except np.linalg.LinAlgError:
        return np.full(x.shape[1], np.nan)
    g, d = np.array(place) - np.mean(place), len(place)
    scaled = d * np.concatenate(residuals) @ variance
    with np.errstate(invalid="ignore", divide="ignore"):  # all events at one time say nothing of time
        statistic = (g @ scaled) ** 2 / (d * np.diag(variance) * (g @ g))
    p: NDArray[np.float64] = chdtrc(1, statistic)
    return p


def _moments(x: NDArray[np.float64], weight: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Weighted sums of 1, x and x x' over patients."""
    return [weight.sum()[None], weight @ x, (x * weight[:, None]).T @ x]


def _sample(
    data: ExposureData, endpoint: str, exposure: str
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """Which patients have a time and an exposure; their times, whether these are events, and exposures."""
    if endpoint not in TIMES:
        raise InputError(f"no survival endpoint {brief(endpoint)}{choices(str(endpoint), TIMES)}")
    times, x = data.numbers(TIMES[endpoint][0], f"time of {endpoint}"), data.numbers(exposure, "exposure")
    known = np.isfinite(times) & np.isfinite(x)
    if not known.any():
        raise InputError(f"{data.source}: nobody has both {TIMES[endpoint][0]} and {exposure}; give another endpoint")
    time, event = times[known], data.numbers(TIMES[endpoint][1], f"column of {endpoint}")[known]
    if (time < 0).any() or not np.isin(event, (0, 1)).all():
        raise InputError(
            f"{data.source}: {endpoint} needs months of 0 or more in {TIMES[endpoint][0]}, and 1 (event) or 0 "
            f"(censored) in {TIMES[endpoint][1]} wherever there is a time"
        )
    return known, time, event == 1, x[known]
