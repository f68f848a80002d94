"""Response and progression judged from serum M-protein, as a trial judges them.

Readings where the criteria leave room:

* A visit is an assessment when its day is after 0, not after new therapy, death or the end of follow-up, and
  its value is a number. A sample of the day new therapy starts counts as taken before it.
* A missing value (NaN) is an unevaluable visit: it is passed over, so "the next assessment" is the next
  evaluable one, however much later.
* A response holds at the level of the lesser of two successive assessments and is dated at the first: CR
  followed by VGPR is a confirmed VGPR. An assessment of PD confirms no response, and a response that nothing
  confirms is SD. Once confirmed, a category is kept until a better one or progression is confirmed.
* The lowest confirmed value is the lowest level at or below which two successive assessments lie: the
  smallest of the higher values of all successive pairs. The baseline needs no confirmation. With `nadir_lower` a
  pair that confirms a response (MR or better) counts by its lower value.
* PD that the next assessment does not show again is not PD, also at the last visit; death or new therapy
  count as the confirmation only if the rules say so: two assessments before any new therapy are what the criteria
  ask for. After unconfirmed PD alone a patient is NE.
* A baseline that already lies below a limit is judged like any other: M-protein that stays below it is CR or VGPR.
  `measurable` tells such patients apart, and rates among the others are printed beside those of all.
* A value is used as recorded: what lies below a limit of detection comes as the assay reports it, usually 0.
* Cut-offs are inclusive (a fall of exactly 50 % is PR, a rise of exactly 5 g/L counts), only "below the
  electrophoresis limit" is strict; both to within a relative `TOLERANCE` that absorbs binary rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.endpoints.categories import categorical, responses
from cartsim.endpoints.rules import IMWG2016, Response, SinghLandmark, label
from cartsim.errors import InputError, brief

if TYPE_CHECKING:
    import pandas as pd

Assessments = tuple[ArrayLike, ArrayLike, ArrayLike, IMWG2016, dict[str, NDArray[np.float64]]]
"""Arguments of `judge`: M-protein, days, baseline, rules; and the days of new therapy, death and end by name."""

TOLERANCE = 1e-9
"""Relative slack of every comparison: far above binary rounding (1e-16), far below any assay (1e-2)."""

_BLOCK = 4096  # patients judged at a time: the arrays of a block stay in the processor's cache


@dataclass(frozen=True)
class Judgement:
    """What `judge` found; n patients, v visits, days from infusion, NaN where a thing never happened.

    days               (v,) or (n, v) visit days, as given
    evaluable          (n, v) visits that are assessments
    assessed           (n, v) category of each assessment by itself; NE where there is none
    confirmed          (n, v) category confirmed so far, dated at the first of the two assessments; carried
                       over unevaluable visits, NE after the last assessment, PD from progression to the end
    best               (n,) best overall response: the best confirmed before progression or new therapy, SD if
                       nothing better, PD if progression came first, NE without a category
    best_day, response_day, cr_day    first day of the best response, of PR or better, of CR
    progression_day    day of confirmed PD
    relapse_day        relapse from CR (M-protein above the immunofixation limit again, confirmed like a
                       response); for information, no endpoint uses it
    nadir              (n,) lowest confirmed value up to progression, the reference of PD, g/L
    lowest, lowest_day lowest value up to progression, g/L, and its first day; NaN without an assessment
    change             (n,) 100*(lowest/baseline - 1), percent: the waterfall plot's bar
    measurable         (n,) baseline at or above the measurable limit
    visits, missed     (n,) number of assessments; of scheduled visits that are none
    first_missed_day, last_day    day of the first missed visit; of the last assessment
    """

    days: NDArray[np.float64]
    evaluable: NDArray[np.bool_]
    assessed: NDArray[np.int8]
    confirmed: NDArray[np.int8]
    best: NDArray[np.int8]
    best_day: NDArray[np.float64]
    response_day: NDArray[np.float64]
    cr_day: NDArray[np.float64]
    progression_day: NDArray[np.float64]
    relapse_day: NDArray[np.float64]
    nadir: NDArray[np.float64]
    lowest: NDArray[np.float64]
    lowest_day: NDArray[np.float64]
    change: NDArray[np.float64]
    measurable: NDArray[np.bool_]
    visits: NDArray[np.int16]
    missed: NDArray[np.int16]
    first_missed_day: NDArray[np.float64]
    last_day: NDArray[np.float64]

    def patient_table(self, ids: ArrayLike | None = None) -> pd.DataFrame:
        """One row a patient: `id` (row number if none are given), `best` as an ordered category, the rest."""
        import pandas as pd

        return pd.DataFrame({"id": np.arange(len(self.best)) if ids is None else np.asarray(ids)} | self.columns())

    def columns(self) -> dict[str, Any]:
        """The columns of `patient_table` but ``id``."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "days"}
        return {name: value for name, value in own.items() if value.ndim == 1} | {"best": responses(self.best)}

    def visit_table(self, ids: ArrayLike | None = None) -> pd.DataFrame:
        """One row a patient and visit: `id`, `time`, `evaluable`, `assessed`, `confirmed`."""
        import pandas as pd

        n, visits = self.assessed.shape
        ids = np.arange(n) if ids is None else np.asarray(ids)
        time = np.broadcast_to(self.days, (n, visits)).ravel()
        table = pd.DataFrame(
            {
                "id": np.repeat(ids, visits),
                "time": time,
                "evaluable": self.evaluable.ravel(),
                "assessed": responses(self.assessed.ravel()),
                "confirmed": responses(self.confirmed.ravel()),
            }
        )
        return table[np.isfinite(time)].reset_index(drop=True)


