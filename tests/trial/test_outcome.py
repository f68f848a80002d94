"""What a trial gives: tables, rates and curves against what they are made from, and the contract of results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from statsmodels.stats.proportion import proportion_confint

import cartsim as cs
from cartsim.endpoints.survival import kaplan_meier
from cartsim.errors import InputError
from cartsim.schedule import MONTH
from cartsim.trial import KARMMA_FOLLOWUP, judge_stored


@pytest.fixture(scope="module")
def result() -> cs.TrialResult:
    conduct = cs.Conduct(missed=0.1, dropout=0.02)
    return cs.Trial(cs.Population("bb2121_clinical"), [150e6, 450e6], 80, cs.Protocol(conduct=conduct)).run()


def test_rates_are_counts_of_the_table_with_limits(result):
    rates = result.responses()
    row = rates.query("arm == '450e6' and endpoint == 'best response' and category == 'CR'").iloc[0]
    count = int((result.arm("450e6")["best"] == "CR").sum())
    low, high = proportion_confint(count, 80, method="wilson")
    assert (row["n"], row["count"]) == (80, count)
    assert (row["low"], row["high"]) == pytest.approx((100 * low, 100 * high))
    exact = binomtest(count, 80).proportion_ci(method="exact")
    assert (row["exact_low"], row["exact_high"]) == pytest.approx((100 * exact.low, 100 * exact.high))
    assert ((rates["exact_low"] >= 0) & (rates["exact_high"] <= 100)).all()
    assert result.summary.set_index("arm").loc["450e6", "CR"] == pytest.approx(100 * count / 80)


def test_survival_is_that_of_the_patients(result):
    rows = result.arm("150e6")
    expected = kaplan_meier(rows["pfs_day"] / MONTH, rows["pfs_event"])
    pd.testing.assert_frame_equal(result.survival("PFS", arm="150e6").frame(), expected.frame())
    with pytest.raises(InputError, match=r"no survival endpoint 'EFS'; there are PFS, OS, DOR, TTR, TTBR"):
        result.survival("EFS", arm="150e6")
    with pytest.raises(InputError, match="no arm '151e6' here; did you mean"):
        result.survival(arm="151e6")
    with pytest.raises(InputError, match="which arm"):
        result.survival()


def test_chunks_and_threads_change_nothing(result):
    conduct = cs.Conduct(missed=0.1, dropout=0.02)
    trial = cs.Trial(cs.Population("bb2121_clinical"), [150e6, 450e6], 80, cs.Protocol(conduct=conduct))
    again = trial.run(chunk=7, n_jobs=2)
    pd.testing.assert_frame_equal(again.patients, result.patients, check_exact=True)
    for arm, seen in result.visits.items():
        np.testing.assert_array_equal(again.visits[arm].mprotein, seen.mprotein)


def test_the_contract_of_results(result, tmp_path: Path):
    assert result.frame is result.patients
    assert result.failures.empty
    assert result.warnings == ()
    assert result.made_by["model"] == "bb2121_clinical"
    assert len(repr(result)) < 1500
    assert "<table" in result._repr_html_()
    names = {path.name for path in result.save(tmp_path)}
    tables = {"responses.csv", "survival.csv", "pfs.csv", "persistence.csv", "comparisons.csv"}
    assert names == {"patients.parquet", "visits.parquet", "summary.json"} | tables
    assert json.loads((tmp_path / "summary.json").read_text())["made_by"]["seed"] == 2021
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "patients.parquet"), result.patients)
    for arm, steps in pd.read_csv(tmp_path / "pfs.csv", dtype={"arm": str}).groupby("arm"):
        assert steps["time_months"].max() == pytest.approx(result.arm(str(arm))["pfs_day"].max() / cs.schedule.MONTH)


def test_judging_needs_the_measurements_and_rules():
    few = cs.Trial(cs.Population("bb2121_clinical"), [450e6], 5).run(keep_visits=False)
    with pytest.raises(InputError, match="keep_visits=True"):
        few.judge(cs.Rules())
    with pytest.raises(InputError, match=r"give Rules\(...\)"):
        few.judge("ema")


def test_only_the_columns_asked_for_are_kept():
    few = cs.Trial(cs.Population("bb2121_clinical"), [450e6], 5).run(columns=["burden"])
    assert "burden" in few.patients
    assert "Kexp_max" not in few.patients
    assert few.summary["n"].tolist() == [5]
    with pytest.raises(InputError, match="no column 'Kexp' in the table of patients; did you mean Kexp_max"):
        cs.Trial(cs.Population("bb2121_clinical"), [450e6], 5).run(columns=["Kexp"])


def test_nothing_of_a_patient_is_read_after_a_new_therapy():
    """Best response, its dates, and the lowest M-protein, residual disease and sBCMA are of assessments before it."""
    trial = cs.Trial(cs.Population("bb2121_clinical"), [450e6], 80, cs.Protocol(conduct=cs.Conduct(new_therapy=0.1)))
    result = trial.run()
    rows, seen = result.patients, result.visits["450e6"]
    before = seen.days <= np.nan_to_num(rows["new_therapy_day"], nan=np.inf)[:, None]
    assert (~before).any(axis=1).sum() > 40
    for name, values in (("sbcma_nadir", seen.sbcma), ("mrd_lowest", seen.mrd), ("lowest", seen.mprotein)):
        expected = np.where(before, values, np.inf).min(axis=1)
        unended = rows["progression_day"].isna() if name == "lowest" else slice(None)
        np.testing.assert_array_equal(rows[name][unended], np.where(np.isinf(expected), np.nan, expected)[unended])


def test_the_limit_of_quantification_is_that_of_the_assay_unless_it_is_said(tmp_path: Path):
    def trial(**rules):
        assays = {"transgene": cs.Assay(loq=2000.0)}
        protocol = cs.Protocol(assays=assays, rules=cs.Rules(**rules))
        return cs.Trial(cs.Population("bb2121_clinical"), [450e6], 40, protocol).run()

    own, said = trial(), trial(lloq=50.0)
    assert own.protocol.lloq == 2000
    pd.testing.assert_series_equal(own.patients["clast"], said.patients["clast"])  # the assay reports 0 below its limit
    own.save(tmp_path)
    low = cs.Trial(cs.Population("bb2121_clinical"), [450e6], 40, cs.Protocol(rules=cs.Rules(lloq=5.0))).run()
    strict = cs.Rules(cs.IMWG2016(ife_limit=0.1))
    assert cs.read_trial(tmp_path).judge(strict).protocol.lloq == 2000
    names = ["AUC0-28", "clast", "tlast_day", "persistence_12m"]
    again = low.judge(strict)
    pd.testing.assert_frame_equal(again.patients[names], low.patients[names])
    assert (low.judge(cs.Rules(lloq=500.0)).patients["clast"] > low.patients["clast"]).mean() > 0.9
    low.save(tmp_path)
    table = judge_stored(tmp_path, [strict, cs.Rules(lloq=500.0)])
    assert table["rules"].tolist() == ["ife_limit=0.1", "lloq=500.0"]
    assert table["AUC0-28"][0] == low.summary["AUC0-28"][0]


def test_ema_sees_progression_through_a_new_therapy():
    model = cs.load("bb2121_clinical").override({"Kg": 0.03, "Kkill_max": 0.12})
    conduct, population = cs.Conduct(new_therapy=0.15), cs.Population(model)
    ran = {
        rule: cs.Trial(population, [150e6], 200, cs.Protocol(conduct=conduct, rules=cs.Rules(censoring=rule))).run()
        for rule in ("fda", "ema")
    }
    # By the EMA's rule a new therapy has no influence: progression is that of a trial without one.
    without = cs.Trial(population, [150e6], 200, cs.Protocol(rules=cs.Rules(censoring="ema"))).run().patients
    for ema in (ran["ema"], ran["fda"].judge(cs.Rules(censoring="ema"))):
        assert ema.patients["pfs_event"].sum() > 3 * ran["fda"].patients["pfs_event"].sum()
        for name in ("pfs_day", "pfs_event", "progression_day"):
            pd.testing.assert_series_equal(ema.patients[name], without[name])
        pd.testing.assert_series_equal(ema.patients["best"], ran["fda"].patients["best"])


def test_landmarks_as_observed_know_who_was_not_seen():
    conduct = cs.Conduct(dropout=0.1, followup=KARMMA_FOLLOWUP)
    ended = cs.Trial(cs.Population("bb2121_clinical"), [450e6], 80, cs.Protocol(conduct=conduct)).run()
    patients, whole = ended.patients, cs.Trial(cs.Population("bb2121_clinical"), [450e6], 80).run().patients
    unseen = patients["end_day"] < 21 * MONTH
    assert unseen.sum() > 70
    assert ((patients["month_21"] == "NE") == unseen).all()
    assert (patients["month_21"][~unseen] == patients["true_21"][~unseen]).all()
    assert (patients["true_21"] == whole["month_21"]).all()
    assert ended.summary["NE_21"].item() == pytest.approx(100 * unseen.mean())
    # and so does residual disease, which is looked for at visits that take place
    assert not (patients["mrd_lowest"] < whole["mrd_lowest"]).any()  # NaN without any visit
    assert (patients["mrd_lowest"] > whole["mrd_lowest"]).any()


def test_rates_among_those_with_measurable_disease(result):
    arm = result.arm("450e6")
    those = arm[arm["measurable"]]
    row = result.summary.set_index("arm").loc["450e6"]
    assert row["measurable"] == len(those)
    assert row["ORR_measurable"] == pytest.approx(100 * (those["best"] >= "PR").mean())
