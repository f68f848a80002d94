"""``cartsim calibrate``: estimates of a population found from what trials published."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import cartsim as cs
from cartsim.cli.drawing import Drawing, plotted
from cartsim.cli.grammar import parse_named, parse_names
from cartsim.cli.options import ASKED, OtherName, Out, Pictures, Trials, Who, Work
from cartsim.cli.output import interruptible, limited, number, show_result, table_of
from cartsim.cli.run import filled
from cartsim.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from cartsim.calibration.calibration import Calibration

_FILES = ("calibration.csv", "calibration_rows.csv", "calibration_trace.csv", "calibration.json", "draws.parquet",
          "population.toml", "population.csv", "marginals.png", "chains.png",
          "rows_1.png", "rows_2.png", "rows_3.png")  # fmt: skip
_WRITE = "NAME=MEDIAN,SD, such as Kg=0.05,1"


def calibrate(
    who: Who,
    work: Work,
    model: OtherName = None,
    trial: Trials = None,
    free: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Estimates to calibrate, with commas between: values as Kg, variability as omega(Kg); by "
            "default all of --priors and --prior-of.",
        ),
    ] = None,
    prior_of: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=MEDIAN,SD",
            help="Prior of an estimate: median, and SD of its logarithm (within limits of its logit); by "
            "default value and relative standard error of the model file, or an SD of 1 (of an omega 0.5).",
        ),
    ] = None,
    priors: Annotated[Path | None, typer.Option(metavar="FILE", help="A TOML file of priors, in a table [priors].")] = (
        None
    ),
    prior_width: Annotated[float, typer.Option(help="Factor on the SD of every prior: what depends on them?")] = 1.0,
    algorithm: Annotated[str, typer.Option(help="emcee (ensembles of walkers), or dynesty, a cross-check.")] = "emcee",
    time: Annotated[float | None, typer.Option(metavar="MINUTES", help="Longest; the same command goes on.")] = None,
    evaluations: Annotated[int, typer.Option(min=1, help="Most evaluations of the likelihood.")] = 300_000,
    pictures: Pictures = Pictures(),  # noqa: B008 (frozen)
    out: Out = Path("calibration"),
) -> None:
    """Calibrate a population to published trials: estimates with their uncertainty, rows, files, pictures.

    Simulates the trials under many estimates at once, --n patients in each arm (128), and asks how probable what was
    published is. Prints prior and posterior of each estimate and whether the data identify it, then every published row
    against the calibrated patients. Sampling ends when R-hat is below 1.05 and effective sizes above 400 (and 3 a
    walker), or at a limit, with exit code 1. What is done so far stays in --checkpoint, by default OUT/checkpoint:
    the same command goes on from there, bit for bit. The population it writes is read by --population
    OUT/population.toml.
    """
    from cartsim.calibration.priors import read_priors

    if who.patients is not None:
        raise InputError("calibrate takes no --patients: it simulates virtual ones; --n says how many")
    if not trial:
        raise InputError("no trial; give --trial, such as --trial crb401")
    stated, known = _stated(prior_of or []), read_priors(priors) if priors else {}
    names = parse_names(free) if free is not None else [*known, *(name for name in stated if name not in known)]
    for name in stated:
        if name not in names:
            raise InputError(f"--prior-of {name}: it is not free; add it to --free")
    wanted = {name: stated.get(name, known.get(name)) for name in names} if len(set(names)) == len(names) else names
    where = work.checkpoint or (None if algorithm == "dynesty" else (out or Path(".")) / "checkpoint")
    ASKED.set(ASKED.get() | {"checkpoint": where})
    how: dict[str, Any] = work.settings() | {"checkpoint": where, "minutes": time, "evaluations": evaluations}
    people: Any = who.of(model)

    def calibrated() -> Calibration:
        n = who.n or 128
        return cs.calibrate(
            people, trial, wanted, widen=prior_width, patients=n, seed=who.seed, sampler=algorithm, **how
        )

    with filled(out, _FILES) as stage, Drawing(pictures) as drawing:
        found = interruptible(calibrated)
        kinds = ("marginals",) if found.trace.empty else ("marginals", "chains")
        drawing.add({stage / f"{kind}.png": partial(plotted, found, kind) for kind in kinds})
        forests = enumerate(map(cs.published, trial), 1)
        drawing.add({stage / f"rows_{k}.png": partial(plotted, found, "rows", told) for k, told in forests})
        show_result(found, _estimates(found), *(_rows(found.rows, name) for name in found.trials), _ended(found))
        found.save(stage)
    if not found.converged:
        raise typer.Exit(1)


def _stated(texts: list[str]) -> dict[str, tuple[float, float]]:
    """Priors of the command line by name."""
    found = {}
    for name, text in parse_named(texts, "--prior-of", _WRITE).items():
        try:
            median, sd = map(float, text.split(","))
        except ValueError:
            raise InputError(f"--prior-of {name}={text}: write {_WRITE}") from None
        found[name] = (median, sd)
    return found


def _estimates(found: Calibration) -> Table:
    columns: dict[str, Any] = {
        "estimate": "{estimate}",
        "prior (90 %)": "{prior_low:.3g} to {prior_high:.3g}",
        "posterior (90 %)": "{median:.3g} ({low:.3g} to {high:.3g})",
        "best": "{mode:.3g}",
        "width": "{width:.2f}",
        "R-hat": lambda row: number(row["R_hat"], ".3f"),
        "effective": lambda row: number(row["effective"], ".0f"),
        "informed": "{informed}",
    }
    said = "Width: of the posterior in widths of the prior; identified: at most 0.7."
    return table_of(
        f"Estimates of {found.made_by['model']}", found.frame, columns, text=("estimate", "informed"), caption=said
    )


def _rows(rows: pd.DataFrame, trial: str) -> Table:
    columns: dict[str, Any] = {
        "row": "{id}",
        "published (95 %)": lambda row: limited(row, "value", "low", "high"),
        "fitted (90 %)": lambda row: limited(row, "median", "fitted_low", "fitted_high"),
        "unit": "{unit}",
        "within": lambda row: {True: "yes", False: "no"}.get(row["within"], ""),
        "p": lambda row: "" if math.isnan(row["p"]) else f"{row['p']:.2f}",
        "counts": lambda row: "once" if row["role"] == "fit" else "",
    }
    own = rows[rows["trial"] == trial]
    said = "Within: the fitted median in the published limits. p: posterior predictive probability of less."
    return table_of(f"{trial}; NR: not reached", own, columns, text=("row", "unit", "within", "counts"), caption=said)


def _ended(found: Calibration) -> str:
    counted = found.rows[(found.rows["role"] == "fit") & found.rows["within"].notna()]
    inside = int((counted["within"] == True).sum())  # noqa: E712 (of a column that may hold None)
    rate = found.evaluations / max(found.seconds, 1e-9)
    return (
        f"{found.said}. {found.evaluations:,} evaluations in {found.seconds / 60:.1f} minutes ({rate:.0f} a second). "
        f"{inside} of {len(counted)} rows that count have the fitted median within their published limits."
    )
