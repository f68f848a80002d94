"""A virtual trial: patients, arms, a protocol. What happens is simulated and measured in chunks of patients."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cartsim.endpoints.categories import categorical
from cartsim.endpoints.markers import mrd_per_1e5
from cartsim.errors import InputError, brief, check_count, check_kind, choices, elsewhere, say
from cartsim.model.model import Model, Variability
from cartsim.population.patients import Patients
from cartsim.population.population import APART, Population, endless
from cartsim.provenance import made_by
from cartsim.regimen import Regimen
from cartsim.runs import Kept, check_size, check_work, run_pieces
from cartsim.schedule import MONTH
from cartsim.simulation import simulate_rows
from cartsim.solver import Solver
from cartsim.threads import at_once, threads
from cartsim.trial.assay import Assay
from cartsim.trial.conduct import draw
from cartsim.trial.measurements import Curves, Measurements
from cartsim.trial.outcome import Readout, TrialResult, gathered
from cartsim.trial.protocol import Protocol

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

# What a trial measures, by the names of the model's outputs.
MEASURED = ("transgene", "mprotein_gL", "mprotein_change", "sbcma_change", "tumor_relative")
PATIENTS = 1000  # of a population in each arm, if nothing is said
CHUNK = 2000  # patients in each part of a checkpoint, if nothing is said


@elsewhere(seed="a seed belongs to the patients: Population(model, seed=...)")
@dataclass(frozen=True)
class Arm:
    """Patients under one dose (cells) or one regimen.

    Parameters
    ----------
    dose, regimen
        One of the two.
    n
        How many, if not as many as the trial has in each.
    name
        By default that of the dose.
    covariates
        In what these patients differ from those of other arms: by name another typical value, or an omega, as for
        `Population.at`; or another distribution. ``{"burden": cs.uniform(50, 95), "Kg": 0.01}``

    Raises
    ------
    InputError
        Unless there is either a dose or a regimen.
    """

    dose: float | None = None
    n: int | None = None
    name: str = ""
    regimen: Regimen | None = None
    covariates: Mapping[str, float | Variability] | None = None

    def __post_init__(self) -> None:
        if self.n is not None:
            object.__setattr__(self, "n", check_count(self.n, f"an arm of {brief(self.n)} patients"))
        if (self.dose is None) == (self.regimen is None):
            raise InputError("an arm has either a dose or a regimen; give one of the two")
        if self.regimen is None:
            object.__setattr__(self, "regimen", Regimen.single(self.dose))
        check_kind("the regimen of an arm", self.regimen, Regimen, "Regimen(...), such as Regimen.single(450e6)")
        check_kind("the name of an arm", self.name, str, "a text")
        if not self.name:
            object.__setattr__(self, "name", f"{self.dose / 1e6:g}e6" if self.dose is not None else "regimen")
        if self.covariates is not None:
            check_kind("the covariates of an arm", self.covariates, Mapping, 'a mapping, such as {"burden": 60}')
            object.__setattr__(self, "covariates", dict(self.covariates))

    def of(self, population: Population) -> Population:
        """The population from which the patients of this arm are. Raises `InputError` as `Population.at`."""
        given = self.covariates or {}
        spread = {name: own for name, own in given.items() if isinstance(own, Variability)}
        if spread:
            population = population.varying(spread)
        values: dict[str, Any] = {name: own for name, own in given.items() if name not in spread}
        return population.at(values) if values else population


@elsewhere(seed="a seed belongs to the patients: Population(model, seed=...)")
@dataclass(frozen=True)
class Trial:
    """A virtual trial.

    Parameters
    ----------
    population
        Who is treated: a `Population` or `Patients`; the model is theirs, and so is the seed of what is drawn beside
        them (noise of assays, missed visits, deaths).
    arms
        What they are given: doses in cells, `Arm`s, or a mapping of names to doses or regimens.
    n
        Patients in every arm: by default 1,000 of a population, all of a user's own.
    protocol
        Visits, assays, conduct, and the rules by which the trial is judged.
    solver
        Tolerance, extinction, steps.
    curves
        Number of patients of each arm whose trajectories are kept for pictures.
    independent
        Other patients in each arm, as in a trial that randomises: those of the second arm are numbered from
        1,000,000,000, and so on. Otherwise every arm has the same patients, and arms differ by treatment alone.

    Raises
    ------
    InputError
        For arms of one name, more patients than there are, a model that lacks what a trial measures, and independent
        arms of patients that are a table or Sobol points, of which no more can be had.

    Examples
    --------
    >>> import cartsim as cs
    >>> trial = cs.Trial(cs.Population("bb2121_clinical", seed=1), arms=[150e6, 450e6], n=100)
    >>> float(trial.run().summary["ORR"].max().round())
    98.0
    """

    population: Population | Patients
    arms: Any  # a tuple of Arms, once it is made
    n: int | None = None
    protocol: Protocol = field(default_factory=Protocol)
    solver: Solver = field(default_factory=Solver)
    curves: int = 1000
    independent: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.population, (Population, Patients)):
            raise InputError(
                f"a trial of {type(self.population).__name__}; give Population(model, seed=...) or "
                "Patients(model, table)"
            )
        check_kind("protocol", self.protocol, Protocol, "Protocol(...)")
        check_kind("solver", self.solver, Solver, "Solver(...)")
        limit = len(self.population) if hasattr(self.population, "__len__") else None
        if self.independent and not endless(self.population):
            raise InputError("independent arms need patients without end; give a Population whose sampler is 'random'")
        n = (PATIENTS if limit is None else limit) if self.n is None else self.n
        object.__setattr__(self, "n", check_count(n, f"a trial of {brief(n)} patients"))
        object.__setattr__(self, "arms", tuple(_arms(self.arms, n)))
        names = [arm.name for arm in self.arms]
        for arm in self.arms:
            if names.count(arm.name) > 1:
                raise InputError(f"two arms called {arm.name!r}; give each its own name (or dose)")
            assert arm.n is not None
            if self.independent and arm.n > APART:
                raise InputError(f"an independent arm of {arm.n} patients; ask for at most {APART:,}")
            if limit is not None and arm.n > limit:
                raise InputError(f"arm {arm.name} of {arm.n} patients, but there are {limit}; ask for fewer")
        _ = self._populations  # checks the covariates of arms
        self.model.check_start()
        missing = [name for name in MEASURED if name not in self.model.outputs]
        if missing or not {"M0", "burden"} <= set(self.model.parameters):
            raise InputError(
                f"model {self.model.name!r} cannot be tried on patients: a trial reads the outputs "
                f"{', '.join(MEASURED)} and the covariates M0 and burden; "
                f"missing: {', '.join(missing) or 'M0 or burden'}"
            )

    @property
    def model(self) -> Model:
        """The model of the patients."""
        return self.population.model

    @cached_property
    def _populations(self) -> list[Population | Patients]:
        """Who is treated in each arm."""
        who, found = self.population, []
        for arm in self.arms:
            if not arm.covariates:
                found.append(who)
            elif isinstance(who, Population):
                found.append(arm.of(who))
            else:
                raise InputError(
                    f"arm {arm.name} has covariates of its own, and the patients are a table; give a Population, or "
                    "write them in the table"
                )
        return found

    @elsewhere(
        n="it belongs to the trial: Trial(population, arms, n=...)",
        arms="they belong to the trial: Trial(population, arms)",
        seed="a seed belongs to the patients: Population(model, seed=...)",
    )
    def run(
        self,
        *,
        n_jobs: int = -1,
        chunk: int | None = None,
        progress: bool = False,
        checkpoint: str | Path | None = None,
        keep_visits: bool = True,
        columns: Sequence[str] | None = None,
    ) -> TrialResult:
        """Simulate and judge the trial.

        Parameters
        ----------
        n_jobs, chunk
            Threads (-1: all cores) and patients simulated at a time, by default so many that all threads have equally
            much to do; with a checkpoint 2,000. They change the speed, never the result.
        progress
            Show a bar on stderr.
        checkpoint
            A folder for finished chunks, from which an interrupted run goes on.
        keep_visits
            Keep the measurements, which judging by other rules needs.
        columns
            Of the table of patients, keep these alone (beside those that the summary needs): for trials too large to
            keep whole.

        Raises
        ------
        InputError
            Before any work, for a trial that memory cannot hold or that would not end within a year, and for a
            checkpoint folder that cannot be written.
        """
        chunk = self._chunk(chunk, n_jobs, checkpoint)
        if isinstance(columns, str) or not isinstance(columns, Sequence | None):
            raise InputError(f"columns are {brief(columns)}; give a list of names, such as ['burden']")
        readout = Readout(self.protocol, keep_visits, None if columns is None else tuple(columns))
        sizes = [arm.n or 0 for arm in self.arms]
        visits = self.protocol.visits
        check_size(
            sum(sizes),
            "patients (of all arms)",
            kept=sum(sizes) * readout.bytes_kept(len(self.population.held), visits),
            working=self.bytes_working(),
            at_once=chunk,
            n_jobs=n_jobs,
        )
        self._check_columns(columns or ())
        of_arms = {a.name: {name: str(own) for name, own in a.covariates.items()} for a in self.arms if a.covariates}
        parts = self.map(readout, n_jobs=n_jobs, chunk=chunk, progress=progress, checkpoint=checkpoint)
        return gathered(
            parts,
            self.protocol,
            made_by(
                self.model,
                **self.population.about(),
                rtol=self.solver.rtol,
                extinction=self.solver.extinction,
                arms=str({arm.name: arm.n for arm in self.arms}),
                **({"independent": True} if self.independent else {}),
                **({"covariates": str(of_arms)} if of_arms else {}),
            ),
        )

    def map(
        self,
        function: Callable[[Measurements], T],
        *,
        n_jobs: int = -1,
        chunk: int | None = None,
        progress: bool = False,
        checkpoint: str | Path | None = None,
    ) -> list[T]:
        """What ``function`` makes of the measurements of each chunk, in order: for what is too large to keep.

        A checkpoint needs a function with ``pack`` and ``unpack`` (see `cartsim.runs.Work`), such as `Readout`. Raises
        `InputError` for any other, and for a folder that cannot be written.
        """
        from cartsim.engine import kernel

        kept = None
        if checkpoint is not None:
            if not (hasattr(function, "pack") and hasattr(function, "unpack")):
                raise InputError(
                    f"checkpoint: what {getattr(function, '__name__', function)} returns cannot be kept in files; "
                    "use Trial.run, or go without a checkpoint"
                )
            kept = Kept(checkpoint, "trial", {"trial": self, "reduce": function})
        sizes, chunk = [arm.n or 0 for arm in self.arms], self._chunk(chunk, n_jobs, checkpoint)
        each = threads(n_jobs) // sum(-(-n // chunk) for n in sizes)
        results: Iterator[T] = run_pieces(
            _Chunks(self, function, max(1, each)),
            sizes,
            chunk,
            what="patients",
            n_jobs=n_jobs,
            progress=progress,
            kept=kept,
        )
        kernel.compile_model(self.model, say)  # once, before the workers all want it
        return list(results)

    def measure(self, arm: int, start: int, stop: int, *, n_jobs: int = 1) -> Measurements:
        """Simulate, in so many threads, and measure patients start..stop-1 of an arm (its number)."""
        kept = max(0, min(self.curves - start, stop - start))
        if self.independent:
            start, stop = start + arm * APART, stop + arm * APART
        table = self._populations[arm].table(start, stop)
        for name, value in (self.arms[arm].covariates or {}).items():
            if name in self.model.parameters and not isinstance(value, Variability):
                table[name] = table.get(name, float(value))  # also where it does not vary
        own = self.population.dose if isinstance(self.population, Patients) else None
        own = None if own is None else own[start:stop]
        return self.measure_rows(table, self.arms[arm], start, stop, own, kept, n_jobs=n_jobs)

    def measure_rows(
        self,
        table: pd.DataFrame,
        arm: Arm,
        start: int,
        stop: int,
        own_dose: NDArray[np.float64] | None = None,
        kept: int = 0,
        *,
        n_jobs: int = 1,
    ) -> Measurements:
        """Simulate and measure the rows of a table: patients start..stop-1, once or several times in this order."""
        visits, seed, n = self.protocol.visits, self.population.seed, len(table)
        times_over = n // (stop - start)
        parameters = self.model.values({name: own.to_numpy() for name, own in table.items()}, n)
        columns = dict(zip(self.model.parameters, parameters.T, strict=True))
        shown = {p.name for p in self.model.parameters.values() if p.role == "covariate"}
        shown = shown.union(
            table, *(who.held for who in self._populations), *(each.covariates or () for each in self.arms)
        )
        response, kinetics = np.array(visits.response), np.array(visits.kinetics)
        every_day = np.union1d(response, kinetics)
        of_response, of_kinetics = np.searchsorted(every_day, response), np.searchsorted(every_day, kinetics)
        seen, sampled = visits.attended(seed, start, stop)
        attended = np.empty((stop - start, len(every_day)))
        attended[:, of_kinetics], attended[:, of_response] = sampled, seen
        landmarks = np.array(visits.landmarks) * MONTH
        picture = _picture_days(response[-1]) if kept else np.empty(0)
        times = np.unique(np.concatenate([[0.0], visits.possible(), landmarks, picture]))
        run = simulate_rows(
            self.model,
            table,
            arm.regimen,
            times,
            MEASURED,
            own_dose=own_dose,
            parameters=parameters,
            solver=self.solver,
            n_jobs=n_jobs,
        )
        values = {name: run.usable(name) for name in MEASURED}

        first, at_seen, at_sampled, at_landmarks = (
            np.searchsorted(times, days) for days in (np.zeros(1), seen, sampled, landmarks)
        )
        if visits.windows:
            seen, sampled = (np.tile(own, (times_over, 1)) for own in (seen, sampled))
            at_seen, at_sampled = (np.tile(own, (times_over, 1)) for own in (at_seen, at_sampled))

        def at(name: str, place: NDArray[np.intp]) -> NDArray[np.float64]:
            own = values[name]
            return own.take(place, axis=1) if place.ndim == 1 else np.take_along_axis(own, place, axis=1)

        def measured(name: str, truth: NDArray[np.float64], days: NDArray[np.float64]) -> NDArray[np.float64]:
            assay = self.protocol.assays.get(name, Assay())
            return assay.measure(truth, seed=seed, name=name, start=start, days=days, times=times_over)

        def change_measured() -> NDArray[np.float64]:
            """Percent change of sBCMA as the assay gives it, from the measured baseline."""
            level = measured("sbcma", 1 + at("sbcma_change", at_seen) / 100, response)
            first = measured("sbcma", np.ones((n, 1)), np.zeros(1))
            return 100 * (level / np.where(first > 0, first, np.nan) - 1)

        course = draw(self.protocol.conduct, seed, start, stop, every_day, attended=attended)
        evaluable = np.tile(course.evaluable, (times_over, 1))
        cut = sampled > np.tile(course.sampled_day, times_over)[:, None]
        at_response, at_kinetics = evaluable[:, of_response], evaluable[:, of_kinetics] & ~cut
        curves = None
        if kept:
            drawn = np.unique(np.concatenate([[0.0], picture]))
            names = ("transgene", "mprotein_change", "sbcma_change")
            place = np.searchsorted(times, drawn)
            curves = Curves(drawn, {name: at(name, place)[:kept] for name in names})
        arms = list(dict.fromkeys([*(each.name for each in self.arms), arm.name]))
        given = {
            "id": run.ids,
            "arm": categorical(np.full(n, arms.index(arm.name)), arms, ordered=True),
            "dose": run.doses,
        }
        baseline = measured("mprotein", at("mprotein_gL", first), np.zeros(1))[:, 0]
        return Measurements(
            arm=arm.name,
            given=given | {name: own.copy() for name, own in columns.items() if name in shown},
            ids=run.ids,
            days=seen,
            baseline=baseline,
            mprotein=np.where(at_response, measured("mprotein", at("mprotein_gL", at_seen), response), np.nan),
            sbcma=np.where(at_response, change_measured(), np.nan),
            mrd=mrd_per_1e5(at("tumor_relative", at_seen), columns["burden"][:, None] / 100),
            kinetic_days=sampled,
            transgene=np.where(at_kinetics, measured("transgene", at("transgene", at_sampled), kinetics), np.nan),
            landmarks=visits.landmarks,
            landmark_change=at("mprotein_change", at_landmarks),
            events={
                "new_therapy_day": np.tile(course.new_therapy_day, times_over),
                "death_day": np.tile(course.death_day, times_over),
                "end_day": np.tile(course.last_day, times_over),
            },
            status=run.status,
            curves=curves,
        )

    def _chunk(self, chunk: int | None, n_jobs: int, checkpoint: str | Path | None) -> int:
        """Patients simulated at a time. A run goes on from a checkpoint with any number of threads."""
        check_work(CHUNK if chunk is None else chunk, n_jobs)
        if chunk is not None:
            return chunk
        return CHUNK if checkpoint is not None else at_once(sum(arm.n or 0 for arm in self.arms), n_jobs)

    def _check_columns(self, columns: Sequence[str]) -> None:
        """Raise `InputError` for those that the table of patients does not have; it takes one to know them."""
        known = Readout(self.protocol)(self.measure(0, 0, 1)).patients if columns else ()
        for name in columns:
            if name not in known:
                close = choices(name, known)
                all_there = "; run the trial without columns= to see which there are"
                raise InputError(
                    f"no column {brief(name)} in the table of patients{close if 'did you' in close else all_there}"
                )

    def bytes_working(self) -> int:
        """Bytes that a patient takes while it is simulated: every output at every time, with its pictures."""
        visits = self.protocol.visits
        days = len(visits.possible()) + len(visits.landmarks)
        return 8 * len(MEASURED) * (days + (len(_picture_days(visits.response[-1])) if self.curves else 0))

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{escape(arm.name)}</td><td>{arm.n:,}</td></tr>" for arm in self.arms)
        return f"<b>{escape(repr(self))}</b><table><tr><th>arm</th><th>patients</th></tr>{rows}</table>"

    def __repr__(self) -> str:
        arms = ", ".join(f"{arm.name} (n = {arm.n:,})" for arm in self.arms)
        last = self.protocol.visits.response[-1] / MONTH
        return f"trial of {self.model.name}: arms {arms}; {last:.3g} months; rules {self.protocol.rules.changed()}"


class _Chunks:
    """Simulates, in so many threads, and reduces patients, numbered through all arms, of one arm at a time."""

    def __init__(self, trial: Trial, reduce: Any, n_jobs: int) -> None:
        self.trial, self.reduce, self.n_jobs = trial, reduce, n_jobs
        self.pack, self.unpack = (getattr(reduce, name, None) for name in ("pack", "unpack"))
        self.firsts = [0, *accumulate(arm.n or 0 for arm in trial.arms)]

    def __call__(self, start: int, stop: int) -> Any:
        arm = bisect_right(self.firsts, start) - 1
        first = self.firsts[arm]
        return self.reduce(self.trial.measure(arm, start - first, stop - first, n_jobs=self.n_jobs))


def _arms(given: Any, n: int) -> list[Arm]:
    """Arms of whatever says what is given, each with its number of patients."""
    if isinstance(given, Mapping):
        given = [
            Arm(name=str(name), regimen=what) if isinstance(what, Regimen) else Arm(_dose(what), name=str(name))
            for name, what in given.items()
        ]
    elif isinstance(given, (Arm, Regimen, str)) or not isinstance(given, Sequence | np.ndarray):
        raise InputError(f"arms are {brief(given)}; give a list, such as [150e6, 450e6], or a mapping by name")
    arms = [arm if isinstance(arm, Arm) else Arm(_dose(arm)) for arm in given]
    if not arms:
        raise InputError("a trial without arms; give at least one dose")
    return [
        replace(arm, n=n if arm.n is None else arm.n, regimen=None if arm.dose is not None else arm.regimen)
        for arm in arms
    ]


def _dose(given: Any) -> float:
    try:
        return float(given)
    except (TypeError, ValueError):
        raise InputError(f"an arm is {brief(given)}; give a dose in cells, or Arm(regimen=...)") from None


def _picture_days(end: float) -> NDArray[np.float64]:
    """Daily through the expansion, weekly afterwards."""
    return np.concatenate([np.arange(0.5, 3.0, 0.5), np.arange(3.0, 31.0), np.arange(35.0, end + 3.5, 7.0)])
