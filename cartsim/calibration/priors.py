"""What is thought of an estimate before a trial is read.

An estimate is a typical value, ``NAME``, or an omega, ``omega(NAME)``. Its prior is normal on the scale on which the
parameter varies between patients: the logarithm (also where nothing varies, and for every omega), the logit within the
limits of logitnormal, uniform and bernoulli ones (of which the typical value is a share), the value itself for normal
ones. It comes from the model file, the relative standard error being its SD, or from the user, as median and SD.

Samplers work in ``z``, SDs from the prior's median, so that every prior is standard normal.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError, brief, check_kind, choices
from cartsim.model.model import OMEGALESS, Model, Variability
from cartsim.population.estimates import varies_by
from cartsim.population.patients import allowed, check_name, outside
from cartsim.population.population import Population
from cartsim.population.variability import spread

WIDE, WIDE_OMEGA = 1.0, 0.5
"""SD of the prior of a typical value (of its logarithm or logit) and of an omega without a standard error."""

_ON = {"log": "the logarithm", "logit": "the logit", "linear": "the value"}
_AS = {"log": "lognormal", "logit": "logitnormal", "linear": "normal"}  # the distribution that is normal on a scale


@dataclass(frozen=True)
class Prior:
    """The prior of an estimate: normal on its scale.

    Attributes
    ----------
    median
        In the estimate's own unit.
    sd
        Standard deviation on the scale.
    scale
        "log", "logit" or "linear".
    low, high
        Ends of a logit scale.
    least, most
        Limits of the parameter, beyond which the prior is 0; None for none.
    source
        Where it comes from.
    """

    median: float
    sd: float
    scale: str = "log"
    low: float = 0.0
    high: float = 1.0
    least: float | None = None
    most: float | None = None
    source: str = "stated"

    def values(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """The estimates that are ``z`` SDs from the median, any shape."""
        return spread("an estimate", Variability(_AS[self.scale], self.sd, self.low, self.high), self.median, z)

    def places(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """``z`` of estimates, any shape: what `values` was given."""
        from scipy.special import logit

        if self.scale == "log":
            return np.log(values / self.median) / self.sd
        if self.scale == "linear":
            return (values - self.median) / self.sd
        width = self.high - self.low
        return (logit((values - self.low) / width) - logit((self.median - self.low) / width)) / self.sd

    def possible(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of these values the model allows."""
        return ~outside(values, self.least, self.most)

    def __str__(self) -> str:
        return f"{self.median:.4g}, SD {self.sd:.3g} of {_ON[self.scale]}"


def priors_of(
    population: Population,
    free: Iterable[str] | Mapping[str, Any],
    stated: Mapping[str, Any] | None = None,
    *,
    widen: float = 1.0,
) -> dict[str, Prior]:
    """The prior of each estimate that is free, by name.

    Parameters
    ----------
    population
        Whose typical values and omegas they are.
    free
        Names of estimates, or a mapping of them to priors: a pair (median, SD on the scale), or None for the model
        file's: its value and relative standard error, or the SDs `WIDE` and `WIDE_OMEGA` where it gives none.
    stated
        Further priors by name, which may hold others than those that are free (of a file, see `read_priors`).
    widen
        Factor on the SD of every prior.

    Raises
    ------
    InputError
        For a name that is no estimate, one given twice, a prior that is none or whose median the model does not allow.
    """
    check_kind("widen", widen, Real, "the factor on the SD of priors, such as 2")
    if not 0 < widen < math.inf:
        raise InputError(f"priors widened by {widen:g}; give a factor above 0, such as 2")
    if isinstance(free, str) or not isinstance(free, Iterable):
        raise InputError(f'free is {brief(free)}; give names of estimates, such as ["Kg", "omega(Kg)"]')
    names = list(free)
    if not names:
        raise InputError("no estimate is free; name at least one, such as Kg or omega(Kg)")
    given = dict(stated or {}) | ({n: p for n, p in free.items() if p is not None} if isinstance(free, Mapping) else {})
    found: dict[str, Prior] = {}
    for name in names:
        if name in found:
            raise InputError(f"{name} is free twice; name it once")
        prior = _from_model(population, name)
        if name in given:
            prior = _stated(name, prior, given[name])
        if not prior.possible(np.array([prior.median])).all():
            raise InputError(f"prior of {name}: its median {prior.median:g} must be {allowed(prior.least, prior.most)}")
        found[name] = replace(prior, sd=prior.sd * widen)
    return found


