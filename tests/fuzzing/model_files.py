"""Model files that were changed: keys, types, texts, numbers, units, formulas, bytes.

What ``cartsim show`` accepts is written out as a kernel's source, which is run (not compiled: that takes seconds) so
that a text which became code shows itself; some small models are simulated.
"""

from __future__ import annotations

import copy
import json
import tomllib
from pathlib import Path
from random import Random
from typing import Any

from fuzzing import hostile
from fuzzing.case import REFUSED, RIGHT, Bad, Case

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "models").glob("*.toml"), *(ROOT / "tests" / "models").glob("*.toml")])
_FORMULAS = ("rate", "initial", "seed", "per_dose")
_WORDS = ("name", "name", "name", "source", "doc", "time")


class Raw(str):
    """Text that goes into the file as it is."""


def run(case: Case) -> str:
    rng = case.rng
    base = rng.choice(FILES)
    content = _changed(case, base)
    path = case.work / rng.choice(["own.toml", "own.toml", "own.toml", "bb2121_clinical.toml", "ä ö.toml"])
    path.write_bytes(content)
    if case.run("show", path.name).code == 2:
        return REFUSED
    if not _source_runs(case, path):
        return REFUSED
    if base.stat().st_size < 3000 and rng.random() < 0.15:
        if case.run("simulate", path.name, "--times", "0,0.5,1").code == 2:
            return REFUSED
    return RIGHT


def _source_runs(case: Case, path: Path) -> bool:
    """Whether the model has a source; raises `Bad` if the source holds words of the file, or one of them ran."""
    import numba

    from cartsim.engine.source import generate
    from cartsim.errors import InputError
    from cartsim.model.reader import load

    case.tell("generate(load(...)), run without compiling")
    model = load(path)
    try:
        source = generate(model)
    except InputError:
        return False
    numba.config.DISABLE_JIT = True
    try:
        plain = {"__name__": "kernel", "kept": lambda *_, **__: lambda function: function}
        exec(compile(source, "kernel", "exec"), plain)
    finally:
        numba.config.DISABLE_JIT = False
    case.no_trace()
    if len(model.name) >= 6 and model.name in source:
        raise Bad("the model's name stands in the generated source")
    return True


def _changed(case: Case, base: Path) -> bytes:
    rng, text = case.rng, base.read_text()
    if rng.random() < 0.12:
        what, content = hostile.damaged(rng, text.encode())
        case.tell(f"{base.name}: {what}")
        return content
    if rng.random() < 0.06:
        what, content = hostile.recoded(rng, text)
        case.tell(f"{base.name}: {what}")
        return content
    if rng.random() < 0.06:
        lines = text.splitlines()
        at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        how = rng.choice(["twice", "swapped", "gone", "long"])
        if how == "twice":
            lines.insert(other, lines[at])
        elif how == "swapped":
            lines[at], lines[other] = lines[other], lines[at]
        elif how == "gone":
            del lines[at]
        else:
            lines.insert(
                at, rng.choice(["# " + "x" * 2_000_000, "[" * 5000, "x = " + "[" * 3000 + "]" * 3000, "a." * 3000])
            )
        case.tell(f"{base.name}: line {at} {how} ({other})")
        return "\n".join(lines).encode()
    raw = tomllib.loads(text)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        case.tell(f"{base.name}: {_mutate(rng, raw)}"[:2000])
    return _written(raw).encode("utf-8", "surrogatepass")


# --- changes of the tree ----------------------------------------------------------------------------------------------


def _mutate(rng: Random, raw: dict[str, Any]) -> str:
    """Change one place; return what was done."""
    pick = rng.random()
    if pick < 0.2:
        return _words(rng, raw)
    if pick < 0.5:
        return _formula(rng, raw)
    table, key = _place(rng, raw)
    if pick < 0.58:
        return f"{key} gone: {str(table.pop(key))[:80]!r}"
    if pick < 0.66:
        name = rng.choice([hostile.text(rng), rng.choice(hostile.NAMES), key.upper(), key + "x"])
        table[name] = table.pop(key)
        return f"{key} renamed {name!r}"
    if pick < 0.72:
        other, its_key = _place(rng, raw)
        if key in table and its_key in other:
            table[key], other[its_key] = copy.deepcopy(other[its_key]), copy.deepcopy(table[key])
        return f"{key} and {its_key} swapped"
    if pick < 0.80:
        table[key] = rng.choice([
            True, False, 0, -1, 1.5, "", "1", [], [1], [[1]], {}, {"x": 1}, [{"x": "1"}], Raw("1979-05-27"),
            Raw("07:32:00"), Raw("'''a'''"), "x" * 100_000, ["x"] * 1000,
        ])  # fmt: skip
    elif pick < 0.90:
        table[key] = Raw(hostile.number(rng))
    elif "unit" in table and pick < 0.95:
        key = "unit"
        table[key] = rng.choice(hostile.UNITS)
    else:
        table[key] = hostile.text(rng)
    return f"{key} = {str(table[key])[:200]!r}"


