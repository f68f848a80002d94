"""Bands of curves are numpy's quantiles, bit for bit."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from cartsim.bands import quantiles


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10, 101, 500])
@pytest.mark.parametrize("missing", [0.0, 0.3, 1.0])
def test_they_are_those_of_numpy_to_the_last_bit(n, missing):
    random = np.random.default_rng(n)
    values = np.exp(random.normal(0, 5, (n, 40)))
    values[random.random(values.shape) < missing] = np.nan
    levels = [0.0, 0.05, 0.25, 1 / 3, 0.5, 0.75, 0.95, 1.0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of times without a number
        expected = np.nanquantile(values, levels, axis=0) if n else np.full((8, 40), np.nan)
    np.testing.assert_array_equal(quantiles(values, levels), expected)


def test_values_are_left_as_they_were():
    values = np.array([[2.0, np.nan], [1.0, 3.0]])
    quantiles(values, [0.5])
    np.testing.assert_array_equal(values, [[2.0, np.nan], [1.0, 3.0]])
