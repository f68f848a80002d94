"""Pictures of sweeps: contours as Figure 4 of Singh 2021, response against dose as its Figure 6b, paired differences.

Tables in (those that `cartsim.analysis` makes, or their CSV files read back), a matplotlib Figure out.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError
from cartsim.plots.style import (
    CATEGORY_COLORS,
    FAINT,
    FIGURE6_NAMES,
    INK,
    category_handles,
    clean,
    heading,
    panels,
    say_empty,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURE4 = ("Cmax", "Tmax", "sbcma_fall", "mprotein_fall")

# Titles of what a sweep finds, by the pattern of the column's name.
TITLES = {
    r"Cmax": "Cmax (copies/µg DNA)",
    r"Tmax": "Tmax (days)",
    r"AUC0-(.+)": r"AUC0–\1 (copies/µg DNA · day)",
    r"sbcma_fall": "Greatest fall of sBCMA (% of baseline)",
    r"sbcma_fall_(.+)": r"Fall of sBCMA on day \1 (% of baseline)",
    r"mprotein_fall": "Greatest fall of M-protein (% of baseline)",
    r"mprotein_fall_(.+)": r"Fall of M-protein on day \1 (% of baseline)",
    r"tumor_log10_fall": "Greatest fall of tumor (powers of ten)",
    r"days_mprotein_below_(.+)": r"Days with M-protein change below \1 %",
    r"ORR": "Best response PR or better (% of patients)",
    r"CR": "Best response CR (% of patients)",
    r"PFS": "Median progression-free survival (months)",
}
# Lines of a fall in percent: near 100 % the rest counts.
PERCENT = np.array([0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 99.9, 100])
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A6D00", "#56B4E9")  # after Okabe and Ito


def contours(
    grid: pd.DataFrame,
    x: str,
    y: str,
    names: Sequence[str] | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    title: str = "",
    note: str = "",
) -> Figure:
    """Filled contours with labelled lines over two swept quantities, a panel a column of the grid.

    grid: a row a cell (`cartsim.experiments.sweep.Sweep.table`), a full grid of columns ``x`` and ``y``. names: columns to
    show; by default those of Figure 4 of Singh 2021 as far as they are there, else the first four. labels: of axes and
    panels, for names that are not known here. note: a caption below. Where a value is missing the panel is hatched.
    Raises `InputError` for columns that are not there or cells that make no full grid.
    """
    across, up, _ = _grid(grid, x, y, x)
    if names is None:
        numeric = [c for c in grid.select_dtypes("number") if c not in (x, y)]
        names = [name for name in FIGURE4 if name in grid] or numeric[:4]
    if not len(names):
        raise InputError("contours: the grid has no column of numbers to show")
    figure, axes = panels(len(names), width=4.9, height=4.0, columns=2)
    letters = "abcdefghijklmnopqrstuvwxyz" if len(names) > 1 else ""
    for k, (axis, name) in enumerate(zip(axes, names, strict=True)):
        values = _grid(grid, x, y, name)[2]
        letter = f"({letters[k]}) " if letters else ""
        hatched = "" if np.isfinite(values).all() else "; hatched: no value"
        axis.set_title(f"{letter}{_title(name, labels)}{hatched}", fontsize=10, loc="left")
        _filled(figure, axis, across, up, values, "% of baseline" in _title(name, labels))
        _scale(axis, x, across, "x", labels)
        _scale(axis, y, up, "y", labels)
    heading(figure, title or f"Sweep of {x} and {y}")
    _caption(figure, note)
    return figure


def rate_contour(
    grid: pd.DataFrame, x: str, y: str, *, labels: Mapping[str, str] | None = None, title: str = "", note: str = ""
) -> Figure:
    """Probability of response and of CR over two swept quantities, from a population's grid.

    grid: as `cartsim.experiments.sweep.sweep_population` makes it. Raises `InputError` as `contours`.
    """
    if "ORR" not in grid or "CR" not in grid:
        raise InputError("rate_contour needs the columns ORR and CR; sweep a population")
    half = float((grid["ORR_high"] - grid["ORR_low"]).max() / 2) if "ORR_high" in grid else np.nan
    n = f"{int(grid['n'].iloc[0])} patients a cell, the same in all" if "n" in grid else ""
    limits = f"; 95 % limits within ± {half:.0f} points" if np.isfinite(half) else ""
    caption = f"{n}{limits}. {note}" if n else note
    return contours(grid, x, y, ("ORR", "CR"), labels=labels, title=title or "Probability of response", note=caption)


def dose_response(
    responses: Mapping[str, pd.DataFrame], *, claimed: float | None = 150e6, title: str = "", note: str = ""
) -> Figure:
    """Share of patients in each response category against dose with limits, as Figure 6b of Singh 2021.

    responses: {population: table} with columns dose (cells), landmark (months), category, percent, low, high
    (`cartsim.experiments.dose_response.DoseResponse.responses`); a row of panels a population, a column a landmark.
    claimed: a threshold dose to mark with a dashed line. Raises `InputError` where nothing is given.
    """
    if not responses or not all(len(table) for table in responses.values()):
        raise InputError("dose_response: nothing is given; give at least one population with one landmark")
    landmarks = sorted({month for table in responses.values() for month in table["landmark"]})
    rows = len(responses)
    figure, axes = panels(
        rows * len(landmarks), width=4.6, height=3.1, columns=len(landmarks), sharex=True, sharey=True
    )
    seen = set()
    for i, (population, table) in enumerate(responses.items()):
        for j, month in enumerate(landmarks):
            axis = axes[i * len(landmarks) + j]
            at = table[table["landmark"] == month]
            if at.empty:
                say_empty(axis)
                continue
            for category, line in at.groupby("category", sort=False):
                line = line[line["dose"] > 0].sort_values("dose")
                if category == "NE" and not line["percent"].any():
                    continue
                seen.add(category)
                dose, color = line["dose"] / 1e6, CATEGORY_COLORS[category]
                axis.fill_between(dose, line["low"], line["high"], color=color, alpha=0.22, lw=0)
                axis.plot(dose, line["percent"], color=color, marker="o", ms=3.5, lw=1.6)
            if claimed is not None:
                axis.axvline(claimed / 1e6, color=FAINT, ls="--", lw=1)
            axis.set_xscale("log")
            axis.set_ylim(-2, 102)
            _plain_log(axis.xaxis)
            axis.set_title(f"{population}, {month:g} months" if population else f"{month:g} months", fontsize=10)
            if j == 0:
                axis.set_ylabel("Patients (%)")
            if i == rows - 1:
                axis.set_xlabel("Dose (10⁶ CAR-T cells)")
    handles = category_handles(seen, FIGURE6_NAMES)
    if claimed is not None:
        from matplotlib.lines import Line2D

        label = f"threshold claimed in the paper, {claimed / 1e6:g} × 10⁶"
        handles.append(Line2D([], [], color=FAINT, ls="--", lw=1, label=label))
    _legend(figure, handles)
    heading(figure, title or "Response against dose")
    _caption(figure, note)
    return figure


def exposure_by_dose(exposures: Mapping[str, pd.DataFrame], *, title: str = "", note: str = "") -> Figure:
    """Median exposure against dose with the range of half and of nine tenths of the patients, a column a measure.

    exposures: {population: table} with columns dose (cells), measure, p5, p25, p50, p75, p95
    (`cartsim.experiments.dose_response.DoseResponse.exposure`), a row of panels a population.
    """
    if not exposures or not all(len(table) for table in exposures.values()):
        raise InputError("exposure_by_dose: nothing is given; give at least one population")
    measures = list(dict.fromkeys(m for table in exposures.values() for m in table["measure"]))
    figure, axes = panels(len(exposures) * len(measures), width=3.7, height=3.1, columns=len(measures), sharex=True)
    color = COLORS[0]
    for k, axis in enumerate(axes):
        population, table = list(exposures.items())[k // len(measures)]
        name = measures[k % len(measures)]
        at = table[(table["measure"] == name) & (table["dose"] > 0)].sort_values("dose")
        log = name != "Tmax"
        dose = at["dose"] / 1e6
        floor = at.loc[at["p5"] > 0, "p5"].min() / 2 if log else 0.0
        for low, high, alpha in (("p5", "p95", 0.15), ("p25", "p75", 0.3)):
            axis.fill_between(dose, at[low].clip(lower=floor), at[high], color=color, alpha=alpha, lw=0)
        axis.plot(dose, at["p50"], color=color, marker="o", ms=3.5, lw=1.6)
        axis.set_xscale("log")
        _plain_log(axis.xaxis)
        if log:
            axis.set_yscale("log")
        else:
            axis.set_ylim(bottom=0)
        axis.set_title(f"{population}: {_title(name)}" if population else _title(name), fontsize=9)
        axis.set_xlabel("Dose (10⁶ CAR-T cells)" if k >= len(axes) - len(measures) else "")
    heading(figure, title or "Exposure against dose")
    _caption(figure, f"Line: median; bands: the middle half and nine tenths of the patients. {note}")
    return figure


def differences(table: pd.DataFrame, *, title: str = "", note: str = "") -> Figure:
    """Paired differences with limits: a row an endpoint, a color a regimen, a panel a unit.

    table: columns regimen, reference, endpoint, unit (points, months or ratio), difference, low, high
    (`cartsim.experiments.regimens.Comparison.differences`). Raises `InputError` where nothing is given.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    if not len(table):
        raise InputError("differences: the table is empty; compare at least two regimens")
    units = [unit for unit in ("points", "months", "ratio") if unit in set(table["unit"])]
    regimens = list(dict.fromkeys(table["regimen"]))
    counts = [table.loc[table["unit"] == unit, "endpoint"].nunique() for unit in units]
    size = (7.6, 0.26 * sum(counts) * max(2, len(regimens)) ** 0.7 + 0.75 * len(units) + 1.6)
    figure = Figure(figsize=size, layout="constrained")
    axes = np.ravel(figure.subplots(len(units), 1, squeeze=False, height_ratios=[c + 0.6 for c in counts]))
    reference = table["reference"].iloc[0]
    said = {
        "points": "percentage points",
        "months": "months",
        "ratio": "ratio of geometric means",
    }
    for axis, unit in zip(axes, units, strict=True):
        clean(axis)
        part = table[table["unit"] == unit]
        endpoints = list(dict.fromkeys(part["endpoint"]))
        for k, regimen in enumerate(regimens):
            own = part[part["regimen"] == regimen].set_index("endpoint").reindex(endpoints)
            place = np.arange(len(endpoints)) + 0.7 * ((k + 0.5) / len(regimens) - 0.5)
            value = own["difference"].to_numpy(float)
            ends = own[["low", "high"]].to_numpy(float).T
            limits = np.maximum([value - ends[0], ends[1] - value], 0)
            color = COLORS[k % len(COLORS)]
            axis.errorbar(value, place, xerr=limits, fmt="o", ms=4.5, color=color, capsize=2.5, lw=1.3)
        axis.axvline(1.0 if unit == "ratio" else 0.0, color=FAINT, lw=1, zorder=0)
        axis.set_yticks(range(len(endpoints)), endpoints, fontsize=9)
        axis.set_ylim(len(endpoints) - 0.45, -0.55)
        axis.set_xlabel(
            f"Difference to {reference} ({said[unit]})" if unit != "ratio" else f"{reference} = 1, {said[unit]}"
        )
        axis.margins(x=0.08)
    _legend(
        figure,
        [
            Line2D([], [], color=COLORS[k % len(COLORS)], marker="o", ms=4.5, lw=1.3, label=regimen)
            for k, regimen in enumerate(regimens)
        ],
    )
    heading(figure, title or f"Regimens against {reference}, same patients, 95 % limits")
    _caption(figure, note)
    return figure


