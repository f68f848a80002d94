"""``cartsim regimens``: once or twice, split, or again at progression, in the same patients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cartsim.cli import replicated
from cartsim.cli.options import Dose, Name, Often, Out, Pictures, Plan, Steps, Who, Work
from cartsim.cli.output import interruptible, new_table, note_failures, show_tables
from cartsim.cli.run import filled
from cartsim.errors import InputError

if TYPE_CHECKING:
    from cartsim.experiments.regimens import Comparison
    from cartsim.experiments.retreatment import Retreated
    from cartsim.regimen import Regimen

_FILES = ("regimens.csv", "differences.csv", "regimens.json", "differences.png",
          "retreated.csv", "retreatment.csv", "retreatment_differences.csv", "retreatment.json")  # fmt: skip


def regimens(
    who: Who,
    plan: Plan,
    steps: Steps,
    work: Work,
    often: Often,
    model: Name = "bb2121_clinical",
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
    from cartsim.cli import design
    from cartsim.cli.grammar import parse_doses
    from cartsim.experiments import regimens as analysis
    from cartsim.experiments.retreatment import check_retreatment
    from cartsim.experiments.retreatment import retreat as retreated
    from cartsim.trial.trial import Trial

    population, single = who.of(model), design.one_dose(dose) or 0.0
    compared = _given(single, give) if give else analysis.common(single)
    second = list(parse_doses(retreat_dose)) if retreat_dose is not None else None
    if retreat:
        check_retreatment(single, second, delay)
    trial = Trial(population, compared, who.n, plan.protocol(), steps.solver())
    how = work.settings()
    with filled(out, (*_FILES, *replicated.FILES)) as stage:
        found = interruptible(lambda: analysis.compare(trial, **often.settings(), **how))
        show_tables(_differences(found))
        if found.replicates is not None:
            show_tables(*replicated.tables(found.replicates, found.reference))
        note_failures(found.failures, len(found.outcome.patients))
        found.save(stage)
        if retreat:
            first = replace(trial, arms=[single])
            how.pop("checkpoint")
            again = interruptible(lambda: retreated(first, second, delay=delay, **how))
            show_tables(_retreated(again), f"{again.against_karmma()}.")
            note_failures(again.failures, len(again.patients))
            again.save(stage)
        if pictures:
            if found.replicates is not None:
                pictures.save(found.replicates.plot.distributions(), stage / "replicates.png")
            pictures.save(found.plot.differences(), stage / "differences.png")


def _given(dose: float, texts: list[str]) -> dict[str, Regimen]:
    """The single infusion and the regimens of "split=0:45e6,1:405e6"."""
    from cartsim.regimen import Infusion, Regimen

    found = {"single": Regimen.single(dose)}
    for text in texts:
        name, equals, rest = (part.strip() for part in text.partition("="))
        if not (name and equals and rest) or name in found:
            raise InputError(f"--give {text}: write NAME=DAY:CELLS,DAY:CELLS, each name (not single) once")
        try:
            pairs = [tuple(map(float, piece.split(":"))) for piece in rest.split(",")]
            found[name] = Regimen(tuple(Infusion(day, cells) for day, cells in pairs))
        except ValueError as problem:
            if isinstance(problem, InputError):
                raise
            raise InputError(f"--give {text}: write each infusion as DAY:CELLS, such as 0:45e6,1:405e6") from None
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
    heads = ("second dose, 1e6", "n", "responded", "% (95 % limits)", "duration, months", "Cmax, copies/ug")
    view = new_table("Retreated at progression", *heads, right=heads)
    for row in again.summary.itertuples():
        view.add_row(
            f"{row.second_dose / 1e6:g}",
            f"{row.n:,}",
            f"{row.responded:,}",
            f"{row.percent:.1f} ({row.low:.1f}-{row.high:.1f})",
            "NE" if row.duration_months != row.duration_months else f"{row.duration_months:.1f}",
            f"{row.Cmax:,.0f}",
        )
    return view
