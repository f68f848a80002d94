"""Covariates as columns of a design: numbers as they are, categories as indicators against a reference.

A covariate remembers how it was coded, so that other patients are coded in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError, brief, choices

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Covariate:
    """How a covariate is coded.

    Attributes
    ----------
    name
        Its column.
    levels
        Groups of categories, the reference first; empty for a number.
    reference
        Number of the reference patient: the median, of two values the more frequent; the reference's name for
        categories.
    """

    name: str
    levels: tuple[tuple[str, ...], ...] = ()
    reference: float | str = 0.0

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of its columns: the covariate's own for a number, ``sex=male`` for categories."""
        return tuple(f"{self.name}={label(level)}" for level in self.levels[1:]) if self.levels else (self.name,)

    def columns(self, values: Any) -> Floats:
        """(n, k) Columns of n values, NaN where a value is missing.

        Raises
        ------
        InputError
            For a category that was not among the patients of the fit, and text in place of a number.
        """
        import pandas as pd

        series = pd.Series(np.atleast_1d(np.asarray(values, dtype=object)))
        if not self.levels:
            numbers = _numbers(series)
            if numbers is None or np.isinf(numbers).any():
                raise InputError(
                    f"covariate {self.name} is {brief(values)}; it is a number in the fit, so give numbers"
                )
            return numbers[:, None]
        place = {category: k for k, level in enumerate(self.levels) for category in level}
        text = series.map(spelled)
        unknown = set(text.dropna()) - set(place)
        if unknown:
            raise InputError(
                f"covariate {self.name} has no category {brief(min(unknown))} in the fit{choices(min(unknown), place)}"
            )
        codes = text.map(place).to_numpy(float)
        columns = (codes[:, None] == np.arange(1, len(self.levels))).astype(float)
        columns[np.isnan(codes)] = np.nan
        return columns

    def words(self) -> str:
        """How it is coded, for a report."""
        if not self.levels:
            return f"a number, per unit; reference {self.reference:g}"
        others = ", ".join(label(level) for level in self.levels[1:])
        return f"{others} against {label(self.levels[0])}"


def label(level: Sequence[str]) -> str:
    """What a group of categories is called."""
    return " or ".join(level)


def code_covariate(data: pd.DataFrame, name: str) -> Covariate:
    """How the values of a column are coded.

    Numbers (and true/false, as 1 and 0) stay numbers. The reference of categories is the first of a pandas
    Categorical, else the most frequent.

    Raises
    ------
    InputError
        For a column that is not there, is missing in all patients, is the same in all or has infinite numbers.
    """
    import pandas as pd

    series = column(data, name, "covariate")
    known = series.dropna()
    if not len(known):
        raise InputError(f"covariate {name} is missing in all {len(series)} patients; leave it out")
    values = _numbers(known)
    different = len(np.unique(values)) if values is not None else known.map(spelled).nunique()
    if different == 1:
        only = brief(known.iloc[0])
        raise InputError(f"covariate {name} is {only} in all patients; it cannot tell them apart, leave it out")
    if values is not None:
        if np.isinf(values).any():
            raise InputError(f"covariate {name} has infinite values; give finite numbers, or leave the cells empty")
        return Covariate(name, reference=_typical(values))
    counts = known.map(spelled).value_counts()
    order = sorted(counts.index, key=lambda each: (-counts[each], each))
    if isinstance(series.dtype, pd.CategoricalDtype):
        order = [each for each in map(spelled, series.cat.categories) if each in counts]
    return Covariate(name, tuple((each,) for each in order), order[0])


def screen_covariate(data: pd.DataFrame, name: str, *, rare: float, missing: float) -> tuple[Covariate | None, str]:
    """How a covariate is coded before it is screened, None if it is excluded; and in words, which or why.

    Parameters
    ----------
    data, name
        As in `code_covariate`.
    rare
        Categories with a smaller share of the patients are merged with each other, then (if still fewer) with the
        smallest of the others. Of two values the rarer must have this share.
    missing
        A covariate that a larger share of the patients lack is excluded.

    Raises
    ------
    InputError
        For a column that is not there.
    """
    series = column(data, name, "covariate")
    lacking = float(series.isna().mean())
    if lacking > missing:
        return None, f"excluded: missing in {100 * lacking:.0f} % of the patients, more than {100 * missing:.0f} %"
    try:
        coded = code_covariate(data, name)
    except InputError as error:
        return None, f"excluded: {error}"
    known = series.dropna()
    if not coded.levels:
        counts = known.astype(float).value_counts(normalize=True)
        if len(counts) == 2 and counts.min() < rare:
            return None, f"excluded: {counts.idxmin():g} in fewer than {100 * rare:.0f} % of the patients"
        return coded, coded.words()
    groups = _merged(coded.levels, known.map(spelled).value_counts(normalize=True).to_dict(), rare)
    if len(groups) == 1:
        return None, f"excluded: all categories but one in fewer than {100 * rare:.0f} % of the patients"
    merged = replace(coded, levels=groups, reference=groups[0][0])
    joined = [label(each) for each in groups if len(each) > 1]
    return merged, merged.words() + (f"; merged: {', '.join(joined)}" if joined else "")


def _merged(levels: tuple[tuple[str, ...], ...], shares: dict[str, float], rare: float) -> tuple[tuple[str, ...], ...]:
    """Groups of categories with at least this share each, the order kept."""

    def share(group: tuple[str, ...]) -> float:
        return sum(shares[each] for each in group)

    small = [each for each in levels if share(each) < rare]
    if not small:
        return levels
    large = [each for each in levels if share(each) >= rare]
    together = tuple(each for group in small for each in group)
    if share(together) < rare and large:
        least = min(large, key=share)
        large.remove(least)
        together = (*least, *together)
    place = {each: k for k, group in enumerate(levels) for each in group}
    return tuple(sorted([*large, together], key=lambda group: min(place[each] for each in group)))


def column(data: pd.DataFrame, name: str, what: str) -> pd.Series[Any]:
    """A column. Raises `InputError` where there is none of that name."""
    if name not in data:
        raise InputError(f"there is no column {brief(name)} for the {what}{choices(str(name), map(str, data))}")
    return data[name]


def spelled(value: Any) -> Any:
    """A category as text: 2 and 2.0 are the same; None where it is missing."""
    import pandas as pd

    if pd.isna(value):
        return None
    return f"{value:g}" if isinstance(value, (float, np.floating)) and float(value).is_integer() else str(value)


def _numbers(series: pd.Series[Any]) -> Floats | None:
    """Values as numbers (n,), None if any of them is text."""
    import pandas as pd

    if isinstance(series.dtype, pd.CategoricalDtype) or series.map(lambda each: isinstance(each, str)).any():
        return None
    try:
        return series.astype(float).to_numpy()
    except (TypeError, ValueError):
        return None


def _typical(values: Floats) -> float:
    different, counts = np.unique(values, return_counts=True)
    return float(different[counts.argmax()] if len(different) == 2 else np.median(values))
