"""What the shell offers for half a word. Asked by the shell alone, so that imports here may take a moment."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import typer


def models(incomplete: str) -> list[str]:
    """Names of models, and behind a colon of their variants."""
    from cartsim.errors import InputError
    from cartsim.model.reader import load, names

    name, colon, _ = incomplete.partition(":")
    found = list(names())
    with suppress(InputError):
        found += [f"{name}:{variant}" for variant in (load(name).variants if colon else ())]
    return [each for each in found if each.startswith(incomplete)]


def populations(incomplete: str) -> list[str]:
    """Names of the populations that come with cartsim."""
    from cartsim.population.stored import population_names

    return [name for name in population_names() if name.startswith(incomplete)]


def trials(incomplete: str) -> list[str]:
    """Names of the published trials that come with cartsim."""
    from cartsim.trial.published import names

    return [name for name in names() if name.startswith(incomplete)]


def parameters(ctx: typer.Context, incomplete: str) -> list[str]:
    """NAME= of each parameter and covariate of the model."""
    return [each for name in _of(ctx, "parameters") if (each := f"{name}=").startswith(incomplete)]


def outputs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Outputs and states of the model, the last one behind a comma."""
    before, comma, last = incomplete.rpartition(",")
    names = [*_of(ctx, "outputs"), *_of(ctx, "states")]
    return [f"{before}{comma}{name}" for name in names if name.startswith(last)]


def endpoints(ctx: typer.Context, incomplete: str) -> list[str]:
    """Endpoints with names of their own, and outputs."""
    names = ["Cmax", "Tmax", "AUC0-28", "mprotein_fall", *_of(ctx, "outputs")]
    return [name for name in names if name.startswith(incomplete)]


def figures(incomplete: str) -> list[str]:
    """Names of the paper's figures."""
    from cartsim.paper import FIGURES

    return [name for name in FIGURES if name.startswith(incomplete)]


def _of(ctx: typer.Context, what: str) -> Any:
    """Parameters, outputs or states of the model that the line names, itself or by its population."""
    from cartsim.errors import InputError
    from cartsim.model.reader import load
    from cartsim.population.stored import read_population

    with suppress(InputError):
        named, stored = ctx.params.get("model"), ctx.params.get("population")
        return getattr(load(named or (read_population(stored).model if stored else "bb2121_clinical")), what)
    return ()
