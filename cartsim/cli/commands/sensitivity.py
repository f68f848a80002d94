"""``cartsim sensitivity``: which parameters decide an endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cartsim import memory
from cartsim.cli import complete
from cartsim.cli.options import Dose, Horizon, Jobs, Name, Out, Pictures, Steps, Times, Who, given
from cartsim.cli.output import interruptible, new_table, show_tables, write_table
from cartsim.cli.process import note
from cartsim.cli.run import filled
from cartsim.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from cartsim.model.reader import Model
    from cartsim.population.patients import Patients
    from cartsim.population.population import Population
    from cartsim.sensitivity.endpoint import Function
    from cartsim.sensitivity.indices import Indices
    from cartsim.sensitivity.ranges import Range

_UNITS = {"day": "days", "h": "hours"}
METHODS = ("sobol", "efast", "prcc", "local", "responders")
_TABLES = ("indices.csv", "correlations.csv", "convergence.csv", "phases.csv", "elasticities.csv", "tornado.csv",
           "responders.csv", "failures.csv")  # fmt: skip
_FILES = (*_TABLES, "sensitivity.json", "indices.png", "correlations.png", "convergence.png", "tornado.png",
          "elasticities.png", "responders.png")  # fmt: skip


def sensitivity(
    model: Name,
    parameters: Annotated[
        str, typer.Option(help="Names with commas between; NAME=LOW:HIGH for an even range, such as burden=5:95.")
    ],
    who: Who,
    steps: Steps,
    endpoint: Annotated[
        str,
        typer.Option(
            help="Cmax, Tmax, AUC0-28, mprotein_fall, OUTPUT@DAY, KIND:OUTPUT, or OUTPUT for its curve.",
            autocompletion=complete.endpoints,
        ),
    ] = "Cmax",
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
    from cartsim.cli.design import one_dose
    from cartsim.cli.grammar import parse_times
    from cartsim.sensitivity.endpoint import endpoint as endpoint_of
    from cartsim.sensitivity.indices import efast, sobol

    if method not in METHODS:
        raise InputError(f"--method {method!r} is not known; it is one of {', '.join(METHODS)}")
    if method != "efast" and curves != 1:
        raise InputError(f"--curves {curves}: search curves are those of --method efast; leave it out")
    if method == "responders" and threshold is None:
        raise InputError("--method responders needs --threshold, the endpoint from which on a set responds")
    compared = _compared(who, method, samples)
    patients = who.of(model)
    chosen, cells, seed = patients.model, one_dose(dose), who.seed
    names, own = _named(parameters)
    if compared and own:
        raise InputError(f"--parameters {next(iter(own))}: patients have their own values; give the name alone")
    without = _without(patients, names, own, range_) if method == "local" else []
    ranged = [name for name in names if name not in without]
    box = _ranges(patients, ranged, own, range_) if ranged and not compared else {}
    among = {"among": patients, "n": who.n, "names": names} if compared else {"among": box, "n": samples, "seed": seed}
    function = endpoint_of(
        chosen,
        endpoint,
        cells,
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

    def show(found: Indices) -> dict[str, Any]:
        return _indices(found, chosen, cells, stage, pictures)

    with filled(out, _FILES) as stage:
        work: dict[str, Callable[[], Any]] = {
            "sobol": lambda: show(sobol(function, box, samples or 1024, seed=seed, failed=failed)),
            "efast": lambda: show(efast(function, box, samples or 1025, curves=curves, seed=seed)),
            "prcc": lambda: _ranks(function, box, samples or 500, seed, stage, pictures),
            "local": lambda: _local(function, box, without, cells, stage, pictures),
            "responders": lambda: _responders(function, among, threshold, stage, pictures),
        }
        settings = interruptible(work[method])
        settings |= {"ranges": {name: vars(each) for name, each in box.items()}}
        (stage / "sensitivity.json").write_text(json.dumps(settings, indent=2) + "\n")


def _compared(who: Who, method: str, samples: int | None) -> bool:
    """Whether patients are compared, rather than parameters varied over ranges."""
    compared = who.patients is not None or who.n is not None
    for option in given(who):
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
        names.append(name)
        if equals:
            try:
                low, high = (float(end) for end in text.split(":"))
            except ValueError:
                raise InputError(f"--parameters {piece.strip()}: write NAME=LOW:HIGH, such as burden=5:95") from None
            own[name] = (low, high)
    return names, own


def _without(
    patients: Population | Patients, names: list[str], own: dict[str, tuple[float, float]], by: str
) -> list[str]:
    """Names of the parameters that have no range, neither their own nor one of the kind asked for."""
    from cartsim.sensitivity.ranges import has_range

    kind = by.partition(":")[0]
    asked = getattr(patients, "variability", None) or {} if kind == "iiv" else {}
    return [name for name in names if name not in {*own, *asked} and not has_range(patients.model, name, kind)]


def _ranges(
    patients: Population | Patients, names: list[str], own: dict[str, tuple[float, float]], by: str
) -> dict[str, Range]:
    from cartsim.sensitivity.ranges import ranges

    kind, _, factor = by.partition(":")
    varied = getattr(patients, "variability", None) or {}  # what --omega and --burden say
    asked = {name: varied[name] for name in names if name in varied and kind == "iiv"}
    try:
        return ranges(patients.model, names, kind, factor=float(factor or 2), given=asked | own)
    except ValueError as problem:
        if isinstance(problem, InputError):
            raise
        raise InputError(f"--range {by}: write iiv, rse, factor or factor:2") from None


def _label(function: Function) -> str:
    return function.name if function.unit == "1" else f"{function.name} ({function.unit.replace('ug', 'µg')})"


def _time(model: Model) -> str:
    return _UNITS.get(model.time, model.time)


def _course(model: Model, dose: float | None, function: Function) -> tuple[Any, Any, dict[str, tuple[float, float]]]:
    """The typical patient's curve, and the phases of CAR-T cells where the model has them."""
    from cartsim.sensitivity.phases import phases, typical

    assert function.times is not None
    times, curve = typical(model, dose, output=function.name, until=function.times[-1])
    marked = {"whole time": (float(function.times[0]), float(function.times[-1]))}
    if "transgene" in model.outputs:
        try:
            found = phases(*typical(model, dose, until=function.times[-1]))
        except InputError as problem:
            note(f"no phases are marked: {problem}")
        else:
            read = function.times
            held = {name: (a, b) for name, (a, b) in found.items() if ((read >= a) & (read <= b)).sum() > 1}
            marked = held or marked
    return times, curve, marked


