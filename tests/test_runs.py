"""Work in pieces: lazy, in order, gone on with bit for bit; and nothing in a run folder is believed blindly."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cartsim
from cartsim import memory, runs
from cartsim.endpoints.rules import IMWG2016
from cartsim.errors import InputError
from cartsim.experiments.selection import select
from cartsim.experiments.sweep import sweep_trials
from cartsim.population.population import Population
from cartsim.population.variability import lognormal
from cartsim.regimen import Regimen, Retreatment
from cartsim.runs import ArrayWork, Kept, check_size, describe, joined, pack_frame, pieces, run_pieces, unpack_frame
from cartsim.solver import Solver
from cartsim.trial.assay import Assay
from cartsim.trial.conduct import Conduct
from cartsim.trial.outcome import Readout, TrialResult
from cartsim.trial.protocol import Protocol, Rules, Visits
from cartsim.trial.trial import Arm, Trial

MODEL = cartsim.load("bb2121_clinical")
PLANNED = Protocol(assays={"transgene": Assay(cv=0.3)}, conduct=Conduct(missed=0.1, death=0.01))
TRIAL = Trial(Population(MODEL), (Arm(50e6, n=25), Arm(450e6, n=14)), protocol=PLANNED, curves=12)


def same(one: TrialResult, other: TrialResult) -> bool:
    """Whether two outcomes are equal to the last bit, types included."""
    pd.testing.assert_frame_equal(one.patients, other.patients, check_exact=True)
    pd.testing.assert_frame_equal(one.summary, other.summary, check_exact=True)
    for arm, visits in one.visits.items():
        for field in fields(visits):
            mine, theirs = (getattr(each, field.name) for each in (visits, other.visits[arm]))
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)
    for arm, curves in one.curves.items():
        np.testing.assert_array_equal(curves.times, other.curves[arm].times)
        for name, values in curves.values.items():
            np.testing.assert_array_equal(values, other.curves[arm].values[name])
    return set(one.visits) == set(other.visits) and set(one.curves) == set(other.curves)


@pytest.fixture(scope="module")
def whole() -> TrialResult:
    return TRIAL.run(chunk=10, n_jobs=1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    TRIAL.run(chunk=10, n_jobs=1, checkpoint=folder)
    return folder


@pytest.fixture
def kept(finished, tmp_path) -> Path:
    """A copy of the run folder of the whole trial."""
    shutil.copytree(finished, tmp_path / "kept")
    return tmp_path / "kept"


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/part_*"))  # not into stages, which come and go


def again(kept: Path, **how) -> TrialResult:
    return TRIAL.run(chunk=10, n_jobs=1, checkpoint=kept, **how)


class Count(ArrayWork):
    """Work that notes what it is asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def __call__(self, start: int, stop: int):
        self.calls.append((start, stop))
        return {"square": np.arange(start, stop) ** 2, "word": np.array([f"é{k}" for k in range(start, stop)])}


# --- pieces ---


def test_pieces_stay_within_blocks_and_cover_them():
    assert list(pieces([5, 2], 3)) == [(0, 3), (3, 5), (5, 7)]
    assert list(pieces([0, 1], 3)) == [(0, 1)]


@given(blocks=st.lists(st.integers(0, 40), max_size=5), chunk=st.integers(1, 50))
def test_pieces_are_every_item_once(blocks, chunk):
    found = list(pieces(blocks, chunk))
    assert [k for start, stop in found for k in range(start, stop)] == list(range(sum(blocks)))
    assert all(0 < stop - start <= chunk for start, stop in found)


@pytest.mark.parametrize("n_jobs", [1, 2, -1, 1000])
def test_results_come_in_order_whatever_the_threads(n_jobs):
    found = joined(run_pieces(Count(), [50, 33], 7, what="numbers", n_jobs=n_jobs))
    np.testing.assert_array_equal(found["square"], np.arange(83) ** 2)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_million_million_items_are_begun_at_once(n_jobs):
    work = Count()
    first = list(itertools.islice(run_pieces(work, [10**12], 3, what="numbers", n_jobs=n_jobs), 2))
    assert len(work.calls) < 10**6  # threads go on until they are stopped
    np.testing.assert_array_equal(first[1]["square"], [9, 16, 25])


