"""The paper's figures, one call each: simulated, drawn and explained.

    >>> from cartsim.paper import figure
    >>> print(figure("3").caption[:9])
    Figure 3.

Figures are numbered as in Singh et al. 2021 (doi:10.1002/psp4.12598). Nothing in them is fitted to its data.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cartsim.errors import InputError
from cartsim.paper.culture import figure_2a
from cartsim.paper.dose import figure_4, figure_6b
from cartsim.paper.drawn import Drawn
from cartsim.paper.individuals import figure_5a, figure_5b, figure_s2
from cartsim.paper.influence import figure_s1
from cartsim.paper.mouse import figure_2b
from cartsim.paper.patients import figure_3, figure_6a, figure_s3
from cartsim.paper.schematic import figure_1

__all__ = ["FIGURES", "Drawn", "Entry", "check", "figure"]


class Entry(NamedTuple):
    """A figure, what it shows, and the columns of the data that it takes: measured points, or patients to fit."""

    draw: Callable[..., Drawn]
    shows: str
    columns: str = ""


FIGURES = {
    "1": Entry(figure_1, "the three models as graphs of states and processes, drawn from their files"),
    "2a": Entry(figure_2a, "viability of six cell lines against effector to target ratio", "line, ET, viability"),
    "2b": Entry(figure_2b, "tumor volume and blood CAR-T cells of mice", "series, day, value"),
    "3": Entry(
        figure_3,
        "transgene, soluble BCMA and M-protein of the typical patient at four doses",
        "series, dose, day, value, sd (may be left out)",
    ),
    "4": Entry(figure_4, "peak, its day and falls of both biomarkers over dose and tumor burden"),
    "5a": Entry(figure_5a, "M-protein of patients fitted to response categories", "id, dose, time, category"),
    "5b": Entry(figure_5b, "progression-free survival, observed and of these fits", "id, dose, time, category"),
    "6a": Entry(figure_6a, "M-protein of virtual patients at four doses"),
    "6b": Entry(figure_6b, "response of virtual patients at 6 and 21 months against dose"),
    "S1": Entry(figure_s1, "sensitivity of the transgene along time to the parameters of cell kinetics"),
    "S2": Entry(figure_s2, "M-protein of all patients fitted to response categories", "id, dose, time, category"),
    "S3": Entry(figure_s3, "M-protein of all virtual patients at four doses"),
}


def figure(name: str, *, data: str | Path | None = None) -> Drawn:
    """The figure of that name: picture, table of what is drawn, and caption.

    Parameters
    ----------
    name
        One of `FIGURES`, such as "2b".
    data
        CSV file, for figures that take one: measured points to draw beside the curves, or patients to fit.

    Raises
    ------
    InputError
        For an unknown name, a figure that takes no data, and data that cannot be read.

    Examples
    --------
    >>> import cartsim as cs
    >>> drawn = cs.paper.figure("4")
    >>> list(drawn.frame)
    ['dose', 'burden', 'Cmax', 'Tmax', 'sbcma_fall', 'mprotein_fall']
    """
    check(name, data)
    draw = FIGURES[name].draw
    return draw() if data is None else draw(data)


def check(name: str, data: str | Path | None = None) -> None:
    """Raise `InputError` unless there is such a figure and it can show such data."""
    if name not in FIGURES:
        raise InputError(f"no figure {name!r}; there are {', '.join(FIGURES)}")
    if data is not None and not FIGURES[name].columns:
        takes = ", ".join(each for each, entry in FIGURES.items() if entry.columns)
        raise InputError(f"figure {name} takes no data; leave out {data} (figures {takes} take some)")
