"""Conduct of a trial: the distributions that fates follow, and that a fate hangs on its address alone."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cartsim.endpoints.censoring import overall_survival, progression_free_survival
from cartsim.endpoints.response import judge
from cartsim.endpoints.rules import IMWG2016
from cartsim.errors import InputError
from cartsim.trial.conduct import KARMMA_FOLLOWUP, MONTH, Conduct, Course, Followup, draw

NAN = float("nan")
N = 20_000
DAYS = np.array([0.0, 28.0, *(MONTH * m for m in (2, 3, 4, 5, 6, 9, 12, 15, 18, 21, 24))])
EVERYTHING = Conduct(missed=0.1, dropout=0.02, new_therapy=0.03, death=0.04, followup=KARMMA_FOLLOWUP)
PUBLISHED = [393.236700006277, 575.2955313608383, 1030.5594037147732, 1934.787430676896]
HAZARDS = ("dropout", "new_therapy", "death")


def same(one: Course, other: Course) -> bool:
    return all(np.array_equal(getattr(one, f.name), getattr(other, f.name), True) for f in fields(Course))


def rows(course: Course, keep: slice) -> Course:
    return Course(*(getattr(course, f.name)[keep] for f in fields(Course)))


# --- what is drawn ---


def test_by_default_everything_is_seen():
    course = draw(Conduct(), 1, 0, 100, DAYS)
    assert course.evaluable.shape == (100, len(DAYS))
    assert course.evaluable.all()
    for field in fields(Course)[1:]:
        assert np.isnan(getattr(course, field.name)).all(), field.name


@pytest.mark.parametrize("event", HAZARDS)
def test_waiting_times_are_exponential(event):
    hazard = 0.05
    waiting = getattr(draw(Conduct(**{event: hazard}), 1, 0, N, DAYS), f"{event}_day")
    assert stats.kstest(waiting / MONTH, stats.expon(scale=1 / hazard).cdf).pvalue > 0.01
    assert waiting.mean() == pytest.approx(MONTH / hazard, rel=4 / N**0.5)


@pytest.mark.parametrize("followup", [KARMMA_FOLLOWUP, Followup(24.8, 1.7, 33.6), Followup(12, 12, 12.5)])
def test_followup_has_the_stated_median_and_range(followup):
    months = draw(Conduct(followup=followup), 1, 0, N, DAYS).followup_day / MONTH
    assert months.min() >= followup.shortest
    assert months.max() <= followup.longest
    assert (months < followup.median - 1e-9).mean() <= 0.5 + 2 / N**0.5
    assert (months > followup.median + 1e-9).mean() <= 0.5 + 2 / N**0.5


def test_followup_is_uniform_on_either_side_of_the_median():
    months = draw(Conduct(followup=KARMMA_FOLLOWUP), 1, 0, N, DAYS).followup_day / MONTH
    expected = stats.rv_histogram((np.array([0.5, 0.5]), np.array([11.8, 13.3, 21.2])), density=False)
    assert expected.median() == pytest.approx(13.3)
    assert stats.kstest(months, expected.cdf).pvalue > 0.01
    assert months.mean() == pytest.approx(expected.mean(), abs=4 * expected.std() / N**0.5)


def test_nobody_in_karmma_is_cut_off_before_the_paper_says():
    """3 months before April 19, 2019 the last patient was treated; the data end on January 14, 2020."""
    last = pd.Timestamp("2019-04-19") - pd.DateOffset(months=3)
    assert KARMMA_FOLLOWUP.shortest == pytest.approx((pd.Timestamp("2020-01-14") - last).days / MONTH, abs=0.1)
    assert draw(Conduct(followup=KARMMA_FOLLOWUP), 1, 0, N, DAYS).last_day.min() >= 11.8 * MONTH


def test_one_followup_for_all_is_a_point():
    course = draw(Conduct(followup=Followup(6, 6, 6)), 1, 0, 50, DAYS)
    np.testing.assert_allclose(course.last_day, 6 * MONTH)
    assert (course.evaluable == (DAYS <= 6 * MONTH)).all()  # a visit on the last day takes place


def test_the_early_hazard_of_death_ends_with_its_months():
    """Two exponentials, one after the other; and nobody else dies later than without it."""
    conduct = Conduct(death=0.05, early_death=0.1, early_months=1.5)
    months = draw(conduct, 1, 0, N, DAYS).death_day / MONTH
    for month, expected in ((0.5, 0.15 * 0.5), (1.5, 0.15 * 1.5), (6.0, 0.15 * 1.5 + 0.05 * 4.5)):
        assert (months < month).mean() == pytest.approx(1 - np.exp(-expected), abs=4 * 0.5 / np.sqrt(N))
    late = draw(replace(conduct, early_death=0.0), 1, 0, N, DAYS).death_day / MONTH
    assert (months[months >= 1.5] == late[months >= 1.5]).all()
    assert np.isnan(draw(replace(conduct, death=0.0), 1, 0, N, DAYS).death_day).any()


def test_samples_are_cut_off_so_many_months_before_the_data():
    conduct = replace(EVERYTHING, kinetics_cutoff=8.9)
    course, without = draw(conduct, 1, 0, N, DAYS), draw(EVERYTHING, 1, 0, N, DAYS)
    np.testing.assert_array_equal(course.last_day, without.last_day)
    np.testing.assert_array_equal(without.sampled_day, without.last_day)
    np.testing.assert_array_equal(course.sampled_day, np.fmin(course.last_day, course.followup_day - 8.9 * MONTH))


def test_visits_are_missed_independently_and_baselines_never():
    seen = draw(Conduct(missed=0.2), 1, 0, N, [-7, *DAYS]).evaluable
    assert seen[:, :2].all()
    for visit in seen[:, 2:].T:
        assert stats.binomtest(int((~visit).sum()), N, 0.2).pvalue > 0.001
    correlation = np.corrcoef(seen[:, 2:].T)
    assert np.abs(correlation[~np.eye(len(correlation), dtype=bool)]).max() < 4.5 / N**0.5


def test_every_visit_can_be_missed():
    assert (draw(Conduct(missed=1), 1, 0, 20, DAYS).evaluable == (DAYS <= 0)).all()


def test_fates_are_independent():
    course = draw(EVERYTHING, 1, 0, N, DAYS)
    days = [course.followup_day, *(getattr(course, f"{event}_day") for event in HAZARDS)]
    correlation = stats.spearmanr(np.array(days).T).statistic
    assert np.abs(correlation[~np.eye(4, dtype=bool)]).max() < 4 / N**0.5


def test_nothing_is_seen_after_the_last_day():
    course = draw(replace(EVERYTHING, missed=0), 1, 0, N, DAYS)
    ends = np.array([course.followup_day, course.dropout_day, course.death_day])
    np.testing.assert_array_equal(course.last_day, ends.min(axis=0))
    np.testing.assert_array_equal(course.evaluable, course.last_day[:, None] >= DAYS)
    assert (course.new_therapy_day < course.last_day).any()  # and a new therapy ends nothing


# --- what endpoints make of it ---


def test_censored_deaths_give_back_their_survival_curve():
    hazard = 0.04
    course = draw(replace(EVERYTHING, death=hazard), 3, 0, N, DAYS)
    time, event, _ = overall_survival(course.death_day, course.last_day)
    assert 0.1 < event.mean() < 0.9
    curve = stats.ecdf(stats.CensoredData.right_censored(time / MONTH, ~event)).sf
    months = np.arange(1, 20)
    low, high = curve.confidence_interval(0.999)
    expected = stats.expon(scale=1 / hazard).sf(months)
    assert (low.evaluate(months) < expected).all()
    assert (expected < high.evaluate(months)).all()


def test_the_days_mean_to_the_endpoints_what_they_mean_here():
    course = draw(replace(EVERYTHING, new_therapy=0), 1, 0, 500, DAYS)
    mprotein = np.where(course.evaluable, 20.0, NAN)
    judged = judge(mprotein, DAYS, 20.0, IMWG2016(), death_day=course.death_day, end_day=course.last_day)
    np.testing.assert_array_equal(judged.evaluable, course.evaluable & (DAYS > 0))
    time, event, reason = progression_free_survival(
        DAYS,
        course.evaluable,
        judged.progression_day,
        death_day=course.death_day,
        new_therapy_day=course.new_therapy_day,
        followup_day=course.last_day,
        rule="ema",
    )
    died = course.death_day == course.last_day
    np.testing.assert_array_equal(event, died)
    np.testing.assert_array_equal(time[died], course.death_day[died])
    assert set(reason) == {"death", "no event", "no later assessment"}


# --- addresses ---


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**64),
    start=st.integers(0, 10**6),
    cut=st.integers(0, 15),
    columns=st.lists(st.integers(0, len(DAYS) - 1), unique=True),
)
def test_chunks_and_further_visits_change_no_fate(seed, start, cut, columns):
    whole = draw(EVERYTHING, seed, start, start + 15, DAYS)
    assert same(draw(EVERYTHING, seed, start, start + cut, DAYS), rows(whole, slice(cut)))
    assert same(draw(EVERYTHING, seed, start + cut, start + 15, DAYS), rows(whole, slice(cut, None)))
    fewer = draw(EVERYTHING, seed, start, start + 15, DAYS[columns])
    assert same(fewer, replace(whole, evaluable=whole.evaluable[:, columns]))


@pytest.mark.parametrize("off", [*HAZARDS, "followup"])
def test_one_fate_changes_no_other(off):
    course = draw(EVERYTHING, 1, 0, 100, DAYS)
    without = draw(replace(EVERYTHING, **{off: None if off == "followup" else 0}), 1, 0, 100, DAYS)
    for name in ("followup", *HAZARDS):
        day, before = getattr(without, f"{name}_day"), getattr(course, f"{name}_day")
        np.testing.assert_array_equal(day, np.full(100, NAN) if name == off else before)


def test_a_greater_risk_brings_the_same_fates_earlier_and_the_same_misses_and_more():
    low, high = (draw(Conduct(missed=p, death=p), 1, 0, 1000, DAYS) for p in (0.1, 0.3))
    np.testing.assert_allclose(low.death_day, 3 * high.death_day)
    seen_low, seen_high = (draw(Conduct(missed=p), 1, 0, 1000, DAYS).evaluable for p in (0.1, 0.3))
    assert seen_low[seen_high].all()
    assert not seen_high[seen_low].all()


def test_published_fates_stay_the_same():
    """The address of a fate is a promise: these values must not change between versions or machines."""
    course = draw(EVERYTHING, 1, 0, 1, DAYS)
    found = [getattr(course, f.name)[0] for f in fields(Course)[1:5]]
    assert found == pytest.approx(PUBLISHED, rel=1e-13)


def test_no_patients_and_no_visits():
    assert draw(EVERYTHING, 1, 5, 5, DAYS).evaluable.shape == (0, len(DAYS))
    assert draw(EVERYTHING, 1, 0, 3, []).evaluable.shape == (3, 0)


# --- bad input ---


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"missed": 1.2}, "missed is 1.2; a probability"),
        ({"missed": -0.1}, "missed is -0.1"),
        ({"missed": NAN}, "missed: must be a finite number"),
        ({"dropout": -0.01}, "dropout is -0.01; a hazard"),
        ({"death": "often"}, "death: must be a finite number"),
        ({"new_therapy": float("inf")}, "new_therapy: must be a finite number"),
        ({"followup": (13.3, 0.2, 21.2)}, "give a Followup"),
    ],
)
def test_impossible_conduct_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Conduct(**settings)


@pytest.mark.parametrize(
    ("months", "message"),
    [
        ((0.2, 13.3, 21.2), "13.3 to 21.2 months with median 0.2"),
        ((13.3, -1, 21.2), "0 <= shortest"),
        ((13.3, 0.2, float("inf")), "longest: must be a finite number"),
        (("long", 0.2, 21.2), "median: must be a finite number"),
    ],
)
def test_impossible_followup_is_refused(months, message):
    with pytest.raises(InputError, match=message):
        Followup(*months)


@pytest.mark.parametrize(
    ("patients", "days", "message"),
    [
        ((0, 3), [[28.0]], "finite numbers"),
        ((0, 3), [28.0, NAN], "finite numbers"),
        ((0, 3), ["day 28"], "finite numbers"),
        ((-1, 3), [28.0], "numbered from 0"),
        ((5, 3), [28.0], "start <= stop"),
    ],
)
def test_impossible_draws_are_refused(patients, days, message):
    with pytest.raises(InputError, match=message):
        draw(Conduct(), 1, *patients, days)
