"""``cartsim predict`` and ``cartsim published``: published trials, and what virtual patients give in them."""

from __future__ import annotations

import math
import textwrap
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import cartsim as cs
from cartsim.cli import complete
from cartsim.cli.drawing import Drawing, plotted
from cartsim.cli.options import Against, Often, OtherName, Out, Pictures, Steps, Who, Work
from cartsim.cli.output import interruptible, limited, new_table, number, show_result, show_tables, table_of
from cartsim.cli.run import filled
from cartsim.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from cartsim.calibration.prediction import Prediction
    from cartsim.trial.published import PublishedTrial

_FILES = ("prediction.csv", "prediction_scores.csv", "prediction_skipped.csv", "prediction_statistics.csv",
          "prediction_rows.csv", "prediction.json", "forest.png")  # fmt: skip
_PUBLISHED = ("published_trial.csv", "published_trial_baseline.csv", "published_trial_skipped.csv",
              "published_trial.json", "published.png")  # fmt: skip

TrialName = Annotated[
    str,
    typer.Argument(
        metavar="TRIAL",
        help="A published trial: its name (cartsim published lists them), or the path of a .toml file.",
        autocompletion=complete.trials,
    ),
]


def predict(
    trial: TrialName,
    who: Who,
    steps: Steps,
    often: Often,
    work: Work,
    model: OtherName = None,
    counts: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TRIAL",
            help="Compare with what the counts and medians of this published trial predict without a model.",
            autocompletion=complete.trials,
        ),
    ] = None,
    against: Against = None,
    pictures: Pictures = Pictures(),  # noqa: B008 (frozen)
    out: Out = Path("prediction"),
) -> None:
    """Predict a published trial: done again 500 times or --replicates, with as many patients in each arm as it had.

    Prints a row a published result: value and 95 % limits as published, the predicted median with the limits that hold
    90 % of the simulated trials, and whether the published value lies in these; then proper scores (lower is better)
    of the rows that count once, by the rows that all predictions have. Rows without a counterpart are named. Where the
    population has draws of its estimates, each simulated trial is under one of them.
    """
    if who.n is not None or who.patients is not None:
        raise InputError("predict takes no --n and no --patients: a published trial has its own number of patients")
    patients = who.of(model)
    assert isinstance(patients, cs.Population)
    # Without --uncertainty a population that has draws is predicted under them all the same.
    anew = {"replicates": often.replicates or 500, "uncertainty": often.uncertainty or None}
    how: dict[str, Any] = anew | {"solver": steps.solver()} | work.settings()
    with filled(out, _FILES) as stage, Drawing(pictures) as drawing:
        named = who.population or patients.model.name
        found = interruptible(lambda: cs.predict(trial, patients, name=named, **how))
        others = [interruptible(partial(cs.predict, trial, name, seed=who.seed, **how)) for name in against or ()]
        others += [cs.baseline(trial, name, seed=who.seed) for name in counts or ()]
        drawing.add({stage / "forest.png": partial(plotted, found, "forest", *others)}, len(found.frame))
        scores = found.compare(*others)
        show_result(found, *(row_table(each) for each in (found, *others)), score_table(scores))
        _say_skipped(found.skipped)
        found.save(stage)
        found.rows(*others).to_csv(stage / "prediction_rows.csv", index=False)
        scores.to_csv(stage / "prediction_scores.csv", index=False)


def published(
    trial: Annotated[
        str | None,
        typer.Argument(
            metavar="TRIAL",
            help="Its name, or the path of a .toml file; without one all that come with cartsim are listed.",
            autocompletion=complete.trials,
            show_default=False,
        ),
    ] = None,
    pictures: Pictures = Pictures(),  # noqa: B008 (frozen)
    out: Out = None,
) -> None:
    """List the published trials that come with cartsim, or show one: design and results, with limits and sources.

    With --out its tables and a picture.
    """
    if trial is None:
        if out is not None:
            raise InputError("--out writes one trial; give its name too")
        show_tables(_listed())
        return
    told = cs.published(trial)
    show_result(told, _design(told), _results(told))
    if out is not None:
        with filled(out, _PUBLISHED) as stage, Drawing(pictures) as drawing:
            drawing.add({stage / "published.png": partial(plotted, told, "forest")}, len(told.rows))
            told.save(stage)


