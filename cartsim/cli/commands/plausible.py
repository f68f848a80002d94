"""``cartsim plausible``: plausible patients weighted to published trials, and what they predict."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import cartsim as cs
from cartsim.cli import complete
from cartsim.cli.commands.predict import row_table, score_table
from cartsim.cli.drawing import Drawing, plotted
from cartsim.cli.options import Against, Jobs, OtherName, Out, Pictures, Trials, Who
from cartsim.cli.output import interruptible, limited, number, ranged, show_result, show_tables, table_of
from cartsim.cli.run import filled
from cartsim.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from cartsim.calibration.plausible import Weighted

_FILES = ("weighted_rows.csv", "weighted_patients.csv", "weighted_moved.csv", "weighted_patients.json",
          "prediction_rows.csv", "prediction_scores.csv", "rows.png", "forest.png")  # fmt: skip


def plausible(
    who: Who,
    model: OtherName = None,
    trial: Trials = None,
    predict: Annotated[
        str | None,
        typer.Option(
            metavar="TRIAL",
            help="Predict this published trial by the weighted patients.",
            autocompletion=complete.trials,
        ),
    ] = None,
    against: Against = None,
    spread: Annotated[
        float, typer.Option(help="The SDs of all that varies, as a multiple of those of the population.")
    ] = 1.5,
    entropy: Annotated[
        float,
        typer.Option(help="How dear unequal weights are: less meets the rows better, by fewer patients."),
    ] = 3.0,
    jobs: Jobs = -1,
    pictures: Pictures = Pictures(),  # noqa: B008 (frozen)
    out: Out = Path("plausible"),
) -> None:
    """Weight plausible patients to what trials published: the other way to a population beside cartsim calibrate.

    Draws --n patients (1,000) widely, keeps those whose transgene peaks between 10 and 1e7 copies/ug within two months,
    and gives each a weight, so that together they look like the trials' patients; as unequal as need be and no more
    (maximum entropy). Prints the effective sample size and every row as published, without and with weights; with
    --predict what they predict of another trial, and with --against beside it what a calibrated population does.
    """
    if who.patients is not None:
        raise InputError("plausible takes no --patients: it draws virtual ones; --n says how many")
    if not trial:
        raise InputError("no trial; give --trial, such as --trial crb401")
    if against and predict is None:
        raise InputError(f"--against {against[0]}: nothing is predicted; give --predict TRIAL too")
    patients = who.of(model)
    assert isinstance(patients, cs.Population)
    patients = replace(patients, draws=None)
    how: dict[str, Any] = {"spread": spread, "entropy": entropy, "n_jobs": jobs}
    with filled(out, _FILES) as stage, Drawing(pictures) as drawing:
        found = interruptible(lambda: cs.weigh(patients, trial, who.n or 1000, **how))
        drawing.add({stage / "rows.png": partial(plotted, found, "rows")}, len(found.frame))
        show_result(found, _rows(found), _moved(found))
        found.save(stage)
        if predict is None:
            return
        own = interruptible(lambda: found.predict(predict, seed=who.seed, n_jobs=jobs))
        others = [
            interruptible(partial(cs.predict, predict, name, name=f"{name} patients", n_jobs=jobs))
            for name in against or ()
        ]
        drawing.add({stage / "forest.png": partial(plotted, own, "forest", *others)}, len(own.frame))
        scores = own.compare(*others)
        show_tables(*(row_table(each) for each in (own, *others)), score_table(scores))
        own.rows(*others).to_csv(stage / "prediction_rows.csv", index=False)
        scores.to_csv(stage / "prediction_scores.csv", index=False)


def _rows(found: Weighted) -> Table:
    columns: dict[str, Any] = {
        "result": "{id}",
        "of": "{trial}",
        "unit": "{unit}",
        "published (95 % limits)": lambda row: limited(row, "value", "low", "high"),
        "plausible": lambda row: number(row["plausible"], ".3g"),
        "weighted": lambda row: number(row["weighted"], ".3g"),
        "in": lambda row: "" if row["within"] is None else "yes" if row["within"] else "no",
    }
    title = f"{len(found):,} plausible patients; effective sample size {found.size:.0f}"
    shown = found.frame[found.frame["role"] == "fit"]
    return table_of(
        title, shown, columns, text=("result", "of", "unit", "in"), caption="The rows that count once; NR: not reached."
    )


def _moved(found: Weighted) -> Table:
    ends = ("_p50", "_p5", "_p95")
    columns: dict[str, Any] = {
        "": "{name}",
        "plausible": lambda row: ranged(row, "plausible{}", "{} ({} to {})", ".3g", ends),
        "weighted": lambda row: ranged(row, "weighted{}", "{} ({} to {})", ".3g", ends),
    }
    return table_of("How the weights move what varies: median, 5th to 95th percentile", found.moved, columns)
