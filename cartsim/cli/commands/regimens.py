"""``cartsim regimens``: once or twice, split, or again at progression, in the same patients."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import cartsim as cs
from cartsim.cli import replicated
from cartsim.cli.design import one_dose
from cartsim.cli.drawing import Drawing, plotted
from cartsim.cli.grammar import parse_doses, parse_named, parse_pair
from cartsim.cli.options import Dose, OtherName, Out, Pictures, Study
from cartsim.cli.output import interruptible, new_table, note_failures, number, show_tables, table_of
from cartsim.cli.run import filled
from cartsim.errors import InputError

if TYPE_CHECKING:
    from cartsim.experiments.regimens import Comparison
    from cartsim.experiments.retreatment import Retreated

_FILES = ("regimens.csv", "differences.csv", "regimens.json", "differences.png",
          "retreated.csv", "retreatment.csv", "retreatment_differences.csv", "retreatment.json")  # fmt: skip


def regimens(
    study: Study,
    model: OtherName = None,
    dose: Dose = "450e6",
    give: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=DAY:CELLS,...",
            help="A regimen to compare, such as split=0:45e6,1:135e6,2:270e6; by default double, split and second.",
        ),
    ] = None,
    retreat: Annotated[
        bool, typer.Option("--retreat/--no-retreat", help="Also infuse again whoever progresses.")
    ] = True,
    retreat_dose: Annotated[
        str | None, typer.Option(help="Cells at retreatment, with commas between; by default the same and twice it.")
    ] = None,
    delay: Annotated[float, typer.Option(help="Days from progression to retreatment.")] = 28.0,
    pictures: Pictures = Pictures(),  # noqa: B008 (frozen)
    out: Out = Path("regimens"),
) -> None:
    """Compare regimens with a single infusion in the same patients.

    Paired differences with 95 % limits. Retreatment: whoever progresses is infused again, and judged by the same
    rules with M-protein at retreatment as the new baseline (dose 0: not retreated). With --replicates or --uncertainty
    the comparison, without retreatment, is repeated, as in cartsim trial.
    """
    from cartsim.experiments.regimens import common
    from cartsim.experiments.retreatment import check_retreatment

    single = one_dose(dose) or 0.0
    compared = _given(single, give) if give else common(single)
    second = list(parse_doses(retreat_dose)) if retreat_dose is not None else None
    if retreat:
        check_retreatment(single, second, delay)
    trial = study.trial(model, compared)
    how = study.settings()
    with filled(out, (*_FILES, *replicated.FILES)) as stage, Drawing(pictures) as drawing:
        found = interruptible(lambda: cs.compare(trial, **study.anew(), **how))
        drawing.add({stage / "differences.png": partial(plotted, found, "differences")}, len(found.outcome.patients))
        show_tables(_differences(found))
        if found.replicates is not None:
            drawing.add({stage / "replicates.png": partial(plotted, found.replicates, "distributions")})
            replicated.show(found.replicates, reference=found.reference)
        note_failures(found.failures, len(found.outcome.patients))
        found.save(stage)
        if retreat:
            first = replace(trial, arms=[single])
            how.pop("checkpoint")
            again = interruptible(lambda: cs.retreat(first, second, delay=delay, **how))
            show_tables(_retreated(again), f"{again.against_karmma()}.")
            note_failures(again.failures, len(again.patients))
            again.save(stage)


def _given(dose: float, texts: list[str]) -> dict[str, cs.Regimen]:
    """The single infusion and the regimens of "split=0:45e6,1:405e6"."""
    found = {"single": cs.Regimen.single(dose)}
    for name, text in parse_named(texts, "--give", "NAME=DAY:CELLS,DAY:CELLS, such as split=0:45e6,1:405e6").items():
        if name == "single":
            raise InputError(f"--give {name}={text}: single is one infusion of --dose; give another name")
        write = "each infusion as DAY:CELLS, such as 0:45e6,1:405e6"
        pairs = [parse_pair(f"--give {name}={text}", piece, write) for piece in text.split(",")]
        found[name] = cs.Regimen(tuple(cs.Infusion(*pair) for pair in pairs))
    return found


def _differences(found: Comparison) -> Any:
    names = list(dict.fromkeys(found.differences["regimen"]))
    heads = ("endpoint", "unit", *names)
    view = new_table(f"Difference to {found.reference} (95 % limits), same patients", *heads, right=names)
    for (endpoint, unit), rows in found.differences.groupby(["endpoint", "unit"], sort=False):
        cells = [f"{row.difference:.3g} ({row.low:.3g} to {row.high:.3g})" for row in rows.itertuples()]
        view.add_row(str(endpoint), str(unit), *cells)
    return view


def _retreated(again: Retreated) -> Any:
    columns = {
        "second dose, 1e6": lambda row: f"{row['second_dose'] / 1e6:g}",
        "n": "{n:,}",
        "responded": "{responded:,}",
        "% (95 % limits)": "{percent:.1f} ({low:.1f}-{high:.1f})",
        "duration, months": lambda row: number(row["duration_months"], ".1f"),
        "Cmax, copies/ug": "{Cmax:,.0f}",
    }
    return table_of("Retreated at progression", again.summary, columns, text=0)
