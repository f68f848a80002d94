"""Likelihood, slope and information of many candidates, by one simulation of each data set.

A candidate is a vector x of the free coordinates of all that is estimated: the problem's parameters, then the
standard deviations of the error models. Slopes come from perturbed candidates that run side by side with
the candidate itself, as further patients of the same `simulate` call.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cartsim.fitting.errors import ErrorModel, normal_below
from cartsim.fitting.pooled.axes import Axis
from cartsim.fitting.pooled.problem import DataSet, Problem
from cartsim.fitting.size import share_moved, telling
from cartsim.simulation import simulate_rows
from cartsim.solver import FINE, Solver

SOLVER = Solver(rtol=FINE)
STEP = 1e-3  # of u, relative on either scale, for slopes by central differences
HUGE = 1e100  # information beyond which a candidate counts as failed, lest the search overflow

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """What is known at candidates x (b, d).

    deviance: -2 log likelihood of the data (b,), infinite where a simulation fails; penalty: the same of the
    priors, up to a constant (b,); slope: of half the sum of both (b, d); information: expected, of the data and of
    both (b, d, d).
    """

    x: Floats
    deviance: Floats
    penalty: Floats
    slope: Floats
    information: Floats

    @property
    def objective(self) -> Floats:
        return self.deviance + self.penalty


class Evaluator:
    """A problem made ready: `axes` holds the parameters and then the SDs of the error models."""

    def __init__(self, problem: Problem, solver: Solver = SOLVER) -> None:
        self.problem, self.solver = problem, solver
        self.p = len(problem.axes)
        self.axes: tuple[Axis, ...] = (*map(self._sized, problem.axes), *_sigma_axes(problem))
        self.names = [axis.name for axis in self.axes]
        prior = np.array([axis.prior_u for axis in self.axes])
        self._prior_mean, self._prior_sd = prior[:, 0], prior[:, 1]

    def _sized(self, axis: Axis) -> Axis:
        """A parameter that is estimated as it is with the size of a step that data can tell."""
        if axis.scale == "log":
            return axis
        at = {each.name: np.full(2, each.start) for each in self.problem.axes}
        values = [data.layout.value for data in self.problem.data]

        def change(step: float) -> float:
            step = step if axis.start + step <= axis.high else -step
            moved = at | {axis.name: np.array([axis.start, max(axis.start + step, axis.low)])}
            return share_moved([np.diff(f, axis=0) for f in self.predictions(moved)], values)

        return replace(axis, size=telling(axis.start, change))

    def u(self, x: Floats) -> Floats:
        """Coordinates (b, d) on the scale of estimation."""
        return np.column_stack([axis.u_of_x(x[:, k]) for k, axis in enumerate(self.axes)])

    def values(self, u: Floats) -> dict[str, Floats]:
        """Each estimated number, (b,), by name."""
        return {axis.name: axis.value(u[:, k]) for k, axis in enumerate(self.axes)}

    def slopes(self, x: Floats) -> Floats:
        """du/dx at one x (d,)."""
        return np.array([axis.slope(each) for axis, each in zip(self.axes, x, strict=True)])

    # --- predictions ------------------------------------------------------------------------------------

    def curves(self, values: dict[str, Floats], data: DataSet, times: Floats) -> Floats:
        """Outputs of a data set under b candidates: (outputs, b, conditions, times)."""
        import pandas as pd

        layout = data.layout
        b, c = len(next(iter(values.values()))), layout.n_conditions
        uses = self.problem.uses[self.problem.data.index(data)]
        columns = {name: np.tile(column, b) for name, column in layout.conditions.items()}
        dose = columns.pop("dose", None)
        columns |= {name: np.repeat(values[axis], c) for name, axis in uses.items()}
        table = pd.DataFrame(columns, index=pd.RangeIndex(b * c, name="id"))
        run = simulate_rows(
            layout.model, table, layout.regimen, times, layout.outputs, own_dose=dose, solver=self.solver
        )
        found = np.stack([run[name].reshape(b, c, -1) for name in layout.outputs])
        return np.where(np.isfinite(found), found, np.nan)  # minus infinity would be surely below a limit

    def predictions(self, values: dict[str, Floats]) -> list[Floats]:
        """Predictions of every observation under b candidates: for each data set (b, N)."""
        found = []
        for data in self.problem.data:
            layout = data.layout
            curves = self.curves(values, data, layout.times)
            found.append(curves[layout.output, :, layout.condition, layout.time_index].T)
        return found

    # --- likelihood -------------------------------------------------------------------------------------

    def at(self, x: Floats) -> Point:
        """Everything at candidates x (b, d)."""
        b, d, p = *x.shape, self.p
        slopes = np.stack([self.slopes(each) for each in x])
        sizes = np.array([axis.size for axis in self.axes])
        step = np.minimum(STEP * sizes / np.maximum(slopes, 1e-12), 0.1)[:, :p]
        moved = np.repeat(x[:, None], 1 + 2 * p, axis=1)
        moved[:, 1 + np.arange(p), np.arange(p)] += step
        moved[:, 1 + p + np.arange(p), np.arange(p)] -= step
        predicted = [
            each.reshape(b, 1 + 2 * p, -1) for each in self.predictions(self.values(self.u(moved.reshape(-1, d))))
        ]
        u = self.u(x)

        deviance, slope, information = np.zeros(b), np.zeros((b, d)), np.zeros((b, d, d))
        for data, f in zip(self.problem.data, predicted, strict=True):
            jacobian = np.zeros((b, f.shape[2], d))
            jacobian[:, :, :p] = np.moveaxis((f[:, 1 : 1 + p] - f[:, 1 + p :]) / (2 * step[:, :, None]), 1, 2)
            for k, (output, error) in enumerate(data.layout.errors.items()):
                rows = np.flatnonzero(data.layout.output == k)
                sigma = self.sigma_places(data, output, error)
                value, below = data.layout.value[rows], data.layout.below[rows]
                for i in range(b):
                    given = {s: float(self.axes[j].value(u[i, j])) for s, j in sigma.items()}
                    sigma_slopes = {s: (j, slopes[i, j]) for s, j in sigma.items()}
                    terms = _terms(error, value, below, f[i, 0, rows], jacobian[i, rows], given, sigma_slopes)
                    deviance[i] += terms[0]
                    slope[i] += terms[1]
                    information[i] += terms[2]

        off = (u - self._prior_mean) / self._prior_sd
        penalty = (off**2).sum(axis=1)
        slope += off / self._prior_sd * slopes
        failed = ~np.isfinite(deviance) | ~(np.abs(information) < HUGE).all(axis=(1, 2))
        deviance[failed], slope[failed], information[failed] = np.inf, 0.0, np.eye(d)
        both = information.copy()
        both[:, np.arange(d), np.arange(d)] += (slopes / self._prior_sd) ** 2
        return Point(x, deviance, penalty, slope, both)

    def sigma_places(self, data: DataSet, output: str, error: ErrorModel) -> dict[str, int]:
        """Places among the axes of an error model's estimated SDs."""
        names = {s: _sigma_name(self.problem, data, output, s) for s in error.sigmas}
        return {s: self.names.index(name) for s, name in names.items() if name in self.names}

    def sigmas(self, data: DataSet, output: str, error: ErrorModel, values: dict[str, Floats]) -> dict[str, float]:
        """The estimated SDs of an error model, of the first candidate."""
        return {s: float(values[self.names[j]][0]) for s, j in self.sigma_places(data, output, error).items()}

    def start(self, u: Floats) -> Floats:
        """The coordinates x (d,) to start from at parameters u (p,): SDs come from the residuals there."""
        x = np.zeros(len(self.axes))
        for k, axis in enumerate(self.axes[: self.p]):
            x[k] = axis.x(float(u[k]))
        return self.with_sigmas(x)

    def with_sigmas(self, x: Floats) -> Floats:
        """The coordinates x (d,) with SDs that the residuals suggest.

        A search cannot leave the place where one part of a combined error has become negligible; this does.
        """
        x = x.copy()
        for data, f in zip(self.problem.data, self.predictions(self.values(self.u(x[None]))), strict=True):
            for k, (output, error) in enumerate(data.layout.errors.items()):
                rows = (data.layout.output == k) & ~data.layout.below
                guess = _residual_sd(error, data.layout.value[rows], f[0, rows])
                for s, j in self.sigma_places(data, output, error).items():
                    axis = self.axes[j]
                    value = guess[s] if np.isfinite(guess[s]) else axis.start
                    x[j] = axis.x(axis.u(float(np.clip(value, 2 * axis.low, 0.5 * axis.high))))
        return x


