"""By what size a number is measured that is estimated as it is, not as its logarithm.

Steps of a search and of finite differences, and what counts as no information, are in that size. The start alone does
not tell it: a start of 0 has none, and one of a millionth is no reason to look no further than millionths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

LEAST, ENOUGH, MOST = 1e-3, 0.1, 10.0  # share by which a step moves predictions: of the start's own size, of another
TRIES = 40


def telling(start: float, change: Callable[[float], float]) -> float:
    """The size of the start, or the power of ten times it that makes a difference.

    change: by which share a step from the start moves predictions, NaN where there are none. Where no step makes a
    difference it is the start's own, 1 for 0.
    """
    own = size = abs(start) or 1.0
    for _ in range(TRIES):
        moved = change(size)
        least = LEAST if size == own else ENOUGH
        if least <= moved <= MOST:
            return size
        size *= 10.0 if moved < least else 0.1
    return own


def share_moved(shifts: Sequence[NDArray[np.float64]], values: Sequence[NDArray[np.float64]]) -> float:
    """The largest shift of any series beside the size of its values (root mean squares); NaN where one is NaN."""
    sizes = [np.sqrt(np.mean(each**2)) or 1.0 for each in values]
    return float(np.max([np.sqrt(np.mean(shift**2)) / size for shift, size in zip(shifts, sizes, strict=True)]))
