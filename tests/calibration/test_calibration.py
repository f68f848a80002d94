"""Calibrations of small problems: what is found, said, kept and refused."""

import re

import numpy as np
import pandas as pd
import pytest

import cartsim as cs
from cartsim.calibration import sampling
from cartsim.calibration.objective import Objective
from cartsim.calibration.priors import priors_of
from cartsim.model import toml_file

FREE = {"Kg": (0.05, 1.0), "Kexp_max": (2.5, 0.6)}
SMALL = {"patients": 8, "ensembles": 2, "walkers": 8, "n_jobs": 1}
WINDOW = "bb2121_clinical:window"

TRIAL = """schema = "cartsim-trial-1"
name = "small"
title = "a trial of one dose"
citation = "nobody"
arms = [{ name = "450e6", dose = 450e6, n = 40 }]
[conduct.followup]
median = 12
shortest = 6
longest = 18
[results]
rows = [%s]
"""


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"PRIOR_POINTS": 128, "GENERATIONS": 2, "POPULATION": 16, "BLOCK": 6}.items():
            patch.setattr(sampling, name, value)
        yield


def small(tmp_path, *rows):
    file = tmp_path / "small.toml"
    file.write_text(TRIAL % ",".join(rows))
    return file


@pytest.fixture(scope="module")
def found(_quick):
    return cs.calibrate(WINDOW, "crb401", FREE, seed=1, evaluations=1, **SMALL)


def test_a_place_is_evaluated_alike_in_any_company():
    population = cs.Population(WINDOW, seed=1, sampler="sobol")
    trials = [cs.published("crb401"), cs.published("karmma")]
    objective = Objective(population, trials, priors_of(population, FREE), 12)
    z = np.random.default_rng(1).standard_normal((7, 2))
    together = objective(z)
    assert np.isfinite(together).all() and len(set(together)) == 7
    assert together.tolist() == [objective(each[None])[0] for each in z]
    assert objective(z[::-1])[::-1].tolist() == together.tolist()


def test_what_a_calibration_has(found):
    assert list(found.draws) == ["Kg", "Kexp_max", "log_posterior"] and len(found.draws) <= 2000
    frame = found.frame.set_index("estimate")
    assert frame.loc["Kg", "median"] == pytest.approx(found.draws["Kg"].median(), rel=0.05)
    assert (frame["low"] < frame["median"]).all() and (frame["median"] < frame["high"]).all()
    assert (frame["prior_low"] < frame["prior_high"]).all() and set(frame["informed"]) <= {
        "identified",
        "little",
        "not",
    }
    rows = found.rows.set_index("id")
    assert set(rows.index) == {r.id for r in cs.published("crb401").rows if r.role != "context"}
    known = rows["p"].notna()
    assert rows.loc[known, "p"].between(0, 1).all() and known[rows["role"] == "fit"].all()
    assert found.population.model.parameters["Kg"].value == frame.loc["Kg", "mode"]
    assert list(found.population.draws) == ["Kg", "Kexp_max"]
    assert not found.converged and "limit of 1 evaluations" in found.warnings[0] and "CRB-401" in repr(found)


def test_threads_change_nothing_and_the_seed_does(found):
    again = cs.calibrate(WINDOW, "crb401", FREE, seed=1, evaluations=1, **SMALL | {"n_jobs": 2})
    pd.testing.assert_frame_equal(again.draws, found.draws)
    pd.testing.assert_frame_equal(again.rows, found.rows)
    other = cs.calibrate(WINDOW, "crb401", FREE, seed=2, evaluations=1, **SMALL)
    assert not other.draws.equals(found.draws)


def test_it_is_saved_and_read_again(found, tmp_path):
    found.save(tmp_path)
    again = cs.read_calibration(tmp_path)
    for name in ("frame", "draws", "rows", "trace"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(found, name), check_dtype=False)
    assert again.priors == found.priors and again.said == found.said
    people = cs.population(tmp_path / "population.toml", seed=1)
    pd.testing.assert_frame_equal(people.table(0, 5), found.population.table(0, 5), rtol=1e-6)
    (tmp_path / "calibration.json").write_text("{}")
    with pytest.raises(cs.InputError, match="no calibration that can be read"):
        cs.read_calibration(tmp_path)


def test_a_run_goes_on_from_where_it_ended(found, tmp_path, capsys):
    where = {"checkpoint": tmp_path, "seed": 1} | SMALL
    first = cs.calibrate(WINDOW, "crb401", FREE, evaluations=1, **where)
    on = cs.calibrate(WINDOW, "crb401", FREE, evaluations=first.evaluations + 1, **where)
    assert "steps taken from" in capsys.readouterr().err
    pd.testing.assert_frame_equal(first.draws, found.draws)
    whole = cs.calibrate(WINDOW, "crb401", FREE, seed=1, evaluations=first.evaluations + 1, **SMALL)
    pd.testing.assert_frame_equal(on.draws, whole.draws)
    for other, said in (
        ({"seed": 2}, "seed, walkers"),
        ({"free": {"Kg": (0.06, 1.0), "Kexp_max": None}}, "priors"),
        ({"trials": "karmma"}, "trials"),
        ({"patients": 9}, "patients"),
    ):
        asked = {"who": WINDOW, "trials": "crb401", "free": FREE} | where | other
        with pytest.raises(cs.InputError, match=f"holds a calibration with other {said}; choose another folder"):
            cs.calibrate(**asked)


