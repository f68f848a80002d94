"""On which day a visit takes place: so many whole days before or after the planned one, within a window.

Every day of the window is as likely. The draw belongs to patient and planned day alone (see
`cartsim.population.draws.uniforms`), so that arms share it, and a sample taken at an assessment has its day.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError, brief
from cartsim.population.draws import uniforms

WIDEST = 366  # days before or after
Window = tuple[int, int]


def checked_window(given: Any, what: str) -> Window:
    """A window in whole days. Raises `InputError` for one that does not hold the planned day."""
    try:
        low, high = (int(day) for day in given if day == int(day))
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{what} is {brief(given)}; give whole days before and after, such as (-3, 7)") from None
    if not -WIDEST <= low <= 0 <= high <= WIDEST:
        raise InputError(
            f"{what} of {low} to {high} days; it holds the planned day, 0, and at most {WIDEST} days on either side"
        )
    return low, high


def spans(planned: Sequence[float], window: Window) -> NDArray[np.int64]:
    """(v, 2) First and last day of the window of each visit, from the planned one.

    Windows that would overlap end half-way between the planned days, and none begins before day 1.
    """
    days = np.asarray(planned, float)
    low, high = (np.full(len(days), float(end)) for end in window)
    gaps = np.diff(days)
    half = np.where(window[1] - window[0] >= gaps, np.ceil(gaps / 2) - 1, np.inf)
    low[1:], high[:-1] = np.maximum(low[1:], -half), np.minimum(high[:-1], half)
    low = np.maximum(low, np.minimum(np.ceil(1 - days), 0))
    return np.column_stack([low, high]).astype(np.int64)


def sample_spans(
    kinetics: Sequence[float], window: Window, response: Sequence[float], of_response: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(k, 2) `spans` of samples: those planned on the day of an assessment are taken at it, whenever that is.

    Raises `InputError` for a sample that might come before one planned for an earlier day.
    """
    found = spans(kinetics, window)
    at_visit = dict(zip(response, of_response.tolist(), strict=True))
    for k, day in enumerate(kinetics):
        found[k] = at_visit.get(day, found[k])
    for k, (day, later) in enumerate(pairwise(kinetics)):
        if day in at_visit and later not in at_visit:
            found[k + 1, 0] = max(found[k + 1, 0], np.floor(day + found[k, 1] - later) + 1)
        elif later in at_visit and day not in at_visit:
            found[k, 1] = min(found[k, 1], np.ceil(later + found[k + 1, 0] - day) - 1)
        if found[k, 1] < 0 or found[k + 1, 0] > 0:
            raise InputError(
                f"the samples of day {day:g} and day {later:g} might change places, since one of them is taken at an "
                "assessment, in its window; give a narrower window, or leave one of them out"
            )
    return found


def possible_days(planned: Sequence[float], span: NDArray[np.int64]) -> NDArray[np.float64]:
    """All days, (d,), on which visits may take place."""
    return np.concatenate([day + np.arange(low, high + 1.0) for day, (low, high) in zip(planned, span, strict=True)])


def attended_days(
    planned: Sequence[float], span: NDArray[np.int64], seed: int, start: int, stop: int
) -> NDArray[np.float64]:
    """The days, (n, v), of the visits of patients start..stop-1, increasing."""
    days = np.empty((stop - start, len(planned)))
    for visit, (day, (low, high)) in enumerate(zip(planned, span.tolist(), strict=True)):
        days[:, visit] = day
        if low < high:
            share = uniforms(seed, f"visit/{day:g}", start, stop)
            days[:, visit] += low + np.floor((high - low + 1) * share)
    return days
