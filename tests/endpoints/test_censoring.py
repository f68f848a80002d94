"""When an event counts: every row of the censoring rules by a hand-made history."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cartsim.endpoints.censoring import (
    TimeToEvent,
    duration_of_response,
    overall_survival,
    progression_free_survival,
    progression_intervals,
    time_to_response,
)
from cartsim.endpoints.survival import kaplan_meier
from cartsim.errors import InputError

NAN = float("nan")

DAYS = [0, 28, 60, 90, 120, 150, 180]  # baseline and six scheduled assessments

# why; visits seen (1) and missed (0); progression, death, new therapy, end of follow-up; fda; ema
# fmt: off
HISTORIES = [
    ("progression, nothing missed", "1111000", 90, NAN, NAN, NAN, (90, 1, "progression"), None),
    ("death between visits", "1111000", NAN, 100, NAN, NAN, (100, 1, "death"), None),
    ("progression and death on one day", "1111000", 90, 90, NAN, NAN, (90, 1, "progression"), None),
    ("progression before death", "1111000", 90, 300, NAN, NAN, (90, 1, "progression"), None),
    ("no event: last assessment", "1111110", NAN, NAN, NAN, NAN, (150, 0, "no event"), None),
    ("no event: assessments after follow-up do not count",
     "1111111", NAN, NAN, NAN, 130, (120, 0, "no event"), None),
    ("progression after follow-up is not seen", "1111111", 150, NAN, NAN, 130, (120, 0, "no event"), None),
    ("progression on the last day of follow-up",
     "1111100", 120, NAN, NAN, 120, (120, 1, "progression"), None),
    ("death after dropout is not seen", "1110000", NAN, 200, NAN, 70, (60, 0, "no event"), None),
    ("no baseline: progression cannot be judged", "0111100", 90, NAN, NAN, NAN, (0, 0, "no baseline"), None),
    ("no baseline, death before two visits",
     "0100000", NAN, 50, NAN, NAN, (0, 0, "no baseline"), (50, 1, "death")),
    ("no baseline, late death", "0111111", NAN, 170, NAN, NAN, (0, 0, "no baseline"), (170, 1, "death")),
    ("no later assessment", "1000000", NAN, NAN, NAN, NAN, (0, 0, "no later assessment"), None),
    ("death before the first assessment", "1000000", NAN, 20, NAN, NAN, (20, 1, "death"), None),
    ("death after one missed visit", "1000000", NAN, 40, NAN, NAN, (40, 1, "death"), None),
    ("death after two missed visits",
     "1000000", NAN, 61, NAN, NAN, (0, 0, "missed visits"), (61, 1, "death")),
    ("death on the day of the second visit", "1000000", NAN, 60, NAN, NAN, (60, 1, "death"), None),
    ("progression after one missed visit", "1101000", 90, NAN, NAN, NAN, (90, 1, "progression"), None),
    ("progression after two missed visits",
     "1100100", 120, NAN, NAN, NAN, (28, 0, "missed visits"), (120, 1, "progression")),
    ("death after three missed", "1110000", NAN, 170, NAN, NAN, (60, 0, "missed visits"), (170, 1, "death")),
    ("two missed, but not in a row", "1101011", 180, NAN, NAN, NAN, (180, 1, "progression"), None),
    ("a gap closed by an assessment", "1100110", 150, NAN, NAN, NAN, (150, 1, "progression"), None),
    ("a gap closed by an assessment on the day of death",
     "1100100", NAN, 120, NAN, NAN, (120, 1, "death"), None),
    ("two missed, progression found on the day of death",
     "1100100", 120, 120, NAN, NAN, (28, 0, "missed visits"), (120, 1, "progression")),
    ("first assessment shows progression after two missed",
     "1001000", 90, NAN, NAN, NAN, (0, 0, "missed visits"), (90, 1, "progression")),
    ("new therapy first", "1111100", 120, NAN, 100, NAN, (90, 0, "new therapy"), (120, 1, "progression")),
    ("new therapy on the day of progression", "1111100", 120, NAN, 120, NAN, (120, 1, "progression"), None),
    ("new therapy after progression", "1111100", 120, NAN, 121, NAN, (120, 1, "progression"), None),
    ("assessment on the day of the new therapy",
     "1111110", NAN, NAN, 120, NAN, (120, 0, "new therapy"), (150, 0, "no event")),
    ("new therapy without event", "1111110", NAN, NAN, 65, NAN, (60, 0, "new therapy"), (150, 0, "no event")),
    ("new therapy, then death", "1111000", NAN, 140, 95, NAN, (90, 0, "new therapy"), (140, 1, "death")),
    ("new therapy before any assessment",
     "1011000", 90, NAN, 20, NAN, (0, 0, "new therapy"), (90, 1, "progression")),
    ("new therapy after follow-up is not seen", "1111000", NAN, NAN, 100, 95, (90, 0, "no event"), None),
    ("gap, then new therapy", "1110001", 180, NAN, 170, NAN, (60, 0, "new therapy"), (180, 1, "progression")),
]
# fmt: on


def _arrays(rows: list) -> dict[str, np.ndarray]:
    names = ("progression_day", "death_day", "new_therapy_day", "followup_day")
    columns = {name: np.array([row[2 + i] for row in rows], dtype=float) for i, name in enumerate(names)}
    return {"evaluable": np.array([[c == "1" for c in row[1]] for row in rows])} | columns


@pytest.mark.parametrize("rule", ["fda", "ema"])
@pytest.mark.parametrize("row", HISTORIES, ids=[row[0] for row in HISTORIES])
def test_each_row_of_the_rule_table(row: tuple, rule: str) -> None:
    expected = row[6] if rule == "fda" or row[7] is None else row[7]
    time, event, reason = progression_free_survival(DAYS, **_arrays([row]), rule=rule)
    assert (time[0], int(event[0]), reason[0]) == expected


def test_settings_of_the_rules() -> None:
    gap = _arrays([("", "1100100", 120, NAN, NAN, NAN)])
    assert progression_free_survival(DAYS, **gap, max_missed=3).event[0]
    assert not progression_free_survival(DAYS, **gap, max_missed=1).event[0]
    therapy = _arrays([("", "1111100", 120, NAN, 100, NAN)])
    assert progression_free_survival(DAYS, **therapy, censor_new_therapy=False).event[0]
    assert progression_free_survival(DAYS, **therapy, rule="ema", censor_new_therapy=True).time[0] == 90
    unknown = _arrays([("", "0100000", NAN, 50, NAN, NAN)])
    assert progression_free_survival(DAYS, **unknown, censor_no_baseline=False).event[0]
    assert not progression_free_survival(DAYS, **unknown, rule="ema", censor_no_baseline=True).event[0]
    without_baseline_visit = {k: v[:, 1:] if k == "evaluable" else v for k, v in gap.items()}
    assert progression_free_survival(DAYS[1:], **without_baseline_visit, rule="ema").time[0] == 120


def _random_trial(n: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)

    def days(share: float) -> np.ndarray:
        return np.where(rng.random(n) < share, rng.integers(1, 220, n), NAN)

    evaluable = rng.random((n, len(DAYS))) < 0.75
    evaluable[:, 0] = rng.random(n) < 0.95
    progression = np.where(rng.random(n) < 0.6, np.array(DAYS)[rng.integers(1, len(DAYS), n)], NAN)
    return {
        "evaluable": evaluable,
        "progression_day": progression,
        "death_day": days(0.3),
        "new_therapy_day": days(0.3),
        "followup_day": days(0.7),
    }


def _one_patient(evaluable, progression_day, death_day, new_therapy_day, followup_day, rule):
    """The rule table told once more, for one patient."""
    end = np.inf if np.isnan(followup_day) else followup_day
    therapy = np.inf if np.isnan(new_therapy_day) or new_therapy_day > end else new_therapy_day
    events = []
    if rule == "fda" and not evaluable[0]:
        return 0, False  # the table of the FDA takes it out at randomization
    if evaluable[0] and progression_day <= end:
        events.append((progression_day, 0, "progression"))
    if death_day <= end:
        events.append((death_day, 1, "death"))
    day, _, what = min(events, default=(np.inf, 0, None))
    if rule == "fda" and therapy < day:
        day, what, end = np.inf, None, therapy
    dying_day = day if what == "death" else -1
    done = [d for d, seen in zip(DAYS[1:], evaluable[1:], strict=True) if seen and evaluable[0]]
    last = max((d for d in done if (d < day or d == dying_day) and d <= end), default=0)
    if what is None:
        return last, False
    missed = sum(1 for d in DAYS[1:] if last < d < day)
    if rule == "fda" and missed >= 2:
        return last, False
    return day, True


def test_all_patients_at_once_as_one_by_one_and_rules_differ_only_where_they_do() -> None:
    trial = _random_trial(4000, 1)
    fda = progression_free_survival(DAYS, **trial)
    ema = progression_free_survival(DAYS, **trial, rule="ema")
    for rule, pfs in (("fda", fda), ("ema", ema)):
        one_by_one = [_one_patient(*(trial[k][i] for k in trial), rule) for i in range(4000)]
        assert [(t, e) for t, e in zip(pfs.time, pfs.event, strict=True)] == one_by_one
    differs = (fda.time != ema.time) | (fda.event != ema.event)
    assert differs.sum() > 500
    no_baseline_but_death = ~trial["evaluable"][:, 0] & ema.event
    told = (fda.reason == "new therapy") | (fda.reason == "missed visits") | no_baseline_but_death
    assert told[differs].all()
    assert (ema.event | ~fda.event).all()  # fda only ever takes events away


def test_patients_with_visit_days_of_their_own() -> None:
    trial = _random_trial(300, 2)
    pfs = progression_free_survival(DAYS, **trial)
    shared = np.tile(np.array(DAYS, dtype=float), (300, 1))
    padded = np.column_stack([shared, np.full(300, NAN)])
    seen = np.column_stack([trial["evaluable"], np.zeros(300, dtype=bool)])
    own = progression_free_survival(padded, **(trial | {"evaluable": seen}))
    assert np.array_equal(own.time, pfs.time)
    assert np.array_equal(own.event, pfs.event)
    assert list(own.reason) == list(pfs.reason)


def test_duration_and_time_to_response() -> None:
    rows = [
        ("responds, progresses", "1111110", 150, NAN, NAN, NAN),
        ("responds, gap", "1110010", 150, NAN, NAN, NAN),
        ("never responds", "1111000", 90, NAN, NAN, NAN),
        ("responds after new therapy", "1111100", NAN, NAN, 40, NAN),
        ("responds, dies", "1110000", NAN, 70, NAN, NAN),
    ]
    pfs = progression_free_survival(DAYS, **_arrays(rows))
    response = [28, 60, NAN, 90, 60]
    dor = duration_of_response(pfs, response)
    np.testing.assert_array_equal(dor.time, [122, 0, NAN, NAN, 10])
    assert dor.event.tolist() == [True, False, False, False, True]
    assert list(dor.reason) == ["progression", "missed visits", "no response", "no response", "death"]
    ttr = time_to_response(pfs, response)
    assert ttr.time.tolist() == [28, 60, 90, 28, 60]
    assert ttr.event.tolist() == [True, True, False, False, True]
    assert list(ttr.reason) == ["response", "response", "progression", "new therapy", "response"]
    frame = dor.frame(ids=list("abcde"))
    assert list(frame.columns) == ["id", "time", "event", "reason"]
    assert kaplan_meier(dor.time, dor.event).n == 3


def test_overall_survival() -> None:
    os = overall_survival([100, NAN, 300, 50], [400, 400, 200, NAN])
    assert os.time.tolist() == [100, 400, 200, 50]
    assert os.event.tolist() == [True, False, False, True]
    assert list(os.reason) == ["death", "alive", "alive", "death"]
    assert overall_survival([100, NAN], 365).time.tolist() == [100, 365]
    with pytest.raises(InputError, match="followup_day of patient 1"):
        overall_survival([100, NAN], NAN)


def test_reasons_are_categories() -> None:
    pfs = progression_free_survival(DAYS, **_random_trial(100, 3))
    assert isinstance(pfs, TimeToEvent)
    assert isinstance(pfs.reason, pd.Categorical)
    assert not pd.isna(pfs.reason).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rule": "EMA"}, "allowed are 'fda' and 'ema'"),
        ({"max_missed": 0}, "max_missed is 0"),
        ({"days": [0, 28, 28, 90, 120, 150, 180]}, "must increase"),
        ({"days": [0, 28]}, "one day for each visit"),
        ({"evaluable": np.ones((2, 7))}, "give booleans"),
        ({"death_day": [1, 2, 3]}, "death_day has shape"),
        ({"death_day": [NAN, -3]}, "death_day of patient 1 is -3"),
    ],
)
def test_bad_histories(change: dict, message: str) -> None:
    good = {"days": DAYS, "evaluable": np.ones((2, 7), dtype=bool), "progression_day": [NAN, 28]}
    with pytest.raises(InputError, match=message):
        progression_free_survival(**(good | change))


def test_progression_intervals() -> None:
    rows = [
        ("found at 120, last free at 60", "1110100", 120, NAN, NAN, NAN),
        ("death", "1110000", NAN, 100, NAN, NAN),
        ("no event", "1111000", NAN, NAN, NAN, NAN),
        ("cut off", "1111111", 150, NAN, NAN, 100),
    ]
    arrays = _arrays(rows)
    del arrays["new_therapy_day"]
    lower, upper = progression_intervals(DAYS, **arrays)
    assert lower.tolist() == [60, 100, 90, 90]
    assert upper.tolist() == [120, 100, np.inf, np.inf]
