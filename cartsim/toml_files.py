"""TOML files as users write them: read within bounds, entry by entry, with one sentence for what is wrong; written."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cartsim.errors import InputError, brief, choices

MAX_BYTES = 1_000_000
MAX_LINE = 4000  # characters: the time that a key of many parts takes grows with their square
_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


def parse(content: bytes, file: str) -> dict[str, Any]:
    """What the bytes of a file say; ``file`` is its name in messages.

    Raises `InputError` for what is no TOML, not UTF-8, or longer than is read.
    """
    try:
        if len(content) > MAX_BYTES:
            raise ValueError(f"it has {len(content)} bytes, at most {MAX_BYTES} are read")
        for k, line in enumerate(content.split(b"\n"), 1):
            if len(line) > MAX_LINE:
                raise ValueError(f"line {k} has more than {MAX_LINE} characters, the most that are read")
        return tomllib.loads(content.decode())
    except (ValueError, RecursionError) as problem:  # ValueError: not TOML, not UTF-8, or a number too long to read
        said = " ".join(str(problem).split())
        raise InputError(f"{file}: not a TOML file ({ascii(said[:200])[1:-1]})") from None


def fields(entry: Any, where: str, needed: Iterable[str], allowed: Iterable[str] = ()) -> dict[str, Any]:
    """The entry itself, once it is a table with all of `needed` and nothing beyond `allowed`."""
    every = list(dict.fromkeys([*needed, *allowed]))
    if not isinstance(entry, dict):
        raise InputError(f"{where}: must be a table with {', '.join(every)}, not {brief(entry)}")
    for key in entry:
        if key not in every:
            raise InputError(f"{where}: unknown entry {brief(key)}{choices(key[:100], every)}")
    missing = [key for key in needed if key not in entry]
    if missing:
        raise InputError(f"{where}: {', '.join(missing)} missing; add {'it' if len(missing) == 1 else 'them'}")
    return entry


def line(value: Any, where: str, most: int = 2000) -> str:
    """Text on one line: printable, so that showing it cannot steer a terminal, and of bounded length."""
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}: must be text, not {brief(value)}")
    said = " ".join(value.split())
    if len(said) > most:
        raise InputError(f"{where}: {len(said)} characters, at most {most} are read")
    odd = next((c for c in value if not c.isprintable() and c not in "\t\n\r"), None)
    if odd is not None:
        raise InputError(f"{where}: the character {odd!a} is not allowed; use printable text")
    return said


def label(value: Any, where: str) -> str:
    """A name: 1 to 64 letters, digits and _ - . of ASCII, a letter first."""
    if not (isinstance(value, str) and _LABEL.fullmatch(value)):
        raise InputError(
            f"{where}: {brief(value)} cannot be a name here; use 1 to 64 letters, digits and _ - . (ASCII), a letter "
            "first"
        )
    return value


def number(value: Any, where: str) -> float:
    """A finite number."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            if math.isfinite(found := float(value)):
                return found
        except OverflowError:  # an integer that no float holds
            pass
    raise InputError(f"{where}: must be a finite number, not {brief(value)}")


def dump(tables: Mapping[str, Any]) -> str:
    """A mapping as TOML: texts, numbers, truths, lists of these, and mappings of them. None is left out."""
    plain = {name: each for name, each in tables.items() if not isinstance(each, Mapping)}
    text = "".join(f"{_key(name)} = {_value(each)}\n" for name, each in plain.items() if each is not None)
    return text + "".join(_table(_key(name), each) for name, each in tables.items() if isinstance(each, Mapping))


def write(path: Path, tables: Mapping[str, Any]) -> None:
    """Write what `dump` gives."""
    path.write_text(dump(tables), "utf-8")


def _table(name: str, entries: Mapping[str, Any]) -> str:
    """A section of its own; mappings in it that hold no further ones stand on a line each."""
    flat = {key: each for key, each in entries.items() if not _nested(each)}
    below = "".join(_table(f"{name}.{_key(key)}", each) for key, each in entries.items() if _nested(each))
    lines = "".join(f"{_key(key)} = {_value(each)}\n" for key, each in flat.items() if each is not None)
    return (f"\n[{name}]\n{lines}" if flat else "") + below


def _nested(entry: Any) -> bool:
    return isinstance(entry, Mapping) and (len(entry) > 4 or any(isinstance(each, Mapping) for each in entry.values()))


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # what JSON escapes, TOML reads
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(key)} = {_value(each)}' for key, each in value.items())} }}"
    return repr(value.item() if hasattr(value, "item") else value)
