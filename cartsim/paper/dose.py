"""Figures 4 and 6b: what dose and tumor burden do, in the typical patient and in virtual patients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cartsim.experiments.dose_response import dose_response, with_burden
from cartsim.experiments.sweep import Sweep, expansion_note, sweep
from cartsim.paper.drawn import Drawn, art, paragraphs
from cartsim.paper.patients import progressed_with_extinction
from cartsim.plots.dose_response import response_by_dose
from cartsim.plots.sweep import FIGURE4, contours

if TYPE_CHECKING:
    import pandas as pd

DOSES = np.linspace(50e6, 800e6, 31)  # cells
BURDENS = np.linspace(5, 95, 31)  # percent of marrow plasma cells
PATIENTS = 1000
POPULATIONS = {"burden 50 %": "fixed", "burden as in KarMMa": "karmma"}


def figure_4() -> Drawn:
    """Cmax, Tmax, and the greatest falls of soluble BCMA and M-protein over dose and tumor burden.

    The frame holds a row for each dose (cells) and burden (percent), with these four.
    """
    found = sweep("bb2121_clinical", {"dose": DOSES, "burden": BURDENS})
    figure = contours(found.table, "dose", "burden", FIGURE4)
    return Drawn(art(figure, "abcd"), found.table[["dose", "burden", *FIGURE4]], _contours_caption(found))


def _contours_caption(found: Sweep) -> str:
    cmax, tmax = found.grid("Cmax"), found.grid("Tmax")
    by_dose = cmax.max(axis=0) / cmax.min(axis=0)
    by_burden = cmax.max(axis=1) / cmax.min(axis=1)
    usual = tmax[:, BURDENS >= 20]
    return paragraphs(
        """Figure 4. Peak of the transgene in blood (a), its day (b), and the greatest falls within half a year of
        soluble BCMA (c) and serum M-protein (d) over dose and tumor burden at baseline. Model bb2121_clinical, the
        typical patient, published values; 50 % burden is taken as 2.5 × 10⁹ tumor cells/L of marrow.""",
        f"""As in the paper, burden sets the peak: across burdens of {BURDENS[0]:g} to {BURDENS[-1]:g} % Cmax differs
        {by_burden.min():,.0f} to {by_burden.max():,.0f} fold, across doses of {DOSES[0] / 1e6:g} to
        {DOSES[-1] / 1e6:g} × 10⁶ cells no more than {by_dose.max():.1f} fold. From 20 % burden on the peak lies on days
        {usual.min():.0f} to {usual.max():.0f}, below that later. Both falls grow with burden and saturate; with dose
        they hardly change.""",
        f"""At low burden: {expansion_note("bb2121_clinical", burden=float(BURDENS[0]))}""",
    )


def figure_6b(seed: int = 2021) -> Drawn:
    """Share of virtual patients in each response category at 6 and 21 months against dose, with two burdens.

    The frame holds a row for each population, dose (cells), landmark (months) and category, in percent with
    Wilson limits.
    """
    import pandas as pd

    found = {
        shown: dose_response(with_burden("bb2121_clinical", burden, seed=seed), n=PATIENTS)
        for shown, burden in POPULATIONS.items()
    }
    responses = {shown: each.responses for shown, each in found.items()}
    claimed = next(iter(found.values())).claimed
    table = pd.concat(responses, names=["population"]).reset_index("population").reset_index(drop=True)
    said = [f"With {shown}: {each.threshold()}." for shown, each in found.items()]
    figure = response_by_dose(responses, claimed=claimed)
    return Drawn(art(figure, ("b1", "b2", "b3", "b4")), table, _response_caption(table, said, seed))


def _response_caption(table: pd.DataFrame, said: list[str], seed: int) -> str:
    progressed = table[table["category"] == "PD"].groupby("landmark")["percent"].max()
    most = ", ".join(f"{percent:.1f} % at {month:g} months" for month, percent in progressed.items())
    extinct = progressed_with_extinction((10e6, 150e6, 1000e6), seed, PATIENTS)
    return paragraphs(
        f"""Figure 6b. Shares of {PATIENTS} virtual patients by M-protein against baseline at 6 and 21 months, with 95 %
        limits: progressive disease (above +25 %), stable disease, response (MR, PR or VGPR), complete response (below
        −99 %). Model bb2121_clinical with its published variability, seed {seed}; the same patients at every dose.
        Above (b1, b2), 50 % plasma cells in the marrow of everybody; below (b3, b4), a burden that differs as in
        KarMMa (its median is published, its spread assumed). Categories are drawn side by side at each
        dose, so that equal shares can both be seen. Dashed line: the threshold dose that the paper names.""",
        "Where the model differs from the paper's account.",
        *said,
        f"""Progressive disease: {most} at most; the paper has it in more patients at 21 than at 6 months. In the
        published equations effectors expand again, from far less than one cell, before M-protein is well above
        baseline. With pools below one cell taken as gone and 50 % burden, {"/".join(f"{x:.1f}" for x in extinct)} % are
        progressive at 21 months after 10/150/1000 × 10⁶ cells.""",
    )
