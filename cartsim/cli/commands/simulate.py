"""``cartsim simulate``: outputs of patients over time, as a long table."""

from __future__ import annotations

import csv
import sys
from functools import partial
from typing import Annotated

import typer

import cartsim as cs
from cartsim import memory
from cartsim.cli import complete
from cartsim.cli.design import one_dose
from cartsim.cli.grammar import parse_times
from cartsim.cli.options import Dose, Jobs, OtherName, Out, Steps, Times, Who
from cartsim.cli.output import check_file, interruptible, note_failures, write_table
from cartsim.errors import InputError


def simulate(
    who: Who,
    steps: Steps,
    times: Times,
    model: OtherName = None,
    dose: Dose = None,
    outputs: Annotated[
        str | None,
        typer.Option(
            help="Names of outputs and states, with commas between; by default all outputs.",
            autocompletion=complete.outputs,
        ),
    ] = None,
    jobs: Jobs = 1,
    out: Out = None,
) -> None:
    """Simulate patients: a long table of outputs.

    The typical patient, those of a file (--patients) or virtual ones (--n). Columns: id, time, outputs; in a .parquet
    file also dose and what each patient was given. By default CSV to stdout.
    """
    check_file(out)
    who.named(model)
    if who.patients is None and who.n is None and who.drawn():
        raise InputError(
            f"{who.drawn()[0]} is of virtual patients: say with --n how many, or use --set for the typical one"
        )
    one = who.patients is None and who.n is None
    chosen: cs.Model | cs.Population | cs.Patients = who.model(model) if one else who.of(model)
    of = chosen if isinstance(chosen, cs.Model) else chosen.model
    if isinstance(chosen, cs.Patients) and dose is not None and chosen.dose is not None:
        raise InputError(f"--dose {dose} and the dose column of {who.patients} disagree; give one of the two")
    cells, read_at = one_dose(dose), parse_times(times or "")
    names = [name.strip() for name in outputs.split(",")] if outputs is not None else None
    many = len(chosen) if isinstance(chosen, cs.Patients) else who.n or 1
    # A file's table is made at once and copied on the way into it; stdout gets a patient at a time.
    whole = out is not None and out.suffix == ".parquet"
    given = 1 if isinstance(chosen, cs.Model) else 1 + len(chosen.held)
    columns = len(names or of.outputs or of.states) + (given if whole else 0)
    memory.require_simulation(many, len(read_at), columns, len(of.parameters), copies=0 if out is None else 2)
    run = partial(cs.simulate, chosen, cells, read_at, names, n=who.n, solver=steps.solver(), n_jobs=jobs)
    result = interruptible(run)
    if result.status.any():
        note_failures(result.failures, len(result.ids))
    if out is None:
        _to_stdout(result)
    else:
        write_table(result.frame if whole else result.frame[["id", "time", *result.values]], out)


def _to_stdout(result: cs.Simulation) -> None:
    """The outputs of ``result.frame``, without waiting for pandas: half a second."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["id", "time", *result.values])
    times = result.times.tolist()
    for patient, *values in zip(result.ids, *result.values.values(), strict=True):
        writer.writerows(zip([patient] * len(times), times, *(each.tolist() for each in values), strict=True))
