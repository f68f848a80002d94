"""Limits of proportions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def wilson(count: ArrayLike, n: ArrayLike, level: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson score limits of proportions, exactly 0 of nobody and exactly 1 of everybody."""
    from scipy.special import ndtri

    count, n, z = np.asarray(count, float), np.asarray(n, float), ndtri(0.5 + level / 2)
    p, more = count / n, z**2 / n
    middle, half = p + more / 2, z * np.sqrt(p * (1 - p) / n + more / (4 * n))
    low, high = (middle - half) / (1 + more), (middle + half) / (1 + more)
    # The formula gives these up to rounding, such as 1.7e-16.
    return np.where(count == 0, 0.0, low), np.where(count == n, 1.0, high)


def percentages(count: ArrayLike, n: ArrayLike) -> dict[str, Any]:
    """Columns of a table: ``percent``, and its Wilson limits ``low`` and ``high``."""
    low, high = wilson(count, n)
    return {"percent": 100 * np.asarray(count) / np.asarray(n), "low": 100 * low, "high": 100 * high}


def clopper_pearson(
    count: ArrayLike, n: ArrayLike, level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Exact limits of proportions by Clopper and Pearson."""
    from scipy.special import betaincinv

    count, n, tail = np.asarray(count, float), np.asarray(n, float), (1 - level) / 2
    with np.errstate(invalid="ignore"):  # of nobody and of everybody there is no such beta distribution
        low, high = betaincinv(count, n - count + 1, tail), betaincinv(count + 1, n - count, 1 - tail)
    return np.where(count == 0, 0.0, low), np.where(count == n, 1.0, high)
