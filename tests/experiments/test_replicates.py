"""Replicates of a trial: each is a trial that can be run by itself, and what is said of them is what they found."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint, proportions_ztest

import cartsim as cs
from cartsim.errors import InputError
from cartsim.experiments.replicates import Replicates, score_test
from cartsim.population.population import APART
from cartsim.population.uncertainty import UncertainPopulation, uncertain

MODEL = cs.load("bb2121_clinical")
PATIENTS = cs.Population(MODEL, seed=3, variability={"burden": cs.uniform(5, 95)})
N = 25


def of_one(trial: cs.Trial, numbers: range, arm: str = "450e6") -> pd.DataFrame:
    """The summary of a trial of the patients with these numbers, as a user's own."""
    table = trial.population.table(numbers.start, numbers.stop, complete=True)
    alone = cs.Trial(cs.Patients(trial.model, table), [450e6], n=None)
    return alone.run(n_jobs=1).summary.set_index("arm").loc[arm]


@pytest.fixture(scope="module")
def independent() -> Replicates:
    return cs.replicate(cs.Trial(PATIENTS, [1e6, 450e6], N, independent=True), 12, uncertainty=True)


def test_replicate_0_is_the_trial_itself_and_every_other_one_a_trial_of_the_next_patients():
    trial = cs.Trial(PATIENTS, [450e6], N)
    frame = cs.replicate(trial, 3).frame
    itself = trial.run().summary.iloc[0]
    for name in ("ORR", "CR", "PFS_months", "Cmax", "Tmax_day", "AUC0-28"):
        assert frame[name].iloc[0] == itself[name] or (np.isnan(frame[name].iloc[0]) and np.isnan(itself[name]))
        later = of_one(trial, range(2 * N, 3 * N))[name]
        assert frame[name].iloc[2] == later or (np.isnan(frame[name].iloc[2]) and np.isnan(later))
    assert frame["response_6"].iloc[0] == itself["MR-VGPR_6"] + itself["CR_6"]
    assert len(set(frame["Cmax"])) == 3


def test_independent_arms_have_other_patients_and_common_ones_the_same():
    common = cs.Trial(PATIENTS, {"a": 450e6, "b": 450e6}, N).run()
    apart = cs.Trial(PATIENTS, {"a": 450e6, "b": 450e6}, N, independent=True).run()
    for result, same in ((common, True), (apart, False)):
        first, second = (result.arm(name).reset_index(drop=True) for name in ("a", "b"))
        assert (first["Kexp_max"] == second["Kexp_max"]).all() == same
        assert set(first["id"]).isdisjoint(second["id"]) != same
    pd.testing.assert_frame_equal(common.arm("a"), apart.arm("a"))
    drawn = PATIENTS.table(APART, APART + N)["Kexp_max"]
    assert (apart.arm("b")["Kexp_max"].to_numpy() == drawn.to_numpy()).all()
    assert apart.made_by["independent"] and "independent" not in common.made_by


def test_independent_arms_of_a_replicate_share_its_draw_of_the_estimates():
    patients = UncertainPopulation(MODEL, 3, size=N)
    first, second = (patients.table(at, at + 3 * N)["EC50_exp"].to_numpy() for at in (0, APART))
    assert (first == second).all()
    assert len(set(first)) == 3
    found = cs.replicate(cs.Trial(PATIENTS, {"a": 450e6, "b": 450e6}, 60, independent=True), 12, uncertainty=True)
    a, b = (np.log(found.frame.loc[found.frame["arm"] == arm, "Cmax"].to_numpy()) for arm in ("a", "b"))
    assert (a != b).all()
    assert np.corrcoef(a, b)[0, 1] > 0.8


def test_a_replicate_under_uncertainty_is_a_trial_of_the_drawn_model(independent):
    drawn = cs.with_uncertainty(MODEL, PATIENTS.seed, 7)
    patients = cs.Population(drawn, PATIENTS.seed, PATIENTS.variability)
    numbers = range(APART + 7 * N, APART + 8 * N)
    alone = of_one(cs.Trial(patients, [450e6]), numbers)
    row = independent.frame.set_index(["replicate", "arm"]).loc[(7, "450e6")]
    for name in ("ORR", "CR", "Cmax", "AUC0-28"):
        assert row[name] == alone[name]


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("patients", [1, 37, 60])
def test_neither_threads_nor_pieces_nor_more_replicates_change_one(independent, monkeypatch, n_jobs, patients):
    monkeypatch.setattr("cartsim.experiments.replicates.PATIENTS", patients)
    fewer = cs.replicate(cs.Trial(PATIENTS, [1e6, 450e6], N, independent=True), 4, uncertainty=True, n_jobs=n_jobs)
    pd.testing.assert_frame_equal(fewer.frame, independent.frame.head(8))
    pd.testing.assert_frame_equal(fewer.tests, independent.tests.head(4))


