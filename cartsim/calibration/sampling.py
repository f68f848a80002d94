"""The posterior of estimates: a search for its mode, then independent ensembles of walkers until they agree.

All is done in ``z``, SDs from the prior's median, so that the prior is standard normal. First the likelihood of Sobol
points of the prior is computed, and differential evolution (scipy) goes on from the best of them to the mode. Then
ensembles of emcee start wide and apart from each other: from prior points drawn by the likelihood to a power so small
that many of them count, parted by where they lie, so that ensembles agree only once they have mixed. They move by
differential evolution and stretch steps (not by emcee's snooker, whose draws of a normal distribution in 14 dimensions
are a tenth too narrow), and the first third of their steps is left out. Sampling ends when all estimates have an R-hat
and effective size as asked, or at a limit, of which the result tells.

What is drawn depends on the seed alone: an ensemble has its own random numbers and is advanced by one thread. After
every few steps the state is kept, random numbers included, so that a run which was interrupted goes on bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.calibration.convergence import effective_size, r_hat
from cartsim.errors import InputError
from cartsim.runs import Trail, bar
from cartsim.threads import in_threads, threads

if TYPE_CHECKING:
    from cartsim.runs import Arrays

Floats = NDArray[np.float64]
LogLikelihood = Callable[[Floats], Floats]
"""Log likelihood (k,) at places z (k, d)."""

PRIOR_POINTS = 2048
POPULATION, GENERATIONS = 64, 60  # of differential evolution
REACH = 6.0  # SDs of the prior that the search looks through
BATCH = 16  # places evaluated in one call
EACH = 3  # effective draws a walker, at least
BLOCK = 20  # steps after which the state is kept and convergence is judged
FLAT, WIDE = 0.25, 2.0  # the largest power of the likelihood for the starts; prior points that count, of a walker
MOVES = (("DEMove", 0.8), ("StretchMove", 0.2))


@dataclass(frozen=True)
class Settings:
    """How the posterior is sampled.

    Attributes
    ----------
    seed
        Of all that is drawn.
    ensembles, walkers
        Independent ensembles, and walkers in each; by default 32, or twice as many as estimates and 4.
    r_hat, effective
        Sampling ends when all estimates have an R-hat below, and an effective size above; and above `EACH` a walker,
        since shorter walks tell more of where they began.
    evaluations
        At most so many places are evaluated.
    minutes
        At most so long; None for no limit. A run that ends by it is not the same on another machine.
    """

    seed: int = 2021
    ensembles: int = 4
    walkers: int | None = None
    r_hat: float = 1.05
    effective: float = 400.0
    evaluations: int = 300_000
    minutes: float | None = None

    def of(self, d: int) -> Settings:
        """The settings with a number of walkers for d estimates."""
        return replace(self, walkers=max(32, 2 * d + 4) // 4 * 4 if self.walkers is None else self.walkers)

    def inputs(self) -> dict[str, Any]:
        """What the draws depend on: no limits."""
        return {"seed": self.seed, "ensembles": self.ensembles, "walkers": self.walkers}


@dataclass(frozen=True)
class Chains:
    """What was drawn so far: all steps of all ensembles.

    Attributes
    ----------
    z
        (steps, ensembles, walkers, d) Places.
    log_posterior
        (steps, ensembles, walkers) Log of likelihood times prior there, up to a constant.
    mode, mode_log_posterior
        (d,) The best place found, and the log posterior there.
    evaluations
        Places evaluated so far.
    random
        State of the random numbers of each ensemble: (ensembles, 624), and (ensembles, 3).
    """

    z: Floats
    log_posterior: Floats
    mode: Floats
    mode_log_posterior: float
    evaluations: int
    random: tuple[NDArray[np.uint32], Floats]

    @property
    def kept(self) -> Floats:
        """The steps that count, (steps, ensembles, walkers, d)."""
        return self.z[self.left_out :]

    @property
    def left_out(self) -> int:
        """How many steps at the beginning do not count."""
        return len(self.z) // 3

    def pack(self) -> Arrays:
        """As arrays, for a checkpoint."""
        return {
            "z": self.z,
            "log_posterior": self.log_posterior,
            "mode": self.mode,
            "mode_log_posterior": np.array([self.mode_log_posterior]),
            "evaluations": np.array([self.evaluations]),
            "keys": self.random[0],
            "places": self.random[1],
        }

    @classmethod
    def unpack(cls, arrays: Arrays) -> Chains:
        """What `pack` was given. Raises ValueError or the like if it is not that."""
        z = arrays["z"]
        if z.ndim != 4 or arrays["log_posterior"].shape != z.shape[:3] or arrays["keys"].shape != (z.shape[1], 624):
            raise ValueError("not the state of a calibration")
        return cls(
            z,
            arrays["log_posterior"],
            arrays["mode"],
            float(arrays["mode_log_posterior"][0]),
            int(arrays["evaluations"][0]),
            (arrays["keys"], arrays["places"]),
        )


@dataclass(frozen=True)
class Sampled:
    """Draws of a posterior, and what is known of them.

    Attributes
    ----------
    z
        (draws, d) Places in SDs of the prior.
    log_posterior
        (draws,)
    mode
        (d,) The best place found.
    r_hat, effective
        (d,) Of each estimate; NaN where a sampler has none.
    converged
        Whether they are as asked.
    said
        How the sampling ended, in words.
    evaluations
        Places evaluated.
    chains
        All steps of the ensembles, or None.
    evidence
        Log evidence and its error, of a sampler that knows it.
    """

    z: Floats
    log_posterior: Floats
    mode: Floats
    r_hat: Floats
    effective: Floats
    converged: bool
    said: str
    evaluations: int
    chains: Chains | None = None
    evidence: tuple[float, float] | None = None


class Posterior:
    """Log posterior of places, evaluated by several threads; counts what it evaluates."""

    def __init__(self, log_likelihood: LogLikelihood, n_jobs: int) -> None:
        self.log_likelihood, self.many = log_likelihood, threads(n_jobs)

    def __call__(self, z: Floats) -> Floats:
        """(k,) At places (k, d), in one thread."""
        return _plain(self.log_likelihood(z)) - 0.5 * (z**2).sum(axis=1)

    def shared(self, z: Floats, advance: Callable[[int], None]) -> Floats:
        """(k,) Log likelihood at places (k, d), by all threads."""
        tasks = (partial(self.log_likelihood, z[i : i + BATCH]) for i in range(0, len(z), BATCH))
        parts = []
        for part in in_threads(tasks, self.many):
            advance(len(part))
            parts.append(_plain(part))
        return np.concatenate(parts)


def sample(
    log_likelihood: LogLikelihood,
    d: int,
    settings: Settings,
    *,
    n_jobs: int = -1,
    progress: bool = False,
    trail: Trail | None = None,
) -> Sampled:
    """Draws from the posterior of d estimates.

    Parameters
    ----------
    log_likelihood
        Of places z (k, d), (k,); a place is evaluated alike in every call.
    d
        Number of estimates.
    settings
        Seed, ensembles, when to end.
    n_jobs, progress
        Threads, and whether a bar is shown.
    trail
        Where the state is kept, if anywhere.

    Raises
    ------
    InputError
        Where the likelihood of no prior point is finite, and without emcee.
    """
    settings, posterior = settings.of(d), Posterior(log_likelihood, n_jobs)
    trail = Trail(None) if trail is None else trail
    begun, known = time.monotonic(), trail.latest(Chains.unpack)[1]
    with bar(progress, "places evaluated", settings.evaluations) as advance:
        if known is None:
            chains = _begin(posterior, d, settings, advance)
            trail.keep(1, chains.pack)
        else:
            chains = known
            advance(chains.evaluations)
        while True:
            done, r, effective, said = _judged(chains, settings, time.monotonic() - begun)
            if said:
                break
            before = chains.evaluations
            chains = _advanced(chains, posterior, settings)
            advance(chains.evaluations - before)
            trail.keep(len(chains.z), chains.pack)
    kept = chains.kept
    return Sampled(
        kept.reshape(-1, d),
        chains.log_posterior[chains.left_out :].reshape(-1),
        chains.mode,
        r,
        effective,
        done,
        said,
        chains.evaluations,
        chains,
    )


def _judged(chains: Chains, settings: Settings, seconds: float) -> tuple[bool, Floats, Floats, str]:
    """Whether it has converged, R-hat and effective sizes, and, at an end, how it ended."""
    kept, d = chains.kept, chains.z.shape[3]
    if len(kept) < BLOCK:
        return False, np.full(d, np.nan), np.full(d, np.nan), ""
    r, effective = r_hat(kept), effective_size(kept)
    worst, least = float(r.max()), float(effective.min())
    as_found = f"R-hat up to {worst:.3f}, effective sizes from {least:.0f}"
    enough = max(settings.effective, EACH * settings.ensembles * (settings.walkers or 0))
    asked = f"below {settings.r_hat:g} and above {enough:g} were asked"
    if worst < settings.r_hat and least > enough:
        return True, r, effective, f"converged: {as_found}"
    if chains.evaluations >= settings.evaluations:
        return False, r, effective, f"ended by the limit of {settings.evaluations:,} evaluations: {as_found}; {asked}"
    if settings.minutes is not None and seconds >= 60 * settings.minutes:
        return False, r, effective, f"ended by the limit of {settings.minutes:g} minutes: {as_found}; {asked}"
    return False, r, effective, ""


# --- where it begins ----------------------------------------------------------------------------------


def _begin(posterior: Posterior, d: int, settings: Settings, advance: Callable[[int], None]) -> Chains:
    """Search for the mode, and one state of every ensemble."""
    from scipy.special import ndtri
    from scipy.stats import qmc

    generator = np.random.default_rng((settings.seed, 1))
    points = ndtri(qmc.Sobol(d, rng=generator).random(PRIOR_POINTS) * (1 - 2.0**-31) + 2.0**-32)
    height = posterior.shared(points, advance)
    if not np.isfinite(height).any():
        raise InputError(f"what was published is impossible under all {PRIOR_POINTS} draws from the priors; widen them")
    mode, top, more = _mode(posterior, points, height, generator, advance)
    assert settings.walkers is not None
    many = settings.ensembles * settings.walkers
    chosen = _parted(points, _wide(height, many, generator), settings.ensembles)
    z = points[chosen].reshape(1, settings.ensembles, settings.walkers, d)
    log_posterior = height[chosen] - 0.5 * (points[chosen] ** 2).sum(axis=1)
    states = [np.random.RandomState(int(s)).get_state() for s in generator.integers(2**32, size=settings.ensembles)]
    return Chains(z, log_posterior.reshape(z.shape[:3]), mode, top, PRIOR_POINTS + more, _packed(states))


def _mode(
    posterior: Posterior,
    points: Floats,
    height: Floats,
    generator: np.random.Generator,
    advance: Callable[[int], None],
) -> tuple[Floats, float, int]:
    """The mode of the posterior, its height, and how many places were evaluated on the way."""
    from scipy.optimize import differential_evolution

    best = np.argsort(0.5 * (points**2).sum(axis=1) - height, kind="stable")[:POPULATION]

    evaluated = 0

    def cost(z: Floats) -> Floats:
        nonlocal evaluated
        z = z.T if z.ndim == 2 else z[None]
        evaluated += len(z)
        return 0.5 * (z**2).sum(axis=1) - posterior.shared(z, advance)

    found = differential_evolution(
        cost,
        [(-REACH, REACH)] * points.shape[1],
        strategy="currenttobest1bin",
        mutation=(0.4, 0.9),
        recombination=0.9,
        maxiter=GENERATIONS,
        tol=1e-4,
        init=np.clip(points[best], -REACH, REACH),
        polish=False,
        rng=generator,
        updating="deferred",
        vectorized=True,
    )
    return found.x, -float(found.fun), evaluated


def _wide(height: Floats, many: int, generator: np.random.Generator) -> NDArray[np.intp]:
    """So many different prior points, by their likelihood to the largest power at which `WIDE` times as many count."""
    from scipy.special import logsumexp

    possible = np.flatnonzero(np.isfinite(height))
    if len(possible) < many:
        raise InputError(f"only {len(possible)} of {len(height)} draws from the priors are possible; narrow them")
    power, log_weight = FLAT, height[possible]
    while True:
        log_share = power * log_weight - logsumexp(power * log_weight)
        if 1 / np.exp(2 * log_share).sum() >= min(WIDE * many, 0.8 * len(possible)):
            break
        power *= 0.8
    # The largest of shares with Gumbel noise are a draw without replacement.
    return possible[np.argsort(-(log_share + generator.gumbel(size=len(possible))), kind="stable")[:many]]


def _parted(points: Floats, chosen: NDArray[np.intp], groups: int) -> NDArray[np.intp]:
    """The same in an order in which equal parts lie apart: halved again and again across where they extend most."""
    if groups == 1:
        return chosen
    off = points[chosen] - points[chosen].mean(axis=0)
    along = off @ np.linalg.svd(off, full_matrices=False)[2][0]
    order = chosen[np.argsort(along, kind="stable")]
    first = groups // 2
    cut = len(order) * first // groups
    return np.concatenate([_parted(points, order[:cut], first), _parted(points, order[cut:], groups - first)])


# --- ensembles ----------------------------------------------------------------------------------------


def _advanced(chains: Chains, posterior: Posterior, settings: Settings) -> Chains:
    """The chains `BLOCK` steps later, each ensemble by one thread."""
    states = _unpacked(chains.random)
    tasks = (
        partial(_steps, posterior, chains.z[-1, e], chains.log_posterior[-1, e], states[e])
        for e in range(settings.ensembles)
    )
    done = list(in_threads(tasks, min(posterior.many, settings.ensembles)))
    z = np.stack([own[0] for own in done], axis=1)
    height = np.stack([own[1] for own in done], axis=1)
    top = np.unravel_index(height.argmax(), height.shape)
    better = height[top] > chains.mode_log_posterior
    return replace(
        chains,
        z=np.concatenate([chains.z, z]),
        log_posterior=np.concatenate([chains.log_posterior, height]),
        mode=z[top] if better else chains.mode,
        mode_log_posterior=float(height[top]) if better else chains.mode_log_posterior,
        evaluations=chains.evaluations + z.shape[0] * z.shape[1] * z.shape[2],
        random=_packed([own[2] for own in done]),
    )


def _steps(posterior: Posterior, at: Floats, height: Floats, random: Any) -> tuple[Floats, Floats, Any]:
    """`BLOCK` steps of an ensemble (walkers, d): its places, their log posterior, and the random numbers after."""
    emcee = _emcee()
    moves = [(getattr(emcee.moves, name)(), share) for name, share in MOVES]
    sampler = emcee.EnsembleSampler(*at.shape, posterior, moves=moves, vectorize=True)
    begin = emcee.State(at, log_prob=height, random_state=random)
    sampler.run_mcmc(begin, BLOCK, skip_initial_state_check=True)
    return sampler.get_chain(), sampler.get_log_prob(), sampler.random_state


def _emcee() -> Any:
    try:
        import emcee
    except ImportError:
        raise InputError("calibration needs the package emcee; install cartsim[calibration]") from None
    return emcee


def _packed(states: list[Any]) -> tuple[NDArray[np.uint32], Floats]:
    """States of numpy's Mersenne twisters as arrays."""
    return np.stack([state[1] for state in states]), np.array([[float(x) for x in state[2:]] for state in states])


