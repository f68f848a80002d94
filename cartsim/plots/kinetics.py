"""Curves against time: transgene, soluble BCMA and M-protein, by arm, by response, against observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.endpoints.kinetics import LLOQ
from cartsim.errors import InputError
from cartsim.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRANSGENE = "Transgene (copies/µg DNA)"
EXPANSION = 28.0  # days: expansion, peak and first contraction
OTHERS = "#CFCFCF"  # curves to compare with
Arms = Mapping[str, NDArray[np.float64]]


def transgene(times: ArrayLike, arms: Mapping[str, ArrayLike], *, lloq: float = LLOQ, ax: Axes | None = None) -> Figure:
    """CAR-T kinetics by arm: medians over the first 28 days and the whole time, percentile bands of each arm.

    The bands hold 5-95 and 25-75 percent of the patients; with one arm they take the place of the medians.

    Parameters
    ----------
    times
        (m,) days.
    arms
        By arm (n, m), copies/µg DNA, NaN where unknown.
    lloq
        Limit of quantification, copies/µg DNA.
    """
    from matplotlib.figure import Figure

    t, values = style.matrices("transgene", times, arms)
    bands = _bands(values)
    several = len(values) > 1
    middle = [band[2] if several else band[4] for band in bands.values()]
    title = "CAR-T kinetics in blood"
    if ax is not None:
        figure = _in_one(ax, t, values, bands, title)
        _log_axis(ax, middle, lloq)
        ax.set_ylabel(TRANSGENE)
        return figure
    per, unit = style.time_unit(t[-1])
    deep = -(-len(values) // 4) if several else 0  # rows of panels below
    figure = Figure(figsize=(12.4 if several else 9.6, 4.0 + 2.6 * deep), layout="constrained")
    above, below = (figure, None)
    if several:
        above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(3, 2.5 * deep)).ravel()

    early, late = style.grid(above, 2, sharey=True)
    what = "Medians, {}" if several else "{}"
    for axis, days_per, name, last, when in (
        (early, 1.0, "days", min(EXPANSION, t[-1]), "first 28 days"),
        (late, per, unit, t[-1] / per, "whole time"),
    ):
        _curves(axis, t / days_per, values, bands)
        _log_axis(axis, middle, lloq)
        style.time_axis(axis, last, name)
        axis.set_xlabel(style.time_label(name))
        axis.set_title(what.format(when if several else when.capitalize()), fontsize=10)
    early.set_ylabel(TRANSGENE)
    if below is None:
        title += f": {_counted(values)[0]}"
    else:
        title += f" {style.by_arm(values)}"
        late.legend(frameon=False, fontsize=9)
        axes = style.grid(below, len(values), sharex=True, sharey=True)
        _arm_panels(axes, t, values, bands, TRANSGENE)
        for axis, rows in zip(axes, values.values(), strict=True):
            _log_axis(axis, list(bands.values()), lloq)
            if (rows == 0).all():
                style.say_empty(axis, "0 throughout")
    return style.finish(figure, title, [*style.band_handles(), *_lloq_handles(lloq)])


def marker_change(
    times: ArrayLike,
    markers: Mapping[str, Mapping[str, ArrayLike]],
    *,
    highest: float = 100.0,
    ax: Axes | None = None,
) -> Figure:
    """Percent change from baseline with 5-95 and 25-75 percentile bands: panels of all arms for each marker.

    Parameters
    ----------
    times
        (m,) days.
    markers
        {"Serum M-protein": {arm: (n, m) percent}}, the same arms for each marker.
    highest
        Percent at which the axis ends where values go beyond.
    """
    from matplotlib.figure import Figure

    if not markers:
        raise InputError("no markers are given; give at least one")
    t = np.asarray(times, float)
    checked = {name: style.matrices(name, times, arms)[1] for name, arms in markers.items()}
    arms = list(next(iter(checked.values())))
    if any(list(values) != arms for values in checked.values()):
        raise InputError("the markers have different arms; give the same arms for each")
    if ax is not None:
        style.panels(len(checked), ax=ax)  # refuses several
        ((marker, values),) = checked.items()
        bands = _bands(values)
        figure = _in_one(ax, t, values, bands, marker)
        ax.axhline(0, color=style.FAINT, lw=0.8)
        ax.set_ylim(-104, _top(bands, highest))
        ax.set_ylabel("% change from baseline")
        return figure
    rows = -(-len(arms) // 4) * len(checked)
    figure = Figure(figsize=(max(3.1 * min(len(arms), 4), 6.4), 1.0 + 2.7 * rows), layout="constrained")
    parts = figure.subfigures(len(checked), 1, squeeze=False).ravel()
    for part, (marker, values) in zip(parts, checked.items(), strict=True):
        axes = style.grid(part, len(arms), sharex=True, sharey=True)
        bands = _bands(values)
        _arm_panels(axes, t, values, bands, f"{marker}\n(% change from baseline)")
        for axis in axes:
            axis.axhline(0, color=style.FAINT, lw=0.8)
        axes[0].set_ylim(-104, _top(bands, highest))
    return style.finish(figure, f"Change from baseline {style.by_arm(arms)}", style.band_handles())


def by_response(
    times: ArrayLike,
    values: ArrayLike,
    best: Any,
    *,
    marker: str = TRANSGENE,
    lloq: float | None = LLOQ,
    log: bool = True,
) -> Figure:
    """Median and interquartile range over time of the patients of each best response, a panel each.

    Parameters
    ----------
    times
        (m,) days.
    values
        (n, m), NaN where unknown.
    best
        (n,) response categories.
    marker
        Name and unit of the values.
    lloq
        What lies below it is drawn in a strip under that limit.
    log
        Draw on a logarithmic axis; else it is linear, as for percent change, and has no strip.
    """
    t, checked = style.matrices("by_response", times, {"": values})
    rows, group = checked[""], style.categories(best)
    if group.shape != rows.shape[:1]:
        raise InputError(f"best has shape {group.shape}; give one category for each of {len(rows)} patients")
    lloq = lloq if log else None
    present = [name for name in style.CATEGORY_COLORS if name != "NE" and (group == name).any()]
    bands = {name: _floored(style.percentiles(rows[group == name], (25, 50, 75)), lloq) for name in present}
    per, unit = style.time_unit(t[-1])
    figure, axes = style.panels(max(len(present), 1), columns=3, width=3.5, height=2.6, sharex=True, sharey=True)
    for i, axis in enumerate(axes):
        _value_axis(axis, list(bands.values()), lloq, log)
        style.time_axis(axis, t[-1] / per, unit, root=True)
        if not present:
            style.say_empty(axis, "nobody has a response category")
            continue
        for name, band in bands.items():
            if name != present[i]:
                axis.plot(t / per, band[1], color=OTHERS, lw=1)
        low, median, high = bands[present[i]]
        color = style.CATEGORY_COLORS[present[i]]
        axis.fill_between(t / per, low, high, color=color, alpha=0.35, lw=0)
        axis.plot(t / per, median, color=color, lw=2, marker="o" if t.size <= style.DOTTED else "", ms=3.5)
        axis.set_title(f"{present[i]}, {style.count(rows[group == present[i]])}", fontsize=10)
        if not np.isfinite(median).any():
            style.say_empty(axis)
    style.outer_labels(axes, style.time_label(unit, root=True), marker.replace(" (", "\n(", 1))
    handles = [
        style.line("median", color=style.INK, lw=2, marker="o" if t.size <= style.DOTTED else "", ms=3.5),
        style.area("25–75 percentiles", color=style.INK, alpha=0.35, lw=0),
        style.line("medians of the other categories", color=OTHERS, lw=1),
        *_lloq_handles(lloq),
    ]
    return style.finish(figure, f"{marker.split(' (')[0]} by best response", handles)


def visual_predictive_check(
    times: ArrayLike,
    observed: Mapping[str, ArrayLike],
    simulated: Mapping[str, ArrayLike],
    *,
    marker: str = TRANSGENE,
    lloq: float | None = LLOQ,
    log: bool = True,
    levels: tuple[float, float, float] = (5.0, 50.0, 95.0),
    level: float = 0.95,
) -> Figure:
    """Observed percentiles against the range of the same percentiles in simulated trials, a panel an arm.

    Parameters
    ----------
    times
        (m,) days.
    observed
        By arm (n, m), NaN where nothing was observed.
    simulated
        By arm (replicates, n, m), trials of like design, NaN where the observed trial has none either.
    marker, lloq, log
        As for `by_response`.
    levels
        Percentiles, the middle one drawn solid.
    level
        Share of replicates within a band.
    """
    t, seen = style.matrices("visual_predictive_check", times, observed)
    if list(map(str, simulated)) != list(seen):
        raise InputError(f"simulated has the arms {', '.join(map(str, simulated))}; give {', '.join(seen)}")
    lloq = lloq if log else None
    per, unit = style.time_unit(t[-1])
    figure, axes = style.panels(len(seen), height=3.2, sharex=True, sharey=True)
    colors = ("#56B4E9", "#0072B2", "#56B4E9")
    edges = (50 * (1 - level), 50 * (1 + level))
    highest = []
    for axis, (arm, rows), trials in zip(axes, seen.items(), simulated.values(), strict=True):
        replicates = np.asarray(trials, float)
        if replicates.ndim != 3 or len(replicates) == 0 or replicates.shape[2] != t.size:
            raise InputError(
                f"simulated arm {arm!r} has shape {replicates.shape}; give (replicates, patients, {t.size})"
            )
        found = np.stack([style.percentiles(trial, levels) for trial in replicates])  # (replicates, levels, times)
        for i, color in enumerate(colors):
            low, high = _floored(style.percentiles(found[:, i], edges), lloq)
            axis.fill_between(t / per, low, high, color=color, alpha=0.35, lw=0)
        drawn = _floored(style.percentiles(rows, levels), lloq)
        for row, pen in zip(drawn, ("--", "-", "--"), strict=True):
            axis.plot(t / per, row, color=style.INK, lw=1.6, ls=pen)
        points = _floored(rows, lloq)
        axis.plot(np.tile(t / per, len(rows)), points.ravel(), ".", color=style.FAINT, ms=2.5, alpha=0.5, zorder=1)
        if not np.isfinite(rows).any():
            style.say_empty(axis, "nothing observed")
        highest += [points, high]
        style.time_axis(axis, t[-1] / per, unit, root=True)
        axis.set_title(f"{style.arm_title(arm)}, {style.count(rows)}, {len(replicates)} simulated trials", fontsize=10)
    for axis in axes:
        _value_axis(axis, highest, lloq, log)
    style.outer_labels(axes, style.time_label(unit, root=True), marker.replace(" (", "\n(", 1))
    shown = "/".join(f"{x:g}" for x in (levels[0], levels[2]))
    handles = [
        style.line("observed", color=style.FAINT, ls="", marker="."),
        style.line(f"observed {'median' if levels[1] == 50 else levels[1]}", color=style.INK, lw=1.6),
        style.line(f"observed {shown} percentiles", color=style.INK, lw=1.6, ls="--"),
        style.area(f"simulated percentiles, {100 * level:g} % of trials", color=colors[1], alpha=0.35, lw=0),
        *_lloq_handles(lloq),
    ]
    return style.finish(figure, f"Visual predictive check: {marker.split(' (')[0]}", handles)


def _bands(values: Arms) -> dict[str, NDArray[np.float64]]:
    return {arm: style.percentiles(rows, style.LEVELS) for arm, rows in values.items()}


def _counted(values: Arms) -> list[str]:
    """Titles of the arms with their numbers of patients."""
    return [f"{style.arm_title(arm)}, {style.count(rows)}" for arm, rows in values.items()]


def _curves(axis: Axes, t: NDArray[np.float64], values: Arms, bands: Arms) -> None:
    """All arms in one panel: their medians, or the bands of a single one."""
    pens = style.arm_pens(bands)
    for (arm, band), label in zip(bands.items(), _counted(values), strict=True):
        if len(bands) == 1:
            style.draw_bands(axis, t, band, pens[arm]["color"], label)
        else:
            axis.plot(t, band[2], label=label, **pens[arm])


def _arm_panels(axes: Sequence[Axes], t: NDArray[np.float64], values: Arms, bands: Arms, y: str) -> None:
    """The bands of each arm in a panel of its own, on a square-root scale of months."""
    per, unit = style.time_unit(t[-1])
    colors = style.arm_colors(bands)
    for axis, (arm, band), title in zip(axes, bands.items(), _counted(values), strict=True):
        style.draw_bands(axis, t / per, band, colors[arm])
        style.time_axis(axis, t[-1] / per, unit, root=True)
        axis.set_title(title, fontsize=10)
    style.outer_labels(axes, style.time_label(unit, root=True), y)


def _in_one(ax: Axes, t: NDArray[np.float64], values: Arms, bands: Arms, title: str) -> Figure:
    """The figure of the caller's axes, with all arms in them over time."""
    figure, _ = style.panels(1, ax=ax)
    per, unit = style.time_unit(t[-1])
    _curves(ax, t / per, values, bands)
    ax.legend(frameon=False, fontsize=8)
    style.time_axis(ax, t[-1] / per, unit, root=True)
    ax.set_xlabel(style.time_label(unit, root=True))
    return style.finish(figure, f"{title}{', medians' if len(bands) > 1 else ''}", ax=ax)


