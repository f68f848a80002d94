"""Uncertainty of the estimates themselves: other typical values and omegas for each replicate of a trial.

An estimate is normal about its value on the scale on which the parameter varies between patients: the logarithm (also
where nothing varies), the logit for logitnormal and uniform parameters and shares of patients (bernoulli), the value
itself for normal ones. Omegas are normal on their logarithm. The relative standard errors of a model file come without
correlations, so that estimates are drawn independently of each other; a covariance matrix of the estimates brings its
correlations.

Or the draws are there already, the rows of a table: those of a calibration, or any sets of estimates to be tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError, brief, check_count, check_kind
from cartsim.model.model import Model, Variability
from cartsim.population.correlation import symmetric, symmetric_root
from cartsim.population.draws import uniforms
from cartsim.population.estimates import Drawn, Table, numbers, split, with_omega
from cartsim.population.patients import check_name
from cartsim.population.population import APART, Population
from cartsim.population.variability import spread

if TYPE_CHECKING:
    import pandas as pd


class Source(Protocol):
    """Whence estimates are drawn; names and omegas: parameters of which the typical value, and the omega, is drawn."""

    @property
    def names(self) -> Iterable[str]: ...

    @property
    def omegas(self) -> Iterable[str]: ...

    def draw(self, seed: int, start: int, stop: int) -> tuple[Drawn, Drawn]:
        """Typical values and omegas of draws start..stop-1, each (stop - start,)."""


def with_uncertainty(model: Model, seed: int, replicate: int, *, covariance: pd.DataFrame | None = None) -> Model:
    """The model with estimates drawn from their uncertainty: one draw for each `replicate` (0, 1, ...).

    Parameters
    ----------
    model
        Its relative standard errors say how uncertain each typical value and each omega is.
    seed, replicate
        Of the draw: it is the one of replicate number ``replicate`` in `cartsim.replicate`.
    covariance
        In place of the errors of typical values: the covariance matrix of the estimates in their own units, as
        estimation software reports it, names as index and columns. The delta method brings it to the scale on which
        each is drawn.

    Raises
    ------
    InputError
        For unknown names, and a matrix that is not symmetric and positive semidefinite.

    Examples
    --------
    >>> import cartsim as cs
    >>> drawn = cs.with_uncertainty(cs.load("bb2121_clinical"), seed=1, replicate=0)
    >>> round(drawn.parameters["Kexp_max"].value, 3), round(drawn.parameters["Kexp_max"].iiv.omega, 3)
    (1.788, 0.191)
    """
    estimates = _Estimates(model, Population(model, seed).varied, covariance)
    values, omegas = estimates.draw(seed, replicate, replicate + 1)
    drawn = model.override({name: float(value[0]) for name, value in values.items()})
    changed = dict(drawn.parameters)
    for name, omega in omegas.items():
        iiv = changed[name].iiv
        assert iiv is not None  # whose omega was drawn
        changed[name] = replace(changed[name], iiv=replace(iiv, omega=float(omega[0])))
    return replace(drawn, parameters=changed)


@dataclass(frozen=True, repr=False)
class UncertainPopulation(Population):
    """Virtual patients in blocks of ``size``, each block under estimates drawn for it: block k under draw k.

    They are drawn from ``draws``, in their order or, ``shuffled``, in one that the seed says, and again from the
    beginning where there are more blocks than draws. Without draws they are drawn by the standard errors of the model
    file, or the ``covariance``. The patients differ from block to block, or are the ``same`` in all: those of the
    first. The blocks of patients that are `APART` have the same draws.
    What differs between patients otherwise is as in the `Population` of the same arguments.
    """

    size: int = field(default=1, kw_only=True)
    covariance: pd.DataFrame | None = field(default=None, kw_only=True)
    same: bool = field(default=False, kw_only=True)
    shuffled: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self._errors  # checks the covariance

    @property
    def held(self) -> list[str]:
        """Names of the columns of `table`: what varies between patients, and what is uncertain."""
        return [name for name in self.model.parameters if name in {*self.varied, *self._errors.names}]

    @property
    def uncertain(self) -> list[str]:
        """Names of the parameters whose typical value or omega is uncertain."""
        return [name for name in self.model.parameters if name in {*self._errors.names, *self._errors.omegas}]

    def estimates(self, draws: int) -> pd.DataFrame:
        """Typical values of so many draws, a row each."""
        import pandas as pd

        return pd.DataFrame(self._errors.draw(self.seed, 0, draws)[0], index=pd.RangeIndex(draws))

    @cached_property
    def _errors(self) -> Source:
        if self.draws is not None:
            return Table(self.model, numbers(self.draws), self.shuffled)
        return _Estimates(self.model, self.varied, self.covariance)

    def _estimates(self, start: int, stop: int) -> tuple[Drawn, Drawn]:
        number = np.arange(start, stop) % APART  # independent arms of a replicate share its draw
        first = int(number[0]) // self.size
        block = number // self.size - first
        drawn = self._errors.draw(self.seed, first, first + int(block[-1]) + 1)
        values, omegas = ({name: own[block] for name, own in kind.items()} for kind in drawn)
        return values, omegas

    def _ids(self, start: int, stop: int) -> NDArray[np.int64]:
        ids = super()._ids(start, stop)
        return ids - ids % APART + ids % APART % self.size if self.same else ids

    def _scores(self, start: int, stop: int) -> Drawn:
        if not self.same:
            return super()._scores(start, stop)
        first, place = start - start % APART, np.arange(start, stop) % APART % self.size
        return {name: own[place] for name, own in super()._scores(first, first + self.size).items()}


def ensemble(population: Population, draws: pd.DataFrame, size: int, *, same: bool = False) -> UncertainPopulation:
    """The population in blocks of ``size`` patients, block k under draw k of a table of estimates.

    Parameters
    ----------
    population
        Whose model, seed, variability, correlation and sampler are those of all blocks but for what is drawn.
    draws
        A row a draw, columns as for `Population.at`: typical values as "Kg", omegas as "omega(Kg)".
    size
        Patients of a block; draw k is of the patients k*size to (k + 1)*size - 1 of its `table`.
    same
        Every block has the same patients, those of the first (common random numbers), with their ids; otherwise each
        has the next ones.

    Raises
    ------
    InputError
        As `Population.at`, naming the draw.
    """
    check_count(size, f"blocks of {brief(size)} patients")
    return _blocks(population, draws, size=int(size), same=bool(same), shuffled=False)


def _blocks(population: Population, draws: pd.DataFrame, **how: Any) -> UncertainPopulation:
    """Blocks under the draws, varying what they say varies."""
    model, drawn = population.model, numbers(draws)
    variability = dict(population.variability or {})
    for name, column in split(model, drawn, "draws")[1].items():
        if name not in population.varied and 0 < (largest := float(np.max(drawn[column]))) < np.inf:
            variability[name] = with_omega(model, name, variability.get(name), largest, "draws")
    return UncertainPopulation(
        model,
        population.seed,
        variability,
        population.correlation,
        population.sampler,
        draws=draws,
        origin=population.origin,
        **how,
    )


def uncertain(
    population: Population, size: int, uncertainty: bool | pd.DataFrame, known: Iterable[str] = ()
) -> UncertainPopulation:
    """The population with estimates drawn for each ``size`` patients, but for the typical values that are ``known``.

    ``uncertainty``: True for the draws of the population, in the order that its seed says, or where it has none for the
    errors of the model file; or a covariance of the typical values. Raises `InputError` where nothing is uncertain.
    """
    import pandas as pd

    kinds = (bool, pd.DataFrame)
    check_kind("uncertainty", uncertainty, kinds, "True, or the covariance of typical values as a data frame")
    model, given = population.model, {*known}
    covariance = None if isinstance(uncertainty, bool) else uncertainty
    if covariance is None and population.draws is not None:
        draws = population.draws.drop(columns=[*given], errors="ignore")
        if draws.empty:
            raise InputError(f"the draws are of {', '.join(population.draws)} alone, which is given; leave it out")
        return _blocks(population, draws, size=size)
    if given:
        parameters = {name: replace(p, rse=None) if name in given else p for name, p in model.parameters.items()}
        model = replace(model, parameters=parameters)
        if covariance is not None:
            rest = [name for name in covariance.columns if name not in given]
            covariance = covariance.loc[rest, rest]
    found = UncertainPopulation(
        model,
        population.seed,
        population.variability,
        population.correlation,
        population.sampler,
        origin=population.origin,
        size=size,
        covariance=covariance,
    )
    if not found.uncertain:
        raise InputError(f"{model.name} has no standard errors of estimates; give them as rse, or a covariance")
    return found


class _Estimates:
    """The estimates of a model that are uncertain, and how they are drawn."""

    def __init__(self, model: Model, varied: Mapping[str, Variability], covariance: pd.DataFrame | None) -> None:
        self.omegas = {name: v for name, v in varied.items() if v.rse and v.omega}
        parameters = model.parameters
        whole = {name for name, v in varied.items() if v.distribution == "bernoulli" and parameters[name].value == 1}
        if covariance is None:
            self.names = [name for name, p in parameters.items() if p.rse and p.value and name not in whole]
        else:
            self.names, matrix = symmetric(covariance, "covariance")
            for name in self.names:
                check_name(model, name, "covariance")
                if not parameters[name].value or name in whole:
                    what = "is in all patients" if name in whole else "has no typical value but 0 or a formula"
                    raise InputError(f"covariance: {name} {what}; leave it out")
        self.typical: dict[str, Any] = {name: parameters[name].value for name in self.names}
        self.scale = {name: _scale(varied.get(name)) for name in self.names}
        steep = np.array([_steepness(self.scale[name], self.typical[name]) for name in self.names])
        if covariance is None:
            self.root = np.diag([parameters[name].rse or 0.0 for name in self.names] * np.abs(steep))
        else:
            typical = np.array(list(self.typical.values()))
            relative = matrix / np.outer(typical, typical)
            self.root = symmetric_root(relative * np.outer(steep, steep), "covariance")

    def draw(self, seed: int, start: int, stop: int) -> tuple[Drawn, Drawn]:
        """Typical values and omegas of replicates start..stop-1, each (stop - start,)."""
        from scipy.special import ndtri

        def score(name: str) -> NDArray[np.float64]:
            return ndtri(uniforms(seed, f"uncertainty/{name}", start, stop))

        scores = [score(name) for name in self.names]
        values = {}
        for i, name in enumerate(self.names):
            # Term by term, since the rounding of a matrix product may depend on the number of replicates.
            step = sum((self.root[i, j] * scores[j] for j in range(len(scores))), np.zeros(stop - start))
            values[name] = spread(name, self.scale[name], self.typical[name], step)
        omegas = {name: v.omega * np.exp((v.rse or 0.0) * score(f"omega/{name}")) for name, v in self.omegas.items()}
        return values, omegas


def _scale(variability: Variability | None) -> Variability:
    """The scale on which an estimate is normal, as a distribution of which a step is one standard deviation."""
    kind = "lognormal" if variability is None else variability.distribution
    if kind == "bernoulli":
        return Variability("logitnormal", 1.0, 0.0, 1.0)
    if kind in ("logitnormal", "uniform"):
        assert variability is not None
        return Variability("logitnormal", 1.0, variability.low, variability.high)
    return Variability(kind, 1.0)


def _steepness(scale: Variability, typical: float) -> float:
    """How far the estimate goes on its scale when it grows by its own size: typical times the scale's slope there."""
    if scale.distribution == "lognormal":
        return 1.0
    if scale.distribution == "normal":
        return typical
    low, high = scale.low, scale.high
    assert low is not None  # Population.varied filled it in
    assert high is not None
    return typical * (high - low) / ((typical - low) * (high - typical))
