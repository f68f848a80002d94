"""Outputs of a simulation over time: a line a patient, or bands of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.errors import InputError
from cartsim.plots.pictures import Pictures
from cartsim.plots.style import (
    COLORS,
    LEVELS,
    arm_colors,
    arm_dashes,
    arm_title,
    band_handles,
    count,
    draw_bands,
    heading,
    label_below,
    label_with_unit,
    legend_below,
    matrices,
    panels,
    percentiles,
    time_axis,
    time_unit,
    times_called,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.simulation import Simulation

FEW = 8  # patients, or groups of them, that are drawn as lines
SPAN = 50.0  # ratio of highest to lowest from which an axis is logarithmic
DEEPEST = 1e-9  # of the highest value: a logarithmic axis does not go below


def over_time(
    times: ArrayLike,
    outputs: Mapping[str, ArrayLike],
    *,
    names: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    unit: str = "day",
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Values over time, a panel an output: a line for each of few patients, percentile bands of many.

    An axis is logarithmic where no value is negative and they span far.

    Parameters
    ----------
    times
        (m,) in ``unit``.
    outputs
        {"Transgene (copies/µg)": (n, m)}, NaN where unknown.
    names
        (n,) What each line is called, where patients are few.
    groups
        (n,) Which group each patient belongs to: medians of the groups are drawn.
    unit
        Of the times; days are shown in months beyond three of them.
    title
        Of the figure.

    Raises
    ------
    InputError
        For shapes that do not fit, no outputs, and more groups than can be told apart.
    """
    from matplotlib.lines import Line2D

    t, values = matrices("over_time", times, outputs)
    n = len(next(iter(values.values())))
    if any(len(rows) != n for rows in values.values()) or any(g is not None and len(g) != n for g in (names, groups)):
        raise InputError("over_time: outputs, names and groups are of different numbers of patients; give all the same")
    members = _members(n, names, groups)
    per, shown = time_unit(t[-1]) if unit == "day" else (1.0, times_called(unit))
    root = shown == "months"
    colors, dashes = arm_colors(members), arm_dashes(members)
    figure, axes = panels(len(values), ax=ax, width=3.9, height=2.9, columns=3, sharex=True)
    for axis, (output, rows) in zip(axes, values.items(), strict=True):
        drawn = []
        for name, own in members.items():
            band = percentiles(rows[own], LEVELS)
            if len(members) == 1 and len(own) > 1:
                draw_bands(axis, t / per, band, COLORS[0])
                drawn.append(band)
            else:
                color = COLORS[0] if len(members) == 1 else colors[name]
                axis.plot(t / per, band[2], color=color, ls=dashes[name], lw=1.6)
                drawn.append(band[2])
        _value_axis(axis, np.concatenate([each.ravel() for each in drawn]))
        if unit == "day":
            time_axis(axis, t[-1] / per, shown, root=root)
        else:
            axis.set_xlim(0, t[-1] or 1.0)
        axis.set_ylabel(output)
    label_below(axes, f"Time ({shown}{', square-root scale' if root else ''})")
    handles: list[Any] = []
    if len(members) > 1:
        of = {name: "" if len(own) == 1 else f", {count(_known(values, own))}" for name, own in members.items()}
        handles = [
            Line2D([], [], color=colors[name], ls=dashes[name], lw=1.6, label=f"{arm_title(name)}{of[name]}")
            for name in members
        ]
    elif n > 1:
        handles = band_handles()
    legend_below(figure, handles, ax=ax)
    heading(figure, title or (f"{n:,} patients" if n > 1 else "Course over time"), ax=ax)
    return figure


class SimulationPictures(Pictures):
    """Pictures of a simulation."""

    usual = "over_time"
    _result: Simulation

    def over_time(
        self, outputs: str | Sequence[str] | None = None, *, by: str | None = None, ax: Axes | None = None
    ) -> Figure:
        """Outputs over time: a line for each of few patients, median and 5–95 % bands of many.

        Parameters
        ----------
        outputs
            Names of one or more; by default all that were read.
        by
            A column of `Simulation.patients`, such as "dose": medians of its groups, up to eight.
        """
        run = self._result
        chosen = [outputs] if isinstance(outputs, str) else list(run.keys() if outputs is None else outputs)
        known = run.model.outputs | run.model.states
        shown = {label_with_unit(name, known[name].unit): run[name] for name in chosen if run[name] is not None}
        names = groups = None
        if by is not None:
            if by not in run.patients:
                raise InputError(f"no column {by!r} to group by; choose one of {', '.join(run.patients)}")
            groups = [_group_name(by, value) for value in run.patients[by]]
        elif 1 < len(run) <= FEW:
            names = [_line_name(row.id, row.dose, run.given["dose"].nunique() > 1) for row in run.patients.itertuples()]
        who = "typical patient" if len(run) == 1 else f"{len(run):,} patients"
        title = f"{run.model.name}: {who}"
        return over_time(run.times, shown, names=names, groups=groups, unit=run.model.time, title=title, ax=ax)


def _members(n: int, names: Sequence[str] | None, groups: Sequence[str] | None) -> dict[str, NDArray[np.int64]]:
    """Rows of the patients of each line or band."""
    if groups is None:
        if not 1 < n <= FEW:
            return {"": np.arange(n)}
        groups = [str(i) for i in range(n)] if names is None else [str(name) for name in names]
    found = list(dict.fromkeys(groups))
    if len(found) > FEW:
        raise InputError(f"over_time: {len(found)} groups cannot be told apart; give a column with {FEW} or fewer")
    given = np.asarray(groups)
    return {name: np.flatnonzero(given == name) for name in found}


def _known(values: Mapping[str, NDArray[np.float64]], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    return next(iter(values.values()))[rows]


def _group_name(by: str, value: Any) -> str:
    if by == "dose":
        return f"{value:g}"
    return f"{by} {value:g}" if isinstance(value, float) else f"{by} {value}"


def _line_name(patient: Any, dose: float, doses: bool) -> str:
    return f"id {patient}, {arm_title(f'{dose:g}')}" if doses else f"id {patient}"


def _value_axis(axis: Axes, drawn: NDArray[np.float64]) -> None:
    known = drawn[np.isfinite(drawn)]
    positive = known[known > 0]
    if positive.size and known.min() >= 0 and positive.max() > SPAN * positive.min():
        highest = float(positive.max())
        axis.set_yscale("log")
        axis.set_ylim(max(float(positive.min()) / 2, DEEPEST * highest), 2 * highest)
        axis.minorticks_off()
