"""From a model or patients, a dose and times to every patient's outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import pairwise
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim import memory
from cartsim.bands import quantiles
from cartsim.errors import InputError, brief, check_kind, elsewhere, say, whole
from cartsim.model.model import Dosing, Model, choices
from cartsim.model.reader import load
from cartsim.population.patients import Patients
from cartsim.population.population import Population
from cartsim.provenance import made_by
from cartsim.regimen import Regimen
from cartsim.results import Result
from cartsim.solver import Solver
from cartsim.threads import in_threads, threads

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False, eq=False)
class Simulation(Result):
    """Outputs of n patients at m times, how each one's integration ended, and what made them.

    Attributes
    ----------
    values
        By output or state, arrays (n, m) in the model's units: NaN for a patient that failed (or from the time on at
        which its tumor outgrew every limit), and as it was computed where a formula gives no finite number.
    times
        (m,) in the model's time unit.
    ids, status, steps, retreated
        (n,) Each patient's id, code of `cartsim.engine.trajectories.Status`, integration steps, and time of the first
        conditional infusion (NaN for none).
    doses
        (n,) Cells of each patient's first infusion.
    table
        The patients' own parameters and covariates, a row each; empty for the typical patient.
    """

    what = "simulation"
    model: Model
    ids: NDArray[Any]
    times: NDArray[np.float64]
    values: dict[str, NDArray[np.float64]]
    status: NDArray[np.int64]
    steps: NDArray[np.int64]
    retreated: NDArray[np.float64]
    doses: NDArray[np.float64]
    table: pd.DataFrame | Mapping[str, Any]
    made_by: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, output: str) -> NDArray[np.float64]:
        """The array (n, m) of one output."""
        if not isinstance(output, str) or output not in self.values:
            raise InputError(f"no output {brief(output)} in this simulation; it holds {', '.join(self.values)}")
        return self.values[output]

    def usable(self, output: str) -> NDArray[np.float64]:
        """The array (n, m) of one output, NaN throughout for patients that failed.

        Of the others, only those that reached a ceiling have NaN, from there on; nothing is infinite.
        """
        from cartsim.engine.trajectories import Status

        failed = Status.failed(self.status)
        return np.where(failed[:, None], np.nan, self[output]) if failed.any() else self[output]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.ids)

    def keys(self) -> list[str]:
        """Names of the outputs and states that were read."""
        return list(self.values)

    def _ipython_key_completions_(self) -> list[str]:
        return self.keys()

    @cached_property
    def given(self) -> pd.DataFrame:
        """A row a patient: ``dose``, the first infusion in cells, and its own parameters and covariates."""
        import pandas as pd

        given = pd.DataFrame(dict(self.table), index=pd.Index(self.ids, name="id")).drop(
            columns="dose", errors="ignore"
        )
        given.insert(0, "dose", self.doses)
        return given

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Long table: ``id``, ``time``, a column an output, then ``dose`` and what each patient was given."""
        import pandas as pd

        m = len(self.times)
        columns = {"id": np.repeat(self.ids, m), "time": np.tile(self.times, len(self))}
        columns |= {name: values.reshape(-1) for name, values in self.values.items()}
        columns |= {name: np.repeat(self.given[name].to_numpy(), m) for name in self.given if name not in columns}
        return pd.DataFrame(columns)

    @cached_property
    def patients(self) -> pd.DataFrame:
        """How each patient went: ``id``, ``status``, ``steps``, ``retreated``, then what it was given."""
        import pandas as pd

        from cartsim.engine.trajectories import Status

        names = [Status(code).name for code in self.status]
        went = pd.DataFrame({"id": self.ids, "status": names, "steps": self.steps, "retreated": self.retreated})
        return pd.concat([went, self.given.reset_index(drop=True).drop(columns="id", errors="ignore")], axis=1)

    @property
    def failures(self) -> pd.DataFrame:
        """The patients without a finite value of every output at every time."""
        return self.patients[self.patients["status"] != "ok"].reset_index(drop=True)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """A row an output: its unit, and the median over patients of its first, lowest, highest and last value."""
        import pandas as pd

        rows = []
        for name, values in self.values.items():
            known = values[np.isfinite(values).all(axis=1)]
            picked = (
                (known[:, 0], known.min(axis=1), known.max(axis=1), known[:, -1]) if len(known) else ([np.nan],) * 4
            )
            unit = (self.model.outputs | self.model.states)[name].unit
            rows.append((name, unit, len(known), *(float(np.median(each)) for each in picked)))
        return pd.DataFrame(rows, columns=["output", "unit", "patients", "first", "lowest", "highest", "last"])

    def quantiles(self, levels: Sequence[float] = (0.05, 0.5, 0.95), *, by: str | None = None) -> pd.DataFrame:
        """Quantiles over patients.

        Parameters
        ----------
        levels
            Between 0 and 1.
        by
            A column of `patients`, such as "dose": quantiles of each of its groups.

        Returns
        -------
        pandas.DataFrame
            ``by`` if given, ``time``, ``output``, and a column a level (``q05``, ``q50``, ...); patients that failed
            are left out.
        """
        import pandas as pd

        check_kind("levels", levels, (Sequence, np.ndarray), "a list of numbers from 0 to 1")
        if not len(levels) or not all(isinstance(level, Real) and 0 <= level <= 1 for level in levels):
            raise InputError(f"levels {brief(tuple(levels))}: give numbers from 0 to 1, such as 0.05, 0.5 and 0.95")
        names = [f"q{100 * level:04.1f}".replace(".0", "") for level in levels]
        if by is None:
            groups: dict[Any, NDArray[Any]] = {None: np.arange(len(self))}
        elif by in self.patients:
            groups = self.patients.groupby(by, observed=True, sort=True).indices
        else:
            raise InputError(f"no column {by!r} to group by{choices(by, self.patients.columns)}")
        parts = []
        for key, rows in groups.items():
            for name, values in self.values.items():
                known = values[rows][np.isfinite(values[rows]).all(axis=1)]
                cut = dict(zip(names, quantiles(known, levels), strict=True))
                table = pd.DataFrame({"time": self.times, "output": name} | cut)
                if by is not None:
                    table.insert(0, by, key)
                parts.append(table)
        return pd.concat(parts, ignore_index=True)

    def to_xarray(self) -> Any:
        """An xarray Dataset with dimensions ``id`` and ``time`` (needs xarray, an optional extra)."""
        try:
            import xarray
        except ImportError:
            raise InputError("to_xarray needs the package xarray; install cartsim[xarray]") from None
        data = {name: (("id", "time"), values) for name, values in self.values.items()}
        return xarray.Dataset(data, coords={"id": self.ids, "time": self.times})

    def _title(self) -> str:
        patients = "the typical patient" if len(self) == 1 else f"{len(self):,} patients"
        span = f"{len(self.times)} times from {self.times[0]:g} to {self.times[-1]:g} {self.model.time}"
        return f"simulation of {self.model.name}: {patients}, {span}"