def judge(
    mprotein: ArrayLike,
    days: ArrayLike,
    baseline: ArrayLike,
    rules: IMWG2016,
    *,
    new_therapy_day: ArrayLike | None = None,
    death_day: ArrayLike | None = None,
    end_day: ArrayLike | None = None,
) -> Judgement:
    """Responses, progression and their dates of n patients at v visits.

    mprotein    (n, v) serum M-protein, g/L; NaN is an unevaluable visit
    days        (v,) or (n, v) days from infusion, increasing; NaN pads patients with fewer visits at the end.
                Visits at or before day 0 are no assessments
    baseline    (n,) or one value, g/L, above 0; NaN (none, or a failed simulation) makes the patient NE
    new_therapy_day, death_day, end_day    (n,) or one value; NaN for none. Later visits are ignored;
                `end_day` is drop-out or the data cut-off

    Raises `InputError` for other rules, shapes that do not fit, negative or infinite values, days that do not
    increase, or a baseline of 0 or less.
    """
    if not isinstance(rules, IMWG2016):
        raise InputError(f"judging needs {IMWG2016.name} rules, not {brief(rules)}; give IMWG2016(...)")
    values = numbers_of("mprotein", mprotein)
    if values.ndim != 2:
        raise InputError(f"mprotein has shape {values.shape}; it must be (patients, visits)")
    n, visits = values.shape
    day = _checked_days(days, n, visits)
    start = _per_patient("baseline", baseline, n)
    bad = np.flatnonzero((start <= 0) | np.isinf(start))
    if bad.size:
        raise InputError(f"baseline[{bad[0]}] is {start[bad[0]]}; it must be above 0 and finite, in g/L")
    therapy = _per_patient("new_therapy_day", new_therapy_day, n)
    death = _per_patient("death_day", death_day, n)
    end = _per_patient("end_day", end_day, n)
    found: dict[str, NDArray[Any]] = {}
    for first in range(0, max(n, 1), _BLOCK):  # one empty block when there are no patients
        rows = slice(first, min(first + _BLOCK, n))
        block = np.ascontiguousarray(values[rows].T, dtype=float)
        wrong = np.argwhere((block < 0) | np.isinf(block))
        if wrong.size:
            visit, patient = wrong[0]
            raise InputError(
                f"mprotein[{first + patient}, {visit}] is {block[visit, patient]}; a concentration is finite "
                "and 0 or more, NaN where the visit is unevaluable"
            )
        block_day = day[:, None] if day.ndim == 1 else day[rows].T
        judged = _judge_block(block, block_day, start[rows], therapy[rows], death[rows], end[rows], rules)
        for name, value in judged.items():
            if name not in found:
                found[name] = np.empty((n, *value.T.shape[1:]), value.dtype)
            found[name][rows] = value.T
    return Judgement(days=day, **found)


