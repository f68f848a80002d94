"""The likelihood of published numbers, against scipy's distributions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cartsim.calibration.likelihood import effective_n, log_likelihood, quantile_counts, tail


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


def test_limits_of_a_median_are_worth_as_many_patients_as_it_had():
    # Exponential survival without censoring: Greenwood's error at the median is sqrt(0.25/n), so that the limits of a
    # median of n patients must give n back.
    n, median = 60, 10.0
    width = 1.959963984540054 * np.sqrt(0.25 / n) / (0.5 * np.log(2))
    low, high = median * np.exp(-width), median * np.exp(width)
    assert effective_n(median, low, high, 1000) == pytest.approx(n)
    assert effective_n(median, low, np.inf, 1000) == pytest.approx(n)
    assert effective_n(median, low, high, 40) == 40  # never more than there were
    assert effective_n(median, np.nan, np.nan, 33) == 33


def test_limits_of_simulated_medians_are_worth_about_their_patients():
    # Limits by Brookmeyer and Crowley (lifelines) of exponential samples of 80, a third of them censored.
    from lifelines import KaplanMeierFitter
    from lifelines.utils import median_survival_times

    random, worth = np.random.default_rng(3), []
    for _ in range(60):
        time, end = random.exponential(10, 80), random.uniform(5, 40, 80)
        curve = KaplanMeierFitter().fit(np.minimum(time, end), time <= end)
        low, high = median_survival_times(curve.confidence_interval_).iloc[0]
        worth.append(effective_n(curve.median_survival_time_, low, high, 1000))
    assert 40 < np.median(worth) < 110


def test_quartiles_divide_patients_in_four():
    assert quantile_counts([0.25, 0.5, 0.75], 20).tolist() == [5, 5, 5, 5]
    assert quantile_counts([0.5], 33).tolist() == [16.5, 16.5]
