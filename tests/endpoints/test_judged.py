"""Times to events of judged patients: by hand, against lifelines, and a trial's own patients given back as data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter

import cartsim as cs
from cartsim.endpoints.times import ENDPOINTS
from cartsim.errors import InputError
from cartsim.schedule import MONTH

NAN = np.nan
ENDS = cs.Conduct(missed=0.1, dropout=0.02, death=0.03, new_therapy=0.02, followup=cs.Followup(14, 3, 24))


@pytest.fixture(scope="module", params=["fda", "ema"])
def trial(request) -> cs.TrialResult:
    protocol = cs.Protocol(conduct=ENDS, rules=cs.Rules(censoring=request.param))
    return cs.Trial(cs.Population("bb2121_clinical"), [150e6, 450e6], 60, protocol).run()


@pytest.fixture(scope="module")
def given_back(trial) -> cs.endpoints.respond.Responses:
    """The trial's measurements as a user would hand them in."""
    tables, patients = [], []
    for arm, seen in trial.visits.items():
        rows = trial.arm(arm)
        ids = [f"{arm} {i}" for i in seen.ids]
        tables.append(
            pd.DataFrame(
                {
                    "id": np.repeat(ids, len(seen.days)),
                    "time": np.tile(seen.days, len(ids)),
                    "value": seen.mprotein.ravel(),
                    "arm": arm,
                }
            )
        )
        days = {name: rows[name].to_numpy() for name in ("new_therapy_day", "death_day", "end_day")}
        patients.append(pd.DataFrame({"id": ids, "baseline": seen.baseline} | days))
    return cs.respond(
        pd.concat(tables), cs.IMWG2016(), censoring=trial.protocol.rules.censoring, patients=pd.concat(patients)
    )


def test_data_are_judged_as_the_trial_was(trial, given_back) -> None:
    shared = [name for name in given_back.patients if name not in ("id", "arm")]
    assert {"pfs_day", "os_day", "response_day", "best"} <= set(shared)
    ours, theirs = given_back.patients[shared], trial.patients[shared].reset_index(drop=True)
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    assert given_back.arms == trial.arms
    pd.testing.assert_frame_equal(given_back.estimates(), trial.estimates())
    pd.testing.assert_frame_equal(given_back.landmark(6, arm="450e6").frame(), trial.landmark(6, arm="450e6").frame())


def test_estimates_are_those_of_lifelines(trial) -> None:
    table = trial.estimates().set_index(["endpoint", "arm"])
    for endpoint in ENDPOINTS:
        found = trial.times(endpoint, arm="450e6")
        known = ~np.isnan(found.time)
        curve = KaplanMeierFitter().fit(found.time[known], found.event[known])
        row = table.loc[endpoint, "450e6"]
        assert (row["n"], row["events"]) == (known.sum(), found.event.sum())
        last = found.time[known].max()
        for month in (6, 12, 24):
            if month <= last:
                assert row[f"percent_{month}_months"] == pytest.approx(100 * curve.predict(month))
            else:
                assert np.isnan(row[f"percent_{month}_months"])


def test_times_by_hand() -> None:
    """Columns: confirmed response at 28 and 56, progression at 91 and 112; death at 70; neither; never a response."""
    visits = pd.DataFrame(
        [(who, day, value) for who, values in {
            "progressed": (40, 10, 3, 30, 35),
            "died": (40, 10, 3, NAN, NAN),
            "well": (40, 10, 3, 0.1, 0.1),
            "stable": (40, 38, 39, 38, 37),
        }.items() for day, value in zip((0, 28, 56, 91, 112), values, strict=True)],
        columns=["id", "time", "value"],
    )  # fmt: skip
    patients = pd.DataFrame({"id": ["progressed", "died", "well", "stable"], "death_day": [200, 70, NAN, NAN]})
    patients["end_day"] = [NAN, NAN, NAN, 300]
    found = cs.respond(visits, cs.IMWG2016(), patients=patients)

    def days(endpoint: str) -> list[tuple[float, bool, str]]:
        time, event, reason = found.times(endpoint, arm="all")
        return [(round(t * MONTH, 6), bool(e), str(r)) for t, e, r in zip(time, event, reason, strict=True)]

    assert days("PFS") == [
        (91, True, "progression"), (70, True, "death"), (112, False, "no event"), (112, False, "no event")
    ]  # fmt: skip
    assert days("OS") == [(200, True, "death"), (70, True, "death"), (112, False, "alive"), (300, False, "alive")]
    responded = [(63, True, "progression"), (42, True, "death"), (84, False, "no event")]
    assert days("DOR")[:3] == responded
    assert np.isnan(days("DOR")[3][0])
    assert days("TTR") == [(28, True, "response")] * 3 + [(112, False, "no event")]
    # "progressed" and "died" have VGPR once: PR is what two assessments confirm; "well" reaches CR on day 91
    assert days("TTBR") == [(28, True, "response")] * 2 + [(91, True, "response"), (112, False, "no event")]
    row = found.estimates().set_index("endpoint").loc["TTBR"]
    ends = [row[f"responders_{what}_months"] * MONTH for what in ("median", "shortest", "longest")]
    assert ends == pytest.approx([28, 28, 91])
    progression = found.incidence()
    assert progression.events == {"progression": 1, "death": 1}
    assert found.incidence("response").events == {"response": 3, "progression": 0, "death": 0}
    assert found.summary.loc[0, ["n", "ORR", "CR"]].tolist() == [4, 75, 25]


