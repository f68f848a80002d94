"""The search for the best values: scipy's trust region with the expected information as curvature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cartsim.fitting.pooled.evaluation import Evaluator, Point

MAX_EVALUATIONS = 300  # of one search, each with all slopes
CLOSE = 1e-6  # converged when -2 log likelihood is expected to be this close to its minimum
ROUNDS = 10
FLAT = 1e-4  # curvature lent to directions without any

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """Where a search ended: the point, whether it is a minimum, why it ended, evaluations used."""

    point: Point
    converged: bool
    message: str
    evaluations: int

    @property
    def x(self) -> Floats:
        return self.point.x[0]

    @property
    def objective(self) -> float:
        return float(self.point.objective[0])


class _OutOfTries(Exception):
    pass


def search(
    evaluator: Evaluator,
    x: Floats,
    max_evaluations: int = MAX_EVALUATIONS,
    *,
    held: NDArray[np.bool_] | None = None,
    close: float = CLOSE,
) -> Found:
    """Minimize -2 log likelihood plus the priors' part from x (d,), with the `held` coordinates left as they are.

    The search runs in coordinates whitened by the expected information, so that one unit is about a standard
    error in any direction; when it ends it is begun anew with the information there, until nothing is gained.
    """
    free = np.arange(len(x)) if held is None else np.flatnonzero(~held)
    known: dict[bytes, Point] = {}
    best = evaluator.at(x[None])
    evaluations = 1

    def at(candidate: Floats) -> Point:
        nonlocal best, evaluations
        key = candidate.tobytes()
        if key not in known:
            if evaluations >= max_evaluations:
                raise _OutOfTries
            evaluations += 1
            known.clear()
            known[key] = evaluator.at(candidate[None])
            if known[key].objective[0] < best.objective[0]:
                best = known[key]
        return known[key]

    if not free.size:
        return Found(best, True, "nothing to search", evaluations)
    if not np.isfinite(best.objective[0]):
        return Found(best, False, "the simulation fails at the start", evaluations)
    message = "no progress"
    for _ in range(ROUNDS):
        begin = best
        try:
            message = _minimize(at, begin.x[0], begin.information[0], free, np.sqrt(close / 10))
        except _OutOfTries:
            message = f"not converged after {max_evaluations} evaluations"
            break
        if distance(best, free) < close:
            return Found(best, True, "converged", evaluations)
        if begin.objective[0] - best.objective[0] < close * 1e-3:
            break
    there = distance(best, free) < close
    return Found(best, there, "converged" if there else message, evaluations)


def distance(point: Point, free: NDArray[np.int64]) -> float:
    """By how much -2 log likelihood is expected to lie above its minimum."""
    slope, information = point.slope[0][free], point.information[0][np.ix_(free, free)]
    values, vectors = np.linalg.eigh(information)
    return float(((vectors.T @ slope) ** 2 / np.maximum(values, 1.0)).sum())


def _minimize(
    at: Callable[[Floats], Point], x: Floats, information: Floats, free: NDArray[np.int64], level: float
) -> str:
    """One run of scipy's trust region, whitened by the information at x."""
    from scipy.optimize import minimize

    values, vectors = np.linalg.eigh(information[np.ix_(free, free)])
    # No direction is stretched beyond one unit of x: where the data say little, steps stay sensible.
    white = vectors / np.sqrt(np.maximum(values, 1.0))
    ridge = FLAT * np.eye(len(free))  # so that what has no influence stays where it is

    def moved(y: Floats) -> Floats:
        new = x.copy()
        new[free] += white @ y
        return new

    def cost(y: Floats) -> float:
        value = 0.5 * at(moved(y)).objective[0]
        return float(value) if np.isfinite(value) else np.inf

    result = minimize(
        cost,
        np.zeros(len(free)),
        method="trust-exact",
        jac=lambda y: white.T @ at(moved(y)).slope[0][free],
        hess=lambda y: white.T @ at(moved(y)).information[0][np.ix_(free, free)] @ white + ridge,
        options={"initial_trust_radius": 1.0, "max_trust_radius": 100.0, "gtol": level, "maxiter": 500},
    )
    return str(result.message).rstrip(".")
