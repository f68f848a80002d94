"""Medians, quantiles and survival of weighted patients, of many draws at once.

Arrays are (draws, patients), with a weight for each patient and who belongs as true or false. With weights that are all
the same the results are those of `numpy.median` and `cartsim.endpoints.survival`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cartsim.endpoints.survival import SAME  # here of shares: sums of weights miss one half by rounding

Floats = NDArray[np.float64]
Truths = NDArray[np.bool_]


def share(weight: Floats, member: Truths, having: Truths) -> Floats:
    """(k,) Share of the members who have it, NaN without members."""
    total = (weight * member).sum(axis=1)
    with np.errstate(invalid="ignore"):
        found: Floats = (weight * (member & having)).sum(axis=1) / total
    return found


def size(weight: Floats, member: Truths) -> Floats:
    """(k,) How many members of one weight would tell as much: (sum of weights)^2 over the sum of squares."""
    total, squares = (weight * member).sum(axis=1), (weight**2 * member).sum(axis=1)
    return np.divide(total**2, squares, out=np.zeros(len(total)), where=squares > 0)


def quantile(values: Floats, weight: Floats, member: Truths, p: float) -> Floats:
    """(k,) Quantile of the members whose value is known; between two values where either would do; NaN of nobody."""
    known = member & ~np.isnan(values)
    ordered, w = _sorted(np.where(known, values, np.inf), np.where(known, weight, 0.0))
    summed = w.cumsum(axis=1)
    wanted = p * summed[:, -1:]
    lower = (summed >= wanted - SAME * summed[:, -1:]).argmax(axis=1)
    upper = (summed > wanted + SAME * summed[:, -1:]).argmax(axis=1)
    rows = np.arange(len(ordered))
    middle = (ordered[rows, lower] + ordered[rows, upper]) / 2
    return np.where(known.any(axis=1), middle, np.nan)


def below(values: Floats, weight: Floats, member: Truths, level: Floats | float) -> Floats:
    """(k,) Share of the members with a known value who are at or below a level, one for all or (k, 1)."""
    known = member & ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return share(weight, known, values <= level)


class Curves(NamedTuple):
    """Kaplan-Meier curves: sorted times (k, p), infinite behind the last, and survival just after each."""

    times: Floats
    survival: Floats
    known_to: Floats

    def at(self, time: float) -> Floats:
        """(k,) Survival at a time; NaN where the curve ends before, unless at 0."""
        place = (self.times <= time).sum(axis=1) - 1
        rows = np.arange(len(place))
        found = np.where(place < 0, 1.0, self.survival[rows, np.maximum(place, 0)])
        ended = (self.known_to < time) & (found > 0)
        return np.where(ended, np.nan, found)

    def median(self) -> Floats:
        """(k,) First time below one half; half-way of a step at exactly one half; infinite where not reached."""
        under, at_half = self.survival < 0.5 - SAME, np.abs(self.survival - 0.5) <= SAME
        rows = np.arange(len(self.times))
        first = np.where(under.any(axis=1), self.times[rows, under.argmax(axis=1)], np.inf)
        flat = np.where(at_half.any(axis=1), self.times[rows, at_half.argmax(axis=1)], first)
        return np.where(np.isnan(self.known_to), np.nan, np.where(np.isinf(first), first, (first + flat) / 2))


def kaplan_meier(time: Floats, event: Truths, weight: Floats, member: Truths) -> Curves:
    """Curves of the members whose time is known; where times are equal events come before the censored."""
    known = member & ~np.isnan(time)
    times, w = np.where(known, time, np.inf), np.where(known, weight, 0.0)
    order = np.lexsort((~event, times), axis=1)
    times, w, ended = (np.take_along_axis(each, order, axis=1) for each in (times, w, event & known))
    at_risk = w[:, ::-1].cumsum(axis=1)[:, ::-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        stay = np.where(ended & (w > 0), np.maximum(1 - w / at_risk, 0.0), 1.0)
    last = np.where(known, time, -np.inf).max(axis=1)
    return Curves(times, stay.cumprod(axis=1), np.where(known.any(axis=1), last, np.nan))


def correlation(x: Floats, y: Floats, weight: Floats, member: Truths) -> Floats:
    """(k,) Correlation of the members of whom both are known."""
    known = member & np.isfinite(x) & np.isfinite(y)
    w = np.where(known, weight, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        w = w / w.sum(axis=1, keepdims=True)
        dx, dy = (
            each - (w * each).sum(axis=1, keepdims=True) for each in (np.where(known, own, 0.0) for own in (x, y))
        )
        found: Floats = (w * dx * dy).sum(axis=1) / np.sqrt((w * dx**2).sum(axis=1) * (w * dy**2).sum(axis=1))
    return found


def _sorted(values: Floats, weight: Floats) -> tuple[Floats, Floats]:
    order = values.argsort(axis=1, kind="stable")
    return np.take_along_axis(values, order, axis=1), np.take_along_axis(weight, order, axis=1)
