"""Judging: hand-made histories, an exact slow reference, a published confirmation table, invariances."""

from __future__ import annotations

import csv
from dataclasses import fields, replace
from fractions import Fraction
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartsim.endpoints import response
from cartsim.endpoints.respond import respond
from cartsim.endpoints.response import Judgement, judge, judge_each, landmark
from cartsim.endpoints.rules import IMWG2016, Response, SinghLandmark, label, labels, rules_from
from cartsim.errors import InputError

NAN = float("nan")
EVENTS = {"therapy": "new_therapy_day", "death": "death_day", "end": "end_day"}
with (Path(__file__).parents[1] / "histories.csv").open(newline="") as file:
    HISTORIES = list(csv.DictReader(file))


def number(text: str) -> float:
    return float(text) if text not in ("", "-") else NAN


def judged(row: dict[str, str]) -> Judgement:
    visits = [visit.split(":") for visit in row["history"].split()]
    given_settings = dict(item.split("=") for item in row["settings"].split())
    events = {argument: float(given_settings.pop(name)) for name, argument in EVENTS.items() if name in given_settings}
    rules = rules_from("imwg2016", given_settings)
    return judge(
        [[number(v) for _, v in visits]],
        [float(d) for d, _ in visits],
        number(row["baseline"]),
        rules,
        **events,
    )


def test_there_are_enough_histories() -> None:
    assert len(HISTORIES) >= 40
    assert len({row["name"] for row in HISTORIES}) == len(HISTORIES)
    assert all(row["reason"] and None not in row for row in HISTORIES)


@pytest.mark.parametrize("row", HISTORIES, ids=[row["name"] for row in HISTORIES])
def test_history(row: dict[str, str]) -> None:
    found = judged(row)
    assert " ".join(labels(found.assessed[0])) == row["assessed"]
    assert " ".join(labels(found.confirmed[0])) == row["confirmed"]
    assert labels(found.best)[0] == row["best"]
    days = {
        "best_day": found.best_day,
        "response": found.response_day,
        "cr": found.cr_day,
        "progression": found.progression_day,
        "relapse": found.relapse_day,
    }
    for column, day in days.items():
        np.testing.assert_equal(day[0], number(row[column]), err_msg=column)


def test_depth_nadir_and_counts() -> None:
    found = judge(
        [[6, NAN, 3, 11, 12, 1, NAN], [50, 60, 1, 1, 1, 1, 1], [NAN] * 7],
        [30, 60, 90, 120, 150, 180, 210],
        [40, 8, 10],
        IMWG2016(),
    )
    assert found.nadir.tolist() == [6, 8, 10]  # lowest confirmed value up to progression
    np.testing.assert_equal(found.lowest, [3, 50, NAN])
    np.testing.assert_equal(found.lowest_day, [90, 30, NAN])
    np.testing.assert_allclose(found.change, [-92.5, 525, NAN])
    assert found.measurable.tolist() == [True, False, True]  # exactly 10 g/L is measurable
    assert found.visits.tolist() == [5, 7, 0]
    assert found.missed.tolist() == [2, 0, 7]
    np.testing.assert_equal(found.first_missed_day, [60, NAN, 30])
    np.testing.assert_equal(found.last_day, [180, 210, NAN])


# ---- the confirmation table of a public implementation

# What two successive assessments confirm at the first of them, after the table of the IMWG article of the R
# package admiralonco (pharmaverse); "" is no further assessment. The best confirmed so far is kept until PD.
TABLE = {
    ("CR", "CR"): "CR",
    ("CR", "VGPR"): "VGPR",
    ("CR", "PR"): "PR",
    ("CR", "MR"): "MR",
    ("VGPR", "CR"): "VGPR",
    ("VGPR", "VGPR"): "VGPR",
    ("VGPR", "PR"): "PR",
    ("VGPR", "MR"): "MR",
    ("PR", "CR"): "PR",
    ("PR", "VGPR"): "PR",
    ("PR", "PR"): "PR",
    ("PR", "MR"): "MR",
    ("MR", "CR"): "MR",
    ("MR", "VGPR"): "MR",
    ("MR", "PR"): "MR",
    ("MR", "MR"): "MR",
    **{(first, second): "SD" for first in ("CR", "VGPR", "PR", "MR") for second in ("SD", "PD", "")},
    **{("SD", second): "SD" for second in ("CR", "VGPR", "PR", "MR", "SD", "PD", "")},
    ("PD", "PD"): "PD",
    **{("PD", second): "NE" for second in ("CR", "VGPR", "PR", "MR", "SD", "")},
}
# With a baseline of 4.9 g/L each value is of one category whatever came before: only 15 is PD from any nadir.
VALUE = {"CR": 0.1, "VGPR": 0.4, "PR": 2.0, "MR": 3.3, "SD": 4.5, "PD": 15.0, "": NAN}


