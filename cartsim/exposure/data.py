"""The table that an exposure-response analysis reads: a row a patient, from a trial or from a user's own data.

==================  ==============================================================================================
``auc028``          area under the transgene curve from day 0 to 28, day*copies/ug
``cmax``, ``tmax``  highest transgene, copies/ug, and its day
``clast``           last quantifiable transgene, copies/ug
``expansion_rate``  cmax/tmax, copies/ug/day; worked out where it is not given
``dose``            CAR-T cells infused
``ORR``             1 for a best response of PR or better, else 0
``CRR``             1 for a best response of CR
``VGPR``            1 for a best response of VGPR or better
``MRD_CR``          1 for CR with residual disease below 1 cell in 1e5 at some time
``pfs_months``      progression-free survival, and ``pfs_event``: 1 for an event, 0 for a censored time
``dor_months``      duration of response of those who responded, and ``dor_event``
==================  ==============================================================================================

Every other column is a covariate, or an outcome if it holds 0 and 1. ``mprotein_high`` (baseline M-protein above 10
g/L) and ``burden_high`` (50 % plasma cells in the marrow or more) are worked out where M0 or burden is known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.endpoints.categories import response_codes
from cartsim.endpoints.markers import mrd_negative
from cartsim.endpoints.rules import Response
from cartsim.endpoints.times import time_to_event
from cartsim.errors import InputError, brief, choices
from cartsim.exposure.covariates import Covariate, code_covariate
from cartsim.tables import finite_number, read_table
from cartsim.trial.outcome import TrialResult
from cartsim.trial.stored import read_trial

if TYPE_CHECKING:
    import pandas as pd

EXPOSURES = {
    "auc028": "AUC0–28 (day × copies/µg DNA)",
    "cmax": "Cmax (copies/µg DNA)",
    "expansion_rate": "Expansion rate Cmax/Tmax (copies/µg DNA/day)",
    "clast": "Clast (copies/µg DNA)",
    "tmax": "Tmax (days)",
    "dose": "Dose (CAR-T cells)",
}
"""Exposure metrics, and what each is called with its unit."""

ENDPOINTS = {
    "ORR": "Overall response (PR or better)",
    "CRR": "Complete response",
    "VGPR": "VGPR or better",
    "MRD_CR": "MRD-negative complete response",
}
"""Outcomes that a trial has, and what each is called."""

TIMES = {"PFS": ("pfs_months", "pfs_event"), "DOR": ("dor_months", "dor_event")}
"""Time and event of each survival endpoint."""

HIGH_MPROTEIN, HIGH_BURDEN = 10.0, 50.0  # g/L, the cut of the KarMMa analysis; percent, that of Munshi 2021

_ALSO = {
    "auc028": ("auc", "auc0_28d"),
    "tmax": ("tmax_day", "tmax_days"),
    "clast": ("clast_day28",),
    "dose": ("dose_cells", "actual_dose"),
    "CRR": ("cr",),
    "VGPR": ("vgpr_or_better", "vgprr"),
    "MRD_CR": ("mrd_negative_cr", "mrdneg_cr", "mrd"),
    "M0": ("mprotein", "mprotein_gL", "baseline_mprotein"),
    "burden": ("tumor_burden",),
}
_NAMES = (*EXPOSURES, *ENDPOINTS, *(name for pair in TIMES.values() for name in pair), "M0", "burden", "id", "arm")
_TIDY = {re.sub("[^a-z0-9]", "", each.lower()): name for name in _NAMES for each in (name, *_ALSO.get(name, ()))}
"""The name of a column by what is left of its spelling: small letters and digits."""


@dataclass(frozen=True, eq=False)
class ExposureData:
    """A row a patient with the columns above.

    Attributes
    ----------
    frame
        Columns under their tidy names, indexed from 0.
    source
        What they are called in messages.
    trial
        The trial that they come from, if one was given: it can be simulated at other doses.
    notes
        Who was left out, in sentences.
    """

    frame: pd.DataFrame
    source: str
    trial: TrialResult | None = None
    notes: tuple[str, ...] = ()

    def column(self, name: str, what: str = "column") -> str:
        """The tidy name of a column, however it is spelled. Raises `InputError` for one that is not there."""
        spelled = {str(each).lower(): str(each) for each in self.frame}
        tidy = _TIDY.get(_bare(name), "")
        found = spelled.get(str(name).lower()) or (tidy if tidy in self.frame else None)
        if found is None:
            raise InputError(f"{self.source}: no {what} {brief(name)}{choices(str(name), spelled.values())}")
        return found

    def numbers(self, name: str, what: str = "column") -> NDArray[np.float64]:
        """A column as numbers (n,), NaN where missing. Raises `InputError` for text."""
        found = self.column(name, what)
        if self.frame[found].dtype.kind not in "biuf":
            raise InputError(f"{self.source}: {what} {found} holds text; give a number for each patient")
        return self.frame[found].to_numpy(float)

    def binary(self, name: str) -> str:
        """The tidy name of an outcome of 0 and 1. Raises `InputError` for anything else in it."""
        found = self.column(name, "endpoint")
        values = self.frame[found].dropna()
        numbers = values.to_numpy(float) if values.dtype.kind in "biuf" else None
        if numbers is None or not np.isin(numbers, (0, 1)).all():
            wrong = values[~values.isin((0, 1))].iloc[0] if numbers is None else numbers[~np.isin(numbers, (0, 1))][0]
            raise InputError(
                f"{self.source}: endpoint {found} holds {brief(wrong)}; an outcome is 1 (yes) or 0 (no) for each "
                "patient"
            )
        return found

    def terms(self, covariate: str | Covariate, rows: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
        """A covariate of some patients (rows, n) as numbers by the name of the term, NaN where missing.

        Raises `InputError` for a column that is not there, or is missing or the same in all patients.
        """
        if not isinstance(covariate, Covariate):
            covariate = code_covariate(self.frame, self.column(covariate, "covariate"))
        columns = covariate.columns(self.frame[covariate.name][rows])
        return dict(zip(covariate.terms, columns.T, strict=True))


def exposure_data(source: ExposureData | TrialResult | pd.DataFrame | Mapping[str, Any] | str | Path) -> ExposureData:
    """The table of an analysis.

    Parameters
    ----------
    source
        A `TrialResult`, the folder of a stored one, a CSV file, or a frame (or mapping) of columns. Columns are found
        whatever their case, and under usual spellings (AUC0-28, CR). The table of patients of a trial does too.

    Returns
    -------
    ExposureData
        Of a trial without patients who could not be simulated or had nothing to measure after infusion, as in the
        KarMMa analysis; its notes say how many.

    Raises
    ------
    InputError
        For what is none of these, a file without rows, a column that is there under two spellings, and numbers that
        are none.
    """
    import pandas as pd

    if isinstance(source, ExposureData):
        return source
    if isinstance(source, TrialResult):
        return _of_patients(source.patients, "trial", source)
    if isinstance(source, Mapping):
        source = pd.DataFrame(dict(source))
    if isinstance(source, pd.DataFrame):
        return _of_table(source.reset_index(drop=True), "the data")
    if not isinstance(source, (str, Path)):
        raise InputError(f"exposure-response of {brief(source)}; give a trial, its folder, a CSV file or a data frame")
    if Path(source).is_dir():
        trial = read_trial(source)
        return _of_patients(trial.patients, str(source), trial)
    table = read_table(source)
    return _of_table(table.apply(_number_or_text), str(source))


def _of_table(table: pd.DataFrame, source: str) -> ExposureData:
    if not len(table):
        raise InputError(f"{source}: no patients; give a header line and a row for each")
    if {"best", "AUC0-28", "pfs_day", "status"} <= set(table):
        return _of_patients(table, source, None)
    names: dict[str, str] = {}
    for column in map(str, table):
        tidy = _TIDY.get(_bare(column), column)
        if tidy in names.values():
            first = next(own for own, name in names.items() if name == tidy)
            raise InputError(f"{source}: the columns {first} and {column} both are {tidy}; give one of them")
        names[column] = tidy
    frame = table.rename(columns=names)
    for name in (*EXPOSURES, *(each for pair in TIMES.values() for each in pair)):
        if name in frame and frame[name].dtype.kind not in "biuf":
            wrong = frame[name].dropna()
            text = wrong[wrong.map(lambda each: isinstance(each, str))]
            where = f" (row {text.index[0] + 1}: {brief(text.iloc[0])})" if len(text) else ""
            raise InputError(f"{source}: {name} is not a number for each patient{where}; leave unknown cells empty")
    return ExposureData(_derived(frame), source)


def _of_patients(patients: pd.DataFrame, source: str, trial: TrialResult | None) -> ExposureData:
    """The table of a trial's patients."""
    import pandas as pd

    missing = [name for name in ("Cmax", "Tmax_day", "AUC0-28", "clast", "mrd_lowest", "best") if name not in patients]
    if missing:
        raise InputError(f"{source}: no {', '.join(missing)} in the table of patients; run the trial without columns=")
    ok = (patients["status"] == "ok").to_numpy()
    seen = ok & (patients["Cmax"] > 0).to_numpy() & (patients["AUC0-28"] != 0).to_numpy()
    notes = []
    if n := int((~ok).sum()):
        notes.append(f"{n} of {len(ok)} patients could not be simulated and are left out")
    if n := int((ok & ~seen).sum()):
        notes.append(
            f"{n} of {len(ok)} patients had no transgene above the limit of quantification up to day 28 "
            "and are left out"
        )
    own = patients[seen].reset_index(drop=True)
    if n := int(own["id"].duplicated().sum()):
        notes.append(
            f"{len(own) - n} virtual patients are in several arms, {len(own)} rows that are taken for as many "
            "patients: all limits are too narrow; run the trial with independent arms"
        )
    best = response_codes(own["best"])
    columns: dict[str, Any] = {"id": own["id"], "arm": own["arm"].astype(str), "dose": own["dose"]}
    columns |= {"auc028": own["AUC0-28"], "cmax": own["Cmax"], "tmax": own["Tmax_day"], "clast": own["clast"]}
    for name, least in (("ORR", Response.PR), ("VGPR", Response.VGPR), ("CRR", Response.CR)):
        columns[name] = (best >= least).astype(float)
    columns["MRD_CR"] = columns["CRR"] * mrd_negative(own["mrd_lowest"])
    for endpoint, (time, event) in TIMES.items():
        found = time_to_event(own, endpoint)
        columns[time], columns[event] = found.time, np.where(np.isnan(found.time), np.nan, found.event)
    # Parameters and covariates stand before the status.
    given = own.iloc[:, : own.columns.get_loc("status")]
    columns |= {name: given[name] for name in given if name not in columns}
    return ExposureData(_derived(pd.DataFrame(columns)), source, trial, tuple(notes))


