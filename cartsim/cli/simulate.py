"""``cartsim simulate``: outputs of patients over time, as a long table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cartsim.cli.output import check_file, note_failures, write_table
from cartsim.errors import InputError

_SET = "New typical value of a parameter or covariate; repeat for more."


def simulate(
    model: Annotated[str, typer.Argument(help="A model's name, or the path of a .toml file.")],
    times: Annotated[str, typer.Option(help="Numbers and ranges start:stop:step, such as 0:30:1,37:640:7.")],
    dose: Annotated[
        float | None, typer.Option(help="Cells infused at time 0; by default the model's own dose.")
    ] = None,
    patients: Annotated[
        Path | None,
        typer.Option(help="CSV file: a row a patient, columns named as parameters, optionally id and dose."),
    ] = None,
    n: Annotated[int | None, typer.Option("--n", help="So many virtual patients instead.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the virtual patients.")] = 2021,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help=_SET)] = None,
    outputs: Annotated[
        str | None,
        typer.Option(help="Names of outputs and states, with commas between; by default all outputs."),
    ] = None,
    rtol: Annotated[float, typer.Option(help="Relative tolerance, 1e-4 to 1e-11.")] = 1e-6,
    extinction: Annotated[
        float | None,
        typer.Option(help="Cells below which a pool is gone until the next dose; by default none is."),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Threads; -1 for all cores.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="A .csv or .parquet file; by default CSV to stdout.")
    ] = None,
) -> None:
    """Simulate patients: a long table of outputs.

    The typical patient, those of a file (--patients) or virtual ones (--n). Columns: id, time, outputs.
    """
    from cartsim.model import load
    from cartsim.parsing import parse_assignments, parse_times
    from cartsim.population import Population, patients_from_table
    from cartsim.simulate import simulate as run

    check_file(out)
    if patients is not None and n is not None:
        raise InputError("--patients and --n both say who is simulated; give one of the two")
    chosen = load(model).override(parse_assignments(set_ or []))
    table = None if patients is None else patients_from_table(chosen, patients)
    if table is not None and dose is not None and "dose" in table:
        raise InputError(f"--dose {dose:g} and the dose column of {patients} disagree; give one of the two")
    result = run(
        chosen,
        Population(chosen, seed) if n is not None else table,
        dose,
        parse_times(times),
        [name.strip() for name in outputs.split(",")] if outputs is not None else None,
        n=n,
        rtol=rtol,
        extinction=extinction,
        n_jobs=jobs,
    )
    note_failures(result.failures(), len(result.ids))
    write_table(result.frame(), out)
