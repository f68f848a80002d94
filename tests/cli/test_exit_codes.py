"""Hostile options and files, command by command: exit code 2 and one line, before any work and within seconds."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import re
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from processes import LONGEST
from typer.testing import CliRunner

import cartsim
from cartsim.cli.app import app

CLINICAL = "bb2121_clinical"
DIGITS = "9" * 5000
SIMULATE = ("simulate", CLINICAL, "--times", "0:10:1")
SWEEP = ("sweep", "--over", "dose=1e8:2e8:2", "--over", "burden=10:20:2")
SENSITIVITY = ("sensitivity", CLINICAL, "--parameters", "Kel_e,Kel_m")
FIT = ("fit", CLINICAL, "{good}", "--estimate", "Kel_e")
JUDGE = ("judge", "{stored}")

SECONDS = 20.0  # far above what any case takes, far below a hang

# Every numeric option of every command.
WHOLE = {
    SIMULATE: ("--n", "--seed", "--jobs"),
    ("trial",): ("--n", "--seed", "--jobs", "--chunk"),
    SWEEP: ("--n", "--seed", "--jobs"),
    ("dose-response",): ("--n", "--seed", "--jobs"),
    ("regimens",): ("--n", "--seed", "--jobs"),
    SENSITIVITY: ("--samples", "--seed", "--jobs"),
    FIT: ("--starts", "--seed", "--jobs"),
    ("fit-responses", "crb401_synthetic"): ("--draws", "--seed", "--jobs"),
    ("population", "crb401_synthetic"): ("--explore", "--smooth", "--seed", "--jobs"),
}
REAL = {
    SIMULATE: ("--dose", "--rtol", "--extinction"),
    ("trial",): (
        *("--rtol", "--extinction", "--lloq", "--missed", "--dropout", "--new-therapy", "--death", "--burden"),
    ),
    SWEEP: ("--horizon", "--day", "--below", "--rtol", "--extinction"),
    ("dose-response",): ("--rtol", "--extinction", "--dose", "--landmarks"),
    ("regimens",): ("--dose", "--delay", "--rtol", "--extinction", "--burden", "--retreat-dose"),
    SENSITIVITY: ("--dose", "--horizon", "--threshold", "--rtol"),
    FIT: ("--dose", "--level"),
    ("fit-responses", "crb401_synthetic"): ("--pd-absolute",),
    ("population", "crb401_synthetic"): ("--pd-absolute",),
    ("nca", "{own}"): ("--lloq", "--horizon"),
}
WHOLE_VALUES = ("-1000000", "1e24", "1" + "0" * 24, DIGITS, "nan")
REAL_VALUES = ("nan", "inf", "1e999", DIGITS, "many")
ALSO = ("", "-inf", "-" + DIGITS, "1:2", "1,5 mg", "0x10", "1_", "\u0661\u0662x")  # for a command each


def _numbers() -> Iterator[tuple[str, ...]]:
    for words, options in WHOLE.items():
        yield from ((*words, f"{option}={value}") for option in options for value in WHOLE_VALUES)
        yield from ((*words, f"--jobs={value}") for value in ("100000", "0", "-7"))
        if "--n" in options:
            yield (*words, "--n=0")
    for words, options in REAL.items():
        yield from ((*words, f"{option}={value}") for option in options for value in REAL_VALUES)
    yield from ((*SIMULATE, f"{option}={value}") for option in ("--n", "--jobs", "--dose", "--rtol") for value in ALSO)


NUMBERS = list(_numbers())

TEXTS = [
    *(
        (*words, f"{option}={value}")
        for words, option in (
            (SIMULATE, "--set"), (("trial",), "--set"), (SWEEP, "--set"), (("dose-response",), "--set"),
            (("regimens",), "--set"), (SENSITIVITY, "--set"), (FIT, "--set"), (FIT, "--start"), (("trial",), "--omega"),
            (("trial",), "--correlation"), (("trial",), "--criteria"), (JUDGE, "--criteria"),
            (("respond", "{own}"), "--criteria"),
            (("population", "crb401_synthetic"), "--omega"), (("fit-responses", "crb401_synthetic"), "--omega"),
            (("fit-responses", "crb401_synthetic"), "--criteria"), (("trial",), "--assay"), (FIT, "--limits"),
            (FIT, "--error"), (("regimens",), "--give"), (("fit-responses", "crb401_synthetic"), "--error"),
        )
        for value in ("", "=", "Kel_e", "Kel_e=", "=1", "Kel_e=1=2", "Kel_e=1e999", f"Kel_e={DIGITS}", "Kel_e=nan",
                      f"{'x' * 100_000}=1", "Kel_e=1\nKel_m=2", "Kel_e=\x1b[31m")
    ),
    (*SIMULATE, "--set", "Kel_e=1", "--set", "Kel_e=2"),
    ("simulate", CLINICAL, "--times", f"0:{DIGITS}:1"),
    ("simulate", CLINICAL, "--times", "0:1:1e-999999"),
    ("simulate", CLINICAL, "--times", "0:1e300:1e-300"),
    ("simulate", CLINICAL, "--times", "1e999999999"),
    ("simulate", CLINICAL, "--times", "1e400"),
    ("simulate", CLINICAL, "--times", "0:1000000:1"),
    ("simulate", CLINICAL, "--times", "," * 100_000),
    (*SIMULATE, "--outputs", "x" * 100_000),
    (*SIMULATE, "--outputs", "\x1b]0;x\x07"),
    ("sweep", "--over", "dose=1:2:1e999999999", "--over", "burden=10:20:2"),
    ("sweep", "--over", f"dose=1:2:{DIGITS}", "--over", "burden=10:20:2"),
    ("sweep", "--over", "dose=1e-999999999:2:2", "--over", "burden=10:1e999999999:2"),
    ("sweep", "--over", "dose=1:2:1000000", "--over", "burden=1:2:1000000"),
    ("sweep", "--rate", "--over", "dose=1:2:1000000", "--over", "burden=1:2:1000000"),
    (*SWEEP, "--horizon", "1e300"), (*SWEEP, "--horizon", "1e12"), (*SWEEP, "--horizon=-1"), (*SWEEP, "--horizon=0"),
    (*SWEEP, "--day=-1"), (*SWEEP, "--day=1e300"),
    (*SENSITIVITY, "--horizon", "1e300"), (*SENSITIVITY, "--horizon=0"),
    (*SENSITIVITY, "--samples", str(2**50)), (*SENSITIVITY, "--samples", str(2**62)),
    (*SENSITIVITY, "--samples", str(2**50), "--method", "efast"),
    (*SENSITIVITY, "--samples", str(2**50), "--method", "responders", "--threshold", "1"),
    (*SENSITIVITY, "--range", "factor:nan"), (*SENSITIVITY, "--range", f"factor:{DIGITS}"),
    ("sensitivity", CLINICAL, "--parameters", "Kel_e=0:1e999"), ("sensitivity", CLINICAL, "--parameters", ""),
    (*SIMULATE, "--n", "100000000000"), (*SIMULATE, "--n", str(2**62)),
    ("simulate", CLINICAL, "--times", "0:600:0.001", "--n", "10000000"),
    ("dose-response", "--dose", "1:2:1e99999999"), ("dose-response", "--dose", "1e999"),
    ("dose-response", "--landmarks", "1e300"), ("dose-response", "--landmarks", "-1"),
    ("trial", "--dose", f"{DIGITS}"), ("trial", "--dose", "1e999999999"), ("trial", "--dose", ","),
    ("trial", "--burden", f"1:{DIGITS}"), ("trial", "--followup", f"{DIGITS}:1:2"),
    ("trial", "--followup", "nan:nan:nan"), ("trial", "--set", "Kel_e=1e-999999999999"),
    ("regimens", "--give", f"x=0:{DIGITS}"), ("regimens", "--give", "x=nan:1"), ("regimens", "--give", "x=1e999:1"),
    ("figure", "x" * 100_000), ("figure", "2b\n"), ("figure", "../2b"),
    ("show", "x" * 100_000), ("show", "../../etc/passwd"), ("show", "/dev/zero"), ("show", "x" * 5000 + ".toml"),
    ("show", "http://localhost/x.toml"), ("show", ""), ("show", "a\nb"), ("show", f"{CLINICAL}:"),
    ("fit", CLINICAL, "{good}", "--estimate", ""), ("fit", CLINICAL, "{good}", "--estimate", "x" * 100_000),
    ("x" * 100_000,), ("--" + "x" * 100_000,), ("",),
]  # fmt: skip

LONG = "x" * 300
DEEP = "/".join(["x" * 200] * 30)
FOLDER_COMMANDS = (("trial",), SWEEP, ("dose-response",), ("regimens",), SENSITIVITY, FIT, ("figure", "2b"),
                   ("fit-responses", "crb401_synthetic"), ("population", "crb401_synthetic"))  # fmt: skip
FILE_COMMANDS = (SIMULATE, JUDGE, ("respond", "{own}"), ("nca", "{own}"))
NO_FOLDERS = (LONG, DEEP, "", "{good}", "{good}/below", "/dev/null", "/dev/null/x")
NO_FILES = (f"{LONG}.csv", f"{'x' * 248}.csv", f"{DEEP}.csv", "", "{folder}", "{good}/below.csv", "none/below.csv",
            "/dev/null", "x.csv.gz", "x", "x\n.txt")  # fmt: skip
NO_TRIALS = (LONG, DEEP, "", "{good}", "none", "/dev/null", "{folder}", "http://localhost/x")
PATHS = [
    *((*words, "--out", path) for words in FOLDER_COMMANDS for path in NO_FOLDERS),
    *((*words, "--checkpoint", path) for words in (("trial",), SWEEP) for path in NO_FOLDERS),
    *((*words, "--out", path) for words in FILE_COMMANDS for path in NO_FILES),
    *(("judge", path) for path in NO_TRIALS),
]

# What reads a file, with "{file}" for it.
READERS = {
    "patients": (*SIMULATE, "--patients", "{file}"),
    "respond": ("respond", "{file}"),
    "respond-patients": ("respond", "{own}", "--events", "{file}"),
    "nca": ("nca", "{file}"),
    "fit": ("fit", CLINICAL, "{file}", "--estimate", "Kel_e"),
    "prior": (*FIT, "--prior", "{file}"),
    "fit-responses": ("fit-responses", "{file}"),
    "population": ("population", "{file}"),
    "figure-2a": ("figure", "2a", "--data", "{file}"),
    "figure-2b": ("figure", "2b", "--data", "{file}"),
    "figure-5a": ("figure", "5a", "--data", "{file}"),
}
# A table that each of them would take, in which something is then wrong.
GOOD = {
    "patients": "id,burden\n1,50\n2,60\n",
    "respond": "id,time,value\n1,0,30\n1,28,3\n",
    "respond-patients": "id,baseline\n1,30\n",
    "nca": "id,time,value\n1,1,30\n1,28,3\n",
    "fit": "id,time,output,value\n1,1,transgene,30\n1,28,transgene,3\n",
    "prior": "name,estimate,rse\nKel_e,1,0.1\n",
    "fit-responses": "id,dose,day,category\n1,450e6,28,PR\n2,450e6,28,SD\n",
    "population": "id,dose,day,category\n1,450e6,28,PR\n2,450e6,28,SD\n",
    "figure-2a": "line,ET,viability\nDaudi,1,50\nDaudi,2,40\n",
    "figure-2b": "series,day,value\nvehicle,1,200\nvehicle,2,210\n",
    "figure-5a": "id,dose,day,category\n1,450e6,28,PR\n2,450e6,28,SD\n",
}


def _tar(content: bytes) -> bytes:
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w") as archive:
        entry = tarfile.TarInfo("table.csv")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return into.getvalue()


def _zip(content: bytes) -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("table.csv", content)
    return into.getvalue()


def _parquet(content: bytes) -> bytes:
    into = io.BytesIO()
    pd.read_csv(io.BytesIO(content)).to_parquet(into)
    return into.getvalue()


ZSTD = b"\x28\xb5\x2f\xfd\x04\x58\x41\x00\x00abc"
PACKED = {
    "zip": _zip,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "tar": _tar,
    "tar.gz": lambda content: gzip.compress(_tar(content)),
    "zst": lambda _: ZSTD,
    "parquet": _parquet,
    "xlsx": _zip,
}


def _wide(content: str) -> str:
    head, *rows = content.splitlines()
    return "\n".join([head + "".join(f",c{i}" for i in range(1_000_000)), *(row + "," * 1_000_000 for row in rows)])


def _last_cell(content: str, cell: str) -> str:
    return content.rstrip("\n").rpartition(",")[0] + f",{cell}\n"


# Every way in which the text of a table is spoiled: of its good text, the bytes of the file.
SPOILED = {
    "empty": lambda _: b"",
    "blank lines": lambda _: b"\n\n\n",
    "only header": lambda c: c.splitlines()[0].encode(),
    "no header": lambda c: c.partition("\n")[2].encode(),
    "null byte": lambda c: c.encode().replace(b"\n", b"\0\n", 2),
    "utf-16": lambda c: c.encode("utf-16"),
    "latin-1": lambda c: c.encode().replace(b"\n", b",\xe9\n"),
    "open quote": lambda c: c.encode() + b'"',
    "open quote early": lambda c: b'"' + c.encode(),
    "one column": lambda c: c.replace(",", ";").encode(),
    "tabs": lambda c: c.replace(",", "\t").encode(),
    "long row": lambda c: c.encode() + b"1,2,3,4,5,6,7\n",
    "repeated column": lambda c: "\n".join(f"{line},{line}" for line in c.splitlines()).encode(),
    "a million columns": lambda c: _wide(c).encode(),
    "huge field": lambda c: c.encode() + b"x" * 1_000_000,
    "control characters": lambda c: c.encode().replace(b"id", b"\x1b[31mid").replace(b"e", b"\x07"),
    "binary": lambda _: bytes(range(256)) * 100,
    "html": lambda _: b"<!DOCTYPE html>\n<html><body>not found, sorry</body></html>\n",
    "json": lambda _: json.dumps({"id": [1, 2], "value": [1, 2]}).encode(),
    "yaml bomb": lambda _: b"a: &a [1,1]\nb: &b [*a,*a]\n",
    "thousands of digits": lambda c: _last_cell(c, DIGITS).encode(),
    "1e999": lambda c: _last_cell(c, "1e999").encode(),
    "nan": lambda c: _last_cell(c, "nan?").encode(),
    "inf": lambda c: _last_cell(c, "inf").encode(),
    "1_000": lambda c: _last_cell(c, "1_000").encode(),
    "arabic digits": lambda c: _last_cell(c, "١٢").encode(),
    "formula": lambda c: _last_cell(c, "=1+1").encode(),
}  # fmt: skip


class Files:
    """The files that cases name in braces, made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.good = folder / "good.csv"
        self.good.write_text(GOOD["fit"])
        self.own = folder / "own.csv"
        self.own.write_text(GOOD["nca"].replace("1,1,30", "1,0,30"))
        self.stored = folder / "stored"
        self.stored.mkdir()

    def words(self, words: tuple[str, ...], file: Path | None = None) -> list[str]:
        named = {
            "{good}": self.good,
            "{own}": self.own,
            "{stored}": self.stored,
            "{folder}": self.folder,
            "{file}": file,
        }
        found = []
        for word in words:
            for name, path in named.items():
                word = word.replace(name, str(path))
            found.append(word)
        return found


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run a command that must be refused: exit code 2, one line, soon, nothing computed, nothing written."""

    def work(*_: object, **__: object) -> None:
        raise AssertionError("work has begun")

    def late(*_: object) -> None:
        raise TimeoutError(f"more than {SECONDS:g} s")

    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, late)
    files = Files(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    monkeypatch.setattr("cartsim.engine.kernel.compile_model", work)

    def run(words: tuple[str, ...], file: Path | None = None) -> str:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            result = CliRunner().invoke(app, files.words(words, file))
        finally:
            if hasattr(signal, "setitimer"):
                signal.setitimer(signal.ITIMER_REAL, 0)
        shown = f"{result.exit_code}: {result.output[:2000]}"
        assert result.exit_code == 2, shown
        assert re.fullmatch(r"cartsim: [^\n]+\n", result.stderr), shown
        assert result.stdout == "", shown
        assert result.stderr.isascii() or result.stderr[:-1].isprintable(), shown
        assert "bug of cartsim" not in result.stderr and "Traceback" not in result.stderr, shown
        assert len(result.stderr) < 2200, len(result.stderr)
        assert not re.search(r"\S{250}", result.stderr), shown
        assert not list(empty.iterdir())
        return result.stderr

    return run


def _name(value: object) -> str:
    return re.sub(r"[^\w=:.,-]+", "_", "_".join(value) if isinstance(value, tuple) else str(value))[:70]


@pytest.mark.parametrize("words", NUMBERS, ids=_name)
def test_numbers(refused, words):
    refused(words)


@pytest.mark.parametrize("words", TEXTS, ids=_name)
def test_texts(refused, words):
    refused(words)


@pytest.mark.parametrize("words", PATHS, ids=_name)
def test_paths(refused, words):
    refused(words)


@pytest.mark.parametrize("ending", PACKED)
@pytest.mark.parametrize("reader", READERS)
def test_archives_are_no_tables(refused, tmp_path, reader, ending):
    for name in (f"table.{ending}", "table.csv"):
        path = tmp_path / name
        path.write_bytes(PACKED[ending](GOOD[reader].encode()))
        assert name in refused(READERS[reader], path)


@pytest.mark.parametrize("spoiled", SPOILED)
@pytest.mark.parametrize("reader", READERS)
def test_spoiled_tables(refused, tmp_path, reader, spoiled):
    path = tmp_path / "table.csv"
    path.write_bytes(SPOILED[spoiled](GOOD[reader]))
    refused(READERS[reader], path)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link to a device", "missing", "bomb", "sparse"])
def test_special_files_are_no_tables(refused, tmp_path, reader, kind):
    path = tmp_path / "table.csv"
    if kind in ("pipe", "device", "link to a device") and not hasattr(os, "mkfifo"):
        pytest.skip("no such files here")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    elif kind == "bomb":
        path = tmp_path / "table.csv.gz"
        path.write_bytes(gzip.compress(b"id,value\n" + b"1,1\n" * 5_000_000))
    elif kind == "sparse":
        with path.open("wb") as file:
            file.truncate(2**31)
    refused(READERS[reader], Path("/dev/zero") if kind == "device" else path)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["http://localhost:9/x.csv", "s3://bucket/x.csv", "file:///etc/passwd", "ftp://x/y.csv",
                                  LONG, DEEP, "none.csv", "a\nb.csv", "$(touch x).csv", "`touch x`.csv"])  # fmt: skip
def test_names_of_files_are_names_only(refused, reader, name):
    words = tuple(name if word == "{file}" else word for word in READERS[reader])
    refused(words)


# --- a stored trial ---------------------------------------------------------------------------------------


def _summary(visits: object) -> str:
    rules = {"response": {}, "landmark": {}, "censoring": "fda", "lloq": 50}
    return json.dumps({"made_by": {}, "visits": visits, "rules": rules})


SUMMARIES = {
    "empty": "",
    "a list": "[]",
    "no visits": "{}",
    "null": "null",
    "deep": "[" * 100_000,
    "deep objects": '{"visits":' * 100_000,
    "digits": f'{{"visits": {{"response": [{DIGITS}]}}}}',
    "a long integer": f'{{"visits": {{"response": [1{"0" * 400}]}}}}',
    "nan": '{"visits": {"response": [NaN]}}',
    "infinite": '{"visits": {"response": [1, Infinity]}}',
    "text": _summary({"response": ["soon"]}),
    "a number": _summary(7),
    "a text": _summary("response"),
    "not a list": _summary({"response": 7}),
    "unknown": _summary({"responses": [1.0]}),
    "other days": _summary({"response": [29.0], "kinetics": [7.0], "landmarks": [6.0]}),
    "descending": _summary({"response": [2.0, 1.0]}),
    "binary": "\x80",
}
VISITS = {"response": [28.0], "kinetics": [7.0], "landmarks": [6.0]}
PATIENTS = pd.DataFrame(
    {"id": [0, 1], "arm": ["a", "a"], "dose": 450e6, "burden": 50.0, "M0": 30.0, "status": "ok", "new_therapy_day": 1e9,
     "death_day": 1e9, "end_day": 600.0, "change_6": -50.0, "mrd_lowest": 1.0}
)  # fmt: skip
SEEN = pd.DataFrame(
    {
        "id": [0, 0, 0, 1, 1, 1],
        "arm": "a",
        "time": [0.0, 7.0, 28.0] * 2,
        "mprotein": 30.0,
        "sbcma": -1.0,
        "mrd": 1e-4,
        "transgene": 9.0,
    }
)
TABLES = {
    "no patients": lambda p, v: (p[:0], v),
    "no visits": lambda p, v: (p, v[:0]),
    "a visit less": lambda p, v: (p, v[:-1]),
    "text": lambda p, v: (p, v.assign(mprotein="30")),
    "text in a patient": lambda p, v: (p.assign(burden="50"), v),
    "days as text": lambda p, v: (p, v.assign(time="0")),
    "another status": lambda p, v: (p.assign(status="well"), v),
    "arms mixed": lambda p, v: (p.assign(arm=["a", "b"]), v),
    "arms missing": lambda p, v: (p.assign(arm=[None, "a"]), v),
    "one arm in two places": lambda p, v: (
        pd.concat([p, p.assign(arm="b"), p]), pd.concat([v, v.assign(arm="b"), v])),
    "a column less": lambda p, v: (p.drop(columns="end_day"), v),
    "no residual disease": lambda p, v: (p.drop(columns="mrd_lowest"), v),
    "no residual disease at visits": lambda p, v: (p, v.drop(columns="mrd")),
    "negative": lambda p, v: (p, v.assign(mprotein=-1.0)),
    "infinite": lambda p, v: (p, v.assign(mprotein=float("inf"))),
    "lists": lambda p, v: (p, v.assign(mprotein=[[1.0]] * len(v))),
    "booleans": lambda p, v: (p, v.assign(mprotein=True)),
}  # fmt: skip


def stored(folder: Path, patients: pd.DataFrame, visits: pd.DataFrame, summary: str | None = None) -> Path:
    patients.to_parquet(folder / "patients.parquet", index=False)
    visits.to_parquet(folder / "visits.parquet", index=False)
    (folder / "summary.json").write_bytes((summary or _summary(VISITS)).encode("latin-1"))
    return folder


@pytest.mark.parametrize("kind", SUMMARIES)
def test_summaries_of_no_trial(refused, tmp_path, kind):
    folder = tmp_path / "stored"
    folder.mkdir(exist_ok=True)
    stored(folder, PATIENTS, SEEN, SUMMARIES[kind] or " ")
    refused(("judge", str(folder)))


@pytest.mark.parametrize("kind", TABLES)
def test_tables_of_no_trial(refused, tmp_path, kind):
    folder = tmp_path / "stored"
    folder.mkdir(exist_ok=True)
    stored(folder, *TABLES[kind](PATIENTS, SEEN))
    refused(("judge", str(folder)))


def test_the_trial_in_which_these_things_are_wrong_is_right_itself(tmp_path):
    result = CliRunner().invoke(app, ["judge", str(stored(tmp_path, PATIENTS, SEEN))])
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize("name", ["patients.parquet", "visits.parquet"])
@pytest.mark.parametrize("kind", ["cut", "flipped", "csv", "zip", "pipe", "folder", "many rows"])
def test_damaged_parquet(refused, tmp_path, name, kind, monkeypatch):
    folder = tmp_path / "stored"
    folder.mkdir(exist_ok=True)
    path = stored(folder, PATIENTS, SEEN) / name
    content = path.read_bytes()
    path.unlink()
    if kind == "pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("no such files here")
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "many rows":  # little on disk, more than memory holds
        monkeypatch.setattr("cartsim.memory.available", lambda: 10_000_000)
        pd.DataFrame({f"c{k}": 1.0 for k in range(10)}, index=range(1_000_000)).to_parquet(path, index=False)
        assert path.stat().st_size < 1_000_000
    else:
        middle = len(content) // 2
        other = {"cut": content[:middle], "flipped": content[:-200] + bytes(b ^ 255 for b in content[-200:]),
                 "csv": b"id\n1\n", "zip": _zip(content)}  # fmt: skip
        path.write_bytes(other[kind])
    refused(("judge", str(folder)))


# --- the process ------------------------------------------------------------------------------------------


def command(*words: str, shell: str = "") -> subprocess.Popen[str]:
    """``cartsim`` in a process of its own, through a shell where its streams are to be odd."""
    path = os.pathsep.join([str(Path(cartsim.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    run = ["sh", "-c", f'exec "$0" "$@" {shell}', sys.executable, "-m", "cartsim.cli", *words]
    odd = os.environ | {"PYTHONPATH": path}
    return subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=odd)


posix = pytest.mark.skipif(sys.platform == "win32", reason="streams and signals are of another kind")


@posix
@pytest.mark.parametrize(
    ("words", "shell", "code", "says"),
    [
        (("models",), ">&-", 0, ""),
        (("models",), "<&- >&-", 0, ""),
        (("models",), "2>&-", 0, ""),
        (("models",), ">&- 2>&-", 0, ""),
        (("show", "none"), "2>&-", 2, ""),
        (("show", "none"), ">&-", 2, "cartsim: no model 'none'"),
        (("--version",), ">/dev/full", 1, "cartsim: No space left on device\n"),
        (("models",), ">/dev/full", 1, "cartsim: No space left on device\n"),
        (("show", "none"), "2>/dev/full", 2, ""),
    ],
)
def test_streams_that_are_closed_or_full(words, shell, code, says):
    if "/dev/full" in shell and not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    process = command(*words, shell=shell)
    _, err = process.communicate(timeout=LONGEST)
    assert process.returncode == code, err
    assert err == says if says.endswith("\n") or not says else err.startswith(says)


@posix
@pytest.mark.parametrize(
    ("sent", "code", "says"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_told_to_stop_while_starting(sent, code, says, tmp_path):
    """The signal comes from within, when typer is about to be imported: no race with the start of Python."""
    (tmp_path / "typer.py").write_text(f"import os, time\nos.kill(os.getpid(), {int(sent)})\ntime.sleep(60)\n")
    path = os.pathsep.join([str(tmp_path), str(Path(cartsim.__file__).parents[1])])
    run = subprocess.run(
        [sys.executable, "-m", "cartsim.cli", "models"],
        capture_output=True, text=True, timeout=LONGEST, env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    assert (run.returncode, run.stdout, run.stderr) == (code, "", f"cartsim: {says}\n")
