"""Response against exposure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from cartsim.errors import InputError
from cartsim.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RESPONSES = 4  # that can be told apart in one panel


def exposure_quartiles(
    exposures: Mapping[str, ArrayLike],
    responses: Mapping[str, ArrayLike],
    *,
    groups: int = 4,
    level: float = 0.95,
    ax: Axes | None = None,
) -> Figure:
    """Response rates with Wilson limits by quartile of exposure, a panel an exposure.

    Parameters
    ----------
    exposures
        {"Cmax (copies/µg DNA)": (n,)}, NaN where missing (left out).
    responses
        {"ORR": (n,) true or false}.
    groups
        4 for quartiles; ties are kept in one group, so that there can be fewer.
    level
        Of the limits.
    """
    import pandas as pd

    if not exposures or not 0 < len(responses) <= RESPONSES:
        raise InputError(f"exposure_quartiles: give at least one exposure and one to {RESPONSES} responses")
    figure, axes = style.panels(len(exposures), ax=ax, width=4.8, height=3.7, columns=3, sharey=True)
    for axis, (name, given) in zip(axes, exposures.items(), strict=True):
        exposure = np.asarray(given, float)
        known = np.isfinite(exposure)
        axis.set_ylim(0, 102)
        axis.set_xlabel(name)
        missing = "" if known.all() else f" of {len(exposure)}"
        axis.set_title(f"{name.split(' (')[0]}, n = {known.sum()}{missing}", fontsize=10)
        if not known.any():
            axis.set_xticks([])
            style.say_empty(axis)
            continue
        cut = pd.qcut(exposure[known], groups, labels=False, duplicates="drop")
        _, quantile = np.unique(cut, return_inverse=True)  # without the groups that nobody is in
        n = np.bincount(quantile)
        x = np.arange(len(n))
        for k, (response, given_response) in enumerate(responses.items()):
            yes = np.asarray(given_response)
            if yes.shape != exposure.shape or not np.isin(yes, (0, 1)).all():
                raise InputError(f"response {response!r}: give true or false for each of {len(exposure)} patients")
            hits = np.bincount(quantile, weights=yes[known].astype(float))
            rate, limits = style.rates(hits, n, level)
            axis.errorbar(
                x + 0.08 * (k - (len(responses) - 1) / 2),
                rate,
                yerr=limits,
                color=style.COLORS[k],
                marker="o",
                ms=5,
                lw=1.2,
                capsize=3,
                label=response,
            )
        title = "Q" if len(n) == groups == 4 else "group "
        ends = [(exposure[known][quantile == i].min(), exposure[known][quantile == i].max()) for i in x]
        axis.set_xticks(
            x,
            [f"{title}{i + 1}\n{_short(a)}–{_short(b)}\nn = {n[i]}" for i, (a, b) in enumerate(ends)],
            fontsize=9,
        )
        axis.set_xlim(-0.5, len(n) - 0.5)
    axes[0].set_ylabel(f"Response rate (%), {100 * level:g} % limits")
    handles = [style.line(name, color=color, marker="o") for name, color in zip(responses, style.COLORS, strict=False)]
    return style.finish(figure, "Response rate by quartile of exposure", handles, ax=ax)


def _short(x: float) -> str:
    """Two digits, with k or M for thousands and millions."""
    x = float(f"{x:.2g}")
    return next((f"{x / size:g}{sign}" for size, sign in ((1e6, "M"), (1e3, "k")) if abs(x) >= size), f"{x:g}")
