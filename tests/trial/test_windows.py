"""Visits within windows: on which day they take place, and what a trial makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cartsim as cs
from cartsim.endpoints.response import judge
from cartsim.errors import InputError
from cartsim.schedule import KARMMA_KINETICS, KARMMA_RESPONSE, MONTH
from cartsim.trial import KARMMA_FOLLOWUP
from cartsim.trial.windows import attended_days, spans

WINDOW = (-3, 7)
PATIENTS = cs.Population("bb2121_clinical", 3, {"burden": cs.uniform(5, 95)})
SEEN = cs.Protocol(
    cs.Visits(window=WINDOW, kinetics_window=(-1, 1)),
    {"mprotein": cs.Assay(cv=0.1), "transgene": cs.Assay(cv=0.5)},
    cs.Conduct(0.1, 0.02, 0.05, 0.02, KARMMA_FOLLOWUP, early_death=0.05, kinetics_cutoff=8.9),
)

DAYS = st.lists(st.integers(1, 1200).map(lambda quarter: quarter / 4), min_size=1, max_size=12, unique=True).map(sorted)
WINDOWS = st.tuples(st.integers(-40, 0), st.integers(0, 40))


@settings(deadline=None)
@given(days=DAYS, window=WINDOWS, seed=st.integers(0, 99), start=st.integers(0, 10**6), cut=st.integers(1, 19))
def test_visits_keep_their_order_and_their_windows(days, window, seed, start, cut):
    span = spans(days, window)
    found = attended_days(days, span, seed, start, start + 20)
    assert (np.diff(found) > 0).all()
    offset = found - days
    assert (offset == np.rint(offset)).all()
    assert (offset >= window[0]).all()
    assert (offset <= window[1]).all()
    assert (found >= np.minimum(1, days)).all()
    parts = [attended_days(days, span, seed, *each) for each in ((start, start + cut), (start + cut, start + 20))]
    np.testing.assert_array_equal(found, np.concatenate(parts))


@settings(deadline=None)
@given(response=DAYS, kinetics=DAYS, window=WINDOWS, sampling=WINDOWS)
def test_samples_keep_their_order_and_those_at_an_assessment_have_its_day(response, kinetics, window, sampling):
    try:
        visits = cs.Visits(response, kinetics, window=window, kinetics_window=sampling)
    except InputError:
        assert set(response) & set(kinetics)  # no other samples are refused
        return
    seen, sampled = visits.attended(1, 0, 30)
    assert (np.diff(sampled) > 0).all()
    assert np.isin(sampled, visits.possible()).all()
    assert np.isin(seen, visits.possible()).all()
    for day in set(response) & set(kinetics):
        at = np.atleast_2d(seen)[:, response.index(day)], np.atleast_2d(sampled)[:, kinetics.index(day)]
        np.testing.assert_array_equal(*at)


def test_every_day_of_a_window_is_as_likely():
    n = 110_000
    found = attended_days(KARMMA_RESPONSE, spans(KARMMA_RESPONSE, WINDOW), 1, 0, n)
    for visit, day in enumerate(KARMMA_RESPONSE):
        counts = np.unique(found[:, visit] - day, return_counts=True)
        assert list(counts[0]) == list(range(-3, 8))
        assert counts[1] == pytest.approx(np.full(11, n / 11), rel=0.05)
    assert np.abs(np.corrcoef(found.T) - np.eye(len(KARMMA_RESPONSE))).max() < 0.02


def test_how_much_later_an_event_is_found():
    """In visits g days apart, (g^2 + 2 v) / (2 g) after it, v the variance of a visit's day: renewal theory."""
    n, gap = 200_000, 30
    planned = [30.0 * k for k in range(1, 9)]
    days = attended_days(planned, spans(planned, WINDOW), 1, 0, n)
    event = 100 + 60 * np.random.default_rng(1).random(n)
    mprotein = np.where(days > event[:, None], 90.0, 30.0)
    found = judge(mprotein, days, 30.0, cs.IMWG2016()).progression_day - event
    assert found.mean() == pytest.approx((gap**2 + 2 * 10) / (2 * gap), abs=0.06)


def test_no_window_is_what_was_planned_bit_for_bit():
    """And with windows that hold the planned day alone, only the shape of what is kept differs."""
    plain = replace(SEEN, visits=cs.Visits())
    one = cs.Trial(PATIENTS, [450e6], 40, plain)
    other = replace(one, protocol=replace(SEEN, visits=cs.Visits(window=(0, 0), kinetics_window=(0, 0))))
    pd.testing.assert_frame_equal(one.run().patients, other.run().patients, check_exact=True)
    late = replace(one, protocol=replace(plain, visits=cs.Visits((*KARMMA_RESPONSE, 900.0), window=(0, 0))))
    wide = cs.Visits((*KARMMA_RESPONSE, 900.0), (*KARMMA_KINETICS, 800.0), kinetics_window=(0, 9))
    first = replace(late, protocol=replace(plain, visits=wide)).run().visits["450e6"]
    np.testing.assert_array_equal(late.run().visits["450e6"].mprotein, first.mprotein)


