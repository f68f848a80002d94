"""Survival by exposure and exposure by dose against lifelines, R's numbers and closed forms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from lifelines.datasets import load_rossi
from lifelines.statistics import multivariate_logrank_test, proportional_hazard_test
from scipy.stats import linregress

from cartsim.errors import InputError
from cartsim.exposure.data import exposure_data
from cartsim.exposure.dose_exposure import dose_exposure
from cartsim.exposure.time_to_event import cox_by_exposure, proportional_hazards, survival_by_quartile


@pytest.fixture(scope="module")
def rossi() -> pd.DataFrame:
    return load_rossi().rename(columns={"week": "pfs_months", "arrest": "pfs_event"})


def test_survival_by_quartile_is_that_of_lifelines(rossi):
    found = survival_by_quartile(exposure_data(rossi), "PFS", "age")
    quartile = pd.qcut(rossi["age"], 4, labels=False)
    known = multivariate_logrank_test(rossi["pfs_months"], quartile, rossi["pfs_event"])
    assert found.logrank.pvalue == pytest.approx(known.p_value)
    assert found.frame()["n"].tolist() == quartile.value_counts().sort_index().tolist()


def test_cox_and_proportional_hazards_are_those_of_lifelines(rossi):
    names = ["prio", "fin", "race"]
    table = cox_by_exposure(exposure_data(rossi), "PFS", "age", names)
    own = pd.DataFrame({"ln age": np.log(rossi["age"]), **rossi[["pfs_months", "pfs_event", *names]]})
    fit = CoxPHFitter().fit(own, "pfs_months", "pfs_event")
    np.testing.assert_allclose(table["coef"], fit.params_, rtol=1e-4)
    np.testing.assert_allclose(table["std_error"], fit.standard_errors_, rtol=1e-4)
    test = proportional_hazard_test(fit, own, time_transform="km")
    x = own[["ln age", *names]]
    p = proportional_hazards(own["pfs_months"], own["pfs_event"], x, fit.params_)
    np.testing.assert_allclose(p, test.p_value, rtol=0.02)  # lifelines does not weigh ties as Efron does
    # Of a time for each event they are the same.
    apart = own.assign(pfs_months=own["pfs_months"] + np.arange(len(own)) / 1e4)
    fit = CoxPHFitter().fit(apart, "pfs_months", "pfs_event")
    test = proportional_hazard_test(fit, apart, time_transform="km")
    p = proportional_hazards(apart["pfs_months"], apart["pfs_event"], x, fit.params_)
    np.testing.assert_allclose(p, test.p_value, rtol=1e-6)


def test_what_has_no_survival_is_refused(rossi):
    data = exposure_data(rossi)
    with pytest.raises(InputError, match="no survival endpoint 'OS'"):
        survival_by_quartile(data, "OS", "age")
    with pytest.raises(InputError, match="no time of DOR 'dor_months'"):
        survival_by_quartile(data, "DOR", "age")
    with pytest.raises(InputError, match="prio of 38 patients is 0 or less, which has no logarithm"):
        cox_by_exposure(data, "PFS", "prio")


def test_exposure_by_dose_is_a_regression_of_logarithms():
    rng = np.random.default_rng(2)
    dose = rng.uniform(300e6, 500e6, 60)
    auc = 1e-3 * dose * np.exp(rng.normal(size=60))
    found = dose_exposure(exposure_data({"dose": dose, "auc028": auc}))
    known = linregress(np.log(dose), np.log(auc))
    assert found.estimates["estimate"].tolist() == pytest.approx([known.intercept, known.slope])
    assert found.estimates["std_error"].tolist() == pytest.approx([known.intercept_stderr, known.stderr])
    assert found.r2 == pytest.approx(known.rvalue**2)
    curve = found.curve([400e6])
    assert np.log(curve["exposure"][0]) == pytest.approx(known.intercept + known.slope * np.log(400e6))
    assert (curve["patient_low"] < curve["low"]).all() and (curve["high"] < curve["patient_high"]).all()
    slope = found.estimates["estimate"][1]
    assert f"dose^{slope:.2f}" in found.text

    # With the covariate that makes all of the difference, of a reference patient, nothing is left to chance.
    sex = np.where(rng.random(60) < 0.4, "female", "male")
    exact = exposure_data({"dose": dose, "auc028": dose**0.5 * np.where(sex == "male", 2.0, 1.0), "sex": sex})
    found = dose_exposure(exact, covariates=["sex"])
    more = "male" if "sex=male" in found.reference else "female"
    assert found.estimates["estimate"].tolist()[1:] == pytest.approx([0.5, np.log(2) * (1 if more == "male" else -1)])
    linear = dose_exposure(exact, covariates=["sex"], scale="linear", reference={f"sex={more}": 1})
    assert linear.reference == {f"sex={more}": 1} and "with 100e6 cells more" in linear.text


def test_one_dose_says_nothing_of_dose():
    data = exposure_data({"dose": [1e8] * 4, "auc028": [1.0, 2, 3, 4], "sex": [0, 1, 0, 1]})
    with pytest.raises(InputError, match="cannot be regressed on dose: give several doses"):
        dose_exposure(data)
    with pytest.raises(InputError, match="scale is 'cubic'"):
        dose_exposure(data, scale="cubic")