def test_published_confirmation_table_on_all_sequences() -> None:
    sequences = list(product(VALUE, repeat=4))
    values = [[VALUE[name] for name in sequence] for sequence in sequences]
    found = judge(values, [30, 60, 90, 120], 4.9, IMWG2016())
    for sequence, codes in zip(sequences, labels(found.confirmed), strict=True):
        visits = [visit for visit, name in enumerate(sequence) if name]
        names = [sequence[visit] for visit in visits]
        kept = "NE"
        for visit, first, second in zip(visits, names, [*names, ""][1:], strict=True):
            if kept != "PD":
                here = TABLE[first, second]
                kept = here if here == "PD" else max(kept, here, key=lambda name: Response[name])
            assert codes[visit] == kept, sequence


def test_published_table_death_after_pd() -> None:
    found = judge([[15.0]], [30], 4.9, IMWG2016(pd_confirmed_by_death=True), death_day=50)
    assert found.progression_day[0] == 30


# ---- an exact reference, one patient at a time


def reference(values, days, m0, rules, therapy, death, end) -> dict[str, object]:
    """One patient in exact fractions, as a reader of the criteria would go through the chart."""
    stop = min([d for d in (therapy, death, end) if d is not None], default=None)
    scheduled = [i for i, day in enumerate(days) if day > 0 and (stop is None or day <= stop)]
    chart = [(i, values[i]) for i in scheduled if values[i] is not None and m0 is not None]
    fraction = {f.name: getattr(rules, f.name) for f in fields(rules)}
    r = {k: v if isinstance(v, bool) else Fraction(str(v)) for k, v in fraction.items()}

    def nadir_before(position: int):
        seen = [m0] + [m for _, m in chart[:position]]
        if not r["nadir_confirmed"]:
            return min(seen)
        return min([m0] + [max(a, b) for a, b in pairwise(seen)])

    def category(position: int) -> str:
        m, low = chart[position][1], nadir_before(position)
        if m - low >= r["pd_absolute"] and m - low >= r["pd_rise"] * low:
            return "PD"
        if low >= r["high_nadir"] and m - low >= r["high_nadir_rise"]:
            return "PD"
        if m <= r["ife_limit"]:
            return "CR"
        fall = (m0 - m) / m0
        if fall >= r["vgpr_fall"] or m < r["spep_limit"]:
            return "VGPR"
        if fall >= r["pr_fall"]:
            return "PR"
        return "MR" if fall >= r["mr_fall"] else "SD"

    categories = [category(p) for p in range(len(chart))]
    ends_in_pd = False
    if death is not None and r["pd_confirmed_by_death"]:
        ends_in_pd = all(x is None or x >= death for x in (therapy, end))
    if therapy is not None and r["pd_confirmed_by_therapy"]:
        ends_in_pd |= (death is None or death > therapy) and (end is None or end >= therapy)

    events = []  # (position, category) as they become established
    progression = None
    for p, first in enumerate(categories):
        then = categories[p + 1] if p + 1 < len(chart) else None
        if first == "PD":
            if not r["confirm"] or then == "PD" or (then is None and ends_in_pd):
                progression = p
                break
        elif not r["confirm"]:
            events.append((p, first))
        elif then is None or then == "PD":
            events.append((p, "SD"))
        else:
            events.append((p, min(first, then, key=lambda c: Response[c])))

    def day_of(position):
        return NAN if position is None else days[chart[position][0]]

    def first_at_least(name):
        return next((p for p, c in events if Response[c] >= Response[name]), None)

    best = max((Response[c] for _, c in events), default=Response.NE)
    best_position = first_at_least(best.name) if events else progression
    if not events and progression is not None:
        best = Response.PD
    cr = first_at_least("CR")
    relapse = None
    for p in range(len(chart)):
        again = not r["confirm"] or (p + 1 < len(chart) and chart[p + 1][1] > r["ife_limit"])
        if cr is not None and p > cr and relapse is None and chart[p][1] > r["ife_limit"] and again:
            relapse = p

    assessed = ["NE"] * len(days)
    for (i, _), c in zip(chart, categories, strict=True):
        assessed[i] = c
    confirmed = []
    for i in range(len(days)):
        so_far = [Response[c] for p, c in events if chart[p][0] <= i]
        if progression is not None and i >= chart[progression][0]:
            confirmed.append("PD")
        elif not chart or i > chart[-1][0] or not so_far:
            confirmed.append("NE")
        else:
            confirmed.append(max(so_far).name)
    until = chart if progression is None else chart[: progression + 1]
    low = min((m for _, m in until), default=None)
    missed = [i for i in scheduled if i not in dict(chart)]
    return {
        "assessed": assessed,
        "confirmed": confirmed,
        "best": best.name,
        "best_day": day_of(best_position),
        "response_day": day_of(first_at_least("PR")),
        "cr_day": day_of(cr),
        "progression_day": day_of(progression),
        "relapse_day": day_of(relapse),
        "nadir": NAN if m0 is None else nadir_before(len(chart) if progression is None else progression),
        "lowest": NAN if low is None else low,
        "lowest_day": next((days[i] for i, m in until if m == low), NAN),
        "visits": len(chart),
        "missed": len(missed),
        "first_missed_day": days[missed[0]] if missed else NAN,
        "last_day": day_of(len(chart) - 1) if chart else NAN,
    }


