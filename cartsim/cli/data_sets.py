"""The files of ``cartsim fit``, each with its model, dose and error models: text into data sets.

A data set is called by its file's name without the ending. What is meant of one alone is written DATA.NAME, as in
``--estimate``; a NAME is meant of all that have it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import cartsim as cs
from cartsim.cli.design import error_models, one_dose
from cartsim.cli.grammar import parse_assignments, parse_names
from cartsim.errors import InputError, choices

if TYPE_CHECKING:
    from cartsim.fitting import DataSet

T = TypeVar("T")


def data_sets(
    files: Sequence[str], model: str, settings: Sequence[str], dose: str | None, errors: Sequence[str]
) -> list[DataSet]:
    """A data set a file: "mouse.csv" of the model, "bb2121_xenograft=mouse.csv" of another.

    settings: "Kg=0.01", "mouse.Kg=0.1"; dose: "450e6", "mouse=5e6,dish=0"; errors: "lognormal",
    "transgene=lognormal:log=0.2", "mouse.tumor_volume=combined".
    """
    from cartsim.fitting import DataSet
    from cartsim.fitting.pooled.problem import used_rows

    found = _read(files, model)
    parameters = {name: own.parameters for name, (own, _) in found.items()}
    values = _shared("--set", "parameter", parse_assignments(settings), parameters)
    models = error_models(errors)
    general = models.pop("", cs.ErrorModel())
    outputs = {name: used_rows(observed).outputs for name, (_, observed) in found.items()}
    own_errors = _shared("--error", "observation of", models, outputs)
    doses = _doses(dose, list(found))

    def error(name: str) -> cs.ErrorModel | dict[str, cs.ErrorModel]:
        own = own_errors[name]
        return {output: own.get(output, general) for output in outputs[name]} if own else general

    return [
        DataSet(name, own.override(values[name]), observed, error(name), doses[name])
        for name, (own, observed) in found.items()
    ]


def refuse_set_and_estimated(settings: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise `InputError` for what --set gives a value and is to be estimated."""
    for given in parse_assignments(settings):
        where, _, name = given.rpartition(".")
        for other in wanted:
            data, _, estimated = other.rpartition(".")
            if estimated == name and (where == data or "" in (where, data)):
                raise InputError(f"--set {given}: it is also to be estimated; leave out one of the two")


def _read(files: Sequence[str], model: str) -> dict[str, tuple[cs.Model, cs.Observations]]:
    found: dict[str, tuple[cs.Model, cs.Observations]] = {}
    for text in files:
        own, _, path = ("", "", text) if os.path.exists(text) else text.rpartition("=")
        chosen, observed = cs.load(own or model), cs.read_observations(path)
        name = Path(path).stem.replace(".", "_")
        if name in found:
            raise InputError(f"{path}: a data set is called {name} already; give the files different names")
        found[name] = chosen, observed
    return found


def _shared(
    option: str, what: str, given: Mapping[str, T], known: Mapping[str, Collection[str]]
) -> dict[str, dict[str, T]]:
    """What is given by NAME for all data sets that know it, and by DATA.NAME for one, which goes before."""
    parts: dict[str, dict[str, T]] = {data: {} for data in known}
    for given_name in sorted(given, key=lambda name: "." in name):
        where, _, name = given_name.rpartition(".")
        _check_name(f"{option} {given_name}", where, known)
        takers = [data for data in known if where in ("", data) and name in known[data]]
        if not takers:
            every = {each for data, names in known.items() if where in ("", data) for each in names}
            of = where or " and ".join(known)
            raise InputError(f"{option} {given_name}: {of} has no {what} {name!r}{choices(name, sorted(every))}")
        for data in takers:
            parts[data][name] = given[given_name]
    return parts


def _doses(text: str | None, known: Sequence[str]) -> dict[str, float | None]:
    if text is None or "=" not in text:
        return dict.fromkeys(known, one_dose(text))
    own = parse_assignments(parse_names(text), "--dose")
    for name in own:
        _check_name(f"--dose {name}", name, known)
    return {name: own.get(name) for name in known}


def _check_name(given: str, name: str, known: Collection[str]) -> None:
    if name and name not in known:
        raise InputError(f"{given}: there is no data set {name!r}{choices(name, known)}")
