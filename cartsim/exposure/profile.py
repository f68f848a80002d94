"""Limits of the profile likelihood: values that a likelihood-ratio test does not refuse, whatever the others are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, chdtri

from cartsim.exposure.likelihood import Objective, maximum

Floats = NDArray[np.float64]

FAR = 16.0  # standard errors from the estimate, beyond which a limit counts as infinite


def profile_limits(
    objective: Objective, theta: Floats, spread: Floats, directions: Floats, level: float
) -> tuple[Floats, Floats]:
    """Limits (k, 2) of linear combinations of the parameters, infinite where the likelihood never refuses; and the
    p-value (k,) of each being 0.

    objective: minus the log-likelihood; theta (p,): where it is least; spread (p, p): about its covariance there;
    directions (k, p): the combinations.
    """
    least, target = objective(theta)[0], float(chdtri(1, 1 - level)) / 2
    limits, p = np.full((len(directions), 2), np.nan), np.full(len(directions), np.nan)
    for k, each in enumerate(directions):
        along = _Along(objective, theta, spread, each, least)
        limits[k] = along.limit(-1, target), along.limit(1, target)
        p[k] = chdtrc(1, max(0.0, 2 * along.drop(-along.value)))
    return limits, p


class _Along:
    """The profile along one combination of the parameters."""

    def __init__(self, objective: Objective, theta: Floats, spread: Floats, direction: Floats, least: float) -> None:
        from scipy.linalg import null_space

        self.objective, self.theta, self.least = objective, theta, least
        self.value = float(direction @ theta)
        self.seen = {0.0: theta}  # maxima found so far, to begin from
        self.basis = null_space(direction[None, :])
        variance = float(direction @ spread @ direction)
        self.se = np.sqrt(variance)
        self.way = spread @ direction / variance  # where the others go as the combination grows by 1

    def drop(self, by: float) -> float:
        """By how much the log-likelihood falls where the combination is moved by so much."""
        if by not in self.seen:
            near = min(self.seen, key=lambda each: abs(each - by))
            self.seen[by], _ = maximum(self.objective, self.seen[near] + (by - near) * self.way, self.basis, still=1e-7)
        return self.objective(self.seen[by])[0] - self.least

    def limit(self, sign: int, target: float) -> float:
        from scipy.optimize import brentq

        inner, outer = 0.0, 2 * self.se
        while self.drop(sign * outer) < target:
            if outer >= FAR * self.se:
                return sign * np.inf
            inner, outer = outer, 2 * outer
        root = brentq(lambda by: self.drop(sign * by) - target, inner, outer, xtol=1e-7 * self.se)
        return self.value + sign * float(root)
