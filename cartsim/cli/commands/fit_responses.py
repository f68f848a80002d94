"""``cartsim fit-responses``: every patient of a data set fitted to response categories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

import cartsim as cs
from cartsim.cli.options import Jobs, Out, Pictures, Seed, Steps
from cartsim.cli.output import interruptible, show_result, table_of
from cartsim.cli.run import filled
from cartsim.cli.subjects import Data, Subjects
from cartsim.files import save_tables

if TYPE_CHECKING:
    from rich.table import Table

    from cartsim.fitting import IndividualFits

_FILES = ("parameters.csv", "shrinkage.csv", "patients.csv", "categories.csv", "pfs.csv", "fits.json", "fits.png",
          "pfs.png")  # fmt: skip


def fit_responses(
    data: Data,
    subjects: Subjects,
    steps: Steps,
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
    asked, solver = subjects.of(data), steps.solver()
    with filled(out, _FILES) as stage:
        fits = interruptible(lambda: cs.fit_individuals(**asked, draws=draws, seed=seed, solver=solver, n_jobs=jobs))
        show_result(fits, _summary(fits))
        save_tables(stage, fits.tables(), ("fits.json", fits.about()))
        if pictures and fits.data.responses is not None:
            pictures.save(fits.plot.categories(fits.data.ids), stage / "fits.png")
            pictures.save(fits.plot.survival(), stage / "pfs.png")
    if not fits.modes.converged.all():
        raise typer.Exit(1)


def _summary(fits: IndividualFits) -> Table:
    agreement = fits.patients["agreement"].mean()
    shown = "" if np.isnan(agreement) else f", {100 * agreement:.0f} % of categories as observed"
    title = f"{len(fits.data.ids)} patients, {fits.data.observations} observations{shown}; -2LL {fits.minus_2LL:.1f}"
    columns = {
        "parameter": "{parameter}",
        "typical": "{typical:.3g}",
        "omega": "{omega:.3g}",
        "mean eta": "{mean_eta:.3g}",
        "SD of eta": "{sd_eta:.3g}",
        "shrinkage": lambda row: f"{100 * row['shrinkage']:.0f} %",
    }
    return table_of(title, fits.shrinkage, columns)
