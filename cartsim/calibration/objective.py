"""The log likelihood of estimates: trials simulated under many draws at once, their rows compared with the published.

Every draw has the same patients (common random numbers, Sobol points), each arm of each trial its own, and what the
observation adds (visits, assays, dropout) is addressed by patient too. So the likelihood is a function of the estimates
alone, the same in any batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cartsim.calibration.likelihood import log_likelihood
from cartsim.calibration.priors import Prior, estimates, possible
from cartsim.calibration.rows import Sample, Term, terms
from cartsim.errors import InputError
from cartsim.model.model import Variability
from cartsim.population.population import Population
from cartsim.population.uncertainty import ensemble
from cartsim.solver import Solver
from cartsim.trial.measurements import Measurements
from cartsim.trial.published import PublishedTrial
from cartsim.trial.trial import Arm, Trial

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

ACCURACY = Solver(rtol=1e-4)
"""How exactly a calibration integrates: its shares are of some hundred patients."""

EACH = 16
"""Simulated at most for each patient of an arm: those of a small arm need not be known better."""


class Objective:
    """Log likelihood (k,) at places z (k, d), SDs from the medians of the priors.

    Parameters
    ----------
    population
        At the model's own estimates.
    trials
        Published.
    priors
        Of the free estimates, by name.
    patients
        Simulated in each arm, but no more than `EACH` for every patient that it had.
    solver
        How exactly.
    """

    def __init__(
        self,
        population: Population,
        trials: Sequence[PublishedTrial],
        priors: Mapping[str, Prior],
        patients: int,
        solver: Solver = ACCURACY,
    ) -> None:
        self.population, self.trials, self.priors = population, tuple(trials), dict(priors)
        self.patients = patients
        self.simulated: list[Trial] = [each.trial(population, n=patients, solver=solver) for each in trials]
        self.terms: list[list[Term]] = [terms(each) for each in trials]
        self.sizes = [[min(patients, EACH * (arm.n or patients)) for arm in each.arms] for each in trials]
        self.all_patients = sum(n for own in self.sizes for n in own)

    def __call__(self, z: Floats) -> Floats:
        total = np.full(len(z), -np.inf)
        known = np.flatnonzero(possible(self.priors, estimates(self.priors, z)))
        if known.size:
            try:
                total[known] = self._total(z[known])
            except InputError:  # a draw under which a parameter leaves its limits in some patient
                if len(known) > 1:
                    total[known] = np.concatenate([self(z[i : i + 1]) for i in known])
        return total

    def _total(self, z: Floats) -> Floats:
        parts = [
            log_likelihood(term.observed, *term.read(sample))
            for own, sample in zip(self.terms, self.samples(z), strict=True)
            for term in own
        ]
        # Added one by one: the rounding of a sum along an axis may depend on the number of draws.
        return sum(parts, np.zeros(len(z)))

    def samples(self, z: Floats) -> list[Sample]:
        """Judged patients of each trial at places z (k, d)."""
        import pandas as pd

        k = len(z)
        draws = pd.DataFrame(estimates(self.priors, z))
        rows = np.arange(k * self.all_patients).reshape(k, -1)
        tables: dict[tuple[tuple[str, Any], ...], Any] = {}  # arms without covariates of their own share one

        def measured(trial: Trial, sizes: Sequence[int], first: int) -> Iterator[Measurements]:
            for arm, n in zip(trial.arms, sizes, strict=True):
                key = tuple((arm.covariates or {}).items())
                if key not in tables:
                    tables[key] = self._table(arm, draws)
                own = tables[key].iloc[rows[:, first : first + n].reshape(-1)]
                yield trial.measure_rows(own, arm, first, first + n)
                first += n

        found, first = [], 0
        for published, trial, sizes in zip(self.trials, self.simulated, self.sizes, strict=True):
            found.append(Sample.measured(published, measured(trial, sizes, first), k))
            first += sum(sizes)
        return found

    def _table(self, arm: Arm, draws: pd.DataFrame) -> pd.DataFrame:
        """All patients under each draw, as they are in an arm."""
        known = [name for name in draws if name not in (arm.covariates or {})]
        people = ensemble(arm.of(self.population), draws[known], self.all_patients, same=True)
        table = people.table(0, len(draws) * self.all_patients)
        for name, value in (arm.covariates or {}).items():
            if name in self.population.model.parameters and not isinstance(value, Variability):
                table[name] = table.get(name, float(value))  # also where it does not vary
        return table
