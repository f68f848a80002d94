"""What a model is: its parameters, states, outputs and dosing, frozen, and the values patients give it."""

from __future__ import annotations

import hashlib
import json
import math
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from html import escape
from typing import Any

import numpy as np

from cartsim.errors import InputError, check_kind, choices
from cartsim.model.expression import Expression

DISTRIBUTIONS = ("lognormal", "normal", "logitnormal", "uniform", "bernoulli")
OMEGALESS = ("uniform", "bernoulli")  # distributions without an omega
TABLE_COLUMNS = frozenset({"id", "arm", "dose", "time"})  # columns of patient tables that no model may claim


@dataclass(frozen=True, slots=True)
class Variability:
    """How a parameter varies between patients.

    distribution: lognormal (omega is the SD of the logarithm), normal (SD in the parameter's unit),
    logitnormal (SD of the logit between low and high), uniform (between low and high, no omega) or bernoulli (1 in a
    share of the patients, which is the typical value, 0 in the others, no omega);
    rse: relative standard error of omega, as a fraction.
    """

    distribution: str
    omega: float = 0.0
    low: float | None = None
    high: float | None = None
    rse: float | None = None

    def __str__(self) -> str:
        limits = "" if self.low is None or self.high is None else f" {self.low:.10g} to {self.high:.10g}"
        return f"{self.distribution}{'' if self.distribution in OMEGALESS else f' {self.omega:.10g}'}{limits}"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number of the model: parameter, covariate, constant, or a published one the equations do not use.

    value: typical value, None for a derived parameter, whose `expression` gives it from the others;
    low, high: inclusive limits; rse: relative standard error as a fraction; replaced: the formula whose place
    an overriding number has taken.
    """

    name: str
    value: float | None
    expression: Expression | None
    unit: str
    iiv: Variability | None
    rse: float | None
    low: float | None
    high: float | None
    source: str
    doc: str
    role: str
    replaced: Expression | None = None


@dataclass(frozen=True, slots=True)
class State:
    """One differential equation.

    scale: "log" (integrated as its logarithm; exactly zero while absent) or "linear"; initial: formula of
    parameters; seed: value an absent log pool gets at a dose (in file order, each formula seeing the dose and
    the seeds before it), while one that something flows into at time 0 or at a dose fills by itself;
    renewed: whether each dose sets the state to its seed again;
    rate: time derivative in the state's own unit; negligible: size of a linear state below which relative
    accuracy no longer matters; ceiling: a patient above it ends early; volume: name of the parameter that makes
    cells of the state (cells = state * volume), for the extinction option.
    """

    name: str
    unit: str
    scale: str
    initial: Expression
    seed: Expression | None
    rate: Expression
    negligible: float
    ceiling: float | None
    volume: str | None
    doc: str
    renewed: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """A quantity computed from states and parameters."""

    name: str
    unit: str
    value: Expression
    doc: str


@dataclass(frozen=True, slots=True)
class Dosing:
    """Where a dose goes: `state` rises by dose * per_dose. dose: the default, in `unit`."""

    state: str
    per_dose: Expression
    dose: float
    unit: str


@dataclass(frozen=True, slots=True)
class Variant:
    """What a variant of a model has otherwise: fields of parameters by name, all of a new one, and new entries."""

    parameters: dict[str, dict[str, Any]]
    unused: dict[str, Parameter]
    definitions: dict[str, Expression]
    states: dict[str, State]
    outputs: dict[str, Output]
    dosing: Dosing | None
    doc: str | None
    source: str | None

    @property
    def values(self) -> dict[str, float]:
        """The typical values that are otherwise."""
        return {name: fields["value"] for name, fields in self.parameters.items() if fields.get("value") is not None}

    @property
    def formulas(self) -> list[str]:
        """Names of parameters, definitions and states whose formulas are otherwise or new, and "dosing"."""
        derived = [name for name, fields in self.parameters.items() if fields.get("expression") is not None]
        dosing = [] if self.dosing is None else ["dosing"]
        return [*derived, *self.definitions, *self.states, *dosing]


@dataclass(frozen=True, repr=False)
class Model:
    """A checked model. Treat its dictionaries as read-only; `override` and `variant` make new models.

    parameters: constants, parameters and covariates in file order; definitions: each after those it uses;
    unused: published values that do not enter the equations; variants: by name, what each has otherwise;
    path: the file it was read from.
    """

    name: str
    source: str
    doc: str
    time: str
    parameters: dict[str, Parameter]
    states: dict[str, State]
    definitions: dict[str, Expression]
    outputs: dict[str, Output]
    dosing: Dosing | None
    variants: dict[str, Variant]
    path: str
    unused: dict[str, Parameter] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the mathematics: all that machine code is made from, and the formulas of derived parameters.

        Values, units and words are not part of it, so that new values need no new machine code.
        """
        mathematics = [
            [(name, _formula(p.expression or p.replaced)) for name, p in self.parameters.items()],
            [(name, _formula(formula)) for name, formula in self.definitions.items()],
            [(name, s.scale, _formula(s.initial), _formula(s.seed), _formula(s.rate), s.negligible, s.ceiling, s.volume)
             for name, s in self.states.items()],
            *([name] for name, s in self.states.items() if s.renewed),
            [(name, _formula(o.value)) for name, o in self.outputs.items()],
            None if self.dosing is None else (self.dosing.state, _formula(self.dosing.per_dose)),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(mathematics).encode()).hexdigest()

    def __repr__(self) -> str:
        counts = f"{len(self.states)} states, {len(self.outputs)} outputs, {len(self.parameters)} parameters"
        return f"model {self.name} ({self.source.partition(',')[0]}): {counts}; time in {self.time}"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(p.name)}</td><td>{'' if p.value is None else f'{p.value:g}'}</td>"
            f"<td>{escape(p.unit)}</td><td>{escape(p.doc)}</td></tr>"
            for p in self.parameters.values()
            if p.role != "constant"
        )
        head = "<tr><th>parameter</th><th>value</th><th>unit</th><th>meaning</th></tr>"
        return f"<b>{escape(repr(self))}</b><table>{head}{rows}</table>"

    def override(self, values: Mapping[str, float]) -> Model:
        """The model with new typical values. A derived parameter given a number keeps that number.

        values: {name of a parameter, covariate or constant: number}.
        Raises InputError for an unknown name or a value outside the parameter's limits.
        """
        check_kind("new values", values, Mapping, 'a mapping, such as {"Kg": 0.01}')
        changed = dict(self.parameters)
        for name, value in values.items():
            self._known(name)
            old, number = changed[name], finite_number(value, name)
            changed[name] = replace(old, value=number, expression=None, replaced=old.expression or old.replaced)
            check_typical_value(changed[name])
        model = replace(self, parameters=changed)
        model.values({}, 1)  # derived parameters may leave their limits
        return model

    def inputs(self) -> dict[str, Any]:
        """What results depend on: the mathematics by its digest, and the numbers. No words, units or paths."""
        numbers = {
            p.name: {"value": p.value, "low": p.low, "high": p.high, "iiv": p.iiv, "rse": p.rse, "role": p.role}
            for p in self.parameters.values()
        }
        dose = None if self.dosing is None else self.dosing.dose
        return {"name": self.name, "digest": self.digest, "time": self.time, "parameters": numbers, "dose": dose}

    def variant(self, name: str) -> Model:
        """The model with what a named variant has otherwise, called "model:variant"; it has no variants itself.

        Raises InputError for an unknown variant.
        """
        if name not in self.variants:
            raise InputError(f"model {self.name!r} has no variant {name!r}{choices(name, self.variants)}")
        own, parameters = self.variants[name], dict(self.parameters)
        for each, fields in own.parameters.items():
            parameters[each] = replace(parameters[each], **fields) if each in parameters else Parameter(**fields)
            check_typical_value(parameters[each])
        definitions = self.definitions | own.definitions
        model = replace(
            self,
            name=f"{self.name}:{name}",
            source=own.source or self.source,
            doc=self.doc if own.doc is None else own.doc,
            parameters=parameters,
            unused=self.unused | own.unused,
            definitions={each: definitions[each] for each in in_order(definitions, self.name)},
            states=self.states | own.states,
            outputs=self.outputs | own.outputs,
            dosing=own.dosing or self.dosing,
            variants={},
        )
        model.values({}, 1)  # derived parameters may leave their limits
        return model

    def values(self, table: Mapping[str, Any], n: int) -> np.ndarray:
        """Every parameter of every patient.

        table: columns (arrays of length n, or single numbers) named as parameters, as a data frame or a
        dictionary; columns id, arm, dose and time are left alone; n: number of patients.
        A parameter without a column has its typical value, one that is 0 or 1 (bernoulli) what it is in most patients,
        and a derived one follows from the others.
        Returns float64 of shape (n, len(parameters)), columns in the order of `parameters`.
        Raises InputError for an unknown column, wrong length, a value that is not finite or outside limits.
        """
        given = {name for name in table if name not in TABLE_COLUMNS}
        for name in table:
            if name in given:
                self._known(name)
        if hasattr(table, "to_numpy") and (whole := table.to_numpy()).dtype == np.float64:
            table = dict(zip(table, whole.T, strict=True))  # taking the columns one by one takes longer
        values: dict[str, np.ndarray] = {}
        for name in self._order():
            parameter = self.parameters[name]
            if name in given:
                column = _column(table[name], name, n)
            elif parameter.expression is not None:
                column = np.broadcast_to(parameter.expression.evaluate(values), n)
            else:
                column = np.full(n, _usual(parameter))
            values[name] = column
            _check_column(column, parameter)
        found = np.empty((n, len(self.parameters)))
        for k, name in enumerate(self.parameters):
            found[:, k] = values[name]
        return found

    def check_start(self, dose: float = 0.0) -> None:
        """Raise InputError where a state of the typical patient starts at what it cannot be.

        States are finite, and 0 or more on the log scale: at time 0, and after a dose (in the unit of the dosing
        section) there, with the seeds that it brings.
        """
        known: dict[str, Any] = dict(zip(self.parameters, self.values({}, 1)[0].tolist(), strict=True))

        def value(formula: Expression) -> float:
            found = {"time": 0.0, **known}
            for name, definition in self.definitions.items():
                if definition.names <= found.keys():  # those of states cannot be had before the states
                    found[name] = definition.evaluate(found)
            return float(formula.evaluate(found))

        def check(name: str, number: float, what: str) -> None:
            log = self.states[name].scale == "log"
            if not math.isfinite(number) or (log and number < 0):
                allowed = "0 or more" if log else "any finite number"
                raise InputError(f"model {self.name!r}: {name} {what}; it must be {allowed}")

        for name in in_order({name: state.initial for name, state in self.states.items()}, self.name):
            formula = self.states[name].initial
            known[name] = value(formula)
            check(name, known[name], f"starts at {known[name]:g} ({shown(formula.text)})")
        if self.dosing is None or not dose > 0:
            return
        dosed, formula = self.dosing.state, self.dosing.per_dose
        known[dosed] += dose * value(formula)
        check(dosed, known[dosed], f"is {known[dosed]:g} after a dose of {dose:g} ({shown(formula.text)} per dose)")
        for name, state in self.states.items():
            if state.seed is not None and name != dosed and (known[name] == 0 or state.renewed):
                known[name] = value(state.seed)
                check(name, known[name], f"has the seed {known[name]:g} ({shown(state.seed.text)})")

    def states_behind(self, names: Iterable[str]) -> set[str]:
        """The states that outputs or states are read from, without those that only drive these."""
        return self._reached(names, through_states=False) & self.states.keys()

    def reached_from(self, names: Iterable[str]) -> set[str]:
        """Parameters, states and definitions on which outputs or states depend, however indirectly, and "dose"."""
        return self._reached(names, through_states=True)

    def _reached(self, names: Iterable[str], *, through_states: bool) -> set[str]:
        waiting, seen = list(names), set[str]()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            formulas = [self.definitions.get(name)]
            if name in self.outputs:
                formulas.append(self.outputs[name].value)
            if name in self.parameters:
                formulas.append(self.parameters[name].expression)
            if name in self.states and through_states:
                state = self.states[name]
                formulas += [state.initial, state.seed, state.rate]
                if self.dosing is not None and self.dosing.state == name:
                    formulas.append(self.dosing.per_dose)
                    seen.add("dose")
            waiting += [each for formula in formulas if formula is not None for each in formula.names]
        return seen

    def _order(self) -> tuple[str, ...]:
        derived = {p.name: p.expression for p in self.parameters.values() if p.expression is not None}
        if not derived:
            return tuple(self.parameters)
        return (*(n for n in self.parameters if n not in derived), *in_order(derived, self.name))

    def _known(self, name: str) -> None:
        if name in self.parameters:
            return
        if name in self.unused:
            raise InputError(
                f"{name!r} does not enter the equations of model {self.name!r}: "
                f"{self.unused[name].doc or 'recorded only'}; leave it out"
            )
        raise InputError(f"model {self.name!r} has no parameter {name!r}{choices(name, self.parameters)}")


