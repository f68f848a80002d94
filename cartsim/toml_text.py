"""Plain values written as TOML, which Python reads and does not write."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any


def toml_text(tables: Mapping[str, Any]) -> str:
    """A mapping as TOML: texts, numbers, truths, lists of these, and mappings of them. None is left out."""
    plain = {name: each for name, each in tables.items() if not isinstance(each, Mapping)}
    text = "".join(f"{_key(name)} = {_value(each)}\n" for name, each in plain.items() if each is not None)
    return text + "".join(_table(_key(name), each) for name, each in tables.items() if isinstance(each, Mapping))


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
        return f"{{ {', '.join(f'{_key(key)} = {_value(each)}' for key, each in value.items() if each is not None)} }}"
    return repr(value.item() if hasattr(value, "item") else value)
