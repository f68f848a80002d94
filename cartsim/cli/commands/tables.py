"""``cartsim respond`` and ``cartsim nca``: a user's own measurements judged and analyzed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import cartsim as cs
from cartsim.cli.design import judged_file
from cartsim.cli.options import Censoring, Criteria, Events, Horizon, Lloq, Out
from cartsim.cli.output import check_file, write_table

_FILE = "CSV file with columns id, time (days from infusion), value: a row for each measurement."


def respond(
    file: Annotated[Path, typer.Argument(help=_FILE)],
    events: Events = None,
    criteria: Criteria = None,
    censoring: Censoring = "fda",
    out: Out = None,
) -> None:
    """Judge responses of your own data.

    Best response and its dates by IMWG 2016 from serum M-protein (g/L), with progression-free and overall survival, a
    row for each patient, in days. cartsim survival makes estimates of the same file.
    """
    check_file(out)
    write_table(judged_file(file, events, criteria, censoring).frame, out)


def nca(
    file: Annotated[Path, typer.Argument(help=_FILE)],
    lloq: Lloq = None,
    trapezoids: Annotated[str, typer.Option(help="Of the area under the curve: linear-log or linear.")] = "linear-log",
    horizon: Horizon = 28.0,
    after_blq: Annotated[
        str,
        typer.Option(
            help="After a last sample below --lloq the area takes the regression (lambda_z) or nothing (zero)."
        ),
    ] = "lambda_z",
    out: Out = None,
) -> None:
    """Noncompartmental analysis of your own data.

    Cmax, Tmax, AUC, half-life and persistence of CAR-T cells or transgene, a row for each patient.
    The area under the curve goes to day --horizon.
    """
    from cartsim.endpoints.kinetics import LLOQ

    check_file(out)
    rows, until = cs.read_observations(file, name=str(file)), 28.0 if horizon is None else horizon
    lloq = LLOQ if lloq is None else lloq
    write_table(cs.nca(rows, lloq=lloq, method=trapezoids, horizon=until, after_blq=after_blq), out)
