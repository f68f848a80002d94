"""``cartsim warm``: compile models before anybody waits for it."""

from __future__ import annotations

import time
from typing import Annotated

import typer

import cartsim as cs
from cartsim.cli import complete
from cartsim.cli.output import interruptible, new_table, show_tables


def warm(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="Names, name:variant, or paths of .toml files; by default all that come with cartsim.",
            autocompletion=complete.models,
        ),
    ] = None,
) -> None:
    """Compile models for this machine, so that no run waits for it: after installing, or when an image is made.

    Machine code is kept in your cache folder, or in the one that $CARTSIM_CACHE names, and used by every process of
    this kind of processor.
    """
    from cartsim.model.reader import names
    from cartsim.runs import bar

    chosen = [cs.load(name) for name in models or names()]
    table = new_table("Machine code", "model", "seconds", "", right=("seconds",))
    with bar(True, "models", len(chosen)) as advance:
        for model in chosen:
            began = time.perf_counter()
            made: list[str] = []
            interruptible(lambda model=model, made=made: _ready(model, made))  # type: ignore[misc]
            table.add_row(model.name, f"{time.perf_counter() - began:.1f}", "compiled" if made else "was there")
            advance(1)
    show_tables(table)


def _ready(model: cs.Model, made: list[str]) -> None:
    from cartsim.engine.kernel import compile_model

    compile_model(model, made.append)
    cs.simulate(model, times=[0.0])  # and what all models share
