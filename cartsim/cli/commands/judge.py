"""``cartsim judge``: a stored trial under other rules."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer

import cartsim as cs
from cartsim.cli import design
from cartsim.cli.options import Censoring, Criteria, Out
from cartsim.cli.output import check_file, ranged, show_tables, table_of, write_table
from cartsim.cli.process import note
from cartsim.errors import InputError


def judge(
    folder: Annotated[Path, typer.Argument(help="The folder that cartsim trial wrote.")],
    rules: Annotated[
        str, typer.Option(help="imwg2016 (response and progression) or singh_landmark (bins at landmarks).")
    ] = "imwg2016",
    criteria: Criteria = None,
    censoring: Censoring = "fda",
    out: Out = None,
) -> None:
    """Judge a stored trial under other rules.

    Nothing is simulated. Several values with commas between (ife_limit=0.1,0.5) are tried one by one, those of several
    --criteria in all combinations: a row for each of them and arm.
    """
    from cartsim.trial.stored import judge_stored
    from cartsim.trial.summary import GROUPS

    check_file(out)
    table = judge_stored(folder, dict(_combinations(rules, criteria, censoring)))
    columns: dict[str, Any] = {"settings": "{rules}", "arm": "{arm}", "n": "{n:,}"}
    if rules == "singh_landmark":
        for month in (name.removeprefix("PD_") for name in map(str, table) if name.startswith("PD_")):
            columns[f"month {month}\n{'/'.join(GROUPS)} %"] = "/".join(f"{{{group}_{month}:.1f}}" for group in GROUPS)
    else:
        columns |= {"ORR %": "{ORR:.1f}", "CR %": "{CR:.1f}", "ORR % of\nmeasurable": "{ORR_measurable:.1f}"}
        columns["median PFS, months"] = lambda row: ranged(row, "PFS_months{}", "{} ({}, {})", ".1f")
    show_tables(table_of(f"{folder} by {rules}", table, columns, text=2))
    if out is not None:
        write_table(table, out)
        note(f"written to {out}")


def _each_once(name: str, text: str) -> list[str]:
    values = [value.strip() for value in text.split(",")]
    if len(set(values)) < len(values):
        raise InputError(f"{name}: {text} has a value twice; give each once")
    return values


def _combinations(name: str, texts: list[str] | None, censoring: str) -> Iterator[tuple[str, cs.Rules]]:
    """What was set, and the rules with it, for every combination of the values that were given."""
    tried = {setting: _each_once(setting, values) for setting, values in design.settings_of(texts).items()}
    for rule in _each_once("censoring", censoring):
        for values in product(*tried.values()):
            settings = dict(zip(tried, values, strict=True))
            said = [f"{setting}={value}" for setting, value in settings.items()]
            if rule != "fda":
                said.append(f"censoring={rule}")
            yield " ".join(said) or "default", design.rules(settings, rule, name)
