"""What was observed of individual patients: response categories, and values of any output, from a CSV file.

A file has a row for each observation, days counted from the single infusion on day 0:

    id,dose,day,category,output,value
    1,450e6,28,PR,,
    1,450e6,28,,sbcma_change,-92
    1,450e6,28,,transgene,<50

``category`` is PD, SD, MR, PR, VGPR or CR, or NE for a visit without an assessment; else ``output`` names an output
or state of the model and ``value`` is in its unit, with "<" before a limit of quantification. ``output`` and
``value`` may be left out where there are only categories. Further columns named as parameters or covariates of the
model hold what is known of a patient, such as burden or M0. Lines that begin with # are comments.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.endpoints.rules import Response, SinghLandmark
from cartsim.errors import InputError
from cartsim.model.model import choices
from cartsim.model.reader import Model, _folder
from cartsim.population.patients import allowed, check_name, outside
from cartsim.tables import WHOLE, finite_number, read_table

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

MPROTEIN = "mprotein_change"
"""The output that response categories are intervals of."""

_SCALE = ", ".join(r.name for r in Response)
_OWN = ("id", "dose", "day", "category", "output", "value")


@dataclass(frozen=True)
class CategoryRules:
    """Which change of M-protein from baseline each category stands for.

    bins: the limits in percent (Singh 2021), each category the interval between its limit and the next.
    progression: "nadir", PD is a rise by ``bins.pd`` percent above the lowest value so far (the baseline being the
        first), as IMWG has it and as trials report it; "baseline", PD is the bin above ``bins.pd`` percent of the
        baseline, Singh's landmark. By the latter responders of the published model do not progress: of 2,000 virtual
        patients none does in 21 months, since the tumor doubles in 87 days and begins far below its baseline.
    pd_absolute: g/L that the rise above the lowest value must also reach; above 0 it needs the column M0.

    Raises `InputError` for another ``progression`` or a negative ``pd_absolute``.
    """

    bins: SinghLandmark = SinghLandmark()  # noqa: RUF009 (frozen)
    progression: str = "nadir"
    pd_absolute: float = 0.0

    def __post_init__(self) -> None:
        if self.progression not in ("nadir", "baseline"):
            raise InputError(f"progression is {self.progression!r}; choose 'nadir' or 'baseline'")
        if not (math.isfinite(self.pd_absolute) and self.pd_absolute >= 0):
            raise InputError(f"pd_absolute is {self.pd_absolute!r}; give a number of g/L, 0 or more")

    def intervals(self, M0: float | None = None) -> dict[Response, tuple[float, float]]:
        """Lowest and highest M-protein relative to baseline (1 = no change) of each category."""
        b = self.bins
        cr = b.cr if b.cr_limit is None or M0 is None else 100 * (b.cr_limit / M0 - 1)
        limits = [math.inf, b.pd, b.mr, b.pr, b.vgpr, cr]
        if self.progression == "nadir":
            limits[1] = math.inf  # what is not PD may be anywhere above MR
        level = [1 + max(limit, cr) / 100 for limit in limits] + [-math.inf]
        order = (Response.PD, Response.SD, Response.MR, Response.PR, Response.VGPR, Response.CR)
        return {category: (level[k + 1], level[k]) for k, category in enumerate(order)}


@dataclass(frozen=True)
class Series:
    """All observations of one output: arrays (n, k), each patient's in order of day, padded at the end.

    days: NaN where padded; low, high: what is known of the value, equal where it was measured, infinite where there
    is no limit; category: codes of `Response` (NE where padded) in a series of categories, else None.
    Outputs that are changes in percent are held as levels relative to baseline, 1 + change/100.
    """

    output: str
    days: Floats
    low: Floats
    high: Floats
    category: NDArray[np.int8] | None = None

    @property
    def known(self) -> NDArray[np.bool_]:
        """(n, k) Where something was observed."""
        return np.isfinite(self.high) if self.category is None else self.category != Response.NE


@dataclass(frozen=True)
class PatientData:
    """Observations of n patients. table: a row a patient, ``dose`` and what else is known; series: by output."""

    ids: NDArray[Any]
    table: pd.DataFrame
    series: tuple[Series, ...]
    rules: CategoryRules

    @property
    def responses(self) -> Series | None:
        """The series of categories, if there is one."""
        return next((s for s in self.series if s.category is not None), None)

    @property
    def observations(self) -> int:
        """How many observations say anything."""
        return sum(int(s.known.sum()) for s in self.series)

    def last_day(self) -> float:
        return max(float(np.nanmax(s.days)) for s in self.series)


def is_change(model: Model, output: str) -> bool:
    """Whether an output is a change from baseline in percent, of which the level 1 + change/100 is positive."""
    return output in model.outputs and output.endswith("_change") and model.outputs[output].unit == "percent"


def example(name: str = "crb401_synthetic") -> Path:
    """The path of a data set that comes with cartsim."""
    folder = _folder() / "examples"
    known = sorted(path.stem for path in folder.glob("*.csv"))
    if name not in known:
        raise InputError(f"no example is called {name!r}{choices(name, known)}")
    return folder / f"{name}.csv"


def read_patient_data(
    source: str | Path | pd.DataFrame, model: Model, rules: CategoryRules = CategoryRules()
) -> PatientData:
    """Read and check observations of individual patients: a CSV file, the name of a packaged example, or a frame.

    Raises `InputError`, naming row (counted from 1 below the header) and patient, for columns that are missing or
    unknown, an empty id, a day before the infusion, a category outside the scale or on day 0, an unknown output, a
    value that is not a number, both or neither of category and value, the same observation twice, a dose or
    covariate that is not one number a patient, and a file without observations.
    """
    where, columns, rows = _rows(source)
    known_of_patient = _check_columns(where, columns, model)
    seen: dict[tuple[str, float, str], int] = {}
    patients: dict[str, dict[str, float]] = {}
    found: dict[str, list[tuple[str, float, float, float, Response]]] = {}
    for number, row in enumerate(rows, 1):
        patient = row["id"]
        place = f"{where}, row {number} (id {patient})"
        if not patient:
            raise InputError(f"{where}, row {number} has no id; every row needs one")
        fixed = {"dose": _number(place, "dose", row["dose"], 0.0, None)}
        for name in known_of_patient:
            p = model.parameters[name]
            fixed[name] = _number(place, name, row[name], p.low, p.high)
        first = patients.setdefault(patient, fixed)
        for name, value in fixed.items():
            if value != first[name]:
                raise InputError(f"{place}: {name} is {value:g}, in the patient's first row {first[name]:g}; give one")
        day = _number(place, "day", row["day"], None, None)
        if day < 0:
            raise InputError(f"{place}: day {day:g} is before the infusion on day 0; leave the row out")
        output, low, high, category = _observed(place, row, day, model, rules, fixed.get("M0"))
        key = (patient, day, output)
        if key in seen:
            raise InputError(f"{place}: {output} of day {day:g} is given in row {seen[key]} too; keep one of them")
        seen[key] = number
        found.setdefault(output, []).append((patient, day, low, high, category))
    if not rows:
        raise InputError(f"{where}: no observations; give a header line and a row for each observation")
    return _arranged(patients, found, rules)


def _arranged(
    patients: dict[str, dict[str, float]],
    found: dict[str, list[tuple[str, float, float, float, Response]]],
    rules: CategoryRules,
) -> PatientData:
    import pandas as pd

    series = []
    for output, observed in found.items():
        own: dict[str, list[Any]] = {patient: [] for patient in patients}
        for patient, *rest in sorted(observed, key=lambda each: each[1]):
            own[patient].append(rest)
        k = max(map(len, own.values()))
        filling = [math.nan, -math.inf, math.inf, Response.NE]
        block = np.array([rest + [filling] * (k - len(rest)) for rest in own.values()], float)
        days, low, high, codes = np.moveaxis(block, 2, 0)
        is_category = output == "category"
        category = codes.astype(np.int8) if is_category else None
        series.append(Series(MPROTEIN if is_category else output, days, low, high, category))
    ids = list(patients)
    whole = all(re.fullmatch(WHOLE, each) for each in ids)
    table = pd.DataFrame(list(patients.values()))
    return PatientData(np.array([int(i) for i in ids] if whole else ids), table, tuple(series), rules)


def _observed(
    place: str, row: Mapping[str, str], day: float, model: Model, rules: CategoryRules, M0: float | None
) -> tuple[str, float, float, Response]:
    """What a row says: the output ("category" for a category), lowest and highest level, category."""
    name, output, text = row["category"].upper(), row["output"], row["value"]
    if bool(name) == bool(text):
        raise InputError(f"{place}: give either a category or a value, not {'both' if name else 'neither'}")
    if name:
        if name not in Response.__members__:
            raise InputError(f"{place}: category {row['category']!r} is not on the scale; it is one of {_SCALE}")
        if output not in ("", MPROTEIN):
            raise InputError(f"{place}: a category is of {MPROTEIN}, not of {output!r}; leave output empty")
        if day == 0:
            raise InputError(f"{place}: on day 0 M-protein is the baseline itself; leave its category out")
        category = Response[name]
        if category == Response.NE:
            return "category", -math.inf, math.inf, category
        if M0 is None and (rules.pd_absolute > 0 or rules.bins.cr_limit is not None):
            raise InputError(f"{place}: limits in g/L need the column M0, the patient's M-protein at baseline")
        low, high = rules.intervals(M0)[category]
        if not low < high and category != Response.PD:
            raise InputError(f"{place}: with an M0 of {M0:g} g/L no {name} is possible: all below it is CR")
        return "category", low, high, category
    known = [*model.outputs, *model.states]
    if output not in known:
        raise InputError(f"{place}: no output {output!r} in model {model.name}{choices(output, known)}")
    below = text.startswith("<")
    value = _number(place, "value", text.removeprefix("<").strip(), None, None)
    if is_change(model, output):
        if value < -100:
            raise InputError(f"{place}: {output} is {value:g} %; nothing falls by more than 100 %")
        value = 1 + value / 100
    return output, -math.inf if below else value, value, Response.NE


def _check_columns(where: str, columns: list[str], model: Model) -> list[str]:
    """The columns that are parameters or covariates of the patients."""
    for name in ("id", "dose", "day"):
        if name not in columns:
            raise InputError(f"{where} has no column {name}; it needs id, dose, day and category or output, value")
    if "category" not in columns and not {"output", "value"} <= set(columns):
        raise InputError(f"{where} has neither the column category nor output and value; give what was observed")
    others = [name for name in columns if name not in _OWN]
    for name in others:
        check_name(model, name, where, also=_OWN)
    return others


def _number(place: str, name: str, text: str, low: float | None, high: float | None) -> float:
    value = finite_number(text)
    if outside(np.array([value]), low, high)[0]:
        raise InputError(f"{place}: {name} is {text!r}; it must be {allowed(low, high)}")
    return value


def _rows(source: Any) -> tuple[str, list[str], list[dict[str, str]]]:
    """What to call the source, its columns, and its rows as text with "" for what is missing."""
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        where, table = "data", source.astype(object).where(source.notna(), "").astype(str)
    else:
        path = Path(source)
        if not path.suffix and not os.path.exists(path):
            path = example(str(source))
        where, table = path.name, read_table(path, missing=False, comments=True)
    columns = [str(name).strip() for name in table.columns]
    repeated = {name for name in columns if columns.count(name) > 1}
    if repeated:
        raise InputError(f"{where}: the column {min(repeated)} is there twice; give it once")
    cells: Callable[[Any], list[str]] = lambda row: [str(cell).strip() for cell in row]  # noqa: E731
    absent = dict.fromkeys(_OWN, "")
    return where, columns, [absent | dict(zip(columns, cells(row), strict=True)) for row in table.to_numpy()]
