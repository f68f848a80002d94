"""``cartsim figure``: a figure of the paper, drawn anew."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cartsim.cli import complete
from cartsim.cli.options import Out, Pictures
from cartsim.cli.output import interruptible, new_table, show_tables
from cartsim.cli.run import filled
from cartsim.errors import InputError


def figure(
    name: Annotated[
        str | None,
        typer.Argument(help="Such as 2a; without a name the figures are listed.", autocompletion=complete.figures),
    ] = None,
    out: Out = Path("."),
    data: Annotated[
        Path | None, typer.Option(help="CSV file of measured points, or of patients to fit; the list says which.")
    ] = None,
    pictures: Pictures = Pictures(),  # noqa: B008 (frozen)
) -> None:
    """Draw a figure of the paper.

    Prints the caption and writes figure_NAME.png (or what --format says), figure_NAME.csv (what is drawn) and
    figure_NAME.txt (the caption). Figures are those of Singh et al. 2021, doi:10.1002/psp4.12598.
    """
    from cartsim import paper as figures

    if name is None:
        if data is not None:
            raise InputError(f"--data {data}: say which figure is to show it")
        table = new_table("Figures of Singh et al. 2021", "name", "what it shows", "columns of --data")
        for each, entry in figures.FIGURES.items():
            table.add_row(each, entry.shows, entry.columns or "none")
        show_tables(table)
        return
    figures.check(name, data)
    with filled(out, ()) as stage:
        drawn = interruptible(partial(figures.figure, name, data=data))
        drawn.save(stage, f"figure_{name}", formats=pictures.formats if pictures else (), dpi=pictures.dpi)
    print(drawn.caption)
