"""Cumulative incidence of competing events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from cartsim.errors import InputError
from cartsim.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.endpoints.incidence import CumulativeIncidence

LINES = {"progression": (style.COLORS[1], "-"), "response": (style.COLORS[0], "-"), "death": (style.INK, "--")}


def cumulative_incidence(
    arms: Mapping[str, CumulativeIncidence], *, what: str = "progression", ax: Axes | None = None
) -> Figure:
    """Share of patients that has had each of the competing events, with limits, a panel an arm.

    Parameters
    ----------
    arms
        By arm, months.
    what
        The event of interest, for the title.
    ax
        Axes to draw one arm in; by default a figure of its own.

    Raises
    ------
    InputError
        Without any arm.
    """
    if not arms:
        raise InputError("cumulative_incidence: no arms are given; give at least one")
    figure, axes = style.panels(len(arms), ax=ax, width=3.6, height=3.4, sharex=True, sharey=True)
    end = max(float(found.times[-1]) for found in arms.values())
    highest = max(float(np.nanmax(high)) for found in arms.values() for high in found.high.values())
    top = 20 * np.ceil(max(5 * highest, 0.01))
    causes = list(dict.fromkeys(cause for found in arms.values() for cause in found.events))
    for axis, (arm, found) in zip(axes, arms.items(), strict=True):
        for cause in found.events:
            color, dash = LINES[cause]
            low, high = (100 * values[cause] for values in (found.low, found.high))
            axis.fill_between(found.times, low, high, step="post", color=color, alpha=0.15, lw=0)
            axis.step(found.times, 100 * found.incidence[cause], where="post", color=color, ls=dash, lw=1.8)
        style.time_axis(axis, end, "months")
        axis.set_ylim(0, top)
        axis.set_title(f"{style.arm_title(arm)}, n = {found.n}", fontsize=10)
    style.outer_labels(axes, style.time_label("months"), "Patients with the event (%)")
    level = next(iter(arms.values())).level
    names = {"death": "death first", "progression": "progression first", "response": "response first"}
    handles = [style.line(names[cause], color=LINES[cause][0], ls=LINES[cause][1], lw=1.8) for cause in causes]
    title = f"Cumulative incidence of {what} with {100 * level:g} % limits (Aalen-Johansen)"
    return style.finish(figure, title, handles, ax=ax)
