"""Patients per second and peak memory against the number of patients and cores.

    python benchmarks/scale.py                       # 1e3 to 1e6 patients on 1 and 2 cores
    python benchmarks/scale.py --patients 1e3,1e4 --cores 1,2

Each line is a fresh process that simulates one dose over 24 months, judges response (IMWG 2016) and progression-free
survival for every patient and keeps what the summary needs. Seconds leave out starting Python; memory is the most that
the process held. ``simulate`` lines are the engine alone, 119 outputs of blood CAR-T and M-protein over 640 days.

Share of the GIL: with one core at work, how often a second thread that wakes every half millisecond finds Python's lock
taken. Threads wait for each other there, and what any number of cores gives follows from the share as in a queue with
one server (mean value analysis of a closed network); it is held against two cores as measured.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Work = Callable[[], dict[str, Any]]


def trial(n: int, cores: int) -> Work:
    """What is timed of one run, in a process of its own; machine code is loaded and threads are started before."""
    import cartsim

    population = cartsim.Population("bb2121_clinical")
    cartsim.simulate(population, 450e6, [1.0], n_jobs=cores, n=128)
    design = cartsim.Trial(population, [450e6], n, curves=0)

    def run() -> dict[str, Any]:
        judged = design.run(n_jobs=cores, keep_visits=False, columns=("best", "pfs_day"))
        row = judged.summary.iloc[0]
        pfs = f"{row['PFS_months']:.2f} months" if row["PFS_months"] == row["PFS_months"] else "not reached"
        return {
            "failed": int(row["failed"]),
            "result": f"ORR {row['ORR']:.2f} %, CR {row['CR']:.2f} %, median PFS {pfs}",
        }

    return run


def sweep(n: int, cores: int) -> Work:
    """A contour of 16 cells, n patients in all."""
    import cartsim

    population = cartsim.Population("bb2121_clinical")
    cartsim.simulate(population, 450e6, [1.0], n_jobs=cores, n=128)
    design = cartsim.Trial(population, [450e6], max(1, n // 16), curves=0)
    over = {"dose": [50e6, 150e6, 450e6, 800e6], "burden": [10.0, 30.0, 60.0, 90.0]}

    def run() -> dict[str, Any]:
        rates = cartsim.sweep_trials(design, over, n_jobs=cores)
        return {"failed": len(rates.failures), "result": f"{len(rates.frame)} cells"}

    return run


def engine(n: int, cores: int) -> Work:
    import numpy as np

    import cartsim

    model = cartsim.load("bb2121_clinical")
    population = cartsim.Population(model)
    times = np.concatenate([np.arange(0, 31.0), np.arange(37, 640, 7.0), [640.0]])
    cartsim.simulate(population, 450e6, [1.0], n_jobs=cores, n=128)

    def run() -> dict[str, Any]:
        seconds, failed = 0.0, 0
        for first in range(0, n, 20_000):
            table = population.table(first, min(first + 20_000, n)).reset_index()
            began = time.perf_counter()
            patients = cartsim.Patients(model, table)
            found = cartsim.simulate(patients, 450e6, times, ["cart_blood", "mprotein_change"], n_jobs=cores)
            seconds += time.perf_counter() - began
            failed += int((found.status != 0).sum())
        return {"seconds": seconds, "failed": failed, "result": ""}

    return run


KINDS = {"trial": trial, "sweep": sweep, "simulate": engine}
CORES = (2, 4, 8, 16)


def share_of_lock(run: Callable[[], Any]) -> tuple[float, Any]:
    """How often Python's lock is taken while something runs, and what it returns.

    Threads that wake late for another reason, as on a machine with other work, are counted before and taken off.
    """
    with Late() as without:
        time.sleep(0.5)
    with Late() as late:
        result = run()
    return max(0.0, (late.share - without.share) / (1 - without.share)), result


class Late:
    """How often a second thread wakes late while the block runs: ``share``, once it has ended."""

    share = float("nan")

    def __enter__(self) -> Late:
        self._ended, self._late = threading.Event(), [0, 0]
        self._thread = threading.Thread(target=self._look, daemon=True)
        sys.setswitchinterval(1.0)  # who holds the lock keeps it until it would give it back by itself
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.share = self._late[0] / max(1, self._late[1])

    def _look(self) -> None:
        while not self._ended.is_set():
            began = time.perf_counter()
            time.sleep(0.0005)
            self._late[0] += time.perf_counter() - began > 0.0005 + 0.00015  # waking takes 0.06 ms
            self._late[1] += 1


def with_cores(share: float, cores: int) -> float:
    """Times one core's speed, if ``share`` of each one's time holds a lock that only one can have."""
    waiting = speed = 0.0
    for n in range(1, cores + 1):
        at_lock = share * (1 + waiting)
        speed = n / (at_lock + 1 - share)
        waiting = speed * at_lock
    return speed


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
    parser.add_argument("--gil", type=int, default=20_000, help="patients of the runs that measure the lock; 0: none")
    parser.add_argument("--one", nargs=3, metavar=("KIND", "PATIENTS", "CORES"), help="run this and print JSON")
    parser.add_argument("--lock", action="store_true", help="with --one: measure the share of the GIL")
    settings = parser.parse_args()
    if settings.one:
        kind, n, cores = settings.one[0], int(settings.one[1]), int(settings.one[2])
        print(json.dumps(one(KINDS[kind](n, cores), settings.lock)))
        return
    locks = {kind: fresh(kind, settings.gil, 1, "--lock")["lock"] for kind in settings.kinds if settings.gil}
    print("shares of the GIL", locks, flush=True)
    rows = []
    for kind in settings.kinds:
        for n in settings.patients:
            for cores in settings.cores:
                rows.append(fresh(kind, n, cores))
                print(rows[-1], flush=True)
    write(rows, locks, settings.out)


def one(run: Work, lock: bool) -> dict[str, Any]:
    began = time.perf_counter()
    if lock:
        share, row = share_of_lock(run)
        row["lock"] = share
    else:
        row = run()
    return {"seconds": time.perf_counter() - began} | row | {"memory": peak_gb()}


def fresh(kind: str, n: int, cores: int, *more: str) -> dict[str, Any]:
    environment = os.environ | {"NUMBA_NUM_THREADS": "1"}
    path = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    command = [sys.executable, __file__, "--one", kind, str(n), str(cores), *more]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return {"kind": kind, "patients": n, "cores": cores} | json.loads(done.stdout.splitlines()[-1])


def write(rows: list[dict[str, Any]], locks: dict[str, float], folder: Path) -> None:
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
    lines += ["", *speedups(frame), *(said_of_lock(kind, share) for kind, share in locks.items())]
    (folder / "scale.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def speedups(frame: Any) -> list[str]:
    lines = []
    for (kind, n), own in frame.groupby(["kind", "patients"], sort=False):
        by_cores = own.set_index("cores")["seconds"]
        if {1, 2} <= set(by_cores.index):
            lines.append(f"Two cores, {kind}, {n:,} patients: {by_cores[1] / by_cores[2]:.2f} times one.")
    return lines


def said_of_lock(kind: str, share: float) -> str:
    gains = ", ".join(f"{cores} cores {with_cores(share, cores):.1f}" for cores in CORES)
    return f"GIL, {kind}: held {100 * share:.1f} % of one core's time; by that, times one core's speed: {gains}."


if __name__ == "__main__":
    main()
