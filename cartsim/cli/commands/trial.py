"""``cartsim trial``: a virtual trial, from a model to tables and pictures."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cartsim.cli import replicated
from cartsim.cli.commands.survival import comparisons
from cartsim.cli.design import arms
from cartsim.cli.drawing import Drawing, plotted
from cartsim.cli.options import Covariates, Dose, OtherName, Out, Pictures, Study
from cartsim.cli.output import interruptible, note_failures, ranged, show_tables, table_of
from cartsim.cli.run import filled

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

POPULATION, DOSES = "ide-cel", "150e6,300e6,450e6"
"""Who is treated where no model, population or patients are named, and with which doses where none are."""

PICTURES = {f"{file}.png": kind for file, kind in (
    ("kinetics", "kinetics"), ("biomarkers", "biomarkers"), ("spider", "spider"), ("responses", "responses"),
    ("pfs", "survival"),
)}  # fmt: skip
_TABLES = ("patients.parquet", "visits.parquet", "responses.csv", "survival.csv", "pfs.csv",
           "persistence.csv", "comparisons.csv", "summary.json")  # fmt: skip


def trial(
    study: Study,
    model: OtherName = None,
    dose: Dose = DOSES,
    chunk: Annotated[
        int | None, typer.Option(min=1, help="Patients simulated at a time, if not as many as keep all cores at work.")
    ] = None,
    independent: Annotated[
        bool, typer.Option("--independent", help="Other patients in each arm, as where patients are randomised.")
    ] = False,
    covariates: Covariates = None,
    pictures: Pictures = Pictures(),  # noqa: B008 (frozen)
    visits: Annotated[
        bool, typer.Option("--visits/--no-visits", help="Write visits.parquet, which cartsim judge reads.")
    ] = True,
    out: Out = Path("trial"),
) -> None:
    """Run a virtual trial: table, files, pictures.

    Prints a row for each arm, beside what was published of its dose, and with several arms how they compare; writes
    patients.parquet, visits.parquet, responses.csv, survival.csv, pfs.csv, persistence.csv, comparisons.csv,
    summary.json and pictures. Medians come with the range from the 5th to the 95th percentile, median progression-free
    survival (PFS) with its 95 % confidence limits, NE where not reached. Categories at the months are as observed;
    responses.csv has the true states of all patients beside them. More of its survival: cartsim survival.

    With --replicates or --uncertainty the trial is repeated: how ORR, CR and median PFS scatter from trial to trial,
    how often an arm beats another, and the power to show it, in replicates.csv and so on.
    """
    from cartsim.experiments.replicates import replicated as repeat
    from cartsim.trial.beside import published_beside

    if model is None and study.population is None and study.patients is None:
        study = replace(study, population=POPULATION)
    planned = study.trial(model, arms(dose, covariates or []), independent=independent)
    with filled(out, (*_TABLES, *PICTURES, *replicated.FILES)) as stage, Drawing(pictures) as drawing:
        again = interruptible(lambda: repeat(planned, **study.anew(), **study.settings()))
        if again is not None:
            drawing.add(replicated.figures(again, stage))
        result = interruptible(lambda: planned.run(chunk=chunk, keep_visits=visits, **study.settings()))
        figures = {stage / name: partial(plotted, result, kind) for name, kind in PICTURES.items()}
        drawing.add(figures, len(result.patients))
        show_tables(_summary(result.summary, planned.protocol.visits.landmarks))
        beside = published_beside(planned)
        if len(beside):
            show_tables(_beside(result.summary, beside))
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


def _beside(summary: pd.DataFrame, published: pd.DataFrame) -> Table:
    """The arms of published doses, simulated and as published, a row each."""
    import pandas as pd

    simulated = summary[summary["arm"].isin(published["arm"])].assign(trial="simulated")
    both = pd.concat([simulated, published], ignore_index=True)
    both["place"] = both["arm"].map({arm: k for k, arm in enumerate(simulated["arm"])})
    columns = {
        "arm": "{arm}",
        "of": "{trial}",
        "n": "{n:,}",
        "ORR, %": lambda row: ranged(row, "ORR{}", "{} ({}-{})", ".0f"),
        "CR, %": lambda row: ranged(row, "CR{}", "{} ({}-{})", ".0f"),
        "median PFS, months": lambda row: (
            ""
            if row["trial"] != "simulated" and row["PFS_months"] != row["PFS_months"]
            else ranged(row, "PFS_months{}", "{} ({}-{})", ".1f")
        ),
    }
    return table_of(
        "Beside what was published of these doses, 95 % limits",
        both.sort_values("place", kind="stable"),
        columns,
        text=2,
        caption="As those trials were visited and followed, not as this one is.",
    )
