"""What a population is described by, and the coordinates in which its likelihood is climbed.

Patient i has the parameters exp(phi_i), phi_i normal with mean mu and covariance Omega. Where the diagonal of Omega is
0 a parameter has no variability: it is the same in all patients, such as the exponent of a covariate in a formula.
Some of these are estimated as they are and not as logarithms, since they may be 0 or less.

Coordinates have no limits: logarithms, and Fisher's z of partial correlations, each of two parameters given those
before them. Any values of these are a correlation matrix (Lewandowski, Kurowicka and Joe 2009,
doi:10.1016/j.jmva.2009.04.008), which is not so of the correlations themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.signedinteger[Any]]
Key = tuple[str, str]  # kind ("typical", "omega", "correlation", "sigma") and name of an estimate

SMALL = 0.02  # omegas below it count as 0
EXTREME = 0.98  # partial correlations beyond it count as -1 or 1
LARGEST_Z = 3.5  # of a partial correlation, 0.998


@dataclass(frozen=True)
class PopulationEstimate:
    """What is estimated: mu (d,), Omega (d, d), and the open SDs of the error models by (label, name of the SD).

    Rows and columns of ``omega`` are 0 for parameters without variability; ``linear`` are the columns of those of them
    whose mu is the parameter itself, and the sizes by which these are measured.
    """

    mu: Floats
    omega: Floats
    sigma: dict[tuple[str, str], float]
    linear: Mapping[int, float] = field(default_factory=dict)

    @property
    def sigmas(self) -> dict[str, dict[str, float]]:
        """The SDs as `PatientLikelihood.log_likelihood` takes them."""
        nested: dict[str, dict[str, float]] = {}
        for (label, name), value in self.sigma.items():
            nested.setdefault(label, {})[name] = value
        return nested

    @property
    def sd(self) -> Floats:
        """Omegas: standard deviations (d,) of the log parameters, 0 for those without variability."""
        return np.sqrt(np.diagonal(self.omega))

    @property
    def varied(self) -> Ints:
        """(q,) Columns of the parameters with variability."""
        return np.flatnonzero(np.diagonal(self.omega) > 0)

    @property
    def same(self) -> Ints:
        """(f,) Columns of the parameters without."""
        return np.flatnonzero(np.diagonal(self.omega) <= 0)

    @property
    def block(self) -> Floats:
        """(q, q) Omega of the parameters with variability."""
        return self.omega[np.ix_(self.varied, self.varied)]

    @property
    def root(self) -> Floats:
        """(d, q) Factor of Omega: phi is mu + root @ eta, eta standard normal."""
        found = np.zeros((len(self.mu), len(self.varied)))
        found[self.varied] = np.linalg.cholesky(self.block)
        return found

    def values(self, phi: Floats) -> Floats:
        """Parameters (..., d) of phi (..., d)."""
        found = np.exp(phi)
        for column in self.linear:
            found[..., column] = phi[..., column]
        return found

    def sizes(self, columns: Ints) -> Floats:
        """By which parameters without variability are measured: 1 for logarithms."""
        return np.array([self.linear.get(int(k), 1.0) for k in columns])

    def without(self, columns: Ints) -> PopulationEstimate:
        """The same with no variability of the parameters in these columns."""
        omega = self.omega.copy()
        omega[columns] = omega[:, columns] = 0.0
        return replace(self, omega=omega)


def pack_estimates(passed: Sequence[PopulationEstimate]) -> dict[str, Floats]:
    """Estimates, one or more of the same model, as arrays by name."""
    return {
        "mu": np.stack([each.mu for each in passed]),
        "omega": np.stack([each.omega for each in passed]),
        "sigma": np.array([list(each.sigma.values()) for each in passed]),
    }


def unpack_estimates(arrays: Mapping[str, Floats], like: PopulationEstimate) -> list[PopulationEstimate]:
    """What `pack_estimates` was given, of the model of ``like``."""
    return [
        replace(like, mu=mu, omega=omega, sigma=dict(zip(like.sigma, sigma.tolist(), strict=True)))
        for mu, omega, sigma in zip(*(arrays[name] for name in ("mu", "omega", "sigma")), strict=True)
    ]


@dataclass(frozen=True)
class Coordinates:
    """From estimates to coordinates and back.

    names: of parameters; free (d,): which means are estimated; full: whether correlations are; like: an estimate that
    has variability where those have that are to be described.
    """

    names: tuple[str, ...]
    free: NDArray[np.bool_]
    full: bool
    like: PopulationEstimate

    @cached_property
    def keys(self) -> list[Key]:
        """(kind, name) of the p coordinates."""
        return list(self.shown(self.like))

    def shown(self, now: PopulationEstimate, every_mean: bool = False) -> dict[Key, float]:
        """The estimates on scales on which they are nearly normal: as the coordinates, but correlations themselves."""
        sd = now.sd
        found = {("typical", name): float(now.mu[i]) for i, name in enumerate(self.names) if self.free[i] or every_mean}
        found |= {("omega", self.names[i]): math.log(sd[i]) for i in now.varied}
        for i, j in self._pairs:
            rho = now.omega[i, j] / (sd[i] * sd[j])
            found["correlation", f"{self.names[j]}, {self.names[i]}"] = math.atanh(min(max(rho, -0.9999), 0.9999))
        return found | {("sigma", f"{label} {name}"): math.log(value) for (label, name), value in now.sigma.items()}

    @cached_property
    def _pairs(self) -> list[tuple[int, int]]:
        varied = self.like.varied.tolist() if self.full else []
        return [(i, j) for at, i in enumerate(varied) for j in varied[:at]]

    @cached_property
    def _correlations(self) -> slice:
        first = int(self.free.sum()) + len(self.like.varied)
        return slice(first, first + len(self._pairs))

    @cached_property
    def same(self) -> dict[int, int]:
        """Where the means of parameters without variability stand: coordinate to column."""
        place = np.cumsum(self.free) - 1
        return {int(place[k]): int(k) for k in self.like.same if self.free[k]}

    def of(self, now: PopulationEstimate) -> Floats:
        """(p,) The coordinates of an estimate."""
        x = np.array(list(self.shown(now).values()))
        if self.full:
            root = np.linalg.cholesky(now.block)
            root /= np.sqrt(np.diagonal(now.block))[:, None]
            below = np.tril(root, -1) ** 2
            rest = np.sqrt(1 - np.cumsum(below, axis=1) + below)
            lower = np.tril_indices(len(root), -1)
            x[self._correlations] = np.arctanh(np.clip(root[lower] / rest[lower], -0.9999, 0.9999))
        return x

    def back(self, x: Floats) -> PopulationEstimate:
        """The estimate with coordinates x (p,); means that are held as in ``like``."""
        now = self.like
        q, at = len(now.varied), int(self.free.sum())
        mu, omega = now.mu.copy(), np.zeros_like(now.omega)
        mu[self.free] = x[:at]
        sd = np.exp(x[at : at + q])
        correlation = np.eye(q)
        if self.full:
            root, partial = np.eye(q), np.zeros((q, q))
            partial[np.tril_indices(q, -1)] = np.tanh(np.clip(x[self._correlations], -LARGEST_Z, LARGEST_Z))
            for j in range(q):
                left = np.sqrt(np.maximum(1 - (root[:, :j] ** 2).sum(axis=1), 0.0))  # in the rows above j it is 0
                root[j + 1 :, j], root[j, j] = (partial[:, j] * left)[j + 1 :], left[j]
            correlation = root @ root.T
        omega[np.ix_(now.varied, now.varied)] = correlation * np.outer(sd, sd)
        sigma = dict(zip(now.sigma, np.exp(x[len(x) - len(now.sigma) :]).tolist(), strict=True))
        return replace(now, mu=mu, omega=omega, sigma=sigma)

    def at_limit(self, now: PopulationEstimate) -> NDArray[np.bool_]:
        """(p,) Which coordinates are at the edge of what they may be: partial correlations near -1 or 1."""
        found = np.zeros(len(self.keys), bool)
        found[self._correlations] = np.abs(np.tanh(self.of(now)[self._correlations])) > EXTREME
        return found

    def slopes(self, now: PopulationEstimate) -> Floats:
        """(p, p) How what is `shown` moves with the coordinates."""
        x, p = self.of(now), len(self.keys)
        found = np.eye(p)
        own = self._correlations
        for k in range(own.start, own.stop):
            ends = [np.array(list(self.shown(self.back(x + h * np.eye(p)[k])).values())) for h in (1e-4, -1e-4)]
            found[own, k] = ((ends[0] - ends[1]) / 2e-4)[own]
        return found