def _grid(
    table: pd.DataFrame, x: str, y: str, name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Values across (nx,), up (ny,) and of a column (ny, nx)."""
    for column in (x, y, name):
        if column not in table:
            raise InputError(f"contours: no column {column!r}; the grid has {', '.join(map(str, table))}")
    across, up = np.unique(table[x]), np.unique(table[y])
    if x == y or len(table) != len(across) * len(up) or table.duplicated([x, y]).any():
        raise InputError(f"contours: {len(table)} cells make no full grid of {len(across)} x {len(up)}")
    values = np.empty((len(up), len(across)))
    values[np.searchsorted(up, table[y]), np.searchsorted(across, table[x])] = table[name]
    return across, up, values


def _filled(figure: Figure, axis: Axes, x: Any, y: Any, values: NDArray[np.float64], percent: bool) -> None:
    """Filled contours with labelled lines and a color bar; a hatched ground shows where there is no value."""
    from matplotlib.colors import BoundaryNorm
    from matplotlib.patheffects import withStroke

    axis.patch.set(facecolor="#F0F0F0", edgecolor="#BBBBBB", hatch="////")
    shown = np.ma.masked_invalid(values)
    if shown.count() == 0:
        say_empty(axis)
        return
    low, high = float(shown.min()), float(shown.max())
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        axis.contourf(x, y, shown, levels=[low - 1, high + 1], colors=["#B9DDF2"])
        axis.text(0.5, 0.5, f"{_number(low)} everywhere", transform=axis.transAxes, ha="center", color=INK)
        return
    levels = _levels(low, high, percent)
    within = shown.clip(levels[0], levels[-1])  # a value may miss a round level by rounding
    filled = axis.contourf(x, y, within, levels=levels, norm=BoundaryNorm(levels, 256), cmap="viridis")
    filled.set_edgecolor("face")  # no pale seams between the bands in a PDF
    lines = axis.contour(x, y, within, levels=levels[1:-1], colors=INK, linewidths=0.7)
    places = _places(lines.allsegs, x, y)
    if places:
        texts = axis.clabel(lines, fontsize=8, fmt=_number, inline=True, inline_spacing=3, manual=places)
        for text in texts:
            text.set_path_effects([withStroke(linewidth=2.2, foreground="white", alpha=0.85)])
    bar = figure.colorbar(filled, ax=axis, pad=0.02)
    bar.set_ticks(levels.tolist(), labels=[_number(level) for level in levels])
    bar.ax.minorticks_off()
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)


def _places(segments: Sequence[Sequence[NDArray[np.float64]]], x: Any, y: Any) -> list[tuple[float, float]]:
    """Where to label the lines: once, on the longest part, where there is room beside the labels already there."""
    places: list[tuple[float, float]] = []
    corner, size = np.array([np.min(x), np.min(y)]), np.array([np.ptp(x), np.ptp(y)])
    for k, parts in enumerate(segments):
        lengths = [np.linalg.norm(np.diff(part, axis=0) / size, axis=1).sum() for part in parts]
        if not lengths or max(lengths) < 0.2:
            continue
        part = parts[int(np.argmax(lengths))]
        along = np.append(0, np.cumsum(np.linalg.norm(np.diff(part, axis=0) / size, axis=1)))
        for share in np.roll((0.5, 0.25, 0.75), -k):
            point = np.array([np.interp(share * along[-1], along, part[:, i]) for i in (0, 1)])
            if not (np.abs((point - corner) / size - 0.5) < (0.46, 0.48)).all():
                continue  # too near the edge for a label
            if all((np.abs((point - place) / size) > (0.13, 0.045)).any() for place in places):
                places.append((float(point[0]), float(point[1])))
                break
    return places


def _levels(low: float, high: float, percent: bool) -> NDArray[np.float64]:
    """Round levels that hold the values, about ten: even ones, or powers of ten and parts of them."""
    from matplotlib.ticker import MaxNLocator

    if percent and low >= -1e-3 and high <= 100.001 and high > 95:
        first = max(0, int(np.searchsorted(PERCENT, low, side="right")) - 1)
        return PERCENT[first : int(np.searchsorted(PERCENT, min(high, 100.0))) + 1]
    if not (low > 0 and high > 50 * low):
        return np.asarray(MaxNLocator(9, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
    steps = (1, 2, 5) if np.log10(high / low) < 3.2 else (1, 3)
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    every = np.array([step * 10.0**power for power in powers for step in steps])
    first = max(0, int(np.searchsorted(every, low, side="right")) - 1)
    return every[first : int(np.searchsorted(every, high)) + 1]


def _scale(axis: Axes, name: str, values: NDArray[np.float64], which: str, labels: Mapping[str, str] | None) -> None:
    """Label an axis; logarithmic where the swept values are evenly spread in their logarithm only."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    own = getattr(axis, f"{which}axis")
    getattr(axis, f"set_{which}label")(_name(name, labels))
    steps = np.diff(values)
    even = np.allclose(steps, steps[0], rtol=1e-6)
    if values[0] > 0 and not even and np.allclose(np.diff(np.log(values)), np.log(values[1] / values[0]), rtol=1e-6):
        getattr(axis, f"set_{which}scale")("log")
        own.set_minor_formatter(NullFormatter())
    unit = 1e6 if name == "dose" else 1.0
    own.set_major_formatter(FuncFormatter(lambda value, _: _number(value / unit)))


def _name(name: str, labels: Mapping[str, str] | None) -> str:
    known = {"dose": "Dose (10⁶ CAR-T cells)", "burden": "Tumor burden (% marrow plasma cells)"}
    return {**known, **(labels or {})}.get(name, name)


def _title(name: str, labels: Mapping[str, str] | None = None) -> str:
    if name in (labels or {}):
        return (labels or {})[name]
    found = ((re.fullmatch(pattern, name), title) for pattern, title in TITLES.items())
    return next((match.expand(title) for match, title in found if match), name)


def _legend(figure: Figure, handles: Sequence[Any]) -> None:
    """On the right, since the caption is below, and room for it."""
    figure.set_figwidth(figure.get_figwidth() + 0.6 + 0.062 * max(len(handle.get_label()) for handle in handles))
    figure.legend(handles=list(handles), loc="outside right upper", frameon=False, fontsize=9)


def _plain_log(axis: Any) -> None:
    """Ticks 10, 30, 100, 300 ... in plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 3)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _number(value: float) -> str:
    """A level in as few characters as it takes: 0.3, 25, 3,000, 3e+05."""
    if value and not 1e-3 <= abs(value) < 1e7:
        return f"{value:.0e}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"


def _caption(figure: Figure, note: str) -> None:
    if note:
        width = int(figure.get_figwidth() * 15)
        figure.supxlabel(textwrap.fill(note, width), x=0.01, ha="left", fontsize=8.5, color=INK)
