"""The command line: cartsim trial, simulate, models, show, judge, respond and nca."""

from typing import NoReturn

from cartsim.cli import process


def main() -> NoReturn:
    """The command ``cartsim`` with the words of ``sys.argv``; ends with SystemExit.

    What the commands are made of is imported in here: that takes a while, in which Ctrl-C shall not be a traceback.
    """
    code: object = 0
    try:
        process.prepare()
        from cartsim.cli.app import app

        app(prog_name="cartsim")
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt as stop:
        code = process.interrupted(stop)
    process.end(code)


def command() -> NoReturn:
    """What the script ``cartsim`` runs: `main`, and out."""
    try:
        main()
    except SystemExit as end:
        process.leave(end.code)
