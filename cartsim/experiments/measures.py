"""Single numbers read off simulated trajectories: peaks and their times, areas, falls, time below a level.

They are continuous: a peak lies where the polynomial through the five simulated points around it has its
top, so that it hardly depends on where the points are. (What a trial sees at its visits is the business of
`cartsim.endpoints.kinetics`.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError
from cartsim.model.model import Model
from cartsim.schedule import MONTH

_LONGEST = 1_000_000  # of the time unit: over a hundred years of hours
HALF_YEAR = 6 * MONTH

KINDS = {
    "highest": "highest value from time `at` on",
    "time_of_highest": "time of the peak after `at`; NaN where the highest value is at `at` or at the end",
    "first_peak": "height of the first peak after `at`, see `first_wave`; the highest value where there is none",
    "time_of_first_peak": "its time",
    "time_of_second_wave": "time of a later peak that is higher than the first; NaN where there is none",
    "area": "integral from 0 to `at`",
    "lowest": "lowest value",
    "fall": "how far the lowest value lies below 0: the greatest fall of a change from baseline",
    "fall_at": "how far the value at time `at` lies below 0",
    "log10_fall": "powers of ten from 1 down to the lowest value",
    "value": "value at time `at`",
    "time_below": "time spent below the level `at`",
}


@dataclass(frozen=True)
class Measure:
    """One number of each trajectory of ``output``; ``kind`` is one of `KINDS`, which say what ``at`` is.

    Raises InputError for an unknown kind or an ``at`` that is not a finite number.
    """

    kind: str
    output: str
    at: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"measure {self.kind!r} is not known; it is one of {', '.join(KINDS)}")
        if not math.isfinite(self.at) or (self.at < 0 and self.kind != "time_below"):
            raise InputError(f"{self.kind} of {self.output} at {self.at}; give a finite time, 0 or more")


def default_measures(model: Model, *, day: float = 28.0, level: float = -50.0) -> dict[str, Measure]:
    """What is read by default.

    Of the clinical model: `Cmax` and `Tmax` of the first peak of the transgene after day 1 (before, cells just infused
    leave the blood), `second_wave`, the day of a later and higher peak, as a tumor that grows again brings,
    `AUC0-28`, the greatest fall of sBCMA and M-protein in percent of baseline and that on ``day``, the tumor's fall in
    powers of ten, and the days with M-protein below ``level`` (percent change).
    Of any other model: highest value, its time and lowest value of each output.
    """
    clinical = ("transgene", "sbcma_change", "mprotein_change", "tumor_relative")
    if all(name in model.outputs for name in clinical):
        return {
            "Cmax": Measure("first_peak", "transgene", 1.0),
            "Tmax": Measure("time_of_first_peak", "transgene", 1.0),
            "second_wave": Measure("time_of_second_wave", "transgene", 1.0),
            "AUC0-28": Measure("area", "transgene", 28.0),
            "sbcma_fall": Measure("fall", "sbcma_change"),
            f"sbcma_fall_{day:g}": Measure("fall_at", "sbcma_change", day),
            "mprotein_fall": Measure("fall", "mprotein_change"),
            f"mprotein_fall_{day:g}": Measure("fall_at", "mprotein_change", day),
            "tumor_log10_fall": Measure("log10_fall", "tumor_relative"),
            f"days_mprotein_below_{level:g}": Measure("time_below", "mprotein_change", level),
        }
    names = list(model.outputs) or list(model.states)
    return {
        f"{name}_{kind}": Measure(kind, name) for name in names for kind in ("highest", "time_of_highest", "lowest")
    }


def default_horizon(model: Model) -> float:
    """Half a year for a model in days. Raises InputError for any other: it has to be said."""
    if model.time != "day":
        raise InputError(f"{model.name} counts in {model.time}s; give the horizon, how long to simulate")
    return HALF_YEAR


def check_measures(model: Model, measures: Mapping[str, Measure], horizon: float) -> None:
    """Refuse, before any work, what the model does not have or the horizon does not reach."""
    if not 0 < horizon <= _LONGEST:
        raise InputError(f"the horizon is {horizon}; give a time above 0, at most {_LONGEST:,}")
    if not measures:
        raise InputError("no measures; give at least one")
    known = [*model.outputs, *model.states]
    for name, measure in measures.items():
        if measure.output not in known:
            raise InputError(
                f"{name}: model {model.name!r} has no output {measure.output!r}; it has {', '.join(known)}"
            )
        if measure.kind != "time_below" and measure.at > horizon:
            raise InputError(f"{name} is read at {measure.at:g}, after the horizon {horizon:g}; give a longer horizon")


@dataclass(frozen=True)
class Reading:
    """What is read off each trajectory, and for how long it is simulated.

    Parameters
    ----------
    measures
        By name; by default `default_measures` of the model.
    horizon
        In the model's time unit; by default half a year of a model in days.
    """

    measures: Mapping[str, Measure] | None = None
    horizon: float | None = None

    def of(self, model: Model) -> tuple[dict[str, Measure], float]:
        """Measures and horizon for a model. Raises InputError for what it does not have or does not reach."""
        measures = default_measures(model) if self.measures is None else dict(self.measures)
        horizon = default_horizon(model) if self.horizon is None else self.horizon
        check_measures(model, measures, horizon)
        return measures, horizon


def reading_times(measures: Mapping[str, Measure], horizon: float) -> NDArray[np.float64]:
    """Times (m,) dense enough for `read`: finest while the infused cells leave the blood."""
    start = np.concatenate([np.arange(0, 0.1, 0.00125), np.geomspace(0.1, 1.0, 25)])
    step = min(0.25, horizon / 400)
    early = np.arange(1.0, min(60.0, horizon), step)
    late = np.arange(60.0, horizon, min(1.0, 4 * step))
    asked = [m.at for m in measures.values() if m.kind != "time_below"]
    if horizon < 60:
        late = np.arange(0.0, horizon, step)
    times = np.concatenate([start, early, late, asked, [horizon]])
    # Nearly equal times would make the polynomials through them poor.
    return np.unique(np.round(times[times <= horizon], 9))


def read(
    measures: Mapping[str, Measure], times: NDArray[np.float64], values: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """Each measure's numbers (n,) of ``values[output]`` (n, m) at ``times`` (m,) from `reading_times`.

    NaN for a patient without a finite trajectory: its integration failed, or its tumor outgrew every limit.
    """
    found: dict[str, NDArray[np.float64]] = {}
    waves: dict[tuple[object, str, float], tuple[NDArray[np.float64], ...]] = {}
    for name, measure in measures.items():
        y = values[measure.output]
        known = np.asarray(np.isfinite(y).all(axis=1))
        y = np.where(known[:, None], y, 0.0)
        if measure.kind in _OF_WAVES:
            look, which = _OF_WAVES[measure.kind]
            key = look, measure.output, measure.at
            if key not in waves:
                waves[key] = look(times, y, measure.at)
            numbers = waves[key][which]
        else:
            numbers = _READERS[measure.kind](times, y, measure.at)
        found[name] = np.where(known, numbers, np.nan)
    return found


def peak(
    times: NDArray[np.float64], y: NDArray[np.float64], after: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Time and height (n,) of the highest point from ``after`` on; at either end the time is NaN."""
    first = int(np.searchsorted(times, after))
    top = first + y[:, first:].argmax(axis=1)
    at = np.full(len(y), np.nan)
    height = np.take_along_axis(y, top[:, None], axis=1)[:, 0]
    inside = np.flatnonzero((top > first) & (top < len(times) - 1))
    if len(times) < 5 or inside.size == 0:
        return at, height
    k = top[inside]
    window = np.clip(k, 2, len(times) - 3)[:, None] + np.arange(-2, 3)
    left, right = times[k - 1] - times[k], times[k + 1] - times[k]
    scale = right - left
    x = (times[window] - times[k][:, None]) / scale[:, None]
    size = np.abs(height[inside])[:, None] + 1e-300
    powers = np.arange(5)
    c = np.linalg.solve(x[:, :, None] ** powers, (y[inside[:, None], window] / size)[:, :, None])[:, :, 0]
    low, high = left / scale, right / scale
    for _ in range(50):  # the slope falls through 0 between the neighbors of the highest point
        middle = 0.5 * (low + high)
        rising = (c[:, 1:] * powers[1:] * middle[:, None] ** powers[:-1]).sum(axis=1) > 0
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    at[inside] = times[k] + middle * scale
    height[inside] = np.maximum(height[inside], size[:, 0] * (c * middle[:, None] ** powers).sum(axis=1))
    return at, height


