"""Populations in files: a model's central estimates, how its patients vary, draws of the estimates, and where all this
is from.

A population is a TOML file; its draws stand beside it in a CSV file of the same name, a row a draw, columns named as
for `Population.at`::

    schema = 1
    name = "ide-cel"
    title = "Patients of the trials of idecabtagene vicleucel"
    model = "bb2121_clinical:window"       # that comes with cartsim, or else is given when the file is read
    model_digest = "5e..."                 # of its equations, by which it is known again
    purpose = "what it is for"
    limits = "what it is not for"

    [estimates]                            # typical values, where they are not those of the model file
    Kexp_max = 3.4

    [variability]                          # what varies otherwise than in the model file
    Kexp_max = {distribution = "lognormal", omega = 0.11}

    [correlation]
    "K12,K21" = 0.5

    [draws]
    rows = 400
    sha256 = "9f..."                       # of the CSV file

    [provenance]                           # texts, numbers and lists of them, to be read by people
    made = "2026-12-01"
    command = "cartsim calibrate ..."

    [scores.karmma]
    interval_score = 12.3
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cartsim.errors import InputError, brief, check_kind, choices
from cartsim.files import shipped_data, whole_folder
from cartsim.model.model import DISTRIBUTIONS, OMEGALESS, Model, Variability
from cartsim.model.model import finite_number as number
from cartsim.model.reader import load
from cartsim.model.toml_file import check_label, content, entries, parse, shown_path, text
from cartsim.population.correlation import correlation_pairs
from cartsim.population.patients import check_name
from cartsim.population.population import Population
from cartsim.tables import finite_number, read_table, regular_file
from cartsim.toml_text import toml_text

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
DIGITS = 6  # of a number in the draws
MOST_DRAWS = 100_000
MOST = 2000  # characters of a text
_WORDS = ("title", "model", "purpose", "limits")


@dataclass(frozen=True, repr=False)
class StoredPopulation:
    """What the file of a population says.

    Attributes
    ----------
    name, title, model, purpose, limits
        What it is called, what it is, of which model, what it is for and what it is not for.
    estimates, variability, correlation
        What is otherwise than in the model file.
    draws
        Estimates that may be as well, a row a draw; None where there are none.
    provenance, scores
        Who made it from what, and how it was judged: texts, numbers, lists and tables of these.
    path, digest
        The file, and the SHA-256 of it and its draws.
    """

    name: str
    title: str
    model: str
    purpose: str
    limits: str
    model_digest: str | None
    estimates: Mapping[str, float]
    variability: Mapping[str, Variability]
    correlation: Mapping[tuple[str, str], float]
    draws: pd.DataFrame | None
    path: Path
    digest: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        drawn = "no draws" if self.draws is None else f"{len(self.draws)} draws of {', '.join(self.draws)}"
        return f"population {self.name} of {self.model}: {self.title}; {drawn}"

    def of(self, seed: int = 2021, sampler: str = "random", model: str | Path | Model | None = None) -> Population:
        """The patients; see `population`."""
        chosen = self._model(model)
        where = f"population {self.name}"
        try:
            for name in (*self.estimates, *self.variability):
                check_name(chosen, name, self.path.name)
            return Population(
                chosen.override(self.estimates),
                seed,
                dict(self.variability),
                dict(self.correlation),
                sampler,
                draws=self.draws,
                origin={"name": self.name, "digest": self.digest},
            )
        except InputError as problem:
            raise InputError(f"{where}: {problem}") from None

    def _model(self, given: str | Path | Model | None) -> Model:
        try:
            model = load(self.model if given is None else given)
        except InputError as problem:
            if given is not None:
                raise
            say = f"give the model too, population({self.name!r}, model=...)"
            raise InputError(
                f"population {self.name} is of {self.model}, which is not here ({problem}); {say}"
            ) from None
        if model.name != self.model:
            raise InputError(f"population {self.name} is of {self.model}, not of {model.name}; leave the model out")
        if self.model_digest not in (None, model.digest):
            raise InputError(
                f"population {self.name} was made with other equations of {model.name} than these; calibrate it again"
            )
        return model


def population(
    name: str | Path, seed: int = 2021, *, sampler: str = "random", model: str | Path | Model | None = None
) -> Population:
    """Virtual patients of a population that comes with cartsim, or of a file.

    They are those of its central estimates. Its ``draws`` are what ``uncertainty=True`` is of.

    Parameters
    ----------
    name
        Of one that `populations` lists, or the path of a .toml file.
    seed, sampler
        As of `Population`.
    model
        Of a population whose model does not come with cartsim: the model, or the path of its file.

    Raises
    ------
    InputError
        Where there is no such population, its file or draws are damaged, or the model has changed since.

    Examples
    --------
    >>> import cartsim as cs
    >>> cs.population("published", seed=1).model.name
    'bb2121_clinical'
    """
    return read_population(name).of(seed, sampler, model)


def populations() -> pd.DataFrame:
    """The populations that come with cartsim: ``name``, ``title``, ``model``, number of ``draws``, ``purpose``."""
    import pandas as pd

    found = [read_population(name) for name in population_names()]
    rows = [(p.name, p.title, p.model, 0 if p.draws is None else len(p.draws), p.purpose) for p in found]
    return pd.DataFrame(rows, columns=["name", "title", "model", "draws", "purpose"])


def population_names() -> list[str]:
    """Names of the populations that come with cartsim."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def read_population(name: str | Path) -> StoredPopulation:
    """What the file of a population says; see `population`."""
    check_kind("the population", name, (str, Path), "the name of one, such as 'published', or the path of a .toml file")
    given = str(name)
    if not given.endswith(".toml") and given not in population_names():
        own = "one of your own: the path of its .toml file"
        raise InputError(f"no population {brief(given)}{choices(given[:100], population_names())} ({own})")
    path = Path(given) if given.endswith(".toml") else _folder() / f"{given}.toml"
    said = content(path, "population file")
    return _read(parse(said, shown_path(path)), path, hashlib.sha256(said))


