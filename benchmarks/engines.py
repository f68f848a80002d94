"""Every engine at hand on one population, in textbook and in well-conditioned form: speed, accuracy, wrong patients.

    python benchmarks/engines.py                  # 1,000 patients, writes benchmarks/results/engines.{md,csv,png}
    python benchmarks/engines.py --patients 100 --rtol 1e-6 --engines cartsim,numbalsoda --out /tmp/try

The patients are those of the published variability and 0.5 more on the tumor's baseline, followed for 640 days after
450 million cells with 119 outputs, on one core. A patient is *wrong* when relative M-protein is off by more than 0.005
or blood CAR-T by more than 5 % at any output. The reference is cartsim at a relative tolerance of 1e-10, itself held
against scipy's LSODA at 1e-11 for some of the patients; how far the two are apart is printed and written down.

Milliseconds are the median over repeats of the whole run (for slow engines, over batches of one run), compilation left
out, for cartsim the whole call of ``simulate``.
"""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path
from typing import Any

import forms
import numpy as np
import pandas as pd
from peers import ENGINES, SLOW, Missing

import cartsim

DOSE = 450e6
TIMES = np.concatenate([np.arange(0, 31.0), np.arange(37, 640, 7.0), [640.0]])
STATES = ("CARTe_PB", "CARTm_PB", "mprotein")
MODEL = "bb2121_clinical"
COLUMNS = ("engine", "form", "rtol", "ms per patient", "worst dM", "blood median", "blood p99", "blood worst")
COLUMNS += ("wrong", "failed", "note")
MATCHED = ("worst dM", "blood p99")  # errors that speeds are compared at


def main() -> None:
    settings = arguments()
    one_core(settings.core)
    model = cartsim.load(MODEL)
    population = cartsim.Population(model, variability={"Tumor0": cartsim.lognormal(0.5)})
    table = population.table(0, settings.patients, complete=True)
    reference = reference_of(model, table)
    check = reference_check(table, reference, settings.checked)
    print(check)
    rows: list[dict[str, Any]] = []
    for engine in settings.engines:
        for form in ("textbook", "conditioned"):
            if engine == "cartsim" and form == "textbook":
                continue  # there is only one form: the model file says which states are carried as logarithms
            for rtol in settings.rtol:
                try:
                    row = measured(engine, form, rtol, model, table, reference, settings.repeats)
                except Missing as missing:
                    row = dict.fromkeys(COLUMNS, np.nan) | {"engine": engine, "form": form, "rtol": rtol}
                    row["note"] = str(missing)
                rows.append(row)
                print({k: f"{v:.3g}" if isinstance(v, float) else v for k, v in row.items()}, flush=True)
    write(pd.DataFrame(rows), check, settings)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ["cartsim", *ENGINES]
    parser.add_argument("--patients", type=int, default=1000)
    numbers = lambda text: [float(part) for part in text.split(",")]  # noqa: E731
    parser.add_argument("--rtol", type=numbers, default=[1e-4, 1e-5, 1e-6, 1e-7, 1e-8])
    parser.add_argument("--engines", type=lambda text: text.split(","), default=names, help=", ".join(names))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--checked", type=int, default=200, help="patients of whom scipy checks the reference")
    parser.add_argument("--core", type=int, default=0, help="the core to run on")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    settings = parser.parse_args()
    unknown = set(settings.engines) - set(names)
    if unknown:
        parser.error(f"no engine {', '.join(unknown)}; there are {', '.join(names)}")
    return settings


