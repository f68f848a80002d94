"""What every command that fills a folder does: prepare files beside, put them there together, and list them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cartsim.cli.process import note
from cartsim.files import whole_folder


@contextmanager
def filled(folder: Path, replaces: Sequence[str], *, resume: Path | None = None) -> Iterator[Path]:
    """A place for the files of a command, which come into ``folder`` together at the end and are listed on stderr.

    replaces: names of files that an earlier run may have left. resume: the checkpoint folder, if there is one; whoever
    interrupts the work is told how it goes on.
    """
    try:
        with whole_folder(folder, replaces) as stage:
            yield stage
            written = sorted(path.name for path in stage.iterdir())
    except KeyboardInterrupt:
        if resume is not None:
            note(f"finished parts are in {resume}; the same command goes on from there")
        raise
    note(f"in {folder}: {', '.join(written)}")


def save_pictures(pictures: dict[str, Callable[[], Any]], stage: Path) -> None:
    """Draw each figure and write it under its name."""
    from cartsim.plots.style import save

    for name, draw in pictures.items():
        save(draw(), stage / name)
