"""Dose-response from an exposure-response model, as the KarMMa analysis predicts it, and what its assumption costs.

That analysis scales each patient's AUC0-28 with dose (dose proportionality). Here the same patients can be simulated
at each dose as well: what the model then says of the exposure that they would have had, and how they respond, stand
beside the prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri

from cartsim.endpoints.rates import wilson
from cartsim.endpoints.survival import Estimate
from cartsim.errors import InputError, brief
from cartsim.exposure.data import ENDPOINTS, ExposureData, exposure_data
from cartsim.exposure.quartiles import quartile_codes
from cartsim.model.model import Model
from cartsim.model.reader import load
from cartsim.population.patients import Patients
from cartsim.solver import Solver
from cartsim.trial.outcome import TrialResult
from cartsim.trial.trial import Trial

if TYPE_CHECKING:
    import pandas as pd

    from cartsim.exposure.model import ExposureModel

DOSES = (150e6, 300e6, 450e6)
"""Target doses of KarMMa, cells."""

WAYS = {
    "assumed": "exposure in proportion to dose (assumption of the KarMMa analysis)",
    "by model": "exposure as simulated at each dose, response by the fitted model",
    "simulated": "exposure and response as simulated at each dose",
}
"""How a rate at a dose is come by."""


@dataclass(frozen=True, eq=False)
class DosePrediction:
    """Rates at each dose, come by in several ways.

    Attributes
    ----------
    table
        A row a dose and way (`WAYS`): ``dose``, ``way``, ``n``, ``median_exposure``, ``events`` (of n, expected or
        counted) and ``percent`` with ``low`` and ``high``: of a model the limits of the mean from its estimates, of a
        simulated response Wilson's. ``gap`` is percent of "assumed" less that of this way, in points, with
        ``gap_low`` and ``gap_high`` from the estimates, of the same patients.
    slope
        Exponent b of exposure ~ dose**b within patients, as simulated; the assumption is 1. NaN without a simulation.
    notes
        Who was left out, and what differs from the trial.
    """

    table: pd.DataFrame
    slope: Estimate
    notes: tuple[str, ...]

    def words(self, way: str) -> str:
        """How a rate of this way is come by."""
        return WAYS[way]

    @property
    def text(self) -> str:
        """What the assumption costs, in one sentence; "" without a simulation."""
        own = self.table[self.table["way"] == "by model"]
        if own.empty or len(self.table["dose"].unique()) < 2:
            return ""
        first, last = (self.table[self.table["dose"] == dose] for dose in own["dose"].iloc[[0, -1]])
        rise = {way: _of(last, way, "percent") - _of(first, way, "percent") for way in self.table["way"].unique()}
        low, high = own["dose"].iloc[0] / 1e6, own["dose"].iloc[-1] / 1e6
        return (
            f"From {low:g}e6 to {high:g}e6 cells the assumption of proportional exposure predicts a rise of "
            f"{rise['assumed']:.1f} points; with exposure as simulated (~ dose^{self.slope.value:.2f}) the same model "
            f"predicts {rise['by model']:.1f}, and response as simulated changes by {rise['simulated']:.1f}"
        )


def predict_doses(
    model: ExposureModel,
    data: ExposureData,
    doses: Sequence[float] = DOSES,
    *,
    simulated: TrialResult | None = None,
) -> DosePrediction:
    """Predict rates at several doses from a fitted exposure-response model.

    Parameters
    ----------
    model
        Fitted to these data, or to others with the same columns.
    data
        With ``dose``, the exposure and the model's covariates; patients who lack one are left out.
    doses
        Cells.
    simulated
        The same patients at each of these doses, as `simulate_doses` gives them.

    Raises
    ------
    InputError
        Where the dose, the exposure or a covariate is not known of anybody, for doses of 0 or less, and for an exposure
        that scaling with dose makes no sense of (Tmax, the dose itself).
    """
    import pandas as pd

    wanted = np.atleast_1d(np.asarray(doses, float))
    if not wanted.size or not (np.isfinite(wanted) & (wanted > 0)).all():
        raise InputError(f"doses are {brief(doses)}; give cells above 0, such as 150e6,300e6,450e6")
    name = data.column(model.design.exposure, "exposure")
    if name in ("tmax", "dose"):
        raise InputError(f"{name} does not rise with dose as an exposure does; predict from auc028, cmax or clast")
    exposure, dose = data.numbers(name, "exposure"), data.numbers("dose")
    z = _covariates(model, data.frame)
    known = np.isfinite(np.column_stack([exposure, dose, z])).all(axis=1) & (exposure > 0) & (dose > 0)
    notes = []
    own = None if simulated is None else _exposures(simulated, data, name, model.design.outcome, wanted)
    if own is not None:
        seen = (np.isfinite(own[0]) & (own[0] > 0)).all(axis=1)
        if n := int((known & ~seen).sum()):
            left = f"{n} of {int(known.sum())} patients without {name} at some dose"
            notes.append(f"{left} are left out of the prediction by dose")
        known &= seen
    if not known.any():
        raise InputError(f"{data.source}: nobody has a dose, {name} and every covariate; nothing to predict from")
    rows = []
    for k, each in enumerate(wanted):
        scaled = exposure[known] * each / dose[known]
        assumed = _mean(model, scaled, z[known])
        rows.append({"dose": each, "way": "assumed", "median_exposure": np.median(scaled)} | _rate(model, assumed))
        if own is None:
            continue
        found, responded = own[0][known, k], own[1][known, k]
        by_model = _mean(model, found, z[known])
        rows.append(
            {"dose": each, "way": "by model", "median_exposure": np.median(found)}
            | _rate(model, by_model)
            | _gap(model, assumed, by_model)
        )
        low, high = (100 * float(limit) for limit in wilson(responded.sum(), responded.size, model.level))
        percent = 100 * float(responded.mean())
        rates = {"percent": percent, "low": low, "high": high, "gap": 100 * assumed[0] - percent}
        rows.append({"dose": each, "way": "simulated", "median_exposure": np.median(found)} | rates)
    table = pd.DataFrame(rows)
    table.insert(2, "n", int(known.sum()))
    table.insert(4, "events", table["percent"] * table["n"] / 100)
    slope = Estimate(np.nan, np.nan, np.nan) if own is None else _slope(own[0][known], wanted)
    return DosePrediction(table, slope, tuple(notes))


def simulate_doses(
    data: ExposureData, doses: Sequence[float] = DOSES, *, model: Model | None = None, n_jobs: int = -1
) -> TrialResult:
    """Treat the trial's own patients with each dose: the same parameters, covariates and noise in every arm.

    Parameters
    ----------
    data
        Of a trial.
    doses
        Cells, each once.
    model
        The model of the trial; by default the shipped one of its name, with the trial's typical values.
    n_jobs
        Threads.

    Raises
    ------
    InputError
        For data without a trial, a trial of a model that is not shipped or was changed since, and doses that cannot be.
    """
    trial = data.trial
    if trial is None:
        raise InputError(f"{data.source}: these patients cannot be simulated; give a trial or the folder of one")
    made = trial.made_by
    model = _model_of(made) if model is None else model
    table = data.frame.drop_duplicates("id")
    names = [name for name in table if name in model.parameters and model.parameters[name].role != "constant"]
    solver = Solver(float(made.get("rtol", Solver().rtol)), made.get("extinction"))
    patients = Patients(model, table[["id", *names]], int(made.get("seed", 2021)))
    arms = list(map(float, np.atleast_1d(np.asarray(doses, float))))
    return Trial(patients, arms, protocol=trial.protocol, solver=solver, curves=0).run(keep_visits=False, n_jobs=n_jobs)


def validation_table(model: ExposureModel, data: ExposureData, *, groups: int = 4) -> pd.DataFrame:
    """External validation: what a model fitted elsewhere predicts of these patients, against what was observed.

    Returns
    -------
    pandas.DataFrame
        A row a quartile of these patients' exposure and one for "all": ``quartile``, ``n``, ``median_exposure``,
        ``events`` and ``observed`` percent with Wilson limits ``observed_low`` and ``observed_high``; ``predicted``
        percent with limits of the mean from the estimates, ``predicted_low`` and ``predicted_high``; and ``z``, the
        difference in standard errors, of the estimates and of so many patients together (beyond 2: the model does not
        hold for them).

    Raises
    ------
    InputError
        For data without the outcome, the exposure or a covariate of the model.
    """
    import pandas as pd

    outcome = data.binary(model.design.outcome)
    exposure, y = data.numbers(model.design.exposure, "exposure"), data.numbers(outcome)
    z = _covariates(model, data.frame)
    known = np.isfinite(np.column_stack([exposure, y, z])).all(axis=1) & (exposure > 0)
    if not known.any():
        raise InputError(f"{data.source}: nobody has {outcome}, {model.design.exposure} and every covariate")
    exposure, y, z = exposure[known], y[known], z[known]
    codes = quartile_codes(exposure, groups)
    parts = {f"Q{k + 1}": codes == k for k in range(codes.max() + 1)} | {"all": np.ones(len(y), bool)}
    rows = []
    for name, own in parts.items():
        n, events = int(own.sum()), int(y[own].sum())
        low, high = wilson(events, n, model.level)
        found = _mean(model, exposure[own], z[own])
        predicted = _rate(model, found)
        chance = float(found[2].sum()) / n**2  # variance of the observed share, given the probabilities
        spread = float(found[1] @ model.spread @ found[1]) + chance
        rows.append(
            {
                "quartile": name,
                "n": n,
                "median_exposure": float(np.median(exposure[own])),
                "events": events,
                "observed": 100 * events / n,
                "observed_low": 100 * float(low),
                "observed_high": 100 * float(high),
                "predicted": predicted["percent"],
                "predicted_low": predicted["low"],
                "predicted_high": predicted["high"],
                "z": (events / n - found[0]) / np.sqrt(spread),
            }
        )
    return pd.DataFrame(rows)


_Mean = tuple[float, NDArray[np.float64], NDArray[np.float64]]


def _covariates(model: ExposureModel, frame: pd.DataFrame) -> NDArray[np.float64]:
    """(n, q) Columns of the model's covariates, coded as in its fit."""
    missing = [each.name for each in model.design.covariates if each.name not in frame]
    if missing:
        raise InputError(f"the model needs {', '.join(missing)}, which these data do not have")
    parts = [each.columns(frame[each.name]) for each in model.design.covariates]
    return np.column_stack([np.empty((len(frame), 0)), *parts])