def test_arms_of_different_sizes_take_the_first_of_the_same_patients():
    both = cs.replicate(cs.Trial(PATIENTS, [cs.Arm(450e6), cs.Arm(450e6, 10, "small")], N), 3)
    small = both.frame[both.frame["arm"] == "small"].reset_index(drop=True)
    assert set(small["n"]) == {10}
    assert small["Cmax"].iloc[2] == of_one(cs.Trial(PATIENTS, [450e6]), range(2 * N, 2 * N + 10))["Cmax"]


def test_a_checkpoint_goes_on_and_gives_the_same(tmp_path, capsys, independent):
    trial = cs.Trial(PATIENTS, [1e6, 450e6], N, independent=True)
    for _ in range(2):
        again = cs.replicate(trial, 12, uncertainty=True, checkpoint=tmp_path)
        pd.testing.assert_frame_equal(again.frame, independent.frame)
    assert "12 of 12 replicates taken from" in capsys.readouterr().err
    cs.replicate(trial, 12, checkpoint=tmp_path)  # without uncertainty it is another run
    assert len(list(tmp_path.iterdir())) == 2


def test_the_spread_of_response_rates_is_binomial_without_uncertainty():
    """The rate of 40 patients over 150 replicates against the binomial of their common rate."""
    found = cs.replicate(cs.Trial(PATIENTS, [450e6], 40), 150)
    responded = np.rint(found.frame["CR"] * 40 / 100)
    rate = responded.sum() / (150 * 40)
    dispersion = ((responded - 40 * rate) ** 2).sum() / (40 * rate * (1 - rate))
    assert 0.001 < stats.chi2.cdf(dispersion, 149) < 0.999
    low, high = found.summary.loc[0, ["CR_low", "CR_high"]] * 40 / 100
    assert [low, high] == pytest.approx(stats.binom.ppf([0.025, 0.975], 40, rate), abs=2.01)


def test_power_is_the_share_of_p_values_and_better_that_of_the_frame(independent):
    pairs = independent.pairs(alpha=0.2).set_index("endpoint")
    wide = independent.frame.pivot(index="replicate", columns="arm")
    assert (set(pairs["arm"]), set(pairs["reference"])) == ({"450e6"}, {"1e6"})
    assert pairs["higher"]["ORR"] == (wide["ORR", "450e6"] > wide["ORR", "1e6"]).mean()
    assert pairs["power"]["PFS_months"] == (independent.tests["p_PFS"] < 0.2).mean()
    longer = wide["PFS_months", "450e6"].fillna(np.inf) > wide["PFS_months", "1e6"].fillna(np.inf)
    assert pairs["higher"]["PFS_months"] == longer.mean()
    low, high = proportion_confint((independent.tests["p_PFS"] < 0.2).sum(), 12, method="wilson")
    assert [pairs["power_low"]["PFS_months"], pairs["power_high"]["PFS_months"]] == pytest.approx([low, high])
    assert pairs["power"]["ORR"] >= independent.pairs(0.01).set_index("endpoint")["power"]["ORR"]
    assert pairs["power"].drop(["ORR", "PFS_months"]).isna().all()
    ratio = (wide["Cmax", "450e6"] / wide["Cmax", "1e6"]).to_numpy()
    assert pairs["difference"]["Cmax"] == np.quantile(ratio, 0.5, method="inverted_cdf")


def test_compared_with_a_reference_an_arm_is_the_other_one_turned_round(independent):
    one, other = (independent.pairs(reference=arm).set_index("endpoint") for arm in ("1e6", "450e6"))
    assert set(one["reference"]) == {"1e6"} and set(other["arm"]) == {"1e6"}
    wide = independent.frame.pivot(index="replicate", columns="arm")
    assert other["higher"]["CR"] == (wide["CR", "1e6"] > wide["CR", "450e6"]).mean()
    assert one["low"]["CR"] == np.quantile(wide["CR", "450e6"] - wide["CR", "1e6"], 0.025, method="inverted_cdf")
    pd.testing.assert_series_equal(one["power"], other["power"])
    with pytest.raises(InputError, match="no arm '9'"):
        independent.pairs(reference="9")


def test_where_neither_arm_reaches_its_median_there_is_no_difference_and_of_one_alone_it_is_not_reached():
    frame = pd.DataFrame({"replicate": np.repeat(range(4), 2), "arm": ["a", "b"] * 4, "n": 9, "failed": 0})
    frame["PFS_months"] = [np.nan, np.nan, 8.0, np.nan, 5.0, 6.0, 7.0, 9.5]
    tests = pd.DataFrame({"replicate": range(4), "arm": "b", "reference": "a", "p_PFS": [0.9, 0.01, 0.3, np.nan]})
    (row,) = Replicates(frame, tests, {"a": 1.0, "b": 2.0}).pairs().to_dict("records")
    assert (row["low"], row["difference"], row["higher"]) == (0.0, 1.0, 0.75)  # of 0, 1, 2.5, not reached
    assert np.isnan(row["high"])
    assert row["power"] == 0.25


