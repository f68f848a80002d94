"""Scores: known answers, and that nobody does better than by saying what he believes."""

import numpy as np
import pytest
from scipy.stats import betabinom, binom, norm

import cartsim as cs
from cartsim.calibration.scores import count_log_score, density_log_score, interval_score, log_score, scaled


def test_interval_scores_by_hand():
    # Gneiting and Raftery 2007, equation 43: width, and 2/alpha times the distance outside.
    found = interval_score([0, 0, 0], [10, 10, 10], [5, 12, -1], alpha=0.1)
    assert found.tolist() == [10, 10 + 20 * 2, 10 + 20 * 1]


def test_interval_score_is_proper():
    z = norm.rvs(size=200_000, random_state=1)
    ends = norm.ppf([0.05, 0.95])

    def mean(low, high):
        return float(interval_score(low, high, z).mean())

    best = mean(*ends)
    # The expectation under the truth, in closed form: 2/alpha times the density at the ends, both of them.
    assert best == pytest.approx(2 / 0.1 * 2 * norm.pdf(ends[1]), rel=0.01)
    for low, high in ((-1.2, 1.2), (-2.2, 2.2), (-1.3, 2.0), (-2.0, 1.2)):
        assert mean(low, high) > best


def test_count_score_is_the_mass_of_what_is_simulated():
    drawn = binom.rvs(20, 0.4, size=4000, random_state=2)
    for k in (5, 8, 11):
        assert count_log_score(drawn, 20, k) == pytest.approx(-binom.logpmf(k, 20, 0.4), abs=0.1)
    small = binom.rvs(3, 0.9, size=4000, random_state=3)
    for k in (2, 3):
        assert count_log_score(small, 3, k) == pytest.approx(-binom.logpmf(k, 3, 0.9), abs=0.05)
    assert count_log_score(np.full(999, 4), 4, 0) == pytest.approx(np.log(1000 * 5))


def test_count_score_prefers_the_truth():
    truth = betabinom.rvs(30, 8, 4, size=400, random_state=4)
    predictions = {
        (a, b): betabinom.rvs(30, a, b, size=500, random_state=5) for a, b in ((8, 4), (80, 40), (4, 8), (0.7, 0.5))
    }
    mean = {key: np.mean([count_log_score(drawn, 30, k) for k in truth]) for key, drawn in predictions.items()}
    assert min(mean, key=mean.get) == (8, 4)


def test_density_score_is_that_of_a_normal():
    drawn = norm.rvs(2, 0.5, size=20_000, random_state=6)
    for x in (1.5, 2, 2.6):
        found = density_log_score(drawn, x, 1e-3, (-3, 5))
        assert found == pytest.approx(-norm.logpdf(x, 2, 0.5), abs=0.1)


def test_scales_have_no_unit():
    trial = cs.published("karmma")
    assert scaled(trial.row("ORR_all"), 50, 24) == pytest.approx(0.5)
    assert scaled(trial.row("PFS_all"), [12, np.inf], 24) == pytest.approx(np.log([12, 24]))
    assert scaled(trial.row("corr_Cmax_AUC"), 0.5, 24) == pytest.approx(np.arctanh(0.5))
    sure, wrong = (log_score(trial.row("PFS_all"), np.full(100, months), 24) for months in (8.8, 20))
    assert sure < 0 < wrong