def read_priors(path: str | Path) -> dict[str, tuple[float, float]]:
    """Priors of a TOML file, (median, SD) by name of the estimate: ``[priors]``, ``Kg = { median = 0.05, sd = 1 }``.

    Each may say its ``source``. Raises `InputError` for a file that cannot be read and for other entries.
    """
    try:
        known = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InputError(f"priors {path}: {why}; give a TOML file with a table [priors]") from None
    table = known.get("priors")
    if not isinstance(table, dict) or len(known) > 1:
        raise InputError(f"priors {path}: it has {', '.join(known) or 'nothing'}; it must have one table, [priors]")
    found = {}
    for name, own in table.items():
        if not isinstance(own, dict) or not {"median", "sd"} <= own.keys() <= {"median", "sd", "source"}:
            raise InputError(f"priors {path}: {name} is {brief(own)}; write {{ median = 0.05, sd = 1 }}")
        found[name] = (own["median"], own["sd"])
    return found


def estimates(priors: Mapping[str, Prior], z: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Estimates (k,) by name of the places z (k, d) in SDs of the priors."""
    return {name: prior.values(z[:, i]) for i, (name, prior) in enumerate(priors.items())}


def possible(priors: Mapping[str, Prior], values: Mapping[str, NDArray[np.float64]]) -> NDArray[np.bool_]:
    """(k,) Which draws of the estimates the model allows."""
    return np.logical_and.reduce([prior.possible(values[name]) for name, prior in priors.items()])


def _from_model(population: Population, name: Any) -> Prior:
    """The prior that the model file gives."""
    check_kind("a free estimate", name, str, "its name, such as Kg or omega(Kg)")
    whose = varies_by(name)
    return _of_typical(population.model, population, name) if whose is None else _of_omega(population, whose)


def _of_omega(population: Population, name: str) -> Prior:
    check_name(population.model, name, f"free omega({name})")
    variability = population.varied.get(name)
    if variability is None or not variability.omega > 0 or variability.distribution in OMEGALESS:
        having = [n for n, v in population.varied.items() if v.omega and v.distribution not in OMEGALESS]
        raise InputError(f"free omega({name}): {name} has no omega{choices(name, having)}")
    if variability.rse:
        return Prior(variability.omega, variability.rse, least=0.0, source="model file")
    return Prior(variability.omega, WIDE_OMEGA, least=0.0, source="model file, SD assumed")


def _of_typical(model: Model, population: Population, name: str) -> Prior:
    check_name(model, name, "free")
    parameter = model.parameters[name]
    if parameter.value is None:
        raise InputError(f"free {name}: it follows from others by a formula; free one of those")
    scale, low, high = _scale(population.varied.get(name))
    value, limits = parameter.value, {"least": parameter.low, "most": parameter.high}
    if (scale == "log" and not value > 0) or (scale == "logit" and not low < value < high):
        raise InputError(f"free {name}: its value {value:g} has no {scale}; give the model another value")
    if scale == "log":
        steep = 1.0
    elif scale == "linear":
        steep = abs(value)
    else:
        steep = abs(value) * (high - low) / ((value - low) * (high - value))
    if parameter.rse:
        return Prior(value, parameter.rse * steep, scale, low, high, **limits, source="model file")
    width = WIDE if scale != "linear" else WIDE * (abs(value) or 1.0)
    return Prior(value, width, scale, low, high, **limits, source="model file, SD assumed")


def _scale(variability: Variability | None) -> tuple[str, float, float]:
    """The scale on which an estimate is normal, and the ends of a logit."""
    kind = "lognormal" if variability is None else variability.distribution
    if kind == "bernoulli":
        return "logit", 0.0, 1.0
    if kind in ("logitnormal", "uniform"):
        assert variability is not None and variability.low is not None and variability.high is not None
        return "logit", variability.low, variability.high
    return ("linear" if kind == "normal" else "log"), 0.0, 1.0


def _stated(name: str, own: Prior, given: Any) -> Prior:
    """The prior of a user, on the scale of the model file's."""
    pair = list(given) if isinstance(given, (tuple, list)) else []
    good = len(pair) == 2 and all(isinstance(x, Real) and math.isfinite(x) for x in pair)
    if not good or not pair[1] > 0:
        raise InputError(
            f"prior of {name}: {brief(given)}; give its median and its SD (of {_ON[own.scale]}, above 0), such as "
            f"({own.median:g}, {own.sd:g})"
        )
    median, sd = map(float, pair)
    if (own.scale == "log" and median <= 0) or (own.scale == "logit" and not own.low < median < own.high):
        ends = "above 0" if own.scale == "log" else f"between {own.low:g} and {own.high:g}"
        raise InputError(f"prior of {name}: its median {median:g} must be {ends}")
    return replace(own, median=median, sd=sd, source="stated")
