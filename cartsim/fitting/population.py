"""Population estimation: typical values and omegas of chosen parameters from data of individual patients, by SAEM.

Patient i has parameters exp(phi_i), phi_i normal with mean mu (logs of the typical values) and covariance Omega,
diagonal unless ``full`` is asked for (`cartsim.fitting.estimate`). The data, measured values, values below a limit and
response categories together, have the likelihood of `cartsim.fitting.likelihood`. SAEM (Kuhn and Lavielle 2005,
doi:10.1016/j.csda.2004.07.002) finds the maximum of the likelihood with the individual parameters integrated out.
Each iteration k

1. draws phi by Markov chains, one or more for every patient, all side by side in one `simulate` call per step: a
   proposal from N(mu, Omega); a random walk in all components with a multiple of Omega as covariance; two random walks
   in one component, picked at random for each chain. The multiples are adapted to accept 30 and 40 %;
2. moves each patient's approximate moments of phi, by a step gamma_k, towards those of the draws;
3. takes mu and Omega from the moments (closed form), and moves the logs of the error models' open SDs by gamma_k times
   a Newton step on the likelihood of the draws (an EM gradient step, Lange 1995, so that values below a limit and
   categories need no imputed ones).

gamma_k is 1 for ``explore`` iterations, then 1/j for ``smooth`` iterations (j = 1, 2, ...). In the first half of the
exploration no variance falls by more than 5 % an iteration (simulated annealing, as in Monolix). A parameter without
variability is lent some that shrinks while the chains explore (as in Monolix too), so that its mean moves.

-2LL is computed by importance sampling from each patient's posterior (`cartsim.fitting.posterior`). Its second
derivatives, the draws held, are the observed information, from which the standard errors come: no formula depends on
the error models. A Newton step with them says how far the estimates still are from the maximum. Some such steps are
taken (`cartsim.fitting.maximum`), without what was lent, so that the noise of the last iterations goes, and what then
remains is the test of convergence.

Why its own: saemix and nlmixr2 are R packages. Of those in Python, vpop-calibration is kept up and takes external
simulators, but has additive and proportional errors only, no censoring and no categories, and needs torch; PyNLME
calls itself a proof of concept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError, brief, check_kind, check_seed, elsewhere, whole
from cartsim.fitting.data import CategoryRules, patient_data
from cartsim.fitting.errors import ErrorModel
from cartsim.fitting.estimate import (
    SMALL,
    Coordinates,
    Floats,
    Ints,
    Key,
    PopulationEstimate,
    pack_estimates,
    unpack_estimates,
)
from cartsim.fitting.individual import ERRORS, chosen_parameters, lognormal_prior, refuse_impossible, typical_value
from cartsim.fitting.likelihood import PatientLikelihood, error_models
from cartsim.fitting.maximum import STEPS, Likelihood, find_maximum
from cartsim.fitting.posterior import Sample
from cartsim.fitting.size import share_moved, telling
from cartsim.model.model import Model
from cartsim.model.reader import load
from cartsim.observations import Observations
from cartsim.population.patients import check_name
from cartsim.provenance import made_by
from cartsim.results import Result
from cartsim.runs import Kept, Trail, as_bytes, bar, from_bytes
from cartsim.solver import Solver

if TYPE_CHECKING:
    import pandas as pd

START_SD = {"log": 0.3, "prop": 0.3}  # of error models that are estimated; `add` starts from the data's spread
ACCEPT_ALL, ACCEPT_ONE = 0.3, 0.4  # acceptance that random walks in all and in one component are adapted to
ANNEALING = 0.95  # least share of its variance that a parameter keeps in an iteration of the annealing
CHAINS = 100  # at least so many in all
LENT = (0.3, 0.05)  # SD of what has no variability, in its size, at the first iteration and when all is explored
NEAR = 0.3  # a fit has converged when a Newton step would be shorter than this in every standard error
LEAST = 0.03  # of where it began: what an SD of an error may fall to
KINDS = ("typical", "omega", "correlation", "sigma")


@dataclass(frozen=True)
class Saem:
    """Settings of the algorithm.

    Parameters
    ----------
    explore, smooth
        Iterations of either kind, 10 or more of each.
    full
        Estimate correlations too, for which no mean may be held.
    seed
        Of chains and draws.
    fixed_means
        Parameters whose typical value is held at the model's, as Singh 2021 holds all of them.
    checkpoint
        Folder where the state is kept after each iteration. The same fit goes on from there after an interruption, and
        comes to the same estimates to the last bit.
    progress
        Show a bar on stderr while it works: over the iterations and, at most, ten Newton steps.

    Raises
    ------
    InputError
        For numbers that cannot be.
    """

    explore: int = 150
    smooth: int = 100
    full: bool = False
    seed: int = 2021
    fixed_means: Sequence[str] = ()
    checkpoint: str | Path | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        if not all(whole(count) and count >= 10 for count in (self.explore, self.smooth)):
            counts = f"{brief(self.explore)} exploring and {brief(self.smooth)} smoothing iterations"
            raise InputError(f"{counts}; give whole numbers, 10 or more of each")
        check_seed(self.seed)
        if isinstance(self.fixed_means, str) or not isinstance(self.fixed_means, Iterable):
            raise InputError(f'fixed_means is {brief(self.fixed_means)}; give a list of names, such as ["Kexp_max"]')


@dataclass(frozen=True, repr=False, eq=False)
class PopulationFit(Result):
    """A population estimated by SAEM.

    Attributes
    ----------
    likelihood
        Data, model and error models.
    population
        The estimates.
    free
        (d,) Which means were estimated.
    full
        Whether correlations were.
    names
        What was estimated, (kind, name).
    trace
        The estimates at every iteration, with its phase (explore, smooth, newton) and the share of proposals accepted
        by each kernel.
    sample
        The patients' posteriors.
    covariance
        Of the estimates in the order of `names`, on the scale on which they are nearly normal.
    step
        Where a Newton step from the estimates would lead, on the same scale.
    limits
        Which estimates are held at the limit of what they may be: omegas of 0, correlations of -1 and 1.
    vanished
        SDs of errors that ran to 0.
    """

    what = "population fit"
    likelihood: Likelihood
    population: PopulationEstimate
    free: NDArray[np.bool_]
    full: bool
    names: list[Key]
    trace: pd.DataFrame
    sample: Sample
    covariance: Floats
    step: Floats
    limits: list[Key]
    vanished: list[tuple[str, str]]
    made_by: dict[str, Any]

    @property
    def frame(self) -> pd.DataFrame:
        """The estimates, see `estimates`."""
        return self.estimates

    @property
    def failures(self) -> pd.DataFrame:
        """Estimates that should have a standard error and have none, since the data do not identify them."""
        rows = [key in self._unknown for key in zip(self.estimates["kind"], self.estimates["name"], strict=True)]
        return self.estimates[rows].reset_index(drop=True)

    @property
    def _unknown(self) -> list[Key]:
        lost = np.isnan(np.diagonal(self.covariance))
        return [key for key, gone in zip(self.names, lost, strict=True) if gone and key not in self.limits]

    @cached_property
    def estimates(self) -> pd.DataFrame:
        """A row an estimate: kind ("typical", "omega", "correlation", "sigma"), name, value, se, rse, low, high.

        Limits are 95 % on the scale on which the estimate is nearly normal: logarithms, Fisher's z for correlations,
        the value itself of what may be 0 or less. Means that were held have no standard error, nor has what is at its
        limit or what the data do not identify; nothing has one unless the fit is `settled`.
        """
        import pandas as pd

        se = np.sqrt(np.diagonal(self.covariance))
        se_scale = dict(zip(self.names, se, strict=True)) if self.settled else {}
        coordinates = Coordinates(self.likelihood.parameters, self.free, self.full, self.population)
        everything = coordinates.shown(self.population, every_mean=True)
        none = {key: -math.inf for key in self.limits if key not in everything}  # omegas of 0
        linear = {self.likelihood.parameters[k] for k in self.population.linear}
        rows = []
        for (kind, name), x in sorted((everything | none).items(), key=lambda row: KINDS.index(row[0][0])):
            error = se_scale.get((kind, name), math.nan)
            ends = [x, x - 1.959964 * error, x + 1.959964 * error]
            if kind == "correlation":
                ends = [math.tanh(e) for e in ends]
                error *= 1 - ends[0] ** 2
            elif kind != "typical" or name not in linear:
                ends = [math.exp(e) for e in ends]
                error *= ends[0]
            rows.append((kind, name, ends[0], error, abs(error / ends[0]) if ends[0] else math.nan, *ends[1:]))
        return pd.DataFrame(rows, columns=["kind", "name", "value", "se", "rse", "low", "high"])

    @property
    def minus_2LL(self) -> float:
        """-2 log likelihood by importance sampling."""
        return -2 * float(self.sample.log_evidence.sum())

    @property
    def minus_2LL_se(self) -> float:
        """Its Monte Carlo standard error."""
        return 2 * math.sqrt(float((1 / self.sample.ess - 1 / self.sample.weight.shape[1]).clip(0).sum()))

    @property
    def aic(self) -> float:
        return self.minus_2LL + 2 * self._count

    @property
    def bic(self) -> float:
        """With the number of patients as sample size."""
        return self.minus_2LL + math.log(self.likelihood.n) * self._count

    @property
    def _count(self) -> int:
        """Estimates, those at their limits included."""
        return len({*self.names, *self.limits})

    @property
    def converged(self) -> bool:
        """Whether a Newton step would move no estimate by more than 0.3 of its standard error."""
        return self.settled and not self._unknown

    @property
    def settled(self) -> bool:
        """Whether a Newton step would move no estimate that has a standard error by more than 0.3 of it."""
        return not self.vanished and bool((self._off <= NEAR).all())

    @property
    def _off(self) -> Floats:
        """(p,) How far the maximum is in standard errors; 0 where there is none."""
        return np.nan_to_num(np.abs(self.step) / np.sqrt(np.diagonal(self.covariance)))

    @cached_property
    def individuals(self) -> pd.DataFrame:
        """Posterior mean and SD of each patient's log parameters: id, parameter, value (exp of the mean), sd, shrinkage
        (posterior variance over omega squared). Only of parameters that vary.
        """
        import pandas as pd

        varied = self.population.varied
        root = self.population.root[varied]
        mean = self.population.mu[varied] + self.sample.mean() @ root.T
        variance = np.diagonal(root @ self.sample.covariance() @ root.T, axis1=1, axis2=2)
        n, d = mean.shape
        ids = self.likelihood.data.ids if isinstance(self.likelihood, PatientLikelihood) else np.arange(n)
        return pd.DataFrame(
            {
                "id": np.repeat(ids, d),
                "parameter": np.tile(np.array(self.likelihood.parameters)[varied], n),
                "value": np.exp(mean).ravel(),
                "sd": np.sqrt(variance).ravel(),
                "shrinkage": (variance / self.population.sd[varied] ** 2).ravel(),
            }
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the reader must know before using the estimates."""
        said = []
        if self._unknown:
            unknown = ", ".join(f"{kind} {name}" for kind, name in self._unknown)
            said.append(f"no standard errors of {unknown}: the data do not identify them together")
        if (self._off > NEAR).any():
            kind, name = self.names[int(self._off.argmax())]
            said.append(
                f"not converged: {kind} {name} is {self._off.max():.1f} standard errors from where it is going; "
                "give more iterations"
            )
        said += [_at_limit(kind, name) for kind, name in self.limits]
        for name, sd in zip(self.likelihood.parameters, self.population.sd, strict=True):
            if 0 < sd < SMALL:
                said.append(f"the omega of {name} is {sd:.2g}: the data show no variability of it")
        for label, name in self.vanished:
            said.append(f"the error {name} of {label} runs to 0: too few values for it; hold it with an error model")
        rough = int((self.sample.ess < 100).sum())
        if rough:
            said.append(f"{rough} of {self.likelihood.n} patients have fewer than 100 effective draws: -2LL is rough")
        return tuple(said)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Estimates, their course, and the patients' own parameters."""
        return {"estimates.csv": self.estimates, "trace.csv": self.trace, "individuals.csv": self.individuals}

    def about(self) -> dict[str, Any]:
        """What made the estimates, how likely they make the data, and what to know of them."""
        return {
            **self.made_by,
            "minus_2LL": self.minus_2LL,
            "minus_2LL_se": self.minus_2LL_se,
            "aic": self.aic,
            "bic": self.bic,
            "converged": self.converged,
            "warnings": list(self.warnings),
        }

    def _title(self) -> str:
        said = "" if self.converged else ", NOT CONVERGED"
        likely = f"-2LL {self.minus_2LL:.1f}, AIC {self.aic:.1f}"
        return f"{super()._title()}: {self.likelihood.n} patients, {likely}{said}"


