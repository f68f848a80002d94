"""Minimal residual disease and clearance of soluble BCMA."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartsim.endpoints.markers import clearance, mrd_negative, mrd_per_1e5
from cartsim.errors import InputError

NAN = float("nan")


def test_mrd_by_hand() -> None:
    assert mrd_per_1e5(1, 0.5) == 50_000  # untreated: the baseline share
    assert mrd_per_1e5(1, 1) == 100_000
    assert mrd_per_1e5(0, 1) == 0
    np.testing.assert_allclose(mrd_per_1e5([1e-5, 2e-5, NAN], 0.5), [0.999990, 1.999960, NAN], rtol=1e-6)


@given(st.floats(0, 10), st.floats(0, 1))
def test_mrd_is_the_share_of_cells(r: float, f0: float) -> None:
    myeloma, others = Fraction(r) * Fraction(f0), 1 - Fraction(f0)
    expected = 0 if myeloma == 0 else 10**5 * myeloma / (myeloma + others)
    np.testing.assert_allclose(mrd_per_1e5(r, f0), float(expected), rtol=1e-12, atol=1e-300)


def test_mrd_negative_is_strictly_below_the_sensitivity() -> None:
    cells = [0, 0.05, 0.5, 1.0, 5, 10, 20, NAN]
    assert mrd_negative(cells).tolist() == [True] * 3 + [False] * 5
    assert mrd_negative(cells, 1e-4).tolist() == [True] * 5 + [False] * 3
    assert mrd_negative(cells, 1e-6).tolist() == [True] * 2 + [False] * 6


def test_clearance_and_nadir() -> None:
    values = [[1, 50, 9, 9, 20], [1, 50, 40, 40, 60], [1, NAN, 10, 5, NAN], [1, NAN, NAN, NAN, NAN]]
    found = clearance(values, [0, 30, 60, 90, 120], lloq=10)  # day 0 is no assessment; 10 is not below 10
    assert found.cleared.tolist() == [True, False, True, False]
    np.testing.assert_equal(found.clearance_day, [60, NAN, 90, NAN])
    np.testing.assert_equal(found.nadir, [9, 40, 5, NAN])
    np.testing.assert_equal(found.nadir_day, [60, 60, 90, NAN])
    own_days = clearance(values[:1], [[0, 31, 61, 91, 121]], lloq=10)
    assert own_days.nadir_day.tolist() == [61]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mrd_per_1e5(-0.1, 0.5), "0 or more"),
        (lambda: mrd_per_1e5(np.inf, 0.5), "infinite"),
        (lambda: mrd_per_1e5(0.1, 50), "fraction holds 50; .* not a percentage"),
        (lambda: mrd_negative(1, 1e5), "sensitivity is 100000"),
        (lambda: clearance([[1, -1]], [30, 60], 10), r"values\[0, 1\] is -1"),
        (lambda: clearance([[1, 1]], [30], 10), "values"),
        (lambda: clearance([[1, 1]], [30, 60], 0), "lloq is 0"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
