"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cartsim.errors import InputError
from cartsim.solver import LOOSEST, TIGHTEST


def _jobs(number: int) -> int:
    if number == 0:
        raise InputError("--jobs 0: give a number of threads, or -1 for all cores")
    return number


Name = Annotated[str, typer.Argument(help="A model's name, name:variant, or the path of a .toml file.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="New typical value of a parameter; repeat for more."),
]
Rtol = Annotated[float, typer.Option(min=TIGHTEST, max=LOOSEST, help="Relative tolerance.")]
Extinction = Annotated[
    float | None,
    typer.Option(min=0, help="Cells below which a pool is gone until the next dose; by default none is."),
]
Jobs = Annotated[int, typer.Option(callback=_jobs, help="Threads; -1 for all cores.")]
Lloq = Annotated[float, typer.Option(min=0, help="Limit of quantification: values below it count as 0.")]
TableFile = Annotated[Path | None, typer.Option(help="A .csv or .parquet file; by default CSV to stdout.")]
