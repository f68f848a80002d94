"""Expansion, contraction and persistence: the phases of a CAR-T curve, and results along time by phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.errors import InputError
from cartsim.model.model import Model
from cartsim.regimen import Regimen
from cartsim.sensitivity.endpoint import Function
from cartsim.simulation import simulate

if TYPE_CHECKING:
    import pandas as pd


def phases(times: ArrayLike, curve: ArrayLike) -> dict[str, tuple[float, float]]:
    """Expansion, contraction and persistence of a typical curve of CAR-T cells, by their first and last times.

    times (m,), curve (m,) above 0. Expansion runs from where the curve first rises to its highest value after
    that. Contraction then runs to the sharpest bend of its logarithm, where the fast decline of effectors
    gives way to the slow one of memory cells; persistence is the rest. The paper names these phases without
    days. Raises `InputError` for a curve that never rises or does not bend.
    """
    t, y = np.asarray(times, float), np.asarray(curve, float)
    if t.ndim != 1 or t.shape != y.shape or not np.isfinite(y).all() or (y <= 0).any():
        raise InputError("phases need times (m,) and a curve (m,) of finite values above 0")
    rises = np.flatnonzero(np.diff(y) > 0)
    if rises.size == 0:
        raise InputError("the curve never rises, so it has no expansion; read it from day 1 on, or treat it")
    start = rises[0]
    top = start + int(np.argmax(y[start:]))
    slope = np.diff(np.log(y[top:])) / np.diff(t[top:])
    middle = (t[top + 1 :] + t[top:-1]) / 2
    if slope.size < 2 or (bend := np.diff(slope) / np.diff(middle)).max() <= 0:
        raise InputError("the curve does not bend after its peak, so it has no persistence; read it for longer")
    end = top + 1 + int(np.argmax(bend))
    return {
        "expansion": (float(t[start]), float(t[top])),
        "contraction": (float(t[top]), float(t[end])),
        "persistence": (float(t[end]), float(t[-1])),
    }


def typical(
    model: str | Path | Model,
    dose: float | Regimen | None = None,
    *,
    output: str = "transgene",
    until: float = 360.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times and curve (m,) of the typical patient, dense enough for `phases`."""
    times = np.arange(0.25, until + 0.125, 0.25)
    return times, simulate(model, dose, times, [output])[output][0]


@dataclass(frozen=True)
class Course:
    """The typical patient's ``curve`` of an output at ``times``, dense enough for a line, and ``phases`` to read it by.

    ``note`` says why the phases of CAR-T cells are not marked where the model has such cells.
    """

    times: NDArray[np.float64]
    curve: NDArray[np.float64]
    phases: dict[str, tuple[float, float]]
    note: str = ""


def course(function: Function) -> Course:
    """The course of an endpoint that is a curve of a model, with the phases of the model's CAR-T cells.

    Only phases in which the endpoint is read at least twice; the whole time where there are none.
    """
    assert function.model is not None
    assert function.times is not None
    model, read, note = function.model, function.times, ""
    found: dict[str, tuple[float, float]] = {}
    if "transgene" in model.outputs:
        try:
            found = phases(*typical(model, function.dose, until=read[-1]))
        except InputError as problem:
            note = f"no phases are marked: {problem}"
    marked = {name: (a, b) for name, (a, b) in found.items() if ((read >= a) & (read <= b)).sum() > 1}
    times, curve = typical(model, function.dose, output=function.name, until=read[-1])
    return Course(times, curve, marked or {"whole time": (float(read[0]), float(read[-1]))}, note)


def by_phase(table: pd.DataFrame, phases: Mapping[str, tuple[float, float]]) -> pd.DataFrame:
    """Means over each phase, weighted by time, of the columns of a result along time.

    table: of `Indices` or `local`, with ``parameter`` and ``time``. Returns ``phase``, ``parameter`` and the
    same columns; readings without any value are passed over. Means of limits are limits of the mean that are
    wider than need be. Raises `InputError` for a phase with fewer than two readings or a table that is not
    along time.
    """
    import pandas as pd

    if "time" not in table:
        raise InputError("this result is not along time; ask for an output's curve, such as transgene")
    columns = [name for name in table.columns if name not in ("parameter", "time")]
    rows = []
    for phase, (start, end) in phases.items():
        part = table[table["time"].between(start, end)].dropna(subset=columns, how="all")
        for parameter, own in part.groupby("parameter", sort=False):
            if len(own) < 2:
                raise InputError(f"{phase}, {start:g} to {end:g}, holds {len(own)} of the times; read more often")
            days = own["time"].to_numpy()
            means = np.trapezoid(own[columns].to_numpy(), days, axis=0) / (days[-1] - days[0])
            rows.append({"phase": phase, "parameter": parameter} | dict(zip(columns, means, strict=True)))
    return pd.DataFrame(rows)
