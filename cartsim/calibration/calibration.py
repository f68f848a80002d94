"""Estimates of a population calibrated to published trials: the call, and what it found."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from cartsim.calibration import weighted
from cartsim.calibration.likelihood import tail
from cartsim.calibration.objective import Objective
from cartsim.calibration.priors import Prior, estimates, priors_of, read_priors
from cartsim.calibration.rows import Reading, Sample, Term, statistic, terms
from cartsim.calibration.sampling import BATCH, Chains, Sampled, nested, sample, settings_of
from cartsim.errors import InputError, brief, check_count, check_kind, check_seed, choices, elsewhere, say
from cartsim.files import save_tables, write_whole
from cartsim.model.model import Model
from cartsim.population.patients import Patients
from cartsim.population.population import Population
from cartsim.population.stored import population as stored_population
from cartsim.population.stored import save_population
from cartsim.provenance import made_by
from cartsim.results import Result
from cartsim.runs import Kept, Running, Trail, describe, refuse_other
from cartsim.threads import in_threads, threads
from cartsim.trial.published import PublishedTrial, Row, published

if TYPE_CHECKING:
    import pandas as pd

PATIENTS = 128  # simulated in each arm, if nothing is said
DRAWS = 2000  # of the posterior that a result keeps
CHECKED = 200  # of these, rows are simulated under
TRACED = 200  # steps of the chains that a result keeps, at most
IDENTIFIED, UNINFORMED = 0.7, 0.95
"""Width of the posterior in widths of the prior: the data took away half of the variance, or hardly any."""
CONFLICT = 0.025
"""Posterior predictive probability, on one side, below which a row is said to conflict with the others or the model."""
Z90 = 1.6448536269514722
SAMPLERS = ("emcee", "dynesty")


class How(Running, total=False):
    """How the posterior is sampled: threads, a bar, a folder to go on from, and the fields of `Settings`."""

    ensembles: int
    walkers: int | None
    r_hat: float
    effective: float
    evaluations: int
    minutes: float | None


@dataclass(frozen=True, repr=False, eq=False)
class Calibration(Result):
    """Estimates of a population, calibrated to published trials.

    Attributes
    ----------
    frame
        A row a free estimate: ``estimate``, ``prior`` in words, ``prior_low`` and ``prior_high`` (5th and 95th
        percentile), posterior ``median``, ``low`` and ``high`` (the same), ``mode`` (best-fitting), ``width`` (of the
        posterior in widths of the prior, on the prior's scale), ``R_hat``, ``effective`` (number of independent draws)
        and ``informed``: "identified" where the width is at most 0.7, "little", or "not" from 0.95 on.
    draws
        Draws of the posterior, a column an estimate, and ``log_posterior``, up to a constant.
    rows
        A row a published result that counts or repeats: ``trial``, ``id``, ``endpoint``, ``arms``, ``subset``,
        ``statistic``, ``unit``, ``role``, ``n``, published ``value``, ``low``, ``high``, fitted ``median``,
        ``fitted_low``, ``fitted_high`` (5th and 95th percentile over draws of what many such patients would show),
        ``within`` (whether the fitted median lies within the published limits) and ``p``, the posterior predictive
        probability of less than published: near 0 or 1 where the model cannot meet the row.
    trace
        How they went: ``step``, ``ensemble``, ``estimate``, and over the walkers ``median``, ``low``, ``high``.
    population
        At the best-fitting estimates, its ``draws`` those of the posterior.
    priors
        By estimate.
    converged, said
        Whether R-hat and effective sizes are as asked, and how the sampling ended.
    evaluations, seconds
        Of the likelihood, and what this call took: where it went on from a checkpoint, the steps since then.
    """

    what = "calibration"
    frame: pd.DataFrame
    draws: pd.DataFrame
    rows: pd.DataFrame
    trace: pd.DataFrame
    population: Population
    priors: dict[str, Prior]
    converged: bool
    said: str
    evaluations: int
    seconds: float
    made_by: dict[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> pd.DataFrame:
        """The estimates: those columns that one reads first."""
        return self.frame[["estimate", "prior", "median", "low", "high", "width", "R_hat", "effective", "informed"]]

    @property
    def trials(self) -> list[str]:
        """Names of the trials."""
        return list(dict.fromkeys(self.rows["trial"]))

    @property
    def conflicts(self) -> pd.DataFrame:
        """Rows that count and that the calibrated population cannot meet, the worst first."""
        p = np.minimum(self.rows["p"], 1 - self.rows["p"])
        bad = self.rows[(self.rows["role"] == "fit") & (p < CONFLICT)]
        return bad.loc[p[bad.index].sort_values().index]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know."""
        found = [] if self.converged else [f"not converged: {self.said}"]
        found += [
            f"{row.trial}, {row.id}: published {_shown(row.value, row.low, row.high, row.unit)}, but fitted "
            f"{_shown(row.median, row.fitted_low, row.fitted_high, row.unit)}; the rows or the model conflict"
            for row in self.conflicts.itertuples()
        ]
        idle = self.frame.loc[self.frame["informed"] == "not", "estimate"].tolist()
        if idle:
            found.append(
                f"nothing informs {', '.join(idle)}: the posterior is the prior; fix them or state what is known"
            )
        return tuple(found)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Estimates, rows and the course of the chains, by the name of the file."""
        return {"calibration.csv": self.frame, "calibration_rows.csv": self.rows, "calibration_trace.csv": self.trace}

    def about(self) -> dict[str, Any]:
        """What made it, and how it ended."""
        found = {"converged": self.converged, "said": self.said, "evaluations": self.evaluations}
        return {**self.made_by, **found, "seconds": round(self.seconds, 1)}

    def save(self, folder: str | Path) -> list[Path]:
        """Write the tables, the draws (Parquet), and the population (population.toml, see `cartsim.population`).

        `read_calibration` reads them. Raises `InputError` where nothing can be written.
        """
        written = save_tables(folder, self.tables(), ("calibration.json", self.about()))
        where = Path(folder)
        draws = write_whole(where / "draws.parquet", lambda path: self.draws.to_parquet(path, index=False))
        names = ", ".join(self.trials)
        save_population(
            where / "population.toml",
            self.population,
            title=f"Patients of {self.made_by['model']} calibrated to {names}",
            purpose=f"trials like {names}",
            limits="anything that these trials do not tell",
            provenance={"trials": names, "ended": self.said, "protocol_digest": self.made_by["protocol_digest"]},
        )
        return [*written, draws, where / "population.toml", where / "population.csv"]

    def _title(self) -> str:
        free = f"{len(self.frame)} free estimates, of which {(self.frame['informed'] == 'identified').sum()} identified"
        return f"calibration of {self.made_by['model']} to {', '.join(self.trials)}: {free}; {self.said}"


@elsewhere(How, n="patients simulated in each arm: patients=128", draws="they are in the result")
def calibrate(
    who: str | Path | Model | Population,
    trials: str | Path | PublishedTrial | Sequence[str | Path | PublishedTrial],
    free: Iterable[str] | Mapping[str, Any],
    *,
    priors: str | Path | None = None,
    widen: float = 1.0,
    patients: int = PATIENTS,
    seed: int = 2021,
    sampler: str = "emcee",
    **how: Unpack[How],
) -> Calibration:
    """Estimates of a population that published trials make probable.

    Parameters
    ----------
    who
        A model, its name, or a population, whose model, variability and correlation hold but for what is free.
    trials
        One or several published trials, see `cartsim.published`; rows of the role "fit" count.
    free
        Names of the estimates to calibrate, typical values as "Kg" and omegas as "omega(Kg)", or a mapping of them to
        priors: (median, SD on the scale on which the parameter varies), None for what the model file says.
    priors
        A TOML file with more of them, see `cartsim.calibration.priors.read_priors`.
    widen
        Factor on the SDs of all priors, to see what depends on them.
    patients
        Simulated in each arm, the same under all draws.
    seed
        Of the patients and of the sampler.
    sampler
        "emcee", ensembles of walkers; or "dynesty", nested sampling, as a cross-check: it is slower, and cannot go on
        from a checkpoint.
    **how
        ``ensembles``, ``walkers``, ``r_hat`` (1.05), ``effective`` (400), ``evaluations`` and ``minutes`` at most, see
        `cartsim.calibration.sampling.Settings`; ``n_jobs``, ``progress``, ``checkpoint`` as for `cartsim.Trial.run`.

    Raises
    ------
    InputError
        Before any work, for unknown trials and estimates, impossible priors, trials without a row that counts, and a
        checkpoint folder of another calibration.

    Examples
    --------
    >>> import cartsim as cs
    >>> found = cs.calibrate(
    ...     "bb2121_clinical:window", "crb401", {"Kg": (0.05, 1.0), "gamma_m": (0.3, 0.5)}, patients=8, evaluations=1
    ... )
    >>> found.frame["estimate"].tolist()
    ['Kg', 'gamma_m']
    """
    from cartsim.engine import kernel

    check_seed(seed)
    patients = check_count(patients, f"{brief(patients)} patients in each arm")
    if sampler not in SAMPLERS:
        raise InputError(f"sampler {brief(sampler)}{choices(str(sampler), SAMPLERS)}")
    population = _population(who, seed)
    known = _trials(trials)
    stated = None if priors is None else read_priors(priors)
    of_free = priors_of(population, free, stated, widen=widen)
    n_jobs, progress, checkpoint = how.pop("n_jobs", -1), how.pop("progress", False), how.pop("checkpoint", None)
    settings = settings_of({"seed": seed, **how}).of(len(of_free))
    objective = Objective(population, known, of_free, patients)
    inputs, trail = _inputs(objective), None
    begun = time.monotonic()
    if checkpoint is not None:
        if sampler == "dynesty":
            raise InputError("sampler dynesty keeps no checkpoint; leave it out, or take emcee")
        kept = Kept(checkpoint, "calibration", inputs | {"walkers": settings.inputs()})
        refuse_other(kept)
        trail = Trail(kept)
    kernel.compile_model(population.model, say)
    if sampler == "dynesty":
        found = nested(objective, len(of_free), settings, n_jobs=n_jobs, progress=progress)
    else:
        found = sample(objective, len(of_free), settings, n_jobs=n_jobs, progress=progress, trail=trail)
    made = made_by(
        population.model,
        **population.about(),
        trials={each.name: each.digest for each in known},
        priors={name: vars(prior) for name, prior in of_free.items()},
        widened=float(widen),
        patients=patients,
        sampler_of_estimates=sampler,
        rtol=objective.simulated[0].solver.rtol,
        protocol_digest=hashlib.sha256(json.dumps(describe(inputs)).encode()).hexdigest(),
    )
    return _result(objective, found, time.monotonic() - begun, made, n_jobs)


def read_calibration(folder: str | Path, *, model: str | Path | Model | None = None) -> Calibration:
    """A calibration that was saved.

    Parameters
    ----------
    folder
        That `Calibration.save` wrote.
    model
        Where it does not come with cartsim: the model, or the path of its file.

    Raises
    ------
    InputError
        Where the folder has no calibration, or one that is damaged.
    """
    import pandas as pd

    where = Path(folder)
    try:
        about = json.loads((where / "calibration.json").read_text("utf-8"))
        draws = pd.read_parquet(where / "draws.parquet")
        frame, rows, trace = (
            pd.read_csv(where / f"calibration{name}.csv", keep_default_na=False, na_values=[""])
            for name in ("", "_rows", "_trace")
        )
        rows = rows.fillna({"subset": "", "unit": ""})
        priors = {name: Prior(**own) for name, own in about["priors"].items()}
        ended = {name: about.pop(name) for name in ("converged", "said", "evaluations", "seconds")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = getattr(error, "strerror", None) or " ".join(str(error).split())[:100]
        say_where = "give the folder that one was saved in"
        raise InputError(f"{folder} has no calibration that can be read ({why}); {say_where}") from None
    people = stored_population(where / "population.toml", seed=about["seed"], model=model)
    return Calibration(frame, draws, rows, trace, people, priors, **ended, made_by=about)


# --- what goes in -------------------------------------------------------------------------------------


def _population(who: Any, seed: int) -> Population:
    """The population as a calibration simulates it: Sobol points of this seed."""
    if isinstance(who, Patients):
        raise InputError("patients of a table are as they are; calibrate a model or a Population")
    if isinstance(who, Population):
        return replace(who, seed=seed, sampler="sobol", draws=None)
    check_kind("who is calibrated", who, (str, Path, Model), "a model, its name, or a Population")
    return Population(who, seed, sampler="sobol")  # type: ignore[arg-type]


def _trials(given: Any) -> list[PublishedTrial]:
    several = [given] if isinstance(given, (str, Path, PublishedTrial)) else given
    check_kind("trials", several, Sequence, 'names of published trials, such as ["crb401", "karmma"]')
    if not several:
        raise InputError("no trial; name at least one, such as crb401")
    found = [published(each) for each in several]
    names = [each.name for each in found]
    for trial in found:
        if names.count(trial.name) > 1:
            raise InputError(f"{trial.name} is given twice; its rows would count twice")
        if not terms(trial):
            raise InputError(f"{trial.name} has no row that counts (role fit); a calibration needs one")
    return found


def _inputs(objective: Objective) -> dict[str, Any]:
    """What the posterior depends on, by names that a message can use."""
    people = objective.population
    return {
        "model": people.model,
        "variability": dict(people.varied),
        "correlation": people.about()["correlation"],
        "seed": people.seed,
        "trials": {each.name: each.digest for each in objective.trials},
        "priors": objective.priors,
        "patients": objective.patients,
        "solver": objective.simulated[0].solver,
    }


# --- what comes out -----------------------------------------------------------------------------------


def _result(objective: Objective, found: Sampled, seconds: float, made: dict[str, Any], n_jobs: int) -> Calibration:
    import pandas as pd

    priors = objective.priors
    picked = _evenly(len(found.z), DRAWS)
    z = found.z[picked]
    draws = pd.DataFrame(estimates(priors, z) | {"log_posterior": found.log_posterior[picked]})
    mode = {name: float(own[0]) for name, own in estimates(priors, found.mode[None]).items()}
    people = replace(objective.population, sampler="random").at(mode)
    people = replace(people, draws=draws[list(priors)], origin={"calibration": made["protocol_digest"]})
    return Calibration(
        _frame(priors, found, mode),
        draws,
        _rows(objective, z[_evenly(len(z), CHECKED)], n_jobs),
        _trace(priors, found.chains),
        people,
        priors,
        found.converged,
        found.said,
        found.evaluations,
        seconds,
        made,
    )


def _evenly(n: int, most: int) -> NDArray[np.intp]:
    """Numbers of at most so many of n, evenly among them."""
    return np.unique(np.linspace(0, n - 1, min(most, n)).round().astype(int))


def _frame(priors: Mapping[str, Prior], found: Sampled, mode: Mapping[str, float]) -> pd.DataFrame:
    import pandas as pd

    ends = np.array([-Z90, Z90])
    rows = []
    for i, (name, prior) in enumerate(priors.items()):
        at = np.quantile(found.z[:, i], [0.05, 0.5, 0.95])
        low, median, high = prior.values(at)
        before = prior.values(ends)
        width = float((at[2] - at[0]) / (2 * Z90))
        informed = "identified" if width <= IDENTIFIED else "little" if width < UNINFORMED else "not"
        rows.append(
            {
                "estimate": name,
                "prior": f"{prior}",
                "prior_low": before[0],
                "prior_high": before[1],
                "median": median,
                "low": low,
                "high": high,
                "mode": mode[name],
                "width": width,
                "R_hat": found.r_hat[i],
                "effective": found.effective[i],
                "informed": informed,
            }
        )
    return pd.DataFrame(rows)


def _rows(objective: Objective, z: NDArray[np.float64], n_jobs: int) -> pd.DataFrame:
    """Every row that counts or repeats, under the draws."""
    import pandas as pd

    rows = [
        [(trial, row, _single(own, row)) for row in trial.rows if row.role in ("fit", "repeat")]
        for trial, own in zip(objective.trials, objective.terms, strict=True)
    ]

    def under(some: NDArray[np.float64]) -> list[tuple[NDArray[np.float64], Reading | None]]:
        return [
            (statistic(row, sample), _reading(row, term, sample))
            for own, sample in zip(rows, objective.samples(some), strict=True)
            for _, row, term in own
        ]

    tasks = (partial(under, z[i : i + BATCH]) for i in range(0, len(z), BATCH))
    parts = list(in_threads(tasks, threads(n_jobs)))
    table = []
    for k, (trial, row, term) in enumerate(each for own in rows for each in own):
        values = np.concatenate([part[k][0] for part in parts])
        readings = [part[k][1] for part in parts]
        table.append(_row(trial, row, values, _less(row, term, [each for each in readings if each is not None])))
    return pd.DataFrame(table)


def _single(pieces: Sequence[Term], row: Row) -> Term | None:
    """The piece of the likelihood that is this row's alone."""
    return next((term for term in pieces if term.ids == (row.id,)), None)


def _reading(row: Row, term: Term | None, sample: Sample) -> Reading | None:
    """How the row's patients fall into two classes, where it says how many there were."""
    if row.statistic == "share":
        having = statistic(row, sample) / 100
        return Reading(np.stack([having, 1 - having], axis=1), weighted.size(sample.weight, sample.members(row)))
    return None if term is None else term.read(sample)


def _less(row: Row, term: Term | None, readings: Sequence[Reading]) -> float:
    """Posterior predictive probability of less than published; NaN where no number of patients is known."""
    if row.statistic == "share":
        if row.n is None:
            return np.nan
        events = row.n * row.value / 100 if row.events is None else row.events
        observed = np.array([events, row.n - events], float)
    elif term is None:
        return np.nan
    else:
        observed = term.observed
    shares, simulated = (np.concatenate([each[i] for each in readings]) for i in (0, 1))
    fewer = float(tail(observed, shares, simulated)[0])
    # More patients below a published median or ratio make it a smaller one.
    return 1 - fewer if row.statistic in ("KM median", "median", "ratio of medians") else fewer


def _row(trial: PublishedTrial, row: Row, values: NDArray[np.float64], less: float) -> dict[str, Any]:
    known = values[~np.isnan(values)]
    low, median, high = np.quantile(known, [0.05, 0.5, 0.95], method="nearest") if known.size else [np.nan] * 3
    unlimited = np.isnan(row.low) and np.isnan(row.high)
    return {
        "trial": trial.name,
        **row.cells("id", "endpoint", "subset", "statistic", "unit", "role", "n", "arms", "value", "low", "high"),
        "median": median,
        "fitted_low": low,
        "fitted_high": high,
        "within": None if unlimited else _reaches(median, row),
        "p": less,
    }


def _reaches(value: float, row: Row) -> bool:
    """Whether a value lies within the limits of a row, of which one may not be known."""
    return bool(not np.isnan(value) and not value < row.low and not value > row.high)


def _trace(priors: Mapping[str, Prior], chains: Chains | None) -> pd.DataFrame:
    import pandas as pd

    names = ["step", "ensemble", "estimate", "median", "low", "high"]
    if chains is None:
        return pd.DataFrame({name: [] for name in names})
    steps = _evenly(len(chains.z), TRACED)
    parts = []
    for i, (name, prior) in enumerate(priors.items()):
        low, median, high = np.quantile(prior.values(chains.z[steps, :, :, i]), [0.05, 0.5, 0.95], axis=2)
        for e in range(median.shape[1]):
            own = {"step": steps, "ensemble": e, "estimate": name}
            parts.append(pd.DataFrame(own | {"median": median[:, e], "low": low[:, e], "high": high[:, e]}))
    return pd.concat(parts, ignore_index=True)[names]


def _shown(value: float, low: float, high: float, unit: str) -> str:
    ends = "" if np.isnan(low) and np.isnan(high) else f" ({low:.3g} to {high:.3g})"
    return f"{value:.3g}{ends} {unit}".rstrip()
