"""Figure S1: which kinetic parameters decide the transgene in which phase."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cartsim.model.reader import load
from cartsim.paper.drawn import Drawn, art, paragraphs
from cartsim.plots.kinetics import TRANSGENE
from cartsim.sensitivity.endpoint import endpoint
from cartsim.sensitivity.indices import sobol
from cartsim.sensitivity.phases import by_phase, phases, typical
from cartsim.sensitivity.ranges import ranges

if TYPE_CHECKING:
    import pandas as pd

KINETIC = ("Kexp_max", "EC50_exp", "Rm", "Kel_e", "Kel_m", "K12", "K21")
FACTOR = 2.0
BASE = 512  # samples of Sobol's method
DAYS = np.concatenate([np.arange(1, 15), np.arange(16, 30, 2), np.arange(32, 61, 4), np.arange(75, 361, 15)])


def figure_s1(seed: int = 2021) -> Drawn:
    """Sobol indices of the transgene along time, in the phases of expansion, contraction and persistence.

    The frame holds a row for each parameter and day: first and total order indices with 95 % limits. Raises
    `InputError` without SALib (cartsim[sensitivity]).
    """
    model = load("bb2121_clinical")
    box = ranges(model, KINETIC, "factor", factor=FACTOR)
    found = sobol(endpoint(model, "transgene", times=DAYS), box, BASE, seed=seed)
    marked = phases(*typical(model))
    figure = art(found.plot.over_time(phases=marked, named=KINETIC, note=""))
    figure.axes[0].set_ylabel(f"Typical patient\n{TRANSGENE}")
    return Drawn(figure, found.table, _caption(by_phase(found.table, marked), marked, len(found.samples), seed))


def _caption(means: pd.DataFrame, marked: dict[str, tuple[float, float]], runs: int, seed: int) -> str:
    said = []
    for phase, rows in means.groupby("phase", sort=False):
        first = rows.sort_values("total", ascending=False).head(4)
        listed = ", ".join(f"{row.parameter} {row.total:.2f}" for row in first.itertuples())
        start, end = marked[str(phase)]
        said.append(f"{phase} (days {start:.0f} to {end:.0f}) {listed}")
    total = means.set_index(["parameter", "phase"])["total"]
    shift = "; ".join(
        f"{name} {total[name, 'expansion']:.3f} in expansion, {total[name, 'persistence']:.3f} in persistence"
        for name in ("Kel_e", "Rm", "Kel_m")
    )
    return paragraphs(
        f"""Figure S1. Sobol indices of the logarithm of the transgene in blood along time: the share of its variance
        that each parameter of the cell kinetics explains alone (first order) and with others (total order), with 95 %
        limits, above it the typical patient. Model bb2121_clinical, 450 × 10⁶ cells; each parameter from its published
        value divided by {FACTOR:g} to {FACTOR:g} times that, {runs:,} simulations, seed {seed}. The paper's ranges
        are in its supporting information; these are assumed, and so are the phases' limits: peak and sharpest bend of
        the typical curve.""",
        f"Total order, mean over each phase, the largest first: {'; '.join(said)}.",
        f"""As in the paper, Kel_e matters more while cells expand, Rm and Kel_m while they persist: {shift}. Where the
        model differs: none of the three leads its phase by these means; the expansion parameters and K21 do.""",
    )
