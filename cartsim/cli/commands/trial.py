"""``cartsim trial``: a virtual trial, from a model to tables and pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cartsim.cli import replicated
from cartsim.cli.commands.survival import comparisons
from cartsim.cli.options import Dose, Name, Often, Out, Pictures, Plan, Steps, Who, Work
from cartsim.cli.output import interruptible, new_table, note_failures, show_tables
from cartsim.cli.run import filled

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from cartsim.trial.outcome import TrialResult

PICTURES: dict[str, Callable[[TrialResult], Any]] = {
    "kinetics.png": lambda result: result.plot.kinetics(),
    "biomarkers.png": lambda result: result.plot.biomarkers(),
    "spider.png": lambda result: result.plot.spider(),
    "responses.png": lambda result: result.plot.responses(),
    "pfs.png": lambda result: result.plot.survival(),
}
_TABLES = ("patients.parquet", "visits.parquet", "responses.csv", "survival.csv", "pfs.csv",
           "comparisons.csv", "summary.json")  # fmt: skip


def trial(
    who: Who,
    plan: Plan,
    steps: Steps,
    work: Work,
    often: Often,
    model: Name = "bb2121_clinical",
    dose: Dose = "50e6,150e6,450e6,800e6",
    chunk: Annotated[int, typer.Option(min=1, help="Patients simulated at a time.")] = 2000,
    independent: Annotated[
        bool, typer.Option("--independent", help="Other patients in each arm, as where patients are randomised.")
    ] = False,
    pictures: Pictures = Pictures(),  # noqa: B008 (frozen)
    visits: Annotated[
        bool, typer.Option("--visits/--no-visits", help="Write visits.parquet, which cartsim judge reads.")
    ] = True,
    out: Out = Path("trial"),
) -> None:
    """Run a virtual trial: table, files, pictures.

    Prints a row for each arm and, with several, how they compare; writes patients.parquet, visits.parquet,
    responses.csv, survival.csv, pfs.csv, comparisons.csv, summary.json and pictures. Medians come with the range from
    the 5th to the 95th percentile, median progression-free survival (PFS) with its 95 % confidence limits, NE where
    not reached. Categories at the months are as observed; responses.csv has the true states of all patients beside
    them. More of its survival: cartsim survival.

    With --replicates or --uncertainty the trial is repeated: how ORR, CR and median PFS scatter from trial to trial,
    how often an arm beats another, and the power to show it, in replicates.csv and so on.
    """
    from cartsim.cli import design
    from cartsim.experiments.replicates import replicated as repeat
    from cartsim.trial.trial import Trial

    planned = Trial(who.of(model), design.doses(dose), who.n, plan.protocol(), steps.solver(), independent=independent)
    with filled(out, (*_TABLES, *PICTURES, *replicated.FILES)) as stage:
        again = interruptible(lambda: repeat(planned, **often.settings(), **work.settings()))
        result = interruptible(lambda: planned.run(chunk=chunk, keep_visits=visits, **work.settings()))
        show_tables(_summary(result.summary, planned.protocol.visits.landmarks))
        if len(result.arms) > 1:
            show_tables(comparisons(result.compare()))
        note_failures(result.failures, len(result.patients))
        result.save(stage)
        if again is not None:
            show_tables(*replicated.tables(again))
            again.save(stage)
        if pictures:
            if again is not None:
                replicated.draw(again, stage, pictures)
            for name, draw in PICTURES.items():
                pictures.save(draw(result), stage / name)


def _summary(summary: pd.DataFrame, landmarks: tuple[float, ...]) -> Table:
    """A row an arm, each cell with its range below; it fits 80 columns."""
    from cartsim.trial.summary import GROUPS

    months = [f"month {month:g}\nNE/PD/SD/\nMR-VGPR/CR" for month in landmarks]
    heads = ("arm", "Cmax, 1e3\ncopies/ug", "Tmax\ndays", *months, "ORR\n%", "CR\n%", "PFS\nmonths")
    title = "Medians, 5th-95th percentiles, percent of patients, PFS with 95 % limits"
    table = new_table(title, *heads, right=heads[1:])
    table.caption = (
        "Months: as observed, against baseline (PD: above +25 %; NE: not seen).\n"
        "ORR, CR: best confirmed response (IMWG 2016), of all, and below it of\n"
        "those with measurable disease. PFS counts progression from the nadir,\n"
        "long before M-protein is above baseline (PD of a month).\n"
        "PFS NE: not estimable, fewer than half have progressed."
    )
    table.caption_justify = "left"
    for row in summary.to_dict("records"):
        copies = {f"Cmax{end}": row[f"Cmax{end}"] / 1000 for end in ("", "_p5", "_p95")}
        table.add_row(
            f"{row['arm']}\nn={row['n']:,}",
            _ranged(copies, "Cmax", ("_p5", "_p95")),
            _ranged(row, "Tmax_day", ("_p5", "_p95")),
            *("/".join(f"{row[f'{group}_{month:g}']:.0f}" for group in GROUPS) for month in landmarks),
            *(f"{row[name]:.1f}\n{row[f'{name}_measurable']:.1f}" for name in ("ORR", "CR")),
            _ranged(row, "PFS_months", ("_low", "_high")),
        )
    return table


def _ranged(row: Mapping[Any, Any], name: str, ends: tuple[str, str]) -> str:
    value, low, high = (_short(row[name + end]) for end in ("", *ends))
    return "NE" if low == high == value == "NE" else f"{value}\n{low}-{high}"


def _short(number: float) -> str:
    """Three digits, all of them if there are more before the point; NE is not estimable."""
    if math.isnan(number):
        return "NE"
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"
