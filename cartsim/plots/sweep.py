"""Contours over two swept quantities, as Figure 4 of Singh 2021."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError
from cartsim.plots import style
from cartsim.plots.pictures import Pictures

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.experiments.sweep import Sweep

FIGURE4 = ("Cmax", "Tmax", "sbcma_fall", "mprotein_fall")
# Lines of a fall in percent: near 100 % the rest counts.
PERCENT = np.array([0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 99.9, 100])


def contours(
    grid: pd.DataFrame,
    x: str,
    y: str,
    names: Sequence[str] | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    title: str = "",
    note: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Filled contours with labelled lines over two swept quantities, a panel a column of the grid.

    Where a value is missing the panel is hatched.

    Parameters
    ----------
    grid
        A row a cell, such as `Sweep.table`: a full grid of columns ``x`` and ``y``.
    x, y
        The swept quantities, across and up.
    names
        Columns to show; by default those of Figure 4 of Singh 2021 as far as they are there, else the first four.
    labels
        Of axes and panels, for names that are not known here.
    title, note
        Above and below.
    """
    across, up, _ = _grid(grid, x, y, x)
    if names is None:
        numeric = [c for c in grid.select_dtypes("number") if c not in (x, y)]
        names = [name for name in FIGURE4 if name in grid] or numeric[:4]
    if not len(names):
        raise InputError("contours: the grid has no column of numbers to show")
    figure, axes = style.panels(len(names), ax=ax, width=4.9, height=4.0, columns=2)
    for axis, name in zip(axes, names, strict=True):
        values = _grid(grid, x, y, name)[2]
        hatched = "" if np.isfinite(values).all() else "; hatched: no value"
        axis.set_title(f"{style.quantity_title(name, labels)}{hatched}", fontsize=10)
        _filled(figure, axis, across, up, values, "% of baseline" in style.quantity_title(name, labels))
        _scale(axis, x, across, "x", labels)
        _scale(axis, y, up, "y", labels)
    return style.finish(figure, title or f"Sweep of {x} and {y}", note=note, ax=ax)


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
        style.say_empty(axis)
        return
    low, high = float(shown.min()), float(shown.max())
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        axis.contourf(x, y, shown, levels=[low - 1, high + 1], colors=["#B9DDF2"])
        axis.text(0.5, 0.5, f"{_number(low)} everywhere", transform=axis.transAxes, ha="center", color=style.INK)
        return
    levels = _levels(low, high, percent)
    within = shown.clip(levels[0], levels[-1])  # a value may miss a round level by rounding
    filled = axis.contourf(x, y, within, levels=levels, norm=BoundaryNorm(levels, 256), cmap="viridis")
    filled.set_edgecolor("face")  # no pale seams between the bands in a PDF
    lines = axis.contour(x, y, within, levels=levels[1:-1], colors=style.INK, linewidths=0.7)
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
    known = {"dose": style.DOSE, "burden": "Tumor burden (% marrow plasma cells)"}
    return {**known, **(labels or {})}.get(name, name)


def _number(value: float) -> str:
    """A level in as few characters as it takes: 0.3, 25, 3,000, 3e+05."""
    if value and not 1e-3 <= abs(value) < 1e7:
        return f"{value:.0e}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"


class SweepPictures(Pictures):
    """Pictures of a grid."""

    usual = "contours"
    _result: Sweep

    def contours(
        self,
        names: str | Sequence[str] | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        title: str = "",
        note: str = "",
        ax: Axes | None = None,
    ) -> Figure:
        """Filled contours over the two axes, a panel a quantity.

        Parameters
        ----------
        names
            Columns of `Sweep.table`; by default those of Figure 4 of Singh 2021, of a swept trial response and CR.
        labels
            Of axes and panels, such as {"Kexp_max": "Kexp_max (1/day)"}.
        title, note
            Above and below.
        """
        found = self._result
        x, y = found.axes
        trials = "ORR" in found.table
        chosen = [names] if isinstance(names, str) else names
        if chosen is None and trials and ax is None:
            often = f"Medians of {found.made_by['replicates']:,} replicates. " if "replicates" in found.made_by else ""
            half = (found.table["ORR_high"] - found.table["ORR_low"]).max() / 2
            limits = f"; 95 % limits within ± {half:.0f} points" if np.isfinite(half) else ""
            note = f"{found.table['n'].iloc[0]} patients a cell, the same in all{limits}. {often}{note}"
            chosen, title = ("ORR", "CR"), title or "Probability of response"
        title = title or ("" if trials else f"Typical patient: {x} and {y}")
        return contours(found.table, x, y, chosen, labels=labels, title=title, note=note, ax=ax)

    def limits(
        self, names: str | Sequence[str] | None = None, *, labels: Mapping[str, str] | None = None, note: str = ""
    ) -> Figure:
        """Filled contours of the lower and the upper limit of each quantity, side by side.

        Parameters
        ----------
        names
            Columns of `Sweep.table` that have limits; by default those of `contours`.
        labels
            As for `contours`.
        note
            Below; by default what the limits hold.

        Raises
        ------
        InputError
            For quantities without limits.
        """
        found = self._result
        x, y = found.axes
        usual = ("ORR", "CR") if "ORR" in found.table else FIGURE4
        chosen = (
            [names] if isinstance(names, str) else names or [name for name in usual if f"{name}_low" in found.table]
        )
        if missing := [name for name in chosen or usual if f"{name}_low" not in found.table]:
            raise InputError(f"limits: none of {', '.join(missing)} here; sweep with uncertainty=True or replicates=N")
        ends = {
            f"{name}_{end}": f"{style.quantity_title(name, labels)}: {said} limit"
            for name in chosen
            for end, said in (("low", "lower"), ("high", "upper"))
        }
        if not note and "replicates" in found.made_by:
            what = "estimates" if found.made_by["uncertainty"] else "patients"
            note = f"95 % of {found.made_by['replicates']:,} replicates lie between the limits, each with other {what}."
        return contours(found.table, x, y, list(ends), labels={**(labels or {}), **ends}, title="Limits", note=note)
