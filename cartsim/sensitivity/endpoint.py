"""What a sensitivity analysis asks: a function of a table of parameters, most often an endpoint of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.errors import InputError
from cartsim.experiments.measures import (
    KINDS,
    Measure,
    check_measures,
    default_horizon,
    default_measures,
    read,
    reading_times,
)
from cartsim.model.reader import Model, load
from cartsim.regimen import Regimen
from cartsim.simulation import RTOL, _outputs, _states_read, _times, made_by, simulate

if TYPE_CHECKING:
    import pandas as pd

# Of a curve: each day of expansion and contraction, then ever fewer; from day 1 on, when the infused cells have
# left the blood.
CURVE_TIMES = (*range(1, 22), *range(24, 61, 3), *range(70, 181, 10), *range(200, 361, 20))


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
    any).
    """

    call: Callable[[pd.DataFrame], ArrayLike]
    name: str = "output"
    unit: str = "1"
    times: NDArray[np.float64] | None = None
    scale: str = "linear"
    accuracy: float = 1e-12
    reached: frozenset[str] | None = None
    made_by: dict[str, Any] = field(default_factory=dict)

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


def simulated(
    model: str | Path | Model,
    endpoint: str | Measure,
    regimen: float | Regimen | None = None,
    *,
    times: ArrayLike | None = None,
    horizon: float | None = None,
    scale: str | None = None,
    rtol: float = RTOL,
    extinction: float | None = None,
    n_jobs: int = -1,
    chunk: int = 10_000,
) -> Function:
    """An endpoint of a model as a `Function` of its parameters and covariates; others stay typical.

    endpoint: a default measure ("Cmax", "Tmax", "AUC0-28", "mprotein_fall"; see `default_measures`), "OUTPUT@90"
    for a value at a time, "KIND:OUTPUT" or "KIND:OUTPUT@90" for a measure of any `KINDS`, a `Measure`, or an
    output's name for its curve at ``times`` (by default days 1 to 360). regimen, rtol, extinction, n_jobs: as for
    `cartsim.simulate`. horizon: until when highest and lowest values are sought, by default half a year. scale:
    by default "log" for sizes of what is computed from log-scaled pools only, else "linear". chunk: sets simulated
    at a time, which bounds memory and changes no result. Raises `InputError` for what the model does not have.
    """
    model = load(model)
    measure = _measure(model, endpoint)
    output = str(endpoint) if measure is None else measure.output
    if measure is None:
        reading = _times(CURVE_TIMES if times is None else times)
    else:
        if times is not None:
            raise InputError(f"{endpoint} is one number; times go with a curve, such as endpoint {output!r}")
        if horizon is None:
            ends_itself = measure.kind in ("value", "fall_at", "area") and measure.at > 0
            horizon = measure.at if ends_itself else default_horizon(model)
        check_measures(model, {str(endpoint): measure}, horizon)
        reading = reading_times({"": measure}, horizon)

    own_dose = regimen is None or (
        isinstance(regimen, Regimen) and any(infusion.amount is None for infusion in regimen.doses)
    )

    def call(table: pd.DataFrame) -> NDArray[np.float64]:
        if "dose" in table and not own_dose:
            raise InputError("the dose is fixed by the regimen and varied as well; leave out one of the two")
        found = []
        for start in range(0, len(table), chunk):
            part = table.iloc[start : start + chunk].reset_index(drop=True)
            run = simulate(
                model, part, regimen, reading, [output], rtol=rtol, extinction=extinction, n_jobs=n_jobs
            )
            curves = run[output]
            found.append(curves if measure is None else read({"": measure}, reading, {output: curves})[""])
        return np.concatenate(found)

    unit = (model.outputs | model.states)[output].unit
    logs = all(model.states[state].scale == "log" for state in _states_read(model, [output]))
    if measure is not None and measure.kind not in ("highest", "lowest", "area", "value"):
        logs = False
        unit = {"time_of_highest": model.time, "time_below": model.time, "log10_fall": "1"}.get(measure.kind, unit)
    elif measure is not None and measure.kind == "area":
        unit = f"{unit}*{model.time}"
    return Function(
        call,
        name=output if measure is None else _name(endpoint),
        unit=unit,
        times=reading if measure is None else None,
        scale=scale or ("log" if logs else "linear"),
        accuracy=10 * rtol,
        reached=_reached(model, output, regimen),
        made_by=made_by(model, rtol=rtol, extinction=extinction, regimen=regimen),
    )


def _measure(model: Model, endpoint: str | Measure) -> Measure | None:
    """The measure meant; None for an output, whose curve is meant."""
    if isinstance(endpoint, Measure):
        return endpoint
    known = default_measures(model)
    if endpoint in known:
        return known[endpoint]
    kind, colon, output = endpoint.rpartition(":")
    output, at, time = output.partition("@")
    if output in (*model.outputs, *model.states) and (kind in KINDS or not colon):
        try:
            if colon or at:
                return Measure(kind or "value", output, float(time) if at else 0.0)
            return None
        except ValueError as problem:
            raise InputError(f"endpoint {endpoint!r}: {problem}") from None
    raise InputError(
        f"endpoint {endpoint!r} is not known; it is one of {', '.join(known)}, OUTPUT, OUTPUT@TIME, KIND:OUTPUT or "
        f"KIND:OUTPUT@TIME with an output ({', '.join(_outputs(model, None))}) or state and a kind "
        f"({', '.join(KINDS)})"
    )


def _name(endpoint: str | Measure) -> str:
    if isinstance(endpoint, str):
        return endpoint
    return f"{endpoint.kind}:{endpoint.output}@{endpoint.at:g}"


def as_function(given: Function | Callable) -> Function:
    return given if isinstance(given, Function) else Function(given)


def refuse_failed(
    function: Function, table: pd.DataFrame, values: NDArray[np.float64], hint: str = ""
) -> None:
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


def _reached(model: Model, output: str, regimen: float | Regimen | None) -> frozenset[str]:
    """Parameters, and the dose, on which an output depends, however indirectly."""
    rule = regimen.retreatment if isinstance(regimen, Regimen) else None
    waiting, seen = [output] if rule is None else [output, rule.state], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        formulas = [model.definitions.get(name)]
        if name in model.outputs:
            formulas.append(model.outputs[name].value)
        if name in model.parameters:
            formulas.append(model.parameters[name].expression)
        if name in model.states:
            state = model.states[name]
            formulas += [state.initial, state.seed, state.rate]
            if model.dosing and model.dosing.state == name:
                formulas.append(model.dosing.per_dose)
                seen.add("dose")
        waiting += [each for formula in formulas if formula is not None for each in formula.names]
    return frozenset(seen & {"dose", *(p.name for p in model.parameters.values() if p.role != "constant")})
