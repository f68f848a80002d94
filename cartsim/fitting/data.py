"""Observations brought together with the model that is to describe them, a patient at a time.

Response categories become intervals of M-protein, values below a limit intervals that are open below. Outputs that are
changes in percent are held as levels relative to baseline.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.endpoints.rules import Response, SinghLandmark
from cartsim.errors import InputError, brief, check_kind, choices
from cartsim.fitting.errors import ErrorModel
from cartsim.model.model import Model
from cartsim.observations import COLUMNS, Observations, padded, read_observations
from cartsim.population.patients import allowed, check_name, outside

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

MPROTEIN = "mprotein_change"
"""The output that response categories are intervals of."""


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
            raise InputError(f"progression is {brief(self.progression)}; choose 'nadir' or 'baseline'")
        check_kind("bins", self.bins, SinghLandmark, "SinghLandmark(...)")
        if not isinstance(self.pd_absolute, Real) or not 0 <= self.pd_absolute < math.inf:
            raise InputError(f"pd_absolute is {brief(self.pd_absolute)}; give a number of g/L, 0 or more")

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


def patient_data(
    observations: Observations | pd.DataFrame | str | Path, model: Model, rules: CategoryRules = CategoryRules()
) -> PatientData:
    """Arrange observations of individual patients, who each have a dose.

    Raises `InputError`, naming row and patient, for what `read_observations` refuses, a table without doses, a time
    before the infusion, an output that the model does not have, a category of another output, neither category nor
    value, a fall by more than 100 percent, the same observation twice, and bad doses, parameters or covariates.
    """
    import pandas as pd

    check_kind("rules", rules, CategoryRules, "CategoryRules(...)")
    found = read_observations(observations)
    frame = found.frame
    if "dose" not in frame:
        held = ", ".join(map(str, found.given.columns))
        raise InputError(f"{found.name or 'the table'} has no column dose; its columns are {held}")
    own = subjects(found, model)
    table = pd.DataFrame({"dose": own.pop("dose"), **own})
    time, value, below = (frame[name].to_numpy() for name in ("time", "value", "below"))
    category, output = (frame[name].to_numpy() for name in ("category", "output"))
    is_category = category != ""
    found.refuse(time < 0, "time", "is before the infusion on day 0; leave the row out")
    found.refuse(
        ~is_category & np.isnan(value), "value", "is missing; give a value or a category, or leave the row out"
    )
    named = is_category & ~np.isin(output, ["", MPROTEIN])
    found.refuse(named, "output", f"is not {MPROTEIN}, which categories are of; leave output empty")
    check_outputs(found, model)
    change = np.isin(output, [name for name in found.outputs if is_change(model, name)]) & ~is_category
    found.refuse(change & (value < -100), "value", "is a fall by more than 100 %; nothing falls by more than 100 %")
    high = np.where(change, 1 + value / 100, value)
    low = np.where(below, -math.inf, high)
    code = np.full(len(frame), Response.NE, np.int8)
    M0 = table["M0"].to_numpy()[found.patient] if "M0" in table else None
    for row in np.flatnonzero(is_category):
        code[row] = Response[category[row]]
        low[row], high[row] = _interval(found, int(row), rules, None if M0 is None else float(M0[row]))

    what = np.where(is_category, "category", output)
    _refuse_doubles(found, what)
    series = []
    for name in dict.fromkeys(what):
        rows = np.flatnonzero(what == name)
        rows = rows[np.argsort(time[rows], kind="stable")]
        columns = (time[rows], low[rows], high[rows], code[rows].astype(float))
        filling = (math.nan, -math.inf, math.inf, float(Response.NE))
        days, lows, highs, codes = padded(found.patient[rows], len(found.ids), columns, filling)
        if name == "category":
            series.append(Series(MPROTEIN, days, lows, highs, codes.astype(np.int8)))
        else:
            series.append(Series(name, days, lows, highs))
    return PatientData(found.ids, table, tuple(series), rules)


def subjects(found: Observations, model: Model) -> dict[str, Floats]:
    """What is known of each subject: dose, parameters, covariates and what its variant changes, each (n,).

    Raises `InputError` for columns that the model does not have, and values that it does not allow.
    """
    columns: dict[str, Floats] = {}
    for name in found.frame.columns:
        if name == "dose":
            columns["dose"] = found.of_patients("dose")
            found.refuse(
                np.full(len(found), model.dosing is None), "dose", f"needs a model with dosing, unlike {model.name}"
            )
        elif name == "variant":
            for changed, column in _variants(found, model).items():
                columns.setdefault(changed, column)
        elif name not in COLUMNS:
            check_name(model, name, found.name or "the table", also=COLUMNS)
            parameter = model.parameters[name]
            columns[name] = found.of_patients(name)
            wrong = outside(columns[name], parameter.low, parameter.high)[found.patient]
            found.refuse(wrong, name, f"is not possible; it must be {allowed(parameter.low, parameter.high)}")
    return columns


def _variants(found: Observations, model: Model) -> dict[str, Floats]:
    names = found.of_patients("variant")
    wrong = ~np.isin(found.frame["variant"].to_numpy(), list(model.variants))
    found.refuse(wrong, "variant", f"is none of {model.name}; it has {', '.join(model.variants) or 'no variants'}")
    varied = [n for n, own in model.variants.items() if any(f.keys() & {"iiv", "rse"} for f in own.parameters.values())]
    other = [name for name, own in model.variants.items() if own.formulas]
    for which, what in ((other, "equations"), (varied, "variability")):
        found.refuse(
            np.isin(found.frame["variant"].to_numpy(), which),
            "variant",
            f"changes {what}, which is the same for all; fit the model {model.name}:VARIANT instead",
        )
    known = {name: model.variant(name) for name in dict.fromkeys(names)}
    changed = dict.fromkeys(p for name in known for p in model.variants[name].values)
    return {p: np.array([known[name].parameters[p].value for name in names], float) for p in changed}


def check_outputs(found: Observations, model: Model) -> None:
    """Raise `InputError` for values of an output that the model does not have, or in a unit other than its own."""
    known = model.outputs | model.states
    output = found.frame["output"].to_numpy()
    values = found.frame["category"].to_numpy() == ""
    for name in found.outputs:
        rows = values & (output == name)
        why = (
            f"is no output of model {model.name}{choices(name, known)}"
            if name
            else "is missing; name an output of the model"
        )
        found.refuse(rows & (name not in known), "output", why)
        if "unit" in found.frame:
            unit = known[name].unit
            other = ~found.frame["unit"].replace("%", "percent").isin([unit, ""]).to_numpy()
            found.refuse(rows & other, "unit", f"is not {unit}, the unit of {name} in {model.name}; convert the values")


def default_error(model: Model, output: str, values: Floats) -> ErrorModel:
    """The error model that pooled fits use for an output where none is given.

    Additive for changes in percent and for outputs with values of 0 or less, log-normal for all others.
    """
    return ErrorModel("additive" if is_change(model, output) or (values <= 0).any() else "lognormal")


def _interval(found: Observations, row: int, rules: CategoryRules, M0: float | None) -> tuple[float, float]:
    """The levels that the category of a row stands for."""
    category = Response[found.frame["category"].iloc[row]]
    if category == Response.NE:
        return -math.inf, math.inf
    why = ""
    if M0 is None and (rules.pd_absolute > 0 or rules.bins.cr_limit is not None):
        why = "by limits in g/L, which need the column M0, the patient's M-protein at baseline"
    low, high = rules.intervals(M0)[category]
    if not low < high and category != Response.PD:
        why = f"with an M0 of {M0:g} g/L: no {category.name} is possible, since all below it is CR"
    if why:
        found.refuse(np.arange(len(found)) == row, "category", why)
    return low, high


def _refuse_doubles(found: Observations, what: NDArray[Any]) -> None:
    """Refuse the same observation given twice."""
    twice = found.frame[["id", "time"]].assign(what=what)
    again = twice.duplicated().to_numpy()
    if again.any():
        row = int(again.argmax())
        first = twice.index[(twice == twice.iloc[row]).all(axis=1)][0] + 1
        found.refuse(again, "time", f"has {what[row]} in row {first} too; keep one of them")