def _ranks(
    function: Function, box: dict[str, Range], n: int, seed: int, stage: Path, pictures: Pictures
) -> dict[str, Any]:
    from cartsim.sensitivity.ranks import prcc

    found = prcc(function, box, n, seed=seed)
    write_table(found.frame, stage / "correlations.csv")
    curve = function.times is not None
    heads = ("parameter", *(["at"] if curve else []), "partial rank correlation", "p")
    view = new_table(f"{_label(function)}, n = {len(found.samples):,}, with 95 % limits", *heads, right=heads[1:])
    for row in found.summary.to_dict("records"):
        at = [f"{row['time']:g}"] if curve else []
        value = f"{row['prcc']:z.3f} ({row['low']:z.3f} to {row['high']:z.3f})"
        view.add_row(row["parameter"], *at, value, f"{row['pvalue']:.2g}")
    show_tables(view)
    if pictures:
        pictures.save(found.plot(), stage / "correlations.png")
    return found.made_by


def _indices(found: Indices, model: Model, dose: float | None, stage: Path, pictures: Pictures) -> dict[str, Any]:
    from cartsim.sensitivity.phases import by_phase

    function, method = found.function, found.method
    if found.dropped:
        note(f"{found.dropped} of {found.n} Saltelli blocks were left out: {len(found.failures)} runs failed")
        write_table(found.failures, stage / "failures.csv")
    write_table(found.table, stage / "indices.csv")
    limited = {"sobol": ", with 95 % bootstrap limits", "efast": ", with 95 % limits of repeated search curves"}
    limits = limited[method] if found.level == found.level else ""
    said = (
        f"{'Sobol' if method == 'sobol' else 'eFAST'}, n = {found.n:,}, {len(found.samples):,} runs, variance of the "
        f"{'logarithm' if function.scale == 'log' else 'value itself'}{limits}"
    )
    if function.times is None:
        show_tables(said, _index_table(found.table, _label(function)))
        if pictures:
            pictures.save(found.plot.bars(note=said), stage / "indices.png")
        if method == "sobol":
            write_table(found.convergence(), stage / "convergence.csv")
            if pictures:
                pictures.save(found.plot.convergence(note=said), stage / "convergence.png")
        return found.made_by
    times, curve, marked = _course(model, dose, function)
    means = by_phase(found.table, marked)
    write_table(means, stage / "phases.csv")
    show_tables(f"{_label(function)}, means over time. {said}")
    for phase, own in means.groupby("phase", sort=False):
        start, end = marked[str(phase)]
        show_tables(_index_table(own, f"{phase}, {start:g} to {end:g} {_time(model)}"))
    if pictures:
        pictures.save(found.plot.over_time(phases=marked, curve=(times, curve), note=said), stage / "indices.png")
    return found.made_by | {"phases": marked}


