"""Logistic regression against statsmodels, R and published analyses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from cartsim.errors import InputError
from cartsim.exposure.logistic import fit_linear


@pytest.fixture(scope="module")
def spector():
    return sm.datasets.spector.load_pandas().data


def test_the_fit_is_that_of_statsmodels(spector):
    model = fit_linear(spector, "GRADE", "GPA", ["TUCE", "PSI"], log=False)
    known = sm.Logit(spector.GRADE, sm.add_constant(spector[["GPA", "TUCE", "PSI"]])).fit(disp=0, tol=1e-12)
    np.testing.assert_allclose(model.values, known.params, rtol=1e-9)
    np.testing.assert_allclose(model.covariance, known.cov_params(), rtol=1e-9)
    np.testing.assert_allclose(model.estimates["p"], known.pvalues, rtol=1e-8)
    np.testing.assert_allclose(model.estimates[["low", "high"]], known.conf_int(), rtol=1e-9)
    assert model.loglik == pytest.approx(known.llf, rel=1e-12) and model.aic == pytest.approx(known.aic, rel=1e-12)
    new = pd.DataFrame({"const": 1.0, "GPA": [2.5, 3.9], "TUCE": [20, 28], "PSI": [1, 0]})
    band = known.get_prediction(new).summary_frame()
    found = model.predict(new["GPA"], new)
    np.testing.assert_allclose(found["probability"], band["predicted"], rtol=1e-9)


def test_two_groups_by_firth_have_half_an_observation_more_in_each_cell():
    data = pd.DataFrame({"x": [0.0] * 10 + [1.0] * 10, "y": [0] * 14 + [1] * 6})
    model = fit_linear(data, "y", "x", log=False)
    assert "separated" in model.warnings[0]
    np.testing.assert_allclose(model.values, [np.log(0.5 / 10.5), np.log(6.5 * 10.5 / 4.5 / 0.5)], rtol=1e-6)
    with pytest.raises(InputError, match="separated by slope"):
        fit_linear(data, "y", "x", log=False, method="ml")
    assert model.limits_by == "profile" and np.isnan(model.aic)


def test_means_over_the_patients_of_a_fit_are_the_observed_rate(spector):
    model = fit_linear(spector, "GRADE", "GPA", ["PSI"])
    mean = model.mean_probability(spector["GPA"], spector)
    assert mean.value == pytest.approx(spector["GRADE"].mean()) == pytest.approx(model.probabilities().mean())
    assert mean.low < mean.value < mean.high


def test_odds_ratios_are_per_doubling_of_exposure(spector, tmp_path):
    data = spector.assign(high=np.where(spector["TUCE"] > 22, "yes", "no"))
    model = fit_linear(data, "GRADE", "GPA", ["PSI", "high"])
    found = model.odds_ratios
    assert found["per"].tolist() == ["doubling", "unit", "category"]
    np.testing.assert_allclose(found["odds_ratio"], [2 ** model.values[1], *np.exp(model.values[2:])])
    p = model.predict([1.5, 3.0])["probability"]
    odds = p / (1 - p)
    assert odds[1] / odds[0] == pytest.approx(found["odds_ratio"][0])
    assert {path.name for path in model.save(tmp_path)} >= {"estimates.csv", "covariance.csv", "odds_ratios.csv"}
