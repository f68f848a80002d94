"""Files and folders written whole or not at all, and what a killed run left behind taken away.

What is written is prepared in a stage, a folder ``.cartsim-`` and 16 hexadecimal digits beside its place, and renamed
from there, so that no half of a file is ever seen. A stage holds a file ``lock``, locked while its process lives, and
a folder ``files``. A stage whose lock is free belongs to a process that was killed: `tidy` removes it. Where locks are
not to be had (Windows, some network file systems) nothing is taken for left behind.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cartsim.errors import InputError, check_kind

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    import pandas as pd

_STAGE = re.compile(r"\.cartsim-[0-9a-f]{16}")
_INSIDE = {"lock", "files"}

FORMATS = ("png", "svg", "pdf")
"""What pictures are written as."""

DPI = (10, 2400)
"""Fewest and most dots per inch of a picture."""


def shipped_data() -> Path:
    """The folder of models and examples: inside the package when installed, beside it in a source checkout."""
    package = Path(__file__).parent
    inside = package / "models"
    return inside if inside.is_dir() else package.parent / "models"


def writable_folder(folder: str | Path) -> Path:
    """The folder, made if need be, without what a killed run left in it.

    Raises `InputError` where nothing can be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _stage(folder):
            pass
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write into {folder}: {_reason(error)}; choose another output folder") from None
    tidy(folder)
    return folder


def write_whole(path: Path, write: Callable[[Path], Any]) -> Path:
    """Have ``write`` write a file of this name elsewhere and rename it to ``path``, which is returned.

    Whatever ``write`` raises is passed on; what stood at ``path`` before is then still there.
    """
    with _stage(path.parent) as stage:
        beside = stage / path.name
        write(beside)
        beside.replace(path)
    return path


@contextmanager
def whole_folder(folder: Path, replaces: Sequence[str]) -> Iterator[Path]:
    """A place to prepare files that come into ``folder`` together, at the end, or not at all.

    Of the files named in ``replaces``, those that were not prepared anew are removed then, so that the folder
    never holds files of two runs. Folders made for nothing are taken away again. Raises `InputError` at once
    where nothing can be written.
    """
    missing = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
    try:
        with ExitStack() as stack:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                stage = stack.enter_context(_stage(folder))
            except (OSError, ValueError) as error:
                raise InputError(f"cannot write into {folder}: {_reason(error)}; choose another folder") from None
            tidy(folder)
            yield stage
            ready = sorted(stage.iterdir())
            for path in ready:
                if (folder / path.name).is_dir():
                    raise InputError(f"cannot write {folder / path.name}: it is a folder; choose another output folder")
            for path in ready:
                path.replace(folder / path.name)
            for name in set(replaces) - {path.name for path in ready}:
                if not (folder / name).is_dir():
                    (folder / name).unlink(missing_ok=True)
    except BaseException:
        for each in missing:
            with suppress(OSError, ValueError):  # not there, or not empty
                each.rmdir()
        raise


def save_tables(
    folder: str | Path, tables: Mapping[str, pd.DataFrame], about: tuple[str, Mapping[str, Any]]
) -> list[Path]:
    """Write each table as a CSV file by name, and ``about`` (name, what made them) as JSON; return the paths.

    Raises `InputError` where nothing can be written.
    """
    check_kind("the folder", folder, (str, Path), "a path")
    folder = writable_folder(folder)
    written = [write_whole(folder / name, partial(_write_csv, table)) for name, table in tables.items()]
    name, facts = about
    text = json.dumps(facts, indent=2) + "\n"
    return [*written, write_whole(folder / name, lambda path: path.write_text(text, "utf-8"))]


def tidy(folder: Path) -> None:
    """Remove from the folder the stages of processes that are gone, and nothing else.

    A stage has the name and the insides that this module gives it, belongs to this user, is no symbolic link, and
    its lock can be had.
    """
    if fcntl is None:
        return
    try:
        found = [entry for entry in os.scandir(folder) if _STAGE.fullmatch(entry.name)]
    except OSError:
        return
    for entry in found:
        with suppress(OSError):  # locked, another user's, or just removed by another process
            own = entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.getuid()
            if not own or not {*os.listdir(entry.path)} <= _INSIDE:
                continue
            lock = os.open(os.path.join(entry.path, "lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(entry.path, ignore_errors=True)
            finally:
                os.close(lock)


@contextmanager
def _stage(folder: Path) -> Iterator[Path]:
    """An empty folder within ``folder``, locked while it is used and removed at the end with all that is in it."""
    own, lock = _claim(folder)
    try:
        files = own / "files"
        files.mkdir(mode=0o700)
        yield files
    finally:
        os.close(lock)
        shutil.rmtree(own, ignore_errors=True)


def _claim(folder: Path) -> tuple[Path, int]:
    """A new stage and its lock, an open file."""
    while True:
        own = folder / f".cartsim-{secrets.token_hex(8)}"
        try:
            own.mkdir(mode=0o700)
            lock = _locked(own)
        except BaseException:  # Ctrl-C too
            shutil.rmtree(own, ignore_errors=True)
            raise
        if lock is not None:
            return own, lock


def _locked(own: Path) -> int | None:
    """The lock of a new stage, or None if another process tidied the stage just now."""
    try:
        lock = os.open(own / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        return None
    if fcntl is not None:
        with suppress(OSError):  # no locks here: `tidy` gets none either
            fcntl.flock(lock, fcntl.LOCK_EX)
    if (own / "lock").exists():  # else tidied before it was locked
        return lock
    os.close(lock)
    return None


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False, lineterminator="\n")