def _top(bands: Arms, highest: float) -> float:
    top = np.nanmax([10.0, *(band.max(initial=-100, where=np.isfinite(band)) for band in bands.values())])
    return float(min(1.05 * top, highest))


def _lloq_handles(lloq: float | None) -> list[Any]:
    return [style.line(f"limit of quantification ({lloq:g})", color=style.FAINT, lw=1, ls=":")] if lloq else []


def _value_axis(axis: Axes, drawn: Sequence[NDArray[np.float64]], lloq: float | None, log: bool) -> None:
    """Logarithmic with a strip below ``lloq``, or linear with a line at 0."""
    if log:
        _log_axis(axis, drawn, lloq, strip=True)
    else:
        axis.axhline(0, color=style.FAINT, lw=0.8)


def _log_axis(axis: Axes, drawn: Sequence[NDArray[np.float64]], lloq: float | None, *, strip: bool = False) -> None:
    """A logarithmic axis for what is drawn; with ``lloq`` a line there and a decade or a strip below it."""
    positive = np.concatenate([np.empty(0), *(x[np.isfinite(x) & (x > 0)] for x in drawn)])
    low, high = (positive.min(), positive.max()) if positive.size else (1.0, 1.0)
    if lloq is not None:
        low, high = lloq / (4 if strip else 10), max(high, 60 * lloq)
        axis.axhline(lloq, color=style.FAINT, lw=1, ls=":")
        if strip:
            axis.axhspan(low, lloq, color="#F2F2F2", lw=0, zorder=0)
    axis.set_ylim(low, 1.6 * high)
    axis.set_yscale("log")
    axis.minorticks_off()


def _floored(values: NDArray[np.float64], lloq: float | None) -> NDArray[np.float64]:
    """What lies below the limit of quantification in the middle of the strip below it; NaN stays."""
    return values if lloq is None else np.where(values < lloq, lloq / 2, values)