def test_what_a_landmark_knows_was_confirmed_by_then() -> None:
    """A response seen on day 28 and confirmed on day 56 is not known at month 1.5."""
    rows = [(who, day, 3.0 if day else 40.0) for who in "ab" for day in (0, 28, 56, 91, 112)]
    found = cs.respond(pd.DataFrame(rows, columns=["id", "time", "value"]), cs.IMWG2016())
    assert list(found.landmark(1.5).curves) == ["below PR"]
    assert list(found.landmark(2.0).curves) == ["VGPR"]
    with pytest.raises(InputError, match="no landmark analysis by 'MRD' of responses"):
        found.landmark(2.0, by="MRD")


def test_residual_disease_at_a_landmark_is_that_before_a_new_therapy() -> None:
    """Under EMA the treated stay in the analysis; that nobody looks any more does not make them not negative."""
    protocol = cs.Protocol(conduct=cs.Conduct(new_therapy=0.1), rules=cs.Rules(censoring="ema"))
    trial = cs.Trial(cs.Population("bb2121_clinical", seed=1), [450e6], 150, protocol).run()
    early, late = (trial.known_by(month, "MRD", "450e6", 1e-5).codes for month in (12, 24))
    treated = (trial.patients["new_therapy_day"] < 12 * MONTH).to_numpy()
    np.testing.assert_array_equal(early[treated], late[treated])
    disease, rows = trial.residual(), np.arange(len(treated))
    looked = disease.assessed & (disease.days <= 12 * MONTH)
    latest = np.where(looked, np.arange(len(disease.days)), -1).max(axis=1)
    good = (disease.negative & disease.complete)[rows, latest]
    certain = treated & (latest >= 0) & (trial.patients["cr_day"].isna() | good).to_numpy()
    np.testing.assert_array_equal(early[certain] == 1, good[certain])
    assert (early[treated] == 1).sum() >= 3
    assert (early[treated] == -1).any()  # treated before anybody looked: of no group
    curves = trial.landmark(12, by="MRD").curves
    assert sum(curve.n for curve in curves.values()) == ((early >= 0) & (trial.times(arm="450e6").time > 12)).sum()


def test_arms_of_the_same_patients_are_paired(trial, given_back) -> None:
    same, apart = trial.compare(), given_back.compare()
    assert same["rmst_paired"].all()
    assert not apart["rmst_paired"].any()
    shared = ["hazard_ratio", "logrank_p", "rmst_difference_months"]
    pd.testing.assert_frame_equal(same[shared], apart[shared])
    width = same["rmst_high_months"] - same["rmst_low_months"]
    assert (width < 0.5 * (apart["rmst_high_months"] - apart["rmst_low_months"])).all()
    with pytest.raises(InputError, match="no arm '500e6' here; did you mean"):
        trial.compare(reference="500e6")


def test_residual_disease_of_a_trial(trial) -> None:
    found = trial.residual("450e6")
    seen, rows = trial.visits["450e6"], trial.arm("450e6")
    after = seen.days > rows["new_therapy_day"].to_numpy()[:, None]
    assert (after & np.isfinite(seen.mprotein)).any()
    np.testing.assert_array_equal(found.assessed, np.isfinite(seen.mprotein) & ~after)
    table = seen.frame().dropna(subset=["mprotein", "mrd"]).merge(rows[["id", "new_therapy_day"]], on="id")
    looked = table[~(table["time"] > table["new_therapy_day"])].groupby("id")["mrd"].min().reindex(seen.ids)
    np.testing.assert_array_equal(looked, rows["mrd_lowest"])
    strict, lax = (trial.residual("450e6", limit=limit).by_visit()["negative"] for limit in (1e-6, 1e-3))
    assert (strict <= found.by_visit()["negative"]).all()
    assert (lax > found.by_visit()["negative"]).any()
    groups = trial.landmark(6, arm="450e6", by="MRD").curves
    assert sum(curve.n for curve in groups.values()) <= (trial.times(arm="450e6").time > 6).sum()


def test_arms_in_data() -> None:
    rows = pd.DataFrame({"id": [1, 1, 2, 2], "time": [0, 28, 0, 28], "value": [40.0, 3.0, 30.0, 2.0]})
    assert cs.respond(rows.assign(arm=["b", "b", "a", "a"]), cs.IMWG2016()).arms == ["b", "a"]
    with pytest.raises(InputError, match=r"row 2 .*arm 'c' is not the arm of the patient's other rows"):
        cs.respond(rows.assign(arm=["b", "c", "a", "a"]), cs.IMWG2016())
    with pytest.raises(InputError, match="id 2 has no arm"):
        cs.respond(rows.assign(arm=["b", "b", "", ""]), cs.IMWG2016())
    listed = pd.DataFrame({"id": [1, 2, 3], "arm": ["x", "y", "y"]})
    found = cs.respond(rows, cs.IMWG2016(), patients=listed)
    assert found.summary["n"].tolist() == [1, 2]
    assert found.warnings == ("1 of 3 patients are not evaluable (NE)",)
    with pytest.raises(InputError, match=r"patients row 2 .*arm"):
        cs.respond(rows, cs.IMWG2016(), patients=listed.assign(arm=["x", None, "y"]))
    with pytest.raises(InputError, match="which arm"):
        found.survival()
    with pytest.raises(InputError, match="DOR in arm y: nobody to analyse"):
        found.survival("DOR", arm="y")


def test_saved(tmp_path, given_back) -> None:
    names = {path.name for path in given_back.save(tmp_path)}
    assert names == {"responses.csv", "responses.json", "survival.csv", "comparisons.csv"}
    columns = pd.read_csv(tmp_path / "survival.csv").columns
    assert {"median_months", "percent_12_months", "responders_median_months"} <= set(columns)
    assert len(repr(given_back)) < 1500
