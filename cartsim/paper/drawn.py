"""What a figure of the paper is made of here: the picture, the numbers in it, and what must be said of both."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cartsim.errors import InputError
from cartsim.files import writable_folder, write_whole
from cartsim.plots.style import save
from cartsim.tables import read_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False, eq=False)
class Drawn:
    """A figure of the paper. It prints as its caption, and shows itself in a notebook.

    Attributes
    ----------
    figure
        A matplotlib Figure.
    frame
        What is drawn, tidy.
    caption
        Paragraphs to read beside it.
    """

    figure: Figure
    frame: pd.DataFrame
    caption: str

    def save(self, folder: str | Path, name: str, *, formats: Sequence[str] = ("png",), dpi: float = 150) -> list[Path]:
        """Write name.csv, name.txt, and the picture in each of the ``formats`` (png, svg, pdf), and return their paths.

        Raises
        ------
        InputError
            For another format or dpi, and where nothing can be written.
        """
        folder = writable_folder(folder)
        return [
            *(save(self.figure, folder / f"{name}.{suffix}", dpi=dpi) for suffix in formats),
            write_whole(folder / f"{name}.csv", lambda path: self.frame.to_csv(path, index=False, float_format="%.6g")),
            write_whole(folder / f"{name}.txt", lambda path: path.write_text(self.caption + "\n", "utf-8")),
        ]

    def __repr__(self) -> str:
        return f"{self.caption}\n\n{len(self.frame):,} rows in .frame"

    def _repr_png_(self) -> bytes:
        picture = BytesIO()
        self.figure.savefig(picture, format="png", dpi=100)
        return picture.getvalue()


def art(figure: Figure, letters: Sequence[str] = (), axes: Sequence[Axes] | None = None) -> Figure:
    """The figure without its title, which is the caption's, and with a letter at each panel that has one."""
    figure.suptitle("")
    for axis, letter in zip(figure.axes if axes is None else axes, letters, strict=False):
        axis.set_title(letter, loc="left", fontweight="bold", fontsize=11)
    return figure


def paragraphs(*texts: str) -> str:
    """Each text as a paragraph of lines of up to 100 characters."""
    return "\n\n".join(textwrap.fill(" ".join(text.split()), 100, break_long_words=False) for text in texts if text)


def observations(
    path: str | Path,
    names: dict[str, tuple[str, ...]],
    numbers: tuple[str, ...],
    *,
    optional: tuple[str, ...] = (),
    until: float = np.inf,
) -> pd.DataFrame:
    """Points to draw beside the curves, from a CSV file.

    Parameters
    ----------
    path
        The file; columns that are not named here are left out.
    names
        Columns of text with what each may say.
    numbers
        Columns of finite numbers.
    optional
        Columns of numbers that may be left out or blank, which is NaN.
    until
        Last day that the figure shows, for a column ``day``.

    Raises
    ------
    InputError
        Naming the file and the line, for anything else.
    """
    import pandas as pd

    table = read_table(path)
    wanted = [*names, *numbers]
    missing = [name for name in wanted if name not in table]
    if missing or table.empty:
        lack = f"no column {missing[0]!r}" if missing else "no rows"
        raise InputError(f"{path}: {lack}; give the columns {', '.join(wanted)} and a row for each point")
    table = table.reindex(columns=[*wanted, *optional])
    for name, given in table.items():
        if name in names:
            wrong, allowed = ~given.isin(names[name]), f"one of {', '.join(names[name])}"
        else:
            table[name] = pd.to_numeric(given, errors="coerce")
            blank = given.isna() & (name in optional)
            wrong, allowed = ~(np.isfinite(table[name]) | blank), "a number"
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InputError(f"{path}, line {row + 2}: {name} is {given.iloc[row]!r}; give {allowed}")
    if "day" in table and not table["day"].between(0, until).all():
        raise InputError(f"{path}: days must lie from 0 to {until:g}, which is what the figure shows")
    return table
