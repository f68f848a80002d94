"""A user's own patients file: what is read, and the one line that says what is wrong with it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import cartsim as cs
from cartsim.errors import InputError
from cartsim.population.patients import patients_from_table
from cartsim.population.population import Population

MODEL = cs.load("bb2121_clinical")


@pytest.fixture
def read(tmp_path):
    def read(text, encoding="utf-8"):
        path = tmp_path / "patients.csv"
        path.write_bytes(text.encode(encoding))
        return patients_from_table(MODEL, path)

    return read


def test_a_file_with_ids_and_doses(read):
    table = read("id, burden ,dose,Kg\n3,50,450e6,0.02\n1,7.5,0,0.01\n\n")
    assert table.index.tolist() == [3, 1] and table.index.name == "id"
    assert list(table) == ["burden", "dose", "Kg"]
    assert table["dose"].tolist() == [450e6, 0]
    assert table["burden"].tolist() == [50, 7.5]
    assert (table.dtypes == np.float64).all()


def test_a_spreadsheets_byte_order_mark_and_line_ends(read):
    assert read("burden,M0\r\n50,20\r\n", "utf-8-sig").columns.tolist() == ["burden", "M0"]


def test_patients_without_ids_are_numbered_and_text_ids_stay_text(read):
    assert read("Kg\n0.01\n0.02\n").index.tolist() == [0, 1]
    assert read("id,Kg\n001,0.01\nB2,0.02\n").index.tolist() == ["001", "B2"]
    assert read("id\n5\n6\n").shape == (2, 0)


def test_a_frame_from_a_population_comes_back_unchanged():
    table = Population(MODEL).table(10, 15)
    pd.testing.assert_frame_equal(patients_from_table(MODEL, table), table, check_index_type=False)
    assert patients_from_table(MODEL, table.reset_index()).index.tolist() == table.index.tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("id,Kg\n", "no patients"),
        ("id,Kgg\n1,2\n", "no parameter or covariate 'Kgg'; did you mean Kg"),
        ("id,zzz\n1,2\n", "choose from Kexp_max"),
        ("id,Dose\n1,2\n", "did you mean dose"),
        ("avogadro\n1\n", "is a constant"),
        ("Pm\n1\n", "does not enter the equations"),
        ("id,Kg,Kg\n1,2,2\n", "the column Kg is there twice"),
        ("id,Kg\n7,0.1\n8,0.1\n7,0.1\n", "rows 1 and 3 have the same id 7"),
        ("id,Kg\n7,0.1\n ,0.1\n", "row 2 has no id"),
        ("id,Kg\n7,0.1\n8,\n", r"Kg in row 2 \(id 8\) is ''; it must be a finite number"),
        ("id,Kg\n7,0.1\n8\n", r"Kg in row 2 \(id 8\)"),
        ("id,Kg\n7,NaN\n", r"Kg in row 1 \(id 7\) is 'NaN'"),
        ("id,Kg\n7,inf\n", "is 'inf'"),
        ("id,Kg\n7,fast\n", "is 'fast'"),
        ("id,Kg\n7,-1\n", "is '-1'; it must be a finite number, 0 or more"),
        (
            "burden\n50\n101\n",
            r"burden in row 2 \(id 1\) is '101'; it must be a finite number from 0.01 to 100",
        ),
        ("burden\n-1\n", "from 0.01 to 100"),
        ("dose\n-1\n", "dose in row 1 .* is '-1'; it must be a finite number, 0 or more"),
        ("dose\nnan\n", "dose in row 1 .* is 'nan'"),
        ("id,Kg\n7,1,2\n", "cannot be read as a table"),
    ],
)
def test_bad_files(read, text, message):
    with pytest.raises(InputError, match=message) as error:
        read(text)
    assert "\n" not in str(error.value)
    assert "patients.csv" in str(error.value)


def test_files_that_are_not_there_or_not_text(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        patients_from_table(MODEL, tmp_path / "nowhere.csv")
    with pytest.raises(InputError, match="cannot be read"):
        patients_from_table(MODEL, tmp_path)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"Kg\n\xff\xfe\x00\n")
    with pytest.raises(InputError, match="cannot be read"):
        patients_from_table(MODEL, binary)


def test_bad_frames():
    for frame, message in [
        (pd.DataFrame({"Kg": []}), "no patients"),
        (pd.DataFrame({"id": [1, 1], "Kg": 0.1}), "same id"),
        (pd.DataFrame({"Kg": [0.1, None]}), "row 2"),
        (pd.DataFrame({"Kg": ["x"]}), "'x'"),
        (pd.DataFrame({0: [1.0]}), "no parameter or covariate '0'"),
    ]:
        with pytest.raises(InputError, match=message):
            patients_from_table(MODEL, frame)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cs.simulate(MODEL, dose=1e8, times=range(3), seed=5), "simulate takes no seed=5; .* Population"),
        (lambda: cs.Trial(cs.Population(MODEL), [1e8], n=2, seed=5), "Trial takes no seed=5; .* Population"),
        (lambda: cs.Population(MODEL, n=5), "Population takes no n=5; .* simulate"),
        (lambda: cs.Patients(MODEL, pd.DataFrame({"burden": [50.0]}), seed=5), "no seed=5; .* Population"),
        (lambda: cs.Patients(MODEL, pd.DataFrame({"burden": [50.0]}), n=np.int64(5)), "Patients takes no n=5; .* rows"),
    ],
)  # fmt: skip
def test_a_keyword_that_belongs_elsewhere(call, message):
    with pytest.raises(InputError, match=message):
        call()
