"""What all pictures share: colors, panels, names of arms, axes of time, and how a figure is written."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.bands import quantiles
from cartsim.endpoints.rates import wilson
from cartsim.endpoints.rules import Response
from cartsim.errors import InputError
from cartsim.files import DPI, FORMATS, write_whole
from cartsim.schedule import MONTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

# Okabe and Ito's vermilion for progression, gray for no change, their blues from light to dark for deeper and
# deeper response: the order can be read in gray print and with any color vision. Beige: nothing is known.
CATEGORY_COLORS = {
    "NE": "#E6DCC8",
    "PD": "#D55E00",
    "SD": "#B5B5B5",
    "MR": "#A6D4EF",
    "PR": "#56B4E9",
    "VGPR": "#0072B2",
    "CR": "#00274D",
}
CATEGORY_LABELS = {
    "NE": "NE: not evaluable",
    "PD": "PD: progressive disease",
    "SD": "SD: stable disease",
    "MR": "MR: minor response",
    "PR": "PR: partial response",
    "VGPR": "VGPR: very good partial response",
    "CR": "CR: complete response",
}
FIGURE6_LABELS = {"PR": "MR, PR, VGPR: minor, partial or very good partial response"}  # together PR in Singh 2021
RESPONDERS = ("PR", "VGPR", "CR")
INK = "#222222"  # text and single curves
FAINT = "#8A8A8A"  # reference lines
DOSE = "Dose (10⁶ CAR-T cells)"  # label of an axis
LEVELS = (5, 25, 50, 75, 95)  # percentiles of a band
DOTTED = 30  # times up to which each has a mark
_WRITING = Lock()
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A6D00", "#56B4E9")  # after Okabe and Ito

# Titles of what is found, by the pattern of the column's name.
TITLES = {
    r"Cmax": "Cmax (copies/µg DNA)",
    r"Tmax(_day)?": "Tmax (days)",
    r"AUC0-(.+)": r"AUC0–\1 (copies/µg DNA · day)",
    r"sbcma_fall": "Greatest fall of sBCMA (% of baseline)",
    r"sbcma_fall_(.+)": r"Fall of sBCMA on day \1 (% of baseline)",
    r"mprotein_fall": "Greatest fall of M-protein (% of baseline)",
    r"mprotein_fall_(.+)": r"Fall of M-protein on day \1 (% of baseline)",
    r"tumor_log10_fall": "Greatest fall of tumor (powers of ten)",
    r"days_mprotein_below_(.+)": r"Days with M-protein change below \1 %",
    r"ORR": "Best response PR or better (% of patients)",
    r"CR": "Best response CR (% of patients)",
    r"PFS_months": "Median progression-free survival (months)",
    r"response_(.+)": r"MR or better at month \1 (% of patients)",
    r"CR_(.+)": r"CR at month \1 (% of patients)",
}


def arm_colors(names: Iterable[str]) -> dict[str, Any]:
    """A color for each arm, in order along viridis, without its pale end."""
    from matplotlib import colormaps

    names = list(names)
    return dict(zip(names, colormaps["viridis"](np.linspace(0, 0.75, len(names))), strict=True))


def arm_pens(names: Iterable[str], colors: Mapping[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """Color, dash and width of each arm's line, the first broadest: where curves coincide all can be seen.

    Every second one is dashed where the colors of many lie close. ``colors`` go before those of `arm_colors`.
    """
    names = list(names)
    colors = arm_colors(names) if colors is None else colors
    widths = np.linspace(min(1.2 + len(names), 4.8), 1.2, len(names)).tolist() if len(names) > 1 else [1.8]
    dashes = ("-", "--") if len(names) > 4 else ("-", "-")
    return {name: {"color": colors[name], "ls": dashes[i % 2], "lw": widths[i]} for i, name in enumerate(names)}


def arm_title(name: str) -> str:
    """Title of an arm: "450e6" as "450 × 10⁶ cells"; any other name as it is."""
    try:
        dose = float(name)
    except ValueError:
        return str(name)
    if dose == 0:
        return "no cells"
    return f"{dose / 1e6:g} × 10⁶ cells" if math.isfinite(dose) and dose >= 1e4 else str(name)


def label_with_unit(name: str, unit: str) -> str:
    """Label such as "transgene (copies/µg)" of a name and a unit as model files write it."""
    written = unit
    for plain, shown in (("percent", "%"), ("ug", "µg"), ("uL", "µL"), ("mm3", "mm³"), ("*", " · ")):
        written = written.replace(plain, shown)
    return name if unit == "1" else f"{name} ({written})"


def by_arm(names: Iterable[str]) -> str:
    """Say "by dose" if that is what all arms are named by, else "by arm"."""
    return "by dose" if all(arm_title(name).endswith("cells") for name in names) else "by arm"


def categories(values: Any) -> NDArray[np.str_]:
    """Response categories by name, in the shape given; what is missing is "NE".

    Raises `InputError` for a name or code that is not a category.
    """
    import pandas as pd

    given = np.asarray(values)
    codes, found = pd.factorize(given.ravel())
    names = [_category(x) for x in found]
    return np.array([*names, "NE"])[codes].reshape(given.shape)  # a missing value has the code -1, the last


def _category(x: Any) -> str:
    if isinstance(x, str) and x in CATEGORY_COLORS:
        return x
    if isinstance(x, int | np.integer) and 0 <= x < len(Response):
        return Response(int(x)).name
    raise InputError(f"{x!r} is no response category; they are {', '.join(CATEGORY_COLORS)}")


def figure6(names: NDArray[np.str_]) -> NDArray[np.str_]:
    """Categories in the groups of Singh 2021, Figure 6: MR and VGPR as PR."""
    return np.where(np.isin(names, ("MR", "VGPR")), "PR", names)


def matrices(
    what: str, times: ArrayLike, arms: Mapping[str, ArrayLike]
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Times (m,) and the arms' values (n, m) as numbers; raises `InputError` where they do not fit."""
    t = np.asarray(times, float)
    if t.ndim != 1 or t.size == 0 or not np.isfinite(t).all() or (np.diff(t) <= 0).any():
        raise InputError(f"{what}: times have shape {t.shape}; give increasing, finite times, at least one")
    if not arms:
        raise InputError(f"{what}: no arms are given; give at least one")
    values = {str(name): np.asarray(rows, float) for name, rows in arms.items()}
    for name, rows in values.items():
        if rows.ndim != 2 or rows.shape[1] != t.size:
            raise InputError(f"{what}: arm {name!r} has shape {rows.shape}; give (patients, {t.size}), a column a time")
    return t, values