def first_wave(
    times: NDArray[np.float64], y: NDArray[np.float64], after: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Time and height (n,) of the first peak from ``after`` on, and the time of a later peak that is higher, or NaN.

    A peak is one that rises to twice the troughs on both of its sides (scipy's prominence, half of its height). Where
    the highest point comes before any other such peak, all is as `peak` gives it.
    """
    from scipy.signal import find_peaks

    at, height = peak(times, y, after)
    later = np.full(len(y), np.nan)
    start = int(np.searchsorted(times, after))
    for row in np.flatnonzero(np.isfinite(at)):
        curve = y[row, start:]
        tops, found = find_peaks(curve, prominence=0.0)
        tops = tops[found["prominences"] >= 0.5 * curve[tops]]
        highest = int(curve.argmax())
        if not tops.size or tops[0] >= highest:
            continue
        following = tops[1] if len(tops) > 1 else highest
        trough = start + tops[0] + int(curve[tops[0] : following].argmin()) + 1
        later[row] = at[row]
        own_at, own_height = peak(times[:trough], y[row : row + 1, :trough], after)
        at[row], height[row] = own_at[0], own_height[0]
    return at, height, later


def _lowest(times: NDArray[np.float64], y: NDArray[np.float64], at: float) -> NDArray[np.float64]:
    return -peak(times, -y)[1]


def _log10_fall(times: NDArray[np.float64], y: NDArray[np.float64], at: float) -> NDArray[np.float64]:
    # Of the logarithm: the tumor may fall by hundreds of powers of ten.
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.maximum(-np.log10(y.min(axis=1)), 0.0)


def _value(times: NDArray[np.float64], y: NDArray[np.float64], at: float) -> NDArray[np.float64]:
    return y[:, np.searchsorted(times, round(at, 9))]


def _area(times: NDArray[np.float64], y: NDArray[np.float64], at: float) -> NDArray[np.float64]:
    from scipy.integrate import simpson

    end = int(np.searchsorted(times, round(at, 9))) + 1
    return simpson(y[:, :end], x=times[:end], axis=1) if end > 1 else np.zeros(len(y))


def _time_below(times: NDArray[np.float64], y: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """The curve taken as straight between the points."""
    a, b = y[:, :-1] - level, y[:, 1:] - level
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where((a < 0) == (b < 0), a < 0, np.where(a < 0, a / (a - b), b / (b - a)))
    return share @ np.diff(times)


# Several of these are read off one look at the curves: the look, and which of what it finds.
_OF_WAVES: dict[str, tuple[Callable[..., tuple[NDArray[np.float64], ...]], int]] = {
    "highest": (peak, 1),
    "time_of_highest": (peak, 0),
    "first_peak": (first_wave, 1),
    "time_of_first_peak": (first_wave, 0),
    "time_of_second_wave": (first_wave, 2),
}
_READERS = {
    "area": _area,
    "lowest": _lowest,
    "fall": lambda times, y, at: peak(times, -y)[1],
    "fall_at": lambda times, y, at: _value(times, -y, at),
    "log10_fall": _log10_fall,
    "value": _value,
    "time_below": _time_below,
}
