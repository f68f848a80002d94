"""Model files: found, read, checked and frozen into a `Model`.

One TOML file holds one model whole. Everything a formula, a unit or a name can get wrong is an InputError
that names the file, the entry and the mend, raised before anything is simulated.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import keyword
import math
import re
import reprlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np

from cartsim import expression
from cartsim.cache import cache_dir
from cartsim.errors import InputError
from cartsim.expression import FUNCTIONS, Expression, parse

DISTRIBUTIONS = ("lognormal", "normal", "logitnormal", "uniform")
TABLE_COLUMNS = frozenset({"id", "arm", "dose", "time"})  # columns of patient tables that no model may claim
RESERVED = FUNCTIONS | TABLE_COLUMNS
MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class Variability:
    """How a parameter varies between patients.

    distribution: lognormal (omega is the SD of the logarithm), normal (SD in the parameter's unit),
    logitnormal (SD of the logit between low and high) or uniform (between low and high, no omega);
    rse: relative standard error of omega, as a fraction.
    """

    distribution: str
    omega: float = 0.0
    low: float | None = None
    high: float | None = None
    rse: float | None = None


@dataclass(frozen=True)
class Parameter:
    """A number of the model: parameter, covariate, constant, or a published one the equations do not use.

    value: typical value, None for a derived parameter, whose `expression` gives it from the others;
    low, high: inclusive limits; rse: relative standard error as a fraction.
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


@dataclass(frozen=True)
class State:
    """One differential equation.

    scale: "log" (integrated as its logarithm; exactly zero while absent) or "linear"; initial: formula of
    parameters; seed: value an absent log pool gets at a dose; rate: time derivative in the state's own
    unit; negligible: size of a linear state below which relative accuracy no longer matters; ceiling: a
    patient above it ends early; volume: name of what makes cells of the state (cells = state * volume).
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


@dataclass(frozen=True)
class Output:
    """A quantity computed from states and parameters."""

    name: str
    unit: str
    value: Expression
    doc: str


@dataclass(frozen=True)
class Dosing:
    """Where a dose goes: `state` rises by dose * per_dose. dose: the default, in `unit`."""

    state: str
    per_dose: Expression
    dose: float
    unit: str


@dataclass(frozen=True)
class Model:
    """A checked model. Treat its dictionaries as read-only; `override` and `variant` make new models.

    parameters: constants, parameters and covariates in file order; definitions: each after those it uses;
    unused: published values that do not enter the equations; variants: named sets of parameter values;
    digest: SHA-256 of what defines the mathematics, the same whatever values the parameters take;
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
    variants: dict[str, dict[str, float]]
    digest: str
    path: str
    unused: dict[str, Parameter] = field(default_factory=dict)

    def override(self, values: Mapping[str, float]) -> Model:
        """The model with new typical values. A derived parameter given a number keeps that number.

        values: {name of a parameter, covariate or constant: number}.
        Raises InputError for an unknown name or a value outside the parameter's limits.
        """
        changed = dict(self.parameters)
        for name, value in values.items():
            self._known(name)
            number = _number(value, name)
            changed[name] = replace(changed[name], value=number, expression=None)
            _check_value(changed[name])
        model = replace(self, parameters=changed)
        model.values({}, 1)  # derived parameters may leave their limits
        return model

    def variant(self, name: str) -> Model:
        """The model with the values of a named variant. Raises InputError for an unknown one."""
        if name not in self.variants:
            raise InputError(f"model {self.name!r} has no variant {name!r}{_choices(name, self.variants)}")
        return self.override(self.variants[name])

    def values(self, table: Mapping[str, Any], n: int) -> np.ndarray:
        """Every parameter of every patient.

        table: columns (arrays of length n, or single numbers) named as parameters, as a data frame or a
        dictionary; columns id, arm, dose and time are left alone; n: number of patients.
        A parameter without a column has its typical value, a derived one follows from the others.
        Returns float64 of shape (n, len(parameters)), columns in the order of `parameters`.
        Raises InputError for an unknown column, wrong length, a value that is not finite or outside limits.
        """
        given = [name for name in table if name not in TABLE_COLUMNS]
        for name in given:
            self._known(name)
        values: dict[str, np.ndarray] = {}
        for name in self._order():
            parameter = self.parameters[name]
            if name in given:
                column = _column(table[name], name, n)
            elif parameter.expression is not None:
                column = np.broadcast_to(parameter.expression.evaluate(values), n)
            else:
                column = np.full(n, parameter.value)
            values[name] = column
            _check_column(column, parameter)
        return np.column_stack([values[name] for name in self.parameters]).astype(np.float64, copy=False)

    def _order(self) -> tuple[str, ...]:
        derived = {p.name: p.expression for p in self.parameters.values() if p.expression is not None}
        if not derived:
            return tuple(self.parameters)
        return (*(n for n in self.parameters if n not in derived), *_sorted(derived, self.name))

    def _known(self, name: str) -> None:
        if name in self.parameters:
            return
        if name in self.unused:
            raise InputError(f"{name!r} does not enter the equations of model {self.name!r}: "
                             f"{self.unused[name].doc or 'recorded only'}; leave it out")
        raise InputError(f"model {self.name!r} has no parameter {name!r}{_choices(name, self.parameters)}")


# --- finding -----------------------------------------------------------------------------------------


def load(name_or_path: str | Path | Model) -> Model:
    """Read and check a model.

    name_or_path: a shipped model ("bb2121_clinical"), a file ending in .toml, either with ":variant"
    behind it ("bb2121_invitro:Daudi"); a Model is returned as it is.
    Raises InputError when there is no such model or anything in the file is wrong.
    """
    if isinstance(name_or_path, Model):
        return name_or_path
    text, variant = str(name_or_path), ""
    if not text.endswith(".toml") and ":" in text:
        text, _, variant = text.rpartition(":")
    path = Path(text) if text.endswith(".toml") else _folder() / f"{text}.toml"
    if not text.endswith(".toml") and text not in names():
        raise InputError(f"no model {text!r}{_choices(text, names())} (a model of your own: the path of its "
                         ".toml file)")
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise InputError(f"cannot read the model file {text!r}: {problem.strerror or problem}") from None
    model = _build(_toml(content, path.name), path)
    _check_units_once(model, content, path.name)
    return model.variant(variant) if variant else model


def names() -> list[str]:
    """Names of the shipped models."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def _folder() -> Path:
    """The shipped models: inside the package when installed, beside it in a source checkout."""
    inside = Path(__file__).parent / "models"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "models"


def _toml(content: bytes, file: str) -> dict[str, Any]:
    if len(content) > MAX_BYTES:
        raise InputError(f"{file}: {len(content)} bytes, at most {MAX_BYTES} are read")
    try:
        return tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise InputError(f"{file}: not a TOML file ({problem})") from None


# --- reading -----------------------------------------------------------------------------------------

_SECTIONS = {
    "model": True, "constants": False, "parameters": True, "covariates": False, "definitions": False,
    "states": True, "outputs": False, "dosing": False, "variants": False, "unused": False,
}
_ROLES = {"constants": "constant", "parameters": "parameter", "covariates": "covariate"}


def _build(raw: dict[str, Any], path: Path) -> Model:
    file = path.name
    sections = _fields(raw, file, [s for s, needed in _SECTIONS.items() if needed], _SECTIONS)
    head = _fields(sections["model"], f"{file}: [model]", ("name", "source", "time"), ("doc",))
    head = {key: _text(value, f"{file}: model.{key}") for key, value in head.items()}
    taken: dict[str, str] = {}

    def entries(section: str) -> Iterable[tuple[str, Any, str]]:
        table = sections.get(section, {})
        if not isinstance(table, dict):
            raise InputError(f"{file}: {section} must be a table: write [{section}.NAME]")
        for name, entry in table.items():
            where = f"{file}: {section}.{name if name.isprintable() else repr(name)}"
            if section != "variants":
                _claim(name, where, taken)
            yield name, entry, where

    parameters = {n: _parameter(n, e, w, role)
                  for section, role in _ROLES.items() for n, e, w in entries(section)}
    unused = {n: _parameter(n, e, w, "unused") for n, e, w in entries("unused")}
    definitions = {n: parse(e, w) for n, e, w in entries("definitions")}
    states = {n: _state(n, e, w) for n, e, w in entries("states")}
    outputs = {n: _output(n, e, w) for n, e, w in entries("outputs")}
    dosing = _dosing(sections["dosing"], f"{file}: dosing") if "dosing" in sections else None
    if not states:
        raise InputError(f"{file}: [states] is empty; a model has at least one state")
    _check_names(parameters, definitions, states, outputs, dosing, file)
    definitions = {n: definitions[n] for n in _sorted(definitions, f"{file}: definitions")}

    variants = {}
    for name, entry, where in entries("variants"):
        if not isinstance(entry, dict):
            raise InputError(f"{where}: a variant is a table of parameter values")
        variants[name] = {key: _number(value, f"{where}.{key}") for key, value in entry.items()}

    model = Model(
        name=head["name"], source=head["source"], doc=head.get("doc", ""), time=head["time"],
        parameters=parameters, states=states, definitions=definitions, outputs=outputs, dosing=dosing,
        variants=variants, digest=_digest(parameters, definitions, states, outputs, dosing),
        path=str(path), unused=unused,
    )
    _check_typical(model, file)
    return model


def _parameter(name: str, entry: Any, where: str, role: str) -> Parameter:
    entry = _fields(entry, where, ("value", "unit", "source"), ("doc", "rse", "iiv", "low", "high"))
    value, formula = entry["value"], None
    if isinstance(value, str):
        if role in ("constant", "unused"):
            raise InputError(f"{where}.value: a {role} value is a number, not {_shown(value)}")
        formula, value = parse(value, f"{where}.value"), None
    else:
        value = _number(value, f"{where}.value")
    return Parameter(
        name=name, value=value, expression=formula, unit=_text(entry["unit"], f"{where}.unit"),
        iiv=_variability(entry["iiv"], f"{where}.iiv") if "iiv" in entry else None,
        rse=_positive(entry, "rse", where), low=_optional(entry, "low", where),
        high=_optional(entry, "high", where), source=_text(entry["source"], f"{where}.source"),
        doc=_text(entry.get("doc", ""), f"{where}.doc", empty=True), role=role,
    )


def _variability(entry: Any, where: str) -> Variability:
    entry = _fields(entry, where, ("distribution",), ("omega", "low", "high", "rse"))
    distribution = entry["distribution"]
    if distribution not in DISTRIBUTIONS:
        raise InputError(f"{where}.distribution: {_shown(distribution)} is not one of {', '.join(DISTRIBUTIONS)}")
    omega = _number(entry.get("omega", 0.0), f"{where}.omega")
    if omega < 0:
        raise InputError(f"{where}.omega: {omega:g} is negative; omega is a standard deviation, 0 or more")
    if distribution != "uniform" and "omega" not in entry:
        raise InputError(f"{where}: a {distribution} distribution needs omega")
    if distribution == "uniform" and "omega" in entry:
        raise InputError(f"{where}: a uniform distribution has low and high, no omega")
    if distribution in ("lognormal", "normal") and entry.keys() & {"low", "high"}:
        raise InputError(f"{where}: a {distribution} distribution has no low or high; leave them out")
    return Variability(distribution, omega, _optional(entry, "low", where), _optional(entry, "high", where),
                       _positive(entry, "rse", where))


def _state(name: str, entry: Any, where: str) -> State:
    entry = _fields(entry, where, ("unit", "scale", "initial", "rate"),
                    ("seed", "negligible", "ceiling", "volume", "doc"))
    scale = entry["scale"]
    if scale not in ("log", "linear"):
        raise InputError(f"{where}.scale: {_shown(scale)} is not one of log, linear")
    initial = parse(entry["initial"], f"{where}.initial")
    seed = parse(entry["seed"], f"{where}.seed") if "seed" in entry else None
    negligible = _positive(entry, "negligible", where)
    ceiling = _positive(entry, "ceiling", where)
    if scale == "log" and _plain_number(initial) == 0 and seed is None:
        raise InputError(f"{where}: a log-scaled state that starts at 0 needs a seed, "
                         "the value it gets at the first dose")
    if scale == "log" and negligible is not None:
        raise InputError(f"{where}.negligible: only for linear states, a logarithm is always relative")
    if scale == "linear" and seed is not None:
        raise InputError(f"{where}.seed: only for log-scaled states, a linear one may be 0; leave it out")
    if scale == "linear" and negligible is None:
        raise InputError(f"{where}: a linear state needs negligible, the size (in {entry['unit']}) below "
                         "which relative accuracy no longer matters")
    return State(
        name=name, unit=_text(entry["unit"], f"{where}.unit"), scale=scale, initial=initial, seed=seed,
        rate=parse(entry["rate"], f"{where}.rate"), negligible=negligible or 0.0, ceiling=ceiling,
        volume=_text(entry["volume"], f"{where}.volume") if "volume" in entry else None,
        doc=_text(entry.get("doc", ""), f"{where}.doc", empty=True),
    )


def _output(name: str, entry: Any, where: str) -> Output:
    entry = _fields(entry, where, ("unit", "value"), ("doc",))
    return Output(name, _text(entry["unit"], f"{where}.unit"), parse(entry["value"], f"{where}.value"),
                  _text(entry.get("doc", ""), f"{where}.doc", empty=True))


def _dosing(entry: Any, where: str) -> Dosing:
    entry = _fields(entry, where, ("state", "per_dose", "dose", "unit"), ())
    dose = _number(entry["dose"], f"{where}.dose")
    if dose < 0:
        raise InputError(f"{where}.dose: {dose:g} is negative; give 0 or more")
    return Dosing(_text(entry["state"], f"{where}.state"), parse(entry["per_dose"], f"{where}.per_dose"),
                  dose, _text(entry["unit"], f"{where}.unit"))


def _fields(entry: Any, where: str, needed: Iterable[str], allowed: Iterable[str]) -> dict[str, Any]:
    """The entry itself, once it is a table with all of `needed` and nothing beyond `allowed`."""
    if not isinstance(entry, dict):
        raise InputError(f"{where}: must be a table with {', '.join(needed)}, not {_shown(entry)}")
    every = [*needed, *(key for key in allowed if key not in needed)]
    for key in entry:
        if key not in every:
            raise InputError(f"{where}: unknown entry {key!r}{_choices(key, every)}")
    missing = [key for key in needed if key not in entry]
    if missing:
        raise InputError(f"{where}: {', '.join(missing)} missing; add {'it' if len(missing) == 1 else 'them'}")
    return entry


def _text(value: Any, where: str, *, empty: bool = False) -> str:
    if not isinstance(value, str) or not (value.strip() or empty):
        raise InputError(f"{where}: must be text, not {_shown(value)}")
    return " ".join(value.split())


def _number(value: Any, where: str) -> float:
    try:
        number = math.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{where}: must be a finite number, not {_shown(value)}")
    return number


def _optional(entry: dict[str, Any], key: str, where: str) -> float | None:
    return _number(entry[key], f"{where}.{key}") if key in entry else None


def _positive(entry: dict[str, Any], key: str, where: str) -> float | None:
    number = _optional(entry, key, where)
    if number is not None and number <= 0:
        raise InputError(f"{where}.{key}: {number:g} must be above 0")
    return number


def _claim(name: str, where: str, taken: dict[str, str]) -> None:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", name) or "__" in name or keyword.iskeyword(name):
        raise InputError(f"{where}: {name!r} cannot be a name; use letters, digits and single underscores, "
                         "a letter first")
    if name in RESERVED:
        raise InputError(f"{where}: the name {name!r} is taken by cartsim; choose another")
    if name in taken:
        raise InputError(f"{where}: the name {name!r} is taken by {taken[name].split(': ')[1]}; "
                         "names are unique in a model")
    taken[name] = where


def _shown(value: Any) -> str:
    return reprlib.repr(value)


def _choices(name: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(str(name), known, n=3)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; choose from {', '.join(known)}" if known else ""


def _plain_number(formula: Expression) -> float | None:
    return None if formula.names else float(formula.evaluate({}))


# --- checking ----------------------------------------------------------------------------------------


def _check_names(parameters: dict[str, Parameter], definitions: dict[str, Expression],
                 states: dict[str, State], outputs: dict[str, Output], dosing: Dosing | None,
                 file: str) -> None:
    """Every name in every formula stands for something that may be used there."""
    everything = {*parameters, *definitions, *states, "time"}
    moving = {*states, "time"}  # what changes during a simulation, definitions with it
    for name in _sorted(definitions, f"{file}: definitions"):
        if definitions[name].names & moving:
            moving.add(name)
    fixed = everything - moving

    def check(formula: Expression | None, allowed: set[str], where: str, what: str) -> None:
        for name in sorted(formula.names - allowed) if formula is not None else ():
            if name in everything:
                raise InputError(f"{file}: {where}: {name!r} cannot be used here, only {what}")
            raise InputError(f"{file}: {where}: undefined name {name!r}{_choices(name, allowed)}")

    for p in parameters.values():
        check(p.expression, set(parameters), f"{p.role}s.{p.name}.value", "parameters and covariates")
    _sorted({p.name: p.expression for p in parameters.values() if p.expression is not None}, file)
    for name, formula in definitions.items():
        check(formula, everything, f"definitions.{name}", "")
    for s in states.values():
        check(s.initial, fixed, f"states.{s.name}.initial", "what does not change with time")
        check(s.rate, everything, f"states.{s.name}.rate", "")
        check(s.seed, everything, f"states.{s.name}.seed", "")
        if s.volume is not None and s.volume not in everything:
            raise InputError(f"{file}: states.{s.name}.volume: undefined name {s.volume!r}"
                             f"{_choices(s.volume, everything)}")
    for o in outputs.values():
        check(o.value, everything, f"outputs.{o.name}.value", "")
    if dosing is not None:
        if dosing.state not in states:
            raise InputError(f"{file}: dosing.state: no state {dosing.state!r}"
                             f"{_choices(dosing.state, states)}")
        check(dosing.per_dose, fixed, "dosing.per_dose", "what does not change with time")


def _sorted(formulas: Mapping[str, Expression], where: str) -> list[str]:
    """Names in an order in which each formula comes after those it uses."""
    graph = TopologicalSorter({n: sorted(f.names & formulas.keys()) for n, f in formulas.items()})
    try:
        return list(graph.static_order())
    except CycleError as problem:
        raise InputError(f"{where}: circular: {' -> '.join(problem.args[1])}; break the circle") from None


def _check_typical(model: Model, file: str) -> None:
    """Typical values, variability and variants stay within the limits the file itself gives."""
    try:
        for parameter in (*model.parameters.values(), *model.unused.values()):
            if parameter.expression is None:
                _check_value(parameter)
        model.values({}, 1)
        for name in model.variants:
            model.variant(name)
    except InputError as problem:
        raise InputError(f"{file}: {problem}") from None


def _check_value(parameter: Parameter) -> None:
    """A typical value within its limits, and one that its variability can act on."""
    name, value, iiv = parameter.name, parameter.value, parameter.iiv
    _check_column(np.array([value]), parameter)
    if iiv is None:
        return
    if iiv.distribution == "lognormal" and value <= 0:
        raise InputError(f"{name} = {value:g} varies lognormally, so its value must be above 0")
    if iiv.distribution in ("logitnormal", "uniform"):
        low = parameter.low if iiv.low is None else iiv.low
        high = parameter.high if iiv.high is None else iiv.high
        if low is None or high is None:
            raise InputError(f"{name}: a {iiv.distribution} distribution needs low and high")
        if not low < value < high:
            raise InputError(f"{name} = {value:g} must lie between the limits {low:g} and {high:g} of its "
                             f"{iiv.distribution} distribution")


def _column(column: Any, name: str, n: int) -> np.ndarray:
    try:
        values = np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"column {name!r} must hold numbers only") from None
    if values.shape not in ((), (n,)):
        raise InputError(f"column {name!r} has shape {values.shape}, expected {n} values, one per patient")
    return np.broadcast_to(values, n)


def _check_column(values: np.ndarray, parameter: Parameter) -> None:
    low = -math.inf if parameter.low is None else parameter.low
    high = math.inf if parameter.high is None else parameter.high
    wrong = ~(np.isfinite(values) & (values >= low) & (values <= high))
    if wrong.any():
        row = int(np.argmax(wrong))
        patient = f" (patient row {row})" if values.size > 1 else ""
        if not np.isfinite(values[row]):
            allowed = "a finite number"
        elif math.isinf(high):
            allowed = f"{low:g} or more"
        else:
            allowed = f"{high:g} or less" if math.isinf(low) else f"{low:g} to {high:g}"
        unit = "" if parameter.unit == "1" else f" {parameter.unit}"
        raise InputError(f"{parameter.name} = {values[row]:g}{unit}{patient} is not allowed; give {allowed}")


def _digest(parameters: dict[str, Parameter], definitions: dict[str, Expression], states: dict[str, State],
            outputs: dict[str, Output], dosing: Dosing | None) -> str:
    """Of the mathematics only: no values, units or words, so that new values need no new machine code."""

    def text(formula: Expression | None) -> str | None:
        return None if formula is None else formula.text

    mathematics = [
        [(p.name, text(p.expression)) for p in parameters.values()],
        [(name, text(formula)) for name, formula in definitions.items()],
        [(s.name, s.scale, text(s.initial), text(s.seed), text(s.rate), s.negligible, s.ceiling, s.volume)
         for s in states.values()],
        [(o.name, text(o.value)) for o in outputs.values()],
        None if dosing is None else (dosing.state, text(dosing.per_dose)),
    ]
    return hashlib.sha256(json.dumps(mathematics).encode()).hexdigest()


# --- units -------------------------------------------------------------------------------------------


def _check_units_once(model: Model, content: bytes, file: str) -> None:
    """Check units unless this very file has passed this very code before: pint is slow to import."""
    key = hashlib.sha256(content)
    for code in (__file__, expression.__file__):
        key.update(Path(code).read_bytes())
    mark = cache_dir() / f"units-{key.hexdigest()[:32]}"
    if not mark.exists():
        _check_units(model, file)
        try:
            mark.touch()
        except OSError:
            return  # nothing is lost but time


def _check_units(model: Model, file: str) -> None:
    from cartsim.expression import parse_unit, same_unit, unit_of, unit_text

    def expect(formula: Expression, wanted: Any, where: str, *, number: bool = False) -> None:
        if number and not formula.names:
            return  # a bare number counts as being in the unit of its entry
        found = unit_of(formula, units, f"{file}: {where}")
        if not same_unit(found, wanted):
            raise InputError(f"{file}: {where}: {formula.text!r} has unit {unit_text(found)}, wanted is "
                             f"{unit_text(wanted)}; correct the formula or multiply by a constant "
                             f"of {unit_text(wanted / found)}")

    time = parse_unit(model.time, f"{file}: model.time")
    if time.dimensionality != {"[time]": 1}:
        raise InputError(f"{file}: model.time: {model.time!r} is not a unit of time; use s, min, h, day or week")
    units: dict[str, Any] = {"time": time}
    for p in (*model.parameters.values(), *model.unused.values()):
        units[p.name] = parse_unit(p.unit, f"{file}: {p.name}.unit")
    for s in model.states.values():
        units[s.name] = parse_unit(s.unit, f"{file}: states.{s.name}.unit")
    for p in model.parameters.values():
        if p.expression is not None:
            expect(p.expression, units[p.name], f"{p.role}s.{p.name}.value", number=True)
    for name, formula in model.definitions.items():
        units[name] = unit_of(formula, units, f"{file}: definitions.{name}") or (time / time)
    for s in model.states.values():
        expect(s.initial, units[s.name], f"states.{s.name}.initial", number=True)
        if s.seed is not None:
            expect(s.seed, units[s.name], f"states.{s.name}.seed", number=True)
        expect(s.rate, units[s.name] / time, f"states.{s.name}.rate")
        if s.volume is not None:
            found = units[s.name] * units[s.volume]
            if not same_unit(found, parse_unit("cell", file)):
                raise InputError(f"{file}: states.{s.name}.volume: {s.name} * {s.volume} has unit "
                                 f"{unit_text(found)}, wanted is cell")
    for o in model.outputs.values():
        expect(o.value, parse_unit(o.unit, f"{file}: outputs.{o.name}.unit"), f"outputs.{o.name}.value")
    if model.dosing is not None:
        dose = parse_unit(model.dosing.unit, f"{file}: dosing.unit")
        expect(model.dosing.per_dose, units[model.dosing.state] / dose, "dosing.per_dose")
