"""Sweeps: what is read off trajectories, grids against single simulations, the claims of Figure 4, bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import solve
from scipy.special import erf
from typer.testing import CliRunner

import cartsim
from cartsim.cli.app import app
from cartsim.cli.grammar import parse_grid
from cartsim.endpoints.rates import wilson
from cartsim.errors import InputError
from cartsim.experiments import sweep as sweep_module
from cartsim.experiments.measures import (
    HALF_YEAR,
    Measure,
    Reading,
    check_measures,
    default_measures,
    first_wave,
    peak,
    read,
    reading_times,
)
from cartsim.experiments.sweep import Sweep, expansion, expansion_note, sweep, sweep_trials
from cartsim.plots import sweep as draw
from cartsim.population.patients import Patients
from cartsim.population.population import Population
from cartsim.population.variability import lognormal, uniform
from cartsim.regimen import Regimen
from cartsim.schedule import KARMMA_KINETICS
from cartsim.simulation import simulate
from cartsim.solver import Solver
from cartsim.trial.assay import Assay
from cartsim.trial.conduct import Conduct
from cartsim.trial.protocol import Protocol
from cartsim.trial.trial import Arm, Trial

MODEL = cartsim.load("bb2121_clinical")
FIGURE4 = {"dose": parse_grid("50e6:800e6:8"), "burden": np.array([5, 10, 20, 35, 50, 65, 80, 95.0])}


@pytest.fixture(scope="module")
def figure4() -> Sweep:
    return sweep(MODEL, FIGURE4)


# --- reading numbers off trajectories ----------------------------------------------------------------


def test_a_second_wave_is_not_the_first_peak():
    """At 5 % burden the tumor grows again, and the cells after it: the highest of a year is on day 317, not day 30."""
    axes = {"dose": [450e6, 800e6], "burden": [5, 20]}
    year, half = (sweep(MODEL, axes, reading=Reading(horizon=days)) for days in (365.0, None))
    low, usual = year.table.iloc[0], year.table.iloc[1]
    assert low["second_wave"] == pytest.approx(316.7, abs=0.1)
    assert low["Tmax"] == pytest.approx(30.5, abs=0.3)
    assert low["Cmax"] == pytest.approx(148.8, abs=0.1)
    assert np.isnan(usual["second_wave"])
    for name in ("Cmax", "Tmax"):  # which a longer horizon leaves alone
        np.testing.assert_allclose(year.table[name], half.table[name], rtol=1e-4)
    assert "in 2 of 4 cells a second wave, on day 309" in year.warnings[0]
    assert half.warnings == () and half.table["second_wave"].isna().all()


@given(
    tops=st.lists(st.tuples(st.floats(5, 60), st.floats(0, 2)), min_size=1, max_size=4),
    ripple=st.floats(0, 0.2),
)
def test_waves_are_those_that_were_put_there(tops, ripple):
    """Waves of normal shape far apart, of any heights, with ripples: the first is found, and the highest after it."""
    times = np.arange(0.0, 400.0, 0.25)
    centers = 20 + np.cumsum([30 + gap for gap, _ in tops])
    heights = 10.0 ** np.array([height for _, height in tops])
    y = 1e-3 + sum(h * np.exp(-((times - c) ** 2) / 18) for c, h in zip(centers, heights, strict=True))
    y = y * (1 + ripple * np.sin(times * 2) ** 2)
    at, height, later = first_wave(times, y[None])
    assert at[0] == pytest.approx(centers[0], abs=2.0)
    assert height[0] == pytest.approx(heights[0], rel=0.3)
    nearly = heights > heights.max() / 1.3  # of which ripples may make any the highest
    assert np.isnan(later[0]) or np.abs(later[0] - centers[1:])[nearly[1:]].min() < 2.0
    assert nearly[0] or np.isfinite(later[0])


def test_a_curve_that_only_falls_has_no_first_wave():
    times = np.arange(0.0, 100.0)
    at, height, later = first_wave(times, np.exp(-times)[None] + 0 * times)
    assert np.isnan(at[0]) and np.isnan(later[0])
    assert height[0] == 1.0


def test_a_peak_is_found_between_the_points():
    times = reading_times({}, 100.0)
    tops = np.linspace(3.0, 40.0, 23)
    y = np.exp(-((times - tops[:, None]) ** 2) / 20) * 1e5
    at, height = peak(times, y)
    assert at == pytest.approx(tops, abs=1e-5)
    assert height == pytest.approx(1e5, rel=1e-7)


def test_there_is_no_peak_at_either_end():
    times = reading_times({}, 50.0)
    at, height = peak(times, np.array([np.exp(-times), times, np.ones_like(times)]), after=1.0)
    assert np.isnan(at).all()
    assert height == pytest.approx([np.exp(-1), 50, 1], rel=1e-12)


def test_a_spike_before_the_first_time_counted_is_passed_over():
    times = reading_times({}, 50.0)
    y = (1e6 * np.exp(-100 * times) + np.exp(-((times - 14.2) ** 2) / 30))[None, :]
    at, height = peak(times, y, after=1.0)
    assert (at[0], height[0]) == pytest.approx((14.2, 1.0), abs=1e-5)


def test_areas_falls_and_times_are_those_of_the_curve():
    measures = {
        "area": Measure("area", "fast", 28.0),
        "below": Measure("time_below", "slow", 0.5),
        "log": Measure("log10_fall", "slow"),
        "fall": Measure("fall", "change"),
        "at": Measure("fall_at", "change", 7.3),
        "value": Measure("value", "slow", 7.3),
        "lowest": Measure("lowest", "change"),
    }
    times = reading_times(measures, 60.0)
    slow = np.exp(-0.1 * times)[None, :]
    fast = (1e5 * np.exp(-115 * times) + 300 * np.exp(-((times - 15) ** 2) / 18))[None, :]
    found = read(measures, times, {"fast": fast, "slow": slow, "change": -100 * np.sin(times / 25)[None, :]})
    bell = 300 * np.sqrt(18 * np.pi) / 2 * (erf(13 / np.sqrt(18)) + erf(15 / np.sqrt(18)))
    assert found["area"][0] == pytest.approx(1e5 / 115 + bell, rel=1e-5)
    assert found["below"][0] == pytest.approx(60 - np.log(2) / 0.1, abs=1e-3)
    assert found["log"][0] == pytest.approx(6 / np.log(10), rel=1e-12)
    assert found["fall"][0] == pytest.approx(100, rel=1e-9)
    assert found["lowest"][0] == pytest.approx(-100, rel=1e-9)
    assert found["at"][0] == pytest.approx(100 * np.sin(7.3 / 25), rel=1e-12)
    assert found["value"][0] == pytest.approx(np.exp(-0.73), rel=1e-12)


def test_a_failed_patient_has_no_numbers():
    times = reading_times({}, 50.0)
    y = np.array([times, np.full_like(times, np.nan)])
    found = read({"top": Measure("highest", "y")}, times, {"y": y})
    assert found["top"][0] == 50
    assert np.isnan(found["top"][1])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Measure("hihgest", "transgene"), "'hihgest' is not known"),
        (lambda: Measure("value", "transgene", -1.0), "0 or more"),
        (lambda: check_measures(MODEL, {"x": Measure("highest", "nothing")}, 10.0), "no output 'nothing'"),
        (lambda: check_measures(MODEL, {"x": Measure("value", "transgene", 28.0)}, 10.0), "after the horizon 10"),
        (lambda: check_measures(MODEL, {}, 10.0), "at least one"),
        (lambda: check_measures(MODEL, default_measures(MODEL), 0.0), "the horizon is 0"),
        (lambda: sweep("bb2121_invitro", {"Ne0": [1, 2], "MV": [1, 2]}), "no parameter"),
    ],
)
def test_measures_that_cannot_be_are_refused(make, reason):
    with pytest.raises(InputError, match=reason):
        make()


# --- grids --------------------------------------------------------------------------------------------


def test_cells_are_single_simulations():
    cells = {"dose": [50e6, 450e6, 800e6], "burden": [20, 50, 95]}
    table = sweep(MODEL, cells).table
    assert list(table[["dose", "burden"]].itertuples(index=False, name=None)) == [
        (dose, burden) for dose in cells["dose"] for burden in cells["burden"]
    ]
    parts = (np.arange(0, 0.2, 2e-4), np.arange(0.2, 30, 1e-3), np.arange(30, HALF_YEAR, 0.02), [28.0])
    times = np.unique(np.concatenate(parts))
    after = times >= 1
    outputs = ["transgene", "mprotein_change", "sbcma_change", "tumor_relative"]
    for row in table.to_dict("records"):
        alone = simulate(
            Patients(MODEL, {"burden": row["burden"]}), row["dose"], times, outputs, solver=Solver(rtol=1e-9)
        )
        transgene = alone["transgene"][0]
        assert row["Cmax"] == pytest.approx(transgene[after].max(), rel=2e-6)
        assert row["Tmax"] == pytest.approx(times[after][transgene[after].argmax()], abs=1.5e-3)
        month = times <= 28
        assert row["AUC0-28"] == pytest.approx(np.trapezoid(transgene[month], times[month]), rel=2e-5)
        for name in ("mprotein", "sbcma"):
            assert row[f"{name}_fall"] == pytest.approx(-alone[f"{name}_change"].min(), rel=1e-6)
            on_28 = np.interp(28, times, alone[f"{name}_change"][0])
            assert row[f"{name}_fall_28"] == pytest.approx(-on_28, abs=1e-4)
        assert row["tumor_log10_fall"] == pytest.approx(-np.log10(alone["tumor_relative"].min()), abs=1e-4)
        below = np.diff(times) @ (alone["mprotein_change"][0, 1:] < -50)
        assert row["days_mprotein_below_-50"] == pytest.approx(below, abs=0.05)


def test_a_cell_is_what_scipy_finds():
    row = sweep(MODEL, {"dose": [450e6, 500e6], "burden": [20, 50]}).table.iloc[0]
    typical = dict(zip(MODEL.parameters, MODEL.values({"burden": [20.0]}, 1)[0], strict=True))
    times = np.linspace(14.5, 15.3, 161)
    states = solve(typical, [(0.0, 450e6)], times)
    blood = typical["TransC"] * (states["CARTe_PB"] + states["CARTm_PB"])
    assert row["Cmax"] == pytest.approx(blood.max(), rel=1e-5)
    assert row["Tmax"] == pytest.approx(times[blood.argmax()], abs=5e-3)


def test_peaks_are_those_published_beside_the_model():
    # Reference results of two independent engines at a relative tolerance of 1e-11.
    table = sweep(MODEL, {"dose": [50e6, 450e6], "burden": [20, 50, 95]}).table.set_index(["dose", "burden"])
    for cell, cmax, tmax in (
        ((50e6, 50), 37261, 16.31),
        ((450e6, 50), 35598, 14.18),
        ((450e6, 20), 2987, 14.90),
        ((450e6, 95), 290550, 14.91),
    ):
        assert table.loc[cell, "Cmax"] == pytest.approx(cmax, rel=2e-4)
        assert table.loc[cell, "Tmax"] == pytest.approx(tmax, abs=0.006)


def test_cmax_follows_burden_far_more_than_dose(figure4):
    cmax, heavy = figure4.grid("Cmax"), figure4.axes["burden"] >= 20
    assert (cmax.max(axis=1) / cmax.min(axis=1)).min() > 100
    assert (cmax.max(axis=0) / cmax.min(axis=0))[heavy].max() < 1.5


def test_tmax_settles_at_two_to_three_weeks(figure4):
    tmax = figure4.grid("Tmax")[:, figure4.axes["burden"] >= 20]
    assert tmax.min() > 13
    assert tmax.max() < 19


def test_falls_of_the_biomarkers_saturate(figure4):
    dose, burden = figure4.axes["dose"], figure4.axes["burden"]
    for name in ("mprotein_fall", "sbcma_fall"):
        fall = figure4.grid(name)
        steps = np.diff(fall[dose >= 450e6][0]) / np.diff(burden)
        assert (np.diff(steps) < 0).all()  # each percent of burden adds less than the one before
        assert steps[-1] < 0.02 * steps[0]
        assert np.ptp(fall[:, burden >= 20], axis=0).max() < 1  # and the dose next to nothing


def test_at_five_percent_the_expansion_fails_within_half_a_year(figure4):
    """It begins, slowly, and ends on a fifth of the tumor; what the cells need in complexes is no longer there."""
    own, low = expansion(MODEL), expansion(MODEL, burden=5)
    k21, fastest, half = (MODEL.parameters[name].value for name in ("K21", "Kexp_max", "EC50_exp"))
    assert low.needed == pytest.approx(half * k21 / (fastest - k21), rel=1e-3)
    assert low.first > low.needed  # so it does begin
    assert low.rate < 0.2 * own.rate
    assert low.until < HALF_YEAR
    light = figure4.table[figure4.table["burden"] == 5]
    assert light["Cmax"].max() < 200  # copies/ug; 50 are quantifiable, and 50 % burden gives 35,000
    assert light["Tmax"].min() > 24
    assert light["mprotein_fall"].max() < 50  # never a partial response
    later = simulate(
        Patients(MODEL, {"burden": [5.0] * 3, "dose": [50e6, 450e6, 800e6]}), None, [HALF_YEAR], ["transgene"]
    )
    assert later["transgene"].max() < 1
    assert expansion(MODEL, burden=1).rate < 0  # too few complexes from the start
    note = expansion_note(MODEL, burden=5.0)
    assert "1.1 complexes a cell" in note
    assert "has failed" in note
    assert "do not expand at all" in expansion_note(MODEL, burden=1.0)


def test_any_two_quantities_can_be_swept():
    found = sweep(MODEL, {"Kexp_max": [1.0, 2.0], "Kkill_max": [0.2, 0.4, 0.6]}, dose=150e6)
    assert found.grid("Cmax").shape == (2, 3)
    one = simulate(Patients(MODEL, {"Kexp_max": 2.0, "Kkill_max": 0.4}), 150e6, [28.0], ["mprotein_change"])
    assert found.grid("mprotein_fall_28")[1, 1] == pytest.approx(-one["mprotein_change"][0, 0], rel=1e-6)


def test_another_model_with_measures_of_its_own():
    found = sweep(
        "bb2121_invitro",
        {"ET": [1.0, 4.0], "Kkill_max": [0.2, 0.353]},
        reading=Reading({"killed": Measure("value", "cytolysis", 4.0)}, 4.0),
    )
    killed = found.grid("killed")
    assert (np.diff(killed, axis=0) > 0).all()
    assert (np.diff(killed, axis=1) > 0).all()


def test_chunks_and_threads_change_nothing(figure4, monkeypatch):
    monkeypatch.setattr(sweep_module, "CELLS", 5)
    again = sweep(MODEL, FIGURE4, n_jobs=2)
    pd.testing.assert_frame_equal(again.table, figure4.table)


def test_a_cell_that_ends_early_is_marked():
    found = sweep(MODEL, {"Kg": [0.008, 2.0], "burden": [20, 50]}, dose=0.0)
    assert found.table["status"].tolist() == ["ok", "ok", "ceiling", "ceiling"]
    assert np.isnan(found.grid("Cmax")[1]).all()


def test_a_sweep_is_written_whole(figure4, tmp_path):
    figure4.save(tmp_path)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "grid.csv", float_precision="round_trip"), figure4.table)
    made = json.loads((tmp_path / "grid.json").read_text())
    assert made["model"] == "bb2121_clinical"
    assert made["axes"] == "dose: 8 values 5e+07 to 8e+08, burden: 8 values 5 to 95"
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["grid.csv", "grid.json"]


BAD_AXES = [
    ({"dose": [], "burden": [5, 50]}, "dose has 0 values"),
    ({"dose": [1e6], "burden": [5, 50]}, "dose has 1 values"),
    ({"dose": [8e8, 5e7], "burden": [5, 50]}, "do not increase"),
    ({"dose": [1e6, 1e6], "burden": [5, 50]}, "do not increase"),
    ({"dose": [1e6, 2e6], "burden": [5, 105]}, r"burden is 105; it must be a finite number from 0.01 to 100"),
    ({"dose": [1e6, 2e6], "burden": [-5, 50]}, "burden is -5"),
    ({"dose": [-1e6, 2e6], "burden": [5, 50]}, "dose is -1e"),
    ({"dose": [1e6, np.nan], "burden": [5, 50]}, "dose is nan"),
    ({"dose": [1e6, np.inf], "burden": [5, 50]}, "dose is inf"),
    ({"dose": [1e6, 2e6], "burdn": [5, 50]}, "no parameter or covariate 'burdn'; did you mean burden"),
    ({"Kexp": [1, 2], "burden": [5, 50]}, "did you mean Kexp_max"),
    ({"avogadro": [1, 2], "burden": [5, 50]}, "avogadro is a constant"),
    ({"dose": [1e6, 2e6]}, "a sweep over dose; give two"),
    ({}, "a sweep over nothing"),
    ({"dose": ["a", "b"], "burden": [5, 50]}, "give a list of numbers"),
    ({"dose": 5e6, "burden": [5, 50]}, "dose has 1 values"),
]


@pytest.mark.parametrize(("axes", "reason"), BAD_AXES)
def test_bad_axes_are_refused(axes, reason):
    with pytest.raises(InputError, match=reason):
        sweep(MODEL, axes)
    with pytest.raises(InputError, match=reason):
        sweep_trials(Trial(Population(MODEL), [450e6], 10), axes)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"dose": 1e6}, "dose is an axis and 1e"),
        ({"n_jobs": 0}, "0 jobs"),
        ({"reading": Reading(horizon=10.0)}, "after the horizon 10"),
        ({"reading": Reading(horizon=-1.0)}, "the horizon is -1"),
        ({"checkpoint": __file__}, "checkpoint folder"),
    ],
)
def test_bad_settings_are_refused(settings, reason):
    with pytest.raises(InputError, match=reason):
        sweep(MODEL, {"dose": [1e6, 2e6], "burden": [5, 50]}, **settings)


# --- interruption -------------------------------------------------------------------------------------


def test_an_interrupted_sweep_goes_on(figure4, tmp_path, monkeypatch):
    calls = []
    original = sweep_module._Typical.__call__

    def counted(self, start, stop):
        calls.append((start, stop))
        if (start, stop) == (32, 48) and not Path(tmp_path / "again").exists():
            raise KeyboardInterrupt
        return original(self, start, stop)

    monkeypatch.setattr(sweep_module._Typical, "__call__", counted)
    monkeypatch.setattr(sweep_module, "CELLS", 16)
    with pytest.raises(KeyboardInterrupt):
        sweep(MODEL, FIGURE4, n_jobs=1, checkpoint=tmp_path)
    assert calls == [(0, 1), (0, 16), (16, 32), (32, 48)]
    (tmp_path / "again").touch()
    calls.clear()
    resumed = sweep(MODEL, FIGURE4, n_jobs=1, checkpoint=tmp_path)
    assert calls == [(0, 1), (32, 48), (48, 64)]
    pd.testing.assert_frame_equal(resumed.table, figure4.table)
    calls.clear()
    sweep(MODEL.override({"Kg": 0.009}), FIGURE4, n_jobs=1, checkpoint=tmp_path)
    assert len(calls) == 5  # another model starts anew
    assert not list(tmp_path.rglob("*.part"))


def test_a_checkpoint_is_found_by_another_process(tmp_path):
    code = (
        "from cartsim.experiments.sweep import sweep; "
        f"sweep('bb2121_clinical', {{'dose': [5e7, 8e8], 'burden': [5, 50]}}, checkpoint={str(tmp_path)!r})"
    )
    path = os.pathsep.join([str(Path(cartsim.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": "7"}
    )
    (kept,) = tmp_path.rglob("*.npz")
    before = kept.stat().st_mtime_ns
    sweep(MODEL, {"dose": [5e7, 8e8], "burden": [5, 50]}, checkpoint=tmp_path)
    assert [path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")] == [before]


# --- populations --------------------------------------------------------------------------------------


def test_a_cell_of_a_population_is_a_trial():
    axes = {"dose": [150e6, 450e6], "burden": [20.0, 60.0]}
    found = sweep_trials(Trial(Population(MODEL, 5), [450e6], 60), axes)
    trial = Trial(Population(MODEL.override({"burden": 60.0}), 5), [450e6], 60, curves=0)
    summary = trial.run(keep_visits=False).summary.iloc[0]
    cell = found.table.iloc[3]
    for name in ("n", "failed", "Cmax", "ORR", "CR", "MR-VGPR_6", "SD_21"):
        assert cell[name] == summary[name]
    low, high = wilson(np.array([round(summary["ORR"] * 0.6)]), np.array([60]))
    assert cell["ORR_low"] == pytest.approx(100 * low[0])
    assert cell["ORR_high"] == pytest.approx(100 * high[0])


@pytest.mark.parametrize("axis", ["Kexp_max", "dose"])
def test_cells_share_noise_and_what_patients_do(axis):
    """Cells are measured together, and each is as if it were alone: errors, missed visits and departures too."""
    protocol = Protocol(
        assays={"mprotein": Assay(cv=0.2), "transgene": Assay(cv=0.3)},
        conduct=Conduct(missed=0.1, dropout=0.02, new_therapy=0.05, death=0.02),
    )
    values = {"Kexp_max": [0.9, 1.7], "dose": [1e6, 450e6]}[axis]
    who = Population(MODEL, 5, {"burden": uniform(5, 95)})
    found = sweep_trials(Trial(who, [450e6], 70, protocol), {"Kg": [0.008, 0.03], axis: values}).table
    for row in found.to_dict("records"):
        swept = {name: row[name] for name in ("Kg", axis) if name != "dose"}
        alone = Trial(replace(who, model=MODEL.override(swept)), [row.get("dose", 450e6)], 70, protocol, curves=0)
        summary = alone.run(keep_visits=False).summary.iloc[0]
        names = [name for name in summary.index if name in row]
        assert len(names) > 20
        assert [row[name] for name in names] == pytest.approx(
            [summary[name] for name in names], rel=0, abs=0, nan_ok=True
        )


def test_limits_of_the_typical_patient_are_those_of_the_drawn_estimates():
    """A draw is that of `with_uncertainty`; the swept parameter is as swept, however uncertain it is."""
    axes = {"Kexp_max": [1.2, 1.7], "dose": [150e6, 450e6]}
    who, reading = Population(MODEL, 6), Reading({"Cmax": Measure("highest", "transgene", 1.0)}, 60.0)
    found = sweep(who, axes, reading=reading, replicates=9, uncertainty=True)
    peaks = [
        sweep(cartsim.with_uncertainty(MODEL, 6, k), axes, reading=reading).table["Cmax"].to_numpy() for k in range(9)
    ]
    for end, share in (("low", 0.025), ("high", 0.975)):
        expected = np.quantile(peaks, share, axis=0, method="inverted_cdf")
        np.testing.assert_allclose(found.table[f"Cmax_{end}"], expected, rtol=1e-9)
    plain = sweep(MODEL, axes, reading=reading)
    assert (found.table["Cmax"] == plain.table["Cmax"]).all()
    assert (found.table["failed_replicates"] == 0).all() and "failed_replicates" not in plain.table
    with pytest.raises(InputError, match="the same in each replicate"):
        sweep(MODEL, axes, replicates=9)


def test_a_cell_of_replicated_trials_is_a_replicated_trial():
    who = Population(MODEL, 7, {"burden": uniform(5, 95)})
    axes = {"dose": [1e6, 450e6], "Kexp_max": [1.2, 1.7]}
    found = sweep_trials(Trial(who, [450e6], 15), axes, replicates=5, uncertainty=True, n_jobs=2)
    parameters = {n: replace(p, rse=None) if n == "Kexp_max" else p for n, p in MODEL.parameters.items()}
    known = replace(MODEL, parameters=parameters).override({"Kexp_max": 1.7})
    alone = cartsim.replicate(Trial(replace(who, model=known), [450e6], 15), 5, uncertainty=True).summary.iloc[0]
    cell = found.table.iloc[3]
    for name in ("ORR", "ORR_low", "ORR_high", "CR_high", "Cmax", "Cmax_low", "AUC0-28_high", "n"):
        assert cell[name] == alone[name]
    assert found.made_by["replicates"] == 5
    titles = [axis.get_title() for axis in found.plot.limits().axes]
    assert [title.rpartition(": ")[2] for title in titles if title] == ["lower limit", "upper limit"] * 2
    with pytest.raises(InputError, match="other patients each time"):
        sweep_trials(Trial(replace(who, sampler="sobol"), [450e6], 15), axes, replicates=5)


def test_patients_are_the_same_in_every_cell():
    # M0 changes no cell of the body, so that every patient's kinetics stay exactly as they were.
    table = sweep_trials(Trial(Population(MODEL), [450e6], 40), {"M0": [20.0, 40.0], "burden": [30.0, 60.0]}).table
    for name in ("Cmax", "Cmax_p5", "AUC0-28_p95", "Tmax_day"):
        assert table[name][:2].tolist() == table[name][2:].tolist()
    assert table["CR"][0] >= table["CR"][2]


def test_a_swept_covariate_is_everybodys_and_a_swept_parameter_the_typical_one():
    spread = Population(MODEL, variability={"burden": uniform(5, 95), "EC50_exp": uniform(5, 20)})
    axes = {"burden": [20.0, 60.0], "Kexp_max": [1.5, 1.9]}
    with_spread = sweep_trials(Trial(spread, [450e6], 30), axes).table
    plain = Population(MODEL, variability={"EC50_exp": uniform(5, 20)})
    without = sweep_trials(Trial(plain, [450e6], 30), axes).table
    pd.testing.assert_frame_equal(with_spread, without)
    shifted = MODEL.override({"Kexp_max": 1.9, "burden": 60.0})
    drawn = Population(shifted, variability={"EC50_exp": uniform(5, 20)})
    trial = Trial(drawn, [450e6], 30, curves=0)
    assert without["Cmax"].iloc[3] == trial.run(keep_visits=False).summary["Cmax"][0]
    flat = sweep_trials(Trial(plain, [450e6], 30), {"EC50_exp": [5.0, 20.0], "burden": [20.0, 60.0]}).table
    assert flat["Cmax"][0] > flat["Cmax"][2]  # a uniform one does not follow its typical value, so it is pinned


def test_patients_of_a_table_are_swept_as_they_are():
    mine = Patients(MODEL, {"burden": [20.0, 50.0, 90.0], "Kexp_max": [1.5, 1.7, 2.0]})
    found = sweep_trials(Trial(mine, [450e6]), {"dose": [150e6, 450e6], "Kg": [0.008, 0.03]}).table
    assert (found["n"] == 3).all()
    shifted = Patients(MODEL.override({"Kg": 0.03}), mine.rows)
    alone = Trial(shifted, [150e6], curves=0).run(keep_visits=False).summary
    assert found["Cmax"].iloc[1] == alone["Cmax"][0]
    assert found["PFS_months"].iloc[1] == alone["PFS_months"][0]
    dosed = Patients(MODEL, {"burden": [20.0, 90.0], "dose": [50e6, 800e6]})
    own = sweep_trials(Trial(dosed, [Arm(regimen=Regimen.single())]), {"Kg": [0.008, 0.03], "M0": [20.0, 40.0]}).table
    each = simulate(dosed, times=KARMMA_KINETICS, outputs=["transgene"])["transgene"].max(axis=1)
    assert own["Cmax"].iloc[0] == pytest.approx(np.median(each), rel=1e-6)
    with pytest.raises(InputError, match="a sweep over dose, which the patients have of their own"):
        sweep_trials(Trial(dosed, [1e6]), {"dose": [1e6, 2e6], "Kg": [0.01, 0.02]})


def test_bad_populations_are_refused():
    axes = {"dose": [1e6, 2e6], "burden": [5, 50]}
    with pytest.raises(InputError, match="2 arms; give one"):
        sweep_trials(Trial(Population(MODEL), [1e6, 2e6], 5), axes)
    with pytest.raises(InputError, match="a sweep over burden, which the patients have of their own"):
        sweep_trials(Trial(Patients(MODEL, {"burden": [20.0, 50.0]}), [1e6]), axes)
    linked = Population(MODEL, variability={"burden": lognormal(0.1)}, correlation={("burden", "K12"): 0.5})
    with pytest.raises(InputError, match="burden does not vary"):
        sweep_trials(Trial(linked, [450e6], 5), axes)


# --- pictures and the command line --------------------------------------------------------------------


def test_contours_have_the_layout_of_figure_4(figure4):
    figure = draw.contours(figure4.table, "dose", "burden", note="said")
    panels = [axis for axis in figure.axes if axis.get_title()]
    titles = [axis.get_title() for axis in panels]
    assert [title.split(" (")[0] for title in titles] == [
        "Cmax", "Tmax", "Greatest fall of sBCMA", "Greatest fall of M-protein",
    ]  # fmt: skip
    assert all(axis.texts for axis in panels)  # labelled lines
    assert {axis.get_xlabel() for axis in panels} == {"Dose (10⁶ CAR-T cells)"}
    figure.canvas.draw()


def test_missing_and_constant_panels_are_drawn_and_named():
    grid = pd.DataFrame({"a": np.repeat([1, 10, 100.0], 3), "b": np.tile([1, 2, 3.0], 3)})
    grid["same"], grid["none"], grid["some"] = 7.0, np.nan, np.arange(9.0)
    grid.loc[0, "some"] = np.nan
    figure = draw.contours(grid, "a", "b")
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert titles == ["same", "none; hatched: no value", "some; hatched: no value"]
    assert figure.axes[0].get_xscale() == "log"
    figure.canvas.draw()


@pytest.mark.parametrize(
    ("table", "x", "reason"),
    [
        (pd.DataFrame({"a": [1, 2], "b": [1, 2], "z": [1, 2]}), "a", "2 cells make no full grid of 2 x 2"),
        (pd.DataFrame({"a": [1, 2], "b": [1, 2], "z": [1, 2]}), "c", "no column 'c'"),
        (pd.DataFrame({"a": [1, 1, 2, 2], "b": [1, 2, 1, 2]}), "a", "no column of numbers"),
    ],
)
def test_what_makes_no_contours_is_refused(table, x, reason):
    with pytest.raises(InputError, match=reason):
        draw.contours(table, x, "b")


def call(*words: str):
    return CliRunner().invoke(app, ["sweep", *words])


def test_the_command_writes_grid_and_contours(tmp_path):
    result = call("--over", "dose=50e6:800e6:4", "--over", "burden=5,50,95", "--out", str(tmp_path))
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["contours.png", "grid.csv", "grid.json"]
    assert len(pd.read_csv(tmp_path / "grid.csv")) == 12
    assert "Cmax" in result.stdout
    rate = ("--rate", "--n", "20", "--over", "Kg=0.004:0.016:3", "--log", "Kg", "--over", "burden=20:80:2")
    rate = (*rate, "--dose", "3e8")
    result = call(*rate, "--out", str(tmp_path))
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grid.csv", "grid.json", "rate.png"]
    grid = pd.read_csv(tmp_path / "grid.csv")
    assert grid["Kg"].unique() == pytest.approx([0.004, 0.008, 0.016])
    assert "ORR_low" in grid


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--over", "dose=800e6:50e6:24", "--over", "burden=5:95:24"), "the range is empty or reversed"),
        (("--over", "dose=50e6:50e6:24", "--over", "burden=5:95:24"), "the range is empty or reversed"),
        (("--over", "dose=50e6:800e6:0", "--over", "burden=5:95:24"), "0 points"),
        (("--over", "dose=50e6:800e6:3", "--over", "burden=0:100:3"), "burden is 0; it must be"),
        (("--over", "dose=50e6:800e6:3", "--over", "burden=5:150:3"), "burden is 150"),
        (("--over", "dose=50e6:800e6:3", "--burden", "150"), "burden"),
        (("--over", "dose=50e6:800e6:3"), "give two quantities"),
        (("--over", "dose=50e6:800e6:3", "--over", "Kexp=1:2:3"), "did you mean Kexp_max"),
        (("--over", "dose=50e6:800e6:3", "--over", "Kexp_max"), "write NAME=LOW:HIGH:POINTS"),
        (("--over", "dose=50e6:800e6:3", "--over", "dose=1:2:3"), "dose is given twice"),
        (("--log", "K12"), "it is not swept"),
        (("--dose", "450e6"), "dose is swept too"),
        (("--omega", "Kel_e=0.3"), "goes with --rate"),
        (("--missed", "0.1"), "goes with --rate"),
        (("--over", "dose=1e8,2e8", "--over", "Kg=1:2:2", "--burden", "10:90"), "one percentage"),
        (("nothing", "--over", "dose=1:2:3", "--over", "burden=1:2:3"), "no model 'nothing'"),
    ],
)
def test_the_command_refuses_bad_input_in_one_line(words, reason, tmp_path):
    result = call(*words, "--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert reason in result.stderr
    assert not (tmp_path / "out").exists()