def tenths(low: int, high: int) -> st.SearchStrategy[Fraction]:
    return st.integers(low, high).map(lambda k: Fraction(k, 10))


SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "ife_limit": st.sampled_from([0.1, 0.3, 0.0]),
        "spep_limit": st.sampled_from([0.5, 2.0]),
        "pd_absolute": st.sampled_from([1.0, 2.5]),
        "pd_rise": st.sampled_from([0.1, 0.5]),
        "high_nadir": st.sampled_from([8.0, 20.0]),
        "confirm": st.booleans(),
        "nadir_confirmed": st.booleans(),
        "pd_confirmed_by_death": st.booleans(),
        "pd_confirmed_by_therapy": st.booleans(),
    },
)


@st.composite
def trials(draw):
    """A few patients on one schedule, with values on and around the cut-offs of their baselines."""
    days = sorted(draw(st.sets(st.integers(-10, 300), min_size=1, max_size=9)))
    event = st.none() | st.integers(1, 310)
    patients = []
    for _ in range(draw(st.integers(1, 6))):
        m0 = draw(
            st.none() | st.sampled_from([5, 10, 20, 36, 40, 100, 160, 300, 500, 900]).map(lambda k: Fraction(k, 10))
        )
        scale = Fraction(10) if m0 is None else m0
        near = st.sampled_from(["0", "0.01", "0.02", "0.1", "0.25", "0.5", "0.75", "1", "1.25", "1.3", "1.5"])
        value = (
            st.none()
            | tenths(0, 12)
            | tenths(0, 120)
            | near.map(lambda f, scale=scale: Fraction(f) * scale)
            | tenths(-60, 110).map(lambda rise, scale=scale: max(Fraction(0), scale + rise))
        )
        patients.append(
            (
                m0,
                draw(st.lists(value, min_size=len(days), max_size=len(days))),
                [draw(event) for _ in range(3)] if draw(st.booleans()) else [None] * 3,
            )
        )
    return days, patients, IMWG2016(**draw(SETTINGS))


def floats(values) -> list[float]:
    return [NAN if v is None else float(v) for v in values]


def judge_trial(days, patients, rules: IMWG2016) -> Judgement:
    therapy, death, end = (floats(p[2][k] for p in patients) for k in range(3))
    return judge(
        [floats(values) for _, values, _ in patients],
        days,
        floats(m0 for m0, _, _ in patients),
        rules,
        new_therapy_day=therapy,
        death_day=death,
        end_day=end,
    )


