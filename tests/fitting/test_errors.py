"""Error models and likelihood terms against scipy's distributions and numerical derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cartsim.errors import InputError
from cartsim.fitting import errors as likelihood
from cartsim.fitting.errors import SIGMAS, ErrorModel

PREDICTED = np.array([[0.2, 3.0, 50.0], [0.5, 2.0, 80.0]])  # (candidates, observations)
OBSERVED = np.array([0.3, 2.5, 61.0])
SIGMA = {"add": 0.7, "prop": 0.3, "log": 0.4}


def _sigma(kind):
    return {name: SIGMA[name] for name in SIGMAS[kind]}


def _distribution(kind, predicted):
    """What scipy calls the same error model."""
    if kind == "lognormal":
        return stats.lognorm(s=SIGMA["log"], scale=predicted)
    sd = {
        "additive": np.full(predicted.shape, SIGMA["add"]),
        "proportional": SIGMA["prop"] * predicted,
        "combined": np.sqrt(SIGMA["add"] ** 2 + (SIGMA["prop"] * predicted) ** 2),
    }[kind]
    return stats.norm(predicted, sd)


@pytest.mark.parametrize("kind", SIGMAS)
def test_densities_are_those_of_scipy(kind):
    found = ErrorModel(kind).log_likelihood(OBSERVED, PREDICTED, **_sigma(kind))
    assert found.shape == PREDICTED.shape
    np.testing.assert_allclose(found, _distribution(kind, PREDICTED).logpdf(OBSERVED), rtol=1e-12)


@pytest.mark.parametrize("kind", SIGMAS)
def test_values_below_the_limit_count_with_their_probability(kind):
    error = ErrorModel(kind, lloq=1.0, **_sigma(kind))
    found = error.log_likelihood([0.0, 2.5, -3.0], PREDICTED)
    expected = _distribution(kind, PREDICTED).logcdf(1.0)
    np.testing.assert_allclose(found[:, [0, 2]], expected[:, [0, 2]], rtol=1e-9)
    np.testing.assert_allclose(found[:, 1], _distribution(kind, PREDICTED).logpdf(2.5)[:, 1], rtol=1e-12)


def test_a_given_limit_beside_its_value():
    found = ErrorModel("additive").log_likelihood([1.0, 2.5], [0.5, 0.5], below=[True, False], add=0.7)
    np.testing.assert_allclose(found, [stats.norm.logcdf(1, 0.5, 0.7), stats.norm.logpdf(2.5, 0.5, 0.7)])


@pytest.mark.parametrize(("low", "high"), [(-1, 0.5), (2, 3), (8, 9), (30, 31), (-40, -39), (-np.inf, 1), (1, np.inf)])
def test_interval_of_a_normal_measurement(low, high):
    # Beyond 8 SD the tail is that of scipy's log survival function, which keeps its digits.
    left, right = stats.norm.logsf(low), stats.norm.logsf(high)
    if high <= 0:
        left, right = stats.norm.logcdf(high), stats.norm.logcdf(low)
    expected = left + np.log1p(-np.exp(right - left))
    found = likelihood.normal_between(np.array([low]), high, [[5.0], [5.0]], 1.0)
    assert found.shape == (2, 1)
    np.testing.assert_allclose(likelihood.normal_between(low, high, 0.0, 1.0), expected, rtol=1e-10)
    moved = likelihood.normal_between(low * 3 + 2, high * 3 + 2, 2.0, 3.0)
    np.testing.assert_allclose(moved, expected, rtol=1e-10)


def test_intervals_add_up_to_one():
    edges = np.array([-np.inf, -2, 0, 0.1, 5, np.inf])
    total = np.exp(likelihood.normal_between(edges[:-1], edges[1:], 0.4, 1.7)).sum()
    assert total == pytest.approx(1, abs=1e-14)


def test_a_prediction_of_zero_is_surely_below_the_limit():
    for kind in ("proportional", "lognormal"):
        error = ErrorModel(kind, lloq=1.0, **_sigma(kind))
        assert error.log_likelihood([0.5], [0.0])[0] == 0


@pytest.mark.parametrize("kind", SIGMAS)
def test_slopes_are_the_numerical_ones(kind):
    error, h = ErrorModel(kind), 1e-6
    at, up = (error.moments(PREDICTED * k, **_sigma(kind)) for k in (1, 1 + h))
    step = PREDICTED * h
    np.testing.assert_allclose((up.mean - at.mean) / step, at.mean_slope, rtol=1e-5)
    np.testing.assert_allclose(np.log(up.sd / at.sd) / step, at.sd_slope, rtol=1e-4, atol=1e-9)
    for name in error.sigmas:
        sigma = _sigma(kind)
        sigma[name] *= 1 + h
        moved = error.moments(PREDICTED, **sigma)
        np.testing.assert_allclose(np.log(moved.sd / at.sd) / h, at.sigma_slope[name], rtol=1e-4, atol=1e-9)


def test_candidates_may_have_sigmas_of_their_own():
    sd = ErrorModel("proportional").moments(PREDICTED, prop=np.array([[0.1], [0.2]])).sd
    np.testing.assert_allclose(sd, PREDICTED * [[0.1], [0.2]])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "gamma"}, "choose from additive, proportional, combined, lognormal"),
        ({"kind": "additive", "prop": 0.1}, "additive error has no prop; it has add"),
        ({"kind": "additive", "add": 0}, "give a number above 0"),
        ({"kind": "lognormal", "lloq": float("nan")}, "give a number above 0"),
    ],
)
def test_bad_error_models_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        ErrorModel(**settings)


def test_an_unknown_sigma_is_asked_for():
    with pytest.raises(InputError, match="add is not fixed, so give its value"):
        ErrorModel("combined", prop=0.1).moments([1.0])
