"""Observations of patients, animals or wells: one format, one reader.

A table has a row for each observation; rows of a subject may stand in any order unless something asks for it:

    id,dose,time,output,value,category
    1,450e6,28,,,PR
    1,450e6,28,sbcma_change,-92,
    1,450e6,28,transgene,<50,

``id``
    Of the patient, animal or well.
``time``
    From the infusion, in the model's time unit (days, hours in a dish).
``value``
    A number, or "<50" for what is only known to be below 50. Empty for a visit without a usable sample.
``output``
    What was measured: an output or a state of the model. May be left out where the table is of one quantity.
``category``
    In place of a value, an IMWG response: PD, SD, MR, PR, VGPR or CR, or NE for a visit without an assessment.

Further columns are optional: ``unit`` of the value; ``below`` (true: only known to be below ``value``); ``baseline``,
the value before treatment; ``dose`` (cells infused); ``arm``, a name; ``variant`` (a named variant of the model);
``new_therapy_day``, ``death_day`` and ``end_day`` (drop-out, data cut-off or last follow-up: nothing later is seen),
days from the infusion, empty for none; and columns named as parameters or covariates of the model. What belongs to a
subject is the same in all its rows; baseline and the three days may be left empty in some. In a file, lines that begin
with # are comments.

What needs no model is checked here; names of outputs and parameters, and their limits, where the model comes in.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError, choices
from cartsim.files import shipped_data
from cartsim.tables import WHOLE, read_table

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

CATEGORIES = ("NE", "PD", "SD", "MR", "PR", "VGPR", "CR")
"""The scale of responses, worst first."""

EVENTS = ("new_therapy_day", "death_day", "end_day")
COLUMNS = ("id", "time", "output", "value", "category", "below", "unit", "baseline", "dose", "arm", "variant", *EVENTS)
"""The columns that have a meaning of their own; others are for parameters and covariates."""


@dataclass(frozen=True, repr=False, eq=False)
class Observations:
    """Observations as they were read and checked; `read_observations` makes them.

    Attributes
    ----------
    frame
        A row an observation: ``id``, ``time``, ``output`` ("" if not named), ``value`` (NaN for none), ``below`` (only
        known to be below ``value``) and ``category`` ("" for none), then the optional columns that were given. The
        index counts the rows of the table from 0.
    given
        The same rows as they were written, for messages.
    name
        What messages call the table.
    """

    frame: pd.DataFrame
    given: pd.DataFrame
    name: str = ""

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def ids(self) -> NDArray[Any]:
        """(n,) Each subject once, in the order of their first rows."""
        return self.frame["id"].drop_duplicates().to_numpy()

    @cached_property
    def patient(self) -> NDArray[np.intp]:
        """The place in `ids` of each row."""
        import pandas as pd

        return pd.factorize(self.frame["id"])[0]

    @property
    def outputs(self) -> list[str]:
        """What values are of, in the order of the table; [""] where the one quantity is not named."""
        return list(dict.fromkeys(self.frame.loc[self.frame["category"] == "", "output"]))

    def of(self, output: str) -> Observations:
        """The rows with values of one output; of "category" those with categories.

        Raises
        ------
        InputError
            For an output of which there is no row.
        """
        categories = self.frame["category"] != ""
        rows = categories if output == "category" else ~categories & (self.frame["output"] == output)
        if not rows.any():
            known = [name for name in self.outputs if name] + ["category"] * bool(categories.any())
            raise InputError(f"{self._where}no observations of {output!r}{choices(output, known)}")
        return self.rows(rows.to_numpy())

    def rows(self, chosen: NDArray[np.bool_]) -> Observations:
        """Some of the rows."""
        return replace(self, frame=self.frame[chosen], given=self.given[chosen])

    def quantity(self, output: str | None, usual: str) -> Observations:
        """The rows of ``output``; if None, of the only output that has values, or of the ``usual`` one among several.

        Raises
        ------
        InputError
            For an output that is not there, and where it is not clear which one is meant.
        """
        outputs = self.outputs
        if not outputs:
            raise InputError(f"{self._where}no values, only categories; give a column value")
        if output is None:
            output = outputs[0] if len(outputs) == 1 else usual
            if output not in outputs:
                raise InputError(f"{self._where}values of {', '.join(outputs)}; say which output is meant")
        return self.of(output)

    def of_patients(self, column: str) -> NDArray[Any]:
        """(n,) What each subject has in a column, from its first row; numbers as they were given by text or number.

        Raises
        ------
        InputError
            For a column of parameters that does not hold one finite number for each subject.
        """
        values = self.frame[column].to_numpy()
        if column not in COLUMNS:
            values = numbers(self.given, column, name=self.name)
            self.refuse(np.isnan(values), column, "is missing; give one number for each id")
            self.refuse(self.differs(values), column, f"is not the {column} of the patient's other rows; give one")
        return values[self._first]

    def check_order(self) -> None:
        """Raise `InputError` unless the times of each subject increase."""
        order = np.argsort(self.patient, kind="stable")
        time, code = self.frame["time"].to_numpy()[order], self.patient[order]
        late = np.flatnonzero((code[1:] == code[:-1]) & ~(np.diff(time) > 0))
        if late.size:
            (t0, t1), (earlier, row) = time[late[0] : late[0] + 2], self.frame.index[order[late[0] : late[0] + 2]] + 1
            what = f"{self._where}row {row} (id {_shown(self.frame['id'].iloc[order[late[0] + 1]])}, time {t1:g})"
            if t0 == t1:
                raise InputError(f"{what} repeats the visit of row {earlier}; keep one row for each visit")
            raise InputError(f"{what} comes after time {t0:g} of row {earlier}; sort each patient's rows by time")

    def refuse(self, wrong: NDArray[np.bool_], column: str, why: str) -> None:
        """Raise `InputError` for the first wrong row, naming it and what its column holds."""
        refuse(wrong, self.given, column, why, name=self.name)

    @property
    def summary(self) -> pd.DataFrame:
        """A row an output: rows, patients, values below a limit, first and last time."""
        import pandas as pd

        kind = self.frame["output"].where(self.frame["category"] == "", "category")
        groups = self.frame.groupby(kind, sort=False)
        table = pd.DataFrame(
            {
                "rows": groups.size(),
                "patients": groups["id"].nunique(),
                "below": groups["below"].sum(),
                "first": groups["time"].min(),
                "last": groups["time"].max(),
            }
        )
        return table.rename_axis("output").reset_index()

    def __repr__(self) -> str:
        return f"{self._title}\n{self.summary.to_string(index=False, float_format='{:g}'.format)}"

    def _repr_html_(self) -> str:
        return f"<b>{escape(self._title)}</b>{self.summary.to_html(index=False, border=0, float_format='{:g}'.format)}"

    @property
    def _title(self) -> str:
        return f"{len(self)} observations of {len(self.ids)} patients{f' in {self.name}' * bool(self.name)}"

    @property
    def _where(self) -> str:
        return f"{self.name}: " if self.name else ""

    @cached_property
    def _first(self) -> NDArray[np.intp]:
        return np.unique(self.patient, return_index=True)[1]

    def differs(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """In which rows a value is not that of the subject's first row."""
        return np.asarray(values != values[self._first][self.patient])


