"""Options that several commands share."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from cartsim.errors import InputError
from cartsim.solver import LOOSEST, TIGHTEST

MOST_JOBS = 1024  # threads; a system refuses some number more, in the middle of the work


def checked(command: Callable[..., None]) -> Callable[..., None]:
    """The command, with InputError for numbers that are not finite or have no 64 bits, and for what is no path."""

    @wraps(command)
    def run(**options: Any) -> None:
        for name, value in options.items():
            option = f"--{name.strip('_').replace('_', '-')}"
            if isinstance(value, float) and not math.isfinite(value):
                raise InputError(f"{option} {value}: give a finite number")
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise InputError(f"{option} {value}: give a whole number of at most 64 bits")
            if isinstance(value, Path):
                _check_path(option, value)
        command(**options)

    return run


def _check_path(option: str, path: Path) -> None:
    """Refuse what the system takes for no path; whether anything is there is for the command to say."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass
    except (OSError, ValueError) as error:  # ValueError: a null byte
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{option} {path}: {reason}; give another path") from None


def _jobs(number: int) -> int:
    if number != -1 and not 1 <= number <= MOST_JOBS:
        raise InputError(f"--jobs {number}: give a number of threads from 1 to {MOST_JOBS}, or -1 for all cores")
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
