"""``cartsim sensitivity``: which parameters decide an endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import cartsim as cs
from cartsim import memory
from cartsim.cli.design import one_dose
from cartsim.cli.grammar import parse_pair, parse_times
from cartsim.cli.options import Dose, Endpoint, Horizon, Jobs, OtherName, Out, Pictures, Steps, Times, Who, given
from cartsim.cli.output import interruptible, ranged, show_tables, table_of, write_table
from cartsim.cli.process import note
from cartsim.cli.run import filled
from cartsim.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from cartsim.sensitivity.endpoint import Function
    from cartsim.sensitivity.indices import Indices
    from cartsim.sensitivity.ranges import Range

METHODS = ("sobol", "efast", "prcc", "local", "responders")
_FILES = ("indices.csv", "correlations.csv", "convergence.csv", "phases.csv", "elasticities.csv", "tornado.csv",
          "responders.csv", "failures.csv", "sensitivity.json", "indices.png", "correlations.png", "convergence.png",
          "tornado.png", "elasticities.png", "responders.png")  # fmt: skip


@dataclass(frozen=True)
class _Answer:
    """What a method found: about it, what is printed, tables and pictures by the names of their files, and remarks."""

    about: Mapping[str, Any]
    shown: list[Any]
    tables: dict[str, pd.DataFrame]
    pictures: dict[str, Callable[[], Any]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def sensitivity(
    parameters: Annotated[
        str, typer.Option(help="Names with commas between; NAME=LOW:HIGH for an even range, such as burden=5:95.")
    ],
    who: Who,
    steps: Steps,
    model: OtherName = None,
    endpoint: Endpoint = "Cmax",
    method: Annotated[str, typer.Option(help=f"One of {', '.join(METHODS)}.")] = "sobol",
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="Base samples of sobol (a power of two), runs a curve of efast, or sets."),
    ] = None,
    curves: Annotated[
        int, typer.Option(min=1, help="With efast: search curves of each parameter; from two on there are limits.")
    ] = 1,
    range_: Annotated[
        str, typer.Option("--range", help="Of parameters without their own: iiv, rse, or factor:2 around typical.")
    ] = "iiv",
    dose: Dose = None,
    times: Times = None,
    horizon: Horizon = None,
    scale: Annotated[str | None, typer.Option(help="log or linear, of the endpoint; by default its own.")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="With responders: the endpoint from which on a set responds.")
    ] = None,
    failed: Annotated[str, typer.Option(help="With sobol: stop, or drop blocks with failed runs.")] = "stop",
    jobs: Jobs = -1,
    pictures: Pictures = Pictures(),  # noqa: B008 (frozen)
    out: Out = Path("sensitivity"),
) -> None:
    """Say which parameters decide an endpoint: table, files, pictures.

    sobol and efast divide the endpoint's variance over the ranges among the parameters (they need the extra
    cartsim[sensitivity]); prcc says by partial rank correlations how steadily it rises or falls with each; local gives
    elasticities at the typical values, also of parameters without a range, and a tornado over the ranges;
    responders compares sets at or above --threshold with the others, or patients: those of --patients, or --n virtual
    ones, with all that varies. --omega and --burden change the variability that --range iiv reads. --times are those of
    a curve.
    """
    if method not in METHODS:
        raise InputError(f"--method {method!r} is not known; it is one of {', '.join(METHODS)}")
    if method != "efast" and curves != 1:
        raise InputError(f"--curves {curves}: search curves are those of --method efast; leave it out")
    if method == "responders" and threshold is None:
        raise InputError("--method responders needs --threshold, the endpoint from which on a set responds")
    who.named(model)
    compared = _compared(who, method, samples)
    patients, seed = who.of(model), who.seed
    names, own = _named(parameters)
    if compared and own:
        raise InputError(f"--parameters {next(iter(own))}: patients have their own values; give the name alone")
    box, without = ({}, names) if compared else _ranges(patients, names, own, range_, some=method == "local")
    function = cs.endpoint(
        patients.model,
        endpoint,
        one_dose(dose),
        times=None if times is None else parse_times(times),
        horizon=horizon,
        scale=scale,
        solver=steps.solver(),
        n_jobs=jobs,
    )
    if samples is not None:
        sets = samples * (len(box) + 2) * curves
        width = 4 * len(box) + (1 if function.times is None else len(function.times))
        memory.require(8 * sets * width, f"--samples {samples:,}: {sets:,} sets of parameters", "give fewer")
    if who.n is not None:
        memory.require(8 * who.n * 4 * len(patients.held), f"--n {who.n:,} patients", "give fewer")
    among = {"among": patients, "n": who.n, "names": names} if compared else {"among": box, "n": samples, "seed": seed}
    work: dict[str, Callable[[], _Answer]] = {
        "sobol": lambda: _indices(cs.sobol(function, box, samples or 1024, seed=seed, failed=failed)),
        "efast": lambda: _indices(cs.efast(function, box, samples or 1025, curves=curves, seed=seed)),
        "prcc": lambda: _ranks(function, box, samples or 500, seed),
        "local": lambda: _local(function, box, without),
        "responders": lambda: _responders(function, among, threshold or 0.0),
    }
    with filled(out, _FILES) as stage:
        found = interruptible(work[method])
        for remark in found.remarks:
            note(remark)
        show_tables(*found.shown)
        for name, table in found.tables.items():
            write_table(table, stage / name)
        if pictures:
            for name, draw in found.pictures.items():
                pictures.save(draw(), stage / name)
        about = {**found.about, "ranges": {name: vars(each) for name, each in box.items()}}
        (stage / "sensitivity.json").write_text(json.dumps(about, indent=2) + "\n")


def _compared(who: Who, method: str, samples: int | None) -> bool:
    """Whether patients are compared, rather than parameters varied over ranges."""
    compared = who.patients is not None or who.n is not None
    for option in given(who, Who):
        if option in ("--patients", "--n") and method != "responders":
            raise InputError(f"{option} goes with --method responders; {method} varies parameters over ranges")
        if option in ("--correlation", "--sampler") and not compared:
            raise InputError(f"{option} is of virtual patients: say with --n how many are compared")
    if compared and samples is not None:
        raise InputError(f"--samples {samples} is of sets drawn from ranges; leave it out where patients are compared")
    return compared


def _named(parameters: str) -> tuple[list[str], dict[str, tuple[float, float]]]:
    """The names of "Kel_e,burden=5:95", and the ranges."""
    names, own = [], {}
    for piece in parameters.split(","):
        name, equals, text = (part.strip() for part in piece.partition("="))
        if not name:
            raise InputError(f"--parameters {parameters}: a name is missing; write names with commas between")
        names.append(name)
        if equals:
            own[name] = parse_pair(f"--parameters {piece.strip()}", text, "NAME=LOW:HIGH, such as burden=5:95")
    return names, own


def _ranges(
    patients: cs.Population | cs.Patients, names: list[str], own: dict[str, tuple[float, float]], by: str, *, some: bool
) -> tuple[dict[str, Range], list[str]]:
    """The ranges by name; and where some will do, names of the parameters without one of their own or of this kind."""
    from cartsim.sensitivity.ranges import has_range

    kind, _, factor = by.partition(":")
    varied = (getattr(patients, "variability", None) or {}) if kind == "iiv" else {}  # what --omega and --burden say
    known = {name: varied[name] for name in names if name in varied} | own
    without = [name for name in names if some and name not in known and not has_range(patients.model, name, kind)]
    if len(without) == len(names):
        return {}, without
    try:
        times = float(factor or 2)
    except ValueError:
        raise InputError(f"--range {by}: write iiv, rse, factor or factor:2") from None
    kept = [name for name in names if name not in without]
    return cs.ranges(patients.model, kept, kind, factor=times, given=known), without


def _label(function: Function) -> str:
    from cartsim.plots.style import label_with_unit

    return label_with_unit(function.name, function.unit)


def _ranks(function: Function, box: dict[str, Range], n: int, seed: int) -> _Answer:
    found = cs.prcc(function, box, n, seed=seed)
    at = {} if function.times is None else {"at": "{time:g}"}
    value = {"partial rank correlation": "{prcc:z.3f} ({low:z.3f} to {high:z.3f})", "p": "{pvalue:.2g}"}
    title = f"{_label(function)}, n = {len(found.samples):,}, with 95 % limits"
    view = table_of(title, found.summary, {"parameter": "{parameter}", **at, **value})
    return _Answer(found.made_by, [view], {"correlations.csv": found.frame}, {"correlations.png": found.plot})


def _indices(found: Indices) -> _Answer:
    from cartsim.plots.style import times_called
    from cartsim.sensitivity.phases import by_phase, course

    function, tables = found.function, {"indices.csv": found.table}
    if found.dropped:
        tables["failures.csv"] = found.failures
    if function.times is None:
        pictures = {"indices.png": found.plot.bars}
        if found.method == "sobol":
            tables["convergence.csv"] = found.convergence()
            pictures["convergence.png"] = found.plot.convergence
        shown = [found.how(), _index_table(found.table, _label(function))]
        return _Answer(found.made_by, shown, tables, pictures, found.warnings)
    assert function.model is not None
    typical, unit = course(function), times_called(function.model.time)
    tables["phases.csv"] = means = by_phase(found.table, typical.phases)
    shown = [f"{_label(function)}, means over time. {found.how()}"]
    for phase, own in means.groupby("phase", sort=False):
        start, end = typical.phases[str(phase)]
        shown.append(_index_table(own, f"{phase}, {start:g} to {end:g} {unit}"))
    remarks = (*found.warnings, *([typical.note] if typical.note else []))
    about = found.made_by | {"phases": typical.phases}
    return _Answer(about, shown, tables, {"indices.png": found.plot.over_time}, remarks)


def _index_table(table: pd.DataFrame, title: str) -> Any:
    columns: dict[str, Any] = {"parameter": "{parameter}"}
    for order in ("first", "total"):
        columns[f"{order} order"] = lambda row, key=f"{order}{{}}": ranged(row, key, "{} ({} to {})", "z.3f")
    return table_of(title, table.sort_values("total", ascending=False, kind="stable"), columns)


def _local(function: Function, box: dict[str, Range], without: list[str]) -> _Answer:
    from cartsim.sensitivity.phases import course
    from cartsim.sensitivity.ranges import typical_value

    assert function.model is not None
    values = {name: each.typical for name, each in box.items()}
    found = cs.local(function, values | {name: typical_value(function.model, name) for name in without})
    about = {"method": "local", "endpoint": function.name, "unit": function.unit, **function.made_by}
    tables = {"elasticities.csv": found.frame}
    if function.times is not None:
        typical = course(function)
        draw = {"elasticities.png": lambda: found.plot.map(phases=typical.phases)}
        remarks = (typical.note,) if typical.note else ()
        return _Answer(about | {"phases": typical.phases}, [], tables, draw, remarks)
    shown, pictures = found.frame, {"elasticities.png": found.plot.bars} if without else {}
    if box:
        swings = cs.tornado(function, box)
        tables["tornado.csv"] = swings.frame
        shown = swings.frame.merge(shown, "outer", "parameter").set_index("parameter")
        shown = shown.loc[[*swings.frame["parameter"], *without]].reset_index()
        said = "Ends: 5th and 95th percentile of each range (in brackets); the others at their typical values"
        pictures["tornado.png"] = lambda: swings.plot.tornado(note=said)
    columns = {
        "parameter": "{parameter}",
        "elasticity": "{elasticity:z.3f}",
        "range, 5 to 95 %": lambda row: (
            "{low:.4g} to {high:.4g}".format_map(row) if row["parameter"] in box else "none"
        ),
        "endpoint there": lambda row: (
            "{at_low:.4g} to {at_high:.4g}".format_map(row) if row["parameter"] in box else ""
        ),
    }
    return _Answer(about, [table_of(_label(function), shown, columns)], tables, pictures)


def _responders(function: Function, among: dict[str, Any], threshold: float) -> _Answer:
    from cartsim.sensitivity.responders import filtered

    found = filtered(function, threshold=threshold, **among)
    response = f"{_label(function)} of {threshold:g} or more"
    odds = "-" if found.note else "{odds_ratio:.3g} ({odds_low:.3g} to {odds_high:.3g})"
    columns = {
        "parameter": "{parameter}",
        "median, responders": "{median_responders:.4g}",
        "median, others": "{median_others:.4g}",
        "KS distance": "{ks:.3f}",
        "adjusted p": "{p_holm:.2g}",
        "odds ratio of an SD": odds,
    }
    view = table_of(f"{response}: {found.n_responders:,} against {found.n_others:,}", found.table, columns)
    about = {"method": "responders", "endpoint": function.name, "auc": found.auc, "note": found.note, **found.made_by}
    draw = {"responders.png": lambda: found.plot.parameters(response)}
    return _Answer(about, [view], {"responders.csv": found.table}, draw, found.warnings)
