"""``cartsim models`` and ``cartsim show``: what a model says, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cartsim as cs
from cartsim.cli.options import Name
from cartsim.cli.output import new_table, show_tables

if TYPE_CHECKING:
    from rich.table import Table

    from cartsim.model.model import Parameter, Variant

_ROLES = ("parameter", "covariate", "constant")


def models() -> None:
    """List the models that come with cartsim."""
    from cartsim.model.reader import names

    table = new_table("Models", "name", "time", "states", "what it is", right=("states",))
    for name in names():
        model = cs.load(name)
        about = _text(model.doc, model.source)
        if model.variants:
            about.append(f"\nvariants, as {name}:NAME: {', '.join(model.variants)}")
        table.add_row(_text(name), model.time, str(len(model.states)), about)
    show_tables(table)


def show(model: Name) -> None:
    """Show all that a model file says.

    States, equations, parameters with value, unit, variability and source, outputs, dosing and variants.
    """
    chosen = cs.load(model)
    head = _text(f"{chosen.name}: {chosen.doc}" if chosen.doc else chosen.name, f"{chosen.source}\n{chosen.path}")
    show_tables(head, *_tables(chosen))


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


def _formulas(title: str, formulas: dict[str, str]) -> Table:
    table = new_table(title, "", "")
    table.show_header = False
    for name, formula in formulas.items():
        table.add_row(_text(name), _text(f"= {formula}"))
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
    return "uniform" if iiv.distribution == "uniform" else f"{iiv.distribution} {iiv.omega:.4g}"


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