def _unpacked(random: tuple[NDArray[np.uint32], Floats]) -> list[Any]:
    keys, places = random
    return [("MT19937", key, int(own[0]), int(own[1]), float(own[2])) for key, own in zip(keys, places, strict=True)]


def _plain(height: Floats) -> Floats:
    """Log likelihoods with minus infinity where there is none."""
    return np.where(np.isnan(height), -np.inf, height)


# --- the cross-check ----------------------------------------------------------------------------------


def nested(
    log_likelihood: LogLikelihood,
    d: int,
    settings: Settings,
    *,
    n_jobs: int = -1,
    progress: bool = False,
    points: int = 250,
) -> Sampled:
    """Draws from the same posterior by nested sampling (dynesty), which knows no chains; with its evidence.

    ``points``: live points. Ends when what is left would add 0.1 to the log evidence, or at the limit of evaluations.
    Raises `InputError` without dynesty.
    """
    from scipy.special import ndtri

    try:
        import dynesty
        from dynesty.utils import resample_equal
    except ImportError:
        raise InputError("sampler dynesty needs the package dynesty; install cartsim[calibration]") from None
    many = threads(n_jobs)
    generator = np.random.default_rng((settings.seed, 2))

    def one(z: Floats) -> float:
        return float(np.maximum(_plain(log_likelihood(z[None]))[0], -1e300))

    def away_from_ends(u: Floats) -> Floats:
        return ndtri(np.clip(u, 1e-12, 1 - 1e-12))

    # A queue of fixed length: what is drawn does not depend on the number of threads.
    sampler = dynesty.NestedSampler(
        one, away_from_ends, d, nlive=points, sample="rslice", rstate=generator, pool=_Pool(many), queue_size=4
    )
    sampler.run_nested(dlogz=0.1, maxcall=settings.evaluations, print_progress=progress)
    found = sampler.results
    weight = np.exp(found.logwt - found.logz[-1])
    weight /= weight.sum()
    posterior = found.logl - 0.5 * (found.samples**2).sum(axis=1)
    drawn = resample_equal(np.column_stack([found.samples, posterior]), weight, rstate=generator)
    evaluations = int(np.sum(found.ncall))
    ended = evaluations < settings.evaluations
    effective = 1 / (weight**2).sum()
    said = f"nested sampling {'converged' if ended else f'ended by the limit of {settings.evaluations:,} evaluations'}"
    return Sampled(
        drawn[:, :-1],
        drawn[:, -1],
        found.samples[posterior.argmax()],
        np.full(d, np.nan),
        np.full(d, effective),
        ended,
        f"{said}: log evidence {found.logz[-1]:.2f} +- {found.logzerr[-1]:.2f}, effective size {effective:.0f}",
        evaluations,
        evidence=(float(found.logz[-1]), float(found.logzerr[-1])),
    )


class _Pool:
    """Threads as dynesty wants them."""

    def __init__(self, many: int) -> None:
        self.many, self.size = many, many

    def map(self, function: Callable[[Any], Any], items: Any) -> list[Any]:
        """What the function gives of each, in order."""
        return list(in_threads((partial(function, item) for item in items), self.many))


def settings_of(given: Mapping[str, Any]) -> Settings:
    """Settings from what a user gave. Raises `InputError` for numbers that they cannot be."""
    found = Settings(**given)
    walkers = found.walkers
    if found.ensembles < 2:
        raise InputError(f"{found.ensembles} ensembles; give 2 or more, since R-hat compares them")
    if walkers is not None and (walkers < 8 or walkers % 4):
        raise InputError(f"{walkers} walkers; give a multiple of 4, at least 8")
    if not found.r_hat > 1:
        raise InputError(f"R-hat below {found.r_hat:g}; give a limit above 1, such as 1.05")
    if found.evaluations < 1:
        raise InputError(f"{found.evaluations} evaluations; give 1 or more")
    if found.minutes is not None and not found.minutes > 0:
        raise InputError(f"{found.minutes:g} minutes; give a time above 0, or none")
    return found