@elsewhere(
    **{name: f"it is a setting of the algorithm: saem=Saem({name}=...)" for name in Saem.__dataclass_fields__},
    draws="the posteriors' draws are as many as -2LL needs",
    priors="SAEM takes none; cs.fit does",
)
def fit_population(
    model: str | Path | Model,
    observations: Observations | pd.DataFrame | str | Path,
    estimate: Sequence[str] | Mapping[str, float | None] | None = None,
    *,
    errors: Mapping[str, ErrorModel] | None = None,
    rules: CategoryRules = CategoryRules(),  # noqa: B008 (frozen)
    saem: Saem = Saem(),
    solver: Solver = Solver(),  # noqa: B008 (frozen)
    n_jobs: int = 1,
) -> PopulationFit:
    """Typical values and variability of parameters from individual patients, by SAEM.

    Parameters
    ----------
    model
        A model, its name, or the path of its file.
    observations
        Values and response categories, see `cartsim.observations`; a column ``dose`` is needed.
    estimate
        Parameters to estimate, by default those of `fit_individuals`. A mapping says from which SD of its logarithm the
        search begins, by default (None) from the model's or 0.5, whichever is more. A parameter to which neither the
        mapping nor the model's file gives variability, or to which the mapping gives 0, has none: it is estimated as
        the same in all patients, such as the exponent of a covariate in a formula; its logarithm where its lower
        limit in the model's file is 0 or more, else the parameter itself, which may be 0 or less.
    errors
        Error models by output; an SD that is None is estimated. By default log-normal for measured outputs, with an SD
        that is estimated; that of M-protein behind the categories ("category") is 0.05 and held.
    rules
        Which change of M-protein each category stands for.
    saem
        Iterations, what is held, correlations, seed and checkpoint.
    solver
        How exactly the equations are solved.
    n_jobs
        Threads.

    Raises
    ------
    InputError
        For bad data or settings. A fit that did not converge says so in ``warnings``.

    Examples
    --------
    >>> import cartsim as cs
    >>> from cartsim.fitting import Saem
    >>> observations = cs.read_observations("crb401_synthetic").of("sbcma_change")
    >>> found = cs.fit_population("bb2121_clinical", observations, ["gamma_b"], saem=Saem(explore=20, smooth=10))
    >>> found.frame["name"].tolist()
    ['gamma_b', 'gamma_b', 'sbcma_change log']
    """
    check_kind("saem", saem, Saem, "Saem(explore=150, smooth=100)")
    chosen = load(model)
    data = patient_data(observations, chosen, rules)
    names = chosen_parameters(estimate, data)
    omega = _start(chosen, names, estimate if isinstance(estimate, Mapping) else {})
    varied = [name for name in names if omega.get(name) != 0]
    if names and not varied:
        raise InputError(f"{', '.join(names)}: none varies between patients; give one an omega, or fit the data pooled")
    typical = dict(zip(varied, lognormal_prior(chosen, varied, data, omega)[0], strict=True))
    linear = []
    for name in names:
        if name not in typical:
            low = chosen.parameters[name].low
            linear += [name] if low is None or low < 0 else []
            typical[name] = typical_value(chosen, name, data, positive=name not in linear)
    for name in saem.fixed_means:
        if name not in names:
            raise InputError(f"the mean of {name} is to be fixed, but it is not among {', '.join(names)}")
        if name not in varied:
            raise InputError(f"{name} does not vary, and its mean is to be fixed; nothing is left to estimate of it")
    defaults = {"category": ERRORS["category"], "": ErrorModel("lognormal")}
    models = error_models(data, chosen, errors, defaults)
    likelihood = PatientLikelihood(data, chosen, names, models, solver, n_jobs)
    sigma = {}
    for series_name, error in models.items():
        for name in error.sigmas:
            if getattr(error, name) is None:
                sigma[series_name, name] = START_SD.get(name) or _spread_of(likelihood, series_name)
    mu = np.array([typical[name] if name in linear else math.log(typical[name]) for name in names])
    sd = np.array([omega[name] for name in names])
    sizes = {names.index(name): _size(likelihood, [typical[each] for each in names], name) for name in linear}
    first = PopulationEstimate(mu, np.diag(sd**2), sigma, sizes)
    free = np.array([name not in saem.fixed_means for name in names])
    return estimate_by_saem(likelihood, first, free, saem)


