"""``cartsim dose-response``: response and exposure against dose."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cartsim as cs
from cartsim.cli import replicated
from cartsim.cli.design import doses
from cartsim.cli.drawing import Drawing
from cartsim.cli.options import Dose, OtherName, Out, Pictures, Study
from cartsim.cli.output import interruptible, new_table, note_failures, show_tables, write_table
from cartsim.cli.run import filled
from cartsim.errors import InputError

if TYPE_CHECKING:
    from cartsim.experiments.dose_response import DoseResponse

_TABLES = ("responses.csv", "differences.csv", "exposure.csv", "slopes.csv", "plateaus.csv", "plateau_replicates.csv")
_OTHERS = ("dose_response.json", "dose_response.png", "exposure.png")


def dose_response(
    study: Study,
    model: OtherName = None,
    dose: Dose = "10e6,20e6,50e6,100e6,150e6,200e6,300e6,450e6,600e6,800e6,1000e6",
    pictures: Pictures = Pictures(),  # noqa: B008 (frozen)
    out: Out = Path("dose_response"),
) -> None:
    """Response categories against dose, and where a plateau begins.

    Prints the share of patients in response with Monte Carlo limits and what the doses say of a plateau; writes
    tables, with a column for the burden, and pictures. Several burdens may be given with commas between, as --burden
    fixed,uniform, which is the default; patients of --population have their own. With --replicates or --uncertainty
    all is repeated, as in cartsim trial, and so is where a plateau begins.
    """
    own = "--patients" if study.patients is not None else "--population" if study.population is not None else ""
    if own and (study.patients is not None or study.burden is None):
        patients = {f"of {own}": study.of(model)}
    else:
        names = [name.strip() for name in (study.burden or "fixed,uniform").split(",")]
        if len(set(names)) < len(names):
            raise InputError(f"--burden {study.burden}: give each once")
        patients = {name: replace(study, burden=name).of(model) for name in names}
    treat = partial(
        cs.dose_response,
        doses=doses(dose),
        n=study.n,
        protocol=study.protocol(),
        solver=study.solver(),
        **study.anew(),
    )
    with filled(out, (*_TABLES, *_OTHERS, *replicated.FILES)) as stage, Drawing(pictures) as drawing:
        found = {
            name: interruptible(partial(treat, group, **study.settings(name.replace(":", "-"))))
            for name, group in patients.items()
        }
        drawing.add(_figures(found, stage))
        for name, result in found.items():
            show_tables(
                _table(name, result), *(f"{said}." for said in (result.plateau_text(), result.threshold()) if said)
            )
            if result.replicates is not None:
                replicated.show(result.replicates, f"{result.replicates_text()}.", pairs=False)
            note_failures(result.failures, int(result.responses.groupby("dose")["n"].first().sum()))
        _write(found, stage)


def _table(name: str, result: DoseResponse) -> Any:
    """Patients in response (MR or better) by dose, with limits."""
    heads = ("dose, 1e6 cells", *(f"month {month:g}, %" for month in result.plateaus), "Cmax", "AUC0-28")
    view = new_table(f"Burden {name}: MR or better as observed (95 % limits), median exposure", *heads, right=heads)
    for dose, rows in result.summary.groupby("dose"):
        cells = [f"{row.percent:.1f} ({row.low:.1f}-{row.high:.1f})" for row in rows.itertuples()]
        medians = rows.iloc[0]
        view.add_row(f"{dose / 1e6:g}", *cells, f"{medians['Cmax']:,.0f}", f"{medians['AUC0-28']:,.0f}")
    return view


def _write(found: dict[str, DoseResponse], stage: Path) -> None:
    """The tables of all burdens together, with a column that says which."""
    import pandas as pd

    tables = {name: result.tables() for name, result in found.items()}
    for file in next(iter(tables.values())):
        parts = [own[file].assign(burden=name) for name, own in tables.items()]
        table = pd.concat(parts, ignore_index=True)
        write_table(table[["burden", *table.columns.drop("burden")]], stage / file)
    about = {name: result.about() for name, result in found.items()}
    (stage / "dose_response.json").write_text(json.dumps(about, indent=2) + "\n")


def _figures(found: dict[str, DoseResponse], stage: Path) -> dict[Path, Callable[[], Any]]:
    from cartsim import plots

    again = {f"Burden {name}": result.replicates for name, result in found.items() if result.replicates is not None}
    figures: dict[Path, Callable[[], Any]] = {}
    if again:
        figures[stage / "replicates_by_dose.png"] = partial(plots.replicates_by_dose, again)
    verdicts = (f"Burden {name}. {result.plateau_text()}." for name, result in found.items())
    said = f"As observed. Whiskers: 95 % Wilson limits. {' '.join(verdicts)}"
    responses = {f"Burden {name}": result.responses for name, result in found.items()}
    claimed = next(iter(found.values())).claimed
    slopes = " ".join(
        f"Burden {name}: {', '.join(f'{row.measure} ~ dose^{row.exponent:.3f}' for row in result.slopes.itertuples())}."
        for name, result in found.items()
    )
    exposures = {f"Burden {name}": result.exposure for name, result in found.items()}
    note = f"As sampled. Within patients: {slopes}"
    return figures | {
        stage / "dose_response.png": partial(plots.response_by_dose, responses, claimed=claimed, note=said),
        stage / "exposure.png": partial(plots.exposure_by_dose, exposures, note=note),
    }
