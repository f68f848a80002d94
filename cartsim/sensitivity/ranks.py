"""Partial rank correlations: how steadily an endpoint rises or falls with a parameter, the others accounted for.

Marino et al. 2008 (doi:10.1016/j.jtbi.2008.04.011): they tell directions, which shares of a variance do not, for any
monotone course; where an endpoint rises and falls again, Sobol and eFAST indices see what ranks do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError, brief, check_level, check_seed, elsewhere, whole
from cartsim.sensitivity.endpoint import Function, OfFunction, along, refuse_failed
from cartsim.sensitivity.indices import LEVEL, constant_at, refuse_constant, table_of
from cartsim.sensitivity.ranges import Range, resolved

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False, eq=False)
class RankCorrelations(OfFunction):
    """Partial rank correlations, see `prcc`.

    Attributes
    ----------
    frame
        A row a parameter (and time): ``time`` for a curve, ``parameter``, ``prcc`` from -1 to 1 with limits ``low`` and
        ``high`` (Fisher's z), ``pvalue`` (Student's t). All are NaN at times at which the output is constant.
    samples, values
        The parameter sets and what the function returned for them, (runs,) or (runs, m).
    """

    what = "rank correlations"
    samples: pd.DataFrame
    values: NDArray[np.float64]

    @property
    def summary(self) -> pd.DataFrame:
        """A row a parameter, the strongest first; of a curve, at the time at which it is strongest."""
        order = self.frame["prcc"].abs().sort_values(ascending=False, kind="stable").index
        return self.frame.loc[order].drop_duplicates("parameter").reset_index(drop=True)

    def _title(self) -> str:
        return f"partial rank correlations with {self.function.name}, {len(self.samples):,} runs"


@elsewhere()
def prcc(
    function: Function | Callable,
    ranges: Mapping[str, Range] | Sequence[str],
    n: int = 500,
    *,
    seed: int = 2021,
    level: float = LEVEL,
) -> RankCorrelations:
    """Partial rank correlation of each parameter with a number or a curve, over a Latin hypercube of n runs.

    Parameters
    ----------
    function, ranges
        As for `cartsim.sobol`.
    n
        Runs, at least four more than there are parameters.
    seed
        Of the Latin hypercube (scipy).
    level
        Of the limits.

    Raises
    ------
    InputError
        Before any run for a bad n, seed or ranges or where no parameter can change the output, and after them where the
        output is constant; `FailedRuns` where a run has no finite result.

    Examples
    --------
    >>> import cartsim as cs
    >>> found = cs.prcc(cs.endpoint("bb2121_clinical", "Cmax"), ["Kexp_max", "Kel_e", "K12"], n=50)
    >>> found.summary["parameter"][0]
    'Kexp_max'
    """
    from scipy.special import ndtri
    from scipy.stats import qmc, rankdata
    from scipy.stats import t as student

    function, box = resolved(function, ranges)
    d = len(box)
    if not whole(n) or n < d + 4:
        raise InputError(
            f"n is {brief(n)}; partial correlations of {d} parameters need a whole number, {d + 4} or more"
        )
    check_seed(seed)
    check_level(level)
    table = table_of(box, qmc.LatinHypercube(d, rng=seed).random(n))
    values = function(table)
    refuse_failed(function, table, values)
    refuse_constant(function, values)
    ranks = rankdata(table.to_numpy(), axis=0)
    columns = values.reshape(n, -1)
    found = np.full((d, columns.shape[1]), np.nan)
    for k in np.flatnonzero(~constant_at(function, values)):
        found[:, k] = [_partial(ranks, i, rankdata(columns[:, k])) for i in range(d)]
    freedom = n - 1 - d  # of a correlation with d - 1 others accounted for
    with np.errstate(divide="ignore"):  # where it is exactly 1 or -1
        half = ndtri(0.5 + level / 2) / np.sqrt(freedom - 1)
        low, high = np.tanh(np.arctanh(found) - half), np.tanh(np.arctanh(found) + half)
        pvalue = 2 * student.sf(np.sqrt(freedom * found**2 / (1 - found**2)), freedom)
    frame = along(function, list(box), {"prcc": found, "low": low, "high": high, "pvalue": pvalue})
    made = {**function.made_by, "method": "prcc", "endpoint": function.name, "n": n, "seed": seed, "level": level}
    return RankCorrelations(frame, function, made, table, values)


def _partial(x: NDArray[np.float64], i: int, y: NDArray[np.float64]) -> float:
    """Correlation of what the other columns leave of column i (n,) and of y: 0 where they leave nothing of y."""
    others = np.column_stack([np.ones(len(x)), np.delete(x, i, axis=1)])
    both = np.column_stack([x[:, i], y])
    left = both - others @ np.linalg.lstsq(others, both, rcond=None)[0]
    size = np.sqrt((left**2).sum(axis=0))
    if size[1] < 1e-9 * np.sqrt((y**2).sum()):
        return 0.0
    return float(np.clip(left[:, 0] @ left[:, 1] / (size[0] * size[1]), -1.0, 1.0))
