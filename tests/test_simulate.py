"""The clinical model simulated, against scipy on equations written out by hand, and what must hold exactly."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from reference import STATES, solve

import cartsim
from cartsim.engine.trajectories import Status
from cartsim.regimen import Infusion, Regimen, Retreatment

CLINICAL = "bb2121_clinical"
SEED = 3e-8  # memory cells start with 1e-9 per L at the first dose, where the equations have none, and bind
TIMES = np.concatenate([np.arange(0, 31.0), np.arange(37, 640, 7.0), [640.0]])


@pytest.fixture(scope="module")
def model() -> cartsim.Model:
    return cartsim.load(CLINICAL)


@pytest.fixture(scope="module")
def population(model: cartsim.Model) -> cartsim.Population:
    return cartsim.Population(model, variability={"Tumor0": cartsim.lognormal(0.5)})


def values_of(population: cartsim.Population, patient: int) -> dict[str, float]:
    row = population.table(patient, patient + 1, complete=True).iloc[0].to_dict()
    return {**row, "dose": 450e6}


def typical(model: cartsim.Model, **changes: float) -> dict[str, float]:
    return dict(zip(model.parameters, model.override(changes).values({}, 1)[0].tolist(), strict=True))


# --- the typical patient ------------------------------------------------------------------------------------

# dose, burden: Cmax, Tmax, transgene on days 28, 90, 180; M-protein on day 28, at its nadir (day), on day 365
ORIENTATION = [
    (50e6, 50, 37261, 16.31, 8791, 145.2, 27.51, 0.4431, 0.0753, 88.8, 0.1173),
    (450e6, 50, 35598, 14.18, 5963, 133.4, 25.28, 0.3924, 0.0768, 86.2, 0.1201),
    (450e6, 20, 2987, 14.90, 622, 12.2, 2.31, 0.5068, 0.2484, 70.0, 0.4056),
    (450e6, 95, 290550, 14.91, 54600, 1096, 207.6, 0.3685, 0.0258, 121.8, 0.0359),
]


@pytest.mark.parametrize(("rtol", "bound"), [(1e-10, 1e-3), (1e-6, 1e-2)])
@pytest.mark.parametrize("row", ORIENTATION, ids=lambda row: f"{row[0]:g}-{row[1]}")
def test_typical_patient(model: cartsim.Model, row: tuple, rtol: float, bound: float) -> None:
    dose, burden, *expected = row
    times = np.arange(0, 366, 0.01)
    seen = cartsim.simulate(
        cartsim.Patients(model, {"burden": [burden]}),
        dose,
        times,
        ["transgene", "mprotein"],
        solver=cartsim.Solver(rtol=rtol),
    )
    transgene, mprotein = seen["transgene"][0], seen["mprotein"][0]
    late = times >= 1
    top, low = np.argmax(np.where(late, transgene, 0)), np.argmin(mprotein)

    def at(values: np.ndarray, day: float) -> float:
        return values[np.searchsorted(times, day - 1e-9)]

    found = [
        transgene[top], times[top], at(transgene, 28), at(transgene, 90), at(transgene, 180),
        at(mprotein, 28), mprotein[low], times[low], at(mprotein, 365),
    ]  # fmt: skip
    half_a_digit = [0.5, 0.005, 0.5, 0.05, 0.005, 5e-5, 5e-5, 0.05, 5e-5]  # of the printed table
    for value, printed, rounding in zip(found, expected, half_a_digit, strict=True):
        assert abs(value - printed) <= bound * abs(printed) + 1.01 * max(rounding, printed_rounding(printed))


def printed_rounding(value: float) -> float:
    """Half a unit of the last digit that repr shows."""
    text = repr(float(value))
    decimals = len(text.split(".")[1]) if not text.endswith(".0") else 0
    return 0.5 * 10.0**-decimals


# --- a population -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def thousand(model: cartsim.Model, population: cartsim.Population) -> cartsim.Simulation:
    return cartsim.simulate(population, 450e6, TIMES, list(STATES), n=1000)


def test_no_patient_fails_and_no_state_is_negative(thousand: cartsim.Simulation) -> None:
    assert (thousand.status == Status.ok).all()
    for name in STATES:
        assert np.isfinite(thousand[name]).all()
        assert (thousand[name] >= 0).all(), name


def test_sixty_patients_against_scipy(thousand: cartsim.Simulation, population: cartsim.Population) -> None:
    for patient in range(0, 1000, 17)[:60]:
        reference = solve(values_of(population, patient), [(0, 450e6)], TIMES)
        blood = thousand["CARTe_PB"][patient] + thousand["CARTm_PB"][patient]
        expected = reference["CARTe_PB"] + reference["CARTm_PB"]
        assert abs(thousand["mprotein"][patient] - reference["mprotein"]).max() < 0.005
        assert abs(blood / expected - 1).max() < 0.05
        # Far inside what is asked for; a tenth of a percent would already mean that something is wrong.
        assert abs(thousand["mprotein"][patient] - reference["mprotein"]).max() < 1e-5
        assert abs(blood / expected - 1).max() < 1e-3
        for name in ("CARTe_PB", "CARTe_BM", "complex", "Tumor"):  # also when there is less than one cell
            np.testing.assert_allclose(thousand[name][patient], reference[name], rtol=5e-3, err_msg=name)


def test_all_patients_against_a_tighter_tolerance(
    thousand: cartsim.Simulation, model: cartsim.Model, population: cartsim.Population
) -> None:
    tight = cartsim.simulate(
        population, 450e6, TIMES, list(STATES), n=1000, solver=cartsim.Solver(rtol=1e-9, max_steps=10**6)
    )
    assert (tight.status == Status.ok).all()
    blood = (thousand["CARTe_PB"] + thousand["CARTm_PB"]) / (tight["CARTe_PB"] + tight["CARTm_PB"])
    assert abs(thousand["mprotein"] - tight["mprotein"]).max() < 1e-5
    assert abs(blood - 1).max() < 1e-3


@pytest.mark.parametrize("rtol", [1e-4, 1e-5, 1e-8])
def test_no_patient_is_wrong_at_any_tolerance(
    rtol: float, model: cartsim.Model, population: cartsim.Population
) -> None:
    """Wrong: M-protein off by more than 0.005 of its baseline, or blood CAR-T by more than 5 %."""
    names = ["CARTe_PB", "CARTm_PB", "mprotein"]
    seen = cartsim.simulate(population, 450e6, TIMES, names, n=1000, solver=cartsim.Solver(rtol=rtol))
    tight = cartsim.simulate(population, 450e6, TIMES, names, n=1000, solver=cartsim.Solver(rtol=1e-9, max_steps=10**6))
    blood = (seen["CARTe_PB"] + seen["CARTm_PB"]) / (tight["CARTe_PB"] + tight["CARTm_PB"])
    assert (seen.status == Status.ok).all()
    assert abs(seen["mprotein"] - tight["mprotein"]).max() < 0.005
    assert abs(blood - 1).max() < 0.05


def test_extreme_patients_end_right_or_with_a_status(model: cartsim.Model) -> None:
    patients = pd.DataFrame(
        {
            "Kg": [0.008, 0.6, 0.008, 0.0, 0.008, 0.008],
            "Kkill_max": [0.343, 0.343, 5.0, 0.343, 0.343, 1e-9],
            "Kexp_max": [1.73, 1.73, 3.0, 1e-9, 1.73, 1.73],
            "burden": [0.01, 50, 50, 50, 100, 50],
            "Kel_e": [113, 113, 113, 113, 1e4, 113],
        }
    )
    seen = cartsim.simulate(cartsim.Patients(model, patients), 450e6, TIMES, list(STATES))
    assert seen.status[1] in (Status.ok, Status.ceiling)
    for row in (0, 2, 3, 4, 5):
        assert seen.status[row] == Status.ok
        reference = solve(typical(model, **patients.iloc[row].to_dict()), [(0, 450e6)], TIMES)
        np.testing.assert_allclose(seen["mprotein"][row], reference["mprotein"], rtol=1e-4, atol=1e-6)
        there = reference["Tumor"] > 1e-200
        np.testing.assert_allclose(seen["Tumor"][row, there], reference["Tumor"][there], rtol=1e-3)


# --- what must hold exactly -----------------------------------------------------------------------------------


def test_untreated_patient(model: cartsim.Model) -> None:
    for regimen in (Regimen.none(), 0.0, Regimen.repeated(0.0, times=[0, 50.0])):
        seen = cartsim.simulate(cartsim.Patients(model, {"Kg": [0.008, 0.004]}), regimen, TIMES, list(STATES))
        for name in ("CARTe_PB", "CARTe_BM", "CARTm_PB", "CARTm_BM", "complex"):
            assert (seen[name] == 0).all()
        np.testing.assert_allclose(seen["Tumor"], 2.5e9 * np.exp(np.outer([0.008, 0.004], TIMES)), rtol=1e-12)
        assert (seen.status == Status.ok).all()


@pytest.mark.parametrize("day", [0.5, 37.123456789, 400.0])
def test_a_second_infusion_adds_dose_over_volume(model: cartsim.Model, day: float) -> None:
    second = 123e6
    times = [day]  # exactly at a dose is after it
    before = cartsim.simulate(model, 450e6, times, list(STATES))
    after = cartsim.simulate(model, Regimen((Infusion(0, 450e6), Infusion(day, second))), times, list(STATES))
    gain = after["CARTe_PB"][0, 0] - before["CARTe_PB"][0, 0]
    # The first run steps across the day and reads between, the second steps onto it: equal to the tolerance.
    assert gain == pytest.approx(second / 5, abs=1e-4 * before["CARTe_PB"][0, 0] + 1e-8 * second)
    onto = cartsim.simulate(model, Regimen((Infusion(0, 450e6), Infusion(day, 0.0))), times, list(STATES))
    gain = after["CARTe_PB"][0, 0] - onto["CARTe_PB"][0, 0]
    # Both are read as exp(ln x), which keeps a relative error of half an ulp of ln x, here of 17.
    assert gain == pytest.approx(second / 5, rel=np.log(second / 5) * np.finfo(float).eps)
    for name in STATES[1:]:
        assert after[name][0, 0] == pytest.approx(onto[name][0, 0], rel=1e-14)


def test_infusions_at_any_time_against_scipy(model: cartsim.Model) -> None:
    given = [(0.0, 150e6), (3.25, 50e6), (60.0, 300e6), (200.7, 450e6)]
    seen = cartsim.simulate(model, Regimen(tuple(Infusion(t, a) for t, a in given)), TIMES, list(STATES))
    reference = solve(typical(model), given, TIMES)
    for name in STATES:
        np.testing.assert_allclose(seen[name][0], reference[name], rtol=1e-4, atol=SEED, err_msg=name)


def test_a_first_infusion_later_than_the_start(model: cartsim.Model) -> None:
    late = cartsim.simulate(
        cartsim.Patients(model, {"Kg": [0.0]}), Regimen.single(450e6, time=100.0), 100 + TIMES, list(STATES)
    )
    soon = cartsim.simulate(cartsim.Patients(model, {"Kg": [0.0]}), 450e6, TIMES, list(STATES))
    for name in STATES:
        np.testing.assert_allclose(late[name], soon[name], rtol=1e-4, err_msg=name)
    early = cartsim.simulate(model, Regimen.single(450e6, time=100.0), [0, 99.9], list(STATES))
    assert (early["CARTe_PB"] == 0).all()
    assert (early["complex"] == 0).all()


def test_each_patient_has_its_own_dose(model: cartsim.Model) -> None:
    doses = [0.0, 50e6, 450e6]
    together = cartsim.simulate(cartsim.Patients(model, {"dose": doses}), None, TIMES, list(STATES))
    for row, dose in enumerate(doses):
        alone = cartsim.simulate(model, dose, TIMES, list(STATES))
        for name in STATES:
            np.testing.assert_array_equal(together[name][row], alone[name][0])


def test_a_closed_system_conserves_cells(model: cartsim.Model) -> None:
    closed = {"Kexp_max": [0.0], "Kkill_max": [0.0], "Kg": [0.0], "Kel_e": [0.0], "Kel_m": [0.0], "Rm": [0.01]}
    for rtol in (1e-6, 1e-11):
        seen = cartsim.simulate(
            cartsim.Patients(model, closed), 450e6, TIMES, list(STATES), solver=cartsim.Solver(rtol=rtol)
        )
        cells = 5 * (seen["CARTe_PB"] + seen["CARTm_PB"]) + 3.65 * (seen["CARTe_BM"] + seen["CARTm_BM"])
        np.testing.assert_allclose(cells, 450e6, rtol=20 * rtol)
        np.testing.assert_allclose(seen["Tumor"], 2.5e9, rtol=1e-14)
        np.testing.assert_allclose(seen["mprotein"], 1, rtol=1e-14)


def test_output_times_do_not_change_the_solution(model: cartsim.Model, population: cartsim.Population) -> None:
    few = np.array([1.0, 28.0, 180.0, 640.0])
    more = np.unique(np.concatenate([few, [1e-7, 3e-5, 9.9e-5, 1e-4, 0.01], np.linspace(0, 640, 997)]))
    a = cartsim.simulate(population, 450e6, few, list(STATES), n=50)
    b = cartsim.simulate(population, 450e6, more, list(STATES), n=50)
    one = cartsim.simulate(population, 450e6, few, ["transgene"], n=50)
    at = np.searchsorted(more, few)
    for name in STATES:
        np.testing.assert_array_equal(a[name], b[name][:, at], err_msg=name)
    np.testing.assert_array_equal(a.steps, b.steps)
    np.testing.assert_array_equal(a.steps, one.steps)


def test_moments_after_an_infusion(model: cartsim.Model) -> None:
    times = np.concatenate([[0], np.geomspace(1e-9, 1, 200)])
    seen = cartsim.simulate(model, 450e6, times, list(STATES))
    reference = solve(typical(model), [(0, 450e6)], times)
    for name in STATES:
        np.testing.assert_allclose(seen[name][0], reference[name], rtol=3e-5, atol=SEED, err_msg=name)


def test_results_do_not_depend_on_neighbors_threads_or_chunks(
    model: cartsim.Model, population: cartsim.Population
) -> None:
    table = population.table(0, 200).reset_index()
    names = ["transgene", "mprotein_change", "Tumor"]
    whole = cartsim.simulate(cartsim.Patients(model, table), 450e6, TIMES, names)
    threads = cartsim.simulate(cartsim.Patients(model, table), 450e6, TIMES, names, n_jobs=2)
    order = np.random.default_rng(1).permutation(200)
    shuffled = cartsim.simulate(cartsim.Patients(model, table.iloc[order]), 450e6, TIMES, names)
    drawn = cartsim.simulate(population, 450e6, TIMES, names, n=200)
    alone = cartsim.simulate(cartsim.Patients(model, table.iloc[[123]]), 450e6, TIMES, names)
    for name in names:
        np.testing.assert_array_equal(threads[name], whole[name])
        np.testing.assert_array_equal(shuffled[name], whole[name][order])
        np.testing.assert_array_equal(drawn[name], whole[name])
        np.testing.assert_array_equal(alone[name][0], whole[name][123])


# --- retreatment ------------------------------------------------------------------------------------------------


def test_retreatment_comes_when_its_condition_is_met(model: cartsim.Model, population: cartsim.Population) -> None:
    rule = Retreatment(dose=300e6, state="mprotein", above_nadir=1.25, earliest=30.0, delay=14.0)
    n = 20
    seen = cartsim.simulate(population, Regimen.single(450e6, retreatment=rule), TIMES, ["mprotein", "CARTe_PB"], n=n)
    retreated = 0
    for patient in range(n):
        values = values_of(population, patient)
        due = relapse(values, 450e6, 1.25, 30.0)
        if due is None or due + 14 > 640:
            assert np.isnan(seen.retreated[patient])
            continue
        retreated += 1
        assert seen.retreated[patient] == pytest.approx(due + 14, abs=0.02)
        reference = solve(values, [(0, 450e6), (float(seen.retreated[patient]), 300e6)], TIMES)
        np.testing.assert_allclose(seen["mprotein"][patient], reference["mprotein"], rtol=1e-4)
        np.testing.assert_allclose(seen["CARTe_PB"][patient], reference["CARTe_PB"], rtol=1e-3)
    assert retreated >= 5


def relapse(values: dict[str, float], dose: float, factor: float, earliest: float) -> float | None:
    """The first day from ``earliest`` on when M-protein is ``factor`` times its lowest so far, to 0.005 days."""
    days = np.arange(0, 640, 0.005)
    mprotein = solve(values, [(0, dose)], days, rtol=1e-10)["mprotein"]
    met = (mprotein >= factor * np.minimum.accumulate(mprotein)) & (days >= earliest)
    return days[met.argmax()] if met.any() else None


def test_retreatment_is_no_more_often_than_allowed(model: cartsim.Model) -> None:
    times = np.arange(0, 1000.0, 0.25)
    firsts = []
    for maximum in (1, 2, 5):
        rule = Retreatment(dose=450e6, state="mprotein", above_nadir=1.25, earliest=30.0, maximum=maximum)
        regimen = Regimen.single(450e6, retreatment=rule)
        run = cartsim.simulate(model, regimen, times, ["CARTe_BM", "mprotein"])
        jumps = times[1:][np.diff(np.log(run["CARTe_BM"][0])) > 1]  # expansion alone is below 0.45 in a quarter day
        assert len(jumps) == 1 + maximum
        firsts.append(run.retreated[0])
        assert abs(jumps[1] - firsts[0]) < 0.5
        for day in jumps[1:]:
            before = run["mprotein"][0][times <= day]
            since_last = before[times[times <= day] > max(j for j in jumps if j < day)]
            assert before[-1] == pytest.approx(1.25 * since_last.min(), rel=0.01)
    assert len(set(firsts)) == 1


def test_a_condition_never_met_changes_nothing(model: cartsim.Model) -> None:
    rule = Retreatment(dose=450e6, state="mprotein", above=1e6)
    seen = cartsim.simulate(model, Regimen.single(450e6, retreatment=rule), TIMES, list(STATES))
    plain = cartsim.simulate(model, 450e6, TIMES, list(STATES))
    assert np.isnan(seen.retreated).all()
    for name in STATES:
        np.testing.assert_array_equal(seen[name], plain[name])


# --- extinction ---------------------------------------------------------------------------------------------------


def test_an_extinct_pool_is_zero_until_the_next_dose(model: cartsim.Model) -> None:
    times = np.sort(np.concatenate([np.arange(0, 641.0), [500.0 + 1e-6]]))
    regimen = Regimen((Infusion(0, 450e6), Infusion(500.0, 450e6)))
    seen = cartsim.simulate(model, regimen, times, list(STATES), solver=cartsim.Solver(extinction=1.0))
    free = cartsim.simulate(model, regimen, times, list(STATES))
    gone = {}
    for name, volume in (("CARTe_PB", 5.0), ("CARTe_BM", 3.65)):
        before = times < 500
        zero = (seen[name][0] == 0) & before
        assert zero.any(), name
        first = times[zero.argmax()]
        assert (seen[name][0][before & (times >= first)] == 0).all()
        assert (seen[name][0][(times > 0) & (times < first)] * volume >= 1 - 1e-6).all()
        gone[name] = first
    assert seen["CARTe_PB"][0, np.searchsorted(times, 500.0)] == pytest.approx(90e6, rel=1e-12)
    assert (seen["CARTe_BM"][0][(times > 500) & (times < 560)] > 0).all()
    # Until the first pool is gone nothing differs, and the day is where the other run falls through one cell.
    first = min(gone.values())
    np.testing.assert_allclose(seen["Tumor"][0][times < first], free["Tumor"][0][times < first], rtol=1e-12)
    name, volume = min(((n, v) for n, v in (("CARTe_PB", 5.0), ("CARTe_BM", 3.65))), key=lambda p: gone[p[0]])
    below = free[name][0] * volume < 1
    assert times[below.argmax()] == pytest.approx(first, abs=1.0)


def test_extinction_is_located(model: cartsim.Model) -> None:
    fine = np.arange(60, 250, 0.005)
    seen = cartsim.simulate(model, 450e6, fine, ["CARTe_PB"], solver=cartsim.Solver(extinction=1.0))
    gone = fine[(seen["CARTe_PB"][0] == 0).argmax()]
    values = typical(model)
    reference = solve(values, [(0, 450e6)], fine)
    expected = fine[(reference["CARTe_PB"] * 5 < 1).argmax()]
    assert gone == pytest.approx(expected, abs=0.0051)


def test_extinction_of_zero_is_none(model: cartsim.Model) -> None:
    a = cartsim.simulate(model, 450e6, TIMES, list(STATES), solver=cartsim.Solver(extinction=0.0))
    b = cartsim.simulate(model, 450e6, TIMES, list(STATES))
    for name in STATES:
        np.testing.assert_array_equal(a[name], b[name])


# --- how patients end, and results as frames ----------------------------------------------------------------------


def test_a_tumor_beyond_the_ceiling_ends_the_patient_alone(model: cartsim.Model) -> None:
    seen = cartsim.simulate(
        cartsim.Patients(model, {"Kg": [0.008, 0.7]}), Regimen.none(), TIMES, ["Tumor", "mprotein_change"]
    )
    assert list(seen.status) == [Status.ok, Status.ceiling]
    assert np.isfinite(seen["Tumor"][0]).all()
    below = 2.5e9 * np.exp(0.7 * TIMES) < 1e13
    assert np.isfinite(seen["mprotein_change"][1, below]).all()
    assert np.isnan(seen["mprotein_change"][1, ~below]).all()
    assert list(seen.failures["status"]) == ["ceiling"]


def test_frames_are_long_and_tidy(model: cartsim.Model) -> None:
    seen = cartsim.simulate(cartsim.Patients(model, {"id": ["a", "b"], "burden": [20, 90]}), 450e6, [0, 7.0, 28.0])
    frame = seen.frame
    assert list(frame.columns) == ["id", "time", *model.outputs, "dose", "burden"]
    assert list(frame["id"]) == ["a"] * 3 + ["b"] * 3
    assert list(frame["time"]) == [0, 7, 28] * 2
    np.testing.assert_array_equal(frame["transgene"].to_numpy().reshape(2, 3), seen["transgene"])
    patients = seen.patients
    assert list(patients["status"]) == ["ok", "ok"]
    assert (patients["steps"] > 10).all()
    assert seen.made_by["model"] == CLINICAL
    assert seen.made_by["rtol"] == 1e-6


def test_outputs_are_what_the_model_file_says(model: cartsim.Model) -> None:
    names = [*model.outputs, *STATES]
    seen = cartsim.simulate(cartsim.Patients(model, {"M0": [42.0]}), 450e6, TIMES, names)
    v = {name: seen[name][0] for name in names}
    np.testing.assert_allclose(v["transgene"], 0.002 * (v["CARTe_PB"] + v["CARTm_PB"]), rtol=1e-13)
    np.testing.assert_allclose(v["mprotein_gL"], 42 * v["mprotein"], rtol=1e-13)
    np.testing.assert_allclose(v["mprotein_change"], 100 * (v["mprotein"] - 1), atol=1e-11)
    np.testing.assert_allclose(v["sbcma_change"], 100 * (v["sBCMA"] - 1), atol=1e-11)
    np.testing.assert_allclose(v["tumor_relative"], v["Tumor"] / 2.5e9, rtol=1e-13)
    np.testing.assert_allclose(v["cart_marrow"], 1e-6 * (v["CARTe_BM"] + v["CARTm_BM"]), rtol=1e-13)


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"times": None}, "times"),
        ({"times": []}, "times"),
        ({"times": [0, 2, 1]}, "increase"),
        ({"times": [1, 1]}, "increase"),
        ({"times": [-1, 1]}, "-1"),
        ({"times": [0, np.nan]}, "finite"),
        ({"times": "daily"}, "times"),
        ({"outputs": ["trangene"]}, "trangene"),
        ({"outputs": ["transgene", "transgene"]}, "once"),
        ({"outputs": []}, "at least one"),
        ({"solver": lambda: cartsim.Solver(rtol=1e-3)}, "rtol"),
        ({"solver": lambda: cartsim.Solver(rtol=1e-13)}, "rtol"),
        ({"solver": lambda: cartsim.Solver(rtol=float("nan"))}, "rtol"),
        ({"solver": lambda: cartsim.Solver(extinction=-1.0)}, "extinction"),
        ({"solver": lambda: cartsim.Solver(extinction=float("nan"))}, "extinction"),
        ({"who": lambda: cartsim.Population(CLINICAL), "n": 0}, "1 or more"),
        ({"who": lambda: cartsim.Population(CLINICAL), "n": -3}, "1 or more"),
        ({"who": lambda: cartsim.Population(CLINICAL)}, "say how many"),
        ({"n": 3}, "one typical patient"),
        ({"who": {"burden": [50.0]}}, r"Patients\(model, table\)"),
        ({"solver": 1e-6}, "Solver"),
        ({"who": lambda: cartsim.Patients(CLINICAL, {"burdn": [50.0]})}, "burden"),
        ({"who": lambda: cartsim.Patients(CLINICAL, {"burden": [150.0]})}, "150"),
        ({"dose": -1.0}, "-1"),
        ({"dose": float("nan")}, "nan"),
        ({"dose": "much"}, "much"),
        ({"dose": Regimen.single(1.0, retreatment=Retreatment(state="M", above=1.0))}, "M"),
        ({"who": "bb2121_clinicl"}, "bb2121_clinical"),
    ],
)
def test_bad_input_is_refused_before_any_work(arguments: dict, says: str) -> None:
    call = {"who": CLINICAL, "dose": 450e6, "times": [1.0], "outputs": None} | arguments
    with pytest.raises(cartsim.InputError, match=says):
        cartsim.simulate(**{name: value() if callable(value) else value for name, value in call.items()})


def test_a_trial_takes_its_model_from_the_population(population: cartsim.Population) -> None:
    shifted = cartsim.Population(population.model.override({"Kg": 0.02}))
    assert cartsim.Trial(shifted, [450e6]).model.parameters["Kg"].value == 0.02


def test_quantiles_are_those_of_the_values_by_group(model: cartsim.Model) -> None:
    patients = cartsim.Patients(model, {"dose": [1e8, 1e8, 4e8, 4e8, 4e8], "burden": [20, 30, 40, 50, 60]})
    seen = cartsim.simulate(patients, times=[1.0, 28.0], outputs=["transgene"])
    table = seen.quantiles((0.25, 0.5), by="dose")
    assert list(table.columns) == ["dose", "time", "output", "q25", "q50"]
    expected = np.quantile(seen["transgene"][2:], 0.25, axis=0)
    np.testing.assert_array_equal(table[table["dose"] == 4e8]["q25"], expected)
    with pytest.raises(cartsim.InputError, match="arm"):
        seen.quantiles(by="arm")


def test_a_simulation_prints_as_a_few_lines_and_completes_its_keys(model: cartsim.Model) -> None:
    seen = cartsim.simulate(cartsim.Population(model, seed=1), n=3, times=range(5))
    assert len(repr(seen)) < 2000
    assert "3 patients" in repr(seen)
    assert "<table" in seen._repr_html_()
    assert seen._ipython_key_completions_() == seen.keys() == list(model.outputs)
    assert {"dose", "gamma_m", "Kexp_max"} <= set(seen.frame.columns)
