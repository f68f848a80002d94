"""``cartsim dose-response``: response and exposure against dose."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cartsim.cli.options import Extinction, Jobs, Name, Rtol, Settings
from cartsim.cli.output import interruptible, new_table, note_failures, show_tables, write_table
from cartsim.cli.run import filled
from cartsim.errors import InputError
from cartsim.solver import RTOL, Solver

if TYPE_CHECKING:
    from cartsim.experiments.dose_response import DoseResponse

_TABLES = ("responses.csv", "differences.csv", "exposure.csv", "slopes.csv", "plateaus.csv")
_LATEST = 1200  # months: nobody is followed for longer
_OTHERS = ("dose_response.json", "dose_response.png", "exposure.png")


def dose_response(
    model: Name = "bb2121_clinical",
    dose: Annotated[
        str, typer.Option(help="Cells infused, with commas between, or a grid LOW:HIGH:POINTS.")
    ] = "10e6,20e6,50e6,100e6,150e6,200e6,300e6,450e6,600e6,800e6,1000e6",
    burden: Annotated[
        str,
        typer.Option(help="Of the patients: fixed, uniform (5 to 95 %), karmma (half at 50 % or more); or several."),
    ] = "fixed,uniform",
    landmarks: Annotated[str, typer.Option(help="Months at which patients are judged.")] = "6,21",
    n: Annotated[int, typer.Option("--n", min=1, help="Patients, the same ones at every dose.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the patients.")] = 2021,
    rules: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Setting of the landmark bins, such as cr=-95.")
    ] = None,
    set_: Settings = None,
    rtol: Rtol = RTOL,
    extinction: Extinction = None,
    jobs: Jobs = -1,
    pictures: Annotated[bool, typer.Option("--pictures/--no-pictures", help="Write the PNG pictures.")] = True,
    out: Annotated[Path, typer.Option(help="Folder for all files; those of an earlier run are replaced.")] = Path(
        "dose_response"
    ),
) -> None:
    """Response categories against dose, and where a plateau begins.

    Prints the share of patients in response with Monte Carlo limits and what the doses say of a plateau; writes
    tables, with a column for the burden, and pictures.
    """
    from cartsim.cli import design
    from cartsim.cli.grammar import parse_assignments, parse_doses, parse_grid
    from cartsim.experiments import dose_response as analysis
    from cartsim.model.reader import load
    from cartsim.trial.protocol import Protocol, Visits

    chosen = load(model).override(parse_assignments(set_ or []))
    doses = parse_grid(dose) if ":" in dose else parse_doses(dose)
    names = [name.strip() for name in burden.split(",")]
    for name in names:
        if name not in analysis.BURDENS or names.count(name) > 1:
            raise InputError(f"--burden {burden}: give {', '.join(analysis.BURDENS)}, or some of them, each once")
    try:
        months = [float(text) for text in landmarks.split(",")]
    except ValueError:
        raise InputError(f"--landmarks {landmarks}: give months with commas between, such as 6,21") from None
    if not all(0 < month <= _LATEST for month in months):
        raise InputError(f"--landmarks {landmarks}: give months above 0, at most {_LATEST:,}")
    treat = partial(
        analysis.dose_response,
        doses=list(doses),
        n=n,
        protocol=Protocol(Visits(landmarks=tuple(months)), rules=design.rules(rules or [], "fda", 50.0)),
        solver=Solver(rtol, extinction),
        n_jobs=jobs,
        progress=sys.stderr.isatty(),
    )
    patients = {name: analysis.with_burden(chosen, name, seed=seed) for name in names}
    with filled(out, (*_TABLES, *_OTHERS)) as stage:
        found = {name: interruptible(partial(treat, who)) for name, who in patients.items()}
        for name, result in found.items():
            show_tables(_table(name, result), f"{result.threshold()}.")
            note_failures(result.failures, n * len(result.doses))
        _write(found, stage)
        if pictures:
            _draw(found, stage)


def _table(name: str, result: DoseResponse) -> Any:
    """Patients in response (MR or better) by dose, with limits."""
    from cartsim.endpoints.rates import wilson
    from cartsim.experiments.dose_response import RESPONSE

    heads = ("dose, 1e6 cells", *(f"month {month:g}, %" for month in result.plateaus), "Cmax", "AUC0-28")
    view = new_table(f"Burden {name}: MR or better (95 % limits), median exposure", *heads, right=heads)
    counts = result.responses[result.responses["category"].isin(RESPONSE)]
    for dose in result.doses:
        cells = [f"{dose / 1e6:g}"]
        for month in result.plateaus:
            own = counts[(counts["dose"] == dose) & (counts["landmark"] == month)]
            count, size = own["count"].sum(), own["n"].iloc[:1].to_numpy()
            low, high = wilson(size * 0 + count, size)
            cells.append(f"{100 * count / size[0]:.1f} ({100 * low[0]:.1f}-{100 * high[0]:.1f})")
        medians = result.exposure[result.exposure["dose"] == dose].set_index("measure")["p50"]
        view.add_row(*cells, f"{medians['Cmax']:,.0f}", f"{medians['AUC0-28']:,.0f}")
    return view


def _write(found: dict[str, DoseResponse], stage: Path) -> None:
    """The tables of all burdens together, with a column that says which."""
    import pandas as pd

    for file in _TABLES:
        parts = [result.tables()[file].assign(burden=name) for name, result in found.items()]
        table = pd.concat(parts, ignore_index=True)
        write_table(table[["burden", *table.columns.drop("burden")]], stage / file)
    about = {name: result.about() for name, result in found.items()}
    (stage / "dose_response.json").write_text(json.dumps(about, indent=2) + "\n")


def _draw(found: dict[str, DoseResponse], stage: Path) -> None:
    from cartsim import plots

    said = "Bands: 95 % Wilson limits. " + " ".join(
        f"Burden {name}, {', '.join(f'month {month:g}: plateau {p.verdict}' for month, p in result.plateaus.items())}."
        for name, result in found.items()
    )
    responses = {f"Burden {name}": result.responses for name, result in found.items()}
    plots.save(plots.response_by_dose(responses, note=said), stage / "dose_response.png")
    slopes = " ".join(
        f"Burden {name}: {', '.join(f'{row.measure} ~ dose^{row.exponent:.3f}' for row in result.slopes.itertuples())}."
        for name, result in found.items()
    )
    exposures = {f"Burden {name}": result.exposure for name, result in found.items()}
    note = f"As sampled. Within patients: {slopes}"
    plots.save(plots.exposure_by_dose(exposures, note=note), stage / "exposure.png")
