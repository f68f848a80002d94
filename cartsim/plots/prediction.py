"""Pictures of predictions: published results beside what one or several predictions say of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError
from cartsim.plots import style
from cartsim.plots.pictures import Pictures, chosen

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.calibration.plausible import Weighted
    from cartsim.calibration.prediction import Prediction
    from cartsim.trial.published import PublishedTrial

KINDS = {
    "shares": "Patients (%)",
    "times": "Median (months)",
    "other": "Median (days), ratio of medians, or correlation",
}
"""Panels, and the label of their axis."""

_ROOM = 0.17  # inches of a line
_KIND = {"months": "times", "%": "shares"}


class PredictionPictures(Pictures):
    """Pictures of a prediction of a published trial."""

    usual = "forest"
    _result: Prediction

    def forest(
        self,
        *others: Prediction,
        kind: str | None = None,
        roles: Sequence[str] = ("fit",),
        ax: Axes | None = None,
    ) -> Figure:
        """Published results with 95 % limits beside predicted medians with 90 % limits, a row a result.

        Parameters
        ----------
        *others
            Other predictions of the same trial, each in a color.
        kind
            "shares", "times" or "other"; by default all.
        roles
            Which rows: "fit" (those that count once), "repeat".

        Raises
        ------
        InputError
            For predictions of another trial, another kind, and where no row is left.
        """
        names = [each.name for each in (self._result, *others)]
        title = f"{self._result.trial.name}: published (95 % limits) and predicted (90 % limits)"
        return forest_of(self._result.rows(*others), self._result.trial, names, title, kind, roles, ax)


class PublishedPictures(Pictures):
    """Pictures of a published trial."""

    usual = "forest"
    _result: PublishedTrial

    def forest(
        self, *, kind: str | None = None, roles: Sequence[str] = ("fit", "repeat"), ax: Axes | None = None
    ) -> Figure:
        """Published results with 95 % limits, a row a result.

        Parameters
        ----------
        kind
            "shares", "times" or "other"; by default all.
        roles
            Which rows: "fit" (those that count once), "repeat", "context".

        Raises
        ------
        InputError
            For another kind, and where no row is left.
        """
        table = self._result.results.dropna(subset="value")
        return forest_of(table, self._result, [], f"{self._result.name}: published, 95 % limits", kind, roles, ax)


class WeightedPictures(Pictures):
    """Pictures of plausible patients with weights."""

    usual = "rows"
    _result: Weighted

    def rows(
        self,
        *,
        trial: str | None = None,
        kind: str | None = None,
        roles: Sequence[str] = ("fit",),
        ax: Axes | None = None,
    ) -> Figure:
        """Published results with 95 % limits beside those of the patients without and with weights, a row a result.

        Parameters
        ----------
        trial
            Name of one of the trials that they were weighted to; by default the first.
        kind
            "shares", "times" or "other"; by default all.
        roles
            Which rows: "fit" (those that count once), "repeat".

        Raises
        ------
        InputError
            For a trial that is none of these, another kind, and where no row is left.
        """
        found = self._result
        told = found.trials[0] if trial is None else {each.name: each for each in found.trials}.get(trial)
        if told is None:
            raise InputError(f"no trial {trial!r}; choose one of {', '.join(each.name for each in found.trials)}")
        table = found.frame[found.frame["trial"] == told.name]
        names = ["plausible", "weighted"]
        for name in names:
            table = table.rename(columns={name: f"{name} predicted"})
            table = table.assign(**{f"{name} predicted_{end}": np.nan for end in ("low", "high")})
        title = (
            f"{told.name} and {len(found):,} plausible patients, effective sample size {found.size:.0f} with weights"
        )
        return forest_of(table, told, names, title, kind, roles, ax)


def forest_of(
    table: pd.DataFrame,
    trial: PublishedTrial,
    names: Sequence[str],
    title: str,
    kind: str | None,
    roles: Sequence[str],
    ax: Axes | None,
) -> Figure:
    """Published rows of a trial beside those of names, of which the table has NAME predicted, and its two limits."""
    table = table[table["role"].isin(list(roles))].reset_index(drop=True)
    if table.empty:
        raise InputError("no published row is left to draw; give other roles")
    table = chosen(table.assign(kind=table["unit"].map(_KIND).fillna("other")), "kind", kind, "rows of kind")
    kinds = table["kind"]
    panels = [name for name in KINDS if (kinds == name).any()]
    parts = {name: _by_endpoint(table[kinds == name]) for name in panels}
    lines = max(1.7, 1 + 0.8 * len(names))  # of a row
    heights = [lines * len(part) + 0.8 for part in parts.values()]
    figure, axes = style.panels(
        len(panels),
        ax=ax,
        width=8.2,
        height=_ROOM * sum(heights) / len(panels) + 0.55,
        columns=1,
        extra=1.1,
        height_ratios=heights,
    )
    for axis, (name, part) in zip(axes, parts.items(), strict=True):
        _panel(axis, name, part, trial, names)
    handles = [style.line(f"{trial.name}, published", color=style.INK, marker="D", ms=5, lw=2.4)]
    handles += [
        style.line(name, color=style.COLORS[k % len(style.COLORS)], marker="o", ms=4.5, lw=1.6)
        for k, name in enumerate(names)
    ]
    beyond = bool(np.isinf(table.select_dtypes("float").to_numpy()).any())
    note = "An arrow: not reached, or a ratio without end." if beyond else ""
    return style.finish(figure, title, handles, note=note, ax=ax)


def _by_endpoint(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of one endpoint together, in the order in which the endpoints come first."""
    order = {name: k for k, name in enumerate(dict.fromkeys(table["endpoint"]))}
    return table.sort_values("endpoint", key=lambda own: own.map(order), kind="stable").reset_index(drop=True)