def read_observations(source: str | Path | pd.DataFrame | Observations, *, name: str = "") -> Observations:
    """Read and check a table of observations, see `cartsim.observations` for its form.

    Parameters
    ----------
    source
        A CSV file, the name of a packaged example ("trial_synthetic", "crb401_synthetic"), or a data frame.
        Observations are returned as they are.
    name
        What messages call a data frame.

    Raises
    ------
    InputError
        Naming the row (counted from 1 below the header) and id: for a missing column, an empty id, a number that is
        none, a category that is not on the scale or on day 0, both a category and a value, values without output beside
        others with one, mixed units of one output, and doses, variants, baselines or days that differ within a subject.
        For a file that is missing, empty or no table.

    Examples
    --------
    >>> import cartsim as cs
    >>> observations = cs.read_observations("crb401_synthetic")
    >>> observations.outputs, len(observations.ids)
    (['sbcma_change'], 33)
    """
    if isinstance(source, Observations):
        return source
    name, given = _table(source, name)
    held = ", ".join(map(str, given.columns))
    needed = ["id", "time"] + ["value"] * ("category" not in given)
    if absent := [column for column in needed if column not in given]:
        raise InputError(f"{name or 'the table'} has no column {', '.join(absent)}; its columns are {held}")
    if given.empty:
        raise InputError(f"{name or 'the table'} has no rows, so no observations; give a row for each: id, time, value")
    given["id"] = ids_of(given, name=name)
    return _checked(given, name)