def _judge_block(
    m: NDArray[np.float64],
    day: NDArray[np.float64],
    baseline: NDArray[np.float64],
    therapy: NDArray[np.float64],
    death: NDArray[np.float64],
    end: NDArray[np.float64],
    rules: IMWG2016,
) -> dict[str, NDArray[Any]]:
    """`judge` for one block, visits first: m (v, n), day (v, n) or (v, 1), the rest (n,)."""
    visits, n = m.shape
    last_possible = np.fmin(np.fmin(therapy, death), end)
    scheduled = (day > 0) & ~(day > last_possible)
    evaluable = scheduled & np.isfinite(m) & np.isfinite(baseline)

    # Each assessment against baseline and the lowest confirmed value before it.
    fallen = _fallen(m, baseline, rules)
    assessed = np.zeros((visits, n), np.int8)
    nadirs, previous = np.empty((visits + 1, n)), (baseline, np.zeros(n, np.int8))
    nadirs[0] = baseline
    for v in range(visits):
        category = np.where(_risen(m[v], nadirs[v], rules), np.int8(Response.PD), fallen[v])
        assessed[v] = np.where(evaluable[v], category, np.int8(Response.NE))
        nadirs[v + 1], previous = _lowered(nadirs[v], previous, (m[v], assessed[v]), evaluable[v], rules)

    # Each assessment with the next one.
    order = np.arange(visits)[:, None]
    paired, relapsing = assessed, evaluable & ~_at_most(m, rules.ife_limit)
    if rules.confirm:
        following = np.vstack([np.where(evaluable, order, visits)[1:], np.full((1, n), visits)])[:visits]
        following = np.minimum.accumulate(following[::-1])[::-1]
        event = np.int8(Response.PD) * _confirming_event(therapy, death, end, rules)  # else 0, NE
        paired = _confirmed(assessed, np.take_along_axis(np.vstack([assessed, event]), following, axis=0))
        again = np.vstack([relapsing, np.zeros((1, n), bool)])
        relapsing = relapsing & np.take_along_axis(again, following, axis=0)

    # What has been confirmed so far, and when it first was.
    dates = np.vstack([day, np.full((1, day.shape[1]), np.nan)])

    def dated(visit: NDArray[np.intp]) -> NDArray[np.float64]:
        return np.take_along_axis(dates, visit[None, :], axis=0)[0]

    progression = _first(paired == Response.PD)
    progression_day, progressed = dated(progression), order >= progression
    confirmed = np.where(progressed, np.int8(Response.NE), paired)
    so_far = np.maximum.accumulate(confirmed)
    best = confirmed.max(axis=0, initial=np.int8(Response.NE))
    best_day = dated(_first((confirmed == best) & (best != Response.NE)))
    complete = _first(confirmed == Response.CR)
    last = np.where(evaluable, order, -1).max(axis=0, initial=-1)
    last_day = dated(last)
    status = np.where(progressed, np.int8(Response.PD), so_far)
    np.copyto(status, Response.NE, where=~(day <= last_day) & ~progressed)
    only_pd = (progression < visits) & (best == Response.NE)
    best, best_day = np.where(only_pd, np.int8(Response.PD), best), np.where(only_pd, progression_day, best_day)
    seen = np.where(evaluable & (order <= progression), m, np.inf)
    lowest = seen.min(axis=0, initial=np.inf)
    lowest_day = dated(_first((seen == lowest) & np.isfinite(lowest)))
    lowest = np.where(np.isfinite(lowest), lowest, np.nan)
    return {
        "evaluable": evaluable,
        "assessed": assessed,
        "confirmed": status,
        "best": best,
        "best_day": best_day,
        "response_day": dated(_first(confirmed >= Response.PR)),
        "cr_day": dated(complete),
        "progression_day": progression_day,
        "relapse_day": dated(_first(relapsing & (order >= complete))),
        "nadir": np.take_along_axis(nadirs, progression[None, :], axis=0)[0],
        "lowest": lowest,
        "lowest_day": lowest_day,
        "change": 100 * (lowest / baseline - 1),
        "measurable": _at_least(baseline, rules.measurable),
        "visits": evaluable.sum(axis=0, dtype=np.int16),
        "missed": (scheduled & ~evaluable).sum(axis=0, dtype=np.int16),
        "first_missed_day": dated(_first(scheduled & ~evaluable)),
        "last_day": last_day,
    }


