"""Model files: found, read, checked and frozen into a `Model`.

One TOML file holds one model whole. Everything a formula, a unit or a name can get wrong is an InputError
that names the file, the entry and the mend, raised before anything is simulated.
"""

from __future__ import annotations

import contextlib
import hashlib
import keyword
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from cartsim import cache
from cartsim.errors import InputError
from cartsim.files import shipped_data
from cartsim.model import expression, extent, merging, toml_file, units
from cartsim.model import model as specification
from cartsim.model.expression import FUNCTIONS, Expression, parse
from cartsim.model.extent import MAX_OPERATIONS, Extent, measure
from cartsim.model.merging import Sections
from cartsim.model.model import (
    DISTRIBUTIONS,
    OMEGALESS,
    TABLE_COLUMNS,
    Dosing,
    Model,
    Output,
    Parameter,
    State,
    Variability,
    Variant,
    check_typical_value,
    choices,
    finite_number,
    in_order,
    shown,
)
from cartsim.model.toml_file import LABEL, check_label, entries, shown_path, text

__all__ = ["DISTRIBUTIONS", "Dosing", "Model", "Output", "Parameter", "State", "Variability", "load", "names"]

RESERVED = FUNCTIONS | TABLE_COLUMNS
MAX_STATES = 100
MAX_UNIT, MAX_SOURCE, MAX_DOC = 100, 2000, 10_000  # characters


# --- finding -----------------------------------------------------------------------------------------


def load(name_or_path: str | Path | Model) -> Model:
    """Read and check a model.

    name_or_path: a shipped model ("bb2121_clinical"), a file ending in .toml, either with ":variant"
    behind it ("bb2121_invitro:Daudi"), which has other values of parameters or other equations; a Model is returned
    as it is.
    Raises InputError when there is no such model or anything in the file is wrong.
    """
    if isinstance(name_or_path, Model):
        return name_or_path
    path, variant = _place(str(name_or_path))
    model, _, read = _read(path, ())
    _check_units_once(model, b"".join(read), shown_path(path))
    return model if variant is None else model.variant(variant)


def _place(named: str, beside: Path | None = None) -> tuple[Path, str | None]:
    """The file of a model and the name of its variant; ``beside``: the file in whose folder others are looked for."""
    variant = None
    if not named.endswith(".toml") and ":" in named:
        named, variant = named.rsplit(":", 1)
    if not named.endswith(".toml"):
        if named not in names():
            close = choices(named[:100], names())
            raise InputError(f"no model {shown(named)}{close} (a model of your own: the path of its .toml file)")
        return shipped_data() / f"{named}.toml", variant
    return Path(named) if beside is None else beside.parent / named, variant


def _read(path: Path, chain: tuple[str, ...]) -> tuple[Model, Sections, list[bytes]]:
    """A model, its sections, and the bytes of its file and of those that it extends; ``chain``: what extends it."""
    content, file = toml_file.content(path, "model file"), shown_path(path)
    raw, read = toml_file.parse(content, file), [content]
    head = raw.get("model")
    if isinstance(head, dict) and "extends" in head:
        own = {key: value for key, value in head.items() if key != "extends"}
        if "name" not in own:
            raise InputError(f"{file}: [model]: name missing; add it")
        base, before = _base(head["extends"], path, f"{file}: model.extends", (*chain, str(path.resolve())))
        raw, read = merging.merged(base, {**raw, "model": own}, f"{file}: "), [content, *before]
    return _build(raw, path), raw, read


def _base(named: Any, path: Path, where: str, chain: tuple[str, ...]) -> tuple[Sections, list[bytes]]:
    """Sections, without variants, and bytes of what the file at ``path`` extends."""
    give = "give a model that comes with cartsim or the name of a file beside this one, either with :VARIANT behind it"
    if not isinstance(named, str) or not named.isprintable() or "/" in named or "\\" in named:
        raise InputError(f"{where}: {shown(named)} is none; {give}")
    try:
        place, variant = _place(named, beside=path)
    except InputError as problem:
        raise InputError(f"{where}: {problem}") from None
    merging.check_chain(chain, str(place.resolve()), where)
    model, sections, read = _read(place, chain)
    if variant is not None:
        model.variant(variant)  # refuses one that is none
        return merging.variants(sections, shown_path(place))[variant], read
    return {section: own for section, own in sections.items() if section != "variants"}, read


def names() -> list[str]:
    """Names of the shipped models."""
    # Exposure-response models, data of `cartsim.exposure`, stand beside them.
    return sorted(path.stem for path in shipped_data().glob("*.toml") if not path.stem.endswith("_er"))


