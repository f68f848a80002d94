"""Logistic regression with a maximum effect of exposure: the sigmoid Emax model on the logit.

Its likelihood can have more than one maximum, or none: it may go on rising as EC50 leaves the data (no plateau is
seen, and the model becomes one without a maximum effect) or as H grows (a step between two patients). So the search
begins from many values of EC50 and H, and ends with a verdict whether the parameters can be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from cartsim.errors import InputError, brief, check_level
from cartsim.exposure.covariates import Covariate
from cartsim.exposure.curves import EmaxCurve, Scaling
from cartsim.exposure.design import Design, read_design
from cartsim.exposure.likelihood import Objective, likelihood, maximum, penalized_emax
from cartsim.exposure.logistic import check_independent, maximum_likelihood, separated_words
from cartsim.exposure.model import ExposureModel, reported, wald_limits
from cartsim.exposure.profile import profile_limits
from cartsim.exposure.separation import Separation
from cartsim.version import __version__

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

LIMITS = ("wald", "profile")
METHODS = ("ml", "firth")
LARGEST_RSE = 100.0
"""Percent; estimates of EC50, H and Emax that are less sure are said to be poorly determined."""

LINEAR = "take the linear model"
"""What a fit offers whose parameters cannot be told."""

_BEYOND = np.log(1000.0)  # how far from the exposures EC50 is sought
_STEEPEST = np.log(30.0)  # and H from 1
_STRONGEST = 30.0  # logits: a probability within 1e-13 of 0 or 1
_STARTS = 4  # of the grid's best that are climbed from


def fit_emax(
    data: pd.DataFrame,
    outcome: str,
    exposure: str,
    covariates: Sequence[str | Covariate] = (),
    *,
    hill: float | None = 1.0,
    method: str = "ml",
    limits: str = "profile",
    level: float = 0.95,
) -> ExposureModel:
    """Fit logit p = E0 + Emax x^H/(EC50^H + x^H) + covariates, x the exposure.

    Parameters
    ----------
    data, outcome, covariates
        As in `cartsim.exposure.logistic.fit_linear`.
    exposure
        Column of numbers, 0 or more.
    hill
        H, or None to estimate it. Emax may be negative: exposure then lowers the probability.
    method
        "ml" for maximum likelihood, which has an AIC and in small data too large an Emax; "firth" for a likelihood with
        a penalty of Firth's kind, nearer to the truth in small data.
    limits
        "profile" of the likelihood (or penalized likelihood), infinite where it sets no bound; or "wald" (from the
        observed information, under "firth" Fisher's, of EC50 and H on their logarithms), which is quicker but does not
        hold its level in small data.
    level
        Of the limits.

    Returns
    -------
    ExposureModel
        Its ``identified`` is False, and its warnings say why, where the data do not tell Emax, EC50 and H: no
        maximum of the likelihood, or EC50 outside the exposures. Standard errors are then NaN where there is no
        maximum; take the linear model. A penalty changes nothing of that: where "firth" gives estimates and limits
        although the likelihood alone has no such maximum, they owe to the penalty and ``identified`` is False.

    Raises
    ------
    InputError
        For what `read_design` refuses, H not above 0, and outcomes that covariates separate.
    """
    if hill is not None and (not isinstance(hill, Real) or isinstance(hill, bool) or not 0 < float(hill) < np.inf):
        raise InputError(f"hill is {brief(hill)}; give a number above 0, or None to estimate it")
    if method not in METHODS:
        raise InputError(f"method is {brief(method)}; choose from {', '.join(METHODS)}")
    if limits not in LIMITS:
        raise InputError(f"limits are {brief(limits)}; choose from {', '.join(LIMITS)}")
    check_level(level)
    design = read_design(data, outcome, exposure, covariates, log=False)
    return fit_design(design, hill, method=method, limits=limits, level=level)


def fit_design(
    design: Design, hill: float | None = 1.0, *, method: str = "ml", limits: str = "wald", level: float = 0.95
) -> ExposureModel:
    """`fit_emax` of patients that were read before."""
    logs = np.log(design.x[design.x > 0])
    shape = ("E0", "Emax", "EC50") + (() if hill is not None else ("H",))
    curve = EmaxCurve((*shape, *design.terms), hill, float(logs.mean()), Scaling.of(design.z))
    inputs = curve.inputs(design.x, design.z)
    _check_covariates(inputs[:, 1:], design)
    plain = objective = likelihood(curve, design.y, inputs)
    theta, reached, far = _search(plain, curve, design, inputs)
    unseen: tuple[str, ...] = () if reached else (_no_maximum(curve, far, logs),)
    if reached and not _inside(curve, theta, logs):
        unseen = (_outside(curve, theta, logs),)
    fitted = "maximum likelihood"
    if method == "firth":
        fitted = "Firth's penalized likelihood"
        # A penalized likelihood nearly always has a maximum: what the data tell is judged without the penalty.
        unseen = tuple(f"without the penalty {each}" for each in unseen)
        objective = penalized_emax(curve, design.y, inputs)
        theta, reached, _ = _search(objective, curve, design, inputs)
        if not reached:
            unseen = (*unseen, f"Firth's penalized likelihood has no maximum within reason; {LINEAR}")
        elif not unseen and not _inside(curve, theta, logs):
            unseen = (_outside(curve, theta, logs),)
    spread = np.full((len(theta), len(theta)), np.nan)
    if reached:
        information = _fisher(curve, theta, inputs) if method == "firth" else plain(theta)[2]
        spread = np.asarray(np.linalg.inv(information), dtype=np.float64)
    wald, p = wald_limits(curve, theta, spread, level)
    p[1] = np.nan
    if reached and limits == "profile":
        ends = np.where(curve.positive[:, None], _box(curve, inputs), np.nan)
        wald = profile_limits(objective, theta, spread, curve.transform, level, ends)
        wald = reported(curve, wald + curve.offset[:, None])
    made_by: dict[str, Any] = {
        "model": "Emax logit", "hill": hill, "method": method, "limits": limits, "level": level, "cartsim": __version__
    }  # fmt: skip
    notes = (*(unseen or _weak(curve, theta, spread)), *design.notes, *design.events_warning(len(theta) - 1))
    by = "profile" if limits == "profile" else "Wald"
    return ExposureModel(
        design, curve, theta, spread, -plain(theta)[0], fitted, wald, by, p, level, notes, not unseen, made_by
    )


def _fisher(curve: EmaxCurve, theta: Floats, inputs: Floats) -> Floats:
    """(p, p) Fisher's information."""
    eta, jacobian = curve.logit(theta, inputs)
    found: Floats = jacobian.T @ (jacobian * (expit(eta) * expit(-eta))[:, None])
    return found


def _check_covariates(z: Floats, design: Design) -> None:
    """Raise `InputError` where covariates depend on each other or separate the outcomes."""
    if not z.shape[1]:
        return
    names = ("intercept", *design.terms)
    columns = np.column_stack([np.ones(len(z)), z])
    check_independent(columns, names)
    found = maximum_likelihood(columns, design.y)
    if isinstance(found, Separation):
        raise InputError(f"{separated_words(found, names)}; fit the linear model by Firth's penalized likelihood")


def _search(objective: Objective, curve: EmaxCurve, design: Design, inputs: Floats) -> tuple[Floats, bool, Floats]:
    """The highest likelihood (p,) within reason that many starts lead to, whether it is a maximum, and where the
    likelihood is as high or higher (p,) if it is not.
    """
    starts = sorted(_starts(curve, design.y, inputs), key=lambda each: objective(each)[0])[:_STARTS]
    climbed = [maximum(objective, start) for start in starts]
    low, high = np.transpose(_box(curve, inputs))
    within = [(theta, reached) for theta, reached in climbed if ((low < theta) & (theta < high)).all()]
    theta, reached = min([*within, (starts[0], False)], key=lambda each: objective(each[0])[0])
    far = min((each for each, _ in climbed), key=lambda each: objective(each)[0])
    return theta, reached and objective(theta)[0] <= objective(far)[0] + 1e-6, far


def _starts(curve: EmaxCurve, y: Floats, inputs: Floats) -> list[Floats]:
    """Parameters to begin from: of a grid of EC50 and H, with the best E0, Emax and covariates for each."""
    logs = inputs[np.isfinite(inputs[:, 0]), 0]
    width = float(logs.max() - logs.min())
    middles = [logs.min() - width / 2, *np.quantile(logs, [0.05, 0.2, 0.4, 0.6, 0.8, 0.95]), logs.max() + width / 2]
    steep = [curve.hill] if curve.hill is not None else [0.5, 1.0, 2.0, 5.0, 12.0]
    found = []
    for middle in middles:
        for h in steep:
            columns = np.column_stack([np.ones(len(y)), expit(h * (inputs[:, 0] - middle)), inputs[:, 1:]])
            beta = _newton(columns, y)
            shape = [middle] if curve.hill is not None else [middle, np.log(h)]
            found.append(np.concatenate([beta[:2], shape, beta[2:]]))
    return found


def _newton(columns: Floats, y: Floats) -> Floats:
    """A few of Newton's steps of logistic regression, with a small ridge: to begin from, not to report."""
    beta = np.zeros(columns.shape[1])
    ridge = 1e-3 * np.eye(len(beta))
    for _ in range(6):
        p = expit(columns @ beta)
        information = columns.T @ (columns * (p * (1 - p))[:, None]) + ridge
        beta = beta + np.linalg.solve(information, columns.T @ (y - p) - ridge @ beta)
    return np.clip(beta, -_STRONGEST / 2, _STRONGEST / 2)


def _box(curve: EmaxCurve, inputs: Floats) -> list[tuple[float, float]]:
    """Where each parameter is sought."""
    logs = inputs[np.isfinite(inputs[:, 0]), 0]
    strong = (-_STRONGEST, _STRONGEST)
    shape = [strong, strong, (float(logs.min() - _BEYOND), float(logs.max() + _BEYOND))]
    if curve.hill is None:
        shape.append((-_STEEPEST, _STEEPEST))
    return [*shape, *[strong] * (len(curve.names) - len(shape))]


def _no_maximum(curve: EmaxCurve, far: Floats, logs: Floats) -> str:
    """What a reader is told where the likelihood rises toward the parameters ``far``."""
    if curve.hill is None and far[3] > np.log(10):
        why, remedy = "it rises as H grows without end, to a step between two exposures", "fix H, or "
    elif not _inside(curve, far, logs):
        why, remedy = "it rises as EC50 leaves the exposures", ""
    else:
        why, remedy = "it rises as E0 or Emax grow without end", ""
    return (
        f"the data do not tell the parameters of the Emax model: the likelihood has no maximum, {why}; {remedy}{LINEAR}"
    )


def _inside(curve: EmaxCurve, theta: Floats, logs: Floats) -> bool:
    """Whether EC50 lies within the exposures."""
    return bool(logs.min() <= theta[2] + curve.middle <= logs.max())


def _outside(curve: EmaxCurve, theta: Floats, logs: Floats) -> str:
    """What a reader is told of a maximum at EC50 outside the exposures."""
    middle = theta[2] + curve.middle
    where, unseen = ("above", "plateau") if middle > logs.max() else ("below", "rise")
    given = f"{np.exp(logs.min()):.3g} to {np.exp(logs.max()):.3g}"
    return (
        f"the data do not tell Emax: EC50 ({np.exp(middle):.3g}) is {where} all exposures ({given}), so that no "
        f"{unseen} is seen; {LINEAR}"
    )


def _weak(curve: EmaxCurve, theta: Floats, spread: Floats) -> tuple[str, ...]:
    """What a reader is told of a maximum with large standard errors."""
    se = np.sqrt(np.diag(spread))
    rse = {"Emax": 100 * se[1] / abs(theta[1]), "EC50": 100 * se[2]}
    if curve.hill is None:
        rse["H"] = 100 * se[3]
    poor = ", ".join(f"{name} ({value:.0f} %)" for name, value in rse.items() if value > LARGEST_RSE)
    if poor:
        return (f"poorly determined, relative standard error above {LARGEST_RSE:.0f} %: {poor}; {LINEAR}",)
    return ()
