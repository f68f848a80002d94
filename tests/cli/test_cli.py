"""The command line: what it prints and writes, and every bad input as one line and exit code 2."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from processes import LONGEST, wait_until
from typer.testing import CliRunner, Result

import cartsim
from cartsim.cli.app import app
from cartsim.endpoints.kinetics import nca
from cartsim.endpoints.respond import respond
from cartsim.endpoints.rules import IMWG2016
from cartsim.model.reader import load, names

CLINICAL = Path(load("bb2121_clinical").path)
TRIAL = ("trial", "--n", "30", "--dose", "150e6,450e6")
ONE_ARM = ("patients.parquet", "visits.parquet", "responses.csv", "pfs.csv", "persistence.csv", "survival.csv",
           "summary.json")  # fmt: skip
FILES = (*ONE_ARM, "comparisons.csv")  # of several arms
PICTURES = ("kinetics.png", "biomarkers.png", "spider.png", "responses.png", "pfs.png")


@pytest.fixture(autouse=True)
def _no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def done(*words: object) -> Result:
    result = call(*words)
    assert result.exit_code == 0, result.stderr
    return result


def started(*words: object, **settings: object) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    path = os.pathsep.join([str(Path(cartsim.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "cartsim.cli", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        **settings,  # type: ignore[call-overload]
    )


# --- bad input -----------------------------------------------------------------------------------------


@pytest.fixture
def bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run a command that must stop before any work, with one line and nothing written; return the line."""

    def work(*_: object, **__: object) -> None:
        raise AssertionError("work has begun")

    monkeypatch.setattr("cartsim.engine.kernel.compile_model", work)
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        result = call(*words)
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        assert re.fullmatch(r"cartsim: [^\n]+\n", result.stderr), result.stderr
        assert sorted(tmp_path.rglob("*")) == before
        return result.stderr

    return run


def edited(folder: Path, old: str, new: str) -> Path:
    """The clinical model with one change."""
    text = CLINICAL.read_text()
    assert old in text
    path = folder / "own.toml"
    path.write_text(text.replace(old, new, 1))
    return path


@pytest.mark.parametrize("words", [("trial",), ("simulate", "--times", "1"), ("show",)])
def test_unknown_model(bad, words):
    assert "no model 'bb2121_clinicle'; did you mean bb2121_clinical" in bad(words[0], "bb2121_clinicle", *words[1:])


@pytest.mark.parametrize("words", [("trial",), ("simulate", "--times", "1"), ("show",)])
@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[model]", "[model", "not a TOML file"),
        ('value = 0.176\nunit = "1/day"', 'value = 0.176\nunit = "1/h"', "unit"),
        ('rate = "Kg*Tumor', 'rate = "Kgg*Tumor', "undefined name 'Kgg'"),
        ('rate = "Kg*Tumor', "rate = \"__import__('os')*Tumor", "__import__"),
        ('rate = "Kg*Tumor', 'rate = "Kg.real*Tumor', "Kg.real"),
        ('rate = "Kg*Tumor', 'rate = "sin(Kg)*Tumor', "sin"),
    ],
)
def test_bad_model_file(bad, tmp_path, words, old, new, says):
    message = bad(words[0], edited(tmp_path, old, new), *words[1:])
    assert "own.toml" in message
    assert says in message


@pytest.mark.parametrize("dose", ["-5", "nan", "inf", "many"])
def test_bad_dose(bad, dose):
    bad("trial", f"--dose={dose}")
    bad("trial", f"--dose=450e6,{dose}")
    bad("simulate", "bb2121_clinical", "--times", "1", f"--dose={dose}")


def test_dose_twice(bad):
    assert "twice" in bad("trial", "--dose", "450e6,450e6")


@pytest.mark.parametrize("burden", ["-1", "101", "nan", "10:120", "-5:50", "90:10", "half"])
def test_burden_outside_0_to_100(bad, burden):
    assert "burden" in bad("trial", f"--burden={burden}")
    if ":" not in burden:
        assert "burden" in bad("trial", "--set", f"burden={burden}")
        assert "burden" in bad("simulate", "bb2121_clinical", "--times", "1", "--set", f"burden={burden}")