@settings(max_examples=600, deadline=None)
@given(trials())
def test_agrees_with_exact_reference(trial) -> None:
    days, patients, rules = trial
    found = judge_trial(days, patients, rules)
    for i, (m0, values, (therapy, death, end)) in enumerate(patients):
        expected = reference(values, days, m0, rules, therapy, death, end)
        for name, value in expected.items():
            got = getattr(found, name)[i]
            if name in ("assessed", "confirmed", "best"):
                assert labels(got).tolist() == value, (name, i)
            else:
                np.testing.assert_equal(float(got), float(value), err_msg=f"{name} of patient {i}")


def assert_same(one: Judgement, other: Judgement, names: list[str] | None = None) -> None:
    for field in fields(Judgement):
        if names is None or field.name in names:
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), field.name)


CALLS = [
    "assessed",
    "confirmed",
    "best",
    "best_day",
    "response_day",
    "cr_day",
    "progression_day",
    "relapse_day",
]


@settings(max_examples=200, deadline=None)
@given(trials(), st.sampled_from([0.001, 0.1, 1 / 3, 3.0, 7.7, 1000.0]))
def test_unit_of_concentration_does_not_matter(trial, factor: float) -> None:
    days, patients, rules = trial
    limits = ["ife_limit", "spep_limit", "pd_absolute", "high_nadir", "high_nadir_rise", "measurable"]
    scaled_rules = replace(rules, **{name: getattr(rules, name) * factor for name in limits})
    scaled = [
        (
            None if m0 is None else float(m0) * factor,
            [None if v is None else float(v) * factor for v in values],
            e,
        )
        for m0, values, e in patients
    ]
    assert_same(judge_trial(days, patients, rules), judge_trial(days, scaled, scaled_rules), [*CALLS, "measurable"])


@settings(max_examples=100, deadline=None)
@given(trials())
def test_missed_visits_change_nothing_but_their_count(trial) -> None:
    days, patients, rules = trial
    plain = judge_trial(days, patients, rules)
    more_days = [d for day in days for d in (day - 0.5, day)]
    more = [(m0, [v for value in values for v in (None, value)], e) for m0, values, e in patients]
    padded = judge_trial(more_days, more, rules)
    days_and_depth = [*CALLS[2:], "nadir", "lowest", "lowest_day", "visits", "last_day"]
    assert_same(plain, padded, days_and_depth)
    np.testing.assert_array_equal(padded.assessed[:, 1::2], plain.assessed)
    np.testing.assert_array_equal(padded.confirmed[:, 1::2], plain.confirmed)


@settings(max_examples=100, deadline=None)
@given(trials(), st.integers(1, 4))
def test_blocks_and_own_schedules_change_nothing(trial, size: int) -> None:
    days, patients, rules = trial
    whole = judge_trial(days, patients, rules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(response, "_BLOCK", size)
        assert_same(whole, judge_trial(days, patients, rules))
        own = judge_trial(np.tile(days, (len(patients), 1)), patients, rules)
    assert_same(whole, own, [f.name for f in fields(Judgement) if f.name != "days"])


def test_later_visits_do_not_undo_progression() -> None:
    rng = np.random.default_rng(4)
    values = rng.lognormal(1.5, 1.2, (500, 20))
    whole = judge(values, np.arange(1, 21) * 28, 20, IMWG2016())
    part = judge(values[:, :12], np.arange(1, 13) * 28, 20, IMWG2016())
    early = np.isfinite(part.progression_day)
    assert 0 < early.sum() < 500
    for name in ("progression_day", "response_day", "cr_day", "best"):
        np.testing.assert_array_equal(getattr(whole, name)[early], getattr(part, name)[early])
    assert (whole.best >= part.best)[~early & (part.best > Response.PD)].all()


def test_no_patients_and_no_visits() -> None:
    assert judge(np.empty((0, 3)), [1, 2, 3], [], IMWG2016()).confirmed.shape == (0, 3)
    none = judge(np.empty((2, 0)), [], [10, 20], IMWG2016())
    assert labels(none.best).tolist() == ["NE", "NE"]
    assert none.confirmed.shape == (2, 0)


@pytest.mark.parametrize(
    ("values", "days", "baseline", "message"),
    [
        ([[1, -1]], [30, 60], 10, r"mprotein\[0, 1\] is -1.0"),
        ([[1, 2], [np.inf, 1]], [30, 60], 10, r"mprotein\[1, 0\] is inf"),
        ([["a", "b"]], [30, 60], 10, "mprotein holds .* numbers only"),
        ([1, 2], [30, 60], 10, r"\(patients, visits\)"),
        ([[1, 2]], [60, 30], 10, r"days\[1\] does not come after"),
        ([[1, 2]], [30, 30], 10, r"days\[1\] does not come after"),
        ([[1, 2], [1, 2]], [[30, 60], [60, 30]], 10, r"days\[1, 1\] does not come after"),
        ([[1, 2]], [[NAN, 30]], 10, r"days\[0, 1\] does not come after"),
        ([[1, 2]], [30, NAN], 10, "finite"),
        ([[1, 2]], [30, 60, 90], 10, r"days has shape \(3,\)"),
        ([[1, 2], [1, 2]], [30, 60], [10, 0], r"baseline\[1\] is 0"),
        ([[1, 2], [1, 2]], [30, 60], [-3, 10], r"baseline\[0\] is -3"),
        ([[1, 2]], [30, 60], [10, 10], "one for each of 1 patients"),
    ],
)
def test_bad_arrays(values, days, baseline, message: str) -> None:
    with pytest.raises(InputError, match=message):
        judge(values, days, baseline, IMWG2016())


def test_landmark_rules_do_not_judge() -> None:
    with pytest.raises(InputError, match="needs imwg2016 rules"):
        judge([[1, 2]], [30, 60], 10, rules_from("singh_landmark"))


def test_bad_value_is_named_by_its_row_in_a_later_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response, "_BLOCK", 2)
    with pytest.raises(InputError, match=r"mprotein\[3, 0\] is -2"):
        judge([[1], [1], [1], [-2]], [30], 10, IMWG2016())


