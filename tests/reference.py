"""The clinical model written out by hand and integrated by scipy: what cartsim's results are held against.

Equations of Singh et al. 2021 (supporting information, in the form of the deposited code). Effectors, complexes and
tumor, which vanish and come back, are carried as logarithms; memory cells and biomarkers as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.integrate import solve_ivp

from cartsim.engine import tableau

STATES = ("CARTe_PB", "CARTe_BM", "CARTm_PB", "CARTm_BM", "complex", "Tumor", "mprotein", "sBCMA")
LOG = np.array([True, True, False, False, True, True, False, False])


def slopes(p: Mapping[str, float]) -> Callable[[float, np.ndarray], list[float]]:
    """dz/dt of one patient, z holding ln x for the log-scaled states."""
    kon = p["Kon"] * 86400 / 6.02214076e23
    koff = p["Koff"] * 86400
    k12, k21, kel_e, kel_m, rm = p["K12"], p["K21"], p["Kel_e"], p["Kel_m"], p["Rm"]
    into_blood, into_marrow = k21 * p["Vbm"] / p["Vb"], k12 * p["Vb"] / p["Vbm"]
    cars, antigens = p["Ag_CAR"], p["Ag_tumor"]
    kexp, ec50, kkill, kc50, kg = p["Kexp_max"], p["EC50_exp"], p["Kkill_max"], p["KC50"], p["Kg"]
    km, kb, gamma_m, gamma_b, log_t0 = p["Km"], p["Kb"], p["gamma_m"], p["gamma_b"], math.log(p["Tumor0"])
    exp = math.exp

    def f(_: float, z: np.ndarray) -> list[float]:
        eb, em, mb, mm, x, t, m, s = z.tolist()
        marrow = exp(em)
        c = marrow + mm
        x_natural = exp(x)
        per_cart = x_natural / c
        per_tumor = exp(x - t)
        expansion = kexp * per_cart / (ec50 + per_cart)
        kill = kkill * per_tumor / (kc50 + per_tumor)
        return [
            -k12 - kel_e + into_blood * exp(em - eb),
            into_marrow * exp(eb - em) - k21 + expansion - rm,
            -k12 * mb + into_blood * mm - kel_m * mb,
            into_marrow * mb - k21 * mm + rm * marrow,
            kon * (cars * c - x_natural) * (antigens * exp(t - x) - 1) - koff,
            kg - kill,
            km * (exp(gamma_m * (t - log_t0)) - m),
            kb * (exp(gamma_b * (t - log_t0)) - s),
        ]

    return f


def infused(p: Mapping[str, float], natural: np.ndarray, cells: float) -> np.ndarray:
    """States after an infusion; the first one also seeds the marrow and sets complexes to equilibrium."""
    after = natural.copy()
    after[0] += cells / p["Vb"]
    if after[1] == 0:
        after[1] = 1e-6
    if after[4] == 0:
        receptors = p["Ag_CAR"] * (after[1] + after[3])
        antigens = p["Ag_tumor"] * after[5]
        total = receptors + antigens + p["Koff"] * 6.02214076e23 / p["Kon"]
        after[4] = 2 * receptors * antigens / (total + math.sqrt(total**2 - 4 * receptors * antigens))
    return after


def carried(natural: np.ndarray) -> np.ndarray:
    return np.where(LOG, np.log(np.where(LOG, natural, 1.0)), natural)


def natural(z: np.ndarray) -> np.ndarray:
    """z (8,) or (8, m) in natural units."""
    log = LOG if z.ndim == 1 else LOG[:, None]
    return np.where(log, np.exp(np.where(log, z, 0.0)), z)


def solve(
    p: Mapping[str, float],
    infusions: Sequence[tuple[float, float]],
    times: Sequence[float],
    *,
    method: str = "LSODA",
    rtol: float = 1e-11,
) -> dict[str, np.ndarray]:
    """States at ``times`` (increasing, from the first infusion on), each (m,), after those at the same time.

    ``infusions``: (time, cells), the first at time 0.
    """
    f = slopes(p)
    times = np.asarray(times, float)
    atol = np.where(LOG, rtol, 1e-3 * rtol)
    x = np.array([0, 0, 0, 0, 0, p["Tumor0"], 1, 1], float)
    found = np.empty((len(STATES), len(times)))
    edges = [time for time, _ in infusions] + [math.inf]
    for (start, cells), end in zip(infusions, edges[1:], strict=True):
        x = infused(p, x, cells)
        inside = (times >= start) & (times < end)
        stop = times[inside][-1] if math.isinf(end) else end
        grid = np.unique(np.concatenate([[start], times[inside], [stop]]))
        if stop > start:
            run = solve_ivp(f, (start, stop), carried(x), method=method, t_eval=grid, rtol=rtol, atol=atol)
            assert run.success, run.message
            values = natural(run.y)
        else:
            values = x[:, None]
        found[:, inside] = values[:, np.isin(grid, times[inside])]
        x = values[:, -1]
    return dict(zip(STATES, found, strict=True))


def rosenbrock() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """alpha, Gamma, b and the embedded b of the usual form, from the transformed one (Hairer & Wanner II, IV.7)."""
    stages = tableau.STAGES
    c = np.zeros((stages, stages))
    for s, row in enumerate(tableau.C):
        c[s, : len(row)] = row
    gamma = np.linalg.inv(np.eye(stages) / tableau.GAMMA - c)
    a = np.zeros((stages + 1, stages))
    for s, row in enumerate(tableau.A):
        a[s, : len(row)] = row
    for s in range(len(tableau.A), stages + 1):  # each of the last stages starts where the one before ended
        a[s] = a[s - 1]
        a[s, s - 1] += 1
    return a[:stages] @ gamma, gamma, a[stages] @ gamma, a[stages - 1] @ gamma