def _start(model: Model, names: Sequence[str], given: Mapping[str, float | None]) -> dict[str, float | None]:
    """Omegas at which the search begins, 0 for parameters without variability."""
    start: dict[str, float | None] = {}
    for name in names:
        check_name(model, name, "estimate")
        iiv = model.parameters[name].iiv
        usual = max(0.5, iiv.omega if iiv.distribution == "lognormal" else 0.0) if iiv else 0.0
        start[name] = usual if given.get(name) is None else given[name]
    return start


def estimate_by_saem(
    likelihood: Likelihood,
    first: PopulationEstimate,
    free: NDArray[np.bool_] | None = None,
    settings: Saem = Saem(),
) -> PopulationFit:
    """SAEM from ``first``, see the module. free (d,): which means are estimated, by default all.

    Raises `InputError` for fewer than two patients, or correlations together with fixed means.
    """
    free = np.ones(len(first.mu), bool) if free is None else np.asarray(free, bool)
    explore, smooth, full, seed = settings.explore, settings.smooth, settings.full, settings.seed
    if likelihood.n < 2:
        raise InputError("a population needs two patients or more")
    if full and not free.all():
        raise InputError("correlations are estimated only together with all means; leave fixed_means out, or full")
    trail = Trail(_kept(likelihood, first, free, settings))
    done, kept = trail.latest(lambda arrays: _State.unpack(arrays, first))
    n, d = likelihood.n, len(first.mu)
    chains = math.ceil(CHAINS / n)
    state = kept or _State([_lent(first, first, 0.0)], np.zeros((n, d)), np.zeros((n, d, d)))
    now, mean, square, rows = state.passed[0], state.mean, state.square, state.rows
    walk = _Chains(likelihood, now, np.repeat(np.arange(n), chains), np.random.default_rng(seed), state.walk)
    information = state.information or dict.fromkeys(first.sigma, 0.0)
    with bar(settings.progress, "iterations", explore + smooth + STEPS) as advance:
        advance(done)
        for k in range(done, explore + smooth):
            gamma = 1.0 if k < explore else 1 / (k - explore + 1)
            accepted = walk.move(now)
            phi = walk.phi.reshape(n, chains, d)
            mean += gamma * (phi.mean(axis=1) - mean)
            square += gamma * (np.einsum("ncd,nce->nde", phi, phi) / chains - square)
            annealed = k < explore // 2
            mu, omega = _moments(now, mean.mean(axis=0), square.mean(axis=0), free, full, annealed)
            sigma = _sigma_step(walk, now, information, gamma, chains)
            now = _lent(
                _kept_up(replace(now, mu=mu, omega=omega, sigma=sigma), first), first, min(1.0, (k + 1) / explore)
            )
            phase = "explore" if k < explore else "smooth"
            rows.append({"phase": phase, **_row(likelihood, now, first, full), **accepted})
            walk.refresh(now)
            trail.keep(k + 1, _State([now], mean, square, information, rows, walk.state()).pack)
            advance(1)
        if isinstance(likelihood, PatientLikelihood):
            refuse_impossible(likelihood.data, np.asarray(np.isfinite(walk.height).reshape(n, chains).any(axis=1)))
        if done <= explore + smooth:
            state = _State([now.without(first.same)], mean, square - mean[:, :, None] * mean[:, None, :])

        def keep(passed: Sequence[PopulationEstimate], moments: tuple[Floats, Floats]) -> None:
            climbed = _State(list(passed), *moments, information, rows, walk.state())
            trail.keep(explore + smooth + len(passed) - 1, climbed.pack)
            advance(1)

        found = find_maximum(
            likelihood,
            state.passed,
            (state.mean, state.square),
            free=free,
            full=full,
            least=_least(first),
            seed=seed,
            keep=keep,
        )
    now = found.population
    rows += [{"phase": "newton", **_row(likelihood, passed, first, full)} for passed in found.path]
    import pandas as pd

    trace = pd.DataFrame(rows)
    trace.insert(0, "iteration", np.arange(1, len(trace) + 1))
    vanished = [key for key, value in now.sigma.items() if value <= 1.01 * _least(first)[key]]
    made: dict[str, Any] = {"seed": seed, "parameters": ", ".join(likelihood.parameters), "iterations": len(trace)}
    if isinstance(likelihood, PatientLikelihood):
        own = {
            "errors": str(likelihood.errors),
            "rules": repr(likelihood.data.rules),
            "solver": repr(likelihood.solver),
        }
        made = made_by(likelihood.model, **made, **own)
    return PopulationFit(
        likelihood,
        now,
        free,
        full,
        found.names,
        trace,
        found.sample,
        found.covariance,
        found.step,
        found.limits,
        vanished,
        made,
    )


