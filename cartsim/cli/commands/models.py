"""``cartsim models`` and ``cartsim show``: what a model says, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import cartsim as cs
from cartsim.cli.options import MODEL, OtherName, Stored
from cartsim.cli.output import new_table, show_tables
from cartsim.errors import InputError
from cartsim.model.model import OMEGALESS

if TYPE_CHECKING:
    from rich.table import Table

    from cartsim.model.model import Parameter, Variant
    from cartsim.population.stored import StoredPopulation

_ROLES = ("parameter", "covariate", "constant")


def models() -> None:
    """List the models that come with cartsim, and the populations."""
    from cartsim.model.reader import names

    table = new_table("Models", "name", "time", "states", "what it is", right=("states",))
    for name in names():
        model = cs.load(name)
        about = _text(model.doc, model.source)
        if model.variants:
            about.append(f"\nvariants, as {name}:NAME: {', '.join(model.variants)}")
        table.add_row(_text(name), model.time, str(len(model.states)), about)
    stored = new_table("Populations (--population NAME)", "name", "model", "draws", "what it is", right=("draws",))
    for row in cs.populations().to_dict("records"):
        stored.add_row(*map(_text, (row["name"], row["model"], str(row["draws"]))), _text(row["title"], row["purpose"]))
    show_tables(table, stored)


def show(
    model: OtherName = None,
    population: Stored = None,
) -> None:
    """Show all that a model file says, or that of a population.

    Of a model: states, equations, parameters with value, unit, variability and source, outputs, dosing and variants.
    Of a population: its estimates with the limits of their draws, what it is for, who made it from what, its scores.
    """
    if population is not None:
        if model is not None:
            raise InputError(f"{model} and --population {population}: one is shown at a time; leave one of the two out")
        show_tables(*_population(cs.read_population(population)))
        return
    if model is None:
        raise InputError(f"Missing argument 'MODEL': give a model, such as {MODEL}, or --population NAME")
    chosen = cs.load(model)
    head = _text(f"{chosen.name}: {chosen.doc}" if chosen.doc else chosen.name, f"{chosen.source}\n{chosen.path}")
    show_tables(head, *_tables(chosen))


def _population(stored: StoredPopulation) -> list[Any]:
    """All that the file of a population says."""
    patients = stored.of()
    head = _text(f"{stored.name}: {stored.title}", f"of {stored.model}; {stored.path}\nsha256 {stored.digest}")
    words = _text(f"For: {stored.purpose}.\n\nNot for: {stored.limits}.")
    table = new_table(
        "Estimates (of draws the 5th to 95th percentile)",
        *("name", "central", "unit", "draws", "variability"),
        right=("central",),
    )
    shown = {*stored.estimates, *stored.variability, *patients.varied}
    drawn = {} if stored.draws is None else {name: own.quantile([0.05, 0.95]) for name, own in stored.draws.items()}
    shown |= {name.removeprefix("omega(").removesuffix(")") for name in map(str, drawn)}
    for name, p in patients.model.parameters.items():
        if name not in shown:
            continue
        own = patients.varied.get(name)
        value = p.expression.text if p.value is None and p.expression else f"{p.value:.4g}"
        varies = "" if own is None else str(own)
        ends = ["" if key not in drawn else "{:.3g} to {:.3g}".format(*drawn[key]) for key in (name, f"omega({name})")]
        table.add_row(*map(_text, (name, value, p.unit, ends[0], varies + (f" ({ends[1]})" if ends[1] else ""))))
    parts = [head, words, table]
    for title, entries in (("Where it is from", stored.provenance), ("Scores", stored.scores)):
        if entries:
            parts.append(_formulas(title, dict(_lines(entries)), "{}"))
    if stored.draws is not None:
        parts.append(
            _text(f"{len(stored.draws)} draws of the estimates: --uncertainty, or uncertainty=True, is of them.")
        )
    return parts


def _lines(entries: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Every text or number, by the names of the tables that it is in."""
    for name, value in entries.items():
        if isinstance(value, Mapping):
            yield from _lines(value, f"{before}{name}, ")
        elif isinstance(value, list):
            yield f"{before}{name}", ", ".join(str(each) for each in value)
        else:
            yield f"{before}{name}", f"{value:.6g}" if isinstance(value, float) else str(value)