def _derived(frame: pd.DataFrame) -> pd.DataFrame:
    """With the expansion rate and the high-risk groups, where they are not given and can be worked out."""
    if "expansion_rate" not in frame and {"cmax", "tmax"} <= set(frame):
        rate = frame["cmax"] / frame["tmax"].where(frame["tmax"] > 0)
        frame = frame.assign(expansion_rate=rate)
    for name, of, high in (
        ("mprotein_high", "M0", lambda values: values > HIGH_MPROTEIN),
        ("burden_high", "burden", lambda values: values >= HIGH_BURDEN),
    ):
        if name not in frame and of in frame and frame[of].dtype.kind in "biuf":
            frame = frame.assign(**{name: high(frame[of]).astype(float).where(frame[of].notna())})
    return frame


def _number_or_text(column: pd.Series[Any]) -> pd.Series[Any]:
    """A column of text as numbers where all of its cells are, true and false as 1 and 0; else as it is."""
    words = {"true": 1.0, "false": 0.0}
    known = column.dropna()
    numbers = known.map(lambda cell: words.get(cell.lower(), finite_number(cell)))
    if len(known) and numbers.notna().all():
        return numbers.astype(float).reindex(column.index)
    return column


def _bare(name: Any) -> str:
    return re.sub("[^a-z0-9]", "", str(name).lower())
