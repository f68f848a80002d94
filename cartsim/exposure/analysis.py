"""A whole exposure-response analysis: quartiles, models, covariates, survival, dose against exposure, prediction.

Sources: the KarMMa exposure-response analysis (linear and Emax models on the logit, covariates by likelihood-ratio
tests, dose-response by exposure in proportion to dose) and that of KarMMa-3 (survival by quartile, Cox regression,
exposure on dose; Wu 2025, doi:10.1002/jcph.70075).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cartsim.errors import InputError
from cartsim.exposure.covariates import Covariate, screen_covariate
from cartsim.exposure.data import ENDPOINTS, EXPOSURES, TIMES, ExposureData, exposure_data
from cartsim.exposure.diagnostics import Roc, hosmer_lemeshow, roc
from cartsim.exposure.dose_exposure import DoseExposure, dose_exposure
from cartsim.exposure.emax import fit_emax
from cartsim.exposure.logistic import fit_linear
from cartsim.exposure.model import ExposureModel
from cartsim.exposure.prediction import (
    DOSES,
    DosePrediction,
    predict_doses,
    simulate_doses,
    validation_table,
)
from cartsim.exposure.published import published_rates, reference_auc
from cartsim.exposure.quartiles import quartile_table
from cartsim.exposure.selection import HILLS, Rules, Selection, select
from cartsim.exposure.time_to_event import (
    QuartileSurvival,
    cox_by_exposure,
    has_times,
    survival_by_quartile,
)
from cartsim.results import Result
from cartsim.version import __version__

if TYPE_CHECKING:
    import pandas as pd

    from cartsim.trial.outcome import TrialResult

SURROGATE = "surrogates are no estimates from patients: they reproduce predictions that the paper prints"


@dataclass(frozen=True, repr=False, eq=False)
class ExposureResponse(Result):
    """What exposure says of one outcome.

    Attributes
    ----------
    data
        The patients; ``frame`` is their table.
    endpoint, exposure, covariates
        Columns of the outcome, the exposure metric, and of what was screened.
    quartiles
        The outcome by quartile of exposure, see `quartile_table`.
    curves
        Models without covariates whose parameters the data tell, by kind.
    selection
        The chosen model, with the covariates that were kept, and every step of the choice.
    evaluation
        What the chosen model gives in its own patients by quartile, see `validation_table`.
    survival
        By endpoint (PFS, DOR), where the times are in the data.
    cox
        Cox regressions of these on ln exposure and the covariates asked for, see `cox_by_exposure`.
    dose
        Regression of exposure on dose; None without several doses.
    prediction
        Rates at each dose; None where doses are not known.
    published
        What the published model and the two surrogates say of these patients, see `published_rates`.
    validation
        A second trial against the model, see `validation_table`; None where not asked for.
    notes
        Sentences that a reader should know.
    """

    what = "exposure-response"
    data: ExposureData
    endpoint: str
    exposure: str
    covariates: tuple[str, ...]
    quartiles: pd.DataFrame
    curves: dict[str, ExposureModel]
    selection: Selection
    evaluation: pd.DataFrame
    survival: dict[str, QuartileSurvival]
    cox: pd.DataFrame
    dose: DoseExposure | None
    prediction: DosePrediction | None
    published: pd.DataFrame
    validation: pd.DataFrame | None
    notes: tuple[str, ...]
    made_by: Mapping[str, Any] = field(default_factory=dict)

    @property
    def frame(self) -> pd.DataFrame:  # type: ignore[override]
        """The patients: exposures, outcomes, times, covariates."""
        return self.data.frame

    @property
    def summary(self) -> pd.DataFrame:
        """The chosen model's estimates."""
        return self.model.estimates

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know."""
        return tuple(dict.fromkeys([*self.notes, *self.selection.warnings]))

    @property
    def model(self) -> ExposureModel:
        """The chosen model; ``summary`` is its estimates."""
        return self.selection.model

    @property
    def roc(self) -> Roc:
        """ROC curve of the chosen model in its own patients, who flatter it."""
        return roc(self.model.design.y, self.model.probabilities())

    def diagnostics(self) -> pd.DataFrame:
        """How well the chosen model fits its own patients: ``measure``, ``value``, ``low``, ``high``, ``pvalue``.

        The area under the ROC curve with DeLong's limits, and Hosmer and Lemeshow's chi-square (a small p-value: rates
        are not as predicted).
        """
        import pandas as pd

        area = self.roc.auc
        rows = [("area under the ROC curve", area.value, area.low, area.high, np.nan)]
        try:
            test = hosmer_lemeshow(self.model.design.y, self.model.probabilities()).test
            rows.append((f"Hosmer-Lemeshow chi-square, {test.df} df", test.statistic, np.nan, np.nan, test.p))
        except InputError:  # too few different probabilities for groups
            pass
        return pd.DataFrame(rows, columns=["measure", "value", "low", "high", "pvalue"])

    @property
    def endpoint_title(self) -> str:
        """The outcome in words."""
        return ENDPOINTS.get(self.endpoint, self.endpoint)

    @property
    def exposure_title(self) -> str:
        """The exposure in words, with its unit."""
        return self.title_of(self.exposure)

    @property
    def exposure_name(self) -> str:
        """The exposure in words."""
        return self.exposure_title.split(" (")[0]

    @staticmethod
    def title_of(exposure: str) -> str:
        """An exposure in words, with its unit."""
        return EXPOSURES.get(exposure, exposure)

    def survival_table(self) -> pd.DataFrame:
        """A row an endpoint and quartile, see `QuartileSurvival.frame`."""
        import pandas as pd

        parts = [each.frame() for each in self.survival.values()]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    def tables(self) -> dict[str, pd.DataFrame]:
        """Every table by the name of its file; those that are empty are left out."""
        tables = {
            "patients.csv": self.frame,
            "estimates.csv": self.model.estimates,
            "quartiles.csv": self.quartiles,
            "models.csv": self.selection.candidates,
            "covariates.csv": self.selection.coding,
            "selection.csv": self.selection.path,
            "diagnostics.csv": self.diagnostics(),
            "evaluation.csv": self.evaluation,
            "survival_by_quartile.csv": self.survival_table(),
            "cox.csv": self.cox,
            "published_models.csv": self.published,
        }
        if self.dose is not None:
            tables |= {"dose_exposure.csv": self.dose.estimates, "dose_exposure_curve.csv": self.dose.curve()}
        if self.prediction is not None:
            tables["dose_response.csv"] = self.prediction.table
        if self.validation is not None:
            tables["validation.csv"] = self.validation
        return {name: table for name, table in tables.items() if len(table)}

    def about(self) -> dict[str, Any]:
        """What exposure_response.json holds."""
        said: dict[str, Any] = {"made_by": dict(self.made_by), "model": self.model.kind, "aic": self.model.aic}
        if self.dose is not None:
            said["exposure_by_dose"] = self.dose.text
        if self.prediction is not None:
            said["dose_response"] = self.prediction.text
        return said | {"surrogates": SURROGATE, "warnings": list(self.warnings)}

    def _title(self) -> str:
        ln = "ln " if self.model.kind == "linear" and self.model.log else ""
        form = f"{self.model.kind} model in {ln}{self.exposure_name}"
        return f"exposure-response of {self.data.source}: {self.endpoint} by {form}, n = {self.model.n}"


def exposure_response(
    source: ExposureData | TrialResult | pd.DataFrame | Mapping[str, Any] | str | Path,
    endpoint: str = "ORR",
    exposure: str = "auc028",
    covariates: Sequence[str] = (),
    *,
    doses: Sequence[float] = DOSES,
    validate: TrialResult | pd.DataFrame | str | Path | None = None,
    simulate: bool = True,
    log: bool = True,
    limits: str = "wilson",
    n_jobs: int = -1,
) -> ExposureResponse:
    """Analyse an outcome by exposure, as KarMMa's and KarMMa-3's exposure-response analyses do.

    Parameters
    ----------
    source
        A trial, the folder of a stored one, a CSV file, or a frame; see `exposure_data`.
    endpoint
        "ORR", "CRR", "VGPR", "MRD_CR", or any column of 0 and 1, such as an adverse event.
    exposure
        "auc028", "cmax", "expansion_rate", "clast", or any column of positive numbers.
    covariates
        Columns that are screened for the model (univariate p < 0.05, forward 0.05, backward 0.01, likelihood-ratio
        tests). Those that are constant, missing in more than 10 % of the patients or rare are left out, which the
        warnings say; the Cox regression and the regression of exposure on dose hold all others.
    doses
        Cells at which the rate is predicted.
    validate
        A second trial, or its data, that the model is tried on.
    simulate
        Also simulate the patients of a trial at each dose, which shows what scaling exposure with dose costs.
    log
        Whether the linear model takes the logarithm of exposure.
    limits
        Of rates by quartile: "wilson", "wald" or "exact".
    n_jobs
        Threads of the simulation.

    Raises
    ------
    InputError
        For columns that are not there, outcomes other than 0 and 1 or the same in all, and exposures of 0 or less under
        log.

    Examples
    --------
    >>> import cartsim as cs
    >>> trial = cs.Trial(cs.Population("bb2121_clinical", seed=1, variability={"burden": cs.uniform(5, 95)}), [450e6])
    >>> found = cs.exposure_response(trial.run(), "CRR", covariates=["burden"])
    >>> found.quartiles["quartile"].tolist()
    ['Q1', 'Q2', 'Q3', 'Q4']
    """
    import pandas as pd

    if isinstance(covariates, str):
        raise InputError(f"covariates are {covariates!r}; give a list of columns, such as ['sex']")
    data = exposure_data(source)
    outcome, name = data.binary(endpoint), data.column(exposure, "exposure")
    asked = tuple(dict.fromkeys(data.column(each, "covariate") for each in covariates))
    second = None if validate is None else exposure_data(validate)
    table = quartile_table(data.numbers(name, "exposure"), data.numbers(outcome), limits=limits)
    notes = list(data.notes)
    selection = select(data.frame, outcome, name, asked, log=log)
    model, coded = selection.model, _coded(data, asked)
    left = selection.coding[~selection.coding["screened"].astype(bool)]
    notes += [f"covariate {row.covariate} is {row.coding}" for row in left.itertuples()]
    survival = {each: survival_by_quartile(data, each, name) for each in TIMES if has_times(data, each)}
    cox = [cox_by_exposure(data, each, name, coded) for each in survival]
    dose = prediction = None
    if "dose" in data.frame and name != "dose":
        try:
            dose = dose_exposure(data, name, coded)
        except InputError as reason:
            notes.append(f"no regression of exposure on dose: {reason}")
        if name != "tmax":
            treated = (
                simulate_doses(data, doses, n_jobs=n_jobs) if simulate and data.trial and outcome in ENDPOINTS else None
            )
            prediction = predict_doses(model, data, doses, simulated=treated)
            notes += prediction.notes
    rates = published_rates(data) if "auc028" in data.frame else pd.DataFrame()
    if len(rates):
        notes.append(f"{SURROGATE}; here their reference AUC0-28 is {reference_auc(data)[1]}")
    return ExposureResponse(
        data=data,
        endpoint=outcome,
        exposure=name,
        covariates=asked,
        quartiles=table,
        curves=_curves(data, selection, log),
        selection=selection,
        evaluation=validation_table(model, data),
        survival=survival,
        cox=pd.concat(cox, ignore_index=True) if cox else pd.DataFrame(),
        dose=dose,
        prediction=prediction,
        published=rates,
        validation=None if second is None else validation_table(model, second),
        notes=tuple(notes),
        made_by={
            "endpoint": outcome,
            "exposure": name,
            "covariates": list(asked),
            "doses": [float(each) for each in np.atleast_1d(doses)],
            "cartsim": __version__,
            **({"trial": data.trial.made_by} if data.trial else {}),
        },
    )


def _coded(data: ExposureData, names: Sequence[str]) -> list[Covariate]:
    """The covariates that can be used, coded as they are screened."""
    rules = Rules()
    found = (screen_covariate(data.frame, name, rare=rules.rare, missing=rules.missing) for name in names)
    return [covariate for covariate, _ in found if covariate is not None]


def _curves(data: ExposureData, selection: Selection, log: bool) -> dict[str, ExposureModel]:
    """Models in exposure alone, the linear one and those of Emax that the data tell."""
    outcome, exposure = selection.model.design.outcome, selection.model.design.exposure
    found = {"linear": fit_linear(data.frame, outcome, exposure, log=log)}
    alone = selection.candidates[selection.candidates["covariates"] == ""]
    for row in alone[alone["identified"].astype(bool)].itertuples():
        if row.model in HILLS:
            found[row.model] = fit_emax(data.frame, outcome, exposure, hill=HILLS[row.model])
    return found
