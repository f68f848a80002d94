"""``cartsim sweep``: contours over any two of dose, covariates and parameters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cartsim.cli import complete
from cartsim.cli.options import Dose, Horizon, Name, Often, Out, Pictures, Plan, Steps, Who, Work, given
from cartsim.cli.output import interruptible, new_table, show_tables
from cartsim.cli.process import note
from cartsim.cli.run import filled
from cartsim.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cartsim.experiments.sweep import Sweep
    from cartsim.model.reader import Model
    from cartsim.population.patients import Patients
    from cartsim.population.population import Population
    from cartsim.trial.trial import Arm

_FILES = ("grid.csv", "grid.json", "contours.png", "rate.png", "limits.png")
_DEFAULT = ["dose=50e6:800e6:24", "burden=5:95:24"]


def sweep(
    who: Who,
    plan: Plan,
    steps: Steps,
    work: Work,
    often: Often,
    model: Name = "bb2121_clinical",
    over: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=GRID",
            help="dose, burden or any other parameter that is swept: a grid LOW:HIGH:POINTS or a list of values.",
            autocompletion=complete.parameters,
        ),
    ] = None,
    log: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Spread this grid by its logarithm.")] = None,
    dose: Dose = None,
    rate: Annotated[
        bool, typer.Option("--rate", help="A trial in each cell: probability of response, CR rate, median PFS.")
    ] = False,
    horizon: Horizon = None,
    day: Annotated[float, typer.Option(help="Without --rate: day on which falls are read beside the nadir.")] = 28.0,
    below: Annotated[
        float, typer.Option(help="Without --rate: M-protein change (percent) below which days are counted.")
    ] = -50.0,
    pictures: Pictures = Pictures(),  # noqa: B008 (frozen)
    out: Out = Path("sweep"),
) -> None:
    """Sweep two quantities: contours and grid.csv.

    By default --over dose=50e6:800e6:24 --over burden=5:95:24 for the typical patient: peak and time of peak of the
    transgene, its area to day 28, fall of sBCMA, M-protein and tumor, days with little M-protein, in half a year or
    until --horizon. With --rate a trial of virtual patients in each cell. With --uncertainty limits of each number,
    of --replicates draws of the estimates; with --rate and --replicates limits from trial to trial.
    """
    from cartsim.cli import design
    from cartsim.experiments import sweep as analysis
    from cartsim.experiments.measures import Reading, default_measures
    from cartsim.files import writable_folder
    from cartsim.population.population import Population
    from cartsim.trial.trial import Trial

    for option in given(who) + given(plan):
        if not rate and option not in ("--set", "--burden", "--seed"):
            raise InputError(f"{option} goes with --rate, a trial in each cell; give both, or leave it out")
    axes, fixed_dose = _axes(over or _DEFAULT, log or []), design.one_dose(dose)
    for name, text in (("dose", dose), ("burden", who.burden)):
        if name in axes and text is not None:
            raise InputError(f"--over {name}: {name} is given twice; give it once")
    patients = who.of(model)
    chosen = patients.model
    if not rate and who.burden and "burden" in patients.held:
        raise InputError(f"--burden {who.burden}: give one percentage, or --rate, a trial in each cell")
    if often.replicates is not None and not (rate or often.uncertainty):
        raise InputError("--replicates goes with --rate, a trial in each cell, or with --uncertainty; give one of them")
    if work.checkpoint is not None:
        writable_folder(work.checkpoint)
    solver, how = steps.solver(), often.settings() | work.settings()
    with filled(out, _FILES) as stage:
        if rate:
            n = who.n or (None if who.patients else 500)
            trial = Trial(patients, [_arm(patients, fixed_dose)], n, plan.protocol(), solver)
            found = interruptible(lambda: analysis.sweep_trials(trial, axes, **how))
        else:
            typical = patients if isinstance(patients, Population) else chosen
            reading = Reading(default_measures(chosen, day=day, level=below), horizon)
            found = interruptible(
                lambda: analysis.sweep(typical, axes, dose=fixed_dose, reading=reading, solver=solver, **how)
            )
        show_tables(_ranges(found, rate))
        for warning in found.warnings:
            note(warning)
        found.save(stage)
        if pictures:
            _draw(chosen, found, rate, fixed_dose, stage, pictures)


def _arm(patients: Population | Patients, dose: float | None) -> Arm | float:
    """The dose asked for, the patients' own doses, or the model's."""
    from cartsim.regimen import Regimen
    from cartsim.trial.trial import Arm

    own, dosing = getattr(patients, "dose", None), patients.model.dosing
    if own is not None and dose is not None:
        raise InputError(f"--dose {dose:g} and the patients' column dose disagree; give one of the two")
    if own is not None:
        return Arm(regimen=Regimen.single(), name="own doses")
    return dose if dose is not None else dosing.dose if dosing else 0.0


def _axes(over: list[str], log: list[str]) -> dict[str, NDArray[np.float64]]:
    """The grids of "burden=5:95:24", by name."""
    from cartsim.cli.grammar import parse_grid

    texts: dict[str, str] = {}
    for piece in over:
        name, equals, text = (part.strip() for part in piece.partition("="))
        if not (name and equals and text):
            raise InputError(f"--over {piece}: write NAME=LOW:HIGH:POINTS, such as Kexp_max=0.5:3:24")
        if name in texts:
            raise InputError(f"--over {name}: {name} is given twice; give it once")
        texts[name] = text
    for name in log:
        if name not in texts:
            raise InputError(f"--log {name}: it is not swept; sweep it, or leave --log {name} out")
    return {name: parse_grid(text, "log" if name in log else "linear") for name, text in texts.items()}


def _ranges(found: Sweep, rate: bool) -> object:
    """The least and the greatest value of each column, and where."""
    import numpy as np

    names = ["ORR", "CR", "PFS_months", "Cmax", "AUC0-28"] if rate else list(found.table.columns[2:])
    names = [name for name in names if found.table[name].dtype.kind == "f" and not name.endswith(("_low", "_high"))]
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
            limits = [row[name + end] for end in ("_low", "_high") if name + end in row]
            shown = f"{values[k]:.4g}" + (f" ({limits[0]:.3g} to {limits[1]:.3g})" if limits else "")
            cells += [shown, f"{first} {row[first]:.3g}, {second} {row[second]:.3g}"]
        view.add_row(name, *cells)
    return view


def _draw(model: Model, found: Sweep, rate: bool, dose: float | None, stage: Path, pictures: Pictures) -> None:
    from cartsim.experiments.sweep import expansion_note

    x, y = found.axes
    labels = {name: f"{name} ({model.parameters[name].unit})" for name in found.axes if name not in ("dose", "burden")}
    if "replicates" in found.made_by:
        pictures.save(found.plot.limits(labels=labels), stage / "limits.png")
    if rate:
        pictures.save(found.plot.contours(labels=labels), stage / "rate.png")
        return
    said = ""
    if (x, y) == ("dose", "burden") and "transgene" in model.outputs:
        try:
            said = expansion_note(model, burden=float(found.axes[y][0]))
        except InputError as problem:  # no reason to lose the sweep
            said = f"{problem}."
    pictures.save(found.plot.contours(labels=labels, note=said), stage / "contours.png")
