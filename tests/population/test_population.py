"""Virtual patients: the distributions they follow, and that a patient depends on nothing but the address."""

from __future__ import annotations

import math
import pickle
import warnings
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import cartsim.model.reader
from cartsim.errors import InputError
from cartsim.model.model import Variability
from cartsim.population.draws import FEW, uniforms
from cartsim.population.population import Population
from cartsim.population.uncertainty import UncertainPopulation, with_uncertainty
from cartsim.population.variability import bernoulli, fixed, logitnormal, lognormal, normal, uniform

MODEL = cartsim.load("bb2121_clinical")
N = 20_000
FIRST = [0.32247376033563346, 0.6414630839846357, 0.5656663988579745]
KEXP_MAX = 1.3908331518530828


def typical(name: str) -> float:
    return MODEL.parameters[name].value


# --- addresses ---------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**64),
    start=st.integers(0, 50),
    n=st.integers(0, 40),
    offset=st.sampled_from([0, 2**31, 2**40]),
)
def test_uniforms_of_a_range_are_those_of_its_patients_one_by_one(seed, start, n, offset):
    start += offset
    together = uniforms(seed, "x", start, start + n)
    alone = [uniforms(seed, "x", patient, patient + 1)[0] for patient in range(start, start + n)]
    assert together.tolist() == alone


def test_uniforms_are_numpys_own_philox_in_order():
    # numpy's generator, advanced to the block, gives the same words; only the key is ours.
    import hashlib

    key = int.from_bytes(hashlib.sha256(b"7/assay").digest()[:16], "little")
    words = np.random.Philox(key=key).random_raw(1000)
    np.testing.assert_allclose(uniforms(7, "assay", 0, 1000), words / 2.0**64, atol=2.0**-52)


def test_uniforms_are_uniform_and_streams_and_seeds_are_independent():
    first, second = uniforms(1, "Kg", 0, N), uniforms(1, "Km", 0, N)
    assert stats.kstest(first, "uniform").pvalue > 0.01
    assert 0 < first.min() and first.max() < 1
    for other in (second, uniforms(2, "Kg", 0, N)):
        assert abs(stats.pearsonr(first, other).statistic) < 4 / math.sqrt(N)
    assert abs(stats.pearsonr(first[:-1], first[1:]).statistic) < 4 / math.sqrt(N)


def test_published_numbers_stay_the_same():
    """The address of a draw is a promise: these values must not change between versions or machines."""
    assert uniforms(2021, "parameter/Kg", 0, 3).tolist() == FIRST
    assert Population(MODEL).table(0, 1)["Kexp_max"].item() == pytest.approx(KEXP_MAX, rel=1e-14)


@settings(deadline=None, max_examples=25)
@given(
    cuts=st.lists(st.integers(1, 99), max_size=6, unique=True),
    sampler=st.sampled_from(["random", "sobol"]),
    correlated=st.booleans(),
)
def test_any_chunking_gives_the_same_patients_exactly(cuts, sampler, correlated):
    population = Population(
        MODEL,
        seed=5,
        variability={"Tumor0": lognormal(0.5), "burden": logitnormal(1.0), "Kg": uniform(0.005, 0.05)},
        correlation={("K12", "K21"): 0.5, ("K21", "burden"): -0.3} if correlated else None,
        sampler=sampler,
    )
    whole = population.table(0, 100)
    edges = [0, *sorted(cuts), 100]
    parts = [population.table(start, stop) for start, stop in pairwise(edges)]
    pd.testing.assert_frame_equal(pd.concat(parts), whole, check_exact=True)


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_a_large_chunk_rounds_like_a_small_one(sampler):
    population = Population(MODEL, correlation={("K12", "K21"): 0.5}, sampler=sampler)
    pd.testing.assert_frame_equal(
        population.table(0, 5000).loc[4321:4323], population.table(4321, 4324), check_exact=True
    )


