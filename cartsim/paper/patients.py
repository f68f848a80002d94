"""Figures 3, 6a and S3: the typical patient at four doses, and virtual patients around it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cartsim.errors import InputError
from cartsim.model.reader import load
from cartsim.paper.drawn import Drawn, art, observations, paragraphs
from cartsim.plots import style
from cartsim.plots.kinetics import TRANSGENE
from cartsim.population.patients import Patients
from cartsim.population.population import Population
from cartsim.schedule import MONTH
from cartsim.simulation import simulate
from cartsim.solver import Solver
from cartsim.trial.trial import Arm, Trial

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

DOSES = (50e6, 150e6, 450e6, 800e6)  # cells
EXPANSION = 12.0  # days, of the paper's insert
DAYS = np.unique(np.round(np.concatenate([np.arange(0, 30, 0.1), np.arange(30, 365.5, 1)]), 6))
MARKERS = {"sbcma_change": "Soluble BCMA", "mprotein_change": "Serum M-protein"}
PATIENTS, SHOWN = 1000, 250


def figure_3(data: str | Path | None = None) -> Drawn:
    """Transgene, soluble BCMA and M-protein of the typical patient at four doses, over a year.

    ``data`` is a CSV file of observed means, columns series (transgene in copies/ug, sbcma_change, mprotein_change in
    percent), dose (cells, one of the four), day, value, and sd where it is known.

    The frame holds a row for each dose (cells) and day: transgene (copies/ug) and percent changes. Observed means are
    in rows of their own, with ``source`` "observed", series, value, sd and the model's value in ``predicted``.
    """
    import pandas as pd

    seen = None if data is None else _means(data)
    days = DAYS if seen is None else np.union1d(DAYS, seen["day"])
    outputs = ["transgene", *MARKERS]
    run = simulate(Patients(load("bb2121_clinical"), {"dose": DOSES}), times=days, outputs=outputs)
    table = run.frame.rename(columns={"time": "day"})[["dose", "day", *outputs]]
    if seen is not None:
        at = zip(seen["series"], seen["dose"], seen["day"], strict=True)
        seen["predicted"] = [run[name][DOSES.index(dose), np.searchsorted(days, day)] for name, dose, day in at]
        table = pd.concat([table.assign(source="simulated"), seen.assign(source="observed")], ignore_index=True)
    return Drawn(_courses(days, run.values, seen), table, _courses_caption(days, run.values, seen))


def _means(path: str | Path) -> pd.DataFrame:
    series, numbers = ("transgene", *MARKERS), ("dose", "day", "value")
    seen = observations(path, {"series": series}, numbers, optional=("sd",), until=DAYS[-1])
    wrong = ~seen["dose"].isin(DOSES)
    if wrong.any():
        shown = ", ".join(f"{dose:g}" for dose in DOSES)
        raise InputError(
            f"{path}: dose {seen['dose'][wrong].iloc[0]:g} is not in the figure; give one of {shown} cells"
        )
    if (seen["sd"] < 0).any() or (seen.loc[seen["series"] == "transgene", "value"] <= 0).any():
        raise InputError(f"{path}: an sd is negative, or a transgene not above 0; leave such an sd or row out")
    return seen


def _courses(days: NDArray[np.float64], values: dict[str, NDArray[np.float64]], seen: pd.DataFrame | None) -> Figure:
    pens = style.arm_pens(f"{dose:g}" for dose in DOSES)
    per, unit = style.time_unit(DAYS[-1])
    figure, axes = style.panels(3, width=4.2, height=3.7)
    insert = axes[0].inset_axes((0.62, 0.58, 0.38, 0.36))
    after = days > 0  # on day 0 the whole dose is in blood
    for k, pen in enumerate(pens.values()):
        curve = values["transgene"][k][after]
        axes[0].plot(days[after] / per, curve, **pen)
        insert.plot(days[after], curve, **pen)
        for axis, marker in zip(axes[1:], MARKERS, strict=True):
            axis.plot(days / per, values[marker][k], **pen)
    axes[0].set_title("Blood transgene", fontsize=10)
    axes[0].set_ylabel(TRANSGENE)
    axes[0].set_ylim(0.4, 1e6)
    insert.set_xlim(0, EXPANSION)
    insert.set_ylim(0.1, 1e5)
    insert.set_xticks([0, 4, 8, 12])
    insert.tick_params(labelsize=8)
    insert.set_xlabel("days", fontsize=8)
    for axis in (axes[0], insert):
        axis.set_yscale("log")
        axis.minorticks_off()
    for axis, title in zip(axes[1:], MARKERS.values(), strict=True):
        axis.axhline(0, color=style.FAINT, lw=0.8)
        axis.set_title(title, fontsize=10)
        axis.set_ylabel("% change from baseline")
        axis.set_ylim(-104, 10)
    for axis in axes:
        style.time_axis(axis, DAYS[-1] / per, unit, root=True)  # else the doses cannot be told apart
        axis.set_xlabel(style.time_label(unit, root=True))
    handles = [style.line(style.arm_title(name), **pen) for name, pen in pens.items()]
    if seen is not None:
        colors = [pen["color"] for pen in pens.values()]
        _draw_means(dict(zip(("transgene", *MARKERS), axes, strict=True)), insert, seen, per, colors)
        handles.append(style.line("observed mean, SD where given", color=style.INK, ls="", marker="o", ms=5))
    style.legend_below(figure, handles)
    return art(figure, "abc", axes)


def _draw_means(axes: dict[str, Axes], insert: Axes, seen: pd.DataFrame, per: float, colors: list[Any]) -> None:
    for (name, dose), rows in seen.groupby(["series", "dose"]):
        log = name == "transgene"
        pen: dict[str, Any] = {"fmt": "o", "ms": 5, "mec": "white", "mew": 0.6, "capsize": 2, "lw": 1.0, "zorder": 4}
        value, sd = rows[["value", "sd"]].to_numpy(float).T
        low = np.minimum(sd, 0.9 * value) if log else sd  # a bar on a log axis ends above 0
        color = colors[DOSES.index(dose)]
        for axis, scale in ((axes[name], per), (insert, 1.0)) if log else ((axes[name], per),):
            axis.errorbar(rows["day"] / scale, value, yerr=[low, sd], color=color, **pen)
    for name in MARKERS:
        shown = seen[seen["series"] == name]
        if len(shown):
            low, high = axes[name].get_ylim()
            top = (shown["value"] + shown["sd"].fillna(0)).max()
            axes[name].set_ylim(low, max(high, 1.05 * top))


def _courses_caption(
    days: NDArray[np.float64], values: dict[str, NDArray[np.float64]], seen: pd.DataFrame | None
) -> str:
    expanding = days >= 1
    late = np.searchsorted(days, 180)
    said = []
    for dose, transgene, mprotein in zip(DOSES, values["transgene"], values["mprotein_change"], strict=True):
        highest = int(np.argmax(np.where(expanding, transgene, 0)))
        lowest = int(np.argmin(mprotein))
        said.append(
            f"{dose / 1e6:g}: {transgene[highest]:,.0f}, {days[highest]:.1f}, {transgene[late]:.1f}, "
            f"{mprotein[lowest]:.1f} % ({days[lowest]:.0f})".replace("-", "−")
        )
    return paragraphs(
        f"""Figure 3. Transgene in blood with an insert of the expansion (a), and change from baseline of soluble BCMA
        (b) and serum M-protein (c) after one infusion. Model bb2121_clinical, the typical patient with 50 % plasma
        cells in the marrow and the published values, nothing fitted. Lines are nested, the lowest dose broadest, so
        that all can be seen where they coincide. {_observed(seen)}""",
        f"""Dose (10⁶ cells): Cmax (copies/µg), Tmax (days), transgene on day 180, lowest M-protein (its day):
        {"; ".join(said)}.""",
        """Where the model differs from the paper's account: the paper reports the lowest peak, poor persistence and the
        smallest fall of both biomarkers for the cohort of 50 × 10⁶ cells. With one set of values for all doses the
        curves differ only while cells expand: a lower dose starts lower, peaks later but no lower, and persists as
        long. Burden, not dose, sets the peak.""",
    )


def _observed(seen: pd.DataFrame | None) -> str:
    if seen is None:
        return "Observed means are published as a picture only; --data draws those of a file."
    units = {"transgene": "log10 copies/µg", **dict.fromkeys(MARKERS, "points")}
    said = []
    for name, rows in seen.groupby("series", sort=False):
        pair = rows[["predicted", "value"]].to_numpy()
        one, two = np.log10(pair).T if name == "transgene" else pair.T
        said.append(f"{name} {np.sqrt(np.mean((one - two) ** 2)):.2g} {units[str(name)]} (n = {len(rows)})")
    return f"Points: observed means, bars their SD. Root mean square distance from the lines: {'; '.join(said)}."


def figure_6a(seed: int = 2021) -> Drawn:
    """M-protein of the first 250 of 1000 virtual patients at each of four doses.

    The frame holds a row for each dose (cells), patient and day drawn: percent change of M-protein and the
    patient's best response.
    """
    return _spiders("6a", ("a1", "a2", "a3", "a4"), SHOWN, seed)


def figure_s3(seed: int = 2021) -> Drawn:
    """M-protein of all 1000 virtual patients at each of four doses; frame as of `figure_6a`."""
    return _spiders("S3", "abcd", PATIENTS, seed)


def _spiders(name: str, letters: Sequence[str], shown: int, seed: int) -> Drawn:
    import pandas as pd

    population = Population(load("bb2121_clinical"), seed)
    found = Trial(population, tuple(Arm(dose) for dose in DOSES), PATIENTS).run(keep_visits=False)
    days = found.curves[found.arms[0]].times
    index = pd.MultiIndex.from_product([DOSES, range(shown), days], names=["dose", "id", "day"])
    change = [found.curves[arm].values["mprotein_change"][:shown].ravel() for arm in found.arms]
    best = [found.arm(arm)["best"].to_numpy()[:shown] for arm in found.arms]
    table = pd.DataFrame({"mprotein_change": np.concatenate(change)}, index).reset_index()
    table["best"] = np.repeat(np.concatenate(best), len(days))
    figure = art(found.plot.spider(first=shown, columns=2), letters)
    of = f"all {shown}" if shown == PATIENTS else f"the first {shown} of {PATIENTS}"
    who = f"Figure {name}. Serum M-protein of {of} virtual patients"
    return Drawn(figure, table, _spider_caption(who, letters, found.summary, table["mprotein_change"].max(), seed))


def _spider_caption(who: str, letters: Sequence[str], summary: pd.DataFrame, highest: float, seed: int) -> str:
    def rates(name: str) -> str:
        return "/".join(f"{rate:.0f}" for rate in summary[name])

    doses = "/".join(f"{dose / 1e6:g}" for dose in DOSES)
    extinct = "/".join(f"{rate:.1f}" for rate in progressed_with_extinction(DOSES, seed, PATIENTS))
    return paragraphs(
        f"""{who} at {doses} × 10⁶ cells ({letters[0]} to {letters[-1]}),
        colored by best response (IMWG 2016, confirmed). Model bb2121_clinical with its published variability,
        50 % plasma cells in the marrow, no measurement error, seed {seed}; the same patients at every dose. Dotted
        lines are the limits of the response categories.""",
        f"""Of all {PATIENTS} at {doses} × 10⁶ cells, percent with partial response or better: {rates("ORR")}; with
        M-protein 25 % above baseline at 6 months: {rates("PD_6")}, at 21 months: {rates("PD_21")}.""",
        f"""Where the model differs from the paper's account: the paper sees fewer responses and more relapses at
        50 × 10⁶ cells; the published model with its published variability hardly depends on dose. And M-protein never
        rises beyond {highest:+.0f} %: in the published equations effectors expand again, from far less than one cell,
        whenever the tumor is back. With pools below one cell taken as gone, the percentages 25 % above baseline at 21
        months are {extinct}.""",
    )


def progressed_with_extinction(doses: Sequence[float], seed: int, n: int) -> list[float]:
    """Percent 25 % above baseline at 21 months, after each dose, where less than a cell is none.

    Of n patients, without those that have no result.
    """
    population, solver = Population(load("bb2121_clinical"), seed), Solver(extinction=1.0)
    found = []
    for dose in doses:
        run = simulate(population, dose, [21 * MONTH], ["mprotein_change"], n=n, solver=solver, n_jobs=-1)
        change = run["mprotein_change"][:, 0]
        found.append(100 * float((change[np.isfinite(change)] > 25).mean()))
    return found
