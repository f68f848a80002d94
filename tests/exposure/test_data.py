"""The table of an analysis, from whatever it comes, and outcomes by quartile of exposure."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

import cartsim as cs
from cartsim.exposure.data import exposure_data
from cartsim.exposure.quartiles import LIMITS, quartile_codes, quartile_table

CSV = """ID,AUC0-28,Cmax,Tmax_day,CR,Sex,M0,pfs_months,PFS_event
a,1000,100,10,0,male,8,3,1
b,2000,150,15,true,female,12,9,0
c,,200,0,1,,10,,
"""


@pytest.fixture(scope="module")
def trial() -> cs.TrialResult:
    population = cs.Population("bb2121_clinical", 1, {"burden": cs.uniform(5, 95)})
    return cs.Trial(population, [cs.Arm(150e6, 20), cs.Arm(450e6, 30)], independent=True).run(n_jobs=1)


def test_names_of_a_file_are_found_however_they_are_spelled(tmp_path):
    (tmp_path / "own.csv").write_text(CSV)
    data = exposure_data(tmp_path / "own.csv")
    assert [data.column(name) for name in ("AUC028", "crr", "SEX", "pfs_event")] == [
        "auc028",
        "CRR",
        "Sex",
        "pfs_event",
    ]
    assert data.frame["CRR"].tolist() == [0, 1, 1]
    np.testing.assert_array_equal(data.frame["expansion_rate"], [10, 10, np.nan])
    assert data.frame["mprotein_high"].tolist() == [0, 1, 0]
    assert data.frame["Sex"].tolist()[:2] == ["male", "female"] and pd.isna(data.frame["Sex"][2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("auc028,AUC0-28\n1,2\n", "both are auc028; give one"),
        ("auc028,ORR\nhigh,1\n", "auc028 is not a number.*row 1: 'high'"),
        ("auc028,ORR\n", "no patients"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, text, message):
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(cs.InputError, match=message):
        exposure_data(tmp_path / "own.csv")


def test_outcomes_are_0_or_1_and_columns_known():
    data = exposure_data({"auc028": [1.0, 2.0], "ORR": [0, 2], "sex": ["m", "f"]})
    with pytest.raises(cs.InputError, match=r"endpoint ORR holds 2.0; an outcome is 1 \(yes\) or 0"):
        data.binary("ORR")
    with pytest.raises(cs.InputError, match="no exposure 'auc02'; did you mean auc028"):
        data.column("auc02", "exposure")
    with pytest.raises(cs.InputError, match="sex holds text"):
        data.numbers("sex")
    with pytest.raises(cs.InputError, match="give a trial, its folder, a CSV file or a data frame"):
        exposure_data(3)


def test_a_trial_its_folder_and_its_table_of_patients_are_the_same(trial, tmp_path):
    trial.save(tmp_path)
    trial.patients.to_csv(tmp_path / "patients.csv", index=False)
    own, stored, table = (exposure_data(each).frame for each in (trial, tmp_path, tmp_path / "patients.csv"))
    pd.testing.assert_frame_equal(own, stored)
    shared = [name for name in own if name not in ("id", "arm")]
    pd.testing.assert_frame_equal(own[shared], table[shared], check_dtype=False)
    patients = trial.patients[trial.patients["AUC0-28"] != 0]
    assert own["ORR"].mean() == pytest.approx((patients["best"] >= "PR").mean())
    np.testing.assert_array_equal(own["expansion_rate"], patients["expansion_rate"])
    np.testing.assert_allclose(own["pfs_months"] * 30.4375, patients["pfs_day"])
    assert own.loc[own["ORR"] == 0, "dor_months"].isna().all()


@given(st.lists(st.integers(0, 12), min_size=8, max_size=60), st.integers(2, 5))
def test_quartiles_are_in_order_and_keep_ties_together(values, groups):
    values = [*values, *range(groups)]
    codes = quartile_codes(values, groups)
    order = np.argsort(values)
    assert (np.diff(codes[order]) >= 0).all() and codes.min() == 0 and len(set(codes)) == codes.max() + 1 <= groups
    assert all(len({code for code, value in zip(codes, values, strict=True) if value == each}) == 1 for each in values)


@pytest.mark.parametrize(("limits", "method"), [("wilson", "wilson"), ("wald", "normal"), ("exact", "beta")])
def test_rates_by_quartile_with_the_limits_of_statsmodels(limits, method):
    rng = np.random.default_rng(1)
    auc, y = np.exp(rng.normal(size=125)), (rng.random(125) < 0.3).astype(float)
    auc[3], y[7] = np.nan, np.nan
    table = quartile_table(auc, y, limits=limits)
    known = np.isfinite(auc) & np.isfinite(y)
    expected = pd.Series(y[known]).groupby(pd.qcut(auc[known], 4, labels=False)).agg(["size", "sum"])
    assert table["n"].tolist() == expected["size"].tolist() and table["events"].tolist() == expected["sum"].tolist()
    low, high = proportion_confint(table["events"], table["n"], method=method)
    np.testing.assert_allclose(table[["low", "high"]], 100 * np.column_stack([low, high]), atol=1e-9)
    assert set(LIMITS) == {"wilson", "wald", "exact"}


def test_quartiles_need_patients_who_differ():
    with pytest.raises(cs.InputError, match="3 different exposures; give at least 4"):
        quartile_table([1, 1, 2, 3], [0, 1, 0, 1])
    with pytest.raises(cs.InputError, match="limits are 'normal'"):
        quartile_table([1, 2, 3, 4], [0, 1, 0, 1], limits="normal")
