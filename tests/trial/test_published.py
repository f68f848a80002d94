"""Published trials: what the shipped files say, and what a wrong file is told."""

import csv
import math
import re
from pathlib import Path

import numpy as np
import pytest

import cartsim as cs
from cartsim.files import shipped_data
from cartsim.trial.beside import published_beside
from cartsim.trial.published import ROLES, names

OWN = """
schema = "cartsim-trial-1"
name = "mine"
title = "a trial"
citation = "me, 2026"
arms = [{ name = "low", dose = 1e8, n = 10 }, { name = "high", dose = 3e8, n = 20 }]
[results]
rows = [
    { id = "ORR", endpoint = "ORR", arms = ["low"], n = 10, events = 4, role = "fit" },
    ROW
]
"""


def written(folder: Path, row: str = "", **changes: str) -> Path:
    text = OWN.replace("ROW", row)
    for old, new in changes.items():
        text = re.sub(old, new, text)
    path = folder / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", names())
def test_counts_make_values_and_exact_limits(name):
    from scipy.stats import binomtest

    trial = cs.published(name)
    assert set(trial.results["role"]) <= set(ROLES)
    for row in trial.rows:
        if row.statistic == "share" and row.events is not None and "limits" not in row.note:
            assert row.value == pytest.approx(100 * row.events / row.n, abs=0.5)
            assert row.low - 0.5 <= row.value <= row.high + 0.5
    exact = trial.row({"crb401": "CR_450", "karmma": "CR_all", "karmma3": "CR_interim"}[name])
    ends = binomtest(exact.events, exact.n).proportion_ci(method="exact")
    assert (exact.low, exact.high) == pytest.approx((100 * ends.low, 100 * ends.high))


def test_responses_of_all_are_the_sums_of_the_arms():
    for name, by_arm in (("crb401", ("50", "150", "450", "800")), ("karmma", ("150", "300", "450"))):
        trial = cs.published(name)
        for endpoint in ("ORR", "CR"):
            parts = [trial.row(f"{endpoint}_{arm}") for arm in by_arm]
            whole = trial.row(f"{endpoint}_all")
            assert (sum(row.events for row in parts), sum(row.n for row in parts)) == (whole.events, whole.n)
        assert trial.n == whole.n


def test_a_published_trial_is_done_again_as_it_was():
    trial = cs.published("karmma").trial(cs.Population("bb2121_clinical", seed=1))
    assert [(arm.name, arm.n) for arm in trial.arms] == [("150e6", 4), ("300e6", 70), ("450e6", 54)]
    assert trial.independent
    assert trial.protocol.conduct.followup == cs.trial.conduct.KARMMA_FOLLOWUP
    assert {arm.n for arm in cs.published("karmma").trial(trial.population, 30).arms} == {30}


def test_it_prints_and_saves(tmp_path):
    trial = cs.published("crb401")
    assert "CRB-401" in repr(trial) and "ORR_50" in trial._repr_html_()
    files = {path.name for path in trial.save(tmp_path)}
    assert files == {
        "published_trial.csv",
        "published_trial_baseline.csv",
        "published_trial_skipped.csv",
        "published_trial.json",
    }
    with open(tmp_path / "published_trial.csv") as file:
        assert len(list(csv.DictReader(file))) == len(trial.rows)