def _first(holds: NDArray[np.bool_]) -> NDArray[np.intp]:
    """(n,) The first visit at which it holds, of (v, n); v for none."""
    return np.vstack([holds, np.ones((1, holds.shape[1]), bool)]).argmax(axis=0)


def _fallen(m: NDArray[np.float64], baseline: NDArray[np.float64], rules: IMWG2016) -> NDArray[np.int8]:
    """Category of each assessment (v, n) if it is not one of progression; meaningless where a value is missing."""
    code = np.full(m.shape, Response.SD, np.int8)
    code[_at_most(m, (1 - rules.mr_fall) * baseline)] = Response.MR
    code[_at_most(m, (1 - rules.pr_fall) * baseline)] = Response.PR
    code[_at_most(m, (1 - rules.vgpr_fall) * baseline) | ~_at_least(m, rules.spep_limit)] = Response.VGPR
    code[_at_most(m, rules.ife_limit)] = Response.CR
    return code


def _risen(m: NDArray[np.float64], nadir: NDArray[np.float64], rules: IMWG2016) -> NDArray[np.bool_]:
    """Whether one assessment of each patient is progression from the lowest confirmed value, all (n,)."""
    rise = _at_least(m, (1 + rules.pd_rise) * nadir) & _at_least(m, nadir + rules.pd_absolute)
    return rise | (_at_least(nadir, rules.high_nadir) & _at_least(m, nadir + rules.high_nadir_rise))


_Seen = tuple[NDArray[np.float64], NDArray[np.int8]]  # value and category of an assessment, (n,) each


def _lowered(
    nadir: NDArray[np.float64], previous: _Seen, now: _Seen, counts: NDArray[np.bool_], rules: IMWG2016
) -> tuple[NDArray[np.float64], _Seen]:
    """The lowest confirmed value and the last assessment, once this visit is seen where it counts."""
    reached = np.maximum(previous[0], now[0]) if rules.nadir_confirmed else now[0]
    if rules.nadir_confirmed and rules.nadir_lower:
        response = np.minimum(previous[1], now[1]) >= Response.MR
        reached = np.where(response, np.minimum(previous[0], now[0]), reached)
    last = np.where(counts, now[0], previous[0]), np.where(counts, now[1], previous[1])
    return np.where(counts, np.minimum(nadir, reached), nadir), last


def _confirmed(first: NDArray[np.int8], following: NDArray[np.int8]) -> NDArray[np.int8]:
    """What two successive assessments establish at the first: the lesser response, SD at least; or PD."""
    lesser = np.maximum(np.minimum(first, following), np.int8(Response.SD))
    both_pd = (first == Response.PD) & (following == Response.PD)
    return np.where(first >= Response.SD, lesser, both_pd * np.int8(Response.PD))


def _confirming_event(
    therapy: NDArray[np.float64], death: NDArray[np.float64], end: NDArray[np.float64], rules: IMWG2016
) -> NDArray[np.bool_]:
    """Patients in whom death or new therapy, whichever ended the assessments, stands for a second PD."""
    by_death = np.isfinite(death) & ~(therapy < death) & ~(end < death)
    by_therapy = np.isfinite(therapy) & ~(death <= therapy) & ~(end < therapy)
    return (by_death & rules.pd_confirmed_by_death) | (by_therapy & rules.pd_confirmed_by_therapy)


def _at_most(value: NDArray[np.float64], limit: NDArray[np.float64] | float) -> NDArray[np.bool_]:
    return np.less_equal(value, limit * (1 + TOLERANCE))


def _at_least(value: NDArray[np.float64], limit: NDArray[np.float64] | float) -> NDArray[np.bool_]:
    return np.greater_equal(value, limit * (1 - TOLERANCE))


