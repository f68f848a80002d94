"""What every command that fills a folder does: prepare files beside, put them there together, and list them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cartsim.cli.options import ASKED, REPEAT
from cartsim.cli.process import note
from cartsim.files import FORMATS, whole_folder


@contextmanager
def filled(folder: Path | None, replaces: Sequence[str]) -> Iterator[Path]:
    """A place for the files of a command, which come into ``folder`` together at the end and are listed on stderr.

    replaces: names of files that an earlier run may have left. A JSON file is told how the command is repeated.
    Whoever interrupts the work is told how it goes on.
    """
    folder = folder or Path(".")
    pictures = [name.removesuffix("png") for name in replaces if name.endswith(".png")]
    replaces = [*replaces, *(name + each for name in pictures for each in FORMATS if each != "png")]
    try:
        with whole_folder(folder, replaces) as stage:
            yield stage
            for path in stage.glob("*.json"):
                path.write_text(json.dumps(REPEAT.get() | json.loads(path.read_text()), indent=2) + "\n")
            written = sorted(path.name for path in stage.iterdir())
    except KeyboardInterrupt:
        _say_how_to_go_on(ASKED.get())
        raise
    note(f"in {folder}: {', '.join(written)}")


def _say_how_to_go_on(options: dict[str, Any]) -> None:
    if "checkpoint" not in options:
        note("nothing was kept; the same command begins anew")
    elif options["checkpoint"] is None:
        note("nothing was kept; with --checkpoint FOLDER the next run can be interrupted and go on")
    else:
        note(f"finished parts are in {options['checkpoint']}; the same command goes on from there")
