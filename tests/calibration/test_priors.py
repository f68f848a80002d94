"""Priors of estimates: from the model file, stated, widened; and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cartsim as cs
from cartsim.calibration.priors import WIDE, WIDE_OMEGA, Prior, priors_of, read_priors

POPULATION = cs.Population("bb2121_clinical", variability={"burden": cs.logitnormal(0.8)})


def test_a_model_files_standard_errors_are_the_widths_of_its_priors():
    found = priors_of(POPULATION, ["Kexp_max", "omega(Kexp_max)", "Kg", "omega(M0)"])
    assert (found["Kexp_max"].median, found["Kexp_max"].sd) == (1.73, 0.10)
    assert (found["omega(Kexp_max)"].median, found["omega(Kexp_max)"].sd) == (0.22, 0.38)
    assert (found["Kg"].median, found["Kg"].sd) == (0.008, WIDE)
    assert (found["omega(M0)"].median, found["omega(M0)"].sd) == (0.5, WIDE_OMEGA)


def test_a_share_is_normal_on_its_logit_within_its_limits():
    burden = priors_of(POPULATION, {"burden": (40, 0.5)})["burden"]
    values = burden.values(np.array([-3.0, 0.0, 3.0]))
    assert burden.scale == "logit" and values[1] == pytest.approx(40)
    assert (np.diff(values) > 0).all() and values[0] > 0.01 and values[2] < 100


@given(st.sampled_from(["log", "logit", "linear"]), st.floats(0.1, 0.9), st.floats(0.01, 2), st.floats(-5, 5))
def test_places_are_what_values_were_made_of(scale, median, sd, z):
    prior = Prior(median, sd, scale)
    assert prior.places(prior.values(np.array([z])))[0] == pytest.approx(z, abs=1e-6)


def test_widened_priors_have_the_same_medians():
    free = {"Kg": (0.05, 1.0), "Kexp_max": None}
    once, twice = priors_of(POPULATION, free), priors_of(POPULATION, free, widen=2)
    assert [p.sd * 2 for p in once.values()] == [p.sd for p in twice.values()]
    assert [p.median for p in once.values()] == [p.median for p in twice.values()]


def test_priors_of_a_file(tmp_path):
    file = tmp_path / "priors.toml"
    file.write_text(
        '[priors]\nKg = { median = 0.05, sd = 1, source = "a guess" }\n"omega(Kg)" = { median = 0.3, sd = 0.5 }\n'
    )
    assert read_priors(file) == {"Kg": (0.05, 1), "omega(Kg)": (0.3, 0.5)}
    assert priors_of(POPULATION, ["Kg"], read_priors(file))["Kg"].median == 0.05


@pytest.mark.parametrize(
    ("free", "said"),
    [
        (["Kgg"], "did you mean Kg"),
        ([], "name at least one"),
        ("Kg", "give names of estimates"),
        (["Kg", "Kg"], "free twice"),
        (["omega(Kg)"], "Kg has no omega"),
        (["omega(nothing)"], "no parameter or covariate 'nothing'"),
        (["Tumor0"], "follows from others by a formula"),
        ([3], "a free estimate is 3"),
        ({"Kg": 0.05}, "give its median and its SD"),
        ({"Kg": (0.05, 0)}, "above 0"),
        ({"Kg": (-1, 1)}, "its median -1 must be above 0"),
        ({"Kg": (0.05, float("nan"))}, "give its median and its SD"),
        ({"burden": (120, 1)}, "its median 120 must be between 0.01 and 100"),
        ({"Vb": (1e-5, 1)}, "its median 1e-05 must be"),
    ],
)
def test_what_is_no_prior_is_refused(free, said):
    with pytest.raises(cs.InputError, match="(?i)" + said.replace("(", r"\(").replace(")", r"\)")):
        priors_of(POPULATION, free)


@pytest.mark.parametrize("text", ["", "[prior]\n", "[priors]\nKg = 3\n", "[priors]\nKg = { median = 1 }\n", "nonsense"])
def test_what_is_no_file_of_priors_is_refused(tmp_path, text):
    file = tmp_path / "priors.toml"
    file.write_text(text)
    with pytest.raises(cs.InputError, match=r"priors .*priors\.toml"):
        read_priors(file)
    with pytest.raises(cs.InputError, match="No such file"):
        read_priors(tmp_path / "none.toml")
