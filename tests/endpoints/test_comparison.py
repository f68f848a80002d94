"""Two groups compared: lifelines, statsmodels, published results of R, closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines import CoxPHFitter
from lifelines.datasets import load_lung
from lifelines.statistics import logrank_test
from lifelines.utils import restricted_mean_survival_time
from statsmodels.duration.hazard_regression import PHReg

from cartsim.endpoints.comparison import compare, influence, restricted_mean_difference
from cartsim.endpoints.survival import cox, kaplan_meier
from cartsim.errors import InputError


@pytest.fixture(scope="module")
def lung() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    table = load_lung()
    groups = {"men": table[table["sex"] == 1], "women": table[table["sex"] == 2]}
    return {name: (rows["time"].to_numpy(float), rows["status"].to_numpy() == 1) for name, rows in groups.items()}


def test_lung_by_sex_as_r_prints_it(lung) -> None:
    """survdiff: chi-square 10.3, p = 0.00131; coxph (Efron): 0.5880 (0.4237-0.816)."""
    row = compare(lung).iloc[0]
    assert (row["arm"], row["reference"]) == ("women", "men")
    assert (row["n"], row["events"], row["n_reference"], row["events_reference"]) == (90, 53, 138, 112)
    assert row["logrank_p"] == pytest.approx(0.00131, abs=5e-6)
    assert row["hazard_ratio"] == pytest.approx(0.5880, abs=5e-5)
    assert row["hazard_ratio_low"] == pytest.approx(0.4237, abs=5e-5)
    assert row["hazard_ratio_high"] == pytest.approx(0.816, abs=5e-4)


def test_lung_by_sex_as_lifelines_has_it(lung) -> None:
    row = compare(lung, tau=700.0).iloc[0]
    (t2, e2), (t1, e1) = lung["men"], lung["women"]
    assert row["logrank_p"] == pytest.approx(logrank_test(t1, t2, e1, e2).p_value)
    table = load_lung().assign(status=lambda rows: rows["status"] == 1)[["time", "status", "sex"]]
    assert row["hazard_ratio"] == pytest.approx(CoxPHFitter().fit(table, "time", "status").hazard_ratios_["sex"], 1e-4)
    theirs = [restricted_mean_survival_time(kaplan_meier_of(t, e), t=700) for t, e in ((t1, e1), (t2, e2))]
    assert row["rmst_difference_months"] == pytest.approx(theirs[0] - theirs[1], rel=1e-6)
    assert row["rmst_low_months"] < row["rmst_difference_months"] < row["rmst_high_months"]
    assert not row["rmst_paired"]


def kaplan_meier_of(time, event):
    from lifelines import KaplanMeierFitter

    return KaplanMeierFitter().fit(time, event)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(4, 60), st.sampled_from(["efron", "breslow"]))
def test_counts_give_what_rows_give(seed: int, n: int, ties: str) -> None:
    rng = np.random.default_rng(seed)
    time, event = rng.integers(1, 8, n).astype(float), rng.random(n) < 0.7
    group = (rng.random(n) < 0.5).astype(float)
    ours = cox(time, event, {"group": group}, ties=ties)
    if ours.converged:
        theirs = PHReg(time, group[:, None], status=event.astype(int), ties=ties).fit()
        assert ours.coef == pytest.approx(theirs.params, abs=1e-5)
        assert ours.std_error == pytest.approx(theirs.bse, rel=1e-4)
        assert ours.log_likelihood == pytest.approx(theirs.llf)
    else:
        assert ours.note


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 50), st.floats(1.5, 9.5))
def test_influence_sums_to_nothing_and_its_squares_to_greenwood(seed: int, n: int, tau: float) -> None:
    rng = np.random.default_rng(seed)
    time, event = rng.integers(1, 10, n).astype(float), rng.random(n) < 0.6
    curve = kaplan_meier(time, event)
    tau = min(tau, float(curve.times[-1]))
    each = influence(curve, time, event, tau)
    assert each.sum() == pytest.approx(0, abs=1e-9)
    assert np.sqrt((each**2).sum()) == pytest.approx(curve.restricted_mean(tau).std_error, abs=1e-9)


def test_paired_limits_without_censoring_are_those_of_differences() -> None:
    rng = np.random.default_rng(4)
    a = rng.exponential(10, 80)
    b = a * rng.uniform(0.8, 1.0, 80)
    all_seen = np.ones(80, bool)
    found, tau = restricted_mean_difference((a, all_seen), (b, all_seen), 12.0, paired=True)
    d = np.minimum(a, 12) - np.minimum(b, 12)
    assert tau == 12
    assert found.value == pytest.approx(d.mean())
    assert found.std_error == pytest.approx(d.std() / np.sqrt(80))
    apart, _ = restricted_mean_difference((a, all_seen), (b, all_seen), 12.0)
    assert apart.value == pytest.approx(found.value)
    assert apart.std_error > 3 * found.std_error


def test_paired_limits_with_censoring_are_those_of_the_bootstrap() -> None:
    rng = np.random.default_rng(5)
    n = 300
    a = rng.exponential(10, n)
    b = a * rng.uniform(0.7, 1.1, n)
    cut = rng.uniform(4, 20, n)
    first, second = ((np.minimum(t, cut), t <= cut) for t in (a, b))
    found, tau = restricted_mean_difference(first, second, 10.0, paired=True)
    draws = []
    for _ in range(400):
        rows = rng.integers(0, n, n)
        one, two = (kaplan_meier(t[rows], e[rows]).restricted_mean(tau).value for t, e in (first, second))
        draws.append(one - two)
    assert found.std_error == pytest.approx(np.std(draws), rel=0.12)  # of 400 draws: 3.5 % standard error


def test_nothing_to_compare_is_said() -> None:
    none = np.array([np.nan, np.nan])
    some = np.array([1.0, 2.0])
    row = compare({"a": (some, np.array([True, False])), "b": (none, np.array([False, False]))}).iloc[0]
    assert row["note"] == "nobody to compare"
    assert np.isnan(row[["logrank_p", "hazard_ratio", "rmst_difference_months"]].astype(float)).all()
    row = compare({name: (some, np.array([False, False])) for name in "ab"}).iloc[0]
    assert row["note"] == "no events"
    with pytest.raises(InputError, match="give one of two groups or more"):
        compare({"a": (some, np.array([True, False]))})
    with pytest.raises(InputError, match="pairs of 2 and 1"):
        restricted_mean_difference((some, some > 1), (some[:1], some[:1] > 1), paired=True)
