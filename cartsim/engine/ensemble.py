"""The engine with everything but the patients filled in: model, regimen, times and solver made ready once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cartsim.engine import kernel, rodas
from cartsim.errors import InputError, say
from cartsim.model.model import Model
from cartsim.regimen import Regimen
from cartsim.solver import Solver


class Ensemble:
    """Integrates any number of patients of one model under one regimen.

    Parameters
    ----------
    model
        Compiled when needed, which is announced on stderr.
    regimen
        Its retreatment rule; the amounts of planned doses come with the patients.
    times
        (m,) increasing, where outputs are read.
    names
        Outputs and states to read, k of them.
    solver
        Settings of the integrator.

    Raises
    ------
    InputError
        For a retreatment that watches what is no state.
    """

    def __init__(
        self, model: Model, regimen: Regimen, times: NDArray[np.float64], names: Sequence[str], solver: Solver
    ) -> None:
        self.model, self.times, self.solver = model, times, solver
        self.rule = regimen.retreatment
        self.retreatment = _watched(model, regimen)
        self.kernel = kernel.compile_model(model, say)
        states = list(model.states)
        names = list(names)
        self.columns = np.array([names.index(n) if n in names else -1 for n in (*model.outputs, *states)], np.int64)
        self.needed = np.array(sorted(states.index(s) for s in model.states_behind(names)), np.int64)
        of = model.states.values()
        self.log_scaled = np.array([s.scale == "log" for s in of])
        self.negligible = np.array([s.negligible for s in of])
        self.ceilings = np.array([s.ceiling or np.inf for s in of])
        self.seeded = any(s.seed is not None for s in of)

    def integrate(
        self,
        parameters: NDArray[np.float64],
        dose_times: NDArray[np.float64],
        dose_amounts: NDArray[np.float64],
        into: rodas.Trajectories,
    ) -> None:
        """Integrate patients: parameters (n, p), dose_times (d,), dose_amounts (n, d); the outcome goes ``into``."""
        amounts = None
        if self.rule is not None:
            amounts = dose_amounts[:, 0] if self.rule.dose is None else np.full(len(parameters), self.rule.dose)
        rodas.integrate(
            self.kernel,
            parameters,
            dose_times,
            dose_amounts,
            self.times,
            self.columns,
            into,
            log_scaled=self.log_scaled,
            negligible=self.negligible,
            ceilings=self.ceilings,
            needed=self.needed,
            seeded=self.seeded,
            extinction=self._extinction(parameters),
            retreatment=self.retreatment,
            retreatment_amounts=amounts,
            rtol=self.solver.rtol,
            max_steps=self.solver.max_steps,
        )

    def _extinction(self, parameters: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """(n, states) The value below which each patient's pool is gone."""
        if not self.solver.extinction:
            return None
        place = list(self.model.parameters).index
        limits = np.zeros((len(parameters), len(self.model.states)))
        for i, state in enumerate(self.model.states.values()):
            if state.volume is not None:
                limits[:, i] = self.solver.extinction / parameters[:, place(state.volume)]
        return limits


def _watched(model: Model, regimen: Regimen) -> rodas.Retreatment | None:
    rule = regimen.retreatment
    if rule is None:
        return None
    states = list(model.states)
    if rule.state not in states:
        raise InputError(f"retreatment watches {rule.state!r}; it can watch the states {', '.join(states)}")
    return rodas.Retreatment(
        state=states.index(rule.state),
        factor=rule.above_nadir if rule.above_nadir is not None else -math.inf,
        above=rule.above if rule.above is not None else -math.inf,
        earliest=rule.earliest,
        delay=rule.delay,
        maximum=rule.maximum,
    )