def test_rows_without_n_and_limits_are_skipped_by_name(tmp_path):
    row = '{ id = "loose", endpoint = "PFS", statistic = "KM median", value = 8, role = "fit" },'
    trial = cs.published(written(tmp_path, row))
    assert trial.skipped["id"].tolist() == ["loose"] and "loose" not in trial.frame["id"].tolist()
    assert any("cannot be compared" in warning for warning in trial.warnings)
    limits = row.replace("value = 8", "value = 8, limits = [5, inf]")
    assert math.isinf(cs.published(written(tmp_path, limits)).row("loose").high)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            '{ id = "a", endpoint = "OOR", n = 10, events = 4, role = "fit" },',
            "unknown endpoint 'OOR'; did you mean ORR",
        ),
        ('{ id = "ORR", endpoint = "CR", n = 10, events = 4, role = "fit" },', "'ORR' is given twice"),
        (
            '{ id = "again", endpoint = "ORR", arms = ["low"], n = 10, events = 4, role = "fit" },',
            "ORR and again are both of ORR in the same patients",
        ),
        ('{ id = "a", endpoint = "CR", n = 10, events = 14, role = "fit" },', "14 of 10; give whole numbers"),
        ('{ id = "a", endpoint = "CR", n = 10, events = 4, limits = [50, 60], role = "fit" },', "are impossible"),
        (
            '{ id = "a", endpoint = "CR", n = 10, events = 4, limits = [20], role = "fit" },',
            "give the lower and the upper",
        ),
        ('{ id = "a", endpoint = "CR", n = 10, events = 4, role = "fitted" },', "role 'fitted'; did you mean fit"),
        ('{ id = "a", endpoint = "CR", n = 10, role = "fit" },', "no value; give value, or n and events"),
        ('{ id = "a", endpoint = "CR", arms = ["mid"], n = 10, events = 1, role = "fit" },', "no arm 'mid'"),
        (
            '{ id = "a", endpoint = "PFS", n = 10, value = 3, role = "fit" },',
            "statistic 'share' of PFS; it is KM median",
        ),
        ('{ id = "a", endpoint = "persistence", n = 10, events = 1, role = "fit" },', "needs the month"),
        (
            '{ id = "a", endpoint = "MRD-negative", n = 10, events = 1, role = "fit" },',
            "needs the share of cells below which it is",
        ),
        (
            '{ id = "a", endpoint = "PFS", statistic = "KM median", n = 10, value = -3, role = "fit" },',
            "a KM median of -3; give 0.001 or more",
        ),
        ('{ id = "a", endpoint = "CR", n = 10, events = 1, role = "fit", colour = 1 },', "unknown entry 'colour'"),
    ],
)
def test_wrong_rows_are_refused_with_what_to_do(tmp_path, row, message):
    with pytest.raises(cs.InputError, match=re.escape(message)):
        cs.published(written(tmp_path, row))


def test_wrong_files_are_refused(tmp_path):
    with pytest.raises(cs.InputError, match=r"schema 'cartsim-trial-9'; this version of cartsim reads"):
        cs.published(written(tmp_path, **{"cartsim-trial-1": "cartsim-trial-9"}))
    with pytest.raises(cs.InputError, match="no published trial 'karma'; did you mean karmma"):
        cs.published("karma")
    with pytest.raises(cs.InputError, match=r"mine\.toml: conduct: conduct missed is 2"):
        cs.published(written(tmp_path, **{r"\[results\]": "[conduct]\nmissed = 2\n[results]"}))
    with pytest.raises(cs.InputError, match="visits: unknown entry 'windo'; did you mean window"):
        cs.published(written(tmp_path, **{r"\[results\]": "[visits]\nwindo = [0, 1]\n[results]"}))
    with pytest.raises(cs.InputError, match="arms of one name"):
        cs.published(written(tmp_path, high="low"))


def test_the_shipped_files_say_where_each_row_is_from():
    for path in (shipped_data() / "trials").glob("*.toml"):
        trial = cs.published(path)
        assert all(row.source for row in trial.rows)
        assert all(row.note for row in trial.rows if row.role == "context")


def test_published_results_stand_beside_arms_of_the_same_single_dose() -> None:
    population = cs.Population("bb2121_clinical", seed=1)
    split = cs.Regimen((cs.Infusion(0.0, 225e6), cs.Infusion(1.0, 225e6)))
    trial = cs.Trial(population, [150e6, 300e6, 450e6, 1e9, cs.Arm(regimen=split, name="split")], n=5)
    beside = published_beside(trial).set_index(["arm", "trial"])
    assert sorted(beside.index) == sorted(
        [("150e6", "KarMMa"), ("150e6", "CRB-401"), ("300e6", "KarMMa"), ("450e6", "KarMMa"), ("450e6", "CRB-401")]
    )
    karmma = beside.loc[("450e6", "KarMMa")]
    assert (karmma["n"], karmma["PFS_months"], round(karmma["ORR"], 1)) == (54, 12.1, 81.5)  # Munshi 2021
    assert np.isnan(beside.loc[("300e6", "KarMMa"), "PFS_months"])
    assert published_beside(trial, []).empty


def test_arms_have_the_shares_of_a_covariate_that_the_trial_had():
    people = cs.Population("bb2121_clinical:window_second_site", seed=1)
    given = [arm.covariates for arm in cs.published("karmma").trial(people).arms]
    assert given == [{"extramedullary": 0.0}, {"extramedullary": 34 / 70}, {"extramedullary": 16 / 54}]
    assert [arm.covariates for arm in cs.published("crb401").trial(people).arms] == [{"extramedullary": 9 / 33}] * 4
    without = cs.published("karmma").trial(cs.Population("bb2121_clinical:window", seed=1))
    assert [arm.covariates for arm in without.arms] == [None] * 3