# ---- the landmark snapshot


def test_landmark_bins() -> None:
    change = [25.01, 25, 0, -24.9, -25, -49.9, -50, -89.9, -90, -99, -99.01, -100, NAN]
    names = ["PD", "SD", "SD", "SD", "MR", "MR", "PR", "PR", "VGPR", "VGPR", "CR", "CR", "NE"]
    codes = landmark(change, SinghLandmark())
    assert labels(codes).tolist() == names


def test_landmark_boundaries_survive_binary_rounding() -> None:
    for m0 in (0.1, 0.7, 1.1, 3.3, 10.0, 33.3, 47.11):
        shares = np.array([1.25, 0.75, 0.5, 0.1, 0.01])
        codes = landmark(100 * (m0 * shares / m0 - 1), SinghLandmark())
        assert labels(codes).tolist() == ["SD", "MR", "PR", "VGPR", "VGPR"]


def test_landmark_cut_offs() -> None:
    change = np.array([-94.0, -95.5, -99.5])
    assert labels(landmark(change, SinghLandmark(cr=-95))).tolist() == ["VGPR", "CR", "CR"]
    by_limit = SinghLandmark(cr_limit=0.2)
    assert labels(landmark(change, by_limit, baseline=[3, 5, 50])).tolist() == ["CR", "VGPR", "VGPR"]
    with pytest.raises(InputError, match="give the baseline"):
        landmark(change, by_limit)
    for bad in (-100.1, np.inf):
        with pytest.raises(InputError, match="change"):
            landmark([0, bad], SinghLandmark())


# ---- rules by name, sweeps, tidy tables


