"""Patients that fail are counted and named, and nothing further is made of their numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cartsim
from cartsim.engine import kernel
from cartsim.engine.trajectories import Status
from cartsim.errors import InputError
from cartsim.experiments import retreatment
from cartsim.experiments import sweep as sweeps
from cartsim.experiments.measures import Measure, Reading
from cartsim.experiments.selection import select
from cartsim.fitting import DataSet, ErrorModel, Problem, patient_data, synthetic
from cartsim.fitting import likelihood as patient_likelihood
from cartsim.fitting.likelihood import PatientLikelihood
from cartsim.fitting.pooled import evaluation
from cartsim.population.patients import Patients
from cartsim.population.population import Population
from cartsim.regimen import Infusion, Regimen
from cartsim.simulation import Simulation, simulate_rows
from cartsim.solver import Solver
from cartsim.trial.protocol import Protocol, Visits
from cartsim.trial.trial import Trial

STARTS = Path(__file__).parents[1] / "models" / "starts.toml"
CLINICAL = "bb2121_clinical"
TIMES = np.array([0.0, 1.0, 2.0, 3.0])
NONE = Regimen.none()


@pytest.fixture(scope="module")
def starts() -> cartsim.Model:
    return cartsim.load(STARTS)


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "compile_model", lambda *_: pytest.fail("compiled"))


def statuses(run: Simulation) -> list[str]:
    return [Status(code).name for code in run.status]


def spoiling(value: float, row: int = 0, *, of: Callable[..., Simulation] = simulate_rows) -> Callable[..., Simulation]:
    """`simulate`, with one patient whose outputs a formula has made infinite."""

    def spoilt(*args: Any, **settings: Any) -> Simulation:
        run = of(*args, **settings)
        for values in run.values.values():
            values[row] = value
        run.status[row] = Status.not_finite
        return run

    return spoilt


# --- starts ---------------------------------------------------------------------------------------------------


def test_a_start_may_use_definitions(starts: cartsim.Model) -> None:
    assert cartsim.simulate(starts, NONE, [0.0], ["A"])["A"].tolist() == [[2.0]]


def test_an_empty_pool_fills_from_what_flows_in(starts: cartsim.Model) -> None:
    times = np.array([0.0, 1e-5, 0.1, 1.0, 20.0])
    inflow = np.array([0.5, 0.0, 40.0, 1e-6])
    run = cartsim.simulate(Patients(starts, {"inflow": inflow}), NONE, times, ["filled"])
    assert (run.status == Status.ok).all()
    np.testing.assert_allclose(run["filled"], np.outer(inflow / 0.5, -np.expm1(-0.5 * times)), rtol=1e-5)


def test_a_dose_or_a_seed_that_cannot_be_has_its_status(starts: cartsim.Model) -> None:
    table = {"share": [2.0, -1.0, 1e-9, 2.0, 2.0], "small": [1.5, 1.5, 1.5, 0.5, -1.0]}
    for time in (0.0, 1.5):
        run = cartsim.simulate(Patients(starts, table), Regimen.single(1.0, time=time), TIMES, ["A", "filled"])
        assert statuses(run) == ["ok", *["bad_start"] * 4]
        assert all(np.isnan(values[1:]).all() for values in run.values.values())
        assert (run["filled"][0, 2:] > 0).all()


BAD = [
    ({"start": -1.0}, "A starts at -2"),
    ({"share": 0.0}, "A is -inf after a dose of 1"),
    ({"small": 0.5}, "filled has the seed -0.69"),
    ({"small": -1.0}, "filled has the seed nan"),
]


@pytest.mark.parametrize(("values", "says"), BAD)
@pytest.mark.parametrize("n", [None, 3])
def test_typical_values_of_a_bad_start_are_refused_before_work(
    starts: cartsim.Model, uncompiled: None, values: dict[str, float], says: str, n: int | None
) -> None:
    changed = starts.override(values)
    with pytest.raises(InputError, match=says):
        cartsim.simulate(changed if n is None else Population(changed), 1.0, TIMES, n=n)


def test_states_that_grow_without_end_are_not_finite(starts: cartsim.Model) -> None:
    run = cartsim.simulate(Patients(starts, {"k": [0.5, -300.0]}), NONE, TIMES, ["A"])
    assert statuses(run) == ["ok", "not_finite"]
    assert np.isinf(run["A"][1, 3])


SETTINGS = [
    ({"times": np.ma.masked_array(TIMES, TIMES == 1)}, "finite numbers"),
    ({"solver": {"extinction": "1"}}, "extinction"),
    ({"solver": {"extinction": [1.0]}}, "extinction"),
    ({"solver": {"max_steps": 0}}, "max_steps"),
    ({"solver": {"max_steps": "3"}}, "max_steps"),
]


@pytest.mark.parametrize(("given", "says"), SETTINGS)
def test_settings_that_are_no_numbers_are_refused(
    starts: cartsim.Model, uncompiled: None, given: dict[str, Any], says: str
) -> None:
    rest = {name: value for name, value in given.items() if name != "solver"}
    with pytest.raises(InputError, match=says):
        cartsim.simulate(starts, NONE, **{"times": TIMES, **rest}, solver=Solver(**given.get("solver", {})))


# --- what is read of them ---------------------------------------------------------------------------------------


def test_usable_are_outputs_of_patients_that_did_not_fail() -> None:
    run = cartsim.simulate(Patients(CLINICAL, {"Kg": [0.008, 0.7, 0.008]}), NONE, [0.0, 300.0], ["Tumor", "transgene"])
    assert statuses(run) == ["ok", "ceiling", "ok"]
    np.testing.assert_array_equal(run.usable("Tumor"), run["Tumor"])
    run.status[2] = Status.not_finite
    assert np.isnan(run.usable("Tumor")).tolist() == [[False, False], [False, True], [True, True]]
    assert np.isfinite(run["Tumor"][2]).all()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_trial_goes_on_without_them(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = Protocol(Visits(response=(30.0, 60.0, 90.0), landmarks=(2.0,)))
    trial = Trial(Population(CLINICAL), [450e6], 4, planned, curves=0)
    whole = trial.run(n_jobs=1).patients
    monkeypatch.setattr("cartsim.trial.trial.simulate_rows", spoiling(value, row=2))
    found = trial.run(n_jobs=1)
    assert found.failures["id"].tolist() == [2]
    rest = [0, 1, 3]
    pd.testing.assert_frame_equal(found.patients.loc[rest], whole.loc[rest])
    own = found.patients.loc[2]
    assert own[["best", "month_2"]].tolist() == ["NE", "NE"]
    assert own[["pfs_day", "Cmax", "AUC0-28", "sbcma_nadir", "mrd_lowest", "change_2"]].isna().all()
    assert not own["pfs_event"]
    assert found.summary["failed"].tolist() == [1]


def test_selection_keeps_none_of_them_whatever_their_weight(starts: cartsim.Model) -> None:
    population = Population(starts, seed=3)
    start = population.table(0, 60)["start"].to_numpy()
    measures = {"A": Measure("highest", "A"), "lowest": Measure("lowest", "logged")}
    reading = Reading(measures, 3.0)
    everybody = select(population, 60, {}, weight=lambda table: np.ones(len(table)), dose=0.0, reading=reading)
    assert (start < 0).any()
    assert everybody.candidates["kept"].tolist() == (start >= 0).tolist()


def test_cells_of_a_sweep_that_failed_have_no_measures(starts: cartsim.Model) -> None:
    axes = {"start": [0.0, 1.0], "inflow": [0.0, 0.5]}
    measures = {"A": Measure("highest", "A"), "logged": Measure("highest", "logged")}
    table = sweeps.sweep(starts, axes, dose=0.0, reading=Reading(measures, 3.0), n_jobs=1).table
    assert table["status"].tolist() == ["not_finite", "not_finite", "ok", "ok"]  # log(0)
    assert table[["A", "logged"]].isna().to_numpy().tolist() == [[True, True]] * 2 + [[False, False]] * 2


def test_no_expansion_is_explained_where_there_are_no_cells() -> None:
    with pytest.raises(InputError, match="no CAR-T cells"):
        sweeps.expansion(CLINICAL, dose=0.0)


def test_second_infusions_that_failed_are_no_response_and_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retreatment, "simulate_rows", spoiling(np.inf, row=1))
    trial = Trial(Population(CLINICAL), [450e6], 2, curves=0)
    group = pd.DataFrame({"id": [7, 8], "best": "PR"})
    found = retreatment._second(trial, group, Infusion(0.0, 450e6), 400.0, (450e6,))
    assert found["status"].tolist() == ["ok", "not_finite"]
    assert found["best"].tolist()[1] == "NE"
    assert found.loc[1, ["mprotein", "tumor", "duration_days", "Cmax"]].isna().all()
    again = retreatment.Retreated(trial.run(n_jobs=1), found, pd.DataFrame(), pd.DataFrame())
    assert again.failures.to_numpy().tolist() == [[8, 450e6, "not_finite"]]
    nobody = found[:0]
    assert retreatment.Retreated(trial.run(n_jobs=1), nobody, found, found).failures.empty


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_data_are_impossible_where_a_prediction_is_not_finite(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pd.DataFrame(
        {"id": [1, 1, 2, 2], "dose": 450e6, "time": [30, 60] * 2, "output": "sbcma_change", "value": "<-99"}
    )
    model = cartsim.load(CLINICAL)
    own = PatientLikelihood(
        patient_data(data, model), model, ("Kg",), {"sbcma_change": ErrorModel("lognormal", log=1.0)}
    )
    monkeypatch.setattr(patient_likelihood, "simulate_rows", spoiling(value))
    found = own(np.array([[0.008], [0.008]]), np.array([0, 1]))
    assert found[0] == -np.inf
    assert np.isfinite(found[1])


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_candidate_is_impossible_where_a_prediction_is_not_finite(value: float, monkeypatch, starts) -> None:
    table = pd.DataFrame({"id": 0, "time": TIMES, "output": "A", "value": 5.0, "below": True})
    problem = Problem([DataSet("d", starts, table, ErrorModel("additive", add=1.0))], ["k"])
    evaluator = evaluation.Evaluator(problem)
    x = np.array([[evaluator.axes[0].x(evaluator.axes[0].u(0.5))]])
    assert np.isfinite(evaluator.at(x).deviance).all()
    monkeypatch.setattr(evaluation, "simulate_rows", spoiling(value))
    assert evaluator.at(x).deviance.tolist() == [np.inf]


def test_no_data_are_made_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "simulate_rows", spoiling(np.nan))
    with pytest.raises(InputError, match="1 of 2 true patients"):
        synthetic.synthetic_patients((450e6, 450e6))


def test_no_patient_goes_astray_at_the_loosest_tolerance() -> None:
    """A step far too long may leave every pool empty, of which its error estimate sees little: it has to be refused."""
    model = cartsim.load("bb2121_clinical")
    patients = cartsim.Population(model, variability={"Tumor0": cartsim.lognormal(0.5)})
    loose, tight = (
        cartsim.simulate(
            patients, 450e6, np.arange(0, 641.0, 8), ["mprotein", "CARTe_PB"], n=700, solver=cartsim.Solver(rtol=rtol)
        )
        for rtol in (1e-4, 1e-8)
    )
    assert not loose.status.any()
    assert not tight.status.any()
    np.testing.assert_allclose(loose["mprotein"], tight["mprotein"], atol=0.005)
    np.testing.assert_allclose(loose["CARTe_PB"], tight["CARTe_PB"], rtol=0.05)
