"""Hostile values for every option and argument of every command, as the command line itself lists them.

The other options are those of the smallest sensible call, so that what is accepted is soon done. A command that
``data.TINY`` does not know gets hostile values all the same.
"""

from __future__ import annotations

import csv
import io
import math
import shutil
from random import Random
from typing import Any, get_type_hints

from fuzzing import data, hostile
from fuzzing.case import REFUSED, RIGHT, Bad, Call, Case

_ABSURD = ("0", "-1", "-5", str(10**12), str(10**24), str(10**30), str(-(10**24)), str(2**63), str(2**64), "100000")
_LISTS = (
    "{0},{1}",
    "{0}:{1}",
    "{0}:{1}:{2}",
    "{0},{0}",
    "{0}:1e12:1",
    "0:{0}:1e-12",
    "1:2:{0}",
    ",",
    ":",
    "::",
    "{0},",
    ",,{0}",
)
_NAMES = (
    "Kg",
    "Kel_e",
    "burden",
    "M0",
    "nosuch",
    "Tumor",
    "transgene",
    "mprotein",
    "id",
    "dose",
    "ife_limit",
    "cr",
    "__class__",
)


def prepare(case: Case) -> None:
    """Valid files and a stored trial."""
    data.written(case.work)
    data.stored(case)


def run(case: Case) -> str:
    from typer.main import get_command

    from cartsim.cli.app import app

    rng = case.rng
    shutil.copytree(case.stage, case.work, dirs_exist_ok=True)
    commands: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    functions = {each.callback.__name__: each.callback for each in app.registered_commands if each.callback}
    name = rng.choice(sorted(commands))
    types = get_type_hints(functions[name.replace("-", "_")])
    arguments, options = data.TINY.get(name, ([], {}))
    arguments, options = list(arguments), dict(options)
    parameters = [each for each in commands[name].params if each.name != "help"]
    needed = [each for each in parameters if each.required and not _given(each, arguments, options, parameters)]
    chosen = [*needed, *rng.sample(parameters, min(len(parameters), rng.choice([1, 1, 2, 3])))]
    for parameter in chosen:
        _set(case, parameter, _kind(types[parameter.name]), arguments, options, parameters)
    # No process is given a zero, or a word that is longer than this.
    words = [word.replace("\0", "")[:100_000] for word in data.words(name, arguments, options)]
    call = case.run(*words)
    if call.code == 2:
        return REFUSED
    if name == "simulate":
        _finite_or_named(call)
    return RIGHT


def _given(parameter: Any, arguments: list[str], options: dict[str, str | None], parameters: list[Any]) -> bool:
    if parameter.param_type_name == "argument":
        return _place(parameter, parameters) < len(arguments)
    return any(option in options for option in parameter.opts)


def _place(parameter: Any, parameters: list[Any]) -> int:
    return [each for each in parameters if each.param_type_name == "argument"].index(parameter)


def _kind(annotation: Any) -> str:
    """bool, int, float, path or text."""
    names = str(annotation).lower()
    return next((kind for kind in ("bool", "int", "float", "path") if kind in names), "text")


def _set(
    case: Case, parameter: Any, kind: str, arguments: list[str], options: dict[str, str | None], parameters: list[Any]
) -> None:
    """Give this parameter a hostile value."""
    rng = case.rng
    if kind == "bool":
        for option in (*parameter.opts, *parameter.secondary_opts):
            options.pop(option, None)
        options[rng.choice([*parameter.opts, *parameter.secondary_opts])] = None
        return
    value = _value(case, rng, kind, f"{parameter.name} {parameter.metavar}".lower())
    if parameter.param_type_name == "option":
        options[parameter.opts[0]] = value
        return
    place = _place(parameter, parameters)
    arguments[place : place + 1] = [value]


def _value(case: Case, rng: Random, kind: str, what: str) -> str:
    if kind == "int" and rng.random() < 0.8:
        return rng.choice(_ABSURD) if rng.random() < 0.6 else hostile.number(rng)
    if kind == "float" and rng.random() < 0.85:
        return hostile.number(rng)
    if kind == "path" or ("data" in what and rng.random() < 0.7):
        return hostile.path(rng, case.work, rng.choice(sorted(data.FILES)))
    pick = rng.random()
    numbers = [hostile.number(rng) for _ in range(3)]
    if "=" in what and pick < 0.7:
        return (
            f"{rng.choice(_NAMES)}={rng.choice([numbers[0], rng.choice(_LISTS).format(*numbers), hostile.text(rng)])}"
        )
    if pick < 0.45:
        return rng.choice(_LISTS).format(*numbers)
    if pick < 0.55:
        return rng.choice(_NAMES)
    if pick < 0.62:
        return hostile.path(rng, case.work, "respond.csv")
    return hostile.text(rng)


def _finite_or_named(call: Call) -> None:
    """No number that is not finite in the output of ``simulate`` without a word about it."""
    rows = list(csv.reader(io.StringIO(call.out)))[1:]
    odd = sorted({row[0] for row in rows if not all(math.isfinite(float(cell)) for cell in row[1:])})
    if odd and "id" not in call.err:
        raise Bad(f"patients {odd[:5]} have numbers that are not finite, and nothing says so")
