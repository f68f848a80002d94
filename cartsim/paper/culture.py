"""Figure 2a: viability of six cell lines after 4 hours with CAR-T cells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cartsim.model.reader import load
from cartsim.paper.drawn import Drawn, observations, paragraphs
from cartsim.plots import style
from cartsim.population.patients import Patients
from cartsim.simulation import simulate

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

HOURS = 4.0
RATIOS = np.unique(np.round(np.concatenate([np.geomspace(1, 10, 41), [1, 2, 4, 10]]), 6))  # those of the assay
WELLS = (50.0, 100.0, 200.0)  # uL: usual in 96-well plates, the middle one the model's own
COLOR = "#0072B2"


def figure_2a(data: str | Path | None = None) -> Drawn:
    """Viability against effector to target ratio, the band of Kkill_max's variability, and the wells' volumes.

    ``data`` is a CSV file of measured viability, columns line, ET and viability (percent).

    The frame holds a row for each line, volume (MV, uL), ratio (ET) and percentile of Kkill_max, with
    viability and cytolysis in percent at 4 hours; measured points have no MV and no percentile.
    """
    import pandas as pd

    model = load("bb2121_invitro")
    lines = model.variants
    seen = None if data is None else observations(data, {"line": tuple(lines)}, ("ET", "viability"))
    table = _simulated()
    figure = _picture(table, seen, {line: own.values["Ag_tumor"] for line, own in lines.items()})
    iiv = model.parameters["Kkill_max"].iiv
    assert iiv is not None  # the model file has it
    caption = _caption(table, iiv.omega)
    if seen is not None:
        seen = seen.assign(cytolysis=100 - seen["viability"], source="observed")
        table = pd.concat([table, seen], ignore_index=True)
    return Drawn(figure, table, caption)


def _simulated() -> pd.DataFrame:
    """Every line, ratio, volume and percentile as a patient of one simulation."""
    import pandas as pd
    from scipy.special import ndtri

    model = load("bb2121_invitro")
    kill = model.parameters["Kkill_max"]
    assert kill.value is not None
    assert kill.iiv is not None
    usual = model.parameters["MV"].value
    # Viability only falls with Kkill_max, so its percentiles are those at the percentiles of Kkill_max.
    curves = [(volume, 50) for volume in WELLS] + [(usual, level) for level in style.LEVELS if level != 50]
    rows = [
        {"line": line, **own.values, "MV": volume, "percentile": level, "ET": ratio}
        for line, own in model.variants.items()
        for volume, level in curves
        for ratio in RATIOS
    ]
    table = pd.DataFrame(rows)
    table["Kkill_max"] = kill.value * np.exp(kill.iiv.omega * ndtri(table["percentile"] / 100))
    wells = Patients(model, table.drop(columns=["line", "percentile"]))
    run = simulate(wells, times=[HOURS], outputs=["viability", "cytolysis"])
    return table.assign(viability=run["viability"][:, 0], cytolysis=run["cytolysis"][:, 0], source="simulated")


def _picture(table: pd.DataFrame, seen: pd.DataFrame | None, antigen: dict[str, float]) -> Figure:
    figure, axes = style.panels(len(antigen), columns=3, height=2.6, sharex=True, sharey=True)
    for axis, (line, receptors) in zip(axes, antigen.items(), strict=True):
        rows = table[table["line"] == line]

        curves = {key: own["viability"].to_numpy() for key, own in rows.groupby(["MV", "percentile"])}
        small, usual, large = WELLS
        style.draw_bands(axis, RATIOS, np.stack([curves[usual, level] for level in style.LEVELS]), COLOR)
        axis.plot(RATIOS, curves[small, 50], color=style.INK, lw=1, ls=":")
        axis.plot(RATIOS, curves[large, 50], color=style.INK, lw=1, ls="--")
        if seen is not None:
            points = seen[seen["line"] == line]
            axis.plot(points["ET"], points["viability"], "o", color=style.INK, ms=4, mec="white", mew=0.5)
        axis.set_title(f"{line}, {receptors:,.0f} BCMA/cell", fontsize=10)
    axes[0].set_xscale("log")
    axes[0].set_xticks([1, 2, 4, 10], ["1:1", "2:1", "4:1", "10:1"])
    axes[0].minorticks_off()
    given = RATIOS if seen is None else np.append(RATIOS, seen["ET"])
    axes[0].set_xlim(given.min() / 1.04, given.max() * 1.04)
    axes[0].set_ylim(0, 103)
    style.outer_labels(axes, "Effector to target ratio (E:T)", "Viability at 4 h\n(% of cells alone)")
    handles = [
        style.line("typical value, well of 100 µL", color=COLOR, lw=1.8),
        *style.band_handles(COLOR)[1:],
        style.line("50 µL", color=style.INK, lw=1, ls=":"),
        style.line("200 µL", color=style.INK, lw=1, ls="--"),
    ]
    if seen is not None:
        handles.append(style.line("observed", color=style.INK, ls="", marker="o", ms=4))
    style.legend_below(figure, handles)
    return figure


def _caption(table: pd.DataFrame, omega: float) -> str:
    typical = table[table["percentile"] == 50].pivot(index=["line", "ET"], columns="MV", values="cytolysis")
    small, own, large = (typical[volume].unstack("ET") for volume in WELLS)
    spread = []
    for line in table["line"].unique():
        gain, loss = ((x.loc[line] - y.loc[line]).max() for x, y in ((small, own), (own, large)))
        spread.append(f"{line} +{gain:.1f}/−{loss:.1f}")
    return paragraphs(
        f"""Figure 2a. Tumor cells alive after {HOURS:g} hours with CAR-T cells, as percent of those in a well
        without CAR-T cells (cytolysis is 100 minus that), by effector to target ratio and cell line, in order of
        BCMA receptors per cell. Model bb2121_invitro with the published values, nothing fitted.""",
        f"""Lines: one Kkill_max for all cell lines. Bands: its variability (log-normal, omega {omega:g}). The paper
        estimated that variability between the cell lines, because killing did not follow receptor density; so what
        was observed of a line is to be looked for within its band, not on the line drawn.""",
        f"""Well volume: not published. The lines are for {WELLS[1]:g} µL, dotted for {WELLS[0]:g} and dashed for
        {WELLS[-1]:g} µL; only cells per volume matters. From E:T 1 to 10, {WELLS[0]:g} µL in place of
        {WELLS[1]:g} µL raises and {WELLS[-1]:g} µL lowers cytolysis by at most (percentage points):
        {"; ".join(spread)}.""",
    )
