"""Runs cases, each in a process of its own that is forked from this one, which has imported all that is slow.

``python -m fuzzing.server`` reads a request a line from stdin, ``{"kind", "seed", "index", "home", "stage", "limit"}``,
and answers each on stdout with ``{"kind", "index", "verdict", "story"}``, in the order in which they end. A case that
takes more processor time than its limit (seconds), so that a busy machine makes no difference, or that only waits, is
killed with all that it started. An index below 0 asks for ``prepare``.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from fuzzing import data
from fuzzing.case import Bad, Case

MEMORY = 8 * 2**30  # bytes of address space: a case that wants all memory shall get an error, not the machine
WAIT = 900.0  # seconds on the wall after which a case waits for what does not come
MODEL = "bb2121_clinical"
HEAVY = (
    "cartsim.cli", "cartsim.trial.outcome", "cartsim.trial.stored", "cartsim.fitting.pooled",
    "cartsim.fitting.individual", "cartsim.fitting.population", "cartsim.sensitivity.indices",
    "cartsim.experiments.sweep", "cartsim.experiments.dose_response", "cartsim.experiments.regimens", "cartsim.paper",
    "cartsim.engine.source", "cartsim.engine.rodas", "numba", "pandas", "pyarrow.parquet", "scipy.integrate",
    "scipy.optimize", "statsmodels.stats.proportion", "sympy", "pint", "joblib", "rich.console", "SALib",
)  # fmt: skip


def warm() -> None:
    """Import what commands import when they run, and the machine code of the model that most cases use.

    Small commands are run too: what they and their libraries import on the way takes a case longer than its work.
    """
    os.environ.setdefault("MPLBACKEND", "Agg")
    for name in HEAVY:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:  # the command imports what it needs; here it only saves time
            continue
    from typer.testing import CliRunner

    from cartsim.cli.app import app

    with tempfile.TemporaryDirectory() as folder:
        data.written(Path(folder))
        out, samples = os.path.join(folder, "out"), os.path.join(folder, "nca.csv")
        for words in (["show", MODEL], ["simulate", MODEL, "--times", "0,1"], ["nca", samples], ["nca", "--no"],
                      ["show", "no model"], [*data.TRIAL, "--out", out], ["judge", out]):  # fmt: skip
            CliRunner().invoke(app, words)


def serve() -> None:
    """Fork a process for each request, until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    warm()
    answers.write(json.dumps({"ready": True}) + "\n")
    running: dict[int, tuple[dict[str, Any], float]] = {}
    waiting, open_ = b"", True
    while open_ or running:
        if open_ and select.select([0], [], [], 0.005 if running else 1.0)[0]:
            found = os.read(0, 65536)
            open_ = bool(found)
            *lines, waiting = (waiting + found).split(b"\n")
            for line in lines:
                request = json.loads(line)
                running[_forked(request)] = (request, time.monotonic() + WAIT)
        elif not open_:
            time.sleep(0.005)
        for process, (request, end) in list(running.items()):
            done, status = os.waitpid(process, os.WNOHANG)
            late = not done and time.monotonic() > end
            if late:
                os.killpg(process, signal.SIGKILL)
                os.waitpid(process, 0)
            if done or late:
                del running[process]
                answers.write(json.dumps(_answer(request, late, status)) + "\n")


def _forked(request: dict[str, Any]) -> int:
    process = os.fork()
    if process == 0:
        try:
            os.setpgid(0, 0)
            _work(request)
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    with contextlib.suppress(OSError):
        os.setpgid(process, process)  # here too, so that it can be killed at once with all that it starts
    return process


def _work(request: dict[str, Any]) -> None:
    """In the new process: the case, its verdict into a file."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (request["limit"], request["limit"] + 5))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    home, stage = Path(request["home"]), Path(request["stage"])
    try:
        kind = importlib.import_module(f"fuzzing.{request['kind']}")
        case = Case(request["seed"], request["kind"], request["index"], home, stage)
        case.enter()
        verdict, story = "right", ""
        if request["index"] >= 0:
            verdict = kind.run(case)
        elif hasattr(kind, "prepare"):
            kind.prepare(case)
    except Bad as bad:
        verdict, story = "bad", str(bad)
    except BaseException:
        verdict, story = "bad", traceback.format_exc()
    (home / "verdict").write_text(json.dumps({"verdict": verdict, "story": story}))


def _answer(request: dict[str, Any], late: bool, status: int) -> dict[str, Any]:
    home = Path(request["home"])
    try:
        found = json.loads((home / "verdict").read_text())
    except (OSError, ValueError):
        found = {"verdict": "bad", "story": f"the process ended with {status}"}
    if late:
        found = {"verdict": "bad", "story": f"not done after {WAIT:g} s"}
    elif os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        found = {"verdict": "bad", "story": f"not done after {request['limit']:g} s of processor time"}
    if found["verdict"] == "bad":
        try:
            told = (home / "story").read_text(errors="replace")
        except OSError:
            told = ""
        found["story"] = told + found["story"]
    return {"kind": request["kind"], "index": request["index"], **found}


if __name__ == "__main__":
    serve()
