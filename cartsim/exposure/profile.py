"""Limits of the profile likelihood: values that a likelihood-ratio test does not refuse, whatever the others are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, chdtri

from cartsim.exposure.likelihood import Objective, maximum

Floats = NDArray[np.float64]

FAR = 16.0  # standard errors from the estimate, beyond which a limit counts as infinite


def profile_limits(
    objective: Objective, theta: Floats, spread: Floats, directions: Floats, level: float, ends: Floats | None = None
) -> Floats:
    """Limits (k, 2) of linear combinations of the parameters, infinite where the likelihood never refuses.

    objective: minus the log-likelihood; theta (p,): where it is least; spread (p, p): about its covariance there;
    directions (k, p): the combinations; ends (k, 2): a limit beyond them is infinite; where NaN (or not given), beyond
    `FAR` standard errors from the estimate.
    """
    target = float(chdtri(1, 1 - level)) / 2
    profiles = [_Profile(objective, theta, spread, each) for each in directions]
    far = np.array([[each.value - FAR * each.se, each.value + FAR * each.se] for each in profiles])
    ends = far if ends is None else np.where(np.isnan(ends), far, ends)
    return np.array([[own.limit(end, target) for end in pair] for own, pair in zip(profiles, ends, strict=True)])


def profile_pvalues(objective: Objective, theta: Floats, spread: Floats, directions: Floats) -> Floats:
    """p-values (k,) of the same combinations being 0, by the likelihood ratio."""
    profiles = [_Profile(objective, theta, spread, each) for each in directions]
    return np.array([chdtrc(1, max(0.0, 2 * each.drop(-each.value))) for each in profiles])


class _Profile:
    """The likelihood along one combination of the parameters, the others at their best."""

    def __init__(self, objective: Objective, theta: Floats, spread: Floats, direction: Floats) -> None:
        from scipy.linalg import null_space

        self.objective, self.least = objective, objective(theta)[0]
        self.value = float(direction @ theta)
        self.seen = {0.0: theta}  # where it was the highest so far, to begin from
        self.basis = null_space(direction[None, :])
        variance = float(direction @ spread @ direction)
        self.se = np.sqrt(variance)
        self.way = spread @ direction / variance  # where the others go as the combination grows by 1

    def drop(self, by: float, enough: float = -np.inf) -> float:
        """By how much the log-likelihood falls where the combination is moved by so much, or that it is ``enough``."""
        if by not in self.seen:
            near = min(self.seen, key=lambda each: abs(each - by))
            start = self.seen[near] + (by - near) * self.way
            found, _ = maximum(self.objective, start, self.basis, still=1e-7, enough=self.least + enough)
            self.seen[by] = found
        return self.objective(self.seen[by])[0] - self.least

    def limit(self, end: float, target: float) -> float:
        from scipy.optimize import brentq

        last = end - self.value
        inner, outer = 0.0, float(np.copysign(min(2 * self.se, abs(last)), last))
        while self.drop(outer, 0.9 * target) < target:
            if abs(outer) >= abs(last):
                return float(np.copysign(np.inf, last))
            inner, outer = outer, float(np.copysign(min(2 * abs(outer), abs(last)), last))
        root = brentq(lambda by: self.drop(by) - target, *sorted((inner, outer)), xtol=1e-7 * self.se)
        return self.value + float(root)