def numbers_of(what: str, value: ArrayLike) -> NDArray[Any]:
    """The value as an array of numbers. Raises `InputError` for anything else."""
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise InputError(f"{what} holds {array.dtype} values; it must hold numbers only, NaN where missing")
    return array


def _per_patient(what: str, value: ArrayLike | None, n: int) -> NDArray[np.float64]:
    array = numbers_of(what, np.nan if value is None else value).astype(float, copy=False)
    if array.shape not in ((), (n,)):
        raise InputError(f"{what} has shape {array.shape}; give one number or one for each of {n} patients")
    return np.broadcast_to(array, (n,))


def _checked_days(days: ArrayLike, n: int, visits: int) -> NDArray[np.float64]:
    day = numbers_of("days", days).astype(float, copy=False)
    if day.shape not in ((visits,), (n, visits)):
        raise InputError(f"days has shape {day.shape}; mprotein needs ({visits},) or ({n}, {visits})")
    if np.isinf(day).any() or (day.ndim == 1 and np.isnan(day).any()):
        raise InputError("days must be finite numbers; only days of shape (patients, visits) may end in NaN")
    wrong = np.argwhere(~(day[..., 1:] > day[..., :-1]) & ~np.isnan(day[..., 1:]))
    if wrong.size:
        at = tuple(int(i) for i in wrong[0])
        where = ", ".join(str(i) for i in (*at[:-1], at[-1] + 1))
        raise InputError(f"days[{where}] does not come after the visit before it; sort visits, one a day")
    return day


def judge_each(
    mprotein: ArrayLike,
    days: ArrayLike,
    baseline: ArrayLike,
    rules: Sequence[IMWG2016] | Mapping[str, IMWG2016],
    *,
    ids: ArrayLike | None = None,
    **events: ArrayLike | None,
) -> pd.DataFrame:
    """The same patients judged under each of many rules: `Judgement.patient_table`s under a column `rules`.

    A sequence is labelled by the settings that differ from the defaults, a mapping by its keys. Arguments and errors
    are those of `judge`, ``events`` its days; `InputError` too when `rules` is empty or two of them have one label.
    """
    import pandas as pd

    named = dict(rules) if isinstance(rules, Mapping) else {label(rule): rule for rule in rules}
    if not named or len(named) != len(rules):
        raise InputError(f"{len(rules)} rules with {len(named)} labels; give one or more, each different")
    tables: list[pd.DataFrame] = []
    for rule in named.values():
        table = judge(mprotein, days, baseline, rule, **events).patient_table(ids)
        table.insert(0, "rules", categorical(np.full(len(table), len(tables)), tuple(named)))
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def landmark(change: ArrayLike, rules: SinghLandmark, *, baseline: ArrayLike | None = None) -> NDArray[np.int8]:
    """Codes of the bins that hold `change`, percent from baseline at the landmark, any shape; NaN is NE.

    `baseline` (g/L, broadcast against `change`) is needed when `rules.cr_limit` is set. Raises `InputError`
    for a change below -100 % or infinite, or a missing baseline.
    """
    percent = numbers_of("change", change).astype(float)
    ratio = 1 + percent / 100
    wrong = np.flatnonzero((ratio < -TOLERANCE) | np.isinf(ratio))
    if wrong.size:
        raise InputError(
            f"change holds {percent.ravel()[wrong[0]]} %; M-protein cannot fall by more than 100 %, "
            "and a change must be finite"
        )
    code = np.full(ratio.shape, Response.SD, np.int8)
    code[~_at_most(ratio, 1 + rules.pd / 100)] = Response.PD
    for limit, category in ((rules.mr, Response.MR), (rules.pr, Response.PR), (rules.vgpr, Response.VGPR)):
        code[_at_most(ratio, 1 + limit / 100)] = category
    if rules.cr_limit is None:
        complete = ~_at_least(ratio, 1 + rules.cr / 100)
    elif baseline is None:
        raise InputError(f"{label(rules)}: cr_limit is in g/L; give the baseline too")
    else:
        complete = _at_most(ratio * numbers_of("baseline", baseline), rules.cr_limit)
    code[complete] = Response.CR
    code[np.isnan(ratio)] = Response.NE
    return code