def test_a_calibration_to_one_trial_reads_no_other(monkeypatch, found):
    opened = []
    read = toml_file.content

    def noted(path, *rest):
        opened.append(path.stem)
        return read(path, *rest)

    monkeypatch.setattr("cartsim.trial.published.content", noted)
    again = cs.calibrate(WINDOW, "crb401", FREE, seed=1, evaluations=1, **SMALL)
    assert opened == ["crb401"] and again.made_by["protocol_digest"] == found.made_by["protocol_digest"]


def test_rows_that_cannot_be_met_together_are_named(tmp_path):
    # Everybody responds, and half of the patients have progressed after three weeks.
    file = small(
        tmp_path,
        '{ id = "ORR", endpoint = "ORR", n = 40, events = 40, role = "fit" }',
        '{ id = "early", endpoint = "PFS", statistic = "KM median", value = 0.7, limits = [0.6, 0.8], '
        'n = 40, role = "fit" }',
    )
    found = cs.calibrate(WINDOW, file, {"Kg": (0.1, 0.3)}, seed=1, evaluations=1, **SMALL)
    assert found.conflicts["id"].tolist()[0] in ("ORR", "early")
    said = [warning for warning in found.warnings if "conflict" in warning]
    assert said and re.search(r"small, early: published 0\.7 \(0\.6 to 0\.8\) months, but fitted", " ".join(said))


def test_an_estimate_that_nothing_informs_is_named(tmp_path):
    file = small(tmp_path, '{ id = "ORR", endpoint = "ORR", n = 4, events = 3, role = "fit" }')
    found = cs.calibrate(WINDOW, file, {"gamma_b": (1.0, 0.5)}, seed=1, evaluations=3000, **SMALL | {"walkers": 24})
    assert found.frame["width"].iloc[0] == pytest.approx(1, abs=0.15)  # sBCMA tells nothing of responses
    assert any("nothing informs gamma_b" in w for w in found.warnings) or found.frame["informed"].iloc[0] == "little"


def test_wider_priors_give_wider_posteriors(found):
    wide = cs.calibrate(WINDOW, "crb401", FREE, seed=1, evaluations=1, widen=2, **SMALL)
    before, after = (np.log(own.frame["prior_high"] / own.frame["prior_low"]) for own in (found, wide))
    assert after.to_numpy() == pytest.approx(2 * before.to_numpy())
    assert wide.made_by["widened"] == 2


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"trials": "crb402"}, "no published trial 'crb402'; did you mean crb401"),
        ({"trials": []}, "name at least one"),
        ({"trials": ["crb401", "crb401"]}, "CRB-401 is given twice"),
        ({"free": ["Kgg"]}, "did you mean Kg"),
        ({"free": []}, "name at least one"),
        ({"patients": 0}, "give a whole number, 1 or more"),
        ({"sampler": "nuts"}, "emcee"),
        ({"seed": -1}, "seed"),
        ({"who": "nothing"}, "nothing"),
        ({"who": cs.Patients("bb2121_clinical", {"Kg": [0.1]})}, "calibrate a model or a Population"),
        ({"n": 100}, "patients=128"),
        ({"walker": 8}, "did you mean walkers"),
        ({"sampler": "dynesty", "checkpoint": "here"}, "keeps no checkpoint"),
        ({"priors": "none.toml"}, "priors none.toml"),
        ({"ensembles": 1}, "2 or more"),
    ],
)
def test_bad_input_is_refused_before_any_work(asked, said):
    with pytest.raises(cs.InputError, match=said):
        cs.calibrate(**{"who": WINDOW, "trials": "crb401", "free": FREE} | asked)


def test_a_trial_without_a_row_that_counts_is_refused(tmp_path):
    file = small(tmp_path, '{ id = "ORR", endpoint = "ORR", n = 4, events = 3, role = "repeat" }')
    with pytest.raises(cs.InputError, match="small has no row that counts"):
        cs.calibrate(WINDOW, file, FREE)


def test_pictures_show_every_estimate(found):
    for figure in (found.plot.marginals(), found.plot.chains()):
        shown = [axis.get_title() for axis in figure.axes if axis.get_visible() and axis.get_title()]
        assert [title.split("\n")[0].removesuffix(" (1/day)") for title in shown] == ["Kg", "Kexp_max"]
    assert len([a for a in found.plot.chains("Kg").axes if a.get_title()]) == 1
    with pytest.raises(cs.InputError, match="no estimate 'Kgg' was free; did you mean Kg"):
        found.plot.marginals(["Kgg"])
    rows = found.plot.rows().axes[0]
    assert len(rows.get_yticks()) == 18 and "Patients" in rows.get_xlabel()
    with pytest.raises(cs.InputError, match="of no such trial"):
        found.plot.rows("karmma")
