"""Grids over any two of the parameters, the covariates and the dose: a typical patient or a trial each.

Singh 2021, Figure 4 (doi:10.1002/psp4.12598) is dose against tumor burden for the typical patient.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim import memory
from cartsim.endpoints.rates import wilson
from cartsim.errors import InputError, brief, check_kind, elsewhere
from cartsim.experiments.measures import HALF_YEAR, Measure, Reading, peak, read, reading_times
from cartsim.experiments.replicates import asked, drawn, ends, limits_of, replicable
from cartsim.model.model import Model
from cartsim.model.reader import load
from cartsim.population.patients import Patients, allowed, check_name, outside
from cartsim.population.population import Population
from cartsim.population.uncertainty import uncertain
from cartsim.population.variability import fixed
from cartsim.provenance import made_by
from cartsim.regimen import Regimen
from cartsim.results import Result
from cartsim.runs import ArrayWork, Kept, Running, check_size, joined, run_pieces
from cartsim.simulation import simulate
from cartsim.solver import Solver
from cartsim.trial.outcome import Readout
from cartsim.trial.summary import summarize
from cartsim.trial.trial import Arm, Trial

if TYPE_CHECKING:
    import pandas as pd

    from cartsim.runs import Arrays

_CELL = 512  # bytes of memory: its row of numbers, in pieces, joined and in the table

SUMMARY = 30  # numbers of a cell in which a trial is run
CELLS = 250  # of a piece, of typical patients
PATIENTS = 4000  # of a piece, in trials
PIECES = 16  # or more, of trials where there are as many cells: all cores have work


@dataclass(frozen=True, repr=False, eq=False)
class Sweep(Result):
    """A grid and what was found in its cells.

    Attributes
    ----------
    axes
        The two swept quantities by name, increasing values.
    table
        A row a cell, first a column for each axis (the second axis runs fastest), then what was found. Also ``frame``.
    """

    what = "grid"
    axes: dict[str, NDArray[np.float64]]
    table: pd.DataFrame
    made_by: dict[str, Any] = field(default_factory=dict)

    @property
    def frame(self) -> pd.DataFrame:
        """A row a cell."""
        return self.table

    @property
    def summary(self) -> pd.DataFrame:
        """A row a quantity: its lowest and highest value, limits of these if it has any, and the cells where they are.

        NaN where no cell has a value.
        """
        import pandas as pd

        rows = []
        for name in self.table.select_dtypes(float).columns.difference([*self.axes], sort=False):
            if name.removesuffix("_low").removesuffix("_high") != name:  # limits of another
                continue
            values, row = self.table[name], {"quantity": name}
            for end, at in (("lowest", values.argmin), ("highest", values.argmax)):
                cell = self.table.iloc[at()] if values.notna().any() else None
                limits = [limit for limit in ("", "_low", "_high") if f"{name}{limit}" in self.table]
                row |= {f"{end}{limit}": math.nan if cell is None else cell[f"{name}{limit}"] for limit in limits}
                row[f"{end}_at"] = "" if cell is None else ", ".join(f"{axis} {cell[axis]:.3g}" for axis in self.axes)
            rows.append(row)
        return pd.DataFrame(rows)

    @property
    def failures(self) -> pd.DataFrame:
        """Cells whose integration failed, or trials in which some patients failed."""
        if "status" in self.table:
            return self.table[self.table["status"] != "ok"].reset_index(drop=True)
        return self.table[self.table["failed"] > 0].reset_index(drop=True)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know: failures, and cells whose first peak is not their highest."""
        said = []
        if failed := len(self.failures):
            what = (
                "no complete result; see the column status" if "status" in self.table else "patients failed; see failed"
            )
            said.append(f"{failed} cells: {what}")
        waves = self.table["second_wave"].dropna() if "second_wave" in self.table else ()
        if len(waves):
            said.append(
                f"in {len(waves)} of {len(self.table)} cells a second wave, on day {min(waves):.0f} at the earliest, "
                "is higher than the first peak, which Cmax and Tmax are of; see second_wave"
            )
        if "failed_replicates" in self.table and (failed := self.table["failed_replicates"].sum()):
            said.append(f"{failed} runs under other estimates failed and are not within the limits")
        return tuple(said)

    def grid(self, name: str) -> NDArray[np.float64]:
        """One column as an array (first axis, second axis)."""
        if name not in self.table:
            raise InputError(f"no {name!r} in this sweep; it holds {', '.join(self.table)}")
        return self.table[name].to_numpy().reshape([len(values) for values in self.axes.values()])


