"""Predictions of published trials, baselines without a model, and what is known when a trial's file is opened."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import betabinom

import cartsim as cs
from cartsim.calibration import prediction
from cartsim.calibration.prediction import Prediction, scored
from cartsim.model import toml_file


@pytest.fixture(scope="module")
def found() -> Prediction:
    return cs.predict("karmma", cs.Population("bb2121_clinical", seed=4), replicates=12)


def test_every_row_that_can_be_is_predicted(found):
    trial = cs.published("karmma")
    assert set(found.frame["id"]) == {row.id for row in trial.rows if row.role != "context"}
    assert set(found.skipped["id"]) == {row.id for row in trial.rows if row.role == "context"}
    assert len(found.statistics) == 12
    row = found.frame.set_index("id").loc["ORR_all"]
    drawn = found.statistics["ORR_all"]
    assert row["predicted_low"] <= row["predicted"] <= row["predicted_high"]
    assert drawn.between(row["predicted_low"], row["predicted_high"]).mean() >= 0.9
    assert np.allclose(drawn * 128 / 100, (drawn * 128 / 100).round())  # counts of 128 real patients


def test_the_first_trials_of_many_are_those_of_fewer_in_any_number_of_threads(found):
    fewer = cs.predict("karmma", cs.Population("bb2121_clinical", seed=4), replicates=5, n_jobs=1)
    pd.testing.assert_frame_equal(fewer.statistics, found.statistics.head(5))
    other = cs.predict("karmma", "bb2121_clinical", seed=5, replicates=5)
    assert not other.statistics.equals(fewer.statistics)


def test_a_trial_of_the_population_itself_is_covered(tmp_path):
    """Ninety percent limits hold what the same population gives in a trial that was not among those simulated."""
    found = cs.predict("crb401", "bb2121_clinical", replicates=120)
    shares = [row.id for row in found.trial.rows if row.id in found.statistics and row.statistic == "share"]
    inside = []
    for draw in range(20):
        rest = found.statistics.drop(index=draw)
        low, high = rest[shares].quantile([0.05, 0.95]).to_numpy()
        inside.append(
            ((found.statistics.loc[draw, shares] >= low) & (found.statistics.loc[draw, shares] <= high)).mean()
        )
    assert np.mean(inside) > 0.88


def test_a_baseline_without_a_model_is_beta_binomial():
    found = cs.baseline("karmma", "crb401", draws=20_000)
    row = found.frame.set_index("id").loc["ORR_all"]
    exact = betabinom(128, 28.5, 5.5)
    assert [row["predicted_low"], row["predicted_high"]] == pytest.approx(
        [100 * exact.ppf(p) / 128 for p in (0.05, 0.95)], abs=1
    )
    # Medians: both errors, of the limits that are known and of as many patients as the new trial has.
    spread = np.log(found.statistics["PFS_all"]).std()
    assert spread == pytest.approx(np.hypot(np.log(17.8 / 6.2) / 3.92, 1 / (np.log(2) * np.sqrt(128))), rel=0.02)
    with pytest.raises(cs.InputError, match="draws"):
        cs.baseline("karmma", "crb401", draws=0)


def test_predictions_are_compared_by_the_rows_that_both_have(found):
    known = cs.baseline("karmma", "crb401")
    table = found.compare(known)
    every = table[table["kind"] == "all"].set_index("prediction")
    shared = set(found.frame["id"]) & set(known.frame["id"])
    counted = [row.id for row in found.trial.rows if row.id in shared and row.role == "fit"]
    assert every["rows"].tolist() == [len(counted)] * 2
    own = known.frame.set_index("id").loc[counted]
    assert every.loc[known.name, "interval_score"] == pytest.approx(own["interval_score"].mean())
    assert len(found.rows(known)) == len(found.frame)
    with pytest.raises(cs.InputError, match="compare those of one trial"):
        found.compare(cs.baseline("crb401", "karmma"))


def test_it_is_a_result(found, tmp_path):
    names = {path.name for path in found.save(tmp_path)}
    assert names >= {"prediction.csv", "prediction_scores.csv", "prediction_skipped.csv", "prediction.json"}
    assert "KarMMa as predicted by bb2121_clinical" in repr(found)


def test_what_is_not_reached_is_within_limits_without_an_end():
    trial = cs.published("karmma")
    row = scored("x", trial, pd.DataFrame({"DOR_CR": np.full(10, np.inf)}), {}).frame.iloc[0]
    assert row["within"] and not row["covers"] and np.isfinite(row["interval_score"])


def test_the_population_is_frozen_before_the_trial_is_opened(monkeypatch):
    """The digest of all that predicts is taken while the file of the trial that is predicted is still closed."""
    happened = []
    read, freeze = toml_file.content, prediction.frozen
    monkeypatch.setattr(
        cs.trial.published, "content", lambda path, what: (happened.append(Path(path).name), read(path, what))[1]
    )
    monkeypatch.setattr(prediction, "frozen", lambda who: (happened.append("frozen"), freeze(who))[1])
    population = cs.Population("bb2121_clinical", seed=1)
    found = cs.predict("karmma", population, replicates=2)
    assert happened == ["frozen", "karmma.toml"]
    assert found.made_by["population_digest"] == prediction.frozen(population)
    assert prediction.frozen(cs.Population("bb2121_clinical", seed=2)) != found.made_by["population_digest"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cs.predict("karmma", "bb2121_clinical", replicates=0), "replicates"),
        (lambda: cs.predict("karmma", "bb2121_clinical", n=5), "predict takes no n=5"),
        (lambda: cs.predict("karmma", cs.Population("bb2121_clinical", sampler="sobol")), "other patients each time"),
        (lambda: cs.predict("karmma", "bb2121_clinical", seed=-1), "seed"),
    ],
)
def test_bad_input_is_said_in_a_sentence(call, message):
    with pytest.raises(cs.InputError, match=message):
        call()