def _formula(formula: Expression | None) -> str | None:
    return None if formula is None else formula.text


def in_order(formulas: Mapping[str, Expression], where: str) -> list[str]:
    """Names in an order in which each formula comes after those it uses."""
    graph = TopologicalSorter({n: sorted(f.names & formulas.keys()) for n, f in formulas.items()})
    try:
        return list(graph.static_order())
    except CycleError as problem:
        names = problem.args[1]
        circle = names if len(names) <= 10 else [*names[:8], "...", names[-1]]
        raise InputError(f"{where}: circular: {' -> '.join(circle)}; break the circle") from None


def finite_number(value: Any, where: str) -> float:
    """The value as a float; raises InputError unless it is a finite number."""
    try:
        number = math.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{where}: must be a finite number, not {shown(value)}")
    return number


def check_typical_value(parameter: Parameter) -> None:
    """A typical value within its limits, and one that its variability can act on."""
    name, value, iiv = parameter.name, parameter.value, parameter.iiv
    if value is None:
        return  # derived: checked when it is computed
    _check_column(np.array([value]), parameter)
    if iiv is None:
        return
    if iiv.distribution == "lognormal" and value <= 0:
        raise InputError(f"{name} = {value:g} varies lognormally, so its value must be above 0")
    if iiv.distribution == "bernoulli" and not 0 <= value <= 1:
        raise InputError(f"{name} = {value:g} is the share of patients of a bernoulli distribution; give 0 to 1")
    if iiv.distribution in ("logitnormal", "uniform"):
        low = parameter.low if iiv.low is None else iiv.low
        high = parameter.high if iiv.high is None else iiv.high
        if low is None or high is None:
            raise InputError(f"{name}: a {iiv.distribution} distribution needs low and high")
        if not low < value < high:
            raise InputError(
                f"{name} = {value:g} must lie between the limits {low:g} and {high:g} of its "
                f"{iiv.distribution} distribution"
            )