def save_population(
    path: str | Path,
    population: Population,
    *,
    title: str,
    purpose: str,
    limits: str,
    provenance: Mapping[str, Any],
    scores: Mapping[str, Any] | None = None,
) -> StoredPopulation:
    """Write a population and its draws, to be read by its path or, in the folder of those shipped, by its name.

    Parameters
    ----------
    path
        A .toml file, which is the name; the draws go into the .csv file beside it, of 6 digits each.
    population
        Of the central estimates, with its ``draws``; what is otherwise than in the model file is written.
    title, purpose, limits
        What it is, what it is for, and what it is not for.
    provenance, scores
        Who made it from what, and how it was judged: texts, numbers, lists and mappings of these.

    Raises
    ------
    InputError
        For a name that cannot be one, and where nothing can be written.
    """
    path = Path(path)
    if path.suffix != ".toml":
        raise InputError(f"{path}: a population is written to a .toml file; choose this ending")
    check_label(path.stem, "the name of a population")
    model = population.model
    file = _model_file(model)
    entry: dict[str, Any] = {
        "schema": SCHEMA,
        "name": path.stem,
        "title": title,
        "model": model.name,
        "model_digest": model.digest,
        "purpose": purpose,
        "limits": limits,
        "estimates": {name: p.value for name, p in model.parameters.items() if p.value != file.parameters[name].value},
        "variability": _otherwise(population, Population(file).varied),
        "correlation": {f"{a},{b}": rho for (a, b), rho in correlation_pairs(population.correlation).items() if a < b},
    }
    with whole_folder(path.parent, ()) as stage:
        if population.draws is not None:
            csv = stage / f"{path.stem}.csv"
            population.draws.to_csv(csv, index=False, lineterminator="\n", float_format=f"%.{DIGITS}g")
            entry["draws"] = {"rows": len(population.draws), "sha256": hashlib.sha256(csv.read_bytes()).hexdigest()}
        written = toml_text(entry | {"provenance": provenance, "scores": scores or {}})
        (stage / path.name).write_text(written, "utf-8")
        read_population(stage / path.name).of(model=file)  # whatever cannot be read again is not written
    return read_population(path)


def _folder() -> Path:
    return shipped_data() / "populations"


def _model_file(model: Model) -> Model:
    """The model as its file has it, before any value was changed."""
    return load(Path(model.path) if ":" not in model.name else f"{model.path}:{model.name.partition(':')[2]}")


def _otherwise(population: Population, usual: Mapping[str, Variability]) -> dict[str, Any]:
    """What varies otherwise, as the file says it."""
    found: dict[str, Any] = {}
    for name in population.model.parameters:
        own, before = population.varied.get(name), usual.get(name)
        if own == before:
            continue
        own = own or Variability("lognormal", 0.0)
        said = {"omega": own.omega, "low": own.low, "high": own.high, "rse": own.rse}
        if own.distribution in OMEGALESS:
            said.pop("omega")
        found[name] = {"distribution": own.distribution} | {
            key: value for key, value in said.items() if value is not None
        }
    return found