@pytest.mark.parametrize("words", [("trial",), ("simulate", "bb2121_clinical", "--times", "1")])
@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("Kel=100", "no parameter 'Kel'"),
        ("Pm=12", "does not enter the equations"),
        ("Kel_e", "write NAME=VALUE"),
        ("Kel_e=fast", "not a number"),
        ("Kel_e=-1", "not allowed"),
    ],
)
def test_bad_set(bad, words, setting, says):
    assert says in bad(*words, "--set", setting)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id,Kel\n1,100\n", "no parameter or covariate 'Kel'"),
        ("id,burden\n1,50\n1,60\n", "same id 1"),
        ("id,burden\n1,50\n2,101\n", "burden in row 2 (id 2) is '101'"),
        ("id,dose\n1,-5\n", "dose in row 1"),
        ("id,dose\n1,nan\n", "dose in row 1"),
        ("id,burden\n1,half\n", "'half'"),
        ("id,burden\n", "no patients"),
        ("", "empty"),
    ],
)
def test_bad_patients_file(bad, tmp_path, text, says):
    path = tmp_path / "patients.csv"
    path.write_text(text)
    assert says in bad("simulate", "bb2121_clinical", "--times", "1", "--patients", path)


def test_no_patients_file(bad, tmp_path):
    assert "no such file" in bad("simulate", "bb2121_clinical", "--times", "1", "--patients", tmp_path / "none.csv")


def test_two_sources_of_patients_or_doses(bad, tmp_path):
    path = tmp_path / "patients.csv"
    path.write_text("dose\n1e6\n")
    words = ("simulate", "bb2121_clinical", "--times", "1", "--patients", path)
    assert "--patients and --n" in bad(*words, "--n", 3)
    assert "dose column" in bad(*words, "--dose", "450e6")


@pytest.mark.parametrize("times", ["3,2", "1,1", "-1", "30:0:1", "0:30:0", "soon", "nan", "1:2", ""])
def test_bad_times(bad, times):
    bad("simulate", "bb2121_clinical", f"--times={times}")


@pytest.mark.parametrize("n", ["0", "-3", "1.5", "many"])
def test_bad_n(bad, n):
    bad("trial", f"--n={n}")
    bad("simulate", "bb2121_clinical", "--times", "1", f"--n={n}")


def test_omega_not_positive_semidefinite(bad):
    pairs = [word for pair in ("K12,K21=0.9", "K12,Kel_e=0.9", "K21,Kel_e=-0.9") for word in ("--correlation", pair)]
    assert "not positive semidefinite" in bad("trial", *pairs)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--omega=Kel_e=-1", "omega"),
        ("--omega=Kel=0.5", "Kel"),
        ("--omega=Kel_e", "NAME=VALUE"),
        ("--correlation=K12=0.5", "two names"),
        ("--correlation=K12,K21=2", "from -1 to 1"),
        ("--correlation=K12,Vb=0.5", "does not vary"),
        ("--sampler=halton", "sampler"),
        ("--criteria=ife=0.1", "no setting 'ife'"),
        ("--criteria=ife_limit=low", "ife_limit"),
        ("--criteria=cr=10", "the bins must fall"),
        ("--criteria=ife_limit", "write NAME=VALUE"),
        ("--censoring=sas", "fda or ema"),
        ("--lloq=-1", "lloq"),
        ("--lloq=nan", "lloq"),
        ("--assay=urine:cv=0.1", "urine"),
        ("--assay=transgene:error=0.1", "no setting 'error'"),
        ("--assay=transgene:cv=-1", "cv"),
        ("--assay=transgene:cv=much", "'much' is not a number"),
        ("--missed=2", "from 0 to 1"),
        ("--dropout=-1", "dropout"),
        ("--death=nan", "death"),
        ("--followup=long", "karmma"),
        ("--followup=1:2:3", "shortest"),
        ("--rtol=1", "rtol"),
        ("--rtol=nan", "rtol"),
        ("--extinction=-1", "extinction"),
        ("--jobs=0", "--jobs"),
        ("--chunk=0", "--chunk"),
        ("--seed=x", "--seed"),
        ("--doses=1", "No such option"),
    ],
)
def test_bad_trial_option(bad, option, says):
    assert says in bad("trial", option)


