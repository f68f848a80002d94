"""Residual disease over the visits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from cartsim.errors import InputError
from cartsim.plots import style
from cartsim.schedule import MONTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.endpoints.residual import ResidualDisease


def negative_over_time(arms: Mapping[str, ResidualDisease], *, limit: float = 1e-5, ax: Axes | None = None) -> Figure:
    """Share of the patients assessed at a visit who are MRD-negative in complete response, with Wilson limits.

    Parameters
    ----------
    arms
        By arm.
    limit
        Below which residual disease is negative, for the title.
    ax
        Axes to draw in; by default a figure of its own.

    Raises
    ------
    InputError
        Without any arm.
    """
    if not arms:
        raise InputError("negative_over_time: no arms are given; give at least one")
    figure, (axis,) = style.panels(1, ax=ax, width=7.4, height=4.2)
    colors, dashes = style.arm_colors(arms), style.arm_dashes(arms)
    end, highest = 0.0, 0.0
    for k, (arm, found) in enumerate(arms.items()):
        table = found.by_visit().dropna()
        month, share = table["month"].to_numpy(), table["percent"].to_numpy()
        limits = style.reach(share, table["low"], table["high"])
        aside = 0.12 * (k - (len(arms) - 1) / 2)  # so that limits of arms do not cover each other
        label = f"{style.arm_title(arm)}, n = {len(found.assessed)}"
        axis.errorbar(
            month + aside, share, yerr=limits, color=colors[arm], ls=dashes[arm], marker="o", ms=4, capsize=2, lw=1.5,
            elinewidth=0.8, label=label,
        )  # fmt: skip
        end, highest = max(end, found.days[-1] / MONTH), max(highest, float(table["high"].max()))
    style.time_axis(axis, end, "months")
    axis.set_xlim(0, end + 0.5)
    axis.set_ylim(0, min(100.0, 1.08 * highest))
    axis.set_xlabel(style.time_label("months"))
    axis.set_ylabel("MRD-negative in CR (% of those assessed)")
    power = f"10^{{{np.log10(limit):.3g}}}"
    by = f" {style.by_arm(arms)}" if len(arms) > 1 else ""
    title = f"Residual disease below ${power}$ in complete response{by}, 95 % limits"
    return style.finish(figure, title, axis.get_legend_handles_labels()[0], ax=ax)
