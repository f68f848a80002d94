"""Virtual patients as one table: a row a patient, a column for each parameter or covariate that varies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError, brief, check_kind, elsewhere, whole
from cartsim.model.model import OMEGALESS, Model, Variability, finite_number
from cartsim.model.reader import load
from cartsim.population.correlation import correlation_pairs, symmetric_root
from cartsim.population.draws import sobol, uniforms
from cartsim.population.estimates import check_estimates, numbers, split, with_omega
from cartsim.population.patients import check_name, completed
from cartsim.population.variability import check_variability, spread

if TYPE_CHECKING:
    import pandas as pd

APART = 10**9  # between the numbers of the first patients of independent arms


def endless(who: object) -> bool:
    """Whether there are always other patients: not of a table, a selection, or Sobol points."""
    return isinstance(who, Population) and who.sampler == "random" and not hasattr(who, "__len__")


@elsewhere(n="say it where they are simulated: simulate(population, n=...) or Trial(population, arms, n=...)")
@dataclass(frozen=True, repr=False)
class Population:
    """The virtual patients of a model, without end: `table` gives any range of them.

    `variability` replaces or extends, by name, what the model file says of its parameters and covariates.
    That of a derived parameter acts on what each patient's other values give:
    Tumor0 = 5e7*burden*exp(omega z).
    `correlation` holds correlations of the underlying normal variables: {("K12", "K21"): 0.5}, or a
    symmetric frame with names as index and columns. A bernoulli quantity is 1 where its variable is high.
    `sampler` is "random" or "sobol" (scrambled Sobol points, a dimension for each quantity that varies; with
    them, varying one more changes the others).
    `draws` holds estimates that may be as well as those of the model, a row a draw, such as those of a calibration:
    typical values as "Kg", omegas as "omega(Kg)". The patients are of the model's estimates; what is asked to allow for
    uncertainty treats patients of the draws. `origin` says, by name, where the population is from.

    Raises `InputError` for unknown names, impossible distributions, those that leave the range which the
    model allows, and correlations that are not positive semidefinite with unit diagonal.
    """

    model: Model
    seed: int = 2021
    variability: Mapping[str, Variability] | None = None
    correlation: Mapping[tuple[str, str], float] | pd.DataFrame | None = None
    sampler: str = "random"
    draws: pd.DataFrame | None = field(default=None, kw_only=True)
    origin: Mapping[str, str] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", load(self.model))
        if not whole(self.seed):
            raise InputError(f"seed is {brief(self.seed)}; give a whole number")
        if self.variability is not None:
            check_kind("variability", self.variability, Mapping, 'a mapping, such as {"burden": uniform(5, 95)}')
        for name, given in (self.variability or {}).items():
            check_name(self.model, name, "variability")
            check_kind(f"variability of {name}", given, Variability, "a distribution, such as lognormal(0.3)")
        for name, variability in self.varied.items():
            check_variability(self.model, name, variability)
        if self.sampler not in ("random", "sobol"):
            raise InputError(f"sampler {brief(self.sampler)} is not known; it is 'random' or 'sobol'")
        _ = self._mixing  # checks the correlations
        if self.draws is not None:
            check_estimates(self.model, self.varied, numbers(self.draws), "draws")

    def __repr__(self) -> str:
        varied = ", ".join(f"{name} ({v.distribution})" for name, v in self.varied.items())
        return f"virtual patients of {self.model.name}, seed {self.seed}: {varied or 'nothing varies'}"

    def _repr_html_(self) -> str:
        import pandas as pd

        rows = [(name, v.distribution, v.omega or None, v.low, v.high) for name, v in self.varied.items()]
        table = pd.DataFrame(rows, columns=["varies", "distribution", "omega", "low", "high"]).fillna("")
        return f"<b>virtual patients of {self.model.name}, seed {self.seed}</b>{table.to_html(index=False, border=0)}"

    @cached_property
    def varied(self) -> dict[str, Variability]:
        """What varies and how, in the order of the model file."""
        varied = {}
        for name, parameter in self.model.parameters.items():
            variability = (self.variability or {}).get(name, parameter.iiv)
            if variability is None or (variability.distribution not in OMEGALESS and variability.omega == 0):
                continue
            if variability.distribution in ("logitnormal", "uniform"):
                low = parameter.low if variability.low is None else variability.low
                high = parameter.high if variability.high is None else variability.high
                variability = replace(variability, low=low, high=high)
            varied[name] = variability
        return varied

    def about(self) -> dict[str, Any]:
        """Seed and variability as plain values, for what a result is made by."""
        varied = {name: str(variability) for name, variability in self.varied.items()}
        pairs = {f"{a},{b}": float(rho) for (a, b), rho in correlation_pairs(self.correlation).items() if a < b}
        made = {"seed": int(self.seed), "sampler": self.sampler, "variability": varied, "correlation": pairs}
        return made if self.origin is None else {"population": dict(self.origin)} | made

    def at(self, estimates: Mapping[str, float]) -> Self:
        """The population with other estimates: same seed, sampler, correlation.

        Parameters
        ----------
        estimates
            Typical values by the name of their parameter or covariate, in the units of the model file; omegas as
            "omega(Kg)", SDs on the scale of the distribution, which is lognormal where nothing varies so far. They are
            known from now on: draws of them are left out.

        Raises
        ------
        InputError
            For unknown names, what is not a finite number, values outside the limits of the model, and the omega of a
            distribution that has none.

        Examples
        --------
        >>> import cartsim as cs
        >>> other = cs.Population("bb2121_clinical", seed=1).at({"Kg": 0.01, "omega(Kg)": 0.3})
        >>> str(other.varied["Kg"])
        'lognormal 0.3'
        """
        give = 'a mapping, such as {"Kg": 0.01, "omega(Kg)": 0.3}'
        check_kind("estimates", estimates, Mapping, give)
        typical, omegas = split(self.model, estimates, "estimates")
        given = {name: finite_number(value, f"estimates: {name}") for name, value in estimates.items()}
        check_estimates(self.model, self.varied, {name: np.array([own]) for name, own in given.items()}, "estimates")
        variability = dict(self.variability or {})
        for name, column in omegas.items():
            variability[name] = with_omega(self.model, name, variability.get(name), given[column], "estimates")
        return replace(
            self,
            model=self.model.override({name: given[name] for name in typical}),
            variability=variability,
            draws=self._draws_without(given),
        )

    def varying(self, variability: Mapping[str, Variability]) -> Self:
        """The population with these quantities varying otherwise; draws that no longer say anything are left out."""
        told = [f"omega({name})" for name in variability]
        told += [name for name, other in variability.items() if other.distribution == "uniform"]
        changed = {**(self.variability or {}), **variability}
        return replace(self, variability=changed, draws=self._draws_without(told))

    def known(self, values: Mapping[str, float]) -> Self:
        """The population with these typical values, of constants too; draws of them are left out."""
        return replace(self, model=self.model.override(values), draws=self._draws_without(values))

    def _draws_without(self, names: Iterable[str]) -> pd.DataFrame | None:
        rest = None if self.draws is None else self.draws.drop(columns=[*names], errors="ignore")
        return None if rest is None or rest.empty else rest

    def table(
        self, start: int, stop: int, *, complete: bool = False, typical: Mapping[str, NDArray[np.float64]] | None = None
    ) -> pd.DataFrame:
        """Patients start..stop-1: index `id` (patient number), a column for each quantity that varies.

        With `complete`, a column for every parameter and covariate. Values are in the model file's units.
        `typical`: k other typical values by name, (k,) each, with a column each; all patients then stand there k times,
        under the first of these values, then under the next.
        """
        import pandas as pd

        if not 0 <= start < stop:
            raise InputError(f"patients {start} to {stop}: patients are numbered from 0, and start < stop")
        parameters, ids = self.model.parameters, self._ids(start, stop)
        scores = self._scores(start, stop)
        columns, omegas = self._estimates(start, stop)
        held = self.held
        if typical:
            held = [name for name in parameters if name in {*held, *typical}]
            times = len(next(iter(typical.values())))
            scores, columns, omegas = (
                {name: np.tile(own, times) for name, own in drawn.items()} for drawn in (scores, columns, omegas)
            )
            columns |= {name: np.repeat(values, len(ids)) for name, values in typical.items()}
            ids = np.tile(ids, times)
        for name in self._order:
            middle = columns.get(name, parameters[name].value)
            if middle is None:
                middle = self.model.values(columns, len(ids))[:, list(parameters).index(name)]
            variability = self.varied[name]
            if name in omegas:
                variability = replace(variability, omega=omegas[name])
            columns[name] = spread(name, variability, middle, scores[name])
        table = pd.DataFrame({name: columns[name] for name in held}, index=pd.Index(ids, name="id"))
        return completed(self.model, table) if complete else table

    def _ids(self, start: int, stop: int) -> NDArray[np.int64]:
        """(stop - start,) The numbers of patients start..stop-1."""
        return np.arange(start, stop)

    @cached_property
    def _order(self) -> list[str]:
        """What varies, in the order in which it is drawn: after what it is derived from."""
        needs = {name: p.expression.names if p.expression else () for name, p in self.model.parameters.items()}
        return [name for name in TopologicalSorter(needs).static_order() if name in self.varied]

    @property
    def held(self) -> list[str]:
        """Names of the columns of `table`: what varies."""
        return list(self.varied)

    def _estimates(self, start: int, stop: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Typical values and omegas, each (stop - start,), of patients for whom they are not the model's: nobody."""
        return {}, {}

    def _scores(self, start: int, stop: int) -> dict[str, NDArray[np.float64]]:
        """Standard normal variables by name, each (stop - start,), correlated as asked."""
        from scipy.special import ndtri

        if self.sampler == "sobol":
            points = sobol(self.seed, len(self.varied), start, stop)
            scores = {name: ndtri(points[i]) for i, name in enumerate(self.varied)}
        else:
            scores = {name: ndtri(uniforms(self.seed, f"parameter/{name}", start, stop)) for name in self.varied}
        names, root = self._mixing
        # Column by column, since the rounding of a matrix product may depend on the number of rows.
        mixed = {name: sum(root[i, j] * scores[other] for j, other in enumerate(names)) for i, name in enumerate(names)}
        return scores | mixed

    @cached_property
    def _mixing(self) -> tuple[list[str], NDArray[np.float64]]:
        """Names of the correlated quantities and the root of their correlation matrix."""
        pairs = correlation_pairs(self.correlation)
        for name in {name: None for pair in pairs for name in pair}:
            check_name(self.model, name, "correlation")
            if name not in self.varied:
                raise InputError(f"correlation: {name} does not vary; give it a variability or leave it out")
        linked = {name for (a, b), rho in pairs.items() if a != b and rho != 0 for name in (a, b)}
        names = [name for name in self.varied if name in linked]
        matrix = np.eye(len(names))
        for i, a in enumerate(names):
            for j, b in enumerate(names):
                matrix[i, j] = pairs.get((a, b), matrix[i, j])
        return names, symmetric_root(matrix, "correlation")
