"""Figures 5a and 5b: patients fitted to their response categories, and their progression-free survival."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cartsim.paper.drawn import Drawn, paragraphs
from cartsim.plots.individual import fitted_survival, response_fits

if TYPE_CHECKING:
    from cartsim.fitting.individual import IndividualFits

MODEL, EXAMPLE = "bb2121_clinical", "crb401_synthetic"


def figure_5a(data: str | Path | None = None) -> Drawn:
    """Fitted M-protein over the bands of the observed categories, of a patient for each best response.

    ``data`` is a CSV file of observations as `cartsim.fitting.observations` describes it; by default the packaged
    synthetic patients.

    The frame holds the fitted curves (source "fitted": percent change a day) and the assessments (source
    "observed": category, limits in percent of what it stands for, and the fit's category and change).
    """
    import pandas as pd

    from cartsim.fitting.individual import fit_individuals

    fits = fit_individuals(MODEL, EXAMPLE if data is None else data)
    shown = fits.representatives()
    categories = fits.categories[fits.categories["id"].isin(shown)]
    days = np.arange(0.0, fits.data.last_day() + 1)
    run = fits.curves(days, ["mprotein_change"])
    doses = fits.data.table["dose"].to_numpy()
    figure = response_fits(days, run["mprotein_change"], run.ids, categories, doses=doses, shown=shown)
    curves = run.frame[["id", "time", "mprotein_change"]].rename(columns={"time": "day", "mprotein_change": "change"})
    curves = curves[curves["id"].isin(shown)].assign(source="fitted")
    seen = categories.rename(columns={"time": "day"}).assign(source="observed")
    table = pd.concat([curves, seen], ignore_index=True)
    agreement = fits.patients["agreement"].to_numpy()
    return Drawn(
        figure,
        table,
        paragraphs(
            f"""Figure 5a. M-protein of {len(shown)} of {len(run.ids)} patients, one for each best response, the one
            with the most assessments, not the one that fits best. Bars: what each observed category stands for;
            line: the patient's fit (MAP, interval-censored, the population's variability as prior; model
            {MODEL}). {_progression(fits)}""",
            _whose(data),
            f"""Over all patients the fit has the observed category in {100 * np.nanmean(agreement):.0f} % of the
            assessments (mean over patients; worst patient {100 * np.nanmin(agreement):.0f} %).""",
            *fits.warnings,
        ),
    )


def figure_5b(data: str | Path | None = None) -> Drawn:
    """Progression-free survival observed and of the individual fits, by dose group.

    ``data`` is as for `figure_5a`. The frame holds the Kaplan-Meier steps (months) of each group, observed and fitted.
    """
    import pandas as pd

    from cartsim.fitting.individual import fit_individuals

    fits = fit_individuals(MODEL, EXAMPLE if data is None else data)
    curves = fits.survival()
    steps = {key: curve.frame() for key, curve in curves.items()}
    table = pd.concat(steps, names=["group", "kind"]).reset_index(["group", "kind"]).reset_index(drop=True)
    return Drawn(fitted_survival(curves), table, _survival_caption(fits, data))


def _survival_caption(fits: IndividualFits, data: str | Path | None) -> str:
    pfs = fits.pfs_table()
    both = pfs["observed_event"] & pfs["fitted_event"]
    apart = (pfs["fitted_time"] - pfs["observed_time"])[both].abs()
    small = (fits.data.table["dose"] < 150e6).sum()
    return paragraphs(
        f"""Figure 5b. Progression-free survival of {len(pfs)} patients by dose group, observed (solid) and of their
        individual fits (dashed), Kaplan-Meier. An event is the first assessment in progressive disease; ticks are
        patients censored at their last assessment. {_progression(fits)} Model {MODEL}.""",
        _whose(data),
        f"""{pfs["observed_event"].sum()} patients progressed and {pfs["fitted_event"].sum()} of the fits do,
        {both.sum()} of them both{f", {apart.median():.0f} days apart in the median" if both.any() else ""}. The group
        of lower doses has {small} patients: its curve says little.""",
        *fits.warnings,
    )


def _progression(fits: IndividualFits) -> str:
    rules = fits.data.rules
    above = "lowest value so far" if rules.progression == "nadir" else "baseline"
    least = f" and {rules.pd_absolute:g} g/L" if rules.pd_absolute else ", however small in g/L"
    return f"Progressive disease is a rise by {rules.bins.pd:g} % above the {above}{least}."


def _whose(data: str | Path | None) -> str:
    if data is not None:
        return f"Data: {Path(data).name}."
    return """Data: the packaged synthetic patients, simulated with this model at doses like those of the first bb2121
    trial; no real patient is shown, and agreement with the published curves is not to be expected."""
