"""Trials as they were published: design, visits, follow-up and results, from a file of our own format.

A file says what was done (arms, visits, assays, conduct, rules) and what was found, a row a result. Shares are given as
counts; values and exact limits are computed from these unless the trial published its own. `models/trials` has those
that are shipped; a trial of your own is written the same way and given by its path.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cartsim.endpoints.kinetics import PERSISTENCE
from cartsim.endpoints.rates import clopper_pearson
from cartsim.endpoints.rules import IMWG2016
from cartsim.errors import InputError, check_count, choices
from cartsim.files import shipped_data
from cartsim.model.model import finite_number, shown
from cartsim.model.toml_file import check_label, content, entries, parse, shown_path, text
from cartsim.population.patients import Patients
from cartsim.population.population import Population, endless
from cartsim.results import Result
from cartsim.schedule import KARMMA_KINETICS, KARMMA_RESPONSE
from cartsim.trial.assay import Assay
from cartsim.trial.conduct import Conduct, Followup
from cartsim.trial.protocol import Protocol, Rules, Visits
from cartsim.trial.trial import Arm, Trial

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "cartsim-trial-1"
MAX_ROWS = 1000
MAX_PATIENTS = 1_000_000
MAX_WORDS = 500  # characters of a title, a source, a note

ROLES = {
    "fit": "counts once, in a calibration and in its scores",
    "repeat": "says again what other rows say: shown, not counted",
    "context": "has no counterpart in the model",
}
"""What a row is for."""

CLASSES = ("A", "B", "C")
"""Of what a row can be asked: A the published model, B a calibrated population, C nothing that is modelled."""

SHARES = {
    "ORR": "best response PR or better",
    "VGPR or better": "best response VGPR or better",
    "CR": "best response CR",
    **{f"best response {name}": f"best response {name}" for name in ("NE", "PD", "SD", "MR", "PR", "VGPR", "CR")},
    "below PR": "best response below PR, or none",
    "MRD-negative": "lowest residual disease below the limit",
    "MRD-negative CR": "best response CR, and lowest residual disease below the limit",
    "relapse": "progressed or died by the cut-off",
    "persistence": "transgene quantifiable at the month, of those sampled",
    **{f"AUC quartile {k}": f"AUC0-28 in quartile {k} of all arms" for k in (1, 2, 3, 4)},
}
"""Endpoints that are shares of patients, percent."""

VALUES = {
    "PFS": ("KM median", "KM percent"),
    "DOR": ("KM median", "KM percent"),
    "TTR": ("median",),
    "TTCR": ("median",),
    "Tmax": ("median",),
    "correlation of Cmax and AUC0-28": ("correlation",),
    "Cmax, responders to others": ("ratio of medians",),
    "AUC0-28, responders to others": ("ratio of medians",),
}
"""Other endpoints, and the statistics of each."""

_RANGES = {
    "KM median": (1e-3, math.inf),
    "median": (1e-3, math.inf),
    "ratio of medians": (1e-3, math.inf),
    "correlation": (-1.0, 1.0),
}

UNITS = {
    "share": "%",
    "KM percent": "%",
    "KM median": "months",
    "median": "months",
    "correlation": "",
    "ratio of medians": "",
}
"""Units of statistics; Tmax is in days."""

SUBSETS = {
    "": "all",
    "responders": "best response PR or better",
    "PR": "best response PR",
    "VGPR": "best response VGPR",
    "CR": "best response CR",
    "AUC quartile 1": "AUC0-28 in the lowest quartile of all arms",
    "AUC quartiles 2-4": "AUC0-28 above the lowest quartile of all arms",
}
"""Of whom a row can be."""


@dataclass(frozen=True)
class Row:
    """One published result.

    Attributes
    ----------
    id
        Unique in its trial.
    endpoint, statistic
        What was found: of `SHARES` the statistic "share", of `VALUES` one of theirs; anything else in context.
    arms, subset
        Of whom: names of arms, and one of `SUBSETS`.
    value, low, high
        In ``unit``; limits of 95 %, NaN where unknown, infinite where not reached.
    n, events
        Patients of whom, and how many had it; None where not known.
    month, limit
        Of persistence and rates, months; of residual disease, share of nucleated marrow cells.
    evaluable
        Share of the patients who could be found to have it; the rest count as not having it.
    counted
        Of how many patients the row counts, where the others of n count in another row already.
    role, kind, source, note
        One of `ROLES`, one of `CLASSES`, where it is published, and what to know of it.
    """

    id: str
    endpoint: str
    statistic: str
    arms: tuple[str, ...]
    subset: str
    value: float
    low: float
    high: float
    n: int | None
    events: int | None
    unit: str
    role: str
    kind: str
    source: str
    note: str
    month: float | None = None
    limit: float | None = None
    evaluable: float = 1.0
    counted: int | None = None

    def cells(self, *columns: str) -> dict[str, Any]:
        """The row in columns of a table: attributes by name, arms as one text, and the kind as ``class``."""
        known = vars(self) | {"arms": ", ".join(self.arms), "class": self.kind}
        return {name: known[name] for name in columns}


@dataclass(frozen=True, repr=False, eq=False)
class PublishedTrial(Result):
    """A trial as it was published.

    Attributes
    ----------
    name, title, citation
        Of the trial.
    arms
        `Arm`s: doses in cells, and patients.
    protocol
        As that trial had it.
    rows
        Its results, each a `Row`; ``results`` has them as a table, which is also ``frame``.
    baseline
        Facts about the patients before treatment, shares in percent: ``fact``, ``arms``, ``n``, ``events``, ``value``,
        ``low``, ``high``, ``covariate`` (of a model, whose patients have it as often), ``note``.
    skipped
        Rows that cannot be compared: ``id``, ``endpoint``, ``why``.
    path, digest
        The file, and the SHA-256 of what it says.
    """

    what = "published trial"
    name: str
    title: str
    citation: str
    arms: tuple[Arm, ...]
    protocol: Protocol
    rows: tuple[Row, ...]
    baseline: pd.DataFrame
    skipped: pd.DataFrame
    path: str
    digest: str
    made_by: dict[str, Any] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Patients in all arms."""
        return sum(arm.n or 0 for arm in self.arms)

    @cached_property
    def results(self) -> pd.DataFrame:
        """A row a result: ``id``, ``endpoint``, ``arms``, ``subset``, ``statistic``, ``value``, ``low``, ``high``,
        ``n``, ``events``, ``unit``, ``role``, ``class``, ``source``, ``note``.
        """
        import pandas as pd

        table = pd.DataFrame([vars(row) for row in self.rows]).rename(columns={"kind": "class"})
        table["arms"] = [", ".join(row.arms) for row in self.rows]
        return table.astype({"n": "Int64", "events": "Int64"})

    @property
    def frame(self) -> pd.DataFrame:  # type: ignore[override]
        """The table of results."""
        return self.results

    @property
    def summary(self) -> pd.DataFrame:
        """What was found: the columns that one reads first."""
        names = ["id", "endpoint", "arms", "subset", "statistic", "value", "low", "high", "n", "events", "unit", "role"]
        return self.results[names]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know."""
        left_out = self.skipped["id"].tolist()
        return (f"{len(left_out)} rows cannot be compared with simulated patients; see skipped",) if left_out else ()

    def row(self, name: str) -> Row:
        """The row of an id. Raises `InputError` for another."""
        found = {row.id: row for row in self.rows}
        if name not in found:
            raise InputError(f"{self.name} has no row {shown(name)}{choices(name, found)}")
        return found[name]

    def trial(self, population: Population | Patients, n: int | None = None, **options: Any) -> Trial:
        """The trial done again with virtual patients.

        Parameters
        ----------
        population
            Who is treated.
        n
            Patients in every arm; by default as many as the trial had in each. Shares of patients at baseline that are
            a covariate of the model (of extramedullary disease) are those of the arm, or else of all.
        **options
            Others of `Trial`. Each arm has its own patients where there are patients without end.

        Raises
        ------
        InputError
            As `Trial`.
        """
        arms = [
            Arm(arm.dose, arm.n if n is None else n, arm.name, covariates=self._shares(arm.name, population))
            for arm in self.arms
        ]
        known = {"protocol": self.protocol, "independent": endless(population), "curves": 0}
        return Trial(population, arms, **known | options)  # type: ignore[arg-type]

    def _shares(self, arm: str, population: Population | Patients) -> dict[str, float] | None:
        """Covariates of a virtual population of which the trial tells how many of an arm had them."""
        if not isinstance(population, Population):
            return None
        found: dict[str, float] = {}
        for fact in sorted(self.baseline.to_dict("records"), key=lambda fact: -str(fact["arms"]).count(",")):
            known = population.varied.get(str(fact["covariate"]))
            if known is not None and known.distribution == "bernoulli" and arm in str(fact["arms"]).split(", "):
                found[str(fact["covariate"])] = float(fact["events"] / fact["n"])
        return found or None

    def tables(self) -> dict[str, pd.DataFrame]:
        """Results, baseline and what is skipped, by the name of the file."""
        stem = self._stem
        return {f"{stem}.csv": self.results, f"{stem}_baseline.csv": self.baseline, f"{stem}_skipped.csv": self.skipped}

    def _title(self) -> str:
        arms = ", ".join(f"{arm.name} (n = {arm.n})" for arm in self.arms)
        return f"{self.name}: {self.title}; {arms}; {self.citation}"


def names() -> list[str]:
    """Names of the trials that are shipped."""
    return sorted(path.stem for path in (shipped_data() / "trials").glob("*.toml"))


def published(name_or_path: str | Path | PublishedTrial) -> PublishedTrial:
    """A published trial.

    Parameters
    ----------
    name_or_path
        One that is shipped ("crb401", "karmma", "karmma3"), or the path of a file of your own, ending in .toml; a
        `PublishedTrial` is returned as it is.

    Raises
    ------
    InputError
        Where there is no such trial, and for anything wrong in the file: another schema, an unknown endpoint,
        impossible limits, a row given twice.

    Examples
    --------
    >>> import cartsim as cs
    >>> trial = cs.published("crb401")
    >>> trial.n, trial.row("ORR_all").events
    (33, 28)
    """
    if isinstance(name_or_path, PublishedTrial):
        return name_or_path
    name = str(name_or_path)
    own = name.endswith(".toml")
    if not own and name not in names():
        yours = "a trial of your own: the path of its .toml file"
        raise InputError(f"no published trial {shown(name)}{choices(name[:100], names())} ({yours})")
    path = Path(name) if own else shipped_data() / "trials" / f"{name}.toml"
    told = content(path, "trial file")
    return _Reader(shown_path(path)).read(parse(told, shown_path(path)), path, hashlib.sha256(told).hexdigest())


class _Reader:
    """Reads what one file says; ``file`` is its name for messages."""

    def __init__(self, file: str) -> None:
        self.file = file

    def read(self, raw: dict[str, Any], path: Path, digest: str) -> PublishedTrial:
        file = self.file
        needed = ("schema", "name", "title", "citation", "arms", "results")
        if raw.get("schema", SCHEMA) != SCHEMA:
            raise InputError(f"{file}: schema {shown(raw['schema'])}; this version of cartsim reads {SCHEMA!r}")
        raw = entries(raw, file, needed, ("visits", "assays", "conduct", "rules", "baseline"))
        head = {key: text(raw[key], f"{file}: {key}", MAX_WORDS) for key in ("name", "title", "citation")}
        arms = tuple(
            self.arm(entry, f"arms, entry {k}") for k, entry in enumerate(self.several(raw["arms"], "arms"), 1)
        )
        every = [arm.name for arm in arms]
        if len(set(every)) < len(every):
            raise InputError(f"{file}: arms of one name, {', '.join(every)}; give each its own")
        results = entries(raw["results"], f"{file}: results", ("rows",), ("source",))
        source = text(results.get("source", head["citation"]), f"{file}: results.source", MAX_WORDS)
        rows: dict[str, Row] = {}
        skipped: list[tuple[str, str, str]] = []
        for k, entry in enumerate(self.several(results["rows"], "results.rows"), 1):
            row = self.row(entry, f"{file}: results.rows, entry {k}", every, source)
            if row.id in rows or row.id in {each for each, *_ in skipped}:
                raise InputError(f"{file}: results.rows: {row.id!r} is given twice; keep one")
            if row.role != "context" and row.n is None and not math.isfinite(row.low):
                skipped.append((row.id, row.endpoint, "neither n nor limits are published"))
                continue
            rows[row.id] = row
            if row.role == "context":
                skipped.append((row.id, row.endpoint, row.note or "no counterpart in the model"))
        self.refuse_doubles(list(rows.values()))
        return PublishedTrial(
            **head,
            arms=arms,
            protocol=self.protocol(raw),
            rows=tuple(rows.values()),
            baseline=self.baseline(raw.get("baseline", []), every),
            skipped=_frame(skipped, ["id", "endpoint", "why"]),
            path=str(path),
            digest=digest,
            made_by={"trial": head["name"], "citation": head["citation"], "file": file, "digest": digest},
        )

    def several(self, given: Any, where: str) -> list[Any]:
        if not isinstance(given, list) or not 1 <= len(given) <= MAX_ROWS:
            raise InputError(f"{self.file}: {where}: must be a list of 1 to {MAX_ROWS} tables, not {shown(given)}")
        return given

    def arm(self, entry: Any, where: str) -> Arm:
        where = f"{self.file}: {where}"
        entries(entry, where, ("name", "dose", "n"), ())
        name = text(entry["name"], f"{where}.name", 64)
        dose = finite_number(entry["dose"], f"{where}.dose")
        if dose <= 0:
            raise InputError(f"{where}: a dose of {dose:g} cells; give more than 0")
        return Arm(dose, _patients(entry["n"], where), name)

    def protocol(self, raw: dict[str, Any]) -> Protocol:
        visits = dict(self.table(raw.get("visits", {}), "visits"))
        for key, calendar in (("response", KARMMA_RESPONSE), ("kinetics", KARMMA_KINETICS)):
            if visits.get(key) == "KarMMa":
                visits[key] = calendar
        assays = {
            name: self.made(Assay, entry, f"assays.{shown(name)}")
            for name, entry in self.table(raw.get("assays", {}), "assays").items()
        }
        conduct = dict(self.table(raw.get("conduct", {}), "conduct"))
        if "followup" in conduct:
            conduct["followup"] = self.made(Followup, conduct["followup"], "conduct.followup")
        rules = dict(self.table(raw.get("rules", {}), "rules"))
        if "response" in rules:
            rules["response"] = self.made(IMWG2016, rules["response"], "rules.response")
        return Protocol(
            visits=self.made(Visits, visits, "visits"),
            assays=assays,
            conduct=self.made(Conduct, conduct, "conduct"),
            rules=self.made(Rules, rules, "rules"),
        )

    def table(self, entry: Any, where: str) -> dict[str, Any]:
        if not isinstance(entry, dict):
            raise InputError(f"{self.file}: {where}: must be a table, not {shown(entry)}")
        return entry

    def made(self, kind: type, entry: Any, where: str) -> Any:
        """An object of entries by the names of its fields; what it says of wrong ones, with the place in the file."""
        known = {each.name: each for each in fields(kind)}
        needed = [name for name, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
        entry = entries(entry, f"{self.file}: {where}", needed, known)
        try:
            return kind(**{key: tuple(own) if isinstance(own, list) else own for key, own in entry.items()})
        except InputError as problem:
            raise InputError(f"{self.file}: {where}: {problem}") from None
        except TypeError:
            raise InputError(f"{self.file}: {where}: a value of another kind than numbers and words") from None

    def baseline(self, given: Any, arms: list[str]) -> pd.DataFrame:
        rows = []
        for k, entry in enumerate(self.several(given, "baseline") if given else [], 1):
            where = f"{self.file}: baseline, entry {k}"
            entries(entry, where, ("fact", "events", "n"), ("arms", "covariate", "note"))
            n, events = _counts(entry, where)
            value, low, high = _exact(events or 0, n or 1)
            own = self.names_of(entry, where, arms)
            fact, note = text(entry["fact"], f"{where}.fact", 100), text(entry.get("note", ""), where, 500, empty=True)
            covariate = text(entry.get("covariate", ""), f"{where}.covariate", 64, empty=True)
            rows.append((fact, ", ".join(own), n, events, value, low, high, covariate, note))
        return _frame(rows, ["fact", "arms", "n", "events", "value", "low", "high", "covariate", "note"])

    def names_of(self, entry: dict[str, Any], where: str, arms: list[str]) -> tuple[str, ...]:
        own = entry.get("arms", arms)
        if not isinstance(own, list) or not own:
            raise InputError(f"{where}.arms: must be a list of names, not {shown(own)}")
        for name in own:
            if name not in arms:
                raise InputError(f"{where}: no arm {shown(name)}{choices(str(name)[:64], arms)}")
        return tuple(dict.fromkeys(own))

    def row(self, entry: Any, where: str, arms: list[str], source: str) -> Row:
        words = ("subset", "statistic", "unit", "class", "source", "note")
        numbers = ("value", "limits", "n", "events", "month", "limit", "evaluable", "counted")
        entries(entry, where, ("id", "endpoint", "role"), ("arms", *words, *numbers))
        name = text(entry["id"], f"{where}.id", 64)
        check_label(name, f"{where}.id")
        where = f"{self.file}: {name}"
        told = {"subset": "", "class": "B", "source": source, "note": "", "statistic": "share"}
        told |= {key: text(entry[key], f"{where}: {key}", MAX_WORDS, empty=True) for key in words if key in entry}
        endpoint = text(entry["endpoint"], f"{where}: endpoint", 100)
        _known(entry["role"], ROLES, f"{where}: role")
        _known(told["class"], CLASSES, f"{where}: class")
        if entry["role"] != "context":
            self.check_comparable(endpoint, told, where)
        n, events = _counts(entry, where)
        value, low, high = self.value(entry, where, told["statistic"], n, events)
        if told["statistic"] == "share" and events is None and n and math.isfinite(value):
            events = round(value * n / 100)
        unit = told.get("unit") or ("days" if endpoint == "Tmax" else UNITS.get(told["statistic"], ""))
        month, limit = (_above_zero(entry, key, where) for key in ("month", "limit"))
        if entry["role"] != "context":
            if month is None and (endpoint == "persistence" or told["statistic"] == "KM percent"):
                raise InputError(f"{where}: {endpoint} needs the month of it; add month")
            if endpoint == "persistence" and month not in PERSISTENCE:
                known = " and ".join(map(str, PERSISTENCE))
                raise InputError(f"{where}: persistence at month {month:g}; it is read at month {known}")
            if endpoint.startswith("MRD") and limit is None:
                raise InputError(
                    f"{where}: {endpoint} needs the share of cells below which it is; add limit, such as 1e-5"
                )
        evaluable = _above_zero(entry, "evaluable", where)
        if evaluable is not None and evaluable > 1:
            raise InputError(f"{where}: evaluable {evaluable:g}; give a share of 1 or less")
        counted = None
        if "counted" in entry:
            counted = check_count(entry["counted"], f"{where}: counted is {shown(entry['counted'])}")
            if n is None or counted > n:
                raise InputError(f"{where}: {counted} counted of {n or 'an unknown number'}; give at most n")
        return Row(
            name,
            endpoint,
            told["statistic"],
            self.names_of(entry, where, arms),
            told["subset"],
            value,
            low,
            high,
            n,
            events,
            unit,
            entry["role"],
            told["class"],
            told["source"],
            told["note"],
            month,
            limit,
            1.0 if evaluable is None else evaluable,
            counted,
        )

    def check_comparable(self, endpoint: str, told: dict[str, str], where: str) -> None:
        if endpoint not in SHARES and endpoint not in VALUES:
            else_ = "; or is it context?"
            raise InputError(
                f"{where}: unknown endpoint {shown(endpoint)}{choices(endpoint, [*SHARES, *VALUES])}{else_}"
            )
        allowed = ("share",) if endpoint in SHARES else VALUES[endpoint]
        if told["statistic"] not in allowed:
            raise InputError(
                f"{where}: statistic {shown(told['statistic'])} of {endpoint}; it is {' or '.join(allowed)}"
            )
        _known(told["subset"], SUBSETS, f"{where}: subset")

    def value(
        self, entry: dict[str, Any], where: str, statistic: str, n: int | None, events: int | None
    ) -> tuple[float, float, float]:
        """Value and limits as published, or else of the counts."""
        value = finite_number(entry["value"], f"{where}: value") if "value" in entry else math.nan
        low, high = math.nan, math.nan
        if statistic == "share" and n and events is not None:
            if "value" in entry:
                raise InputError(f"{where}: both value and events; leave value out, it is computed")
            value, low, high = _exact(events, n)
        elif statistic == "share" and n and math.isfinite(value):
            if not 0 <= value <= 100:
                raise InputError(f"{where}: a share of {value:g} %; give 0 to 100")
            _, low, high = _exact(round(value * n / 100), n)
        if "limits" in entry:
            low, high = _limits(entry["limits"], value, statistic, where)
        if entry["role"] != "context":
            if math.isnan(value):
                raise InputError(f"{where}: no value; give value, or n and events")
            least, most = _RANGES.get(statistic, (0.0, 100.0))
            if not least <= value <= most or low < least:
                what = f"a {statistic} of {value:g}" + ("" if math.isnan(low) else f" with a lower limit of {low:g}")
                give = f"{least:g} or more" if math.isinf(most) else f"{least:g} to {most:g}"
                raise InputError(f"{where}: {what}; give {give}")
        return value, low, high

    def refuse_doubles(self, rows: list[Row]) -> None:
        """Raise `InputError` for two rows that would count the same patients twice."""
        seen: dict[tuple[Any, ...], str] = {}
        for row in (row for row in rows if row.role == "fit"):
            key = (row.endpoint, row.statistic, row.arms, row.subset, row.month)
            if key in seen:
                raise InputError(
                    f"{self.file}: {seen[key]} and {row.id} are both of {row.endpoint} in the same patients and both "
                    "count; make one of them a repeat"
                )
            seen[key] = row.id


def _known(value: Any, known: Any, where: str) -> None:
    if not isinstance(value, str) or value not in known:
        raise InputError(f"{where} {shown(value)}{choices(str(value)[:100], [each for each in known if each])}")


def _counts(entry: Mapping[str, Any], where: str) -> tuple[int | None, int | None]:
    n = _patients(entry["n"], where) if "n" in entry else None
    if "events" not in entry:
        return n, None
    events = entry["events"]
    if n is None or type(events) is not int or not 0 <= events <= n:
        raise InputError(f"{where}: {shown(events)} of {n or 'an unknown number'}; give whole numbers, events of n")
    return n, events


def _patients(given: Any, where: str) -> int:
    n = check_count(given, f"{where}: n is {shown(given)}")
    if n > MAX_PATIENTS:
        raise InputError(f"{where}: n is {shown(given)}; give at most {MAX_PATIENTS:,} patients")
    return n


def _above_zero(entry: Mapping[str, Any], key: str, where: str) -> float | None:
    if key not in entry:
        return None
    value = finite_number(entry[key], f"{where}: {key}")
    if value <= 0:
        raise InputError(f"{where}: {key} {value:g}; give a number above 0")
    return value


def _limits(given: Any, value: float, statistic: str, where: str) -> tuple[float, float]:
    good = isinstance(given, list) and len(given) == 2 and all(type(each) in (int, float) for each in given)
    if not good or any(math.isnan(each) for each in given):
        raise InputError(f"{where}: limits {shown(given)}; give the lower and the upper one, inf for not reached")
    low, high = (float(each) for each in given)
    # Limits are published rounded, so that the value may lie half a unit beyond.
    if not 0 <= low <= high or not low - 0.5 <= value <= high + 0.5 or (statistic == "share" and high > 100):
        raise InputError(f"{where}: limits of {low:g} to {high:g} about {value:g} are impossible; check the three")
    return low, high


def _exact(events: int, n: int) -> tuple[float, float, float]:
    low, high = clopper_pearson(events, n)
    return 100 * events / n, 100 * float(low), 100 * float(high)


def _frame(rows: list[Any], columns: list[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=columns)
