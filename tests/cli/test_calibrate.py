"""``cartsim calibrate``: what it prints and writes, goes on with, and refuses."""

import pytest
from typer.testing import CliRunner

import cartsim as cs
from cartsim.calibration import sampling
from cartsim.cli.app import app

SMALL = (
    "bb2121_clinical:window",
    "--trial",
    "crb401",
    "--n",
    "8",
    "--evaluations",
    "1",
    "--no-pictures",
    "--jobs",
    "1",
)


def call(*words):
    return CliRunner().invoke(app, ["calibrate", *map(str, words)])


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    for name, value in {"PRIOR_POINTS": 128, "GENERATIONS": 2, "POPULATION": 16, "BLOCK": 6}.items():
        monkeypatch.setattr(sampling, name, value)


def test_tables_files_and_going_on(tmp_path, monkeypatch):
    priors = tmp_path / "priors.toml"
    priors.write_text("[priors]\nKg = { median = 0.05, sd = 1 }\n")
    out = tmp_path / "out"
    words = (*SMALL, "--priors", priors, "--prior-of", "gamma_m=0.3,0.5", "--out", out)
    first = call(*words)
    assert first.exit_code == 1, first.stderr  # not converged, and all files written
    assert "gamma_m" in first.stdout and "ORR_450" in first.stdout and "evaluations in" in first.stdout
    assert "not converged" in first.stderr
    read = cs.read_calibration(out)
    assert list(read.priors) == ["Kg", "gamma_m"] and read.priors["gamma_m"].median == 0.3
    assert (out / "population.toml").exists() and list((out / "checkpoint").glob("calibration-*/part_0_*.npz"))
    again = call(*words)
    assert "steps taken from" in again.stderr and again.stdout.split("minutes")[0][:500] == first.stdout[:500]
    other = call(*words, "--seed", "3")
    assert other.exit_code == 2 and "holds a calibration with other seed, walkers" in other.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--free", "Kg"), "no trial; give --trial"),
        (("--trial", "crb401"), "name at least one"),
        (("--trial", "crb401", "--free", "Kg,Kg"), "free twice"),
        (("--trial", "crb401", "--free", "Kg", "--prior-of", "Kg=fast"), "NAME=MEDIAN,SD"),
        (("--trial", "crb401", "--free", "Kg", "--prior-of", "Rm=1,1"), "Rm: it is not free"),
        (("--trial", "crb401", "--free", "Kg", "--prior-width", "0"), "give a factor above 0"),
        (("--trial", "crb401", "--free", "Kg", "--algorithm", "magic"), "emcee"),
        (("--trial", "crb401", "--free", "Kg", "--time", "-1"), "give a time above 0"),
        (("--trial", "crb401", "--free", "Kg", "--patients", "x.csv"), "takes no --patients"),
    ],
)
def test_bad_options_are_one_line(tmp_path, words, said):
    result = call("bb2121_clinical:window", *words, "--out", tmp_path / "out", "--no-pictures")
    assert result.exit_code == 2 and said in " ".join(result.stderr.split()), result.stderr
    assert not (tmp_path / "out").exists()