@dataclass
class _State:
    """What the algorithm goes on from: the estimates passed (while it iterates the one it is at), the moments, what is
    known of the error models' SDs, the rows of the trace, and the chains.
    """

    passed: list[PopulationEstimate]
    mean: Floats
    square: Floats
    information: dict[tuple[str, str], float] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    walk: tuple[dict[str, Any], dict[str, Floats]] | None = None

    def pack(self) -> dict[str, NDArray[Any]]:
        """As arrays; numbers in JSON keep all their bits."""
        said, arrays = self.walk or ({}, {})
        rest = as_bytes([list(self.information.values()), self.rows, said])
        moments: dict[str, NDArray[Any]] = {"mean": self.mean, "square": self.square, "rest": rest}
        return pack_estimates(self.passed) | moments | {f"walk {name}": each for name, each in arrays.items()}

    @classmethod
    def unpack(cls, arrays: dict[str, NDArray[Any]], first: PopulationEstimate) -> _State:
        """The state that `pack` was called of."""
        information, rows, said = from_bytes(arrays["rest"])
        chains = {name.removeprefix("walk "): each for name, each in arrays.items() if name.startswith("walk ")}
        known = dict(zip(first.sigma, information, strict=True))
        passed = unpack_estimates(arrays, first)
        return cls(passed, arrays["mean"], arrays["square"], known, rows, (said, chains))


