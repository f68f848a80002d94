"""How probable a measurement is, given the model: error models, and terms for what is known only in part.

Plain functions of arrays that broadcast: predictions of shape (candidates, observations) against measurements
of shape (observations,) give log-likelihoods of shape (candidates, observations). A value below the limit of
quantification counts with the probability of being there (M3 of Beal 2001, J Pharmacokinet Pharmacodyn
28:481), a value known to lie in an interval with the probability of the interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.errors import InputError, brief

# The standard deviations of each error model: `add` in the output's unit, `prop` as a fraction, `log` of the
# logarithm.
SIGMAS = {
    "additive": ("add",),
    "proportional": ("prop",),
    "combined": ("add", "prop"),
    "lognormal": ("log",),
}
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


# --- log-likelihood terms -------------------------------------------------------------------------------


def normal(value: ArrayLike, mean: ArrayLike, sd: ArrayLike) -> NDArray[np.float64]:
    """Log density of a normal measurement; NaN where the SD is 0."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return -_HALF_LOG_2PI - np.log(sd) - 0.5 * _standard(value, mean, sd) ** 2


def normal_below(limit: ArrayLike, mean: ArrayLike, sd: ArrayLike) -> NDArray[np.float64]:
    """Log probability that a normal measurement is below `limit`: a left-censored value."""
    from scipy.special import log_ndtr

    return log_ndtr(_standard(limit, mean, sd))


def normal_between(low: ArrayLike, high: ArrayLike, mean: ArrayLike, sd: ArrayLike) -> NDArray[np.float64]:
    """Log probability that a normal measurement lies between `low` (may be -inf) and `high` (may be inf)."""
    from scipy.special import log_ndtr

    a, b = _standard(low, mean, sd), _standard(high, mean, sd)
    flip = a > 0  # the right tail by the left one, where the digits are
    a, b = np.where(flip, -b, a), np.where(flip, -a, b)
    upper = log_ndtr(b)
    with np.errstate(divide="ignore", invalid="ignore"):
        return upper + np.log(-np.expm1(log_ndtr(a) - upper))


def _standard(limit: ArrayLike, mean: ArrayLike, sd: ArrayLike) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return (np.asarray(limit, float) - np.asarray(mean, float)) / np.asarray(sd, float)


# --- error models ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ErrorModel:
    """How measurements of one output scatter around the model.

    kind: "additive" (SD `add`), "proportional" (SD `prop` times the prediction), "combined" (variances of
    both added) or "lognormal" (SD `log` of the logarithm). A number given for `add`, `prop` or `log` is held
    fixed; what is None is estimated. lloq: values below it are known only to be below it.
    Raises `InputError` for an unknown kind, a number that does not belong to it or is not above 0.
    """

    kind: str = "proportional"
    add: float | None = None
    prop: float | None = None
    log: float | None = None
    lloq: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.kind not in SIGMAS:
            raise InputError(f"error model {brief(self.kind)}; choose from {', '.join(SIGMAS)}")
        for name in ("add", "prop", "log", "lloq"):
            number = getattr(self, name)
            if number is None:
                continue
            if name != "lloq" and name not in SIGMAS[self.kind]:
                raise InputError(f"{self.kind} error has no {name}; it has {', '.join(SIGMAS[self.kind])}")
            if not (isinstance(number, Real) and 0 < float(number) < math.inf):
                raise InputError(f"{self.kind} error: {name} is {brief(number)}; give a number above 0")

    @property
    def sigmas(self) -> tuple[str, ...]:
        """Names of its standard deviations."""
        return SIGMAS[self.kind]

    def moments(self, predicted: ArrayLike, **sigma: Any) -> Moments:
        """Mean and standard deviation of the measurement and how they move with prediction and sigma.

        sigma: `add`, `prop`, `log` as numbers or arrays that broadcast; those that are fixed may be left out.
        """
        f = np.asarray(predicted, float)
        value = {name: self._sigma(name, sigma) for name in self.sigmas}
        one, zero = np.ones_like(f), np.zeros_like(f)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.kind == "lognormal":
                return Moments(np.log(f), value["log"] * one, 1 / f, zero, {"log": one})
            if self.kind == "additive":
                return Moments(f, value["add"] * one, one, zero, {"add": one})
            if self.kind == "proportional":
                return Moments(f, value["prop"] * np.abs(f), one, 1 / f, {"prop": one})
            variance = value["add"] ** 2 + (value["prop"] * f) ** 2
            by_prediction = (value["prop"] * f) ** 2 / variance  # share of the proportional part
            slope = value["prop"] ** 2 * f / variance
            return Moments(f, np.sqrt(variance), one, slope, {"add": 1 - by_prediction, "prop": by_prediction})

    def _sigma(self, name: str, given: dict[str, Any]) -> NDArray[np.float64]:
        number = given.get(name, getattr(self, name))
        if number is None:
            raise InputError(f"{self.kind} error: {name} is not fixed, so give its value")
        return np.asarray(number, float)

    def measured(self, value: ArrayLike) -> NDArray[np.float64]:
        """Measurements on the scale of their error: logarithms (NaN without one) for "lognormal", else as they are."""
        value = np.asarray(value, float)
        return np.log(np.where(value > 0, value, np.nan)) if self.kind == "lognormal" else value

    def log_likelihood(
        self, value: ArrayLike, predicted: ArrayLike, below: ArrayLike | None = None, **sigma: Any
    ) -> NDArray[np.float64]:
        """Log-likelihood of measurements, shape of `value` and `predicted` broadcast.

        below: true where the value is only known to be below the limit `value`; by default where it is under
        `lloq`, which then is the limit.
        """
        value, below = self.censored(value, below)
        m = self.moments(predicted, **sigma)
        measured = self.measured(value)
        density = normal(measured, m.mean, m.sd) - (measured if self.kind == "lognormal" else 0)
        if not below.any():
            return density
        return np.where(below, normal_below(measured, m.mean, m.sd), density)

    def censored(
        self, value: ArrayLike, below: ArrayLike | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Values with those under `lloq` raised to it, and which ones are only known to be below."""
        value = np.asarray(value, float)
        below = np.zeros(value.shape, bool) if below is None else np.asarray(below, bool)
        if self.lloq is None:
            return value, below
        return np.where(value < self.lloq, self.lloq, value), below | (value < self.lloq)


@dataclass(frozen=True)
class Moments:
    """Mean and SD of measurements (of their logarithm for log-normal error), with derivatives.

    mean, sd: shape of the predictions; mean_slope: d mean / d prediction; sd_slope: d ln(sd) / d prediction;
    sigma_slope: name of each sigma to d ln(sd) / d ln(sigma).
    """

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    mean_slope: NDArray[np.float64]
    sd_slope: NDArray[np.float64]
    sigma_slope: dict[str, NDArray[np.float64]]
