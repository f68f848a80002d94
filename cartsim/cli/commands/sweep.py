"""``cartsim sweep``: contours over any two of dose, covariates and parameters."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cartsim.cli.options import Extinction, Jobs, Name, Rtol, Settings
from cartsim.cli.output import interruptible, new_table, show_tables
from cartsim.cli.process import note
from cartsim.cli.run import filled
from cartsim.errors import InputError
from cartsim.solver import RTOL, Solver

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cartsim.experiments.sweep import Sweep
    from cartsim.model.reader import Model

_FILES = ("grid.csv", "grid.json", "contours.png", "rate.png")
_GRID = "a grid LOW:HIGH:POINTS or a list of values"


def sweep(
    model: Name = "bb2121_clinical",
    dose: Annotated[str | None, typer.Option(help=f"Cells infused: {_GRID}, or one dose for all cells.")] = None,
    burden: Annotated[str | None, typer.Option(help=f"Tumor burden in percent: {_GRID}, or one for all.")] = None,
    over: Annotated[
        list[str] | None, typer.Option(metavar="NAME=GRID", help=f"Any other parameter or covariate: {_GRID}.")
    ] = None,
    log: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Spread this grid by its logarithm.")] = None,
    rate: Annotated[
        bool, typer.Option("--rate", help="A trial in each cell: probability of response, CR rate, median PFS.")
    ] = False,
    n: Annotated[int, typer.Option("--n", min=1, help="With --rate: patients in each cell, the same ones.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="With --rate: seed of the patients.")] = 2021,
    horizon: Annotated[
        float | None, typer.Option(help="Without --rate: how long to simulate; half a year by default.")
    ] = None,
    day: Annotated[float, typer.Option(help="Without --rate: day on which falls are read beside the nadir.")] = 28.0,
    below: Annotated[
        float, typer.Option(help="Without --rate: M-protein change (percent) below which days are counted.")
    ] = -50.0,
    set_: Settings = None,
    rtol: Rtol = RTOL,
    extinction: Extinction = None,
    jobs: Jobs = -1,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Folder for finished cells, to go on from after an interruption.")
    ] = None,
    pictures: Annotated[bool, typer.Option("--pictures/--no-pictures", help="Write the contours.")] = True,
    out: Annotated[Path, typer.Option(help="Folder for all files; those of an earlier run are replaced.")] = Path(
        "sweep"
    ),
) -> None:
    """Sweep two quantities: contours and grid.csv.

    By default dose 50e6:800e6:24 against burden 5:95:24 for the typical patient: peak and time of peak of the
    transgene, its area to day 28, fall of sBCMA, M-protein and tumor, days with little M-protein. With --rate a
    trial of virtual patients in each cell.
    """
    from cartsim.cli.grammar import parse_assignments
    from cartsim.experiments import sweep as analysis
    from cartsim.experiments.measures import Reading, default_measures
    from cartsim.files import writable_folder
    from cartsim.model.reader import load
    from cartsim.population.population import Population
    from cartsim.trial.trial import Trial

    chosen = load(model).override(parse_assignments(set_ or []))
    if dose is None and burden is None and not over:
        dose, burden = "50e6:800e6:24", "5:95:24"
    chosen, axes, fixed_dose = _axes(chosen, dose, burden, over or [], log or [])
    if checkpoint is not None:
        writable_folder(checkpoint)
    solver = Solver(rtol, extinction)
    how: dict[str, Any] = {"n_jobs": jobs, "progress": sys.stderr.isatty(), "checkpoint": checkpoint}
    with filled(out, _FILES, resume=checkpoint) as stage:
        if rate:
            cells = fixed_dose if fixed_dose is not None else chosen.dosing.dose if chosen.dosing else 0.0
            trial = Trial(Population(chosen, seed), [cells], n, solver=solver)
            found = interruptible(lambda: analysis.sweep_trials(trial, axes, **how))
        else:
            reading = Reading(default_measures(chosen, day=day, level=below), horizon)
            found = interruptible(
                lambda: analysis.sweep(chosen, axes, dose=fixed_dose, reading=reading, solver=solver, **how)
            )
        show_tables(_ranges(found, rate))
        if len(found.failures):
            what = "patients failed" if rate else "no complete result"
            note(f"{len(found.failures)} cells: {what}; see the column {'failed' if rate else 'status'}")
        found.save(stage)
        if pictures:
            _draw(chosen, found, rate, fixed_dose, stage)


def _axes(
    model: Model, dose: str | None, burden: str | None, over: list[str], log: list[str]
) -> tuple[Model, dict[str, NDArray[np.float64]], float | None]:
    """The model with what is fixed, the axes in the order dose, burden, others, and the dose where it is fixed."""
    from cartsim.cli.grammar import parse_grid

    texts: dict[str, str] = {}
    fixed: dict[str, float] = {}
    for name, text in (("dose", dose), ("burden", burden)):
        if text is None:
            continue
        try:
            fixed[name] = float(text)
        except ValueError:
            texts[name] = text
    for piece in over:
        name, equals, text = (part.strip() for part in piece.partition("="))
        if not (name and equals and text):
            raise InputError(f"--over {piece}: write NAME=LOW:HIGH:POINTS, such as Kexp_max=0.5:3:24")
        if name in texts or name in fixed:
            raise InputError(f"--over {name}: {name} is given twice; give it once")
        texts[name] = text
    for name in log:
        if name not in texts:
            raise InputError(f"--log {name}: it is not swept; sweep it, or leave --log {name} out")
    axes = {name: parse_grid(text, "log" if name in log else "linear") for name, text in texts.items()}
    only_dose = fixed.pop("dose", None)
    return model.override(fixed), axes, only_dose


def _ranges(found: Sweep, rate: bool) -> object:
    """The least and the greatest value of each column, and where."""
    import numpy as np

    names = ["ORR", "CR", "PFS", "Cmax", "AUC0-28"] if rate else list(found.table.columns[2:])
    names = [name for name in names if found.table[name].dtype.kind == "f"]
    first, second = found.axes
    view = new_table(
        f"{len(found.table)} cells: lowest and highest",
        "",
        "lowest",
        "at",
        "highest",
        "at",
        right=("lowest", "highest"),
    )
    for name in names:
        values = found.table[name].to_numpy()
        if not np.isfinite(values).any():
            view.add_row(name, "NE", "", "NE", "")
            continue
        cells = []
        for k in (int(np.nanargmin(values)), int(np.nanargmax(values))):
            row = found.table.iloc[k]
            cells += [f"{values[k]:.4g}", f"{first} {row[first]:.3g}, {second} {row[second]:.3g}"]
        view.add_row(name, *cells)
    return view


def _draw(model: Model, found: Sweep, rate: bool, dose: float | None, stage: Path) -> None:
    from cartsim.experiments.sweep import expansion_note
    from cartsim.plots import save
    from cartsim.plots import sweep as draw

    x, y = found.axes
    labels = {name: f"{name} ({model.parameters[name].unit})" for name in found.axes if name not in ("dose", "burden")}
    if rate:
        save(draw.rate_contour(found.table, x, y, labels=labels), stage / "rate.png")
        return
    said = ""
    if (x, y) == ("dose", "burden") and "transgene" in model.outputs:
        try:
            said = expansion_note(model, burden=float(found.axes[y][0]))
        except InputError as problem:  # no reason to lose the sweep
            said = f"{problem}."
    save(
        draw.contours(found.table, x, y, labels=labels, title=f"Typical patient: {x} and {y}", note=said),
        stage / "contours.png",
    )
