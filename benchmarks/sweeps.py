"""Seconds, of the wall and of the processor, and peak memory of contours, dose-response and regimens.

Run: python benchmarks/sweeps.py
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np

import cartsim as cs
from cartsim.experiments.regimens import common


def timed(what: str, work: Callable[[], Any]) -> None:
    start, used = time.perf_counter(), time.process_time()
    work()
    seconds, used = time.perf_counter() - start, time.process_time() - used
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gigabytes = kilobytes / (1e9 if sys.platform == "darwin" else 1e6)
    print(f"{what}: {seconds:.2f} s, {used:.2f} of the processor, peak memory so far {gigabytes:.2f} GB")


def main() -> None:
    population = cs.Population("bb2121_clinical")
    model = population.model

    def trial(n: int) -> cs.Trial:
        return cs.Trial(population, [model.dosing.dose], n)

    axes = {"dose": np.linspace(50e6, 800e6, 24), "burden": np.linspace(5, 95, 24)}
    few = {"dose": [50e6, 800e6], "burden": [5, 95]}
    cs.sweep(model, few)  # compiles, and imports what is imported late
    cs.sweep_trials(trial(10), few)
    print(f"{joblib.cpu_count()} cores")
    timed("24 x 24 contour of the typical patient (bound 2 s)", lambda: cs.sweep(model, axes))
    timed("24 x 24 x 500 patients, judged (bound 18 s on 2 cores)", lambda: cs.sweep_trials(trial(500), axes))
    timed("dose-response, 11 doses x 1,000 patients", lambda: cs.dose_response(population))
    timed("4 regimens x 1,000 patients", lambda: cs.compare(cs.Trial(population, common(450e6))))
    timed("figure 6b, 2 x 11 doses x 1,000 patients", lambda: cs.paper.figure("6b"))
    timed("retreatment, 1,000 patients", lambda: cs.retreat(cs.Trial(population, [450e6])))
    timed("selection among 10,000 patients", lambda: cs.select(population, 10_000, {"Cmax": (1e3, 1e6)}))


if __name__ == "__main__":
    main()