def test_a_pickled_population_on_another_worker_gives_the_same_patients():
    population = Population(MODEL, correlation={("K12", "K21"): 0.5})
    copy = pickle.loads(pickle.dumps(population))
    pd.testing.assert_frame_equal(copy.table(10, 20), population.table(10, 20), check_exact=True)


def test_varying_one_more_parameter_leaves_the_others_as_they_were():
    few = Population(MODEL, correlation={("K12", "K21"): 0.5})
    more = Population(
        MODEL,
        correlation={("K12", "K21"): 0.5},
        variability={"burden": uniform(5, 95), "Tumor0": lognormal(0.5)},
    )
    before, after = few.table(0, 200), more.table(0, 200)
    assert set(after.columns) - set(before.columns) == {"burden", "Tumor0"}
    pd.testing.assert_frame_equal(after[before.columns], before, check_exact=True)


def test_another_typical_value_moves_a_patient_without_redrawing_it():
    """Common random numbers: what differs between two arms or scenarios is not chance."""
    faster = Population(MODEL.override({"Kel_e": 2 * typical("Kel_e")})).table(0, 50)
    slower = Population(MODEL).table(0, 50)
    np.testing.assert_allclose(faster.pop("Kel_e"), 2 * slower.pop("Kel_e"), rtol=1e-15)
    pd.testing.assert_frame_equal(faster, slower, check_exact=True)


# --- distributions -----------------------------------------------------------------------------------


def test_the_model_files_variability_is_the_default():
    population = Population(MODEL)
    assert list(population.varied) == [name for name, p in MODEL.parameters.items() if p.iiv is not None]
    table = population.table(0, N)
    assert list(table.columns) == list(population.varied)
    assert table.index.name == "id" and table.index[0] == 0 and len(table) == N
    for name in table:
        reference = stats.lognorm(MODEL.parameters[name].iiv.omega, scale=typical(name))
        assert stats.kstest(table[name], reference.cdf).pvalue > 0.001, name


@pytest.mark.parametrize("sampler", ["random", "sobol"])
@pytest.mark.parametrize(
    ("name", "variability", "reference"),
    [
        ("Kexp_max", lognormal(0.22), stats.lognorm(0.22, scale=typical("Kexp_max"))),
        ("Kexp_max", normal(0.1), stats.norm(typical("Kexp_max"), 0.1)),
        ("burden", uniform(5, 95), stats.uniform(5, 90)),
    ],
)
def test_distributions_against_scipy(name, variability, reference, sampler):
    values = Population(MODEL, seed=3, variability={name: variability}, sampler=sampler).table(0, N)[name]
    assert stats.kstest(values, reference.cdf).pvalue > 0.01
    assert values.mean() == pytest.approx(reference.mean(), abs=5 * reference.std() / math.sqrt(N))
    assert values.std() == pytest.approx(reference.std(), rel=0.03)


def test_logitnormal_against_scipy():
    values = Population(MODEL, variability={"burden": logitnormal(1.2, 10, 90)}).table(0, N)["burden"]
    share = (values - 10) / 80
    assert share.between(0, 1, inclusive="neither").all()
    center = (typical("burden") - 10) / 80
    reference = stats.norm(math.log(center / (1 - center)), 1.2)
    assert stats.kstest(np.log(share / (1 - share)), reference.cdf).pvalue > 0.01


def test_limits_of_the_parameter_serve_where_a_distribution_names_none():
    values = Population(MODEL, variability={"burden": logitnormal(2.0)}).table(0, N)["burden"]
    assert MODEL.parameters["burden"].low < values.min() < 5
    assert 95 < values.max() < 100


