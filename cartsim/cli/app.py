"""The commands put together, and every error turned into one line.

Results go to stdout, messages to stderr. Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted.
Commands are in files of their own and import what is heavy when they run, so that --help answers at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from cartsim.cli.commands.dose_response import dose_response
from cartsim.cli.commands.figure import figure
from cartsim.cli.commands.fit import fit
from cartsim.cli.commands.fit_responses import fit_responses
from cartsim.cli.commands.judge import judge
from cartsim.cli.commands.models import models, show
from cartsim.cli.commands.population import population
from cartsim.cli.commands.regimens import regimens
from cartsim.cli.commands.sensitivity import sensitivity
from cartsim.cli.commands.simulate import simulate
from cartsim.cli.commands.sweep import sweep
from cartsim.cli.commands.tables import nca, respond
from cartsim.cli.commands.trial import trial
from cartsim.cli.output import note
from cartsim.errors import InputError
from cartsim.version import __version__


class _Commands(TyperGroup):
    """A group of commands that says in one line what went wrong."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **settings: Any) -> NoReturn:
        words = list(sys.argv[1:] if args is None else args)
        debug = "--debug" in words
        settings["standalone_mode"] = False
        try:
            words = [word for word in words if word != "--debug"]
            code = super().main(words or ["--help"], *rest, **settings)
        except InputError as error:
            _stop(2, str(error))
        except Exception as error:
            if hasattr(error, "format_message"):  # a usage error of typer, of whichever click it carries
                context = getattr(error, "ctx", None)
                where = context.command_path if context else "cartsim"
                _stop(2, f"{error.format_message().rstrip('.')}; see {where} --help")
            if debug:
                traceback.print_exc()
            _stop(1, _unexpected(error))
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt:
            _stop(130, "interrupted")
        except BrokenPipeError:  # the reader of stdout, such as head, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)
        return result


def _stop(code: int, message: str) -> NoReturn:
    note(" ".join(message.split()))
    sys.exit(code)


def _unexpected(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return f"not enough memory ({error}); ask for fewer patients, times or outputs at once"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}. This is a bug of cartsim; --debug shows where it happened"


app = typer.Typer(
    cls=_Commands,
    name="cartsim",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"cartsim {__version__}")
        raise typer.Exit


@app.callback()
def _cartsim(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="With any command: show where an unexpected error happened.")
    ] = False,
) -> None:
    """Virtual trials of anti-BCMA CAR-T cell therapy: from a model file to responses and survival."""


for command in (
    trial,
    simulate,
    models,
    show,
    judge,
    respond,
    nca,
    sweep,
    dose_response,
    regimens,
    sensitivity,
    figure,
    fit,
    fit_responses,
    population,
):
    app.command()(command)


def main() -> None:
    """The entry point of the command ``cartsim``."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal without UTF-8 gets "?"
    app(prog_name="cartsim")