def test_assay_twice(bad):
    assert "two assays" in bad("trial", "--assay", "transgene:cv=0.1", "--assay", "transgene:cv=0.2")


def test_burden_twice(bad):
    assert "give one of the two" in bad("trial", "--burden", "10:90", "--omega", "burden=0.3")


@pytest.mark.parametrize("model", ["bb2121_invitro", "bb2121_xenograft"])
def test_model_that_is_no_patient(bad, model):
    assert "cannot be tried on patients" in bad("trial", model)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--outputs=transgen", "no output 'transgen'"),
        ("--outputs=transgene,transgene", "each once"),
        ("--outputs=", "no output"),
        ("--rtol=1", "rtol"),
        ("--extinction=-1", "extinction"),
        ("--jobs=0", "--jobs"),
        ("--out=table.xlsx", ".csv or .parquet"),
        ("--out=none/table.csv", "folder"),
        ("--out=.csv/..", "folder"),
    ],
)
def test_bad_simulate_option(bad, option, says):
    bad("simulate", "bb2121_clinical", "--times", "1", option)


def test_missing_words(bad):
    assert "Missing argument" in bad("simulate", "--times=0:3")
    assert "--times" in bad("simulate", "bb2121_clinical")
    assert "No such command 'simulat'" in bad("simulat")


def test_unwritable_output_folder(bad, tmp_path):
    (tmp_path / "taken").write_text("a file")
    assert "cannot write into" in bad("trial", "--out", tmp_path / "taken")
    assert "cannot write into" in bad("trial", "--out", tmp_path / "taken" / "deeper")
    bad("simulate", "bb2121_clinical", "--times", "1", "--out", tmp_path / "taken" / "table.csv")


def test_unwritable_checkpoint_folder_leaves_no_output_folder(bad, tmp_path):
    (tmp_path / "taken").write_text("a file")
    assert "checkpoint" in bad("trial", "--checkpoint", tmp_path / "taken", "--out", tmp_path / "a" / "b")


@pytest.mark.parametrize("command", ["respond", "nca"])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id,time\n1,0\n", "value"),
        ("id,time,value\n", "no rows"),
        ("", "empty"),
        ("id,time,value\n1,0,30\n1,28,low\n", "row 2"),
        ("id,time,value\n1,0,30\n1,28,-1\n", "row 2"),
        ("id,time,value\n1,0,30\n1,56,3\n1,28,3\n", "row 3"),
        ("id,time,value\n1,0,30\n1,28,3\n1,28,3\n", "row 3"),
        ("id,time,value\n1,0,30\n,28,3\n", "row 2"),
        ("id,time,value,value\n1,0,30,30\n", "twice"),
        ("id,time,value\n1,0,30\n1,28,3,4\n", "table"),
    ],
)
def test_bad_own_data(bad, tmp_path, command, text, says):
    path = tmp_path / "own.csv"
    path.write_text(text)
    message = bad(command, path)
    assert str(path) in message
    assert says in message


