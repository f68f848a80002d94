"""Categories from codes: columns of trials share few sets of names, which pandas would check anew for each column."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cartsim.endpoints.rules import Response

if TYPE_CHECKING:
    import pandas as pd

RESPONSES = tuple(category.name for category in Response)


def categorical(codes: ArrayLike, names: Sequence[str], *, ordered: bool = False) -> pd.Categorical:
    """The categories that codes (n,) stand for, places among the names; -1 for none."""
    import pandas as pd

    return pd.Categorical.from_codes(codes, dtype=_dtype(tuple(names), ordered))


def responses(codes: ArrayLike) -> pd.Categorical:
    """Codes of `Response` (n,) as ordered categories."""
    return categorical(codes, RESPONSES, ordered=True)


def response_codes(column: ArrayLike) -> NDArray[np.int8]:
    """The codes of a column of responses by name (n,); -1 for what is none."""
    import pandas as pd

    return pd.Categorical(column, dtype=_dtype(RESPONSES, True)).codes


@cache
def _dtype(names: tuple[str, ...], ordered: bool) -> pd.CategoricalDtype:
    import pandas as pd

    return pd.CategoricalDtype(names, ordered)