def _mean(model: ExposureModel, exposure: NDArray[np.float64], z: NDArray[np.float64]) -> _Mean:
    """Mean probability, its derivatives by the estimates (p,), and each patient's variance p(1 - p)."""
    eta, jacobian = model.curve.logit(model.theta, model.curve.inputs(exposure, z))
    p = expit(eta)
    return float(p.mean()), (p * (1 - p)) @ jacobian / len(p), p * (1 - p)


def _rate(model: ExposureModel, found: _Mean) -> dict[str, float]:
    """Percent with limits from the estimates, by the delta method on the logit of the mean."""
    mean, gradient, _ = found
    se = np.sqrt(gradient @ model.spread @ gradient)
    half = ndtri(0.5 + model.level / 2) * se / (mean * (1 - mean))
    low, high = (100 * float(expit(logit(mean) + sign * half)) for sign in (-1, 1))
    return {"percent": 100 * mean, "low": low, "high": high}


def _gap(model: ExposureModel, assumed: _Mean, other: _Mean) -> dict[str, float]:
    """Difference of two means of the same patients under one model, points, with limits from the estimates."""
    gradient = assumed[1] - other[1]
    half = 100 * float(ndtri(0.5 + model.level / 2) * np.sqrt(gradient @ model.spread @ gradient))
    gap = 100 * (assumed[0] - other[0])
    return {"gap": gap, "gap_low": gap - half, "gap_high": gap + half}


