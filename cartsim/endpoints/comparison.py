"""Two groups of patients compared in time to an event: log-rank test, hazard ratio, difference of restricted means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cartsim.endpoints.survival import Estimate, KaplanMeier, hazard_ratio, kaplan_meier, log_rank
from cartsim.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Sample = tuple[NDArray[np.float64], NDArray[np.bool_]]
"""Times in months (n,), NaN outside the analysis set, and whether each is an event."""


def compare(
    samples: dict[str, Sample],
    *,
    reference: str | None = None,
    tau: float | None = None,
    paired: Sequence[str] = (),
    level: float = 0.95,
) -> pd.DataFrame:
    """Each group against the reference.

    Parameters
    ----------
    samples
        Times (months) and events by the group's name.
    reference
        Whom to compare with, by default the first.
    tau
        Month up to which means are restricted, by default the last that both groups' curves are known to.
    paired
        Groups whose patients are those of the reference, in the same order: the limits of the difference of means then
        know it. Log-rank test and hazard ratio take all groups for independent; in paired groups, which go up and down
        together, their p-values are too large and their limits too wide.
    level
        Of the limits.

    Returns
    -------
    pandas.DataFrame
        A row for each other group: ``arm``, ``reference``, ``n`` and ``events`` of both, ``logrank_p`` (two-sided),
        ``hazard_ratio`` (Cox, ties after Efron; below 1: fewer events than in the reference) with Wald limits,
        ``tau_months``, ``rmst_difference_months`` (group minus reference) with normal limits and ``rmst_p``,
        ``rmst_paired`` and ``note`` (why there is no hazard ratio). A group without patients has NaN.

    Raises
    ------
    InputError
        For fewer than two groups, an unknown reference, and a tau up to which a curve is not known.
    """
    import pandas as pd

    names = list(samples)
    reference = names[0] if reference is None and names else reference
    if len(names) < 2 or reference not in names:
        raise InputError(f"reference {reference!r} of groups {', '.join(names)}; give one of two groups or more")
    rows = []
    for name in names:
        if name != reference:
            both = samples[name], samples[reference]
            row = _against(both, tau, paired=name in paired, level=level)
            rows.append({"arm": name, "reference": reference} | row)
    return pd.DataFrame(rows)


def restricted_mean_difference(
    first: Sample, second: Sample, tau: float | None = None, *, paired: bool = False, level: float = 0.95
) -> tuple[Estimate, float]:
    """Difference of mean event-free times up to ``tau`` (default: the last that both curves are known to), and tau.

    With normal limits; of independent groups as survRM2 (R) gives them. ``paired``: the same patients in the same
    order; each one's influence on either mean is then subtracted before squaring. Patients whose time is missing in
    one of a pair are left out of both. Raises `InputError` for pairs that do not fit, and as `kaplan_meier` and
    `KaplanMeier.restricted_mean`.
    """
    from scipy.special import ndtri

    (t1, e1), (t2, e2) = first, second
    if paired:
        if len(t1) != len(t2):
            raise InputError(f"pairs of {len(t1)} and {len(t2)} patients; give both groups the same patients")
        known = ~np.isnan(t1) & ~np.isnan(t2)
        t1, e1, t2, e2 = t1[known], e1[known], t2[known], e2[known]
    curves = kaplan_meier(t1, e1), kaplan_meier(t2, e2)
    tau = min(float(curve.times[-1]) for curve in curves) if tau is None else float(tau)
    if tau == 0:  # nobody of a group was followed at all
        return Estimate(np.nan, np.nan, np.nan, level=level), tau
    a, b = (curve.restricted_mean(tau) for curve in curves)
    se = float(np.hypot(a.std_error, b.std_error))
    if paired:
        apart = influence(curves[0], t1, e1, tau) - influence(curves[1], t2, e2, tau)
        se = float(np.sqrt((apart**2).sum()))
    value, half = a.value - b.value, float(ndtri(0.5 + level / 2)) * se
    return Estimate(value, value - half, value + half, se, level), tau


def influence(
    curve: KaplanMeier, time: NDArray[np.float64], event: NDArray[np.bool_], tau: float
) -> NDArray[np.float64]:
    """(n,) What each patient of a curve adds to its restricted mean: the infinitesimal jackknife.

    Their sum is 0, and that of their squares Greenwood's variance. Without censoring each is (min(t, tau) - mean) / n.
    """
    inside = curve.times < tau
    times = curve.times[inside]
    area = curve.survival[inside] * np.diff(np.append(times, tau))
    rest = area[::-1].cumsum()[::-1]  # area between each time and tau
    risk, died = curve.n_risk[inside], curve.n_event[inside]
    lost = np.divide(rest, risk - died, out=np.zeros(rest.size), where=risk > died)
    at = np.minimum(np.searchsorted(times, time, side="right") - 1, times.size - 1)
    counted = event & (time < tau)
    added: NDArray[np.float64] = np.cumsum(lost * died / risk)[at] - np.where(counted, lost[at], 0.0)
    return added


def _against(both: tuple[Sample, Sample], tau: float | None, *, paired: bool, level: float) -> dict[str, object]:
    from scipy.special import ndtr

    counts = [(int((~np.isnan(time)).sum()), int(event[~np.isnan(time)].sum())) for time, event in both]
    found: dict[str, object] = {"n": counts[0][0], "events": counts[0][1]}
    found |= {"n_reference": counts[1][0], "events_reference": counts[1][1]}
    ratio = gained = Estimate(np.nan, np.nan, np.nan)
    p, until, note = np.nan, np.nan, "nobody to compare"
    if all(n for n, _ in counts):
        time, event = (np.concatenate(values) for values in zip(*both, strict=True))
        group = np.repeat([1, 0], [len(t) for t, _ in both])
        p = log_rank(time, event, group).pvalue
        fit = hazard_ratio(time, event, group, reference=0, level=level)
        note = fit.note
        if fit.converged:
            ratio = fit.hazard_ratio()
        gained, until = restricted_mean_difference(*both, tau, paired=paired, level=level)
    z = gained.value / gained.std_error if gained.std_error > 0 else np.nan
    return found | {
        "logrank_p": p,
        "hazard_ratio": ratio.value,
        "hazard_ratio_low": ratio.low,
        "hazard_ratio_high": ratio.high,
        "tau_months": until,
        "rmst_difference_months": gained.value,
        "rmst_low_months": gained.low,
        "rmst_high_months": gained.high,
        "rmst_p": 2 * ndtr(-abs(z)),
        "rmst_paired": paired,
        "note": note,
    }
