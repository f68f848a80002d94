"""Over what range a sensitivity analysis varies each parameter: its variability, its error, or a factor."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.errors import InputError, check_kind
from cartsim.model.model import OMEGALESS, Model, Parameter, Variability, finite_number
from cartsim.model.reader import load
from cartsim.population.patients import allowed, check_name, outside
from cartsim.population.variability import spread
from cartsim.sensitivity.endpoint import Function, as_function, check_varied

# Distributions without ends are cut to this central part, from -3.29 to 3.29 standard deviations: eFAST reads
# a distribution at its very ends, and single draws from beyond would decide a variance.
COVERAGE = 0.999

KINDS = ("uniform", "loguniform", "lognormal", "normal", "logitnormal", "bernoulli")


@dataclass(frozen=True)
class Range:
    """The distribution over which a parameter is varied; ``at`` is its quantile function.

    distribution: "uniform" or "loguniform" between low and high; "lognormal" (omega is the SD of the
    logarithm), "normal" (SD) or "logitnormal" (SD of the logit between low and high) about `typical`, cut to
    the central 99.9 %; "bernoulli", 1 with the probability `typical`, else 0. typical: the value of the typical
    patient, kept while others are varied alone.
    Raises `InputError` for an empty or reversed range or a distribution that is not known.
    """

    distribution: str
    typical: float
    low: float | None = None
    high: float | None = None
    omega: float = 0.0

    def __post_init__(self) -> None:
        kind, low, high = self.distribution, self.low, self.high
        if kind not in KINDS:
            raise InputError(f"distribution {kind!r} is not known; it is one of {', '.join(KINDS)}")
        if kind in ("uniform", "loguniform", "logitnormal"):
            if low is None or high is None or not -math.inf < low < high < math.inf:
                raise InputError(f"the range {low} to {high} is empty, reversed or not finite; give low below high")
            if kind == "loguniform" and low <= 0:
                raise InputError(f"the range {low:g} to {high:g} is even in the logarithm; give low above 0")
        elif kind == "bernoulli":
            if not 0 < self.typical < 1:
                raise InputError(f"the share of patients is {self.typical:g}, so nothing varies; give one from 0 to 1")
        elif not 0 < self.omega < math.inf:
            raise InputError(f"omega is {self.omega:g}, so nothing varies; give a number above 0")

    def at(self, share: ArrayLike) -> NDArray[np.float64]:
        """The quantiles at shares from 0 to 1, of any shape."""
        u = np.asarray(share, float)
        if self.distribution in ("uniform", "loguniform"):
            assert self.low is not None  # __post_init__ saw to it
            assert self.high is not None
            if self.distribution == "uniform":
                return np.asarray(self.low + (self.high - self.low) * u)
            return np.asarray(self.low * (self.high / self.low) ** u)
        from scipy.special import ndtri

        score = ndtri((1 - COVERAGE) / 2 + COVERAGE * u)
        variability = Variability(self.distribution, self.omega, self.low, self.high)
        return np.asarray(spread("range", variability, self.typical, score))


def ranges(
    model: Model,
    names: Iterable[str],
    by: str = "iiv",
    *,
    factor: float = 2.0,
    given: Mapping[str, tuple[float, float] | Variability | Range] | None = None,
) -> dict[str, Range]:
    """The range of each named parameter or covariate of a model, or of "dose", in the units of the model file.

    by: "iiv", the model's variability between patients; "rse", a lognormal with the relative standard error
    of the estimate as SD of the logarithm, as in `cartsim.with_uncertainty`; "factor", from typical/factor to
    typical*factor, even in the logarithm. given: own ranges by name, for these or further parameters:
    (low, high) is uniform; a `Variability` (cartsim.lognormal(0.3), ...) is about the typical value.
    Raises `InputError` for no or unknown names, a parameter that has no such range, and ranges that are empty
    or leave the limits of the model.
    """
    model, given, factor = load(model), dict(given or {}), finite_number(factor, "factor")
    asked = [names] if isinstance(names, str) else [*names]
    for name in asked:
        if asked.count(name) > 1:
            raise InputError(f"parameter {name} is named twice; name each once")
    asked += [name for name in given if name not in asked]
    if not asked:
        raise InputError("no parameters are named; name at least one to vary")
    if by not in ("iiv", "rse", "factor"):
        raise InputError(f"ranges by {by!r} are not known; they are by 'iiv', 'rse' or 'factor'")
    if not 1 < factor < math.inf:
        raise InputError(f"the factor is {factor:g}; give a number above 1")
    found = {}
    for name in asked:
        parameter = _parameter(model, name)
        found[name] = _own(parameter, given[name]) if name in given else _by(parameter, by, factor)
        ends = found[name].at([0.0, 1.0])
        wrong = outside(ends, parameter.low, parameter.high)
        if wrong.any():
            raise InputError(
                f"the range of {name} reaches {ends[wrong][0]:.4g}, but {name} must be "
                f"{allowed(parameter.low, parameter.high)}; give a narrower range"
            )
    return found


def typical_value(model: Model, name: str) -> float:
    """A parameter's or the dose's typical value, also where it is derived. Raises `InputError` for unknown names."""
    return float(_parameter(model, name).value or 0.0)


def has_range(model: Model, name: str, by: str) -> bool:
    """Whether `ranges` has one for a parameter of a model by its variability ("iiv"), its error or a factor."""
    parameter = _parameter(model, name)
    return {"iiv": _varies(parameter.iiv), "rse": bool(parameter.rse)}.get(by, True)


def _varies(iiv: Variability | None) -> bool:
    return iiv is not None and (iiv.distribution in OMEGALESS or iiv.omega > 0)


def resolved(
    function: Function | Callable, given: Mapping[str, Range] | Sequence[str]
) -> tuple[Function, dict[str, Range]]:
    """What is asked, and ranges as they are given, or those of the model's own variability for a list of names.

    Raises `InputError` where there are none, or the output can depend on none of the parameters.
    """
    function = as_function(function)
    if isinstance(given, Mapping):
        for name, each in given.items():
            check_kind(f"the range of {name}", each, Range, "Range(...), such as those of cartsim.ranges")
        box = dict(given)
    else:
        if isinstance(given, str):
            raise InputError(f"parameters are {given!r}; give a list, such as [{given!r}]")
        check_kind("parameters", given, Iterable, 'a list of names, such as ["Kel_e"]')
        if function.model is None:
            raise InputError(f"{function.name} is of no model, so its parameters need their ranges: give a mapping")
        box = ranges(function.model, given)
    check_varied(function, box)
    return function, box


def _parameter(model: Model, name: str) -> Parameter:
    """A parameter or covariate with its typical value, also where that is derived; or the dose as if it were one."""
    if name == "dose" and model.dosing is not None:
        unit, dose = model.dosing.unit, model.dosing.dose
        return Parameter("dose", dose, None, unit, None, None, 0.0, None, "", "", "covariate")
    check_name(model, name, "parameters", also=("dose",))
    if model.parameters[name].value is not None:
        return model.parameters[name]
    typical = model.values({}, 1)[0, list(model.parameters).index(name)]
    return replace(model.parameters[name], value=float(typical))


def _by(parameter: Parameter, by: str, factor: float) -> Range:
    name, typical = parameter.name, parameter.value
    assert typical is not None  # _parameter saw to it
    if by == "factor":
        if typical <= 0:
            raise InputError(f"{name} = {typical:g} cannot be varied by a factor; give its low and high")
        return Range("loguniform", typical, typical / factor, typical * factor)
    if by == "rse":
        if not parameter.rse:
            raise InputError(f"{name} has no rse in the model file; give its range, or vary by a factor")
        return Range("lognormal", typical, omega=parameter.rse)
    iiv = parameter.iiv
    if iiv is None or not _varies(iiv):
        raise InputError(f"{name} has no iiv in the model file; give its range, or vary by rse or by a factor")
    return _own(parameter, iiv)


def _own(parameter: Parameter, given: tuple[float, float] | Variability | Range) -> Range:
    if isinstance(given, Range):
        return given
    name, typical = parameter.name, parameter.value
    assert typical is not None  # _parameter saw to it
    try:
        if isinstance(given, Variability):
            low = parameter.low if given.low is None else given.low
            high = parameter.high if given.high is None else given.high
            return Range(given.distribution, typical, low, high, given.omega)
        low, high = (float(end) for end in given)
        return Range("uniform", typical, low, high)
    except InputError as problem:
        raise InputError(f"parameter {name}: {problem}") from None
    except (TypeError, ValueError):
        raise InputError(f"parameter {name}: {given!r} is no range; give (low, high)") from None