def test_bad_own_data_settings(bad, tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("id,time,value\n1,0,30\n1,28,3\n")
    assert "no setting 'ife'" in bad("respond", path, "--criteria", "ife=1")
    assert "lloq" in bad("nca", path, "--lloq=-1")
    assert "method" in bad("nca", path, "--trapezoids", "cubic")
    assert "no such file" in bad("nca", tmp_path / "none.csv")
    (tmp_path / "patients.csv").write_text("id\n2\n")
    assert "patients table" in bad("respond", path, "--events", tmp_path / "patients.csv")


def test_respond_needs_a_baseline(bad, tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("id,time,value\n1,28,3\n")
    assert "no baseline" in bad("respond", path)


def test_judge_of_what_is_no_trial(bad, tmp_path):
    assert "no patients.parquet" in bad("judge", tmp_path)
    (tmp_path / "patients.parquet").write_text("nothing")
    (tmp_path / "visits.parquet").write_text("nothing")
    (tmp_path / "summary.json").write_text("{}")
    assert "patients.parquet" in bad("judge", tmp_path)
    pd.DataFrame({"id": [1]}).to_parquet(tmp_path / "patients.parquet")
    pd.DataFrame({"id": [1]}).to_parquet(tmp_path / "visits.parquet")
    assert "whole trial" in bad("judge", tmp_path)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--rules", "imwg"), "imwg"),
        (("--criteria", "ife=1"), "ife"),
        (("--criteria", "ife_limit=low"), "ife_limit"),
        (("--criteria", "ife_limit=0.1", "--criteria", "ife_limit=0.2"), "twice"),
        (("--criteria", "ife_limit=0.1,0.1"), "each once"),
        (("--censoring", "sas"), "fda or ema"),
        (("--rules", "singh_landmark", "--criteria", "ife_limit=0.1"), "ife_limit"),
    ],
)
def test_judge_with_bad_rules(bad, stored, words, says):
    assert says in bad("judge", stored, *words)


# --- what goes wrong otherwise ---------------------------------------------------------------------------


def test_an_error_of_ours_is_one_line_and_says_so(monkeypatch):
    monkeypatch.setattr("cartsim.model.reader.names", lambda: 1 / 0)
    result = call("models")
    assert result.exit_code == 1
    assert re.fullmatch(r"cartsim: ZeroDivisionError: [^\n]*bug of cartsim[^\n]*\n", result.stderr)
    for words in (("models", "--debug"), ("--debug", "models")):
        result = call(*words)
        assert result.exit_code == 1
        assert "Traceback" in result.stderr


@pytest.mark.parametrize(
    ("error", "says"),
    [(MemoryError("8 TiB"), "not enough memory"), (OSError(28, "No space left on device", "x"), "No space left")],
)
def test_an_error_of_the_machine_is_no_bug(monkeypatch, error, says):
    def fail() -> None:
        raise error

    monkeypatch.setattr("cartsim.model.reader.names", fail)
    result = call("models")
    assert result.exit_code == 1
    assert says in result.stderr
    assert "bug" not in result.stderr


