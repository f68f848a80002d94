"""A virtual trial: arms, visits, seed. It simulates what happens and what is measured, in chunks of patients.

How the measurements are judged is no business of this file: ``Trial.run`` hands each chunk to a function and returns
what the function made of it, so that memory holds summaries and not trajectories.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cartsim.assay import Assay
from cartsim.conduct import Conduct, Course
from cartsim.errors import InputError
from cartsim.model import Model, load
from cartsim.population import Population
from cartsim.regimen import Regimen
from cartsim.runs import Kept, run_pieces
from cartsim.schedule import KARMMA_KINETICS, KARMMA_RESPONSE, MONTH
from cartsim.simulate import RTOL, simulate

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from cartsim.runs import Arrays

T = TypeVar("T")

# What a trial measures, by the names of the model's outputs.
MEASURED = ("transgene", "mprotein_gL", "mprotein_change", "sbcma_change", "tumor_relative")


@dataclass(frozen=True)
class Arm:
    """Patients 0..n-1 of the population under one dose (cells) or one regimen.

    The same patient number is the same patient in every arm, so arms differ by treatment alone.
    """

    dose: float | None = None
    n: int = 1000
    name: str = ""
    regimen: Regimen | None = None

    def __post_init__(self) -> None:
        if isinstance(self.n, bool) or not isinstance(self.n, int) or self.n < 1:
            raise InputError(f"an arm of {self.n!r} patients; give a whole number, 1 or more")
        if (self.dose is None) == (self.regimen is None):
            raise InputError("an arm has either a dose or a regimen; give one of the two")
        if self.regimen is None:
            object.__setattr__(self, "regimen", Regimen.single(self.dose))
        if not self.name:
            name = f"{self.dose / 1e6:g}e6" if self.dose is not None else "regimen"
            object.__setattr__(self, "name", name)


@dataclass(frozen=True)
class Visits:
    """Days after infusion of response assessments and transgene samples; KarMMa's by default."""

    response: tuple[float, ...] = KARMMA_RESPONSE
    kinetics: tuple[float, ...] = KARMMA_KINETICS
    landmarks: tuple[float, ...] = (6.0, 21.0)  # months, of the response snapshots

    def __post_init__(self) -> None:
        for what, days in (
            ("response", self.response),
            ("kinetics", self.kinetics),
            ("landmarks", self.landmarks),
        ):
            values = list(days)
            if not values or not all(day > 0 for day in values) or sorted(set(values)) != values:
                raise InputError(f"{what} visits {values}: give increasing times after 0, at least one")


@dataclass(frozen=True)
class Curves:
    """Trajectories kept for pictures: ``values[output]`` (patients, times) in the model's units."""

    times: NDArray[np.float64]
    values: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Observations:
    """What a trial knows of one chunk of patients of one arm (n patients).

    ``patients``: table with ``id``, ``arm``, ``dose`` and the parameters and covariates that vary. ``mprotein`` (n, v)
    in g/L and ``sbcma_change`` (n, v) in percent on ``response_days`` (v,), as measured, NaN where a visit was missed;
    ``baseline`` (n,) in g/L, as measured; ``transgene`` (n, k) in copies/ug on ``kinetic_days`` (k,), as measured.
    ``landmark_change`` (n, l): true percent change of M-protein at the landmarks (months). ``tumor_relative`` (n, v):
    true tumor over its baseline, for MRD. ``course``: what ended observation. ``status``: of the integration.
    """

    arm: str
    patients: pd.DataFrame
    response_days: NDArray[np.float64]
    baseline: NDArray[np.float64]
    mprotein: NDArray[np.float64]
    sbcma_change: NDArray[np.float64]
    tumor_relative: NDArray[np.float64]
    kinetic_days: NDArray[np.float64]
    transgene: NDArray[np.float64]
    landmarks: tuple[float, ...]
    landmark_change: NDArray[np.float64]
    course: Course
    status: NDArray[np.int64]
    curves: Curves | None


