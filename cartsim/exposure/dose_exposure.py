"""Exposure against the dose that was infused: regression of ln exposure on dose with covariates (KarMMa-3, Figure 1).

KarMMa-3's analysis found no strong association of actual dose and AUC0-28 (Wu 2025, doi:10.1002/jcph.70075).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.errors import InputError, brief, check_level
from cartsim.exposure.covariates import Covariate
from cartsim.exposure.data import EXPOSURES, ExposureData

if TYPE_CHECKING:
    import pandas as pd

SCALES = ("log", "linear")
"""Of the dose: with "log" its coefficient is the exponent b of exposure ~ dose**b, 1 where exposure is proportional."""


@dataclass(frozen=True, eq=False)
class DoseExposure:
    """The regression of ln exposure on dose and covariates.

    Attributes
    ----------
    exposure, scale, level
        As they were given.
    estimates
        A row a term: ``term``, ``estimate``, ``std_error``, ``low``, ``high`` (Student's t), ``pvalue``.
    reference
        The reference patient: the value of each term beside the dose.
    r2, n
        Share of the variance of ln exposure that is explained, and patients.
    observed
        ``dose`` (cells) and ``exposure`` of these patients.
    """

    exposure: str
    scale: str
    level: float
    estimates: pd.DataFrame
    reference: dict[str, float]
    r2: float
    n: int
    observed: pd.DataFrame
    fit: Any

    def curve(self, doses: ArrayLike | None = None) -> pd.DataFrame:
        """Exposure of the reference patient against dose.

        Parameters
        ----------
        doses
            (d,) Cells; by default 60 over the doses that were infused.

        Returns
        -------
        pandas.DataFrame
            ``dose``; ``exposure``, its geometric mean, with limits ``low`` and ``high`` of that mean, and
            ``patient_low`` and ``patient_high``, between which a single such patient lies.
        """
        import pandas as pd

        dose = self.observed["dose"]
        x = np.linspace(dose.min(), dose.max(), 60) if doses is None else np.atleast_1d(np.asarray(doses, float))
        fixed = [np.full(x.size, value) for value in self.reference.values()]
        design = np.column_stack([np.ones(x.size), _scaled(x, self.scale), *fixed])
        found = self.fit.get_prediction(design).summary_frame(1 - self.level)
        names = ("mean", "mean_ci_lower", "mean_ci_upper", "obs_ci_lower", "obs_ci_upper")
        columns = ("exposure", "low", "high", "patient_low", "patient_high")
        return pd.DataFrame({"dose": x} | {c: np.exp(found[n].to_numpy()) for c, n in zip(columns, names, strict=True)})

    @property
    def text(self) -> str:
        """What dose says of exposure, in one sentence."""
        row, name = self.estimates.iloc[1], EXPOSURES.get(self.exposure, self.exposure).split(" (")[0]
        if self.scale == "log":
            what = f"{name} ~ dose^{row['estimate']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
            held = "hold" if row["low"] <= 1 <= row["high"] else "do not hold"
            return f"{what}; the limits {held} 1, proportionality to dose; R² {self.r2:.2f}, n = {self.n}"
        each = 100 * np.expm1(row[["estimate", "low", "high"]].to_numpy(float))
        return (
            f"{name} changes by {each[0]:.0f} % ({each[1]:.0f} to {each[2]:.0f}) with 100e6 cells more; "
            f"R² {self.r2:.2f}, n = {self.n}"
        )


def dose_exposure(
    data: ExposureData,
    exposure: str = "auc028",
    covariates: Sequence[str | Covariate] = (),
    *,
    scale: str = "log",
    reference: Mapping[str, float] | None = None,
    level: float = 0.95,
) -> DoseExposure:
    """Regress ln exposure on the dose infused and covariates (least squares, statsmodels).

    Parameters
    ----------
    data
        With a column ``dose`` in cells.
    exposure
        A column of positive numbers. Patients without it, a dose or a covariate are left out.
    covariates
        Columns, or how they are coded.
    scale
        "log": of ln dose; "linear": of the dose, in 100e6 cells.
    reference
        Values of covariates of the reference patient; by default the median, of 0 and 1 the more frequent.
    level
        Of all limits.

    Raises
    ------
    InputError
        For a column that is not there, an exposure or dose of 0 or less, one dose alone, covariates that are constant
        or combinations of each other, and fewer patients than terms.
    """
    import pandas as pd
    from statsmodels.regression.linear_model import OLS

    if scale not in SCALES:
        raise InputError(f"scale is {brief(scale)}; choose from {', '.join(SCALES)}")
    check_level(level)
    name = data.column(exposure, "exposure")
    y, dose = data.numbers(name, "exposure"), data.numbers("dose")
    terms = {term: own for each in covariates for term, own in data.terms(each, np.ones(len(y), bool)).items()}
    design = np.column_stack([np.ones(len(y)), dose, *terms.values()])
    known = np.isfinite(design).all(axis=1) & np.isfinite(y)
    y, design = y[known], design[known]
    for what, values in ((name, y), ("dose", design[:, 1])):
        if (values <= 0).any():
            raise InputError(
                f"{data.source}: {what} of {int((values <= 0).sum())} patients is 0 or less; leave them out"
            )
    design[:, 1] = _scaled(design[:, 1], scale)
    if len(y) <= design.shape[1] or np.linalg.matrix_rank(_standardized(design)) < design.shape[1]:
        raise InputError(
            f"{data.source}: {name} of {len(y)} patients cannot be regressed on dose"
            f"{''.join(f', {term}' for term in terms)}: give several doses, more patients than terms, and no covariate "
            "that is constant or a combination of others"
        )
    middles = {}
    for k, term in enumerate(terms, 2):
        middles[term] = float(np.median(design[:, k]))
        if np.isin(design[:, k], (0, 1)).all():
            middles[term] = float(design[:, k].mean() > 0.5)
    for term in reference or {}:
        if term not in middles:
            raise InputError(
                f"the reference patient has no {brief(term)}; it has {', '.join(middles) or 'a dose only'}"
            )
    fit = OLS(np.log(y), design).fit()
    limits = fit.conf_int(1 - level)
    estimates = pd.DataFrame(
        {
            "term": ["intercept", "ln dose" if scale == "log" else "dose, 100e6 cells", *terms],
            "estimate": fit.params,
            "std_error": fit.bse,
            "low": limits[:, 0],
            "high": limits[:, 1],
            "pvalue": fit.pvalues,
        }
    )
    observed = pd.DataFrame({"dose": dose[known], "exposure": y})
    return DoseExposure(
        name, scale, level, estimates, middles | dict(reference or {}), float(fit.rsquared), len(y), observed, fit
    )


def _scaled(dose: NDArray[np.float64], scale: str) -> NDArray[np.float64]:
    return np.log(dose) if scale == "log" else dose / 1e8


def _standardized(design: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = design.std(axis=0)
    return np.where(spread > 0, (design - design.mean(axis=0)) / np.where(spread > 0, spread, 1), design)
