"""``cartsim published`` and ``cartsim predict``: the numbers of the library, as tables and files."""

from __future__ import annotations

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

import cartsim as cs
from cartsim.cli.app import app


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "100"})


def test_published_lists_and_shows(tmp_path):
    listed = call("published")
    assert listed.exit_code == 0, listed.stderr
    assert all(name in listed.stdout for name in ("crb401", "karmma", "karmma3"))
    shown = call("published", "crb401", "--out", tmp_path)
    assert shown.exit_code == 0, shown.stderr
    assert "Raje 2019" in shown.stdout and "10.9 (7.2, NR)" in shown.stdout
    table = pd.read_csv(tmp_path / "published_trial.csv")
    assert len(table) == len(cs.published("crb401").rows)
    assert (tmp_path / "published.png").stat().st_size > 10_000


def test_predict_is_that_of_the_library(tmp_path):
    words = ("--replicates", 6, "--seed", 3, "--counts", "karmma", "--against", "bb2121_clinical", "--out", tmp_path)
    found = call("predict", "crb401", "bb2121_clinical:window", *words)
    assert found.exit_code == 0, found.stderr
    assert "CRB-401 as predicted by bb2121_clinical:window" in found.stdout
    assert max(map(len, found.stdout.splitlines())) <= 100
    population = cs.Population("bb2121_clinical:window", seed=3)
    expected = cs.predict("crb401", population, replicates=6)
    table = pd.read_csv(tmp_path / "prediction.csv")
    assert table["predicted"].to_numpy() == pytest.approx(expected.frame["predicted"].to_numpy(), nan_ok=True)
    scores = pd.read_csv(tmp_path / "prediction_scores.csv")
    assert set(scores["prediction"]) == {"bb2121_clinical:window", "bb2121_clinical", "counts of KarMMa"}
    assert (tmp_path / "forest.png").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("predict", "karma"), "no published trial 'karma'; did you mean karmma"),
        (("predict", "karmma", "--n", 5), "a published trial has its own number of patients"),
        (("predict", "karmma", "--replicates", 0), "--replicates 0"),
        (("published", "--out", "x"), "--out writes one trial"),
    ],
)
def test_bad_input_is_one_line(words, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = call(*words)
    assert found.exit_code == 2
    assert says in found.stderr
    assert found.stderr.count("\n") == 1
