"""Populations in files: written and read again, and what is wrong with a file said in one sentence."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import cartsim as cs
from cartsim.population.stored import population_names

MODEL = cs.load("bb2121_clinical:Rm_absolute_SD")
DRAWS = pd.DataFrame({"Kg": [0.01, 0.02, 0.03], "burden": [40.0, 50.0, 60.0], "omega(Kexp_max)": [0.1, 0.2, 0.3]})
POPULATION = cs.Population(
    MODEL, 3, {"burden": cs.logitnormal(0.8, 0.01, 100), "K12": cs.fixed()}, {("K21", "Kel_e"): 0.5}, draws=DRAWS
).at({"M0": 25.0, "omega(Kkill_max)": 0.6})
ABOUT = {
    "title": 'Patients "of mine" with é',
    "purpose": "a test",
    "limits": "anything else",
    "provenance": {
        "made": "2026-12-01",
        "trials": ["one", "two"],
        "rhat": 1.01,
        "sampler": {"name": "emcee", "walkers": 64},
    },
    "scores": {"karmma": {"interval": 1.5, "rows": 30}},
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return cs.save_population(tmp_path_factory.mktemp("stored") / "mine.toml", POPULATION, **ABOUT)


def test_a_population_is_read_as_it_was_written(written) -> None:
    again = cs.population(str(written.path), seed=3)
    pd.testing.assert_frame_equal(again.table(0, 20), POPULATION.table(0, 20))
    pd.testing.assert_frame_equal(again.draws, DRAWS)
    assert again.about()["population"] == {"name": "mine", "digest": written.digest}
    assert again.varied == POPULATION.varied and again.model.inputs() == POPULATION.model.inputs()
    assert (written.title, written.provenance, written.scores) == (ABOUT["title"], ABOUT["provenance"], ABOUT["scores"])
    assert "3 draws of Kg" in repr(written)


@pytest.mark.parametrize("name", population_names())
def test_every_population_that_comes_with_cartsim_can_be_tried(name) -> None:
    population = cs.population(name, seed=1)
    found = cs.Trial(population, [450e6], n=5).run()
    assert found.made_by["population"]["name"] == name
    assert cs.populations().set_index("name").loc[name, "purpose"]
    cs.replicate(cs.Trial(population, [450e6], n=5), 2, uncertainty=True)


def test_the_published_population_is_the_model_file() -> None:
    published, plain = cs.population("published", seed=4), cs.Population("bb2121_clinical", seed=4)
    pd.testing.assert_frame_equal(published.table(0, 9, complete=True), plain.table(0, 9, complete=True))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("schema = 1", "schema = 2", "schema 2 is not that"),
        ("schema = 1\n", "", "schema None is not that"),
        ('purpose = "a test"\n', "", "purpose missing; add it"),
        ("purpose", "porpose", "unknown entry 'porpose'; did you mean purpose"),
        ("M0 = 25.0", "M00 = 25.0", "no parameter or covariate 'M00'; did you mean M0"),
        ("M0 = 25.0", "M0 = nan", "'M0': must be a finite number, not nan"),
        ("M0 = 25.0", "M0 = -1", "M0 = -1 g/L is not allowed"),
        ("M0 = 25.0", 'M0 = "25"', "must be a finite number, not '25'"),
        ('"logitnormal"', '"cauchy"', "'cauchy' is not one of lognormal"),
        ("omega = 0.8", "omega = -0.8", "0 or more"),
        ('"K21,Kel_e"', '"K21"', "write two names"),
        ("rows = 3", "rows = 4", "has 3 draws, not 4"),
        ('sha256 = "', 'sha256 = "0', "other draws than were written"),
        (f'digest = "{MODEL.digest}', f'digest = "{MODEL.digest[::-1]}', "other equations"),
        (":Rm_absolute_SD", ":Rm_absolute", "which is not here"),
        ('model = "bb2121_clinical', 'model = "../bb2121_clinical', "cannot be a name here"),
        ('model = "bb2121_clinical:Rm_absolute_SD"', 'model = "bb2121_clinical.toml"', "is a file"),
        ('"a test"', '"a \\u001b[31mtest"', "is not allowed; use printable text"),
        ('"a test"', "3", "must be text, not 3"),
        ("[estimates]", "[estimates", "not a TOML file"),
        ("[provenance]", "provenance = 3\n[other]", "provenance"),
    ],
)
def test_files_that_cannot_be(written, tmp_path, before, after, message) -> None:
    text = written.path.read_text("utf-8")
    assert before in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(before, after, 1), "utf-8")
    path.with_suffix(".csv").write_bytes(written.path.with_suffix(".csv").read_bytes())
    with pytest.raises(cs.InputError, match=message) as error:
        cs.population(path)
    assert "\n" not in str(error.value)


def test_populations_that_are_not_there(written, tmp_path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(written.path.read_bytes())
    for name, message in [
        ("publised", "did you mean published"),
        (tmp_path / "none.toml", "No such file"),
        (3, "the name of one"),
        (path, "mine.csv: there is no such file"),
    ]:
        with pytest.raises(cs.InputError, match=message):
            cs.population(name)
    with pytest.raises(cs.InputError, match="not of bb2121_clinical; leave the model out"):
        cs.population(written.path, model="bb2121_clinical")
    with pytest.raises(cs.InputError, match="cannot be a name"):
        cs.save_population(tmp_path / "9.toml", POPULATION, **ABOUT)
    with pytest.raises(cs.InputError, match="choose this ending"):
        cs.save_population(tmp_path / "mine.csv", POPULATION, **ABOUT)


def test_a_population_of_a_model_of_ones_own(tmp_path) -> None:
    text = Path(cs.load("bb2121_clinical").path).read_text("utf-8")
    (tmp_path / "own.toml").write_text(text.replace('name = "bb2121_clinical"', 'name = "own"'), "utf-8")
    model = tmp_path / "own.toml"
    made = cs.Population(model, 1).at({"Kg": 0.05})
    cs.save_population(tmp_path / "patients.toml", made, **ABOUT)
    with pytest.raises(cs.InputError, match="give the model too"):
        cs.population(tmp_path / "patients.toml")
    again = cs.population(tmp_path / "patients.toml", 1, model=model)
    assert again.model.parameters["Kg"].value == 0.05


def test_a_changed_population_draws_only_what_is_left_open() -> None:
    assert list(POPULATION.varying({"burden": cs.uniform(5, 95)}).draws) == ["Kg", "omega(Kexp_max)"]
    assert list(POPULATION.varying({"Kexp_max": cs.fixed()}).known({"Kg": 0.01}).draws) == ["burden"]
    assert POPULATION.known(dict.fromkeys(("Kg", "burden"), 1.0)).varying({"Kexp_max": cs.fixed()}).draws is None
