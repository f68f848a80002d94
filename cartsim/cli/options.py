"""Options: what each means, the same on all commands, groups of them, and how a function with them is a command.

A new option is an `Annotated` type here and a parameter of the commands that take it; where several commands take it,
a field of a group, and its meaning a line in the group's method.
"""

from __future__ import annotations

import inspect
import math
import os
import shlex
import sys
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.models import ArgumentInfo

import cartsim as cs
from cartsim.cli import complete, design
from cartsim.cli.grammar import parse_assignments
from cartsim.errors import InputError
from cartsim.files import DPI, FORMATS
from cartsim.solver import FINE, LOOSEST, RTOL, TIGHTEST

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Texts = list[str] | None
MODEL = "bb2121_clinical"
"""The model where none is named."""
MOST_JOBS = 1024  # threads; a system refuses some number more, in the middle of the work
_HOW = ("out", "jobs", "chunk", "checkpoint", "pictures", "format", "dpi", "visits")
"""Where and how fast, nothing of the outcome."""
ASKED: ContextVar[dict[str, Any]] = ContextVar("asked")
"""The options of the command that runs, by name."""
REPEAT: ContextVar[dict[str, Any]] = ContextVar("repeat")
"""What a command's summary says of how to repeat it."""


def command(function: Callable[..., None]) -> Callable[..., None]:
    """The function as a command: a parameter that is a group of options becomes these options.

    Raises InputError for numbers that are not finite or have no 64 bits, and for what is no path.
    """
    groups: dict[str, Any] = {}
    shown: list[inspect.Parameter] = []
    for each in inspect.signature(function, eval_str=True).parameters.values():
        if is_dataclass(each.annotation):
            groups[each.name] = each.annotation
            hints = get_type_hints(each.annotation, include_extras=True)
            shown += [each.replace(name=f.name, annotation=hints[f.name], default=f.default, kind=each.KEYWORD_ONLY)
                      for f in fields(each.annotation)]  # fmt: skip
        else:
            shown.append(each.replace(kind=each.KEYWORD_ONLY))

    @wraps(function)
    def run(**options: Any) -> None:
        _check(options)
        ASKED.set(dict(options))
        REPEAT.set(_repeat(function.__name__.replace("_", "-"), shown, options))
        for name, group in groups.items():
            options[name] = group(**{field.name: options.pop(field.name) for field in fields(group)})
        function(**options)

    run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in shown}
    return run


def _check(options: dict[str, Any]) -> None:
    for name, value in options.items():
        option = _option(name)
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{option} {value}: give a finite number")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise InputError(f"{option} {value}: give a whole number of at most 64 bits")
        if isinstance(value, Path):
            _check_path(option, value)


