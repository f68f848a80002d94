"""Replicates as commands show them: tables on the console, files and pictures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cartsim.cli.drawing import plotted
from cartsim.cli.output import number, ranged, show_result, table_of

if TYPE_CHECKING:
    from cartsim.experiments.replicates import Replicates

FILES = ("replicates.csv", "replicates_summary.csv", "replicates_tests.csv", "replicates_pairs.csv", "replicates.json",
         "replicates.png", "replicates_by_dose.png")  # fmt: skip
ENDPOINTS = {"ORR": "ORR, %", "CR": "CR, %", "PFS_months": "median PFS, months"}
BETTER = {"ORR": "ORR, points", "CR": "CR, points", "PFS_months": "median PFS, months"}


def _summary(found: Replicates) -> Any:
    """A row an arm: medians over the replicates with their limits."""
    landmarks = {
        name: f"MR or better at month {name.removeprefix('response_')}, %"
        for name in found.endpoints
        if name.startswith("response_")
    }
    columns: dict[str, Any] = {"arm": "{arm}\nn={n:,}"}
    for name, head in (ENDPOINTS | landmarks).items():
        columns[head] = lambda row, key=f"{name}{{}}": ranged(row, key, "{} ({}-{})", ".3g")
    said = "Median of the replicates and the range that holds 95 % of them. NE: not reached."
    return table_of(found.title(), found.summary, columns, caption=said)


def _pairs(found: Replicates, reference: str | None) -> Any:
    """A row a pair of arms and endpoint: the difference, how often the arm is higher, and the power of its test."""
    pairs = found.pairs(reference=reference)
    columns = {
        "arm": "{arm}",
        "against": "{reference}",
        "": lambda row: BETTER[row["endpoint"]],
        "difference (95 %)": lambda row: ranged(row, "{}", "{} ({} to {})", ".3g", ("difference", "low", "high")),
        "higher, %": lambda row: f"{100 * row['higher']:.1f}",
        "power, %": lambda row: number(100 * row["power"], ".1f").replace("NE", ""),
    }
    tested = "Score test of ORR, log-rank test of PFS, two-sided at 5 %"
    said = f"Higher: in so many of the replicates. Power: shown to differ in so many. {tested}."
    shown = pairs[pairs["endpoint"].isin(BETTER)]
    return table_of("Arms compared in each replicate", shown, columns, text=3, caption=said)


def show(found: Replicates, *parts: Any, reference: str | None = None, pairs: bool = True) -> None:
    """Print what replicates found and, with several arms, how these compare; then what else is said of them."""
    compared = [_pairs(found, reference)] if pairs and len(found.arms) > 1 else []
    show_result(found, _summary(found), *compared, *parts)


def figures(found: Replicates, stage: Path) -> dict[Path, Callable[[], Any]]:
    """How endpoints scatter, and against dose where two arms or more have one."""
    drawn: dict[Path, Callable[[], Any]] = {stage / "replicates.png": partial(plotted, found, "distributions")}
    if len({dose for dose in found.doses.values() if dose > 0}) > 1:
        drawn[stage / "replicates_by_dose.png"] = partial(plotted, found, "by_dose")
    return drawn