@elsewhere(seed="a seed belongs to the patients: Population(model, seed=...)")
def simulate(
    who: str | Path | Model | Population | Patients,
    dose: float | Regimen | None = None,
    times: ArrayLike | None = None,
    outputs: Sequence[str] | None = None,
    *,
    n: int | None = None,
    solver: Solver = Solver(),  # noqa: B008 (frozen)
    n_jobs: int = 1,
) -> Simulation:
    """Simulate the typical patient, virtual patients or a user's own.

    Parameters
    ----------
    who
        A model (its typical patient), its name or the path of its file; a `Population` together with ``n``; or
        `Patients`.
    dose
        Cells infused at time 0, or a `Regimen`; else each patient's own dose, else the model's.
    times
        Where outputs are read, increasing, from 0, in the model's time unit.
    outputs
        Names of outputs and states; all outputs of the model file if not given.
    n
        How many virtual patients of a population.
    solver
        Tolerance, extinction, steps.
    n_jobs
        Threads among which the patients are shared, -1 for all cores.

    Raises
    ------
    InputError
        For bad input, before any work. A patient whose integration fails does not raise: it has its status, and NaN for
        its outputs.

    Examples
    --------
    >>> import cartsim as cs
    >>> sim = cs.simulate("bb2121_clinical", dose=450e6, times=range(1, 365))
    >>> float(sim["transgene"].max().round(-2))
    35600.0
    """
    times = checked_times(times)
    if not isinstance(solver, Solver):
        raise InputError(f"solver is {brief(solver)}; give a Solver, such as Solver(rtol=1e-8)")
    if isinstance(who, (Population, Patients)):  # before they are drawn
        many = len(who) if n is None and isinstance(who, Patients) else n
        if isinstance(many, (int, np.integer)):
            names = _outputs(who.model, outputs)
            memory.require_simulation(int(many), len(times), len(names), len(who.model.parameters))
    if not whole(n_jobs) or n_jobs == 0:
        raise InputError(f"n_jobs is {brief(n_jobs)}; give the number of threads, or -1 for all cores")
    model, table, own_dose, drawn = _whom(who, n)
    if not isinstance(who, Patients):  # the typical patient, or those around it: its values must be possible
        at, cells = _schedule(model, _regimen(model, dose, None), 1, None)
        model.check_start(float(cells[0, 0]) if at.size and at[0] == 0 else 0.0)
    return simulate_rows(
        model, table, dose, times, outputs, own_dose=own_dose, drawn=drawn, solver=solver, n_jobs=n_jobs
    )


