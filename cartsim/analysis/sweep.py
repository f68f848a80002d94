"""Grids over any two of the parameters, the covariates and the dose: a typical patient or a population each.

Singh 2021, Figure 4 (doi:10.1002/psp4.12598) is dose against tumor burden for the typical patient.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cartsim import memory
from cartsim.analysis.measures import (
    HALF_YEAR,
    Measure,
    check_measures,
    default_horizon,
    default_measures,
    peak,
    read,
    reading_times,
)
from cartsim.analysis.outcome import Readout, Rules, summarize, wilson
from cartsim.assay import Assay
from cartsim.conduct import Conduct
from cartsim.errors import InputError
from cartsim.files import save_tables
from cartsim.model import Model, load
from cartsim.patients import allowed, check_name, outside
from cartsim.population import Population, fixed
from cartsim.runs import ArrayWork, Kept, check_size, joined, run_pieces
from cartsim.simulate import RTOL, made_by, simulate
from cartsim.trial import Arm, Trial, Visits

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

_CELL = 512  # bytes of memory: its row of numbers, in pieces, joined and in the table


SUMMARY = 30  # numbers of a cell in which a trial is run


@dataclass(frozen=True)
class Sweep:
    """A grid and what was found in its cells.

    ``axes``: the two swept quantities by name, increasing values. ``table``: a row a cell, first a column for
    each axis (the second axis runs fastest), then what was found. ``made_by``: model, settings, versions.
    """

    axes: dict[str, NDArray[np.float64]]
    table: pd.DataFrame
    made_by: dict[str, Any] = field(default_factory=dict)

    def grid(self, name: str) -> NDArray[np.float64]:
        """One column as an array (first axis, second axis)."""
        if name not in self.table:
            raise InputError(f"no {name!r} in this sweep; it holds {', '.join(self.table)}")
        return self.table[name].to_numpy().reshape([len(values) for values in self.axes.values()])

    def save(self, folder: str | Path) -> list[Path]:
        """Write grid.csv and grid.json (what made it)."""
        return save_tables(folder, {"grid.csv": self.table}, ("grid.json", self.made_by))


def sweep(
    model: str | Path | Model,
    axes: Mapping[str, ArrayLike],
    *,
    dose: float | None = None,
    measures: Mapping[str, Measure] | None = None,
    horizon: float | None = None,
    extinction: float | None = None,
    rtol: float = RTOL,
    n_jobs: int = -1,
    chunk: int = 250,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> Sweep:
    """The typical patient in every cell of a grid.

    axes: two of the model's parameters, covariates and "dose" (cells, one infusion at time 0), each with
        increasing values: {"dose": [50e6, 450e6], "burden": [5, 50, 95]}.
    dose: in cells, where it is not an axis; by default the model's own.
    measures: what to read, by default `default_measures`; horizon: how long to simulate, by default half a
        year. chunk: cells simulated at a time; it bounds the memory.
    checkpoint: a folder to go on from when interrupted. extinction, rtol: as in `cartsim.simulate.simulate`.

    Columns are the measures and ``status``, how the integration ended; a cell that failed has NaN. Raises InputError,
    before any work, for axes, measures or settings that cannot be.
    """
    import pandas as pd

    model = load(model)
    values = check_axes(model, axes, dose)
    measures = default_measures(model) if measures is None else dict(measures)
    horizon = default_horizon(model) if horizon is None else horizon
    check_measures(model, measures, horizon)
    cells = _cells(values)
    work = _Typical(model, cells, dose, measures, horizon, rtol, extinction)
    work(0, 1)  # compiles once, and refuses settings that cannot be
    inputs = {
        "model": model,
        "axes": list(values.items()),
        "dose": dose,
        "measures": measures,
        "horizon": horizon,
        "rtol": rtol,
        "extinction": extinction,
    }
    kept = None if checkpoint is None else Kept(checkpoint, "sweep", inputs)
    found = joined(run_pieces(work, [len(cells)], chunk, what="cells", n_jobs=n_jobs, progress=progress, kept=kept))
    made = made_by(model, axes=_shown(values), dose=dose, measures=repr(measures), horizon=horizon, rtol=rtol)
    return Sweep(values, pd.concat([cells, pd.DataFrame(found)], axis=1), made)


def sweep_population(
    model: str | Path | Model,
    axes: Mapping[str, ArrayLike],
    *,
    n: int = 500,
    dose: float | None = None,
    population: Population | None = None,
    visits: Visits = Visits(),  # noqa: B008 (frozen)
    rules: Rules = Rules(),  # noqa: B008 (frozen)
    assays: Mapping[str, Assay] | None = None,
    conduct: Conduct = Conduct(),  # noqa: B008 (frozen)
    seed: int = 2021,
    extinction: float | None = None,
    rtol: float = RTOL,
    n_jobs: int = -1,
    chunk: int = 8,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> Sweep:
    """A trial of n patients in every cell of a grid, the same patients in all cells (common random numbers).

    An axis that is a parameter shifts its typical value and keeps the variability around it; an axis that is
    a covariate (or a parameter with uniform variability) is the same for all patients of a cell. The other
    arguments are those of `sweep` and of `cartsim.trial.Trial`; ``chunk`` is the number of cells between two
    checkpoints.

    Columns are those of `cartsim.analysis.outcome.summarize`: ``ORR`` (confirmed partial response or better,
    percent) and ``CR`` with Wilson limits ``_low`` and ``_high``, median ``PFS`` in months with limits (NaN
    where not reached), landmark rates, medians and percentiles of kinetics, ``failed``.
    """
    import pandas as pd

    model = load(model)
    population = Population(model, seed) if population is None else population
    if population.model.digest != model.digest:
        raise InputError("the population was made for another model; make it with Population(model)")
    model = population.model  # with the values that its patients were drawn around
    values = check_axes(model, axes, dose)
    population = _pinned(population, values)
    number, one = math.prod(map(len, values.values())), Trial(model, (Arm(0.0, n=n),), population, visits, curves=0)
    check_size(
        number * n,
        "patients (of all cells)",
        kept=8 * number * SUMMARY,
        working=one.bytes_working(),
        at_once=n,
        n_jobs=n_jobs,
    )
    cells = _cells(values)
    work = _Trials(cells, dose, population, n, visits, rules, dict(assays or {}), conduct, seed, rtol, extinction)
    last = len(cells) - 1
    across = len(cells) // len(next(iter(values.values()))) - 1
    for corner in (0, across, last - across, last):
        work.trial(corner)  # refuses what cannot be
    inputs = {
        "population": population,
        "n": n,
        "axes": list(values.items()),
        "dose": dose,
        "visits": visits,
        "rules": rules,
        "assays": work.assays,
        "conduct": conduct,
        "seed": seed,
        "rtol": rtol,
        "extinction": extinction,
    }
    kept = None if checkpoint is None else Kept(checkpoint, "sweep_population", inputs)
    found = joined(run_pieces(work, [len(cells)], chunk, what="cells", n_jobs=n_jobs, progress=progress, kept=kept))
    made = made_by(model, axes=_shown(values), dose=dose, n=n, seed=population.seed, rtol=rtol, rules=repr(rules))
    return Sweep(values, pd.concat([cells, pd.DataFrame(found)], axis=1), made)


def check_axes(
    model: Model, axes: Mapping[str, ArrayLike], dose: float | None = None
) -> dict[str, NDArray[np.float64]]:
    """The two axes as increasing arrays within what the model allows; InputError for all else."""
    import numpy as np

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
            raise InputError(f"sweep: {name} is {given!r}; give a list of numbers") from None
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
    import numpy as np

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
    run = simulate(model, None, dose, times, [*states, "tumor_relative", "transgene"])
    x = (run["complex"] / (run["CARTe_BM"] + run["CARTm_BM"]))[0]
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
    rtol: float
    extinction: float | None

    def __call__(self, start: int, stop: int) -> dict[str, NDArray[Any]]:
        import numpy as np

        from cartsim.engine.rodas import Status

        times = reading_times(self.measures, self.horizon)
        outputs = sorted({measure.output for measure in self.measures.values()})
        cells = self.cells[start:stop]
        run = simulate(self.model, cells, self.dose, times, outputs, rtol=self.rtol, extinction=self.extinction)
        status = np.array([Status(code).name for code in run.status])
        return read(self.measures, times, run.values) | {"status": status}


@dataclass(frozen=True)
class _Trials(ArrayWork):
    """Runs and judges a trial for each of some cells of a grid."""

    cells: pd.DataFrame
    dose: float | None
    population: Population
    n: int
    visits: Visits
    rules: Rules
    assays: Mapping[str, Assay]
    conduct: Conduct
    seed: int
    rtol: float
    extinction: float | None

    def trial(self, cell: int) -> Trial:
        swept = self.cells.iloc[cell].to_dict()
        model = self.population.model
        dose = swept.pop("dose", self.dose)
        if dose is None and model.dosing is not None:
            dose = model.dosing.dose
        model = model.override(swept)
        return Trial(
            model,
            (Arm(dose, n=self.n, name="cell"),),
            replace(self.population, model=model),
            self.visits,
            self.assays,
            self.conduct,
            self.seed,
            self.rtol,
            self.extinction,
            curves=0,
        )

    def __call__(self, start: int, stop: int) -> dict[str, NDArray[Any]]:
        import numpy as np
        import pandas as pd

        judge = Readout(self.rules, keep_visits=False)
        cells = [judge(self.trial(cell).observe(0, 0, self.n)).patients for cell in range(start, stop)]
        landmarks = self.visits.landmarks
        table = pd.concat([summarize(patients, landmarks) for patients in cells]).drop(columns="arm")
        for name in ("ORR", "CR"):
            low, high = wilson(np.rint(table[name] * table["n"] / 100), table["n"])
            table[f"{name}_low"], table[f"{name}_high"] = 100 * low, 100 * high
        return {str(name): column.to_numpy() for name, column in table.items()}


def _pinned(population: Population, values: Mapping[str, Any]) -> Population:
    """The population without variability of swept covariates, and of what would not follow a typical value."""
    pinned = {
        name: fixed()
        for name in values
        if name in population.varied
        and (population.model.parameters[name].role == "covariate" or population.varied[name].distribution == "uniform")
    }
    return replace(population, variability={**(population.variability or {}), **pinned})


def _cells(values: Mapping[str, NDArray[np.float64]]) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    (first, a), (second, b) = values.items()
    return pd.DataFrame({first: np.repeat(a, len(b)), second: np.tile(b, len(a))})


def _shown(values: Mapping[str, NDArray[np.float64]]) -> str:
    return ", ".join(f"{name}: {len(v)} values {v[0]:g} to {v[-1]:g}" for name, v in values.items())
