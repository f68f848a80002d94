"""``cartsim respond`` and ``cartsim nca``: a user's own measurements judged and analyzed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cartsim.cli.options import Lloq, TableFile
from cartsim.cli.output import check_file, write_table
from cartsim.tables import read_table

_FILE = "CSV file with columns id, time (days from infusion), value: a row for each measurement."


def respond(
    file: Annotated[Path, typer.Argument(help=_FILE)],
    patients: Annotated[
        Path | None,
        typer.Option(help="CSV file: id and optionally baseline, new_therapy_day, death_day, end_day."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Setting of the rules, such as ife_limit=0.1."),
    ] = None,
    out: TableFile = None,
) -> None:
    """Judge responses of your own data.

    Best response and its dates by IMWG 2016 from serum M-protein (g/L), a row for each patient.
    """
    from cartsim.cli.design import settings_of
    from cartsim.endpoints.respond import respond as judged
    from cartsim.endpoints.rules import IMWG2016, rules_from
    from cartsim.observations import read_observations

    check_file(out)
    rules = rules_from("imwg2016", settings_of(set_))
    assert isinstance(rules, IMWG2016)
    listed = None if patients is None else read_table(patients)
    found = judged(read_observations(file, name=str(file)), rules, patients=listed)
    write_table(found.frame, out)


def nca(
    file: Annotated[Path, typer.Argument(help=_FILE)],
    lloq: Lloq = 50.0,
    method: Annotated[str, typer.Option(help="Trapezoids: linear-log or linear.")] = "linear-log",
    horizon: Annotated[float, typer.Option(help="Day to which the area under the curve goes.")] = 28.0,
    out: TableFile = None,
) -> None:
    """Noncompartmental analysis of your own data.

    Cmax, Tmax, AUC, half-life and persistence of CAR-T cells or transgene, a row for each patient.
    """
    from cartsim.endpoints import kinetics
    from cartsim.observations import read_observations

    check_file(out)
    found = kinetics.nca(read_observations(file, name=str(file)), lloq=lloq, method=method, horizon=horizon)
    write_table(found, out)