def _read(raw: dict[str, Any], path: Path, digest: Any) -> StoredPopulation:
    file = shown_path(path)
    if raw.get("schema") != SCHEMA:
        raise InputError(
            f"{file}: schema {brief(raw.get('schema'))} is not that of a population of this cartsim, {SCHEMA}"
        )
    tables = ("estimates", "variability", "correlation", "draws", "provenance", "scores")
    entries(raw, file, ("schema", "name", *_WORDS), ("model_digest", *tables))
    check_label(text(raw["name"], f"{file}: name", 64), f"{file}: name")
    words = {key: text(raw[key], f"{file}: {key}", MOST) for key in _WORDS}
    for part in words["model"].split(":"):  # a name, and never a path
        check_label(part.removesuffix(".toml"), f"{file}: model")
        if part.endswith(".toml"):
            raise InputError(f"{file}: model: {brief(part)} is a file; write the name that stands in it")
    for key in tables:
        if not isinstance(raw.setdefault(key, {}), dict):
            raise InputError(f"{file}: {key} must be a table; write [{key}]")
    pairs = {}
    for key, rho in raw["correlation"].items():
        first, comma, second = (part.strip() for part in key.partition(","))
        if not comma:
            raise InputError(
                f'{file}: correlation: {brief(key)}: write two names and a number, such as "K12,K21" = 0.5'
            )
        pairs[first, second] = number(rho, f"{file}: correlation of {brief(key)}")
    draws = _draws(raw["draws"], path, file, digest) if raw["draws"] else None
    return StoredPopulation(
        name=raw["name"],
        **words,
        model_digest=text(raw["model_digest"], f"{file}: model_digest", 64) if "model_digest" in raw else None,
        estimates={n: number(v, f"{file}: estimates: {brief(n)}") for n, v in raw["estimates"].items()},
        variability={n: _variability(v, f"{file}: variability.{brief(n)}") for n, v in raw["variability"].items()},
        correlation=pairs,
        draws=draws,
        path=path,
        digest=digest.hexdigest(),
        provenance=_plain(raw["provenance"], f"{file}: provenance"),
        scores=_plain(raw["scores"], f"{file}: scores"),
    )


def _variability(entry: Any, where: str) -> Variability:
    numbers = ("omega", "low", "high", "rse")
    entries(entry, where, ("distribution",), numbers)
    if entry["distribution"] not in DISTRIBUTIONS:
        raise InputError(f"{where}: {brief(entry['distribution'])} is not one of {', '.join(DISTRIBUTIONS)}")
    given = {key: number(entry[key], f"{where}.{key}") for key in numbers if key in entry}
    return Variability(entry["distribution"], **given)


def _draws(entry: Any, path: Path, file: str, digest: Any) -> pd.DataFrame:
    """The draws beside the file, if they are those that it is of."""
    entries(entry, f"{file}: draws", ("rows", "sha256"), ())
    beside = path.with_suffix(".csv")
    regular_file(beside)
    content = beside.read_bytes()
    digest.update(content)
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise InputError(f"{file}: {beside.name} holds other draws than were written with it; take both from one place")
    table = read_table(beside, missing=False).map(finite_number)
    if len(table) != entry["rows"] or not 0 < len(table) <= MOST_DRAWS:
        raise InputError(f"{file}: {beside.name} has {len(table)} draws, not {brief(entry['rows'])}")
    return table


def _plain(entry: Any, where: str, depth: int = 0) -> Any:
    """Texts, numbers, lists and tables of these, a few deep."""
    if isinstance(entry, dict) and depth < 4 and len(entry) <= 200:
        return {text(key, where, 200): _plain(each, f"{where}: {brief(key)}", depth + 1) for key, each in entry.items()}
    if isinstance(entry, list) and depth < 4 and len(entry) <= 1000:
        return [_plain(each, where, depth + 1) for each in entry]
    if isinstance(entry, str):
        return text(entry, where, MOST, empty=True)
    if isinstance(entry, (int, float)):  # true and false too
        return entry
    raise InputError(f"{where}: {brief(entry)} is neither a text nor a number, nor a short table of these")
