"""Options of a trial, as text, into its parts: population, assays, conduct and rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import cartsim as cs
from cartsim.cli.grammar import parse_assignments, parse_doses, parse_grid, parse_named, parse_names
from cartsim.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from cartsim.endpoints.respond import Responses

_LATEST = 1200  # months: nobody is followed for longer
# Neither of the response criteria nor of the landmark bins.
_FURTHER = ("censor_no_baseline", "after_blq", "sampled_until")


def population(
    base: cs.Population,
    values: Mapping[str, float],
    burden: str | None,
    omegas: Sequence[str],
    correlations: Sequence[str],
) -> cs.Population:
    """The virtual patients with other typical values, another burden, variability or correlations.

    burden: "50" for all, "10:90" evenly between, or a name of `BURDENS`; omegas: "Kel_e=0.3";
    correlations: "K12,K21=0.5".
    """
    from cartsim.experiments.dose_response import BURDENS

    variability, values = {}, dict(values)
    if burden in BURDENS:
        variability["burden"] = BURDENS[burden]
    elif burden is not None:
        if not burden[:1].isdigit() and not burden.startswith(("-", "nan", ".")):
            raise InputError(f"--burden {burden}: give a percentage, LOW:HIGH, or one of {', '.join(BURDENS)}")
        value = _value("--burden", burden)
        if isinstance(value, float):
            values["burden"], value = value, cs.fixed()
        variability["burden"] = value
    for name, omega in parse_assignments(omegas, "--omega").items():
        if name in variability:
            raise InputError(f"--omega {name} and --{name} both say how {name} varies; give one of the two")
        parameter = base.model.parameters.get(name)
        own = base.varied.get(name) or (parameter.iiv if parameter is not None else None)
        variability[name] = replace(own, omega=omega) if own and own.omega else cs.lognormal(omega)
    pairs = dict(base.correlation or {})
    for name, rho in parse_assignments(correlations, "--correlation").items():
        first, comma, second = (part.strip() for part in name.partition(","))
        if not comma:
            raise InputError(f"--correlation {name}: write two names and a number, such as K12,K21=0.5")
        pairs.pop((second, first), None)
        pairs[first, second] = rho
    return replace(base.varying(variability).known(values), correlation=pairs)


def doses(text: str | None) -> list[float]:
    """Doses of "50e6,150e6", or of the grid "50e6:800e6:4"."""
    return list(map(float, parse_grid(text) if ":" in text else parse_doses(text))) if text is not None else []


def arms(text: str | None, covariates: Sequence[str]) -> list[cs.Arm]:
    """Arms of doses, with what their patients differ in: ["450e6:burden=50:95,Kg=0.01"]."""
    made = [cs.Arm(dose) for dose in doses(text)]
    for each in covariates:
        name, colon, rest = (part.strip() for part in each.partition(":"))
        place = next((k for k, arm in enumerate(made) if name == arm.name or _same_dose(name, arm)), None)
        if place is None or not colon:
            raise InputError(
                f"--covariates {each}: write an arm, one of {', '.join(arm.name for arm in made)}, and what differs, "
                "such as 450e6:burden=60,Kg=0.01, or LOW:HIGH for evenly between"
            )
        if made[place].covariates is not None:
            raise InputError(f"two --covariates of arm {made[place].name}; give one, with commas between")
        own: dict[str, float | cs.Variability] = {}
        for covariate, value in parse_named(parse_names(rest), f"--covariates {each}", "NAME=VALUE").items():
            own[covariate] = _value(f"--covariates {each}", value)
        made[place] = replace(made[place], regimen=None, covariates=own)
    return made


def _value(option: str, text: str) -> float | cs.Variability:
    """The number of "50", or evenly between those of "10:90"."""
    numbers = [_number(option, part) for part in text.split(":", 1)]
    return cs.uniform(*numbers) if len(numbers) > 1 else numbers[0]


def _same_dose(name: str, arm: cs.Arm) -> bool:
    try:
        return float(name) == arm.dose
    except ValueError:
        return False


def one_dose(text: str | None) -> float | None:
    """The dose of "450e6"; None, of which the model has its own, for None."""
    found = doses(text)
    if len(found) > 1:
        raise InputError(f"--dose {text}: one dose is asked for; give a number of cells, such as 450e6")
    return found[0] if found else None


def landmarks(text: str) -> tuple[float, ...]:
    """Months of "6,21"."""
    try:
        months = tuple(float(month) for month in text.split(","))
    except ValueError:
        raise InputError(f"--landmarks {text}: give months with commas between, such as 6,21") from None
    if not all(0 < month <= _LATEST for month in months):
        raise InputError(f"--landmarks {text}: give months above 0, at most {_LATEST:,}")
    return months


def window(option: str, text: str | None) -> tuple[int, int]:
    """Days of "-3:7"; no window for None."""
    if text is None:
        return 0, 0
    low, _, high = text.partition(":")
    try:
        return int(low), int(high)
    except ValueError:
        raise InputError(f"{option}={text}: write whole days as LOW:HIGH, such as {option}=-3:7") from None


def assays(texts: Sequence[str]) -> dict[str, cs.Assay]:
    """{"transgene": Assay(cv=0.3, loq=50)} of ["transgene:cv=0.3,loq=50"]."""
    found = {}
    for text in texts:
        name, settings = _with_settings(f"--assay {text}", text, cs.Assay)
        if name in found:
            raise InputError(f"two assays of {name}; give one, with commas between its settings")
        below = settings.pop("below", "zero")
        numbers = {setting: _number(f"--assay {text}", value) for setting, value in settings.items()}
        found[name] = cs.Assay(below=below, **numbers)
    return found


def error_models(texts: Sequence[str] | None) -> dict[str, cs.ErrorModel]:
    """{"category": ErrorModel("lognormal", log=0.1)} of ["category=lognormal:log=0.1"]; "" is of all outputs."""
    models = {}
    for text in texts or ():
        head, settings = _with_settings(f"--error {text}", text, cs.ErrorModel, but="kind")
        output, _, kind = (part.strip() for part in head.rpartition("="))
        numbers = {setting: _number(f"--error {text}", value) for setting, value in settings.items()}
        models[output] = cs.ErrorModel(kind, **numbers)
    return models


def followup(text: str | None) -> cs.Followup | None:
    """None, KarMMa's for "karmma", or that of "13.3:11.8:21.2", months."""
    from cartsim.trial.conduct import KARMMA_FOLLOWUP

    if text is None:
        return None
    if text.lower() == "karmma":
        return KARMMA_FOLLOWUP
    parts = text.split(":")
    if len(parts) != 3:
        raise InputError(f"--followup {text}: write karmma, or months as MEDIAN:SHORTEST:LONGEST")
    median, shortest, longest = (_number("--followup", part) for part in parts)
    return cs.Followup(median, shortest, longest)


