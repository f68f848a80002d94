"""No number that is none passes in silence: bad starts, and outputs that a formula makes infinite or NaN."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import cartsim
from cartsim.cli.app import app
from cartsim.engine import kernel
from cartsim.engine.trajectories import Status
from cartsim.experiments.measures import Measure, read
from cartsim.regimen import Infusion, Regimen

MODEL = Path(__file__).parents[1] / "models" / "not_finite.toml"
TIMES = np.array([0.0, 1.0, 2.0, 3.0])


@pytest.fixture(scope="module")
def model() -> cartsim.Model:
    return cartsim.load(MODEL)


def statuses(run: cartsim.Simulation) -> list[str]:
    return [Status(code).name for code in run.status]


def test_patients_with_a_bad_start_have_a_status_and_no_values(model: cartsim.Model) -> None:
    table = {"start": [4.0, -1.0, 0.0, 5.0, 0.0, 4.0], "divisor": [1.0, 1.0, 1.0, 0.0, 0.0, 2.0]}
    run = cartsim.simulate(cartsim.Patients(model, table), 0.0, TIMES, ["A", "B"])
    assert statuses(run) == ["ok", "bad_start", "ok", "bad_start", "bad_start", "ok"]
    assert list(run.failures["id"]) == [1, 3, 4]
    good = run.status == Status.ok
    expected = np.outer([4.0, 0.0, 2.0], np.exp(-0.5 * TIMES))
    np.testing.assert_allclose(run["A"][good], expected, rtol=1e-5)
    assert np.isnan(run["A"][~good]).all()
    assert np.isnan(run["B"][~good]).all()


def test_a_dose_of_no_number_is_a_bad_start(model: cartsim.Model) -> None:
    run = cartsim.simulate(cartsim.Patients(model, {"volume": [2.0, 0.0]}), 6.0, TIMES, ["B"])
    assert statuses(run) == ["ok", "bad_start"]
    assert run["B"][0, 0] == 1.0 + 3.0
    later = Regimen((Infusion(1.5, 6.0),))
    assert statuses(cartsim.simulate(cartsim.Patients(model, {"volume": [2.0, 0.0]}), later, TIMES, ["B"])) == [
        "ok",
        "bad_start",
    ]


def test_outputs_that_are_not_finite_are_a_status_and_stay_as_they_are(model: cartsim.Model) -> None:
    run = cartsim.simulate(cartsim.Patients(model, {"start": [4.0, 400.0]}), 0.0, TIMES, ["A", "excess"])
    assert statuses(run) == ["not_finite", "ok"]  # log(A - 2) has no value once A is below 2
    np.testing.assert_allclose(run["excess"][0, :2], np.log(4 * np.exp([0.0, -0.5]) - 2), rtol=1e-4)
    assert np.isnan(run["excess"][0, 2:]).all()
    assert np.isfinite(run["A"][0]).all()
    huge = cartsim.simulate(cartsim.Patients(model, {"start": [4.0, 5.0]}), 0.0, TIMES, ["huge"])
    assert statuses(huge) == ["not_finite"] * 2
    assert np.isinf(huge["huge"]).all()
    assert list(cartsim.simulate(cartsim.Patients(model, {"start": [4.0]}), 0.0, TIMES, ["A"]).status) == [Status.ok]


def test_a_rate_that_is_no_number_ends_the_patient(model: cartsim.Model) -> None:
    # sqrt(B - threshold) has no value from the start, or from when B has grown past nothing.
    run = cartsim.simulate(cartsim.Patients(model, {"threshold": [-1.0, 10.0]}), 0.0, TIMES, ["C"])
    assert statuses(run) == ["ok", "step_too_small"]
    assert np.isnan(run["C"][1]).all()


BAD_STARTS = [({"start": -1.0}, "A starts at -1"), ({"divisor": 0.0}, "A starts at inf")]


@pytest.mark.parametrize(("changes", "says"), BAD_STARTS)
def test_a_typical_patient_with_a_bad_start_is_refused_before_work(model, changes, says, monkeypatch) -> None:
    monkeypatch.setattr(kernel, "compile_model", lambda *_: pytest.fail("compiled"))
    with pytest.raises(cartsim.InputError, match=says):
        cartsim.simulate(model.override(changes), times=TIMES)


def test_the_command_line_counts_and_names_them(tmp_path: Path) -> None:
    table = tmp_path / "patients.csv"
    table.write_text("id,start\nanna,4\nberta,400\n")
    words = ["simulate", str(MODEL), "--patients", str(table), "--dose", "0", "--times", "0:3:1", "--outputs", "excess"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0
    assert "1 of 2 patients have no complete result: id anna (not_finite)" in result.stderr


def test_failed_are_those_without_a_result() -> None:
    failed = {status for status in Status if Status.failed(np.array([status]))[0]}
    assert failed == {Status.too_many_steps, Status.step_too_small, Status.bad_start, Status.not_finite}


def test_measures_of_what_is_not_finite_are_missing() -> None:
    y = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, np.inf, 3.0, 4.0], [1.0, 2.0, np.nan, 4.0]])
    found = read({"top": Measure("highest", "y"), "last": Measure("value", "y", 3.0)}, TIMES, {"y": y})
    assert np.isfinite(found["top"]).tolist() == np.isfinite(found["last"]).tolist() == [True, False, False]
