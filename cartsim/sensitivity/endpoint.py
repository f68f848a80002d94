"""What a sensitivity analysis asks: a function of a table of parameters, most often an endpoint of a model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.errors import InputError, check_kind, elsewhere
from cartsim.experiments.measures import (
    KINDS,
    Measure,
    check_measures,
    default_horizon,
    default_measures,
    read,
    reading_times,
)
from cartsim.model.model import Model, finite_number
from cartsim.model.reader import load
from cartsim.population.patients import Patients
from cartsim.provenance import made_by
from cartsim.regimen import Regimen
from cartsim.results import Result
from cartsim.simulation import checked_times, simulate
from cartsim.solver import Solver

if TYPE_CHECKING:
    import pandas as pd

# Of a curve: each day of expansion and contraction, then ever fewer; from day 1 on, when the infused cells have
# left the blood.
CURVE_TIMES = (*range(1, 22), *range(24, 61, 3), *range(70, 181, 10), *range(200, 361, 20))


PIECE = 10_000  # sets simulated at a time, which bounds memory and changes no result


class FailedRuns(InputError):
    """Runs without a finite result, which would turn into indices of zero; ``runs`` holds their parameters."""

    def __init__(self, message: str, runs: pd.DataFrame) -> None:
        super().__init__(message)
        self.runs = runs


@dataclass(frozen=True)
class Function:
    """A function of parameters. ``call``: table (n rows) -> (n,), or (n, m) for a curve read at ``times`` (m,).

    name, unit: of what it returns; scale: "linear" or "log", on which its variance is divided; accuracy:
    relative spread below which its output counts as constant; reached: parameters that can change it (None:
    any). model, dose: of which it is an endpoint, and under what dose.
    """

    call: Callable[[pd.DataFrame], ArrayLike]
    name: str = "output"
    unit: str = "1"
    times: NDArray[np.float64] | None = None
    scale: str = "linear"
    accuracy: float = 1e-12
    reached: frozenset[str] | None = None
    made_by: dict[str, Any] = field(default_factory=dict)
    model: Model | None = None
    dose: float | Regimen | None = None

    def __post_init__(self) -> None:
        if self.scale not in ("linear", "log"):
            raise InputError(f"scale {self.scale!r} is not known; it is 'linear' or 'log'")

    def __call__(self, table: pd.DataFrame) -> NDArray[np.float64]:
        """Results of all rows, (n,) or (n, m); raises `InputError` for another shape."""
        values = np.asarray(self.call(table), float)
        shape = (len(table),) if self.times is None else (len(table), len(self.times))
        if values.shape != shape:
            raise InputError(f"{self.name}: the function returned shape {values.shape}, expected {shape}")
        return values


@dataclass(frozen=True, repr=False, eq=False)
class OfFunction(Result):
    """The base of results that are a table about a function: ``frame``, ``function`` and ``made_by``."""

    frame: pd.DataFrame
    function: Function
    made_by: dict[str, Any]


@elsewhere(
    seed="nothing is drawn; cs.sobol, cs.efast and cs.prcc take one",
    n="it is of the analysis, such as cs.sobol(endpoint, names, n=1024)",
)
def endpoint(
    model: str | Path | Model,
    what: str | Measure,
    dose: float | Regimen | None = None,
    *,
    times: ArrayLike | None = None,
    horizon: float | None = None,
    scale: str | None = None,
    solver: Solver = Solver(),  # noqa: B008 (frozen)
    n_jobs: int = -1,
) -> Function:
    """An endpoint of a model as a `Function` of its parameters and covariates; others stay typical.

    Parameters
    ----------
    what
        A default measure ("Cmax", "Tmax", "AUC0-28", "mprotein_fall"; see `default_measures`), "OUTPUT@90" for a value
        at a time, "KIND:OUTPUT" or "KIND:OUTPUT@90" for a measure of any `KINDS`, a `Measure`, or an output's name for
        its curve.
    dose, solver, n_jobs
        As for `cartsim.simulate`.
    times
        Of a curve, by default days 1 to 360.
    horizon
        Until when highest and lowest values are sought, by default half a year.
    scale
        By default "log" for sizes of what is computed from log-scaled pools only, else "linear".

    Raises
    ------
    InputError
        For what the model does not have.

    Examples
    --------
    >>> import cartsim as cs
    >>> cs.endpoint("bb2121_clinical", "Cmax").unit
    'copies/ug'
    """
    model = load(model)
    check_kind("solver", solver, Solver, "Solver(rtol=1e-6)")
    check_kind("endpoint", what, (str, Measure), 'a name, such as "Cmax" or "mprotein_gL@90", or a Measure')
    if horizon is not None:
        horizon = finite_number(horizon, "horizon")
    measure = _measure(model, what)
    output = str(what) if measure is None else measure.output
    if measure is None:
        reading = checked_times(CURVE_TIMES if times is None else times)
    else:
        if times is not None:
            raise InputError(f"{what} is one number; times go with a curve, such as endpoint {output!r}")
        if horizon is None:
            ends_itself = measure.kind in ("value", "fall_at", "area") and measure.at > 0
            horizon = measure.at if ends_itself else default_horizon(model)
        check_measures(model, {str(what): measure}, horizon)
        reading = reading_times({"": measure}, horizon)

    own_dose = dose is None or (isinstance(dose, Regimen) and any(infusion.amount is None for infusion in dose.doses))

    def call(table: pd.DataFrame) -> NDArray[np.float64]:
        if "dose" in table and not own_dose:
            raise InputError("the dose is fixed by the regimen and varied as well; leave out one of the two")
        found = []
        for start in range(0, len(table), PIECE):
            part = Patients(model, table.iloc[start : start + PIECE].reset_index(drop=True))
            curves = simulate(part, dose, reading, [output], solver=solver, n_jobs=n_jobs)[output]
            found.append(curves if measure is None else read({"": measure}, reading, {output: curves})[""])
        return np.concatenate(found)

    unit = (model.outputs | model.states)[output].unit
    logs = all(model.states[state].scale == "log" for state in model.states_behind([output]))
    if measure is not None and measure.kind not in ("highest", "first_peak", "lowest", "area", "value"):
        logs = False
        unit = model.time if measure.kind.startswith("time_") else "1" if measure.kind == "log10_fall" else unit
    elif measure is not None and measure.kind == "area":
        unit = f"{unit}*{model.time}"
    return Function(
        call,
        name=output if measure is None else _name(what),
        unit=unit,
        times=reading if measure is None else None,
        scale=scale or ("log" if logs else "linear"),
        accuracy=10 * solver.rtol,
        reached=_reached(model, output, dose),
        made_by=made_by(model, endpoint=str(what), rtol=solver.rtol, extinction=solver.extinction, regimen=dose),
        model=model,
        dose=dose,
    )


def _measure(model: Model, what: str | Measure) -> Measure | None:
    """The measure meant; None for an output, whose curve is meant."""
    if isinstance(what, Measure):
        return what
    known = default_measures(model)
    if what in known:
        return known[what]
    kind, colon, output = what.rpartition(":")
    output, at, time = output.partition("@")
    if output in (*model.outputs, *model.states) and (kind in KINDS or not colon):
        try:
            if colon or at:
                return Measure(kind or "value", output, float(time) if at else 0.0)
            return None
        except ValueError as problem:
            raise InputError(f"endpoint {what!r}: {problem}") from None
    raise InputError(
        f"endpoint {what!r} is not known; it is one of {', '.join(known)}, OUTPUT, OUTPUT@TIME, KIND:OUTPUT or "
        f"KIND:OUTPUT@TIME with an output ({', '.join(model.outputs)}) or state and a kind "
        f"({', '.join(KINDS)})"
    )


def _name(what: str | Measure) -> str:
    if isinstance(what, str):
        return what
    return f"{what.kind}:{what.output}@{what.at:g}"


def as_function(given: Function | Callable) -> Function:
    """What is asked, as a `Function`."""
    check_kind("what is asked", given, Callable, "an endpoint, or a function of a table of parameters")  # type: ignore[arg-type]
    return given if isinstance(given, Function) else Function(given)


def refuse_failed(function: Function, table: pd.DataFrame, values: NDArray[np.float64], hint: str = "") -> None:
    """Raise `FailedRuns` where a run has no finite result."""
    bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    if bad.size == 0:
        return
    rows = ", ".join(str(row) for row in bad[:5]) + (", ..." if bad.size > 5 else "")
    first = ", ".join(f"{name} = {value:.4g}" for name, value in table.iloc[bad[0]].items())
    raise FailedRuns(
        f"{function.name}: {bad.size} of {len(table)} runs have no finite result (rows {rows}; the first has "
        f"{first}); narrow the ranges{hint}",
        table.iloc[bad],
    )


def _reached(model: Model, output: str, dose: float | Regimen | None) -> frozenset[str]:
    """Parameters, and the dose, on which an output depends, however indirectly."""
    rule = dose.retreatment if isinstance(dose, Regimen) else None
    seen = model.reached_from([output] if rule is None else [output, rule.state])
    return frozenset(seen & {"dose", *(p.name for p in model.parameters.values() if p.role != "constant")})


def check_varied(function: Function, names: Collection[str]) -> None:
    """Raise `InputError` unless there are parameters to vary and the output can depend on them."""
    if not names:
        raise InputError("no parameters are named; name at least one to vary")
    if function.reached is not None and not function.reached & set(names):
        raise InputError(
            f"{function.name} is constant: it depends on none of {', '.join(names)}; "
            f"it depends on {', '.join(sorted(function.reached))}"
        )


def scaled(function: Function, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values on the function's scale, (runs, m)."""
    values = values.reshape(len(values), -1)
    if function.scale == "linear":
        return values
    wrong = int((values <= 0).any(axis=1).sum())
    if wrong:
        raise InputError(
            f"{function.name} is 0 or negative in {wrong} of {len(values)} runs, so it has no logarithm; "
            "set scale='linear'"
        )
    return np.log(values)


def along(function: Function, names: Sequence[str], columns: Mapping[str, NDArray[Any]]) -> pd.DataFrame:
    """Columns (parameters, m) as a table with a row a parameter and time."""
    import pandas as pd

    times = function.times
    keys: dict[str, Any] = {"parameter": np.repeat(names, 1 if times is None else len(times))}
    if times is not None:
        keys["time"] = np.tile(times, len(names))
    return pd.DataFrame(keys | {name: values.reshape(-1) for name, values in columns.items()})