# --- reading -----------------------------------------------------------------------------------------

_SECTIONS = {
    "model": True,
    "constants": False,
    "parameters": True,
    "covariates": False,
    "definitions": False,
    "states": True,
    "outputs": False,
    "dosing": False,
    "variants": False,
    "unused": False,
}
_ROLES = {"constants": "constant", "parameters": "parameter", "covariates": "covariate"}


def _build(raw: Sections, path: Path) -> Model:
    """The model of a file's sections, with its variants."""
    file, known = shown_path(path), dict[Any, Any]()
    for name in raw["variants"] if isinstance(raw.get("variants"), dict) else ():
        check_label(name, f"{file}: variants.{name if LABEL.fullmatch(name) else shown(name)}")
    model = _built(raw, path, file, known)
    variants, before = {}, dict[int, dict[str, Any]]()
    for name, sections in merging.variants(raw, file).items():
        variants[name] = _otherwise(model, _built(sections, path, f"{file}: variants.{name}", known), before)
    return replace(model, variants=variants)


def _otherwise(base: Model, other: Model, before: dict[int, dict[str, Any]]) -> Variant:
    """What another model has otherwise than the base; ``before``: of parameters that other variants have as well."""

    def differing(name: str, new: Parameter) -> dict[str, Any]:
        old = base.parameters.get(name)
        if new is old:
            return {}
        if id(new) in before:
            return before[id(new)]
        found = {f.name: getattr(new, f.name) for f in fields(new)}
        if old is not None:
            found = {key: value for key, value in found.items() if value != getattr(old, key)}
            if new.expression is None and old.expression is not None:
                found["replaced"] = old.expression
        before[id(new)] = found or {"value": new.value}  # one that is said again
        return before[id(new)]

    def added(kind: str) -> dict[str, Any]:
        old = getattr(base, kind)
        return {name: each for name, each in getattr(other, kind).items() if each != old.get(name)}

    return Variant(
        parameters={name: found for name, new in other.parameters.items() if (found := differing(name, new))},
        unused=added("unused"),
        definitions=added("definitions"),
        states=added("states"),
        outputs=added("outputs"),
        dosing=None if other.dosing == base.dosing else other.dosing,
        doc=None if other.doc == base.doc else other.doc,
        source=None if other.source == base.source else other.source,
    )


def _built(raw: Sections, path: Path, file: str, known: dict[Any, Any]) -> Model:
    """A model without its variants; ``known``: entries that were read before, by name and identity."""
    sections = entries(raw, file, [s for s, needed in _SECTIONS.items() if needed], _SECTIONS)
    head = entries(sections["model"], f"{file}: [model]", ("name", "source", "time"), ("doc",))
    most = {"name": 64, "time": MAX_UNIT, "source": MAX_SOURCE, "doc": MAX_DOC}
    head = {key: text(value, f"{file}: model.{key}", most[key]) for key, value in head.items()}
    check_label(head["name"], f"{file}: model.name")
    taken: dict[str, str] = {}

    def entries_of(section: str, read: Callable[[str, Any, str], Any]) -> dict[str, Any]:
        table, found = sections.get(section, {}), {}
        if not isinstance(table, dict):
            raise InputError(f"{file}: {section} must be a table: write [{section}.NAME]")
        for name, entry in table.items():
            where = f"{file}: {section}.{name if LABEL.fullmatch(name) else shown(name)}"
            _claim(name, where, taken)
            key = section, name, id(entry)
            if key not in known:
                known[key] = entry, read(name, entry, where)  # the entry too, so that its id stays its own
            found[name] = known[key][1]
        return found

    def parameters_of(section: str, role: str) -> dict[str, Parameter]:
        return entries_of(section, lambda name, entry, where: _parameter(name, entry, where, role))

    parameters = {n: p for section, role in _ROLES.items() for n, p in parameters_of(section, role).items()}
    unused = parameters_of("unused", "unused")
    definitions = entries_of("definitions", lambda _, entry, where: parse(entry, where))
    states = entries_of("states", _state)
    outputs = entries_of("outputs", _output)
    dosing = _dosing(sections["dosing"], f"{file}: dosing") if "dosing" in sections else None
    if not states:
        raise InputError(f"{file}: [states] is empty; a model has at least one state")
    if len(states) > MAX_STATES:
        raise InputError(f"{file}: {len(states)} states, at most {MAX_STATES} are compiled; lump some together")
    _check_names(parameters, definitions, states, outputs, dosing, file)
    model = Model(
        name=head["name"],
        source=head["source"],
        doc=head.get("doc", ""),
        time=head["time"],
        parameters=parameters,
        states=states,
        definitions={n: definitions[n] for n in in_order(definitions, f"{file}: definitions")},
        outputs=outputs,
        dosing=dosing,
        variants={},
        path=str(path),
        unused=unused,
    )
    check_extents(model, file)
    _check_typical(model, file)
    return model


