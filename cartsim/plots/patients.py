"""Pictures with a mark for every patient: spider, waterfall, swimmer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.errors import InputError
from cartsim.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HIGHEST = 100.0  # percent at which lines leave the panel
REFERENCES = (25, -25, -50, -90)  # percent change: limits of PD, MR, PR, VGPR
RASTERIZED = 100  # lines from which a panel is drawn as dots in a PDF, which would else take minutes to open
MARKS = ("X", "D", "s", "^", "o", "*")


def spider(
    times: ArrayLike,
    arms: Mapping[str, ArrayLike],
    groups: Mapping[str, Any],
    *,
    first: int = 250,
    colored_by: str = "best response",
    grouped: bool = False,
    columns: int = 4,
    ax: Axes | None = None,
) -> Figure:
    """M-protein of each of the first patients, a panel an arm, as Figure 6a of Singh 2021.

    Parameters
    ----------
    times
        (m,) days.
    arms
        By arm (n, m), percent change from baseline.
    groups
        By arm (n,), response categories, which color the lines.
    first
        Patients drawn of each arm.
    colored_by
        What the categories are.
    grouped
        Count MR and VGPR as PR.
    columns
        Panels beside each other.
    """
    from matplotlib.collections import LineCollection

    t, values = style.matrices("spider", times, arms)
    per, unit = style.time_unit(t[-1])
    width = 3.1 if columns > 2 else 4.2
    figure, axes = style.panels(len(values), ax=ax, width=width, height=3.4, columns=columns, sharex=True, sharey=True)
    seen: set[str] = set()
    top = 30.0
    for axis, (arm, rows) in zip(axes, values.items(), strict=True):
        group = _group("spider", arm, groups, len(rows))[:first]
        group = style.figure6(group) if grouped else group
        shown = np.where(np.isfinite(rows[:first]), rows[:first], np.nan)
        top = max(top, shown.max(initial=30, where=np.isfinite(shown)))
        # Drawn from the most common category to the rarest, so that none is hidden.
        names = sorted(set(group), key=lambda name: (-(group == name).sum(), name))
        for name in names:
            lines = [np.column_stack([t / per, row]) for row in shown[group == name]]
            color = style.CATEGORY_COLORS[name]
            many = len(shown) > RASTERIZED
            axis.add_collection(LineCollection(lines, colors=color, lw=0.7, alpha=0.75, label=name, rasterized=many))
        seen |= set(group)
        _references(axis)
        style.time_axis(axis, t[-1] / per, unit)
        of = f"first {len(shown)} of {len(rows)}" if len(shown) < len(rows) else f"n = {len(rows)}"
        axis.set_title(f"{style.arm_title(arm)}, {of}", fontsize=10)
        if not np.isfinite(shown).any():
            style.say_empty(axis)
    axes[0].set_ylim(-104, min(1.05 * top, HIGHEST))
    style.outer_labels(axes, style.time_label(unit), "Serum M-protein\n(% change from baseline)")
    handles = style.category_handles(seen, style.FIGURE6_LABELS if grouped else None)
    return style.finish(figure, f"M-protein of each virtual patient, colored by {colored_by}", handles, ax=ax)


def waterfall(
    change: Mapping[str, ArrayLike], best: Mapping[str, Any], *, highest: float = 100.0, ax: Axes | None = None
) -> Figure:
    """Greatest fall (or least rise) of M-protein of every patient, in order, colored by best response.

    Parameters
    ----------
    change
        By arm (n,), lowest percent change from baseline; patients without a value are counted, not drawn.
    best
        By arm (n,), response categories.
    highest
        Percent at which bars end.
    """
    from matplotlib.collections import PolyCollection

    if not change:
        raise InputError("waterfall: no arms are given; give at least one")
    figure, axes = style.panels(len(change), ax=ax, height=3.2, sharey=True)
    seen: set[str] = set()
    top = 30.0
    for axis, (arm, given) in zip(axes, change.items(), strict=True):
        values = np.asarray(given, float)
        if values.ndim != 1:
            raise InputError(f"waterfall: arm {arm!r} has shape {values.shape}; give one change a patient")
        group = _group("waterfall", str(arm), best, len(values))
        known = np.isfinite(values)
        order = np.flatnonzero(known)[np.argsort(-values[known], kind="stable")]
        height, group = np.minimum(values[order], highest), group[order]
        x = np.arange(len(order), dtype=float)
        level = np.zeros_like(x)  # corners of the bars: (n, 4, 2)
        bars = np.stack(
            [np.stack([x, x + 1, x + 1, x], axis=1), np.stack([level, level, height, height], axis=1)], axis=2
        )
        colors = [style.CATEGORY_COLORS[name] for name in group]
        few = len(order) <= 60  # then each bar has an edge
        axis.add_collection(
            PolyCollection(
                list(bars), facecolors=colors, edgecolors="white" if few else "none", lw=0.4, antialiased=few
            )
        )
        seen |= set(group)
        _references(axis)
        axis.set_xlim(0, max(len(order), 1))
        top = max(top, height.max(initial=-100) + 5)
        axis.set_xticks([])
        missing = f", {(~known).sum()} without a value" if not known.all() else ""
        axis.set_title(f"{style.arm_title(str(arm))}, n = {len(values)}{missing}", fontsize=10)
        if not len(order):
            style.say_empty(axis)
    axes[0].set_ylim(-104, top)
    style.outer_labels(axes, "Patients, in order of change", "Lowest M-protein\n(% change from baseline)")
    title = "Lowest M-protein of every patient, colored by best response"
    return style.finish(figure, title, style.category_handles(seen), ax=ax)


def swimmer(
    days: ArrayLike,
    status: Any,
    last_day: ArrayLike,
    *,
    events: Mapping[str, ArrayLike] | None = None,
    ongoing: ArrayLike | None = None,
    first: int = 40,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Course of each of the first patients: a bar from infusion to the last day, colored by response.

    Parameters
    ----------
    days
        (v,) or (n, v) visits, days after infusion.
    status
        (n, v) response category from each visit to the next, such as `Judgement.confirmed`.
    last_day
        (n,) Last day of each patient; the longest is on top.
    events
        Up to six marks by name, {"progression": (n,) day or NaN}.
    ongoing
        (n,) True where the patient is still in response or stable at the last day (an arrow).
    first
        Patients drawn.
    title
        Name of the arm.
    """
    names, end = style.categories(status), np.asarray(last_day, float)
    if names.ndim != 2 or end.shape != names.shape[:1] or np.shape(days)[-1:] != names.shape[1:]:
        raise InputError(
            f"swimmer: status {names.shape}, last_day {end.shape} and days {np.shape(days)}; "
            "give (n, v), (n,) and (v,) or (n, v)"
        )
    total = len(end)
    marks = dict(events or {})
    per_patient = [*marks.values(), *([] if ongoing is None else [ongoing])]
    if len(marks) > len(MARKS) or any(np.shape(given) != (total,) for given in per_patient):
        raise InputError(f"swimmer: give up to {len(MARKS)} events, and each of them and ongoing as ({total},)")
    chosen = np.flatnonzero(np.isfinite(end))[:first]
    chosen = chosen[np.argsort(end[chosen], kind="stable")]
    names, end = names[chosen], end[chosen]
    starts = np.broadcast_to(np.asarray(days, float), (total, names.shape[1]))[chosen]
    stops = np.minimum(np.column_stack([starts[:, 1:], np.full(len(end), np.inf)]), end[:, None])
    per, unit = style.time_unit(end.max(initial=1.0))
    y = np.arange(len(end))

    figure, (axis,) = style.panels(1, ax=ax, width=9.0, height=0.5 + max(len(end), 6) * 0.15, extra=1.4)
    axis.hlines(y, 0, end / per, color=style.FAINT, lw=0.8, zorder=1)
    held = starts < stops
    for name in np.unique(names[held]):
        row, visit = np.nonzero((names == name) & held)
        left, right = starts[row, visit] / per, stops[row, visit] / per
        axis.barh(row, right - left, left=left, height=0.8, color=style.CATEGORY_COLORS[name], lw=0, label=name)
    handles: list[Any] = style.category_handles(set(names[held]))
    for (event, when), mark in zip(marks.items(), MARKS, strict=False):
        x = np.asarray(when, float)[chosen]
        pen: dict[str, Any] = {"marker": mark, "ls": "", "ms": 5.5, "color": style.INK, "mec": "white", "mew": 0.6}
        axis.plot(x / per, y, **pen)
        handles.append(style.line(event, **pen))
    if ongoing is not None:
        going = np.asarray(ongoing, bool)[chosen]
        axis.plot(end[going] / per, y[going], ls="", marker=">", ms=5, color=style.INK, clip_on=False)
        handles.append(style.line("ongoing", ls="", marker=">", ms=5, color=style.INK))
    style.time_axis(axis, end.max(initial=1.0) / per * 1.02, unit)
    axis.set_ylim(-0.8, max(len(end), 1) - 0.2)
    axis.set_yticks([])
    axis.set_ylabel("Patients, longest first")
    axis.set_xlabel(style.time_label(unit))
    of = f"n = {total}" if len(end) == total else f"first {len(end)} of {total} patients"
    axis.set_title(f"{style.arm_title(title)}, {of}" if title else of, fontsize=10)
    if not len(end):
        style.say_empty(axis, "nobody was followed")
    return style.finish(figure, "Course of response of each patient", handles, ax=ax)


def _references(axis: Axes) -> None:
    """Lines of no change and of the limits of response."""
    axis.axhline(0, color=style.INK, lw=0.8)
    for level in REFERENCES:
        axis.axhline(level, color=style.FAINT, lw=0.6, ls=":")


def _group(what: str, arm: str, groups: Mapping[str, Any], n: int) -> NDArray[np.str_]:
    """The response categories of an arm's n patients."""
    named = {str(name): values for name, values in groups.items()}
    if arm not in named:
        raise InputError(f"{what}: no categories are given for arm {arm!r}; give them for every arm")
    group = style.categories(named[arm])
    if group.shape != (n,):
        raise InputError(f"{what}: arm {arm!r} has {n} patients and categories of shape {group.shape}; give ({n},)")
    return group
