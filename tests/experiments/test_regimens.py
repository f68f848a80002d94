"""Regimens in the same patients: what is exactly known of two doses, paired differences, retreatment."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import expm
from typer.testing import CliRunner

import cartsim
from cartsim.cli.app import app
from cartsim.endpoints.paired import difference_of_rates
from cartsim.endpoints.rates import wilson
from cartsim.endpoints.response import judge
from cartsim.endpoints.rules import IMWG2016
from cartsim.endpoints.survival import kaplan_meier
from cartsim.errors import InputError
from cartsim.experiments.regimens import Comparison, common, compare
from cartsim.experiments.retreatment import Retreated, retreat
from cartsim.population.patients import Patients
from cartsim.population.population import Population
from cartsim.regimen import Infusion, Regimen, Retreatment
from cartsim.schedule import MONTH
from cartsim.simulation import simulate
from cartsim.solver import Solver
from cartsim.trial.conduct import Conduct
from cartsim.trial.protocol import Protocol, Visits
from cartsim.trial.trial import Trial

MODEL = cartsim.load("bb2121_clinical")
LINEAR = cartsim.load(Path(__file__).parents[1] / "models" / "two_doses.toml")
N = 250


@pytest.fixture(scope="module")
def compared() -> Comparison:
    return compare(Trial(Population(MODEL), common(450e6), N))


@pytest.fixture(scope="module")
def again() -> Retreated:
    return retreat(Trial(Population(MODEL), [450e6], N))


# --- two doses in a linear model ----------------------------------------------------------------------


@pytest.mark.parametrize("second", [1e6, 3e6])
def test_retreatment_is_the_sum_of_two_single_doses(second):
    """In a model where everything is in proportion, and for every patient, whose day of retreatment is known too."""
    patients = Population(LINEAR).table(0, 50).reset_index()
    patients["growth"] = np.linspace(0.02, 0.3, 50)
    times = np.linspace(0, 60, 121)
    rule = Retreatment(dose=second, state="marker", above=2.0, delay=3.5)
    both = simulate(
        Patients(LINEAR, patients),
        Regimen.single(1e6, retreatment=rule),
        times,
        ["blood", "marrow"],
        solver=Solver(rtol=1e-9),
    )
    due = 1 / patients["growth"].to_numpy() + 3.5
    assert both.retreated == pytest.approx(np.where(due <= 60, due, np.nan), rel=1e-9, nan_ok=True)
    first = simulate(Patients(LINEAR, patients), 1e6, times, ["blood", "marrow"], solver=Solver(rtol=1e-9))
    for k in range(50):
        row = patients.iloc[[k]]
        regimen = Regimen.single(second, time=due[k]) if due[k] <= 60 else Regimen.none()
        alone = simulate(Patients(LINEAR, row), regimen, times, ["blood", "marrow"], solver=Solver(rtol=1e-9))
        loss, out, back = row["loss"].item(), row["out"].item(), LINEAR.parameters["back"].value
        rates = np.array([[-loss - out, back], [out, -back]])
        for i, name in enumerate(("blood", "marrow")):
            total = first[name][k] + alone[name][0]
            apart = abs(times - due[k]) > 1e-9  # an output on the very day comes before or after, by rounding
            assert both[name][k][apart] == pytest.approx(total[apart], rel=1e-7, abs=1e-3)
            exact = [
                expm(rates * t)[i, 0] * 1e6 / 5 + (expm(rates * (t - due[k]))[i, 0] * second / 5 if t >= due[k] else 0)
                for t in times[::12]
            ]
            assert both[name][k, ::12][apart[::12]] == pytest.approx(np.array(exact)[apart[::12]], rel=1e-7, abs=1e-3)


def test_a_split_dose_is_the_sum_of_its_parts():
    times = np.linspace(0, 30, 31)
    split = simulate(
        LINEAR, Regimen.split(1e6, (0.1, 0.3, 0.6), (0, 2, 5)), times, ["marrow"], solver=Solver(rtol=1e-9)
    )
    parts = [
        simulate(LINEAR, Regimen.single(cells, time=day), times, ["marrow"], solver=Solver(rtol=1e-9))["marrow"]
        for cells, day in ((1e5, 0), (3e5, 2), (6e5, 5))
    ]
    assert split["marrow"] == pytest.approx(sum(parts), rel=1e-7, abs=1e-3)


# --- comparison ---------------------------------------------------------------------------------------


def test_arms_are_regimens_and_patients_the_same(compared):
    assert compared.outcome.summary["arm"].tolist() == ["single", "double", "split", "second on day 90"]
    ids = [rows["id"].tolist() for _, rows in compared.outcome.patients.groupby("arm", observed=True)]
    assert all(each == list(range(N)) for each in ids)


def test_differences_are_paired(compared):
    patients = dict(list(compared.outcome.patients.groupby("arm", observed=True)))
    table = compared.differences.set_index(["regimen", "endpoint"])
    for name in ("double", "split", "second on day 90"):
        a, b = patients[name].reset_index(), patients["single"].reset_index()
        for column, state in (("month", ""), ("true", ", true state")):
            row, at = table.loc[name, f"MR or better at month 21{state}"], f"{column}_21"
            expected = difference_of_rates(a[at] >= "MR", b[at] >= "MR")
            assert (row["difference"], row["low"], row["high"]) == pytest.approx(
                (expected.value, expected.low, expected.high)
            )
        row = table.loc[name, "M-protein change at month 6, true state"]
        assert row["difference"] == pytest.approx((a["change_6"] - b["change_6"]).mean())
        ratio = np.log(a["Cmax"] / b["Cmax"])[(a["Cmax"] > 0) & (b["Cmax"] > 0)]
        assert table.loc[name, "Cmax"]["difference"] == pytest.approx(np.exp(ratio.mean()))
        gained = (
            kaplan_meier(a["pfs_day"] / MONTH, a["pfs_event"]).restricted_mean(24).value
            - kaplan_meier(b["pfs_day"] / MONTH, b["pfs_event"]).restricted_mean(24).value
        )
        assert table.loc[name, "progression-free time to month 24"]["difference"] == pytest.approx(gained)
    assert (table["low"] <= table["high"]).all()


def test_rates_are_those_observed_with_the_true_state_beside_them():
    """Under drop-out fewer are seen in response, and replicate 0, which is the trial itself, says the same."""
    conduct = Conduct(dropout=0.05)
    trial = Trial(Population("bb2121_clinical", 1), {"a": 450e6, "b": 1e6}, 60, Protocol(conduct=conduct))
    found = compare(trial, replicates=1)
    patients = dict(list(found.outcome.patients.groupby("arm", observed=True)))
    table = found.differences.set_index("endpoint")["difference"]
    for column, state in (("month", ""), ("true", ", true state")):
        rates = [100 * (patients[arm][f"{column}_21"] >= "MR").mean() for arm in "ab"]
        assert table[f"MR or better at month 21{state}"] == pytest.approx(rates[1] - rates[0])
    again = found.replicates.frame.set_index("arm")["response_21"]
    assert table["MR or better at month 21"] == pytest.approx(again["b"] - again["a"])
    assert again["a"] < 100 * (patients["a"]["true_21"] >= "MR").mean() - 20


def test_a_regimen_against_itself_differs_in_nothing():
    twins = {"a": Regimen.single(450e6), "b": Regimen.single(450e6)}
    table = compare(Trial(Population(MODEL), twins, 40)).differences
    assert table["difference"].tolist() == [1.0 if unit == "ratio" else 0.0 for unit in table["unit"]]


def test_other_patients_in_each_arm_are_not_taken_for_the_same():
    with pytest.raises(InputError, match="independent=True"):
        compare(Trial(Population(MODEL), [150e6, 450e6], 5, independent=True))


def test_a_comparison_is_repeated_in_other_patients_under_other_estimates(tmp_path):
    trial = Trial(Population(MODEL, 5), common(450e6), 12)
    found = compare(trial, reference="split", replicates=3, uncertainty=True)
    assert found.replicates.times == 3 and found.replicates.arms == list(common(450e6))
    pd.testing.assert_frame_equal(found.differences, compare(trial, reference="split").differences)
    found.save(tmp_path)
    pairs = pd.read_csv(tmp_path / "replicates_pairs.csv")
    assert set(pairs["reference"]) == {"split"} and set(pairs["arm"]) == {*common(450e6)} - {"split"}
    assert json.loads((tmp_path / "regimens.json").read_text())["replicates"]["uncertainty"] is True


def test_cells_just_infused_are_not_measured(compared):
    """The third part of the split comes on day 2, a sampling day; 54,000 copies/ug would be seen that day."""
    assert 2.0 not in compared.outcome.protocol.visits.kinetics
    patients = compared.outcome.patients
    assert (patients.loc[patients["arm"] == "split", "Tmax_day"].dropna() > 2).all()


def test_a_second_infusion_leaves_the_first_weeks_as_they_were(compared):
    table = compared.differences.set_index(["regimen", "endpoint"])
    assert table.loc["second on day 90", "AUC0-28"]["difference"] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("regimens", "settings", "reason"),
    [
        ({}, {}, "without arms"),
        ({"one": Regimen.single(1e6)}, {}, "1 regimens"),
        (common(1e6), {"reference": "triple"}, "no regimen 'triple' to compare with; there are single"),
    ],
)
def test_bad_comparisons_are_refused(regimens, settings, reason):
    with pytest.raises(InputError, match=reason):
        compare(Trial(Population(MODEL), regimens, 10), **settings)


# --- retreatment --------------------------------------------------------------------------------------


def test_those_who_progressed_are_retreated(again):
    progressed = again.first.patients.dropna(subset="progression_day")
    assert len(progressed) > 40
    for cells, rows in again.patients.groupby("second_dose"):
        assert cells in (0, 450e6, 900e6)
        assert rows["id"].tolist() == progressed["id"].tolist()
        assert rows["day"].tolist() == (progressed["progression_day"] + 28).tolist()
        assert rows["first_best"].tolist() == progressed["best"].astype(str).tolist()


def test_the_second_response_is_judged_from_retreatment_on(again):
    row = again.patients.query("second_dose == 900e6").iloc[7]
    patient = Population(MODEL).table(row["id"], row["id"] + 1).reset_index()
    days = np.array(Visits().response)
    regimen = Regimen((Infusion(0, 450e6), Infusion(row["day"], 900e6)))
    run = simulate(Patients(MODEL, patient), regimen, np.append(row["day"], row["day"] + days), ["mprotein_gL"])
    level = run["mprotein_gL"][0]
    assert row["mprotein"] == pytest.approx(level[0], rel=1e-9)
    found = judge(level[None, 1:], days, level[0], IMWG2016()).patient_table()
    assert row["best"] == found["best"][0]
    assert row["change"] == pytest.approx(found["change"][0], rel=1e-6)
    assert row["responded"] == (found["best"][0] in ("PR", "VGPR", "CR"))


def test_without_a_second_dose_the_first_goes_on(again):
    rows = again.patients.query("second_dose == 0")
    patients = Population(MODEL).table(0, N).loc[rows["id"]].reset_index()
    days = np.unique(rows["day"])
    run = simulate(Patients(MODEL, patients), 450e6, days, ["mprotein_gL", "tumor_relative"])
    place = (np.arange(len(rows)), np.searchsorted(days, rows["day"]))
    assert rows["mprotein"].to_numpy() == pytest.approx(run["mprotein_gL"][place], rel=1e-4)
    assert rows["tumor"].to_numpy() == pytest.approx(100 * run["tumor_relative"][place], rel=1e-3)


def test_rates_have_limits_and_the_control_is_not_compared(again):
    for row in again.summary.itertuples():
        group = again.patients.query("second_dose == @row.second_dose")
        low, high = wilson(np.array([group["responded"].sum()]), np.array([len(group)]))
        assert (row.n, row.responded) == (len(group), group["responded"].sum())
        assert (row.low, row.high) == pytest.approx((100 * low[0], 100 * high[0]))
    assert again.differences[["second_dose", "reference"]].to_numpy().tolist() == [[900e6, 450e6]]


def test_the_model_does_not_give_karmmas_second_responses(again):
    """At progression by M-protein the tumor is still a few percent of what it was, too little for a new expansion."""
    summary = again.summary.set_index("second_dose")
    assert summary.loc[450e6, "tumor"] < 10
    assert summary.loc[450e6, "high"] < 21.4  # 6 of 28
    assert "KarMMa 21 %" in again.against_karmma()


def test_nobody_progresses_nobody_is_retreated():
    short = Protocol(visits=Visits(response=(28.0, 60.0, 90.0)))
    found = retreat(Trial(Population(MODEL), [450e6], 3, short))
    assert found.patients.empty
    assert found.summary.empty
    assert "nobody was retreated" in found.against_karmma()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"second_doses": []}, "one or more"),
        ({"second_doses": [1e6, 1e6]}, "each once"),
        ({"second_doses": [0.0]}, "a number above 0"),
        ({"second_doses": [-1e6]}, "a number above 0"),
        ({"delay": -1.0}, "the time of an infusion is -1"),
    ],
)
def test_bad_retreatments_are_refused(settings, reason):
    with pytest.raises(InputError, match=reason):
        retreat(Trial(Population(MODEL), [450e6], 10), **settings)


def test_retreatment_follows_one_dose():
    with pytest.raises(InputError, match="one arm"):
        retreat(Trial(Population(MODEL), [150e6, 450e6], 10))


# --- files, pictures, command -------------------------------------------------------------------------


def test_results_are_written_whole(compared, again, tmp_path):
    compared.save(tmp_path)
    again.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "differences.csv", "regimens.csv", "regimens.json", "retreated.csv", "retreatment.csv", "retreatment.json",
        "retreatment_differences.csv",
    ]  # fmt: skip
    assert "KarMMa" in json.loads((tmp_path / "retreatment.json").read_text())["against_karmma"]
    assert len(pd.read_csv(tmp_path / "differences.csv")) == 45


def test_the_picture_has_a_panel_a_unit(compared):
    figure = compared.plot.differences()
    assert [axis.get_xlabel().split(" (")[-1] for axis in figure.axes] == [
        "percentage points)", "months)", "single = 1, ratio of geometric means",
    ]  # fmt: skip
    figure.canvas.draw()


def test_the_command_compares_regimens_given_as_text(tmp_path):
    words = ["regimens", "--n", "30", "--dose", "300e6", "--give", "halves=0:150e6,7:150e6", "--retreat-dose", "600e6"]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.stderr
    assert "halves" in result.stdout
    names = {path.name for path in tmp_path.iterdir()}
    assert {"regimens.csv", "differences.csv", "differences.png", "retreatment.csv"} <= names


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--give", "halves"), "write NAME=DAY:CELLS"),
        (("--give", "halves=0"), "write each infusion as DAY:CELLS"),
        (("--give", "halves=0:x"), "write each infusion as DAY:CELLS"),
        (("--give", "halves=7:1e6,0:1e6"), "give them in order of time"),
        (("--give", "single=0:1e6"), "give another name"),
        (("--retreat-dose", "0"), "a number above 0"),
        (("--delay", "-3", "--n", "5"), "the time of an infusion is -3"),
        (("--burden", "5:150"), "burden"),
    ],
)
def test_the_command_refuses_bad_input_in_one_line(words, reason, tmp_path):
    result = CliRunner().invoke(app, ["regimens", *words, "--n", "5", "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert reason in result.stderr
    assert not (tmp_path / "out").exists()
