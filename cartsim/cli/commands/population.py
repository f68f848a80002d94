"""``cartsim population``: typical values and variability estimated from individual patients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from cartsim.cli.commands.fit_responses import (
    Data,
    ModelOption,
    PdAbsolute,
    Progression,
    category_rules,
    estimated,
    of_outputs,
)
from cartsim.cli.design import names
from cartsim.cli.options import Criteria, Errors, Estimate, Omegas, Out, Pictures, Seed, Steps, Work
from cartsim.cli.output import interruptible, new_table, show_tables
from cartsim.cli.process import note
from cartsim.cli.run import filled
from cartsim.files import save_tables

if TYPE_CHECKING:
    from rich.table import Table

    from cartsim.fitting.population import PopulationFit

_FILES = ("estimates.csv", "trace.csv", "individuals.csv", "population.json", "convergence.png")


def population(
    data: Data,
    steps: Steps,
    work: Work,
    model: ModelOption = "bb2121_clinical",
    estimate: Estimate = None,
    fix_mean: Annotated[
        str, typer.Option(help="Parameters whose typical value is held at the model's, with commas between.")
    ] = "",
    full: Annotated[bool, typer.Option("--full", help="Estimate correlations too.")] = False,
    omega: Omegas = None,
    criteria: Criteria = None,
    progression: Progression = "nadir",
    pd_absolute: PdAbsolute = 0.0,
    error: Errors = None,
    explore: Annotated[int, typer.Option(max=1_000_000, help="Iterations with step 1.")] = 150,
    smooth: Annotated[int, typer.Option(max=1_000_000, help="Iterations that average.")] = 100,
    seed: Seed = 2021,
    pictures: Pictures = Pictures(),  # noqa: B008 (frozen)
    out: Out = Path("population"),
) -> None:
    """Estimate typical values and variability from individual patients, by SAEM: table, files, picture.

    Categories, measured values and values below a limit ("<50") count together. The search begins at --omega; what
    has none there nor in the model's file, or 0, is estimated as the same in all patients, such as the exponent of a
    covariate. Error SDs that --error leaves out are estimated, that of categories is held. Exits with 1, all files
    written, when the fit did not converge.
    """
    from cartsim.fitting.population import Saem, fit_population

    rules, errors = category_rules(criteria, progression, pd_absolute), of_outputs(error)
    chosen = estimated(estimate, omega, data, model, rules)
    saem = Saem(explore, smooth, full, seed, names(fix_mean), work.checkpoint)
    solver, jobs = steps.solver(), work.jobs
    with filled(out, _FILES) as stage:
        fit = interruptible(
            lambda: fit_population(
                model, data, chosen, rules=rules, errors=errors, saem=saem, solver=solver, n_jobs=jobs
            )
        )
        show_tables(_estimates(fit))
        for warning in fit.warnings:
            note(warning)
        _write(fit, stage, pictures)
    if not fit.converged:
        raise typer.Exit(1)


def _estimates(fit: PopulationFit) -> Table:
    likely = f"-2LL {fit.minus_2LL:.1f} (Monte Carlo SE {fit.minus_2LL_se:.1f}), AIC {fit.aic:.1f}"
    title = f"{fit.likelihood.n} patients; {likely}"
    table = new_table(title, "estimate", "value", "RSE", "95 % limits", right=("value", "RSE", "95 % limits"))
    for row in fit.estimates.itertuples():
        name = row.name if row.kind == "typical" else f"{row.kind} {row.name}"
        if np.isnan(row.se):
            key = (row.kind, row.name)
            why = "held" if key not in fit.names else "not known" if fit.settled else "not converged"
            why = "at its limit" if key in fit.limits else why
            table.add_row(name, f"{row.value:.4g}", "", why)
        else:
            table.add_row(name, f"{row.value:.4g}", f"{100 * row.rse:.0f} %", f"{row.low:.4g} to {row.high:.4g}")
    return table


def _write(fit: PopulationFit, stage: Path, pictures: Pictures) -> None:
    save_tables(stage, fit.tables(), ("population.json", fit.about()))
    if pictures:
        pictures.save(fit.plot.trace(), stage / "convergence.png")
