"""Seconds of Sobol and eFAST analyses, Ishigami's function against its analytic indices, and the paper's ranking.

Singh 2021 (doi:10.1002/psp4.12598), results, on its Figure S1: Kel_e is more sensitive in the expansion phase, Rm and
Kel_m in the persistent phases. The figure's ranges are not published, so three are tried. The scale is that of the
logarithm of blood transgene, the dose 450e6 cells.

Run: python benchmarks/sensitivity.py
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

import cartsim
from cartsim import efast, endpoint, ranges, sobol
from cartsim.sensitivity.phases import by_phase, phases, typical
from cartsim.sensitivity.ranges import Range

TEN = ("Kexp_max", "EC50_exp", "Rm", "Kel_e", "Kel_m", "K12", "K21", "Kkill_max", "KC50", "Kg")
CLAIMS = (("Kel_e", "expansion", "persistence"), ("Rm", "persistence", "expansion"),
          ("Kel_m", "persistence", "expansion"))  # fmt: skip


def timed() -> None:
    model = cartsim.load("bb2121_clinical")
    box = ranges(model, TEN, "factor")
    sobol(endpoint(model, "Cmax"), box, 16)  # warm: compiled, imported
    for what, name, method, n in (
        ("Sobol of Cmax", "Cmax", sobol, 1024),
        ("Sobol of AUC0-28", "AUC0-28", sobol, 1024),
        ("Sobol of M-protein, nadir", "mprotein_fall", sobol, 1024),
        ("Sobol of M-protein, day 90", "mprotein@90", sobol, 1024),
        ("Sobol of the transgene along time", "transgene", sobol, 1024),
        ("eFAST of Cmax", "Cmax", efast, 1217),
    ):
        function = endpoint(model, name)
        start = time.perf_counter()
        found = method(function, box, n)
        seconds = time.perf_counter() - start
        readings = "" if function.times is None else f", {len(function.times)} readings"
        print(f"{what}: {seconds:.2f} s for {len(found.samples):,} runs{readings} (bound 10 s)")


def ishigami() -> None:
    a, b = 7.0, 0.1
    first = np.array([0.5 * (1 + b * np.pi**4 / 5) ** 2, a**2 / 8, 0.0])
    shared = b**2 * np.pi**8 * (1 / 18 - 1 / 50)
    total = first + np.array([shared, 0.0, shared])

    def function(table: pd.DataFrame) -> np.ndarray:
        x1, x2, x3 = table.to_numpy().T
        return np.sin(x1) + a * np.sin(x2) ** 2 + b * x3**4 * np.sin(x1)

    box = {name: Range("uniform", 0.0, -np.pi, np.pi) for name in ("x1", "x2", "x3")}
    table = pd.DataFrame({"parameter": list(box), "first": first, "total": total})
    table[["first", "total"]] /= first.sum() + shared
    for name, found in (
        ("Sobol, n = 1,024", sobol(function, box, 1024)),
        ("Sobol, n = 8,192", sobol(function, box, 8192)),
        ("eFAST, n = 4,097", efast(function, box, 4097)),
    ):
        table[f"first, {name}"], table[f"total, {name}"] = found.table["first"], found.table["total"]
    print("\nIshigami: analytic and estimated")
    print(table.set_index("parameter").T.round(4).to_string())


def scales() -> None:
    """Why sizes that spread over powers of ten are taken as logarithms."""
    model = cartsim.load("bb2121_clinical")
    box = ranges(model, TEN, "factor")
    print("\nTransgene on day 90, n = 1,024, on either scale")
    for scale in ("log", "linear"):
        table = sobol(endpoint(model, "transgene@90", scale=scale), box, 1024).table
        width = (table["total_high"] - table["total_low"]).max()
        print(f"{scale}: first orders sum to {table['first'].sum():.2f}, widest limits of a total order {width:.2f}")


def ranking() -> None:
    model = cartsim.load("bb2121_clinical")
    marked = phases(*typical(model))
    print("\nPhases of the typical patient (days):", {name: (a, b) for name, (a, b) in marked.items()})
    function = endpoint(model, "transgene")
    for by, text, names in (
        ("iiv", "published variability between patients", [n for n in TEN if model.parameters[n].iiv]),
        ("rse", "published standard errors", [n for n in TEN if model.parameters[n].rse]),
        ("factor", "half to twice the typical value", list(TEN)),
    ):
        table = by_phase(sobol(function, ranges(model, names, by), 1024).table, marked)
        wide = table.pivot(index="parameter", columns="phase", values="total")[list(marked)].loc[names]
        print(f"\nTotal order indices, means by phase; ranges: {text}")
        print(wide.round(4).to_string())
        at = table.set_index(["parameter", "phase"])
        for name, more, less in CLAIMS:
            a, b = at.loc[(name, more)], at.loc[(name, less)]
            clear = a["total_low"] > b["total_high"]
            small = a["total"] < 0.01
            verdict = "agrees" if clear and not small else "agrees in direction, but explains < 1 %" if clear else "no"
            print(f"{name} matters more in {more} than in {less}: {verdict} ({a['total']:.4f}, {b['total']:.4f})")
        for phase in marked:
            lead = wide[phase].sort_values(ascending=False).head(3)
            print(f"{phase} is led by", ", ".join(f"{name} ({value:.2f})" for name, value in lead.items()))


if __name__ == "__main__":
    timed()
    ishigami()
    scales()
    ranking()
