"""``cartsim er``: the numbers of the library, of a stored trial and of a user's own file."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

import cartsim as cs
from cartsim.cli.app import app


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "100"})


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored") / "trial"
    words = ("--dose", "300e6,450e6", "--n", 60, "--burden", "karmma", "--followup", "karmma", "--no-pictures")
    found = call("trial", *words, "--out", folder)
    assert found.exit_code == 0, found.stderr
    return folder


def test_of_a_stored_trial_in_one_command(stored, tmp_path):
    out = tmp_path / "er"
    words = ("--endpoint", "CRR", "--covariates", "burden", "--validate", stored, "--jobs", 1)
    found = call("er", stored, *words, "--out", out)
    assert found.exit_code == 0, found.stderr
    assert max(map(len, found.stdout.splitlines())) <= 100
    for said in (
        "CRR by quartile of AUC0–28",
        "Survival by quartile",
        "CRR by dose, %",
        "CRS requiring tocilizumab, surrogate",
    ):
        assert said in found.stdout
    assert "surrogates are no estimates from patients" in found.stderr
    again = cs.exposure_response(stored, "CRR", covariates=["burden"], validate=stored)
    for name, table in again.tables().items():
        written = pd.read_csv(out / name)
        assert len(written) == len(table), name
        numbers = [each for each in table if table[each].dtype.kind == "f"]
        np.testing.assert_allclose(written[numbers], table[numbers], rtol=1e-9, err_msg=name)
    pictures = {path.stem for path in out.glob("*.png")}
    assert {"response", "exposures", "PFS", "DOR", "dose_response", "dose_exposure", "validation", "roc"} <= pictures
    about = json.loads((out / "exposure_response.json").read_text())
    assert about["repeat"].startswith("cartsim er ") and "surrogates" in about


def test_of_a_users_own_file(tmp_path):
    rng = np.random.default_rng(1)
    auc = np.exp(rng.normal(12, 1.2, 80))
    own = pd.DataFrame({"ID": range(80), "AUC0-28": auc, "age": 60, "sex": rng.choice(["f", "m"], 80)})
    own["CRS_toci"] = (rng.random(80) < 1 / (1 + np.exp(12 - np.log(auc)))).astype(int)
    own.to_csv(tmp_path / "own.csv", index=False)
    found = call(
        "er",
        tmp_path / "own.csv",
        "--endpoint",
        "crs_toci",
        "--covariates",
        "SEX,age",
        "--no-pictures",
        "--out",
        tmp_path / "er",
    )
    assert found.exit_code == 0, found.stderr
    assert "covariate age is excluded: covariate age is 60" in found.stderr
    assert "CRS_toci by quartile" in found.stdout and "by dose" not in found.stdout
    assert not (tmp_path / "er" / "dose_response.csv").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--endpoint", "ORRR"), "no endpoint 'ORRR'; did you mean ORR"),
        (("--exposure", "auc"), "exposure auc028 is 0 in row 1"),
        (("--covariates", "sex"), "no covariate 'sex'"),
        (("--dose", "0"), "give cells above 0"),
        (("--endpoint", "age"), "endpoint age holds 60"),
        (("--endpoint", "dead"), "outcome dead is 0 in all"),
    ],
)
def test_bad_input_is_named_and_explained(tmp_path, words, message):
    own = pd.DataFrame(
        {"auc028": range(20), "cmax": range(1, 21), "ORR": [0, 1] * 10, "age": 60, "dead": 0, "dose": 3e8}
    )
    own.to_csv(tmp_path / "own.csv", index=False)
    given = words if "--exposure" in words else ("--exposure", "cmax", *words)
    found = call("er", tmp_path / "own.csv", *given, "--no-pictures", "--out", tmp_path / "er")
    assert found.exit_code == 2 and message in found.stderr, found.stderr
    assert not (tmp_path / "er").exists()
