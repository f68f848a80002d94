"""Patients judged from their visits and what ended observation: responses, progression and survival, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.endpoints.censoring import TimeToEvent, overall_survival, progression_free_survival
from cartsim.endpoints.response import Judgement, judge
from cartsim.endpoints.rules import IMWG2016
from cartsim.observations import EVENTS


class Outcomes(NamedTuple):
    """Responses, first progression, progression-free and overall survival (days) of n patients."""

    judged: Judgement
    progression_day: NDArray[np.float64]
    pfs: TimeToEvent
    os: TimeToEvent

    def columns(self, failed: NDArray[np.bool_]) -> dict[str, Any]:
        """Columns of a table, a row a patient: survival, then responses; those who failed (n,) have no times."""
        survival = {
            "pfs_day": np.where(failed, np.nan, self.pfs.time),
            "pfs_event": self.pfs.event & ~failed,
            "pfs_reason": self.pfs.reason,
            "os_day": np.where(failed, np.nan, self.os.time),
            "os_event": self.os.event & ~failed,
        }
        return survival | self.judged.columns() | {"progression_day": self.progression_day}


def outcomes(
    mprotein: ArrayLike,
    days: ArrayLike,
    baseline: ArrayLike,
    rules: IMWG2016,
    censoring: str,
    *,
    events: Mapping[str, NDArray[np.float64]],
    alive_day: ArrayLike,
    censor_no_baseline: bool | None = None,
) -> Outcomes:
    """Judge n patients at v visits after day 0.

    Best response and its dates end at a new therapy. Under "ema" progression is looked for through it.

    Parameters
    ----------
    mprotein, days, baseline, rules
        As for `judge`.
    censoring
        "fda" or "ema", see `progression_free_survival`.
    events
        Days (n,), NaN for none: ``new_therapy_day``, ``death_day``, and ``end_day``, the last of observation.
    alive_day
        (n,) or one for all: the last day on which patients whose observation has no end were known alive. NaN where
        there is none: outside the analysis of overall survival.
    censor_no_baseline
        See `progression_free_survival`.

    Raises
    ------
    InputError
        As `judge` and `progression_free_survival`.
    """
    therapy, death, end = (events[name] for name in EVENTS)
    judged = judge(mprotein, days, baseline, rules, **events)
    evaluable, progression_day = judged.evaluable, judged.progression_day
    if censoring == "ema" and np.isfinite(therapy).any():
        through = judge(mprotein, days, baseline, rules, death_day=death, end_day=end)
        evaluable, progression_day = through.evaluable, np.fmin(progression_day, through.progression_day)
    pfs = progression_free_survival(
        np.insert(np.asarray(days, float), 0, 0.0, axis=-1),
        np.insert(evaluable, 0, np.isfinite(np.asarray(baseline, float)), axis=1),
        progression_day,
        death_day=death,
        new_therapy_day=therapy,
        followup_day=end,
        rule=censoring,
        censor_no_baseline=censor_no_baseline,
    )
    followup = np.where(np.isnan(end), np.where(np.isnan(death), alive_day, death), end)
    unknown = np.isnan(followup)
    os = overall_survival(death, np.where(unknown, 0.0, followup))
    return Outcomes(judged, progression_day, pfs, os._replace(time=np.where(unknown, np.nan, os.time)))
