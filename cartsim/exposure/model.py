"""A fitted exposure-response model: what is estimated and how well, and the probabilities that it predicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, ndtr, ndtri

from cartsim.endpoints.survival import Estimate
from cartsim.errors import InputError, brief, check_level, choices
from cartsim.exposure.curves import Curve, EmaxCurve, LinearCurve
from cartsim.exposure.design import Design
from cartsim.results import Result

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class ExposureModel(Result):
    """A logistic model of an outcome in exposure and covariates.

    Attributes
    ----------
    design
        The patients it was fitted to, and how their covariates are coded.
    curve
        Its formula.
    theta
        (p,) estimates as the formula takes them; `values` are those to report.
    spread
        (p, p) their covariance, NaN where the likelihood does not give one.
    loglik
        Log-likelihood at the estimates (without a penalty).
    method
        "maximum likelihood" or "Firth's penalized likelihood".
    limits
        (p, 2) confidence limits of the values.
    limits_by
        "Wald", or "profile" likelihood.
    pvalues
        (p,) of coefficients on the logit, NaN for EC50, H and Emax, which a value of 0 does not make meaningless.
    level
        Of the limits.
    notes
        Sentences that a reader should know.
    identified
        False where the likelihood has no maximum or too flat a one to tell the parameters of an Emax model.
    made_by
        Settings.
    """

    design: Design
    curve: Curve
    theta: Floats
    spread: Floats
    loglik: float
    method: str
    limits: Floats
    limits_by: str
    pvalues: Floats
    level: float
    notes: tuple[str, ...]
    identified: bool
    made_by: Mapping[str, Any]

    what = "exposure-response model"

    @property
    def kind(self) -> str:
        """``linear``, ``Emax`` (H fixed) or ``sigmoid Emax`` (H estimated)."""
        if isinstance(self.curve, LinearCurve):
            return "linear"
        return "Emax" if self.curve.hill is not None else "sigmoid Emax"

    @property
    def shape(self) -> int:
        """How many parameters there are without covariates, they come first."""
        return self.curve.shape

    @property
    def log(self) -> bool:
        """Whether the linear model is in the natural logarithm of exposure."""
        return isinstance(self.curve, EmaxCurve) or self.curve.log

    @property
    def names(self) -> tuple[str, ...]:
        """Of the p parameters: ``intercept`` and ``slope``, or ``E0``, ``Emax``, ``EC50``, ``H``; then covariates."""
        return self.curve.names

    @cached_property
    def values(self) -> Floats:
        """(p,) Estimates."""
        return reported(self.curve, self.curve.transform @ self.theta + self.curve.offset)

    @cached_property
    def covariance(self) -> pd.DataFrame:
        """(p, p) Covariance of the estimates, by name; that of EC50 and H by the delta method."""
        import pandas as pd

        by = self.curve.transform * np.where(self.curve.positive, self.values, 1.0)[:, None]
        return pd.DataFrame(by @ self.spread @ by.T, self.names, self.names)

    @cached_property
    def estimates(self) -> pd.DataFrame:
        """A row a parameter: parameter, estimate, se, rse (percent), low, high, p."""
        import pandas as pd

        se = np.sqrt(np.diag(self.covariance))
        with np.errstate(divide="ignore", invalid="ignore"):
            rse = 100 * se / np.abs(self.values)
        return pd.DataFrame(
            {
                "parameter": self.names,
                "estimate": self.values,
                "se": se,
                "rse": rse,
                "low": self.limits[:, 0],
                "high": self.limits[:, 1],
                "p": self.pvalues,
            }
        )

    @property
    def odds_ratios(self) -> pd.DataFrame:
        """A row for each effect on the logit: term, per (what it is for), odds_ratio, low, high.

        Of the linear model's exposure it is per doubling where its logarithm is taken; an Emax model has none of
        exposure, whose effect depends on where one starts.
        """
        first = 1 if self.kind == "linear" else self.shape
        table = self.estimates.iloc[first:]
        categories = {term for each in self.design.covariates if each.levels for term in each.terms}
        per = ["category" if term in categories else "unit" for term in table["parameter"]]
        by = np.ones(len(table))
        if self.kind == "linear" and self.log:
            per[0], by[0] = "doubling", np.log(2)
        found = table[["parameter"]].rename(columns={"parameter": "term"}).assign(per=per)
        for column, source in (("odds_ratio", "estimate"), ("low", "low"), ("high", "high")):
            found[column] = np.exp(by * table[source])
        return found.reset_index(drop=True)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Estimates, their covariance and odds ratios by file name."""
        covariance = self.covariance.rename_axis("parameter").reset_index()
        return {"estimates.csv": self.estimates, "covariance.csv": covariance, "odds_ratios.csv": self.odds_ratios}

    @property
    def frame(self) -> pd.DataFrame:
        """The estimates."""
        return self.estimates

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know."""
        return self.notes

    @property
    def n(self) -> int:
        """Patients of the fit."""
        return len(self.design.y)

    @property
    def aic(self) -> float:
        """Akaike's information criterion; NaN of a penalized fit, which is no maximum of the likelihood."""
        return 2 * len(self.theta) - 2 * self.loglik if self.method == "maximum likelihood" else float("nan")

    def probabilities(self) -> Floats:
        """(n,) Probability of the event of each patient of the fit."""
        return expit(self.curve.logit(self.theta, self.curve.inputs(self.design.x, self.design.z))[0])

    def predict(self, exposures: ArrayLike, covariates: Mapping[str, Any] | pd.DataFrame | None = None) -> pd.DataFrame:
        """Probability of the event with confidence limits, by the delta method on the logit.

        Parameters
        ----------
        exposures
            (m,) exposures, in the unit of the fit.
        covariates
            Each a value, or one for each exposure. Those not given are the reference patient's: the median of a
            number, the reference category.

        Returns
        -------
        pandas.DataFrame
            m rows: exposure, probability, low, high (limits NaN where the fit gives no covariance).

        Raises
        ------
        InputError
            For exposures that are negative or (of a model in their logarithm) 0, and unknown covariates or values.
        """
        import pandas as pd

        eta, jacobian = self.curve.logit(self.theta, self._inputs(exposures, covariates))
        half = ndtri(0.5 + self.level / 2) * np.sqrt(np.einsum("ij,jk,ik->i", jacobian, self.spread, jacobian))
        x = np.atleast_1d(np.asarray(exposures, float))
        return pd.DataFrame(
            {"exposure": x, "probability": expit(eta), "low": expit(eta - half), "high": expit(eta + half)}
        )

    def mean_probability(
        self, exposures: ArrayLike, covariates: Mapping[str, Any] | pd.DataFrame | None = None
    ) -> Estimate:
        """Mean probability over patients with these exposures and covariates, as in `predict`.

        Its limits, by the delta method on the logit of the mean, are those of the estimates alone: they do not hold
        what patients differ by chance.
        """
        eta, jacobian = self.curve.logit(self.theta, self._inputs(exposures, covariates))
        p = expit(eta)
        mean = float(p.mean())
        gradient = (p * (1 - p)) @ jacobian / len(p)
        se = float(np.sqrt(gradient @ self.spread @ gradient))
        logit, half = np.log(mean / (1 - mean)), ndtri(0.5 + self.level / 2) * se / (mean * (1 - mean))
        return Estimate(mean, float(expit(logit - half)), float(expit(logit + half)), se, self.level)

    def _inputs(self, exposures: ArrayLike, covariates: Mapping[str, Any] | pd.DataFrame | None) -> Floats:
        x = np.atleast_1d(np.asarray(exposures, float))
        needs_log = isinstance(self.curve, LinearCurve) and self.curve.log
        if x.ndim != 1 or not (np.isfinite(x) & ((x > 0) if needs_log else (x >= 0))).all():
            allowed = "above 0" if needs_log else "of 0 or more"
            raise InputError(f"exposures are {brief(exposures)}; give a list of finite ones {allowed}")
        given = {} if covariates is None else {str(name): covariates[name] for name in covariates}
        known = {each.name: each for each in self.design.covariates}
        parts = [np.empty((len(x), 0))]
        for name, covariate in known.items():
            columns = covariate.columns(given.pop(name, covariate.reference))
            if len(columns) not in (1, len(x)) or np.isnan(columns).any():
                raise InputError(
                    f"covariate {name}: give one value, or one for each of {len(x)} exposures, none missing"
                )
            parts.append(np.broadcast_to(columns, (len(x), columns.shape[1])))
        if given and not hasattr(covariates, "columns"):  # a table may have columns of other things
            name = next(iter(given))
            raise InputError(f"covariate {brief(name)} is not in the model{choices(name, known)}")
        return self.curve.inputs(x, np.column_stack(parts))

    @property
    def title(self) -> str:
        """One line: outcome, model, patients, criterion."""
        event = int(self.design.y.sum())
        form = f"{'ln ' if self.log and self.kind == 'linear' else ''}{self.design.exposure}"
        fitted = f"{self.kind} in {form}, {self.method}"
        criterion = "" if np.isnan(self.aic) else f", AIC {self.aic:.1f}"
        return f"{self.design.outcome} by {fitted}: {event} of {self.n} patients{criterion}"

    def _title(self) -> str:
        return self.title


def wald_limits(curve: Curve, theta: Floats, spread: Floats, level: float) -> tuple[Floats, Floats]:
    """Limits (p, 2) of the reported values and p-values (p,) of those on the logit."""
    check_level(level)
    center = curve.transform @ theta + curve.offset
    se = np.sqrt(np.diag(curve.transform @ spread @ curve.transform.T))
    half = ndtri(0.5 + level / 2) * se
    found = np.column_stack([center - half, center + half])
    p = 2 * ndtr(-np.abs(center / se))
    return reported(curve, found), np.where(curve.positive, np.nan, p)


def reported(curve: Curve, values: Floats) -> Floats:
    """Values (p,) or limits (p, 2) with EC50 and H in place of their logarithms."""
    found = values.copy()
    with np.errstate(over="ignore"):  # a limit may be infinite
        found[curve.positive] = np.exp(values[curve.positive])
    return found
