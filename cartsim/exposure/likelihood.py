"""The log-likelihood of outcomes, Firth's penalty, maxima of either and limits from their profiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from cartsim.exposure.curves import Curve, EmaxCurve

Floats = NDArray[np.float64]
Objective = Callable[[Floats], tuple[float, Floats, Floats]]
"""Minus a log-likelihood of parameters (p,), with its gradient (p,) and Hessian (p, p)."""

FLAT = 1e-9  # a share of the information below this tells nothing of a direction
STEP = 1e-5  # in a parameter, to differentiate the gradient of a penalty
STILL = 1e-7  # a share of the information; a gradient below it is 0


def likelihood(curve: Curve, y: Floats, inputs: Floats) -> Objective:
    """Minus the log-likelihood of outcomes y (n,) of 0 and 1."""

    def at(theta: Floats) -> tuple[float, Floats, Floats]:
        eta, jacobian = curve.logit(theta, inputs)
        p = expit(eta)
        value = float(np.logaddexp(0, eta).sum() - y @ eta)
        hessian = jacobian.T @ (jacobian * (p * (1 - p))[:, None])
        return value, jacobian.T @ (p - y), hessian - curve.curvature(theta, inputs, y - p)

    return at


def penalized(columns: Floats, y: Floats) -> Objective:
    """Minus the log-likelihood of logistic regression penalized by Jeffreys' prior (Firth 1993,
    doi:10.1093/biomet/80.1.27).

    The Hessian is Fisher's information, as in Newton's method of Heinze and Schemper (2002, doi:10.1002/sim.1047).
    """

    def at(theta: Floats) -> tuple[float, Floats, Floats]:
        eta = columns @ theta
        p = expit(eta)
        w = p * (1 - p)
        information = columns.T @ (columns * w[:, None])
        sign, logdet = np.linalg.slogdet(information)
        if sign <= 0:
            return np.inf, np.zeros_like(theta), np.eye(len(theta))
        leverage = w * np.einsum("ij,ji->i", columns, np.linalg.solve(information, columns.T))
        value = float(np.logaddexp(0, eta).sum() - y @ eta) - logdet / 2
        return value, columns.T @ (p - y - leverage * (0.5 - p)), information

    return at


def penalized_emax(curve: EmaxCurve, y: Floats, inputs: Floats) -> Objective:
    """Minus the log-likelihood of an Emax model with a penalty of Firth's kind: half the log determinant of Fisher's
    information, EC50 and H taken for an Emax of 1.

    Jeffreys' prior itself grows with Emax (who has a large effect learns more of EC50), and would lead away from 0.
    """
    plain = likelihood(curve, y, inputs)

    def penalty(theta: Floats) -> tuple[float, Floats]:
        eta, jacobian = curve.logit(theta, inputs)
        columns, changes = curve.effects(theta, inputs)
        p = expit(eta)
        weighted = columns * (p * (1 - p))[:, None]
        information = columns.T @ weighted
        sign, logdet = np.linalg.slogdet(information)
        if sign <= 0 or not np.isfinite(logdet):
            return -np.inf, np.zeros_like(theta)
        solved = np.linalg.solve(information, weighted.T).T
        gradient = jacobian.T @ ((solved * columns).sum(axis=1) * (0.5 - p))
        gradient[2 : 2 + len(changes)] += (changes * solved).sum(axis=(1, 2))
        return logdet / 2, gradient

    def at(theta: Floats) -> tuple[float, Floats, Floats]:
        value, gradient, hessian = plain(theta)
        more, slope = penalty(theta)
        steps = STEP * np.eye(len(theta))
        curvature = np.array([penalty(theta + each)[1] - penalty(theta - each)[1] for each in steps]) / (2 * STEP)
        return value - more, gradient - slope, hessian - (curvature + curvature.T) / 2

    return at


def maximum(
    objective: Objective,
    start: Floats,
    within: Floats | None = None,
    *,
    still: float = 1e-10,
    enough: float = -np.inf,
) -> tuple[Floats, bool]:
    """The parameters (p,) where the objective is least, and whether it has a minimum there.

    within: (p, k) basis of the directions that are free; all of them by default. still: the gradient, as a share of the
    information, at which the search ends; it also ends where the objective is below ``enough``.
    """
    from scipy.optimize import minimize

    basis = np.eye(len(start)) if within is None else within
    if not basis.shape[1]:
        return start, True
    size = max(1.0, float(np.trace(np.abs(objective(start)[2]))))
    seen: dict[bytes, tuple[float, Floats, Floats]] = {}

    def at(step: Floats) -> tuple[float, Floats, Floats]:
        key = step.tobytes()
        if key not in seen:  # the value and its derivatives are asked for one after the other
            value, gradient, hessian = objective(start + basis @ step)
            seen[key] = value / size, basis.T @ gradient / size, basis.T @ hessian @ basis / size
        return seen[key]

    def halt(intermediate_result: Any) -> None:
        if intermediate_result.fun * size < enough:
            raise StopIteration

    try:
        found = minimize(
            lambda step: at(step)[0], np.zeros(basis.shape[1]), method="trust-exact", jac=lambda step: at(step)[1],
            hess=lambda step: at(step)[2], options={"gtol": still, "maxiter": 100}, callback=halt,
        ).x  # fmt: skip
    except np.linalg.LinAlgError:  # it ran to where nothing has a number
        return start, False
    _, gradient, hessian = at(found)
    least = np.linalg.eigvalsh(hessian)[0] if np.isfinite(hessian).all() else 0.0
    return start + basis @ found, bool(least > FLAT and np.abs(gradient).max() < STILL)
