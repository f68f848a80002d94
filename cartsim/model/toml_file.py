"""TOML files that people write: read whole and bounded, their entries checked by name, texts made safe to show."""

from __future__ import annotations

import os
import re
import stat
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cartsim.errors import InputError, choices
from cartsim.model.model import shown

MAX_BYTES = 1_000_000
MAX_LINE = 4000  # characters: the time that a key of many parts takes grows with their square
LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_CONTROL = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f]")  # but for tabs and ends of lines


def shown_path(path: str | Path) -> str:
    """The name of a file for a message."""
    name = Path(path).name
    return name if name.isprintable() else ascii(name)


def content(path: Path, what: str) -> bytes:
    """The bytes of a regular file; a device would never end. Raises `InputError` where it cannot be read."""
    try:
        return _content(path)
    except (OSError, ValueError) as problem:  # ValueError: no path at all, such as one with a null byte
        reason = getattr(problem, "strerror", None) or problem
        raise InputError(f"cannot read the {what} {shown(str(path))}: {reason}") from None


def _content(path: Path) -> bytes:
    def at_once(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe without a writer would keep us waiting

    with open(path, "rb", opener=at_once) as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("it is not a regular file")
        if about.st_size > MAX_BYTES:
            raise ValueError(f"it has {about.st_size} bytes, at most {MAX_BYTES} are read")
        return file.read(MAX_BYTES)


def parse(content: bytes, file: str) -> dict[str, Any]:
    """What a TOML file says; ``file`` is its name for a message. Raises `InputError` where it is none."""
    try:
        for k, line in enumerate(content.split(b"\n"), 1):
            if len(line) > MAX_LINE:
                raise ValueError(f"line {k} has more than {MAX_LINE} characters, the most that are read")
        return tomllib.loads(content.decode())
    except (ValueError, RecursionError) as problem:  # ValueError: not TOML, not UTF-8, or a number too long to read
        raise InputError(f"{file}: not a TOML file ({_reason(problem)})") from None


def _reason(problem: Exception) -> str:
    line = " ".join(str(problem).split())
    return ascii(line if len(line) <= 200 else line[:197] + "...")[1:-1]


def entries(entry: Any, where: str, needed: Iterable[str], allowed: Iterable[str]) -> dict[str, Any]:
    """The entry itself, once it is a table with all of `needed` and nothing beyond `allowed`."""
    if not isinstance(entry, dict):
        raise InputError(f"{where}: must be a table with {', '.join(needed)}, not {shown(entry)}")
    every = [*needed, *(key for key in allowed if key not in needed)]
    for key in entry:
        if key not in every:
            raise InputError(f"{where}: unknown entry {key!r}{choices(key, every)}")
    missing = [key for key in needed if key not in entry]
    if missing:
        it = "it" if len(missing) == 1 else "them"
        raise InputError(f"{where}: {', '.join(missing)} missing; add {it}")
    return entry


def text(value: Any, where: str, most: int, *, empty: bool = False) -> str:
    """Text on one line: printable, so that showing it cannot steer a terminal, and of bounded length."""
    if not isinstance(value, str) or not (value.strip() or empty):
        raise InputError(f"{where}: must be text, not {shown(value)}")
    line = " ".join(value.split())
    if len(line) > most:
        raise InputError(f"{where}: {len(line)} characters, at most {most} are read")
    if not line.isprintable() or _CONTROL.search(value):
        odd = next(c for c in value if not c.isprintable() and c not in "\t\n\r")
        raise InputError(f"{where}: the character {odd!a} is not allowed; use printable text")
    return sys.intern(line)  # texts that are said again are held, and pickled, once


def check_label(name: str, where: str) -> None:
    """Raise `InputError` for a name that cannot be one."""
    if not LABEL.fullmatch(name):
        raise InputError(
            f"{where}: {shown(name)} cannot be a name here; use 1 to 64 letters, digits and _ - . "
            "(ASCII), a letter first"
        )