def _check_path(option: str, path: Path) -> None:
    """Refuse what the system takes for no path; whether anything is there is for the command to say."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass
    except (OSError, ValueError) as error:  # ValueError: a null byte
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{option} {path}: {reason}; give another path") from None


def _repeat(name: str, shown: list[inspect.Parameter], options: dict[str, Any]) -> dict[str, Any]:
    """The command line that gives the same results, and all options that these depend on."""
    words = ["cartsim", name]
    inputs = {}
    for each in shown:
        value = options[each.name]
        if each.name in _HOW:
            continue
        inputs[each.name.strip("_")] = str(value) if isinstance(value, Path) else value
        if value == each.default:
            continue
        option = _option(each.name)
        if isinstance(each.annotation.__metadata__[0], ArgumentInfo):
            words += [str(one) for one in (value if isinstance(value, list) else [value])]
        elif isinstance(value, bool):
            words.append(option if value else option.replace("--", "--no-", 1))
        else:
            words += [f"{option}={one}" for one in (value if isinstance(value, list) else [value])]
    return {"repeat": shlex.join(words), "inputs": inputs}


def given(group: Any, *kinds: type) -> list[str]:
    """The options of a group that are not at their defaults, of those of these kinds."""
    every = [field for kind in kinds for field in fields(kind)]
    return [_option(field.name) for field in every if getattr(group, field.name) != field.default]


def _option(name: str) -> str:
    return f"--{name.strip('_').replace('_', '-')}"


def _jobs(number: int) -> int:
    if number != -1 and not 1 <= number <= MOST_JOBS:
        raise InputError(f"--jobs {number}: give a number of threads from 1 to {MOST_JOBS}, or -1 for all cores")
    return number


Name = Annotated[
    str,
    typer.Argument(help="A model's name, name:variant, or the path of a .toml file.", autocompletion=complete.models),
]
OtherName = Annotated[
    str | None,
    typer.Argument(
        help=f"A model's name, name:variant, or the path of a .toml file; by default {MODEL}, or that of --population.",
        autocompletion=complete.models,
        show_default=False,
    ),
]
Stored = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE",
        help="A population of virtual patients: its name (cartsim models lists them), or its .toml file.",
        autocompletion=complete.populations,
    ),
]
Trials = Annotated[
    Texts,
    typer.Option(
        metavar="TRIAL",
        help="A published trial (cartsim published lists them), or the path of a .toml file; repeat for more.",
        autocompletion=complete.trials,
    ),
]
Against = Annotated[
    Texts,
    typer.Option(
        metavar="NAME",
        help="Compare with what another population or model predicts; repeat for more.",
        autocompletion=complete.populations,
    ),
]
Settings = Annotated[
    Texts,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Another (typical) value of a parameter of the model; repeat for more.",
        autocompletion=complete.parameters,
    ),
]
Dose = Annotated[
    str | None,
    typer.Option(
        metavar="CELLS",
        help="Cells infused at time 0; where doses are compared also 50e6,150e6 or a grid LOW:HIGH:POINTS; of several "
        "data sets DATA=CELLS, with commas between.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of all that is drawn at random.")]
Jobs = Annotated[int, typer.Option(callback=_jobs, help="Threads; -1 for all cores.")]
Lloq = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Limit of quantification: values below it count as 0. By default 50, of a trial that of its assay if any.",
    ),
]
Criteria = Annotated[
    Texts,
    typer.Option(
        metavar="NAME=VALUE",
        help="Setting of the response criteria (ife_limit=0.1), of the landmark bins (cr=-95), censor_no_baseline, "
        "after_blq or sampled_until; repeat for more.",
    ),
]
Events = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="CSV: id and optionally arm, baseline, new_therapy_day, death_day, end_day, a row a patient.",
    ),
]
Censoring = Annotated[str, typer.Option(help="Of progression-free survival: fda or ema; judge also takes both.")]
Omegas = Annotated[
    Texts,
    typer.Option(
        metavar="NAME=SD",
        help="Variability of a parameter between patients, in place of the model's.",
        autocompletion=complete.parameters,
    ),
]
Times = Annotated[
    str | None, typer.Option(help="Numbers and ranges start:stop:step at which outputs are read, as 0:30:1,37:640:7.")
]
Horizon = Annotated[float | None, typer.Option(help="Last time that is simulated, or counts.")]
Estimate = Annotated[
    str | None,
    typer.Option(
        help="Parameters to estimate, with commas between, the others being fixed; of patients by default "
        "Kexp_max,Kkill_max,gamma_m, and gamma_b with sBCMA."
    ),
]
Endpoint = Annotated[
    str,
    typer.Option(
        help="Of a model Cmax, Tmax, AUC0-28, mprotein_fall, OUTPUT@DAY, KIND:OUTPUT, or OUTPUT for its curve; with er "
        "an outcome: ORR, CRR, VGPR, MRD_CR, or a column of 0 and 1.",
        autocompletion=complete.endpoints,
    ),
]
Covariates = Annotated[
    Texts,
    typer.Option(
        metavar="[ARM:]NAME[=VALUE],...",
        help="With er columns that are screened, such as sex,mprotein_high; in a trial what the patients of one arm "
        "differ in: other typical values, or LOW:HIGH for evenly between, such as 450e6:burden=50:95,Kg=0.01. Repeat "
        "for more.",
    ),
]
Errors = Annotated[
    Texts,
    typer.Option(
        "--error",
        metavar="[OUTPUT=]KIND[:NAME=VALUE,...]",
        help="additive, proportional, combined or lognormal, of an output or, with fit, of all; with settings, to fix "
        "an SD (add, prop, log) or say the limit of quantification: transgene=lognormal:lloq=50.",
    ),
]
Tolerance = Annotated[float, typer.Option(min=TIGHTEST, max=LOOSEST, help="Relative tolerance of the solver.")]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Where results are written: a folder; for a single table (simulate, judge, respond, nca) a .csv or "
        ".parquet file. Replaces what an earlier run wrote there."
    ),
]


@dataclass(frozen=True)
class Who:
    """Which patients of a model."""

    set_: Settings = None
    patients: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Your own patients, CSV: a row each, columns named as parameters, also id and dose."
        ),
    ] = None
    population: Stored = None
    n: Annotated[
        int | None,
        typer.Option(
            "--n", min=1, help="Virtual patients, the same ones in every arm or cell; by default 1,000, in a sweep 500."
        ),
    ] = None
    seed: Seed = 2021
    burden: Annotated[
        str | None,
        typer.Option(
            metavar="PERCENT",
            help="Marrow plasma cells: 50 for all, 10:90 evenly between, or fixed, uniform (5 to 95 %), karmma (half "
            "at 50 % or more); where burdens are compared several of these names.",
        ),
    ] = None
    omega: Omegas = None
    correlation: Annotated[Texts, typer.Option(metavar="A,B=RHO", help="Correlation of two parameters that vary.")] = (
        None
    )
    sampler: Annotated[str, typer.Option(help="Of virtual patients: random, or sobol.")] = "random"

    def drawn(self) -> list[str]:
        """The options given that only virtual patients have."""
        also = ("--set", "--patients", "--seed", "--population")
        return [option for option in given(self, Who) if option not in also]

    def model(self, name: str | None) -> cs.Model:
        """The model with what is set, that of the population if one is asked for."""
        if self.population is None:  # the typical patient needs no population
            return cs.load(name or MODEL).override(parse_assignments(self.set_))
        return self._base(name).known(parse_assignments(self.set_)).model

    def named(self, model: str | None) -> None:
        """Refuse neither a model nor a population, where there is none by default."""
        if model is None and self.population is None:
            raise InputError(f"Missing argument 'MODEL': give a model, such as {MODEL}, or --population NAME")

    def of(self, name: str | None) -> cs.Population | cs.Patients:
        """The patients of this model, or of the population asked for."""
        if self.patients is None:
            values = parse_assignments(self.set_)
            return design.population(self._base(name), values, self.burden, self.omega or [], self.correlation or [])
        others = self.drawn() if self.population is None else ["--population"]
        if others:
            raise InputError(f"--patients and {others[0]} both say who is simulated; give one of the two")
        return cs.Patients(self.model(name), self.patients, self.seed)

    def _base(self, name: str | None) -> cs.Population:
        """The patients of a model as its file has them, or those of a population."""
        if self.population is None:
            return cs.Population(cs.load(name or MODEL), self.seed, sampler=self.sampler)
        stored = cs.read_population(self.population)
        if name is not None and name != stored.model and not name.endswith(".toml"):
            raise InputError(
                f"{name} and --population {self.population}, which is of {stored.model}: leave the model out"
            )
        return stored.of(self.seed, self.sampler, name)


@dataclass(frozen=True)
class Plan:
    """What a trial does with its patients, and by what it judges them."""

    landmarks: Annotated[str, typer.Option(help="Months at which patients are judged, with commas between.")] = "6,21"
    criteria: Criteria = None
    censoring: Censoring = "fda"
    lloq: Lloq = None
    window: Annotated[
        str | None,
        typer.Option(
            metavar="LOW:HIGH",
            help="Whole days about the planned one within which assessments take place, such as --window=-3:7.",
        ),
    ] = None
    kinetics_window: Annotated[
        str | None,
        typer.Option(metavar="LOW:HIGH", help="The same of transgene samples that are not taken at an assessment."),
    ] = None
    assay: Annotated[
        Texts,
        typer.Option(
            metavar="NAME:SETTINGS",
            help="Measurement of mprotein, sbcma or transgene, such as transgene:cv=0.3,loq=50.",
        ),
    ] = None
    missed: Annotated[float, typer.Option(help="Probability that a visit is missed.")] = 0.0
    dropout: Annotated[float, typer.Option(help="Hazard of leaving the trial, a month.")] = 0.0
    new_therapy: Annotated[float, typer.Option(help="Hazard of another therapy, a month.")] = 0.0
    death: Annotated[float, typer.Option(help="Hazard of death from other causes, a month.")] = 0.0
    followup: Annotated[
        str | None, typer.Option(help="Data cut-off: karmma, or months as MEDIAN:SHORTEST:LONGEST.")
    ] = None
    early_death: Annotated[float, typer.Option(help="Further hazard of death in the first month, a month.")] = 0.0
    kinetics_cutoff: Annotated[
        float, typer.Option(help="Months before the data cut-off at which transgene samples end; KarMMa's 8.9.")
    ] = 0.0

    def protocol(self) -> cs.Protocol:
        """The protocol of a trial."""
        window = design.window("--window", self.window)
        kinetics_window = design.window("--kinetics-window", self.kinetics_window)
        return cs.Protocol(
            cs.Visits(landmarks=design.landmarks(self.landmarks), window=window, kinetics_window=kinetics_window),
            design.assays(self.assay or []),
            cs.Conduct(
                self.missed,
                self.dropout,
                self.new_therapy,
                self.death,
                design.followup(self.followup),
                early_death=self.early_death,
                kinetics_cutoff=self.kinetics_cutoff,
            ),
            design.rules(design.settings_of(self.criteria), self.censoring, lloq=self.lloq),
        )


@dataclass(frozen=True)
class Steps:
    """How exactly the equations are solved."""

    rtol: Tolerance = RTOL
    extinction: Annotated[
        float | None,
        typer.Option(min=0, help="Cells below which a pool is gone until the next dose; by default none is."),
    ] = None

    def solver(self) -> cs.Solver:
        """The solver."""
        return cs.Solver(self.rtol, self.extinction)


@dataclass(frozen=True)
class FineSteps(Steps):
    """The same for a pooled fit."""

    rtol: Tolerance = FINE


@dataclass(frozen=True)
class Work:
    """How long work is done."""

    jobs: Jobs = -1
    checkpoint: Annotated[
        Path | None, typer.Option(help="Folder for finished parts, to go on from after an interruption.")
    ] = None

    def settings(self, part: str = "") -> dict[str, Any]:
        """The settings of a run; part: a folder of its own within the checkpoint's."""
        kept = None if self.checkpoint is None else self.checkpoint / part
        return {"n_jobs": self.jobs, "progress": sys.stderr.isatty(), "checkpoint": kept}


