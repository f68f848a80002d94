"""Limits of proportions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from cartsim.endpoints.rates import clopper_pearson, wilson


@pytest.mark.parametrize("count", [0, 1, 7, 19, 20])
def test_wilson_limits_are_those_of_scipy_and_end_at_0_and_1_exactly(count):
    low, high = wilson(np.array([count]), np.array([20]))
    theirs = binomtest(count, 20).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose([low[0], high[0]], [theirs.low, theirs.high], rtol=1e-12, atol=1e-15)
    assert (low[0] == 0) == (count == 0)
    assert (high[0] == 1) == (count == 20)


@pytest.mark.parametrize("count", [0, 1, 7, 19, 20])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_exact_limits_are_those_of_scipy(count, level):
    low, high = clopper_pearson(np.array([count]), np.array([20]), level)
    theirs = binomtest(count, 20).proportion_ci(level, method="exact")
    np.testing.assert_allclose([low[0], high[0]], [theirs.low, theirs.high], rtol=1e-9)


def test_nobody_of_any_number_has_a_lower_limit_of_0():
    assert (wilson(np.zeros(999), np.arange(1, 1000))[0] == 0).all()  # rounding left 1.7e-16 of some