@pytest.mark.parametrize(("chunk", "n_jobs"), [(0, 1), (-1, 1), (1, 0)])
def test_impossible_pieces_are_refused_before_any_work(chunk, n_jobs):
    work = Count()
    with pytest.raises(InputError, match="give 1 or more of both"):
        run_pieces(work, [3], chunk, what="numbers", n_jobs=n_jobs)
    assert not work.calls


# --- sizes ---


def test_absurd_trials_are_refused_before_any_work_with_what_they_would_take(monkeypatch):
    monkeypatch.setattr(Trial, "measure", None)
    for n in (10**12, 10**24, 10**400):
        with pytest.raises(InputError, match=r"patients .* would take .* GB of memory .* (days|years) on") as said:
            Trial(Population(MODEL), [50e6], n).run(keep_visits=False, columns=())
        assert "\n" not in str(said.value)
        assert len(str(said.value)) < 300


def test_absurd_sweeps_and_selections_are_refused():
    axes = {"dose": [1e6, 2e6], "burden": [5, 50]}
    with pytest.raises(InputError, match="GB of memory"):
        sweep_trials(Trial(Population(MODEL), [1e6], 10**12), axes)
    with pytest.raises(InputError, match="GiB of memory"):
        cartsim.sweep(MODEL, {name: np.linspace(1, 2, 10**6) for name in axes})
    with pytest.raises(InputError, match="GB of memory"):
        select(Population(MODEL), 10**12, {"Cmax": (1, None)})


def test_what_memory_holds_is_allowed(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 24 * 10**9)
    design = Trial(Population(MODEL), [50e6, 150e6, 450e6, 800e6], 10**6)
    judge, planned = Readout(), (len(design.population.varied), design.protocol.visits)
    check_size(4 * 10**6, "patients", kept=4 * 10**6 * judge.bytes_kept(*planned), working=design.bytes_working())
    few = Readout(keep_visits=False, columns=("best",))
    check_size(10**8, "patients", kept=10**8 * few.bytes_kept(*planned), n_jobs=-1)
    with pytest.raises(InputError, match="100,000,000 patients"):
        check_size(10**8, "patients", kept=10**8 * judge.bytes_kept(*planned))


def test_the_estimate_is_near_what_is_kept(whole):
    n = len(whole.patients)
    table = whole.patients.memory_usage(index=False).sum() / n
    visits = sum(getattr(v, f.name).nbytes for v in whole.visits.values() for f in fields(v)) / n
    assert Readout().bytes_kept(len(TRIAL.population.varied), PLANNED.visits) == pytest.approx(table + visits, rel=0.25)


