"""Synthetic CRB-401 trials from known estimates, calibrated: do the posteriors hold what the trials were made from?

    python benchmarks/calibration_recovery.py                         # ten trials, two at a time
    python benchmarks/calibration_recovery.py --only 3                # the fourth of them alone
    python benchmarks/calibration_recovery.py --trials 100 --jobs 8   # simulation-based calibration proper

Each trial is of 33 virtual patients of the window of expansion. Its free estimates are drawn about those of the model
file, with 0.7 of the SDs of ``models/priors/window.toml`` (about the medians there hardly anybody responds); the others
are the model's. It publishes the rows of CRB-401 that count, all responders being evaluated for residual disease. Then
it is calibrated, the distribution of the truth being the prior. An estimate is identified in a trial if its posterior
is at most 0.7 of the prior wide. In the long run nine of ten 90 % posteriors hold the truth, identified or not
(simulation-based calibration, Talts et al. 2018, arXiv:1804.06788): ranks of the truth among draws are then uniform.

Finished trials are kept in ``benchmarks/results/calibration_recovery`` (not in the repository) and not done again:
remove it after a change of the code. With the settings here one takes about two minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import cartsim as cs
from cartsim.calibration.calibration import IDENTIFIED
from cartsim.calibration.priors import Prior, priors_of, read_priors
from cartsim.calibration.rows import Sample, statistic
from cartsim.endpoints.rates import clopper_pearson
from cartsim.endpoints.survival import median_of
from cartsim.files import shipped_data, write_whole
from cartsim.schedule import MONTH

MODEL = "bb2121_clinical:window"
FREE = ("Kexp_max", "Ksup", "Kkill_max", "gamma_m", "Kg", "omega(Kkill_max)", "omega(gamma_m)", "omega(F)")
HOW = {"patients": 40, "ensembles": 2, "effective": 150, "evaluations": 18_000, "n_jobs": 1}
RESULTS = Path(__file__).parent / "results" / "calibration_recovery"
RANKED = 99  # draws among which the truth is ranked
LEVEL = 0.9
SHARE = 0.7  # of the SDs of the priors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2, help="trials calibrated at a time")
    parser.add_argument("--only", type=int, help="number of one trial")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    numbers = range(asked.trials) if asked.only is None else [asked.only]
    left = [(asked.out, asked.seed, k) for k in numbers if not kept(asked.out, asked.seed, k).exists()]
    cs.simulate(MODEL, 450e6, [1.0])  # machine code, before several want it
    if left:
        with get_context("spawn").Pool(min(asked.jobs, len(left))) as pool:
            for said in pool.imap_unordered(recovered, left):
                print(said, flush=True)
    report([json.loads(kept(asked.out, asked.seed, k).read_text()) for k in numbers])


def truths() -> dict[str, Prior]:
    """The distribution of the true estimates, which is the prior too."""
    wide = read_priors(shipped_data() / "priors" / "window.toml")
    found = priors_of(cs.Population(MODEL), FREE)
    return {name: replace(prior, sd=SHARE * wide[name][1], source="stated") for name, prior in found.items()}


def kept(folder: Path, seed: int, number: int) -> Path:
    return folder / f"seed{seed}_trial{number}.json"


def recovered(job: tuple[Path, int, int]) -> str:
    """Make and calibrate one trial, and keep what was found of its estimates."""
    folder, seed, number = job
    begun = time.perf_counter()
    population, priors = cs.Population(MODEL), truths()
    random = np.random.default_rng((seed, number))
    truth = {name: float(prior.values(random.standard_normal(1))[0]) for name, prior in priors.items()}
    trial = synthetic(cs.published("crb401"), replace(population.at(truth), seed=1000 * seed + number))
    free = {name: (prior.median, prior.sd) for name, prior in priors.items()}
    found = cs.calibrate(population, trial, free, seed=number, **HOW)
    frame = found.frame.set_index("estimate")
    draws = found.draws.iloc[np.linspace(0, len(found.draws) - 1, RANKED).round().astype(int)]
    estimates = {
        name: {
            "truth": truth[name],
            "median": float(frame.loc[name, "median"]),
            "low": float(frame.loc[name, "low"]),
            "high": float(frame.loc[name, "high"]),
            "width": float(frame.loc[name, "width"]),
            "rank": int((draws[name] < truth[name]).sum()),
        }
        for name in FREE
    }
    seconds = time.perf_counter() - begun
    about: dict[str, Any] = {"trial": number, "seed": seed, "said": found.said, "converged": found.converged}
    about |= {"evaluations": found.evaluations, "seconds": round(seconds, 1), "how": HOW, "estimates": estimates}
    about["rows"] = {row.id: [row.value, row.n] for row in trial.rows}
    write_whole(kept(folder, seed, number), lambda path: path.write_text(json.dumps(about, indent=1) + "\n"))
    return f"trial {number}: {found.said}; {found.evaluations:,} evaluations, {seconds:.0f} s"


def synthetic(published: cs.PublishedTrial, population: cs.Population) -> cs.PublishedTrial:
    """The trial as it would have been published of these patients: rows that count, as many patients in each arm."""
    made = published.trial(population)
    sample = Sample.measured(published, (made.measure(k, 0, arm.n or 0) for k, arm in enumerate(made.arms)), 1)
    rows = [_row(row, sample) for row in published.rows if row.role == "fit"]
    told = tuple(row for row in rows if row is not None)
    return replace(published, name="synthetic", rows=told, digest=str(population.seed))


def _row(row: Any, sample: Sample) -> Any:
    """A row with what these patients show; None where there is nobody to tell of."""
    member = sample.members(row)[0]
    n = int(member.sum())
    if n == 0:
        return None
    if row.statistic == "share":
        events = round(float(statistic(row, sample)[0]) * n / 100)
        low, high = clopper_pearson(events, n)
        value = 100 * events / n
        return replace(row, n=n, events=events, value=value, low=100 * float(low), high=100 * float(high))
    time_, event = sample["pfs_day"][0] / MONTH, sample["pfs_event"][0] > 0
    if row.endpoint == "DOR":
        time_ = time_ - sample["response_day"][0] / MONTH
    median = median_of(time_[member], event[member])
    if not math.isfinite(median.value):
        return None
    ends = [math.inf if math.isnan(median.high) else median.high, max(median.low, 0.01)]
    return replace(row, n=n, value=float(median.value), low=float(ends[1]), high=float(ends[0]))


def report(found: list[dict[str, Any]]) -> None:
    """Coverage by estimate, trials whose identified estimates are all held, and the histogram of ranks."""
    print(f"\n{'estimate':18s}{'held':>8s}{'identified':>12s}{'held of these':>15s}{'width':>8s}")
    for name in FREE:
        own = [each["estimates"][name] for each in found]
        held = [each["low"] <= each["truth"] <= each["high"] for each in own]
        known = [each["width"] <= IDENTIFIED for each in own]
        both = sum(a and b for a, b in zip(held, known, strict=True))
        width = np.median([each["width"] for each in own])
        print(
            f"{name:18s}{sum(held):5d}/{len(own):<2d}{sum(known):9d}/{len(own):<2d}{both:12d}/{sum(known):<2d}{width:8.2f}"
        )
    whole = share = several = 0
    for each in found:
        known = [e for e in each["estimates"].values() if e["width"] <= IDENTIFIED]
        held = sum(e["low"] <= e["truth"] <= e["high"] for e in known)
        whole, share, several = whole + (held == len(known)), share + held, several + len(known)
    print(f"\nAll identified estimates in their 90 % posterior: {whole} of {len(found)} trials;")
    print(f"{share} of {several} identified estimates ({LEVEL:.0%} are expected).")
    ranks = np.array([e["rank"] for each in found for e in each["estimates"].values()])
    counts = np.histogram(ranks, np.linspace(0, RANKED + 1, 11))[0]
    print(f"\nRanks of the truth among {RANKED} draws, {len(ranks)} in all; uniform where posteriors are right:")
    for k, count in enumerate(counts):
        print(f"  {10 * k:3d}-{10 * k + 9:<3d}{count:4d} {'#' * int(count)}")
    slow = [each["seconds"] for each in found]
    done = sum(each["converged"] for each in found)
    print(f"\n{done} of {len(found)} converged; {np.median(slow):.0f} s each (median).")


if __name__ == "__main__":
    main()
