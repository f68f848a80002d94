"""The Emax model on the logit: derivatives, known curves, and data that do not tell its parameters."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from scipy.special import expit, xlogy

from cartsim.errors import InputError
from cartsim.exposure.curves import EmaxCurve, Scaling
from cartsim.exposure.emax import fit_emax
from cartsim.exposure.likelihood import likelihood, penalized_emax
from cartsim.exposure.logistic import fit_linear


def _simulated(n=2000, *, e0=-2.0, emax=4.0, ec50=3e6, h=1.0, spread=2.0, effect=0.8, seed=1):
    rng = np.random.default_rng(seed)
    x, z = 3e6 * np.exp(spread * rng.standard_normal(n)), rng.integers(0, 2, n)
    p = expit(e0 + emax * x**h / (ec50**h + x**h) + effect * z)
    return pd.DataFrame({"auc": x, "z": z, "y": (rng.random(n) < p).astype(int)})


@pytest.mark.parametrize("hill", [2.0, None])
def test_derivatives_are_those_of_differences(hill):
    rng = np.random.default_rng(2)
    z, y = rng.standard_normal((40, 1)), rng.integers(0, 2, 40).astype(float)
    names = ("E0", "Emax", "EC50", *(("H",) if hill is None else ()), "z")
    curve = EmaxCurve(names, hill, 1.0, Scaling.of(z))
    inputs = curve.inputs(np.append(0.0, rng.lognormal(1, 1, 39)), z)
    theta = np.array([-1.0, 2.0, 0.3, *([0.4] if hill is None else []), 0.7])
    for at in (likelihood(curve, y, inputs), penalized_emax(curve, y, inputs)):
        _, gradient, hessian = at(theta)
        np.testing.assert_allclose(gradient, approx_fprime(theta, lambda t, at=at: at(t)[0], 1e-7), atol=1e-5)
        for k in range(len(theta)):
            differences = approx_fprime(theta, lambda t, at=at, k=k: at(t)[1][k], 1e-7)
            np.testing.assert_allclose(hessian[k], differences, atol=1e-5)


@pytest.mark.parametrize("hill", [2.0, None])
def test_the_penalty_is_half_the_log_determinant_of_the_information_for_an_emax_of_1(hill):
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, 40).astype(float)
    names = ("E0", "Emax", "EC50", *(("H",) if hill is None else ()))
    curve = EmaxCurve(names, hill, 1.0, Scaling.of(np.empty((40, 0))))
    inputs = curve.inputs(rng.lognormal(1, 1, 40), np.empty((40, 0)))
    theta = np.array([-1.0, 2.5, 0.3, *([0.4] if hill is None else [])])
    found = likelihood(curve, y, inputs)(theta)[0] - penalized_emax(curve, y, inputs)(theta)[0]
    eta, jacobian = curve.logit(theta, inputs)
    information = jacobian.T @ np.diag(expit(eta) * expit(-eta)) @ jacobian
    divided = 2 * (len(theta) - 2) * np.log(2.5)  # Emax is a factor of the columns of EC50 and H
    assert found == pytest.approx((np.linalg.slogdet(information)[1] - divided) / 2)


@pytest.mark.parametrize(("h", "hill"), [(1.0, 1.0), (3.0, None)])
def test_truth_is_recovered_from_many_patients(h, hill):
    model = fit_emax(_simulated(20_000, h=h), "y", "auc", ["z"], hill=hill)
    true = [-2.0, 4.0, 3e6, *([3.0] if hill is None else []), 0.8]
    table = model.estimates
    assert model.identified and not model.warnings
    assert np.abs((table["estimate"] - true) / table["se"]).max() < 3 and table["rse"].max() < 15
    curve = model.predict([1e6, 1e7], {"z": 1})
    exact = expit(-2 + 4 / (1 + (3e6 / curve["exposure"]) ** h) + 0.8)
    assert (curve["low"] < exact).all() and (exact < curve["high"]).all()


def test_three_groups_are_met_exactly():
    # Placebo, and two doses: three rates and three parameters.
    x = np.repeat([0.0, 1.0, 4.0], 200)
    y = np.concatenate([np.arange(200) < events for events in (30, 80, 120)]).astype(float)
    model = fit_emax(pd.DataFrame({"x": x, "y": y}), "y", "x")
    logit = np.log(np.array([30, 80, 120]) / np.array([170, 120, 80]))
    first, second = logit[1:] - logit[0]
    ec50 = (second - first) / (first - second / 4)  # of Emax/(EC50 + 1) = first and 4 Emax/(EC50 + 4) = second
    np.testing.assert_allclose(model.values, [logit[0], first * (ec50 + 1), ec50], rtol=1e-6)
    rates = np.array([30, 80, 120]) / 200
    assert model.loglik == pytest.approx(200 * (xlogy(rates, rates) + xlogy(1 - rates, 1 - rates)).sum())


@settings(max_examples=10, deadline=None)
@given(st.floats(-12, 12), st.floats(-12, 12), st.sampled_from(["ml", "firth"]))
def test_units_change_nothing(a, b, method):
    data = _simulated(300)
    model = fit_emax(data, "y", "auc", ["z"], method=method, limits="wald")
    scaled = data.assign(auc=data["auc"] * 10**a, z=data["z"] * 10**b)
    other = fit_emax(scaled, "y", "auc", ["z"], method=method, limits="wald")
    scale = np.array([1, 1, 10**a, 10**-b])
    np.testing.assert_allclose(other.values, model.values * scale, rtol=1e-6)
    np.testing.assert_allclose(other.estimates["se"], model.estimates["se"] * scale, rtol=1e-5)


def test_limits_of_the_profile_are_where_the_likelihood_ratio_is():
    data = _simulated(500)
    model = fit_emax(data, "y", "auc", limits="profile")
    at = likelihood(model.curve, model.design.y, model.curve.inputs(model.design.x, model.design.z))
    for end in (0, 1):  # of EC50, whatever E0 and Emax are: a logistic regression
        share = data["auc"] / (data["auc"] + model.limits[2, end])
        fixed = fit_linear(data.assign(share=share), "y", "share", log=False)
        assert 2 * (-at(model.theta)[0] - fixed.loglik) == pytest.approx(3.841459, abs=1e-4)


def test_the_penalty_takes_away_bias_of_small_trials():
    trials = [_simulated(125, e0=-1.5, emax=3.0, spread=3.0, effect=0.0, seed=seed) for seed in range(40)]
    ml, firth = (
        [fit_emax(each, "y", "auc", method=method, limits="wald") for each in trials] for method in ("ml", "firth")
    )
    told = np.array([each.identified for each in ml])
    assert told.sum() > 30 and not any(each.identified for each, own in zip(firth, told, strict=True) if not own)
    off = [np.array([each.values[1] - 3 for each in fits])[told] for fits in (ml, firth)]
    assert 0 < off[1].mean() < 0.7 * off[0].mean() and off[1].std() < off[0].std()
    assert np.isnan(firth[0].aic) and firth[0].method == "Firth's penalized likelihood"


def test_a_straight_line_tells_no_emax():
    rng = np.random.default_rng(5)
    x = np.exp(rng.standard_normal(400))
    data = pd.DataFrame({"x": x, "y": (rng.random(400) < expit(-1 + 0.1 * x**2)).astype(int)})
    model = fit_emax(data, "y", "x")
    assert not model.identified and "take the linear model" in model.warnings[0]
    penalized = fit_emax(data, "y", "x", method="firth")  # finite, and said to be by the penalty alone
    assert not penalized.identified and "without the penalty the data do not tell" in penalized.warnings[0]
    step = pd.DataFrame({"x": np.arange(1.0, 41), "y": [0, 1] * 4 + [0] * 12 + [1] * 12 + [0, 1] * 4})
    assert "fix H" in fit_emax(step, "y", "x", hill=None).warnings[0]


def test_bad_input_is_named():
    data = _simulated(100)
    with pytest.raises(InputError, match="hill is -1"):
        fit_emax(data, "y", "auc", hill=-1)
    with pytest.raises(InputError, match="method is 'auto'; choose from ml, firth"):
        fit_emax(data, "y", "auc", method="auto")
    with pytest.raises(InputError, match=r"auc is -3 in row 1"):
        fit_emax(data.assign(auc=-3.0), "y", "auc")
    with pytest.raises(InputError, match="separated by twin"):
        fit_emax(data.assign(twin=data["y"]), "y", "auc", ["twin"])
    with pytest.raises(InputError, match="combination"):
        fit_emax(data.assign(twin=2 * data["z"]), "y", "auc", ["z", "twin"])