def _panel(axis: Axes, kind: str, table: pd.DataFrame, trial: PublishedTrial, names: Sequence[str]) -> None:
    columns = [("value", "low", "high")]
    columns += [(f"{name} predicted", f"{name} predicted_low", f"{name} predicted_high") for name in names]
    numbers = table[[each for group in columns for each in group]].to_numpy(float)
    low, high = _ends(kind, numbers)
    if kind != "shares":
        axis.set_xscale("log")
    place = np.arange(len(table), dtype=float)
    step = 0.8 / len(columns)
    for k, group in enumerate(columns):
        value, lower, upper = table[list(group)].to_numpy(float).T
        own = place - 0.4 + step * (k + 0.5)
        if k == 0:
            pen: dict[str, Any] = {"color": style.INK, "lw": 2.4, "marker": "D", "ms": 5}
        else:
            pen = {"color": style.COLORS[(k - 1) % len(style.COLORS)], "lw": 1.6, "marker": "o", "ms": 4.5}
        _draw(axis, own, np.array([value, lower, upper]), (low, high), pen)
    for at in place[:-1]:
        axis.axhline(at + 0.5, color=style.FAINT, lw=0.4, alpha=0.5)
    axis.set_yticks(place, [_label(row, trial) for row in table.to_dict("records")], fontsize=8.5)
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(len(table) - 0.45, -0.55)
    axis.set_xlim((-2, 102) if kind == "shares" else (low / 1.1, high * 1.1))
    if kind != "shares":
        ticks = [
            tick for tick in (0.1, 0.3, 0.5, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100, 300, 1000) if low <= tick <= high
        ]
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_xticks([], minor=True)
    axis.set_xlabel(KINDS[kind], fontsize=9.5)


def _ends(kind: str, numbers: NDArray[np.float64]) -> tuple[float, float]:
    """What the axis has to hold; what is not reached lies at its end."""
    if kind == "shares":
        return 0.0, 100.0
    known = numbers[np.isfinite(numbers) & (numbers > 0)]
    high = float(known.max()) * (1.35 if np.isinf(numbers).any() else 1.0)
    return float(known.min()), high


def _draw(
    axis: Axes,
    place: NDArray[np.float64],
    numbers: NDArray[np.float64],
    ends: tuple[float, float],
    pen: dict[str, Any],
) -> None:
    """Points and limits, arrows for what goes on beyond the axis."""
    value, low, high = (np.clip(each, *ends) for each in numbers)
    color, marker = pen["color"], {"marker": pen["marker"], "ms": pen["ms"], "ls": ""}
    known = ~np.isnan(low) & ~np.isnan(high)
    axis.hlines(place[known], low[known], high[known], color=color, lw=pen["lw"])
    reached = np.isfinite(numbers[0])
    axis.plot(value[reached], place[reached], color=color, **marker)
    beyond = known & np.isinf(numbers[2])
    if beyond.any():
        axis.plot(high[beyond], place[beyond], marker=">", ms=pen["ms"] + 1, ls="", color=color, clip_on=False)


def _label(row: dict[Any, Any], trial: PublishedTrial) -> str:
    """What a row is of, in few words: "ORR, 300 × 10⁶ cells", "DOR of CR"."""
    words = "Tmax, days" if row["endpoint"] == "Tmax" else str(row["endpoint"])
    own = trial.row(row["id"])
    if own.month is not None:
        words += f" at month {own.month:g}"
    if own.subset:
        words += f" of {own.subset}"
    if own.arms != tuple(arm.name for arm in trial.arms):
        titles = [style.arm_title(name).removesuffix(" cells") for name in own.arms]
        words += f", {titles[0]}" if len(titles) == 1 else f", {titles[0]} to {titles[-1]}"
    return f"{words} (n = {own.n})" if own.n else words
