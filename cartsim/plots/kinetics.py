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
    per, unit = style.time_unit(t[-1])
    colors, dashes, widths = style.arm_colors(values), style.arm_dashes(values), style.arm_widths(values)
    bands = {arm: style.percentiles(rows, style.LEVELS) for arm, rows in values.items()}
    several = len(values) > 1
    if ax is not None:
        figure, (axis,) = style.panels(1, ax=ax)
        _in_one(axis, t / per, values, bands)
        _log_axis(axis, [band[2] if several else band[4] for band in bands.values()], lloq)
        style.time_axis(axis, t[-1] / per, unit, root=True)
        axis.set_xlabel(style.time_label(unit, root=True))
        axis.set_ylabel(TRANSGENE)
        return style.finish(figure, f"CAR-T kinetics in blood{', medians' if several else ''}", ax=ax)
    deep = -(-len(values) // 4) if several else 0  # rows of panels below
    figure = Figure(figsize=(12.4 if several else 9.6, 4.0 + 2.6 * deep), layout="constrained")
    above, below = (figure, None)
    if several:
        above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(3, 2.5 * deep)).ravel()

    early, late = style.grid(above, 2, sharey=True)
    for axis, days_per, name in ((early, 1.0, "days"), (late, per, unit)):
        for arm, band in bands.items():
            if several:
                label = f"{style.arm_title(arm)}, {style.count(values[arm])}"
                axis.plot(t / days_per, band[2], color=colors[arm], ls=dashes[arm], lw=widths[arm], label=label)
            else:
                style.draw_bands(axis, t / days_per, band, colors[arm])
        highest = [band[2] if several else band[4] for band in bands.values()]
        _log_axis(axis, highest, lloq)
        axis.set_xlabel(style.time_label(name))
    style.time_axis(early, min(EXPANSION, t[-1]), "days")
    style.time_axis(late, t[-1] / per, unit)
    early.set_ylabel(TRANSGENE)
    early.set_title("Medians, first 28 days" if several else "First 28 days", fontsize=10)
    late.set_title("Medians, whole time" if several else "Whole time", fontsize=10)
    if below is not None:
        late.legend(frameon=False, fontsize=9)
        axes = style.grid(below, len(values), sharex=True, sharey=True)
        for axis, (arm, band) in zip(axes, bands.items(), strict=True):
            style.draw_bands(axis, t / per, band, colors[arm])
            _log_axis(axis, list(bands.values()), lloq)
            style.time_axis(axis, t[-1] / per, unit, root=True)
            axis.set_title(f"{style.arm_title(arm)}, {style.count(values[arm])}", fontsize=10)
            if (values[arm] == 0).all():
                style.say_empty(axis, "0 throughout")
        style.outer_labels(axes, style.time_label(unit, root=True), TRANSGENE)
        which = f" {style.by_arm(values)}"
    else:
        ((arm, rows),) = values.items()
        which = f": {style.arm_title(arm)}, {style.count(rows)}"
    return style.finish(figure, f"CAR-T kinetics in blood{which}", [*style.band_handles(), *_lloq_handles(lloq)])


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
    per, unit = style.time_unit(t[-1])
    if ax is not None:
        figure, (axis,) = style.panels(len(checked), ax=ax)
        ((marker, values),) = checked.items()
        bands = {arm: style.percentiles(changes, style.LEVELS) for arm, changes in values.items()}
        _in_one(axis, t / per, values, bands)
        axis.axhline(0, color=style.FAINT, lw=0.8)
        style.time_axis(axis, t[-1] / per, unit, root=True)
        axis.set_ylim(-104, _top(bands, highest))
        axis.set_xlabel(style.time_label(unit, root=True))
        axis.set_ylabel("% change from baseline")
        return style.finish(figure, f"{marker}{', medians' if len(arms) > 1 else ''}", ax=ax)
    colors = style.arm_colors(arms)
    rows = -(-len(arms) // 4) * len(checked)
    figure = Figure(figsize=(max(3.1 * min(len(arms), 4), 6.4), 1.0 + 2.7 * rows), layout="constrained")
    for part, (marker, values) in zip(
        figure.subfigures(len(checked), 1, squeeze=False).ravel(), checked.items(), strict=True
    ):
        axes = style.grid(part, len(arms), sharex=True, sharey=True)
        bands = {arm: style.percentiles(changes, style.LEVELS) for arm, changes in values.items()}
        for axis, (arm, band) in zip(axes, bands.items(), strict=True):
            style.draw_bands(axis, t / per, band, colors[arm])
            axis.axhline(0, color=style.FAINT, lw=0.8)
            style.time_axis(axis, t[-1] / per, unit)
            axis.set_title(f"{style.arm_title(arm)}, {style.count(values[arm])}", fontsize=10)
        axes[0].set_ylim(-104, _top(bands, highest))
        style.outer_labels(axes, style.time_label(unit), f"{marker}\n(% change from baseline)")
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
        if log:
            _log_axis(axis, list(bands.values()), lloq, strip=True)
        else:
            axis.axhline(0, color=style.FAINT, lw=0.8)
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
        if log:
            _log_axis(axis, highest, lloq, strip=True)
        else:
            axis.axhline(0, color=style.FAINT, lw=0.8)
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


def _in_one(
    axis: Axes,
    t: NDArray[np.float64],
    values: Mapping[str, NDArray[np.float64]],
    bands: Mapping[str, NDArray[np.float64]],
) -> None:
    """All arms in one panel: their medians, or the bands of a single one."""
    colors, dashes, widths = style.arm_colors(bands), style.arm_dashes(bands), style.arm_widths(bands)
    for arm, band in bands.items():
        if len(bands) == 1:
            style.draw_bands(axis, t, band, colors[arm])
        label = f"{style.arm_title(arm)}, {style.count(values[arm])}"
        axis.plot(t, band[2], color=colors[arm], ls=dashes[arm], lw=widths[arm], label=label)
    axis.legend(frameon=False, fontsize=8)


def _top(bands: Mapping[str, NDArray[np.float64]], highest: float) -> float:
    top = np.nanmax([10.0, *(band.max(initial=-100, where=np.isfinite(band)) for band in bands.values())])
    return float(min(1.05 * top, highest))


def _lloq_handles(lloq: float | None) -> list[Any]:
    return [style.line(f"limit of quantification ({lloq:g})", color=style.FAINT, lw=1, ls=":")] if lloq else []


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