def test_a_derived_parameter_varies_about_what_the_patient_gives_it():
    variability = {"burden": uniform(5, 95), "Tumor0": lognormal(0.5)}
    table = Population(MODEL, variability=variability).table(0, N)
    factor = np.log(table["Tumor0"] / (5e7 * table["burden"]))
    assert stats.kstest(factor, stats.norm(0, 0.5).cdf).pvalue > 0.01
    assert abs(stats.pearsonr(factor, table["burden"]).statistic) < 4 / math.sqrt(N)
    complete = Population(MODEL, variability={"burden": uniform(5, 95)}).table(0, 100, complete=True)
    np.testing.assert_allclose(complete["Tumor0"], 5e7 * complete["burden"], rtol=1e-12)


def test_a_complete_table_has_every_parameter_and_covariate():
    table = Population(MODEL).table(7, 9, complete=True)
    assert list(table) == [name for name, p in MODEL.parameters.items() if p.role != "constant"]
    assert table.index.tolist() == [7, 8]
    assert (table["Vb"] == typical("Vb")).all()


def test_fixed_takes_variability_away():
    population = Population(MODEL, variability={name: fixed() for name in Population(MODEL).varied})
    table = population.table(0, 3)
    assert table.shape == (3, 0)
    assert Population(MODEL, variability=population.variability, sampler="sobol").table(0, 3).shape == (3, 0)
    assert (population.table(0, 3, complete=True)["Kg"] == typical("Kg")).all()


def test_sobol_points_are_more_even_than_random_ones_and_raise_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        even = Population(MODEL, sampler="sobol").table(0, 1000)
    random = Population(MODEL).table(0, 1000)
    for name in even:
        score = np.log(even[name] / typical(name)) / MODEL.parameters[name].iiv.omega
        assert np.isfinite(score).all()
        assert abs(score.mean()) < 0.01
    assert not np.allclose(even, Population(MODEL, seed=1, sampler="sobol").table(0, 1000))
    assert not np.allclose(even, random)


# --- correlation -------------------------------------------------------------------------------------


def scores(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {name: np.log(table[name] / typical(name)) / MODEL.parameters[name].iiv.omega for name in table}
    )


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_correlations_are_recovered_on_the_normal_scale(sampler):
    names = ["K12", "K21", "Kel_e", "gamma_b"]
    wanted = pd.DataFrame(np.eye(4), index=names, columns=names)
    for a, b, rho in [("K12", "K21", 0.8), ("K21", "Kel_e", -0.4), ("Kel_e", "gamma_b", 0.2)]:
        wanted.loc[a, b] = wanted.loc[b, a] = rho
    z = scores(Population(MODEL, correlation=wanted, sampler=sampler).table(0, N))
    np.testing.assert_allclose(z[names].corr(), wanted, atol=4 / math.sqrt(N))
    assert stats.kstest(z["K21"], "norm").pvalue > 0.001
    assert z["K12"].corr(z["Kexp_max"]) == pytest.approx(0, abs=4 / math.sqrt(N))


def test_a_frame_and_pairs_say_the_same_in_any_order():
    frame = pd.DataFrame([[1, 0.5], [0.5, 1]], index=["K21", "K12"], columns=["K21", "K12"])
    tables = [
        Population(MODEL, correlation=given).table(0, 20)
        for given in (
            frame,
            frame.loc[::-1],
            {("K12", "K21"): 0.5},
            {("K21", "K12"): 0.5, ("K12", "K12"): 1.0},
        )
    ]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0], check_exact=True)


def test_a_singular_correlation_ties_two_parameters_together():
    z = scores(Population(MODEL, correlation={("K12", "K21"): -1.0}).table(0, 1000))
    np.testing.assert_allclose(z["K12"], -z["K21"], atol=1e-7)
    assert stats.kstest(z["K12"], "norm").pvalue > 0.01


