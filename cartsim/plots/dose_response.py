"""Response and exposure against dose, as Figure 6b of Singh 2021."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cartsim.errors import InputError
from cartsim.plots import style
from cartsim.plots.pictures import Pictures, chosen

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cartsim.experiments.dose_response import DoseResponse


MARKS = {"NE": "x", "PD": "v", "SD": "s", "MR": "D", "PR": "o", "VGPR": "P", "CR": "^"}
DODGE = 1.06  # between neighboring categories, of the dose


def response_by_dose(
    responses: Mapping[str, pd.DataFrame],
    *,
    claimed: float | None = None,
    title: str = "",
    note: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Share of patients in each response category against dose with limits, as Figure 6b of Singh 2021.

    Parameters
    ----------
    responses
        By population, a table with columns dose (cells), landmark (months), category, percent, low, high, such as
        `DoseResponse.responses`; a row of panels a population, a column a landmark.
    claimed
        A threshold dose to mark with a dashed line; by default none.
    title, note
        Above and below.
    """
    if not responses or not all(len(table) for table in responses.values()):
        raise InputError("response_by_dose: nothing is given; give at least one population with one landmark")
    landmarks = sorted({month for table in responses.values() for month in table["landmark"]})
    figure, axes = style.panels(
        len(responses) * len(landmarks), ax=ax, width=4.6, height=3.1, columns=len(landmarks), sharex=True, sharey=True
    )
    # The color and mark of PR stand for the group that Singh 2021 calls so.
    responses = {k: table.replace({"category": {"MR-VGPR": "PR"}}) for k, table in responses.items()}
    drawn = {c for table in responses.values() for c in table.loc[table["percent"] > 0, "category"]}
    order = [name for name in style.CATEGORY_COLORS if name in drawn | {"PD", "SD", "PR", "CR"}]
    seen = set()
    cells = [(population, table, month) for population, table in responses.items() for month in landmarks]
    for axis, (population, table, month) in zip(axes, cells, strict=True):
        at = table[table["landmark"] == month]
        if at.empty:
            style.say_empty(axis)
            continue
        for category, own in at.groupby("category", sort=False):
            own = own[own["dose"] > 0].sort_values("dose")
            if category == "NE" and not own["percent"].any():
                continue
            seen.add(category)
            # Side by side, so that categories with the same share can both be seen.
            place = own["dose"] / 1e6 * DODGE ** (order.index(category) - (len(order) - 1) / 2)
            limits, color = style.reach(own["percent"], own["low"], own["high"]), style.CATEGORY_COLORS[category]
            pen: dict[str, Any] = {"fmt": MARKS[category], "ms": 3.5, "capsize": 1.5, "ls": "-", "lw": 1.0}
            axis.errorbar(place, own["percent"], yerr=limits, color=color, **pen)
        if claimed is not None:
            axis.axvline(claimed / 1e6, color=style.FAINT, ls="--", lw=1)
        style.dose_scale(axis)
        axis.set_ylim(-2, 102)
        axis.set_title(f"{population}, {month:g} months" if population else f"{month:g} months", fontsize=10)
    style.outer_labels(axes, style.DOSE, "Patients (%)")
    labels = style.CATEGORY_LABELS | style.FIGURE6_LABELS
    handles = [
        style.line(labels[name], color=style.CATEGORY_COLORS[name], marker=MARKS[name], ms=5, lw=1.0)
        for name in reversed(style.CATEGORY_COLORS)
        if name in seen
    ]
    if claimed is not None:
        said = f"threshold claimed in the paper, {claimed / 1e6:g} × 10⁶"
        handles.append(style.line(said, color=style.FAINT, ls="--", lw=1))
    return style.finish(figure, title or "Response against dose", handles, note=note, ax=ax)


