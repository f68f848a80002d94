"""Estimates by name, one set or a table of them: `Kg` is the typical value of a parameter or covariate, `omega(Kg)`
how far it varies between patients, the omega of its distribution.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError, brief, check_kind
from cartsim.model.model import OMEGALESS, Model, Variability
from cartsim.population.draws import uniforms
from cartsim.population.patients import allowed, check_name, outside
from cartsim.population.variability import REACH, spread

if TYPE_CHECKING:
    import pandas as pd

Drawn = dict[str, NDArray[np.float64]]


def varies_by(name: str) -> str | None:
    """Whose omega an estimate is: "Kg" of "omega(Kg)"; None for a typical value."""
    return name[6:-1] if name.startswith("omega(") and name.endswith(")") else None


def split(model: Model, names: Iterable[Any], where: str) -> tuple[dict[str, str], dict[str, str]]:
    """Which of the estimates are typical values and which are omegas, each by the name of its parameter.

    Raises `InputError` for what is no parameter or covariate of the model.
    """
    typical: dict[str, str] = {}
    omegas: dict[str, str] = {}
    for name in names:
        text = name if isinstance(name, str) else brief(name)
        whose = varies_by(text)
        check_name(model, text if whose is None else whose, where)
        (typical if whose is None else omegas)[text if whose is None else whose] = text
    return typical, omegas


def with_omega(model: Model, name: str, variability: Variability | None, omega: float, where: str) -> Variability:
    """The distribution with another omega; lognormal where nothing varies. Refused for one that has no omega."""
    known = variability or model.parameters[name].iiv or Variability("lognormal")
    if known.distribution in OMEGALESS:
        raise InputError(f"{where}: omega({name}): {name} varies as {known}, which has no omega; leave it out")
    return replace(known, omega=omega)


def numbers(draws: pd.DataFrame) -> Drawn:
    """The columns of a table of estimates as numbers, NaN for what is none. Raises `InputError` for no table."""
    import pandas as pd

    check_kind("draws", draws, pd.DataFrame, "a data frame: a row a draw, columns such as Kg and omega(Kg)")
    if draws.empty:
        raise InputError("draws: the table is empty; give a row for each draw, columns such as Kg and omega(Kg)")
    repeated = draws.columns[draws.columns.duplicated()]
    if len(repeated):
        raise InputError(f"draws: the column {brief(repeated[0])} is there twice; give it once")
    kinds = draws.dtypes
    return {
        name: (own if kinds[name].kind in "fiu" else pd.to_numeric(own, errors="coerce")).to_numpy(np.float64)
        for name, own in draws.items()
    }


def check_estimates(model: Model, varied: Mapping[str, Variability], estimates: Drawn, where: str) -> None:
    """Raise `InputError` for the first estimate that is not finite, leaves limits, or cannot vary as it does.

    estimates: values of all draws, (k,) each.
    """

    def refuse(name: str, wrong: NDArray[np.bool_], what: str) -> None:
        if not wrong.any():
            return
        row = int(wrong.argmax())
        at = f" in draw {row}" if len(wrong) > 1 else ""
        raise InputError(f"{where}: {name}{at} is {brief(estimates[name][row])}; {what}")

    typical, omegas = split(model, estimates, where)
    for name, column in omegas.items():
        with_omega(model, name, varied.get(name), 0.0, where)
        wrong = outside(estimates[column], 0.0, None)
        refuse(column, wrong, "a standard deviation is a finite number, 0 or more")
    for name, column in typical.items():
        parameter, values = model.parameters[name], estimates[column]
        wrong = outside(values, parameter.low, parameter.high)
        refuse(column, wrong, f"it must be {allowed(parameter.low, parameter.high)}")
    for name in {**typical, **omegas}:
        parameter = model.parameters[name]
        variability = varied.get(name) or (Variability("lognormal") if name in omegas else None)
        middle = estimates[typical[name]] if name in typical else parameter.value
        if variability is None or middle is None:
            continue
        column, kind = typical.get(name) or omegas[name], variability.distribution
        middle = np.broadcast_to(middle, estimates[column].shape)
        if kind == "uniform":
            raise InputError(f"{where}: {name} varies as {variability}, whatever its typical value; leave it out")
        refuse(column, *_unfit(name, variability, middle))
        if name in omegas:
            variability = replace(variability, omega=estimates[omegas[name]])  # type: ignore[arg-type]
        limits = allowed(parameter.low, parameter.high)
        for score in (-REACH, REACH):
            with np.errstate(over="ignore"):
                ends = spread(name, variability, middle, np.full(middle.shape, score))
            wrong = outside(ends, parameter.low, parameter.high)
            refuse(omegas.get(name, column), wrong, f"{name} then reaches beyond {limits}; let it vary less")


def _unfit(name: str, variability: Variability, middle: NDArray[np.float64]) -> tuple[NDArray[np.bool_], str]:
    """Which typical values a parameter cannot have with its distribution, and what they must be."""
    kind, low, high = variability.distribution, variability.low, variability.high
    if kind == "lognormal":
        return middle <= 0, f"{name} varies lognormally, so that its typical value must be above 0"
    if kind == "logitnormal" and low is not None and high is not None:
        between = f"{low:g} and {high:g}, the ends of its logitnormal distribution"
        return (middle <= low) | (middle >= high), f"it must lie between {between}"
    if kind == "bernoulli":
        return outside(middle, 0, 1), f"{name} is 1 in a share of the patients, which is from 0 to 1"
    return np.zeros(middle.shape, bool), ""


@dataclass(frozen=True)
class Table:
    """Draws of the estimates from a table: draw k is row k, or that of a seeded order; then from the beginning again.

    values: columns of numbers by estimate; shuffled: whether the order is drawn by the seed.
    """

    model: Model
    values: Drawn
    shuffled: bool = False

    @property
    def names(self) -> list[str]:
        """Parameters of which the typical value is drawn."""
        return list(self._kinds[0])

    @property
    def omegas(self) -> list[str]:
        """Parameters of which the omega is drawn."""
        return list(self._kinds[1])

    @cached_property
    def _kinds(self) -> tuple[dict[str, str], dict[str, str]]:
        return split(self.model, self.values, "draws")

    def draw(self, seed: int, start: int, stop: int) -> tuple[Drawn, Drawn]:
        """Typical values and omegas of draws start..stop-1, each (stop - start,)."""
        rows = len(next(iter(self.values.values())))
        number = np.arange(start, stop) % rows
        if self.shuffled:
            number = np.argsort(uniforms(seed, "uncertainty/draws", 0, rows), kind="stable")[number]
        typical, omegas = ({name: self.values[column][number] for name, column in kind.items()} for kind in self._kinds)
        return typical, omegas
