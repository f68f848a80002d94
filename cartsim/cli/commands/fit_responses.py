"""``cartsim fit-responses``: every patient of a data set fitted to response categories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

import cartsim as cs
from cartsim.cli.design import error_models, rules, settings_of
from cartsim.cli.grammar import parse_assignments
from cartsim.cli.options import Criteria, Errors, Estimate, Jobs, Omegas, Out, Pictures, Seed, Steps
from cartsim.cli.output import interruptible, show_result, table_of
from cartsim.cli.run import filled
from cartsim.errors import InputError, choices
from cartsim.files import save_tables

if TYPE_CHECKING:
    from rich.table import Table

    from cartsim.fitting import CategoryRules, IndividualFits

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
    judged_by, errors = category_rules(criteria, progression, pd_absolute), of_outputs(error)
    chosen, solver = estimated(estimate, omega, data, model, judged_by), steps.solver()
    with filled(out, _FILES) as stage:
        fits = interruptible(
            lambda: cs.fit_individuals(
                model, data, chosen, rules=judged_by, errors=errors, draws=draws, seed=seed, solver=solver, n_jobs=jobs
            )
        )
        show_result(fits, _summary(fits))
        _write(fits, stage, pictures)
    if not fits.modes.converged.all():
        raise typer.Exit(1)


def estimated(
    estimate: str | None, omega: Sequence[str] | None, data: str, model: str, judged_by: CategoryRules
) -> Sequence[str] | dict[str, float | None] | None:
    """What is estimated, with the SDs that --omega gives; None for the default parameters and SDs."""
    from cartsim.fitting import patient_data
    from cartsim.fitting.individual import chosen_parameters

    names: Sequence[str] | None = None if estimate is None else [name.strip() for name in estimate.split(",")]
    given = parse_assignments(omega, "--omega")
    if not given:
        return names
    if names is None:
        names = chosen_parameters(None, patient_data(data, cs.load(model), judged_by))
    for name in given:
        if name not in names:
            raise InputError(f"--omega {name}: it is not estimated{choices(name, names)}")
    return {name: given.get(name) for name in names}


def category_rules(criteria: Sequence[str] | None, progression: str, pd_absolute: float) -> CategoryRules:
    """The rules of the categories from options."""
    from cartsim.fitting import CategoryRules

    bins = rules(settings_of(criteria), of="singh_landmark", further=()).landmark
    return CategoryRules(bins, progression, pd_absolute)


def of_outputs(texts: Sequence[str] | None) -> dict[str, cs.ErrorModel]:
    """Error models, each of an output."""
    found = error_models(texts)
    if "" in found:
        raise InputError(f"--error {found[''].kind}: write OUTPUT=KIND:NAME=SD, such as category=lognormal:log=0.1")
    return found


def _summary(fits: IndividualFits) -> Table:
    agreement = fits.patients["agreement"].mean()
    shown = "" if np.isnan(agreement) else f", {100 * agreement:.0f} % of categories as observed"
    title = f"{len(fits.data.ids)} patients, {fits.data.observations} observations{shown}; -2LL {fits.minus_2LL:.1f}"
    columns = {"parameter": "{parameter}", "typical": "{typical:.3g}", "omega": "{omega:.3g}",
               "mean eta": "{mean_eta:.3g}", "SD of eta": "{sd_eta:.3g}",
               "shrinkage": lambda row: f"{100 * row['shrinkage']:.0f} %"}  # fmt: skip
    return table_of(title, fits.shrinkage, columns)


def _write(fits: IndividualFits, stage: Path, pictures: Pictures) -> None:
    save_tables(stage, fits.tables(), ("fits.json", fits.about()))
    if pictures and fits.data.responses is not None:
        pictures.save(fits.plot.categories(list(fits.data.ids)), stage / "fits.png")
        pictures.save(fits.plot.survival(), stage / "pfs.png")