def _usual(parameter: Parameter) -> float | None:
    share = parameter.iiv is not None and parameter.iiv.distribution == "bernoulli"
    return float(parameter.value > 0.5) if share and parameter.value is not None else parameter.value


def _column(column: Any, name: str, n: int) -> np.ndarray:
    try:
        values = np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"column {name!r} must hold numbers only") from None
    if values.shape not in ((), (n,)):
        raise InputError(f"column {name!r} has shape {values.shape}, expected {n} values, one per patient")
    return np.broadcast_to(values, n)


def is_within(values: np.ndarray, low: float | None, high: float | None) -> bool:
    """Whether all values are finite and within the limits, of which None is none."""
    if not values.size:
        return True
    least, most = float(values.min()), float(values.max())  # NaN if there is one, which is within nothing
    return (-math.inf < least if low is None else low <= least) and (most < math.inf if high is None else most <= high)


def _check_column(values: np.ndarray, parameter: Parameter) -> None:
    if is_within(values, parameter.low, parameter.high):
        return
    low = -math.inf if parameter.low is None else parameter.low
    high = math.inf if parameter.high is None else parameter.high
    row = int(np.argmax(~(np.isfinite(values) & (values >= low) & (values <= high))))
    patient = f" (patient row {row})" if values.size > 1 else ""
    if not np.isfinite(values[row]):
        allowed = "a finite number"
    elif math.isinf(high):
        allowed = f"{low:g} or more"
    else:
        allowed = f"{high:g} or less" if math.isinf(low) else f"{low:g} to {high:g}"
    unit = "" if parameter.unit == "1" else f" {parameter.unit}"
    raise InputError(f"{parameter.name} = {values[row]:g}{unit}{patient} is not allowed; give {allowed}")


def shown(value: Any) -> str:
    """Any value for a message, cut to a line of printable characters."""
    try:
        return ascii(value) if isinstance(value, str) and len(value) <= 80 else reprlib.repr(value)
    except ValueError:  # Python prints no whole number of more than 4300 digits
        return "a number of thousands of digits"
