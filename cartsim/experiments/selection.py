"""Plausible virtual patients: those whose simulated outputs lie where real patients' do, and how the choice moves
what was drawn.

After Allen, Rieger and Musante 2016 (doi:10.1002/psp4.12063): patients are drawn, simulated, kept if within ranges, and
then with a probability that brings their distribution to a given one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.errors import InputError, brief, check_count, elsewhere
from cartsim.experiments.measures import Measure, Reading, read, reading_times
from cartsim.population.draws import uniforms
from cartsim.population.population import Population
from cartsim.provenance import made_by
from cartsim.results import Result
from cartsim.runs import check_size, joined, run_pieces
from cartsim.simulation import simulate_rows
from cartsim.solver import Solver

if TYPE_CHECKING:
    import pandas as pd

Range = tuple[float | None, float | None]

PIECE = 1000  # patients simulated at a time
_BLOCK = 1 << 16  # patients drawn at a time to find the chosen ones among them


@dataclass(frozen=True, eq=False)
class Plausible(Population):
    """Patients chosen from a population, in its place wherever one is asked for.

    The k-th patient is number ``chosen[k]`` of the whole population and has that id. (Noise of assays and visits is
    drawn by place, so the k-th patient has it from k.)
    """

    chosen: NDArray[np.int64] = field(default=None, repr=False)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.chosen)

    def _ids(self, start: int, stop: int) -> NDArray[np.int64]:
        if stop > len(self):
            raise InputError(
                f"patients {start} to {stop} of {len(self)} plausible ones; ask for fewer, or select among more"
            )
        return self.chosen[start:stop]

    def _scores(self, start: int, stop: int) -> dict[str, NDArray[np.float64]]:
        wanted = self.chosen[start:stop]
        blocks = np.split(wanted, np.flatnonzero(np.diff(wanted // _BLOCK)) + 1)
        parts = [(super(Plausible, self)._scores(own[0], own[-1] + 1), own - own[0]) for own in blocks]
        return {name: np.concatenate([scores[name][places] for scores, places in parts]) for name in self.varied}


@dataclass(frozen=True, repr=False, eq=False)
class Selection(Result):
    """The plausible patients, and what they were chosen from.

    Attributes
    ----------
    population
        The patients, for `simulate` (with n up to ``len`` of it) and `Trial`.
    candidates
        A row for each patient examined: index id, the quantities that vary, the measures, ``plausible`` (within all
        ranges), ``weight`` and ``kept``. As ``frame``, the id is a column.
    constraints
        The ranges.
    """

    what = "selection"
    population: Plausible
    candidates: pd.DataFrame
    constraints: Mapping[str, Range]
    made_by: dict[str, Any] = field(default_factory=dict)

    @property
    def frame(self) -> pd.DataFrame:
        """The candidates."""
        return self.candidates.reset_index()

    @property
    def summary(self) -> pd.DataFrame:
        """How many candidates met each constraint."""
        return self.met()

    def tables(self) -> dict[str, pd.DataFrame]:
        return {"candidates.csv": self.frame, "met.csv": self.met(), "moved.csv": self.moved()}

    def _title(self) -> str:
        return f"{len(self)} plausible of {len(self.candidates)} virtual patients of {self.population.model.name}"

    def __len__(self) -> int:
        return len(self.population)

    def met(self) -> pd.DataFrame:
        """How many candidates met each constraint, and how many missed that one alone."""
        import pandas as pd

        within = {name: _within(self.candidates[name], *ends) for name, ends in self.constraints.items()}
        missed = sum((~inside).astype(int) for inside in within.values())
        rows = [
            (name, *self.constraints[name], len(inside), int(inside.sum()), int(np.sum(~inside & (missed == 1))))
            for name, inside in within.items()
        ]
        return pd.DataFrame(rows, columns=["constraint", "low", "high", "n", "met", "missed_alone"])

    def moved(self) -> pd.DataFrame:
        """How the choice moved distributions: a row for each quantity that varies and each measure.

        Columns: mean, sd, 5th, 50th and 95th percentile of all candidates (``_before``) and of the kept ones
        (``_after``); ``ks``, the Kolmogorov-Smirnov distance between the two; ``ks_pvalue``, that kept and rejected
        differ (NaN if none was rejected).
        """
        import pandas as pd
        from scipy.stats import ks_2samp

        kept = self.candidates["kept"].to_numpy()
        rows = []
        for name in self.candidates.columns.drop(["plausible", "weight", "kept"]):
            every = self.candidates[name].to_numpy()
            known = np.isfinite(every)
            row: dict[str, Any] = {"name": name, "kind": "input" if name in self.population.varied else "measure"}
            for when, values in (("before", every[known]), ("after", every[known & kept])):
                p5, p50, p95 = np.percentile(values, [5, 50, 95]) if values.size else (np.nan,) * 3
                row |= {f"mean_{when}": values.mean() if values.size else np.nan}
                row |= {f"sd_{when}": values.std(ddof=1) if values.size > 1 else np.nan}
                row |= {f"p5_{when}": p5, f"p50_{when}": p50, f"p95_{when}": p95}
            chosen, rest = every[known & kept], every[known & ~kept]
            row["ks"] = ks_2samp(every[known], chosen).statistic if chosen.size else np.nan
            row["ks_pvalue"] = ks_2samp(chosen, rest).pvalue if chosen.size and rest.size else np.nan
            rows.append(row)
        return pd.DataFrame(rows)


@elsewhere(seed="a seed belongs to the patients: Population(model, seed=...)")
def select(
    population: Population,
    n: int,
    constraints: Mapping[str, Range],
    *,
    weight: Callable[[pd.DataFrame], ArrayLike] | None = None,
    dose: float | None = None,
    reading: Reading = Reading(),  # noqa: B008 (frozen)
    solver: Solver = Solver(),  # noqa: B008 (frozen)
    n_jobs: int = -1,
) -> Selection:
    """Of the first n patients of a population, those whose simulated outputs are plausible.

    constraints: (low, high) by the name of a measure, both ends included, None for an open end:
        {"Cmax": (1e3, 1e6), "mprotein_fall": (25, None)}.
    weight: a function of the frame of plausible candidates (quantities that vary and measures) that gives each a
        relative weight; a patient is kept with the probability weight / largest weight, drawn from the patient's
        own stream, so that the same candidates always give the same choice.
    dose, reading, solver, n_jobs: as in `cartsim.experiments.sweep.sweep`.

    Patients that failed (see `cartsim.engine.trajectories.Status`) are never kept. Raises InputError, before any work,
    for names and ranges that cannot be; and afterwards if nobody is plausible, or the weights are not finite numbers of
    0 or more.
    """
    model = population.model
    measures, horizon = reading.of(model)
    check_count(n, f"select among {brief(n)} patients")
    if not constraints and weight is None:
        raise InputError("select: no constraints and no weight; give at least one")
    for name, ends in constraints.items():
        _check_range(name, ends, measures)
    check_size(n, "patients", kept=8 * n * (len(population.varied) + len(measures)), n_jobs=n_jobs)
    work = _Candidates(population, dose, measures, horizon, solver)
    work(0, 1)  # compiles once, and refuses settings that cannot be
    read_off = joined(run_pieces(work, [n], PIECE, what="patients", n_jobs=n_jobs))
    failed = read_off.pop("failed")
    candidates = population.table(0, n).assign(**read_off)
    plausible = ~failed & np.isfinite(candidates[list(constraints)]).all(axis=1).to_numpy()
    for name, ends in constraints.items():
        plausible &= _within(candidates[name], *ends)
    weights = np.where(plausible, 1.0, 0.0)
    if weight is not None and plausible.any():
        weights[plausible] = _weights(weight, candidates[plausible])
    ids = candidates.index.to_numpy()
    kept = plausible
    if weight is not None and plausible.any():
        draws = uniforms(population.seed, "selection", 0, int(ids.max()) + 1)[ids]
        kept = draws * weights.max() < weights
    candidates = candidates.assign(plausible=plausible, weight=weights, kept=kept)
    made = {f.name: getattr(population, f.name) for f in fields(Population)}
    settings = made_by(
        model, **population.about(), n=n, constraints=str(dict(constraints)), dose=dose, rtol=solver.rtol
    )
    chosen = Selection(Plausible(**made, chosen=ids[kept]), candidates, dict(constraints), settings)
    if not len(chosen):
        met = "; ".join(f"{row.constraint}: {row.met}" for row in chosen.met().itertuples())
        raise InputError(f"none of {n} patients is plausible (met {met or 'by weight: 0'}); widen the ranges")
    return chosen


@dataclass(frozen=True)
class _Candidates:
    """Simulates and reads some patients of a population."""

    population: Population
    dose: float | None
    measures: Mapping[str, Measure]
    horizon: float
    solver: Solver

    def __call__(self, start: int, stop: int) -> dict[str, NDArray[Any]]:
        from cartsim.engine.trajectories import Status

        times = reading_times(self.measures, self.horizon)
        outputs = sorted({measure.output for measure in self.measures.values()})
        table = self.population.table(start, stop)
        run = simulate_rows(self.population.model, table, self.dose, times, outputs, solver=self.solver)
        found = read(self.measures, times, {name: run.usable(name) for name in outputs})
        return found | {"failed": Status.failed(run.status)}


def _within(values: Any, low: float | None, high: float | None) -> NDArray[np.bool_]:
    numbers = np.asarray(values, float)
    return (numbers >= (-np.inf if low is None else low)) & (numbers <= (np.inf if high is None else high))


def _check_range(name: str, ends: Any, measures: Mapping[str, Measure]) -> None:
    if name not in measures:
        raise InputError(f"select: no measure {name!r} to constrain; there are {', '.join(measures)}")
    try:
        low, high = (None if end is None else float(end) for end in ends)
    except (TypeError, ValueError):
        raise InputError(
            f"select: the range of {name} is {brief(ends)}; give (low, high), None for open ends"
        ) from None
    if any(end is not None and math.isnan(end) for end in (low, high)) or (
        low is not None and high is not None and low > high
    ):
        raise InputError(f"select: the range of {name} is {brief(ends)}; low must not be above high")


def _weights(weight: Callable[[pd.DataFrame], ArrayLike], candidates: pd.DataFrame) -> NDArray[np.float64]:
    given = np.asarray(weight(candidates), float)
    if given.shape != (len(candidates),) or not (np.isfinite(given) & (given >= 0)).all() or not given.any():
        raise InputError(
            f"select: the weights of {len(candidates)} patients have shape {given.shape}; give each a finite number, "
            "0 or more and not all 0"
        )
    return given
