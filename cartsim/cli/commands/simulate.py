"""``cartsim simulate``: outputs of patients over time, as a long table."""

from __future__ import annotations

import csv
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cartsim import memory
from cartsim.cli.options import Extinction, Jobs, Name, Rtol, Settings, TableFile
from cartsim.cli.output import check_file, interruptible, note_failures, write_table
from cartsim.errors import InputError
from cartsim.solver import RTOL, Solver

if TYPE_CHECKING:
    from cartsim.model.model import Model
    from cartsim.simulation import Simulation


def simulate(
    model: Name,
    times: Annotated[str, typer.Option(help="Numbers and ranges start:stop:step, such as 0:30:1,37:640:7.")],
    dose: Annotated[
        float | None, typer.Option(help="Cells infused at time 0; by default the model's own dose.")
    ] = None,
    patients: Annotated[
        Path | None,
        typer.Option(help="CSV file: a row a patient, columns named as parameters, optionally id and dose."),
    ] = None,
    n: Annotated[int | None, typer.Option("--n", min=1, help="So many virtual patients instead.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the virtual patients.")] = 2021,
    set_: Settings = None,
    outputs: Annotated[
        str | None,
        typer.Option(help="Names of outputs and states, with commas between; by default all outputs."),
    ] = None,
    rtol: Rtol = RTOL,
    extinction: Extinction = None,
    jobs: Jobs = 1,
    out: TableFile = None,
) -> None:
    """Simulate patients: a long table of outputs.

    The typical patient, those of a file (--patients) or virtual ones (--n). Columns: id, time, outputs.
    """
    from cartsim.cli.grammar import parse_assignments, parse_times
    from cartsim.model.reader import load
    from cartsim.population.patients import Patients
    from cartsim.population.population import Population
    from cartsim.simulation import simulate as run

    check_file(out)
    if patients is not None and n is not None:
        raise InputError("--patients and --n both say who is simulated; give one of the two")
    chosen = load(model).override(parse_assignments(set_ or []))
    who: Model | Population | Patients = chosen
    if patients is not None:
        who = Patients(chosen, patients)
    elif n is not None:
        who = Population(chosen, seed)
    if isinstance(who, Patients) and dose is not None and who.dose is not None:
        raise InputError(f"--dose {dose:g} and the dose column of {patients} disagree; give one of the two")
    read_at = parse_times(times)
    names = [name.strip() for name in outputs.split(",")] if outputs is not None else None
    many = n if n is not None else len(who) if isinstance(who, Patients) else 1
    columns = len(names or chosen.outputs or chosen.states)
    # A file's table is made at once and copied on the way into it; stdout gets a patient at a time.
    copies = 0 if out is None else 2
    memory.require_simulation(many, len(read_at), columns, len(chosen.parameters), copies=copies)
    work = partial(run, who, dose, read_at, names, n=n, solver=Solver(rtol, extinction), n_jobs=jobs)
    result = interruptible(work)
    if result.status.any():
        note_failures(result.failures, len(result.ids))
    if out is None:
        _to_stdout(result)
    else:
        write_table(result.frame[["id", "time", *result.values]], out)


def _to_stdout(result: Simulation) -> None:
    """The outputs of ``result.frame``, without waiting for pandas: half a second."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["id", "time", *result.values])
    times = result.times.tolist()
    for patient, *values in zip(result.ids, *result.values.values(), strict=True):
        writer.writerows(zip([patient] * len(times), times, *(each.tolist() for each in values), strict=True))
