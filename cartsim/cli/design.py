"""Options of a trial, as text, into its parts: population, assays, conduct and rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from cartsim.cli.grammar import parse_assignments
from cartsim.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from cartsim.endpoints.respond import Responses
    from cartsim.fitting.errors import ErrorModel
    from cartsim.model.reader import Model
    from cartsim.population.population import Population
    from cartsim.trial.assay import Assay
    from cartsim.trial.conduct import Followup
    from cartsim.trial.protocol import Rules

_LATEST = 1200  # months: nobody is followed for longer


def population(
    model: Model, seed: int, burden: str | None, omegas: Sequence[str], correlations: Sequence[str], sampler: str
) -> Population:
    """The model's virtual patients with another burden, variability or correlations.

    burden: "50" for all, "10:90" evenly between, or a name of `BURDENS`; omegas: "Kel_e=0.3";
    correlations: "K12,K21=0.5".
    """
    from cartsim.experiments.dose_response import BURDENS
    from cartsim.population.population import Population
    from cartsim.population.variability import fixed, lognormal, uniform

    variability = {}
    if burden in BURDENS:
        variability["burden"] = BURDENS[burden]
    elif burden is not None:
        low, between, high = burden.partition(":")
        if not low[:1].isdigit() and not low.startswith(("-", "nan", ".")):
            raise InputError(f"--burden {burden}: give a percentage, LOW:HIGH, or one of {', '.join(BURDENS)}")
        if between:
            variability["burden"] = uniform(_number("--burden", low), _number("--burden", high))
        else:
            model = model.override({"burden": _number("--burden", low)})
            variability["burden"] = fixed()
    for name, omega in parse_assignments(omegas).items():
        if name in variability:
            raise InputError(f"--omega {name} and --{name} both say how {name} varies; give one of the two")
        parameter = model.parameters.get(name)
        own = parameter.iiv if parameter is not None else None
        variability[name] = replace(own, omega=omega) if own and own.omega else lognormal(omega)
    pairs = {}
    for name, rho in parse_assignments(correlations).items():
        first, comma, second = (part.strip() for part in name.partition(","))
        if not comma:
            raise InputError(f"--correlation {name}: write two names and a number, such as K12,K21=0.5")
        pairs[first, second] = rho
    return Population(model, seed, variability, pairs, sampler)


def doses(text: str | None) -> list[float]:
    """Doses of "50e6,150e6", or of the grid "50e6:800e6:4"."""
    from cartsim.cli.grammar import parse_doses, parse_grid

    return list(map(float, parse_grid(text) if ":" in text else parse_doses(text))) if text is not None else []


def one_dose(text: str | None) -> float | None:
    """The dose of "450e6"; None, of which the model has its own, for None."""
    found = doses(text)
    if len(found) > 1:
        raise InputError(f"--dose {text}: one dose is asked for; give a number of cells, such as 450e6")
    return found[0] if found else None


def names(text: str) -> list[str]:
    """["Kel_e", "Kel_m"] of "Kel_e, Kel_m"."""
    return [name.strip() for name in text.split(",") if name.strip()]


def landmarks(text: str) -> tuple[float, ...]:
    """Months of "6,21"."""
    try:
        months = tuple(float(month) for month in text.split(","))
    except ValueError:
        raise InputError(f"--landmarks {text}: give months with commas between, such as 6,21") from None
    if not all(0 < month <= _LATEST for month in months):
        raise InputError(f"--landmarks {text}: give months above 0, at most {_LATEST:,}")
    return months


def assays(texts: Sequence[str]) -> dict[str, Assay]:
    """{"transgene": Assay(cv=0.3, loq=50)} of ["transgene:cv=0.3,loq=50"]."""
    from cartsim.trial.assay import Assay

    known = [field.name for field in fields(Assay)]
    found = {}
    for text in texts:
        name, _, rest = (part.strip() for part in text.partition(":"))
        if name in found:
            raise InputError(f"two assays of {name}; give one, with commas between its settings")
        settings = settings_of(rest.split(",")) if rest else {}
        for setting in settings:
            if setting not in known:
                raise InputError(f"--assay {text}: no setting {setting!r}; choose from {', '.join(known)}")
        below = settings.pop("below", "zero")
        numbers = {setting: _number(f"--assay {text}", value) for setting, value in settings.items()}
        found[name] = Assay(below=below, **numbers)
    return found


def error_models(texts: Sequence[str] | None) -> dict[str, ErrorModel]:
    """{"category": ErrorModel("lognormal", log=0.1)} of ["category=lognormal:log=0.1"]; "" is of all outputs."""
    from cartsim.fitting.errors import ErrorModel

    known = [field.name for field in fields(ErrorModel) if field.name != "kind"]
    models = {}
    for text in texts or ():
        head, _, rest = (part.strip() for part in text.partition(":"))
        output, _, kind = (part.strip() for part in head.rpartition("="))
        settings = parse_assignments(names(rest))
        for name in settings:
            if name not in known:
                raise InputError(f"--error {text}: no setting {name!r}; choose from {', '.join(known)}")
        models[output] = ErrorModel(kind, **settings)
    return models


def followup(text: str | None) -> Followup | None:
    """None, KarMMa's for "karmma", or that of "13.3:11.8:21.2", months."""
    from cartsim.trial.conduct import KARMMA_FOLLOWUP, Followup

    if text is None:
        return None
    if text.lower() == "karmma":
        return KARMMA_FOLLOWUP
    parts = text.split(":")
    if len(parts) != 3:
        raise InputError(f"--followup {text}: write karmma, or months as MEDIAN:SHORTEST:LONGEST")
    median, shortest, longest = (_number("--followup", part) for part in parts)
    return Followup(median, shortest, longest)


