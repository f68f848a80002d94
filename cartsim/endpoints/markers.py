"""Minimal residual disease from the simulated burden, and clearance and nadir of soluble BCMA."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.errors import InputError


def mrd_per_1e5(relative_burden: ArrayLike, fraction: ArrayLike) -> NDArray[np.float64]:
    """Myeloma cells per 1e5 nucleated marrow cells: 1e5*r*f0/(r*f0 + 1 - f0).

    relative_burden (r) is Tumor/Tumor0, 0 or more, NaN where unknown; fraction (f0) is the baseline share of
    plasma cells among nucleated marrow cells, 0 to 1. Both broadcast. The other marrow cells are taken to
    stay as they were at baseline. Raises `InputError` for values outside these ranges.
    """
    r, f0 = np.asarray(relative_burden, float), np.asarray(fraction, float)
    if (r < 0).any() or np.isinf(r).any():
        raise InputError("relative_burden holds a negative or infinite value; it is Tumor/Tumor0, 0 or more")
    if ((f0 < 0) | (f0 > 1)).any():
        wrong = f0[(f0 < 0) | (f0 > 1)].ravel()[0]
        raise InputError(f"fraction holds {wrong:g}; it is a share from 0 to 1, not a percentage")
    myeloma = r * f0
    # Without any myeloma cell the answer is 0, also where baseline marrow held nothing else (0/0).
    per_1e5: NDArray[np.float64] = np.zeros_like(myeloma)
    np.divide(1e5 * myeloma, myeloma + (1 - f0), out=per_1e5, where=myeloma != 0)
    return per_1e5


def mrd_negative(per_1e5: ArrayLike, sensitivity: float = 1e-5) -> NDArray[np.bool_]:
    """Whether the cells of `mrd_per_1e5` lie below what an assay of this sensitivity (1e-4, 1e-5, 1e-6) sees.

    KarMMa's sequencing had 1e-5: fewer than one cell in 1e5 (Munshi 2021). An unknown (NaN) is not negative.
    Raises `InputError` for a sensitivity outside 0 to 1.
    """
    if not 0 < sensitivity < 1:
        raise InputError(f"sensitivity is {sensitivity}; it is a share of nucleated cells such as 1e-5")
    return np.asarray(per_1e5, float) < 1e5 * sensitivity


@dataclass(frozen=True)
class Clearance:
    """Per patient, (n,): whether a marker was ever below quantification and on which day first; its nadir.

    The nadir is the lowest value, on the first day it is reached. NaN without any value after day 0.
    """

    cleared: NDArray[np.bool_]
    clearance_day: NDArray[np.float64]
    nadir: NDArray[np.float64]
    nadir_day: NDArray[np.float64]


def clearance(values: ArrayLike, days: ArrayLike, lloq: float) -> Clearance:
    """Clearance and nadir of soluble BCMA (or another marker) after day 0.

    values (n, v), NaN where missing; days (v,) or (n, v) increasing; lloq in the unit of the values. Values
    below it count as given (0 if the assay reports them so). Raises `InputError` for shapes that do not fit,
    a negative value, or an lloq of 0 or less.
    """
    value, day = np.asarray(values, float), np.asarray(days, float)
    if value.ndim != 2 or day.shape not in (value.shape[1:], value.shape):
        raise InputError(f"values {value.shape} and days {day.shape} must be (n, v) and (v,) or (n, v)")
    if not 0 < lloq < np.inf:
        raise InputError(f"lloq is {lloq}; it must be above 0, in the unit of the values")
    wrong = np.argwhere(value < 0)
    if wrong.size:
        row, visit = wrong[0]
        raise InputError(f"values[{row}, {visit}] is {value[row, visit]}; a concentration is 0 or more")
    n, visits = value.shape
    nadir, nadir_day, clearance_day = np.full(n, np.inf), np.full(n, np.nan), np.full(n, np.nan)
    for v in range(visits):
        m, today = value[:, v], np.broadcast_to(day[..., v], n)
        lower = (today > 0) & (m < nadir)
        np.copyto(nadir, m, where=lower)
        np.copyto(nadir_day, today, where=lower)
        np.copyto(clearance_day, today, where=(today > 0) & (m < lloq) & np.isnan(clearance_day))
    nadir[np.isinf(nadir)] = np.nan
    return Clearance(~np.isnan(clearance_day), clearance_day, nadir, nadir_day)