def _checked(given: pd.DataFrame, name: str) -> Observations:
    import pandas as pd

    n = len(given)
    texts = {c: _text(given[c]) if c in given else np.full(n, "", object) for c in ("output", "value", "category")}
    category = np.array([each.upper() for each in texts["category"]], object)
    value, below = _values(given, texts["value"], name)
    time = numbers(given, "time", name=name)
    frame = pd.DataFrame({"id": given["id"], "time": time, "output": texts["output"], "value": value, "below": below})
    frame["category"] = category
    found = Observations(frame.assign(**{c: given[c] for c in given if c not in frame}), given, name)

    found.refuse(np.isnan(time), "time", "is missing; give the time from the infusion")
    found.refuse(~np.isin(category, ["", *CATEGORIES]), "category", f"is not on the scale; it is {_either(CATEGORIES)}")
    found.refuse((category != "") & (texts["value"] != ""), "value", "stands beside a category; give one, not both")
    found.refuse((category != "") & (time == 0), "category", "is on day 0, the baseline itself; leave the row out")
    unnamed = (category == "") & (texts["output"] == "")
    if (texts["output"] != "").any() and unnamed.any():
        found.refuse(unnamed, "output", "is missing; name what was measured, as in other rows")
    if "unit" in given:
        unit = _text(given["unit"])
        for output in found.outputs:
            rows = np.flatnonzero((texts["output"] == output) & (category == ""))
            other = np.zeros(n, bool)
            other[rows] = unit[rows] != unit[rows[0]]
            found.refuse(other, "unit", f"is not {unit[rows[0]]}; convert to one unit, that of row {rows[0] + 1}")
        found.frame["unit"] = unit
    for column in ("dose", "baseline", *EVENTS):
        if column in given:
            found.frame[column] = _of_patient(found, column)
    for column in ("arm", "variant"):
        if column in given:
            own = _text(given[column])
            found.refuse(found.differs(own), column, f"is not the {column} of the patient's other rows; give one")
            found.frame[column] = own
    return found


def _values(given: pd.DataFrame, text: NDArray[Any], name: str) -> tuple[Floats, NDArray[np.bool_]]:
    """The numbers, and which of them are only limits from above."""
    if "value" not in given:
        return np.full(len(given), np.nan), np.zeros(len(given), bool)
    below = np.array([each.startswith("<") for each in text], bool)
    value = numbers(given, "value", [each.removeprefix("<") for each in text] if below.any() else None, name=name)
    refuse(below & np.isnan(value), given, "value", "is no limit; write it as <50", name=name)
    if "below" in given:
        flag = np.array([each.lower() for each in _text(given["below"])], object)
        wrong = ~np.isin(flag, ["true", "false", "1", "0", "1.0", "0.0", ""])
        refuse(wrong, given, "below", "is neither; give true or false", name=name)
        below |= np.isin(flag, ["true", "1", "1.0"])
    return value, below


def _of_patient(found: Observations, column: str) -> Floats:
    """A number of each patient, in all rows; where it may be missing, that of the first row that has it."""
    values = numbers(found.given, column, name=found.name)
    if column == "dose":
        found.refuse(np.isnan(values), "dose", "is missing; give the cells infused, 0 for none")
    least = "above 0" if column == "baseline" else "0 or more"
    found.refuse(values < 0, column, f"is negative; it must be {least}")
    own = np.full(len(found.ids), np.nan)
    stated = np.flatnonzero(~np.isnan(values))[::-1]  # backwards: a patient's first row stays
    own[found.patient[stated]] = values[stated]
    differs = ~np.isnan(values) & (values != own[found.patient])
    found.refuse(differs, column, f"is not the {column} of the patient's other rows; give one")
    return own[found.patient]


# --- cells of a table -----------------------------------------------------------------------------------


def ids_of(table: pd.DataFrame, *, name: str = "") -> NDArray[Any]:
    """The column id: whole numbers if all of them are, else as given (text without spaces around).

    Raises `InputError` for an empty one.
    """
    text = _text(table["id"])
    empty = np.flatnonzero(text == "")
    if empty.size:
        raise InputError(f"{f'{name}, ' * bool(name)}row {empty[0] + 1} has no id; every row needs one")
    ids = table["id"].to_numpy()
    if ids.dtype.kind == "f" and (ids == np.round(ids)).all():
        return ids.astype(np.int64)
    if ids.dtype.kind in "iufb":
        return ids
    whole = all(re.fullmatch(WHOLE, each) for each in text)
    return text.astype(np.int64) if whole else text


