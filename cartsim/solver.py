"""How accurately and by which rules a model is integrated."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cartsim.errors import InputError

RTOL = 1e-6
FINE = 1e-8  # of a pooled fit, whose predictions then keep 9 digits from one candidate to the next
LOOSEST, TIGHTEST = 1e-4, 1e-11  # looser, rare patients come out wrong; tighter, rounding takes over


@dataclass(frozen=True)
class Solver:
    """Settings of the integrator.

    Parameters
    ----------
    rtol
        Relative tolerance, 1e-4 to 1e-11; log-scaled states keep it however small they become.
    extinction
        Cells below which a pool is gone until the next dose; by default none ever is, as the published equations say.
    max_steps
        Steps after which a patient is given up, with a status of its own.

    Raises
    ------
    InputError
        For a number outside these limits.
    """

    rtol: float = RTOL
    extinction: float | None = None
    max_steps: int = 20_000

    def __post_init__(self) -> None:
        try:
            good = TIGHTEST <= self.rtol <= LOOSEST
        except TypeError:
            good = False
        if not good:
            raise InputError(f"rtol is {self.rtol}; give a number from {TIGHTEST:g} to {LOOSEST:g} (default {RTOL:g})")
        try:
            good = self.extinction is None or 0 <= self.extinction < math.inf
        except TypeError:
            good = False
        if not good:
            raise InputError(f"extinction is {self.extinction!r}; give a number of cells, 0 or more")
        if isinstance(self.max_steps, bool) or not isinstance(self.max_steps, int) or self.max_steps < 1:
            raise InputError(f"max_steps is {self.max_steps!r}; give a whole number of steps, 1 or more")
