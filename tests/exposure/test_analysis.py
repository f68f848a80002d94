"""The analysis as a whole: what it holds, says and leaves out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

import cartsim as cs


@pytest.fixture(scope="module")
def trial() -> cs.TrialResult:
    return cs.Trial(cs.Population("bb2121_clinical", 1, {"burden": cs.uniform(5, 95)}), [150e6, 450e6], n=40).run(
        n_jobs=1
    )


def own(n: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    auc, sex = np.exp(rng.normal(14, 1.24, n)), rng.choice(["female", "male"], n)
    y = rng.random(n) < expit(-14 + np.log(auc) + 1.5 * (sex == "female"))
    months = rng.exponential(6 * (1 + y))
    return pd.DataFrame(
        {"AUC0-28": auc, "Sex": sex, "site": "one", "ORR": y.astype(int), "pfs_months": months, "pfs_event": 1}
    )


def test_a_trial_says_what_its_arms_share_and_what_is_a_surrogate(trial):
    found = cs.exposure_response(trial, "CRR", n_jobs=1)
    assert any("are in several arms" in note for note in found.warnings)
    assert any("surrogates are no estimates" in note for note in found.warnings)
    shown = found.published[found.published["kind"] == "surrogate"]
    assert shown["title"].str.contains("surrogate").all() and shown["model"].str.contains("surrogate").all()
    assert "CRS requiring tocilizumab, surrogate" in set(shown["title"])
    assert set(found.prediction.table["way"]) == {"assumed", "by model", "simulated"}
    assert found.about()["surrogates"] and "exposure-response of trial: CRR" in repr(found)
    without = cs.exposure_response(trial, "CRR", simulate=False)
    assert set(without.prediction.table["way"]) == {"assumed"} and without.prediction.text == ""


def test_of_ones_own_patients(tmp_path):
    found = cs.exposure_response(own(), covariates=["sex", "site"], limits="exact")
    assert found.selection.kept == ("Sex",)  # what made the difference
    assert [note for note in found.warnings if note.startswith("covariate site is excluded")]
    assert found.dose is found.prediction is None and list(found.survival) == ["PFS"]
    assert found.cox["term"].tolist() in (["ln auc028", "Sex=male"], ["ln auc028", "Sex=female"])
    within = found.evaluation.query("quartile != 'all'")
    assert within["n"].tolist() == found.quartiles["n"].tolist() == [50] * 4
    assert (within["z"].abs() < 3).all()
    assert found.roc.auc.value == found.diagnostics()["value"][0] > 0.7
    written = {path.name for path in found.save(tmp_path)}
    assert written == {*found.tables(), "exposure_response.json"}
    with pytest.raises(cs.InputError, match="no dose-response was predicted; give data with a column dose"):
        found.plot.dose_response()
    with pytest.raises(cs.InputError, match="no DOR by exposure here; there is PFS"):
        found.plot.survival("DOR")


def test_separated_outcomes_and_few_events_are_answers():
    frame = own(40)
    frame["ORR"] = (frame["AUC0-28"] > frame["AUC0-28"].median()).astype(int)
    found = cs.exposure_response(frame)
    assert any("Firth" in note for note in found.warnings)
    assert np.isfinite(found.summary[["estimate"]].to_numpy()).all()
