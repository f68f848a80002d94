"""Outputs of a simulation over time: a line a patient, or bands of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError
from cartsim.plots import style
from cartsim.plots.pictures import Pictures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.simulation import Simulation

FEW = 8  # patients, or groups of them, that are drawn as lines
SPAN = 50.0  # ratio of highest to lowest from which an axis is logarithmic
DEEPEST = 1e-9  # of the highest value: a logarithmic axis does not go below


class SimulationPictures(Pictures):
    """Pictures of a simulation."""

    usual = "over_time"
    _result: Simulation

    def over_time(
        self, outputs: str | Sequence[str] | None = None, *, by: str | None = None, ax: Axes | None = None
    ) -> Figure:
        """Outputs over time: a line for each of few patients, median and 5–95 % bands of many.

        An axis is logarithmic where no value is negative and they span far.

        Parameters
        ----------
        outputs
            Names of one or more; by default all that were read.
        by
            A column of `Simulation.patients`, such as "dose": medians of its groups, up to eight.

        Raises
        ------
        InputError
            For outputs and columns that are not there, and more groups than can be told apart.
        """
        run, days = self._result, self._result.model.time == "day"
        names = [outputs] if isinstance(outputs, str) else list(run.keys() if outputs is None else outputs)
        t, values = style.matrices("over_time", run.times, {name: run[name] for name in names})
        members = _members(run, by)
        per, shown = style.time_unit(t[-1]) if days else (1.0, style.times_called(run.model.time))
        root = shown == "months"
        pens = style.arm_pens(members, dict.fromkeys(members, style.COLORS[0]) if len(members) == 1 else None)
        figure, axes = style.panels(len(values), ax=ax, width=3.9, height=2.9, columns=3, sharex=True)
        for axis, (output, rows) in zip(axes, values.items(), strict=True):
            drawn = []
            for name, own in members.items():
                band = style.percentiles(rows[own], style.LEVELS)
                if len(members) == 1 and len(own) > 1:
                    style.draw_bands(axis, t / per, band, style.COLORS[0])
                else:
                    band = band[2:3]
                    axis.plot(t / per, band[0], **pens[name])
                drawn.append(band.ravel())
            _value_axis(axis, np.concatenate(drawn))
            if days:
                style.time_axis(axis, t[-1] / per, shown, root=root)
            else:
                axis.set_xlim(0, t[-1] or 1.0)
            axis.set_ylabel(style.label_with_unit(output, (run.model.outputs | run.model.states)[output].unit))
        style.outer_labels(axes, f"Time ({shown}{', square-root scale' if root else ''})")
        handles = style.band_handles() if len(members) == 1 and len(run) > 1 else []
        for name, own in members.items() if len(members) > 1 else ():
            n = "" if len(own) == 1 else f", {style.count(values[names[0]][own])}"
            handles.append(style.line(f"{style.arm_title(name)}{n}", **pens[name]))
        who = "typical values" if len(run) == 1 else f"{len(run):,} patients"
        return style.finish(figure, f"{run.model.name}: {who}", handles, ax=ax)


def _members(run: Simulation, by: str | None) -> dict[str, NDArray[np.int64]]:
    """Rows of the patients of each line or band, by its name."""
    if by is not None:
        if by not in run.patients:
            raise InputError(f"no column {by!r} to group by; choose one of {', '.join(run.patients)}")
        groups = [_group_name(by, value) for value in run.patients[by]]
    elif 1 < len(run) <= FEW:
        doses = run.given["dose"].nunique() > 1
        rows = run.patients.itertuples()
        groups = [f"id {row.id}, {style.arm_title(f'{row.dose:g}')}" if doses else f"id {row.id}" for row in rows]
    else:
        return {"": np.arange(len(run))}
    names = list(dict.fromkeys(groups))
    if len(names) > FEW:
        raise InputError(f"over_time: {len(names)} groups cannot be told apart; give a column with {FEW} or fewer")
    return {name: np.flatnonzero(np.asarray(groups) == name) for name in names}


def _group_name(by: str, value: Any) -> str:
    if by == "dose":
        return f"{value:g}"
    return f"{by} {value:g}" if isinstance(value, float) else f"{by} {value}"


def _value_axis(axis: Axes, drawn: NDArray[np.float64]) -> None:
    known = drawn[np.isfinite(drawn)]
    positive = known[known > 0]
    if positive.size and known.min() >= 0 and positive.max() > SPAN * positive.min():
        highest = float(positive.max())
        axis.set_yscale("log")
        axis.set_ylim(max(float(positive.min()) / 2, DEEPEST * highest), 2 * highest)
        axis.minorticks_off()
