"""The engine with everything but the patients filled in: model, regimen, times and solver made ready once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cartsim.engine import kernel, rodas
from cartsim.engine.task import Patients, Task, Trigger
from cartsim.engine.trajectories import Trajectories
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
        self.model, self.solver, self.rule = model, solver, regimen.retreatment
        self.kernel = kernel.compile_model(model, say)
        rodas.driver()
        states, of = list(model.states), model.states.values()
        names = list(names)
        log_scaled = np.array([s.scale == "log" for s in of])
        ceilings = np.array([s.ceiling or np.inf for s in of])
        self.task = Task(
            times=np.array(times, float),  # compiled code takes no views and nothing read-only
            dose_times=np.array([infusion.time for infusion in regimen.doses], float),
            columns=np.array([names.index(n) if n in names else -1 for n in (*model.outputs, *states)], np.int64),
            needed=np.array(sorted(states.index(s) for s in model.states_behind(names)), np.uint64),
            log_scaled=log_scaled,
            negligible=np.array([s.negligible for s in of], float),
            ceilings=np.where(log_scaled, np.log(ceilings), ceilings),
            bounded=np.flatnonzero(np.isfinite(ceilings)),
            seeded=any(s.seed is not None for s in of),
            rtol=float(solver.rtol),
            max_steps=solver.max_steps,
            trigger=_trigger(model, regimen),
        )

    def integrate(
        self,
        parameters: NDArray[np.float64],
        dose_amounts: NDArray[np.float64],
        into: Trajectories,
    ) -> None:
        """Integrate patients: parameters (n, p), dose_amounts (n, d); the outcome goes ``into``."""
        amounts = np.zeros(len(parameters))
        if self.rule is not None:
            amounts[:] = dose_amounts[:, 0] if self.rule.dose is None else self.rule.dose
        own, doses = (np.require(each, float, ["C", "W"]) for each in (parameters, dose_amounts))
        patients = Patients(own, doses, amounts, self._extinction(parameters))
        rodas.integrate(self.kernel, self.task, patients, into)

    def _extinction(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, states) The value below which each patient's pool is gone; (0, states) where none ever is."""
        if not self.solver.extinction:
            return np.zeros((0, len(self.model.states)))
        place = list(self.model.parameters).index
        limits = np.zeros((len(parameters), len(self.model.states)))
        for i, state in enumerate(self.model.states.values()):
            if state.volume is not None:
                limits[:, i] = self.solver.extinction / parameters[:, place(state.volume)]
        return limits


def _trigger(model: Model, regimen: Regimen) -> Trigger:
    rule = regimen.retreatment
    if rule is None:
        return Trigger()
    states = list(model.states)
    if rule.state not in states:
        raise InputError(f"retreatment watches {rule.state!r}; it can watch the states {', '.join(states)}")
    return Trigger(
        state=states.index(rule.state),
        factor=-math.inf if rule.above_nadir is None else float(rule.above_nadir),
        above=-math.inf if rule.above is None else float(rule.above),
        earliest=float(rule.earliest),
        delay=float(rule.delay),
        maximum=int(rule.maximum),
    )
