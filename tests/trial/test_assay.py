"""Assays: the distribution of the error, limits and rounding by hand, the address of a reading."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cartsim.errors import InputError
from cartsim.trial.assay import Assay

NAN = float("nan")
N = 20_000
PUBLISHED = 30.145756533952536
DAYS = np.array([0.0, 28.0, 60.875, 730.5])


def read(assay, truth, *, seed=1, name="mprotein", start=0, days=DAYS):
    return assay.measure(truth, seed=seed, name=name, start=start, days=days)


def log_errors(cv, **address):
    return np.log(read(Assay(cv=cv), np.ones((N, len(DAYS))), **address))


def report(assay, value):
    """What an assay without error makes of one value."""
    return read(assay, [[value]], days=[28]).item()


# --- the error ---


def test_by_default_an_assay_reports_the_truth():
    truth = np.array([[0.0, 1e-300, 12.345678901, NAN], [1e9, 3.0, NAN, 0.0]])
    np.testing.assert_array_equal(read(Assay(), truth), truth)


@pytest.mark.parametrize("cv", [0.05, 0.3, 1.0])
def test_the_error_is_lognormal(cv):
    truth = 37.5
    readings = read(Assay(cv=cv), np.full((N, 1), truth), days=[28])[:, 0]
    expected = stats.lognorm(s=cv, scale=truth)
    assert stats.kstest(readings, expected.cdf).pvalue > 0.01
    assert np.median(readings) == pytest.approx(truth, rel=4 * 1.2533 * cv / N**0.5)
    assert np.log(readings).std() == pytest.approx(cv, rel=4 / (2 * N) ** 0.5)
    assert readings.mean() == pytest.approx(expected.mean(), abs=4 * expected.std() / N**0.5)


def test_errors_of_visits_names_seeds_and_patients_are_independent():
    first = log_errors(0.1)
    others = [log_errors(0.1, name="sbcma")[:, 0], log_errors(0.1, seed=2)[:, 0]]
    correlation = np.corrcoef([*first.T, *others, np.roll(first[:, 0], 1)])
    assert np.abs(correlation[~np.eye(len(correlation), dtype=bool)]).max() < 4.5 / N**0.5


def test_arms_share_the_error_whatever_their_truth():
    truth = np.geomspace(1e-3, 1e3, 40).reshape(10, 4)
    low, high = read(Assay(cv=0.2), truth), read(Assay(cv=0.2), 50 * truth)
    np.testing.assert_allclose(high, 50 * low, rtol=1e-14)


def test_a_worse_assay_errs_in_the_same_direction():
    np.testing.assert_allclose(log_errors(0.2), 2 * log_errors(0.1), atol=1e-14)


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**64),
    start=st.integers(0, 10**6),
    cut=st.integers(0, 12),
    days=st.lists(st.sampled_from([0.0, 2, 28, 30.4375, 182.625, 365.25]), unique=True, max_size=6),
    kept=st.data(),
)
def test_chunks_and_further_visits_change_no_reading(seed, start, cut, days, kept):
    assay = Assay(cv=0.3, lod=0.5, loq=0.9, below="half", step=0.1)
    truth = 1 + np.arange(12.0 * len(days)).reshape(12, len(days)) % 5
    whole = read(assay, truth, seed=seed, start=start, days=days)
    parts = [
        read(assay, truth[:cut], seed=seed, start=start, days=days),
        read(assay, truth[cut:], seed=seed, start=start + cut, days=days),
    ]
    assert np.concatenate(parts).tolist() == whole.tolist()
    columns = kept.draw(st.permutations(range(len(days))))[: len(days) // 2]
    fewer = read(assay, truth[:, columns], seed=seed, start=start, days=[days[c] for c in columns])
    assert fewer.tolist() == whole[:, columns].tolist()


def test_published_readings_stay_the_same():
    """The address of an error is a promise: this value must not change between versions or machines."""
    assert read(Assay(cv=0.1), [[30.0]], days=[28]).item() == pytest.approx(PUBLISHED, rel=1e-14)


# --- rounding and limits ---


@pytest.mark.parametrize("step", ["0.001", "0.01", "0.05", "0.1", "0.2", "0.25", "0.5", "1", "5", "100"])
def test_rounded_readings_are_the_decimals_one_writes(step):
    multiples = [float(k * Decimal(step)) for k in range(1000)]
    shifted = np.array([multiples]).T + 0.3 * float(step)
    np.testing.assert_array_equal(read(Assay(step=float(step)), shifted, days=[28])[:, 0], multiples)


def test_halves_go_to_the_even_multiple():
    assert [report(Assay(step=2.0), value) for value in (1, 3, 5)] == [0, 4, 4]


LIMITS = [
    # assay, truth, report, reason
    (Assay(lod=0.2), 0.19, 0.0, "below detection"),
    (Assay(lod=0.2), 0.2, 0.2, "at the limit of detection is detected"),
    (Assay(loq=50), 49.9, 0.0, "below quantification is 0 unless told otherwise"),
    (Assay(loq=50, below="half"), 49.9, 25.0, "half the limit"),
    (Assay(loq=50, below="limit"), 49.9, 50.0, "the limit itself"),
    (Assay(loq=50, below="limit"), 50.0, 50.0, "at the limit of quantification is quantified"),
    (Assay(loq=50, below="half"), 1e-200, 25.0, "however little there is"),
    (Assay(loq=50, below="half"), 0.0, 0.0, "unless there is nothing"),
    (Assay(loq=50, below="half"), NAN, NAN, "missing stays missing"),
    (Assay(lod=10, loq=50, below="half"), 9.9, 0.0, "below both limits is not detected"),
    (Assay(lod=10, loq=50, below="half"), 10.0, 25.0, "detected, not quantified"),
    (Assay(lod=10, loq=50, below="half"), 51.0, 51.0, "above both"),
    (Assay(lod=50, loq=50, below="limit"), 49.0, 0.0, "one limit for both: not detected"),
    (Assay(loq=0.3, step=0.1), 0.26, 0.3, "rounding comes first: 0.3 is quantified"),
    (Assay(loq=0.25, step=0.1, below="limit"), 0.2501, 0.3, "and what is quantified is a multiple"),
    (Assay(loq=0.25, step=0.2, below="limit"), 0.29, 0.25, "rounded below the limit is below it"),
    (Assay(loq=0.7, step=0.1), 0.7, 0.7, "no binary rounding between a reading and its limit"),
    (Assay(step=10), 4.0, 0.0, "rounded to nothing"),
    (Assay(loq=50, step=10, below="half"), 4.0, 25.0, "a trace is below the limit even if it rounds to 0"),
    (Assay(), -1e-12, 0.0, "what integration leaves below zero is nothing"),
    (Assay(loq=50, below="half"), -1e-12, 0.0, "nothing it stays"),
]


@pytest.mark.parametrize(("assay", "truth", "expected", "reason"), LIMITS)
def test_limits(assay, truth, expected, reason):
    np.testing.assert_equal(report(assay, truth), expected, err_msg=reason)


def test_the_error_decides_what_lies_below_a_limit():
    truth, cv, lod, loq = 40.0, 0.4, 30.0, 50.0
    readings = read(Assay(cv=cv, lod=lod, loq=loq, below="limit"), np.full((N, 1), truth), days=[28])
    expected = stats.lognorm(s=cv, scale=truth)
    absent, limit = int((readings == 0).sum()), int((readings == loq).sum())
    assert stats.binomtest(absent, N, expected.cdf(lod)).pvalue > 0.01
    assert stats.binomtest(limit, N, expected.cdf(loq) - expected.cdf(lod)).pvalue > 0.01
    assert not ((readings > 0) & (readings < loq)).any()


def test_zeros_and_missing_values_survive_any_assay():
    readings = read(Assay(cv=3, lod=0.1, loq=0.2, below="limit", step=0.05), [[0.0, NAN, 0.0, NAN]])
    np.testing.assert_array_equal(readings, [[0.0, NAN, 0.0, NAN]])


def test_the_truth_is_left_alone():
    truth = np.array([[1.0, 2.0, 3.0, -1e-12]])
    read(Assay(cv=0.1, lod=2), truth)
    assert truth.tolist() == [[1.0, 2.0, 3.0, -1e-12]]


def test_no_patients_give_no_readings():
    assert read(Assay(cv=0.1), np.empty((0, 4))).shape == (0, 4)


# --- bad input ---


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cv": -0.1}, "cv is -0.1"),
        ({"cv": 10}, "0.1 for 10 %"),
        ({"cv": "small"}, "cv: must be a finite number"),
        ({"cv": NAN}, "cv: must be a finite number"),
        ({"lod": 0}, "lod is 0"),
        ({"loq": float("inf")}, "loq: must be a finite number"),
        ({"step": -1}, "step is -1"),
        ({"step": True}, "step: must be a finite number"),
        ({"lod": 2, "loq": 1}, "lod 2 is above loq 1"),
        ({"below": "quarter"}, "'quarter'; it is one of zero, half, limit"),
        ({"below": ["half"]}, "it is one of zero, half, limit"),
    ],
)
def test_impossible_assays_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Assay(**settings)


@pytest.mark.parametrize(
    ("truth", "days", "message"),
    [
        ([[1.0, -50.0]], [0, 28], "patient 7 on day 28 is -50; .* not changes"),
        ([[1.0], [np.inf]], [28], "patient 8 on day 28 is inf"),
        ([[1.0, 2.0]], [28], r"shape \(1, 2\), days \(1,\)"),
        ([1.0, 2.0], [28, 56], r"shape \(2,\)"),
        ([[1.0]], [NAN], "days finite"),
        ([["much"]], [28], "must hold numbers only"),
        ([[1.0]], ["day 28"], "days holds"),
    ],
)
def test_impossible_truths_are_refused(truth, days, message):
    with pytest.raises(InputError, match=message):
        read(Assay(), truth, start=7, days=days)