def test_a_failing_trial_leaves_an_earlier_one_as_it_was(tmp_path, monkeypatch):
    (tmp_path / "pfs.csv").write_text("earlier")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cartsim.trial.outcome.TrialResult.responses", fail)
    result = call("trial", "--n", "4", "--dose", "450e6", "--out", tmp_path)
    assert result.exit_code == 1
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("pfs.csv", "earlier")]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for a child process")
@pytest.mark.parametrize(
    ("sent", "code", "says"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_ctrl_c_and_sigterm_end_a_trial_and_leave_nothing(tmp_path, sent, code, says):
    process = started("trial", "--n", "1000000", "--chunk", "500", "--out", tmp_path / "a" / "b")
    wait_until(lambda: list(tmp_path.glob("a/b/.cartsim-*")), process)
    process.send_signal(sent)
    out, err = process.communicate(timeout=LONGEST)
    assert process.returncode == code
    assert out == ""
    assert "Traceback" not in err
    assert err.endswith(f"cartsim: {says}\n")
    assert not list(tmp_path.iterdir())


def test_a_reader_that_stops_reading_is_no_error():
    process = started("simulate", "bb2121_clinical", "--times", "0:600:0.01")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith("id,time,")
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    assert process.wait(LONGEST) == 141


# --- simulate --------------------------------------------------------------------------------------------


def parsed(result: Result) -> pd.DataFrame:
    return pd.read_csv(StringIO(result.stdout), float_precision="round_trip")


def test_simulate_prints_the_typical_patient():
    table = parsed(done("simulate", "bb2121_clinical", "--times", "0:30:10,60", "--outputs", "transgene,Tumor"))
    run = cartsim.simulate("bb2121_clinical", times=[0, 10, 20, 30, 60], outputs=["transgene", "Tumor"])
    pd.testing.assert_frame_equal(table, run.frame[["id", "time", *run.keys()]], check_exact=True)


def test_simulate_in_a_process_of_its_own():
    out, err = started("simulate", "bb2121_clinical", "--times", "0,28", "--dose", "450e6").communicate()
    table = pd.read_csv(StringIO(out))
    assert list(table["time"]) == [0, 28]
    assert table["transgene"][1] == pytest.approx(5963, rel=0.01)  # design, section 3.1
    assert "Traceback" not in err


def test_every_state_is_an_output():
    model = load("bb2121_clinical")
    table = parsed(done("simulate", "bb2121_clinical", "--times", "0,1", "--outputs", ",".join(model.states)))
    assert list(table) == ["id", "time", *model.states]


def test_simulate_patients_of_a_file(tmp_path):
    path = tmp_path / "patients.csv"
    path.write_text('id,burden,dose\nb,20,450e6\n"a, 2",95,50e6\n')
    words = ("simulate", "bb2121_clinical", "--times", "0,28", "--patients", path, "--outputs", "transgene")
    run = cartsim.simulate(cartsim.Patients("bb2121_clinical", path), times=[0, 28], outputs=["transgene"])
    assert list(run.ids) == ["b", "a, 2"]
    table = parsed(done(*words))
    pd.testing.assert_frame_equal(table, run.frame[["id", "time", *run.keys()]], check_exact=True, check_dtype=False)
    done(*words, "--out", tmp_path / "table.csv")
    done(*words, "--out", tmp_path / "table.parquet")
    written = pd.read_csv(tmp_path / "table.csv", float_precision="round_trip")
    pd.testing.assert_frame_equal(written, table, check_exact=True)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "table.parquet"), run.frame)


def test_simulate_virtual_patients_whatever_the_threads():
    words = ("simulate", "bb2121_clinical", "--times", "0:60:30", "--set", "Kg=0.01", "--seed", "7", "--n")
    once = done(*words, "200").stdout
    assert done(*words, "200", "--jobs", "2").stdout == once
    fewer = done(*words, "20").stdout
    assert once.startswith(fewer)


def test_settings_change_the_result():
    words = ("simulate", "bb2121_clinical", "--times", "0,28,180")
    plain = done(*words).stdout
    for option in ("--dose=50e6", "--set=burden=20", "--rtol=1e-9", "--extinction=1"):
        assert done(*words, option).stdout != plain, option


def test_failing_patients_are_reported_and_the_rest_is_whole(tmp_path):
    path = tmp_path / "patients.csv"
    path.write_text("id,Kg\nfine,0.008\nwild,2\n")
    result = done("simulate", "bb2121_clinical", "--times", "0,300", "--patients", path, "--outputs", "mprotein")
    assert "1 of 2 patients" in result.stderr
    assert "id wild (ceiling)" in result.stderr
    table = parsed(result).set_index(["id", "time"])["mprotein"]
    assert np.isfinite(table["fine"]).all()
    assert np.isnan(table["wild", 300.0])


def test_a_variant_and_a_file_of_ones_own(tmp_path):
    daudi = parsed(done("simulate", "bb2121_invitro:Daudi", "--times", "0,4"))
    jeko = parsed(done("simulate", "bb2121_invitro:JeKo", "--times", "0,4"))
    assert not daudi.equals(jeko)
    words = ("--times", "300", "--n", 3, "--outputs", "CARTm_BM")
    usual, wide = (parsed(done("simulate", f"bb2121_clinical{v}", *words)) for v in ("", ":Rm_absolute_SD"))
    assert not np.allclose(usual["CARTm_BM"], wide["CARTm_BM"], rtol=0.05)
    own = edited(tmp_path, 'value = 0.008\nunit = "1/day"', 'value = 0.02\nunit = "1/day"')
    words = ("--times", "0,300", "--outputs", "Tumor")
    changed = done("simulate", "bb2121_clinical", "--set", "Kg=0.02", *words).stdout
    assert done("simulate", own, *words).stdout == changed


