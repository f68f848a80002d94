"""A user's own patients: a frame or a CSV file, checked name by name and number by number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError, brief, check_kind, choices, elsewhere
from cartsim.model.model import Model, is_within
from cartsim.model.reader import load
from cartsim.tables import LARGEST_WHOLE, WHOLE, read_table

if TYPE_CHECKING:
    import pandas as pd


@elsewhere(
    seed="these patients are given, not drawn: Population(model, seed=...) draws them",
    n="they are as many as the rows of their table",
)
@dataclass(frozen=True, eq=False)
class Patients:
    """A user's own patients, in the place of a `Population` wherever one is asked for.

    Parameters
    ----------
    model
        A model, its name, or the path of its file.
    source
        A data frame, a mapping of columns, or a CSV file: a row a patient, columns named as parameters or covariates in
        the units of the model file; optionally ``id`` (else they are numbered from 0) and ``dose`` (cells), what each
        patient is infused with where a regimen does not say how much. Parameters without a column are typical.
    seed
        Of what is drawn beside the patients: noise of assays, visits missed.

    Raises
    ------
    InputError
        As `patients_from_table`.
    """

    model: Model
    source: InitVar[pd.DataFrame | Mapping[str, Any] | str | Path]
    seed: int = 2021
    rows: pd.DataFrame = field(init=False, repr=False)

    def __post_init__(self, source: Any) -> None:
        object.__setattr__(self, "model", load(self.model))
        if isinstance(source, Mapping):
            source = _frame(source)
        object.__setattr__(self, "rows", patients_from_table(self.model, source))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def held(self) -> list[str]:
        """Names of the parameters and covariates that the table holds."""
        return [name for name in self.rows if name != "dose"]

    def about(self) -> dict[str, Any]:
        """Seed and columns as plain values, for what a result is made by."""
        return {"seed": self.seed, "patients": f"{len(self)} with {', '.join(self.rows) or 'nothing'} given"}

    @property
    def dose(self) -> NDArray[np.float64] | None:
        """(n,) Cells infused into each patient, if the table says so."""
        return self.rows["dose"].to_numpy(float) if "dose" in self.rows else None

    def table(
        self, start: int, stop: int, *, complete: bool = False, typical: Mapping[str, NDArray[np.float64]] | None = None
    ) -> pd.DataFrame:
        """Patients start..stop-1: index ``id``, a column for each quantity given; see `Population.table`."""
        if not 0 <= start < stop <= len(self):
            raise InputError(f"patients {start} to {stop} of {len(self)}; ask for no more than there are")
        part = self.rows.iloc[start:stop].drop(columns="dose", errors="ignore")
        if typical:
            places = np.tile(np.arange(len(part)), len(next(iter(typical.values()))))
            own = {name: np.repeat(values, len(part)) for name, values in typical.items()}
            part = part.iloc[places].assign(**own)
        return completed(self.model, part) if complete else part

    def _repr_html_(self) -> str:
        return f"<b>{self!r}</b>{self.rows.head(12).to_html(border=0)}"

    def __repr__(self) -> str:
        given = ", ".join(self.rows) or "nothing"
        return f"{len(self)} patients of {self.model.name}: {given}"


def patients_from_table(model: Model, source: pd.DataFrame | str | Path) -> pd.DataFrame:
    """Patients of a frame or a CSV file: a row a patient, columns named as parameters or covariates.

    The columns `id` (else patients are numbered from 0) and `dose` (cells) are optional. Returns the checked
    numbers, in the units of the model file, index `id`.
    Raises `InputError` for a file that is missing, empty or not a table, unknown or repeated columns,
    repeated ids, anything that is not a finite number, and values outside the range that the model allows.
    """
    import pandas as pd

    where, table = _read(source)
    if table.empty:
        raise InputError(f"{where}: no patients; give a header line and a row for each patient")
    if not table.columns.is_unique:
        repeated = table.columns[table.columns.duplicated()]
        raise InputError(f"{where}: the column {repeated[0]} is there twice; give it once")
    ids = _ids(where, table.pop("id")) if "id" in table else pd.RangeIndex(len(table), name="id")
    limits: dict[str, tuple[float | None, float | None]] = {}
    for name in table.columns:
        if name != "dose":
            check_name(model, name, where, also=("id", "dose"))
        limits[name] = (0.0, None) if name == "dose" else (model.parameters[name].low, model.parameters[name].high)
    if limits and all(isinstance(kind, np.dtype) and kind.kind in "iuf" for kind in table.dtypes):
        whole = np.array(table.to_numpy(float), order="F")  # all at once, which is ten times as fast
        if all(is_within(own, *limits[name]) for name, own in zip(limits, whole.T, strict=True)):
            return pd.DataFrame(whole, index=ids, columns=table.columns, copy=False)
    columns = {}
    for name, (low, high) in limits.items():
        values = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype="float64")
        wrong = outside(values, low, high)
        if wrong.any():
            row = wrong.argmax()
            raise InputError(
                f"{where}: {name} in row {row + 1} (id {ids[row]}) is {brief(table[name].iloc[row])}; "
                f"it must be {allowed(low, high)}"
            )
        columns[name] = values
    return pd.DataFrame(columns, index=ids)


def completed(model: Model, patients: pd.DataFrame) -> pd.DataFrame:
    """A table of patients with a column for every parameter and covariate."""
    import pandas as pd

    columns = dict(zip(model.parameters, model.values(patients, len(patients)).T, strict=True))
    own = {name: columns[name] for name, parameter in model.parameters.items() if parameter.role != "constant"}
    return pd.DataFrame(own, index=patients.index)


def check_name(model: Model, name: str, where: str, also: tuple[str, ...] = ()) -> None:
    """Refuse what is not a parameter or covariate of the model; `also` are further names to suggest."""
    parameter = model.parameters.get(name)
    if parameter is not None and parameter.role != "constant":
        return
    if parameter is not None:
        raise InputError(f"{where}: {name} is a constant; only parameters and covariates differ between patients")
    if name in model.unused:
        raise InputError(f"{where}: {name} does not enter the equations of {model.name}; leave it out")
    known = [p.name for p in model.parameters.values() if p.role != "constant"]
    raise InputError(f"{where}: no parameter or covariate {str(name)!r}{choices(name, [*known, *also])}")


def outside(values: NDArray[np.float64], low: float | None, high: float | None) -> NDArray[np.bool_]:
    """Which of the values are not finite or not within low..high."""
    lowest, highest = -math.inf if low is None else low, math.inf if high is None else high
    return ~(np.isfinite(values) & (values >= lowest) & (values <= highest))


def allowed(low: float | None, high: float | None) -> str:
    """What `outside` lets pass, in words."""
    if low is not None and high is not None:
        return f"a finite number from {low:g} to {high:g}"
    if low is not None:
        return f"a finite number, {low:g} or more"
    return "a finite number" if high is None else f"a finite number, {high:g} or less"


def _frame(columns: Mapping[str, Any]) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.DataFrame({name: np.atleast_1d(column) for name, column in columns.items()})
    except ValueError as error:
        raise InputError(f"patients: {error}; give columns of one length") from None


def _read(source: pd.DataFrame | str | Path) -> tuple[str, pd.DataFrame]:
    """What to call the source in messages, and its table; that of a file is all text."""
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        return "patients", source.reset_index() if source.index.name == "id" else source.copy()
    check_kind("the table of patients", source, (str, Path), "a data frame, a mapping of columns, or a CSV file")
    return f"patients file {source}", read_table(source, missing=False)


def _ids(where: str, given: pd.Series[Any]) -> pd.Index[Any]:
    """The patients' ids: whole numbers if all of them are, else text."""
    import pandas as pd

    if isinstance(given.dtype, np.dtype) and given.dtype.kind in "iu" and given.is_unique:
        numbers = given.to_numpy()
        if is_within(numbers, 0, LARGEST_WHOLE):
            return pd.Index(numbers.astype("int64"), name="id")
    text = given.astype(str).str.strip()
    missing = given.isna() | (text == "")
    if missing.any():
        raise InputError(f"{where}: row {missing.argmax() + 1} has no id; give every patient one, or none")
    repeated = text.duplicated()
    if repeated.any():
        row = repeated.argmax()
        first = (text == text.iloc[row]).argmax()
        raise InputError(f"{where}: rows {first + 1} and {row + 1} have the same id {text.iloc[row]}; ids must differ")
    whole = text.str.fullmatch(WHOLE).all()
    return pd.Index(text.astype("int64") if whole else text, name="id")
