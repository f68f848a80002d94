"""The patients of a fit: outcome, exposure and coded covariates of those who have all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.errors import InputError, brief, check_kind
from cartsim.exposure.covariates import Covariate, code_covariate, column

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

EVENTS_PER_PARAMETER = 10
"""Fewer are warned of (Peduzzi et al. 1996, doi:10.1016/S0895-4356(96)00236-3)."""


@dataclass(frozen=True, eq=False)
class Design:
    """What a model is fitted to.

    Attributes
    ----------
    outcome, exposure
        Names of the columns.
    covariates
        How each is coded.
    y
        (n,) outcome, 0 or 1.
    x
        (n,) exposure.
    z
        (n, q) columns of the covariates.
    rows
        (n,) places in the data of the patients who have all of these.
    notes
        Sentences: who was left out.
    """

    outcome: str
    exposure: str
    covariates: tuple[Covariate, ...]
    y: Floats
    x: Floats
    z: Floats
    rows: NDArray[np.int64]
    notes: tuple[str, ...] = ()

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the q columns of covariates."""
        return tuple(term for each in self.covariates for term in each.terms)

    @property
    def places(self) -> dict[str, slice]:
        """Which of the q columns are a covariate's."""
        ends = np.cumsum([0, *(len(each.terms) for each in self.covariates)]).tolist()
        return {each.name: slice(a, b) for each, a, b in zip(self.covariates, ends[:-1], ends[1:], strict=True)}

    def only(self, names: Sequence[str]) -> Design:
        """The same patients with some of the covariates, in the order given."""
        own = {each.name: each for each in self.covariates}
        z = np.column_stack([np.empty((len(self.y), 0)), *(self.z[:, self.places[name]] for name in names)])
        return replace(self, covariates=tuple(own[name] for name in names), z=z)

    def events_warning(self, parameters: int) -> tuple[str, ...]:
        """A sentence if there are too few events for so many parameters (beside the intercept)."""
        rarer = int(min(self.y.sum(), (1 - self.y).sum()))
        if rarer >= EVENTS_PER_PARAMETER * parameters:
            return ()
        which = "events" if self.y.sum() <= len(self.y) / 2 else "patients without the event"
        per = f"{rarer / parameters:.1f}"
        return (
            f"{rarer} {which} for {parameters} parameters, {per} each: fewer than {EVENTS_PER_PARAMETER}, so estimates "
            "may be biased and their limits too narrow; use fewer covariates",
        )


def read_design(
    data: pd.DataFrame,
    outcome: str,
    exposure: str,
    covariates: Sequence[str | Covariate] = (),
    *,
    log: bool = True,
) -> Design:
    """Check the columns and leave out patients who lack any of them.

    Parameters
    ----------
    data
        A row a patient.
    outcome
        Column of 0 and 1 (or false and true).
    exposure
        Column of numbers, above 0 under log, else 0 or more.
    covariates
        Columns, or how they are coded.
    log
        Whether the logarithm of exposure is to be taken.

    Raises
    ------
    InputError
        For columns that are not there or given twice, outcomes other than 0 and 1 or the same in all, exposures that
        are no numbers, negative or (under log) 0, the same exposure in all, and what `code_covariate` refuses.
    """
    import pandas as pd

    check_kind("data", data, pd.DataFrame, "a data frame with a row for each patient")
    if isinstance(covariates, str):
        raise InputError(f"covariates are {brief(covariates)}; give a list of columns, such as ['sex']")
    y = _outcome(column(data, outcome, "outcome"), outcome)
    x = _exposure(column(data, exposure, "exposure"), exposure, log)
    coded = tuple(each if isinstance(each, Covariate) else code_covariate(data, each) for each in covariates)
    names = [outcome, exposure, *(each.name for each in coded)]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"the column {name} is given twice; an outcome, exposure or covariate is a column of its own"
            )
    parts = [each.columns(column(data, each.name, "covariate")) for each in coded]
    z = np.column_stack([np.empty((len(y), 0)), *parts])
    lacking = {name: int(np.isnan(own).sum()) for name, own in ((outcome, y), (exposure, x))}
    lacking |= {each.name: int(np.isnan(own[:, 0]).sum()) for each, own in zip(coded, parts, strict=True)}
    rows = np.flatnonzero(np.isfinite(y) & np.isfinite(x) & np.isfinite(z).all(axis=1))
    notes = []
    if len(rows) < len(y):
        missing = ", ".join(f"{name} in {n}" for name, n in lacking.items() if n)
        notes.append(f"{len(y) - len(rows)} of {len(y)} patients are left out: missing {missing}")
    found = Design(outcome, exposure, coded, y[rows], x[rows], z[rows], rows, tuple(notes))
    _check_known(found, len(y))
    return found


def transformed(x: ArrayLike, log: bool) -> Floats:
    """The exposure or its natural logarithm."""
    values = np.asarray(x, float)
    return np.log(values) if log else values


def _check_known(design: Design, n: int) -> None:
    """Raise `InputError` unless outcomes, exposures and covariates differ among the patients left."""
    if not len(design.y):
        raise InputError(f"none of {n} patients has outcome, exposure and all covariates; leave some covariates out")
    if design.y.min() == design.y.max():
        raise InputError(
            f"outcome {design.outcome} is {design.y[0]:g} in all {len(design.y)} patients; a model needs patients with "
            "and without the event"
        )
    if design.x.min() == design.x.max():
        raise InputError(
            f"exposure {design.exposure} is {design.x[0]:g} in all {len(design.x)} patients; give exposures that differ"
        )
    same = [term for term, own in zip(design.terms, design.z.T, strict=True) if own.min() == own.max()]
    if same:
        raise InputError(
            f"covariate {same[0]} is the same in all {len(design.y)} patients with complete data; leave it out"
        )


def _outcome(series: pd.Series[Any], name: str) -> Floats:
    try:
        values = series.astype(float).to_numpy()
    except (TypeError, ValueError):
        values = None
    if values is None or not np.isin(values[~np.isnan(values)], (0, 1)).all():
        known = series.dropna()
        wrong = next(each for each in known if each not in (0, 1))
        raise InputError(f"outcome {name} holds {brief(wrong)}; give 1 with the event and 0 without")
    return values


def _exposure(series: pd.Series[Any], name: str, log: bool) -> Floats:
    try:
        values = series.astype(float).to_numpy()
    except (TypeError, ValueError):
        raise InputError(f"exposure {name} holds text; give a number for each patient") from None
    wrong = np.isinf(values) | (values < 0) | (log & (values == 0))
    if wrong.any():
        first = int(wrong.argmax())
        linear = "take exposure without its logarithm (log=False, --exposure-scale linear)"
        allowed = f"above 0, or {linear}" if log else "of 0 or more"
        raise InputError(
            f"exposure {name} is {values[first]:g} in row {first + 1} ({int(wrong.sum())} such); give finite exposures "
            f"{allowed}"
        )
    return values
