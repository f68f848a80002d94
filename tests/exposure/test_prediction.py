"""Dose-response by scaled exposure, by simulation, and a second trial."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

import cartsim as cs
from cartsim.exposure.data import exposure_data
from cartsim.exposure.logistic import fit_linear
from cartsim.exposure.prediction import predict_doses, simulate_doses, validation_table


@pytest.fixture(scope="module")
def trial() -> cs.TrialResult:
    population = cs.Population("bb2121_clinical", 3, {"burden": cs.uniform(2, 95)})
    arms = [cs.Arm(150e6, 40), cs.Arm(450e6, 60)]
    return cs.Trial(population, arms, independent=True).run(n_jobs=1)


def cohort(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    dose = rng.choice([150e6, 300e6, 450e6], n)
    auc, sex = dose / 100 * np.exp(1.24 * rng.normal(size=n)), rng.integers(0, 2, n)
    y = rng.random(n) < expit(-14 + np.log(auc) + 0.5 * sex)
    return pd.DataFrame({"dose": dose, "auc028": auc, "sex": sex, "ORR": y.astype(float)})


def test_at_the_dose_that_all_had_the_prediction_is_what_was_observed():
    frame = cohort(200, 1).assign(dose=300e6)
    model, data = fit_linear(frame, "ORR", "auc028", ["sex"]), exposure_data(frame)
    table = predict_doses(model, data, [150e6, 300e6, 600e6]).table
    assert table["percent"][1] == pytest.approx(100 * frame["ORR"].mean())  # by the score equations
    assert table["percent"].is_monotonic_increasing
    known = model.mean_probability(frame["auc028"] / 2, frame)
    assert table.loc[0, ["percent", "low", "high"]].tolist() == pytest.approx(
        [100 * known.value, 100 * known.low, 100 * known.high]
    )
    # The limits are those of estimates drawn from their distribution.
    draws = np.random.default_rng(2).multivariate_normal(model.theta, model.spread, 4000)
    inputs = model.curve.inputs(frame["auc028"].to_numpy() / 2, frame[["sex"]].to_numpy(float))
    means = 100 * expit(draws @ inputs.T).mean(axis=1)
    assert table.loc[0, ["low", "high"]].tolist() == pytest.approx(np.quantile(means, (0.025, 0.975)), abs=1)


def test_patients_are_simulated_as_they_were_in_the_trial(trial):
    data = exposure_data(trial)
    again = simulate_doses(data, [150e6, 450e6], n_jobs=1)
    found = exposure_data(again).frame
    for dose, own in data.frame.groupby("dose"):
        same = found[found["dose"] == dose].set_index("id").loc[own["id"]]
        np.testing.assert_allclose(same["auc028"], own["auc028"], rtol=1e-9)
        assert same["CRR"].tolist() == own["CRR"].tolist()


def test_the_assumption_and_the_simulation_stand_side_by_side(trial):
    data = exposure_data(trial)
    model, doses = fit_linear(data.frame, "CRR", "auc028"), [150e6, 300e6, 450e6]
    found = predict_doses(model, data, doses, simulated=simulate_doses(data, doses, n_jobs=1))
    table = found.table.pivot(index="dose", columns="way", values="percent")
    assert table.columns.tolist() == ["assumed", "by model", "simulated"]
    assert found.slope.value < 0.3  # of the published model: exposure hardly depends on dose
    rise = table.loc[450e6] - table.loc[150e6]
    assert rise["assumed"] > 2 * abs(rise["by model"])
    assert f"a rise of {rise['assumed']:.1f} points" in found.text
    gaps = found.table.dropna(subset=["gap_low"])
    np.testing.assert_allclose(gaps["gap"], (table["assumed"] - table["by model"]).to_numpy())
    assert ((gaps["gap_low"] < gaps["gap"]) & (gaps["gap"] < gaps["gap_high"])).all()


def test_what_cannot_be_predicted_is_refused(trial):
    frame = cohort(60, 1)
    model = fit_linear(frame, "ORR", "auc028", ["sex"])
    data = exposure_data(frame)
    with pytest.raises(cs.InputError, match="these patients cannot be simulated; give a trial"):
        simulate_doses(data)
    with pytest.raises(cs.InputError, match="give cells above 0"):
        predict_doses(model, data, [0])
    with pytest.raises(cs.InputError, match="the model needs sex"):
        predict_doses(model, exposure_data(frame.drop(columns="sex")))
    other = trial.made_by | {"model_digest": "0"}
    changed = exposure_data(cs.TrialResult(trial.protocol, trial.patients, {}, {}, other))
    with pytest.raises(cs.InputError, match="the equations of bb2121_clinical have changed"):
        simulate_doses(changed)


def test_a_second_trial_of_the_same_kind_agrees_and_another_does_not():
    model = fit_linear(cohort(400, 1), "ORR", "auc028", ["sex"])
    second = cohort(400, 2)
    table = validation_table(model, exposure_data(second)).set_index("quartile")
    assert table.index.tolist() == ["Q1", "Q2", "Q3", "Q4", "all"] and table["n"].tolist() == [100] * 4 + [400]
    assert (table["z"].abs() < 3).all()
    assert table["observed"]["all"] == pytest.approx(100 * second["ORR"].mean())
    assert table["predicted"]["all"] == pytest.approx(100 * model.mean_probability(second["auc028"], second).value)
    worse = second.assign(ORR=second["ORR"] * (np.arange(400) % 2))
    assert validation_table(model, exposure_data(worse))["z"].iloc[-1] < -4
