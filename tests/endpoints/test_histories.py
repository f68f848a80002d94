"""Reading a user's table: what it becomes, and which row is named when it is wrong."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from cartsim.endpoints.histories import lay_out
from cartsim.errors import InputError

NAN = float("nan")
GOOD = """id,time,value
a,0,40
a,28,10
a,56,
b,-14,31
b,0,30
b,28,3
b,60,2
b,91,0
"""


def table(text: str, **options) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), **options)


def test_layout() -> None:
    found = lay_out(table(GOOD))
    assert found.ids.tolist() == ["a", "b"]
    assert found.baseline.tolist() == [40, 30]
    np.testing.assert_equal(found.days, [[28, 56, NAN], [28, 60, 91]])
    np.testing.assert_equal(found.values, [[10, NAN, NAN], [3, 2, 0]])
    assert np.isnan(found.events["death_day"]).all()


def test_text_columns_and_interleaved_patients_are_the_same() -> None:
    frame = table(GOOD, dtype=str, keep_default_na=False).sort_values("time", key=pd.to_numeric, kind="stable")
    found, plain = lay_out(frame), lay_out(table(GOOD))
    order = [found.ids.tolist().index(i) for i in plain.ids]
    np.testing.assert_equal(found.values[order], plain.values)
    np.testing.assert_equal(found.baseline[order], plain.baseline)


def test_missing_day_0_value_falls_back_to_the_one_before() -> None:
    found = lay_out(table("id,time,value\na,-7,12\na,0,\na,28,3\n"))
    assert found.baseline.tolist() == [12]


def test_baseline_column_and_patients_table() -> None:
    frame = table("id,time,value,baseline\na,28,10,40\na,56,9,\nb,28,3,30\n")
    assert lay_out(frame).baseline.tolist() == [40, 30]
    patients = pd.DataFrame({"id": ["c", "b", "a"], "baseline": [NAN, 33, NAN], "death_day": [5, NAN, 90]})
    found = lay_out(frame, patients=patients)
    assert found.ids.tolist() == ["c", "b", "a"]
    np.testing.assert_equal(found.baseline, [NAN, 33, 40])
    np.testing.assert_equal(found.events["death_day"], [5, NAN, 90])
    np.testing.assert_equal(found.values, [[NAN, NAN], [3, NAN], [10, 9]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,time\na,0\n", "no column value; its columns are id, time"),
        ("id,time,value\n", "no rows"),
        ("id,time,value\na,0,40\n,28,3\n", "row 2 has no id"),
        ("id,time,value\na,0,40\na,28,<1.0\n", r"row 2 \(id 'a', time 28\): value '<1.0' is not a number"),
        ("id,time,value\na,0,40\na,day 28,3\n", r"row 2 \(id 'a'\): time 'day 28' is not a number"),
        ("id,time,value\na,0,40\na,,3\n", r"row 2 \(id 'a'\): time nan is missing"),
        ("id,time,value\na,0,40\na,28,-3\n", r"row 2 \(id 'a', time 28\): value -3(\.0)? is negative"),
        ("id,time,value\na,0,40\na,28,inf\n", "row 2 .* is not finite"),
        (
            "id,time,value\na,0,40\na,56,3\na,28,3\n",
            r"row 3 \(id 'a', time 28\) comes after time 56 of row 2",
        ),
        (
            "id,time,value\na,0,40\nb,0,9\na,28,3\na,28,4\n",
            r"row 4 \(id 'a', time 28\) repeats the visit of row 3",
        ),
        ("id,time,value\na,0,40\na,28,3\nb,28,3\n", r"row 3 \(id 'b'\): id 'b' has no baseline"),
        ("id,time,value\n7,0,40\n7,28,x\n", r"row 2 \(id 7, time 28\): value 'x' is not a number"),
        ("id,time,value\na,0,0\na,28,3\n", r"row 1 \(id 'a'\): id 'a' has a baseline of 0"),
        (
            "id,time,value,baseline\na,28,3,9\na,56,3,8\n",
            "row 2 .* is not the baseline of the patient's other",
        ),
        ("id,time,value,baseline\na,28,3,-9\n", "row 1 .*baseline -9 is negative"),
        ("id,time,value,unit\na,0,40,g/L\na,28,3,g/dL\n", "row 2 .*unit 'g/dL' is not g/L; convert"),
    ],
)
def test_bad_tables(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        lay_out(table(text))


@pytest.mark.parametrize(
    ("patients", "message"),
    [
        ({"id": ["a"]}, r"row 4 \(id 'b'\): id 'b' is not in the patients table"),
        ({"id": ["a", "b", "a"]}, r"patients row 3 \(id 'a'\): id 'a' is listed twice"),
        ({"name": ["a", "b"]}, "the patients table has no column id"),
        ({"id": ["a", "b"], "death_day": ["x", ""]}, r"patients row 1 .*death_day 'x' is not a number"),
        ({"id": ["a", "b"], "baseline": [40, -1]}, "patients row 2 .*baseline -1 is negative"),
    ],
)
def test_bad_patients_table(patients: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        lay_out(table(GOOD), patients=pd.DataFrame(patients))
