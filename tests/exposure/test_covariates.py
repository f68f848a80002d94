"""How covariates are coded, merged and refused, and who is left out of a fit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartsim.errors import InputError
from cartsim.exposure.covariates import code_covariate, screen_covariate
from cartsim.exposure.design import read_design
from cartsim.exposure.logistic import fit_linear


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(9)
    n = 200
    frame = pd.DataFrame({"auc": rng.lognormal(14, 1.2, n), "ORR": rng.integers(0, 2, n)})
    frame["sex"] = rng.choice(["female", "male"], n, p=[0.4, 0.6])
    frame["race"] = rng.choice(["white", "black", "asian", "other"], n, p=[0.8, 0.12, 0.05, 0.03])
    frame["age"] = rng.normal(60, 8, n)
    return frame


def test_categories_are_indicators_against_the_most_frequent(data):
    coded = code_covariate(data, "sex")
    assert coded.terms == ("sex=female",) and coded.reference == "male" and coded.words() == "female against male"
    np.testing.assert_array_equal(coded.columns(data["sex"])[:, 0], data["sex"] == "female")
    ordered = data.assign(sex=pd.Categorical(data["sex"], ["female", "male"]))
    assert code_covariate(ordered, "sex").terms == ("sex=male",)


def test_rare_categories_are_merged(data):
    coded, words = screen_covariate(data, "race", rare=0.1, missing=0.1)
    assert coded is not None and set(coded.levels[-1]) >= {"asian", "other"} and "merged" in words
    shares = data["race"].map(lambda each: next(k for k, level in enumerate(coded.levels) if each in level))
    assert shares.value_counts(normalize=True).min() >= 0.1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=2, max_size=8))
def test_merged_categories_are_a_partition_of_large_groups(counts):
    values = np.repeat([f"c{k}" for k in range(len(counts))], counts)
    coded, words = screen_covariate(pd.DataFrame({"c": values}), "c", rare=0.1, missing=0.1)
    if coded is None:
        assert "all categories but one" in words and sum(count >= 0.1 * sum(counts) for count in counts) <= 1
        return
    assert sorted(each for level in coded.levels for each in level) == sorted(set(values))
    sizes = [sum(counts[int(each[1:])] for each in level) for level in coded.levels]
    assert min(sizes) >= 0.1 * sum(counts)


def test_predictions_are_for_the_reference_patient_and_for_others(data):
    model = fit_linear(data, "ORR", "auc", ["sex", "age"])
    typical = model.predict([1e6])["probability"][0]
    assert typical == model.predict([1e6], {"sex": "male", "age": np.median(data["age"])})["probability"][0]
    assert typical != model.predict([1e6], {"sex": "female"})["probability"][0]
    table = model.predict(data["auc"], data)
    np.testing.assert_allclose(table["probability"], model.probabilities(), rtol=1e-12)
    for wrong, said in (
        ({"sex": "f"}, "no category 'f'"),
        ({"sexe": "male"}, "did you mean sex"),
        ({"age": "x"}, "number"),
    ):
        with pytest.raises(InputError, match=said):
            model.predict([1e6], wrong)


@settings(max_examples=20, deadline=None)
@given(st.floats(-12, 12), st.floats(-12, 12))
def test_units_change_nothing(data, a, b):
    model = fit_linear(data, "ORR", "auc", ["age"])
    other = fit_linear(data.assign(auc=data["auc"] * 10**a, age=data["age"] * 10**b), "ORR", "auc", ["age"])
    np.testing.assert_allclose(other.values[1:], model.values[1:] * [1, 10**-b], rtol=1e-9)
    np.testing.assert_allclose(other.estimates["se"][1:], model.estimates["se"][1:] * [1, 10**-b], rtol=1e-9)
    assert other.loglik == pytest.approx(model.loglik, rel=1e-12)


def test_patients_who_lack_a_value_are_left_out_and_told(data):
    holes = data.astype({"ORR": float})
    holes.loc[0, "ORR"], holes.loc[[1, 2], "auc"], holes.loc[3, "sex"] = np.nan, np.nan, None
    model = fit_linear(holes, "ORR", "auc", ["sex"])
    assert model.n == 196 and model.warnings[0].startswith("4 of 200 patients are left out: missing ORR in 1, auc in 2")
    np.testing.assert_allclose(model.values, fit_linear(data.iloc[4:], "ORR", "auc", ["sex"]).values, rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "covariates", "said"),
    [
        ({"ORR": 2}, [], "outcome ORR holds 2; give 1 with the event"),
        ({"ORR": "yes"}, [], "outcome ORR holds 'yes'"),
        ({"ORR": 1}, [], "outcome ORR is 1 in all 200"),
        ({"auc": 0.0}, [], r"auc is 0 in row 1 \(200 such\).*log=False"),
        ({"auc": "high"}, [], "auc holds text"),
        ({"auc": 5.0}, [], "auc is 5 in all"),
        ({"auc": np.nan}, [], "none of 200 patients"),
        ({"age": 60}, ["age"], "age is 60 in all"),
        ({"age": np.nan}, ["age"], "age is missing in all 200"),
        ({"age": np.inf}, ["age"], "age is inf in all"),
        ({}, ["agee"], "did you mean age"),
        ({}, ["age", "age"], "given twice"),
        ({}, "age", "give a list of columns"),
    ],
)
def test_bad_input_is_named(data, change, covariates, said):
    with pytest.raises(InputError, match=said):
        read_design(data.assign(**change), "ORR", "auc", covariates)


def test_few_events_are_warned_of(data):
    few = data.assign(ORR=(np.arange(200) % 25 == 0).astype(int))
    assert any(
        "8 events for 2 parameters, 4.0 each" in said for said in fit_linear(few, "ORR", "auc", ["sex"]).warnings
    )
