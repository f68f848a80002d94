"""How well known truth is recovered: individual fits from response categories, populations by SAEM.

Run: python benchmarks/recovery.py [--replicates 20] [--only individual|population|same|ec50|time]
(about 20 minutes on one core; the table is printed as it grows; ec50, two to five minutes a replicate, only if named)

Individual fits: each replicate is a data set like CRB-401's, 33 patients with parameters drawn anew. Counted are, by
parameter, all patients whose 95 % posterior interval holds the truth; the share by replicate; and the replicates in
which it does for one patient chosen beforehand (number r mod 33 in replicate r).

Populations: each replicate is 60 patients with categories, transgene and sBCMA. Counted are replicates in which the
95 % limits of an estimate hold the truth, and those in which the estimate is within 30 % of it.

The same in all: parameters without variability and the exponent of a covariate, each search begun far from the truth.
Of theophylline's model 40 patients of 50 to 110 kg, V and b in V (WT/70)^b; of the clinical model 60 patients with the
transgene on 12 days, EC50_exp.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from cartsim import ErrorModel, Patients, Population, fixed, load, lognormal, simulate, uniform
from cartsim.fitting.data import CategoryRules
from cartsim.fitting.individual import PARAMETERS, fit_individuals
from cartsim.fitting.population import PopulationFit, fit_population
from cartsim.fitting.synthetic import CRB401_DOSES, Sampled, synthetic_patients

THEOPHYLLINE = Path(__file__).parents[1] / "tests/models/theophylline.toml"


def individual(replicates: int, rules: CategoryRules, sbcma: bool) -> None:
    names = (*PARAMETERS, "gamma_b") if sbcma else PARAMETERS
    sampled = {} if sbcma else {"sbcma": Sampled()}
    held, chosen, slopes = [], [], []
    for replicate in range(replicates):
        data, truth = synthetic_patients(seed=1000 + replicate, rules=rules, **sampled)
        fits = fit_individuals("bb2121_clinical", data, rules=rules)
        found, true = fits.parameters, truth[list(names)].to_numpy()
        shape = true.shape
        low, high = (found[end].to_numpy().reshape(shape) for end in ("low", "high"))
        covered = (low < true) & (true < high)
        held.append(covered.mean(axis=0))
        chosen.append(covered[replicate % len(CRB401_DOSES)])
        estimate = np.log(found["estimate"].to_numpy().reshape(shape))
        slopes.append([np.corrcoef(estimate[:, k], np.log(true[:, k]))[0, 1] for k in range(len(names))])
    share = np.array(held)
    what = f"progression from the {rules.progression}, {'with' if sbcma else 'without'} sBCMA"
    print(f"\nIndividual fits, {replicates} x 33 patients, {what}")
    print(f"{'parameter':12} {'held, all':>10} {'worst set':>10} {'chosen one':>11} {'correlation':>12}")
    for k, name in enumerate(names):
        one = f"{int(np.sum(chosen, axis=0)[k])} of {replicates}"
        mean, worst, correlation = 100 * share[:, k].mean(), 100 * share[:, k].min(), np.mean(slopes, axis=0)[k]
        print(f"{name:12} {mean:8.1f} % {worst:8.1f} % {one:>11} {correlation:12.2f}")


def population(replicates: int) -> None:
    model = load("bb2121_clinical")
    true = {("typical", name): model.parameters[name].value for name in PARAMETERS}
    true |= {("omega", name): model.parameters[name].iiv.omega for name in PARAMETERS}
    true |= {("sigma", "transgene log"): 0.3, ("sigma", "sbcma_change log"): 0.2}
    tables, converged = [], 0
    for replicate in range(replicates):
        data, _ = synthetic_patients(
            (*(150e6,) * 20, *(450e6,) * 40), parameters=PARAMETERS,
            transgene=Sampled((7, 14, 28, 61, 91, 183), 0.3, 50.0), seed=2000 + replicate,
        )  # fmt: skip
        fit = fit_population("bb2121_clinical", data, PARAMETERS)
        converged += fit.converged
        tables.append(fit.estimates.assign(replicate=replicate))
    table = pd.concat(tables)
    print(f"\nPopulations, {replicates} x 60 patients: {converged} of {replicates} converged")
    print(f"{'estimate':24} {'truth':>7} {'mean':>7} {'SD':>7} {'mean SE':>8} {'held':>9} {'within 30 %':>12}")
    for (kind, name), own in table.groupby(["kind", "name"], sort=False):
        truth = true[kind, name]
        held = int(((own["low"] < truth) & (truth < own["high"])).sum())
        near = int((np.abs(own["value"] / truth - 1) < 0.3).sum())
        numbers = (truth, own["value"].mean(), own["value"].std(), own["se"].mean())
        label = name if kind == "typical" else f"{kind} {name}"
        print(
            f"{label:24} {numbers[0]:7.3f} {numbers[1]:7.3f} {numbers[2]:7.3f} {numbers[3]:8.3f} "
            f"{held:3d} of {replicates} {near:6d} of {replicates}"
        )


def same(replicates: int) -> None:
    model = load(THEOPHYLLINE).override({"V": 32.0, "b": 0.75})
    true = {
        "ka": 1.5,
        "CL": 3.0,
        "V": 32.0,
        "b": 0.75,
        "omega ka": 0.5,
        "omega CL": 0.3,
        "sigma concentration log": 0.1,
    }
    times, varied = (
        np.array([0.25, 0.5, 1, 2, 4, 7, 12, 24]),
        {"V": fixed(), "CL": lognormal(0.3), "WT": uniform(50, 110)},
    )
    found = []
    for seed in range(replicates):
        rows = Population(model, seed, varied).table(0, 40).rename_axis("id").reset_index()
        exact = simulate(Patients(model, rows), 320.0, times, ["concentration"])["concentration"]
        values = exact * np.exp(0.1 * np.random.default_rng(seed).standard_normal(exact.shape))
        data = rows[["id", "WT"]].loc[np.repeat(rows.index, len(times))].assign(
            dose=320.0, time=np.tile(times, len(rows)), output="concentration", value=values.ravel()
        )  # fmt: skip
        begun = model.override({"V": 15.0, "b": -0.5})
        error = {"concentration": ErrorModel("lognormal")}
        found.append(fit_population(begun, data, {"ka": None, "CL": None, "V": 0, "b": 0}, errors=error))
    _print_each("V and b the same in all, begun at 15 and -0.5", true, found)


def ec50(replicates: int) -> None:
    model = load("bb2121_clinical")
    true = {"Kexp_max": 1.73, "EC50_exp": float(model.parameters["EC50_exp"].value), "omega Kexp_max": 0.22}
    found = []
    for seed in range(replicates):
        data, _ = synthetic_patients(
            (*(150e6,) * 30, *(450e6,) * 30), parameters=("Kexp_max",), sbcma=Sampled(), seed=3000 + seed,
            transgene=Sampled((2, 4, 7, 9, 11, 14, 21, 28, 61, 91, 183, 274), 0.2, 50.0),
        )  # fmt: skip
        begun = model.override({"EC50_exp": 3 * true["EC50_exp"]})
        found.append(fit_population(begun, data[data["category"] == ""], {"Kexp_max": None, "EC50_exp": 0}))
    _print_each("EC50_exp the same in all, begun at three times the truth", true, found)


def _print_each(what: str, true: dict[str, float], found: list[PopulationFit]) -> None:
    """A row a replicate and estimate, and how many limits hold the truth."""
    print(f"\n{what}: {sum(fit.converged for fit in found)} of {len(found)} converged")
    print(f"{'estimate':24} {'seed':>4} {'truth':>8} {'found':>8} {'95 % limits':>20}")
    for label, truth in true.items():
        held = 0
        for seed, fit in enumerate(found):
            own = fit.estimates.assign(label=fit.estimates["name"].where(
                fit.estimates["kind"] == "typical", fit.estimates["kind"] + " " + fit.estimates["name"]
            )).set_index("label").loc[label]  # fmt: skip
            held += own["low"] < truth < own["high"]
            limits = f"{own['low']:.4g} to {own['high']:.4g}"
            print(f"{label:24} {seed:4d} {truth:8.4g} {own['value']:8.4g} {limits:>20}")
        print(f"{label:24} limits hold the truth in {held} of {len(found)}")


def seconds() -> None:
    example = ("bb2121_clinical", "crb401_synthetic")
    fit_individuals(*example, draws=100)  # compiles, if need be
    print("\nSeconds of wall clock (of processor), warm")
    for what, work in (
        ("33 individual fits, 4 parameters", lambda: fit_individuals(*example)),
        ("population of these 33, 4 parameters", lambda: fit_population(*example)),
    ):
        wall, processor = time.perf_counter(), time.process_time()
        work()
        print(f"{what:40} {time.perf_counter() - wall:6.1f} ({time.process_time() - processor:.1f})")


def main() -> None:
    options = argparse.ArgumentParser(description="Recovery of known truth.")
    options.add_argument("--replicates", type=int, default=20)
    options.add_argument("--only", choices=("individual", "population", "same", "ec50", "time"))
    given = options.parse_args()
    if given.only in (None, "time"):
        seconds()
    if given.only in (None, "individual"):
        individual(given.replicates, CategoryRules(), sbcma=True)
        individual(given.replicates, CategoryRules(), sbcma=False)
        individual(given.replicates, CategoryRules(progression="baseline"), sbcma=False)
    if given.only in (None, "population"):
        population(given.replicates)
    if given.only in (None, "same"):
        same(given.replicates)
    if given.only == "ec50":
        ec50(given.replicates)


if __name__ == "__main__":
    main()