def exposure_by_dose(
    exposures: Mapping[str, pd.DataFrame], *, title: str = "", note: str = "", ax: Axes | None = None
) -> Figure:
    """Median exposure against dose with the range of half and of nine tenths of the patients, a column a measure.

    Parameters
    ----------
    exposures
        By population, a table with columns dose (cells), measure, p5, p25, p50, p75, p95, such as
        `DoseResponse.exposure`; a row of panels a population. Of Tmax the mean is drawn, from mean_log.
    title, note
        Above and below.
    """
    if not exposures or not all(len(table) for table in exposures.values()):
        raise InputError("exposure_by_dose: nothing is given; give at least one population")
    measures = list(dict.fromkeys(m for table in exposures.values() for m in table["measure"]))
    figure, axes = style.panels(
        len(exposures) * len(measures), ax=ax, width=3.7, height=3.1, columns=len(measures), sharex=True
    )
    color = style.COLORS[0]
    cells = [(population, table, name) for population, table in exposures.items() for name in measures]
    for axis, (population, table, name) in zip(axes, cells, strict=True):
        at = table[(table["measure"] == name) & (table["dose"] > 0)].sort_values("dose")
        dose = at["dose"] / 1e6
        if name != "Tmax_day":
            axis.set_yscale("log")
            floor = at.loc[at["p5"] > 0, "p5"].min() / 2
            for low, high, alpha in (("p5", "p95", 0.15), ("p25", "p75", 0.3)):
                axis.fill_between(dose, at[low].clip(lower=floor), at[high], color=color, alpha=alpha, lw=0)
            axis.plot(dose, at["p50"], color=color, marker="o", ms=3.5, lw=1.6)
        else:
            # Days of visits: percentiles jump from one to the next, so that lines through them would zigzag.
            for low, high, width in (("p5", "p95", 1.2), ("p25", "p75", 4.0)):
                axis.vlines(dose, at[low], at[high], color=color, alpha=0.45, lw=width)
            axis.plot(dose, np.exp(at["mean_log"]), color=color, marker="o", ms=3.5, lw=1.6)
            axis.set_ylim(bottom=0)
        style.dose_scale(axis)
        title_of = style.quantity_title(name)
        axis.set_title(f"{population}: {title_of}" if population else title_of, fontsize=9)
    style.outer_labels(axes, style.DOSE)
    said = "Line: median (of Tmax, a day of sampling, the geometric mean); bands or bars: the middle half and 90 %"
    return style.finish(figure, title or "Exposure against dose", note=f"{said} of the patients. {note}", ax=ax)


class DoseResponsePictures(Pictures):
    """Pictures of response and exposure against dose."""

    usual = "response"
    _result: DoseResponse

    def response(
        self, landmark: float | None = None, *, claimed: float | None = None, ax: Axes | None = None
    ) -> Figure:
        """Share of patients in each response category against dose, a panel a landmark, and where the plateau begins.

        Parameters
        ----------
        landmark
            Its month; by default all.
        claimed
            A threshold dose to mark with a dashed line; by default the one that was claimed for the model, if any was.
        """
        found = self._result
        table = chosen(found.responses, "landmark", landmark, "landmark")
        verdicts = ", ".join(
            f"month {month:g}: plateau {p.text()}" for month, p in found.plateaus.items() if landmark in (None, month)
        )
        note = f"As observed (NE: no assessment). Whiskers: 95 % Wilson limits. {verdicts[:1].upper()}{verdicts[1:]}."
        return response_by_dose({"": table}, claimed=claimed or found.claimed, note=note, ax=ax)

    def exposure(self, measure: str | None = None, *, ax: Axes | None = None) -> Figure:
        """Median exposure against dose with the middle half and nine tenths of the patients, a panel a measure.

        Parameters
        ----------
        measure
            "Cmax", "Tmax_day" or "AUC0-28"; by default all.
        """
        found = self._result
        table = chosen(found.exposure, "measure", measure, "measure")
        slopes = ", ".join(f"{row.measure} ~ dose^{row.exponent:.3f}" for row in found.slopes.itertuples())
        return exposure_by_dose({"": table}, note=f"As sampled. Within patients: {slopes}.", ax=ax)
