"""Differences between two treatments of the same patients, with limits that know the patients are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.endpoints.survival import Estimate
from cartsim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable


def difference_of_rates(a: ArrayLike, b: ArrayLike, *, level: float = 0.95) -> Estimate:
    """Rate of ``a`` minus rate of ``b`` in percentage points, (n,) true or false of the same patients in each.

    Limits of Bonett and Price 2012 (doi:10.3102/1076998611411915): Wald limits with one discordant pair added on
    either side, so that they have a width even where the two never differ.
    """
    from scipy.special import ndtri

    first, second = _pairs(a, b)
    n = len(first)
    only_a, only_b = int((first > second).sum()), int((second > first).sum())
    p, q = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    half = ndtri(0.5 + level / 2) * np.sqrt((p + q - (p - q) ** 2) / (n + 2))
    low, high = max(-1.0, p - q - half), min(1.0, p - q + half)
    return Estimate(100 * (only_a - only_b) / n, 100 * low, 100 * high, level=level)


def difference_of_means(a: ArrayLike, b: ArrayLike, *, level: float = 0.95) -> Estimate:
    """Mean of a - b (n,) with Student limits; pairs with a missing value (NaN) are left out."""
    from scipy.special import stdtrit

    first, second = _pairs(a, b)
    d = (first - second)[np.isfinite(first - second)]
    if d.size < 2:
        return Estimate(float(d.mean()) if d.size else np.nan, np.nan, np.nan, level=level)
    se = float(d.std(ddof=1) / np.sqrt(d.size))
    half = float(stdtrit(d.size - 1, 0.5 + level / 2)) * se
    mean = float(d.mean())
    return Estimate(mean, mean - half, mean + half, se, level)


def ratio_of_means(a: ArrayLike, b: ArrayLike, *, level: float = 0.95) -> Estimate:
    """Geometric mean of a/b (n,) with limits; pairs with a value that is missing or not above 0 are left out."""
    first, second = _pairs(a, b)
    good = (first > 0) & (second > 0)
    d = difference_of_means(np.log(first[good]), np.log(second[good]), level=level)
    return Estimate(float(np.exp(d.value)), float(np.exp(d.low)), float(np.exp(d.high)), d.std_error, level)


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    n: int,
    *,
    times: int = 500,
    seed: int = 2021,
    level: float = 0.95,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """A statistic of patients with percentile limits (value, low, high), each of the statistic's shape.

    ``statistic`` takes the rows of the patients (n,) that are drawn, with replacement.
    """
    rng = np.random.default_rng(seed)
    draws = np.array([statistic(rng.integers(0, n, n)) for _ in range(times)])
    known = np.isfinite(draws).any(axis=0)
    low, high = np.full(draws.shape[1:], np.nan), np.full(draws.shape[1:], np.nan)
    if known.any():
        tail = 50 * (1 - level)
        low[known], high[known] = np.nanpercentile(draws[:, known], [tail, 100 - tail], axis=0)
    return np.asarray(statistic(np.arange(n)), float), low, high


def _pairs(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = np.asarray(a, float), np.asarray(b, float)
    if first.ndim != 1 or first.shape != second.shape or first.size == 0:
        raise InputError(f"paired values have shapes {first.shape} and {second.shape}; give two lists of one length")
    return first, second
