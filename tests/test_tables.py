"""The reader of users' CSV files: what it takes, as what, and how it says where something is wrong."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartsim import memory, simulate, tables
from cartsim.errors import InputError
from cartsim.population.population import Population
from cartsim.tables import finite_number, read_table


def written(folder: Path, content: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_table_of_text(tmp_path):
    table = read_table(written(tmp_path, '\ufeff id , value,note\r\n1, 2.5 ,"a, ""b"""\r\n\r\n2,,\r\n3\r\n'))
    assert list(table) == ["id", "value", "note"]
    assert table["id"].tolist() == ["1", "2", "3"]
    assert table["note"].tolist()[0] == 'a, "b"'
    assert table.isna().to_numpy().tolist() == [[False] * 3, [False, True, True], [False, True, True]]


def test_cells_without_a_value(tmp_path):
    path = written(tmp_path, "id,value\n1,NA\nNA,\n")
    assert read_table(path)["value"].isna().all()
    assert read_table(path, missing=False).to_numpy().tolist() == [["1", "NA"], ["NA", ""]]


def test_comments_only_where_asked_for(tmp_path):
    path = written(tmp_path, "# source\nid,value\n  # more\n1,2#3\n")
    assert read_table(path, comments=True).to_numpy().tolist() == [["1", "2#3"]]
    with pytest.raises(InputError, match="line 2"):
        read_table(path)


def test_only_a_header_is_a_table_without_rows(tmp_path):
    table = read_table(written(tmp_path, "id,value"))
    assert list(table) == ["id", "value"] and len(table) == 0


def test_an_ending_is_not_looked_at(tmp_path):
    for name in ("x.zip", "x.gz", "x.bz2", "x.xz", "x.zst", "x.tar", "x.tar.gz", "x.parquet", "x", "http:x"):
        assert read_table(written(tmp_path, "id\n1\n", name))["id"].tolist() == ["1"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"id,value\n1,2\n1,2,3\n", "line 3: cannot be read as a table: 3 cells under a header of 2"),
        (b'id,value\n1,"2\n', "line 2: cannot be read as a table: unexpected end of data"),
        (b'id,value\n1,2\n1,"2"3\n', "line 3: cannot be read as a table: ',' expected after '\"'"),
        (b"id,value\n1,\xff\n", "line 2: cannot be read as a table: no UTF-8 text; save it as CSV in UTF-8"),
        (b"id,value\n1,2\n1,\0\n", "line 3: cannot be read as a table: no UTF-8 text"),
        (b"id,value,id\n", "the column id is there twice"),
        (b"id\n" + b"x" * 200_000, "line 2: cannot be read as a table: field larger than field limit"),
        (b"," * 10_001, "10,002 columns; at most 10,000"),
    ],
)
def test_what_is_wrong_and_where(tmp_path, content, says):
    with pytest.raises(InputError) as error:
        read_table(written(tmp_path, content))
    assert str(error.value).startswith(str(tmp_path / "table.csv"))
    assert says in str(error.value)


def test_a_file_that_is_too_large(tmp_path, monkeypatch):
    path = written(tmp_path, "id\n" + "1\n" * 100)
    monkeypatch.setattr(tables, "LARGEST", 100)
    with pytest.raises(InputError, match=r"203 bytes; at most 100 are read"):
        tables.regular_file(path, 100)
    with pytest.raises(InputError, match=r"more than 100 bytes"):  # whatever its size was before
        read_table(path)
    monkeypatch.undo()
    monkeypatch.setattr(memory, "available", lambda: 1000)
    with pytest.raises(InputError, match=r"would take 0\.0 MiB of memory, and 0\.0 MiB are free; divide the file"):
        read_table(path)


def test_a_null_byte_in_a_name():
    with pytest.raises(InputError, match="null byte"):
        read_table("a\0b.csv")


@pytest.mark.parametrize("text", ["1", "-1", "+1.5", ".5", "5.", "1e3", "450E6", "0" * 400, "1" * 300, "1e-400"])
def test_numbers(text):
    assert finite_number(text) == float(text)


NO_NUMBERS = ["", " 1", "1_000", "١٢", "１", "0x10", "1e999", "9" * 5000, "nan", "inf", "Infinity", "1,5", "e5", ".",
              "1e", "--1", "1\n", "True"]  # fmt: skip


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_no_numbers(text):
    assert math.isnan(finite_number(text))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_that_python_writes(number):
    assert finite_number(repr(number)) == number


@settings(max_examples=50, deadline=None)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_a_table_or_an_error_of_one_line(tmp_path_factory, content):
    path = written(tmp_path_factory.mktemp("any"), content)
    said = str(path)
    try:
        table = read_table(path)
    except InputError as error:
        said = str(error)
    else:
        assert isinstance(table, pd.DataFrame) and all(isinstance(name, str) for name in table)
    assert said.startswith(str(path)) and "\n" not in said


# pandas leaves a carriage return without the quotes that it needs.
CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=5))
def test_what_pandas_writes_is_read_again(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("same") / "table.csv"
    frame = pd.DataFrame(rows, columns=["a", "b", "c"], dtype=object)
    frame.to_csv(path, index=False, lineterminator="\n")
    again = read_table(path, missing=False)
    assert again.to_numpy().tolist() == [[cell.strip() for cell in row] for row in rows]


def test_memory_is_asked_before_patients_are_drawn(monkeypatch):
    monkeypatch.setattr("cartsim.engine.kernel.compile_model", lambda *_: pytest.fail("work has begun"))
    monkeypatch.setattr(
        "cartsim.population.population.Population.table", lambda *_, **__: pytest.fail("patients were drawn")
    )
    with pytest.raises(InputError, match=r"100,000,000,000 patients with 7 outputs at 365 times would take .* GiB"):
        simulate(Population("bb2121_clinical"), n=10**11, times=range(365))


def test_memory_of_a_result(monkeypatch):
    times = np.arange(100.0)
    asked: list[float] = []
    monkeypatch.setattr(memory, "require", lambda needed, *_: asked.append(needed))
    memory.require_simulation(1000, len(times), 7, 0)
    assert asked == [np.zeros((7, 1000, 100)).nbytes]
    memory.require_simulation(1000, len(times), 7, 0, copies=1)
    frame = pd.DataFrame({str(k): np.zeros(1000 * 100) for k in range(9)})  # id, time and the outputs
    assert asked[1] - asked[0] == frame.memory_usage(index=False).sum()


def test_free_memory_is_a_number_of_bytes():
    free = memory.available()
    assert free is None or 2**20 < free < 2**50
