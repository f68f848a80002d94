"""Population estimation: typical values and omegas of chosen parameters from data of individual patients, by SAEM.

Patient i has parameters exp(phi_i), phi_i normal with mean mu (logs of the typical values) and covariance Omega,
diagonal unless ``full`` is asked for. The data, measured values, values below a limit and response categories
together, have the likelihood of `cartsim.fitting.likelihood`. SAEM (Kuhn and Lavielle 2005,
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
exploration no variance falls by more than 5 % an iteration (simulated annealing, as in Monolix).

-2LL is computed by importance sampling from each patient's posterior (`cartsim.fitting.posterior`). Its second
derivatives, the draws held, are the observed information, from which the standard errors come: no formula depends on
the error models. A Newton step with them says how far the estimates still are from the maximum. Up to five such steps
are taken, so that the noise of the last iterations goes, and what then remains is the test of convergence.

Why its own: saemix and nlmixr2 are R packages. Of those in Python, vpop-calibration is kept up and takes external
simulators, but has additive and proportional errors only, no censoring and no categories, and needs torch; PyNLME
calls itself a proof of concept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from cartsim.errors import InputError
from cartsim.fitting.data import CategoryRules, patient_data
from cartsim.fitting.errors import ErrorModel
from cartsim.fitting.individual import ERRORS, chosen_parameters, lognormal_prior, refuse_impossible
from cartsim.fitting.likelihood import PatientLikelihood, error_models
from cartsim.fitting.posterior import Sample, log_normal, sample_posteriors
from cartsim.model.model import Model
from cartsim.model.reader import load
from cartsim.observations import Observations
from cartsim.provenance import made_by
from cartsim.results import Result

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Ints = NDArray[np.signedinteger[Any]]

START_SD = {"log": 0.3, "prop": 0.3}  # of error models that are estimated; `add` starts from the data's spread
ACCEPT_ALL, ACCEPT_ONE = 0.3, 0.4  # acceptance that random walks in all and in one component are adapted to
ANNEALING = 0.95  # least share of its variance that a parameter keeps in an iteration of the annealing
CHAINS = 100  # at least so many in all
DRAWS = 1600  # of each patient's posterior, for -2LL
HELD = 800  # of these, for the derivatives of the likelihood
STEPS = 5  # Newton steps after the last iteration, at most
CLOSE, LONGEST = 0.1, 1.5  # of a Newton step, in standard errors: what is not worth taking, what is not exceeded
NEAR = 0.3  # a fit has converged when a Newton step would be shorter than this in every standard error
SMALL = 0.02  # omegas below it count as 0
LEAST = 0.03  # of where it began: what an SD of an error may fall to


class Likelihood(Protocol):
    """What SAEM needs to know of data and model; `PatientLikelihood` is one."""

    @property
    def parameters(self) -> tuple[str, ...]: ...

    @property
    def n(self) -> int: ...

    def predict(self, values: Floats, who: Ints) -> list[Floats]: ...

    def log_likelihood(
        self, predicted: list[Floats], who: Ints, sigmas: Mapping[str, Mapping[str, float]] | None = None
    ) -> Floats: ...


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
    """

    explore: int = 150
    smooth: int = 100
    full: bool = False
    seed: int = 2021


