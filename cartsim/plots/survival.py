"""Kaplan-Meier curves with what belongs under them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.errors import InputError
from cartsim.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.endpoints.survival import KaplanMeier

LEVEL_COLORS = {"below PR": style.CATEGORY_COLORS["PD"]} | {
    name: style.CATEGORY_COLORS[name] for name in style.RESPONDERS
}


def kaplan_meier(
    curves: Mapping[str, KaplanMeier],
    *,
    what: str = "Progression-free survival",
    unit: str = "months",
    since: str = "infusion",
    by: str | None = None,
    scale: str | None = None,
    last: float | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Kaplan-Meier curves of the arms with limits, censoring marks, medians, and numbers at risk beneath.

    Parameters
    ----------
    curves
        By arm.
    what
        The endpoint, for the axis and the title.
    unit, since
        Of the curves' times: "months" or "days", and from when they count.
    by
        What divides the patients, for the title; by default the arms.
    scale
        What the axis gives in percent, by default the endpoint.
    last
        Where the axis ends, by default the last observed time.
    """
    if not curves:
        raise InputError("kaplan_meier: no curves are given; give at least one arm")
    named = {str(arm): curve for arm, curve in curves.items()}
    pens = style.arm_pens(named, LEVEL_COLORS if set(named) <= set(LEVEL_COLORS) else None)
    end = last if last is not None else max(float(curve.times[-1]) for curve in named.values()) or 1.0
    figure, axis, risk = above_numbers(len(named), 5.0, 4.6, ax=ax)
    for arm, curve in named.items():
        color = pens[arm]["color"]
        low, high = (_to_the_end(limit) for limit in (curve.low, curve.high))
        axis.fill_between(curve.times, low, high, step="post", color=color, alpha=0.12, lw=0)
        median = f"{curve.median:.1f}".replace(", ", "–")
        label = f"{style.arm_title(arm)}: {median}, {curve.events}/{curve.n}"
        axis.step(curve.times, curve.survival, where="post", label=label, **pens[arm])
        marked = curve.n_censored > 0
        axis.plot(curve.times[marked], curve.survival[marked], ls="", marker="|", ms=7, mew=1.2, color=color)
    axis.axhline(0.5, color=style.FAINT, lw=0.8, ls=":")
    axis.set_ylim(0, 1.02)
    survival_axes(axis, scale or what, since, unit)
    level = next(iter(named.values())).level
    unknown = any(np.isnan([c.median.value, c.median.low, c.median.high]).any() for c in named.values())
    title = f"Median in {unit} ({100 * level:g} % limits), events/n" + ("\nNE: not estimable" if unknown else "")
    size = 9 if ax is None else 8
    axis.legend(title=title, title_fontsize=size, fontsize=size, frameon=False, alignment="left", loc="best")
    style.time_axis(axis, end, unit)
    if risk is not None:
        titled = {style.arm_title(arm): curve for arm, curve in named.items()}
        numbers_at_risk(risk, axis.get_xticks(), titled, [pen["color"] for pen in pens.values()])
    divided = by or (style.by_arm(named) if len(named) > 1 else "")
    return style.finish(figure, f"{what} {divided}".rstrip(), ax=ax)


def tested(p: float) -> str:
    """What a log-rank test adds to a title; nothing where there was none."""
    return "" if np.isnan(p) else f", log-rank p {'< 0.001' if p < 0.001 else f'= {p:.2g}'}"


def above_numbers(
    curves: int, height: float, share: float, *, ax: Axes | None = None
) -> tuple[Figure, Axes, Axes | None]:
    """A figure with axes for curves and others for their numbers at risk; of the caller's axes the first alone."""
    from matplotlib.figure import Figure

    if ax is not None:
        figure, (axis,) = style.panels(1, ax=ax)
        return figure, axis, None
    table = 0.35 + 0.19 * curves
    figure = Figure(figsize=(8.6, height + table), layout="constrained")
    axis, risk = figure.subplots(2, 1, sharex=True, height_ratios=(share, table))
    style.clean(axis)
    return figure, axis, risk


def survival_axes(axis: Axes, what: str, since: str, unit: str) -> None:
    """Survival in percent over time."""
    axis.set_yticks(np.linspace(0, 1, 6), [f"{p:.0f}" for p in np.linspace(0, 100, 6)])
    axis.set_ylabel(f"{what} (%)")
    axis.set_xlabel(f"Time since {since} ({unit})")
    axis.tick_params(labelbottom=True)


def numbers_at_risk(risk: Axes, ticks: ArrayLike, curves: Mapping[str, KaplanMeier], colors: Iterable[Any]) -> None:
    """A row of numbers for each curve, under the ticks of the axes above."""
    from matplotlib.colors import to_rgb

    shades = [(0.7 * r, 0.7 * g, 0.7 * b) for r, g, b in map(to_rgb, colors)]  # dark enough for text
    for row, (curve, color) in enumerate(zip(curves.values(), shades, strict=True)):
        for x, n in zip(np.asarray(ticks), curve.at_risk(ticks), strict=True):
            risk.text(x, row, str(n), ha="center", va="center", fontsize=9, color=color)
    risk.set_yticks(range(len(curves)), list(curves), fontsize=9)
    for label, color in zip(risk.get_yticklabels(), shades, strict=True):
        label.set_color(color)
    risk.set_ylim(len(curves) - 0.4, -0.6)
    risk.set_title("Numbers at risk (censoring marks: |)", fontsize=9, loc="left", color=style.INK)
    risk.tick_params(length=0, labelbottom=False, pad=24)  # the first number is centered on 0
    risk.spines[:].set_visible(False)


def _to_the_end(limit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where survival falls to 0 its limits have no value; the last ones are drawn up to there."""
    return np.append(limit[:-1], limit[-2]) if limit.size > 1 and np.isnan(limit[-1]) else limit