@elsewhere(
    Running,
    n="a sweep is of the typical patient; sweep_trials is of patients",
    seed="nothing is drawn; sweep_trials is of patients",
)
def sweep(
    model: str | Path | Model | Population,
    axes: Mapping[str, ArrayLike],
    *,
    dose: float | None = None,
    reading: Reading = Reading(),  # noqa: B008 (frozen)
    solver: Solver = Solver(),  # noqa: B008 (frozen)
    replicates: int | None = None,
    uncertainty: bool | pd.DataFrame = False,
    **how: Unpack[Running],
) -> Sweep:
    """The typical patient in every cell of a grid.

    Parameters
    ----------
    model
        A model, its name, or the path of its file; or a population, whose seed draws the estimates.
    axes
        Two of the model's parameters, covariates and "dose" (cells, one infusion at time 0), each with increasing
        values: {"dose": [50e6, 450e6], "burden": [5, 50, 95]}.
    dose
        Cells, where it is not an axis; by default the model's own.
    reading
        What is read off each trajectory, and until when.
    solver
        As for `cartsim.simulate`.
    replicates, uncertainty
        With uncertainty, the typical patient also under so many other typical values (by default 500), drawn as in
        `cartsim.replicate`, the same in all cells; those that are axes are as given.
    how
        n_jobs, progress and checkpoint, as for `cartsim.Trial.run`.

    Returns
    -------
    Sweep
        Its columns are the measures and ``status``, how the integration ended; a cell that failed has NaN. With
        uncertainty also ``_low`` and ``_high`` of each measure, between which 95 % of the replicates with such a
        measure lie, and ``failed_replicates``.

    Raises
    ------
    InputError
        Before any work, for axes, measures or settings that cannot be.

    Examples
    --------
    >>> import cartsim as cs
    >>> found = cs.sweep("bb2121_clinical", {"dose": [150e6, 450e6], "burden": [20, 50]})
    >>> found.grid("Cmax").shape
    (2, 2)
    """
    import pandas as pd

    who = model if isinstance(model, Population) else Population(load(model))
    model = who.model
    values = check_axes(model, axes, dose)
    check_kind("reading", reading, Reading, "Reading(measures, horizon)")
    measures, horizon = reading.of(model)
    cells = _cells(values)
    estimates, often = None, asked(replicates, uncertainty)
    if often is not None and uncertainty is False:
        raise InputError("a typical patient is the same in each replicate; give uncertainty too, or use sweep_trials")
    if often is not None:
        replicable(who, often)
        estimates = uncertain(who, 1, uncertainty, known=values).estimates(often)
        check_size(
            len(cells) * often,
            "typical patients (of all cells and replicates)",
            kept=_CELL * len(cells),
            working=_CELL * len(measures) * len(reading_times(measures, horizon)) // 8,
            at_once=CELLS,
            n_jobs=how.get("n_jobs", -1),
        )
    work = _Typical(model, cells, dose, measures, horizon, solver, estimates)
    work(0, 1)  # compiles once, and refuses settings that cannot be
    inputs = {
        "model": model,
        "axes": list(values.items()),
        "dose": dose,
        "measures": measures,
        "horizon": horizon,
        "solver": solver,
        "estimates": estimates,
    }
    at_once = max(1, CELLS // (often or 1))
    pieces = _pieces(work, len(cells), at_once, "sweep", inputs, how)
    made = made_by(model, axes=_shown(values), dose=dose, measures=repr(measures), horizon=horizon, rtol=solver.rtol)
    if often is not None:
        made |= {"replicates": often, "uncertainty": drawn(uncertainty, who), "seed": who.seed}
    return Sweep(values, pd.concat([cells, pd.DataFrame(pieces)], axis=1), made)


@elsewhere(
    Running,
    n="it belongs to the trial: Trial(population, arms, n=...)",
    seed="a seed belongs to the patients: Population(model, seed=...)",
)
def sweep_trials(
    trial: Trial,
    axes: Mapping[str, ArrayLike],
    *,
    replicates: int | None = None,
    uncertainty: bool | pd.DataFrame = False,
    **how: Unpack[Running],
) -> Sweep:
    """A trial in every cell of a grid, of the same patients in all cells (common random numbers).

    Parameters
    ----------
    trial
        Of one arm, whose dose may be an axis. An axis that is a parameter shifts its typical value and keeps the
        variability around it; one that is a covariate (or a parameter with uniform variability) is the same for all
        patients of a cell.
    axes, how
        As for `sweep`.
    replicates, uncertainty
        Repeat the trial of each cell so often (500 times where uncertainty alone is asked for), each time with other
        patients and, as in `cartsim.replicate`, under other estimates; typical values that are axes are as given.

    Returns
    -------
    Sweep
        Its columns are those of `cartsim.trial.summary.summarize`: ``ORR`` (confirmed partial response or better,
        percent) and ``CR`` with Wilson limits ``_low`` and ``_high``, median ``PFS_months`` with limits (NaN where
        not reached), landmark rates, medians and percentiles of kinetics, ``failed``. With replicates they are those of
        `Replicates.limits`: medians over the replicates, and limits between which 95 % of them lie.

    Raises
    ------
    InputError
        Before any work, for axes that cannot be, a trial of several arms, and an axis that is a column of the
        patients' own table.
    """
    import pandas as pd

    check_kind("the trial", trial, Trial, "Trial(population, arms)")
    if len(trial.arms) != 1:
        raise InputError(f"a sweep of a trial with {len(trial.arms)} arms; give one, of which the dose may be an axis")
    if trial.arms[0].covariates:
        raise InputError("the arm of a sweep has covariates of its own; give them to its patients: population.at(...)")
    n, often = trial.n or 0, asked(replicates, uncertainty)
    values = check_axes(trial.model, axes)
    if isinstance(trial.population, Patients):
        for name in values:
            if name in trial.population.rows:
                raise InputError(f"a sweep over {name}, which the patients have of their own; leave the column out")
    population = _pinned(trial.population, values)
    if often is not None:
        population = other = replicable(population, often, n)
        if uncertainty is not False:
            population = uncertain(other, n, uncertainty, known=values)
    trial = replace(trial, population=population, curves=0)
    number = math.prod(map(len, values.values()))
    at_once = 1 if often is not None else max(1, min(PATIENTS // n, number // PIECES))
    check_size(
        number * n * (often or 1),
        "patients (of all cells)",
        kept=8 * number * SUMMARY,
        working=trial.bytes_working(),
        at_once=at_once * n,
        n_jobs=how.get("n_jobs", -1),
    )
    cells = _cells(values)
    work = _Trials({str(name): values.to_numpy() for name, values in cells.items()}, trial, often or 0)
    last = len(cells) - 1
    across = len(cells) // len(next(iter(values.values()))) - 1
    for corner in (0, across, last - across, last):
        work.trial_of(corner)  # refuses what cannot be
    inputs = {"trial": trial, "axes": list(values.items()), "replicates": often}
    pieces = _pieces(work, len(cells), at_once, "sweep_trials", inputs, how)
    made = made_by(
        trial.model,
        axes=_shown(values),
        arm=trial.arms[0].name,
        n=n,
        **population.about(),
        rtol=trial.solver.rtol,
        rules=repr(trial.protocol.rules),
    )
    if often is not None:
        made |= {"replicates": often, "uncertainty": drawn(uncertainty, population)}
    return Sweep(values, pd.concat([cells, pd.DataFrame(pieces)], axis=1), made)


def _pieces(
    work: _Typical | _Trials, cells: int, at_once: int, kind: str, inputs: dict[str, Any], how: Running
) -> Arrays:
    """What the work finds in all cells."""
    folder = how.get("checkpoint")
    kept = None if folder is None else Kept(folder, kind, inputs)
    n_jobs, progress = how.get("n_jobs", -1), how.get("progress", False)
    return joined(run_pieces(work, [cells], at_once, what="cells", n_jobs=n_jobs, progress=progress, kept=kept))


def check_axes(
    model: Model, axes: Mapping[str, ArrayLike], dose: float | None = None
) -> dict[str, NDArray[np.float64]]:
    """The two axes as increasing arrays within what the model allows; InputError for all else."""
    check_kind("axes", axes, Mapping, 'a mapping, such as {"dose": [1e6, 2e6], "burden": [5, 50]}')
    if len(axes) != 2:
        names = ", ".join(axes) or "nothing"
        raise InputError(f"a sweep over {names}; give two quantities, such as dose and burden")
    values = {}
    for name, given in axes.items():
        low: float | None = 0.0
        high: float | None = None
        if name != "dose":
            check_name(model, name, "sweep", also=("dose",))
            low, high = model.parameters[name].low, model.parameters[name].high
        elif model.dosing is None:
            raise InputError(f"sweep: {model.name} has no [dosing] section, so no dose can be swept")
        elif dose is not None:
            raise InputError(f"sweep: dose is an axis and {dose:g} too; give one of the two")
        try:
            numbers = np.asarray(given, float)
        except (TypeError, ValueError):
            raise InputError(f"sweep: {name} is {brief(given)}; give a list of numbers") from None
        if numbers.ndim != 1 or len(numbers) < 2:
            raise InputError(f"sweep: {name} has {numbers.size} values; give two or more, increasing")
        wrong = outside(numbers, low, high)
        if wrong.any():
            raise InputError(f"sweep: {name} is {numbers[wrong][0]:g}; it must be {allowed(low, high)}")
        if (np.diff(numbers) <= 0).any():
            raise InputError(f"sweep: the values of {name} do not increase; sort them and give each once")
        values[name] = numbers
    cells = math.prod(map(len, values.values()))
    memory.require(_CELL * cells, f"a sweep of {cells:,} cells", "use fewer points")
    return values


@dataclass(frozen=True)
class Expansion:
    """What marrow effectors need in order to grow in number, and what they have: complexes per CAR-T cell.

    needed    complexes per cell at which growth makes up for what leaves the marrow
    first     complexes per cell on day 1, when there are few CAR-T cells, and the growth rate (1/day) they give
    until     day from which on there are fewer than needed, as the tumor has shrunk (NaN if not in time)
    tumor     percent of the tumor that is left then
    peak      highest transgene after day 1, copies/ug
    """

    needed: float
    first: float
    rate: float
    until: float
    tumor: float
    peak: float


def expansion(
    model: str | Path | Model,
    *,
    dose: float | None = None,
    burden: float | None = None,
    horizon: float = HALF_YEAR,
) -> Expansion:
    """Why the typical patient's CAR-T cells expand, or do not: see `Expansion`. For the clinical model.

    From CARTe_BM' = (Kexp_max*x/(EC50_exp + x) - K21 - Rm)*CARTe_BM with x complexes per CAR-T cell, without
    the few cells that come back from the blood.
    """
    model = load(model)
    names, states = ("Kexp_max", "EC50_exp", "K21", "Rm"), ("complex", "CARTe_BM", "CARTm_BM")
    if not ({*names, "burden"} <= set(model.parameters) and set(states) <= set(model.states)):
        raise InputError(f"expansion is explained for the clinical model only, not for {model.name!r}")
    if burden is not None:
        model = model.override({"burden": burden})
    typical = dict(zip(model.parameters, model.values({}, 1)[0], strict=True))
    fastest, half, out, into_memory = (typical[name] for name in names)
    lost = out + into_memory
    times = np.arange(1.0, horizon, 0.5)
    run = simulate(model, dose, times, [*states, "tumor_relative", "transgene"])
    if len(run.failures):
        raise InputError(f"expansion is not explained: the typical patient failed ({run.failures['status'][0]})")
    cells = (run["CARTe_BM"] + run["CARTm_BM"])[0]
    if not cells[0] > 0:
        raise InputError(f"expansion is not explained: there are no CAR-T cells after a dose of {dose}")
    x = np.divide(run["complex"][0], cells, out=np.zeros(len(times)), where=cells > 0)  # none where they are gone
    needed = half * lost / (fastest - lost) if fastest > lost else math.inf
    short = np.flatnonzero(x < needed)
    return Expansion(
        needed=float(needed),
        first=float(x[0]),
        rate=float(fastest * x[0] / (half + x[0]) - lost),
        until=float(times[short[0]]) if short.size else math.nan,
        tumor=float(100 * run["tumor_relative"][0, short[0]]) if short.size else math.nan,
        peak=float(peak(times, run["transgene"], 1.0)[1][0]),
    )


def expansion_note(
    model: str | Path | Model, *, dose: float | None = None, burden: float, horizon: float = HALF_YEAR
) -> str:
    """Two sentences that explain the expansion at a low burden beside that at the model's own, for a caption."""
    model = load(model)
    own = float(dict(zip(model.parameters, model.values({}, 1)[0], strict=True))["burden"])
    infused = model.dosing.dose if dose is None and model.dosing else dose
    cells = f" and {infused / 1e6:g}e6 cells" if infused is not None else ""
    low = expansion(model, dose=dose, burden=burden, horizon=horizon)
    usual = expansion(model, dose=dose, horizon=horizon)
    if low.rate <= 0:
        course = "too few, so that the cells do not expand at all"
    elif math.isnan(low.until):
        course = f"so that they grow by {low.rate:.2g} a day throughout"
    else:
        course = (
            f"so that they grow by no more than {low.rate:.2g} a day, until day {low.until:.0f}, when with "
            f"{low.tumor:.0f} % of the tumor left there are fewer than needed and the expansion has failed"
        )
    return (
        f"In order to grow in number, CAR-T cells need {low.needed:.2g} complexes a cell. At {burden:g} % "
        f"burden{cells} they have {low.first:.2g}, {course} (peak {low.peak:,.0f} copies/µg); at {own:g} % they "
        f"have {usual.first:.2g} and grow by {usual.rate:.2g} a day (peak {usual.peak:,.0f})."
    )


@dataclass(frozen=True)
class _Typical(ArrayWork):
    """Simulates and reads some cells of a grid."""

    model: Model
    cells: pd.DataFrame
    dose: float | None
    measures: Mapping[str, Measure]
    horizon: float
    solver: Solver
    estimates: pd.DataFrame | None = None

    def __call__(self, start: int, stop: int) -> dict[str, NDArray[Any]]:
        from cartsim.engine.trajectories import Status

        own = self.cells[start:stop]
        found, status = self._read(own)
        limits: Arrays = {}
        if self.estimates is not None:
            each = np.repeat(np.arange(len(own)), len(self.estimates))
            tried = self.estimates.iloc[np.tile(np.arange(len(self.estimates)), len(own))].reset_index(drop=True)
            tried[list(own)] = own.to_numpy()[each]
            again, went = self._read(tried)
            for name, values in again.items():
                _, low, high = zip(*map(ends, values.reshape(len(own), -1)), strict=True)
                limits |= {f"{name}_low": np.array(low), f"{name}_high": np.array(high)}
            limits["failed_replicates"] = Status.failed(went).reshape(len(own), -1).sum(axis=1)
        return found | limits | {"status": np.array([Status(code).name for code in status])}

    def _read(self, table: pd.DataFrame) -> tuple[Arrays, NDArray[np.int64]]:
        """The measures of the patients of a table, and the codes of how they ended."""
        times = reading_times(self.measures, self.horizon)
        outputs = sorted({measure.output for measure in self.measures.values()})
        run = simulate(Patients(self.model, table), self.dose, times, outputs, solver=self.solver)
        return read(self.measures, times, {name: run.usable(name) for name in outputs}), run.status


@dataclass(frozen=True)
class _Trials(ArrayWork):
    """Runs and judges a trial for each of some cells of a grid, without replicates all of them at once."""

    cells: Mapping[str, NDArray[np.float64]]
    trial: Trial
    replicates: int = 0

    def trial_of(self, cell: int) -> Trial:
        swept = {name: float(values[cell]) for name, values in self.cells.items()}
        (arm,) = self.trial.arms
        if "dose" in swept:
            arm = Arm(swept.pop("dose"), arm.n, "cell")
        model = self.trial.model.override(swept)
        return replace(self.trial, population=_with_model(self.trial.population, model), arms=(arm,))

    def __call__(self, start: int, stop: int) -> dict[str, NDArray[Any]]:
        import pandas as pd

        if self.replicates:
            limits = [limits_of(self.trial_of(cell), self.replicates) for cell in range(start, stop)]
            return {name: np.array([row[name] for row in limits]) for name in limits[0]}
        trial, n, number = self.trial, self.trial.n or 0, stop - start
        typical = {name: values[start:stop] for name, values in self.cells.items()}
        (arm,), who, own = trial.arms, trial.population, None
        if "dose" in typical:
            arm, own = Arm(regimen=Regimen.single()), np.repeat(typical.pop("dose"), n)
        elif isinstance(who, Patients) and who.dose is not None:
            own = np.tile(who.dose[:n], number)
        seen = trial.measure_rows(who.table(0, n, typical=typical), arm, 0, n, own)
        patients = Readout(trial.protocol, keep_visits=False, columns=())(seen).patients
        cell = pd.Categorical.from_codes(np.repeat(np.arange(number), n), range(number))
        table = summarize(patients | {"arm": cell}, trial.protocol.visits.landmarks).drop(columns="arm")
        for name in ("ORR", "CR"):
            low, high = wilson(np.rint(table[name] * table["n"] / 100), table["n"])
            table[f"{name}_low"], table[f"{name}_high"] = 100 * low, 100 * high
        return {str(name): column.to_numpy() for name, column in table.items()}


def _with_model(who: Population | Patients, model: Model) -> Population | Patients:
    if isinstance(who, Patients):
        return Patients(model, who.rows, who.seed)
    return replace(who, model=model)


def _pinned(population: Population | Patients, values: Mapping[str, Any]) -> Population | Patients:
    """The population without variability of swept covariates, and of what would not follow a typical value."""
    if isinstance(population, Patients):
        return population
    pinned = {
        name: fixed()
        for name in values
        if name in population.varied
        and population.varied[name].distribution != "bernoulli"  # whose share is swept
        and (population.model.parameters[name].role == "covariate" or population.varied[name].distribution == "uniform")
    }
    return population.varying(pinned)


def _cells(values: Mapping[str, NDArray[np.float64]]) -> pd.DataFrame:
    import pandas as pd

    (first, a), (second, b) = values.items()
    return pd.DataFrame({first: np.repeat(a, len(b)), second: np.tile(b, len(a))})


def _shown(values: Mapping[str, NDArray[np.float64]]) -> str:
    return ", ".join(f"{name}: {len(v)} values {v[0]:g} to {v[-1]:g}" for name, v in values.items())
