"""Plausible patients weighted to trials: against equal weights, a general optimiser, and what is told of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

import cartsim as cs
from cartsim.calibration.likelihood import log_likelihood
from cartsim.calibration.plausible import _Piece, _Search, _treated
from cartsim.calibration.rows import statistic
from cartsim.experiments.selection import select

POPULATION = cs.Population("bb2121_clinical:window", 3, {"burden": cs.logitnormal(0.8)})
OWN = """
schema = "cartsim-trial-1"
name = "mine"
title = "a trial"
citation = "me, 2026"
arms = [{ name = "low", dose = 1e8, n = 30 }, { name = "high", dose = 4e8, n = 30 }]
[results]
rows = [
    { id = "ORR", endpoint = "ORR", arms = ["low"], n = 30, events = 12, role = "fit" },
    { id = "CR", endpoint = "CR", arms = ["high"], n = 30, events = 3, role = "fit" },
    { id = "VGPR", endpoint = "VGPR or better", arms = ["low"], n = 30, events = 9, role = "repeat" },
]
"""


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    path = tmp_path_factory.mktemp("trial") / "mine.toml"
    path.write_text(OWN)
    return cs.published(path)


@pytest.fixture(scope="module")
def weighted(mine):
    return cs.weigh(POPULATION, mine, 60, entropy=2.0, alternatives=3)


def test_the_weights_are_the_best_that_a_general_optimiser_finds(mine) -> None:
    """SLSQP over all weights, whatever their form, does no better."""
    patients = select(POPULATION, 25, {"Cmax": (1.0, None)}).population
    piece = _Piece(mine, _treated(mine, patients, 1))
    n, entropy = len(patients), 2.0
    found, _ = _Search([piece], n, entropy, 1).found(1, 1)

    def lost(w):
        w = np.maximum(w, 1e-12) / np.maximum(w, 1e-12).sum()
        sample = piece.under(w[None])
        likely = sum(float(log_likelihood(term.observed, *term.read(sample))[0]) for term in piece.terms)
        return entropy * float((w * np.log(n * w)).sum()) - likely

    even = np.full(n, 1 / n)
    best = minimize(lost, even, method="SLSQP", bounds=[(1e-9, 1)] * n, options={"maxiter": 300, "ftol": 1e-9})
    assert lost(found) < lost(even) - 0.1
    assert lost(found) < best.fun + 0.02


def test_rows_are_met_better_by_unequal_weights_and_dear_entropy_keeps_them_equal(mine, weighted) -> None:
    assert weighted.weights.sum() == pytest.approx(1) and (weighted.weights > 0).all()
    rows = weighted.frame.set_index("id")
    for name in ("ORR", "CR"):
        apart = abs(rows.loc[name, ["plausible", "weighted"]].to_numpy(float) - rows.loc[name, "value"])
        assert apart[1] < apart[0]
    assert rows.loc["VGPR", "role"] == "repeat"
    equal = cs.weigh(POPULATION, mine, 60, entropy=1e6, alternatives=1)
    assert equal.size == pytest.approx(len(equal), rel=1e-3)
    np.testing.assert_allclose(equal.frame["weighted"], equal.frame["plausible"], rtol=1e-2)
    assert 1 < weighted.size < equal.size
    cheap = cs.weigh(POPULATION, mine, 60, entropy=0.2, alternatives=1)
    assert cheap.size < weighted.size


def test_the_effective_size_is_always_said_and_few_patients_are_warned_of(weighted) -> None:
    said = f"effective sample size {weighted.size:.0f}"
    assert said in repr(weighted) and said in weighted._repr_html_()
    assert f"effective sample size of {weighted.size:.0f} of {len(weighted)}" in weighted.warnings[0]
    assert weighted.about()["effective_size"] == pytest.approx(weighted.size)
    assert set(weighted.tables()) == {"weighted_rows.csv", "weighted_patients.csv", "weighted_moved.csv"}
    assert weighted.tables()["weighted_patients.csv"]["weight"].sum() == pytest.approx(1)


def test_patients_drawn_by_their_weights_are_as_weighted(mine, weighted) -> None:
    """A trial of many of them gives the weighted shares, but for how few there are of either."""
    drawn = weighted.patients(2000, seed=1)
    piece = _Piece(mine, _treated(mine, drawn, -1))
    rows = weighted.frame.set_index("id")
    for row in mine.rows:
        found = float(statistic(row, piece.everybody)[0])
        assert found == pytest.approx(rows.loc[row.id, "weighted"], abs=4)  # 3.6 standard errors
    assert set(drawn.rows) >= {"Kexp_max", "burden", "F"} and "Tumor0" not in drawn.rows


def test_a_trial_is_predicted_at_its_size_with_limits_that_hold_its_sampling(weighted) -> None:
    found = weighted.predict("karmma", replicates=200)
    again = weighted.predict("karmma", replicates=200)
    assert found.frame.equals(again.frame) and found.name == "weighted patients"
    row = found.frame.set_index("id").loc["ORR_300"]
    assert row["predicted_high"] - row["predicted_low"] > 2 * 1.645 * 100 * np.sqrt(0.25 * 0.5 * 0.5 / 70)
    shares = found.statistics["ORR_150"].to_numpy()
    assert set(np.unique(shares)) <= {0.0, 25.0, 50.0, 75.0, 100.0}  # of four patients
    assert len(found.compare(cs.baseline("karmma", "crb401")))
    assert found.made_by["trial"] == "KarMMa"
    figure = weighted.plot.rows()
    assert len(figure.axes) == 1 and figure.axes[0].get_xlabel() == "Patients (%)"


def test_bad_input(mine) -> None:
    for words, message in [
        ({"entropy": 0.0}, "entropy is 0.0; give a number above 0"),
        ({"spread": np.nan}, "spread is nan"),
        ({"alternatives": 0}, "0 alternatives"),
        ({"within": {"Cmax": (1e20, None)}}, "none of 20 patients is plausible"),
        ({"seed": 3}, "a seed belongs to the patients"),
    ]:
        with pytest.raises(cs.InputError, match=message):
            cs.weigh(POPULATION, mine, 20, **words)
    with pytest.raises(cs.InputError, match="draw at most 20,000"):
        cs.weigh(POPULATION, mine, 10**12)
    with pytest.raises(cs.InputError, match="each once"):
        cs.weigh(POPULATION, [mine, mine], 20)
    with pytest.raises(cs.InputError, match="give Population"):
        cs.weigh("bb2121_clinical", mine, 20)
    with pytest.raises(cs.InputError, match="no trial 'other'; choose one of mine"):
        cs.weigh(POPULATION, mine, 30, alternatives=1).plot.rows(trial="other")
