"""Survival estimates that clinicians read: Kaplan-Meier as SAS PROC LIFETEST prints it, log-rank, Cox,
restricted mean, and the interval-censored curve. When an event counts is in `cartsim.endpoints.censoring`.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

# Two survival probabilities closer than this are the same number: products of fractions miss 0.5 by rounding.
SAME = 1e-8
# A Cox fit is an optimum if Newton's next step, in standard deviations of the covariates, is shorter than STEP, and if
# an event tells at least INFORMATION about each direction (1 where covariates do not bear on hazard).
STEP = 1e-6
INFORMATION = 1e-7


@dataclass(frozen=True)
class Estimate:
    """A value with its confidence limits; NaN is what could not be estimated and prints as NE."""

    value: float
    low: float
    high: float
    std_error: float = float("nan")
    level: float = 0.95

    def __format__(self, spec: str) -> str:
        value, low, high = ("NE" if np.isnan(x) else format(x, spec) for x in (self.value, self.low, self.high))
        return f"{value} ({low}, {high})"

    def __str__(self) -> str:
        return format(self, ".4g")

    def named(self, name: str, unit: str = "") -> dict[str, float]:
        """Value and limits by column: ``name``, ``name_low``, ``name_high``, with the unit behind ("_months")."""
        ends = (("", self.value), ("_low", self.low), ("_high", self.high))
        return {f"{name}{end}{unit}": value for end, value in ends}


UNKNOWN = Estimate(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True, eq=False)
class KaplanMeier:
    """Product-limit estimate of one group.

    Arrays over the distinct observed times, beginning with time 0: ``n_risk`` just before, ``n_event`` and
    ``n_censored`` at the time, ``survival`` just after, its Greenwood ``std_error`` and its log-log limits
    ``low``, ``high`` (at survival 1: 1; at survival 0: NaN, where the formula has no value).
    """

    n: int
    events: int
    level: float
    times: NDArray[np.float64]
    n_risk: NDArray[np.int64]
    n_event: NDArray[np.int64]
    n_censored: NDArray[np.int64]
    survival: NDArray[np.float64]
    std_error: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @property
    def median(self) -> Estimate:
        """Median with Brookmeyer-Crowley limits, see `quantile`."""
        return self.quantile(0.5)

    def quantile(self, p: float) -> Estimate:
        """Time by which a fraction p has had the event, with Brookmeyer-Crowley limits, as SAS gives it.

        The first time with S(t) < 1 - p. Where S stays at exactly 1 - p from one event time to the next:
        their midpoint. Never below: NaN (NE), also where S ends at exactly 1 - p, since nothing bounds the
        flat part. The limits are where the log-log limits of S cross 1 - p by the same rule (PROC LIFETEST
        with CONFTYPE=LOGLOG).
        """
        if not 0 < p < 1:
            raise InputError(f"quantile {p} was asked for; give a fraction between 0 and 1")
        curves = (self.survival, self.low, self.high)
        value, low, high = (_crossing(self.times, curve, 1 - p) for curve in curves)
        return Estimate(value, low, high, level=self.level)

    def at(self, t: ArrayLike) -> pd.DataFrame:
        """Landmark rates: time, survival, std_error, low, high, n_risk at each time asked for.

        NaN after the last observed time, unless survival has reached 0.
        """
        import pandas as pd

        times = _times("t", t)
        row = np.searchsorted(self.times, times, side="right") - 1
        known = (times <= self.times[-1]) | (self.survival[-1] == 0)
        names = ("survival", "std_error", "low", "high")
        rates = {name: np.where(known, getattr(self, name)[row], np.nan) for name in names}
        return pd.DataFrame({"time": times} | rates | {"n_risk": self.at_risk(times)})

    def rate(self, t: float) -> Estimate:
        """Percent without event at a time, see `at`."""
        value, low, high = 100 * self.at(t)[["survival", "low", "high"]].to_numpy()[0]
        return Estimate(float(value), float(low), float(high), level=self.level)

    def at_risk(self, times: ArrayLike) -> NDArray[np.int64]:
        """Numbers at risk just before each time, as printed under a Kaplan-Meier plot."""
        return np.append(self.n_risk, 0)[np.searchsorted(self.times, _times("times", times), side="left")]

    def restricted_mean(self, tau: float | None = None) -> Estimate:
        """Mean survival time up to ``tau`` (default: the last observed time), with SE and normal limits.

        The area under the curve; variance by Greenwood's formula without small-sample factor, as R's survfit
        and survRM2 give it. Raises InputError where the curve is not known up to ``tau``.
        """
        from scipy.special import ndtri

        last = float(self.times[-1])
        tau = last if tau is None else float(tau)
        if not 0 < tau < np.inf or (tau > last and self.survival[-1] > 0):
            raise InputError(f"tau is {tau:g}; the curve is known up to {last:g}: give a tau above 0 and up to there")
        inside = self.times < tau
        steps = np.diff(np.append(self.times[inside], tau))
        area = self.survival[inside] * steps
        rest = area[::-1].cumsum()[::-1]  # area between each time and tau
        d, r = self.n_event[inside], self.n_risk[inside]
        terms = np.divide(d, r * (r - d), out=np.zeros(d.size), where=(r > d))
        se = float(np.sqrt((rest**2 * terms).sum()))
        mean, z = float(area.sum()), float(ndtri(0.5 + self.level / 2))
        return Estimate(mean, mean - z * se, mean + z * se, se, self.level)

    def frame(self) -> pd.DataFrame:
        """The curve, one row per distinct observed time."""
        import pandas as pd

        names = ("n_risk", "n_event", "n_censored", "survival", "std_error", "low", "high")
        return pd.DataFrame({"time": self.times} | {name: getattr(self, name) for name in names})


def largest_distance(first: KaplanMeier, second: KaplanMeier) -> tuple[float, float]:
    """The most by which two curves differ while both are known, as a fraction, and the first time at which they do."""
    times = np.union1d(first.times, second.times)
    one, two = (curve.at(times)["survival"].to_numpy() for curve in (first, second))
    apart = np.nan_to_num(np.abs(one - two))
    where = int(np.argmax(apart > apart.max() - 1e-12))  # curves that are as far apart twice: the first
    return float(apart[where]), float(times[where])


def kaplan_meier(time: ArrayLike, event: ArrayLike, *, level: float = 0.95) -> KaplanMeier:
    """Kaplan-Meier estimate with log-log limits.

    ``time`` (n,) with NaN = outside the analysis set (left out), ``event`` (n,) True = event. Raises
    InputError for negative or infinite times, an event that is not true or false, or nobody to analyse.
    """
    from scipy.special import ndtri

    t, events, _ = _sample(time, event)
    times, place = np.unique(np.append(t, 0.0), return_inverse=True)  # curves begin at time 0
    total = np.bincount(place[:-1], minlength=times.size)
    n_event = np.bincount(place[:-1][events], minlength=times.size)
    n_risk = total[::-1].cumsum()[::-1]
    survival = np.cumprod(1 - n_event / np.maximum(n_risk, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt(np.cumsum(n_event / (n_risk * (n_risk - n_event))))  # Greenwood: SE of ln S
        beyond = np.exp(ndtri(0.5 + level / 2) * spread / np.abs(np.log(survival)))
        low, high = (np.where(survival == 1, 1.0, survival**power) for power in (beyond, 1 / beyond))
        std_error = survival * spread
    std_error, low, high = (np.where(survival > 0, each, np.nan) for each in (std_error, low, high))
    return KaplanMeier(
        t.size, int(events.sum()), level, times, n_risk, n_event, total - n_event, survival, std_error, low, high
    )


def known_curve(time: ArrayLike, event: ArrayLike) -> KaplanMeier | None:
    """As `kaplan_meier`, None where nobody is to be analysed (all times are NaN)."""
    return None if np.isnan(np.asarray(time, float)).all() else kaplan_meier(time, event)


def median_of(time: ArrayLike, event: ArrayLike) -> Estimate:
    """Median by `kaplan_meier`, NaN where nobody is to be analysed."""
    curve = known_curve(time, event)
    return curve.median if curve else UNKNOWN


def kaplan_meier_by(
    time: ArrayLike, event: ArrayLike, group: ArrayLike, *, level: float = 0.95
) -> dict[Hashable, KaplanMeier]:
    """One Kaplan-Meier estimate per group (n,), in sorted order of the groups with patients to analyse."""
    t, events, keep = _sample(time, event)
    codes, names = _groups("group", group, keep)
    return {name: kaplan_meier(t[codes == i], events[codes == i], level=level) for i, name in enumerate(names)}


@dataclass(frozen=True)
class LogRank:
    """Chi-square ``statistic`` on ``df`` degrees of freedom; NaN where there is nothing to compare."""

    statistic: float
    df: int
    pvalue: float


def log_rank(time: ArrayLike, event: ArrayLike, group: ArrayLike, *, strata: ArrayLike | None = None) -> LogRank:
    """Two-sided log-rank test of equal survival in the groups.

    By counts for two groups, by statsmodels for more or with strata.

    ``time`` and ``event`` as in `kaplan_meier`; ``group`` and ``strata`` (n,) labels. A group of which nobody
    was at risk at any event says nothing and is left out, as in R's survdiff.
    """
    from scipy.special import chdtrc

    t, events, keep = _sample(time, event)
    codes, names = _groups("group", group, keep)
    stratum = np.zeros(t.size, dtype=np.int64) if strata is None else _groups("strata", strata, keep)[0]
    first_event = np.full(stratum.max() + 1, np.inf)
    np.minimum.at(first_event, stratum[events], t[events])
    informative = t >= first_event[stratum]
    compared = [i for i in range(len(names)) if informative[codes == i].any()]
    df = len(compared) - 1
    if df < 1:
        return LogRank(float("nan"), 0, float("nan"))
    if df == 1 and strata is None:
        (risk, died), (risk_second, died_second) = _counts(t, events, [codes == i for i in compared])
        everybody, all_died = risk + risk_second, died + died_second
        share = risk / np.maximum(everybody, 1)
        variance = share * (1 - share) * all_died * (everybody - all_died) / np.maximum(everybody - 1, 1)
        with np.errstate(invalid="ignore"):  # everybody has the event at one time: nothing to compare, NaN
            statistic = float((died - share * all_died).sum() ** 2 / variance.sum())
    else:
        from statsmodels.duration.survfunc import survdiff

        use = np.isin(codes, compared) & informative
        try:
            statistic = float(survdiff(t[use], events[use], codes[use], strata=stratum[use])[0])
        except np.linalg.LinAlgError:  # groups that are never at risk together
            statistic = float("nan")
    return LogRank(statistic, df, float(chdtrc(df, statistic)))


@dataclass(frozen=True, eq=False)
class Cox:
    """Proportional hazards fit: log hazard ratios ``coef`` of the ``terms``, with ``std_error``.

    ``note`` is empty for a fit that can be used, else it says why not; ``converged`` is then False and
    standard errors are NaN.
    """

    terms: tuple[str, ...]
    coef: NDArray[np.float64]
    std_error: NDArray[np.float64]
    log_likelihood: float
    n: int
    events: int
    ties: str
    level: float
    converged: bool
    note: str

    def hazard_ratio(self, term: str | None = None) -> Estimate:
        """Hazard ratio of a term (default: the first) with Wald limits; ``std_error`` is of its logarithm."""
        from scipy.special import ndtri

        if term is not None and term not in self.terms:
            raise InputError(f"term {term!r} is not in the fit; it has {', '.join(self.terms)}")
        i = 0 if term is None else self.terms.index(term)
        coef, se, z = float(self.coef[i]), float(self.std_error[i]), float(ndtri(0.5 + self.level / 2))
        low, high = np.exp(coef - z * se), np.exp(coef + z * se)
        return Estimate(float(np.exp(coef)), float(low), float(high), se, self.level)

    def frame(self) -> pd.DataFrame:
        """One row per term: coef, std_error, hazard_ratio, low, high, z, pvalue (Wald)."""
        import pandas as pd
        from scipy.special import ndtr

        ratios = [self.hazard_ratio(term) for term in self.terms]
        z = self.coef / self.std_error
        return pd.DataFrame(
            {
                "term": self.terms,
                "coef": self.coef,
                "std_error": self.std_error,
                "hazard_ratio": [ratio.value for ratio in ratios],
                "low": [ratio.low for ratio in ratios],
                "high": [ratio.high for ratio in ratios],
                "z": z,
                "pvalue": 2 * ndtr(-np.abs(z)),
            }
        )


def cox(
    time: ArrayLike,
    event: ArrayLike,
    covariates: pd.DataFrame | Mapping[str, ArrayLike],
    *,
    strata: ArrayLike | None = None,
    ties: str = "efron",
    level: float = 0.95,
) -> Cox:
    """Cox regression (statsmodels PHReg; counts suffice for a single covariate of 0 and 1).

    ``time`` and ``event`` as in `kaplan_meier`; ``covariates`` numeric columns of n values; ``ties`` "efron"
    (as R) or "breslow" (as SAS PHREG). The unit of a covariate changes nothing but that of its coefficient. No
    events, collinear or constant covariates and hazard ratios that run to 0 or infinity are answers, told in
    ``note``; bad arguments raise InputError.
    """
    if ties not in ("efron", "breslow"):
        raise InputError(f"ties is {ties!r}; allowed are 'efron' and 'breslow'")
    t, events, keep = _sample(time, event)
    terms = tuple(str(name) for name in covariates)
    if not terms:
        raise InputError("no covariates are given; give at least one column")
    exog = np.column_stack([_covariate(str(name), covariates[name], keep) for name in covariates])
    stratum = _groups("strata", strata, keep)[0] if strata is not None else None

    # Centered and scaled, so that the unit of a covariate changes nothing.
    spread = exog.std(axis=0)
    scaled = (exog - exog.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    coef, std_error, log_likelihood, note = np.full(len(terms), np.nan), np.full(len(terms), np.nan), np.nan, ""
    if not events.any():
        note = "no events"
    elif np.linalg.matrix_rank(scaled) < len(terms):
        note = "a covariate is constant or a combination of others"
    else:
        try:
            if stratum is None and exog.shape[1] == 1 and np.isin(exog, (0, 1)).all():
                coef, std_error, log_likelihood = _cox_of_two_groups(t, events, exog[:, 0] == 1, ties)
            else:
                coef, std_error, log_likelihood = _proportional_hazards(t, events, scaled, stratum, ties)
                coef, std_error = coef / spread, std_error / spread
            if not np.isfinite(std_error).all():
                note = "did not converge, infinite: a hazard ratio runs to 0 or infinity, as when a group has no events"
        except np.linalg.LinAlgError:
            note = "the information matrix is singular: some covariate does not vary among those at risk"
    return Cox(terms, coef, std_error, log_likelihood, t.size, int(events.sum()), ties, level, not note, note)


def _proportional_hazards(
    t: NDArray[np.float64],
    events: NDArray[np.bool_],
    exog: NDArray[np.float64],
    stratum: NDArray[np.int64] | None,
    ties: str,
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Coefficients, standard errors (NaN without an optimum), log likelihood for covariates of mean 0 and SD 1.

    The fit stands only if it is an optimum: score 0 and information well above 0. Where a hazard ratio runs to 0 or
    infinity both vanish together, and each of Newton's steps stays as long as the last. Raises LinAlgError where the
    covariates do not vary among those at risk.
    """
    from statsmodels.duration.hazard_regression import PHReg

    model = PHReg(t, exog, status=events.astype(np.int64), strata=stratum, ties=ties)
    unknown, enough = np.full(exog.shape[1], np.nan), INFORMATION * events.sum()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # what it would say of a fit is judged below
        if np.linalg.eigvalsh(-model.hessian(np.zeros(exog.shape[1])))[0] <= enough:
            raise np.linalg.LinAlgError
        try:
            coef = np.asarray(model.fit().params, dtype=np.float64)
            score, information = model.score(coef), -model.hessian(coef)
            usable = bool(np.isfinite([*coef, *score, *information.ravel()]).all())
            usable = usable and bool(np.linalg.eigvalsh(information)[0] > enough)
            usable = usable and bool(np.abs(np.linalg.solve(information, score)).max() < STEP)
        except np.linalg.LinAlgError:
            coef, usable = unknown, False
    if not usable:
        return coef, unknown, np.nan
    return coef, np.sqrt(np.diag(np.linalg.inv(information))), float(model.loglike(coef))