def _tables(model: cs.Model) -> list[Any]:
    """All of a model in the order in which it is read."""
    tables = [_states(model), _formulas(f"Equations (time in {model.time})", _rates(model))]
    if model.definitions:
        tables.append(_formulas("Definitions", {name: f.text for name, f in model.definitions.items()}))
    groups = [[p for p in model.parameters.values() if p.role == role] for role in _ROLES]
    groups.append(list(model.unused.values()))
    tables += [_numbers(groups), _meanings(groups)]
    if model.outputs:
        outputs = new_table("Outputs (states are outputs too)", "name", "unit", "value", "meaning")
        for o in model.outputs.values():
            outputs.add_row(*map(_text, (o.name, o.unit, o.value.text, o.doc)))
        tables.append(outputs)
    if model.dosing:
        dosing, state = model.dosing, model.states[model.dosing.state]
        tables.append(
            _text(
                f"Dosing: each {dosing.unit} infused adds {dosing.per_dose.text} {state.unit} to "
                f"{state.name}; by default {dosing.dose:g} {dosing.unit} at time 0"
            )
        )
    if model.variants:
        variants = new_table(f"Variants, as {model.name}:NAME", "name", "otherwise", "meaning and source")
        for name, own in model.variants.items():
            variants.add_row(_text(name), _otherwise(own), _text(own.doc or "", _sources(own)))
        tables.append(variants)
    return tables


def _states(model: cs.Model) -> Table:
    table = new_table("States", "name", "unit", "scale", "start", "meaning")
    for s in model.states.values():
        start = s.initial.text if s.seed is None else f"{s.initial.text}, then {s.seed.text}"
        about = s.doc if s.ceiling is None else f"{s.doc} (ends above {s.ceiling:g})"
        table.add_row(*map(_text, (s.name, s.unit, s.scale, start, about)))
    return table


def _rates(model: cs.Model) -> dict[str, str]:
    return {f"d({s.name})/dt": s.rate.text for s in model.states.values()}


def _formulas(title: str, formulas: dict[str, str], form: str = "= {}") -> Table:
    table = new_table(title, "", "")
    table.show_header = False
    for name, formula in formulas.items():
        table.add_row(_text(name), _text(form.format(formula)))
    return table


def _numbers(groups: list[list[Parameter]]) -> Table:
    """Values of all parameters, a line each."""
    heads = ("name", "value", "unit", "RSE", "variability", "RSE ", "range")
    table = new_table("Parameters, covariates, constants", *heads, right=("value", "RSE", "RSE "))
    for group in groups:
        for p in group:
            value = p.expression.text if p.expression else f"{p.value:.10g}"
            omega_rse = _percent(p.iiv.rse) if p.iiv else ""
            row = (p.name, value, p.unit, _percent(p.rse), _variability(p.iiv), omega_rse, _range(p))
            table.add_row(*map(_text, row))
        table.add_section()
    return table


def _meanings(groups: list[list[Parameter]]) -> Table:
    table = new_table("What they are and where they come from", "name", "", "meaning and source")
    for group in groups:
        for p in group:
            table.add_row(_text(p.name), _text("", p.role), _text(p.doc, p.source))
        table.add_section()
    return table


def _range(p: Parameter) -> str:
    low, high = ("" if limit is None else f"{limit:g}" for limit in (p.low, p.high))
    if low and high:
        return f"{low} to {high}"
    return f"from {low}" if low else f"to {high}" if high else ""


def _variability(iiv: cs.Variability | None) -> str:
    if iiv is None:
        return ""
    return iiv.distribution if iiv.distribution in OMEGALESS else f"{iiv.distribution} {iiv.omega:.4g}"


def _otherwise(own: Variant) -> Any:
    """What a variant has otherwise: numbers in full, formulas by name."""
    lines = []
    for name, fields in own.parameters.items():
        value = "" if fields.get("value") is None else f"{fields['value']:g}"
        rse = f"RSE {_percent(fields['rse'])}" if fields.get("rse") else ""
        lines.append(" ".join(word for word in (name, value, _variability(fields.get("iiv")), rse) if word))
    formulas = [name for name in own.formulas if name not in own.parameters] + list(own.outputs)
    return _text("\n".join(lines), f"equations: {', '.join(formulas)}" if formulas else "")


def _sources(own: Variant) -> str:
    """Where a variant comes from; of new parameters, what ``show MODEL:VARIANT`` says."""
    if own.source:
        return own.source
    return "\n".join(fields["source"] for fields in own.parameters.values() if "source" in fields)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:g} %"


def _text(first: str, second: str = "") -> Any:
    """Plain text, since brackets in it are no markup; a second line is dimmed."""
    from rich.text import Text

    text = Text(first)
    if second:
        text.append(f"\n{second}" if first else second, "dim")
    return text
