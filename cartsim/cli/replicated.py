"""Replicates as commands show them: tables on the console, files and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cartsim.cli.output import new_table
from cartsim.cli.process import note

if TYPE_CHECKING:
    from cartsim.cli.options import Pictures
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
    shown = ENDPOINTS | landmarks
    view = new_table(found.title(), "arm", *shown.values(), right=tuple(shown.values()))
    for row in found.summary.to_dict("records"):
        cells = [_ranged([row[name + end] for end in ("", "_low", "_high")], "-") for name in shown]
        view.add_row(f"{row['arm']}\nn={row['n']:,}", *cells)
    view.caption = "Median of the replicates and the range that holds 95 % of them. NE: not reached."
    view.caption_justify = "left"
    return view


def _pairs(found: Replicates, reference: str | None) -> Any:
    """A row a pair of arms and endpoint: the difference, how often the arm is higher, and the power of its test."""
    heads = ("arm", "against", "", "difference (95 %)", "higher, %", "power, %")
    view = new_table("Arms compared in each replicate", *heads, right=heads[3:])
    for row in found.pairs(reference=reference).to_dict("records"):
        if row["endpoint"] not in BETTER:
            continue
        difference = _ranged([row["difference"], row["low"], row["high"]], " to ")
        power = "" if row["power"] != row["power"] else f"{100 * row['power']:.1f}"
        view.add_row(
            row["arm"], row["reference"], BETTER[row["endpoint"]], difference, f"{100 * row['higher']:.1f}", power
        )
    tested = "Score test of ORR, log-rank test of PFS, two-sided at 5 %"
    view.caption = f"Higher: in so many of the replicates. Power: shown to differ in so many. {tested}."
    view.caption_justify = "left"
    return view


def tables(found: Replicates, reference: str | None = None) -> list[Any]:
    """What is printed of replicates; their warnings go to stderr."""
    for warning in found.warnings:
        note(warning)
    return [_summary(found), *([_pairs(found, reference)] if len(found.arms) > 1 else [])]


def draw(found: Replicates, stage: Path, pictures: Pictures) -> None:
    """How endpoints scatter, and against dose where two arms or more have one."""
    pictures.save(found.plot.distributions(), stage / "replicates.png")
    if len({dose for dose in found.doses.values() if dose > 0}) > 1:
        pictures.save(found.plot.by_dose(), stage / "replicates_by_dose.png")


def _ranged(numbers: list[float], between: str) -> str:
    middle, *limits = ("NE" if number != number else f"{number:.3g}" for number in numbers)
    return "NE" if {middle, *limits} == {"NE"} else f"{middle} ({between.join(limits)})"
