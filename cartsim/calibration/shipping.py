"""A calibration made into a population to be used by its name: fewer draws, and all that says where it is from."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cartsim.calibration.calibration import Calibration
from cartsim.calibration.prediction import Prediction
from cartsim.errors import InputError, brief, check_count
from cartsim.population.stored import StoredPopulation, save_population

DRAWS = 400


def ship(
    calibration: Calibration,
    path: str | Path,
    *,
    title: str,
    purpose: str,
    limits: str,
    command: str,
    predictions: Sequence[Prediction] = (),
    draws: int = DRAWS,
) -> StoredPopulation:
    """Write the population of a calibration, as `cartsim.population` reads it.

    Parameters
    ----------
    calibration
        That has converged.
    path
        A .toml file, which is the name of the population; ``models/populations/NAME.toml`` for one that is to come with
        cartsim.
    title, purpose, limits
        What it is, what it is for, and what it is not for.
    command
        That made the calibration.
    predictions
        Of trials by this population, whose scores are written too.
    draws
        How many of the posterior's are kept, chosen at random by the seed of the calibration.

    Raises
    ------
    InputError
        For a calibration that has not converged, more draws than it has, and as `save_population`.
    """
    if not calibration.converged:
        raise InputError(f"the calibration has not converged ({calibration.said}); go on with it before it is shipped")
    population, many = calibration.population, check_count(draws, f"{brief(draws)} draws")
    known = population.draws
    if known is None or len(known) < many:
        raise InputError(f"{many} draws of a calibration that has {0 if known is None else len(known)}; ask for fewer")
    rng = np.random.default_rng(population.seed)
    chosen = known.iloc[np.sort(rng.choice(len(known), many, replace=False))].reset_index(drop=True)
    made, frame, rows = calibration.made_by, calibration.frame, calibration.rows
    provenance = {
        "made": datetime.date.today().isoformat(),
        "command": command,
        "cartsim": made["cartsim"],
        "trials": dict(made["trials"]),
        "protocol_digest": made["protocol_digest"],
        "sampling": calibration.said,
        "largest_R_hat": float(frame["R_hat"].max()),
        "smallest_effective_size": float(frame["effective"].min()),
        "identified": frame.loc[frame["informed"] == "identified", "estimate"].tolist(),
        "not_identified": frame.loc[frame["informed"] == "not", "estimate"].tolist(),
    }
    scores: dict[str, Any] = {}
    for name, own in rows[rows["role"] == "fit"].groupby("trial", sort=False):
        limited = own["within"].dropna().astype(bool)
        scores[f"fitted {name}"] = {"medians_within_published_limits": int(limited.sum()), "rows": len(limited)}
    for each in predictions:
        every = each.compare().set_index("kind").loc["all"]
        scores[f"predicted {each.trial.name}"] = {
            "published_values_in_90_percent_limits": int(every["cover"]),
            "rows": int(every["rows"]),
            "interval_score": float(every["interval_score"]),
            "log_score": float(every["log_score"]),
        }
    return save_population(
        path,
        replace(population, sampler="random", draws=chosen),
        title=title,
        purpose=purpose,
        limits=limits,
        provenance=provenance,
        scores=scores,
    )
