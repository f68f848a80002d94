"""Limits of proportions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def wilson(count: ArrayLike, n: ArrayLike, level: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson score limits of proportions (statsmodels), exactly 0 of nobody and exactly 1 of everybody."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(count, n, alpha=1 - level, method="wilson")
    # The formula gives these up to rounding, such as 1.7e-16.
    return np.where(np.equal(count, 0), 0.0, low), np.where(np.equal(count, n), 1.0, high)


def percentages(count: ArrayLike, n: ArrayLike) -> dict[str, Any]:
    """Columns of a table: ``percent``, and its Wilson limits ``low`` and ``high``."""
    low, high = wilson(count, n)
    return {"percent": 100 * np.asarray(count) / np.asarray(n), "low": 100 * low, "high": 100 * high}


def clopper_pearson(
    count: ArrayLike, n: ArrayLike, level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Exact limits of proportions by Clopper and Pearson (statsmodels)."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(count, n, alpha=1 - level, method="beta")
    return low, high