def settings_of(texts: Sequence[str] | None) -> dict[str, str]:
    """{"ife_limit": "0.1"} of ["ife_limit=0.1"]; what the values may be is for the rules to say."""
    return parse_named(texts, "--criteria", "NAME=VALUE, such as ife_limit=0.1")


def rules(
    settings: Mapping[str, str], censoring: str = "fda", of: str = "", further: Sequence[str] = _FURTHER, **more: Any
) -> cs.Rules:
    """Rules with settings of the response criteria (ife_limit=0.1), the landmark bins (cr=-95), or of neither.

    of: "imwg2016" or "singh_landmark", whose settings alone may be given, beside ``further`` ones.
    """
    from cartsim.endpoints.rules import rules_from, switch

    beside: dict[str, Any] = {name: settings[name] for name in further if name in settings}
    if "censor_no_baseline" in beside:
        beside["censor_no_baseline"] = switch("censor_no_baseline", beside["censor_no_baseline"])
    bins = {field.name for field in fields(cs.SinghLandmark)}
    parts: dict[str, dict[str, str]] = {"imwg2016": {}, "singh_landmark": {}}
    parts.setdefault(of or "imwg2016", {})  # a name that is not known is for the rules to refuse
    for name, value in settings.items():
        if name not in beside:
            parts[of or ("singh_landmark" if name in bins else "imwg2016")][name] = value
    made: list[Any] = [rules_from(name, own) for name, own in parts.items()]
    return cs.Rules(made[0], made[1], censoring, **beside, **more)


def judged_file(file: Path, events: Path | None, criteria: Sequence[str] | None, censoring: str) -> Responses:
    """A user's own M-protein file, with a file of events, judged by IMWG 2016 with settings (ife_limit=0.1)."""
    from cartsim.tables import read_table

    by = rules(settings_of(criteria), censoring, "imwg2016", ["censor_no_baseline"])
    listed = None if events is None else read_table(events)
    rows, without = cs.read_observations(file, name=str(file)), by.censor_no_baseline
    return cs.respond(rows, by.response, censoring=censoring, censor_no_baseline=without, patients=listed)


def _with_settings(given: str, text: str, kind: type, but: str = "") -> tuple[str, dict[str, str]]:
    """What stands before the colon of "transgene:cv=0.3,loq=50", and the settings of this kind behind it."""
    head, _, rest = (part.strip() for part in text.partition(":"))
    settings = parse_named(parse_names(rest), given, "its settings as NAME=VALUE")
    known = [field.name for field in fields(kind) if field.name != but]
    for name in settings:
        if name not in known:
            raise InputError(f"{given}: no setting {name!r}; choose from {', '.join(known)}")
    return head, settings


def _number(where: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{where}: {text.strip()!r} is not a number") from None
