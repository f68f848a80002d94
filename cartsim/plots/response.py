"""Shares of patients in each response category: at landmarks, and over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from cartsim.errors import InputError
from cartsim.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEST_FIRST = tuple(reversed(style.CATEGORY_COLORS))  # stacked from the axis up: the response rate is read on it


def response_bars(
    landmarks: Mapping[str, Mapping[str, Any]],
    *,
    grouped: bool = True,
    level: float = 0.95,
    ax: Axes | None = None,
) -> Figure:
    """Stacked shares of the response categories by arm, a panel a landmark, as Figure 6b of Singh 2021.

    The mark shows the response rate with its Wilson limits. Every patient counts: those without a value are the
    share that is not evaluable.

    Parameters
    ----------
    landmarks
        {"6 months": {arm: (n,) response categories}}.
    grouped
        Count MR and VGPR as PR, and so MR or better as a response; else PR, VGPR and CR are responses.
    level
        Of the limits.
    """
    if not landmarks or not all(landmarks.values()):
        raise InputError("response_bars: nothing is given; give at least one landmark with one arm")
    most = max(map(len, landmarks.values()))
    figure, axes = style.panels(
        len(landmarks), ax=ax, width=max(4.6, 1.25 * most), height=4.0, columns=3 if most <= 4 else 1, sharey=True
    )
    crowded = ax is not None and most > 4  # the limits are drawn, there is no room to print them
    seen: set[str] = set()
    for axis, (landmark, arms) in zip(axes, landmarks.items(), strict=True):
        counts = []
        for given in arms.values():
            names = style.categories(given)
            names = style.figure6(names) if grouped else names
            counts.append([(names == name).sum() for name in BEST_FIRST])
        number = np.array(counts)
        n = number.sum(axis=1)
        share = 100 * number / np.maximum(n, 1)[:, None]
        bottom = np.cumsum(share, axis=1) - share
        x = np.arange(len(n))
        for i, name in enumerate(BEST_FIRST):
            if not share[:, i].any():
                continue
            seen.add(name)
            axis.bar(x, share[:, i], bottom=bottom[:, i], width=0.72, color=style.CATEGORY_COLORS[name], label=name)
            ink = "white" if name in ("CR", "VGPR", "PD") else style.INK
            for k in np.flatnonzero(share[:, i] >= 5):
                middle = bottom[k, i] + share[k, i] / 2
                axis.text(x[k] - 0.1, middle, f"{share[k, i]:.0f}", ha="center", va="center", color=ink, fontsize=9)
        responded = number[:, [BEST_FIRST.index(name) for name in style.RESPONDERS]].sum(axis=1)
        some = n > 0
        rate, limits = style.rates(responded[some], n[some], level)
        pen: dict[str, Any] = {"fmt": "o", "ms": 4, "color": style.INK, "mec": "white", "capsize": 3, "lw": 1.3}
        axis.errorbar(x[some] + 0.24, rate, yerr=limits, **pen)
        for k, r, below, above in zip(x[some], rate, *limits, strict=True):
            label = f"{r:.0f} %" if crowded else f"{r:.0f} % ({r - below:.0f}–{r + above:.0f})"
            axis.text(k, 101.5, label, ha="center", va="bottom", fontsize=9 if ax is None else 7)
        for k in x[~some]:
            axis.text(k, 50, "no patients", ha="center", va="center", fontsize=9, color=style.INK)
        style.dose_axis(axis, list(map(str, arms)), n)
        middle, half = (len(n) - 1) / 2, max(len(n), 2.5) / 2
        axis.set_xlim(middle - half, middle + half)
        axis.set_ylim(0, 109)
        axis.set_yticks(range(0, 101, 20))
        axis.set_title(landmark, fontsize=10)
        axis.set_ylabel("Patients (%)")
    shown = [str(arm) for arms in landmarks.values() for arm in arms]
    response = "MR or better" if grouped else "PR or better"
    mark = style.line(f"{response}, {100 * level:g} % limits", color=style.INK, marker="o", ms=4, mec="white")
    handles = [*style.category_handles(seen, style.FIGURE6_LABELS if grouped else None), mark]
    return style.finish(
        figure, f"Response {style.by_arm(shown)}; above the bars the share with {response}", handles, ax=ax
    )


def response_over_time(
    days: ArrayLike,
    arms: Mapping[str, Any],
    *,
    last_day: Mapping[str, ArrayLike] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Shares of the response categories held over time, a panel an arm. Every patient counts at every visit.

    Parameters
    ----------
    days
        (v,) Visits, days after infusion.
    arms
        By arm (n, v), the category held from each visit to the next, such as `Judgement.confirmed`.
    last_day
        By arm (n,), the last assessment, after which a patient is not evaluable, also if progressed.
    """
    named = {str(arm): style.categories(status) for arm, status in arms.items()}
    shapes = {arm: np.zeros(status.shape) for arm, status in named.items()}
    t, _ = style.matrices("response_over_time", days, shapes)
    for arm, last in (last_day or {}).items():
        end = np.asarray(last, float)
        if str(arm) not in named or end.shape != named[str(arm)].shape[:1]:
            raise InputError(f"last_day of arm {arm!r} has shape {end.shape}; give one day for each patient")
        named[str(arm)] = np.where(t <= end[:, None], named[str(arm)], "NE")
    per, unit = style.time_unit(t[-1])
    figure, axes = style.panels(len(named), ax=ax, height=3.2, sharex=True, sharey=True)
    for axis, (arm, status) in zip(axes, named.items(), strict=True):
        total = max(len(status), 1)
        shares = [100 * (status == name).sum(axis=0) / total for name in BEST_FIRST]
        axis.stackplot(t / per, shares, step="post", colors=[style.CATEGORY_COLORS[name] for name in BEST_FIRST], lw=0)
        style.time_axis(axis, t[-1] / per, unit)
        axis.set_ylim(0, 100)
        axis.set_title(f"{style.arm_title(arm)}, n = {len(status)}", fontsize=10)
        if not len(status):
            style.say_empty(axis, "no patients")
    style.outer_labels(axes, style.time_label(unit), "Patients (%)")
    seen = {name for status in named.values() for name in status.ravel()}
    handles = style.category_handles(seen, {"NE": "NE: not evaluable or not followed"})
    return style.finish(figure, "Response held over time", handles, ax=ax)
