"""``cartsim sweep``: contours over any two of dose, covariates and parameters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import cartsim as cs
from cartsim.cli import complete
from cartsim.cli.design import one_dose
from cartsim.cli.grammar import parse_grid, parse_named
from cartsim.cli.options import Dose, Horizon, OtherName, Out, Pictures, Plan, Study, Who, given
from cartsim.cli.output import interruptible, new_table, number, ranged, show_result
from cartsim.cli.run import filled
from cartsim.errors import InputError
from cartsim.files import writable_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cartsim.experiments.sweep import Sweep

_FILES = ("grid.csv", "grid.json", "contours.png", "rate.png", "limits.png")
_DEFAULT = ["dose=50e6:800e6:24", "burden=5:95:24"]


def sweep(
    study: Study,
    model: OtherName = None,
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
    from cartsim.experiments.measures import default_measures

    for option in given(study, Who, Plan):
        if not rate and option not in ("--set", "--burden", "--seed"):
            raise InputError(f"{option} goes with --rate, a trial in each cell; give both, or leave it out")
    axes, cells = _axes(over or _DEFAULT, log or []), one_dose(dose)
    for name, text in (("dose", dose), ("burden", study.burden)):
        if name in axes and text is not None:
            instead = "" if over else f"; without --over, {' and '.join(axes)} are swept: say with --over what is"
            raise InputError(f"--{name} {text}: {name} is swept too; give one of the two{instead}")
    patients = study.of(model)
    if not rate and study.burden and "burden" in patients.held:
        raise InputError(f"--burden {study.burden}: give one percentage, or --rate, a trial in each cell")
    if study.replicates is not None and not (rate or study.uncertainty):
        raise InputError("--replicates goes with --rate, a trial in each cell, or with --uncertainty; give one of them")
    if study.checkpoint is not None:
        writable_folder(study.checkpoint)
    solver, how = study.solver(), study.anew() | study.settings()
    with filled(out, _FILES) as stage:
        if rate:
            n = study.n or (None if study.patients else 500)
            trial = cs.Trial(patients, [_arm(patients, cells)], n, study.protocol(), solver)
            found = interruptible(lambda: cs.sweep_trials(trial, axes, **how))
        else:
            typical = patients if isinstance(patients, cs.Population) else patients.model
            reading = cs.Reading(default_measures(patients.model, day=day, level=below), horizon)
            found = interruptible(lambda: cs.sweep(typical, axes, dose=cells, reading=reading, solver=solver, **how))
        show_result(found, _extremes(found, rate))
        found.save(stage)
        if pictures:
            _draw(patients.model, found, rate, stage, pictures)


def _arm(patients: cs.Population | cs.Patients, dose: float | None) -> cs.Arm | float:
    """The dose asked for, the patients' own doses, or the model's."""
    own, dosing = getattr(patients, "dose", None), patients.model.dosing
    if own is not None and dose is not None:
        raise InputError(f"--dose {dose:g} and the patients' column dose disagree; give one of the two")
    if own is not None:
        return cs.Arm(regimen=cs.Regimen.single(), name="own doses")
    return dose if dose is not None else dosing.dose if dosing else 0.0


def _axes(over: list[str], log: list[str]) -> dict[str, NDArray[np.float64]]:
    """The grids of "burden=5:95:24", by name."""
    texts = parse_named(over, "--over", "NAME=LOW:HIGH:POINTS, such as Kexp_max=0.5:3:24")
    for name in log:
        if name not in texts:
            raise InputError(f"--log {name}: it is not swept; sweep it, or leave --log {name} out")
    return {name: parse_grid(text, "log" if name in log else "linear") for name, text in texts.items()}


def _extremes(found: Sweep, rate: bool) -> Any:
    """The least and the greatest value of each column, and where; of trials, of some."""

    def shown(row: dict[str, Any], end: str) -> str:
        if f"{end}_low" in row:
            return ranged(row, f"{end}{{}}", "{} ({} to {})", ".3g")
        return number(row[end], ".4g")

    rows = found.summary.set_index("quantity", drop=False)
    rows = rows.loc[["ORR", "CR", "PFS_months", "Cmax", "AUC0-28"]] if rate else rows
    view = new_table(
        f"{len(found.table)} cells: lowest and highest",
        "",
        *("lowest", "at", "highest", "at"),
        right=("lowest", "highest"),
    )
    for row in rows.to_dict("records"):
        view.add_row(row["quantity"], shown(row, "lowest"), row["lowest_at"], shown(row, "highest"), row["highest_at"])
    return view


def _draw(model: cs.Model, found: Sweep, rate: bool, stage: Path, pictures: Pictures) -> None:
    from cartsim.experiments.sweep import expansion_note

    labels = {name: f"{name} ({model.parameters[name].unit})" for name in found.axes if name not in ("dose", "burden")}
    if "replicates" in found.made_by:
        pictures.save(found.plot.limits(labels=labels), stage / "limits.png")
    said = ""
    if not rate and [*found.axes] == ["dose", "burden"] and "transgene" in model.outputs:
        try:
            said = expansion_note(model, burden=float(found.axes["burden"][0]))
        except InputError as problem:  # no reason to lose the sweep
            said = f"{problem}."
    pictures.save(found.plot.contours(labels=labels, note=said), stage / ("rate.png" if rate else "contours.png"))
