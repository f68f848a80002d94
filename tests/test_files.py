"""Files and folders come whole or not at all, and what a killed run leaves behind is taken away, nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import cartsim
from cartsim.errors import InputError
from cartsim.files import save_tables, tidy, whole_folder, writable_folder, write_whole

HOLD = (
    "import sys, time; from pathlib import Path; from cartsim.files import whole_folder\n"
    "with whole_folder(Path(sys.argv[1]), ()) as stage:\n"
    "    (stage / 'half.csv').write_text('half'); print('ready', flush=True); time.sleep(600)\n"
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def holding(folder: Path) -> subprocess.Popen[str]:
    """A process that prepares files in this folder and does not come to an end."""
    path = os.pathsep.join([str(Path(cartsim.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path}
    process = subprocess.Popen([sys.executable, "-c", HOLD, folder], env=environment, stdout=-1, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


# --- files ---


def test_a_file_is_written_with_the_usual_permissions(tmp_path):
    (tmp_path / "plain").write_text("x")
    path = write_whole(tmp_path / "table.csv", lambda beside: beside.write_text("a\n"))
    assert path == tmp_path / "table.csv"
    assert path.read_text() == "a\n"
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert names(tmp_path) == ["plain", "table.csv"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt(), ValueError("no")])
def test_a_failed_write_leaves_what_was_there(tmp_path, error):
    (tmp_path / "table.csv").write_text("earlier")

    def write(beside):
        beside.write_text("half")
        raise error

    with pytest.raises(type(error)):
        write_whole(tmp_path / "table.csv", write)
    assert names(tmp_path) == ["table.csv"]
    assert (tmp_path / "table.csv").read_text() == "earlier"


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path):
    name = "x" * 251 + ".csv"
    write_whole(tmp_path / name, lambda beside: beside.write_text("a"))
    assert names(tmp_path) == [name]


def test_a_folder_in_the_place_of_a_file_stays(tmp_path):
    (tmp_path / "table.csv").mkdir()
    with pytest.raises(OSError, match=r"table\.csv"):
        write_whole(tmp_path / "table.csv", lambda beside: beside.write_text("a"))
    assert names(tmp_path) == ["table.csv"]


def test_tables_and_what_made_them(tmp_path):
    written = save_tables(tmp_path / "deep" / "er", {"a.csv": pd.DataFrame({"x": [1]})}, ("a.json", {"seed": 1}))
    assert [path.read_text() for path in written] == ["x\n1\n", '{\n  "seed": 1\n}\n']
    assert names(tmp_path / "deep" / "er") == ["a.csv", "a.json"]


def test_a_place_that_cannot_be_written_is_said_in_one_line(tmp_path):
    (tmp_path / "file").write_text("a file")
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper", Path("\0"), tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match="cannot write into") as said:
            writable_folder(folder)
        assert "\n" not in str(said.value)
        with pytest.raises(InputError, match="cannot write into"), whole_folder(folder, ()):
            pass
    assert names(tmp_path) == ["file"]


# --- folders ---


def test_files_come_together_and_replace_those_of_an_earlier_run(tmp_path):
    for name in ("a.csv", "b.csv", "mine.txt"):
        (tmp_path / name).write_text("earlier")
    with whole_folder(tmp_path, ("a.csv", "b.csv")) as stage:
        (stage / "a.csv").write_text("new")
        assert (tmp_path / "a.csv").read_text() == "earlier"
    assert names(tmp_path) == ["a.csv", "mine.txt"]
    assert (tmp_path / "a.csv").read_text() == "new"


def test_a_folder_made_for_nothing_is_taken_away(tmp_path):
    def interrupted():
        with whole_folder(tmp_path / "a" / "b", ()) as stage:
            (stage / "a.csv").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == []


@pytest.mark.parametrize("last", ["os.mkdir", "os.open", "fcntl.flock"])
def test_a_stage_that_was_just_begun_is_taken_away(tmp_path, monkeypatch, last):
    """Ctrl-C comes at any time, most often when the system was asked for something."""
    name = last.rpartition(".")[2]
    module = pytest.importorskip(last.partition(".")[0])
    done, sent = getattr(module, name), []

    def interrupted(*arguments, **named):
        result = done(*arguments, **named)
        if not sent and (name == "flock" or ".cartsim-" in str(arguments[0])):
            sent.append(name)
            raise KeyboardInterrupt
        return result

    def write():
        with whole_folder(tmp_path / "a" / "b", ()):
            pass

    monkeypatch.setattr(module, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        write()
    assert sent == [name]
    assert names(tmp_path) == []


def test_nothing_is_moved_where_one_file_cannot_be(tmp_path):
    (tmp_path / "b.csv").mkdir()

    def write():
        with whole_folder(tmp_path, ()) as stage:
            for name in ("a.csv", "b.csv"):
                (stage / name).write_text("new")

    with pytest.raises(InputError, match=r"b\.csv: it is a folder"):
        write()
    assert names(tmp_path) == ["b.csv"]


# --- what is left behind ---


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path):
    process = holding(tmp_path)
    (left,) = names(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert names(tmp_path) == [left]
    with whole_folder(tmp_path, ()) as stage:
        (stage / "a.csv").write_text("new")
    assert names(tmp_path) == ["a.csv"]


def test_what_a_living_run_uses_stays(tmp_path):
    process = holding(tmp_path)
    (used,) = names(tmp_path)
    try:
        writable_folder(tmp_path)
        with whole_folder(tmp_path, ()) as stage:
            (stage / "a.csv").write_text("new")
        assert names(tmp_path) == [used, "a.csv"]
        assert (tmp_path / used / "files" / "half.csv").read_text() == "half"
    finally:
        process.kill()
        process.wait()


def test_nothing_but_stages_is_removed(tmp_path):
    theirs = tmp_path / "theirs"
    (theirs / "files").mkdir(parents=True)
    (theirs / "lock").touch()
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".cartsim-0123456789abcdef").symlink_to(theirs)  # a link
    (folder / ".cartsim-0123456789ABCDEF").mkdir()  # another name
    (folder / ".cartsim-notes").mkdir()
    (folder / ".cartsim-1111111111111111").write_text("a file")
    (folder / ".cartsim-2222222222222222").mkdir()
    (folder / ".cartsim-2222222222222222" / "mine.txt").write_text("other insides")
    (folder / ".cartsim-3333333333333333").mkdir()
    (folder / ".cartsim-3333333333333333" / "lock").symlink_to(theirs / "lock")
    before = names(folder)
    tidy(folder)
    assert names(folder) == before
    assert names(theirs) == ["files", "lock"]
    (folder / ".cartsim-4444444444444444" / "files").mkdir(parents=True)  # killed before it had its lock
    (folder / ".cartsim-4444444444444444" / "files" / "link").symlink_to(theirs)
    tidy(folder)
    assert names(folder) == before
    assert names(theirs) == ["files", "lock"]


def test_many_writers_of_one_folder_take_nothing_from_each_other(tmp_path):
    code = (
        "import sys; from pathlib import Path; from cartsim.files import writable_folder, write_whole\n"
        "for k in range(150):\n"
        "    path = writable_folder(sys.argv[1]) / f'{sys.argv[2]}_{k}'\n"
        "    write_whole(path, lambda beside: beside.write_text('x' * 1000))\n"
    )
    path = os.pathsep.join([str(Path(cartsim.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    writers = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path, str(k)], env=os.environ | {"PYTHONPATH": path})
        for k in range(3)
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(names(tmp_path)) == 450
    assert {path.stat().st_size for path in tmp_path.iterdir()} == {1000}