def test_rules_from_text() -> None:
    rules = rules_from("imwg2016", {"ife_limit": "0.1", "confirm": "false", "pd_absolute": 4})
    assert rules == IMWG2016(ife_limit=0.1, confirm=False, pd_absolute=4)
    assert rules_from("singh_landmark", {"cr_limit": "0.2"}) == SinghLandmark(cr_limit=0.2)
    assert rules_from("singh_landmark", {"cr_limit": "none"}) == SinghLandmark()
    assert rules_from("imwg2016") == IMWG2016()
    assert label(rules) == "imwg2016 ife_limit=0.1 pd_absolute=4 confirm=False"


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("imwg2015", {}, "choose from imwg2016, singh_landmark"),
        ("imwg2016", {"ife": "0.1"}, "no setting 'ife'.*ife_limit"),
        ("imwg2016", {"ife_limit": "low"}, "ife_limit is 'low'; write a number"),
        ("imwg2016", {"ife_limit": "none"}, "ife_limit is 'none'; write a number"),
        ("imwg2016", {"ife_limit": "nan"}, "finite"),
        ("imwg2016", {"ife_limit": True}, "finite number"),
        ("imwg2016", {"ife_limit": "-0.1"}, "0 or more"),
        ("imwg2016", {"confirm": "maybe"}, "true or false"),
        ("imwg2016", {"confirm": 1}, "True or False"),
        ("imwg2016", {"pr_fall": "50"}, "fractions"),
        ("imwg2016", {"mr_fall": "0.6"}, "mr_fall < pr_fall"),
        ("imwg2016", {"pd_rise": 0, "pd_absolute": 0}, "needs a rise"),
        ("singh_landmark", {"cr": "-80"}, "must fall"),
        ("singh_landmark", {"cr_limit": "-1"}, "0 or more"),
    ],
)
def test_bad_rules(name: str, values: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rules_from(name, values)


def test_sweep_judges_the_same_patients_under_each() -> None:
    values = np.array([[0.15, 0.15, 9], [3, 3, 3.1]])
    days, baseline = [30, 60, 90], [40, 40]
    rules = [IMWG2016(), IMWG2016(ife_limit=0.1)]
    table = judge_each(values, days, baseline, rules, ids=["a", "b"])
    assert table["rules"].tolist() == ["imwg2016"] * 2 + ["imwg2016 ife_limit=0.1"] * 2
    assert table["id"].tolist() == ["a", "b", "a", "b"]
    assert table["best"].tolist() == ["CR", "VGPR", "VGPR", "VGPR"]
    one = judge_each(values, days, baseline, {"strict": rules[1]}, ids=["a", "b"])
    pd.testing.assert_frame_equal(
        one.drop(columns="rules"), table.iloc[2:].drop(columns="rules").reset_index(drop=True)
    )
    for bad in ([], [IMWG2016(), IMWG2016()]):
        with pytest.raises(InputError, match="each different"):
            judge_each(values, days, baseline, bad)


def test_tables() -> None:
    found = judge([[0.1, NAN, 0.1], [50, 50, NAN]], [30, 60, 90], 40, IMWG2016())
    patients = found.patient_table(["x", "y"])
    assert patients["id"].tolist() == ["x", "y"]
    assert patients["best"].tolist() == ["CR", "PD"]
    assert (patients["best"] >= "PR").tolist() == [True, False]
    visits = found.visit_table()
    assert visits["id"].tolist() == [0, 0, 0, 1, 1, 1]
    assert visits["confirmed"].tolist() == ["CR", "CR", "CR", "PD", "PD", "PD"]
    assert visits["evaluable"].tolist() == [True, False, True, True, True, False]


def test_respond_equals_judging_the_arrays() -> None:
    frame = pd.DataFrame(
        {
            "id": ["b", "b", "a", "b", "a", "a"],
            "time": [-3, 0, 0, 30, 28, 56],
            "value": [99.0, 40.0, 20.0, 10.0, 0.1, 0.1],
        }
    )
    table = respond(frame, IMWG2016()).frame.set_index("id")
    assert table["best"].to_dict() == {"b": "SD", "a": "CR"}
    assert table.loc["a", "cr_day"] == 28
    patients = pd.DataFrame({"id": ["a", "b", "c"], "new_therapy_day": [30, NAN, NAN]})
    table = respond(frame, IMWG2016(), patients=patients).frame.set_index("id")
    assert table["best"].to_dict() == {"a": "SD", "b": "SD", "c": "NE"}


def test_the_lower_value_of_a_confirming_pair_may_be_the_nadir() -> None:
    days = [30, 60, 90, 120, 150]
    values = [[5.0, 9.0, 12.0, 12.0, 12.0], [5.0, 38.0, 12.0, 12.0, 12.0]]  # 5 confirmed by a response, and not
    nadirs = {lower: judge(values, days, 40.0, IMWG2016(nadir_lower=lower)).nadir.tolist() for lower in (False, True)}
    assert nadirs == {False: [9.0, 12.0], True: [5.0, 12.0]}
    progressed = judge(values, days, 40.0, IMWG2016(nadir_lower=True)).progression_day
    assert progressed[0] == 90  # 12 is 5 g/L and 25 % above 5, not above 9
    assert np.isnan(judge(values, days, 40.0, IMWG2016()).progression_day[0])
