"""The two scales of a state: natural, as the model file states it, and carried, ln of it where it is log-scaled.

A pool below e^-600 (1e-261) of its unit is empty until the next dose: its logarithm is set to -650, its slope to 0, and
it reads as exactly 0. The gap between the two keeps every ratio with an empty pool within the range of doubles.
"""

from __future__ import annotations

import math
from typing import Any

from cartsim.engine.piece import piece

NOTHING = -600.0
ABSENT = -650.0
EMPTY = math.exp(NOTHING)
EMPTY_BELOW = -625.0
"""ln of a pool that is empty, as the integrator marks it, lies below this."""

compiled: Any = piece(_nrt=False)
inlined: Any = piece(_nrt=False, forceinline=True)
"""For the pieces of compiled functions. They count no references, and so can make no array: a step costs no more."""


@inlined
def carried(value: Any, log: Any) -> Any:
    """A natural value as it is carried: ABSENT where its pool is empty."""
    if not log:
        return value
    if value > 0.0:
        return math.log(value)
    return ABSENT if value <= 0.0 else value  # what is no number is no empty pool either


@inlined
def natural(value: Any, log: Any) -> Any:
    """A carried value in its unit."""
    if not log:
        return value
    return math.exp(value) if value > NOTHING else 0.0
