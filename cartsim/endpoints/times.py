"""The times to events of judged patients, by the names that protocols use. All are read off one table of patients.

=====  =====================================================================================================
PFS    infusion to progression or death, by the censoring rule of the trial (`progression_free_survival`)
OS     infusion to death from any cause; the living are censored on the last day they were known alive
DOR    from the first of the two assessments that confirm a response (PR or better) to progression or death,
       by the censoring rule of PFS; of responders alone, as in KarMMa (Munshi 2021, figure 2)
TTR    infusion to first confirmed response (PR or better); the others are censored where their PFS ends
TTBR   infusion to the first day of the best confirmed response, PR or better; censored as TTR
=====  =====================================================================================================

PFS, OS and the start of DOR are those of FDA, Clinical Trial Endpoints for the Approval of Cancer Drugs and Biologics
(2018); responses are those of Kumar 2016 (IMWG, doi:10.1016/S1470-2045(16)30206-6). Whoever progressed can no longer
respond, so that 1 - Kaplan-Meier of TTR and TTBR overstates how many do; `cartsim.endpoints.incidence` does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cartsim.endpoints.categories import categorical, response_codes
from cartsim.endpoints.censoring import TimeToEvent, duration_of_response, time_to_response
from cartsim.endpoints.rules import Response
from cartsim.errors import InputError
from cartsim.schedule import MONTH

if TYPE_CHECKING:
    import pandas as pd

ENDPOINTS = {
    "PFS": "Progression-free survival",
    "OS": "Overall survival",
    "DOR": "Duration of response",
    "TTR": "Time to response",
    "TTBR": "Time to best response",
}
"""What each is called in words."""

READ = ("best", "best_day", "response_day", "pfs_day", "pfs_event", "pfs_reason", "os_day", "os_event")
"""Columns of the table of patients that the times are read off, days."""


def time_to_event(patients: pd.DataFrame | Mapping[str, Any], endpoint: str) -> TimeToEvent:
    """One endpoint of judged patients, in months.

    Parameters
    ----------
    patients
        A row a patient with the columns `READ`, or those columns by name; NaN in ``pfs_day`` for whoever could not be
        simulated or judged.
    endpoint
        One of `ENDPOINTS`.

    Raises
    ------
    InputError
        For another endpoint, and for columns that were not kept.
    """
    if endpoint not in ENDPOINTS:
        raise InputError(f"no survival endpoint {endpoint!r}; there are {', '.join(ENDPOINTS)}")
    own = {"PFS": READ[3:6], "OS": READ[6:], "DOR": READ[2:6], "TTR": READ[2:6], "TTBR": READ[:2] + READ[3:6]}[endpoint]
    missing = [name for name in own if name not in patients]
    if missing:
        raise InputError(f"{endpoint} is read off {', '.join(missing)}, which this table of patients does not keep")
    found = _days(patients, endpoint)
    return found._replace(time=found.time / MONTH)


def _days(patients: pd.DataFrame | Mapping[str, Any], endpoint: str) -> TimeToEvent:
    import pandas as pd

    if endpoint == "OS":
        died = np.asarray(patients["os_event"], bool)
        reason = categorical(np.where(died, 0, 1), ("death", "alive"))
        return TimeToEvent(np.asarray(patients["os_day"], float), died, reason)
    time, event = np.asarray(patients["pfs_day"], float), np.asarray(patients["pfs_event"], bool)
    pfs = TimeToEvent(time, event, pd.Categorical(patients["pfs_reason"]))
    if endpoint == "PFS":
        return pfs
    if endpoint == "DOR":
        return duration_of_response(pfs, patients["response_day"])
    if endpoint == "TTR":
        return time_to_response(pfs, patients["response_day"])
    responded = response_codes(patients["best"]) >= Response.PR
    return time_to_response(pfs, np.where(responded, patients["best_day"], np.nan))