@dataclass(frozen=True)
class Trial:
    """A virtual trial of a model.

    model: name, path or Model. arms: what is given to how many. population: the virtual patients (by default the
    model's own variability with ``seed``). assays: measurement error of ``mprotein`` (g/L), ``sbcma`` (relative
    to baseline) and ``transgene`` (copies/ug). conduct: missed visits, dropout, cut-off, new therapy, deaths. curves:
    the number of patients of each arm whose trajectories are kept for pictures.
    """

    model: Model
    arms: tuple[Arm, ...]
    population: Population | None = None
    visits: Visits = field(default_factory=Visits)
    assays: Mapping[str, Assay] = field(default_factory=dict)
    conduct: Conduct = field(default_factory=Conduct)
    seed: int = 2021
    rtol: float = RTOL
    extinction: float | None = None
    curves: int = 1000

    def __post_init__(self) -> None:
        model = load(self.model)
        object.__setattr__(self, "model", model)
        arms = tuple(arm if isinstance(arm, Arm) else Arm(float(arm)) for arm in self.arms)
        object.__setattr__(self, "arms", arms)
        if not arms:
            raise InputError("a trial without arms; give at least one dose")
        names = [arm.name for arm in arms]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"two arms called {name!r}; give each its own name (or dose)")
        if self.population is None:
            object.__setattr__(self, "population", Population(model, self.seed))
        missing = [name for name in MEASURED if name not in model.outputs]
        if missing or not {"M0", "burden"} <= set(model.parameters):
            raise InputError(
                f"model {model.name!r} cannot be tried on patients: a trial reads the outputs {', '.join(MEASURED)} "
                f"and the covariates M0 and burden; missing: {', '.join(missing) or 'M0 or burden'}"
            )
        for name in self.assays:
            if name not in ("mprotein", "sbcma", "transgene"):
                raise InputError(f"an assay of {name!r}; assays are of mprotein, sbcma or transgene")

    def run(
        self,
        reduce: Callable[[Observations], T],
        *,
        n_jobs: int = -1,
        chunk: int = 2000,
        progress: bool = False,
        checkpoint: str | Path | None = None,
    ) -> list[T]:
        """Simulate every chunk, apply ``reduce`` where it was simulated, and return the results in order.

        ``n_jobs`` and ``chunk`` (patients) change the speed, never the result. With ``checkpoint`` (a folder) each
        chunk's result is kept there, and a run that was interrupted goes on from where it was: for a ``reduce`` with
        ``pack`` and ``unpack`` (see `cartsim.runs.Work`), such as `cartsim.analysis.outcome.Readout`. Raises
        `InputError` for any other, and for a folder that cannot be written.
        """
        from cartsim.engine import kernel
        from cartsim.simulate import _say

        kept = None
        if checkpoint is not None:
            if not (hasattr(reduce, "pack") and hasattr(reduce, "unpack")):
                raise InputError(
                    f"checkpoint: what {getattr(reduce, '__name__', reduce)} returns cannot be kept in files; "
                    "use cartsim.analysis.outcome.Readout, or run without a checkpoint"
                )
            kept = Kept(checkpoint, "trial", {"trial": self, "reduce": reduce})
        results: Iterator[T] = run_pieces(
            _Chunks(self, reduce),
            [arm.n for arm in self.arms],
            chunk,
            what="patients",
            n_jobs=n_jobs,
            progress=progress,
            kept=kept,
        )
        kernel.compile_model(self.model, _say)  # once, before the workers all want it
        return list(results)

    def bytes_working(self) -> int:
        """Bytes that a patient takes while it is simulated: every output at every time, with its pictures."""
        days = len(self.visits.response) + len(self.visits.kinetics) + len(self.visits.landmarks)
        return 8 * len(MEASURED) * (days + (len(_picture_days(self.visits.response[-1])) if self.curves else 0))

    def observe(self, arm: int, start: int, stop: int) -> Observations:
        """Simulate and measure patients start..stop-1 of an arm."""
        import numpy as np

        from cartsim.conduct import draw
        from cartsim.engine.rodas import Status

        assert self.population is not None
        everything = self.population.table(start, stop, complete=True)
        covariates = [p.name for p in self.model.parameters.values() if p.role == "covariate"]
        table = everything[[name for name in everything if name in {*self.population.varied, *covariates}]]
        visits, n = self.visits, stop - start
        response = np.array(visits.response)
        kinetics = np.array(visits.kinetics)
        landmarks = np.array(visits.landmarks) * MONTH
        picture = _picture_days(response[-1]) if start < self.curves else np.empty(0)
        times = np.unique(np.concatenate([[0.0], response, kinetics, landmarks, picture]))
        run = simulate(
            self.population.model,
            table.reset_index(),
            self.arms[arm].regimen,
            times,
            MEASURED,
            rtol=self.rtol,
            extinction=self.extinction,
        )

        failed = Status.failed(run.status)
        values = run.values
        if failed.any():
            values = {name: np.where(failed[:, None], np.nan, own) for name, own in values.items()}

        def at(name: str, days: NDArray[np.float64]) -> NDArray[np.float64]:
            return values[name][:, np.searchsorted(times, days)]

        def measured(name: str, truth: NDArray[np.float64], days: NDArray[np.float64]) -> NDArray[np.float64]:
            assay = self.assays.get(name, Assay())
            return assay.measure(truth, seed=self.seed, name=name, start=start, days=days)

        def change_measured() -> NDArray[np.float64]:
            """Percent change of sBCMA as the assay gives it, from the measured baseline."""
            level = measured("sbcma", 1 + at("sbcma_change", response) / 100, response)
            first = measured("sbcma", np.ones((n, 1)), np.zeros(1))
            return 100 * (level / np.where(first > 0, first, np.nan) - 1)

        every_day = np.union1d(response, kinetics)
        course = draw(self.conduct, self.seed, start, stop, every_day)
        seen = course.evaluable
        at_response = seen[:, np.searchsorted(every_day, response)]
        at_kinetics = seen[:, np.searchsorted(every_day, kinetics)]
        kept = max(0, min(self.curves - start, n))
        curves = None
        if kept:
            shown = np.unique(np.concatenate([[0.0], picture]))
            names = ("transgene", "mprotein_change", "sbcma_change")
            curves = Curves(shown, {name: at(name, shown)[:kept] for name in names})
        patients = table.reset_index()
        patients.insert(1, "arm", self.arms[arm].name)
        patients.insert(2, "dose", _first_dose(self.arms[arm]))
        baseline = measured("mprotein", at("mprotein_gL", np.zeros(1)), np.zeros(1))[:, 0]
        return Observations(
            arm=self.arms[arm].name,
            patients=patients,
            response_days=response,
            baseline=baseline,
            mprotein=np.where(at_response, measured("mprotein", at("mprotein_gL", response), response), np.nan),
            sbcma_change=np.where(at_response, change_measured(), np.nan),
            tumor_relative=at("tumor_relative", response),
            kinetic_days=kinetics,
            transgene=np.where(at_kinetics, measured("transgene", at("transgene", kinetics), kinetics), np.nan),
            landmarks=visits.landmarks,
            landmark_change=at("mprotein_change", landmarks),
            course=course,
            status=run.status,
            curves=curves,
        )


class _Chunks(Generic[T]):
    """Simulates and reduces patients, numbered through all arms, of one arm at a time."""

    def __init__(self, trial: Trial, reduce: Any) -> None:
        self.trial, self.reduce = trial, reduce
        self.firsts = [0, *accumulate(arm.n for arm in trial.arms)]

    def __call__(self, start: int, stop: int) -> T:
        arm = bisect_right(self.firsts, start) - 1
        first = self.firsts[arm]
        result: T = self.reduce(self.trial.observe(arm, start - first, stop - first))
        return result

    def pack(self, result: T) -> Arrays:
        arrays: Arrays = self.reduce.pack(result)
        return arrays

    def unpack(self, arrays: Arrays, n: int) -> T:
        result: T = self.reduce.unpack(arrays, n)
        return result


def _first_dose(arm: Arm) -> float:
    assert arm.regimen is not None
    doses = arm.regimen.doses
    return float(doses[0].amount or 0.0) if doses else 0.0


def _picture_days(end: float) -> NDArray[np.float64]:
    """Daily through the expansion, weekly afterwards."""
    import numpy as np

    return np.concatenate([np.arange(0.5, 3.0, 0.5), np.arange(3.0, 31.0), np.arange(35.0, end + 3.5, 7.0)])
