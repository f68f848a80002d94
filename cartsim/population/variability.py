"""How a parameter varies between patients: the distributions, and whether one fits its parameter."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError, brief
from cartsim.model.model import DISTRIBUTIONS, Model, Variability
from cartsim.population.patients import allowed, outside

# Ranges are checked for draws of up to this many standard deviations: beyond lies one patient in 1e9.
REACH = 6.0


def lognormal(omega: float) -> Variability:
    """The typical value times exp(omega z), z standard normal: omega is the SD of the logarithm."""
    return Variability("lognormal", omega)


def normal(sd: float) -> Variability:
    """The typical value plus sd z, z standard normal."""
    return Variability("normal", sd)


def logitnormal(sd: float, low: float | None = None, high: float | None = None) -> Variability:
    """Within low..high (by default the parameter's limits): sd z is added to the logit of the place there."""
    return Variability("logitnormal", sd, low, high)


def uniform(low: float | None = None, high: float | None = None) -> Variability:
    """Equally likely anywhere in low..high (by default the parameter's limits)."""
    return Variability("uniform", 0.0, low, high)


def bernoulli() -> Variability:
    """1 in a share of the patients, which is the typical value, and 0 in the others."""
    return Variability("bernoulli")


def fixed() -> Variability:
    """No variability: every patient has the typical value."""
    return Variability("lognormal", 0.0)


def spread(name: str, variability: Variability, typical: Any, score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values with the given distribution about the typical value (a number or one a patient)."""
    from scipy.special import expit, logit, ndtr, ndtri

    omega, low, high = variability.omega, variability.low, variability.high
    if variability.distribution == "lognormal":
        return typical * np.exp(omega * score)
    if variability.distribution == "normal":
        return typical + omega * score
    if variability.distribution == "bernoulli":
        if outside(np.atleast_1d(typical), 0, 1).any():
            raise InputError(f"variability of {name}: a share of patients is not between 0 and 1")
        return np.where(score > -ndtri(typical), 1.0, 0.0)  # above, so that correlations have the sign they seem to
    assert low is not None and high is not None  # _check_variability saw to it
    if variability.distribution == "uniform":
        return low + (high - low) * ndtr(score)
    share = np.asarray((typical - low) / (high - low))
    if not np.all((share > 0) & (share < 1)):
        raise InputError(
            f"variability of {name}: a typical value is not between the logitnormal's {low:g} and {high:g}"
        )
    return low + (high - low) * expit(logit(share) + omega * score)


def check_variability(model: Model, name: str, variability: Variability) -> None:
    """Raise `InputError` for a distribution that is none, or leaves the range that the model allows."""
    where = f"variability of {name}"
    kind, omega, low, high = variability.distribution, variability.omega, variability.low, variability.high
    if kind not in DISTRIBUTIONS:
        raise InputError(f"{where}: {kind!r} is not known; it is one of {', '.join(DISTRIBUTIONS)}")
    if not (isinstance(omega, Real) and math.isfinite(omega) and omega >= 0):
        raise InputError(f"{where}: omega is {brief(omega)}; a standard deviation is a finite number, 0 or more")
    if kind in ("logitnormal", "uniform"):
        if low is None or high is None or not -math.inf < low < high < math.inf:
            raise InputError(f"{where}: {kind} needs finite low and high, low below high")
    parameter = model.parameters[name]
    if parameter.value is None:
        return
    ends = spread(name, variability, parameter.value, np.array([-REACH, REACH]))
    wrong = outside(ends, parameter.low, parameter.high)
    if wrong.any():
        raise InputError(
            f"{where}: this {kind} reaches {ends[wrong][0]:.4g}, but {name} must be "
            f"{allowed(parameter.low, parameter.high)}; use lognormal, logitnormal or uniform"
        )
