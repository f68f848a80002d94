"""Likelihood profiles: how well the data can be described with a parameter held elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.fitting.pooled.evaluation import Evaluator
from cartsim.fitting.pooled.search import Found, search
from cartsim.results import Result

if TYPE_CHECKING:
    import pandas as pd

POINTS = 25  # searches on either side at most
CLOSE = 1e-2  # of -2 log likelihood, which is enough to see where it crosses a threshold
LEAP = 2.0  # in the root of the change, beyond which a point is not believed
ROOT_STEP = 0.6  # aimed at between points, in the root of the change, which is the normal deviate

Floats = NDArray[np.float64]


@dataclass(frozen=True, repr=False, eq=False)
class Profile(Result):
    """The profile of one parameter.

    Attributes
    ----------
    low, high
        Where the change crosses the chi-squared quantile of `level`, infinite (or 0 on the log scale) where it never
        does within the limits of the search, NaN where the search did not converge that it hangs on.
    converged
        Whether the fit did, the lowest point, and those on either side of both limits.
    identified
        Whether it crosses on both sides.
    improvement
        By how much the lowest point lies below the fit, 0 if the fit is it.
    curve
        A row a point with `value`, `change` (of -2 log likelihood with priors, from its lowest), its parts `data` and
        `prior`, and `converged`. Also ``frame``.
    """

    what = "profile"
    name: str
    unit: str
    estimate: float
    low: float
    high: float
    level: float
    threshold: float
    converged: bool
    identified: bool
    improvement: float
    with_priors: bool
    curve: pd.DataFrame
    made_by: dict[str, Any]

    @property
    def frame(self) -> pd.DataFrame:
        """The curve."""
        return self.curve

    @property
    def summary(self) -> pd.DataFrame:
        """One row: estimate and limits, and whether the data identify the parameter."""
        import pandas as pd

        names = ("name", "estimate", "unit", "low", "high", "level", "converged", "identified", "improvement")
        return pd.DataFrame([{name: getattr(self, name) for name in names}])

    @property
    def failures(self) -> pd.DataFrame:
        """The points at which the search did not converge."""
        return self.curve[~self.curve["converged"]].reset_index(drop=True)

    def _title(self) -> str:
        return f"{super()._title()}: {self.name}"


def profile(evaluator: Evaluator, best: Found, k: int, level: float, made_by: dict[str, Any]) -> Profile:
    """The profile of coordinate k about the best point, everything else estimated anew at each point."""
    import pandas as pd
    from scipy.stats import chi2

    axis = evaluator.axes[k]
    threshold = float(chi2.ppf(level, 1))
    center = float(evaluator.u(best.x[None])[0, k])
    slope = evaluator.slopes(best.x)[k]
    with np.errstate(divide="ignore"):
        error = slope * np.sqrt(_inverse(best.point.information[0])[k, k]) / axis.size
    first = float(np.clip(ROOT_STEP * error, 0.02, 0.5)) * axis.size
    rows = [(center, best)]
    for side in (-1, 1):
        rows += _smoothed(evaluator, k, _side(evaluator, best, k, center, side * first, threshold))
    rows.sort(key=lambda row: row[0])

    u = np.array([row[0] for row in rows])
    objective = np.array([row[1].objective for row in rows])
    lowest = int(objective.argmin())
    change = objective - objective[lowest]
    points = [row[1].point for row in rows]
    data = np.array([point.deviance[0] for point in points])
    prior = np.array([point.penalty[0] for point in points])
    there = np.array([row[1].converged for row in rows])
    there &= best.converged and there[lowest]
    low = _crossing(u[: lowest + 1][::-1], change[: lowest + 1][::-1], there[: lowest + 1][::-1], threshold)
    high = _crossing(u[lowest:], change[lowest:], there[lowest:], threshold)
    ends = (0.0 if axis.scale == "log" else -np.inf, np.inf)
    return Profile(
        name=axis.name,
        unit=axis.unit,
        estimate=float(axis.value(center)),
        low=ends[0] if low is None else float(axis.value(low)),
        high=ends[1] if high is None else float(axis.value(high)),
        level=level,
        threshold=threshold,
        converged=bool(there[lowest]) and not np.isnan([low or 0.0, high or 0.0]).any(),
        identified=low is not None and high is not None,
        improvement=float(best.objective - objective[lowest]),
        with_priors=any(each.prior is not None for each in evaluator.axes),
        curve=pd.DataFrame(
            {
                "value": axis.value(u),
                "change": change,
                "data": data - data[lowest],
                "prior": prior - prior[lowest],
                "converged": [row[1].converged for row in rows],
            }
        ),
        made_by=made_by,
    )


def _side(
    evaluator: Evaluator, best: Found, k: int, center: float, step: float, threshold: float
) -> list[tuple[float, Found]]:
    """Points from the best one outward, until well above the threshold or at the limit."""
    axis = evaluator.axes[k]
    low, high = axis.ends
    rows: list[tuple[float, Found]] = []
    u, x, root = center, best.x, 0.0
    before = best.x
    for _ in range(POINTS):
        margin = 2e-3 * (high - low if np.isfinite(high - low) else axis.size)
        new = float(np.clip(u + step, low + margin, high - margin))
        if abs(new - u) < 1e-6 * axis.size:
            break
        found = _held(evaluator, x + (x - before) if rows else x, k, axis.x(new))
        if _root(found, best) - root > LEAP:  # perhaps in another valley, from which SDs begun anew lead out
            again = _held(evaluator, evaluator.with_sigmas(x), k, axis.x(new))
            found = min(found, again, key=lambda each: each.objective)
        gain = _root(found, best) - root
        if gain > LEAP and abs(new - u) > 1e-3 * axis.size:  # lost on the way: come nearer first
            step = (new - u) / 3
            continue
        rows.append((new, found))
        if (root + gain) ** 2 > 1.5 * threshold:
            break
        root += gain
        before, x, u = x, found.x, new
        step *= float(np.clip(ROOT_STEP / max(gain, 1e-9), 0.4, 2.0))
    return rows


def _smoothed(evaluator: Evaluator, k: int, rows: list[tuple[float, Found]]) -> list[tuple[float, Found]]:
    """Points again from their outer neighbors where they lie above these: a search that was caught on the way."""
    for i in range(len(rows) - 2, -1, -1):
        (u, here), (_, outer) = rows[i], rows[i + 1]
        if here.objective > outer.objective + CLOSE:
            again = _held(evaluator, outer.x, k, evaluator.axes[k].x(u))
            rows[i] = (u, min(here, again, key=lambda each: each.objective))
    return rows


def _held(evaluator: Evaluator, start: Floats, k: int, at: float) -> Found:
    """The best point with coordinate k at `at`, searched from `start` (the others go on from there)."""
    start, held = start.copy(), np.zeros(len(start), bool)
    start[k], held[k] = at, True
    return search(evaluator, start, held=held, close=CLOSE)


def _root(found: Found, best: Found) -> float:
    """The root of the change in -2 log likelihood from the best point."""
    return float(np.sqrt(max(found.objective - best.objective, 0.0)))


def _crossing(u: Floats, change: Floats, there: NDArray[np.bool_], threshold: float) -> float | None:
    """Where the change first exceeds the threshold, by its root, which is nearly linear in u; NaN between points
    whose searches did not get ``there``.
    """
    above = np.flatnonzero(change > threshold)
    if not above.size:
        return None
    j = int(above[0])
    if not there[j - 1 : j + 1].all():
        return float("nan")
    a, b = np.sqrt(max(change[j - 1], 0.0)), np.sqrt(change[j])
    return float(u[j - 1] + (u[j] - u[j - 1]) * (np.sqrt(threshold) - a) / (b - a))


def _inverse(information: Floats) -> Floats:
    """The inverse, with directions that hold no information cut off at one unit of x."""
    values, vectors = np.linalg.eigh(information)
    return (vectors / np.maximum(values, 1.0)) @ vectors.T