def test_independent_arms_of_one_treatment_differ_as_two_binomials_and_common_ones_never():
    """Of CR in arms of 40 over 150 replicates: variance 2np(1 - p), and as many false findings as the test allows."""
    arms = {"a": 450e6, "b": 450e6}
    found = cs.replicate(cs.Trial(PATIENTS, arms, 40, independent=True), 150)
    counts = np.rint(found.frame.pivot(index="replicate", columns="arm")["CR"] * 40 / 100)
    rate = counts.to_numpy().mean() / 40
    dispersion = ((counts["a"] - counts["b"]) ** 2).sum() / (2 * 40 * rate * (1 - rate))
    assert 0.001 < stats.chi2.cdf(dispersion, 150) < 0.999
    pairs = found.pairs().set_index("endpoint")
    assert pairs["power"]["ORR"] * 150 <= stats.binom.ppf(0.999, 150, 0.05)
    assert pairs["low"]["CR"] < 0 < pairs["high"]["CR"]
    same = cs.replicate(cs.Trial(PATIENTS, arms, 40), 10).pairs().set_index("endpoint")
    assert (same[["low", "high"]].drop(["Cmax", "AUC0-28"]) == 0).all(axis=None)
    assert (same["higher"] == 0).all()


def test_replicates_scatter_by_sampling_and_by_estimates_as_a_closed_form_says():
    """Of the logarithm of Kexp_max, normal between patients: its mean over n has variance omega**2/n + rse**2."""
    n, times = 25, 400
    p = MODEL.parameters["Kexp_max"]
    for uncertainty, variance in ((False, p.iiv.omega**2 / n), (True, None)):
        patients = uncertain(PATIENTS, n, True) if uncertainty else PATIENTS
        means = np.log(patients.table(0, n * times)["Kexp_max"].to_numpy()).reshape(times, n).mean(axis=1)
        if variance is None:  # omegas are drawn too: E[omega**2] = omega**2 exp(2 rse**2)
            variance = p.iiv.omega**2 * np.exp(2 * (p.iiv.rse or 0.0) ** 2) / n + p.rse**2
        dispersion = ((means - np.log(p.value)) ** 2).sum() / variance
        assert 0.0005 < stats.chi2.cdf(dispersion, times) < 0.9995


def test_limits_are_percentiles_and_a_median_not_reached_is_the_longest():
    frame = pd.DataFrame({"replicate": range(5), "arm": "a", "n": 9, "failed": 0, "ORR": [50, 10, 30, 20, 40.0]})
    frame["PFS_months"] = [np.nan, 8.0, 9.0, np.nan, 7.0]
    (row,) = Replicates(frame, frame[:0], {"a": 1.0}).limits(0.5).to_dict("records")
    assert (row["ORR"], row["ORR_low"], row["ORR_high"]) == (30, 20, 40)
    assert (row["PFS_months"], row["PFS_months_low"]) == (9, 8)
    assert np.isnan(row["PFS_months_high"])


@settings(deadline=None)
@given(n_a=st.integers(1, 300), n_b=st.integers(1, 300), data=st.data())
def test_the_score_test_is_that_of_statsmodels(n_a, n_b, data):
    a, b = data.draw(st.integers(0, n_a)), data.draw(st.integers(0, n_b))
    p = float(score_test(np.array(a), np.array(b), n_a, n_b))
    if a + b in (0, n_a + n_b):
        assert np.isnan(p)
    else:
        assert p == pytest.approx(proportions_ztest([a, b], [n_a, n_b])[1], rel=1e-9, abs=1e-300)


def test_common_arms_are_warned_of_and_results_are_saved(independent, tmp_path):
    common = cs.replicate(cs.Trial(PATIENTS, [1e6, 450e6], 10), 3)
    assert "independent=True" in common.warnings[0]
    assert independent.warnings == ()
    written = {path.name for path in independent.save(tmp_path)}
    assert written == {"replicates.csv", "replicates_summary.csv", "replicates_tests.csv", "replicates_pairs.csv",
                       "replicates.json"}  # fmt: skip
    assert "parameter uncertainty" in repr(independent)


@pytest.mark.parametrize(
    ("trial", "settings", "message"),
    [
        (cs.Trial(PATIENTS, [450e6], 5), {"times": 0}, "0 replicates"),
        (cs.Trial(PATIENTS, [450e6], 5), {"times": 10**9}, "at most"),
        (cs.Trial(cs.Patients(MODEL, {"burden": [5, 50]}), [450e6]), {}, "other patients each time"),
        (cs.Trial(cs.Population(MODEL, sampler="sobol"), [450e6], 5), {}, "other patients each time"),
        (cs.Trial(cs.select(PATIENTS, 40, {"Cmax": (1e3, 1e6)}).population, [450e6]), {}, "other patients each time"),
        (cs.Trial(PATIENTS, [450e6], 5), {"uncertainty": pd.DataFrame({"x": [1.0]}, index=["x"])}, "'x'"),
    ],
)
def test_what_cannot_be_replicated(trial, settings, message):
    with pytest.raises(InputError, match=message):
        cs.replicate(trial, **settings)


@pytest.mark.parametrize("who", [cs.Patients(MODEL, {"burden": [5, 50]}), cs.Population(MODEL, sampler="sobol")])
def test_no_independent_arms_of_patients_that_end(who):
    with pytest.raises(InputError, match="patients without end"):
        cs.Trial(who, [1e6, 450e6], 1, independent=True)
