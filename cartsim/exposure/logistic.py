"""Logistic regression in exposure and covariates, linear on the logit."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError, brief, check_level
from cartsim.exposure.covariates import Covariate
from cartsim.exposure.curves import LinearCurve, Scaling
from cartsim.exposure.design import Design, read_design, transformed
from cartsim.exposure.likelihood import maximum, penalized
from cartsim.exposure.model import ExposureModel, wald_limits
from cartsim.exposure.profile import profile_limits, profile_pvalues
from cartsim.exposure.separation import Separation, separation
from cartsim.version import __version__

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

METHODS = ("auto", "ml", "firth")


def fit_linear(
    data: pd.DataFrame,
    outcome: str,
    exposure: str,
    covariates: Sequence[str | Covariate] = (),
    *,
    log: bool = True,
    method: str = "auto",
    level: float = 0.95,
) -> ExposureModel:
    """Fit logit p = intercept + slope ln(exposure) + covariates.

    Parameters
    ----------
    data
        A row a patient; those who lack a value are left out, which the model's warnings say.
    outcome
        Column of 0 and 1.
    exposure
        Column of numbers, above 0 under log.
    covariates
        Columns of numbers (or true/false) or of categories, each an effect on the logit.
    log
        Whether the natural logarithm of exposure is taken.
    method
        "ml" for maximum likelihood (statsmodels), "firth" for Firth's penalized likelihood, whose estimates are
        finite and whose limits are of the profile; "auto" for the second where outcomes are separated, which has no
        maximum of the likelihood, and the first else.
    level
        Of the limits.

    Raises
    ------
    InputError
        For what `read_design` refuses, covariates that are combinations of others, and separated outcomes under "ml".
    """
    if method not in METHODS:
        raise InputError(f"method is {brief(method)}; choose from {', '.join(METHODS)}")
    check_level(level)
    return fit_design(read_design(data, outcome, exposure, covariates, log=log), log=log, method=method, level=level)


def fit_design(design: Design, *, log: bool = True, method: str = "auto", level: float = 0.95) -> ExposureModel:
    """`fit_linear` of patients that were read before."""
    columns = np.column_stack([transformed(design.x, log), design.z])
    curve = LinearCurve(("intercept", "slope", *design.terms), log, Scaling.of(columns))
    inputs = curve.inputs(design.x, design.z)
    check_independent(inputs, curve.names)
    made_by: dict[str, Any] = {"model": "linear logit", "method": method, "level": level, "cartsim": __version__}
    notes = design.notes + design.events_warning(len(curve.names) - 1)
    found = None if method == "firth" else maximum_likelihood(inputs, design.y)
    if isinstance(found, Separation):
        said = separated_words(found, curve.names)
        if method == "ml":
            raise InputError(f"{said}; use Firth's penalized likelihood (method 'firth'), or leave the covariate out")
        notes = (f"{said}; this is a fit by Firth's penalized likelihood", *notes)
    if found is None or isinstance(found, Separation):
        theta, spread, loglik = firth(inputs, design.y)
        objective = penalized(inputs, design.y)
        limits = profile_limits(objective, theta, spread, curve.transform, level)
        p = profile_pvalues(objective, theta, spread, curve.transform)
        fitted, by = "Firth's penalized likelihood", "profile"
    else:
        theta, spread, loglik = found
        limits, p = wald_limits(curve, theta, spread, level)
        fitted, by = "maximum likelihood", "Wald"
    return ExposureModel(design, curve, theta, spread, loglik, fitted, limits, by, p, level, notes, True, made_by)


def maximum_likelihood(columns: Floats, y: Floats) -> tuple[Floats, Floats, float] | Separation:
    """Estimates (p,), covariance (p, p) and log-likelihood of a logistic regression, or what separates the outcomes.

    Columns (n, p) are independent and of about unit size, the intercept among them.
    """
    from statsmodels.discrete.discrete_model import Logit

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of separation and of what did not converge, which is judged below
        try:
            fit = Logit(y, columns).fit(method="newton", maxiter=35, tol=1e-10, disp=False)
            # Newton's steps vanish at a maximum and nowhere else: a maximum that is found is proof that there is one.
            if fit.mle_retvals["converged"] and np.isfinite(fit.bse).all():
                return np.asarray(fit.params), np.asarray(fit.cov_params()), float(fit.llf)
        except np.linalg.LinAlgError:
            pass
    found = separation(columns, y)
    if found is None:
        raise InputError("the fit did not converge although outcomes overlap; look for covariates with extreme values")
    return found


def firth(columns: Floats, y: Floats) -> tuple[Floats, Floats, float]:
    """Estimates (p,) of Firth's penalized likelihood, their covariance (p, p) and the log-likelihood without penalty.

    The covariance is the inverse of Fisher's information, as in R's logistf.
    """
    objective = penalized(columns, y)
    theta, reached = maximum(objective, np.zeros(columns.shape[1]))
    if not reached:
        raise InputError("Firth's penalized likelihood did not converge; use fewer covariates")
    eta = columns @ theta
    spread = np.asarray(np.linalg.inv(objective(theta)[2]), dtype=np.float64)
    return theta, spread, float(y @ eta - np.logaddexp(0, eta).sum())


def penalized_ratio(columns: Floats, y: Floats, tested: slice) -> tuple[float, float]:
    """Minus twice the penalized log-likelihood with the tested columns and without them.

    Without them means coefficients of 0 under the penalty of all columns, as in R's logistf.
    """
    objective = penalized(columns, y)
    start = np.zeros(columns.shape[1])
    others = np.delete(np.eye(columns.shape[1]), tested, axis=1)
    found = [objective(maximum(objective, start, basis)[0])[0] for basis in (None, others)]
    return 2 * found[0], 2 * found[1]


def separated_words(found: Separation, names: Sequence[str]) -> str:
    """What a report says of separated outcomes."""
    running = [name for name, way in zip(names, found.directions, strict=True) if way and name != "intercept"]
    how = "separated" if found.complete else "partly (quasi-completely) separated"
    which = ", ".join(running) or "the covariates"
    return f"outcomes are {how} by {which}: estimates of maximum likelihood are infinite"


def check_independent(columns: Floats, names: Sequence[str]) -> None:
    """Raise `InputError` where a column (n, p) is a combination of those before it."""
    from scipy.linalg import qr

    n, p = columns.shape
    if p > n:
        raise InputError(f"{p} parameters for {n} patients; use fewer covariates")
    diagonal = np.abs(np.diag(qr(columns, mode="r")[0]))
    wrong = np.flatnonzero(diagonal < 1e-10 * np.sqrt(n))
    if wrong.size:
        raise InputError(f"{names[wrong[0]]} is a combination of exposure and the other covariates; leave one out")