def simulate_rows(
    model: Model,
    table: pd.DataFrame | Mapping[str, Any],
    dose: float | Regimen | None,
    times: NDArray[np.float64],
    outputs: Sequence[str] | None,
    *,
    own_dose: NDArray[np.float64] | None = None,
    parameters: NDArray[np.float64] | None = None,
    drawn: Mapping[str, Any] | None = None,
    solver: Solver = Solver(),  # noqa: B008 (frozen)
    n_jobs: int = 1,
) -> Simulation:
    """Simulate the rows of a table, index ``id``; `simulate` with everything looked up.

    An empty mapping is the typical patient, for whom nobody waits for pandas.
    ``parameters``: what `Model.values` gives of the table, if that is known. ``drawn``: what the result says of how
    they were drawn.
    """
    from cartsim.engine.ensemble import Ensemble
    from cartsim.engine.trajectories import Trajectories

    names = _outputs(model, outputs)
    regimen = _regimen(model, dose, own_dose)
    ids = np.zeros(1, np.int64) if isinstance(table, Mapping) else table.index.to_numpy()
    n = len(ids)
    parameters = model.values(table, n) if parameters is None else parameters
    _, dose_amounts = _schedule(model, regimen, n, own_dose)
    ensemble = Ensemble(model, regimen, times, names, solver)
    shares = min(threads(n_jobs), max(1, n // 64))
    edges = np.linspace(0, n, shares + 1).astype(int)
    parts = [slice(a, b) for a, b in pairwise(edges)]
    found = Trajectories.empty(len(names), n, len(times))
    tasks = (partial(ensemble.integrate, parameters[each], dose_amounts[each], found.part(each)) for each in parts)
    for _ in in_threads(tasks, shares):
        pass
    return Simulation(
        model=model,
        ids=ids,
        times=times,
        values=dict(zip(names, found.outputs, strict=True)),
        status=found.status,
        steps=found.steps,
        retreated=found.retreated,
        doses=dose_amounts[:, 0] if dose_amounts.shape[1] else np.zeros(n),
        table=table,
        made_by=made_by(model, **(drawn or {}), rtol=solver.rtol, extinction=solver.extinction, regimen=regimen),
    )


def _whom(who: Any, n: Any) -> tuple[Model, Any, NDArray[np.float64] | None, dict[str, Any]]:
    """The model, the patients as a table (index ``id``), their own doses, and what they are made by."""
    if isinstance(who, Population):
        if not whole(n) or n < 1:
            raise InputError(f"{n} virtual patients; say how many of the population with n, 1 or more")
        return who.model, who.table(0, int(n)), None, who.about()
    if n is not None:
        raise InputError("n goes with a Population: a model has one typical patient, Patients as many as their rows")
    if isinstance(who, Patients):
        rows = who.rows.drop(columns="dose") if "dose" in who.rows else who.rows
        return who.model, rows, who.dose, who.about()
    if isinstance(who, Mapping) or hasattr(who, "columns"):
        raise InputError("a table of patients needs its model; give Patients(model, table)")
    return load(who), {}, None, {}


def checked_times(times: Any) -> NDArray[np.float64]:
    """Times as an increasing array from 0. Raises `InputError` for anything else."""
    if times is None:
        raise InputError("give the times at which to read the outputs, for example times=range(0, 365)")
    try:
        values = np.atleast_1d(np.asarray(times, float))
    except (TypeError, ValueError):
        raise InputError(f"times are {brief(times)}; give numbers, increasing, from 0") from None
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all() or np.ma.is_masked(times):
        raise InputError("times must be a list of finite numbers, increasing, from 0")
    if values[0] < 0 or (np.diff(values) <= 0).any():
        at = 0 if values[0] < 0 else int(np.argmax(np.diff(values) <= 0)) + 1
        raise InputError(f"time {values[at]:g} at place {at + 1}: times must increase and none be negative")
    return values


def _outputs(model: Model, outputs: Sequence[str] | None) -> list[str]:
    known = [*model.outputs, *model.states]
    if outputs is None:
        return list(model.outputs) or known
    check_kind("outputs", outputs, Iterable, "a list of names")
    names = [outputs] if isinstance(outputs, str) else list(outputs)
    for name in names:
        if name not in known:
            raise InputError(f"model {model.name!r} has no output {brief(name)}; it has {', '.join(known)}")
    if len(set(names)) < len(names) or not names:
        raise InputError(f"outputs {', '.join(names) or '(none)'}: name at least one, each once")
    return names


def _regimen(model: Model, dose: Any, own_dose: Any) -> Regimen:
    if isinstance(dose, Regimen):
        return dose
    if dose is None:
        if own_dose is not None:
            return Regimen.single()
        return Regimen.single(model.dosing.dose) if model.dosing else Regimen.none()
    try:
        cells = float(dose)
    except (TypeError, ValueError):
        raise InputError(f"the dose is {brief(dose)}; give cells or a Regimen") from None
    return Regimen.single(cells)


def _schedule(model: Model, regimen: Regimen, n: int, own_dose: Any) -> tuple[Any, Any]:
    if regimen.doses and model.dosing is None:
        raise InputError(f"model {model.name!r} has no [dosing] section, so nothing can be infused")
    if any(infusion.amount is None for infusion in regimen.doses) and own_dose is None and model.dosing:
        own_dose = model.dosing.dose
    times, cells = regimen.schedule(n, own_dose)
    if model.dosing is not None:
        again = () if regimen.retreatment is None else (regimen.retreatment.dose or 0.0,)
        _warn_of_dose(model.name, model.dosing, np.append(cells, again))
    return times, cells


FEW = 1e5  # cells; a smaller dose may well be meant in millions
_warned: dict[str, object] = {}


def _warn_of_dose(name: str, dosing: Dosing, cells: NDArray[np.float64]) -> None:
    """Say, once a model, that a dose is below `FEW` cells and a thousandth of the model's own: mice are given fewer."""
    few = cells[(cells > 0) & (cells < min(FEW, dosing.dose / 1000))]
    if dosing.unit != "cell" or not few.size:
        return
    this = object()
    if _warned.setdefault(name, this) is this:  # whichever thread comes first
        own = f"the usual dose of {name}, {dosing.dose:g}"
        say(f"a dose of {few.min():g} cells is less than a thousandth of {own}; 450 million cells are 450e6")
