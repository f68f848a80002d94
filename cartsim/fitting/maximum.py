"""The likelihood of a population about an estimate, with the individual parameters integrated out, and its maximum.

Each patient's posterior is sampled by importance (`cartsim.fitting.posterior`). The likelihood elsewhere is that at
the estimate times the mean, over the draws, of how much more likely data and draw are there; its second derivatives,
the draws held, are the observed information. Newton steps go up, shorter where the information has directions
without positive curvature.

Where a parameter without variability moves, the draws move along, each patient's by minus what the slope of the log
density in that parameter tells: by the covariance of draw and slope, the derivative of the posterior's mean. Shifts do
not change the integral, but without this one its derivatives drown in noise: given a patient's volume, data leave the
exponent of a covariate that the volume depends on no room.

Where the data tell little of a direction of phi, its posterior is nearly the prior, and derivatives by mean and Omega
are small differences of large numbers, which draws that are held drown in noise too. Then the draws move along with
everything, fewer of them: each patient's by the affine map between the normal approximations of its posterior here and
there, whose likelihood is what takes the prior to the posterior here.

What is at its limit is held there: a partial correlation near -1 or 1 (unless the likelihood rises inward), and an
omega near 0, whose parameter then counts as one without variability.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from cartsim.fitting.estimate import SMALL, Coordinates, Floats, Ints, Key, PopulationEstimate
from cartsim.fitting.posterior import Sample, log_normal, sample_posteriors

DRAWS = 1600  # of each patient's posterior, for -2LL
HELD = 800  # of these, for the derivatives of the likelihood
STEPS = 10  # Newton steps, at most
CLOSE, LONGEST = 0.1, 1.5  # of a Newton step, in standard errors: what is not worth taking, what is not exceeded
LITTLE, FEW = 0.8, 50  # share of the prior's variance that is left where data tell little; draws that move along
SHORTER = (1.0, 0.5, 0.25, 0.1)  # of a step, until the likelihood rises
PROBE, WIDEST = 0.005, 0.1  # of a parameter without variability, in its size, for slopes and, at most, for curvature


class Likelihood(Protocol):
    """What is needed to know of data and model; `PatientLikelihood` is one."""

    @property
    def parameters(self) -> tuple[str, ...]: ...

    @property
    def n(self) -> int: ...

    def predict(self, values: Floats, who: Ints) -> list[Floats]: ...

    def log_likelihood(
        self, predicted: list[Floats], who: Ints, sigmas: Mapping[str, Mapping[str, float]] | None = None
    ) -> Floats: ...


@dataclass(frozen=True)
class Maximum:
    """Where the likelihood is highest, or where the search ended.

    names: what was estimated; sample: the patients' posteriors; covariance (p, p): of the estimates on the scale of
    `Coordinates.shown`, NaN where none is known; step (p,): where a Newton step would lead, on the same scale;
    limits: which estimates are held at their limit; path: the estimate after each step.
    """

    population: PopulationEstimate
    names: list[Key]
    sample: Sample
    covariance: Floats
    step: Floats
    limits: list[Key]
    path: list[PopulationEstimate]


def find_maximum(
    likelihood: Likelihood,
    passed: Sequence[PopulationEstimate],
    moments: tuple[Floats, Floats],
    *,
    free: NDArray[np.bool_],
    full: bool,
    least: Mapping[tuple[str, str], float],
    seed: int,
    keep: Callable[[Sequence[PopulationEstimate], tuple[Floats, Floats]], None] = lambda passed, moments: None,
) -> Maximum:
    """Climb by Newton steps from the last estimate that was ``passed``, the first being where the climb began.

    moments: means (n, d) and covariances (n, d, d) of the patients' phi, where sampling begins; free (d,): which means
    are estimated; full: whether correlations are; least: what SDs of errors may fall to; keep: is
    given the estimates passed and the moments after each step, from which the climb can go on.
    """
    now, (mean, spread) = passed[-1], moments
    omegas, path = passed[0].varied, list(passed[1:])
    for left in reversed(range(STEPS + 1 - len(path))):
        now = _without_vanished(now)
        sample, mean, spread = _posteriors(likelihood, now, mean, spread, seed)
        coordinates = Coordinates(likelihood.parameters, free, full, now)
        surface = _Surface(likelihood, coordinates, sample)
        gradient, curvature = surface.derivatives()
        x = surface.center
        held = (coordinates.at_limit(now) & (gradient * x >= 0)) | ~np.isfinite(gradient)
        curvature[~np.isfinite(curvature)] = 0.0
        active = np.flatnonzero(~held)
        inside = np.ix_(active, active)
        covariance = np.full(curvature.shape, np.nan)
        covariance[inside] = _inverse(-curvature[inside], surface.sizes[active])
        unknown = np.isnan(np.diagonal(covariance))
        step = np.where(unknown[:, None] | unknown, 0.0, covariance) @ np.where(unknown, 0.0, gradient)
        near = (np.abs(step) < CLOSE * np.sqrt(np.diagonal(covariance)))[~unknown].all()
        if not left or (near and not unknown[active].any()):
            break
        ways = [] if near else [(step, 0.0)]
        if unknown[active].any():
            along = np.zeros(len(x))
            along[active] = _uphill(-curvature[inside], gradient[active], surface.sizes[active])
            ways.insert(0, (along, CLOSE**2 / 2))
        better = (moved for way, least_gain in ways for moved in surface.upwards(x, way, gradient, least_gain))
        moved = next(better, None)
        if moved is None:
            break
        now = coordinates.back(moved)
        now = replace(now, sigma={key: max(value, least[key]) for key, value in now.sigma.items()})
        path.append(now)
        keep([passed[0], *path], (mean, spread))
    limits = [key for key, at in zip(coordinates.keys, held, strict=True) if at]
    limits += [("omega", likelihood.parameters[k]) for k in omegas if not now.omega[k, k]]
    slopes = coordinates.slopes(now)
    lost = unknown | ((slopes[:, unknown & ~held] ** 2).sum(axis=1) > 1e-6)
    covariance = slopes @ np.where(unknown[:, None] | unknown, 0.0, covariance) @ slopes.T
    covariance[lost] = covariance[:, lost] = np.nan
    step = np.where(lost, np.nan, slopes @ step)
    return Maximum(now, coordinates.keys, sample, covariance, step, limits, path)


def _without_vanished(now: PopulationEstimate) -> PopulationEstimate:
    """No variability where an omega is as good as 0, but for the largest one."""
    small = np.flatnonzero((now.sd > 0) & (now.sd < SMALL))
    return now.without(small[small != now.sd.argmax()])


def _posteriors(
    likelihood: Likelihood, now: PopulationEstimate, mean: Floats, spread: Floats, seed: int
) -> tuple[Sample, Floats, Floats]:
    """Importance samples of eta, phi = mu + root eta, begun where phi is known to be; its new mean and covariance."""
    root, varied = now.root, now.varied
    back = np.linalg.inv(root[varied])

    def target(eta: Floats, who: Ints) -> Floats:
        predicted = likelihood.predict(now.values(now.mu + eta @ root.T), who)
        return likelihood.log_likelihood(predicted, who, now.sigmas) + log_normal(eta)

    # The chains' covariances are noisy: a hundredth of the prior's keeps them positive.
    around = back @ spread[:, varied[:, None], varied] @ back.T + 0.01 * np.eye(len(varied))
    sample = sample_posteriors(target, (mean - now.mu)[:, varied] @ back.T, around, seed, draws=DRAWS)
    return sample, now.mu + sample.mean() @ root.T, root @ sample.covariance() @ root.T


class _Surface:
    """How the log likelihood of a population changes about an estimate, draws from the posteriors being held."""

    def __init__(self, likelihood: Likelihood, coordinates: Coordinates, sample: Sample) -> None:
        self.likelihood, self.coordinates = likelihood, coordinates
        self.now = coordinates.like
        eta = sample.resampled(HELD)
        self.shape = eta.shape[:2]
        self.phi = self.now.mu + eta @ self.now.root.T
        self.who = np.repeat(np.arange(self.shape[0]), self.shape[1])
        self.same = np.array(list(coordinates.same.values()), int)
        self.drift = np.zeros((self.shape[0], len(self.now.mu), len(self.same)))  # of phi, by what `same` move
        self.drift[:, self.same, np.arange(len(self.same))] = 1.0
        self.center = coordinates.of(self.now)
        self.sizes = np.ones(len(self.center))
        self.sizes[list(coordinates.same)] = self.now.sizes(self.same)
        self.steps = np.full(len(self.center), 0.02)
        self.steps[: coordinates.free.sum()] = 0.05 * self.now.sd[coordinates.free]
        self.precision: Floats | None = None  # (n, q, q) of the normal that stands for a patient's likelihood
        self._forget()
        if len(self.same):
            self._follow()
        spread = sample.covariance()
        if np.linalg.eigvalsh(spread.mean(axis=0))[-1] > LITTLE:
            self._let_go(sample, spread)
        self.here = self._heights(coordinates.back(self.center))

    def _forget(self) -> None:
        self.predicted: dict[tuple[float, ...], list[Floats]] = {}
        self.data: dict[tuple[float, ...], Floats] = {}

    def _follow(self) -> None:
        """Learn how draws move with parameters without variability, and which steps these may take."""
        varied, slopes = self.now.varied, []
        for place, size in zip(self.coordinates.same, self.now.sizes(self.same), strict=True):
            shift = PROBE * size * np.eye(len(self.center))[place]
            ends = [self._heights(self.coordinates.back(self.center + sign * shift)) for sign in (1, -1)]
            with np.errstate(invalid="ignore"):
                slope = (ends[0] - ends[1]) / (2 * PROBE * size)
            slopes.append(np.where(np.isfinite(slope), slope, 0.0))
            sharpest = np.sqrt((slopes[-1] ** 2).mean(axis=1).max())
            self.steps[place] = min(WIDEST * size, 0.3 / max(sharpest, 1e-300))
        off = self.phi - self.phi.mean(axis=1, keepdims=True)
        for k, slope in enumerate(slopes):
            self.drift[:, varied, k] = np.einsum("nsd,ns->nd", off[..., varied], slope) / self.shape[1]
        self._forget()

    def _let_go(self, sample: Sample, spread: Floats) -> None:
        """Let few draws move along with everything."""
        now, varied = self.now, self.now.varied
        root = now.root[varied]
        back = np.linalg.inv(root)
        told, ways = np.linalg.eigh(spread)
        told = 1 / np.clip(told, 1e-6, 0.99) - 1  # precisions of the likelihood, in those of the prior
        self.precision = back.T @ (ways * told[:, None]) @ np.swapaxes(ways, 1, 2) @ back
        mean = now.mu[varied] + sample.mean() @ root.T
        whole = self.precision + np.linalg.inv(now.block)
        self.pull = np.einsum("nij,nj->ni", whole, mean) - np.linalg.inv(now.block) @ now.mu[varied]
        eta = sample.resampled(FEW)
        self.shape = eta.shape[:2]
        self.who = np.repeat(np.arange(self.shape[0]), self.shape[1])
        self.phi = now.mu + eta @ now.root.T
        self.root = np.linalg.cholesky(np.linalg.inv(whole))
        self.white = np.einsum("nij,nsj->nsi", np.linalg.inv(self.root), self.phi[..., varied] - mean[:, None])
        count = int(self.coordinates.free.sum())
        step = np.maximum(0.2 * now.sd[self.coordinates.free], 0.05)
        kept = np.isin(np.arange(count), list(self.coordinates.same))
        self.steps[:count] = np.where(kept, self.steps[:count], step)
        self.steps[count : len(self.steps) - len(now.sigma)] = 0.15

    def _there(self, p: PopulationEstimate) -> tuple[Floats, Floats]:
        """The draws (n, s, d) moved along to an estimate, and the logs (n, 1) of how the map stretches."""
        shift = (self.drift @ (p.mu[self.same] - self.now.mu[self.same]))[:, None]
        if self.precision is None:
            return (self.phi + shift if shift.any() else self.phi), np.zeros((len(shift), 1))
        varied, prior = self.now.varied, np.linalg.inv(p.block)
        spread = np.linalg.inv(self.precision + prior)
        mean = np.einsum("nij,nj->ni", spread, self.pull + prior @ p.mu[varied])
        root = np.linalg.cholesky(spread)
        phi = self.phi + shift
        phi[..., varied] = mean[:, None] + shift[..., varied] + np.einsum("nij,nsj->nsi", root, self.white)
        stretch = np.diagonal(root, axis1=1, axis2=2) / np.diagonal(self.root, axis1=1, axis2=2)
        return phi, np.log(stretch).sum(axis=1, keepdims=True)

    def _heights(self, p: PopulationEstimate) -> Floats:
        """Log density (n, s) of data and draws."""
        varied = self.now.varied
        phi, stretch = self._there(p)
        off = (phi - p.mu)[..., varied].reshape(-1, len(varied))
        square = ((off @ np.linalg.inv(np.linalg.cholesky(p.block)).T) ** 2).sum(axis=1).reshape(self.shape)
        return self._data(p, phi) - 0.5 * (square + np.linalg.slogdet(p.block)[1]) + stretch

    def _data(self, p: PopulationEstimate, phi: Floats) -> Floats:
        """Log likelihood (n, s) of the data; 0 where nothing that it depends on is estimated."""
        if self.precision is not None:
            predicted = self.likelihood.predict(self.now.values(phi.reshape(-1, phi.shape[2])), self.who)
            return self.likelihood.log_likelihood(predicted, self.who, p.sigmas).reshape(self.shape)
        if not p.sigma and not len(self.same):
            return np.zeros(self.shape)
        moved = tuple(p.mu[self.same].tolist())
        key = (*moved, *p.sigma.values())
        if key not in self.data:
            if moved not in self.predicted:
                values = self.now.values(phi.reshape(-1, phi.shape[2]))
                self.predicted[moved] = self.likelihood.predict(values, self.who)
            height = self.likelihood.log_likelihood(self.predicted[moved], self.who, p.sigmas)
            self.data[key] = height.reshape(self.shape)
        return self.data[key]

    def gain(self, x: Floats) -> float:
        """How much higher the log likelihood is at coordinates x (p,)."""
        higher = self._heights(self.coordinates.back(x)) - self.here
        return float((logsumexp(higher, axis=1) - math.log(self.shape[1])).sum())

    def upwards(self, x: Floats, step: Floats, gradient: Floats, worth: float) -> Iterator[Floats]:
        """Where the likelihood is higher by more than ``worth``, along a step of at most `LONGEST` standard errors."""
        length = math.sqrt(max(float(gradient @ step), 0.0))  # in standard errors, whatever the direction
        step = step * min(1.0, LONGEST / max(length, 1e-300))
        for share in SHORTER:
            if self.gain(x + share * step) > worth:
                yield x + share * step

    def derivatives(self) -> tuple[Floats, Floats]:
        """Gradient (p,) and second derivatives (p, p)."""
        return _finite_differences(self.gain, self.center, self.steps)


def _finite_differences(function: Any, x: Floats, step: Floats) -> tuple[Floats, Floats]:
    """Gradient and second derivatives by central differences."""
    p = len(x)
    shift = np.diag(step)
    middle = function(x)
    up, down = (np.array([function(x + sign * shift[i]) for i in range(p)]) for sign in (1, -1))
    second = np.diag((up - 2 * middle + down) / step**2)
    for i in range(p):
        for j in range(i):
            corners = [function(x + a * shift[i] + b * shift[j]) * a * b for a in (1, -1) for b in (1, -1)]
            second[i, j] = second[j, i] = sum(corners) / (4 * step[i] * step[j])
    return (up - down) / (2 * step), second


def _inverse(information: Floats, sizes: Floats) -> Floats:
    """Covariance of the estimates; NaN for those that the data do not identify."""
    values, vectors = np.linalg.eigh(information * np.outer(sizes, sizes))
    good = values > 1e-6 * max(values.max(), 1e-300)
    covariance = (vectors[:, good] / values[good]) @ vectors[:, good].T * np.outer(sizes, sizes)
    # An estimate with a part in a direction without information has no standard error.
    lost = (vectors[:, ~good] ** 2).sum(axis=1) > 1e-3
    covariance[lost] = np.nan
    covariance[:, lost] = np.nan
    return covariance


def _uphill(information: Floats, gradient: Floats, sizes: Floats) -> Floats:
    """A Newton step; where curvature is not positive, as if it were."""
    values, vectors = np.linalg.eigh(information * np.outer(sizes, sizes))
    curvature = np.maximum(np.abs(values), 1e-6 * max(values.max(), 1e-300))
    return vectors @ (vectors.T @ (gradient * sizes) / curvature) * sizes
