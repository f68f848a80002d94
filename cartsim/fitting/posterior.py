"""Many small posterior distributions at once: their modes, and their moments by importance sampling.

A target is the log density of a patient's posterior over eta (d,), the patient's deviations from the typical
parameters in standard deviations of the population, so that the prior is standard normal. It is evaluated for
rows of patients side by side (one `simulate` call), `target(eta, who)` with eta (r, d) and who (r,) the patient of
each row, and returns (r,), minus infinity where something is impossible.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

Floats = NDArray[Any]
Ints = NDArray[np.signedinteger[Any]]
Target = Callable[[Floats, Ints], Floats]

SLOPE_STEP = 0.005  # of eta, for gradients by central differences
CURVE_STEP = 0.1  # of eta, for second derivatives
FLAT = 0.01  # the search ends when no component of the gradient exceeds this
NEAR = 0.05  # a mode is found when a Newton step from it would be shorter than this, in posterior SD
LONGEST = 2.0  # longest step of the search, in SD of the prior
STEPS = np.array([1.0, 0.5, 2.0, 0.25, 0.1, 0.02])  # of the quasi-Newton step, all tried at once
WALL = 1e10  # what the search takes for minus the log of an impossible density
HEAVY = 5.0  # degrees of freedom of the proposals' t distributions
PRIOR_SHARE = 0.1  # of the draws
KERNELS = 40  # distributions in a proposal that follows earlier draws
ADAPTED, BATCH, ROUNDS = 150, 200, 12  # effective draws that end the adaptation; draws of a round; rounds at most


@dataclass(frozen=True)
class Modes:
    """Posterior modes of n patients: eta (n, d), log_density (n,), covariance (n, d, d), converged (n,).

    ``covariance`` is the inverse of minus the second derivative (Laplace), in units of the prior.
    """

    eta: Floats
    log_density: Floats
    covariance: Floats
    converged: NDArray[np.bool_]


@dataclass(frozen=True)
class Sample:
    """Weighted draws of n posteriors: eta (n, s, d), weight (n, s) summing to 1, log_evidence (n,).

    ``log_evidence`` is the log of the mean density of the patient's data over the prior.
    """

    eta: Floats
    weight: Floats
    log_evidence: Floats

    @property
    def ess(self) -> Floats:
        """(n,) Effective number of draws, 1/sum(weight^2)."""
        return 1 / (self.weight**2).sum(axis=1)

    def mean(self) -> Floats:
        """Posterior means, (n, d)."""
        return np.einsum("ns,nsd->nd", self.weight, self.eta)

    def covariance(self) -> Floats:
        """Posterior covariances, (n, d, d)."""
        off = self.eta - self.mean()[:, None]
        return np.einsum("ns,nsd,nse->nde", self.weight, off, off)

    def resampled(self, k: int) -> Floats:
        """(n, k, d) Draws of equal weight, by systematic resampling."""
        picked = _at_shares(self.weight, (np.arange(k) + 0.5) / k)
        return np.take_along_axis(self.eta, picked[:, :, None], axis=1)

    def quantiles(self, levels: tuple[float, ...]) -> Floats:
        """Posterior quantiles of each component, (levels, n, d)."""
        n, _, d = self.eta.shape
        found = np.empty((len(levels), n, d))
        for k in range(d):
            order = np.argsort(self.eta[:, :, k], axis=1)
            x = np.take_along_axis(self.eta[:, :, k], order, 1)
            w = np.take_along_axis(self.weight, order, 1)
            below = np.cumsum(w, axis=1) - w / 2
            for i in range(n):
                found[:, i, k] = np.interp(levels, below[i], x[i])
        return found


def find_modes(target: Target, n: int, d: int, *, screen: int = 128, starts: int = 3, iterations: int = 50) -> Modes:
    """The highest mode of each of n posteriors in d dimensions, and the curvature there.

    The prior is screened at its center and ``screen`` Sobol points; from the best ``starts`` of them a BFGS search
    runs for all patients at once, with gradients by central differences and the step lengths tried side by side.
    """
    from scipy.special import ndtri
    from scipy.stats import qmc

    points = ndtri(qmc.Sobol(d, scramble=False).random(screen)[1:])  # the first point is the corner of the cube
    points = np.concatenate([np.zeros((1, d)), points])
    everyone = np.arange(n)
    heights = target(np.tile(points, (n, 1)), np.repeat(everyone, len(points))).reshape(n, -1)
    best = np.argsort(-heights, axis=1)[:, :starts]
    eta, value, slope = _search(target, points[best].reshape(-1, d), np.repeat(everyone, starts), iterations)
    chosen = value.reshape(n, starts).argmin(axis=1) + starts * everyone
    eta, slope = eta[chosen], slope[chosen]
    covariance = _laplace(target, eta, everyone)
    newton = np.sqrt(np.einsum("ni,nij,nj->n", slope, covariance, slope))
    return Modes(eta, -value[chosen], covariance, newton < NEAR)


def sample_posteriors(
    target: Target, center: Floats, covariance: Floats, seed: int, *, draws: int = 800, attempts: int = 4
) -> Sample:
    """Importance sampling from proposals that are first adapted to each posterior.

    The first proposal is a t distribution about ``center`` (n, d) with ``covariance`` (n, d, d). Further ones are
    mixtures of t distributions about draws picked by their weight, which follow a posterior of any shape (population
    Monte Carlo, Cappe 2004, doi:10.1198/106186004X12803), until a patient's draws, each weighted against all proposals
    so far, are worth ``ADAPTED``. The sample itself is then ``draws`` new ones from such a mixture: those of the
    adaptation would bias the evidence. All proposals have a share of the prior, so that weights are bounded. Patients
    whose sample is worth less than a tenth of its draws, because the adaptation missed a part of the posterior, get up
    to ``attempts``. Each patient has random numbers of its own, so that errors of patients are independent.
    """
    n, d = center.shape
    found = Sample(np.zeros((n, draws, d)), np.eye(1, draws).repeat(n, axis=0), np.zeros(n))
    poor = np.arange(n)
    for attempt in range(attempts):
        generators = [np.random.default_rng((seed, attempt, int(i))) for i in poor]

        def of_poor(eta: Floats, who: Ints, poor: Ints = poor) -> Floats:
            return target(eta, poor[who])

        new = _sample(of_poor, center[poor], covariance[poor], generators, draws)
        better = new.ess > found.ess[poor]
        for old_part, new_part in zip(vars(found).values(), vars(new).values(), strict=True):
            old_part[poor[better]] = new_part[better]
        poor = np.flatnonzero(found.ess < draws / 10)
        if not poor.size:
            break
    return found


def _sample(
    target: Target, center: Floats, covariance: Floats, generators: list[np.random.Generator], draws: int
) -> Sample:
    """One attempt of `sample_posteriors`, with a generator for each patient."""
    n, d = center.shape
    eta, log_target, log_sum = np.zeros((n, 0, d)), np.zeros((n, 0)), np.zeros((n, 0))
    proposals: list[tuple[Ints, Floats, Floats]] = []
    at = np.arange(n)
    centers, roots = center[:, None], np.linalg.cholesky(covariance)
    for _ in range(ROUNDS):
        drawn, heights, own = _drawn(target, at, centers, roots, BATCH, generators)
        log_sum[at] = np.logaddexp(log_sum[at], _log_proposal(eta[at], centers, roots))
        for earlier, old_centers, old_roots in proposals:
            place = np.searchsorted(earlier, at)  # whoever draws now has drawn in all rounds before
            own = np.logaddexp(own, _log_proposal(drawn, old_centers[place], old_roots[place]))
        proposals.append((at, centers, roots))
        # Patients who need no more draws get empty ones, of no weight.
        eta, log_target, log_sum = (
            np.concatenate([old, _placed(new, at, n, fill)], axis=1)
            for old, new, fill in ((eta, drawn, 0.0), (log_target, heights, -np.inf), (log_sum, own, 0.0))
        )
        weight = _weights(log_target - log_sum)
        at = np.flatnonzero(1 / (weight**2).sum(axis=1) < ADAPTED)
        if not at.size:
            break
        centers, roots = _kernels(eta[at], weight[at])
    centers, roots = _kernels(eta, weight)
    eta, heights, own = _drawn(target, np.arange(n), centers, roots, draws, generators)
    return Sample(eta, _weights(heights - own), logsumexp(heights - own, axis=1) - np.log(draws))


def _drawn(
    target: Target, at: Ints, centers: Floats, roots: Floats, draws: int, generators: list[np.random.Generator]
) -> tuple[Floats, Floats, Floats]:
    """Draws (a, draws, d) of the patients ``at`` (a,), the target there, and the log density of their proposal."""
    eta = _draw(centers, roots, draws, [generators[i] for i in at])
    heights = target(eta.reshape(-1, eta.shape[2]), np.repeat(at, draws)).reshape(len(at), draws)
    return eta, heights, _log_proposal(eta, centers, roots)


def _draw(centers: Floats, roots: Floats, draws: int, generators: list[np.random.Generator]) -> Floats:
    """Draws (n, draws, d): evenly from t distributions about centers (n, j, d) with roots (n, d, d), a share of the
    prior.
    """
    j, d = centers.shape[1:]
    z = np.stack([g.standard_normal((draws, d)) for g in generators])
    stretch = np.sqrt(HEAVY / np.stack([g.chisquare(HEAVY, (draws, 1)) for g in generators]))
    from_prior = np.stack([g.random((draws, 1)) for g in generators]) < PRIOR_SHARE
    around = centers[:, np.arange(draws) % j] + np.einsum("nij,nsj->nsi", roots, z * stretch)
    return np.where(from_prior, z, around)


def _log_proposal(eta: Floats, centers: Floats, roots: Floats) -> Floats:
    """Log density (n, s) of what `_draw` draws from."""
    from scipy.special import gammaln

    j, d = centers.shape[1:]
    inverse = np.linalg.inv(roots)
    x, c = np.einsum("nij,nsj->nsi", inverse, eta), np.einsum("nij,nkj->nki", inverse, centers)
    square = sum((x[:, :, None, i] - c[:, None, :, i]) ** 2 for i in range(d))
    constant = gammaln((HEAVY + d) / 2) - gammaln(HEAVY / 2) - 0.5 * d * np.log(HEAVY * np.pi)
    log_t = logsumexp(-0.5 * (HEAVY + d) * np.log1p(square / HEAVY), axis=2) - np.log(j) + constant
    log_t -= np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)[:, None]
    return np.logaddexp(np.log1p(-PRIOR_SHARE) + log_t, np.log(PRIOR_SHARE) + log_normal(eta))


def _kernels(eta: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Centers (n, KERNELS, d), picked by weight, and roots (n, d, d) of the covariance about each."""
    d = eta.shape[2]
    mean = np.einsum("ns,nsd->nd", weight, eta)
    off = eta - mean[:, None]
    spread = np.einsum("ns,nsd,nse->nde", weight, off, off)
    picked = _at_shares(weight, (np.arange(KERNELS) + 0.5) / KERNELS)
    # Silverman's width for as many points as are effective, at most KERNELS.
    points = np.minimum(1 / (weight**2).sum(axis=1), KERNELS)
    width = (4 / ((d + 2) * points)) ** (2 / (d + 4))
    roots = np.linalg.cholesky(width[:, None, None] * spread + 1e-3 * np.eye(d))
    return np.take_along_axis(eta, picked[:, :, None], axis=1), roots


