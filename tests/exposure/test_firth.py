"""Separated outcomes, against the analysis of Heinze and Schemper (2002, Statistics in Medicine 21:2409), whose 79
patients with endometrial cancer are in endometrial.csv, and R's logistf of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cartsim.exposure.logistic import fit_linear
from cartsim.exposure.separation import separation

PUBLISHED = {  # of R's logistf: estimate, se, low, high
    "intercept": (3.77455951, 1.48869925, 1.08253714, 7.20928050),
    "NV": (2.92927330, 1.55076352, 0.60972747, 7.85463171),
    "PI": (-0.03475175, 0.03957815, -0.12445728, 0.04045547),
    "slope": (-2.60416387, 0.77601750, -4.36518293, -1.23272106),
}


@pytest.fixture(scope="module")
def endometrial():
    return pd.read_csv(Path(__file__).with_name("endometrial.csv"))


def test_the_published_analysis_is_met(endometrial):
    model = fit_linear(endometrial, "HG", "EH", ["NV", "PI"], log=False)
    assert "quasi-completely) separated by NV:" in model.warnings[0]
    table = model.estimates.set_index("parameter")
    for name, row in PUBLISHED.items():
        np.testing.assert_allclose(table.loc[name, ["estimate", "se", "low", "high"]].astype(float), row, rtol=2e-5)


def test_a_penalty_is_taken_on_demand_where_nothing_is_separated(endometrial):
    ml = fit_linear(endometrial, "HG", "EH", ["PI"], log=False)
    firth = fit_linear(endometrial, "HG", "EH", ["PI"], log=False, method="firth")
    assert ml.method == "maximum likelihood" and not ml.warnings
    assert abs(firth.values[1]) < abs(ml.values[1])  # toward 0


@pytest.mark.parametrize(
    ("x", "y", "complete", "directions"),
    [
        ([-2, -1, 1, 2], [0, 0, 1, 1], True, [0, 1]),
        ([-2, -1, -1, 2], [0, 0, 1, 1], False, [1, 1]),
        ([2, 1, 1, -2], [0, 0, 1, 1], False, [1, -1]),
    ],
)
def test_separation_is_complete_or_not(x, y, complete, directions):
    found = separation(np.column_stack([np.ones(4), x]), np.array(y, float))
    assert found is not None and found.complete == complete
    if not complete or directions[0]:
        assert found.directions.tolist() == directions
    assert found.directions[1] == directions[1]


def test_overlap_is_no_separation():
    assert separation(np.column_stack([np.ones(4), [1, 2, 3, 4]]), np.array([0, 1, 0, 1.0])) is None


def test_outcomes_that_nearly_separate_have_a_maximum():
    # One patient of 100 on the wrong side by a hair: estimates are large, and finite.
    x = np.append(np.linspace(1, 3, 100), 2.012)
    data = pd.DataFrame({"x": x, "y": np.append(x[:-1] > 2, False).astype(int)})
    model = fit_linear(data, "y", "x", log=False)
    assert model.method == "maximum likelihood" and model.values[1] > 50