def _kept(likelihood: Likelihood, first: PopulationEstimate, free: NDArray[np.bool_], settings: Saem) -> Kept | None:
    """Where the state is kept, by all that the fit depends on."""
    if settings.checkpoint is None:
        return None
    if not isinstance(likelihood, PatientLikelihood):
        raise InputError("a checkpoint is of a fit to patients' data; leave it out")
    inputs = {name: getattr(likelihood, name) for name in ("model", "data", "parameters", "errors", "solver")}
    begun = {
        "mu": first.mu,
        "omega": first.omega,
        "sigma": list(first.sigma.items()),
        "linear": list(first.linear.items()),
    }
    own = {name: getattr(settings, name) for name in ("explore", "smooth", "full", "seed")}
    return Kept(settings.checkpoint, "population", inputs | {"first": begun, "free": free, "saem": own})


def _kept_up(now: PopulationEstimate, first: PopulationEstimate) -> PopulationEstimate:
    """The same with no SD of an error below its least: the likelihood has no bound where a curve meets its points."""
    return replace(now, sigma={key: max(value, _least(first)[key]) for key, value in now.sigma.items()})


def _least(first: PopulationEstimate) -> dict[tuple[str, str], float]:
    return {key: LEAST * value for key, value in first.sigma.items()}


def _lent(now: PopulationEstimate, first: PopulationEstimate, explored: float) -> PopulationEstimate:
    """The same with variability lent to what has none, by how much of the exploration is done."""
    lent, same = now.without(first.same), first.same
    lent.omega[same, same] = (LENT[0] * (LENT[1] / LENT[0]) ** explored * first.sizes(same)) ** 2
    return lent