def _index_table(table: pd.DataFrame, title: str) -> Any:
    view = new_table(title, "parameter", "first order", "total order", right=("first order", "total order"))
    for row in table.sort_values("total", ascending=False, kind="stable").to_dict("records"):
        cells = []
        for order in ("first", "total"):
            low, high = row[f"{order}_low"], row[f"{order}_high"]
            value, low, high = (f"{number:z.3f}" for number in (row[order], low, high))
            cells.append(value if low == "nan" else f"{value} ({low} to {high})")
        view.add_row(row["parameter"], *cells)
    return view


def _local(
    function: Function,
    box: dict[str, Range],
    without: list[str],
    dose: float | None,
    stage: Path,
    pictures: Pictures,
) -> dict[str, Any]:
    from cartsim.sensitivity.local import local, tornado
    from cartsim.sensitivity.ranges import typical_value

    typical = {name: each.typical for name, each in box.items()}
    assert function.model is not None  # it is of the command's model
    found = local(function, typical | {name: typical_value(function.model, name) for name in without})
    table = found.frame
    write_table(table, stage / "elasticities.csv")
    settings = {"method": "local", "endpoint": function.name, "unit": function.unit, **function.made_by}
    if function.times is not None:
        _, _, marked = _course(function.model, dose, function)
        if pictures:
            pictures.save(found.plot.map(phases=marked), stage / "elasticities.png")
        return settings | {"phases": marked}
    swung = tornado(function, box) if box else None
    swings = table[:0] if swung is None else swung.frame
    if box:
        write_table(swings, stage / "tornado.csv")
    heads = ("parameter", "elasticity", "range, 5 to 95 %", "endpoint there")
    view = new_table(_label(function), *heads, right=heads[1:])
    slopes = table.set_index("parameter")["elasticity"]
    for row in swings.itertuples():
        view.add_row(
            row.parameter,
            f"{slopes[row.parameter]:z.3f}",
            f"{row.low:.4g} to {row.high:.4g}",
            f"{row.at_low:.4g} to {row.at_high:.4g}",
        )
    for name in without:
        view.add_row(name, f"{slopes[name]:z.3f}", "none", "")
    show_tables(view)
    if pictures and without:
        pictures.save(found.plot.bars(), stage / "elasticities.png")
    if pictures and swung is not None:
        said = "Ends: 5th and 95th percentile of each range (in brackets); the others at their typical values"
        pictures.save(swung.plot.tornado(note=said), stage / "tornado.png")
    return settings


def _responders(
    function: Function, among: dict[str, Any], threshold: float | None, stage: Path, pictures: Pictures
) -> dict[str, Any]:
    from cartsim.sensitivity.responders import filtered

    assert threshold is not None  # sensitivity saw to it
    found = filtered(function, threshold=threshold, **among)
    write_table(found.table, stage / "responders.csv")
    response = f"{_label(function)} of {threshold:g} or more"
    heads = ("parameter", "median, responders", "median, others", "KS distance", "adjusted p", "odds ratio of an SD")
    view = new_table(f"{response}: {found.n_responders:,} against {found.n_others:,}", *heads, right=heads[1:])
    for row in found.table.itertuples():
        odds = f"{row.odds_ratio:.3g} ({row.odds_low:.3g} to {row.odds_high:.3g})" if not found.note else "-"
        view.add_row(
            row.parameter,
            f"{row.median_responders:.4g}",
            f"{row.median_others:.4g}",
            f"{row.ks:.3f}",
            f"{row.p_holm:.2g}",
            odds,
        )
    show_tables(view)
    if found.note:
        note(found.note)
    if pictures:
        pictures.save(found.plot.parameters(response), stage / "responders.png")
    return {
        "method": "responders",
        "endpoint": function.name,
        "auc": found.auc,
        "note": found.note,
        **found.made_by,
    }