def _counts(
    t: NDArray[np.float64], events: NDArray[np.bool_], groups: list[NDArray[np.bool_]]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Numbers at risk and with an event in each group, at every time that is seen in any."""
    times, place = np.unique(t, return_inverse=True)
    found = []
    for own in groups:
        left = np.bincount(place[own], minlength=times.size)
        died = np.bincount(place[own & events], minlength=times.size)
        found.append((left[::-1].cumsum()[::-1].astype(float), died.astype(float)))
    return found


def _cox_of_two_groups(
    t: NDArray[np.float64], events: NDArray[np.bool_], second: NDArray[np.bool_], ties: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Coefficient (infinite where it runs away), its standard error and the log likelihood, by Newton's method.

    Two groups need counts alone, which takes a fiftieth of the seconds of PHReg. Raises LinAlgError where the two are
    never at risk together.
    """
    (risk0, died0), (risk1, died1) = _counts(t, events, [~second, second])
    died = (died0 + died1).astype(int)
    row = np.repeat(np.arange(died.size), died)  # an entry an event
    earlier = np.arange(row.size) - np.repeat(np.cumsum(died) - died, died)  # events before it at the same time
    share = earlier / died[row] if ties == "efron" else np.zeros(row.size)
    a, b = risk0[row] - share * died0[row], risk1[row] - share * died1[row]
    if not ((a > 0) & (b > 0)).any():
        raise np.linalg.LinAlgError
    beta, observed = 0.0, died1.sum()
    for _ in range(50):
        p = b * np.exp(beta) / (a + b * np.exp(beta))
        information = float((p * (1 - p)).sum())
        step = float(observed - p.sum()) / information
        beta += np.clip(step, -1, 1)
        if abs(step) < 1e-10 or abs(beta) > 20:
            break
    if abs(beta) > 20:
        return np.array([np.copysign(np.inf, beta)]), np.array([np.nan]), float("nan")
    likelihood = observed * beta - float(np.log(a + b * np.exp(beta)).sum())
    return np.array([beta]), np.array([information**-0.5]), likelihood


def hazard_ratio(
    time: ArrayLike,
    event: ArrayLike,
    group: ArrayLike,
    *,
    reference: Hashable | None = None,
    strata: ArrayLike | None = None,
    ties: str = "efron",
    level: float = 0.95,
) -> Cox:
    """Cox hazard ratios of the other groups against ``reference`` (default: the first in sorted order).

    The terms are the names of the other groups. The other arguments as in `cox`.
    """
    t, events, keep = _sample(time, event)
    codes, names = _groups("group", group, keep)
    reference = names[0] if reference is None else reference
    if len(names) < 2 or reference not in names:
        raise InputError(
            f"reference {reference!r} against the groups {', '.join(map(repr, names))}: "
            "give a reference among at least two groups"
        )
    covariates = {str(name): codes == i for i, name in enumerate(names) if name != reference}
    stratum = None if strata is None else _groups("strata", strata, keep)[0]
    return cox(t, events, covariates, strata=stratum, ties=ties, level=level)


@dataclass(frozen=True, eq=False)
class IntervalCensored:
    """Turnbull's estimate: ``survival`` at each of ``times``, the finite ends of the intervals.

    Between two of them the curve falls somewhere that the data do not tell.
    """

    times: NDArray[np.float64]
    survival: NDArray[np.float64]

    @property
    def median_interval(self) -> tuple[float, float]:
        """The interval (start, end] that holds the median; NaN for both where S stays at or above 0.5."""
        below = np.flatnonzero(self.survival < 0.5 - SAME)
        if below.size == 0:
            return float("nan"), float("nan")
        times = np.insert(self.times, 0, 0.0)
        return float(times[below[0]]), float(times[below[0] + 1])

    def frame(self) -> pd.DataFrame:
        """time, survival."""
        import pandas as pd

        return pd.DataFrame({"time": self.times, "survival": self.survival})


def interval_censored(lower: ArrayLike, upper: ArrayLike) -> IntervalCensored:
    """Survival curve when each event is known only to lie in (lower, upper] (Turnbull's estimate, by
    lifelines).

    (n,) each; lower = upper for an exact time, upper = inf where no event was seen; see
    `progression_intervals`. Needs lifelines: ``pip install "cartsim[interval]"``; InputError without it.
    """
    try:
        from lifelines import KaplanMeierFitter
    except ImportError:
        raise InputError('interval censoring needs lifelines; install it: pip install "cartsim[interval]"') from None
    low, high = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
    if low.ndim != 1 or low.shape != high.shape or low.size == 0:
        raise InputError(f"lower and upper have shapes {low.shape} and {high.shape}; give two lists of one length")
    wrong = ~((low >= 0) & (low <= high) & np.isfinite(low) & (high > 0))
    if wrong.any():
        i = int(wrong.argmax())
        raise InputError(f"interval {i} is ({low[i]:g}, {high[i]:g}]; give 0 <= lower <= upper with upper above 0")
    ends = np.unique(high[np.isfinite(high)])
    if ends.size == 0:
        return IntervalCensored(ends, ends.copy())
    # lifelines takes closed intervals: a shift far below the spacing of the times makes them open on the
    # left.
    shift = 1e-6 * np.diff(np.unique(np.concatenate([[0.0], low, ends]))).min()
    left = np.where(low == high, high - shift, low + shift)
    curve = KaplanMeierFitter().fit_interval_censoring(left, high, tol=1e-13).survival_function_
    return IntervalCensored(ends, curve.iloc[:, 1].loc[ends].to_numpy(dtype=np.float64))


def _crossing(times: NDArray[np.float64], curve: NDArray[np.float64], level: float) -> float:
    below = curve < level - SAME
    if not below.any():
        return float("nan")
    end = times[below.argmax()]
    level_part = np.abs(curve - level) <= SAME
    start = times[level_part.argmax()] if level_part.any() else end
    return float((start + end) / 2)


def _times(name: str, t: ArrayLike) -> NDArray[np.float64]:
    times = np.atleast_1d(np.asarray(t, dtype=np.float64))
    if times.ndim != 1 or not (times >= 0).all():
        raise InputError(f"{name} is {t!r}; give times that are not negative")
    return times


def _sample(time: ArrayLike, event: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Times and events of the analysis set, and which of the given patients they are."""
    t, events = np.asarray(time, dtype=np.float64), np.asarray(event)
    if t.ndim != 1 or events.shape != t.shape:
        raise InputError(f"time and event have shapes {t.shape} and {events.shape}; give two lists of one length")
    keep = ~np.isnan(t)
    if not keep.any():
        raise InputError("nobody to analyse: every time is missing")
    wrong = keep & ((t < 0) | np.isinf(t))
    if wrong.any():
        i = int(wrong.argmax())
        raise InputError(f"time of patient {i} is {t[i]:g}; give finite times that are not negative")
    if not np.isin(events[keep], (0, 1)).all():
        raise InputError("event holds other values than true and false (1 and 0); give 1 for an event, 0 for censored")
    return t[keep], events[keep].astype(bool), keep


def _groups(name: str, labels: ArrayLike, keep: NDArray[np.bool_]) -> tuple[NDArray[np.int64], list[Hashable]]:
    import pandas as pd

    values = labels if isinstance(labels, pd.Categorical) else np.asarray(labels)
    if values.shape != keep.shape:
        raise InputError(f"{name} has shape {values.shape}; give one label for each of {keep.size} patients")
    codes, names = pd.factorize(values[keep], sort=True)
    if (codes < 0).any():
        raise InputError(f"{name} of patient {int(np.flatnonzero(keep)[codes < 0][0])} is missing; give every label")
    return codes, list(names)


def _covariate(name: str, values: ArrayLike, keep: NDArray[np.bool_]) -> NDArray[np.float64]:
    try:
        column = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"covariate {name} is not numeric; code it as numbers, or pass it as group") from None
    if column.shape != keep.shape or not np.isfinite(column[keep]).all():
        raise InputError(f"covariate {name}: give one finite number for each of {keep.size} patients")
    return column[keep]
