"""How good predictions are, by proper scores: lower is better, and no other prediction scores better than the truth.

The interval score (Gneiting and Raftery 2007, doi:10.1198/016214506000001437) is the width of the interval and, for
what lies outside, 2/alpha times the distance to it. The log score is minus the logarithm of the probability of what
happened.

Rows of different units are brought to scales without unit before they are put together: shares as fractions, times and
ratios as natural logarithms, correlations as Fisher's z. A difference of 0.1 is then ten percentage points, or about
ten percent of a time. A median that is not reached counts as the last visit of the trial.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.schedule import MONTH
from cartsim.trial.published import Row

Floats = NDArray[np.float64]

ALPHA = 0.1
"""Of the intervals: they hold 90 %."""

DIGIT = {"months": 0.05, "days": 0.5, "": 0.005}
"""Half a unit of the last digit that is published, by unit."""

_SMALLEST = 0.01  # days, months or ratio: what lies below counts as this, since 0 has no logarithm
_LARGEST_RATIO = 1000.0


def interval_score(low: ArrayLike, high: ArrayLike, value: ArrayLike, alpha: float = ALPHA) -> Floats:
    """Interval score of intervals that hold 1 - alpha, on the scale of the three."""
    low, high, value = (np.asarray(each, float) for each in (low, high, value))
    outside = np.maximum(low - value, 0) + np.maximum(value - high, 0)
    score: Floats = high - low + 2 / alpha * outside
    return score


def count_log_score(counts: ArrayLike, n: int, observed: int) -> float:
    """Minus the log probability of a count of n, the prediction being counts (k,) of simulated trials.

    Each of these is spread over its neighbors by a normal kernel (Silverman's width; where that is below half a count
    hardly at all), cut off at 0 and n, and one more draw is even over all counts, so that no score is infinite.
    """
    drawn = np.asarray(counts, float)
    possible = np.arange(n + 1.0)
    width = max(_silverman(drawn), 1e-3)
    values, times = np.unique(drawn, return_counts=True)
    kernels = np.exp(-0.5 * ((possible - values[:, None]) / width) ** 2)
    kernels[np.arange(len(values)), np.abs(possible - values[:, None]).argmin(axis=1)] += 1e-300
    mass = float((times * kernels[:, observed] / kernels.sum(axis=1)).sum())
    return -math.log((mass + 1 / (n + 1)) / (len(drawn) + 1))


def density_log_score(drawn: ArrayLike, observed: float, least: float, extent: tuple[float, float]) -> float:
    """Minus the log density at an observed number, the prediction being numbers (k,) of simulated trials.

    A normal kernel of Silverman's width, at least ``least``; one more draw is even over ``extent``.
    """
    values = np.asarray(drawn, float)
    width = max(_silverman(values), least)
    kernels = np.exp(-0.5 * ((observed - values) / width) ** 2) / (width * math.sqrt(2 * math.pi))
    low, high = extent
    return -math.log((float(kernels.sum()) + 1 / (high - low)) / (len(values) + 1))


def _silverman(values: Floats) -> float:
    spread = float(values.std())
    between = float(np.subtract(*np.quantile(values, (0.75, 0.25)))) / 1.34
    narrow = min(spread, between) if between > 0 else spread
    return float(0.9 * narrow * len(values) ** -0.2)


def extent_of(row: Row, last: float) -> tuple[float, float]:
    """The range of a row's statistic on its own scale; ``last``: month of the last visit."""
    if row.unit == "%":
        return 0.0, 100.0
    if row.statistic == "correlation":
        return -0.999, 0.999
    if row.statistic == "ratio of medians":
        return 1 / _LARGEST_RATIO, _LARGEST_RATIO
    return _SMALLEST, last * (MONTH if row.unit == "days" else 1.0)


def scaled(row: Row, values: ArrayLike, last: float) -> Floats:
    """Values of a row's statistic on the scale without unit."""
    low, high = extent_of(row, last)
    known = np.clip(np.asarray(values, float), low, high)
    if row.unit == "%":
        return known / 100
    return np.arctanh(known) if row.statistic == "correlation" else np.log(known)


def log_score(row: Row, drawn: Floats, last: float) -> float:
    """Minus the log probability (counts) or density (on the scale without unit) of what was published."""
    if row.statistic == "share" and row.n and row.events is not None:
        return count_log_score(np.rint(drawn * row.n / 100), row.n, row.events)
    extent = scaled(row, extent_of(row, last), last)
    values, observed = scaled(row, drawn, last), float(scaled(row, row.value, last))
    digit = DIGIT.get(row.unit, 0.5)
    least = float(np.diff(scaled(row, [row.value - digit, row.value + digit], last))[0]) / 2
    return density_log_score(values, observed, least, (float(extent[0]), float(extent[1])))