def _parameter(name: str, entry: Any, where: str, role: str) -> Parameter:
    entry = entries(entry, where, ("value", "unit", "source"), ("doc", "rse", "iiv", "low", "high"))
    value, formula = entry["value"], None
    if isinstance(value, str):
        if role in ("constant", "unused"):
            raise InputError(f"{where}.value: must be a number here, not {shown(value)}")
        formula, value = parse(value, f"{where}.value"), None
    else:
        value = finite_number(value, f"{where}.value")
    return Parameter(
        name=name,
        value=value,
        expression=formula,
        unit=text(entry["unit"], f"{where}.unit", MAX_UNIT),
        iiv=_variability(entry["iiv"], f"{where}.iiv") if "iiv" in entry else None,
        rse=_positive(entry, "rse", where),
        low=_optional(entry, "low", where),
        high=_optional(entry, "high", where),
        source=text(entry["source"], f"{where}.source", MAX_SOURCE),
        doc=text(entry.get("doc", ""), f"{where}.doc", MAX_DOC, empty=True),
        role=role,
    )


def _variability(entry: Any, where: str) -> Variability:
    entry = entries(entry, where, ("distribution",), ("omega", "low", "high", "rse"))
    distribution = entry["distribution"]
    if distribution not in DISTRIBUTIONS:
        raise InputError(f"{where}.distribution: {shown(distribution)} is not one of {', '.join(DISTRIBUTIONS)}")
    omega = finite_number(entry.get("omega", 0.0), f"{where}.omega")
    if omega < 0:
        raise InputError(f"{where}.omega: {omega:g} is negative; omega is a standard deviation, 0 or more")
    if distribution == "bernoulli" and entry.keys() - {"distribution"}:
        raise InputError(f"{where}: a bernoulli distribution has no omega, low or high: the value is the share with 1")
    if distribution not in OMEGALESS and "omega" not in entry:
        raise InputError(f"{where}: a {distribution} distribution needs omega")
    if distribution == "uniform" and "omega" in entry:
        raise InputError(f"{where}: a uniform distribution has low and high, no omega")
    if distribution in ("lognormal", "normal") and entry.keys() & {"low", "high"}:
        raise InputError(f"{where}: a {distribution} distribution has no low or high; leave them out")
    return Variability(
        distribution,
        omega,
        _optional(entry, "low", where),
        _optional(entry, "high", where),
        _positive(entry, "rse", where),
    )


def _state(name: str, entry: Any, where: str) -> State:
    entry = entries(
        entry,
        where,
        ("unit", "scale", "initial", "rate"),
        ("seed", "renewed", "negligible", "ceiling", "volume", "doc"),
    )
    scale = entry["scale"]
    if scale not in ("log", "linear"):
        raise InputError(f"{where}.scale: {shown(scale)} is not one of log, linear")
    unit = text(entry["unit"], f"{where}.unit", MAX_UNIT)
    initial = parse(entry["initial"], f"{where}.initial")
    seed = parse(entry["seed"], f"{where}.seed") if "seed" in entry else None
    renewed = entry.get("renewed", False)
    if not isinstance(renewed, bool):
        raise InputError(f"{where}.renewed: must be true or false, not {shown(renewed)}")
    if renewed and seed is None:
        raise InputError(f"{where}.renewed: needs a seed, the value that each dose gives the state again")
    negligible = _positive(entry, "negligible", where)
    ceiling = _positive(entry, "ceiling", where)
    if scale == "log" and _plain_number(initial) == 0 and seed is None:
        raise InputError(
            f"{where}: a log-scaled state that starts at 0 needs a seed, the value it gets at the first dose"
        )
    if scale == "log" and negligible is not None:
        raise InputError(f"{where}.negligible: only for linear states, a logarithm is always relative")
    if scale == "linear" and seed is not None:
        raise InputError(f"{where}.seed: only for log-scaled states, a linear one may be 0; leave it out")
    if scale == "linear" and negligible is None:
        raise InputError(
            f"{where}: a linear state needs negligible, the size (in {unit}) below "
            "which relative accuracy no longer matters"
        )
    return State(
        name=name,
        unit=unit,
        scale=scale,
        initial=initial,
        seed=seed,
        rate=parse(entry["rate"], f"{where}.rate"),
        negligible=negligible or 0.0,
        ceiling=ceiling,
        volume=text(entry["volume"], f"{where}.volume", 64) if "volume" in entry else None,
        doc=text(entry.get("doc", ""), f"{where}.doc", MAX_DOC, empty=True),
        renewed=renewed,
    )


