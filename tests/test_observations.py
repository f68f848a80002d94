"""Observations: what a table becomes, which row is named when it is wrong, and one table for every question."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

import cartsim as cs
from cartsim.endpoints.rules import Response
from cartsim.errors import InputError
from cartsim.fitting import CategoryRules, patient_data
from cartsim.observations import CATEGORIES, COLUMNS, padded, read_observations

NAN = float("nan")
MIXED = """# made up
id,dose,time,output,value,category,unit,end_day
7,450e6,28,,,pr,,
7,450e6,28,transgene,<50,,copies/ug,400
7,450e6,14,transgene,20000,,copies/ug,
8,150e6,28,sbcma_change,-92,,%,
8,150e6,61,,,NE,,
"""


def table(text: str, **options) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), comment="#", **options)


def test_the_scale_is_that_of_the_rules() -> None:
    assert list(CATEGORIES) == [category.name for category in Response]


def test_a_table_becomes_a_tidy_frame() -> None:
    found = read_observations(table(MIXED))
    assert found.frame.columns[:6].tolist() == ["id", "time", "output", "value", "below", "category"]
    assert found.frame["category"].tolist() == ["PR", "", "", "", "NE"]
    np.testing.assert_equal(found.frame["value"].to_numpy(), [NAN, 50, 20000, -92, NAN])
    assert found.frame["below"].tolist() == [False, True, False, False, False]
    assert found.ids.tolist() == [7, 8]
    assert found.outputs == ["transgene", "sbcma_change"]
    np.testing.assert_equal(found.frame["end_day"].to_numpy(), [400, 400, 400, NAN, NAN])
    assert len(found) == 5


@pytest.mark.parametrize("text", [False, True])
def test_file_frame_and_text_are_the_same(tmp_path, text: bool) -> None:
    path = tmp_path / "data.csv"
    path.write_text("\ufeff" + MIXED)
    from_file = read_observations(path)
    frame = table(MIXED, dtype=str, keep_default_na=False) if text else table(MIXED)
    pd.testing.assert_frame_equal(read_observations(frame).frame, from_file.frame)
    assert from_file.name == "data.csv"
    assert read_observations(from_file) is from_file


def test_reading_leaves_the_frame_alone() -> None:
    frame = table(MIXED, dtype=str)
    before = frame.copy()
    read_observations(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_numbers_are_read_to_the_last_digit() -> None:
    digits = "0.30000000000000004"
    found = read_observations(pd.DataFrame({"id": ["a"], "time": [digits], "value": [digits]}))
    assert found.frame["value"][0] == found.frame["time"][0] == float(digits)


def test_rows_of_one_output_keep_their_numbers() -> None:
    found = read_observations(table(MIXED))
    assert found.of("transgene").frame.index.tolist() == [1, 2]
    assert found.of("category").ids.tolist() == [7, 8]
    with pytest.raises(InputError, match=r"row 3 \(id 7, time 14\): value '20000' is odd"):
        found.of("transgene").refuse(np.array([False, True]), "value", "is odd")
    with pytest.raises(InputError, match="no observations of 'transgen'; did you mean transgene"):
        found.of("transgen")


def test_the_column_below_says_the_same() -> None:
    frame = pd.DataFrame({"id": 1, "time": [1, 2], "value": [50, 60], "below": ["true", "0"]})
    assert read_observations(frame).frame["below"].tolist() == [True, False]


def test_a_few_lines_show_what_there_is() -> None:
    found = read_observations("crb401_synthetic")
    assert repr(found).splitlines()[0] == "328 observations of 33 patients in crb401_synthetic.csv"
    assert len(repr(found)) < 400
    assert "<table" in found._repr_html_()
    assert found.summary.set_index("output").loc["sbcma_change", "rows"] == 99


def test_padded_columns() -> None:
    (x, y) = padded(np.array([1, 0, 1]), 3, (np.array([5.0, 6, 7]), np.array([1.0, 2, 3])), (NAN, 0.0))
    np.testing.assert_equal(x, [[6, NAN], [5, 7], [NAN, NAN]])
    np.testing.assert_equal(y, [[2, 0], [1, 3], [0, 0]])


HEAD = "id,time,output,value,category,unit,dose,variant,death_day\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,value\n1,2\n", "the table has no column time; its columns are id, value"),
        ("time,category\n1,PR\n", "has no column id"),
        ("id,time,value,value\n1,2,3,4\n", "the column value is there twice"),
        (HEAD, "has no rows"),
        (HEAD + ",1,y,2,,,,,\n", "row 1 has no id"),
        (HEAD + "1,one,y,2,,,,,\n", r"row 1 \(id 1\): time 'one' is not a number"),
        (HEAD + "1,,y,2,,,,,\n", r"row 1 \(id 1\): time '' is missing"),
        (HEAD + "1,1,y,1_000,,,,,\n", r"row 1 \(id 1, time 1\): value '1_000' is not a number"),
        (HEAD + "1,1,y,inf,,,,,\n", "value 'inf' is not finite"),
        (HEAD + "1,1,y,<,,,,,\n", "value '<' is no limit; write it as <50"),
        (HEAD + "1,1,y,2,PR,,,,\n", "value '2' stands beside a category; give one, not both"),
        (HEAD + "1,1,,,good,,,,\n", "category 'good' is not on the scale; it is NE, PD, SD, MR, PR, VGPR or CR"),
        (HEAD + "1,0,,,PR,,,,\n", "category 'PR' is on day 0"),
        (HEAD + "1,1,y,2,,,,,\n2,1,,2,,,,,\n", r"row 2 \(id 2, time 1\): output '' is missing"),
        (HEAD + "1,1,y,2,,mg,,,\n1,1,z,2,,g,,,\n1,2,y,2,,g,,,\n", "row 3 .*unit 'g' is not mg; convert to one unit"),
        (HEAD + "1,1,y,2,,,5,,\n1,2,y,2,,,6,,\n", "row 2 .*dose '6' is not the dose of the patient's other rows"),
        (HEAD + "1,1,y,2,,,5,,\n1,2,y,2,,,,,\n", "row 2 .*dose '' is missing; give the cells infused"),
        (HEAD + "1,1,y,2,,,-5,,\n", "dose '-5' is negative"),
        (HEAD + "1,1,y,2,,,,a,\n1,2,y,2,,,,b,\n", "row 2 .*variant 'b' is not the variant of the patient's other rows"),
        (HEAD + "1,1,y,2,,,,,90\n1,2,y,2,,,,,91\n", "row 2 .*death_day '91' is not the death_day of the patient's"),
    ],
)
def test_bad_tables_name_the_row(text: str, message: str, tmp_path) -> None:
    frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, header=None)
    frame = frame.iloc[1:].set_axis(frame.iloc[0].tolist(), axis=1)
    if ",dose," in text and "dose '" not in message:
        frame = frame.drop(columns="dose")
    with pytest.raises(InputError, match=message):
        read_observations(frame)


def test_what_is_no_table_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="no example is called 'crb402'; choose from crb401_synthetic"):
        read_observations("crb402")
    with pytest.raises(InputError, match="observations are list; give a data frame"):
        read_observations([1, 2])
    with pytest.raises(InputError, match="no such file"):
        read_observations(tmp_path / "none.csv")


def test_events_in_the_table_say_the_same_as_a_second_table() -> None:
    visits = table("id,time,value\na,0,40\na,28,10\na,56,3\na,90,3\nb,0,30\nb,28,3\nb,60,2\n")
    patients = pd.DataFrame({"id": ["a", "b"], "end_day": [60, NAN], "death_day": [NAN, 70]})
    expected = cs.respond(visits, cs.IMWG2016(), patients=patients).frame
    one = visits.merge(patients, on="id")
    pd.testing.assert_frame_equal(cs.respond(one, cs.IMWG2016()).frame, expected)
    assert expected["visits"].tolist() == [2, 2]


def test_questions_find_their_output_among_several() -> None:
    frame = pd.concat(
        [
            pd.DataFrame({"id": 1, "time": [0, 28, 56], "output": "mprotein_gL", "value": [40.0, 3.0, 3.0]}),
            pd.DataFrame({"id": 1, "time": [2, 9, 30], "output": "transgene", "value": [100, 900, "<50"]}),
        ],
        ignore_index=True,
    )
    observations = read_observations(frame)
    assert cs.respond(observations, cs.IMWG2016()).frame["best"].tolist() == ["VGPR"]
    assert cs.nca(observations).loc[0, ["Cmax", "Tmax_day"]].tolist() == [900, 9]
    assert cs.nca(observations, output="mprotein_gL", lloq=0)["Tmax_day"].tolist() == [28]
    with pytest.raises(InputError, match="values of mprotein_gL, blood; say which output is meant"):
        cs.nca(frame.replace("transgene", "blood"))
    with pytest.raises(InputError, match="no values, only categories"):
        cs.nca(pd.DataFrame({"id": 1, "time": [28], "category": ["PR"]}))
    with pytest.raises(InputError, match=r"row 3 .*value '<50' is not a number; write what the assay reports"):
        cs.respond(frame.iloc[3:], cs.IMWG2016())


def test_units_are_those_of_the_model() -> None:
    model = cs.load("bb2121_clinical")
    patient_data(table(MIXED), model, CategoryRules())
    with pytest.raises(InputError, match="unit 'copies/mL' is not copies/ug, the unit of transgene in bb2121_clinical"):
        patient_data(table(MIXED.replace("copies/ug", "copies/mL")), model)


def test_a_pooled_fit_says_that_it_leaves_categories_out() -> None:
    with pytest.warns(UserWarning, match="229 rows of bb2121_clinical without a value are left out"):
        found = cs.fit("bb2121_clinical", "crb401_synthetic", ["gamma_b"], starts=1)
    assert found.n_observations == 99
    assert "left out" in found.warnings[0]
    assert found.frame["name"].tolist() == ["gamma_b", "sbcma_change.add"]


def test_results_save_their_tables(tmp_path) -> None:
    frame = pd.DataFrame({"id": 1, "time": [1.0, 5, 9, 12], "output": "tumor_volume", "value": [160.0, 250, 330, 440]})
    found = cs.fit("bb2121_xenograft", frame, ["Kg"], dose=0.0, starts=1)
    assert {path.name for path in found.save(tmp_path)} == {
        "estimates.csv", "correlation.csv", "starts.csv", "residuals.csv", "predictions.csv", "fit.json",
    }  # fmt: skip
    profile = found.profile("Kg")
    assert profile.summary.loc[0, "identified"]
    assert {path.name for path in profile.save(tmp_path)} == {"profile.csv", "profile.json"}
    assert profile.made_by["priors"] == "all"
    assert "tumor_volume.log" in repr(found)  # log-normal by default


def test_columns_have_names_of_their_own() -> None:
    model = cs.load("bb2121_clinical")
    assert not {*COLUMNS} & {*model.parameters}
