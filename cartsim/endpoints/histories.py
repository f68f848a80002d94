"""A user's own assessments, a tidy table `id, time, value`, checked and laid out as patients x visits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

_EVENTS = ("new_therapy_day", "death_day", "end_day")


@dataclass(frozen=True)
class Histories:
    """Assessments of n patients, v the most visits any has; NaN pads patients with fewer.

    ids (n,); baseline (n,); days, values (n, v) after day 0; new_therapy_day, death_day, end_day (n,), NaN
    for none.
    """

    ids: NDArray[Any]
    baseline: NDArray[np.float64]
    days: NDArray[np.float64]
    values: NDArray[np.float64]
    new_therapy_day: NDArray[np.float64]
    death_day: NDArray[np.float64]
    end_day: NDArray[np.float64]


def read_histories(
    frame: pd.DataFrame, *, patients: pd.DataFrame | None = None, unit: str = "g/L"
) -> Histories:
    """Lay out a tidy table of assessments.

    `frame` has a row for each assessment: `id`, `time` (days from infusion; visits of a patient in
    increasing order, patients in any), `value` (concentration; empty or NaN is an unevaluable visit), and
    optionally `unit` (must be `unit` in every row) and `baseline` (one number a patient). Without a
    `baseline` column the baseline is the last value at or before day 0.

    `patients`, optional, has a row for each patient: `id` and optionally `baseline` (used before all others),
    `new_therapy_day`, `death_day`, `end_day` (drop-out or cut-off; empty for none). Patients of it without
    assessments are kept, with NaN for a baseline that is nowhere given. Other columns are passed over.

    Raises `InputError`, naming the row (counted from 1 below the header), for a missing column, text in a
    number, a negative or infinite value, unsorted or repeated visits, another unit, an empty id or one that
    `patients` does not list, and a patient with assessments whose baseline is missing, 0 or not one number.
    """
    import pandas as pd

    ids = _ids(frame, "the table", ("id", "time", "value"))
    if not len(frame):
        raise InputError("the table has no rows; give one row for each assessment: id, time, value")
    time = _numbers(frame, "time", ids)
    value = _numbers(frame, "value", ids)
    _refuse(np.isnan(time), frame, ids, "time", "is missing; give the day from infusion")
    _refuse(value < 0, frame, ids, "value", "is negative; a concentration is 0 or more")
    if "unit" in frame:
        other = (frame["unit"].astype(str).str.strip() != unit).to_numpy()
        _refuse(other, frame, ids, "unit", f"is not {unit}; convert all values to {unit}")

    if patients is None:
        code, known = pd.factorize(ids)
    else:
        known = _ids(patients, "the patients table", ("id",))
        twice = pd.Index(known).duplicated()
        _refuse(twice, patients, known, "id", "is listed twice; give each patient one row", "patients row")
        code = pd.Index(known).get_indexer(pd.Index(ids))
        _refuse(code < 0, frame, ids, "id", "is not in the patients table; correct it or add the patient")
    n = len(known)
    _check_order(code, time, ids)

    baseline = _baseline(frame, code, n, time, value, ids)
    events = {name: np.full(n, np.nan) for name in _EVENTS}
    if patients is not None:
        for name in ("baseline", *_EVENTS):
            if name in patients:
                given = _numbers(patients, name, known, "patients row")
                _refuse(given < 0, patients, known, name, "is negative; it must be 0 or more", "patients row")
                if name == "baseline":
                    baseline = np.where(np.isnan(given), baseline, given)
                else:
                    events[name] = given
    unusable = ~(baseline[code] > 0)
    missing = np.isnan(baseline[code])
    why = "has no baseline; give a value at or before day 0 or a baseline column"
    _refuse(unusable & missing, frame, ids, "id", why)
    _refuse(unusable, frame, ids, "id", "has a baseline of 0; change from baseline needs one above 0")

    after = np.flatnonzero(time > 0)
    order = after[np.argsort(code[after], kind="stable")]
    owner = code[order]
    count = np.bincount(owner, minlength=n)
    visit = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    days = np.full((n, int(count.max(initial=0))), np.nan)
    values = days.copy()
    days[owner, visit] = time[order]
    values[owner, visit] = value[order]
    return Histories(ids=np.asarray(known), baseline=baseline, days=days, values=values, **events)


def _baseline(
    frame: pd.DataFrame,
    code: NDArray[np.intp],
    n: int,
    time: NDArray[np.float64],
    value: NDArray[np.float64],
    ids: NDArray[Any],
) -> NDArray[np.float64]:
    """(n,) from the baseline column, else the last value at or before day 0; NaN where there is neither."""
    baseline = np.full(n, np.nan)
    if "baseline" not in frame:
        before = np.flatnonzero((time <= 0) & ~np.isnan(value))
        baseline[code[before]] = value[before]  # rows of a patient are in order: the last one stays
        return baseline
    given = _numbers(frame, "baseline", ids)
    _refuse(given < 0, frame, ids, "baseline", "is negative; it must be above 0")
    stated = np.flatnonzero(~np.isnan(given))[::-1]  # backwards: a patient's first row stays
    baseline[code[stated]] = given[stated]
    differs = ~np.isnan(given) & (given != baseline[code])
    _refuse(differs, frame, ids, "baseline", "is not the baseline of the patient's other rows; give one")
    return baseline


def _check_order(code: NDArray[np.intp], time: NDArray[np.float64], ids: NDArray[Any]) -> None:
    order = np.argsort(code, kind="stable")
    same = code[order][1:] == code[order][:-1]
    late = np.flatnonzero(same & ~(np.diff(time[order]) > 0))
    if late.size:
        earlier, row = order[late[0]], order[late[0] + 1]
        what = f"row {row + 1} (id {_shown(ids[row])}, time {time[row]:g})"
        if time[row] == time[earlier]:
            raise InputError(f"{what} repeats the visit of row {earlier + 1}; keep one row for each visit")
        before = f"time {time[earlier]:g} of row {earlier + 1}"
        raise InputError(f"{what} comes after {before}; sort each patient's rows by time")


def _ids(frame: pd.DataFrame, what: str, needed: tuple[str, ...]) -> NDArray[Any]:
    absent = [name for name in needed if name not in frame]
    if absent:
        held = ", ".join(map(str, frame.columns))
        raise InputError(f"{what} has no column {', '.join(absent)}; its columns are {held}")
    ids = frame["id"]
    empty = np.flatnonzero(ids.isna() | (ids.astype(str).str.strip() == ""))
    if empty.size:
        raise InputError(f"row {empty[0] + 1} of {what} has no id; every row needs one")
    return np.asarray(ids)


def _numbers(frame: pd.DataFrame, column: str, ids: NDArray[Any], row: str = "row") -> NDArray[np.float64]:
    """A column as float64; empty text and missing values are NaN."""
    import pandas as pd

    raw = frame[column]
    number = np.asarray(pd.to_numeric(raw, errors="coerce"), float)
    text = np.isnan(number) & ~(raw.isna() | (raw.astype(str).str.strip() == "")).to_numpy()
    _refuse(text, frame, ids, column, "is not a number; write a number, empty where missing", row)
    _refuse(np.isinf(number), frame, ids, column, "is not finite; write a number, empty where missing", row)
    return number


def _refuse(
    wrong: NDArray[np.bool_], frame: pd.DataFrame, ids: NDArray[Any], column: str, why: str, row: str = "row"
) -> None:
    """Raise `InputError` naming the first wrong row, its id and time, and what its column holds."""
    rows = np.flatnonzero(wrong)
    if rows.size:
        at = rows[0]
        place = f"id {_shown(ids[at])}"
        if "time" in frame and column not in ("id", "time"):
            place += f", time {frame['time'].iloc[at]}"
        raise InputError(f"{row} {at + 1} ({place}): {column} {_shown(frame[column].iloc[at])} {why}")


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str) else str(value)
