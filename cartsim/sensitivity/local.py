"""One parameter at a time: elasticities at the typical values, and a tornado over the ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from cartsim.errors import InputError, check_kind, elsewhere
from cartsim.model.model import finite_number
from cartsim.sensitivity.endpoint import Function, OfFunction, along, as_function, check_varied, refuse_failed, scaled
from cartsim.sensitivity.ranges import Range, resolved, typical_value


class Elasticities(OfFunction):
    """Local sensitivities, see `local`; ``frame`` holds a row a parameter (and time)."""

    what = "elasticities"

    def _title(self) -> str:
        return f"elasticities of {self.function.name}"


class Tornado(OfFunction):
    """An endpoint at both ends of each range, see `tornado`; ``frame`` holds a row a parameter, the widest first."""

    what = "tornado"

    def _title(self) -> str:
        return f"{self.function.name} at both ends of each range"


@elsewhere(seed="nothing is drawn", n="there is a run on either side of each parameter")
def local(
    function: Function | Callable, typical: Mapping[str, float] | Sequence[str], *, step: float = 0.01
) -> Elasticities:
    """Local sensitivities: central differences on the logarithm of each parameter, all sets in one call.

    typical: the value of each parameter to be varied, not 0, or names of the
    model's; step: of the logarithm, one way. Returns a row a
    parameter (and time): ``parameter``, ``time`` for a curve, ``elasticity`` (percent change of the output
    for one percent of the parameter; NaN where the output is 0 or changes sign), ``slope`` (change of the
    output, in its unit, for a change of the logarithm by 1). The error is of the order of step**2. Raises
    `InputError` for a parameter at 0 and `FailedRuns` for runs that failed.
    """
    import pandas as pd

    function = as_function(function)
    typical = _typical(function, typical)
    names = list(typical)
    check_varied(function, names)
    if not 0 < step <= 0.5:
        raise InputError(f"the step is {step}; give a number above 0, at most 0.5")
    for name, value in typical.items():
        if not np.isfinite(value) or value == 0:
            raise InputError(f"{name} = {value:g} has no elasticity; name parameters that are not 0")
    base = np.array([typical[name] for name in names], float)
    up = base * np.exp(step * np.eye(len(names)))
    down = base * np.exp(-step * np.eye(len(names)))
    table = pd.DataFrame(np.vstack([up, down]), columns=names)
    values = function(table)
    refuse_failed(function, table, values)
    above, below = values.reshape(2, len(names), -1)
    slope = (above - below) / (2 * step)
    same = (above != 0) & (np.sign(above) == np.sign(below))
    ratio = np.where(same, above, 1.0) / np.where(same, below, 1.0)
    elasticity = np.where(same, np.log(ratio) / (2 * step), np.nan)
    found = along(function, names, {"elasticity": elasticity, "slope": slope})
    return Elasticities(found, function, function.made_by | {"step": step})


@elsewhere(seed="nothing is drawn", n="there is a run at either end of each range")
def tornado(
    function: Function | Callable,
    ranges: Mapping[str, Range] | Sequence[str],
    *,
    ends: tuple[float, float] = (0.05, 0.95),
) -> Tornado:
    """The endpoint with each parameter in turn at the ends of its range and the others typical.

    ends: shares of the range's distribution. Returns a row a parameter, the widest on the function's scale
    first: ``parameter``, ``low`` and ``high`` (its values), ``at_low`` and ``at_high`` (the endpoint there),
    ``typical`` (the endpoint). Raises `InputError` for a curve and `FailedRuns` for runs that failed.
    """
    import pandas as pd

    function, box = resolved(function, ranges)
    names = list(box)
    if function.times is not None:
        raise InputError(f"{function.name} is a curve; a tornado shows one number a set, such as OUTPUT@DAY")
    if not 0 <= ends[0] < ends[1] <= 1:
        raise InputError(f"ends are {ends}; give two shares from 0 to 1, the lower first")
    base = np.array([box[name].typical for name in names])
    rows = np.tile(base, (2 * len(names) + 1, 1))
    for i, name in enumerate(names):
        rows[[2 * i + 1, 2 * i + 2], i] = box[name].at(ends)
    table = pd.DataFrame(rows, columns=names)
    values = function(table)
    refuse_failed(function, table, values)
    each = np.arange(len(names))
    found = pd.DataFrame(
        {
            "parameter": names,
            "low": rows[2 * each + 1, each],
            "high": rows[2 * each + 2, each],
            "at_low": values[1::2],
            "at_high": values[2::2],
            "typical": values[0],
        }
    )
    on_scale = scaled(function, values)[:, 0]
    width = np.ptp([on_scale[1::2], on_scale[2::2], np.full(len(names), on_scale[0])], axis=0)  # the typical value too
    table = found.iloc[np.argsort(-width, kind="stable")].reset_index(drop=True)
    return Tornado(table, function, function.made_by | {"ends": str(ends)})


def _typical(function: Function, given: Mapping[str, float] | Sequence[str]) -> dict[str, float]:
    check_kind("parameters", given, Iterable, 'a list of names, such as ["Kel_e"]')
    if isinstance(given, Mapping):
        return {name: finite_number(value, name) for name, value in given.items()}
    if function.model is None:
        raise InputError(f"{function.name} is of no model, so its parameters need their values: give a mapping")
    return {name: typical_value(function.model, name) for name in given}
