"""--replicates and --uncertainty mean the same in every command, and few cells are told once."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

import cartsim as cs
from cartsim import simulation
from cartsim.cli.app import app

MODEL = cs.load("bb2121_clinical")
AGAIN = ("--replicates", "4", "--uncertainty", "--no-pictures")


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_trial_is_repeated_with_independent_arms(tmp_path):
    words = (
        "trial",
        "bb2121_clinical",
        "--n",
        15,
        "--dose",
        "1e6,450e6",
        "--seed",
        4,
        "--independent",
        "--out",
        tmp_path,
    )
    result = call(*words, "--replicates", 4, "--uncertainty")
    assert result.exit_code == 0, result.stderr
    trial = cs.Trial(cs.Population(MODEL, 4), [1e6, 450e6], 15, independent=True)
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "replicates.csv", dtype={"arm": str}),
        cs.replicate(trial, 4, uncertainty=True).frame,
        check_dtype=False,
    )
    ids = pd.read_parquet(tmp_path / "patients.parquet").groupby("arm", observed=True)["id"].min()
    assert ids.tolist() == [0, 1_000_000_000]
    assert "4 replicates of a trial of bb2121_clinical" in result.stdout and "power" in result.stdout
    assert "independent" not in result.stderr
    assert {"replicates.png", "replicates_by_dose.png"} <= {path.name for path in tmp_path.iterdir()}
    about = json.loads((tmp_path / "replicates.json").read_text())
    assert about["uncertainty"] is True and "--independent" in about["repeat"]
    assert call(*words, "--no-pictures").exit_code == 0  # an earlier run leaves nothing behind
    assert not list(tmp_path.glob("replicates*"))


def test_doses_and_regimens_are_repeated(tmp_path):
    result = call("dose-response", "--n", 8, "--dose", "1e6,50e6,450e6", *AGAIN, "--out", tmp_path / "doses")
    assert result.exit_code == 0, result.stderr
    assert "A plateau begins in the replicates: month 6 in" in result.stdout
    plateaus = pd.read_csv(tmp_path / "doses" / "plateau_replicates.csv")
    assert plateaus["burden"].tolist() == ["fixed", "fixed", "uniform", "uniform"]
    result = call("regimens", "--n", 8, "--no-retreat", *AGAIN, "--out", tmp_path / "regimens")
    assert result.exit_code == 0, result.stderr
    pairs = pd.read_csv(tmp_path / "regimens" / "replicates_pairs.csv")
    assert set(pairs["reference"]) == {"single"}
    assert "--independent" in result.stderr  # that this power is of the same patients


@pytest.mark.parametrize("rate", [(), ("--rate", "--n", "8")])
def test_cells_of_a_sweep_have_limits(tmp_path, rate):
    over = ("--over", "dose=50e6,450e6", "--over", "Kg=0.004,0.01")
    result = call("sweep", *over, *rate, "--replicates", 4, "--uncertainty", "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    table = pd.read_csv(tmp_path / "grid.csv")
    name = "ORR" if rate else "Cmax"
    assert (table[f"{name}_low"] <= table[f"{name}_high"]).all()
    assert (tmp_path / "limits.png").exists()
    assert f"({table[f'{name}_low'][table[name].argmin()]:.3g} to " in result.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("sweep", "--replicates", "4"), "--replicates goes with --rate"),
        (("trial", "--replicates", "4", "--sampler", "sobol"), "other patients each time"),
        (("trial", "--independent", "--sampler", "sobol"), "patients without end"),
        (("trial", "--replicates", "900000000"), "at most"),
        (("dose-response", "--uncertainty", "--sampler", "sobol"), "other patients each time"),
        (("regimens", "--uncertainty", "--sampler", "sobol"), "other patients each time"),
    ],
)
def test_what_cannot_be_repeated_is_refused_in_one_line(tmp_path, words, says):
    result = call(*words, "--out", tmp_path / "new")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert says in result.stderr
    assert not (tmp_path / "new").exists()


def test_an_interrupted_trial_goes_on_with_its_replicates(tmp_path):
    words = ("trial", "--n", 8, "--dose", "450e6", *AGAIN, "--checkpoint", tmp_path / "kept", "--out", tmp_path / "out")
    first = call(*words)
    assert first.exit_code == 0, first.stderr
    again = call(*words)
    assert "4 of 4 replicates taken from" in again.stderr
    assert again.stdout == first.stdout


@pytest.fixture
def fresh(monkeypatch):
    monkeypatch.setattr(simulation, "_warned", {})


DATA = Path(__file__).parents[2] / "models" / "examples" / "crb401_synthetic.csv"


@pytest.mark.parametrize(
    "words",
    [
        ("simulate", "bb2121_clinical", "--times", "0,1", "--dose", "450"),
        ("trial", "--n", "3", "--dose", "450,450e6", "--no-pictures", "--no-visits"),
        ("dose-response", "--n", "3", "--dose", "50,150", "--no-pictures"),
        ("regimens", "--n", "3", "--dose", "450", "--no-pictures", "--no-retreat"),
        ("sweep", "--over", "dose=50:800:3", "--over", "Kg=0.004,0.01", "--no-pictures"),
        ("sensitivity", "bb2121_clinical", "--parameters", "Kg,Kel_e", "--method", "local", "--dose", "450"),
    ],
    ids=lambda words: words[0],
)
def test_a_dose_of_few_cells_is_told_once(tmp_path, fresh, words):
    out = tmp_path / ("out.csv" if words[0] == "simulate" else "out")
    result = call(*words, "--out", out)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("450 million cells are 450e6") == 1
    assert "cells is less than a thousandth of the usual dose of bb2121_clinical" in result.stderr


@pytest.mark.parametrize(
    ("model", "dose", "told"),
    [
        ("bb2121_clinical", 1e5, False),
        ("bb2121_clinical", 0.99e5, True),
        ("bb2121_clinical", 0.0, False),
        ("bb2121_xenograft", 1e4, False),  # a mouse is given 5e6
        ("bb2121_xenograft", 4e3, True),
        ("bb2121_xenograft", None, False),
        ("bb2121_invitro", None, False),  # a dish has no dose
    ],
)
def test_few_is_what_is_few_for_the_model(fresh, capsys, model, dose, told):
    cs.simulate(model, dose, times=[0, 1])
    cs.simulate(model, dose, times=[0, 2])
    assert capsys.readouterr().err.count("less than a thousandth") == told
