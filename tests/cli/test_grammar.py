"""Texts of the command line: what they mean, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartsim.cli.grammar import parse_assignments, parse_doses, parse_grid, parse_times
from cartsim.errors import InputError


def test_times_of_numbers_and_inclusive_ranges():
    expected = [*range(31), *range(37, 641, 7)]
    np.testing.assert_array_equal(parse_times("0:30:1,37:640:7"), expected)
    np.testing.assert_array_equal(parse_times(" 0, 28 ,90:90:1"), [0, 28, 90])
    np.testing.assert_array_equal(parse_times("0:10:4"), [0, 4, 8])


def test_decimal_steps_give_the_decimals_that_a_reader_expects():
    assert parse_times("0:1:0.1").tolist() == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
    assert parse_times("0:3e-3:1e-3").tolist() == [0, 0.001, 0.002, 0.003]


@settings(deadline=None)
@given(
    start=st.integers(0, 10**6),
    step=st.integers(1, 10**4),
    count=st.integers(0, 200),
    digits=st.integers(0, 6),
)
def test_a_range_holds_both_ends_and_even_steps(start, step, count, digits):
    stop = start + count * step
    times = parse_times(f"{start}e-{digits}:{stop}e-{digits}:{step}e-{digits}")
    assert times.tolist() == [float(f"{start + k * step}e-{digits}") for k in range(count + 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a number"),
        ("0,", "is not a number"),
        ("0:30", "is not a range"),
        ("0:30:1:2", "is not a range"),
        ("a:b:c", "'a' is not a number"),
        ("0:30:0", "step"),
        ("0:30:-1", "step"),
        ("30:0:1", "reversed"),
        ("-1,5", "-1 is negative"),
        ("5,3", "5 is followed by 3"),
        ("0:30:1,30:60:1", "30 is followed by 30"),
        ("nan", "not a finite number"),
        ("0:inf:1", "not a finite number"),
        ("1e999", "not a finite number"),
        ("0:1e9:1e-6", "use a larger step"),
    ],
)
def test_bad_times(text, message):
    with pytest.raises(InputError, match=message) as error:
        parse_times(text)
    assert "\n" not in str(error.value)


def test_doses():
    assert parse_doses("50e6, 150e6,0") == (50e6, 150e6, 0.0)


@pytest.mark.parametrize("text", ["", "50e6,,1", "-50e6", "nan", "inf", "fifty", "50e6,5e7"])
def test_bad_doses(text):
    with pytest.raises(InputError, match="doses"):
        parse_doses(text)


def test_assignments():
    assert parse_assignments([]) == {}
    assert parse_assignments(["Kel_e=100", " Rm = -2.5e-3 "]) == {"Kel_e": 100.0, "Rm": -0.0025}


@pytest.mark.parametrize(
    "texts", [["Kel_e"], ["=3"], ["Kel_e="], ["Kel_e=x"], ["Kel_e=nan"], ["Rm=1", "Rm=2"], ["a=1=2"]]
)
def test_bad_assignments(texts):
    with pytest.raises(InputError):
        parse_assignments(texts)


def test_grids():
    np.testing.assert_allclose(parse_grid("5:95:4"), [5, 35, 65, 95], rtol=1e-15)
    np.testing.assert_allclose(parse_grid("1:1000:4", "log"), [1, 10, 100, 1000], rtol=1e-15)
    np.testing.assert_array_equal(parse_grid("20,50,95"), [20, 50, 95])
    grid = parse_grid("50e6:800e6:24", "log")
    assert len(grid) == 24 and grid[0] == 50e6 and grid[-1] == 800e6


@pytest.mark.parametrize(
    ("text", "scale", "message"),
    [
        ("", "linear", "is not a number"),
        ("5:95", "linear", "low:high:points"),
        ("95:5:4", "linear", "reversed"),
        ("5:5:4", "linear", "empty or reversed"),
        ("5:95:1", "linear", "whole number from 2"),
        ("5:95:2.5", "linear", "whole number from 2"),
        ("5:95:-3", "linear", "whole number from 2"),
        ("0:95:4", "log", "above 0"),
        ("0,95", "log", "above 0"),
        ("50", "linear", "at least two"),
        ("50,20", "linear", "increasing"),
        ("5:nan:4", "linear", "finite"),
        ("5:95:4", "cubic", "'linear' or 'log'"),
    ],
)
def test_bad_grids(text, scale, message):
    with pytest.raises(InputError, match=message):
        parse_grid(text, scale)