def percentiles(values: NDArray[np.float64], levels: Sequence[float]) -> NDArray[np.float64]:
    """Percentiles over patients at each time, (levels, m), of what is known; NaN where nothing is."""
    return quantiles(np.where(np.isfinite(values), values, np.nan), np.asarray(levels) / 100)


def reach(value: Any, low: Any, high: Any) -> NDArray[np.float64]:
    """How far error bars reach down and up (2, n); rounding makes none negative."""
    return np.maximum([value - low, high - value], 0)


def rates(hits: NDArray[Any], n: NDArray[np.int64], level: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares in percent, and how far their Wilson limits lie below and above (2, shares)."""
    share = hits / n
    low, high = wilson(hits, n, level)
    return 100 * share, 100 * reach(share, low, high)


def count(values: NDArray[np.float64]) -> str:
    """Count such as "n = 1000", or "n = 998 of 1000" where the others have no value at all."""
    known, n = int(np.isfinite(values).any(axis=1).sum()), len(values)
    return f"n = {n}" if known == n else f"n = {known} of {n}"


def draw_bands(axis: Axes, t: NDArray[np.float64], band: NDArray[np.float64], color: Any, label: str = "") -> None:
    """Percentiles 5, 25, 50, 75 and 95, or that there are none."""
    axis.fill_between(t, band[0], band[4], color=color, alpha=0.18, lw=0)
    axis.fill_between(t, band[1], band[3], color=color, alpha=0.38, lw=0)
    axis.plot(t, band[2], color=color, lw=1.8, marker="o" if t.size <= DOTTED else "", ms=3, label=label)
    if not np.isfinite(band).any():
        say_empty(axis)


def band_handles(color: str = INK) -> list[Any]:
    """Legend entries of what `draw_bands` draws."""
    return [
        line("median", color=color, lw=1.8),
        area("25–75 percentiles", color=color, alpha=0.45, lw=0),
        area("5–95 percentiles", color=color, alpha=0.18, lw=0),
    ]


def panels(
    n: int,
    *,
    ax: Axes | None = None,
    width: float = 3.1,
    height: float = 2.9,
    columns: int = 4,
    extra: float = 0.9,
    **kwargs: Any,
) -> tuple[Figure, list[Axes]]:
    """A figure of n panels in a `grid`, with ``extra`` inches of height for title and legend.

    With ``ax`` the one panel is drawn there. Raises `InputError` where there are more, or it is no axes.
    """
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    if ax is not None:
        if not isinstance(ax, Axes):
            raise InputError(f"ax is {type(ax).__name__}; give one axes, such as that of plt.subplots()")
        if n != 1:
            raise InputError(f"ax takes one panel and there are {n}; choose one of them, or leave ax out")
        clean(ax)
        return ax.figure, [ax]  # type: ignore[return-value]
    rows, across = _shape(n, columns)
    size = (max(width * across, 6.4), height * rows + extra)
    figure = Figure(figsize=size, layout="constrained")
    return figure, grid(figure, n, columns=columns, **kwargs)


def grid(part: FigureBase, n: int, *, columns: int = 4, **kwargs: Any) -> list[Axes]:
    """N panels in as few rows of up to ``columns`` as will do, the rest left empty."""
    rows, across = _shape(n, columns)
    axes = part.subplots(rows, across, squeeze=False, **kwargs).ravel()
    for axis in axes[:n]:
        clean(axis)
    for axis in axes[n:]:
        axis.set_axis_off()
    for axis in axes[max(0, n - across) : n]:  # no panel below: it shows the shared axis
        axis.tick_params(labelbottom=True)
    return list(axes[:n])


def _shape(n: int, columns: int) -> tuple[int, int]:
    rows = math.ceil(n / columns)
    return rows, math.ceil(n / rows)


def outer_labels(axes: Sequence[Axes], x: str = "", y: str = "") -> None:
    """Label x where no panel of the `grid` is below, and y at its left edge; what is "" stays as it is."""
    layout = axes[0].get_gridspec()
    across = layout.ncols if len(axes) > 1 and layout is not None else 1
    for axis in axes[-across:] if x else ():
        axis.set_xlabel(x)
    for axis in axes[::across] if y else ():
        axis.set_ylabel(y)


def clean(axis: Axes) -> None:
    """No frame at the top and the right, thin lines."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=9)


def heading(figure: Figure, title: str, *, ax: Axes | None = None) -> None:
    """The figure's title, at the left; or that of an axes of the caller's, if it has none yet."""
    if ax is None:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, color=INK)
    elif not ax.get_title():
        ax.set_title(title, fontsize=10)


