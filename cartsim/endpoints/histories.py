"""Assessments of M-protein laid out as patients x visits, with each patient's baseline and events."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError
from cartsim.observations import EVENTS, Observations, ids_of, numbers, padded, read_observations, refuse

if TYPE_CHECKING:
    import pandas as pd

MPROTEIN = "mprotein_gL"
"""The output that is taken for serum M-protein where a table holds several."""

UNIT = "g/L"


@dataclass(frozen=True)
class Histories:
    """Assessments of n patients, v the most visits any has; NaN pads patients with fewer.

    ids (n,); arm (n,) its name; baseline (n,); days, values (n, v) after day 0; events, (n,) each by name
    (``new_therapy_day``, ``death_day``, ``end_day``), NaN for none; seen_day (n,), of the last row of any kind, NaN
    without one from day 0 on.
    """

    ids: NDArray[Any]
    arm: NDArray[Any]
    baseline: NDArray[np.float64]
    days: NDArray[np.float64]
    values: NDArray[np.float64]
    events: dict[str, NDArray[np.float64]]
    seen_day: NDArray[np.float64]


def lay_out(
    observations: Observations | pd.DataFrame | str | Path,
    *,
    output: str | None = None,
    patients: pd.DataFrame | None = None,
) -> Histories:
    """Lay out assessments of serum M-protein.

    Parameters
    ----------
    observations
        Of concentrations in g/L, see `cartsim.observations`; visits of a patient in increasing order, patients in any.
        An empty value is an unevaluable visit. Without a column ``baseline`` the baseline is the last value at or
        before day 0. Columns of parameters are passed over.
    output
        Which values, where there are several outputs; by default those of "mprotein_gL".
    patients
        Optional second table, a row a patient: ``id`` and optionally ``baseline`` (used before all others),
        ``new_therapy_day``, ``death_day``, ``end_day``, ``arm``, in place of columns of that name. Patients of it
        without assessments are kept, with NaN for a baseline that is nowhere given.

    Raises
    ------
    InputError
        Naming the row (counted from 1 below the header): as `read_observations`; for a negative value or one below a
        limit, unsorted or repeated visits, another unit, an id that `patients` does not list, and a patient with
        assessments whose baseline is missing or 0.
    """
    everything = read_observations(observations)
    found = everything.quantity(output, MPROTEIN)
    time, value = (found.frame[name].to_numpy() for name in ("time", "value"))
    below = found.frame["below"].to_numpy()
    found.refuse(below, "value", "is not a number; write what the assay reports below its limit, usually 0")
    found.refuse(value < 0, "value", "is negative; a concentration is 0 or more")
    if "unit" in found.frame:
        found.refuse((found.frame["unit"] != UNIT).to_numpy(), "unit", f"is not {UNIT}; convert all values to {UNIT}")
    found.check_order()

    code, known = found.patient, found.ids
    if patients is not None:
        code, known = _listed(found, patients)
    own = {name: np.full(len(known), np.nan) for name in ("baseline", *EVENTS)}
    for name in own.keys() & {*found.frame}:
        own[name][code] = found.frame[name].to_numpy()
    if "baseline" not in found.frame:
        before = np.flatnonzero((time <= 0) & ~np.isnan(value))
        own["baseline"][code[before]] = value[before]  # rows of a patient are in order: the last one stays
    if patients is not None:
        _overwrite(own, patients.assign(id=known))
    baseline = own.pop("baseline")
    unusable, missing = ~(baseline[code] > 0), np.isnan(baseline[code])
    why = "has no baseline; give a value at or before day 0 or a baseline column"
    found.refuse(unusable & missing, "id", why)
    found.refuse(unusable, "id", "has a baseline of 0; change from baseline needs one above 0")

    after = time > 0
    days, values = padded(code[after], len(known), (time[after], value[after]))
    arm = _arms(found, code, known, patients)
    return Histories(np.asarray(known), arm, baseline, days, values, own, _seen(everything, known))


def _seen(everything: Observations, known: NDArray[Any]) -> NDArray[np.float64]:
    """(n,) The last time of each patient in any row."""
    last = everything.frame.groupby(everything.frame["id"].astype(str))["time"].max()
    seen = last.reindex(np.asarray(known).astype(str)).to_numpy(float)
    return np.where(seen >= 0, seen, np.nan)


def _arms(
    found: Observations, code: NDArray[np.intp], known: NDArray[Any], patients: pd.DataFrame | None
) -> NDArray[Any]:
    """(n,) The name of each patient's arm; "all" where none is given."""
    arm = np.full(len(known), "all", object)
    if "arm" in found.frame:
        arm[:] = ""
        arm[code] = found.frame["arm"].to_numpy()
    if patients is not None and "arm" in patients:
        table = patients.reset_index(drop=True)
        given = table["arm"].isna() | (table["arm"].astype(str).str.strip() == "")
        refuse(given.to_numpy(), table, "arm", "is missing; give each patient an arm", row="patients row")
        arm = table["arm"].astype(str).str.strip().to_numpy()
    without = np.flatnonzero(arm == "")
    if without.size:
        raise InputError(f"id {known[without[0]]} has no arm; give each patient one")
    return arm


def _listed(found: Observations, patients: pd.DataFrame) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """The place of each row's patient in the patients table, and the ids of that."""
    import pandas as pd

    if "id" not in patients:
        raise InputError(
            f"the patients table has no column id; its columns are {', '.join(map(str, patients.columns))}"
        )
    known = ids_of(patients, name="patients table")
    table = patients.assign(id=known).reset_index(drop=True)
    refuse(pd.Index(known).duplicated(), table, "id", "is listed twice; give each patient one row", row="patients row")
    code = pd.Index(known.astype(str)).get_indexer(pd.Index(found.frame["id"].astype(str)))
    found.refuse(code < 0, "id", "is not in the patients table; correct it or add the patient")
    return code, known


def _overwrite(own: dict[str, NDArray[np.float64]], patients: pd.DataFrame) -> None:
    """What the patients table says goes before what the observations do."""
    table = patients.reset_index(drop=True)
    for name in own:
        if name in table:
            given = numbers(table, name, row="patients row")
            refuse(given < 0, table, name, "is negative; it must be 0 or more", row="patients row")
            own[name] = np.where(np.isnan(given), own[name], given)
