"""Outcomes by quartile of exposure, the table that an exposure-response analysis begins with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.endpoints.rates import clopper_pearson, wilson
from cartsim.errors import InputError, brief, check_level

if TYPE_CHECKING:
    import pandas as pd

Limits = Callable[..., tuple[NDArray[np.float64], NDArray[np.float64]]]


def wald(count: ArrayLike, n: ArrayLike, level: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Normal limits of proportions, cut at 0 and 1: of nobody and of everybody they have no width."""
    from scipy.special import ndtri

    p, n = np.asarray(count, float) / np.asarray(n, float), np.asarray(n, float)
    half = ndtri(0.5 + level / 2) * np.sqrt(p * (1 - p) / n)
    return np.maximum(p - half, 0), np.minimum(p + half, 1)


LIMITS: dict[str, Limits] = {"wilson": wilson, "wald": wald, "exact": clopper_pearson}
"""Limits of proportions by name; "exact" is Clopper and Pearson's."""


def quantile_groups(values: NDArray[np.float64], groups: int) -> NDArray[np.int64]:
    """(n,) Group of each of n values by the quantiles of all, 0 for the lowest.

    Equal values are in one group, at an end in the lower one; none is empty, so that there can be fewer than asked for.
    """
    ends = np.unique(np.quantile(values, np.arange(1, groups) / groups))
    return np.unique(np.searchsorted(ends, values, side="left"), return_inverse=True)[1]


def quartile_codes(exposure: ArrayLike, groups: int = 4) -> NDArray[np.int64]:
    """(n,) Quartile of each patient, 0 for the lowest, -1 where exposure is missing.

    Equal exposures are in one quartile. Raises `InputError` where there are not as many different ones as quartiles.
    """
    values = np.asarray(exposure, float)
    known = np.isfinite(values)
    different = len(np.unique(values[known]))
    if different < groups:
        raise InputError(f"{different} different exposures; give at least {groups} patients who differ in it")
    codes = np.full(values.shape, -1)
    codes[known] = quantile_groups(values[known], groups)
    return codes


def quartile_table(
    exposure: ArrayLike, outcome: ArrayLike, *, groups: int = 4, limits: str = "wilson", level: float = 0.95
) -> pd.DataFrame:
    """Outcome by quartile of exposure.

    Parameters
    ----------
    exposure
        (n,) NaN where missing. Patients without exposure or outcome are left out.
    outcome
        (n,) 0, 1 or NaN.
    groups
        4 for quartiles.
    limits
        Of the rates: one of `LIMITS`.
    level
        Of the limits.

    Returns
    -------
    pandas.DataFrame
        A row a quartile: ``quartile`` (Q1, ...), ``n``, the ``lowest``, ``median`` and ``highest`` exposure, ``events``
        and ``percent`` with ``low`` and ``high``.

    Raises
    ------
    InputError
        For limits that are not offered, arrays of different lengths, and fewer different exposures than quartiles.
    """
    import pandas as pd

    if limits not in LIMITS:
        raise InputError(f"limits are {brief(limits)}; choose from {', '.join(LIMITS)}")
    check_level(level)
    x, y = np.asarray(exposure, float), np.asarray(outcome, float)
    if x.shape != y.shape or x.ndim != 1:
        raise InputError(f"exposure and outcome have shapes {x.shape} and {y.shape}; give one value a patient of each")
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    codes = quartile_codes(x, groups)
    n = np.bincount(codes)
    events = np.bincount(codes, weights=y)
    low, high = LIMITS[limits](events, n, level)
    within = [x[codes == k] for k in range(len(n))]
    return pd.DataFrame(
        {
            "quartile": [f"Q{k + 1}" for k in range(len(n))],
            "n": n,
            "lowest": [own.min() for own in within],
            "median": [np.median(own) for own in within],
            "highest": [own.max() for own in within],
            "events": events.astype(int),
            "percent": 100 * events / n,
            "low": 100 * low,
            "high": 100 * high,
        }
    )
