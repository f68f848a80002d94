"""The scale on which a parameter is estimated, its limits, and the free coordinate that the search moves.

Three numbers stand for a parameter: its value, `u` (the logarithm of the value, or the value itself), on which
priors, standard errors and limits of confidence are normal, and `x`, any real number, in which limits cannot
be left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.errors import InputError, brief

AT_LIMIT = 1e-3  # share of the allowed range (of u) next to a limit that counts as at the limit
INSIDE = 1e-2  # share of the range by which a start on a limit is moved inside


@dataclass(frozen=True)
class Prior:
    """What another fit found: the estimate, and its relative standard error as a fraction.

    On the log scale the prior is log-normal with the estimate as median and `rse` as SD of the logarithm, on the
    linear scale normal with SD `rse` times the estimate.
    """

    estimate: float
    rse: float

    def __post_init__(self) -> None:
        for name in ("estimate", "rse"):
            number = getattr(self, name)
            if not isinstance(number, Real) or not math.isfinite(number):
                raise InputError(f"prior: {name} is {brief(number)}; give a number")
        if self.rse <= 0 or self.estimate == 0:
            raise InputError(
                f"prior {self.estimate:g} with rse {self.rse:g}: the estimate must not be 0, and "
                "the rse, a fraction, must be above 0"
            )


@dataclass(frozen=True)
class Axis:
    """A number to be estimated: a parameter, or the standard deviation of an error model.

    start, low, high: in the parameter's unit; scale: "log" or "linear"; size: the u of one unit of x, so that x is of
    order one.
    """

    name: str
    unit: str
    start: float
    scale: str = "log"
    low: float = -math.inf
    high: float = math.inf
    prior: Prior | None = None
    size: float = 1.0

    @property
    def ends(self) -> tuple[float, float]:
        """The limits of u."""
        if self.scale == "linear":
            return self.low, self.high
        return (math.log(self.low) if self.low > 0 else -math.inf, math.log(self.high))

    @property
    def prior_u(self) -> tuple[float, float]:
        """Mean and SD of the prior of u; (0, inf) without one."""
        if self.prior is None:
            return 0.0, math.inf
        if self.scale == "log":
            return math.log(self.prior.estimate), self.prior.rse
        return self.prior.estimate, self.prior.rse * abs(self.prior.estimate)

    def u(self, value: float) -> float:
        return math.log(value) if self.scale == "log" else value

    def value(self, u: ArrayLike) -> NDArray[np.float64]:
        return np.exp(u) if self.scale == "log" else np.asarray(u)

    def x(self, u: float) -> float:
        """The coordinate of u; next to a limit, where x is infinite, that of a place a little inside."""
        low, high = self.ends
        if math.isinf(low) and math.isinf(high):
            return u / self.size
        if math.isinf(high):
            return math.log(max((u - low) / self.size, INSIDE))
        if math.isinf(low):
            return -math.log(max((high - u) / self.size, INSIDE))
        share = min(max((u - low) / (high - low), INSIDE), 1 - INSIDE)
        return math.log(share / (1 - share))

    def u_of_x(self, x: ArrayLike) -> NDArray[np.float64]:
        low, high = self.ends
        if math.isinf(low) and math.isinf(high):
            return np.asarray(x) * self.size
        x = np.clip(x, -700, 700)
        if math.isinf(high):
            return low + self.size * np.exp(x)
        if math.isinf(low):
            return high - self.size * np.exp(-x)
        return low + (high - low) / (1 + np.exp(-x))

    def slope(self, x: float) -> float:
        """du/dx."""
        low, high = self.ends
        if math.isinf(low) and math.isinf(high):
            return self.size
        u = float(self.u_of_x(x))
        if math.isinf(high):
            return u - low
        if math.isinf(low):
            return high - u
        return (u - low) * (high - u) / (high - low)

    def at_limit(self, u: float) -> str | None:
        """Which limit u has come to, "lower" or "upper"; None for none."""
        low, high = self.ends
        width = self.size if math.isinf(low) or math.isinf(high) else high - low
        if u - low < AT_LIMIT * width:
            return "lower"
        return "upper" if high - u < AT_LIMIT * width else None
