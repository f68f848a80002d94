"""Noncompartmental analysis (NCA) of cell kinetics, by KarMMa's rules.

Sources: Munshi 2021, doi:10.1056/NEJMoa2024850, and the KarMMa exposure-response analysis (sampling, zeros
below the limit, AUC to day 28, computed there with Phoenix WinNonlin); Phoenix WinNonlin user's guide, NCA
computation rules (lambda_z, partial areas).
"""

from __future__ import annotations

from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.endpoints.categories import categorical
from cartsim.errors import InputError, brief, elsewhere
from cartsim.observations import Observations, padded, read_observations
from cartsim.schedule import MONTH

if TYPE_CHECKING:
    import pandas as pd

LLOQ = 50.0  # copies/ug
TRANSGENE = "transgene"  # the output that is analyzed where a table holds several
# Regressions whose adjusted R2 is this close to the best count as equal; the one with most points is taken.
R2_TOLERANCE = 1e-4
# A regression that falls by less than this share from its first sample to its last falls by rounding alone.
FALL = 1e-9
PERSISTENCE = {month: f"persistence_{month}m" for month in (6, 12)}  # columns by month
AFTER_BLQ = ("lambda_z", "zero")  # what an area to the horizon takes after a last sample below the limit
# Patients at a time, so that the arrays of one pass stay in the processor's cache.
BLOCK = 1 << 12

_CMAX_FLAGS = ("observed", "nothing quantifiable", "no sample")
_AUC_FLAGS = ("observed", "interpolated", "extrapolated", "no lambda_z", "no sample")
_LAMBDA_Z_FLAGS = (
    "estimated",
    "no decline",
    "fewer than 3 points after Cmax",
    "nothing quantifiable",
    "no sample",
)


def noncompartmental(
    days: ArrayLike,
    transgene: ArrayLike,
    *,
    lloq: float = LLOQ,
    method: str = "linear-log",
    horizon: float = 28.0,
    after_blq: str = "lambda_z",
    ids: ArrayLike | None = None,
) -> pd.DataFrame:
    """Noncompartmental analysis of n patients.

    ``days`` after infusion in increasing order: (t,) for all, or (n, t) with NaN behind a patient's last
    sample. ``transgene`` (n, t) in copies/ug (any unit, if ``lloq`` has it too), NaN = missed sample. Values
    below ``lloq`` become 0.

    One row per patient (areas in unit*day):

    - ``Cmax``, ``Tmax_day``: the highest value observed after day 0 and the first day that shows it (no Tmax
      where all are 0).
    - ``AUC0-28`` (named after ``horizon``): from 0 on day 0, or the sample of day 0, through all samples,
      zeros too. Trapezoids: with ``method`` "linear-log" logarithmic where the curve falls and linear where
      it rises or touches 0, with "linear" always linear. Where the horizon lies between two samples, the
      value there is interpolated: logarithmically with "linear-log", but linearly beside a zero. Where it
      lies after the last sample, the value there is that of the lambda_z regression,
      exp(intercept - lambda_z*horizon), and the last trapezoid is linear-log; without lambda_z the area is
      missing. That holds too where the last sample is a zero, from which the curve then rises (Phoenix, which
      takes a zero for a number); with ``after_blq`` "zero" nothing is added after a last zero.
    - ``expansion_rate``: Cmax/Tmax.
    - ``lambda_z`` (1/day), ``half_life_days``, ``r2_adj``, ``n_lambda``: regression of the logarithm on
      time over the last 3 or more quantifiable samples after Cmax (the sample of Cmax does not count); of
      those that fall, the one with the best adjusted R2, and within 1e-4 of it the one with most points.
    - ``clast``, ``tlast_day``: last quantifiable value after day 0, and its day.
    - ``persistence_6m``, ``persistence_12m``: whether the sample nearest to that month is quantifiable;
      missing without a sample within half a month of it.
    - ``Cmax_flag``, ``AUC_flag``, ``lambda_z_flag``: what it rests on, or why it is missing.

    Raises InputError for shapes that do not fit, days that do not increase or are negative, negative or
    infinite values, and settings that are not offered.
    """
    import pandas as pd

    columns = noncompartmental_columns(days, transgene, lloq=lloq, method=method, horizon=horizon, after_blq=after_blq)
    return pd.DataFrame({"id": np.arange(len(columns["Cmax"])) if ids is None else np.asarray(ids)} | columns)


