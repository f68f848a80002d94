"""Responders against the others: in which parameters they differ, and how well these tell them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.errors import InputError
from cartsim.population.draws import uniforms
from cartsim.results import Result
from cartsim.sensitivity.endpoint import Function, refuse_failed
from cartsim.sensitivity.ranges import Range, resolved

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False, eq=False)
class Responders(Result):
    """What tells responders from the others (regional sensitivity analysis, and a logistic classifier).

    table, also ``frame``: a row a parameter, the largest ``ks`` first: ``median_responders``, ``median_others``;
    ``ks``, the Kolmogorov-Smirnov distance between the two groups, its ``p`` and ``p_holm`` (adjusted for the number of
    parameters); ``odds_ratio``, ``odds_low``, ``odds_high`` of response for one SD of the parameter (of its
    logarithm where all values are above 0) with the others held, from one logistic regression.
    auc: of that regression, on the same patients. note: why there are no odds ratios, else "".
    """

    what = "responders"
    table: pd.DataFrame
    n_responders: int
    n_others: int
    auc: float
    note: str
    made_by: dict[str, Any] = field(default_factory=dict)

    @property
    def frame(self) -> pd.DataFrame:
        """A row a parameter."""
        return self.table

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why there are no odds ratios, if there are none."""
        return (self.note,) if self.note else ()

    def _title(self) -> str:
        groups = f"{self.n_responders:,} responders against {self.n_others:,} others"
        return f"{groups}, area under the ROC curve {self.auc:.3g}"


def responders(table: pd.DataFrame, response: ArrayLike, *, level: float = 0.95) -> Responders:
    """Monte Carlo filtering: which parameters differ between patients that respond and those that do not.

    table: a row a patient, a column a parameter or covariate (such as the columns of ``TrialResult.patients``
    that vary); response (n,): true or false. Raises `InputError` for shapes that do not fit, values that are
    missing or do not vary, and fewer than 10 patients in either group. Where the groups separate perfectly or
    the regression does not converge, `note` says so.
    """
    import pandas as pd
    from scipy.stats import ks_2samp
    from statsmodels.stats.multitest import multipletests

    given = np.asarray(response)
    if given.shape != (len(table),) or not np.isin(given, (0, 1)).all():
        raise InputError(f"response has shape {given.shape}; give true or false for each of {len(table)} patients")
    yes = given.astype(bool)
    if min(yes.sum(), (~yes).sum()) < 10:
        raise InputError(
            f"{yes.sum()} responders and {(~yes).sum()} others; give at least 10 of each, or another response"
        )
    rows = []
    for name in table.columns:
        values = table[name].to_numpy(float)
        if not np.isfinite(values).all() or np.ptp(values) == 0:
            raise InputError(f"{name} has missing values or does not vary; leave it out")
        test = ks_2samp(values[yes], values[~yes])
        rows.append((name, np.median(values[yes]), np.median(values[~yes]), test.statistic, test.pvalue))
    found = pd.DataFrame(rows, columns=["parameter", "median_responders", "median_others", "ks", "p"])
    found["p_holm"] = multipletests(found["p"], method="holm")[1]
    odds, auc, note = _logistic(table, yes, level)
    for name, column in zip(("odds_ratio", "odds_low", "odds_high"), odds, strict=True):
        found[name] = column
    found = found.sort_values("ks", ascending=False, kind="stable", ignore_index=True)
    return Responders(found, int(yes.sum()), int((~yes).sum()), auc, note)


def filtered(
    function: Function,
    ranges: Mapping[str, Range] | Sequence[str],
    threshold: float,
    n: int = 2000,
    *,
    seed: int = 2021,
) -> Responders:
    """Monte Carlo filtering of n parameter sets drawn from ranges: those with the endpoint at or above a threshold
    against the others.

    The draws are addressed by seed, parameter and number, so a larger n keeps the earlier sets. Raises as
    `responders`, `FailedRuns` for runs that failed, and `InputError` for a curve.
    """
    import pandas as pd

    if function.times is not None:
        raise InputError(f"{function.name} is a curve; a response is judged by one number, such as OUTPUT@DAY")
    box = resolved(function, ranges)
    if not box:
        raise InputError("no parameters are named; name at least one to vary")
    table = pd.DataFrame({name: each.at(uniforms(seed, f"sensitivity/{name}", 0, n)) for name, each in box.items()})
    values = function(table)
    refuse_failed(function, table, values)
    found = responders(table, values >= threshold)
    return replace(found, made_by=function.made_by | {"threshold": threshold, "n": n, "seed": seed})


def _logistic(table: pd.DataFrame, yes: NDArray[np.bool_], level: float) -> tuple[NDArray[np.float64], float, str]:
    """Odds ratios and limits (3, parameters), area under the ROC curve, and what went wrong."""
    import warnings

    import statsmodels.api as sm
    from scipy.stats import mannwhitneyu

    x = table.to_numpy(float)
    positive = (x > 0).all(axis=0)
    x = np.where(positive, np.log(np.where(positive, x, 1.0)), x)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    none = np.full((3, x.shape[1]), np.nan)
    if np.linalg.matrix_rank(x) < x.shape[1]:
        return none, np.nan, "some parameters follow from others, so there is no logistic regression; leave them out"
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # of separation and convergence, which are looked at below
            fit = sm.Logit(yes, sm.add_constant(x)).fit(disp=0)
            chance = fit.predict()
            limits = fit.conf_int(alpha=1 - level)[1:]
    except np.linalg.LinAlgError as problem:
        return none, np.nan, f"the logistic regression failed: {problem}"
    auc = float(mannwhitneyu(chance[yes], chance[~yes]).statistic / (yes.sum() * (~yes).sum()))
    if auc == 1:
        return none, auc, "the parameters separate the groups perfectly, so there are no finite odds ratios"
    if not fit.mle_retvals["converged"]:
        return none, auc, "the logistic regression did not converge, so there are no odds ratios"
    return np.exp(np.vstack([fit.params[1:], limits.T])), auc, ""
