"""``cartsim fit``: parameters of one or several models estimated from a user's own observations."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cartsim.cli.grammar import parse_assignments, parse_named, parse_names, parse_pair
from cartsim.cli.options import Dose, Errors, Estimate, FineSteps, Jobs, Name, Out, Pictures, Seed, Settings
from cartsim.cli.output import interruptible, show_result, table_of
from cartsim.cli.run import filled
from cartsim.errors import InputError, choices
from cartsim.files import save_tables
from cartsim.tables import finite_number, read_table

if TYPE_CHECKING:
    from cartsim.fitting import DataSet, Estimated, Fit, Prior, Profile

PROFILES = ("all", "others", "none", "no")
_FILES = ("estimates.csv", "correlation.csv", "starts.csv", "residuals.csv", "predictions.csv", "profiles.csv",
          "fit.json", "predictions.png", "residuals.png", "profiles.png")  # fmt: skip


def fit(
    model: Name,
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL=]DATA...",
            help="CSV files: id, time, output, value; and where they differ between ids dose, variant, covariates. "
            "Behind MODEL= a file that another model describes.",
        ),
    ],
    estimate: Estimate,
    steps: FineSteps,
    error: Errors = None,
    prior: Annotated[
        str | None,
        typer.Option(help="table1 (values and RSE of the model file), or the estimates.csv of an earlier fit."),
    ] = None,
    set_: Settings = None,
    start: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Where the search begins, other than at the model's value."),
    ] = None,
    limits: Annotated[list[str] | None, typer.Option(metavar="NAME=LOW:HIGH", help="Limits of an estimate.")] = None,
    linear: Annotated[
        str, typer.Option(help="Parameters estimated as they are and not as logarithms, with commas between.")
    ] = "",
    dose: Dose = None,
    starts: Annotated[int, typer.Option(min=1, max=1000, help="Searches, from places around the start.")] = 4,
    seed: Seed = 2021,
    profiles: Annotated[
        str,
        typer.Option(
            help="Likelihood profiles with all priors, without the parameter's own (others), without any (none), "
            "or no profiles (no)."
        ),
    ] = "all",
    level: Annotated[float, typer.Option(help="Of limits of confidence.")] = 0.95,
    jobs: Jobs = 1,
    pictures: Pictures = Pictures(),  # noqa: B008 (frozen)
    out: Out = Path("fit"),
) -> None:
    """Estimate parameters from observations: table, files, pictures.

    Maximum likelihood on the pooled data of all ids, or maximum posterior with --prior. Errors are proportional
    unless --error says otherwise; --dose is for data without a column dose. Prints estimates, relative standard
    errors and limits; exits with 1, all files written, when the search did not converge.

    Several files are fitted together: a parameter that their models share is one. What is of mouse.csv alone is
    written mouse.NAME, as in --estimate KC50,mouse.Kg --set mouse.tau=40 --error mouse.tumor_volume=combined, and its
    dose --dose mouse=5e6.
    """
    from cartsim.cli.data_sets import data_sets, refuse_set_and_estimated
    from cartsim.fitting import Problem, fit_problem

    if profiles not in PROFILES:
        raise InputError(f"--profiles {profiles}: choose from {', '.join(PROFILES)}")
    wanted = _estimated(estimate or "", start or [], limits or [], linear)
    free = [each.name for each in wanted]
    refuse_set_and_estimated(set_ or [], free)
    sets = data_sets(data, model, set_ or [], dose, error or [])
    solver, problem = steps.solver(), Problem(sets, wanted, _priors(prior, sets, free))

    def work() -> Fit:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the fit warns of is in its remarks
            return fit_problem(problem, starts=starts, seed=seed, level=level, solver=solver, n_jobs=jobs)

    with filled(out, _FILES) as stage:
        found = interruptible(work)
        show_result(found, _table(found), _quality(found))
        curves = {} if profiles == "no" else interruptible(lambda: found.profiles(priors=profiles, n_jobs=jobs))
        _write(found, curves, stage, pictures)
    if not found.converged:
        raise typer.Exit(1)


# --- options --------------------------------------------------------------------------------------------


def _estimated(estimate: str, start: Sequence[str], limits: Sequence[str], linear: str) -> list[Estimated]:
    """What to estimate, with the starts, limits and scales that options give for it."""
    from cartsim.fitting import Estimated

    wanted, straight, starts = parse_names(estimate), parse_names(linear), parse_assignments(start, "--start")
    write = "NAME=LOW:HIGH, such as Kg=0.01:0.2"
    named = parse_named(limits, "--limits", write)
    ends = {name: parse_pair(f"--limits {name}={text}", text, write) for name, text in named.items()}
    for option, given in (("--start", starts), ("--limits", ends), ("--linear", straight)):
        for name in given:
            if name not in wanted:
                raise InputError(f"{option} {name}: it is not estimated{choices(name, wanted)}")
    return [
        Estimated(name, starts.get(name), "linear" if name in straight else "log", *ends.get(name, (None, None)))
        for name in wanted
    ]


def _priors(prior: str | None, sets: Sequence[DataSet], names: Sequence[str]) -> dict[str, Prior]:
    """Priors of those estimated parameters of which the source knows."""
    from cartsim.fitting import Prior

    if prior is None:
        return {}
    if prior == "table1":
        known = _of_models(sets, names)
    else:
        table = read_table(Path(prior))
        needed = ["name", "estimate", "rse"]
        missing = [column for column in needed if column not in table]
        if missing:
            raise InputError(f"--prior {prior}: no column {', '.join(missing)}; give the estimates.csv of a fit")
        rows = table[table["name"].isin(names)].dropna(subset=needed)[needed].to_numpy()
        try:
            known = {name: Prior(finite_number(value), finite_number(rse)) for name, value, rse in rows}
        except ValueError as problem:
            raise InputError(f"--prior {prior}: {problem}") from None
    used = {name: known[name] for name in names if name in known}
    if not used:
        raise InputError(f"--prior {prior}: it knows nothing of {', '.join(names)}; leave it out")
    return used


def _of_models(sets: Sequence[DataSet], names: Sequence[str]) -> dict[str, Prior]:
    """Priors from the model files, of NAME from all models that have one, which must agree."""
    from cartsim.fitting import table_priors

    found: dict[str, Prior] = {}
    for data in sets:
        for own, prior in table_priors(data.layout.model).items():
            for name in (own, f"{data.name}.{own}"):
                if name in names and found.setdefault(name, prior) != prior:
                    raise InputError(
                        f"--prior table1: models differ in {name}; estimate it for each data set, as {data.name}.{name}"
                    )
    return found


# --- results --------------------------------------------------------------------------------------------


def _table(found: Fit) -> Any:
    """The estimates; without an error those that have none, and without shrinkage those without a prior."""
    table = found.estimates.assign(percent=100 * found.estimates["rse"], shrunk=100 * found.estimates["shrinkage"])

    def known(form: str, of: str, otherwise: str = "") -> Callable[[Any], str]:
        return lambda row: form.format_map(row) if math.isfinite(row[of]) else otherwise

    limits = f"{100 * found.level:g} % limits"
    columns = {
        "name": "{name}",
        "estimate": "{estimate:.4g}",
        "unit": "{unit}",
        "RSE": known("{percent:.1f} %", "rse", "-"),
        limits: known("{low:.3g} to {high:.3g}", "rse", "-"),
        "prior": known("{prior:.3g}", "prior"),
        "shrinkage": known("{shrunk:.0f} %", "shrunk"),
    }
    return table_of("Estimates", table, columns, text=("name", "unit", limits))


def _quality(found: Fit) -> str:
    said = "converged" if found.converged else f"NOT CONVERGED: {found.message}"
    return (
        f"{said}; {found.n_observations} observations, log likelihood {found.log_likelihood:.2f}, "
        f"AIC {found.aic:.2f}, BIC {found.bic:.2f}"
    )


def _write(found: Fit, curves: Mapping[str, Profile], stage: Path, pictures: Pictures) -> None:
    import pandas as pd

    from cartsim.plots import profiles as draw_profiles

    tables, said = found.tables(), ("low", "high", "converged", "identified", "improvement")
    if curves:
        parts = [each.curve.assign(name=name) for name, each in curves.items()]
        tables["profiles.csv"] = pd.concat(parts, ignore_index=True)
    profiles = {name: {key: _finite(getattr(each, key)) for key in said} for name, each in curves.items()}
    save_tables(stage, tables, ("fit.json", found.about() | {"profiles": profiles}))
    if pictures:
        pictures.save(found.plot.predictions(), stage / "predictions.png")
        if not tables["residuals.csv"]["below"].all():
            pictures.save(found.plot.residuals(), stage / "residuals.png")
        if curves:
            pictures.save(draw_profiles(list(curves.values())), stage / "profiles.png")


def _finite(value: Any) -> Any:
    """None for a number that JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