def _at_shares(weight: Floats, shares: Floats) -> Ints:
    """(n, shares) Which draw holds each share of the total weight."""
    steps = np.cumsum(weight, axis=1)
    steps /= steps[:, -1:]
    return np.stack([np.searchsorted(row, shares) for row in steps])


def _placed(part: Floats, at: Ints, n: int, fill: float) -> Floats:
    whole = np.full((n, *part.shape[1:]), fill)
    whole[at] = part
    return whole


def _weights(log_ratio: Floats) -> Floats:
    return np.exp(log_ratio - logsumexp(log_ratio, axis=1, keepdims=True))


def log_normal(eta: Floats) -> Floats:
    """Log density of standard normal variables, summed over the last axis."""
    return -0.5 * (eta**2).sum(axis=-1) - 0.5 * eta.shape[-1] * np.log(2 * np.pi)


def _search(target: Target, x: Floats, who: Ints, iterations: int) -> tuple[Floats, Floats, Floats]:
    """Minima of minus the target from the rows of x by BFGS, their values and gradients."""
    r, d = x.shape
    x = x.copy()
    cost = _cost(target, x, who)
    slope = _gradient(target, x, who)
    inverse = np.tile(np.eye(d), (r, 1, 1))  # the prior's curvature is 1, so this is a good start
    fresh = np.ones(r, bool)
    going = np.abs(slope).max(axis=1) > FLAT
    for _ in range(iterations):
        at = np.flatnonzero(going)
        if not at.size:
            break
        direction = -np.einsum("rij,rj->ri", inverse[at], slope[at])
        size = np.linalg.norm(direction, axis=1, keepdims=True)
        direction *= np.minimum(1, LONGEST / np.maximum(size, 1e-300))
        tried = x[at, None] + STEPS[:, None] * direction[:, None]
        costs = _cost(target, tried.reshape(-1, d), np.repeat(who[at], len(STEPS))).reshape(len(at), -1)
        best = costs.argmin(axis=1)
        rows = np.arange(len(at))
        better = costs[rows, best] < cost[at]
        # A search that cannot go down starts again from the prior's curvature, and ends if that fails too.
        stuck = at[~better]
        going[stuck] = ~fresh[stuck]
        inverse[stuck], fresh[stuck] = np.eye(d), True

        moved = at[better]
        if not moved.size:
            continue
        step = tried[rows, best][better] - x[moved]
        x[moved] += step
        cost[moved] = costs[rows, best][better]
        new_slope = _gradient(target, x[moved], who[moved])
        inverse[moved] = _updated(inverse[moved], step, new_slope - slope[moved])
        slope[moved], fresh[moved] = new_slope, False
        going[moved] = np.abs(new_slope).max(axis=1) > FLAT
    return x, cost, slope