def _at_limit(kind: str, name: str) -> str:
    """What to know of an estimate that is held at its limit."""
    if kind == "omega":
        return f"the data show no variability of {name}: its omega is held at 0, and it is estimated without"
    if kind == "correlation":
        return f"the correlation of {name} goes to -1 or 1; it is held, and the standard errors are those given it"
    return f"the {kind} of {name} is at the limit of what the model allows; it is held there"


class _Chains:
    """Markov chains over the patients' log parameters, one row each: phi (m, d), who (m,), log likelihood (m,)."""

    def __init__(
        self,
        likelihood: Likelihood,
        first: PopulationEstimate,
        who: Ints,
        rng: np.random.Generator,
        state: tuple[dict[str, Any], dict[str, Floats]] | None = None,
    ) -> None:
        self.likelihood, self.who, self.rng = likelihood, who, rng
        d = len(first.mu)
        if state is not None:
            said, arrays = state
            rng.bit_generator.state, self.scale_all = said["generator"], said["scale_all"]
            self.phi, self.height, self.scale_one = (arrays[name] for name in ("phi", "height", "scale_one"))
            self.predicted = [arrays[f"predicted {k}"] for k in range(said["series"])]
            return
        self.phi = first.mu + rng.standard_normal((len(who), d)) @ np.linalg.cholesky(first.omega).T
        self.scale_all, self.scale_one = 0.5, np.ones(d)
        self.predicted = likelihood.predict(first.values(self.phi), who)
        self.refresh(first)

    def state(self) -> tuple[dict[str, Any], dict[str, Floats]]:
        """What the chains go on from: what JSON can say, and arrays."""
        said = {"generator": self.rng.bit_generator.state, "scale_all": self.scale_all, "series": len(self.predicted)}
        arrays = {"phi": self.phi, "height": self.height, "scale_one": self.scale_one}
        return said, arrays | {f"predicted {k}": each for k, each in enumerate(self.predicted)}

    def refresh(self, now: PopulationEstimate) -> None:
        """The log likelihood under new error models; predictions stay."""
        self.height = self.likelihood.log_likelihood(self.predicted, self.who, now.sigmas)

    def total(self, now: PopulationEstimate, changed: dict[tuple[str, str], float]) -> float:
        """The log likelihood of all chains with some SDs changed."""
        sigmas = replace(now, sigma=now.sigma | changed).sigmas
        values = self.likelihood.log_likelihood(self.predicted, self.who, sigmas)
        return float(values[np.isfinite(values)].sum())

    def move(self, now: PopulationEstimate) -> dict[str, float]:
        """One step by each kernel and two in single components; the shares that were accepted."""
        m, d = self.phi.shape
        root, sd = np.linalg.cholesky(now.omega), now.sd
        anew = self._try(now, now.mu + self.rng.standard_normal((m, d)) @ root.T, from_prior=True).mean()
        shift = self.scale_all * self.rng.standard_normal((m, d)) @ root.T
        together = self._try(now, self.phi + shift).mean()
        self.scale_all *= 1 + 0.4 * (together - ACCEPT_ALL)
        alone = []
        for _ in range(2):
            component = self.rng.integers(d, size=m)
            shift = np.zeros((m, d))
            shift[np.arange(m), component] = (self.scale_one * sd)[component] * self.rng.standard_normal(m)
            taken = self._try(now, self.phi + shift)
            for c in range(d):
                if (component == c).any():
                    self.scale_one[c] *= 1 + 0.4 * (taken[component == c].mean() - ACCEPT_ONE)
            alone.append(taken.mean())
        return {"accepted_anew": anew, "accepted_together": together, "accepted_alone": float(np.mean(alone))}

    def _try(self, now: PopulationEstimate, proposal: Floats, from_prior: bool = False) -> NDArray[np.bool_]:
        """Move to the proposals that Metropolis and Hastings accept; which ones."""
        predicted = self.likelihood.predict(now.values(proposal), self.who)
        height = self.likelihood.log_likelihood(predicted, self.who, now.sigmas)
        with np.errstate(invalid="ignore"):  # from one impossible place to another
            gain = height - self.height
        if not from_prior:
            inverse = np.linalg.inv(now.omega)
            new, old = proposal - now.mu, self.phi - now.mu
            gain += 0.5 * (np.einsum("mi,ij,mj->m", old, inverse, old) - np.einsum("mi,ij,mj->m", new, inverse, new))
        taken = np.log(self.rng.random(len(gain))) < gain
        self.phi[taken], self.height[taken] = proposal[taken], height[taken]
        for old_part, new_part in zip(self.predicted, predicted, strict=True):
            old_part[taken] = new_part[taken]
        return taken


