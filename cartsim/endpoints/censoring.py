"""When an event counts: progression-free survival under FDA or EMA censoring, and what follows from it.

Days count from the infusion (day 0). Sources: FDA, Clinical Trial Endpoints for the Approval of Cancer Drugs
and Biologics (2018), appendix 3, table A; EMA/CHMP/27994/2008 rev. 1 (appendix 1 to the anticancer
guideline); Munshi 2021, doi:10.1056/NEJMoa2024850, figure 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.endpoints.categories import categorical
from cartsim.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


class TimeToEvent(NamedTuple):
    """One endpoint of n patients; unpacks as ``time, event, reason``.

    ``time`` (n, days; NaN for a patient outside the analysis set), ``event`` (n, True = event, False =
    censored), ``reason`` (n, categorical: what the event was, or why the patient was censored).
    """

    time: NDArray[np.float64]
    event: NDArray[np.bool_]
    reason: pd.Categorical

    def frame(self, ids: ArrayLike | None = None) -> pd.DataFrame:
        """One row per patient: id, time, event, reason."""
        import pandas as pd

        ids = np.arange(self.time.size) if ids is None else np.asarray(ids)
        return pd.DataFrame({"id": ids, "time": self.time, "event": self.event, "reason": self.reason})


def progression_free_survival(
    days: ArrayLike,
    evaluable: ArrayLike,
    progression_day: ArrayLike,
    *,
    death_day: ArrayLike | None = None,
    new_therapy_day: ArrayLike | None = None,
    followup_day: ArrayLike | None = None,
    rule: str = "fda",
    max_missed: int = 2,
    censor_new_therapy: bool | None = None,
    censor_no_baseline: bool | None = None,
) -> TimeToEvent:
    """Progression-free survival of n patients.

    ``days`` are the scheduled visits in increasing order: (visits,) for all, or (n, visits) with NaN behind
    the last visit of a patient. Those on or before day 0 are baseline visits (a patient without one is taken
    to have a baseline). ``evaluable`` (n, visits) says which assessments took place and can be judged. The
    other days are (n,) or one number for all, NaN = none: first progression, death, start of a new therapy,
    and the end of follow-up (dropout or administrative cut-off: nothing later is seen).

    The event is progression or death, whichever comes first (progression where both fall on one day). Under "ema" a
    new therapy ends nothing: give progression as it was found through it (`judge` without its day).

    ===============================================  =====================================  =================
    situation                                        rule="fda"                             rule="ema"
    ===============================================  =====================================  =================
    no baseline (progression cannot be judged)       censored on day 0, also at death       death: event on its day,
                                                                                            else censored on day 0
    no assessment after baseline, no event           censored on day 0                      the same
    no event                                         censored at the last assessment        the same
    new therapy before the event, or without event   censored at the last assessment on or  has no influence
                                                     before the day it starts
    event after ``max_missed`` or more consecutive   censored at the last assessment        event on its day
    missed scheduled visits                          before the gap
    death before the first assessment                event, unless ``max_missed`` visits    event on its day
                                                     were missed: then censored on day 0
    any other event                                  event on its day                       event on its day
    ===============================================  =====================================  =================

    Missed visits count only if the gap runs up to the event: an assessment without progression after a gap
    closes it, also one on the day of death. ``censor_new_therapy`` and ``censor_no_baseline`` (of deaths)
    override what the rule says (None: fda censors, ema does not).

    Returns (time, event, reason) with reason one of progression, death, no baseline, new therapy, missed
    visits, no later assessment, no event. Raises InputError for shapes that do not fit, negative days,
    unknown rules.
    """
    if rule not in ("fda", "ema"):
        raise InputError(f"rule is {rule!r}; allowed are 'fda' and 'ema'")
    if max_missed < 1:
        raise InputError(f"max_missed is {max_missed}; give the number of missed visits that censors, at least 1")
    if censor_new_therapy is None:
        censor_new_therapy = rule == "fda"
    if censor_no_baseline is None:
        censor_no_baseline = rule == "fda"
    visit_days, assessed = _visits(days, evaluable)
    n = len(assessed)

    baseline = visit_days <= 0
    has_baseline = (assessed & baseline).any(axis=1) | ~baseline.any(axis=1)
    progression = np.where(has_baseline, _day("progression_day", progression_day, n), np.inf)
    death = np.where(has_baseline | (not censor_no_baseline), _day("death_day", death_day, n), np.inf)
    followup = _day("followup_day", followup_day, n)
    new_therapy = _day("new_therapy_day", new_therapy_day, n)
    event_day = np.minimum(progression, death)
    therapy_first = (new_therapy < event_day) & (new_therapy <= followup) & censor_new_therapy
    last_usable = np.where(therapy_first, new_therapy, followup)

    last = np.zeros(n)  # last assessment that counts; day 0 (baseline) without one
    missed = np.zeros(n, dtype=np.int64)  # scheduled visits missed since then, up to the event
    for day, seen in zip(visit_days.T, assessed.T, strict=True):
        before = (day < event_day) | ((day == death) & (day < progression) & seen)
        scheduled = (day > 0) & (day <= last_usable) & before
        present = scheduled & seen & has_baseline
        last = np.where(present, day, last)
        missed = np.where(present, 0, missed + scheduled)

    observed = np.isfinite(event_day) & (event_day <= followup) & ~therapy_first
    gap = observed & (missed >= (max_missed if rule == "fda" else np.inf))
    event = observed & ~gap
    reason = _reason(
        n,
        {
            "progression": event & (progression <= death),
            "death": event,
            "no baseline": ~has_baseline,
            "new therapy": therapy_first,
            "missed visits": gap,
            "no later assessment": last == 0,
            "no event": True,
        },
    )
    return TimeToEvent(np.where(event, event_day, last), event, reason)


def duration_of_response(pfs: TimeToEvent, response_day: ArrayLike) -> TimeToEvent:
    """From first response to the end that progression-free survival gives, by the same rule.

    ``response_day`` (n, NaN = none) is the day of the first (confirmed) response. Patients without one, or
    whose response comes after their progression-free survival has ended, are outside the analysis set: time
    NaN, reason "no response". KarMMa counts partial response or better (Munshi 2021, figure 2).
    """
    response = _day("response_day", response_day, pfs.time.size)
    responded = response <= pfs.time
    time = np.where(responded, pfs.time - np.where(responded, response, 0.0), np.nan)
    return TimeToEvent(time, pfs.event & responded, _relabel(pfs.reason, ~responded, "no response"))


def time_to_response(pfs: TimeToEvent, response_day: ArrayLike) -> TimeToEvent:
    """From infusion to first response; the others are censored where their progression-free survival ends.

    ``response_day`` (n, NaN = none): first response for the time to response, first complete response for the
    time to CR. Reason is "response", or why progression-free survival ended. The median among responders that
    KarMMa prints is the plain median of ``time[event]``.
    """
    response = _day("response_day", response_day, pfs.time.size)
    responded = response <= pfs.time
    time = np.where(responded, response, pfs.time)
    return TimeToEvent(time, responded, _relabel(pfs.reason, responded, "response"))


def overall_survival(death_day: ArrayLike, followup_day: ArrayLike) -> TimeToEvent:
    """From infusion to death from any cause; the living are censored at the end of their follow-up.

    Both (n,) or one number, NaN in ``death_day`` = alive. ``followup_day`` must be given for every living
    patient.
    """
    n = max(np.size(death_day), np.size(followup_day))
    death, followup = _day("death_day", death_day, n), _day("followup_day", followup_day, n)
    event = death <= followup
    time = np.where(event, death, followup)
    if np.isinf(time).any():
        i = int(np.isinf(time).argmax())
        raise InputError(f"followup_day of patient {i} is missing and no death is given; give the last day alive")
    return TimeToEvent(time, event, _reason(n, {"death": event, "alive": ~event}))


def progression_intervals(
    days: ArrayLike,
    evaluable: ArrayLike,
    progression_day: ArrayLike,
    *,
    death_day: ArrayLike | None = None,
    followup_day: ArrayLike | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The interval (lower, upper] in which each of n patients progressed or died, for `interval_censored`.

    Progression lies between the last assessment without it and the day it was found; death is exact
    (lower = upper); no event gives (last assessment, inf]. Missed visits widen the interval, so they need no
    censoring rule. Arguments as in `progression_free_survival`.
    """
    pfs = progression_free_survival(
        days, evaluable, progression_day, death_day=death_day, followup_day=followup_day, rule="ema"
    )
    visit_days, assessed = _visits(days, evaluable)
    before = assessed & (visit_days > 0) & (visit_days < pfs.time[:, None])
    last = np.where(before, visit_days, 0.0).max(axis=1, initial=0.0)
    progressed = pfs.reason == "progression"
    return np.where(progressed, last, pfs.time), np.where(pfs.event, pfs.time, np.inf)