def legend_below(figure: Figure, handles: Sequence[Any], *, ax: Axes | None = None) -> None:
    """One legend for all panels, under them, in as many columns as fit the width; or beside the caller's axes."""
    if not handles:
        return
    if ax is not None:
        _legend_beside(ax, handles)
        return
    widest = max(0.6 + 0.07 * len(handle.get_label()) for handle in handles)  # inches, at this size of type
    columns = max(1, min(len(handles), int(figure.get_figwidth() / widest)))
    figure.legend(
        handles=list(handles), loc="outside lower center", ncols=columns, frameon=False, fontsize=9, handlelength=2.6
    )


def _legend_beside(ax: Axes, handles: Sequence[Any]) -> None:
    """Beside the axes, whose ground may be full, in few words: what stands before a colon."""
    words = [textwrap.fill(handle.get_label().split(":")[0], 14) for handle in handles]
    ax.legend(
        list(handles), words, frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0
    )


def line(label: str, **style: Any) -> Line2D:
    """A line, a mark or both, for a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, **style)


def area(label: str, **style: Any) -> Patch:
    """A filled area, for a legend."""
    from matplotlib.patches import Patch

    return Patch(label=label, **style)


def finish(
    figure: Figure, title: str, handles: Sequence[Any] = (), *, note: str = "", ax: Axes | None = None
) -> Figure:
    """The figure with one legend, its title and, if it is not the caller's, a note."""
    legend_below(figure, handles, ax=ax)
    heading(figure, title, ax=ax)
    if ax is None:
        caption(figure, note)
    return figure


def category_handles(names: Iterable[str], labels: Mapping[str, str] | None = None) -> list[Any]:
    """Legend entries of response categories, best first, with other ``labels`` where given."""
    label = CATEGORY_LABELS | dict(labels or {})
    shown = [name for name in reversed(CATEGORY_COLORS) if name in set(names)]
    return [area(label[name], facecolor=CATEGORY_COLORS[name]) for name in shown]


def say_empty(axis: Axes, message: str = "no values") -> None:
    """Say in the middle of a panel why nothing is drawn."""
    axis.text(0.5, 0.5, message, transform=axis.transAxes, ha="center", va="center", color=FAINT)


def time_unit(last_day: float) -> tuple[float, str]:
    """Days per unit shown and its name: months beyond three of them, else days."""
    return (MONTH, "months") if last_day > 3.1 * MONTH else (1.0, "days")


def time_axis(axis: Axes, last: float, unit: str, *, root: bool = False) -> None:
    """Limits from infusion to ``last`` (in ``unit``), ticks at whole weeks or months.

    With ``root`` months are on a square-root scale, so that the first weeks can be seen beside the years.
    """
    root = root and unit == "months"
    last = max(last, round(last)) if abs(last - round(last)) < 0.1 else last
    last = last if last > 0 else 1.0  # nothing but the day of infusion
    if root:
        axis.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
        shown = {0.0: "0", 0.5: "½", **{float(k): str(k) for k in (1, 3, 6, 12, 18, 24, 36, 48, 60)}}
        ticks = [x for x in shown if x <= last]
        axis.set_xticks(ticks, [shown[x] for x in ticks])
    else:
        steps = (1, 2, 3, 6, 12, 24, 60) if unit == "months" else (1, 2, 7, 14, 28)
        step = next((s for s in steps if last / s <= 8), steps[-1])
        axis.set_xticks(np.arange(0, last * 1.001, step))
    axis.set_xlim(0, last)