def _updated(inverse: Floats, step: Floats, change: Floats) -> Floats:
    """The BFGS update of inverse second derivatives (r, d, d); left alone where curvature is not positive."""
    product = (step * change).sum(axis=1)
    good = product > 1e-10
    rho = np.where(good, 1 / np.where(good, product, 1), 0)[:, None, None]
    eye = np.eye(step.shape[1])
    left = eye - rho * step[:, :, None] * change[:, None, :]
    return left @ inverse @ np.swapaxes(left, 1, 2) + rho * step[:, :, None] * step[:, None, :]


def _cost(target: Target, x: Floats, who: Ints) -> Floats:
    value = -target(x, who)
    return np.where(np.isfinite(value), value, WALL)


def _gradient(target: Target, x: Floats, who: Ints) -> Floats:
    d = x.shape[1]
    shifts = SLOPE_STEP * np.concatenate([np.eye(d), -np.eye(d)])
    costs = _cost(target, (x[:, None] + shifts).reshape(-1, d), np.repeat(who, 2 * d)).reshape(-1, 2, d)
    return (costs[:, 0] - costs[:, 1]) / (2 * SLOPE_STEP)


def _laplace(target: Target, x: Floats, who: Ints) -> Floats:
    """Inverse second derivatives of minus the target (r, d, d), by central differences, made positive."""
    r, d = x.shape
    a, b = np.triu_indices(d)
    eye = CURVE_STEP * np.eye(d)
    shifts = np.concatenate([s * eye[a] + t * eye[b] for s, t in ((1, 1), (1, -1), (-1, 1), (-1, -1))])
    costs = _cost(target, (x[:, None] + shifts).reshape(-1, d), np.repeat(who, len(shifts))).reshape(r, 4, -1)
    second = np.empty((r, d, d))
    second[:, a, b] = (costs[:, 0] - costs[:, 1] - costs[:, 2] + costs[:, 3]) / (4 * CURVE_STEP**2)
    second[:, b, a] = second[:, a, b]
    values, vectors = np.linalg.eigh(second)
    # Below half the prior's curvature the posterior would be wider than the prior, which only noise can say.
    return (vectors / np.maximum(values, 0.5)[:, None, :]) @ np.swapaxes(vectors, 1, 2)
