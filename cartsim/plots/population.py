"""Population estimates along the iterations of their estimation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cartsim.errors import InputError
from cartsim.plots.style import FAINT, INK, heading, outer_labels, panels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

KINDS = {"typical": "", "omega": "omega ", "correlation": "correlation ", "sigma": "sigma "}


def convergence(trace: pd.DataFrame, estimates: pd.DataFrame) -> Figure:
    """Every estimate at every iteration of SAEM, with the final estimate and its 95 % limits.

    trace, estimates: `PopulationFit.trace` and `PopulationFit.table`. Raises `InputError` where they do not fit.
    """
    names = [KINDS[kind] + name for kind, name in zip(estimates["kind"], estimates["name"], strict=True)]
    for name in names:
        if name not in trace:
            raise InputError(f"convergence: the trace has no column {name!r}")
    moved = [trace[name].nunique() > 1 for name in names]  # what was held needs no panel
    figure, axes = panels(sum(moved), width=2.7, height=1.9, sharex=True)
    changed = float(trace.loc[trace["phase"] == "smooth", "iteration"].min())
    rows = estimates.assign(name=names)[moved]
    for axis, row in zip(axes, rows.itertuples(), strict=True):
        axis.axhspan(row.low, row.high, color=FAINT, alpha=0.18, lw=0)
        axis.axhline(row.value, color=FAINT, lw=0.9)
        axis.plot(trace["iteration"], trace[row.name], color=INK, lw=1.0)
        axis.axvline(changed, color=FAINT, lw=0.8, ls=":")
        axis.set_title(row.name, fontsize=9)
    outer_labels(axes, "Iteration", "")
    heading(figure, "Estimates along the iterations of SAEM (gray: final, with 95 % limits; dotted: averaging begins)")
    return figure