@dataclass(frozen=True)
class PopulationEstimate:
    """What is estimated: mu (d,), Omega (d, d), and the open SDs of the error models by (label, name of the SD)."""

    mu: Floats
    omega: Floats
    sigma: dict[tuple[str, str], float]

    @property
    def sigmas(self) -> dict[str, dict[str, float]]:
        """The SDs as `PatientLikelihood.log_likelihood` takes them."""
        nested: dict[str, dict[str, float]] = {}
        for (label, name), value in self.sigma.items():
            nested.setdefault(label, {})[name] = value
        return nested

    @property
    def sd(self) -> Floats:
        """Omegas: standard deviations (d,) of the log parameters."""
        return np.sqrt(np.diagonal(self.omega))


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
    trace
        The estimates at every iteration, with its phase (explore, smooth, newton) and the share of proposals accepted
        by each kernel.
    sample
        The patients' posteriors.
    covariance
        Of the estimates on the scale of `names`.
    step
        Where a Newton step from the estimates would lead, on the same scale.
    vanished
        SDs of errors that ran to 0.
    """

    what = "population fit"
    likelihood: Likelihood
    population: PopulationEstimate
    free: NDArray[np.bool_]
    full: bool
    trace: pd.DataFrame
    sample: Sample
    covariance: Floats
    step: Floats
    vanished: list[tuple[str, str]]
    made_by: dict[str, Any]

    @property
    def frame(self) -> pd.DataFrame:
        """The estimates, see `estimates`."""
        return self.estimates

    @property
    def failures(self) -> pd.DataFrame:
        """Estimates that should have a standard error and have none, since the data do not identify them."""
        lost = [
            name for name, variance in zip(self.names, np.diagonal(self.covariance), strict=True) if np.isnan(variance)
        ]
        rows = [key in lost for key in zip(self.estimates["kind"], self.estimates["name"], strict=True)]
        return self.estimates[rows].reset_index(drop=True)

    @cached_property
    def estimates(self) -> pd.DataFrame:
        """A row an estimate: kind ("typical", "omega", "correlation", "sigma"), name, value, se, rse, low, high.

        Limits are 95 % on the scale on which the estimate is nearly normal: logarithms, Fisher's z for correlations.
        Means that were held have no standard error; nothing has one unless the fit is `settled`.
        """
        import pandas as pd

        se = np.sqrt(np.diagonal(self.covariance))
        se_scale = dict(zip(self.names, se, strict=True)) if self.settled else {}
        rows = []
        everything = _coordinates(self.population, np.ones_like(self.free), self.full, self.likelihood)
        for (kind, name), x in everything.items():
            se = se_scale.get((kind, name), math.nan)
            ends = (x, x - 1.959964 * se, x + 1.959964 * se)
            value, low, high = (math.tanh(e) if kind == "correlation" else math.exp(e) for e in ends)
            error = se * ((1 - value**2) if kind == "correlation" else value)
            rows.append((kind, name, value, error, abs(error / value) if value else math.nan, low, high))
        return pd.DataFrame(rows, columns=["kind", "name", "value", "se", "rse", "low", "high"])

    @property
    def names(self) -> list[tuple[str, str]]:
        """What was estimated, (kind, name), in the order of `covariance`."""
        return list(_coordinates(self.population, self.free, self.full, self.likelihood))

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
        return self.minus_2LL + 2 * len(self.names)

    @property
    def bic(self) -> float:
        """With the number of patients as sample size."""
        return self.minus_2LL + math.log(self.likelihood.n) * len(self.names)

    @property
    def converged(self) -> bool:
        """Whether a Newton step would move no estimate by more than 0.3 of its standard error."""
        se = np.sqrt(np.diagonal(self.covariance))
        return not self.vanished and bool(np.isfinite(se).all() and (np.abs(self.step) <= NEAR * se).all())

    @property
    def settled(self) -> bool:
        """Whether a Newton step would move no estimate that has a standard error by more than 0.3 of it."""
        se = np.sqrt(np.diagonal(self.covariance))
        return not self.vanished and not (np.abs(self.step) > NEAR * se).any()

    @cached_property
    def individuals(self) -> pd.DataFrame:
        """Posterior mean and SD of each patient's log parameters: id, parameter, value (exp of the mean), sd, shrinkage
        (posterior variance over omega squared).
        """
        import pandas as pd

        root = np.linalg.cholesky(self.population.omega)
        mean = self.population.mu + self.sample.mean() @ root.T
        variance = np.diagonal(root @ self.sample.covariance() @ root.T, axis1=1, axis2=2)
        n, d = mean.shape
        ids = self.likelihood.data.ids if isinstance(self.likelihood, PatientLikelihood) else np.arange(n)
        return pd.DataFrame(
            {
                "id": np.repeat(ids, d),
                "parameter": np.tile(np.array(self.likelihood.parameters), n),
                "value": np.exp(mean).ravel(),
                "sd": np.sqrt(variance).ravel(),
                "shrinkage": (variance / self.population.sd**2).ravel(),
            }
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the reader must know before using the estimates."""
        said = []
        se = np.sqrt(np.diagonal(self.covariance))
        unknown = [f"{kind} {name}" for (kind, name), x in zip(self.names, se, strict=True) if not np.isfinite(x)]
        if unknown:
            said.append(f"no standard errors of {', '.join(unknown)}: the data do not identify them together")
        elif (np.abs(self.step) > NEAR * se).any():
            far = np.abs(self.step) / se
            kind, name = self.names[int(far.argmax())]
            said.append(
                f"not converged: {kind} {name} is {far.max():.1f} standard errors from where it is going; "
                "give more iterations"
            )
        for name, sd in zip(self.likelihood.parameters, self.population.sd, strict=True):
            if sd < SMALL:
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


