"""``cartsim trial``: a virtual trial, from a model to tables and pictures."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cartsim.cli import replicated
from cartsim.cli.commands.survival import comparisons
from cartsim.cli.design import doses
from cartsim.cli.drawing import Drawing, plotted
from cartsim.cli.options import Dose, OtherName, Out, Pictures, Study
from cartsim.cli.output import interruptible, note_failures, ranged, show_tables, table_of
from cartsim.cli.run import filled

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

PICTURES = {f"{file}.png": kind for file, kind in (
    ("kinetics", "kinetics"), ("biomarkers", "biomarkers"), ("spider", "spider"), ("responses", "responses"),
    ("pfs", "survival"),
)}  # fmt: skip
_TABLES = ("patients.parquet", "visits.parquet", "responses.csv", "survival.csv", "pfs.csv",
           "comparisons.csv", "summary.json")  # fmt: skip


def trial(
    study: Study,
    model: OtherName = None,
    dose: Dose = "50e6,150e6,450e6,800e6",
    chunk: Annotated[
        int | None, typer.Option(min=1, help="Patients simulated at a time, if not as many as keep all cores at work.")
    ] = None,
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
    from cartsim.experiments.replicates import replicated as repeat

    planned = study.trial(model, doses(dose), independent=independent)
    with filled(out, (*_TABLES, *PICTURES, *replicated.FILES)) as stage, Drawing(pictures) as drawing:
        again = interruptible(lambda: repeat(planned, **study.anew(), **study.settings()))
        if again is not None:
            drawing.add(replicated.figures(again, stage))
        result = interruptible(lambda: planned.run(chunk=chunk, keep_visits=visits, **study.settings()))
        figures = {stage / name: partial(plotted, result, kind) for name, kind in PICTURES.items()}
        drawing.add(figures, len(result.patients))
        show_tables(_summary(result.summary, planned.protocol.visits.landmarks))
        if len(result.arms) > 1:
            show_tables(comparisons(result.compare()))
        note_failures(result.failures, len(result.patients))
        result.save(stage)
        if again is not None:
            replicated.show(again)
            again.save(stage)


def _summary(summary: pd.DataFrame, landmarks: tuple[float, ...]) -> Table:
    """A row an arm, each cell with its range below; it fits 80 columns."""
    from cartsim.trial.summary import GROUPS

    kinetics, below = ("", "_p5", "_p95"), "{}\n{}-{}"
    summary = summary.assign(**{f"1e3{end}": summary[f"Cmax{end}"] / 1000 for end in kinetics})
    months = {
        f"month {month:g}\nNE/PD/SD/\nMR-VGPR/CR": "/".join(f"{{{group}_{month:g}:.0f}}" for group in GROUPS)
        for month in landmarks
    }
    columns = {
        "arm": "{arm}\nn={n:,}",
        "Cmax, 1e3\ncopies/ug": lambda row: ranged(row, "1e3{}", below, ends=kinetics),
        "Tmax\ndays": lambda row: ranged(row, "Tmax_day{}", below, ends=kinetics),
        **months,
        "ORR\n%": "{ORR:.1f}\n{ORR_measurable:.1f}",
        "CR\n%": "{CR:.1f}\n{CR_measurable:.1f}",
        "PFS\nmonths": lambda row: ranged(row, "PFS_months{}", below),
    }
    return table_of(
        "Medians, 5th-95th percentiles, percent of patients, PFS with 95 % limits",
        summary,
        columns,
        caption="Months: as observed, against baseline (PD: above +25 %; NE: not seen).\n"
        "ORR, CR: best confirmed response (IMWG 2016), of all, and below it of\n"
        "those with measurable disease. PFS counts progression from the nadir,\n"
        "long before M-protein is above baseline (PD of a month).\n"
        "PFS NE: not estimable, fewer than half have progressed.",
    )
