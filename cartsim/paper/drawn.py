"""What a figure of the paper is made of here: the picture, the numbers in it, and what must be said of both."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cartsim.errors import InputError
from cartsim.tables import read_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class Drawn(NamedTuple):
    """``figure``: a matplotlib Figure; ``table``: what is drawn, tidy; ``caption``: paragraphs to read beside it."""

    figure: Figure
    table: pd.DataFrame
    caption: str

    def save(self, folder: str | Path, name: str) -> list[Path]:
        """Write name.png, name.csv and name.txt, each whole, and return their paths.

        Raises `InputError` where nothing can be written.
        """
        from cartsim.files import writable_folder, write_whole
        from cartsim.plots import save

        folder = writable_folder(folder)
        return [
            save(self.figure, folder / f"{name}.png"),
            write_whole(folder / f"{name}.csv", lambda path: self.table.to_csv(path, index=False, float_format="%.6g")),
            write_whole(folder / f"{name}.txt", lambda path: path.write_text(self.caption + "\n", "utf-8")),
        ]


def paragraphs(*texts: str) -> str:
    """Each text as a paragraph of lines of up to 100 characters."""
    return "\n\n".join(textwrap.fill(" ".join(text.split()), 100, break_long_words=False) for text in texts if text)


def observations(path: str | Path, names: dict[str, tuple[str, ...]], numbers: tuple[str, ...]) -> pd.DataFrame:
    """Points to draw beside the curves, from a CSV file.

    names: columns of text with what each may say; numbers: columns of finite numbers. Further columns are
    left out. Raises `InputError`, naming the file and the line, for anything else.
    """
    import numpy as np
    import pandas as pd

    table = read_table(path)
    wanted = [*names, *numbers]
    missing = [name for name in wanted if name not in table]
    if missing or table.empty:
        lack = f"no column {missing[0]!r}" if missing else "no rows"
        raise InputError(f"{path}: {lack}; give the columns {', '.join(wanted)} and a row for each point")
    table = table[wanted].copy()
    for name, known in names.items():
        table[name] = table[name].str.strip()
        unknown = ~table[name].isin(known)
        if unknown.any():
            line = int(np.argmax(unknown)) + 2
            raise InputError(
                f"{path}, line {line}: {name} {table[name].iloc[line - 2]!r} is not one of {', '.join(known)}"
            )
    for name in numbers:
        values = pd.to_numeric(table[name], errors="coerce")
        wrong = ~np.isfinite(values)
        if wrong.any():
            line = int(np.argmax(wrong)) + 2
            raise InputError(f"{path}, line {line}: {name} is {table[name].iloc[line - 2]!r}; give a number")
        table[name] = values
    return table