def _words(rng: Random, raw: dict[str, Any]) -> str:
    """Names and descriptions: what is printed, and nothing more."""
    table = raw.get("model", {}) if rng.random() < 0.5 else _place(rng, raw)[0]
    if not isinstance(table, dict):
        return "nothing"
    key = rng.choice([key for key in _WORDS if key in table] or ["doc"])
    table[key] = hostile.text(rng)
    if rng.random() < 0.3:
        table[key] = f"{rng.choice('xyz')} {table[key]}"
    return f"{key} = {table[key][:200]!r}"


def _formula(rng: Random, raw: dict[str, Any]) -> str:
    """Another formula where one stands, or hostile definitions, so written that units still fit where they can."""
    places: list[tuple[dict[str, Any], str]] = []
    for section, entries in raw.items():
        if not isinstance(entries, dict):
            continue
        if section == "definitions":
            places += [(entries, name) for name in entries]
        for entry in [entries, *entries.values()]:
            if isinstance(entry, dict):
                places += [(entry, key) for key in _FORMULAS if isinstance(entry.get(key), str)]
                if section == "outputs" and isinstance(entry.get("value"), str):
                    places.append((entry, "value"))
    if not places:
        return "nothing"
    table, key = rng.choice(places)
    old, new = str(table[key]), rng.choice(hostile.FORMULAS)
    pick = rng.randrange(9)
    if pick == 0:
        table[key] = new
    elif pick == 1:  # keeps the unit where the hostile piece is a number
        table[key] = f"({old})*({new})"
    elif pick == 2:
        table[key] = f"({old})*exp({new})"
    elif pick == 3:
        names = [
            word for word in old.replace("(", " ").replace(")", " ").replace("*", " ").split() if word.isidentifier()
        ]
        table[key] = old.replace(rng.choice(names), rng.choice(hostile.NAMES), 1) if names else new
    elif pick == 4:
        at = rng.randrange(len(old) + 1)
        table[key] = (
            old[:at] + rng.choice(["(", ")", "*", "+", "**", "/", ".", ",", "'", "9", "\\", "\n", "#", "0"]) + old[at:]
        )
    elif pick == 5:
        depth = rng.choice([5, 20, 60, 95, 150])
        table[key] = "(" * depth + old + ")" * depth
    elif pick == 6:
        definitions = raw.setdefault("definitions", {})
        if isinstance(definitions, dict):
            kind = rng.choice(["circle", "self", "chain"])
            if kind == "circle":
                definitions |= {"qa": "qb + 1", "qb": "qc + 1", "qc": "qa + 1"}
            elif kind == "self":
                definitions["qa"] = "qa"
            else:
                n = rng.choice([10, 25, 40])
                definitions["q0"] = "2"
                definitions |= {f"q{k}": f"q{k - 1}*q{k - 1} + q{k - 1}" for k in range(1, n)}
                table[key] = f"({old})*q{n - 1}"
            return f"definitions in a {kind}"
    elif pick == 7:
        n = rng.choice([2, 8, 20])
        table[key] = f"({old})" + "**1" * n
    else:
        table[key] = f"({old}) + 0*({new})"
    return f"{key} = {str(table[key])[:300]!r}"


def _place(rng: Random, raw: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """A table and one of its keys, from the top or further down."""
    table: dict[str, Any] = raw
    while True:
        if not table:
            table["x"] = 1
        key = rng.choice(list(table))
        below = table[key]
        if not isinstance(below, dict) or not below or rng.random() < (0.05 if table is raw else 0.15):
            return table, key
        table = below


# --- writing ----------------------------------------------------------------------------------------------------------


def _written(raw: dict[str, Any]) -> str:
    return "\n".join(f"{_key(name)} = {_value(value)}" for name, value in raw.items()) + "\n"


def _key(name: str) -> str:
    return name if name.isascii() and name.replace("_", "a").isalnum() else _quoted(name)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(name)} = {_value(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return repr(value)
