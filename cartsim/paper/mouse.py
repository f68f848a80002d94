"""Figure 2b: tumor volume and blood CAR-T cells of mice, vehicle and treated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cartsim.model.reader import load
from cartsim.paper.drawn import Drawn, art, observations, paragraphs
from cartsim.plots import style
from cartsim.population.patients import Patients
from cartsim.simulation import simulate

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

DOSE = 5e6  # cells
DAYS = np.unique(np.round(np.concatenate([np.arange(0, 1, 0.05), np.arange(1, 70.05, 0.1)]), 6))
FIXED = "treated, fixed volume"
ARMS = ("vehicle", "treated", FIXED)
OUTPUTS = {"tumor_volume": "tumor_volume", "blood_cart": "cart_blood"}  # as series of points are called
SERIES = tuple(f"{name}_{arm}" for name in OUTPUTS for arm in ARMS[:2])
BLUE, RED = "#0072B2", "#D55E00"  # the paper's, as Okabe and Ito have them


def figure_2b(data: str | Path | None = None) -> Drawn:
    """Tumor volume and CAR-T cells in blood after vehicle and after 5e6 cells, with both readings of the tissue volume.

    ``data`` is a CSV file of points, columns series (tumor_volume_vehicle, tumor_volume_treated in mm3,
    blood_cart_vehicle, blood_cart_treated in cells/uL), day and value.

    The frame holds a row for each quantity, arm and day; points have the source "observed" and the model's
    value on that day in the column ``predicted``.
    """
    import pandas as pd

    seen = None if data is None else observations(data, {"series": SERIES}, ("day", "value"), until=DAYS[-1])
    days = DAYS if seen is None else np.union1d(DAYS, seen["day"])
    mice = Patients(load("bb2121_xenograft"), {"dose": [0, DOSE, DOSE], "live_volume": [1, 1, 0]})
    run = simulate(mice, times=days, outputs=list(OUTPUTS.values()))
    curves = {(name, arm): run[output][k] for name, output in OUTPUTS.items() for k, arm in enumerate(ARMS)}
    table = pd.concat(
        [
            pd.DataFrame({"quantity": name, "arm": arm, "day": days, "value": values, "source": "simulated"})
            for (name, arm), values in curves.items()
        ],
        ignore_index=True,
    )
    if seen is not None:
        seen[["quantity", "arm"]] = seen.pop("series").str.rsplit("_", n=1, expand=True)
        seen["predicted"] = [curves[row.quantity, row.arm][np.searchsorted(days, row.day)] for row in seen.itertuples()]
        table = pd.concat([table, seen.assign(source="observed")], ignore_index=True)
    return Drawn(_picture(days, curves, seen), table, _caption(days, curves, seen))


def _picture(days: NDArray[np.float64], curves: dict[tuple[str, str], Any], seen: pd.DataFrame | None) -> Figure:
    figure, axes = style.panels(4, columns=2, width=4.8, height=3.0)
    for axis, name in zip(axes, ("tumor_volume", "tumor_volume", "blood_cart", "blood_cart"), strict=True):
        _draw(axis, name, days, curves, seen)
    _frame(axes[0], "Tumor volume", "Tumor volume (mm³)", (0, 70), (-120, 3500))
    _frame(axes[1], "Tumor volume, first 30 days", "Tumor volume (mm³)", (0, 30), (-25, 400))
    _frame(axes[2], "CAR-T cells in blood", "CAR-T cells in blood\n(cells/µL)", (0, 30), (-20, 550))
    _frame(axes[3], "CAR-T cells in blood, logarithmic", "CAR-T cells in blood\n(cells/µL)", (0, 30), (0.1, 1e5))
    axes[3].set_yscale("log")
    axes[3].minorticks_off()
    handles = [
        style.line("vehicle", color=BLUE, lw=1.8),
        style.line("5 × 10⁶ CAR-T cells", color=RED, lw=1.8),
        style.line("the same in a fixed tissue volume", color=style.INK, lw=1.2, ls="--"),
    ]
    if seen is not None:
        handles.append(style.line("observed", color=style.INK, ls="", marker="o", ms=4))
    style.legend_below(figure, handles)
    return art(figure, ("b1", "", "b2", ""))


def _draw(axis: Axes, name: str, days: Any, curves: dict[tuple[str, str], Any], seen: pd.DataFrame | None) -> None:
    shown = days > 0  # on day 0 the whole dose is in blood, for seconds
    for arm, color in zip(ARMS, (BLUE, RED, style.INK), strict=True):
        values = curves[name, arm]
        fixed = arm == FIXED
        axis.plot(days[shown], values[shown], color=color, lw=1.2 if fixed else 1.8, ls="--" if fixed else "-")
        if seen is not None:
            points = seen[(seen["quantity"] == name) & (seen["arm"] == arm)]
            axis.plot(points["day"], points["value"], "o", color=color, ms=4.5, mec="white", mew=0.5, zorder=3)


def _frame(axis: Axes, title: str, y: str, x_limits: tuple[float, float], y_limits: tuple[float, float]) -> None:
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("Time since infusion (days)")
    axis.set_ylabel(y)
    axis.set_xlim(*x_limits)
    axis.set_ylim(*y_limits)


def _caption(days: NDArray[np.float64], curves: dict[tuple[str, str], Any], seen: pd.DataFrame | None) -> str:
    blood, fixed = curves["blood_cart", "treated"], curves["blood_cart", FIXED]
    volume = curves["tumor_volume", "vehicle"]
    early = np.searchsorted(days, 1.0)  # after the infusion itself
    peak = early + int(np.argmax(blood[early:]))

    def at(values: Any, day: float) -> float:
        return float(values[np.searchsorted(days, day)])

    fall = np.log(at(blood, 22) / at(blood, 29)) / 7
    return paragraphs(
        """Figure 2b. Tumor volume (b1) and CAR-T cells in blood (b2) of mice with an
        RPMI-8226 tumor after vehicle (blue) and 5 × 10⁶ CAR-T cells (red), each in two ways.
        Model bb2121_xenograft with the published values, nothing fitted.""",
        f"""Solid: CAR-T cells enter the living tumor, whose volume shrinks as it is killed. That is deduced, the paper
        does not say which volume it uses. Blood peaks at {blood[peak]:.0f} cells/µL on day {days[peak]:.1f} and then
        contracts. Dashed: the same in a fixed volume. Blood then never contracts and reaches {at(fixed, 29):,.0f}
        cells/µL on day 29, outside the linear panel; the tumor shrinks all the same, so that its two lines lie on
        each other.""",
        f"""Where the model misses. Days 1 to 4: {at(blood, 1):.1f} to {at(blood, 4):.1f} cells/µL in blood, a
        fraction of what was observed; on day 8 it has {at(blood, 8):.0f}, more than was observed, whose rise is later
        and steeper. Late slope: from day 22 to 29 blood falls by {fall:.2f} /day, the observed cells several times
        more slowly. Vehicle: the tumor starts from {at(volume, 0):.0f} mm³ as the treated one does; the observed one
        is smaller at first and grows faster.""",
        "" if seen is None else _against(seen),
    )


def _against(seen: pd.DataFrame) -> str:
    """How far the points are from the lines, arm by arm, and those of the days on which the model misses."""
    said = []
    for (name, arm), rows in seen.groupby(["quantity", "arm"]):
        error = np.sqrt(((rows["predicted"] - rows["value"]) ** 2).mean())
        what, unit = ("tumor volume", "mm³") if name == "tumor_volume" else ("blood", "cells/µL")
        said.append(f"{what}, {arm} {error:.3g} {unit}")
    text = f"Root mean square distance of the points from the lines: {'; '.join(said)}."
    blood = seen[(seen["quantity"] == "blood_cart") & (seen["arm"] == "treated")].sort_values("day")
    missed = blood[(blood["day"] < 9) | (blood["day"] > 20)]
    listed = [f"{row.day:.0f}: {row.value:.0f} ({row.predicted:.2g})" for row in missed.itertuples()]
    return f"{text} Blood observed (and by the model) on day {', '.join(listed)} cells/µL." if listed else text