def _output(name: str, entry: Any, where: str) -> Output:
    entry = entries(entry, where, ("unit", "value"), ("doc",))
    return Output(
        name,
        text(entry["unit"], f"{where}.unit", MAX_UNIT),
        parse(entry["value"], f"{where}.value"),
        text(entry.get("doc", ""), f"{where}.doc", MAX_DOC, empty=True),
    )


def _dosing(entry: Any, where: str) -> Dosing:
    entry = entries(entry, where, ("state", "per_dose", "dose", "unit"), ())
    dose = finite_number(entry["dose"], f"{where}.dose")
    if dose < 0:
        raise InputError(f"{where}.dose: {dose:g} is negative; give 0 or more")
    return Dosing(
        text(entry["state"], f"{where}.state", 64),
        parse(entry["per_dose"], f"{where}.per_dose"),
        dose,
        text(entry["unit"], f"{where}.unit", MAX_UNIT),
    )


def _optional(entry: dict[str, Any], key: str, where: str) -> float | None:
    return finite_number(entry[key], f"{where}.{key}") if key in entry else None


def _positive(entry: dict[str, Any], key: str, where: str) -> float | None:
    number = _optional(entry, key, where)
    if number is not None and number <= 0:
        raise InputError(f"{where}.{key}: {number:g} must be above 0")
    return number


def _claim(name: str, where: str, taken: dict[str, str]) -> None:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", name) or "__" in name or keyword.iskeyword(name):
        raise InputError(
            f"{where}: {shown(name)} cannot be a name; use 1 to 64 letters, digits and single "
            "underscores (ASCII), a letter first"
        )
    if name in RESERVED:
        raise InputError(f"{where}: the name {name!r} is taken by cartsim; choose another")
    if name in taken:
        raise InputError(
            f"{where}: the name {name!r} is taken by {taken[name].split(': ')[-1]}; names are unique in a model"
        )
    taken[name] = where


def _plain_number(formula: Expression) -> float | None:
    return None if formula.names else float(formula.evaluate({}))


# --- checking ----------------------------------------------------------------------------------------


def _check_names(
    parameters: dict[str, Parameter],
    definitions: dict[str, Expression],
    states: dict[str, State],
    outputs: dict[str, Output],
    dosing: Dosing | None,
    file: str,
) -> None:
    """Every name in every formula stands for something that may be used there."""
    everything = {*parameters, *definitions, *states, "time"}
    moving = {*states, "time"}  # what changes during a simulation, definitions with it
    for name in in_order(definitions, f"{file}: definitions"):
        if definitions[name].names & moving:
            moving.add(name)
    fixed = everything - moving

    def check(formula: Expression | None, allowed: set[str], where: str, what: str) -> None:
        for name in sorted(formula.names - allowed) if formula is not None else ():
            if name in everything:
                raise InputError(f"{file}: {where}: {name!r} cannot be used here, only {what}")
            raise InputError(f"{file}: {where}: undefined name {name!r}{choices(name, allowed)}")

    for p in parameters.values():
        check(p.expression, set(parameters), f"{p.role}s.{p.name}.value", "parameters and covariates")
    in_order({p.name: p.expression for p in parameters.values() if p.expression is not None}, file)
    for name, formula in definitions.items():
        check(formula, everything, f"definitions.{name}", "")
    for s in states.values():
        check(s.initial, fixed, f"states.{s.name}.initial", "what does not change with time")
        check(s.rate, everything, f"states.{s.name}.rate", "")
        check(s.seed, everything, f"states.{s.name}.seed", "")
        if s.volume is not None and s.volume not in parameters:
            raise InputError(
                f"{file}: states.{s.name}.volume: no parameter {s.volume!r}{choices(s.volume, parameters)}"
            )
    for o in outputs.values():
        check(o.value, everything, f"outputs.{o.name}.value", "")
    if dosing is not None:
        if dosing.state not in states:
            raise InputError(f"{file}: dosing.state: no state {dosing.state!r}{choices(dosing.state, states)}")
        check(dosing.per_dose, fixed, "dosing.per_dose", "what does not change with time")


def _check_typical(model: Model, file: str) -> None:
    """Typical values and variability stay within the limits the file itself gives."""
    try:
        for parameter in (*model.parameters.values(), *model.unused.values()):
            check_typical_value(parameter)
        model.values({}, 1)
    except InputError as problem:
        raise InputError(f"{file}: {problem}") from None


