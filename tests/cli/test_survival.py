"""``cartsim survival`` and what ``cartsim trial`` and ``respond`` say of survival: the numbers of the library."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

import cartsim as cs
from cartsim.cli.app import app
from cartsim.trial.stored import read_trial

OWN = "id,time,value,arm\n" + "".join(
    f"{who},{day},{value},{arm}\n"
    for who, arm, values in (
        ("a", "x", (40, 10, 3, 30, 35)),
        ("b", "x", (40, 10, 3, 2, 2)),
        ("c", "y", (40, 38, 39, 38, 37)),
        ("d", "y", (30, 3, 3, 3, 3)),
    )
    for day, value in zip((0, 28, 56, 91, 112), values, strict=True)
)


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "80"})


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"arm": str, "reference": str})


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stored") / "trial"
    words = ("--dose", "150e6,450e6", "--n", 40, "--death", 0.02, "--followup", "18:6:24")
    found = call("trial", *words, "--no-pictures", "--out", folder)
    assert found.exit_code == 0, found.stderr
    assert "Compared with 150e6" in found.stdout
    assert "All arms hold the same virtual patients" in found.stdout
    assert max(map(len, found.stdout.splitlines())) <= 80
    return folder


def test_of_a_stored_trial(stored, tmp_path):
    out = tmp_path / "survival"
    found = call("survival", stored, "--reference", "450e6", "--landmark", 5, "--mrd-limit", 1e-4, "--out", out)
    assert found.exit_code == 0, found.stderr
    assert max(map(len, found.stdout.splitlines())) <= 80
    trial = read_trial(stored)
    pd.testing.assert_frame_equal(read(out / "survival.csv"), trial.estimates(), check_dtype=False)
    compared = read(out / "comparisons.csv")
    assert set(compared["reference"]) == {"450e6"}
    assert compared["hazard_ratio"][0] == pytest.approx(trial.compare("PFS", reference="450e6")["hazard_ratio"][0])
    residual = read(out / "residual.csv").query("arm == '450e6'")
    assert residual["negative"].tolist() == trial.residual("450e6", limit=1e-4).by_visit()["negative"].tolist()
    landmark = read(out / "landmark.csv").query("arm == '150e6' and by == 'response'")
    assert landmark["n"].tolist() == trial.landmark(5, arm="150e6").frame()["n"].tolist()
    assert {path.name for path in out.glob("*.png")} >= {"PFS.png", "OS.png", "landmark.png", "residual.png"}
    pd.testing.assert_frame_equal(read(stored / "survival.csv"), trial.estimates(), check_dtype=False)


def test_of_own_patients(tmp_path):
    path, events = tmp_path / "own.csv", tmp_path / "events.csv"
    path.write_text(OWN)
    events.write_text("id,death_day,end_day\nb,300,\nc,,200\n")
    out = tmp_path / "out"
    assert call("survival", path, "--events", events).exit_code == 2  # every patient is listed, or none
    events.write_text("id,death_day,end_day\na,,\nb,300,\nc,,200\nd,,\n")
    found = call("survival", path, "--events", events, "--landmark", 1, "--no-pictures", "--out", out)
    assert found.exit_code == 0, found.stderr
    expected = cs.respond(pd.read_csv(path), cs.IMWG2016(), patients=pd.read_csv(events))
    pd.testing.assert_frame_equal(read(out / "survival.csv"), expected.estimates(), check_dtype=False)
    assert "Compared with x" in found.stdout
    assert "same virtual patients" not in found.stdout
    table = call("respond", path, "--events", events, "--censoring", "ema").stdout
    assert table.splitlines()[0].startswith("id,arm,new_therapy_day,death_day,end_day,pfs_day,pfs_event,pfs_reason,os_")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--censoring", "ema"), "a trial with its own patients and rules"),
        (("--reference", "451e6"), "no arm '451e6' here; did you mean"),
        (("--mrd-limit", 7), "sensitivity is 7"),
        (("--landmark", "-1"), "--landmark -1"),
    ],
)
def test_bad_input_is_one_line(stored, words, says):
    found = call("survival", stored, *words)
    assert found.exit_code == 2
    assert says in found.stderr
    assert found.stderr.count("\n") == 1
