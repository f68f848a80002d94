"""The commands put together, and every error turned into one line.

Results go to stdout, messages to stderr. Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted,
141 nobody reads stdout any more, 143 terminated.
Commands are in files of their own and import what is heavy when they run, so that --help answers at once.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from cartsim.cli import process
from cartsim.cli.commands.calibrate import calibrate
from cartsim.cli.commands.dose_response import dose_response
from cartsim.cli.commands.er import er
from cartsim.cli.commands.figure import figure
from cartsim.cli.commands.fit import fit
from cartsim.cli.commands.fit_responses import fit_responses
from cartsim.cli.commands.judge import judge
from cartsim.cli.commands.models import models, show
from cartsim.cli.commands.plausible import plausible
from cartsim.cli.commands.population import population
from cartsim.cli.commands.predict import predict, published
from cartsim.cli.commands.regimens import regimens
from cartsim.cli.commands.sensitivity import sensitivity
from cartsim.cli.commands.simulate import simulate
from cartsim.cli.commands.survival import survival
from cartsim.cli.commands.sweep import sweep
from cartsim.cli.commands.tables import nca, respond
from cartsim.cli.commands.trial import trial
from cartsim.cli.commands.warm import warm
from cartsim.cli.options import command
from cartsim.cli.process import note
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
            _refuse_empty(words)
            code = super().main(words or ["--help"], *rest, **settings)
            sys.stdout.flush()
        except InputError as error:
            _stop(2, str(error))
        except typer.Abort:  # Ctrl-C while the options were read
            _stop(process.INTERRUPTED, "interrupted")
        except BrokenPipeError:
            _closed()
        except Exception as error:
            if hasattr(error, "format_message"):  # a usage error of typer, of whichever click it carries
                context = getattr(error, "ctx", None)
                where = context.command_path if context else "cartsim"
                _stop(2, f"{_said(error, words)}; see {where} --help")
            if debug:
                traceback.print_exc()
            _stop(1, _unexpected(error))
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        # typer has its own ways with these two.
        except KeyboardInterrupt as stop:
            sys.exit(process.interrupted(stop))
        except BrokenPipeError:
            _closed()
        return result


def _refuse_empty(words: Sequence[str]) -> None:
    """An empty path would be the folder that one is in, and --out "$FOLDER" with a misspelled name write there."""
    for word, following in pairwise([*words, None]):
        for option in ("--out", "--checkpoint"):
            if word == f"{option}=" or (word == option and following == ""):
                raise InputError(f"{option} is empty; give a path")


def _said(error: Any, words: Sequence[str]) -> str:
    """The usage error in typer's words, with the value that was given."""
    message = str(error.format_message()).rstrip(".")
    for option in getattr(getattr(error, "param", None), "opts", ()):
        for word, following in pairwise([*words, ""]):
            value = following if word == option else word.removeprefix(f"{option}=")
            if word == option or value != word:
                said = message.replace(f"Invalid value for '{option}'", f"{option} {value}")
                return said.replace("Input should be", "it must be")
    return message


def _closed() -> NoReturn:
    """The reader of stdout, such as head, has seen enough."""
    process.discard_output()
    sys.exit(process.CLOSED)


def _stop(code: int, message: str) -> NoReturn:
    note(message)
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


for each in (
    trial,
    simulate,
    models,
    show,
    judge,
    survival,
    er,
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
    calibrate,
    predict,
    plausible,
    published,
    warm,
):
    app.command()(command(each))