def _moments(
    now: PopulationEstimate, mean: Floats, square: Floats, free: NDArray[np.bool_], full: bool, annealed: bool
) -> tuple[Floats, Floats]:
    """Mu and Omega from the first and second moments of phi over the patients."""
    mu = np.where(free, mean, now.mu)
    omega = square - np.outer(mean, mu) - np.outer(mu, mean) + np.outer(mu, mu)
    omega = omega if full else np.diag(np.diagonal(omega))
    if annealed:
        kept = np.maximum(np.diagonal(omega), ANNEALING * np.diagonal(now.omega))
        omega = omega + np.diag(kept - np.diagonal(omega))
    return mu, omega + 1e-10 * np.eye(len(mu))


def _sigma_step(
    walk: _Chains, now: PopulationEstimate, information: dict[tuple[str, str], float], gamma: float, chains: int
) -> dict[tuple[str, str], float]:
    """The open SDs of the error models after a damped Newton step in their logarithms."""
    moved = dict(now.sigma)
    for key, value in now.sigma.items():
        low, middle, high = (walk.total(now, {key: value * math.exp(h)}) / chains for h in (-0.01, 0.0, 0.01))
        slope, bend = (high - low) / 0.02, (high - 2 * middle + low) / 1e-4
        information[key] += gamma * (-bend - information[key])
        moved[key] = value * math.exp(gamma * float(np.clip(slope / max(information[key], 1.0), -1, 1)))
    return moved


