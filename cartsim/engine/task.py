"""What is asked of the integrator, in the form in which compiled code takes it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Trigger(NamedTuple):
    """A further infusion when a state has risen to ``factor`` times its lowest value so far and to ``above``."""

    state: int = 0
    factor: float = 0.0
    above: float = 0.0
    earliest: float = 0.0  # the condition is looked at from here on
    delay: float = 0.0  # from the condition to the infusion
    maximum: int = 0  # how often


class Task(NamedTuple):
    """What is the same for all patients."""

    times: NDArray[np.float64]  # (m,) sorted, from 0: where outputs are read
    dose_times: NDArray[np.float64]  # (d,) sorted, from 0
    columns: NDArray[np.int64]  # (outputs + states,) the column of each in the result, or -1
    needed: NDArray[np.uint64]  # the states that those are computed from
    log_scaled: NDArray[np.bool_]  # (s,)
    negligible: NDArray[np.float64]  # (s,) amounts that count as nothing
    ceilings: NDArray[np.float64]  # (s,) as carried
    bounded: NDArray[np.int64]  # the states that have one
    seeded: bool  # a dose fills pools that are empty
    rtol: float
    max_steps: int
    trigger: Trigger


class Patients(NamedTuple):
    """What is each patient's own."""

    parameters: NDArray[np.float64]  # (n, p)
    dose_amounts: NDArray[np.float64]  # (n, d) in the dosing section's unit; zero is no infusion
    trigger_amounts: NDArray[np.float64]  # (n,)
    extinction: NDArray[np.float64]  # (n, s) below this a pool is gone until the next dose (0: never); or (0, s)