@pytest.mark.parametrize(
    ("correlation", "message"),
    [
        ({("K12", "K21"): 0.9, ("K21", "Kel_e"): 0.9, ("K12", "Kel_e"): -0.9}, "not positive semidefinite"),
        ({("K12", "K21"): 1.5}, "from -1 to 1"),
        ({("K12", "K21"): math.nan}, "from -1 to 1"),
        ({("K12", "K12"): 0.5}, "diagonal must be 1"),
        ({("K12", "K21"): 0.5, ("K21", "K12"): 0.4}, "give one"),
        ({("K12", "Vb"): 0.5}, "Vb does not vary"),
        ({("K12", "K22"): 0.5}, "did you mean"),
        (pd.DataFrame([[2.0]], index=["K12"], columns=["K12"]), "diagonal must be 1"),
        (pd.DataFrame([[1, 0.5], [0.4, 1]], index=["K12", "K21"], columns=["K12", "K21"]), "symmetric"),
        (pd.DataFrame([[1, np.nan], [np.nan, 1]], index=["K12", "K21"], columns=["K12", "K21"]), "finite"),
        (pd.DataFrame([[1, "a"], ["a", 1]], index=["K12", "K21"], columns=["K12", "K21"]), "numbers only"),
        (pd.DataFrame([[1.0]], index=["K12"], columns=["K21"]), "same names"),
    ],
)
def test_bad_correlations(correlation, message):
    with pytest.raises(InputError, match=message) as error:
        Population(MODEL, correlation=correlation)
    assert "\n" not in str(error.value)


# --- bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variability", "message"),
    [
        ({"Kexp_maxx": lognormal(0.2)}, "did you mean Kexp_max"),
        ({"avogadro": lognormal(0.2)}, "is a constant"),
        ({"Pm": lognormal(0.2)}, "does not enter the equations"),
        ({"Kg": lognormal(-0.2)}, "0 or more"),
        ({"Kg": lognormal(math.nan)}, "finite"),
        ({"Kg": cartsim.Variability("cauchy", 1.0)}, "'cauchy' is not known"),
        ({"Kg": uniform(0.1, 0.1)}, "low below high"),
        ({"Kg": uniform(0.1)}, "finite low and high"),
        ({"Kg": logitnormal(1.0)}, "finite low and high"),
        ({"Kg": uniform(0, math.inf)}, "finite low and high"),
        ({"Kg": uniform(-0.1, 0.1)}, "0 or more"),
        ({"Kg": normal(1.0)}, "this normal reaches"),
        ({"burden": lognormal(0.5)}, "from 0.01 to 100"),
        ({"burden": uniform(5, 150)}, "from 0.01 to 100"),
        ({"burden": logitnormal(1.0, 60, 100)}, "is not between"),
        (
            {"Kg": replace(lognormal(0.1), distribution="poisson")},
            "one of lognormal, normal, logitnormal, uniform, bern",
        ),
        ({"Ag_tumor": bernoulli()}, "a share of patients is not between 0 and 1"),
        ({"burden": bernoulli()}, "a share of patients is not between 0 and 1"),
    ],
)
def test_bad_variability(variability, message):
    with pytest.raises(InputError, match=message) as error:
        Population(MODEL, variability=variability)
    assert "\n" not in str(error.value)


def test_a_derived_typical_value_must_fit_its_logitnormal():
    population = Population(MODEL, variability={"Tumor0": logitnormal(1.0, 1, 2)})
    with pytest.raises(InputError, match="not between"):
        population.table(0, 2)


def test_bad_sampler_and_ranges():
    with pytest.raises(InputError, match="'random' or 'sobol'"):
        Population(MODEL, sampler="halton")
    for start, stop in [(-1, 5), (5, 5), (5, 4)]:
        with pytest.raises(InputError, match="start < stop"):
            Population(MODEL).table(start, stop)
    with pytest.raises(InputError, match="numbered from 0"):
        uniforms(1, "x", 5, 4)
    with pytest.raises(InputError, match="Sobol points"):
        Population(MODEL, sampler="sobol").table(2**30, 2**30 + 1)


# --- uncertainty -------------------------------------------------------------------------------------