def noncompartmental_columns(
    days: ArrayLike,
    transgene: ArrayLike,
    *,
    lloq: float = LLOQ,
    method: str = "linear-log",
    horizon: float = 28.0,
    after_blq: str = "lambda_z",
) -> dict[str, Any]:
    """The columns of `noncompartmental` but ``id``."""
    import pandas as pd

    values, times = np.asarray(transgene, dtype=np.float64), np.asarray(days, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] == 0 or times.shape not in (values.shape, values.shape[1:]):
        shapes = f"days has shape {times.shape} and transgene {values.shape}"
        raise InputError(f"{shapes}; give transgene as patients x samples and a day for each sample")
    if (np.diff(times) <= 0).any() or (times < 0).any() or np.isinf(times).any():
        raise InputError("days must increase, be finite and not negative; sort them and drop doubles")
    _check(lloq, method, horizon, after_blq)
    wrong = (values < 0) | np.isinf(values) | (np.isnan(times) & ~np.isnan(values))
    if wrong.any():
        i, j = np.argwhere(wrong)[0]
        what = f"transgene of patient {i}, sample {j} is {values[i, j]:g}"
        raise InputError(f"{what}; give finite values of 0 or more with a day each, NaN for a missed sample")

    n = len(values)
    times = np.broadcast_to(times, values.shape)
    blocks = [
        _block(times[i : i + BLOCK], values[i : i + BLOCK], lloq, method, horizon, after_blq)
        for i in range(0, max(n, 1), BLOCK)
    ]
    columns: dict[str, Any] = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    flags = (("Cmax_flag", _CMAX_FLAGS), ("AUC_flag", _AUC_FLAGS), ("lambda_z_flag", _LAMBDA_Z_FLAGS))
    for name, categories in flags:
        columns[name] = categorical(columns[name], categories)
    for name in PERSISTENCE.values():
        columns[name] = pd.arrays.BooleanArray(columns[name] == 1, columns[name] < 0)
    return columns


@elsewhere(seed="nothing is drawn: the patients are those observed", n="the patients are those observed")
def nca(
    observations: Observations | pd.DataFrame | str | Path,
    *,
    output: str | None = None,
    lloq: float = LLOQ,
    method: str = "linear-log",
    horizon: float = 28.0,
    after_blq: str = "lambda_z",
) -> pd.DataFrame:
    """Noncompartmental analysis of a user's own data.

    Parameters
    ----------
    observations
        See `cartsim.observations`; times in days from infusion, increasing within a patient (a sample before infusion
        gets time 0). A value below a limit, such as "<50", counts as 0 if the limit is ``lloq`` or less. A missed
        sample has no row. Patients may have different times.
    output
        Which values, where there are several outputs; by default those of "transgene".
    lloq, method, horizon, after_blq
        As for `noncompartmental`.

    Returns
    -------
    pandas.DataFrame
        A row a patient as `noncompartmental` has it, in the order in which they appear.

    Raises
    ------
    InputError
        Naming the row (counted from 1 below the header): as `read_observations`; for a missing or negative value, one
        below a limit above ``lloq``, a time before infusion, and samples unsorted or given twice.

    Examples
    --------
    >>> import cartsim as cs
    >>> import pandas as pd
    >>> samples = pd.DataFrame({"id": 1, "time": [2, 9, 14, 28, 60], "value": [100, 900, 600, 300, 60]})
    >>> cs.nca(samples)["Cmax"].tolist()
    [900.0]
    """
    _check(lloq, method, horizon, after_blq)
    found = read_observations(observations).quantity(output, TRANSGENE)
    time, value, below = (found.frame[name].to_numpy() for name in ("time", "value", "below"))
    found.refuse(time < 0, "time", "is negative; days count from infusion, earlier samples get 0")
    found.refuse(np.isnan(value), "value", "is missing; write 0 if below the limit, else drop the row")
    found.refuse(value < 0, "value", "is negative; a concentration is 0 or more")
    found.refuse(
        below & (value > lloq), "value", f"is below a limit above the lloq of {lloq:g}; give that limit as lloq"
    )
    found.check_order()
    days, values = padded(found.patient, len(found.ids), (time, np.where(below, 0.0, value)))
    return noncompartmental(days, values, lloq=lloq, method=method, horizon=horizon, after_blq=after_blq, ids=found.ids)


def _check(lloq: float, method: str, horizon: float, after_blq: str) -> None:
    if method not in ("linear-log", "linear"):
        raise InputError(f"method is {brief(method)}; allowed are 'linear-log' and 'linear'")
    if after_blq not in AFTER_BLQ:
        raise InputError(f"after_blq is {brief(after_blq)}; allowed are 'lambda_z' and 'zero'")
    if not (isinstance(horizon, Real) and 0 < horizon < np.inf):
        raise InputError(f"horizon is {brief(horizon)}; give a day after 0")
    if not (isinstance(lloq, Real) and 0 <= lloq < np.inf):
        raise InputError(f"lloq is {brief(lloq)}; give 0 or more")