def check_extents(model: Model, file: str = "") -> None:
    """Formulas of a size that can be compiled, each with the definitions it uses unfolded.

    Raises InputError for a formula, or a model, beyond the limits of ``extent``, and for numbers in them that do
    not come to finite ones. Done when a file is read, and again before code is made of a model changed in Python.
    """
    file = file or shown_path(model.path)
    known: dict[str, Extent] = {}

    def extent(formula: Expression | None, where: str) -> Extent:
        return Extent() if formula is None else measure(formula.tree, known, f"{file}: {where}")

    for name in in_order(model.definitions, f"{file}: definitions"):
        known[name] = extent(model.definitions[name], f"definitions.{name}")
    total = 0
    for s in model.states.values():
        total += extent(s.rate, f"states.{s.name}.rate").operations
        total += extent(s.initial, f"states.{s.name}.initial").operations
        total += extent(s.seed, f"states.{s.name}.seed").operations
    for o in model.outputs.values():
        total += extent(o.value, f"outputs.{o.name}.value").operations
    if model.dosing is not None:
        total += extent(model.dosing.per_dose, "dosing.per_dose").operations
    if total > MAX_OPERATIONS:
        raise InputError(
            f"{file}: the equations unfold to {total} operations, at most {MAX_OPERATIONS} are compiled; "
            "write them with fewer, or carry a part as a state of its own"
        )


# --- units -------------------------------------------------------------------------------------------


def _check_units_once(model: Model, content: bytes, file: str) -> None:
    """Check units unless this very file has passed this very code before: pint is slow to import."""
    key = hashlib.sha256(content)
    for module in (expression, extent, merging, units, specification):
        key.update(Path(module.__file__ or "").read_bytes())
    key.update(Path(__file__).read_bytes())
    mark = f"units_{key.hexdigest()[:32]}"
    if cache.read(mark) is None:
        _check_units(model, file)
        for name in model.variants:
            _check_units(model.variant(name), f"{file}: variants.{name}")
        with contextlib.suppress(OSError):  # nothing is lost but time
            cache.write(mark, b"")


def _check_units(model: Model, file: str) -> None:
    """Every formula has the unit of its entry; raises InputError for the first that has not."""
    time = units.parse_unit(model.time, f"{file}: model.time")
    if time.dimensionality != {"[time]": 1}:
        raise InputError(f"{file}: model.time: {model.time!r} is no unit of time; use s, min, h, day or week")
    known: dict[str, Any] = {"time": time}
    for p in (*model.parameters.values(), *model.unused.values()):
        known[p.name] = units.parse_unit(p.unit, f"{file}: {p.name}.unit")
    for s in model.states.values():
        known[s.name] = units.parse_unit(s.unit, f"{file}: states.{s.name}.unit")
    for name, formula in model.definitions.items():
        known[name] = units.unit_of(formula, known, f"{file}: definitions.{name}")

    def expect(formula: Expression | None, wanted: Any, where: str) -> None:
        if formula is None:
            return
        found = units.unit_of(formula, known, f"{file}: {where}")
        if not units.same_unit(found, wanted):
            raise InputError(
                f"{file}: {where}: {formula.text!r} has unit {units.unit_text(found)}, "
                f"wanted is {units.unit_text(wanted)}; correct it, or multiply by a constant of "
                f"{units.unit_text(wanted / found)}"
            )

    def expect_or_number(formula: Expression | None, wanted: Any, where: str) -> None:
        if formula is not None and formula.names:  # a bare number is in the unit of its entry
            expect(formula, wanted, where)

    for p in model.parameters.values():
        expect_or_number(p.expression, known[p.name], f"{p.role}s.{p.name}.value")
    for s in model.states.values():
        expect_or_number(s.initial, known[s.name], f"states.{s.name}.initial")
        expect_or_number(s.seed, known[s.name], f"states.{s.name}.seed")
        expect(s.rate, known[s.name] / time, f"states.{s.name}.rate")
        if s.volume is not None:
            cells = parse(f"{s.name}*{s.volume}", file)
            expect(cells, units.parse_unit("cell", file), f"states.{s.name}.volume")
    for o in model.outputs.values():
        expect(o.value, units.parse_unit(o.unit, f"{file}: outputs.{o.name}.unit"), f"outputs.{o.name}.value")
    if model.dosing is not None:
        dose = units.parse_unit(model.dosing.unit, f"{file}: dosing.unit")
        expect(model.dosing.per_dose, known[model.dosing.state] / dose, "dosing.per_dose")