# --- trial and judge ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("trial") / "out"
    return folder, done(*TRIAL, "--out", folder)


@pytest.fixture
def stored(finished: tuple[Path, Result]) -> Path:
    return finished[0]


def test_trial_prints_a_row_an_arm_and_writes_all_files(finished):
    folder, result = finished
    assert sorted(path.name for path in folder.iterdir()) == sorted((*FILES, *PICTURES))
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    arms = [line.split()[:2] for line in lines if re.match(r"\s*\d+e6\s", line)]
    assert [arm for arm, _ in arms[:2]] == ["150e6", "450e6"]
    beside = ("simulated", "KarMMa", "CRB-401")
    assert arms[2:] == [[arm, of] for arm in ("150e6", "450e6") for of in beside]
    assert all(name in result.stderr for name in (*FILES, *PICTURES))

    patients = pd.read_parquet(folder / "patients.parquet")
    assert len(patients) == 60
    assert list(patients["arm"].unique()) == ["150e6", "450e6"]
    one, other = (patients[patients["arm"] == arm].reset_index() for arm in ("150e6", "450e6"))
    assert one["Kkill_max"].equals(other["Kkill_max"])
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["inputs"]["dose"] == "150e6,450e6"
    assert summary["inputs"]["n"] == 30
    assert summary["made_by"]["seed"] == 2021
    assert summary["made_by"]["cartsim"] == cartsim.__version__
    assert summary["failures"] == []
    assert [arm["arm"] for arm in summary["arms"]] == ["150e6", "450e6"]
    assert f" {summary['arms'][1]['Cmax'] / 1000:.3g} " in result.stdout
    assert f"{summary['arms'][1]['ORR']:.1f}" in result.stdout
    assert len(pd.read_csv(folder / "responses.csv")) > 0
    assert set(pd.read_csv(folder / "pfs.csv", dtype={"arm": str})["arm"]) == {"150e6", "450e6"}
    for name in PICTURES:
        content = (folder / name).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) > 5000


@pytest.mark.parametrize("how", [("--jobs", "1", "--chunk", "7"), ("--jobs", "2", "--chunk", "16")])
def test_same_seed_same_bytes_whatever_the_work(finished, tmp_path, how):
    done(*TRIAL, "--no-pictures", "--out", tmp_path, *how)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (finished[0] / name).read_bytes(), name


def test_another_seed_other_patients(finished, tmp_path):
    done(*TRIAL, "--no-pictures", "--no-visits", "--seed", "1", "--out", tmp_path)
    assert not (tmp_path / "visits.parquet").exists()
    mine, other = (pd.read_parquet(folder / "patients.parquet") for folder in (tmp_path, finished[0]))
    assert not mine["Kkill_max"].equals(other["Kkill_max"])
    result = call("judge", tmp_path)
    assert result.exit_code == 2
    assert "no visits.parquet" in result.stderr