def fit_population(
    model: str | Path | Model,
    observations: Observations | pd.DataFrame | str | Path,
    estimate: Sequence[str] | Mapping[str, float | None] | None = None,
    *,
    fixed_means: Sequence[str] = (),
    errors: Mapping[str, ErrorModel] | None = None,
    rules: CategoryRules = CategoryRules(),  # noqa: B008 (frozen)
    saem: Saem = Saem(),
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
        search begins, by default (None) from the model's or 0.5, whichever is more.
    fixed_means
        Parameters whose typical value is held at the model's, as Singh 2021 holds all of them.
    errors
        Error models by output; an SD that is None is estimated. By default log-normal for measured outputs, with an SD
        that is estimated; that of M-protein behind the categories ("category") is 0.05 and held.
    rules
        Which change of M-protein each category stands for.
    saem
        Iterations, correlations and seed.
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
    chosen = load(model)
    data = patient_data(observations, chosen, rules)
    names = chosen_parameters(estimate, data)
    given = estimate if isinstance(estimate, Mapping) else {}
    start: dict[str, float | None] = {}
    for name in names:
        iiv = chosen.parameters[name].iiv if name in chosen.parameters else None
        usual = max(0.5, iiv.omega if iiv and iiv.distribution == "lognormal" else 0.0)
        start[name] = usual if given.get(name) is None else given[name]
    typical, sd = lognormal_prior(chosen, names, data, start)
    for name in fixed_means:
        if name not in names:
            raise InputError(f"the mean of {name} is to be fixed, but it is not among {', '.join(names)}")
    defaults = {"category": ERRORS["category"], "": ErrorModel("lognormal")}
    models = error_models(data, chosen, errors, defaults)
    likelihood = PatientLikelihood(data, chosen, names, models, n_jobs=n_jobs)
    sigma = {}
    for series_name, error in models.items():
        for name in error.sigmas:
            if getattr(error, name) is None:
                sigma[series_name, name] = START_SD.get(name) or _spread_of(likelihood, series_name)
    first = PopulationEstimate(np.log(typical), np.diag(sd**2), sigma)
    free = np.array([name not in fixed_means for name in names])
    return estimate_by_saem(likelihood, first, free, saem)


def estimate_by_saem(
    likelihood: Likelihood,
    first: PopulationEstimate,
    free: NDArray[np.bool_] | None = None,
    settings: Saem = Saem(),
) -> PopulationFit:
    """SAEM from ``first``, see the module. free (d,): which means are estimated, by default all.

    Raises `InputError` for fewer than two patients, too few iterations, or correlations together with fixed means.
    """
    free = np.ones(len(first.mu), bool) if free is None else np.asarray(free, bool)
    explore, smooth, full, seed = settings.explore, settings.smooth, settings.full, settings.seed
    if likelihood.n < 2:
        raise InputError("a population needs two patients or more")
    if explore < 10 or smooth < 10:
        raise InputError(f"{explore} exploring and {smooth} smoothing iterations; give 10 or more of each")
    if full and not free.all():
        raise InputError("correlations are estimated only together with all means; leave fixed_means out, or full")
    rng = np.random.default_rng(seed)
    n, d = likelihood.n, len(first.mu)
    chains = math.ceil(CHAINS / n)
    walk = _Chains(likelihood, first, np.repeat(np.arange(n), chains), rng)
    now = first
    mean, square = np.zeros((n, d)), np.zeros((n, d, d))
    information = dict.fromkeys(first.sigma, 0.0)
    rows: list[dict[str, Any]] = []
    for k in range(explore + smooth):
        gamma = 1.0 if k < explore else 1 / (k - explore + 1)
        accepted = walk.move(now)
        phi = walk.phi.reshape(n, chains, d)
        mean += gamma * (phi.mean(axis=1) - mean)
        square += gamma * (np.einsum("ncd,nce->nde", phi, phi) / chains - square)
        annealed = k < explore // 2
        mu, omega = _moments(now, mean.mean(axis=0), square.mean(axis=0), free, full, annealed)
        now = _kept_up(PopulationEstimate(mu, omega, _sigma_step(walk, now, information, gamma, chains)), first)
        rows.append({"phase": "explore" if k < explore else "smooth", **_row(likelihood, now, full), **accepted})
        walk.refresh(now)
    if isinstance(likelihood, PatientLikelihood):
        refuse_impossible(likelihood.data, np.asarray(np.isfinite(walk.height).reshape(n, chains).any(axis=1)))
    spread = square - mean[:, :, None] * mean[:, None, :]
    for left in reversed(range(STEPS + 1)):
        sample, mean, spread = _posteriors(likelihood, now, mean, spread, seed)
        gradient, curvature = _derivatives(likelihood, now, free, full, sample)
        covariance = _inverse(-curvature)
        step = covariance @ gradient
        if not left or not np.isfinite(step).all() or (np.abs(step) < CLOSE * np.sqrt(np.diagonal(covariance))).all():
            break
        center = np.array(list(_coordinates(now, free, full, likelihood).values()))
        length = math.sqrt(gradient @ step)  # in standard errors, whatever the direction
        now = _kept_up(_population(center + step * min(1.0, LONGEST / length), now, free, full), first)
        rows.append({"phase": "newton", **_row(likelihood, now, full)})
    import pandas as pd

    trace = pd.DataFrame(rows)
    trace.insert(0, "iteration", np.arange(1, len(trace) + 1))
    vanished = [key for key, value in now.sigma.items() if value <= 1.01 * LEAST * first.sigma[key]]
    made: dict[str, Any] = {"seed": seed, "parameters": ", ".join(likelihood.parameters), "iterations": len(trace)}
    if isinstance(likelihood, PatientLikelihood):
        own = {"errors": str(likelihood.errors), "rules": repr(likelihood.data.rules)}
        made = made_by(likelihood.model, **made, **own)
    return PopulationFit(likelihood, now, free, full, trace, sample, covariance, step, vanished, made)


def _kept_up(now: PopulationEstimate, first: PopulationEstimate) -> PopulationEstimate:
    """The same with no SD of an error below its least: the likelihood has no bound where a curve meets its points."""
    sigma = {key: max(value, LEAST * first.sigma[key]) for key, value in now.sigma.items()}
    return PopulationEstimate(now.mu, now.omega, sigma)


class _Chains:
    """Markov chains over the patients' log parameters, one row each: phi (m, d), who (m,), log likelihood (m,)."""

    def __init__(self, likelihood: Likelihood, first: PopulationEstimate, who: Ints, rng: np.random.Generator) -> None:
        self.likelihood, self.who, self.rng = likelihood, who, rng
        d = len(first.mu)
        self.phi = first.mu + rng.standard_normal((len(who), d)) @ np.linalg.cholesky(first.omega).T
        self.scale_all, self.scale_one = 0.5, np.ones(d)
        self.predicted = likelihood.predict(np.exp(self.phi), who)
        self.refresh(first)

    def refresh(self, now: PopulationEstimate) -> None:
        """The log likelihood under new error models; predictions stay."""
        self.height = self.likelihood.log_likelihood(self.predicted, self.who, now.sigmas)

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
        predicted = self.likelihood.predict(np.exp(proposal), self.who)
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
        low, middle, high = (
            _total(walk.likelihood, walk.predicted, walk.who, now, {key: value * math.exp(h)}) / chains
            for h in (-0.01, 0.0, 0.01)
        )
        slope, bend = (high - low) / 0.02, (high - 2 * middle + low) / 1e-4
        information[key] += gamma * (-bend - information[key])
        moved[key] = value * math.exp(gamma * float(np.clip(slope / max(information[key], 1.0), -1, 1)))
    return moved


def _total(
    likelihood: Likelihood,
    predicted: list[Floats],
    who: Ints,
    now: PopulationEstimate,
    changed: dict[tuple[str, str], float],
) -> float:
    other = PopulationEstimate(now.mu, now.omega, now.sigma | changed)
    values = likelihood.log_likelihood(predicted, who, other.sigmas)
    return float(values[np.isfinite(values)].sum())


def _posteriors(
    likelihood: Likelihood, now: PopulationEstimate, mean: Floats, spread: Floats, seed: int
) -> tuple[Sample, Floats, Floats]:
    """Importance samples of eta, phi = mu + root eta, begun where phi is known to be; its new mean and covariance."""
    root = np.linalg.cholesky(now.omega)
    back = np.linalg.inv(root)

    def target(eta: Floats, who: Ints) -> Floats:
        predicted = likelihood.predict(np.exp(now.mu + eta @ root.T), who)
        return likelihood.log_likelihood(predicted, who, now.sigmas) + log_normal(eta)

    # The chains' covariances are noisy: a hundredth of the prior's keeps them positive.
    around = back @ spread @ back.T + 0.01 * np.eye(len(now.mu))
    sample = sample_posteriors(target, (mean - now.mu) @ back.T, around, seed, draws=DRAWS)
    return sample, now.mu + sample.mean() @ root.T, root @ sample.covariance() @ root.T


def _coordinates(
    population: PopulationEstimate, free: NDArray[np.bool_], full: bool, likelihood: Likelihood
) -> dict[tuple[str, str], float]:
    """The estimates on scales without limits: logarithms, Fisher's z of correlations; by (kind, name)."""
    names, sd = likelihood.parameters, population.sd
    found = {("typical", name): float(population.mu[i]) for i, name in enumerate(names) if free[i]}
    found |= {("omega", name): math.log(sd[i]) for i, name in enumerate(names)}
    if full:
        for i in range(len(names)):
            for j in range(i):
                rho = population.omega[i, j] / (sd[i] * sd[j])
                found["correlation", f"{names[j]}, {names[i]}"] = math.atanh(min(max(rho, -0.9999), 0.9999))
    found |= {("sigma", f"{label} {name}"): math.log(value) for (label, name), value in population.sigma.items()}
    return found


def _population(x: Floats, now: PopulationEstimate, free: NDArray[np.bool_], full: bool) -> PopulationEstimate:
    """The inverse of `_coordinates`."""
    d, at = len(now.mu), int(free.sum())
    mu = now.mu.copy()
    mu[free] = x[:at]
    sd = np.exp(x[at : at + d])
    correlation = np.eye(d)
    at += d
    if full:
        lower = np.tril_indices(d, -1)
        correlation[lower] = np.tanh(x[at : at + len(lower[0])])
        correlation += np.tril(correlation, -1).T
        at += len(lower[0])
    return PopulationEstimate(
        mu, correlation * np.outer(sd, sd), dict(zip(now.sigma, np.exp(x[at:]).tolist(), strict=True))
    )


def _derivatives(
    likelihood: Likelihood, now: PopulationEstimate, free: NDArray[np.bool_], full: bool, sample: Sample
) -> tuple[Floats, Floats]:
    """Gradient (p,) and second derivatives (p, p) of the importance sampled log likelihood, the draws held.

    The likelihood of a patient elsewhere is that at the estimates times the mean, over draws from the posterior, of how
    much more likely data and draw are there.
    """
    d = len(now.mu)
    eta = sample.resampled(HELD)
    n, s = eta.shape[:2]
    phi, who = now.mu + eta @ np.linalg.cholesky(now.omega).T, np.repeat(np.arange(n), s)
    predicted = likelihood.predict(np.exp(phi.reshape(-1, d)), who) if now.sigma else []
    known: dict[tuple[float, ...], Floats] = {} if now.sigma else {(): np.zeros((n, s))}

    def heights(p: PopulationEstimate) -> Floats:
        """Log density (n, s) of data and draws."""
        key = tuple(p.sigma.values())
        if key not in known:
            known[key] = likelihood.log_likelihood(predicted, who, p.sigmas).reshape(n, s)
        off = (phi - p.mu).reshape(-1, d)
        square = ((off @ np.linalg.inv(np.linalg.cholesky(p.omega)).T) ** 2).sum(axis=1).reshape(n, s)
        return known[key] - 0.5 * (square + np.linalg.slogdet(p.omega)[1])

    center = np.array(list(_coordinates(now, free, full, likelihood).values()))
    here = heights(_population(center, now, free, full))

    def gain(x: Floats) -> float:
        return float((logsumexp(heights(_population(x, now, free, full)) - here, axis=1) - math.log(s)).sum())

    step = np.full(len(center), 0.02)
    step[: free.sum()] = 0.05 * now.sd[free]
    return _finite_differences(gain, center, step)


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


def _inverse(information: Floats) -> Floats:
    """Covariance of the estimates; NaN for those that the data do not identify."""
    values, vectors = np.linalg.eigh(information)
    good = values > 1e-6 * max(values.max(), 1e-300)
    covariance = (vectors[:, good] / values[good]) @ vectors[:, good].T
    # An estimate with a part in a direction without information has no standard error.
    lost = (vectors[:, ~good] ** 2).sum(axis=1) > 1e-3
    covariance[lost] = np.nan
    covariance[:, lost] = np.nan
    return covariance


def _row(likelihood: Likelihood, now: PopulationEstimate, full: bool) -> dict[str, float]:
    """The estimates as a row of the trace, by name."""
    row = {name: float(np.exp(mu)) for name, mu in zip(likelihood.parameters, now.mu, strict=True)}
    row |= {f"omega {name}": float(sd) for name, sd in zip(likelihood.parameters, now.sd, strict=True)}
    if full:
        everything = _coordinates(now, np.zeros(len(now.mu), bool), full, likelihood)
        row |= {f"correlation {name}": math.tanh(z) for (kind, name), z in everything.items() if kind == "correlation"}
    return row | {f"sigma {label} {name}": value for (label, name), value in now.sigma.items()}


def _spread_of(likelihood: PatientLikelihood, label: str) -> float:
    """A third of the SD of the measured values of an output: where an additive error begins."""
    series = next(s for s in likelihood.data.series if s.category is None and s.output == label)
    values = series.high[series.known]
    return float(values.std()) / 3 or 1.0
