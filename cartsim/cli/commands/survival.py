"""``cartsim survival``: times to events of a stored trial or of a user's own patients, and what is compared in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import cartsim as cs
from cartsim.cli.design import judged_file
from cartsim.cli.drawing import Drawing, plotted
from cartsim.cli.options import Censoring, Criteria, Events, Out, Pictures
from cartsim.cli.output import number, ranged, show_tables, table_of
from cartsim.cli.run import filled
from cartsim.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from cartsim.endpoints.judged import Judged

_TABLES = ("survival.csv", "comparisons.csv", "incidence.csv", "landmark.csv", "residual.csv")
_PICTURES = ("PFS.png", "OS.png", "DOR.png", "TTR.png", "landmark.png", "incidence.png", "residual.png")


def survival(
    source: Annotated[Path, typer.Argument(help="The folder that cartsim trial wrote, or a CSV file of M-protein.")],
    events: Events = None,
    criteria: Criteria = None,
    censoring: Censoring = "fda",
    reference: Annotated[str | None, typer.Option(help="The arm to compare with; by default the first.")] = None,
    landmark: Annotated[float, typer.Option(min=0, help="Month from which survival by response is told.")] = 6.0,
    mrd_limit: Annotated[
        float, typer.Option(help="Share of marrow cells below which residual disease is negative.")
    ] = 1e-5,
    pictures: Pictures = Pictures(),  # noqa: B008 (frozen)
    out: Out = None,
) -> None:
    """Survival of a stored trial or of your own patients.

    Progression-free (PFS) and overall survival (OS), duration of response (DOR), time to response (TTR) and to best
    response (TTBR) by Kaplan-Meier; arms compared; PFS from a landmark on, by response; cumulative incidence of
    progression and death (Aalen-Johansen); residual disease. Tables, and with --out files and pictures.
    """
    result = _judged(source, events, criteria, censoring)
    tables = _tables(result, reference, landmark, mrd_limit)
    parts = [estimates(tables["survival.csv"])]
    if "comparisons.csv" in tables:
        parts.append(comparisons(tables["comparisons.csv"]))
    if "landmark.csv" in tables:
        parts.append(_landmark(tables["landmark.csv"], landmark))
    show_tables(*parts)
    if out is None:
        return
    with filled(out, (*_TABLES, *_PICTURES)) as stage, Drawing(pictures) as drawing:
        figures = {stage / name: draw for name, draw in _drawn(result, tables, landmark, mrd_limit)}
        drawing.add(figures, len(result.patients))
        for name, table in tables.items():
            table.to_csv(stage / name, index=False)


def estimates(table: pd.DataFrame) -> Table:
    """Medians and rates, a row an endpoint and arm; it fits 80 columns."""
    columns: dict[str, Any] = {
        "": "{endpoint}",
        "arm": "{arm}",
        "n": "{n:,}",
        "events": "{events:,}",
        "median\nmonths": lambda row: ranged(row, "median{}_months", "{}\n({}, {})", ".1f"),
    }
    for month in (6, 12, 24):
        key = f"percent{{}}_{month}_months"
        columns[f"month {month}\n%"] = lambda row, key=key: ranged(row, key, "{}\n({}, {})", ".0f")
    return table_of("Survival (Kaplan-Meier), 95 % limits; NE: not estimable", table, columns, text=2)


def comparisons(table: pd.DataFrame) -> Table:
    """Arms compared, a row an endpoint and arm; it fits 80 columns."""
    gained = ("_difference", "_low", "_high")
    columns: dict[str, Any] = {
        "": "{endpoint}",
        "arm": "{arm}",
        "log-rank p": lambda row: _p(row["logrank_p"]),
        "hazard ratio": lambda row: ranged(row, "hazard_ratio{}", "{} ({}, {})", ".2f"),
        "mean months gained": lambda row: ranged(row, "rmst{}_months", "{} ({}, {})", ".2f", gained),
        "to month": lambda row: number(row["tau_months"], ".1f"),
    }
    said = (
        "All arms hold the same virtual patients. Limits of months gained\n"
        "(but DOR) know it; p and hazard ratio are as of independent arms."
    )
    title, caption = f"Compared with {table['reference'].iloc[0]}, 95 % limits", said * bool(table["rmst_paired"].any())
    return table_of(title, table, columns, text=2, caption=caption)


def _landmark(table: pd.DataFrame, month: float) -> Table:
    columns: dict[str, Any] = {
        "arm": "{arm}",
        "by": "{by}",
        "group": "{group}",
        "n": "{n:,}",
        "events": "{events:,}",
        "median, months": lambda row: ranged(row, "median{}_months", "{} ({}, {})", ".1f"),
        "log-rank p": lambda row: _p(row["logrank_p"]),
    }
    return table_of(f"PFS from month {month:g} on, by what was known then", table, columns, text=3)


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else number(value, ".3f")


def _judged(source: Path, events: Path | None, criteria: list[str] | None, censoring: str) -> Judged:
    if source.is_dir():
        if events is not None or criteria or censoring != "fda":
            raise InputError(
                f"{source} is a trial with its own patients and rules; leave out --events, --criteria and --censoring"
            )
        return cs.read_trial(source)
    return judged_file(source, events, criteria, censoring)


def _tables(result: Judged, reference: str | None, month: float, limit: float) -> dict[str, pd.DataFrame]:
    """What is printed and written, by the name of the file."""
    import pandas as pd

    tables = {"survival.csv": result.estimates()}
    if len(result.arms) > 1:
        tables["comparisons.csv"] = result.comparisons(reference)
    elif reference is not None:
        raise InputError(f"--reference {reference}: there is one arm, and nothing to compare it with")

    seen = [
        result.incidence(of, arm=arm).frame().assign(of=of, arm=arm)
        for arm in result.arms
        for of in ("progression", "response")
    ]
    tables["incidence.csv"] = pd.concat(seen).rename(columns={"time": "time_months"})
    ways = ("response", "MRD") if isinstance(result, cs.TrialResult) else ("response",)
    at_risk = [arm for arm in result.arms if (result.times(arm=arm).time > month).any()]
    if at_risk:
        tables["landmark.csv"] = pd.concat(
            [
                result.landmark(month, by=by, arm=arm, limit=limit).frame().assign(arm=arm, by=by)
                for arm in at_risk
                for by in ways
            ]
        )
    if isinstance(result, cs.TrialResult):
        left = [result.residual(arm, limit=limit).by_visit().assign(arm=arm) for arm in result.arms]
        tables["residual.csv"] = pd.concat(left)
    return tables


def _drawn(
    result: Judged, tables: dict[str, pd.DataFrame], month: float, limit: float
) -> Iterator[tuple[str, Callable[[], Any]]]:
    analysed = tables["survival.csv"].groupby("endpoint")["n"].sum()
    for endpoint in ("PFS", "OS", "DOR", "TTR"):
        if analysed[endpoint]:
            yield f"{endpoint}.png", partial(plotted, result, "survival", endpoint)
    yield "incidence.png", partial(plotted, result, "incidence")
    if "landmark.csv" in tables:
        arm = str(tables["landmark.csv"]["arm"].iloc[0])
        yield "landmark.png", partial(plotted, result, "landmark", month, arm=arm)
    if "residual.csv" in tables:
        yield "residual.png", partial(plotted, result, "residual", limit=limit)
