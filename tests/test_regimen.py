"""Regimens: the schedules they give, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartsim.errors import InputError
from cartsim.regimen import Infusion, Regimen, Retreatment


def test_a_single_dose():
    times, amounts = Regimen.single(450e6).schedule(3)
    assert times.tolist() == [0]
    assert amounts.tolist() == [[450e6]] * 3
    assert times.dtype == amounts.dtype == np.float64


def test_no_treatment():
    times, amounts = Regimen.none().schedule(4)
    assert times.shape == (0,) and amounts.shape == (4, 0)


def test_the_patients_own_dose():
    regimen = Regimen((Infusion(0), Infusion(60, 100e6)))
    _, amounts = regimen.schedule(2, [150e6, 0])
    assert amounts.tolist() == [[150e6, 100e6], [0, 100e6]]
    _, amounts = regimen.schedule(2, 300e6)
    assert amounts.tolist() == [[300e6, 100e6]] * 2


def test_repeated_doses_by_times_and_by_interval_agree():
    by_times = Regimen.repeated(50e6, [0, 28, 56])
    assert by_times == Regimen.repeated(50e6, every=28, n=3)
    assert by_times.schedule(1)[0].tolist() == [0, 28, 56]


@settings(deadline=None)
@given(
    total=st.floats(0, 1e10, allow_subnormal=False),  # 5e-324 has no half
    weights=st.lists(st.floats(0.01, 1), min_size=1, max_size=6),
)
def test_a_split_dose_adds_up_to_its_total(total, weights):
    fractions = [weight / sum(weights) for weight in weights]
    times, amounts = Regimen.split(total, fractions, list(range(len(fractions)))).schedule(2)
    assert len(times) == len(fractions)
    np.testing.assert_allclose(amounts.sum(axis=1), total, rtol=1e-9)


def test_a_regimen_compares_and_hashes_by_what_it_gives():
    rule = Retreatment(above_nadir=1.25)
    assert Regimen.single(1e6, retreatment=rule) == Regimen([Infusion(0, 1e6)], rule)
    assert len({Regimen.single(1e6), Regimen.single(1e6), Regimen.single(2e6)}) == 2


@pytest.mark.parametrize("bad", [-1, math.nan, math.inf, "450e6"])
@pytest.mark.parametrize(
    "build",
    [
        lambda bad: Regimen.single(bad),
        lambda bad: Regimen.single(1e6, time=bad),
        lambda bad: Regimen.repeated(bad, [0, 28]),
        lambda bad: Regimen.repeated(1e6, [bad]),
        lambda bad: Regimen.repeated(1e6, every=bad, n=2),
        lambda bad: Regimen.split(bad, [0.5, 0.5], [0, 7]),
        lambda bad: Regimen.split(1e6, [bad, 0.5], [0, 7]),
        lambda bad: Retreatment(bad, above=0.5),
        lambda bad: Retreatment(above=bad),
        lambda bad: Retreatment(above_nadir=bad),
        lambda bad: Retreatment(above=0.5, earliest=bad),
        lambda bad: Retreatment(above=0.5, delay=bad),
    ],
)
def test_numbers_must_be_finite_and_not_negative(build, bad):
    with pytest.raises(InputError, match="give a finite number, 0 or more") as error:
        build(bad)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Regimen.repeated(1e6, [28, 0]), "in order of time"),
        (lambda: Regimen.repeated(1e6, [0, 28, 28]), "two infusions at time 28"),
        (lambda: Regimen.repeated(1e6, []), "at least one time"),
        (lambda: Regimen.repeated(1e6), "need their times"),
        (lambda: Regimen.repeated(1e6, every=28), "need their times"),
        (lambda: Regimen.repeated(1e6, [0], every=28, n=2), "not both"),
        (lambda: Regimen.repeated(1e6, every=0, n=2), "interval must be above 0"),
        (lambda: Regimen.repeated(1e6, every=28, n=0), "from 1 to 1000"),
        (lambda: Regimen.split(1e6, [0.5, 0.4], [0, 7]), "sum to 0.9; they must sum to 1"),
        (lambda: Regimen.split(1e6, [0.5, 0.5], [0]), "2 fractions at 1 times"),
        (lambda: Regimen.split(1e6, [], []), "0 fractions at 0 times"),
        (lambda: Retreatment(), "needs its condition"),
        (lambda: Retreatment(above_nadir=1), "above 1"),
        (lambda: Retreatment(above=0.5, maximum=0), "whole number"),
        (lambda: Retreatment(above=0.5, maximum=1.5), "whole number"),
        (lambda: Retreatment(above=0.5, maximum=math.inf), "whole number"),
        (lambda: Regimen((), Retreatment(above=0.5)), "without a first infusion"),
        (lambda: Regimen.single().schedule(2), "needs the patients' own doses"),
        (lambda: Regimen.single().schedule(2, [1e6]), r"shape \(1,\) for 2 patients"),
        (lambda: Regimen.single().schedule(2, [1e6, -1]), "patient row 1 is -1"),
        (lambda: Regimen.single().schedule(2, [math.nan, 1]), "patient row 0 is nan"),
    ],
)
def test_bad_regimens(build, message):
    with pytest.raises(InputError, match=message) as error:
        build()
    assert "\n" not in str(error.value)
