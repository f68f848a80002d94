"""Every patient of a large population with doubled variability, at the default tolerance against a tighter one.

    python benchmarks/accuracy.py [--patients 100000] [--rtol 1e-6] [--tight 1e-9] [--double 2]

Prints how many patients failed and how many are wrong: relative M-protein off by more than 0.005 or blood CAR-T by
more than 5 % at any of 119 outputs over 640 days.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

import cartsim
from cartsim.solver import RTOL

TIMES = np.concatenate([np.arange(0, 31.0), np.arange(37, 640, 7.0), [640.0]])
STATES = ("CARTe_PB", "CARTm_PB", "mprotein")
CHUNK = 5000

NOTHING = 1e-250  # cells/L: below e^-600 (1e-261) a pool reads as exactly 0, a step earlier or later


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=100_000)
    parser.add_argument("--rtol", type=float, default=RTOL)
    parser.add_argument("--tight", type=float, default=1e-9)
    parser.add_argument("--double", type=float, default=2.0, help="factor on every omega")
    parser.add_argument("--cores", type=int, default=-1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "accuracy.md")
    settings = parser.parse_args()
    model = cartsim.load("bb2121_clinical")
    published = cartsim.Population(model, variability={"Tumor0": cartsim.lognormal(0.5)}).varied
    wider = {name: replace(own, omega=settings.double * own.omega) for name, own in published.items()}
    population = cartsim.Population(model, variability=wider)

    failed = wrong = beyond = 0
    worst_mprotein = worst_blood = 0.0
    steps = []
    for first in range(0, settings.patients, CHUNK):
        table = population.table(first, min(first + CHUNK, settings.patients)).reset_index()
        runs = [
            cartsim.simulate(
                cartsim.Patients(model, table),
                450e6,
                TIMES,
                STATES,
                n_jobs=settings.cores,
                solver=cartsim.Solver(rtol=rtol, max_steps=10**6),
            )
            for rtol in (settings.rtol, settings.tight)
        ]
        ended = runs[0].status == 1  # above the ceiling, as such a patient should
        beyond += int(ended.sum())
        failed += int(((runs[0].status > 1) | (runs[1].status > 1) | (runs[0].status != runs[1].status)).sum())
        steps.append(runs[0].steps)
        mprotein = np.abs(runs[0]["mprotein"] - runs[1]["mprotein"])
        blood = [run["CARTe_PB"] + run["CARTm_PB"] for run in runs]
        with np.errstate(invalid="ignore", divide="ignore"):
            off = np.abs(blood[0] - blood[1]) / (blood[1] + NOTHING)
        bad = (np.nan_to_num(mprotein) > 0.005).any(axis=1) | (np.nan_to_num(off) > 0.05).any(axis=1)
        wrong += int(bad.sum())
        worst_mprotein = max(worst_mprotein, float(np.nanmax(mprotein)))
        worst_blood = max(worst_blood, float(np.nanmax(off)))
        print(f"{first + len(table):,} patients: {wrong} wrong, {failed} failed", end="\r", flush=True)
    counts = np.concatenate(steps)
    text = "\n".join(
        [
            f"# {settings.patients:,} patients, omegas times {settings.double:g}, rtol {settings.rtol:g} against "
            f"{settings.tight:g}",
            "",
            "| wrong | failed | above the ceiling | worst dM | worst blood error | steps median | steps most |",
            "|---:|---:|---:|---:|---:|---:|---:|",
            f"| {wrong} | {failed} | {beyond} | {worst_mprotein:.1e} | {worst_blood:.1e} | {np.median(counts):.0f} | "
            f"{counts.max()} |",
        ]
    )
    print(text)
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    settings.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
