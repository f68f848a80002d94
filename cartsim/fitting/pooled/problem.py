"""What is to be estimated from which data: data sets with their models and error models, parameters, priors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError
from cartsim.fitting.errors import ErrorModel
from cartsim.fitting.pooled.axes import Axis, Prior
from cartsim.model.model import choices
from cartsim.model.reader import Model, load
from cartsim.regimen import Regimen
from cartsim.sensitivity.endpoint import _reached

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("id", "time", "output", "value")
SETTINGS = ("below", "dose", "variant")  # optional columns that are no parameters
SPAN = 1e3  # how far from its start a parameter is looked for on the log scale, as a factor


@dataclass(frozen=True)
class Estimated:
    """A parameter to be estimated.

    name: of a parameter or covariate, in every data set whose model has it; "mouse.Kkill_max" for that of the
    data set "mouse" alone. start: where the search begins, by default the model's value. scale: "log" or
    "linear". low, high: limits, within those of the model file; on the log scale by default a thousandth and
    a thousand times the start.
    """

    name: str
    start: float | None = None
    scale: str = "log"
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, eq=False)
class DataSet:
    """Observations and the model that is to describe them.

    name: for messages and tables, without a dot. model: a name, a path or a Model, with all that is not estimated
    as it should be (`Model.override`, `Model.variant`).
    observations: a row a measurement, columns `id` (of the patient, mouse or well), `time` (the model's unit),
    `output` (name of an output or state) and `value` (its unit). Optional columns: `below` (true: only known to
    be below `value`), `dose` (cells), `variant` (a named variant of the model), and parameters or covariates by
    name; all of these but `below` are the same in all rows of an id.
    error: an error model for all outputs or one for each by name. regimen: as for `cartsim.simulate`.
    Raises `InputError` for anything that does not fit.
    """

    name: str
    model: Model | str | Path
    observations: pd.DataFrame
    error: ErrorModel | Mapping[str, ErrorModel]
    regimen: Regimen | float | None = None
    layout: Layout = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.name or "." in self.name:
            raise InputError(f"data set {self.name!r}: give it a name without a dot")
        object.__setattr__(self, "layout", _layout(self))


@dataclass(frozen=True, eq=False)
class Layout:
    """A data set as it was checked: N observations, C conditions (distinct doses and covariates), T times.

    outputs: the names observed, errors: the error model of each; value, below, condition, time_index: (N,), output:
    (N,) place in `outputs`; conditions: columns of length C.
    """

    model: Model
    regimen: Regimen | None
    errors: dict[str, ErrorModel]
    outputs: list[str]
    times: NDArray[np.float64]
    conditions: dict[str, NDArray[np.float64]]
    n_conditions: int
    value: NDArray[np.float64]
    below: NDArray[np.bool_]
    condition: NDArray[np.int64]
    time_index: NDArray[np.int64]
    output: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Problem:
    """Data sets, the parameters to be estimated from all of them together, and what is known of these.

    estimate: names, or `Estimated` for other starts, scales and limits; everything else keeps the value that its
    data set's model has. A name shared by data sets is one parameter. priors: by the names in `estimate`.
    Raises `InputError` when anything does not fit together.
    """

    data: Sequence[DataSet]
    estimate: Sequence[str | Estimated]
    priors: Mapping[str, Prior] = field(default_factory=dict)
    axes: tuple[Axis, ...] = field(init=False, repr=False)
    uses: tuple[dict[str, str], ...] = field(init=False, repr=False)  # of each data set: parameter -> axis name

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", (self.data,) if isinstance(self.data, DataSet) else tuple(self.data))
        wanted = [each if isinstance(each, Estimated) else Estimated(each) for each in self.estimate]
        object.__setattr__(self, "estimate", tuple(wanted))
        names = [data.name for data in self.data]
        if not names or len(set(names)) < len(names):
            raise InputError(f"data sets {', '.join(names) or '(none)'}: give at least one, each a name of its own")
        given = [each.name for each in wanted]
        if not given or len(set(given)) < len(given):
            raise InputError(f"estimate {', '.join(given) or '(nothing)'}: name at least one parameter, each once")
        for name in self.priors:
            if name not in given:
                raise InputError(f"a prior for {name!r}, which is not estimated{choices(name, given)}")
        uses: list[dict[str, str]] = [{} for _ in names]
        axes = [self._axis(each, uses) for each in wanted]
        object.__setattr__(self, "axes", tuple(axes))
        object.__setattr__(self, "uses", tuple(uses))
        self._check_entering()

    def _axis(self, wanted: Estimated, uses: list[dict[str, str]]) -> Axis:
        """The parameter as an axis, checked against every model that has it; noted in `uses`."""
        name = wanted.name
        where, dot, own = name.partition(".")
        if dot and where not in [data.name for data in self.data]:
            raise InputError(
                f"estimate {name!r}: there is no data set {where!r}{choices(where, [data.name for data in self.data])}"
            )
        parameter_name = own if dot else name
        found = []
        for k, data in enumerate(self.data):
            if (dot and data.name != where) or parameter_name not in data.layout.model.parameters:
                continue
            if parameter_name in uses[k]:
                raise InputError(
                    f"{uses[k][parameter_name]!r} and {name!r} both stand for {parameter_name} of "
                    f"{data.name}; give one of the two"
                )
            if parameter_name in data.layout.conditions:
                raise InputError(f"{name} is estimated, and given as a column of {data.name}; leave out one")
            uses[k][parameter_name] = name
            found.append((data, data.layout.model.parameters[parameter_name]))
        if not found:
            self._unknown(name, parameter_name)
        data, parameter = found[0]
        for other, same in found:
            if same.role == "constant":
                raise InputError(f"{name} is a constant of {other.name}; estimate parameters or covariates")
            if same.unit != parameter.unit:
                raise InputError(
                    f"{name} is in {parameter.unit} in {data.name} and in {same.unit} in {other.name}, so it cannot "
                    f"be shared; estimate {data.name}.{name}, {other.name}.{name} or both"
                )
        start = self._start(wanted, found)
        low = max((p.low for _, p in found if p.low is not None), default=-math.inf)
        high = min((p.high for _, p in found if p.high is not None), default=math.inf)
        return _checked_axis(wanted, parameter.unit, start, low, high, self.priors.get(name))

    def _unknown(self, name: str, parameter_name: str) -> None:
        known = {n for data in self.data for n, p in data.layout.model.parameters.items() if p.role != "constant"}
        for data in self.data:
            if parameter_name in data.layout.model.unused:
                raise InputError(
                    f"{name} cannot be identified: it does not enter the equations of "
                    f"{data.layout.model.name}; leave it out"
                )
        raise InputError(f"estimate {name!r}: no model has this parameter{choices(parameter_name, sorted(known))}")

    @staticmethod
    def _start(wanted: Estimated, found: list[tuple[DataSet, Any]]) -> float:
        if wanted.start is not None:
            return float(wanted.start)
        values = {}
        for data, parameter in found:
            place = list(data.layout.model.parameters).index(parameter.name)
            values[data.name] = float(data.layout.model.values({}, 1)[0, place])
        if len(set(values.values())) > 1:
            shown = ", ".join(f"{value:g} in {name}" for name, value in values.items())
            raise InputError(f"{wanted.name} is {shown}; say where to start: Estimated({wanted.name!r}, start=...)")
        return next(iter(values.values()))

    def _check_entering(self) -> None:
        """Every estimated parameter can change something that is observed."""
        reached = set()
        for data, uses in zip(self.data, self.uses, strict=True):
            for output in data.layout.outputs:
                entering = _reached(data.layout.model, output, data.layout.regimen)
                reached |= {axis for parameter, axis in uses.items() if parameter in entering}
        for axis in self.axes:
            if axis.name not in reached:
                observed = ", ".join(sorted({o for data in self.data for o in data.layout.outputs}))
                raise InputError(
                    f"{axis.name} cannot be identified: it does not enter what is observed ({observed}); leave it out"
                )

    @property
    def n_observations(self) -> int:
        return sum(len(data.layout.value) for data in self.data)

    def without_priors(self, names: Iterable[str] | None = None) -> Problem:
        """The same problem with nothing known beforehand of `names`, by default of anything."""
        left = {} if names is None else {n: p for n, p in self.priors.items() if n not in set(names)}
        return Problem(self.data, self.estimate, left)

    def with_values(self, values: Sequence[NDArray[np.float64]]) -> Problem:
        """The same problem with other measured values, an array (N,) for each data set, none marked `below`."""
        data = [
            replace(each, observations=each.observations.drop(columns="below", errors="ignore").assign(value=new))
            for each, new in zip(self.data, values, strict=True)
        ]
        return Problem(data, self.estimate, self.priors)


def table_priors(model: Model | str | Path, names: Iterable[str] | None = None) -> dict[str, Prior]:
    """Priors from a model file: the value and relative standard error of each of `names`.

    By default of all parameters that have one. Raises `InputError` for a name without.
    """
    model = load(model)
    known = {
        name: Prior(p.value, p.rse) for name, p in model.parameters.items() if p.rse is not None and p.value is not None
    }
    names = list(known) if names is None else list(names)
    for name in names:
        if name not in known:
            raise InputError(
                f"{model.name} gives no relative standard error of {name!r}; it does of {', '.join(known) or 'nothing'}"
            )
    return {name: known[name] for name in names}


def _checked_axis(wanted: Estimated, unit: str, start: float, low: float, high: float, prior: Prior | None) -> Axis:
    name = wanted.name
    if wanted.scale not in ("log", "linear"):
        raise InputError(f"{name}: scale {wanted.scale!r}; choose log or linear")
    for what, number in (("start", start), ("low", wanted.low), ("high", wanted.high)):
        if number is not None and not math.isfinite(number):
            raise InputError(f"{name}: {what} is {number}; give a finite number")
    low = low if wanted.low is None else max(low, wanted.low)
    high = high if wanted.high is None else min(high, wanted.high)
    if not low < high:
        raise InputError(f"{name}: nothing lies between the limits {low:g} and {high:g}; give low below high")
    if not low <= start <= high:
        raise InputError(f"{name}: the start {start:g} is outside its limits {low:g} to {high:g}; move one of them")
    if wanted.scale == "log" and (start <= 0 or (prior is not None and prior.estimate <= 0)):
        raise InputError(
            f"{name}: start {start:g}{f', prior {prior.estimate:g}' if prior else ''} on the log "
            "scale; give numbers above 0 or take scale 'linear'"
        )
    if wanted.scale == "log":
        low, high = max(low, start / SPAN), min(high, start * SPAN)
    return Axis(name, unit, start, wanted.scale, low, high, prior)


# --- observations ---------------------------------------------------------------------------------------


def _layout(data: DataSet) -> Layout:
    import pandas as pd

    where, table, model = data.name, data.observations, load(data.model)
    regimen = Regimen.single(data.regimen) if isinstance(data.regimen, (int, float)) else data.regimen
    if not isinstance(table, pd.DataFrame):
        raise InputError(
            f"{where}: observations are {type(table).__name__}; give a data frame with columns {', '.join(COLUMNS)}"
        )
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise InputError(f"{where}: no column {', '.join(missing)}; observations have {', '.join(COLUMNS)}")
    if table.empty:
        raise InputError(f"{where}: no observations; give at least one row")
    if table["id"].isna().any():
        raise InputError(f"{where}: row {int(table['id'].isna().argmax()) + 1} has no id; give every row one")
    value, time = _numbers(table, "value", where), _numbers(table, "time", where)
    names = table["output"].astype(str)
    known = [*model.outputs, *model.states]
    for row, name in enumerate(names):
        if name not in known:
            raise InputError(
                f"{where}: row {row + 1} observes {name!r}, which {model.name} does not have{choices(name, known)}"
            )
    errors = _errors(where, data.error, list(dict.fromkeys(names)))
    below = _flags(table["below"], where) if "below" in table else np.zeros(len(table), bool)
    for name, error in errors.items():
        rows = (names == name).to_numpy()
        value[rows], below[rows] = error.censored(value[rows], below[rows])
        bad = rows & (value <= 0)
        if error.kind in ("lognormal", "proportional") and bad.any():
            raise InputError(
                f"{where}: {name} in row {int(bad.argmax()) + 1} is {value[bad][0]:g}, and {error.kind} error is for "
                "values above 0; give an lloq, leave the row out, or take combined or additive error"
            )
    by_id, columns = _subjects(where, model, regimen, table)
    _check_times(where, regimen, time)

    distinct, which = (
        np.unique(np.column_stack(list(columns.values())), axis=0, return_inverse=True)
        if columns
        else (np.zeros((1, 0)), np.zeros(by_id.max() + 1, int))
    )
    times, time_index = np.unique(time, return_inverse=True)
    outputs = list(errors)
    conditions = {name: distinct[:, k] for k, name in enumerate(columns)}
    model.values(conditions, len(distinct))
    return Layout(
        model,
        regimen,
        errors,
        outputs,
        times,
        conditions,
        len(distinct),
        value,
        below,
        which.reshape(-1)[by_id],
        time_index,
        np.array([outputs.index(name) for name in names]),
    )


def _errors(where: str, given: ErrorModel | Mapping[str, ErrorModel], outputs: list[str]) -> dict[str, ErrorModel]:
    """The error model of each output observed."""
    if isinstance(given, ErrorModel):
        return dict.fromkeys(outputs, given)
    for name in given:
        if name not in outputs:
            raise InputError(
                f"{where}: an error model for {name!r}, of which there is no observation{choices(name, outputs)}"
            )
    missing = [name for name in outputs if name not in given]
    if missing:
        raise InputError(f"{where}: no error model for {', '.join(missing)}; give one")
    return {name: given[name] for name in outputs}


def _subjects(
    where: str, model: Model, regimen: Regimen | None, table: pd.DataFrame
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]:
    """The subject of each row, 0 to n - 1, and the columns that describe subjects, each (n,)."""
    import pandas as pd

    by_id, ids = pd.factorize(table["id"])
    extra = [name for name in table.columns if name not in (*COLUMNS, "below")]
    first = np.unique(by_id, return_index=True)[1]
    columns: dict[str, NDArray[np.float64]] = {}
    for name in extra:
        if name not in SETTINGS and name not in model.parameters:
            known = [*SETTINGS, *(p.name for p in model.parameters.values() if p.role != "constant")]
            raise InputError(
                f"{where}: no parameter or covariate {name!r} of {model.name} for the column of that "
                f"name{choices(name, known)}"
            )
        values = table[name].astype(str).to_numpy() if name == "variant" else _numbers(table, name, where)
        differs = values != values[first][by_id]
        if differs.any():
            raise InputError(
                f"{where}: {name} differs between the rows of id {ids[by_id[differs.argmax()]]}; it is one for each id"
            )
        if name != "variant":
            columns[name] = values[first]
            continue
        for parameter, column in _variant_columns(model, values[first], where).items():
            columns.setdefault(parameter, column)
    if "dose" in columns and regimen is not None and all(d.amount is not None for d in regimen.doses):
        raise InputError(f"{where}: the regimen fixes the dose, and there is a column dose; leave out one")
    if "dose" in columns and ((columns["dose"] < 0).any() or model.dosing is None):
        raise InputError(f"{where}: a column dose of numbers from 0 up needs a model with dosing")
    return by_id, columns


def _variant_columns(model: Model, names: NDArray[Any], where: str) -> dict[str, NDArray[np.float64]]:
    known = {name: model.variant(name) for name in dict.fromkeys(names) if name in model.variants}
    for name in names:
        if name not in known:
            raise InputError(f"{where}: {model.name} has no variant {name!r}{choices(name, model.variants)}")
    changed = dict.fromkeys(p for name in known for p in model.variants[name])
    return {p: np.array([known[name].parameters[p].value for name in names], float) for p in changed}


def _check_times(where: str, regimen: Regimen | None, time: NDArray[np.float64]) -> None:
    first = regimen.doses[0].time if regimen is not None and regimen.doses else 0.0
    early = time < first
    if early.any():
        row = int(early.argmax())
        what = f"before the first dose at {first:g}" if first > 0 else "before time 0"
        raise InputError(f"{where}: row {row + 1} is at time {time[row]:g}, {what}; leave it out")


def _numbers(table: pd.DataFrame, name: str, where: str) -> NDArray[np.float64]:
    import pandas as pd

    values = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype="float64", copy=True)
    wrong = ~np.isfinite(values)
    if wrong.any():
        row = int(wrong.argmax())
        given = table[name].iloc[row]
        raise InputError(
            f"{where}: {name} in row {row + 1} is {repr(given) if isinstance(given, str) else given}; give a finite "
            "number, or leave the row out"
        )
    return values


def _flags(column: pd.Series[Any], where: str) -> NDArray[np.bool_]:
    text = column.astype(str).str.strip().str.lower()
    bad = ~text.isin(("true", "false", "1", "0", "1.0", "0.0"))
    if bad.any():
        row = int(bad.argmax())
        raise InputError(f"{where}: below in row {row + 1} is {column.iloc[row]!r}; give true or false")
    return text.isin(("true", "1", "1.0")).to_numpy()
