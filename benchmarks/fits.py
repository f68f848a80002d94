"""Seconds of the fits: the three models, and the mouse with its likelihood profiles.

Run: python benchmarks/fits.py [FIGURE_2B.csv]

The file holds the digitised Figure 2b of Singh 2021 (columns series, day, value); without it the mouse is fitted to
data simulated at the same times. Every time is the second of two runs, so that nothing is compiled in it.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from cartsim.fitting import DataSet, ErrorModel, Fit, Problem, fit_problem, replicate, table_priors

NAMES = ["Kexp_max", "EC50_exp", "Kkill_max", "K12", "K21", "Kg", "tau"]
TABLE_1 = {"Kexp_max": 0.9168, "EC50_exp": 1.15, "Kkill_max": 0.612, "K12": 20304, "K21": 0.3288, "Kg": 0.0888,
           "tau": 47.4}  # fmt: skip


def mouse(file: str | None) -> Problem:
    """Tumor volume of vehicle and treated mice and blood CAR-T of the treated, Table 1 as prior."""
    priors = table_priors("bb2121_xenograft", NAMES)
    if file is None:
        volume, blood = (1, 4, 9, 12, 15, 18, 22, 25, 29, 33), (1, 2, 4, 8, 12, 15, 18, 22, 25, 29)
        rows = [(arm, t, "tumor_volume", dose) for arm, dose in (("vehicle", 0), ("treated", 5e6)) for t in volume]
        rows += [("treated", t, "cart_blood", 5e6) for t in blood]
        table = pd.DataFrame(rows, columns=["id", "time", "output", "dose"]).assign(value=1.0)
        problem = Problem([DataSet("mouse", "bb2121_xenograft", table, ErrorModel("combined"))], NAMES, priors)
        sds = {"tumor_volume.add": 10, "tumor_volume.prop": 0.2, "cart_blood.add": 10, "cart_blood.prop": 0.2}
        return replicate(problem, TABLE_1 | sds, seed=1)
    raw = pd.read_csv(file)
    raw = raw[raw["series"] != "blood_cart_vehicle"]  # the model has no CAR-T cells there
    table = pd.DataFrame(
        {
            "id": raw["series"].str.rpartition("_")[2],
            "time": raw["day"],
            "output": np.where(raw["series"].str.startswith("tumor"), "tumor_volume", "cart_blood"),
            "value": raw["value"],
            "dose": np.where(raw["series"].str.endswith("vehicle"), 0, 5e6),
        }
    )
    return Problem([DataSet("mouse", "bb2121_xenograft", table, ErrorModel("combined"))], NAMES, priors)


def dish() -> Problem:
    """Six cell lines at four ratios, three donors."""
    lines = ("JeKo", "Daudi", "U266-B1", "NCI-H929", "RPMI-8226", "K562-BCMA")
    rows = [(f"{line}/{et}/{k}", line, et) for line in lines for et in (1, 2, 4, 10) for k in range(3)]
    table = pd.DataFrame(rows, columns=["id", "variant", "ET"]).assign(time=4.0, output="cytolysis", value=50.0)
    data = DataSet("dish", "bb2121_invitro", table, ErrorModel("additive"))
    truth = {"Kkill_max": 0.353, "KC50": 2.24, "gamma": 1.07, "cytolysis.add": 3.0}
    return replicate(Problem([data], ["Kkill_max", "KC50", "gamma"]), truth, seed=1)


def patients() -> Problem:
    """Transgene, M-protein and sBCMA of three patients at each of four doses, nine parameters."""
    kinetic, marker = (2, 4, 7, 9, 11, 14, 21, 28, 60, 90, 180, 270, 365), (14, 28, 60, 90, 120, 150, 180, 270, 365)
    schedule = {"transgene": kinetic, "mprotein_change": marker, "sbcma_change": marker}
    rows = [
        (f"{dose:g}/{k}", t, output, dose)
        for dose in (50e6, 150e6, 450e6, 800e6)
        for k in range(3)
        for output, times in schedule.items()
        for t in times
    ]
    table = pd.DataFrame(rows, columns=["id", "time", "output", "dose"]).assign(value=10.0)
    error = {name: ErrorModel("lognormal" if name == "transgene" else "additive") for name in schedule}
    truth = {"Kexp_max": 1.73, "EC50_exp": 10, "Rm": 2e-5, "Kel_e": 113, "Kel_m": 0.219, "K12": 1.71, "K21": 0.176,
             "Kkill_max": 0.343, "gamma_m": 0.215}  # fmt: skip
    sds = {"transgene.log": 0.4, "mprotein_change.add": 5, "sbcma_change.add": 5}
    return replicate(Problem([DataSet("patients", "bb2121_clinical", table, error)], list(truth)), truth | sds, seed=1)


def timed(what: str, work: Callable[[], Any]) -> Any:
    """The result of the second of two runs, its time printed."""
    work()
    begin = time.perf_counter()
    result = work()
    print(f"{what:60s} {time.perf_counter() - begin:7.2f} s", flush=True)
    return result


def main() -> None:
    warnings.simplefilter("ignore")  # of what cannot be identified, which is the point of the last row
    for name, problem in (("dish", dish()), ("patients", patients())):
        what = f"{name}: {problem.n_observations} observations, 4 starts"
        found: Fit = timed(what, lambda p=problem: fit_problem(p))
    problem = mouse(sys.argv[1] if len(sys.argv) > 1 else None)
    what = f"mouse: {problem.n_observations} observations, Table 1 as prior, 4 starts"
    found = timed(what, lambda: fit_problem(problem))
    timed("mouse: 7 profiles, all priors, 1 process", found.profiles)
    timed("mouse: 7 profiles, all priors, 2 processes", lambda: found.profiles(n_jobs=2))
    timed("mouse: 7 profiles, each without its own prior", lambda: found.profiles(priors="others", n_jobs=2))
    alone = timed("mouse: 7 profiles, no priors", lambda: found.profiles(priors="none", n_jobs=2))
    rows = found.estimates.set_index("name").loc[NAMES]
    rows["deviation"] = (rows["estimate"] / rows["prior"] - 1) / rows["prior_rse"]
    rows["data alone"] = ["identified" if alone[name].identified else "not identified" for name in NAMES]
    print("\nMouse, deviation from Table 1 in its RSE:")
    print(rows[["estimate", "rse", "prior", "deviation", "shrinkage", "data alone"]].round(4).to_string())


if __name__ == "__main__":
    main()