def _block(
    days: NDArray[np.float64],
    values: NDArray[np.float64],
    lloq: float,
    method: str,
    horizon: float,
    after_blq: str,
) -> dict[str, NDArray[Any]]:
    """All columns of `noncompartmental` for some patients, flags as codes; days and values (n, t)."""
    # Times first from here on: every step below goes through the times, for all patients at once.
    days, values = np.ascontiguousarray(days.T), np.array(values.T, order="C")
    values[values < lloq] = 0.0
    sampled = (days > 0) & ~np.isnan(values)
    quantifiable = sampled & (values > 0)
    any_sample, any_quantifiable = sampled.any(axis=0), quantifiable.any(axis=0)

    highest = np.where(sampled, values, -1.0).argmax(axis=0)
    cmax = np.where(any_sample, _at(values, highest), np.nan)
    tmax = np.where(any_quantifiable, _at(days, highest), np.nan)
    last = len(days) - 1 - quantifiable[::-1].argmax(axis=0)
    lambda_z, r2_adj, points, after_cmax, predicted = _terminal_slope(days, values, tmax, horizon)
    if after_blq == "zero":
        known = ~np.isnan(values) & (days <= horizon)
        latest = len(days) - 1 - known[::-1].argmax(axis=0)
        predicted = np.where(known.any(axis=0) & (_at(values, latest) == 0), 0.0, predicted)
    area, area_flag = _area(days, values, horizon, predicted, method)
    return {
        "Cmax": cmax,
        "Tmax_day": tmax,
        f"AUC0-{horizon:g}": np.where(any_sample, area, np.nan),
        "expansion_rate": cmax / tmax,
        "lambda_z": lambda_z,
        "half_life_days": np.log(2.0) / lambda_z,
        "r2_adj": r2_adj,
        "n_lambda": points,
        "clast": np.where(any_quantifiable, _at(values, last), np.nan),
        "tlast_day": np.where(any_quantifiable, _at(days, last), np.nan),
        **{name: _persistence(days, values, month * MONTH) for month, name in PERSISTENCE.items()},
        "Cmax_flag": np.where(any_quantifiable, 0, np.where(any_sample, 1, 2)),
        "AUC_flag": np.where(any_sample, area_flag, _AUC_FLAGS.index("no sample")),
        "lambda_z_flag": np.where(
            points > 0, 0, np.where(after_cmax >= 3, 1, np.where(any_quantifiable, 2, np.where(any_sample, 3, 4)))
        ),
    }


def _terminal_slope(
    days: NDArray[np.float64], values: NDArray[np.float64], tmax: NDArray[np.float64], horizon: float
) -> tuple[NDArray[Any], ...]:
    """(n,) each: lambda_z, adjusted R2, points used, quantifiable points after Cmax, value at the horizon.

    Walks back from the last sample, taking up one point after the other into means and sums of squares
    (Welford's update).
    """
    use = (values > 0) & (days > tmax)
    rows = slice(int(use.any(axis=1).argmax()), None)  # before them nobody has a point
    days, values, use = days[rows], values[rows], use[rows]
    count = use[::-1].cumsum(axis=0, dtype=np.float64)[::-1]
    weight = use / np.maximum(count, 1.0)
    remains = use * (1.0 - weight)
    x, y = np.where(use, days, 0.0), np.log(np.where(use, values, 1.0))
    mean_x, mean_y, sxx, sxy, syy = (np.zeros((len(days) + 1, values.shape[1])) for _ in range(5))
    for j in reversed(range(len(days))):
        dx, dy = x[j] - mean_x[j + 1], y[j] - mean_y[j + 1]
        mean_x[j] = mean_x[j + 1] + weight[j] * dx
        mean_y[j] = mean_y[j + 1] + weight[j] * dy
        own = remains[j] * dx
        sxx[j] = sxx[j + 1] + own * dx
        sxy[j] = sxy[j + 1] + own * dy
        syy[j] = syy[j + 1] + remains[j] * dy * dy
    end = _at(days, len(days) - 1 - use[::-1].argmax(axis=0))  # day of the last point
    sxx, sxy, syy = sxx[:-1], sxy[:-1], syy[:-1]
    falls = use & (count >= 3) & (-sxy * (end - days) > FALL * sxx)
    with np.errstate(invalid="ignore", divide="ignore"):
        unexplained = 1.0 - sxy * sxy / (sxx * syy)
        r2_adj = np.where(falls, 1.0 - unexplained * (count - 1.0) / (count - 2.0), -np.inf)
    best = r2_adj.max(axis=0)
    found = np.isfinite(best)
    start = (r2_adj > best - R2_TOLERANCE).argmax(axis=0)  # the earliest start has most points
    xx, xy, x_bar, y_bar = (np.where(found, _at(each, start), np.nan) for each in (sxx, sxy, mean_x, mean_y))
    slope = -xy / xx
    used = np.where(found, _at(count, start), 0).astype(np.int64)
    at_horizon = np.exp(y_bar - slope * (horizon - x_bar))
    return slope, np.where(found, _at(r2_adj, start), np.nan), used, count[0], at_horizon