@dataclass(frozen=True)
class Often:
    """How often it is done anew, and under which estimates."""

    replicates: Annotated[
        int | None,
        typer.Option(
            min=1, help="Do it so often, each time with other patients: limits and power; with --uncertainty 500."
        ),
    ] = None
    uncertainty: Annotated[
        bool,
        typer.Option(
            "--uncertainty",
            help="Each replicate under other estimates too: draws of --population, or by standard errors.",
        ),
    ] = False

    def anew(self) -> dict[str, Any]:
        """How often, and under what, as an experiment takes it."""
        return {"replicates": self.replicates, "uncertainty": self.uncertainty}


@dataclass(frozen=True)
class Study(Often, Work, Steps, Plan, Who):
    """All that trials of virtual patients are asked with."""

    def trial(self, name: str | None, arms: Any, **how: Any) -> cs.Trial:
        """The trial of this model's patients."""
        return cs.Trial(self.of(name), arms, self.n, self.protocol(), self.solver(), **how)


@dataclass(frozen=True)
class Pictures:
    """Whether pictures are written, and as what."""

    pictures: Annotated[bool, typer.Option("--pictures/--no-pictures", help="Write the pictures.")] = True
    format: Annotated[
        str, typer.Option(help="Of pictures: png, svg or pdf (fonts embedded), or several with commas between.")
    ] = "png"
    dpi: Annotated[int, typer.Option(help="Dots per inch of pictures, from 10 to 2400; 300 and more for print.")] = 150

    def __post_init__(self) -> None:
        """Refuse what cannot be written before any work is done."""
        for each in self.formats:
            if each not in FORMATS:
                raise InputError(f"--format {self.format}: choose from {', '.join(FORMATS)}, with commas between")
        if not DPI[0] <= self.dpi <= DPI[1]:
            raise InputError(f"--dpi {self.dpi}: give dots per inch from {DPI[0]} to {DPI[1]}")

    def __bool__(self) -> bool:
        return self.pictures

    @property
    def formats(self) -> list[str]:
        """Each format once."""
        return list(dict.fromkeys(each.strip().lower() for each in self.format.split(",")))

    def save(self, figure: Figure, path: Path) -> None:
        """Write a figure in each format, under the path's name."""
        from cartsim.plots.style import save

        for each in self.formats:
            save(figure, path.with_suffix(f".{each}"), dpi=self.dpi)
