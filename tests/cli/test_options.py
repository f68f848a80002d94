"""Options: one meaning each, patients and protocols where they belong, completion, how an interrupted run goes on."""

from __future__ import annotations

import inspect
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from processes import LONGEST, wait_until
from typer.main import get_command
from typer.models import OptionInfo
from typer.testing import CliRunner, Result

import cartsim as cs
from cartsim.cli.app import app

COMMANDS = get_command(app).commands  # type: ignore[attr-defined]
TINY = {
    "trial": ("--dose", "450e6", "--no-pictures"),
    "dose-response": ("--dose", "50e6,450e6", "--no-pictures"),
    "regimens": ("--no-retreat", "--no-pictures"),
    "simulate": ("bb2121_clinical", "--times", "0,28"),
    "sweep": ("--rate", "--over", "dose=50e6,450e6", "--over", "Kg=0.004,0.01", "--no-pictures"),
    "sensitivity": (
        "bb2121_clinical",
        "--parameters",
        "burden",
        "--endpoint",
        "Cmax",
        "--method",
        "responders",
        "--threshold",
        "3e4",
        "--no-pictures",
    ),
}


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join([str(Path(cs.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path} | more


def test_a_flag_means_the_same_on_all_commands():
    meanings: dict[str, dict[tuple[str, ...], list[str]]] = {}
    for each in app.registered_commands:
        assert each.callback is not None
        for name, parameter in inspect.signature(each.callback).parameters.items():
            kind, (about,) = parameter.annotation.__origin__, parameter.annotation.__metadata__
            if isinstance(about, OptionInfo):
                meaning = (str(kind), *(str(getattr(about, what)) for what in ("metavar", "help", "min", "max")))
                flag = (about.param_decls or (f"--{name}",))[0]
                meanings.setdefault(flag, {}).setdefault(meaning, []).append(each.callback.__name__)
    assert len(meanings) > 60
    assert {flag: found for flag, found in meanings.items() if len(found) > 1} == {}


@pytest.mark.parametrize("command", TINY)
@pytest.mark.parametrize(
    ("option", "says"),
    [
        (("--n", "3"), "--patients and --n both say"),
        (("--omega", "Kel_e=0.3"), "--patients and --omega both say"),
        (("--sampler", "sobol"), "--patients and --sampler both say"),
    ],
)
def test_patients_of_ones_own_have_no_variability_beside(tmp_path, command, option, says):
    path = tmp_path / "own.csv"
    path.write_text("id,burden\na,20\nb,60\n")
    result = call(command, *TINY[command], "--patients", path, *option, "--out", tmp_path / "out.csv")
    assert result.exit_code == 2
    assert says in result.stderr
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("command", ["trial", "dose-response", "regimens", "sweep", "sensitivity"])
def test_patients_of_ones_own_are_treated(tmp_path, command):
    path = tmp_path / "own.csv"
    path.write_text("id,burden\n" + "".join(f"p{k},{4 * k}\n" for k in range(1, 25)))
    result = call(command, *TINY[command], "--patients", path, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    (about,) = (tmp_path / "out").glob("*.json")
    assert json.loads(about.read_text())["inputs"]["patients"] == str(path)
    if command == "trial":
        assert list(pd.read_parquet(tmp_path / "out" / "patients.parquet")["burden"]) == [4 * k for k in range(1, 25)]
    if command == "sweep":
        assert (pd.read_csv(tmp_path / "out" / "grid.csv")["n"] == 24).all()
    if command == "sensitivity":
        assert pd.read_csv(tmp_path / "out" / "responders.csv")["ks"].item() == 1  # Cmax only rises with burden


def test_doses_of_ones_own_patients_are_swept_beside(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("id,burden,dose\na,20,1e6\nb,90,800e6\n")
    words = ("sweep", "--rate", "--over", "Kg=0.008,0.02", "--over", "M0=20,40", "--no-pictures", "--patients", path)
    assert call(*words, "--out", tmp_path / "out").exit_code == 0
    assert "the patients' column dose disagree" in call(*words, "--dose", "1e6", "--out", tmp_path / "x").stderr
    words = ("sweep", "--rate", "--over", "dose=1e6,2e6", "--over", "M0=20,40", "--patients", path)
    assert "a sweep over dose, which the patients have of" in call(*words, "--out", tmp_path / "x").stderr


def test_sensitivity_reads_the_variability_that_is_asked_for(tmp_path):
    words = ("sensitivity", "bb2121_clinical", "--parameters", "Kel_e,burden", "--method", "local", "--no-pictures")
    asked = call(*words, "--omega", "Kel_e=0.1", "--burden", "10:90", "--out", tmp_path / "out")
    assert asked.exit_code == 0, asked.stderr
    ranges = json.loads((tmp_path / "out" / "sensitivity.json").read_text())["ranges"]
    assert ranges["Kel_e"]["omega"] == 0.1
    assert (ranges["burden"]["low"], ranges["burden"]["high"]) == (10, 90)
    assert call(*words, "--out", tmp_path / "own").exit_code == 0
    assert "burden" not in json.loads((tmp_path / "own" / "sensitivity.json").read_text())["ranges"]
    assert "--n goes with --method responders" in call(*words, "--n", 20, "--out", tmp_path / "x").stderr
    assert "--sampler is of virtual patients" in call(*words, "--sampler", "sobol", "--out", tmp_path / "x").stderr
    words = ("sensitivity", *TINY["sensitivity"], "--n", 60, "--burden", "uniform")
    assert call(*words, "--correlation", "K12,K21=0.5", "--out", tmp_path / "who").exit_code == 0
    assert json.loads((tmp_path / "who" / "sensitivity.json").read_text())["correlation"] == {"K12,K21": 0.5}
    again = call(*words, "--parameters", "burden=5:95", "--out", tmp_path / "x")
    assert "patients have their own values; give the name alone" in again.stderr
    assert "--samples 64 is of sets drawn" in call(*words, "--samples", 64, "--out", tmp_path / "x").stderr


def test_virtual_patients_vary_as_asked(tmp_path):
    words = ("simulate", "bb2121_clinical", "--times", "0,28", "--n", 5, "--seed", 7, "--out", tmp_path / "t.parquet")
    result = call(*words, "--omega", "Kel_e=0.9", "--burden", "10:90", "--correlation", "K12,K21=0.5")
    assert result.exit_code == 0, result.stderr
    vary = {"Kel_e": cs.lognormal(0.9), "burden": cs.uniform(10, 90)}
    own = cs.Population("bb2121_clinical", 7, vary, {("K12", "K21"): 0.5})
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), cs.simulate(own, times=[0, 28], n=5).frame)
    assert "say with --n how many" in call("simulate", "bb2121_clinical", "--times", "1", "--burden", "20").stderr


@pytest.mark.parametrize("command", ["trial", "dose-response", "regimens", "sweep"])
def test_a_summary_repeats_the_run(tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = (
        command,
        *TINY[command],
        "--n",
        6,
        "--missed",
        0.1,
        "--criteria",
        "cr=-95",
        "--set",
        "Kg=0.01",
        "--seed",
        3,
    )
    result = call(*words, "--out", "first")
    assert result.exit_code == 0, result.stderr
    (about,) = Path("first").glob("*.json")
    said = json.loads(about.read_text())["repeat"]
    again = call(*shlex.split(said)[1:], "--no-pictures", "--out", "again")
    assert again.exit_code == 0, again.stderr
    for path in Path("first").iterdir():
        assert path.read_bytes() == (Path("again") / path.name).read_bytes(), path.name


def completed(*words: str) -> list[str]:
    line = " ".join(words)
    more = {"_CARTSIM_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    run = subprocess.run(
        [sys.executable, "-c", "from cartsim.cli import main; main()"],
        capture_output=True, text=True, env=environment(**more), timeout=LONGEST,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


@pytest.mark.parametrize(
    ("words", "offers"),
    [
        (("cartsim", ""), list(COMMANDS)),
        (("cartsim", "show", "bb2121"), ["bb2121_clinical", "bb2121_invitro"]),
        (("cartsim", "show", "bb2121_invitro:D"), ["bb2121_invitro:Daudi"]),
        (("cartsim", "trial", "--set", "Kexp"), ["Kexp_max="]),
        (("cartsim", "simulate", "bb2121_clinical", "--outputs", "transgene,mprot"), ["transgene,mprotein"]),
        (("cartsim", "sensitivity", "bb2121_clinical", "--endpoint", "AUC"), ["AUC0-28"]),
        (("cartsim", "figure", "2"), ["2a", "2b"]),
        (("cartsim", "trial", "--ome"), ["--omega"]),
    ],
)
def test_the_shell_completes(words, offers):
    assert set(offers) <= set(completed(*words))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("trial", "--n", "0"), "--n 0: "),
        (("trial", "--n=-3"), "--n -3: "),
        (("simulate", "bb2121_clinical", "--times", "1", "--rtol", "1"), "--rtol 1: "),
        (("trial", "--seed=x"), "--seed x: "),
        (("trial", "--rules", "cr=-95"), "No such option: --rules"),
        (("trial", "--dos", "1"), "--dose"),
    ],
)
def test_a_usage_error_says_what_was_given_and_where_to_look(words, says):
    result = call(*words)
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.endswith(f"see cartsim {words[0]} --help\n")
    assert result.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for a child process")
@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize(
    "words",
    [
        ("trial", "--n", "1000000", "--chunk", "200", "--no-pictures"),
        ("sweep", "--rate", "--n", "300", "--over", "Kg=0.004:0.01:60", "--over", "Kel_e=50:90:60", "--no-pictures"),
    ],
    ids=lambda words: words[0],
)
def test_an_interrupted_run_says_how_it_goes_on(tmp_path, words, kept):
    def default() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    folder = tmp_path / "kept"
    more = ("--checkpoint", str(folder)) if kept else ()
    process = subprocess.Popen(
        [sys.executable, "-m", "cartsim.cli", *words, "--jobs", "1", "--out", str(tmp_path / "out"), *more],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), preexec_fn=default,
    )  # fmt: skip
    wait_until(lambda: any(folder.rglob("*.npz")) if kept else (tmp_path / "out").exists(), process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LONGEST)
    assert (process.returncode, out) == (130, ""), err
    lines = err.splitlines()
    assert lines[-1] == "cartsim: interrupted"
    if kept:
        assert lines[-2] == f"cartsim: finished parts are in {folder}; the same command goes on from there"
    else:
        assert "--checkpoint FOLDER" in lines[-2]
    assert not (tmp_path / "out").exists()


def test_pictures_come_in_the_formats_asked_for_and_replace_those_of_an_earlier_run(tmp_path):
    def pictures() -> set[str]:
        return {path.name for path in tmp_path.iterdir() if path.stem == "contours"}

    words = ("sweep", "--over", "dose=50e6,450e6", "--over", "burden=20,80", "--out", tmp_path)
    assert call(*words, "--format", "svg, pdf").exit_code == 0
    assert pictures() == {"contours.svg", "contours.pdf"}
    assert call(*words, "--dpi", "40").exit_code == 0
    assert pictures() == {"contours.png"}
    with Image.open(tmp_path / "contours.png") as picture:
        assert picture.info["dpi"] == pytest.approx((40, 40), abs=0.1)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--format", "gif"), "--format gif: choose from png, svg, pdf, with commas between"),
        (("--format", "png,"), "--format png,: choose from png, svg, pdf, with commas between"),
        (("--dpi", "9"), "--dpi 9: give dots per inch from 10 to 2400"),
    ],
)
def test_pictures_that_cannot_be_are_refused_before_any_work(tmp_path, words, says):
    for command in ("trial", "figure"):
        result = call(command, *words, "--out", tmp_path / "new")
        assert (result.exit_code, result.stderr) == (2, f"cartsim: {says}\n")
        assert not (tmp_path / "new").exists()