def row_table(found: Prediction) -> Table:
    """A row a published row."""
    columns: dict[str, Any] = {
        "result": lambda row: row["id"],
        "unit": "{unit}",
        "published (95 % limits)": lambda row: _limits(row, "value", "low", "high"),
        "predicted (90 % limits)": lambda row: _limits(row, "predicted", "predicted_low", "predicted_high"),
        "in": lambda row: "" if row["covers"] is None else "yes" if row["covers"] else "no",
        "interval\nscore": lambda row: number(row["interval_score"], ".2f"),
        "log\nscore": lambda row: number(row["log_score"], ".2f"),
        "counts": lambda row: "once" if row["role"] == "fit" else "",
    }
    title = f"{found.trial.name} as predicted by {found.name}; NR: not reached"
    text = ("result", "unit", "in", "counts")
    return table_of(title, found.frame, columns, text=text)


def score_table(table: pd.DataFrame) -> Table:
    """A row a prediction and kind of rows."""
    columns: dict[str, Any] = {
        "prediction": "{prediction}",
        "rows": lambda row: f"{row['kind']} ({row['rows']})",
        "published value\nin 90 % limits": lambda row: f"{row['cover']} of {row['rows']}",
        "median in\npublished limits": lambda row: f"{row['within']} of {row['limited']}",
        "interval score": "{interval_score:.3f}",
        "log score": "{log_score:.3f}",
    }
    said = (
        "Means of the rows that count once and that all predictions have; lower is better.\n"
        "Shares as fractions, times and ratios as logarithms, correlations as Fisher's z."
    )
    return table_of("Scores", table, columns, text=2, caption=said)


def _results(told: PublishedTrial) -> Table:
    columns: dict[str, Any] = {
        "result": "{id}",
        "of": lambda row: row["endpoint"] + (f" of {row['subset']}" if row["subset"] else ""),
        "arms": lambda row: "all" if row["arms"].count(",") == len(told.arms) - 1 else row["arms"],
        "unit": "{unit}",
        "value (95 % limits)": lambda row: _limits(row, "value", "low", "high"),
        "n": lambda row: "" if row["n"] is None else str(row["n"]),
        "role": "{role}",
    }
    frame = told.results.astype({"n": object})
    frame["n"] = frame["n"].where(told.results["n"].notna(), None)
    return table_of("Results; NR: not reached", frame, columns, text=("result", "of", "arms", "unit", "role"))


def _design(told: PublishedTrial) -> Table:
    table = new_table(f"{told.name}: {told.title}", "arm", "cells", "patients", right=("cells", "patients"))
    table.caption = told.citation
    for arm in told.arms:
        table.add_row(arm.name, f"{arm.dose:g}", str(arm.n))
    return table


def _listed() -> Table:
    from cartsim.trial.published import names

    right = ("patients", "rows that count", "all rows")
    table = new_table("Published trials", "name", "what it is", *right, right=right)
    for name in names():
        told = cs.published(name)
        counted = sum(row.role == "fit" for row in told.rows)
        table.add_row(name, f"{told.title}\n{told.citation}", str(told.n), str(counted), str(len(told.rows)))
    return table


def _limits(row: dict[str, Any], value: str, low: str, high: str) -> str:
    """A value with its limits; nothing where there is none."""
    return "" if math.isnan(row[value]) else limited(row, value, low, high)


def _say_skipped(skipped: pd.DataFrame) -> None:
    """Name the rows that are not predicted, and why."""
    reasons = skipped.groupby("why", sort=False)["id"].agg(", ".join)
    if len(reasons):
        table = new_table("Not predicted", "results", "why")
        for why, names in reasons.items():
            table.add_row(textwrap.fill(names, 32), str(why))
        show_tables(table)
