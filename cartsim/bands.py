"""Quantiles over patients at every time, the bands of curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def quantiles(values: ArrayLike, levels: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles (l, m) of the values (n, m) of n patients, of those that are numbers; NaN where there are none.

    Linear between neighbors, those of ``numpy.nanquantile`` to the last bit: a sort of whole rows takes a fifth of its
    time. Levels are between 0 and 1.
    """
    ordered = np.sort(np.asarray(values, float).T, axis=1)  # NaN comes last
    if not ordered.shape[1]:
        return np.full((len(levels), len(ordered)), np.nan)
    last = np.maximum(ordered.shape[1] - 1 - np.isnan(ordered).sum(axis=1), 0)
    place = np.asarray(levels, float)[:, None] * last
    below = place.astype(np.int64)
    share, time = place - below, np.arange(len(ordered))
    low, high = ordered[time, below], ordered[time, np.minimum(below + 1, last)]
    step = high - low
    return np.where(share < 0.5, low + step * share, high - step * (1 - share))
