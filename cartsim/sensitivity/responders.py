"""Responders against the others: in which parameters they differ, and how well these tell them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.errors import InputError, choices
from cartsim.population.draws import uniforms
from cartsim.population.patients import Patients
from cartsim.population.population import Population
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
    among: Mapping[str, Range] | Sequence[str] | Population | Patients,
    threshold: float,
    n: int | None = None,
    *,
    seed: int | None = None,
    names: Sequence[str] | None = None,
) -> Responders:
    """Monte Carlo filtering: parameter sets or patients with the endpoint at or above a threshold against the others.

    Parameters
    ----------
    function
        The endpoint, a number (`cartsim.endpoint`).
    among
        Ranges, from which each parameter is drawn by itself, or names for those of the model's variability; a
        `Population`, which draws all that varies, as it is correlated; or `Patients`.
    threshold
        In the endpoint's unit.
    n
        Sets or virtual patients, 2,000 by default. A larger n keeps the earlier ones.
    seed
        Of sets drawn from ranges, 2021 by default.
    names
        Of a population or patients: the columns that are compared, by default all.

    Raises
    ------
    InputError
        As `responders`, for a curve, patients of another model, and (`FailedRuns`) for runs that failed.
    """
    import pandas as pd

    if function.times is not None:
        raise InputError(f"{function.name} is a curve; a response is judged by one number, such as OUTPUT@DAY")
    if isinstance(among, (Population, Patients)):
        if seed is not None:
            raise InputError(f"seed={seed}: patients have their own; give Population(model, seed={seed})")
        table, shown = _patients(function, among, n, names)
        made = among.about()
    else:
        if names is not None:
            raise InputError("names go with a population or patients; ranges are all compared")
        box = resolved(function, among)[1]
        n, seed = 2000 if n is None else n, 2021 if seed is None else seed
        table = pd.DataFrame({name: each.at(uniforms(seed, f"sensitivity/{name}", 0, n)) for name, each in box.items()})
        shown, made = list(box), {"seed": seed}
    values = function(table)
    refuse_failed(function, table, values)
    found = responders(table[shown], values >= threshold)
    return replace(found, made_by=function.made_by | made | {"threshold": threshold, "n": len(table)})


def _patients(
    function: Function, who: Population | Patients, n: int | None, names: Sequence[str] | None
) -> tuple[pd.DataFrame, list[str]]:
    """The patients with their doses, a row each, and the columns to compare."""
    if who.model != function.model:
        raise InputError(f"{function.name} is not of the patients' model; give endpoint(population.model, ...)")
    if isinstance(who, Patients) and n is not None:
        raise InputError("n goes with a Population; patients are as many as their rows")
    table = who.rows if isinstance(who, Patients) else who.table(0, 2000 if n is None else n)
    shown = who.held if names is None else list(names)
    for name in shown:
        if name not in table:
            raise InputError(f"{name} does not differ between these patients{choices(name, table)}")
    return table, shown


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