def _exposures(
    simulated: TrialResult, data: ExposureData, exposure: str, outcome: str, doses: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Exposure and outcome (n, d) of each patient of the data at each dose; NaN where it has none."""
    if outcome not in ENDPOINTS:
        raise InputError(f"{outcome} is not simulated; there are {', '.join(ENDPOINTS)}")
    found = [np.full((len(data.frame), len(doses)), np.nan) for _ in range(2)]
    judged = exposure_data(simulated).frame
    for k, dose in enumerate(doses):
        at = judged[judged["dose"] == dose].set_index("id").reindex(data.frame["id"])
        found[0][:, k], found[1][:, k] = at[exposure].to_numpy(float), at[outcome].to_numpy(float)
    return found[0], found[1]


def _slope(exposures: NDArray[np.float64], doses: NDArray[np.float64]) -> Estimate:
    """Exponent of exposure ~ dose**b within patients, the mean over them with normal limits."""
    if len(doses) < 2:
        return Estimate(np.nan, np.nan, np.nan)
    x = np.log(doses) - np.log(doses).mean()
    each = np.log(exposures) @ x / (x @ x)
    half = ndtri(0.975) * float(each.std(ddof=1)) / np.sqrt(len(each)) if len(each) > 1 else np.nan
    return Estimate(float(each.mean()), float(each.mean()) - half, float(each.mean()) + half)


def _model_of(made: dict[str, Any]) -> Model:
    """The model of a trial, by its name, checked to be the same, with the typical values that the trial had."""
    name = str(made.get("model"))
    give = "give model=, the model of the trial"
    try:
        model = load(name)
    except InputError:
        raise InputError(f"the trial is of model {brief(name)}, which is not shipped; {give}") from None
    if model.digest != made.get("model_digest"):
        raise InputError(f"the equations of {name} have changed since the trial was run; {give} or run it again")
    own = {each: p.value for each, p in model.parameters.items()}
    values = {each: value for each, value in made.get("values", {}).items() if own.get(each) != value}
    return model.override(values)


def _of(table: pd.DataFrame, way: str, column: str) -> float:
    return float(table.loc[table["way"] == way, column].iloc[0])
