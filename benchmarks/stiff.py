"""Stiff standards beside the CAR-T model: ROBER, HIRES and van der Pol's oscillator with drawn parameters.

    python benchmarks/stiff.py [--systems 1000] [--repeats 7]       # writes benchmarks/results/stiff.md

cartsim's ensemble engine is made for one model. What it does with others is told here: milliseconds a system at each
tolerance, the worst error of any state at any output (relative to the largest value of that state), and how many
systems are wrong (an error above 1e-2) or failed; beside it LSODA compiled (numbalsoda) and scipy's. Then the
milliseconds at equal error, read off between tolerances. The reference is scipy's Radau at 1e-11. One core.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from engines import one_core
from peers import Missing

import cartsim

HERE = Path(__file__).parent
RTOL = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)
WRONG = 1e-2
MAX_STEPS = 100_000


@dataclass(frozen=True)
class Standard:
    """A problem: typical parameters, their spread (SD of logarithms), start, outputs, tolerances."""

    name: str
    parameters: dict[str, float]
    spread: float
    start: tuple[float, ...]
    times: np.ndarray
    negligible: tuple[float, ...]
    states: tuple[str, ...]

    def draw(self, n: int) -> np.ndarray:
        rng = np.random.default_rng(1)
        return np.array(list(self.parameters.values())) * np.exp(
            self.spread * rng.standard_normal((n, len(self.parameters)))
        )


def _rober(y, p, dy):
    dy[0] = -p[0] * y[0] + p[2] * y[1] * y[2]
    dy[2] = p[1] * y[1] ** 2
    dy[1] = -dy[0] - dy[2]


def _hires(y, p, dy):
    k, bound = p[0], p[1] * y[5] * y[7]
    dy[0] = k * (-1.71 * y[0] + 0.43 * y[1] + 8.32 * y[2] + 0.0007)
    dy[1] = k * (1.71 * y[0] - 8.75 * y[1])
    dy[2] = k * (-10.03 * y[2] + 0.43 * y[3] + 0.035 * y[4])
    dy[3] = k * (8.32 * y[1] + 1.71 * y[2] - 1.12 * y[3])
    dy[4] = k * (-1.745 * y[4] + 0.43 * y[5] + 0.43 * y[6])
    dy[5] = -bound + k * (0.69 * y[3] + 1.71 * y[4] - 0.43 * y[5] + 0.69 * y[6])
    dy[6] = bound - 1.81 * k * y[6]
    dy[7] = -dy[6]


def _van_der_pol(y, p, dy):
    dy[0] = y[1]
    dy[1] = p[0] * (1 - y[0] ** 2) * y[1] - y[0]


RATES: dict[str, Callable] = {"rober": _rober, "hires": _hires, "van_der_pol": _van_der_pol}
STANDARDS = (
    Standard(
        "rober",
        {"k1": 0.04, "k2": 3e7, "k3": 1e4},
        0.3,
        (1.0, 0.0, 0.0),
        np.concatenate([[0.0], np.logspace(-5, 7, 40)]),
        (1e-8, 1e-10, 1e-8),
        ("a", "b", "c"),
    ),
    Standard(
        "hires",
        {"k": 1.0, "bind": 280.0},
        0.3,
        (1.0, 0, 0, 0, 0, 0, 0, 0.0057),
        np.concatenate([[0.0], np.linspace(1, 321.8122, 40)]),
        (1e-4,) * 8,
        tuple(f"y{k}" for k in range(1, 9)),
    ),
    Standard("van_der_pol", {"mu": 100.0}, 0.5, (2.0, 0.0), np.linspace(0, 60, 41), (1.0, 1.0), ("x", "v")),
)


@cache
def compiled(name: str) -> Callable:
    from numba import njit

    return njit(RATES[name])


def ours(one: Standard, p: np.ndarray, rtol: float, repeats: int) -> tuple[float, np.ndarray]:
    model = cartsim.load(HERE / "stiff" / f"{one.name}.toml")
    table = pd.DataFrame(p, columns=list(one.parameters))
    table.insert(0, "id", range(len(p)))
    patients, solver = cartsim.Patients(model, table), cartsim.Solver(rtol=rtol, max_steps=MAX_STEPS)

    def run() -> np.ndarray:
        found = cartsim.simulate(patients, times=one.times, outputs=one.states, solver=solver)
        return np.stack([np.where(found.status[:, None] == 0, found[name], np.nan) for name in one.states], axis=2)

    return _timed(run, repeats)


def numbalsoda(one: Standard, p: np.ndarray, rtol: float, repeats: int) -> tuple[float, np.ndarray]:
    try:
        from numbalsoda import lsoda, lsoda_sig
    except ImportError:
        raise Missing("numbalsoda is not installed") from None
    from numba import carray, cfunc, njit

    rates = compiled(one.name)
    states, parameters = len(one.states), len(one.parameters)

    @cfunc(lsoda_sig)
    def right_hand_side(t, y, dy, data):
        rates(carray(y, (states,)), carray(data, (parameters,)), carray(dy, (states,)))

    @njit
    def every(pointer, p, y0, times, rtol, atol):
        result = np.full((p.shape[0], times.size, y0.size), np.nan)
        for i in range(p.shape[0]):
            found, success = lsoda(pointer, y0, times, p[i], rtol, atol, MAX_STEPS)
            if success:
                result[i] = found
        return result

    # It takes one absolute tolerance for all states.
    given = (np.array(one.start, float), one.times, rtol, rtol * min(one.negligible))
    every(right_hand_side.address, p[:1], *given)
    return _timed(lambda: every(right_hand_side.address, p, *given), repeats)


def scipy(one: Standard, p: np.ndarray, rtol: float, repeats: int) -> tuple[float, np.ndarray]:
    return _timed(lambda: integrated(one, p, rtol, "LSODA"), min(repeats, 2))


def integrated(one: Standard, p: np.ndarray, rtol: float, method: str) -> np.ndarray:
    from scipy.integrate import solve_ivp

    rates = compiled(one.name)

    def right_hand_side(t: float, y: np.ndarray, own: np.ndarray) -> np.ndarray:
        dy = np.empty_like(y)
        rates(y, own, dy)
        return dy

    result = np.full((len(p), len(one.times), len(one.states)), np.nan)
    for i, own in enumerate(p):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = solve_ivp(
                right_hand_side, (0, one.times[-1]), one.start, method, one.times, args=(own,), rtol=rtol,
                atol=rtol * np.array(one.negligible),
            )  # fmt: skip
        if found.success:
            result[i] = found.y.T
    return result


def _timed(run: Callable[[], np.ndarray], repeats: int) -> tuple[float, np.ndarray]:
    result = run()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds)), result


def measured(one: Standard, systems: int, repeats: int, few: int) -> pd.DataFrame:
    p = one.draw(systems)
    checked = p[:few]
    reference = integrated(one, checked, 1e-11, "Radau")
    scale = np.abs(reference).max(axis=(0, 1))
    rows = []
    for name, engine in (("cartsim", ours), ("numbalsoda", numbalsoda), ("scipy LSODA", scipy)):
        own = checked if name == "scipy LSODA" else p
        for rtol in RTOL:
            try:
                seconds, found = engine(one, own, rtol, repeats)
            except Missing as missing:
                print(missing)
                break
            failed = ~np.isfinite(found).all(axis=(1, 2))
            error = (np.abs(found[:few] - reference) / scale).max(axis=(1, 2))
            rows.append(
                {
                    "problem": one.name,
                    "engine": name,
                    "rtol": rtol,
                    "ms per system": 1e3 * seconds / len(own),
                    "worst error": float(np.nanmax(error)),
                    f"wrong of {few}": int((error > WRONG).sum()),
                    "failed": int(failed.sum()),
                }
            )
            print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def at_equal_error(table: pd.DataFrame) -> list[str]:
    lines = []
    for problem, own in table.groupby("problem", sort=False):
        for error in (1e-4, 1e-6):
            at = {}
            for engine, runs in own.groupby("engine", sort=False):
                runs = runs.sort_values("worst error")
                x, y = np.log(runs["worst error"]), np.log(runs["ms per system"])
                if x.min() <= np.log(error) <= x.max():
                    at[engine] = float(np.exp(np.interp(np.log(error), x, y)))
            words = ", ".join(f"{engine} {value:.4f} ms" for engine, value in at.items())
            if "cartsim" in at and len(at) > 1:
                words += "; " + ", ".join(
                    f"{value / at['cartsim']:.1f} times cartsim's ({engine})"
                    for engine, value in at.items()
                    if engine != "cartsim"
                )
            lines.append(f"- {problem}, worst error {error:g}: {words or 'reached by none'}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--checked", type=int, default=50, help="systems held against the reference, and run by scipy")
    parser.add_argument("--core", type=int, default=0, help="the core to run on")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "stiff.md")
    settings = parser.parse_args()
    one_core(settings.core)
    table = pd.concat([measured(one, settings.systems, settings.repeats, settings.checked) for one in STANDARDS])
    columns = list(table)
    lines = ["# Stiff standards", "", f"| {' | '.join(columns)} |", "|---|---|" + "---:|" * (len(columns) - 2)]
    for row in table.itertuples(index=False):
        lines.append("| " + " | ".join(f"{each:.2g}" if isinstance(each, float) else str(each) for each in row) + " |")
    lines += ["", "At equal error:", "", *at_equal_error(table)]
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    settings.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