def numbers(
    table: pd.DataFrame, column: str, text: Sequence[str] | None = None, *, name: str = "", row: str = "row"
) -> Floats:
    """A column (or ``text`` in its place) as finite float64, NaN where empty; ``table`` has the column id.

    Raises `InputError`, naming the row, for anything else.
    """
    cells = table[column]
    if text is None and cells.dtype.kind in "iuf":
        found = cells.to_numpy(dtype=np.float64, na_value=np.nan)
        wrong = np.zeros(len(found), bool)
    else:
        shown = _text(cells) if text is None else np.array(text, object)
        found = np.array([_number(each) for each in shown], float)
        wrong = np.isnan(found) & (shown != "")
    refuse(wrong, table, column, "is not a number; write a number, empty where missing", name=name, row=row)
    refuse(np.isinf(found), table, column, "is not finite; write a number, empty where missing", name=name, row=row)
    return found


def refuse(
    wrong: NDArray[np.bool_], table: pd.DataFrame, column: str, why: str, *, name: str = "", row: str = "row"
) -> None:
    """Raise `InputError` for the first wrong row of a table: its number, id and time, and what its column holds."""
    at = np.flatnonzero(wrong)
    if not at.size:
        return
    place = f"id {_shown(table['id'].iloc[at[0]])}"
    if "time" in table and column not in ("id", "time"):
        place += f", time {table['time'].iloc[at[0]]}"
    held = _shown(table[column].iloc[at[0]]) if column in table else "(none)"
    raise InputError(f"{f'{name}, ' * bool(name)}{row} {table.index[at[0]] + 1} ({place}): {column} {held} {why}")


def padded(
    owner: NDArray[np.intp], n: int, columns: Sequence[Floats], filling: Sequence[float] | None = None
) -> list[Floats]:
    """Columns (rows,) as arrays (n, most rows any owner has), each owner's in the order of the rows, padded at the end.

    ``filling``: what each column is padded with, by default NaN.
    """
    order = np.argsort(owner, kind="stable")
    count = np.bincount(owner, minlength=n)
    place = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    laid = []
    for column, fill in zip(columns, filling or [math.nan] * len(columns), strict=True):
        block = np.full((n, int(count.max(initial=0))), fill)
        block[owner[order], place] = column[order]
        laid.append(block)
    return laid


def _number(text: str) -> float:
    """NaN for what is no number."""
    try:
        return math.nan if "_" in text or not text.isascii() else float(text)
    except ValueError:
        return math.nan


def _text(cells: pd.Series[Any]) -> NDArray[Any]:
    """Cells as text without spaces around, "" for missing ones."""
    return np.array(
        ["" if missing else str(cell).strip() for cell, missing in zip(cells, cells.isna(), strict=True)], object
    )


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str) else str(value)


def _either(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


# --- tables ---------------------------------------------------------------------------------------------


def example(name: str = "crb401_synthetic") -> Path:
    """The path of a data set that comes with cartsim. Raises `InputError` for a name that none has."""
    folder = shipped_data() / "examples"
    known = sorted(path.stem for path in folder.glob("*.csv"))
    if name not in known:
        raise InputError(f"no example is called {name!r}{choices(name, known)}")
    return folder / f"{name}.csv"


def _table(source: Any, name: str) -> tuple[str, pd.DataFrame]:
    """What messages call the source, and its rows as they were given, counted from 0."""
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        table = (
            source.reset_index() if source.index.name == "id" and "id" not in source else source.reset_index(drop=True)
        )
    elif isinstance(source, (str, Path)):
        path = Path(source)
        if not path.suffix and not os.path.exists(path):
            path = example(str(source))
        name, table = name or path.name, read_table(path, comments=True)
    else:
        raise InputError(
            f"observations are {type(source).__name__}; give a data frame, a CSV file or an example's name"
        )
    table.columns = pd.Index([str(column).strip() for column in table.columns])
    repeated = table.columns[table.columns.duplicated()]
    if len(repeated):
        raise InputError(f"{name or 'the table'}: the column {repeated[0]} is there twice; give it once")
    return name, table
