"""What published rows are in simulated patients: against numpy, lifelines and the trial's own tables."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines import KaplanMeierFitter

import cartsim as cs
from cartsim.calibration import weighted
from cartsim.calibration.rows import COLUMNS, Sample, statistic, terms
from cartsim.endpoints.survival import kaplan_meier
from cartsim.schedule import MONTH
from cartsim.trial.outcome import Readout


@pytest.fixture(scope="module")
def karmma():
    """KarMMa of the published model at its real size: the sample of three draws, and each as a trial's result."""
    trial = cs.published("karmma")
    again = trial.trial(cs.Population("bb2121_clinical", seed=3), 40)
    read = Readout(again.protocol, False, COLUMNS)
    judged = {arm.name: read(again.measure(i, 0, 120)).patients for i, arm in enumerate(again.arms)}
    return trial, judged, Sample.of(trial, judged, 3)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([1.0, 2.0, 2.5, 4.0, 7.0]), st.booleans(), st.sampled_from([1, 2])),
        min_size=1,
        max_size=12,
    )
)
def test_weighted_curves_are_those_of_patients_repeated(patients):
    time, event, weight = (np.array(each) for each in zip(*patients, strict=True))
    everybody = np.ones((1, len(time)), bool)
    found = weighted.kaplan_meier(time[None], event[None], weight.astype(float), everybody)
    again = kaplan_meier(np.repeat(time, weight), np.repeat(event, weight))
    median = again.median.value
    assert found.median()[0] == (pytest.approx(median) if np.isfinite(median) else np.inf)
    oracle = KaplanMeierFitter().fit(time, event, weights=weight)
    for day in (0.5, 2.0, 3.0, 7.0):
        if day <= time.max():
            assert found.at(day)[0] == pytest.approx(float(oracle.predict(day)), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3)), min_size=1, max_size=10), st.sampled_from([0.25, 0.5]))
def test_weighted_quantiles_are_those_of_patients_repeated(patients, p):
    values, weight = (np.array(each, float) for each in zip(*patients, strict=True))
    found = weighted.quantile(values[None], weight, np.ones((1, len(values)), bool), p)[0]
    repeated = np.repeat(values, weight.astype(int))
    assert found == pytest.approx(np.quantile(repeated, p, method="averaged_inverted_cdf"))


def test_rows_are_what_the_trial_itself_reports(karmma):
    trial, judged, sample = karmma
    own = judged["300e6"]
    best = np.asarray(own["best"]).reshape(3, -1)
    for draw in range(3):
        assert statistic(trial.row("ORR_300"), sample)[draw] == pytest.approx(
            100 * np.isin(best[draw], ["PR", "VGPR", "CR"]).mean()
        )
    # All arms: each patient weighs as many published patients as it stands for.
    shares = [100 * (np.asarray(judged[arm.name]["best"]).reshape(3, -1) == "CR").mean(axis=1) for arm in trial.arms]
    expected = np.average(shares, axis=0, weights=[arm.n for arm in trial.arms])
    assert statistic(trial.row("CR_all"), sample) == pytest.approx(expected)


def test_time_rows_of_one_arm_are_those_of_the_survival_module(karmma):
    trial, judged, sample = karmma
    own, row = judged["450e6"], trial.row("PFS_450")
    for draw in range(3):
        part = slice(draw * 40, draw * 40 + 40)
        median = kaplan_meier(own["pfs_day"][part] / MONTH, own["pfs_event"][part]).median.value
        found = statistic(row, sample)[draw]
        assert found == (pytest.approx(median) if np.isfinite(median) else np.inf)


def test_every_comparable_row_has_a_statistic_and_a_place(karmma):
    trial, _, sample = karmma
    for name in ("crb401", "karmma", "karmma3"):
        fit = [row.id for row in cs.published(name).rows if row.role == "fit"]
        found = [each for term in terms(cs.published(name)) for each in term.ids]
        assert sorted(found) == sorted(fit)
    for row in trial.rows:
        if row.role != "context":
            assert statistic(row, sample).shape == (3,)


def test_terms_count_nobody_twice():
    by_ids = {term.ids: term for term in terms(cs.published("karmma"))}
    response = by_ids["ORR_300", "CR_300"]
    assert dict(zip(response.classes, response.observed, strict=True)) == {
        "NE or PD or SD or MR": 22,
        "PR or VGPR": 28,
        "CR": 20,
    }
    # VGPR or better of all 128 adds only how the 52 with PR or VGPR divide.
    depth = by_ids[("VGPR_all",)]
    assert dict(zip(depth.classes, depth.observed, strict=True)) == {"PR": 27, "VGPR": 25}
    assert by_ids[("PFS_all",)].observed.sum() < 34 < 128


def test_shares_of_a_term_are_shares(karmma):
    trial, _, sample = karmma
    for term in terms(trial):
        read = term.read(sample)
        assert read.shares.shape == (3, len(term.observed)) and read.simulated.shape == (3,)
        known = read.shares[~np.isnan(read.shares).any(axis=1)]
        assert known.sum(axis=1) == pytest.approx(1)
        assert ((known >= 0) & (known <= 1)).all()


def test_counts_that_contradict_are_refused(tmp_path):
    text = """
schema = "cartsim-trial-1"
name = "mine"
title = "a trial"
citation = "me, 2026"
arms = [{ name = "low", dose = 1e8, n = 10 }]
[results]
rows = [
    { id = "ORR", endpoint = "ORR", n = 10, events = 4, role = "fit" },
    { id = "CR", endpoint = "CR", n = 10, events = 6, role = "fit" },
]
"""
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(cs.InputError, match="mine: ORR, CR contradict one another"):
        terms(cs.published(path))
