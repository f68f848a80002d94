"""What was published of the doses of a trial, to stand beside what is simulated of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cartsim.trial.published import PublishedTrial, published
from cartsim.trial.trial import Arm, Trial

if TYPE_CHECKING:
    import pandas as pd

TRIALS = {"bb2121_clinical": ("karmma", "crb401")}
"""Trials of the product of a model, by the model's name."""

_SHOWN = {"ORR": ("ORR", "share"), "CR": ("CR", "share"), "PFS_months": ("PFS", "KM median")}
"""Endpoint and statistic of each column."""


def published_beside(trial: Trial, trials: Sequence[str | PublishedTrial] | None = None) -> pd.DataFrame:
    """Published results of the arms that a published trial had too: one infusion of the same dose.

    Parameters
    ----------
    trial
        Whose arms are looked for.
    trials
        Names or files of published trials; by default those of the model's product, of which there may be none.

    Returns
    -------
    pandas.DataFrame
        A row an arm and published trial: ``arm``, ``trial``, ``n``, and ``ORR``, ``CR`` (percent) and ``PFS_months``
        (median), each with its 95 % limits ``_low`` and ``_high``; NaN for what was not published, infinite for a limit
        that was not reached.
    """
    import pandas as pd

    named = TRIALS.get(trial.model.name.partition(":")[0], ()) if trials is None else trials
    told = [published(each) for each in named]
    rows = [
        {"arm": arm.name, "trial": known.name, "n": other.n} | _results(known, other.name)
        for arm in trial.arms
        for known in told
        for other in known.arms
        if _dose(arm) == other.dose
    ]
    names = [f"{name}{end}" for name in _SHOWN for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=["arm", "trial", "n", *names])


def _dose(arm: Arm) -> float | None:
    """Cells of an arm that is infused once, on day 0."""
    regimen = arm.regimen
    if regimen is None or regimen.retreatment is not None or len(regimen.doses) != 1 or regimen.doses[0].time != 0:
        return None
    return regimen.doses[0].amount


def _results(known: PublishedTrial, arm: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for key, shown in _SHOWN.items():
        rows = [
            row for row in known.rows if (row.endpoint, row.statistic, row.arms, row.subset) == (*shown, (arm,), "")
        ]
        values = (rows[0].value, rows[0].low, rows[0].high) if rows else (np.nan, np.nan, np.nan)
        found |= dict(zip((key, f"{key}_low", f"{key}_high"), values, strict=True))
    return found
