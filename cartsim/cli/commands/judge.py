"""``cartsim judge``: a stored trial under other rules."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cartsim.cli.options import Censoring, Criteria, Out
from cartsim.cli.output import check_file, new_table, show_tables, write_table
from cartsim.cli.process import note
from cartsim.errors import InputError

if TYPE_CHECKING:
    from cartsim.trial.protocol import Rules


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
    from cartsim.endpoints.survival import Estimate
    from cartsim.trial.stored import judge_stored
    from cartsim.trial.summary import GROUPS

    check_file(out)
    table = judge_stored(folder, dict(_combinations(rules, criteria or [], censoring)))
    months = [name.removeprefix("PD_") for name in map(str, table) if name.startswith("PD_")]
    if rules == "singh_landmark":
        heads = ["settings", "arm", "n", *(f"month {month}\n{'/'.join(GROUPS)} %" for month in months)]
    else:
        heads = ["settings", "arm", "n", "ORR %", "CR %", "ORR % of\nmeasurable", "median PFS, months"]
    view = new_table(f"{folder} by {rules}", *heads, right=heads[2:])
    for row in table.to_dict("records"):
        if rules == "singh_landmark":
            cells = ["/".join(f"{row[f'{group}_{month}']:.1f}" for group in GROUPS) for month in months]
        else:
            cells = [f"{row['ORR']:.1f}", f"{row['CR']:.1f}", f"{row['ORR_measurable']:.1f}"]
            cells.append(f"{Estimate(row['PFS_months'], row['PFS_months_low'], row['PFS_months_high']):.1f}")
        view.add_row(row["rules"], row["arm"], f"{row['n']:,}", *cells)
    show_tables(view)
    if out is not None:
        write_table(table, out)
        note(f"written to {out}")


def _each_once(name: str, text: str) -> list[str]:
    values = [value.strip() for value in text.split(",")]
    if len(set(values)) < len(values):
        raise InputError(f"{name}: {text} has a value twice; give each once")
    return values


def _combinations(name: str, texts: list[str], censoring: str) -> Iterator[tuple[str, Rules]]:
    """What was set, and the rules with it, for every combination of the values that were given."""
    from cartsim.cli.design import check_censoring, further_of, settings_of
    from cartsim.endpoints.rules import IMWG2016, rules_from
    from cartsim.trial.protocol import Rules

    tried = {setting: _each_once(setting, values) for setting, values in settings_of(texts).items()}
    for rule in _each_once("censoring", censoring):
        check_censoring(rule)
        for values in product(*tried.values()):
            settings = dict(zip(tried, values, strict=True))
            further = further_of(settings)
            chosen = rules_from(name, {each: value for each, value in settings.items() if each not in further})
            said = [f"{setting}={value}" for setting, value in settings.items()]
            if rule != "fda":
                said.append(f"censoring={rule}")
            if isinstance(chosen, IMWG2016):
                judged_by = Rules(response=chosen, censoring=rule, **further)
            else:
                judged_by = Rules(landmark=chosen, censoring=rule, **further)
            yield " ".join(said) or "default", judged_by
