"""``cartsim fit-responses``: every patient of a data set fitted to response categories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from cartsim.cli.grammar import parse_assignments
from cartsim.cli.options import Criteria, Errors, Estimate, Jobs, Omegas, Out, Pictures, Seed, Steps
from cartsim.cli.output import interruptible, new_table, show_tables
from cartsim.cli.process import note
from cartsim.cli.run import filled
from cartsim.errors import InputError, choices
from cartsim.files import save_tables

if TYPE_CHECKING:
    from rich.table import Table

    from cartsim.fitting.data import CategoryRules
    from cartsim.fitting.errors import ErrorModel
    from cartsim.fitting.individual import IndividualFits

_FILES = ("parameters.csv", "shrinkage.csv", "patients.csv", "categories.csv", "pfs.csv", "fits.json", "fits.png",
          "pfs.png")  # fmt: skip

Data = Annotated[
    str, typer.Argument(help="CSV file: id, dose, time, category or output and value; or crb401_synthetic, an example.")
]
ModelOption = Annotated[str, typer.Option(help="A model's name, or the path of a .toml file.")]
Progression = Annotated[
    str, typer.Option(help="PD is a rise above the lowest value so far (nadir) or above the baseline (baseline).")
]
PdAbsolute = Annotated[float, typer.Option(help="Least rise in g/L of PD from the nadir; needs the column M0.")]


def fit_responses(
    data: Data,
    steps: Steps,
    model: ModelOption = "bb2121_clinical",
    estimate: Estimate = None,
    omega: Omegas = None,
    criteria: Criteria = None,
    progression: Progression = "nadir",
    pd_absolute: PdAbsolute = 0.0,
    error: Errors = None,
    draws: Annotated[int, typer.Option(min=1, max=1_000_000, help="Draws from the posterior of each patient.")] = 1000,
    seed: Seed = 2021,
    jobs: Jobs = 1,
    pictures: Pictures = Pictures(),  # noqa: B008 (frozen)
    out: Out = Path("fit-responses"),
) -> None:
    """Fit every patient to response categories: table, files, pictures.

    Individual parameters at the posterior mode, the population's variability being the prior, with posterior
    intervals; and progression-free survival of the fits against the observed one. Exits with 1, all files
    written, when a patient's search did not converge.
    """
    from cartsim.fitting.individual import fit_individuals

    rules, errors = category_rules(criteria, progression, pd_absolute), of_outputs(error)
    chosen, solver = estimated(estimate, omega, data, model, rules), steps.solver()
    with filled(out, _FILES) as stage:
        fits = interruptible(
            lambda: fit_individuals(
                model, data, chosen, rules=rules, errors=errors, draws=draws, seed=seed, solver=solver, n_jobs=jobs
            )
        )
        show_tables(_summary(fits))
        for warning in fits.warnings:
            note(warning)
        _write(fits, stage, pictures)
    if not fits.modes.converged.all():
        raise typer.Exit(1)


def estimated(
    estimate: str | None, omega: Sequence[str] | None, data: str, model: str, rules: CategoryRules
) -> Sequence[str] | dict[str, float | None] | None:
    """What is estimated, with the SDs that --omega gives; None for the default parameters and SDs."""
    from cartsim.fitting.data import patient_data
    from cartsim.fitting.individual import chosen_parameters
    from cartsim.model.reader import load

    names: Sequence[str] | None = None if estimate is None else [name.strip() for name in estimate.split(",")]
    given = parse_assignments(omega or [])
    if not given:
        return names
    if names is None:
        names = chosen_parameters(None, patient_data(data, load(model), rules))
    for name in given:
        if name not in names:
            raise InputError(f"--omega {name}: it is not estimated{choices(name, names)}")
    return {name: given.get(name) for name in names}


def category_rules(criteria: Sequence[str] | None, progression: str, pd_absolute: float) -> CategoryRules:
    """The rules of the categories from options."""
    from cartsim.cli.design import settings_of
    from cartsim.endpoints.rules import SinghLandmark, rules_from
    from cartsim.fitting.data import CategoryRules

    landmark = rules_from("singh_landmark", settings_of(criteria))
    assert isinstance(landmark, SinghLandmark)
    return CategoryRules(landmark, progression, pd_absolute)


def of_outputs(texts: Sequence[str] | None) -> dict[str, ErrorModel]:
    """Error models, each of an output."""
    from cartsim.cli.design import error_models

    found = error_models(texts)
    if "" in found:
        raise InputError(f"--error {found[''].kind}: write OUTPUT=KIND:NAME=SD, such as category=lognormal:log=0.1")
    return found


def _summary(fits: IndividualFits) -> Table:
    agreement = fits.patients["agreement"].mean()
    shown = "" if np.isnan(agreement) else f", {100 * agreement:.0f} % of categories as observed"
    title = f"{len(fits.data.ids)} patients, {fits.data.observations} observations{shown}; -2LL {fits.minus_2LL:.1f}"
    columns = ("typical", "omega", "mean eta", "SD of eta", "shrinkage")
    table = new_table(title, "parameter", *columns, right=columns)
    for row in fits.shrinkage.itertuples():
        cells = (row.typical, row.omega, row.mean_eta, row.sd_eta)
        table.add_row(row.parameter, *(f"{cell:.3g}" for cell in cells), f"{100 * row.shrinkage:.0f} %")
    return table


def _write(fits: IndividualFits, stage: Path, pictures: Pictures) -> None:
    save_tables(stage, fits.tables(), ("fits.json", fits.about()))
    if pictures and fits.data.responses is not None:
        pictures.save(fits.plot.categories(fits.data.ids), stage / "fits.png")
        pictures.save(fits.plot.survival(), stage / "pfs.png")
