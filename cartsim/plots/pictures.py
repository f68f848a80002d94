"""What ``result.plot`` is: the pictures of one result, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cartsim.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class Pictures:
    """The pictures of a result: called, it draws the usual one; each method draws another.

    Every picture is a matplotlib Figure of its own. Where one axes suffices, ``ax`` takes the caller's: the picture is
    drawn there and the figure of that axes returned. A name that the result does not know is an `InputError`.
    """

    usual: str

    def __init__(self, result: Any) -> None:
        self._result = result

    def __call__(self, *args: Any, **options: Any) -> Figure:
        """Draw the usual picture; takes what that method takes."""
        figure: Figure = getattr(self, self.usual)(*args, **options)
        return figure

    def __dir__(self) -> list[str]:
        kinds = [kind for kind in type(self).__mro__ if kind not in (Pictures, object)]
        names = dict.fromkeys(name for kind in kinds for name in vars(kind))
        return [name for name in names if not name.startswith("_") and name != "usual"]

    def __repr__(self) -> str:
        said = {name: (getattr(type(self), name).__doc__ or "").split("\n")[0] for name in dir(self)}
        width = max(map(len, said))
        lines = [f"  .{name + '()':{width + 2}}  {text}" for name, text in said.items()]
        return "\n".join([f"pictures, of which plot() draws {self.usual}:", *lines])


def chosen(table: pd.DataFrame, column: str, value: float | str | None, what: str) -> pd.DataFrame:
    """The rows of a table in which ``what`` a user asked for stands in the column; all of them if nothing was."""
    if value is None:
        return table
    known = list(dict.fromkeys(table[column]))
    if value not in known:
        raise InputError(f"no {what} {value!r}; choose one of {', '.join(map(str, known))}")
    return table[table[column] == value]