def test_typical_values_follow_their_relative_standard_errors():
    models = [with_uncertainty(MODEL, 1, replicate) for replicate in range(1500)]
    uncertain = [name for name, p in MODEL.parameters.items() if p.rse and p.value is not None]
    assert uncertain
    for name, parameter in MODEL.parameters.items():
        values = np.array([model.parameters[name].value for model in models[: 1500 if parameter.rse else 2]])
        if name in uncertain:
            z = np.log(values / parameter.value) / parameter.rse
            assert stats.kstest(z, "norm").pvalue > 0.001, name
        elif parameter.value is not None:
            assert (values == parameter.value).all()
    again = with_uncertainty(MODEL, 1, 3)
    assert again.parameters == models[3].parameters


def test_omegas_follow_the_relative_standard_errors_of_table_1():
    published = {"Kexp_max": 0.38, "Kkill_max": 0.37, "gamma_m": 0.44, "gamma_b": 0.31}  # Singh 2021, Table 1
    models = [with_uncertainty(MODEL, 1, replicate) for replicate in range(1500)]
    for name, parameter in MODEL.parameters.items():
        if parameter.iiv is None:
            continue
        omegas = np.array([model.parameters[name].iiv.omega for model in models])
        if name in published:
            z = np.log(omegas / parameter.iiv.omega) / published[name]
            assert stats.kstest(z, "norm").pvalue > 0.001, name
        else:
            assert (omegas == parameter.iiv.omega).all()


def test_an_estimate_is_normal_on_the_scale_of_its_parameter():
    """A logitnormal's stays between its limits, a normal's goes both ways alike; errors by the delta method."""
    with_limits = replace(MODEL.parameters["burden"], value=80.0, rse=0.05, iiv=Variability("logitnormal", 1.0, 0, 100))
    both_ways = replace(MODEL.parameters["Kg"], low=None, rse=0.4, iiv=Variability("normal", 0.001))
    model = replace(MODEL, parameters=MODEL.parameters | {"burden": with_limits, "Kg": both_ways})
    models = [with_uncertainty(model, 3, replicate) for replicate in range(2000)]
    burden, kg = (np.array([m.parameters[name].value for m in models]) for name in ("burden", "Kg"))
    odds = np.log(burden / (100 - burden)) - np.log(80 / 20)
    assert stats.kstest(odds / (0.05 * 80 * 100 / (80 * 20)), "norm").pvalue > 0.001
    assert burden.std() == pytest.approx(0.05 * 80, rel=0.1)
    assert stats.kstest((kg - 0.008) / (0.4 * 0.008), "norm").pvalue > 0.001


def test_a_bernoulli_quantity_is_1_in_its_share_of_the_patients():
    model = MODEL.override({"Ag_tumor": 0.3})
    for sampler, within in (("random", 0.01), ("sobol", 0.001)):
        who = Population(model, 5, {"Ag_tumor": bernoulli(), "burden": logitnormal(1)}, sampler=sampler)
        table = who.table(0, 2**14)
        assert set(table["Ag_tumor"]) == {0, 1}
        assert table["Ag_tumor"].mean() == pytest.approx(0.3, abs=within)
        assert str(who.varied["Ag_tumor"]) == "bernoulli"
    again = Population(model, 5, {"burden": logitnormal(1)}).table(0, 500)
    assert again.equals(Population(model, 5, who.variability).table(0, 500).drop(columns="Ag_tumor"))
    for share in (0, 1):
        assert (who.at({"Ag_tumor": share}).table(0, 100)["Ag_tumor"] == share).all()
    shares = who.table(0, 500, typical={"Ag_tumor": np.array([0.0, 0.2, 0.7])})["Ag_tumor"].to_numpy().reshape(3, 500)
    assert (np.diff(shares, axis=0) >= 0).all()  # who has it at a share has it at a larger one
    assert shares.mean(axis=1) == pytest.approx([0, 0.2, 0.7], abs=0.01)


