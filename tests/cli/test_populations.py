"""``--population``: the patients of a population wherever patients are simulated, and the population itself shown."""

from __future__ import annotations

import io
import json

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

import cartsim as cs
from cartsim.cli import complete
from cartsim.cli.app import app

DRAWS = pd.DataFrame({"Kg": [0.01, 0.02, 0.03], "omega(Kexp_max)": [0.1, 0.2, 0.3]})
OF_FILE = ("--n=4", "--seed=3", "--no-pictures")


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def done(*words: object) -> Result:
    result = call(*words)
    assert result.exit_code == 0, result.stderr
    return result


def refused(*words: object) -> str:
    result = call(*words)
    assert result.exit_code == 2 and result.stderr.count("\n") == 1, result.output
    return result.stderr


@pytest.fixture(scope="module")
def mine(tmp_path_factory) -> str:
    made = cs.Population("bb2121_clinical", 1, {"burden": cs.logitnormal(0.8, 0.01, 100)}, draws=DRAWS).at({"M0": 25.0})
    path = tmp_path_factory.mktemp("stored") / "mine.toml"
    about = {"title": "Mine", "purpose": "a test", "limits": "no more", "provenance": {"command": "cartsim calibrate"}}
    return str(cs.save_population(path, made, **about).path)


def test_simulate_is_of_its_patients(mine) -> None:
    of = cs.population(mine, seed=3)
    words = ("simulate", "--population", mine, "--times=0,9", "--outputs=transgene,mprotein_gL", "--dose=450e6")
    table = pd.read_csv(io.StringIO(done(*words, "--n=4", "--seed=3").stdout))
    assert table["mprotein_gL"].to_numpy() == pytest.approx(
        cs.simulate(of, 450e6, [0, 9], ["mprotein_gL"], n=4)["mprotein_gL"].reshape(-1)
    )
    typical = pd.read_csv(io.StringIO(done(*words, "--set=Kg=0.02").stdout))
    assert typical["mprotein_gL"][0] == 25.0
    fixed = done(*words, "--n=3", "--burden=90", "--omega=M0=0", "--set=M0=20", "--correlation=K12,K21=0.5").stdout
    assert set(pd.read_csv(io.StringIO(fixed)).query("time == 0")["mprotein_gL"]) == {20.0}


def test_trials_and_sweeps_are_of_its_patients_and_draws(mine, tmp_path) -> None:
    done("trial", "--population", mine, "--dose=450e6", *OF_FILE, "--uncertainty", "--replicates=2", "--out", tmp_path)
    made = json.loads((tmp_path / "summary.json").read_text())["made_by"]
    assert made["population"] == {"name": "mine", "digest": cs.read_population(mine).digest}
    assert cs.read_trial(tmp_path).made_by["population"] == made["population"]
    patients = pd.read_parquet(tmp_path / "patients.parquet")
    assert list(patients["M0"]) == list(cs.population(mine, seed=3).table(0, 4)["M0"])
    axes = ("--over=dose=150e6,450e6", "--over=burden=20,80")
    done("sweep", "--population", mine, *axes, "--rate", "--uncertainty", "--replicates=2", *OF_FILE, "--out", tmp_path)
    shown = done("dose-response", "--population", mine, "--dose=150e6,450e6", *OF_FILE, "--out", tmp_path).stdout
    assert "Burden of --population" in shown and "Burden fixed" not in shown


def test_a_population_and_a_model_that_disagree(mine) -> None:
    assert "leave the model out" in refused("trial", "bb2121_xenograft", "--population=published")
    assert "both say who is simulated" in refused("trial", "--patients=a.csv", "--population=published")
    assert "did you mean published" in refused("trial", "--population=publishd")
    assert "give a model, such as bb2121_clinical, or --population" in refused("show")
    assert "one is shown at a time" in refused("show", "bb2121_clinical", "--population=published")
    done("simulate", "bb2121_clinical", "--population=published", "--times=1")


def test_populations_are_shown_and_completed(mine) -> None:
    assert "published" in done("models").stdout
    shown = done("show", "--population", mine).stdout
    for said in ("Mine", "a test", "no more", "cartsim calibrate", "0.011 to 0.029", "lognormal 0.22 (0.11 to 0.29)"):
        assert said in shown
    assert complete.populations("publ") == ["published"]


def test_plausible_patients_are_weighted_and_predict(tmp_path) -> None:
    words = ("plausible", "bb2121_clinical:window", "--trial=crb401", "--n=40", "--out", tmp_path / "out")
    found = done(*words, "--predict=karmma", "--against=published", "--no-pictures")
    assert "effective sample size" in found.stdout and "published patients" in found.stdout
    assert "few patients carry the rows" in found.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"weighted_rows.csv", "weighted_patients.csv", "prediction_scores.csv", "weighted_patients.json"} <= names
    assert "no trial; give --trial" in refused("plausible")
    assert "give --predict TRIAL too" in refused("plausible", "--trial=crb401", "--against=published")
    assert "it draws virtual ones" in refused("plausible", "--trial=crb401", "--patients=a.csv")


def test_a_trial_of_nobody_in_particular_is_of_the_calibrated_population(tmp_path) -> None:
    done("trial", "--n=4", "--no-pictures", "--out", tmp_path / "calibrated")
    done("trial", "--n=4", "--no-pictures", "--population=published", "--out", tmp_path / "paper")
    done("trial", "bb2121_clinical", "--n=4", "--no-pictures", "--out", tmp_path / "model")
    made = {
        each: json.loads((tmp_path / each / "summary.json").read_text())["made_by"]
        for each in ("calibrated", "paper", "model")
    }
    assert made["calibrated"]["population"]["name"] == "ide-cel"
    assert made["paper"]["population"]["name"] == "published"
    assert "population" not in made["model"]
    assert made["calibrated"]["arms"] == str({"150e6": 4, "300e6": 4, "450e6": 4})
