"""How sure an estimate is: observed information, its inverse, and what it cannot tell apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cartsim.fitting.pooled.evaluation import Evaluator, Point
from cartsim.fitting.pooled.search import Found

SAYS_NOTHING = 1e-4  # information (per unit of the logarithm) at which the standard error is a factor of e^100
NO_INFLUENCE = "the data do not depend on it"
NO_MINIMUM = "without limits: the fit did not converge"
NO_ERROR = "without limits: they would hang on an error that runs to 0"
LOADED = 0.05  # share of a direction without information that makes a parameter part of it

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Uncertainty:
    """Covariance of u (d, d), NaN where there is none; why a coordinate has none, "" for the others."""

    covariance: Floats
    reasons: tuple[str, ...]
    observed: bool  # False: from the expected information, since the observed one is not positive definite


def uncertainty(evaluator: Evaluator, found: Found) -> Uncertainty:
    """The covariance of the estimates that a search found, the inverse of the information of data and priors.

    Coordinates at a limit or without any influence are left out and the others taken as if these were known.
    Directions in which the information vanishes have no variance, and neither has a parameter that is part
    of one. Nothing has where the search did not converge: the information is that about the best point, not any other;
    nor where an error runs to 0, as with too few values: all standard errors are in proportion to where it is held.
    """
    point, x = found.point, found.x
    d = len(x)
    u, slopes = evaluator.u(x[None])[0], evaluator.slopes(x)
    sizes = np.array([axis.size for axis in evaluator.axes])
    unit = slopes / sizes  # of x, on a relative scale
    with np.errstate(divide="ignore", invalid="ignore"):  # at a limit; that coordinate is left out
        expected = point.information[0] / np.outer(unit, unit)

    reasons = [""] * d
    for k, axis in enumerate(evaluator.axes):
        if limit := axis.at_limit(u[k]):
            reasons[k] = f"at its {limit} limit"
        elif expected[k, k] < SAYS_NOTHING:
            parameter = k < evaluator.p
            reasons[k] = f"not identified: {NO_INFLUENCE}" if parameter else "negligible beside the other error"
    covariance = np.full((d, d), np.nan)
    if not np.isfinite(point.objective[0]):
        return Uncertainty(covariance, ("no fit",) * d, True)

    used = np.array([k for k in range(d) if not reasons[k]], int)
    values, vectors = np.linalg.eigh(expected[np.ix_(used, used)])
    flat = values < SAYS_NOTHING
    loose = (vectors[:, flat] ** 2 > LOADED).any(axis=1)
    for k in used[loose]:
        others = [evaluator.names[j] for j in used[loose] if j != k]
        reasons[k] = f"not identified: the data do not tell it from {', '.join(others)}"
    if not found.converged or _without_error(evaluator, reasons):
        why = NO_ERROR if found.converged else NO_MINIMUM
        return Uncertainty(covariance, tuple(reason or why for reason in reasons), True)
    # What is not identified stays where it is: the others' errors then hold given its value.
    kept = used[~loose]
    if not kept.size:
        return Uncertainty(covariance, tuple(reasons), True)
    information = _observed(evaluator, point, kept) / np.outer(unit[kept], unit[kept])
    positive = bool(np.linalg.eigvalsh(information)[0] > SAYS_NOTHING)
    if not positive:
        information = expected[np.ix_(kept, kept)]
    covariance[np.ix_(kept, kept)] = np.linalg.inv(information) * np.outer(sizes[kept], sizes[kept])
    return Uncertainty(covariance, tuple(reasons), positive)


def _without_error(evaluator: Evaluator, reasons: list[str]) -> bool:
    """Whether all SDs of an output's error are at their lower limit."""
    for data in evaluator.problem.data:
        for output, error in data.layout.errors.items():
            places = evaluator.sigma_places(data, output, error)
            if len(places) == len(error.sigmas) and all(reasons[j] == "at its lower limit" for j in places.values()):
                return True
    return False


def _observed(evaluator: Evaluator, point: Point, kept: NDArray[np.int64]) -> Floats:
    """Second derivatives in x of half the objective, by differences of slopes, all in one evaluation."""
    x, spread = point.x[0], np.sqrt(np.diagonal(point.information[0])[kept])
    step = np.clip(0.05 / spread, 1e-4, 0.05)  # a twentieth of a standard error or less
    moved = np.repeat(x[None], 2 * len(kept), axis=0)
    moved[np.arange(len(kept)), kept] += step
    moved[len(kept) + np.arange(len(kept)), kept] -= step
    slopes = evaluator.at(moved).slope[:, kept]
    second = (slopes[: len(kept)] - slopes[len(kept) :]) / (2 * step[:, None])
    return 0.5 * (second + second.T)