def test_trial_replaces_an_earlier_one_whole(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "spider.png").write_text("of an earlier trial")
    done("trial", "--n", "3", "--dose", "450e6", "--no-pictures", "--out", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted((*ONE_ARM, "notes.txt"))


def test_trial_goes_on_from_a_checkpoint(finished, tmp_path):
    words = (*TRIAL, "--no-pictures", "--out", tmp_path / "out", "--checkpoint", tmp_path / "kept")
    done(*words)
    kept = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert kept
    done(*words)
    for name in FILES:
        assert (tmp_path / "out" / name).read_bytes() == (finished[0] / name).read_bytes(), name


def test_every_option_of_a_trial(tmp_path):
    done(
        *("trial", "--n", "12", "--dose", "450e6", "--out", tmp_path),
        *("--set", "Kg=0.01", "--burden", "20:80", "--omega", "Tumor0=0.5", "--omega", "Kel_e=0"),
        *("--correlation", "K12,K21=0.5", "--sampler", "sobol", "--criteria", "ife_limit=0.1", "--criteria", "cr=-95"),
        *("--censoring", "ema", "--lloq", "100", "--assay", "transgene:cv=0.3,loq=50,below=half"),
        *("--assay", "mprotein:cv=0.1,step=0.1", "--assay", "sbcma:cv=0.1", "--missed", "0.1", "--dropout", "0.02"),
        *("--new-therapy", "0.01", "--death", "0.01", "--followup", "karmma", "--rtol", "1e-5"),
        *("--extinction", "1", "--jobs", "1", "--chunk", "5"),
    )
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["inputs"]["set"] == ["Kg=0.01"]
    assert summary["inputs"]["followup"] == "karmma"
    assert summary["rules"]["response"]["ife_limit"] == 0.1
    assert summary["rules"]["landmark"]["cr"] == -95
    assert summary["rules"]["censoring"] == "ema"
    assert summary["rules"]["lloq"] == 100
    patients = pd.read_parquet(tmp_path / "patients.parquet")
    assert patients["burden"].between(20, 80).all()
    assert patients["burden"].nunique() == 12
    assert "Kel_e" not in patients or patients["Kel_e"].nunique() == 1
    visits = pd.read_parquet(tmp_path / "visits.parquet")
    assert visits["mprotein"].isna().any()


def test_burden_for_all(tmp_path):
    done("trial", "--n", "3", "--dose", "450e6", "--burden", "20", "--no-pictures", "--out", tmp_path)
    assert (pd.read_parquet(tmp_path / "patients.parquet")["burden"] == 20).all()


def test_judge_sweeps_a_setting(stored, tmp_path):
    result = done("judge", stored, "--criteria", "ife_limit=0.1,0.2,5", "--out", tmp_path / "sweep.csv")
    table = pd.read_csv(tmp_path / "sweep.csv")
    assert list(table["rules"].unique()) == ["ife_limit=0.1", "ife_limit=0.2", "ife_limit=5"]
    assert len(table) == 6
    assert sum("ife_limit=" in line for line in result.stdout.splitlines()) == 6
    rates = table.groupby("rules")["CR"].mean()
    assert rates["ife_limit=0.1"] <= rates["ife_limit=0.2"] < rates["ife_limit=5"]
    as_run = json.loads((stored / "summary.json").read_text())["arms"]
    assert list(table[table["rules"] == "ife_limit=0.2"]["CR"]) == pytest.approx([arm["CR"] for arm in as_run])


def test_judge_by_landmark_and_censoring(stored):
    result = done("judge", stored, "--rules", "singh_landmark", "--criteria", "cr=-95,-99")
    assert "month 21" in result.stdout
    assert len(re.findall(r"cr=-9[59]", result.stdout)) == 4
    result = done("judge", stored, "--censoring", "fda,ema")
    assert len(re.findall(r"censoring=ema", result.stdout)) == 2


# --- models and one's own data -----------------------------------------------------------------------------


def test_models_lists_all():
    out = done("models").stdout
    assert all(name in out for name in names())


@pytest.mark.parametrize("name", names())
def test_show_tells_all_of_a_model(name):
    out = done("show", name).stdout
    model = load(name)
    assert max(map(len, out.splitlines())) <= 100
    shown = re.sub(r"\s", "", out)
    for part in (*model.parameters, *model.unused, *model.states, *model.definitions, *model.outputs, *model.variants):
        assert re.search(rf"(?<!\w){re.escape(part)}(?!\w)", out), part
    for parameter in (*model.parameters.values(), *model.unused.values()):
        words = parameter.source.split()
        assert all(word in out or word in shown for word in words), parameter.name
        if parameter.value is not None:
            assert f"{parameter.value:.10g}" in out, parameter.name
    for formula in model.definitions.values():
        assert re.sub(r"\s", "", formula.text) in shown


def test_help_and_version():
    assert done("--version").stdout.split() == ["cartsim", cartsim.__version__]
    assert call().stdout == done("--help").stdout
    for command in ("trial", "simulate", "models", "show", "judge", "survival", "respond", "nca"):
        assert re.search(rf"^\s+{command}\s", done("--help").stdout, re.MULTILINE)
        assert "--help" in done(command, "--help").stdout


def test_respond_on_own_data(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("id,time,value\nA,0,30\nA,28,2\nA,56,0.1\nA,84,0.1\nB,0,20\nB,28,NA\nB,56,19\nB,84,19\n")
    table = parsed(done("respond", path))
    expected = respond(pd.read_csv(path), IMWG2016()).frame
    assert list(table["id"]) == ["A", "B"]
    assert list(table["best"]) == list(expected["best"]) == ["CR", "SD"]
    (tmp_path / "patients.csv").write_text("id,end_day\nA,60\nB,\n")
    words = ("respond", path, "--events", tmp_path / "patients.csv", "--criteria", "confirm=false")
    done(*words, "--out", tmp_path / "best.parquet")
    assert list(pd.read_parquet(tmp_path / "best.parquet")["visits"]) == [2, 2]


def test_nca_on_own_data(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("id,time,value\n1,2,40\n1,7,9000\n1,14,30000\n1,21,12000\n1,28,5000\n1,60,300\n")
    table = parsed(done("nca", path, "--lloq", "50"))
    expected = nca(pd.read_csv(path))
    assert table["Cmax"][0] == 30000
    assert table["Tmax_day"][0] == 14
    assert table["AUC0-28"][0] == expected["AUC0-28"][0]
    assert table["half_life_days"][0] == expected["half_life_days"][0]
    assert parsed(done("nca", path, "--trapezoids", "linear"))["AUC0-28"][0] > table["AUC0-28"][0]


def test_what_follows_a_last_sample_below_the_limit_and_a_death_without_baseline_are_settings(tmp_path):
    samples = tmp_path / "samples.csv"
    samples.write_text("id,time,value\n1,10,1000\n1,12,800\n1,15,600\n1,18,400\n1,21,10\n")
    areas = []
    for choice in ("lambda_z", "zero"):
        done = CliRunner().invoke(app, ["nca", str(samples), "--after-blq", choice])
        assert done.exit_code == 0, done.stderr
        areas.append(pd.read_csv(StringIO(done.stdout))["AUC0-28"].item())
    assert areas[0] > areas[1] + 100
    assert CliRunner().invoke(app, ["nca", str(samples), "--after-blq", "none"]).exit_code == 2
    visits, listed = tmp_path / "visits.csv", tmp_path / "patients.csv"
    visits.write_text("id,time,value\n1,0,40\n1,28,10\n1,56,10\n")
    listed.write_text("id,death_day\n1,\n2,50\n")
    times = []
    for choice in ("true", "false"):
        command = ["respond", str(visits), "--events", str(listed), "--criteria", f"censor_no_baseline={choice}"]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.stderr
        times.append(pd.read_csv(StringIO(done.stdout)).set_index("id").loc[2, ["pfs_day", "pfs_event"]].tolist())
    assert times == [[0, False], [50, True]]


def test_warm_says_what_it_compiled(tmp_path):
    path = tmp_path / "own.toml"  # a model that no run has seen: a number of it is drawn
    text = (Path(__file__).parents[1] / "models" / "growth.toml").read_text()
    path.write_text(re.sub(r'rate = "(.*)"', rf'rate = "{np.random.default_rng().random()}*(\1)"', text, count=1))
    assert "compiled" in done("warm", path).stdout
    found = done("warm", path, "bb2121_invitro").stdout
    assert "compiled" not in found.splitlines()[3]
    assert "bb2121_invitro" in found
    assert "choose from bb2121_clinical" in call("warm", "nosuch").stderr
