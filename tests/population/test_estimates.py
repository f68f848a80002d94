"""Populations at other estimates, and ensembles: a block of patients for each row of a table of estimates."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cartsim as cs
from cartsim.population.population import APART
from cartsim.population.uncertainty import ensemble, uncertain

MODEL = cs.load("bb2121_clinical")
BURDEN = {"burden": cs.logitnormal(0.78, 0.01, 100)}
DRAWS = pd.DataFrame(
    {
        "Kexp_max": [1.5, 1.7, 2.0],
        "burden": [40.0, 50.0, 60.0],
        "omega(Kexp_max)": [0.1, 0.2, 0.3],
        "omega(burden)": [0.5, 0.8, 1.0],
        "omega(Kg)": [0.2, 0.3, 0.4],  # which does not vary in the model file
    }
)
OTHER_LIMITS = pytest.mark.parametrize(
    ("estimates", "message"),
    [
        ({"Kgg": 1.0}, "no parameter or covariate 'Kgg'; did you mean"),
        ({"omega(Kgg)": 1.0}, "no parameter or covariate 'Kgg'"),
        ({"Kg": np.nan}, "Kg.* nan"),
        ({"Kg": -0.1}, "Kg .*is -0.1; it must be a finite number, 0 or more"),
        ({"Kexp_max": 0.0}, "varies lognormally"),
        ({"burden": 100.0}, "must lie between 0.01 and 100"),
        ({"omega(Kg)": -0.1}, "a standard deviation is a finite number, 0 or more"),
        ({"omega(Kg)": np.inf}, r"omega\(Kg\).* inf"),
        ({"burden": 50.0, "omega(M0)": 200.0}, "reaches beyond"),
        ({"percent": 1.0}, "percent is a constant"),
    ],
)


def test_a_population_at_other_estimates_is_that_of_a_model_that_has_them() -> None:
    other = cs.Population(MODEL, 3, BURDEN).at({"Kexp_max": 2.0, "omega(Kexp_max)": 0.1, "burden": 30.0})
    model = MODEL.override({"Kexp_max": 2.0, "burden": 30.0})
    same = cs.Population(model, 3, BURDEN | {"Kexp_max": cs.lognormal(0.1)})
    pd.testing.assert_frame_equal(other.table(0, 50, complete=True), same.table(0, 50, complete=True))


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(["random", "sobol"]), st.integers(1, 40), st.booleans(), st.integers(0, 2**32))
def test_each_block_of_an_ensemble_is_the_population_at_its_draw(sampler, size, same, seed) -> None:
    population = cs.Population(MODEL, seed, BURDEN, {("K12", "K21"): 0.5}, sampler)
    patients = ensemble(population, DRAWS, size, same=same)
    whole = patients.table(0, 4 * size, complete=True)
    for k in range(4):  # the fourth is of the first draw again
        alone = population.at(DRAWS.iloc[k % 3].to_dict())
        first = 0 if same else k * size
        expected = alone.table(first, first + size, complete=True)
        pd.testing.assert_frame_equal(whole.iloc[k * size : (k + 1) * size], expected)
    middle = patients.table(size, 3 * size)
    pd.testing.assert_frame_equal(middle, patients.table(0, 4 * size).iloc[size : 3 * size])


def test_independent_arms_of_the_same_patients_have_patients_of_their_own() -> None:
    patients = ensemble(cs.Population(MODEL, 1, BURDEN), DRAWS, 7, same=True)
    arm = patients.table(APART, APART + 14)
    assert list(arm.index) == [*range(APART, APART + 7)] * 2
    assert not set(arm["K12"]) & set(patients.table(0, 14)["K12"])


@OTHER_LIMITS
def test_estimates_that_cannot_be(estimates, message) -> None:
    population = cs.Population(MODEL, 1, BURDEN)
    with pytest.raises(cs.InputError, match=message) as error:
        population.at(estimates)
    assert "\n" not in str(error.value)
    with pytest.raises(cs.InputError, match=message) as error:
        ensemble(population, pd.DataFrame([DRAWS[[]].iloc[0].to_dict() | estimates] * 2), 5)
    assert "\n" not in str(error.value)


def test_tables_of_draws_that_cannot_be() -> None:
    population = cs.Population(MODEL, 1)
    for draws, message in [
        ({"Kg": [0.1]}, "give a data frame"),
        (pd.DataFrame({"Kg": []}), "the table is empty"),
        (pd.DataFrame([[1.0, 2.0]], columns=["Kg", "Kg"]), "Kg' is there twice"),
        (pd.DataFrame({"Kg": [0.1, "much"]}), "Kg in draw 1 is nan"),
        (pd.DataFrame({"Kg": [0.1, -1.0]}), "Kg in draw 1 is -1"),
    ]:
        with pytest.raises(cs.InputError, match=message):
            ensemble(population, draws, 5)
        with pytest.raises(cs.InputError, match=message):
            cs.Population(MODEL, 1, draws=draws)
    with pytest.raises(cs.InputError, match="whole number"):
        ensemble(population, DRAWS, 0)
    with pytest.raises(cs.InputError, match="whatever its typical value"):
        cs.Population(MODEL, variability={"burden": cs.uniform(5, 95)}).at({"burden": 40.0})
    with pytest.raises(cs.InputError, match="which has no omega"):
        cs.Population(MODEL, variability={"burden": cs.uniform(5, 95)}).at({"omega(burden)": 0.4})


def test_uncertainty_of_a_population_with_draws_is_theirs() -> None:
    """Each replicate is under one draw, the next in an order that the seed says, each draw once before any again."""
    population = cs.Population(MODEL, 5, BURDEN, draws=DRAWS)
    patients = uncertain(population, 4, True)
    drawn = patients.table(0, 24)["burden"].to_numpy().reshape(6, 4)
    found = patients.estimates(6)
    assert sorted(found["Kexp_max"][:3]) == list(DRAWS["Kexp_max"])
    assert list(found["Kexp_max"][3:]) == list(found["Kexp_max"][:3])
    for k, row in found.iterrows():
        draw = DRAWS[DRAWS["Kexp_max"] == row["Kexp_max"]].iloc[0].to_dict()
        expected = population.at(draw).table(4 * k, 4 * k + 4)["burden"]
        np.testing.assert_array_equal(drawn[k], expected)
    assert population.table(0, 5)["Kexp_max"].equals(cs.Population(MODEL, 5, BURDEN).table(0, 5)["Kexp_max"])
    orders = {
        tuple(uncertain(cs.Population(MODEL, k, BURDEN, draws=DRAWS), 1, True).estimates(3)["burden"]) for k in range(9)
    }
    assert len(orders) > 1


def test_what_is_given_is_not_drawn() -> None:
    population = cs.Population(MODEL, 5, BURDEN, draws=DRAWS).at({"Kexp_max": 1.0, "omega(Kg)": 0.0})
    assert list(population.draws) == ["burden", "omega(Kexp_max)", "omega(burden)"]
    known = uncertain(population, 3, True, known=["burden"])
    assert known.uncertain == ["Kexp_max", "burden"]  # by their omegas
    with pytest.raises(cs.InputError, match="leave it out"):
        uncertain(cs.Population(MODEL, draws=DRAWS[["burden"]]), 3, True, known=["burden"])


def test_replicates_and_sweeps_take_the_draws() -> None:
    population = cs.Population(MODEL, 2, BURDEN, draws=DRAWS)
    result = cs.replicate(cs.Trial(population, [450e6], n=6), 3, uncertainty=True)
    assert result.made_by["uncertainty"].startswith("3 draws of Kexp_max, burden")
    found = result.frame
    order = uncertain(population, 6, True).estimates(3)["Kexp_max"]
    own = population.at(DRAWS[DRAWS["Kexp_max"] == order[2]].iloc[0].to_dict())
    alone = cs.replicate(cs.Trial(own, [450e6], n=6), 3).frame
    assert found["Cmax"][2] == alone["Cmax"][2]  # the third replicate is of patients 12 to 17, whatever the others
    axes = {"dose": [150e6, 450e6], "Kg": [0.01, 0.02]}
    limits = cs.sweep(population, axes, replicates=3, uncertainty=True).table
    each = [cs.sweep(population.at(row.to_dict()), axes).table["Cmax"] for _, row in DRAWS.iterrows()]
    np.testing.assert_allclose(limits["Cmax_high"], np.max(each, axis=0), rtol=1e-9)
    np.testing.assert_allclose(limits["Cmax_low"], np.min(each, axis=0), rtol=1e-9)