def _row(likelihood: Likelihood, now: PopulationEstimate, first: PopulationEstimate, full: bool) -> dict[str, float]:
    """The estimates as a row of the trace, by name."""
    now = now.without(first.same)
    names, nothing = likelihood.parameters, np.zeros(len(now.mu), bool)
    row = dict(zip(names, now.values(now.mu).tolist(), strict=True))
    row |= {f"omega {names[k]}": float(now.sd[k]) for k in first.varied}
    shown = Coordinates(names, nothing, full, now).shown(now)
    row |= {f"correlation {name}": math.tanh(z) for (kind, name), z in shown.items() if kind == "correlation"}
    return row | {f"sigma {label} {name}": value for (label, name), value in now.sigma.items()}


def _spread_of(likelihood: PatientLikelihood, label: str) -> float:
    """A third of the SD of the measured values of an output: where an additive error begins."""
    series = next(s for s in likelihood.data.series if s.category is None and s.output == label)
    values = series.high[series.known]
    return float(values.std()) / 3 or float(np.abs(values).max()) / 10 or 1.0


def _size(likelihood: PatientLikelihood, typical: Sequence[float], name: str) -> float:
    """By what size a parameter is measured that is estimated as it is, and may be 0."""
    everyone, column = np.arange(likelihood.n), likelihood.parameters.index(name)
    values = np.tile(np.array(typical), (likelihood.n, 1))
    usual = likelihood.predict(values, everyone)

    def change(step: float) -> float:
        moved = likelihood.predict(values + step * np.eye(len(typical))[column], everyone)
        parts = [(f[s.known], own[s.known]) for s, f, own in zip(likelihood.data.series, moved, usual, strict=True)]
        return share_moved([f - own for f, own in parts], [own for _, own in parts])

    return telling(values[0, column], change)
