"""``cartsim er``: an outcome by exposure, of a stored trial or of a user's own data."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import cartsim as cs
from cartsim.cli.design import doses
from cartsim.cli.drawing import Drawing, plotted
from cartsim.cli.grammar import parse_names
from cartsim.cli.options import Covariates, Dose, Endpoint, Jobs, Out, Pictures
from cartsim.cli.output import interruptible, number, ranged, show_result, table_of
from cartsim.cli.run import filled
from cartsim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cartsim.exposure.analysis import ExposureResponse

SCALES = ("log", "linear")
_FILES = ("patients.csv", "estimates.csv", "quartiles.csv", "models.csv", "covariates.csv", "selection.csv",
          "diagnostics.csv", "evaluation.csv", "survival_by_quartile.csv", "cox.csv", "published_models.csv",
          "dose_exposure.csv", "dose_exposure_curve.csv", "dose_response.csv", "validation.csv",
          "exposure_response.json", "response.png", "exposures.png", "PFS.png", "DOR.png", "dose_response.png",
          "dose_exposure.png", "validation.png", "roc.png")  # fmt: skip


def er(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="The folder that cartsim trial wrote, or a CSV file with a row for each patient."
        ),
    ],
    endpoint: Endpoint = "ORR",
    exposure: Annotated[
        str, typer.Option(help="auc028, cmax, expansion_rate (Cmax/Tmax), clast, or another column of numbers.")
    ] = "auc028",
    covariates: Covariates = None,
    dose: Dose = "150e6,300e6,450e6",
    validate: Annotated[
        Path | None, typer.Option(help="A second trial or CSV file, which the model is tried on.")
    ] = None,
    simulate: Annotated[
        bool, typer.Option("--simulate/--no-simulate", help="Simulate the patients of a trial at each dose too.")
    ] = True,
    exposure_scale: Annotated[
        str, typer.Option(help="log or linear: whether the linear model is in the logarithm of exposure.")
    ] = "log",
    interval: Annotated[str, typer.Option(help="Limits of rates by quartile: wilson, wald or exact.")] = "wilson",
    jobs: Jobs = -1,
    pictures: Pictures = Pictures(),  # noqa: B008 (frozen)
    out: Out = Path("er"),
) -> None:
    """Exposure-response of a trial or of your own data.

    Quartiles, linear and Emax models on the logit, choice of covariates, survival by quartile, exposure against dose,
    and the rate predicted at each dose: with exposure in proportion to dose, as the KarMMa analysis assumes, and, of a
    trial, as the model simulates the same patients. CRS requiring tocilizumab is told by a surrogate.
    """
    if exposure_scale not in SCALES:
        raise InputError(f"--exposure-scale {exposure_scale}: choose from {', '.join(SCALES)}")
    analyse = partial(
        cs.exposure_response,
        source,
        endpoint,
        exposure,
        [name for text in covariates or () for name in parse_names(text)],
        doses=doses(dose),
        validate=validate,
        simulate=simulate,
        log=exposure_scale == "log",
        limits=interval,
        n_jobs=jobs,
    )
    with filled(out, _FILES) as stage, Drawing(pictures) as drawing:
        found: ExposureResponse = interruptible(analyse)
        drawing.add({stage / name: draw for name, draw in _drawn(found)}, len(found.frame))
        show_result(found, *_tables(found))
        found.save(stage)


def _tables(found: ExposureResponse) -> Iterator[Any]:
    limits = "{} ({}, {})"
    yield table_of(
        f"{found.endpoint} by quartile of {found.exposure_name}, 95 % limits",
        found.quartiles,
        {
            "": "{quartile}",
            "n": "{n:,}",
            "median exposure": lambda row: number(row["median"], ",.4g"),
            "events": "{events:,}",
            "%": "{percent:.1f} ({low:.1f}, {high:.1f})",
        },
    )
    yield table_of(
        "Models compared",
        found.selection.candidates,
        {
            "model": "{model}",
            "covariates": "{covariates}",
            "AIC": lambda row: number(row["aic"], ".1f"),
            "largest RSE, %": lambda row: number(row["largest_rse"], ".0f"),
            "": lambda row: "chosen" if row["chosen"] else row["note"],
        },
        text=("model", "covariates", ""),
    )
    if len(found.selection.path) > 1:
        yield table_of(
            "Choice of covariates, likelihood-ratio tests",
            found.selection.path,
            {
                "step": "{step}",
                "tested": "{candidate}",
                "df": "{df}",
                "p": lambda row: _p(row["p"]),
                "kept": lambda row: "yes" if row["kept"] else "no",
            },
            text=("step", "tested", "kept"),
        )
    yield table_of(
        f"Chosen: {found.model.kind} model of n = {found.model.n}, on the logit",
        found.model.estimates,
        {
            "": "{parameter}",
            "estimate": lambda row: number(row["estimate"], ".4g"),
            "RSE, %": lambda row: number(row["rse"], ".1f"),
            "95 % limits": lambda row: f"{number(row['low'], '.3g')} to {number(row['high'], '.3g')}",
            "p": lambda row: _p(row["p"]),
        },
    )
    if len(survival := found.survival_table()):
        yield table_of(
            "Survival by quartile, months",
            survival,
            {
                "": "{endpoint}",
                "quartile": "{quartile}",
                "n": "{n:,}",
                "events": "{events:,}",
                "median": lambda row: ranged(row, "median{}_months", limits, ".1f"),
                "log-rank p": lambda row: _p(row["logrank_p"]),
            },
            text=2,
        )
        yield table_of(
            "Cox regression",
            found.cox,
            {
                "": "{endpoint}",
                "term": "{term}",
                "hazard ratio": lambda row: (
                    f"{row['hazard_ratio']:.2f} ({row['low']:.2f}, {row['high']:.2f})"
                    if math.isfinite(row["low"])
                    else "NE"
                ),
                "p": lambda row: _p(row["pvalue"]),
                "p, proportional": lambda row: _p(row["proportional_p"]),
            },
            text=2,
        )
    if found.prediction is not None:
        yield table_of(
            f"{found.endpoint} by dose, %",
            found.prediction.table,
            {
                "dose, 1e6": lambda row: f"{row['dose'] / 1e6:g}",
                "exposure": lambda row: _WAYS[row["way"]],
                "median": lambda row: number(row["median_exposure"], ",.4g"),
                "% (95 % limits)": lambda row: ranged(row, "{}", limits, ".1f", ("percent", "low", "high")),
                "assumed less\nthis, points": _gap,
            },
            text=2,
        )
        if found.prediction.text:
            yield f"{found.prediction.text}."
    if found.dose is not None:
        yield f"By dose infused: {found.dose.text}."
    if found.validation is not None:
        yield table_of(
            f"{found.endpoint} of the second trial, %",
            found.validation,
            {
                "": "{quartile}",
                "n": "{n:,}",
                "observed": "{observed:.1f} ({observed_low:.1f}, {observed_high:.1f})",
                "predicted": "{predicted:.1f} ({predicted_low:.1f}, {predicted_high:.1f})",
                "z": lambda row: number(row["z"], ".1f"),
            },
        )
    if len(found.published):
        yield table_of(
            "KarMMa's models in these patients, %",
            found.published[found.published["arm"] == "all"],
            {"": "{title}", "kind": "{kind}", "n": "{n:,}", "%": "{percent:.1f} ({low:.1f}, {high:.1f})"},
            text=2,
        )


_WAYS = {
    "assumed": "assumed in proportion",
    "by model": "simulated, ER model",
    "simulated": "simulated, response too",
}


def _gap(row: Any) -> str:
    if math.isnan(row.get("gap", math.nan)):
        return ""
    if math.isnan(row["gap_low"]):
        return f"{row['gap']:+.1f}"
    return f"{row['gap']:+.1f} ({row['gap_low']:+.1f}, {row['gap_high']:+.1f})"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else "" if math.isnan(value) else f"{value:.3f}"


def _drawn(found: ExposureResponse) -> Iterator[tuple[str, Any]]:
    yield "response.png", partial(plotted, found, "response")
    yield "exposures.png", partial(plotted, found, "exposures")
    for endpoint in found.survival:
        yield f"{endpoint}.png", partial(plotted, found, "survival", endpoint)
    if found.prediction is not None:
        yield "dose_response.png", partial(plotted, found, "dose_response")
    if found.dose is not None:
        yield "dose_exposure.png", partial(plotted, found, "dose_exposure")
    yield "roc.png", partial(plotted, found, "roc")
    if found.validation is not None:
        yield "validation.png", partial(plotted, found, "validation")