def _visits(days: ArrayLike, evaluable: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Visit days and evaluable assessments, both (n, visits)."""
    visit_days, assessed = np.asarray(days, dtype=np.float64), np.asarray(evaluable)
    if assessed.ndim != 2 or assessed.dtype != bool:
        raise InputError(f"evaluable is {assessed.dtype} of shape {assessed.shape}; give booleans, patients x visits")
    if visit_days.shape not in (assessed.shape, assessed.shape[1:]):
        raise InputError(
            f"days has shape {visit_days.shape} and evaluable {assessed.shape}; give one day for each visit"
        )
    if (np.diff(visit_days) <= 0).any() or np.isinf(visit_days).any():
        raise InputError("days must increase from visit to visit and be finite; sort them and drop doubles")
    return np.broadcast_to(visit_days, assessed.shape), assessed


def _day(name: str, value: ArrayLike | None, n: int) -> NDArray[np.float64]:
    """Days of n patients, infinite where there is none."""
    days = np.asarray(np.inf if value is None else value, dtype=np.float64)
    if days.shape not in ((), (n,)):
        raise InputError(f"{name} has shape {days.shape}; give one number or {n} of them")
    days = np.where(np.isnan(days), np.inf, np.broadcast_to(days, n))
    if (days < 0).any():
        i = int((days < 0).argmax())
        raise InputError(f"{name} of patient {i} is {days[i]:g}; days count from the infusion and are not negative")
    return days


def _reason(n: int, conditions: Mapping[str, Any]) -> pd.Categorical:
    """Per patient the first condition that holds."""
    codes = np.full(n, -1, dtype=np.int8)
    for code, holds in enumerate(conditions.values()):
        codes[holds & (codes < 0)] = code
    return categorical(codes, tuple(conditions))


def _relabel(reason: pd.Categorical, where: NDArray[np.bool_], name: str) -> pd.Categorical:
    codes = np.where(where, len(reason.categories), reason.codes)
    return categorical(codes, (*reason.categories, name))
