"""Separation of outcomes by covariates, where logistic regression has no finite maximum.

Outcomes are separated if some combination of the columns is never negative with the event and never positive without
it: completely if it is never 0, else quasi-completely (Albert and Anderson 1984, doi:10.1093/biomet/71.1.1). Whether
there is one is a linear program (Konis 2007, DPhil thesis, University of Oxford).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CLEAR = 1e-6  # a margin or direction that is more than the tolerance of the linear program (1e-7)


@dataclass(frozen=True)
class Separation:
    """complete: or quasi-complete. directions (p,): -1 or 1 where a coefficient runs to minus or plus infinity."""

    complete: bool
    directions: NDArray[np.int64]


def separation(columns: Floats, y: Floats) -> Separation | None:
    """What separates the outcomes y (n,) of 0 and 1 by the columns (n, p), the intercept among them; None if overlap.

    Columns are of about unit size and linearly independent.
    """
    from scipy.optimize import linprog

    signed = columns * (2 * y - 1)[:, None]
    p = columns.shape[1]
    found = linprog(-signed.sum(axis=0), A_ub=-signed, b_ub=np.zeros(len(y)), bounds=[(-1, 1)] * p)
    margins = signed @ found.x
    if margins.max() <= CLEAR:
        return None
    # Complete where one margin for all of them is above 0.
    with_margin = np.column_stack([-signed, np.ones(len(y))])
    most = linprog([*np.zeros(p), -1.0], A_ub=with_margin, b_ub=np.zeros(len(y)), bounds=[(-1, 1)] * p + [(None, 1)])
    directions = np.where(np.abs(found.x) > CLEAR, np.sign(found.x), 0).astype(np.int64)
    return Separation(bool(-most.fun > CLEAR), directions)