def rules(texts: Sequence[str], censoring: str, lloq: float | None) -> Rules:
    """Rules with settings of the response criteria (ife_limit=0.1), the landmark bins (cr=-95), or of neither."""
    from cartsim.endpoints.rules import IMWG2016, SinghLandmark, rules_from
    from cartsim.trial.protocol import Rules

    check_censoring(censoring)
    settings = settings_of(texts)
    of_landmark = {field.name for field in fields(SinghLandmark)}
    bins = {name: value for name, value in settings.items() if name in of_landmark}
    further = further_of(settings)
    rest = {name: value for name, value in settings.items() if name not in {*of_landmark, *further}}
    response, landmark = rules_from("imwg2016", rest), rules_from("singh_landmark", bins)
    assert isinstance(response, IMWG2016)
    assert isinstance(landmark, SinghLandmark)
    return Rules(response, landmark, censoring, lloq, **further)


def further_of(settings: Mapping[str, str]) -> dict[str, Any]:
    """Those of the settings that are neither of the response criteria nor of the landmark bins."""
    from cartsim.endpoints.rules import switch

    further: dict[str, Any] = {name: settings[name] for name in ("censor_no_baseline", "after_blq") if name in settings}
    if "censor_no_baseline" in further:
        further["censor_no_baseline"] = switch("censor_no_baseline", further["censor_no_baseline"])
    return further


def judged_file(file: Path, events: Path | None, criteria: Sequence[str] | None, censoring: str) -> Responses:
    """A user's own M-protein file, with a file of events, judged by IMWG 2016 with settings (ife_limit=0.1)."""
    from cartsim.endpoints.respond import respond
    from cartsim.endpoints.rules import IMWG2016, rules_from
    from cartsim.observations import read_observations
    from cartsim.tables import read_table

    check_censoring(censoring)
    settings = settings_of(criteria)
    without = further_of(settings).get("censor_no_baseline")
    settings.pop("censor_no_baseline", None)
    response = rules_from("imwg2016", settings)
    assert isinstance(response, IMWG2016)
    listed, rows = None if events is None else read_table(events), read_observations(file, name=str(file))
    return respond(rows, response, censoring=censoring, censor_no_baseline=without, patients=listed)


def check_censoring(rule: str) -> None:
    """Raise InputError for a censoring rule that is not offered."""
    if rule not in ("fda", "ema"):
        raise InputError(f"--censoring {rule}: it is fda or ema")


def settings_of(texts: Sequence[str] | None) -> dict[str, str]:
    """{"ife_limit": "0.1"} of ["ife_limit=0.1"]; what the values may be is for the rules to say."""
    settings: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise InputError(f"{text!r} is not a setting; write NAME=VALUE, such as ife_limit=0.1")
        if name in settings:
            raise InputError(f"{name} is set twice; set each name once")
        settings[name] = value
    return settings


def _number(where: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{where}: {text.strip()!r} is not a number") from None
