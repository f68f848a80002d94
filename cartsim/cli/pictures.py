"""The pictures of a trial's outcome."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cartsim.trial.outcome import TrialResult

PICTURES = ("kinetics.png", "biomarkers.png", "spider.png", "responses.png", "pfs.png")


def draw(outcome: TrialResult, folder: Path) -> None:
    """Write PICTURES: kinetics and biomarkers by dose, spider plot, response bars and Kaplan-Meier curves."""
    from cartsim import plots

    arms = outcome.arms
    rows = {arm: outcome.patients[outcome.patients["arm"] == arm] for arm in arms}
    outputs = ("transgene", "mprotein_change", "sbcma_change")
    curves = {name: {arm: outcome.curves[arm].values[name] for arm in arms} for name in outputs}
    times = outcome.curves[arms[0]].times
    best = {arm: rows[arm]["best"].to_numpy()[: len(curves["mprotein_change"][arm])] for arm in arms}
    markers = {"Serum M-protein": curves["mprotein_change"], "Soluble BCMA": curves["sbcma_change"]}
    landmarks = {
        f"{month:g} months": {arm: rows[arm][f"month_{month:g}"].to_numpy() for arm in arms}
        for month in outcome.protocol.visits.landmarks
    }
    figures: dict[str, Callable[[], Any]] = {
        "kinetics.png": lambda: plots.transgene(times, curves["transgene"], lloq=outcome.protocol.rules.lloq),
        "biomarkers.png": lambda: plots.marker_change(times, markers),
        "spider.png": lambda: plots.spider(times, curves["mprotein_change"], best),
        "responses.png": lambda: plots.response_bars(landmarks),
        "pfs.png": lambda: plots.kaplan_meier({arm: outcome.survival(arm=arm) for arm in arms}),
    }
    for name in PICTURES:
        plots.save(figures[name](), folder / name)