def time_label(unit: str, *, root: bool = False) -> str:
    """The label that goes with `time_axis`."""
    root = root and unit == "months"
    return "Time since infusion" + (f"\n({unit}, square-root scale)" if root else f" ({unit})")


def dose_axis(axis: Axes, arms: Sequence[str], n: Sequence[int] | NDArray[np.int64]) -> None:
    """Ticks of arms on the x axis with the number of patients; doses in millions of cells."""
    titles = [arm_title(arm) for arm in arms]
    unit = " × 10⁶ cells"
    doses = all(title.endswith(unit) for title in titles)
    shown = [title.removesuffix(unit) for title in titles] if doses else titles
    axis.set_xticks(range(len(arms)), [f"{title}\nn = {k}" for title, k in zip(shown, n, strict=True)], fontsize=9)
    axis.set_xlabel(DOSE if doses else "Arm")


def times_called(unit: str) -> str:
    """A model's unit of time in the plural: days, hours."""
    return {"day": "days", "h": "hours"}.get(unit, unit)


def dose_scale(axis: Axes) -> None:
    """A logarithmic x axis with ticks 10, 30, 100, 300 ... in plain numbers."""
    from matplotlib.ticker import LogLocator

    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter("")


def caption(figure: Figure, note: str) -> None:
    """What the reader must know, in small type: above the legend, or at the bottom where there is none."""
    if not note:
        return
    text = textwrap.fill(note, int(14 * figure.get_figwidth()))
    if figure.legends:
        from matplotlib.font_manager import FontProperties

        figure.legends[0].set_title(text, prop=FontProperties(size=8.5))
    else:
        figure.supxlabel(text, x=0.01, ha="left", fontsize=8.5, color=INK)


def quantity_title(name: str, labels: Mapping[str, str] | None = None) -> str:
    """What a column of a result is called on a picture, with its unit; ``labels`` go before what is known here."""
    if name in (labels or {}):
        return (labels or {})[name]
    found = ((re.fullmatch(pattern, name), title) for pattern, title in TITLES.items())
    return next((match.expand(title) for match, title in found if match), name)


def save(figure: Figure, path: str | Path, *, dpi: float = 150, title: bool = True) -> Path:
    """Write a figure as .png, .pdf or .svg, by the suffix, and return the path.

    Fonts are embedded in a PDF as such (type 42), and drawn as outlines in an SVG unless your matplotlib's
    ``svg.fonttype`` is "none", which leaves text to edit. The figure's title is always among the file's metadata.

    Parameters
    ----------
    figure
        Of this package.
    path
        Where to; the file is written beside its place and renamed, so that no half of one is ever seen.
    dpi
        Dots per inch of a PNG, and of what is no line in the others; from 10 to 2400.
    title
        False leaves the figure's title out of the picture, as journals want it.

    Raises
    ------
    InputError
        For another suffix or dpi, and a place that cannot be written.
    """
    import matplotlib

    path = Path(path)
    suffix = path.suffix.lower()
    if suffix[1:] not in FORMATS:
        known = ", ".join(f".{each}" for each in FORMATS)
        raise InputError(f"{path.name}: pictures are written as {known}; choose one of these suffixes")
    if not DPI[0] <= dpi <= DPI[1]:
        raise InputError(f"dpi is {dpi!r}; give dots per inch from {DPI[0]} to {DPI[1]}, such as 300 for print")
    # No date in the file, and the same names within: the same picture is the same file.
    metadata = {"Title": figure.get_suptitle()} | {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(
        suffix, {}
    )
    fonts: dict[Any, Any] = {"pdf.fonttype": 42, "svg.hashsalt": "cartsim"}
    options: dict[str, Any] = {"dpi": dpi, "format": suffix[1:], "metadata": metadata}
    words = figure.get_suptitle()
    try:
        # One at a time: matplotlib knows of fonts by settings of the whole process only.
        with _WRITING, matplotlib.rc_context(fonts):
            if words and not title:
                heading(figure, "")
            return write_whole(path, lambda beside: _drawn(figure, beside, options))
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; choose another place") from None
    finally:
        if words and not title:
            heading(figure, words)


def _drawn(figure: Figure, path: Path, options: dict[str, Any]) -> None:
    """As ``figure.savefig``, which draws everything twice; once is enough for a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if options["format"] != "png":
        figure.savefig(path, **options)
        return
    before = figure.get_dpi()
    figure.set_dpi(options["dpi"])
    try:
        FigureCanvasAgg(figure).print_png(path, metadata=options["metadata"])
    finally:
        figure.set_dpi(before)
