"""``cartsim trial``: a virtual trial, from a model to tables and pictures."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cartsim.cli.options import Extinction, Jobs, Lloq, Name, Rtol, Settings
from cartsim.cli.output import interruptible, new_table, note_failures, show_tables
from cartsim.cli.run import filled, save_pictures
from cartsim.solver import RTOL, Solver

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
_TABLES = ("patients.parquet", "visits.parquet", "responses.csv", "pfs.csv", "summary.json")
# Options that change where and how fast a trial runs, but nothing of its outcome.
_HOW = ("out", "jobs", "chunk", "checkpoint", "pictures", "visits")


def trial(
    ctx: typer.Context,
    model: Name = "bb2121_clinical",
    dose: Annotated[
        str, typer.Option(help="Cells infused, a dose an arm, with commas between.")
    ] = "50e6,150e6,450e6,800e6",
    n: Annotated[int, typer.Option("--n", min=1, help="Patients in each arm; the same ones in every arm.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of patients, assays and conduct.")] = 2021,
    out: Annotated[
        Path, typer.Option(help="Folder for all files; those of an earlier trial in it are replaced.")
    ] = Path("trial"),
    set_: Settings = None,
    burden: Annotated[
        str | None, typer.Option(help="Marrow plasma cells, percent: 50 for all, or 10:90 evenly between.")
    ] = None,
    omega: Annotated[
        list[str] | None, typer.Option(metavar="NAME=SD", help="Variability of a parameter between patients.")
    ] = None,
    correlation: Annotated[
        list[str] | None, typer.Option(metavar="A,B=RHO", help="Correlation of two parameters that vary.")
    ] = None,
    sampler: Annotated[str, typer.Option(help="random, or sobol.")] = "random",
    rules: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Setting of the response criteria (ife_limit=0.1), of the landmark bins (cr=-95), or "
            "censor_no_baseline or after_blq.",
        ),
    ] = None,
    censoring: Annotated[str, typer.Option(help="Of progression-free survival: fda or ema.")] = "fda",
    lloq: Lloq = 50.0,
    assay: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:SETTINGS",
            help="Measurement of mprotein, sbcma or transgene, such as transgene:cv=0.3,loq=50.",
        ),
    ] = None,
    missed: Annotated[float, typer.Option(help="Probability that a visit is missed.")] = 0.0,
    dropout: Annotated[float, typer.Option(help="Hazard of leaving the trial, a month.")] = 0.0,
    new_therapy: Annotated[float, typer.Option(help="Hazard of another therapy, a month.")] = 0.0,
    death: Annotated[float, typer.Option(help="Hazard of death from other causes, a month.")] = 0.0,
    followup: Annotated[
        str | None, typer.Option(help="Data cut-off: karmma, or months as MEDIAN:SHORTEST:LONGEST.")
    ] = None,
    rtol: Rtol = RTOL,
    extinction: Extinction = None,
    jobs: Jobs = -1,
    chunk: Annotated[int, typer.Option(min=1, help="Patients simulated at a time.")] = 2000,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Folder for finished chunks, to go on from after an interruption.")
    ] = None,
    pictures: Annotated[bool, typer.Option("--pictures/--no-pictures", help="Write the PNG pictures.")] = True,
    visits: Annotated[
        bool, typer.Option("--visits/--no-visits", help="Write visits.parquet, which cartsim judge reads.")
    ] = True,
) -> None:
    """Run a virtual trial: table, files, pictures.

    Prints a row for each arm and writes patients.parquet, visits.parquet, responses.csv, pfs.csv,
    summary.json and pictures. Medians come with the range from the 5th to the 95th percentile, median
    progression-free survival (PFS) with its 95 % confidence limits, NE where not reached. Categories at the
    months are as observed; responses.csv has the true states of all patients beside them.
    """
    from cartsim.cli import design
    from cartsim.cli.grammar import parse_assignments, parse_doses
    from cartsim.model.reader import load
    from cartsim.trial.conduct import Conduct
    from cartsim.trial.protocol import Protocol
    from cartsim.trial.trial import Trial

    chosen = load(model).override(parse_assignments(set_ or []))
    patients = design.population(chosen, seed, burden, omega or [], correlation or [], sampler)
    protocol = Protocol(
        assays=design.assays(assay or []),
        conduct=Conduct(missed, dropout, new_therapy, death, design.followup(followup)),
        rules=design.rules(rules or [], censoring, lloq),
    )
    planned = Trial(patients, parse_doses(dose), n, protocol, Solver(rtol, extinction))
    with filled(out, (*_TABLES, *PICTURES), resume=checkpoint) as stage:
        work = partial(
            planned.run,
            n_jobs=jobs,
            chunk=chunk,
            progress=sys.stderr.isatty(),
            checkpoint=checkpoint,
            keep_visits=visits,
        )
        result = interruptible(work)
        show_tables(_summary(result.summary, protocol.visits.landmarks))
        note_failures(result.failures, len(result.patients))
        result.save(stage)
        _add_inputs(
            stage / "summary.json",
            {name.rstrip("_"): value for name, value in ctx.params.items() if name not in _HOW},
        )
        if pictures:
            save_pictures({name: partial(draw, result) for name, draw in PICTURES.items()}, stage)


def _summary(summary: pd.DataFrame, landmarks: tuple[float, ...]) -> Table:
    """A row an arm, each cell with its range below; it fits 80 columns."""
    from cartsim.trial.outcome import GROUPS

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
            _ranged(row, "Tmax", ("_p5", "_p95")),
            *("/".join(f"{row[f'{group}_{month:g}']:.0f}" for group in GROUPS) for month in landmarks),
            *(f"{row[name]:.1f}\n{row[f'{name}_measurable']:.1f}" for name in ("ORR", "CR")),
            _ranged(row, "PFS", ("_low", "_high")),
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


def _add_inputs(path: Path, inputs: dict[str, Any]) -> None:
    """Put the command's options into summary.json, so that the trial can be run again from it."""
    summary = json.loads(path.read_text())
    path.write_text(json.dumps({"inputs": inputs, **summary}, indent=2) + "\n")
