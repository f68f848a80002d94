"""Plausible patients: who is kept, how that moves distributions, and their use in place of a population."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy.stats import ks_2samp

import cartsim
from cartsim.errors import InputError
from cartsim.experiments import selection as selection_module
from cartsim.experiments.measures import Measure, Reading
from cartsim.experiments.selection import Selection, select
from cartsim.experiments.sweep import sweep_trials
from cartsim.population.patients import Patients
from cartsim.population.population import Population
from cartsim.population.variability import uniform
from cartsim.simulation import simulate
from cartsim.trial.trial import Trial

MODEL = cartsim.load("bb2121_clinical")
EVERYBODY = Population(MODEL, variability={"burden": uniform(5, 95)})
RANGES = {"Cmax": (1e3, 1e6), "mprotein_fall": (50.0, None)}


@pytest.fixture(scope="module")
def chosen() -> Selection:
    return select(EVERYBODY, 600, RANGES)


def test_those_within_all_ranges_are_kept(chosen):
    table = chosen.candidates
    within = table["Cmax"].between(1e3, 1e6) & (table["mprotein_fall"] >= 50)
    assert table["kept"].tolist() == within.tolist()
    assert chosen.population.chosen.tolist() == table.index[within].tolist()
    assert 200 < len(chosen) < 600


def test_candidates_are_the_population_as_simulated(chosen):
    drawn = EVERYBODY.table(0, 600)
    assert chosen.candidates[list(drawn)].equals(drawn)
    some = chosen.candidates.iloc[[3, 77]]
    times = np.linspace(1, 60, 60_000)
    run = simulate(Patients(MODEL, drawn.iloc[[3, 77]].reset_index()), None, times, ["transgene"])
    assert some["Cmax"].to_numpy() == pytest.approx(run["transgene"].max(axis=1), rel=1e-5)


def test_the_kept_keep_their_ids_and_parameters(chosen):
    ids = chosen.population.chosen
    table = chosen.population.table(5, 25)
    assert table.index.tolist() == ids[5:25].tolist()
    assert table.index.name == "id"
    assert table.equals(EVERYBODY.table(0, 600).loc[ids[5:25]])
    complete = chosen.population.table(5, 25, complete=True)
    assert complete.equals(EVERYBODY.table(0, 600, complete=True).loc[ids[5:25]])


def test_blocks_do_not_matter(chosen, monkeypatch):
    before = chosen.population.table(0, len(chosen))
    monkeypatch.setattr(selection_module, "_BLOCK", 7)
    assert chosen.population.table(0, len(chosen)).equals(before)


def test_the_plausible_can_be_simulated(chosen):
    run = simulate(chosen.population, 450e6, [0.0, 28.0], ["mprotein_change"], n=10)
    assert run.ids.tolist() == chosen.population.chosen[:10].tolist()
    alone = simulate(EVERYBODY, 450e6, [0.0, 28.0], ["mprotein_change"], n=600)
    assert run["mprotein_change"] == pytest.approx(alone["mprotein_change"][run.ids], rel=1e-12)


def test_the_plausible_can_be_tried(chosen):
    judged = Trial(chosen.population, [150e6, 450e6], curves=0).run(chunk=64, keep_visits=False)
    for _, arm in judged.patients.groupby("arm", observed=True):
        assert arm["id"].tolist() == chosen.population.chosen.tolist()
        assert arm["burden"].tolist() == EVERYBODY.table(0, 600).loc[arm["id"], "burden"].tolist()


def test_the_plausible_can_be_swept(chosen):
    axes = {"dose": [1e8, 4e8], "burden": [20, 60]}
    found = sweep_trials(Trial(chosen.population, [450e6], 20), axes)
    plain = sweep_trials(Trial(EVERYBODY, [450e6], 20), axes)
    assert found.table["Cmax"].tolist() != plain.table["Cmax"].tolist()


def test_asking_for_more_than_were_kept_is_refused(chosen):
    with pytest.raises(InputError, match="plausible ones; ask for fewer"):
        simulate(chosen.population, 450e6, [0.0, 28.0], n=600)


def test_the_patients_travel_light(chosen):
    assert len(pickle.dumps(chosen.population)) < 60_000
    again = pickle.loads(pickle.dumps(chosen.population))
    assert again.table(0, 9).equals(chosen.population.table(0, 9))


def test_what_was_met_is_counted(chosen):
    met, table = chosen.met().set_index("constraint"), chosen.candidates
    cmax, fall = table["Cmax"].between(1e3, 1e6), table["mprotein_fall"] >= 50
    assert met.loc["Cmax", ["n", "met", "missed_alone"]].tolist() == [600, cmax.sum(), (~cmax & fall).sum()]
    assert met.loc["mprotein_fall", ["met", "missed_alone"]].tolist() == [fall.sum(), (cmax & ~fall).sum()]


def test_how_distributions_moved_is_told(chosen):
    moved = chosen.moved().set_index("name")
    table = chosen.candidates
    kept = table[table["kept"]]
    for name in ("burden", "K12", "Cmax"):
        row = moved.loc[name]
        assert row["mean_before"] == pytest.approx(table[name].mean())
        assert row["sd_after"] == pytest.approx(kept[name].std())
        assert row["p95_after"] == pytest.approx(kept[name].quantile(0.95))
        assert row["ks"] == pytest.approx(ks_2samp(table[name], kept[name]).statistic)
        rest = table.loc[~table["kept"], name]
        assert row["ks_pvalue"] == pytest.approx(ks_2samp(kept[name], rest).pvalue)
    assert moved.loc["burden", "kind"] == "input"
    assert moved.loc["Cmax", "kind"] == "measure"
    assert moved["ks"].idxmax() in ("Cmax", "AUC0-28", "Tmax", "mprotein_fall", "mprotein_fall_28")
    assert moved.loc["M0", "ks_pvalue"] > 0.001  # M0 touches neither constraint


def test_weights_bring_a_distribution_to_a_given_one(monkeypatch):
    """Exact for a distribution that is known: burden is uniform, and weights proportional to it make it triangular."""
    settings = {
        "weight": lambda frame: frame["burden"],
        "reading": Reading({"low": Measure("lowest", "Tumor")}, 1.0),
    }
    found = select(EVERYBODY, 3000, {}, **settings)
    burden = found.candidates.loc[found.candidates["kept"], "burden"]
    x = np.sort(burden)
    distance = np.abs((x**2 - 25) / (95**2 - 25) - np.arange(1, len(x) + 1) / len(x)).max()
    assert distance < 1.63 / np.sqrt(len(x))  # Kolmogorov's 1 % limit
    assert len(x) == pytest.approx(3000 * 50 / 95, rel=0.06)
    monkeypatch.setattr(selection_module, "PIECE", 333)
    again = select(EVERYBODY, 3000, {}, n_jobs=2, **settings)
    assert again.population.chosen.tolist() == found.population.chosen.tolist()


def test_the_plausible_can_be_chosen_from_again(chosen):
    narrower = select(chosen.population, len(chosen), {"Tmax": (None, 14.0)})
    expected = chosen.candidates.query("kept and Tmax <= 14").index
    assert narrower.population.chosen.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"constraints": {}}, "no constraints and no weight"),
        ({"constraints": {"Cmx": (1, 2)}}, "no measure 'Cmx' to constrain; there are Cmax"),
        ({"constraints": {"Cmax": (2, 1)}}, "low must not be above high"),
        ({"constraints": {"Cmax": (np.nan, 1)}}, "low must not be above high"),
        ({"constraints": {"Cmax": 5}}, r"give \(low, high\)"),
        ({"constraints": {"Cmax": ("a", 1)}}, r"give \(low, high\)"),
        ({"n": 0}, "select among 0 patients"),
        ({"n": 2.5}, "select among 2.5 patients"),
        ({"reading": Reading(horizon=10.0)}, "after the horizon"),
        ({"constraints": {"Cmax": (1e30, None)}}, "none of 30 patients is plausible .met Cmax: 0."),
        ({"weight": lambda frame: np.ones(3)}, "the weights of"),
        ({"weight": lambda frame: -frame["Cmax"]}, "0 or more"),
        ({"weight": lambda frame: 0 * frame["Cmax"]}, "not all 0"),
    ],
)
def test_bad_input_is_refused(settings, reason):
    given = {"n": 30, "constraints": {"Cmax": (1.0, None)}} | settings
    with pytest.raises(InputError, match=reason):
        select(EVERYBODY, given.pop("n"), given.pop("constraints"), **given)
