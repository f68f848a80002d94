"""Patients per second and peak memory against the number of patients and cores.

    python benchmarks/scale.py                       # 1e3 to 1e6 patients on 1 and 2 cores
    python benchmarks/scale.py --patients 1e3,1e4 --cores 1,2

Each line is a fresh process that simulates one dose over 24 months, judges response (IMWG 2016) and progression-free
survival for every patient and keeps what the summary needs. Seconds leave out starting Python; memory is the most that
the process held. ``simulate`` lines are the engine alone, 119 outputs of blood CAR-T and M-protein over 640 days.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def trial(n: int, cores: int) -> dict[str, Any]:
    """One run, in a process of its own."""
    import cartsim

    population = cartsim.Population("bb2121_clinical")
    cartsim.simulate(population, 450e6, [1.0], n_jobs=cores, n=128)  # load machine code, start threads
    began = time.perf_counter()
    design = cartsim.Trial(population, [450e6], n, curves=0)
    judged = design.run(n_jobs=cores, keep_visits=False, columns=("best", "pfs_day"))
    seconds = time.perf_counter() - began
    row = judged.summary.iloc[0]
    pfs = f"{row['PFS_months']:.2f} months" if row["PFS_months"] == row["PFS_months"] else "not reached"
    return {
        "seconds": seconds,
        "failed": int(row["failed"]),
        "result": f"ORR {row['ORR']:.2f} %, CR {row['CR']:.2f} %, median PFS {pfs}",
    }


def engine(n: int, cores: int) -> dict[str, Any]:
    import numpy as np

    import cartsim

    model = cartsim.load("bb2121_clinical")
    population = cartsim.Population(model)
    times = np.concatenate([np.arange(0, 31.0), np.arange(37, 640, 7.0), [640.0]])
    cartsim.simulate(population, 450e6, [1.0], n_jobs=cores, n=128)  # load machine code, start threads
    seconds, failed = 0.0, 0
    for first in range(0, n, 20_000):
        table = population.table(first, min(first + 20_000, n)).reset_index()
        began = time.perf_counter()
        run = cartsim.simulate(
            cartsim.Patients(model, table), 450e6, times, ["cart_blood", "mprotein_change"], n_jobs=cores
        )
        seconds += time.perf_counter() - began
        failed += int((run.status != 0).sum())
    return {"seconds": seconds, "failed": failed, "result": ""}


KINDS = {"trial": trial, "simulate": engine}


def peak_gb() -> float:
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / (1e9 if sys.platform == "darwin" else 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = lambda text: [int(float(part)) for part in text.split(",")]  # noqa: E731
    parser.add_argument("--patients", type=numbers, default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--cores", type=numbers, default=[1, 2])
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=list(KINDS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--one", nargs=3, metavar=("KIND", "PATIENTS", "CORES"), help="run this and print JSON")
    settings = parser.parse_args()
    if settings.one:
        kind, n, cores = settings.one[0], int(settings.one[1]), int(settings.one[2])
        print(json.dumps(KINDS[kind](n, cores) | {"memory": peak_gb()}))
        return
    rows = []
    for kind in settings.kinds:
        for n in settings.patients:
            for cores in settings.cores:
                rows.append(fresh(kind, n, cores))
                print(rows[-1], flush=True)
    write(rows, settings.out)


def fresh(kind: str, n: int, cores: int) -> dict[str, Any]:
    environment = os.environ | {"NUMBA_NUM_THREADS": "1"}
    path = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    command = [sys.executable, __file__, "--one", kind, str(n), str(cores)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return {"kind": kind, "patients": n, "cores": cores} | json.loads(done.stdout.splitlines()[-1])


def write(rows: list[dict[str, Any]], folder: Path) -> None:
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(rows)
    frame["patients per second"] = frame["patients"] / frame["seconds"]
    frame.to_csv(folder / "scale.csv", index=False)
    lines = [
        "# Patients per second and peak memory",
        "",
        "| what | patients | cores | seconds | patients per second | peak memory, GB | failed | result |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for _, row in frame.iterrows():
        lines.append(
            f"| {row['kind']} | {row['patients']:,} | {row['cores']} | {row['seconds']:.2f} | "
            f"{row['patients per second']:,.0f} | {row['memory']:.2f} | {row['failed']} | {row['result']} |"
        )
    lines += ["", *speedups(frame)]
    (folder / "scale.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def speedups(frame: Any) -> list[str]:
    lines = []
    for (kind, n), own in frame.groupby(["kind", "patients"], sort=False):
        by_cores = own.set_index("cores")["seconds"]
        if {1, 2} <= set(by_cores.index):
            lines.append(f"Two cores, {kind}, {n:,} patients: {by_cores[1] / by_cores[2]:.2f} times one.")
    return lines


if __name__ == "__main__":
    main()