def _terms(
    error: ErrorModel,
    value: Floats,
    below: NDArray[np.bool_],
    f: Floats,
    jacobian: Floats,
    sigma: dict[str, float],
    sigma_slopes: dict[str, tuple[int, float]],
) -> tuple[float, Floats, Floats]:
    """-2 log likelihood of one output's observations, half its slope, and expected information."""
    deviance = -2 * error.log_likelihood(value, f, below, **sigma).sum()
    moments = error.moments(f, **sigma)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        z = (error.measured(value) - moments.mean) / moments.sd
        by_mean = moments.mean_slope[:, None] * jacobian / moments.sd[:, None]  # in SDs
        by_log_sd = moments.sd_slope[:, None] * jacobian
        for s, (j, sigma_slope) in sigma_slopes.items():
            by_log_sd[:, j] += moments.sigma_slope[s] * sigma_slope

        seen = ~below
        slope: Floats = -z[seen] @ by_mean[seen] + (1 - z[seen] ** 2) @ by_log_sd[seen]
        information = by_mean[seen].T @ by_mean[seen] + 2 * by_log_sd[seen].T @ by_log_sd[seen]
        if below.any():
            a = z[below]
            mills = np.exp(-0.5 * a**2 - 0.5 * np.log(2 * np.pi) - normal_below(a, 0.0, 1.0))
            matters = mills > 0  # a prediction of 0 is surely below, whatever else
            a, mills = a[matters], mills[matters]
            moved = by_mean[below][matters] + a[:, None] * by_log_sd[below][matters]
            slope += mills @ moved
            information += moved.T @ ((mills * (mills + a))[:, None] * moved)
    return float(deviance), slope, information


