"""What is to be estimated from which data: data sets with their models and error models, parameters, priors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError, brief, check_kind, choices
from cartsim.fitting.data import check_outputs, default_error, subjects
from cartsim.fitting.errors import ErrorModel
from cartsim.fitting.pooled.axes import Axis, Prior
from cartsim.model.model import Model
from cartsim.model.reader import load
from cartsim.observations import Observations, read_observations
from cartsim.regimen import Regimen

if TYPE_CHECKING:
    import pandas as pd

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

    def __post_init__(self) -> None:
        check_kind("what is to be estimated", self.name, str, "the name of a parameter")
        for what in ("start", "low", "high"):
            number = getattr(self, what)
            if number is not None and (not isinstance(number, Real) or not math.isfinite(number)):
                raise InputError(f"{self.name}: {what} is {brief(number)}; give a finite number")
        if self.scale not in ("log", "linear"):
            raise InputError(f"{self.name}: scale {brief(self.scale)}; choose log or linear")


@dataclass(frozen=True, eq=False)
class DataSet:
    """Observations and the model that is to describe them.

    Parameters
    ----------
    name
        For messages and tables, without a dot.
    model
        A name, a path or a Model, with all that is not estimated as it should be (`Model.override`, `Model.variant`).
    observations
        See `cartsim.observations`. Values only: response categories and empty values are left out, which ``left_out``
        counts.
    errors
        An error model for all outputs or one for each by name. By default additive for changes in percent and for
        outputs with values of 0 or less, log-normal for all others, with SDs that are estimated.
    dose
        Cells infused at time 0, or a `Regimen`; else each row's own dose, else the model's.

    Raises
    ------
    InputError
        For anything that does not fit.
    """

    name: str
    model: Model | str | Path
    observations: Observations | pd.DataFrame | str | Path
    errors: ErrorModel | Mapping[str, ErrorModel] | None = None
    dose: Regimen | float | None = None
    layout: Layout = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or "." in self.name:
            raise InputError(f"data set {brief(self.name)}: give it a name without a dot")
        if self.dose is not None:
            check_kind("dose", self.dose, (Real, Regimen), "a number of cells or a Regimen")
        object.__setattr__(self, "observations", read_observations(self.observations, name=self.name))
        object.__setattr__(self, "layout", _layout(self))


@dataclass(frozen=True, eq=False)
class Layout:
    """A data set as it was checked: N observations, C conditions (distinct doses and covariates), T times.

    ids: (N,) of the subjects; outputs: the names observed, errors: the error model of each; value, below, condition,
    time_index: (N,), output: (N,) place in `outputs`; conditions: columns of length C; left_out: categories and empty
    values, which say nothing here.
    """

    model: Model
    left_out: int
    ids: NDArray[Any]
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
        check_kind("priors", self.priors, Mapping, "a mapping of names to priors")
        for name, prior in self.priors.items():
            check_kind(f"the prior of {name}", prior, Prior, "Prior(estimate, rse)")
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
            raise InputError(f"{wanted.name} is {shown}; say where to start, or estimate it for each data set")
        return next(iter(values.values()))

    def _check_entering(self) -> None:
        """Every estimated parameter can change something that is observed."""
        reached = set()
        for data, uses in zip(self.data, self.uses, strict=True):
            for output in data.layout.outputs:
                rule = data.layout.regimen.retreatment if data.layout.regimen is not None else None
                entering = data.layout.model.reached_from([output] if rule is None else [output, rule.state])
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
        data = []
        for each, new in zip(self.data, values, strict=True):
            old = used_rows(read_observations(each.observations))
            data.append(replace(each, observations=replace(old, frame=old.frame.assign(value=new, below=False))))
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
    if not math.isfinite(start):
        raise InputError(f"{name}: start is {start}; give a finite number")
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


def used_rows(observations: Observations) -> Observations:
    """The rows that hold a value."""
    return observations.rows(observations.frame["value"].notna().to_numpy())


def _layout(data: DataSet) -> Layout:
    where, model = data.name, load(data.model)
    regimen = data.dose if data.dose is None or isinstance(data.dose, Regimen) else Regimen.single(data.dose)
    every = read_observations(data.observations)
    found = used_rows(every)
    if not len(found):
        raise InputError(f"{where}: no values, which a pooled fit is made from; give at least one")
    check_outputs(found, model)
    names, time = found.frame["output"].to_numpy(), found.frame["time"].to_numpy()
    value, below = found.frame["value"].to_numpy(copy=True), found.frame["below"].to_numpy(copy=True)
    outputs = found.outputs
    errors = _errors(where, model, data.errors, {name: value[(names == name) & ~below] for name in outputs})
    for name, error in errors.items():
        rows = names == name
        value[rows], below[rows] = error.censored(value[rows], below[rows])
        if error.kind in ("lognormal", "proportional"):
            why = f"of {name} has no {error.kind} error, which is for values above 0; give an lloq, leave the row out"
            found.refuse(rows & (value <= 0), "value", f"{why}, or take combined or additive error")
    columns = subjects(found, model)
    if "dose" in columns and regimen is not None and all(d.amount is not None for d in regimen.doses):
        raise InputError(f"{where}: the regimen fixes the dose, and there is a column dose; leave out one")
    first = regimen.doses[0].time if regimen is not None and regimen.doses else 0.0
    what = f"the first dose at {first:g}" if first > 0 else "time 0"
    found.refuse(time < first, "time", f"is before {what}; leave the row out")

    distinct, which = (
        np.unique(np.column_stack(list(columns.values())), axis=0, return_inverse=True)
        if columns
        else (np.zeros((1, 0)), np.zeros(len(found.ids), int))
    )
    times, time_index = np.unique(time, return_inverse=True)
    conditions = {name: distinct[:, k] for k, name in enumerate(columns)}
    model.values(conditions, len(distinct))
    return Layout(
        model,
        len(every) - len(found),
        found.frame["id"].to_numpy(),
        regimen,
        errors,
        outputs,
        times,
        conditions,
        len(distinct),
        value,
        below,
        which.reshape(-1)[found.patient],
        time_index,
        np.array([outputs.index(name) for name in names]),
    )


def _errors(
    where: str,
    model: Model,
    given: ErrorModel | Mapping[str, ErrorModel] | None,
    values: Mapping[str, NDArray[np.float64]],
) -> dict[str, ErrorModel]:
    """The error model of each output observed; ``values``: what was measured of each."""
    if given is None:
        return {name: default_error(model, name, own) for name, own in values.items()}
    if isinstance(given, ErrorModel):
        return dict.fromkeys(values, given)
    check_kind("errors", given, Mapping, "an error model, or a mapping of outputs to error models")
    for name, error in given.items():
        check_kind(f"the error model of {name}", error, ErrorModel, 'ErrorModel("lognormal"), say')
        if name not in values:
            raise InputError(
                f"{where}: an error model for {name!r}, of which there is no observation{choices(name, values)}"
            )
    missing = [name for name in values if name not in given]
    if missing:
        raise InputError(f"{where}: no error model for {', '.join(missing)}; give one")
    return {name: given[name] for name in values}
