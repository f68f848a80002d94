"""Estimates that may be 0 depend neither on their unit nor on where the search begins."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cartsim import Patients, Population, fixed, load, lognormal, simulate, uniform
from cartsim.fitting import ErrorModel, Estimated, Saem, fit, fit_population
from cartsim.fitting.size import telling

TESTS = Path(__file__).parents[1]
TOY = """
[model]
name = "toy"
source = "defined"
time = "day"
[parameters]
k = {{ value = 0.15, unit = "1/day", low = 0, source = "defined" }}
y0 = {{ value = {y0}, unit = "mg", low = 0, source = "defined" }}
base = {{ value = 1.0, unit = "mg", source = "defined" }}
[states.y]
unit = "mg"
scale = "linear"
initial = "y0"
negligible = {negligible}
rate = "-k*y"
[outputs.v]
unit = "mg"
value = "y + base"
"""


def test_the_size_is_the_start_or_what_moves_predictions() -> None:
    assert telling(3.0, lambda step: step) == 3.0
    assert telling(1e-6, lambda step: step) == pytest.approx(0.1)
    assert telling(0.0, lambda step: step / 1e6) == pytest.approx(1e5)
    assert telling(1e9, lambda step: step if step < 1e3 else math.nan) < 1e3
    assert telling(5.0, lambda step: 0.0) == 5.0
    assert telling(0.0, lambda step: math.nan) == 1.0


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_a_pooled_estimate_hangs_neither_on_its_unit_nor_on_its_start(tmp_path: Path, unit: float) -> None:
    path = tmp_path / "toy.toml"
    path.write_text(TOY.format(y0=8 * unit, negligible=1e-9 * unit))
    t = np.tile(np.arange(0.5, 15, 1.5), 4)
    value = 10 * np.exp(-0.12 * t) + 0.5 + 0.1 * np.random.default_rng(1).standard_normal(t.size)
    table = pd.DataFrame({"id": 1, "time": t, "output": "v", "value": unit * value})
    found = []
    for start in (0.3, 0.0, 1e-7):
        estimate = ["k", "y0", Estimated("base", start * unit, scale="linear")]
        result = fit(path, table, estimate, errors=ErrorModel("additive"), starts=1)
        assert result.converged
        found.append(result.frame.loc[2, ["estimate", "low", "high"]].to_numpy(float) / unit)
    assert found[0] == pytest.approx([0.565, 0.397, 0.733], abs=0.1)
    assert found[1] == pytest.approx(found[0], rel=1e-4)
    assert found[2] == pytest.approx(found[0], rel=1e-4)


def test_an_exponent_that_begins_near_0_moves_and_has_limits() -> None:
    model = load(TESTS / "models/theophylline.toml").override({"V": 32.0, "b": 0.75})
    times = np.array([0.5, 2.0, 7.0, 24.0])
    varied = {"V": fixed(), "ka": fixed(), "CL": lognormal(0.3), "WT": uniform(50, 110)}
    rows = Population(model, 1, varied).table(0, 12).rename_axis("id").reset_index()
    exact = simulate(Patients(model, rows), 320.0, times, ["concentration"])["concentration"]
    data = rows[["id", "WT"]].loc[np.repeat(rows.index, len(times))].assign(
        dose=320.0, time=np.tile(times, len(rows)), output="concentration",
        value=(exact * np.exp(0.05 * np.random.default_rng(1).standard_normal(exact.shape))).ravel(),
    )  # fmt: skip
    error = {"concentration": ErrorModel("lognormal", log=0.05)}
    far, near = (
        fit_population(model.override({"b": b}), data, {"CL": None, "b": 0}, errors=error, saem=Saem(40, 20))
        for b in (1e-7, 0.75)
    )
    assert far.converged
    row, known = (fit.frame.set_index("name").loc["b"] for fit in (far, near))
    assert known["se"] < 0.1
    assert row["se"] == pytest.approx(known["se"], rel=0.05)
    assert row["value"] == pytest.approx(known["value"], abs=0.3 * known["se"])
