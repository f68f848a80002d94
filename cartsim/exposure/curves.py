"""The logit of the probability as a function of exposure and covariates, with its derivatives.

Inside, columns are centered and scaled to unit standard deviation, so that units change nothing; ``transform`` and
``offset`` lead to the parameters as they are reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scaling:
    """Mean and standard deviation (q,) of columns."""

    center: Floats
    scale: Floats

    @classmethod
    def of(cls, columns: Floats) -> Scaling:
        """Of the columns (n, q), none of which is constant."""
        # Divided by the largest first: the square of 1e200 has no number.
        size = np.abs(columns).max(axis=0, initial=0)
        return cls(columns.mean(axis=0), (columns / size).std(axis=0) * size)

    def __call__(self, columns: Floats) -> Floats:
        return (columns - self.center) / self.scale


@dataclass(frozen=True, eq=False)
class LinearCurve:
    """logit p = intercept + slope f(exposure) + covariates, f the natural logarithm or nothing.

    names: of the parameters; log: whether f is the logarithm; scaling: of f(exposure) and the covariates.
    """

    names: tuple[str, ...]
    log: bool
    scaling: Scaling

    shape = 2

    def inputs(self, x: Floats, z: Floats) -> Floats:
        """(n, p) Columns, the intercept first, of exposures (n,) and covariates (n, q)."""
        own = self.scaling(np.column_stack([np.log(x) if self.log else x, z]))
        return np.column_stack([np.ones(len(x)), own])

    def logit(self, theta: Floats, inputs: Floats) -> tuple[Floats, Floats]:
        """Logits (n,) and their derivatives by the parameters (n, p)."""
        return inputs @ theta, inputs

    def curvature(self, theta: Floats, inputs: Floats, weights: Floats) -> Floats:
        """(p, p) Second derivatives of the logits, weighted and summed."""
        return np.zeros((len(theta), len(theta)))

    @cached_property
    def transform(self) -> Floats:
        """(p, p) From parameters inside to those reported."""
        found = np.diag(np.concatenate([[1.0], 1 / self.scaling.scale]))
        found[0, 1:] = -self.scaling.center / self.scaling.scale
        return found

    @cached_property
    def offset(self) -> Floats:
        """(p,) What is added to them."""
        return np.zeros(len(self.names))

    @cached_property
    def positive(self) -> NDArray[np.bool_]:
        """(p,) Parameters whose logarithm is meant."""
        return np.zeros(len(self.names), dtype=bool)


@dataclass(frozen=True, eq=False)
class EmaxCurve:
    """logit p = E0 + Emax x^H/(EC50^H + x^H) + covariates.

    Inside: E0 (at the mean of the covariates), Emax, ln EC50 from ``middle``, ln H if it is estimated, covariates.
    names: of the parameters; hill: H, None if it is estimated; middle: of the logarithms of exposures.
    """

    names: tuple[str, ...]
    hill: float | None
    middle: float
    scaling: Scaling

    @property
    def shape(self) -> int:
        """How many parameters there are without covariates."""
        return 3 if self.hill is not None else 4

    def inputs(self, x: Floats, z: Floats) -> Floats:
        """(n, 1 + q) Logarithms of exposure from the middle, and covariates."""
        with np.errstate(divide="ignore"):
            return np.column_stack([np.log(x) - self.middle, self.scaling(z)])

    def steepness(self, theta: Floats) -> float:
        """H."""
        return float(np.exp(np.clip(theta[3], -50, 50))) if self.hill is None else self.hill  # beyond: a step

    def logit(self, theta: Floats, inputs: Floats) -> tuple[Floats, Floats]:
        """Logits (n,) and their derivatives by the parameters (n, p)."""
        u, s = self._share(theta, inputs)
        bent = theta[1] * s * (1 - s)
        parts = [np.ones(len(s)), s, -self.steepness(theta) * bent]
        if self.hill is None:
            parts.append(u * bent)
        jacobian = np.column_stack([*parts, inputs[:, 1:]])
        return theta[0] + theta[1] * s + inputs[:, 1:] @ theta[self.shape :], jacobian

    def curvature(self, theta: Floats, inputs: Floats, weights: Floats) -> Floats:
        """(p, p) Second derivatives of the logits, weighted and summed."""
        u, s = self._share(theta, inputs)
        h = self.steepness(theta)
        first, second = weights * s * (1 - s), weights * s * (1 - s) * (1 - 2 * s)
        found = np.zeros((len(theta), len(theta)))
        found[1, 2] = found[2, 1] = -h * first.sum()
        found[2, 2] = theta[1] * h**2 * second.sum()
        if self.hill is None:
            found[1, 3] = found[3, 1] = first @ u
            found[2, 3] = found[3, 2] = -theta[1] * h * (first.sum() + second @ u)
            found[3, 3] = theta[1] * (first @ u + second @ u**2)
        return found

    def effects(self, theta: Floats, inputs: Floats) -> tuple[Floats, Floats]:
        """Derivatives of the logits (n, p), those by ln EC50 and ln H for an Emax of 1, and how these change (k, n, p)
        with ln EC50 and, if it is estimated, ln H.
        """
        u, s = self._share(theta, inputs)
        h = self.steepness(theta)
        bent = s * (1 - s)
        turned = bent * (1 - 2 * s)
        own, none = [-h * bent], np.zeros(len(s))
        changes = [[h**2 * turned]]
        if self.hill is None:
            own.append(u * bent)
            both = -h * (bent + u * turned)
            changes = [[h**2 * turned, both], [both, u * bent + u**2 * turned]]
        z = inputs[:, 1:]
        columns = np.column_stack([np.ones(len(s)), s, *own, z])
        return columns, np.array(
            [np.column_stack([none, by, *each, np.zeros_like(z)]) for by, each in zip(own, changes, strict=True)]
        )

    def _share(self, theta: Floats, inputs: Floats) -> tuple[Floats, Floats]:
        """H ln(x/EC50), 0 where there is no exposure, and the share of Emax."""
        u = self.steepness(theta) * (inputs[:, 0] - theta[2])
        return np.where(np.isfinite(u), u, 0.0), expit(u)

    @cached_property
    def transform(self) -> Floats:
        """(p, p) From parameters inside to those reported (of EC50 and H, their logarithms)."""
        found = np.diag(np.concatenate([np.ones(self.shape), 1 / self.scaling.scale]))
        found[0, self.shape :] = -self.scaling.center / self.scaling.scale
        return found

    @cached_property
    def offset(self) -> Floats:
        """(p,) What is added to them."""
        return np.where(np.arange(len(self.names)) == 2, self.middle, 0.0)

    @cached_property
    def positive(self) -> NDArray[np.bool_]:
        """(p,) Parameters whose logarithm is meant."""
        return np.isin(np.arange(len(self.names)), [2, 3] if self.hill is None else [2])


Curve = LinearCurve | EmaxCurve