def _residual_sd(error: ErrorModel, value: Floats, f: Floats) -> dict[str, float]:
    """SDs that the residuals at predictions f suggest; NaN where they suggest nothing."""
    if value.size == 0:
        return dict.fromkeys(error.sigmas, float("nan"))
    with np.errstate(divide="ignore", invalid="ignore"):
        add = float(np.sqrt(np.mean((value - f) ** 2)))
        prop = float(np.sqrt(np.mean(((value - f) / f) ** 2)))
        if error.kind == "lognormal":
            return {"log": float(np.sqrt(np.mean(np.log(value / f) ** 2)))}
    if error.kind == "combined":  # each explains what it can of the small and of the large values
        relative = np.abs(value - f) / np.maximum(np.abs(f), np.median(np.abs(f)) + 1e-300)
        return {"add": float(np.median(np.abs(value - f))), "prop": float(np.median(relative))}
    return {"additive": {"add": add}, "proportional": {"prop": prop}}[error.kind]


def _sigma_name(problem: Problem, data: DataSet, output: str, sigma: str) -> str:
    return f"{output}.{sigma}" if len(problem.data) == 1 else f"{data.name}.{output}.{sigma}"


def _sigma_axes(problem: Problem) -> list[Axis]:
    """An axis for each SD that is not fixed, from 1e-4 to 10 times the size of what is measured."""
    axes = []
    for data in problem.data:
        for k, (output, error) in enumerate(data.layout.errors.items()):
            value = data.layout.value[data.layout.output == k]
            for s in error.sigmas:
                if getattr(error, s) is not None:
                    continue
                size = float(np.sqrt(np.mean(value**2))) or 1.0 if s == "add" else 1.0
                unit = (data.layout.model.outputs | data.layout.model.states)[output].unit if s == "add" else "1"
                name = _sigma_name(problem, data, output, s)
                axes.append(Axis(name, unit, 0.1 * size, "log", 1e-4 * size, 10.0 * size))
    return axes