def one_core(core: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def reference_of(model: cartsim.Model, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """M-protein and blood CAR-T (n, m) at a tight tolerance."""
    run = cartsim.simulate(
        cartsim.Patients(model, patients_of(table)),
        DOSE,
        TIMES,
        STATES,
        solver=cartsim.Solver(rtol=1e-10, max_steps=10**6),
    )
    assert not run.status.any(), run.failures()
    return run["mprotein"], run["CARTe_PB"] + run["CARTm_PB"]


def patients_of(table: pd.DataFrame) -> pd.DataFrame:
    return table.reset_index()


def reference_check(table: pd.DataFrame, reference: tuple[np.ndarray, np.ndarray], checked: int) -> str:
    from scipy.integrate import solve_ivp

    p = forms.parameters(table)[:checked]
    y0 = forms.start("conditioned", p, DOSE)
    f = forms.right_hand_sides()["conditioned"]
    mprotein_off, blood_off = 0.0, 0.0

    def right_hand_side(t: float, y: np.ndarray, dy: np.ndarray, own: np.ndarray) -> np.ndarray:
        f(y, own, dy)
        return dy.copy()

    for i in range(len(p)):
        keep = {"args": (np.empty(8), p[i]), "rtol": 1e-11, "atol": 1e-12}
        found = solve_ivp(right_hand_side, (0, TIMES[-1]), y0[i], "LSODA", TIMES, **keep)
        mprotein, blood = forms.readout("conditioned", found.y.T)
        mprotein_off = max(mprotein_off, np.abs(reference[0][i] - mprotein).max())
        blood_off = max(blood_off, np.abs(reference[1][i] / blood - 1).max())
    return (
        f"Reference: cartsim at rtol 1e-10; of the first {len(p)} patients scipy LSODA at 1e-11 differs by at most "
        f"{mprotein_off:.1e} in M-protein and {blood_off:.1e} (relative) in blood CAR-T."
    )


def measured(
    engine: str,
    form: str,
    rtol: float,
    model: cartsim.Model,
    table: pd.DataFrame,
    reference: tuple[np.ndarray, np.ndarray],
    repeats: int,
) -> dict[str, Any]:
    n = len(table)
    if engine == "cartsim":
        seconds, mprotein, blood = cartsim_run(model, table, rtol, repeats)
    else:
        p = forms.parameters(table)
        y0 = forms.start(form, p, DOSE)
        run = ENGINES[engine]
        batches = np.array_split(np.arange(n), 5 if engine in SLOW and n >= 5 else 1)
        parts = [run(form, rtol, p[b], y0[b], TIMES, 1 if len(batches) > 1 else repeats) for b in batches]
        seconds = np.concatenate([part[0] / len(b) for part, b in zip(parts, batches, strict=True)]) * n
        mprotein, blood = forms.readout(form, np.concatenate([part[1] for part in parts]))
    failed = ~(np.isfinite(mprotein) & np.isfinite(blood)).all(axis=1)
    with np.errstate(invalid="ignore"):
        off = np.abs(mprotein - reference[0])
        blood_off = np.abs(blood / reference[1] - 1)
        wrong = ~failed & ((off.max(axis=1) > 0.005) | (blood_off.max(axis=1) > 0.05))
    some = not failed.all()
    off, blood_off = off[~failed], blood_off[~failed]
    return {
        "engine": engine,
        "form": form,
        "rtol": rtol,
        "ms per patient": 1e3 * float(np.median(seconds)) / n,
        "worst dM": float(off.max()) if some else np.nan,
        "blood median": float(np.median(blood_off)) if some else np.nan,
        "blood p99": float(np.quantile(blood_off, 0.99)) if some else np.nan,
        "blood worst": float(blood_off.max()) if some else np.nan,
        "wrong": int(wrong.sum()),
        "failed": int(failed.sum()),
        "note": "",
    }


def cartsim_run(
    model: cartsim.Model, table: pd.DataFrame, rtol: float, repeats: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from time import perf_counter

    patients = patients_of(table)
    cartsim.simulate(cartsim.Patients(model, patients.head(20)), DOSE, TIMES, STATES, solver=cartsim.Solver(rtol=rtol))
    seconds = np.empty(repeats)
    for k in range(repeats):
        began = perf_counter()
        run = cartsim.simulate(cartsim.Patients(model, patients), DOSE, TIMES, STATES, solver=cartsim.Solver(rtol=rtol))
        seconds[k] = perf_counter() - began
    return seconds, run["mprotein"], run["CARTe_PB"] + run["CARTm_PB"]


# --- the tables -------------------------------------------------------------------------------------------------


def write(rows: pd.DataFrame, check: str, settings: argparse.Namespace) -> None:
    settings.out.mkdir(parents=True, exist_ok=True)
    rows.to_csv(settings.out / "engines.csv", index=False)
    text = [
        "# Engines compared",
        "",
        f"{settings.patients:,} patients, 640 days, {len(TIMES)} outputs, one core ({processor()}); "
        f"Python {platform.python_version()}, {', '.join(versions())}.",
        check,
        "",
        table_text(rows[rows["note"] == ""]),
        "",
        *missing_text(rows),
        *matched_text(rows),
        "",
        "Textbook: linear states, absolute tolerance 1e-8. Conditioned: cell pools, complexes and tumor as",
        "logarithms, the tolerance as the absolute one (a hundredth of it as the relative one). dM: error of",
        "M-protein relative to baseline. Blood: relative error of blood CAR-T over all outputs of all patients.",
        "Wrong: a patient with M-protein off by more than 0.005 or blood CAR-T by more than 5 % at any output.",
        "Errors are those of the patients that did not fail.",
    ]
    (settings.out / "engines.md").write_text("\n".join(text) + "\n")
    print("\n".join(text))
    if rows["ms per patient"].notna().any():
        plot(rows[rows["note"] == ""], settings.out / "engines.png")


def table_text(rows: pd.DataFrame) -> str:
    heads = COLUMNS[:-1]
    lines = ["| " + " | ".join(heads) + " |", "|---|---|" + "---:|" * (len(heads) - 2)]
    for _, row in rows.iterrows():
        cells = [row["engine"], row["form"], f"{row['rtol']:.0e}", f"{row['ms per patient']:.3f}"]
        cells += [f"{row[name]:.1e}" for name in heads[4:8]]
        cells += [f"{int(row[name])}" for name in heads[8:]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def missing_text(rows: pd.DataFrame) -> list[str]:
    missing = rows[rows["note"] != ""].drop_duplicates("engine")
    if missing.empty:
        return []
    return [f"Not run: {'; '.join(f'{e} ({n})' for e, n in zip(missing['engine'], missing['note'], strict=True))}.", ""]


def matched_text(rows: pd.DataFrame) -> list[str]:
    """The fastest run of each engine that is as accurate as a run of the best peer, for each of that peer's runs.

    The best peer is the one that reaches the middle of the tolerances first, with no patient wrong or failed.
    """
    good = rows[(rows["note"] == "") & (rows["wrong"] == 0) & (rows["failed"] == 0)]
    peers = good[good["engine"] != "cartsim"]
    if peers.empty:
        return ["No peer was run with no patient wrong and none failed."]
    tolerances = sorted(peers["rtol"].unique())
    at_middle = peers[peers["rtol"] == tolerances[len(tolerances) // 2]]
    best = peers[peers["engine"] == at_middle.loc[at_middle["ms per patient"].idxmin(), "engine"]]
    lines = ["Fastest run of each engine with no patient wrong or failed, as accurate as a run of the best peer:", ""]
    lines += ["| as accurate as | worst dM | blood p99 | engine | form | rtol | ms per patient | times cartsim |"]
    lines += ["|---|---:|---:|---|---|---:|---:|---:|"]
    for _, bound in best.sort_values("rtol", ascending=False).iterrows():
        enough = good[(good[list(MATCHED)] <= bound[list(MATCHED)]).all(axis=1)]
        fastest = enough.loc[enough.groupby("engine")["ms per patient"].idxmin()].sort_values("ms per patient")
        ours = fastest.loc[fastest["engine"] == "cartsim", "ms per patient"]
        for _, row in fastest.iterrows():
            times = f"{row['ms per patient'] / ours.iloc[0]:.1f}" if len(ours) else ""
            lines.append(
                f"| {bound['engine']} at {bound['rtol']:.0e} | {bound['worst dM']:.1e} | {bound['blood p99']:.1e} | "
                f"{row['engine']} | {row['form']} | {row['rtol']:.0e} | {row['ms per patient']:.4f} | {times} |"
            )
    return lines


def versions() -> list[str]:
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in ("cartsim", "numba", "scipy", "numbalsoda", "libroadrunner", "pydiffsol", "diffrax"):
        try:
            found.append(f"{name} {version(name) if name != 'cartsim' else cartsim.__version__}")
        except PackageNotFoundError:
            continue
    return found


def processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def plot(rows: pd.DataFrame, path: Path) -> None:
    """Work against precision: milliseconds a patient over the 99th percentile of the blood error."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = rows[rows["ms per patient"].notna()]
    figure, axes = plt.subplots(1, 2, figsize=(12.5, 4.5), sharey=True, layout="constrained")
    names = ["cartsim", *ENGINES]
    colors = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#999933", "#000000")
    colors = dict(zip(names, colors, strict=True))
    markers = dict(zip(names, "osD^vPX*", strict=True))
    for axis, error in zip(axes, ("blood p99", "worst dM"), strict=True):
        for (engine, form), line in rows.groupby(["engine", "form"], sort=False):
            style = "-" if form == "conditioned" else ":"
            label = engine if engine == "cartsim" else f"{engine}, {form}"
            line = line.sort_values("rtol")
            look = {"color": colors[engine], "marker": markers[engine], "label": label}
            axis.plot(line[error], line["ms per patient"], style, **look)
            bad = line[(line["wrong"] > 0) | (line["failed"] > 0)]
            axis.plot(bad[error], bad["ms per patient"], "x", color="black", markersize=9)
        axis.set(xscale="log", yscale="log")
        axis.grid(alpha=0.3)
    axes[0].set(xlabel="blood CAR-T: relative error, 99th percentile of outputs", ylabel="ms per patient, one core")
    axes[1].set(xlabel="M-protein: worst error, fraction of baseline")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, loc="outside right center")
    figure.suptitle("Work and precision; crosses: some patients wrong or failed", fontsize=11)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