# --- interruption ---


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_interrupted_trial_goes_on_bit_for_bit(whole, tmp_path, monkeypatch, capsys, n_jobs):
    measure, calls = Trial.measure, []

    def interrupted(self, arm, start, stop, **how):
        calls.append((arm, start, stop))
        if (arm, start) == (1, 0):
            raise KeyboardInterrupt
        return measure(self, arm, start, stop, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Trial, "measure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            TRIAL.run(chunk=10, n_jobs=1, checkpoint=tmp_path)
    assert [path.name for path in parts(tmp_path)] == ["part_0_10.npz", "part_10_20.npz", "part_20_25.npz"]
    capsys.readouterr()
    assert same(TRIAL.run(chunk=10, n_jobs=n_jobs, checkpoint=tmp_path), whole)
    (folder,) = tmp_path.iterdir()
    assert capsys.readouterr().err == f"cartsim: 25 of 39 patients taken from {folder}\n"
    with monkeypatch.context() as patch:
        patch.setattr(Trial, "measure", None)  # nothing is left to be simulated
        assert same(TRIAL.run(chunk=10, n_jobs=n_jobs, checkpoint=tmp_path), whole)


def test_a_killed_trial_goes_on_bit_for_bit(tmp_path):
    code = (
        "import itertools, os, signal, sys, cartsim as cs\n"
        "measure, calls = cs.Trial.measure, itertools.count()\n"
        "def killed(*arguments, **how):\n"
        "    if next(calls) == 7:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return measure(*arguments, **how)\n"
        "cs.Trial.measure = killed\n"
        "design = cs.Trial(cs.Population('bb2121_clinical'), [450e6], 400, curves=10)\n"
        "design.run(chunk=20, n_jobs=2, checkpoint=sys.argv[1], keep_visits=False)\n"
    )
    path = os.pathsep.join([str(Path(cartsim.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    killed = subprocess.run([sys.executable, "-c", code, tmp_path], env=os.environ | {"PYTHONPATH": path})
    assert killed.returncode == -signal.SIGKILL
    assert len(parts(tmp_path)) in (6, 7)  # of the seven calls before, the other thread's may not have come to its end
    (folder,) = tmp_path.iterdir()
    (folder / ".cartsim-00000000000000aa" / "files").mkdir(parents=True)  # as a kill while writing leaves it
    design = Trial(Population("bb2121_clinical"), [450e6], 400, curves=10)
    resumed = design.run(chunk=20, n_jobs=1, checkpoint=tmp_path, keep_visits=False)
    assert len(parts(tmp_path)) == 20
    assert not list(folder.glob(".cartsim-*"))
    assert same(resumed, design.run(keep_visits=False))


def test_a_sweep_of_trials_goes_on_bit_for_bit(tmp_path):
    axes = {"dose": [5e7, 8e8], "burden": [5.0, 50.0]}
    trial = Trial(Population(MODEL), [450e6], 10)
    first = sweep_trials(trial, axes, n_jobs=1)
    sweep_trials(trial, axes, n_jobs=1, checkpoint=tmp_path)
    assert len(parts(tmp_path)) == 4
    parts(tmp_path)[1].unlink()
    pd.testing.assert_frame_equal(sweep_trials(trial, axes, n_jobs=1, checkpoint=tmp_path).table, first.table)


def test_a_checkpoint_is_of_the_same_chunks_whatever_the_threads(tmp_path):
    design = Trial(Population(MODEL), [450e6], 250, curves=0)
    for n_jobs in (1, 2):
        design.run(n_jobs=n_jobs, checkpoint=tmp_path, keep_visits=False, columns=())
    assert [path.name for path in parts(tmp_path)] == ["part_0_250.npz"]


# --- what lies in the folder ---


def pickle_bomb(planted: Path) -> bytes:
    class Bomb:
        def __reduce__(self):
            return os.system, (f"touch {planted}",)

    return pickle.dumps(Bomb())


def test_a_pickle_in_place_of_a_part_is_not_run(kept, whole, tmp_path, capsys):
    planted = tmp_path / "planted"
    for path in parts(kept):
        path.write_bytes(pickle_bomb(planted))
    assert same(again(kept), whole)
    assert not planted.exists()
    said = capsys.readouterr().err
    assert said.count("not a part of a run; it is computed again") == 5
    assert "patients taken from" not in said


def test_a_pickle_inside_a_part_is_not_run(kept, whole, tmp_path, capsys):
    planted = tmp_path / "planted"
    bomb = np.empty(1, object)
    bomb[0] = type("Bomb", (), {"__reduce__": lambda self: (os.system, (f"touch {planted}",))})()
    for path in parts(kept):
        with np.load(path) as file:
            arrays = dict(file)
        with path.open("wb") as file:
            np.savez(file, **arrays | {"array_0": bomb})
    assert same(again(kept), whole)
    assert not planted.exists()
    assert capsys.readouterr().err.count("it is computed again") == 5


def test_swapped_parts_are_found(kept, whole, capsys):
    one, other = parts(kept)[:2]
    spare = one.with_name("spare")
    one.rename(spare)
    other.rename(one)
    spare.rename(other)
    assert same(again(kept), whole)
    said = capsys.readouterr().err
    assert f"{one}: holds 10 to 20; it is computed again" in said
    assert f"{other}: holds 0 to 10; it is computed again" in said
    assert "19 of 39 patients taken from" in said
    again(kept)
    assert "39 of 39 patients taken from" in capsys.readouterr().err  # the parts are mended


def test_parts_of_another_run_are_found(kept, whole, tmp_path, capsys):
    replace(TRIAL, population=Population(MODEL, 5)).run(chunk=10, n_jobs=1, checkpoint=tmp_path / "other")
    for own, other in zip(parts(kept), parts(tmp_path / "other"), strict=True):
        shutil.copy(other, own)
    assert same(again(kept), whole)
    assert capsys.readouterr().err.count("of another run") == 5


def test_missing_rows_are_found(kept, whole, capsys):
    """Also where somebody took the pain to renew the checksum."""
    path = parts(kept)[0]
    with np.load(path) as file:
        arrays = dict(file)
    about = json.loads(arrays.pop("about").tobytes())
    fewer = {name: arrays[f"array_{k}"][:-1] for k, name in enumerate(about["names"])}
    for renewed in (False, True):
        if renewed:
            about["checksum"] = runs._checksum(about["key"], 0, 10, fewer)
        with path.open("wb") as file:
            numbered = {f"array_{k}": values for k, values in enumerate(fewer.values())}
            np.savez(file, about=runs.as_bytes(about), **numbered)
        assert same(again(kept), whole)
        assert f"{path}: " in capsys.readouterr().err


def test_changed_numbers_are_found(kept, whole, capsys):
    """A number changed within an archive that is whole in itself."""
    path = parts(kept)[2]
    with np.load(path) as file:
        arrays = dict(file)
    k = json.loads(arrays["about"].tobytes())["names"].index("visits/mprotein")
    arrays[f"array_{k}"][0, 0] = 1.0
    with path.open("wb") as file:
        np.savez(file, **arrays)
    assert same(again(kept), whole)
    assert f"{path}: damaged, its checksum is wrong; it is computed again" in capsys.readouterr().err


@pytest.fixture
def small(tmp_path):
    """A run folder with one small part, and how to read it: the result, or None."""
    kept = Kept(tmp_path / "small", "count", {"a": 1})
    joined(run_pieces(Count(), [5], 5, what="numbers", n_jobs=1, kept=kept))
    opened, (path,) = runs._open(kept, 5, 5), parts(tmp_path / "small")
    return path, lambda: opened.read(Count(), 0, 5)


def unharmed(found) -> bool:
    return found is None or (
        list(found[0]) == ["square", "word"]
        and found[0]["square"].tolist() == [0, 1, 4, 9, 16]
        and found[0]["word"].tolist() == ["é0", "é1", "é2", "é3", "é4"]
    )


def test_no_flipped_bit_gives_a_wrong_result(small, capsys):
    path, read = small
    good = path.read_bytes()
    assert read() is not None
    missed = 0
    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1 << place % 8]) + good[place + 1 :])
        found = read()
        assert unharmed(found), place
        missed += found is not None
    assert missed < 0.25 * len(good)  # dates and the like in the archive's own headers
    assert capsys.readouterr().err.count("it is computed again") == len(good) - missed


def test_no_part_cut_short_or_made_longer_gives_a_wrong_result(small):
    path, read = small
    good = path.read_bytes()
    for stop in range(0, len(good), 7):
        path.write_bytes(good[:stop])
        assert read() is None
    for bad in (b"", b"PK\3\4", b"\x93NUMPY", good + good, good[::-1], b"\0" * 1000):
        path.write_bytes(bad)
        assert unharmed(read())


def test_no_part_unfolds_into_more_than_it_is(small, capsys):
    path, read = small
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("about.npy", b"\0" * 10**8)
    assert path.stat().st_size < 10**6
    assert read() is None
    assert "compressed" in capsys.readouterr().err


def test_what_is_no_file_is_no_part(small):
    path, read = small
    path.unlink()
    os.mkfifo(path)
    assert read() is None
    path.unlink()
    path.symlink_to(path.parent / "nowhere")
    assert read() is None


def test_a_damaged_manifest_is_written_anew(kept, whole):
    (path,) = kept.rglob("manifest.json")
    good = path.read_text()
    for bad in ("", '{"key": "0"}', "\0"):
        path.write_text(bad)
        assert same(again(kept), whole)
        assert path.read_text() == good


def test_no_file_is_read_as_a_pickle():
    source = Path(cartsim.__file__).parent
    for path in source.rglob("*.py"):
        text = path.read_text()
        if path.name == "machine_code.py":  # numba's own form of machine code, of bytes that cartsim.cache has checked
            text = text.replace("import pickle", "", 1).replace("pickle.loads(data)", "", 1)
        assert not re.search(r"pickle\.load|import pickle|read_pickle|allow_pickle=True|joblib\.load", text), path


# --- what is the same run ---


def test_the_manifest_says_what_is_run(kept):
    (path,) = kept.rglob("manifest.json")
    manifest = json.loads(path.read_text())
    assert (manifest["format"], manifest["kind"], manifest["chunk"], manifest["total"]) == (1, "trial", 10, 39)
    assert manifest["versions"]["cartsim"] == cartsim.__version__
    assert {"numpy", "numba", "scipy", "code"} <= set(manifest["versions"])
    model = manifest["inputs"]["trial"]["Trial"]["population"]["Population"]["model"]["Model"]
    assert model["digest"] == MODEL.digest
    assert model["parameters"]["Kg"]["value"] == MODEL.parameters["Kg"].value
    assert path.parent.name == f"trial-{manifest['key'][:16]}"


POPULATION = Population(MODEL)
CHANGED = {
    "seed": replace(TRIAL, population=Population(MODEL, 1)),
    "rtol": replace(TRIAL, solver=Solver(rtol=1e-5)),
    "extinction": replace(TRIAL, solver=Solver(extinction=1.0)),
    "curves": replace(TRIAL, curves=3),
    "n": replace(TRIAL, arms=(Arm(50e6, n=25), Arm(450e6, n=15))),
    "dose": replace(TRIAL, arms=(Arm(50e6, n=25), Arm(450e6 * (1 + 1e-15), n=14, name="450e6"))),
    "arm's name": replace(TRIAL, arms=(Arm(50e6, n=25), Arm(450e6, n=14, name="b"))),
    "regimen": replace(TRIAL, arms=(Arm(50e6, n=25), Arm(n=14, name="450e6", regimen=Regimen.repeated(1e6, [0, 90])))),
    "retreatment": replace(
        TRIAL,
        arms=(
            Arm(50e6, n=25),
            Arm(n=14, name="450e6", regimen=Regimen.single(450e6, retreatment=Retreatment(above_nadir=2.0))),
        ),
    ),
    "visits": replace(TRIAL, protocol=replace(PLANNED, visits=Visits(landmarks=(6.0, 12.0)))),
    "assay": replace(TRIAL, protocol=replace(PLANNED, assays={"transgene": Assay(cv=0.3, lod=1.0)})),
    "conduct": replace(TRIAL, protocol=replace(PLANNED, conduct=Conduct(missed=0.1, death=0.02))),
    "variability": replace(TRIAL, population=Population(MODEL, variability={"Kg": lognormal(0.1)})),
    "correlation": replace(TRIAL, population=Population(MODEL, correlation={("K12", "K21"): 0.5})),
    "correlation frame": replace(
        TRIAL,
        population=Population(MODEL, correlation=pd.DataFrame([[1, 0.4], [0.4, 1]], ["K12", "K21"], ["K12", "K21"])),
    ),
    "sampler": replace(TRIAL, population=Population(MODEL, sampler="sobol")),
    "values": replace(TRIAL, population=Population(MODEL.override({"Kg": 0.009}))),
    "derived value": replace(TRIAL, population=Population(MODEL.override({"Tumor0": 2.5e9}))),
}
JUDGES = {
    "rules": Readout(Protocol(rules=Rules(IMWG2016(ife_limit=0.1)))),
    "censoring": Readout(Protocol(rules=Rules(censoring="ema"))),
    "lloq": Readout(Protocol(rules=Rules(lloq=51.0))),
    "visits kept": Readout(keep_visits=False),
    "columns": Readout(columns=("best",)),
}


def test_everything_that_a_trial_depends_on_is_in_the_key(tmp_path, monkeypatch):
    def key(trial=TRIAL, judge=Readout(), chunk=10):  # noqa: B008 (frozen)
        kept = Kept(tmp_path, "trial", {"trial": trial, "reduce": judge})
        return runs._open(kept, chunk, sum(arm.n for arm in trial.arms)).key

    found = {"as it is": key(), "chunk": key(chunk=11)}
    found |= {name: key(trial) for name, trial in CHANGED.items()}
    found |= {name: key(judge=judge) for name, judge in JUDGES.items()}
    for name in runs._versions():
        with monkeypatch.context() as patch:
            other = runs._versions() | {name: "another"}
            patch.setattr(runs, "_versions", lambda other=other: other)
            found[f"version of {name}"] = key()
    assert len(set(found.values())) == len(found), found
    assert key(replace(TRIAL)) == found["as it is"]
    assert len(list(tmp_path.iterdir())) == len(found)


def test_another_version_takes_nothing_from_this_one(kept, whole, monkeypatch, capsys):
    other = runs._versions() | {"cartsim": "0.0.9"}
    monkeypatch.setattr(runs, "_versions", lambda: other)
    assert same(again(kept), whole)
    assert "taken from" not in capsys.readouterr().err
    assert len(list(kept.iterdir())) == 2


@pytest.mark.parametrize("reduce", [len, lambda seen: seen, Rules()])
def test_results_that_cannot_be_kept_are_refused(reduce, tmp_path):
    with pytest.raises(InputError, match=r"checkpoint: what .* returns cannot be kept in files"):
        TRIAL.map(reduce, checkpoint=tmp_path)
    assert not list(tmp_path.iterdir())


def test_inputs_that_cannot_be_described_are_refused(tmp_path):
    @dataclass(frozen=True)
    class Mine(Population):
        def table(self, start, stop, *, complete=False):
            return super().table(start, stop, complete=complete)

    with pytest.raises(InputError, match=r"it cannot be told whether a Mine will be the same"):
        replace(TRIAL, population=Mine(MODEL)).run(checkpoint=tmp_path)
    for value in (len, object(), Path("x"), {1: lambda: 0}, 1j, np.array([len])):
        with pytest.raises(InputError, match="will be the same the next time"):
            describe(value)
    assert not list(tmp_path.iterdir())


def test_descriptions_tell_apart_what_differs():
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=["x", "y"])
    values = [
        None, True, 1, 1.0, "1", -0.0, 0.0, 5e-324, float("nan"), float("inf"), [1], {"1": 1}, {1: 1}, "nan",
        np.arange(3), np.arange(3.0), np.arange(20), np.arange(20.0), np.arange(20).reshape(4, 5), np.array(["a", "b"]),
        np.array(["a", "b"], object), frame, frame.rename(columns={"a": "b"}), frame.rename(index={"x": "z"}),
        frame.astype(int), Assay(), Assay(cv=0.1),
    ]  # fmt: skip
    texts = [json.dumps(describe(value), allow_nan=False) for value in values]
    assert len(set(texts)) == len(texts)
    assert texts == [json.dumps(describe(value), allow_nan=False) for value in values]
    assert describe(np.float64(0.1)) == describe(0.1)


def test_an_unwritable_checkpoint_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("a file")
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper", "\0"):
        work = Count()
        with pytest.raises(InputError, match="checkpoint folder"):
            run_pieces(work, [3], 1, what="numbers", kept=Kept(folder, "count", {}))
        assert not work.calls


# --- tables as arrays ---


@settings(deadline=None)
@given(
    numbers=st.lists(st.floats(allow_nan=True), min_size=3, max_size=3),
    whole=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3),
    words=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=3, max_size=3),
    codes=st.lists(st.integers(-1, 1), min_size=3, max_size=3),
    truth=st.lists(st.sampled_from([True, False, None]), min_size=3, max_size=3),
)
def test_a_frame_comes_back_as_it_was(numbers, whole, words, codes, truth):
    frame = pd.DataFrame(
        {
            "numbers": numbers,
            "whole": np.array(whole, np.int64),
            "small": np.array(codes, np.int16),
            "words": words,
            "boolean": pd.array(truth, dtype="boolean"),
            "ordered": pd.Categorical.from_codes(codes, ["low", "é"], ordered=True),
            "plain": pd.Categorical.from_codes(codes, ["a", "b"]),
            "flag": np.array(codes) > 0,
        }
    )
    found = unpack_frame(pack_frame(frame), 3)
    pd.testing.assert_frame_equal(found, frame, check_exact=True)
    assert found["numbers"].to_numpy().tobytes() == frame["numbers"].to_numpy().tobytes()
    with pytest.raises(ValueError, match="3 rows of"):
        unpack_frame(pack_frame(frame), 4)


@pytest.mark.parametrize("column", [[1, "a"], [None, "a"], [[1], [2]], pd.to_datetime(["2020-01-01", "2020-01-02"])])
def test_a_column_that_a_part_cannot_hold_is_refused(column):
    with pytest.raises(TypeError, match="which a part cannot hold"):
        pack_frame(pd.DataFrame({"x": column}))
