"""Individual fits: curves over the bands of the observed categories, observed and fitted survival."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from cartsim.errors import InputError
from cartsim.plots.style import (
    CATEGORY_COLORS,
    FAINT,
    INK,
    arm_colors,
    arm_title,
    category_handles,
    clean,
    heading,
    legend_below,
    matrices,
    outer_labels,
    panels,
    time_axis,
    time_unit,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from cartsim.endpoints.survival import KaplanMeier

LOWEST, HIGHEST = 0.2, 200.0  # percent of baseline at which bands without a limit end


def response_fits(
    times: ArrayLike,
    curves: ArrayLike,
    ids: ArrayLike,
    categories: pd.DataFrame,
    *,
    doses: ArrayLike | None = None,
    shown: Sequence[Any] | None = None,
) -> Figure:
    """Fitted M-protein of patients over what their observed categories stand for, as Figure 5a of Singh 2021, but in
    percent of baseline on a log scale, on which VGPR and CR can be told apart.

    times (m,) days; curves (n, m) percent change; ids (n,); categories: a row an assessment with ``id``, ``day``,
    ``observed`` and the limits ``low``, ``high`` in percent, as `IndividualFits.categories`; doses (n,) for the titles;
    shown: ids to draw, by default all. Raises `InputError` for an id that is not there.
    """
    t, values = matrices("response_fits", times, {"fits": curves})
    known = list(np.asarray(ids))
    chosen = known if shown is None else list(shown)
    for each in chosen:
        if each not in known:
            raise InputError(f"response_fits: there is no patient {each!r}")
    per, unit = time_unit(t[-1])
    columns = min(6, max(2, len(chosen)))
    figure, axes = panels(len(chosen), width=2.6, height=2.0, columns=columns, sharex=True, sharey=True)
    for axis, each in zip(axes, chosen, strict=True):
        own = categories[categories["id"] == each]
        low, high = (np.clip(own[name].to_numpy(float) + 100, LOWEST, HIGHEST) for name in ("low", "high"))
        colors = [CATEGORY_COLORS[name] for name in own["observed"]]
        days = own["day"].to_numpy(float) / per
        axis.vlines(days, low, high, colors=colors, lw=3.0, alpha=0.85)
        axis.scatter(days, np.sqrt(low * high), s=14, color=colors, edgecolor="white", lw=0.5, zorder=3)
        row = known.index(each)
        axis.plot(t / per, values["fits"][row] + 100, color=INK, lw=1.3)
        axis.axhline(100, color=FAINT, lw=0.6)
        dose = "" if doses is None else f", {arm_title(f'{np.asarray(doses, float)[row]:g}')}"
        axis.set_title(f"id {each}{dose}", fontsize=8.5)
        axis.set_yscale("log")
        axis.set_ylim(LOWEST, HIGHEST)
        axis.set_yticks([1, 10, 100], ["1", "10", "100"])
        time_axis(axis, 1.03 * t[-1] / per, unit)
    outer_labels(axes, f"Time ({unit})", "M-protein\n(% of baseline)")
    legend_below(figure, category_handles(set(categories["observed"])))
    heading(figure, "Fitted M-protein (lines) and what the observed categories stand for (bars)")
    return figure


def fitted_survival(
    curves: Mapping[tuple[str, str], KaplanMeier], *, what: str = "Progression-free survival"
) -> Figure:
    """Observed (solid) and fitted (dashed) survival by group, months, as Figure 5b of Singh 2021.

    curves: {(group, "observed" or "fitted"): KaplanMeier}. Raises `InputError` without any.
    """
    from matplotlib.figure import Figure

    if not curves:
        raise InputError("fitted_survival: no curves are given; give at least one group")
    colors = arm_colors(dict.fromkeys(group for group, _ in curves))
    figure = Figure(figsize=(7.0, 4.6), layout="constrained")
    axis = figure.subplots()
    clean(axis)
    for (group, kind), curve in curves.items():
        median = "not reached" if np.isnan(curve.median.value) else f"{curve.median.value:.1f}"
        label = f"{_dose_group(group)}, {kind}: median {median}, {curve.events}/{curve.n}"
        dash = "-" if kind == "observed" else (0, (4, 2))
        axis.step(curve.times, curve.survival, where="post", color=colors[group], ls=dash, lw=1.8, label=label)
        if kind == "observed":
            marked = curve.n_censored > 0
            axis.plot(curve.times[marked], curve.survival[marked], ls="", marker="|", ms=7, color=colors[group])
    axis.set_ylim(0, 1.02)
    axis.set_yticks(np.linspace(0, 1, 6), [f"{p:.0f}" for p in np.linspace(0, 100, 6)])
    axis.set_ylabel(f"{what} (%)")
    axis.set_xlabel("Time since infusion (months)")
    time_axis(axis, 1.03 * max(float(curve.times[-1]) for curve in curves.values()) or 1.0, "months")
    axis.legend(fontsize=9, frameon=False, title="Months, events/n", title_fontsize=9, alignment="left")
    heading(figure, f"{what}, observed and of the individual fits")
    return figure


def _dose_group(name: str) -> str:
    sign, _, dose = name.partition(" ")
    return f"{sign} {arm_title(dose)}" if dose else name