def _area(
    days: NDArray[np.float64],
    values: NDArray[np.float64],
    horizon: float,
    predicted: NDArray[np.float64],
    method: str,
) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Area from day 0 to the horizon and the code of its flag; ``predicted`` is the value at the horizon."""
    n = values.shape[1]
    # Before each sample the last one that was not missed; to begin with, 0 on day 0.
    known = ~np.isnan(values)
    past = known & (days >= horizon)
    if past.any(axis=0).all():
        rows = slice(0, int(past.argmax(axis=0).max(initial=0)) + 1)  # nothing behind them counts
        days, values, known = days[rows], values[rows], known[rows]
    order = np.arange(1, len(days) + 1)[:, None]
    before = np.maximum.accumulate(np.vstack([np.zeros((1, n), np.int64), known * order]))
    t1, c1 = (np.take_along_axis(np.vstack([np.zeros((1, n)), each]), before, axis=0) for each in (days, values))
    last_day, last_value, t1, c1 = t1[-1], c1[-1], t1[:-1], c1[:-1]
    seen = known & (t1 < horizon)
    beyond = seen & (days > horizon)
    t2, c2 = np.where(beyond, horizon, days), values.copy()
    c2[beyond] = _between(t1[beyond], c1[beyond], days[beyond], values[beyond], horizon, method)
    area = np.zeros(n)
    for part in np.where(seen, _trapezoid(t2 - t1, c1, c2, method), 0.0):  # one by one, for any n the same rounding
        area += part
    flag = np.full(n, _AUC_FLAGS.index("no lambda_z"), dtype=np.int8)
    flag[(seen & (days == horizon)).any(axis=0)] = _AUC_FLAGS.index("observed")
    flag[beyond.any(axis=0)] = _AUC_FLAGS.index("interpolated")
    short = last_day < horizon
    flag[short & ~np.isnan(predicted)] = _AUC_FLAGS.index("extrapolated")
    area += np.where(short, _trapezoid(horizon - last_day, last_value, predicted, "linear-log"), 0.0)
    return area, flag


def _trapezoid(
    width: NDArray[np.float64], c1: NDArray[np.float64], c2: NDArray[np.float64], method: str
) -> NDArray[np.float64]:
    linear = width * (c1 + c2) / 2.0
    if method == "linear":
        return linear
    falls = (c2 < c1) & (c2 > 0)
    drop, low = np.where(falls, c1 - c2, 1.0), np.where(falls, c2, 1.0)
    return np.where(falls, width * drop / np.log1p(drop / low), linear)


def _between(
    t1: NDArray[np.float64],
    c1: NDArray[np.float64],
    t2: NDArray[np.float64],
    c2: NDArray[np.float64],
    t: float,
    method: str,
) -> NDArray[np.float64]:
    """The value at t between two samples."""
    with np.errstate(invalid="ignore", divide="ignore"):  # of patients whose samples do not enclose t
        part = (t - t1) / (t2 - t1)
        linear = c1 + (c2 - c1) * part
    if method == "linear":
        return linear
    positive = (c1 > 0) & (c2 > 0)
    ratio = np.where(positive, c2, 1.0) / np.where(positive, c1, 1.0)
    return np.where(positive, c1 * ratio**part, linear)


def _persistence(days: NDArray[np.float64], values: NDArray[np.float64], target: float) -> NDArray[np.int8]:
    """Whether the sample nearest to the target day is quantifiable: 1 yes, 0 no, -1 no sample near it."""
    distance = np.where(np.isnan(values), np.inf, np.abs(days - target))
    nearest = distance.argmin(axis=0)
    near = _at(distance, nearest) <= MONTH / 2
    return np.where(near, _at(values, nearest) > 0, -1).astype(np.int8)


def _at(table: NDArray[np.float64], row: NDArray[np.intp]) -> NDArray[np.float64]:
    """table[row[i], i] for every patient i."""
    return np.take_along_axis(table, row[None, :], axis=0)[0]