def test_a_correlation_with_a_bernoulli_quantity_is_that_of_the_normal_one_behind_it():
    model = MODEL.override({"Ag_tumor": 0.3})
    correlation = {("Ag_tumor", "burden"): 0.6}
    table = Population(model, 5, {"Ag_tumor": bernoulli(), "burden": logitnormal(1)}, correlation).table(0, N)
    own = np.log(table["burden"] / (100 - table["burden"]))
    share, cut = 0.3, stats.norm.ppf(0.3)  # the mean of a normal variable above the cut, times the correlation
    assert own[table["Ag_tumor"] == 1].mean() == pytest.approx(0.6 * stats.norm.pdf(cut) / share, abs=0.02)


def test_the_share_of_a_bernoulli_quantity_is_drawn_on_the_logit():
    share = replace(MODEL.parameters["Ag_tumor"], value=0.3, rse=0.1, iiv=Variability("bernoulli"))
    model = replace(MODEL, parameters=MODEL.parameters | {"Ag_tumor": share})
    drawn = np.array([with_uncertainty(model, 3, k).parameters["Ag_tumor"].value for k in range(2000)])
    odds = np.log(drawn / (1 - drawn)) - np.log(0.3 / 0.7)
    assert stats.kstest(odds / (0.1 / 0.7), "norm").pvalue > 0.001
    everybody = model.override({"Ag_tumor": 1})
    assert with_uncertainty(everybody, 3, 0).parameters["Ag_tumor"].value == 1


def test_each_block_of_uncertain_patients_is_the_population_of_its_drawn_model():
    patients = UncertainPopulation(MODEL, 7, {"burden": uniform(10, 90)}, size=5)
    whole = patients.table(0, 20, complete=True)
    for k in range(4):
        alone = Population(with_uncertainty(MODEL, 7, k), 7, {"burden": uniform(10, 90)})
        pd.testing.assert_frame_equal(whole.iloc[5 * k : 5 * k + 5], alone.table(5 * k, 5 * k + 5, complete=True))
    pd.testing.assert_frame_equal(pd.concat([patients.table(0, 7), patients.table(7, 20)]), patients.table(0, 20))
    assert list(patients.table(0, 1)) == patients.held
    assert {"EC50_exp", "burden", "Kexp_max"} <= set(patients.held)


def test_a_covariance_of_the_estimates_is_recovered():
    names = ["Kkill_max", "Kexp_max"]
    values = np.array([typical(name) for name in names])
    errors = values * [0.05, 0.03]
    covariance = pd.DataFrame(np.outer(errors, errors) * [[1, 0.6], [0.6, 1]], index=names, columns=names)
    draws = [with_uncertainty(MODEL, 4, k, covariance=covariance).parameters for k in range(1500)]
    drawn = np.array([[parameters[name].value for name in names] for parameters in draws])
    np.testing.assert_allclose(np.cov(drawn.T), covariance, rtol=0.15)
    assert draws[0]["Kel_e"] == MODEL.parameters["Kel_e"]


def test_bad_covariances():
    def square(entries, names):
        return pd.DataFrame(entries, index=names, columns=names)

    for covariance, message in [
        (square([[1.0, 2.0], [2.0, 1.0]], ["Kg", "Km"]), "not positive semidefinite"),
        (square([[-1.0]], ["Kg"]), "not positive semidefinite"),
        (square([[1.0]], ["Kgg"]), "no parameter or covariate 'Kgg'"),
        (square([[1.0]], ["Tumor0"]), "no typical value"),
    ]:
        with pytest.raises(InputError, match=message):
            with_uncertainty(MODEL, 1, 0, covariance=covariance)


def test_numbers_that_are_kept_are_those_that_are_drawn_and_nobody_writes_on_them():
    few = uniforms(3, "a stream", 5, 5 + FEW)
    assert uniforms(3, "a stream", 5, 5 + FEW) is few
    assert (uniforms(3, "a stream", 0, 6 + FEW)[5:-1] == few).all()
    with pytest.raises(ValueError, match="read-only"):
        few[0] = 0.5
