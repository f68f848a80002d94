"""The choice of a model, step by step, against statsmodels and its own rules."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.special import expit
from scipy.stats import chi2

from cartsim.errors import InputError
from cartsim.exposure.selection import Rules, select


def _trial(n=400, *, seed=1, plateau=False):
    rng = np.random.default_rng(seed)
    auc = 3e6 * np.exp(1.5 * rng.standard_normal(n))
    female = rng.integers(0, 2, n)
    rise = -2 + 4 * auc**2 / (2e6**2 + auc**2) if plateau else 0.8 * np.log(auc / 3e6)
    data = pd.DataFrame({"auc": auc, "sex": np.where(female, "female", "male")})
    data["age"], data["dose"] = rng.normal(60, 9, n), rng.choice([150e6, 300e6, 450e6], n)
    data["race"] = rng.choice(["a", "b", "c", "d"], n, p=[0.65, 0.19, 0.08, 0.08])
    data["CR"] = (rng.random(n) < expit(rise - 1 + 1.2 * female)).astype(int)
    return data


@pytest.fixture(scope="module")
def data():
    return _trial()


def _minus_2ll(data, columns):
    exog = sm.add_constant(pd.DataFrame({"x": np.log(data["auc"]), **columns}))
    return -2 * sm.Logit(data["CR"], exog).fit(disp=0).llf


def test_the_covariate_that_matters_is_kept_and_its_tests_are_those_of_statsmodels(data):
    found = select(data, "CR", "auc", ["age", "sex", "dose", "race"], models=["linear"])
    assert found.kept == ("sex",) and found.model.names == ("intercept", "slope", f"sex={_other(data)}")
    male = (data["sex"] == "male").astype(float)
    base, with_sex = _minus_2ll(data, {}), _minus_2ll(data, {"male": male})
    path = found.path.set_index(["step", "candidate"])
    for step in ("univariate", "forward 1", "backward 1"):
        row = path.loc[(step, "sex")]
        assert row["minus_2ll"] == pytest.approx(with_sex, rel=1e-9)
        assert row["p"] == pytest.approx(chi2.sf(base - with_sex, 1), rel=1e-6) and row["kept"]
    race = pd.get_dummies(data["race"].replace({"d": "c"}), drop_first=True).astype(float)
    row = path.loc[("univariate", "race")]
    assert row["df"] == 2 and row["minus_2ll"] == pytest.approx(_minus_2ll(data, dict(race.items())), rel=1e-9)
    assert "merged: c or d" in found.coding["coding"][3]
    assert "4 covariates" in found.warnings[0]


def _other(data):
    return data["sex"].value_counts().index[1]


def test_a_plateau_is_seen_and_a_line_is_not_bent():
    bent, straight = select(_trial(plateau=True), "CR", "auc"), select(_trial(seed=2), "CR", "auc")
    assert bent.model.kind in ("Emax", "sigmoid Emax") and bent.model.limits_by == "profile"
    assert straight.model.kind == "linear"
    table = bent.candidates.set_index("model")
    usable = table[table["identified"] & (table["largest_rse"] <= 100)]
    assert table["chosen"].sum() == 1 and table.loc[bent.model.kind, "aic"] == usable["aic"].min()


def test_covariates_that_cannot_be_screened_are_told(data):
    extra = data.assign(
        same=1, empty=np.nan, lacking=np.where(np.arange(len(data)) % 5, 1.0 * (data["age"] > 60), np.nan),
        rare=(np.arange(len(data)) < 20).astype(int), site=np.arange(len(data)).astype(str),
        same_as_auc=np.log(data["auc"]),
    )  # fmt: skip
    names = ["same", "empty", "lacking", "rare", "site", "same_as_auc"]
    found = select(extra, "CR", "auc", names, models=["linear"])
    words = found.coding.set_index("covariate")["coding"]
    for name, said in zip(
        names[:5], ("1 in all", "100 %", "20 %", "1 in fewer", "all categories but one"), strict=True
    ):
        assert said in words[name] and words[name].startswith("excluded")
    assert "combination" in found.path.set_index("candidate").loc["same_as_auc", "note"]
    assert found.kept == ()


def test_without_a_relationship_covariates_are_not_looked_at(data):
    shuffled = data.assign(auc=np.random.default_rng(4).permutation(data["auc"]))
    assert len(select(shuffled, "CR", "auc", ["sex"]).path) == 1
    found = select(shuffled, "CR", "auc", ["sex"], models=["linear"], rules=Rules(need_exposure=False))
    assert found.kept == ("sex",)


def test_null_covariates_are_kept_as_seldom_as_stated():
    rng, n, kept, seen = np.random.default_rng(6), 125, 0, 0
    for _ in range(300):
        x = np.exp(1.24 * rng.standard_normal(n))
        data = pd.DataFrame({"x": x, "z": rng.standard_normal(n), "y": rng.random(n) < expit(0.8 * np.log(x))})
        found = select(data, "y", "x", ["z"], models=["linear"], rules=Rules(need_exposure=False))
        seen += int(found.path["kept"][1])
        kept += len(found.kept)
    assert 5 <= seen <= 30 and kept <= 10  # of 300: 5 % and 1 %, each within 0.999 limits of a binomial


def test_a_separating_covariate_is_tested_and_fitted_with_a_penalty(data):
    twin = data.assign(twin=np.where(data["CR"] == 1, np.arange(len(data)) % 2, 0))
    found = select(twin, "CR", "auc", ["twin"], models=["linear"])
    assert found.kept == ("twin",) and found.model.method.startswith("Firth")
    assert found.path["note"].str.contains("Firth").sum() == 3


def test_patients_of_the_chosen_model_are_found_in_the_data(data):
    holes = data.assign(auc=data["auc"].where(data.index != 3))
    model = select(holes, "CR", "auc", ["sex"], models=["linear"]).model
    np.testing.assert_array_equal(model.design.x, holes["auc"].iloc[model.design.rows])
    assert len(model.design.x) == len(data) - 1


def test_a_selection_is_a_result(data, tmp_path):
    found = select(data, "CR", "auc", ["sex"])
    names = {path.name for path in found.save(tmp_path)}
    assert {"estimates.csv", "path.csv", "candidates.csv", "coding.csv", "covariance.csv"} <= names
    assert "kept: sex" in repr(found) and "kept: sex" in found._repr_html_()


def test_bad_input_is_named(data):
    with pytest.raises(InputError, match="did you mean Emax"):
        select(data, "CR", "auc", models=["emax"])
    with pytest.raises(InputError, match="no column 'sexe' for the covariate; did you mean sex"):
        select(data, "CR", "auc", ["sexe"])
    with pytest.raises(InputError, match="twice"):
        select(data, "CR", "auc", ["sex", "sex"])
    with pytest.raises(InputError, match="backward is 2"):
        Rules(backward=2)
