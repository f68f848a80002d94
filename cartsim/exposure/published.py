"""KarMMa's exposure-response models as data: one published, two surrogates that reproduce published predictions.

They stand in ``models/karmma_er.toml``. With the surrogate of tocilizumab a simulated trial can report CRS requiring
it, which no mechanism here produces; everything that shows a surrogate says so.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from cartsim.endpoints.rates import clopper_pearson, wilson
from cartsim.errors import InputError, brief, choices
from cartsim.exposure.data import ExposureData
from cartsim.files import shipped_data

if TYPE_CHECKING:
    import pandas as pd

NEAR = 0.2  # of the target dose: what KarMMa's infused doses could differ by
POINTS = 64  # of the quadrature over log-normal AUC


@dataclass(frozen=True)
class PublishedModel:
    """One model: logit P = intercept + slope*ln(AUC0-28, or its ratio to a reference) + covariates.

    ``kind`` is "published" or "surrogate". ``covariates`` are coefficients by column of 0 and 1, ``rse`` relative
    standard errors by term where they are published, ``published`` what the paper gives to compare with.
    """

    name: str
    kind: str
    endpoint: str
    title: str
    exposure: str
    intercept: float
    slope: float
    covariates: Mapping[str, float]
    rse: Mapping[str, float]
    published: Mapping[str, Any]
    source: str

    @property
    def relative(self) -> bool:
        """Whether AUC0-28 counts in multiples of a reference."""
        return self.exposure != "ln auc028"

    def probability(
        self, auc028: ArrayLike, *, reference: float | None = None, **covariates: ArrayLike
    ) -> NDArray[np.float64]:
        """Probability of each patient.

        Parameters
        ----------
        auc028
            (n,) day*copies/ug, above 0.
        reference
            Median AUC0-28 at 300e6 cells, of a model that counts in multiples of it.
        covariates
            (n,) each covariate of the model.

        Raises
        ------
        InputError
            Where the reference or a covariate is missing, and for an AUC of 0 or less.
        """
        auc = np.asarray(auc028, float)
        if (auc <= 0).any():
            raise InputError(f"{self.name}: an AUC0-28 of {auc[auc <= 0].flat[0]:g}; give values above 0")
        if self.relative and (reference is None or not reference > 0):
            raise InputError(f"{self.name} counts AUC0-28 in multiples of the median at 300e6 cells; give reference=")
        logit = self.intercept + self.slope * np.log(auc / reference if self.relative and reference else auc)
        for name, coefficient in self.covariates.items():
            if name not in covariates:
                raise InputError(f"{self.name} needs {name} (0 or 1) of each patient; give {name}=")
            logit = logit + coefficient * np.asarray(covariates[name], float)
        return expit(logit)


def published(name: str) -> PublishedModel:
    """One of the models by name. Raises `InputError` for another name."""
    models = published_models()
    if name not in models:
        raise InputError(f"no published exposure-response model {brief(name)}{choices(name, models)}")
    return models[name]


def published_models() -> dict[str, PublishedModel]:
    """All models by name."""
    empty: dict[str, Any] = {"covariates": {}, "rse": {}}
    return {name: PublishedModel(name=name, **empty | entry) for name, entry in _file()["models"].items()}


def published_predictions() -> pd.DataFrame:
    """What the models give in the surrogate population beside what the paper gives.

    A row a model and dose: ``model``, ``kind``, ``title``, ``dose`` (NaN: the patients of KarMMa), ``percent`` by
    quadrature over log-normal AUC0-28, ``published`` percent with Clopper-Pearson limits ``low`` and ``high`` where
    there are counts, and ``difference`` in percentage points.
    """
    import pandas as pd

    about, rows = _file()["about"], []
    for model in published_models().values():
        said = model.published
        if "percent" in said:
            for dose, percent in zip(about["doses"], said["percent"], strict=True):
                rows.append((model, dose, 100 * population_rate(model, dose), percent, np.nan, np.nan))
        else:
            low, high = clopper_pearson(said["responders"], said["patients"])
            percent = 100 * said["responders"] / said["patients"]
            rows.append((model, np.nan, 100 * population_rate(model), percent, 100 * float(low), 100 * float(high)))
    columns = ["model", "dose", "percent", "published", "low", "high"]
    table = pd.DataFrame([(each.name, *rest) for each, *rest in rows], columns=columns)
    table.insert(1, "kind", [each.kind for each, *_ in rows])
    table.insert(2, "title", [each.title for each, *_ in rows])
    return table.assign(difference=table["percent"] - table["published"])


def population_rate(model: PublishedModel, dose: float | None = None) -> float:
    """Mean probability in the surrogate population, by Gauss-Hermite quadrature over its log-normal AUC0-28.

    At a dose its median is in proportion to it; without one all patients are as KarMMa's, around its geometric mean.
    """
    population = _file()["population"]
    points, weights = np.polynomial.hermite_e.hermegauss(POINTS)
    weights = weights / weights.sum()
    middle = population["geometric_mean"] * (1.0 if dose is None else dose / population["reference_dose"])
    auc, reference = middle * np.exp(population["sigma"] * points), population["geometric_mean"]
    if not model.covariates:
        return float(weights @ model.probability(auc, reference=reference))
    share = population["mprotein_high"]
    low, high = (float(weights @ model.probability(auc, reference=reference, mprotein_high=each)) for each in (0, 1))
    return (1 - share) * low + share * high


def published_rates(data: ExposureData, reference: float | None = None) -> pd.DataFrame:
    """What the models say of these patients, by their AUC0-28.

    Parameters
    ----------
    data
        With ``auc028``; models with a covariate that is not there are passed over.
    reference
        Median AUC0-28 at 300e6 cells, for the surrogates; see `reference_auc` for the default.

    Returns
    -------
    pandas.DataFrame
        A row a model, arm (where there are several) and "all": ``model``, ``kind``, ``title``, ``arm``, ``n``,
        ``percent`` (mean probability) with Wilson limits ``low`` and ``high`` of so many patients.
    """
    import pandas as pd

    auc = data.numbers("auc028", "exposure")
    reference = reference_auc(data)[0] if reference is None else reference
    arms = data.frame["arm"].astype(str) if "arm" in data.frame else pd.Series("all", index=data.frame.index)
    groups = {name: (arms == name).to_numpy() for name in dict.fromkeys(arms)} if arms.nunique() > 1 else {}
    rows = []
    for model in published_models().values():
        if not set(model.covariates) <= set(data.frame):
            continue
        given = {name: data.numbers(name) for name in model.covariates}
        known = np.isfinite(np.column_stack([auc, *given.values()])).all(axis=1) & (auc > 0)
        p = np.full(len(auc), np.nan)
        if known.any():
            own = {name: values[known] for name, values in given.items()}
            p[known] = model.probability(auc[known], reference=reference, **own)
        for arm, rows_of in (groups | {"all": np.ones(len(auc), bool)}).items():
            of = p[rows_of & known]
            if not of.size:
                continue
            low, high = wilson(of.sum(), of.size)
            rates = (100 * float(of.mean()), 100 * float(low), 100 * float(high))
            rows.append((model.name, model.kind, model.title, arm, of.size, *rates))
    return pd.DataFrame(rows, columns=["model", "kind", "title", "arm", "n", "percent", "low", "high"])


def reference_auc(data: ExposureData) -> tuple[float, str]:
    """Median AUC0-28 at 300e6 cells and what it is: of patients within 20 % of this dose, else of all, scaled to it."""
    auc, target = data.numbers("auc028", "exposure"), _file()["population"]["reference_dose"]
    if "dose" not in data.frame:
        return float(np.nanmedian(auc)), "the median of all patients, whose dose is not known"
    dose = data.numbers("dose")
    near = (np.abs(dose / target - 1) <= NEAR) & np.isfinite(auc)
    if near.any():
        return float(np.median(auc[near])), f"the median of {near.sum()} patients infused 300e6 cells (within 20 %)"
    return float(np.nanmedian(auc * target / dose)), "the median of all patients scaled to 300e6 cells"


@cache
def _file() -> dict[str, Any]:
    with open(shipped_data() / "karmma_er.toml", "rb") as file:
        return tomllib.load(file)
