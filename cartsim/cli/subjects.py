"""The options of the fits of individual patients, and what they mean: model, parameters, category rules and errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

import cartsim as cs
from cartsim.cli.design import error_models, rules, settings_of
from cartsim.cli.grammar import parse_assignments, parse_names
from cartsim.cli.options import Criteria, Errors, Estimate, Omegas
from cartsim.errors import InputError, choices

Data = Annotated[
    str, typer.Argument(help="CSV file: id, dose, time, category or output and value; or crb401_synthetic, an example.")
]


@dataclass(frozen=True)
class Subjects:
    """What is estimated of each patient, and how the data are read."""

    model: Annotated[str, typer.Option(help="A model's name, or the path of a .toml file.")] = "bb2121_clinical"
    estimate: Estimate = None
    omega: Omegas = None
    criteria: Criteria = None
    progression: Annotated[
        str, typer.Option(help="PD is a rise above the lowest value so far (nadir) or above the baseline (baseline).")
    ] = "nadir"
    pd_absolute: Annotated[float, typer.Option(help="Least rise in g/L of PD from the nadir; needs the column M0.")] = (
        0.0
    )
    error: Errors = None

    def of(self, data: str) -> dict[str, Any]:
        """What `cartsim.fit_individuals` and `cartsim.fit_population` are to fit to these data."""
        from cartsim.fitting import CategoryRules, patient_data
        from cartsim.fitting.individual import chosen_parameters

        bins = rules(settings_of(self.criteria), of="singh_landmark", further=()).landmark
        judged_by, errors = CategoryRules(bins, self.progression, self.pd_absolute), error_models(self.error)
        if "" in errors:
            kind = errors[""].kind
            raise InputError(f"--error {kind}: write OUTPUT=KIND:NAME=SD, such as category=lognormal:log=0.1")
        chosen: Any = None if self.estimate is None else parse_names(self.estimate)
        if omegas := parse_assignments(self.omega, "--omega"):
            names: Sequence[str] = chosen
            if chosen is None:
                names = chosen_parameters(None, patient_data(data, cs.load(self.model), judged_by))
            for name in omegas:
                if name not in names:
                    raise InputError(f"--omega {name}: it is not estimated{choices(name, names)}")
            chosen = {name: omegas.get(name) for name in names}
        return {"model": self.model, "observations": data, "estimate": chosen, "rules": judged_by, "errors": errors}
