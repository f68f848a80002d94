"""Seconds and peak memory of judging a million patients, and of re-judging trials under twenty rules.

Run: python benchmarks/judging.py
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time

import numpy as np

from cartsim.endpoints.response import judge, judge_each
from cartsim.endpoints.rules import IMWG2016
from cartsim.population.population import Population
from cartsim.trial.protocol import Rules
from cartsim.trial.stored import judge_stored
from cartsim.trial.trial import Trial


def made_up_trial(n: int, visits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """M-protein (n, visits), days, baselines: a fall and a rise, 20 % assay error, 5 % of visits missed."""
    rng = np.random.default_rng(2021)
    days = 28.0 * np.arange(1, visits + 1)
    baseline = rng.lognormal(np.log(25), 0.6, n)
    depth, back = rng.lognormal(1.5, 1.0, (n, 1)), rng.lognormal(np.log(200), 0.7, (n, 1))
    values = np.log1p(days / back)
    values *= 2
    values -= depth * (1 - np.exp(-days / 20))
    values += 0.2 * rng.standard_normal((n, visits))
    np.exp(values, out=values)
    values *= baseline[:, None]
    values[rng.random((n, visits)) < 0.05] = np.nan
    return values, days, baseline


def peak_gb() -> float:
    """Most memory this process has held so far, in GB."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / (1e9 if sys.platform == "darwin" else 1e6)


def main() -> None:
    n, visits = 1_000_000, 30
    values, days, baseline = made_up_trial(n, visits)
    before = peak_gb()
    start = time.perf_counter()
    found = judge(values, days, baseline, IMWG2016())
    seconds = time.perf_counter() - start
    print(f"{n:,} patients x {visits} visits: {seconds:.1f} s (bound 20 s)")
    print(f"peak memory {peak_gb():.2f} GB (bound 2 GB), {before:.2f} GB of it before judging")
    share = np.bincount(found.best, minlength=7) / n
    print("best response:", ", ".join(f"{100 * part:.1f} %" for part in share), "(NE PD SD MR PR VGPR CR)")

    rules = [
        IMWG2016(ife_limit=limit, confirm=confirm)
        for limit in np.linspace(0.1, 1.0, 10).round(1)
        for confirm in (True, False)
    ]
    start = time.perf_counter()
    rows = len(judge_each(values[:4000], days, baseline[:4000], rules))
    seconds = time.perf_counter() - start
    print(f"{len(rules)} rules on 4 x 1,000 patients: {seconds:.2f} s (bound 5 s), {rows:,} rows")

    with tempfile.TemporaryDirectory() as folder:
        Trial(Population("bb2121_clinical"), [50e6, 150e6, 450e6, 800e6], 1000).run().save(folder)
        stored = [Rules(IMWG2016(ife_limit=0.05 * k)) for k in range(1, 21)]
        start = time.perf_counter()
        rows = len(judge_stored(folder, stored))
        seconds = time.perf_counter() - start
    print(f"a stored trial of 4 x 1,000 patients by {len(stored)} rules: {seconds:.2f} s (bound 5 s), {rows:,} rows")


if __name__ == "__main__":
    main()
