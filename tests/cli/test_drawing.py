"""Pictures drawn by two processes: the same files, whoever draws them and whatever becomes of the second."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest
from matplotlib.figure import Figure

import cartsim
from cartsim.cli import drawing
from cartsim.cli.drawing import Drawing
from cartsim.cli.options import Pictures
from cartsim.errors import InputError


def figure(text, seconds=0.0):
    time.sleep(seconds)
    made = Figure((2, 1))
    made.text(0.1, 0.5, f"{text}")
    return made


def process(seconds=0.0):
    time.sleep(seconds)
    made = Figure((2, 1))
    made.suptitle(f"{os.getpid()}")  # is among the file's metadata
    return made


def refused():
    raise InputError("nothing to draw; give some")


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def second(monkeypatch):
    """A second process, begun by fork: it has all modules at once."""
    begun = []

    def begin():
        here, there = get_context("fork").Pipe()
        process = get_context("fork").Process(target=drawing._draw_all, args=(there,), daemon=True)
        process.start()
        there.close()
        begun.append(process)
        return process, here

    monkeypatch.setattr(drawing, "_second_process", begin)
    return begun


fork = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the second process is begun by fork here")


@fork
def test_both_processes_draw_and_the_files_are_those_of_one(tmp_path, second, monkeypatch):

    names = [f"{k}.png" for k in range(6)]
    for folder in ("two", "one"):
        (tmp_path / folder).mkdir()
        with Drawing(Pictures()) as work:
            work.add({tmp_path / folder / name: partial(figure, name, 0.1) for name in names})
        monkeypatch.setattr(drawing, "_second_process", lambda: None)
    for name in names:
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


@fork
def test_each_process_draws(tmp_path, second):
    from PIL import Image

    with Drawing(Pictures()) as work:
        work.add({tmp_path / "a.png": process})
        time.sleep(1)
        work.add({tmp_path / "b.png": partial(process, 0.5), tmp_path / "c.png": process})
    by = [Image.open(tmp_path / f"{name}.png").text["Title"] for name in "abc"]
    assert by == [f"{second[0].pid}", f"{second[0].pid}", f"{os.getpid()}"]


def test_nothing_is_drawn_without_pictures(tmp_path, second):
    with Drawing(Pictures(pictures=False)) as work:
        work.add({tmp_path / "a.png": refused})
    assert not second
    assert not list(tmp_path.iterdir())


@fork
def test_data_of_many_patients_are_not_copied(tmp_path, second):
    from PIL import Image

    with Drawing(Pictures()) as work:
        work.add({tmp_path / f"{name}.png": process for name in "ab"}, drawing.MOST + 1)
        work.add({tmp_path / "c.png": process}, drawing.MOST)
        time.sleep(1)
    by = [Image.open(tmp_path / f"{name}.png").text["Title"] for name in "abc"]
    assert by == [f"{os.getpid()}", f"{os.getpid()}", f"{second[0].pid}"]


@fork
@pytest.mark.parametrize("number", [0, 1])
def test_an_error_of_a_picture_is_one_of_the_command(tmp_path, second, number):
    figures = [partial(figure, "a", 0.2), partial(figure, "b", 0.2)]
    figures.insert(2 * number, refused)
    with pytest.raises(InputError, match="nothing to draw; give some"), Drawing(Pictures()) as work:
        work.add({tmp_path / f"{k}.png": draw for k, draw in enumerate(figures)})


@fork
def test_pictures_of_a_second_process_that_was_killed_are_drawn_by_the_first(tmp_path, second):
    me = os.getpid()

    with Drawing(Pictures()) as work:
        work.add({tmp_path / "a.png": partial(_killed_unless, me), tmp_path / "b.png": partial(figure, "b", 0.5)})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def _killed_unless(first):
    if os.getpid() != first:
        killed()
    return figure("a")


@fork
def test_a_command_that_fails_does_not_wait_for_its_pictures(tmp_path, second):
    work = Drawing(Pictures())
    work.add({tmp_path / f"{k}.png": partial(figure, k, 0.3) for k in range(100)})
    work.__exit__(InputError, InputError("another error"), None)
    assert len(list(tmp_path.iterdir())) < 5


def test_the_second_process_draws_what_is_sent_and_ends_with_the_first(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    begun, pipe = drawing._second_process()
    pipe.send((Pictures(), tmp_path / "a.png", partial(Figure, (2, 1))))
    assert pipe.recv() is None
    assert (tmp_path / "a.png").stat().st_size
    pipe.send((Pictures(), tmp_path / "no" / "a.png", partial(Figure, (2, 1))))
    assert isinstance(pipe.recv(), InputError)
    pipe.close()
    begun.join()
    assert begun.exitcode == 0
    monkeypatch.setattr("joblib.cpu_count", lambda: 1)
    assert drawing._second_process() is None


def test_no_process_imports_what_lies_in_the_folder_that_one_is_in(tmp_path):
    """The script's own path has no such folder; the processes that it begins must not have it either."""
    here = tmp_path / "here"
    here.mkdir()
    for name in ("multiprocessing", "numba", "pandas", "matplotlib", "cartsim"):
        (here / f"{name}.py").write_text(f"open({str(tmp_path / 'seen')!r}, 'a').write({name!r})\n")
    source = str(Path(cartsim.__file__).parents[1])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    words = ["trial", "--n", "5", "--dose", "450e6", "--no-visits", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from cartsim.cli import command; command()", *words],
        cwd=here,
        env=environment | {"PYTHONPATH": source, "CARTSIM_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "kinetics.png").exists()
    assert not (tmp_path / "seen").exists()
