"""``cartsim population``: typical values and variability estimated from individual patients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import cartsim as cs
from cartsim.cli.grammar import parse_names
from cartsim.cli.options import Out, Pictures, Seed, Steps, Work
from cartsim.cli.output import interruptible, show_result, table_of
from cartsim.cli.run import filled
from cartsim.cli.subjects import Data, Subjects
from cartsim.files import save_tables

if TYPE_CHECKING:
    from rich.table import Table

    from cartsim.fitting import PopulationFit

_FILES = ("estimates.csv", "trace.csv", "individuals.csv", "population.json", "convergence.png")


def population(
    data: Data,
    subjects: Subjects,
    steps: Steps,
    work: Work,
    fix_mean: Annotated[
        str, typer.Option(help="Parameters whose typical value is held at the model's, with commas between.")
    ] = "",
    full: Annotated[bool, typer.Option("--full", help="Estimate correlations too.")] = False,
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
    from cartsim.fitting import Saem

    asked, solver, how = subjects.of(data), steps.solver(), work.settings()
    jobs = how.pop("n_jobs")
    saem = Saem(explore, smooth, full, seed, parse_names(fix_mean), **how)
    with filled(out, _FILES) as stage:
        fit = interruptible(lambda: cs.fit_population(**asked, saem=saem, solver=solver, n_jobs=jobs))
        show_result(fit, _estimates(fit))
        save_tables(stage, fit.tables(), ("population.json", fit.about()))
        if pictures:
            pictures.save(fit.plot.trace(), stage / "convergence.png")
    if not fit.converged:
        raise typer.Exit(1)


def _estimates(fit: PopulationFit) -> Table:
    def limits(row: dict[str, Any]) -> str:
        key = (row["kind"], row["name"])
        if row["se"] == row["se"]:
            return f"{row['low']:.4g} to {row['high']:.4g}"
        if key in fit.limits:
            return "at its limit"
        return "held" if key not in fit.names else "not known" if fit.settled else "not converged"

    likely = f"-2LL {fit.minus_2LL:.1f} (Monte Carlo SE {fit.minus_2LL_se:.1f}), AIC {fit.aic:.1f}"
    columns = {
        "estimate": lambda row: row["name"] if row["kind"] == "typical" else f"{row['kind']} {row['name']}",
        "value": "{value:.4g}",
        "RSE": lambda row: f"{100 * row['rse']:.0f} %" if row["se"] == row["se"] else "",
        "95 % limits": limits,
    }
    return table_of(f"{fit.likelihood.n} patients; {likely}", fit.estimates, columns)
