"""The likelihood of published numbers, against scipy's distributions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cartsim.calibration.likelihood import log_likelihood, tail


@given(st.lists(st.integers(0, 20), min_size=2, max_size=5).filter(sum), st.integers(0, 1000), st.integers(1, 500))
def test_published_numbers_are_dirichlet_multinomial(observed, seed, simulated):
    shares = np.random.default_rng(seed).dirichlet(np.ones(len(observed)), size=3)
    expected = [stats.dirichlet_multinomial(simulated * p + 0.5, sum(observed)).logpmf(observed) for p in shares]
    assert log_likelihood(observed, shares, np.full(3, simulated)) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_many_simulated_patients_give_the_multinomial_and_none_the_prior():
    observed, share = np.array([3, 8, 1]), np.array([[0.2, 0.7, 0.1]])
    exact = stats.multinomial(12, share[0]).logpmf(observed)
    assert log_likelihood(observed, share, 1e7)[0] == pytest.approx(exact, abs=1e-4)
    nobody = log_likelihood(observed, np.full((1, 3), np.nan), 0.0)
    assert nobody[0] == pytest.approx(stats.dirichlet_multinomial([0.5] * 3, 12).logpmf(observed))


def test_what_no_simulated_patient_had_is_improbable_not_impossible():
    few, many = (log_likelihood([5, 5], np.array([[0.0, 1.0]]), n)[0] for n in (50, 5000))
    assert np.isfinite([few, many]).all() and many < few < log_likelihood([5, 5], np.array([[0.5, 0.5]]), 50)[0]


def test_a_batch_of_draws_is_evaluated_as_each_alone():
    shares = np.random.default_rng(1).dirichlet(np.ones(4), size=33)
    simulated = np.random.default_rng(2).uniform(10, 200, 33)
    together = log_likelihood([1, 2, 3, 4], shares, simulated)
    alone = [log_likelihood([1, 2, 3, 4], shares[k : k + 1], simulated[k : k + 1])[0] for k in range(33)]
    assert together.tolist() == alone


@pytest.mark.parametrize("observed", [[3, 9], [0, 12], [12, 0]])
def test_tails_are_those_of_the_binomial(observed):
    share, big = np.array([[0.3, 0.7]]), 1e12
    below = stats.binom(12, 0.3)
    expected = 0.5 * (below.cdf(observed[0]) + below.cdf(observed[0] - 1))
    assert tail(observed, share, big) == pytest.approx([expected, 1 - expected], abs=1e-6)
