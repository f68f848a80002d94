"""Seconds to import cartsim, to compile a model for the first time, and to start warm.

    python benchmarks/compile_time.py [--model bb2121_clinical] [--repeats 5]

Each number is that of a fresh Python process. Cold: an empty folder for everything that cartsim keeps.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMPORT = "import cartsim"
SIMULATE = "import cartsim; cartsim.simulate({model!r}, times=[0.0, 7.0, 28.0])"
THOUSAND = "import cartsim as c; c.simulate(c.Population({model!r}), n=1000, times=range(0, 640, 7))"
COMMAND = """import sys
sys.argv = ["cartsim", "simulate", {model!r}, "--times", "0:28:7"]
from cartsim.cli import main
main()"""


def seconds(code: str, environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bb2121_clinical")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "compile_time.md")
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"CARTSIM_CACHE": folder}
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")])
        )
        rows = [("first simulation, nothing compiled yet", seconds(SIMULATE.format(model=settings.model), environment))]
        for label, code in (
            ("python -c pass", "pass"),
            ("import cartsim", IMPORT),
            ("import and simulate one patient", SIMULATE),
            ("import and simulate 1,000 patients, 640 days", THOUSAND),
            ("cartsim simulate (command line)", COMMAND),
        ):
            runs = [seconds(code.format(model=settings.model), environment) for _ in range(settings.repeats)]
            rows.append((f"{label}, warm", statistics.median(runs)))
    text = "\n".join(["| process | seconds |", "|---|---:|", *(f"| {label} | {value:.2f} |" for label, value in rows)])
    print(text)
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    settings.out.write_text(f"# Compile and start times, {settings.model}\n\n{text}\n")


if __name__ == "__main__":
    main()
