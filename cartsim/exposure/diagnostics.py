"""How well a model of an outcome fits: likelihood-ratio test, Hosmer-Lemeshow test, and the ROC curve.

All are of the patients to whom the model was fitted, who flatter it; patients of another trial do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, ndtri

from cartsim.endpoints.survival import Estimate
from cartsim.errors import InputError, brief, check_level, whole
from cartsim.exposure.model import ExposureModel
from cartsim.exposure.quartiles import quantile_groups

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ChiSquared:
    """A test: its statistic, degrees of freedom and p-value."""

    statistic: float
    df: int
    p: float


def likelihood_ratio(larger: ExposureModel, smaller: ExposureModel) -> ChiSquared:
    """Test of the parameters that the smaller of two nested models lacks.

    Raises
    ------
    InputError
        For models of different patients or outcomes, of the same size, or by a penalized likelihood. That they are
        nested is for the caller to know: a linear model in the logarithm of exposure is in no Emax model.
    """
    a, b = larger.design, smaller.design
    if a.outcome != b.outcome or len(a.y) != len(b.y) or (a.rows != b.rows).any():
        raise InputError(
            f"the models are of {len(a.y)} and {len(b.y)} patients or of two outcomes; fit both to the same patients"
        )
    df = len(larger.theta) - len(smaller.theta)
    if df < 1 or "maximum likelihood" not in {larger.method} & {smaller.method}:
        raise InputError(
            f"{len(larger.theta)} parameters by {larger.method} against {len(smaller.theta)} by {smaller.method}; give "
            "the larger model first, both by maximum likelihood"
        )
    statistic = max(0.0, 2 * (larger.loglik - smaller.loglik))
    return ChiSquared(statistic, df, float(chdtrc(df, statistic)))


@dataclass(frozen=True, eq=False)
class HosmerLemeshow:
    """Observed against expected events in groups of about equal size by predicted probability.

    ``table``: a row a group with n, lowest and highest probability, observed and expected events.
    """

    test: ChiSquared
    table: pd.DataFrame


def hosmer_lemeshow(y: ArrayLike, probability: ArrayLike, groups: int = 10) -> HosmerLemeshow:
    """Hosmer-Lemeshow test of outcomes y (n,) of 0 and 1 against predicted probabilities (n,).

    A small p-value says that the rates predicted are not those observed; with fewer than about 200 patients it seldom
    will. Equal probabilities are in one group, so that there may be fewer groups than asked for.

    Raises
    ------
    InputError
        For arrays of different lengths, and fewer than 3 groups of different probability.
    """
    import pandas as pd

    outcome, p = _pair(y, probability)
    if not whole(groups) or groups < 3:
        raise InputError(f"groups is {brief(groups)}; give a whole number, 3 or more")
    codes = quantile_groups(p, groups)
    n = np.bincount(codes)
    if len(n) < 3:
        raise InputError(f"{len(n)} groups of different probability; the test needs 3 or more")
    observed, expected = np.bincount(codes, outcome), np.bincount(codes, p)
    statistic = float(((observed - expected) ** 2 / (expected * (1 - expected / n))).sum())
    table = pd.DataFrame(
        {
            "n": n,
            "lowest": [p[codes == k].min() for k in range(len(n))],
            "highest": [p[codes == k].max() for k in range(len(n))],
            "observed": observed,
            "expected": expected,
        }
    )
    return HosmerLemeshow(ChiSquared(statistic, len(n) - 2, float(chdtrc(len(n) - 2, statistic))), table)


@dataclass(frozen=True, eq=False)
class Roc:
    """ROC curve.

    ``auc``: area with DeLong's limits. ``frame``: a row for each threshold, from none to all above it: threshold,
    sensitivity, specificity.
    """

    auc: Estimate
    frame: pd.DataFrame


def roc(y: ArrayLike, score: ArrayLike, level: float = 0.95) -> Roc:
    """ROC curve of a score (n,), such as a predicted probability, for outcomes y (n,) of 0 and 1.

    Standard error of the area by DeLong, DeLong and Clarke-Pearson (1988, doi:10.2307/2531595); ties count half. It is
    0 where the score parts the outcomes entirely.

    Raises
    ------
    InputError
        For arrays of different lengths, and outcomes that are all the same.
    """
    import pandas as pd
    from scipy.stats import rankdata

    check_level(level)
    outcome, s = _pair(y, score)
    event = outcome == 1
    m, n = int(event.sum()), int((~event).sum())
    if not m or not n:
        raise InputError(f"the outcome is {outcome[0]:g} in all {len(outcome)} patients; a ROC curve needs both")
    # Placements: the share of the other group that a patient's score is above (or below).
    among, own = rankdata(s), np.empty(len(s))
    own[event], own[~event] = rankdata(s[event]), rankdata(s[~event])
    above = (among - own)[event] / n
    below = 1 - (among - own)[~event] / m
    area = float(above.mean())
    variance = sum(float(each.var(ddof=1)) / len(each) for each in (above, below) if len(each) > 1)
    half = float(ndtri(0.5 + level / 2)) * np.sqrt(variance)
    auc = Estimate(area, max(0.0, area - half), min(1.0, area + half), float(np.sqrt(variance)), level)
    thresholds = np.concatenate([[np.inf], np.unique(s)[::-1]])
    sensitivity = 1 - np.searchsorted(np.sort(s[event]), thresholds, side="left") / m
    specificity = np.searchsorted(np.sort(s[~event]), thresholds, side="left") / n
    columns = {"threshold": thresholds, "sensitivity": sensitivity, "specificity": specificity}
    return Roc(auc, pd.DataFrame(columns))


def _pair(y: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats]:
    outcome, s = np.asarray(y, float), np.asarray(score, float)
    if outcome.ndim != 1 or outcome.shape != s.shape or not outcome.size:
        raise InputError(
            f"outcomes and scores have shapes {outcome.shape} and {s.shape}; give one value a patient of each"
        )
    if not np.isin(outcome, (0, 1)).all() or np.isnan(s).any():
        raise InputError("outcomes are 0 and 1 and scores are numbers, one for each patient; leave out those without")
    return outcome, s