def test_chunks_threads_arms_and_checkpoints_change_nothing(tmp_path: Path):
    trial = cs.Trial(PATIENTS, [150e6, 450e6], 50, SEEN)
    whole = trial.run(chunk=100)
    for how in (
        {"chunk": 7, "n_jobs": 2},
        {"chunk": 20, "checkpoint": tmp_path},
        {"chunk": 20, "checkpoint": tmp_path},
    ):
        again = trial.run(**how)
        pd.testing.assert_frame_equal(again.patients, whole.patients, check_exact=True)
        for arm, seen in whole.visits.items():
            pd.testing.assert_frame_equal(again.visits[arm].frame(SEEN.visits), seen.frame(SEEN.visits))
    low, high = whole.visits.values()
    np.testing.assert_array_equal(low.days, high.days)


def test_the_truth_is_measured_on_the_day_of_the_visit():
    bare = cs.Trial(PATIENTS, [450e6], 12, cs.Protocol(cs.Visits(window=WINDOW, kinetics_window=(0, 2))))
    seen = bare.run().visits["450e6"]
    assert np.isin(seen.kinetic_days[:, 0], (2, 3, 4)).all()
    for who in range(12):
        for days, name, output in ((seen.days, "mprotein", "mprotein_gL"), (seen.kinetic_days,) + ("transgene",) * 2):
            own = cs.simulate(PATIENTS, n=12, dose=450e6, times=[0.0, *days[who]], outputs=[output])
            np.testing.assert_allclose(getattr(seen, name)[who], own[output][who, 1:], rtol=1e-9)
    result = bare.run()
    assert set(result.patients["response_day"].dropna()) <= set(seen.days.ravel())
    assert result.patients["os_day"].tolist() == list(seen.days[:, -1])  # nothing ends observation but the last visit


def test_a_stored_trial_is_judged_as_the_trial_itself(tmp_path: Path):
    ran = cs.Trial(PATIENTS, [cs.Arm(150e6, 30), cs.Arm(450e6, 20)], protocol=SEEN).run()
    ran.save(tmp_path)
    stored = cs.read_trial(tmp_path)
    assert stored.protocol.visits == SEEN.visits
    for rules in (cs.Rules(), cs.Rules(cs.IMWG2016(confirm=False), censoring="ema", sampled_until="progression")):
        pd.testing.assert_frame_equal(stored.judge(rules).patients, ran.judge(rules).patients, check_exact=True)
    table = pd.read_parquet(tmp_path / "visits.parquet")
    assert (table.groupby(["arm", "id"])["planned"].diff().dropna() > 0).all()
    table.loc[table["planned"] == 28.0, "time"] = 36.0
    table.to_parquet(tmp_path / "visits.parquet", index=False)
    with pytest.raises(InputError, match="outside of the windows"):
        cs.read_trial(tmp_path)


def test_samples_end_with_their_own_cutoff_and_if_asked_with_progression():
    trial = cs.Trial(PATIENTS, [450e6], 400, replace(SEEN, visits=cs.Visits()))
    result = trial.run()
    seen, end = result.visits["450e6"], result.patients["end_day"].to_numpy()[:, None]
    later = seen.kinetic_days > end
    assert np.isnan(seen.transgene[later]).all()
    without = replace(trial, protocol=replace(trial.protocol, conduct=replace(SEEN.conduct, kinetics_cutoff=0.0))).run()
    np.testing.assert_array_equal(without.visits["450e6"].mprotein, seen.mprotein)
    cut = np.isnan(seen.transgene) & np.isfinite(without.visits["450e6"].transgene)
    assert cut.any(axis=1).mean() > 0.7
    followed = result.patients["death_day"].isna().to_numpy() & (seen.kinetic_days[0] < end - 9 * MONTH).any(axis=1)
    assert not cut[followed][:, 0].any()
    left = without.judge(cs.Rules(sampled_until="progression")).patients
    gone = left[["progression_day", "new_therapy_day"]].min(axis=1)
    assert (left["tlast_day"].dropna() <= gone.reindex(left["tlast_day"].dropna().index).fillna(np.inf)).all()
    assert (without.patients["tlast_day"] > gone).any()


def test_persistence_counts_those_with_a_sample():
    result = cs.Trial(PATIENTS, [150e6, 450e6], 200, SEEN).run()
    table = result.persistence().set_index(["arm", "month"])
    for (arm, month), row in table.iterrows():
        own = result.arm(arm)[f"persistence_{month}m"]
        assert (row["n"], row["evaluable"], row["detectable"]) == (len(own), own.count(), own.eq(True).sum())
        share = row["detectable"] / row["evaluable"] if row["evaluable"] else np.nan
        assert row["percent"] == pytest.approx(100 * share, nan_ok=True)
    assert table["evaluable"].xs(12, level="month").max() < table["evaluable"].xs(6, level="month").min()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: cs.Visits(window=(1, 3)), "holds the planned day"),
        (lambda: cs.Visits(window=(-3, 7.5)), r"give whole days before and after, such as \(-3, 7\)"),
        (lambda: cs.Visits(window=7), "give whole days"),
        (lambda: cs.Visits(window=(-3, float("nan"))), "give whole days"),
        (lambda: cs.Visits(kinetics_window=(-3, 900)), "at most 366 days"),
        (lambda: cs.Visits((28, 60), (28, 30), window=(0, 7)), "day 28 and day 30 might change places"),
        (lambda: cs.Conduct(kinetics_cutoff=8.9), "give followup too"),
        (lambda: cs.Conduct(early_death=-0.1), "a hazard"),
        (lambda: cs.Conduct(early_months=-1.0), "give months"),
        (lambda: cs.Rules(sampled_until="death"), "cut-off or progression"),
    ],
)
def test_what_cannot_be_is_refused(call, says):
    with pytest.raises(InputError, match=says):
        call()
