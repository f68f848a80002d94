"""What comes of an integration: each patient's outputs, and how it went."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Status(IntEnum):
    """How a patient's integration ended."""

    ok = 0
    ceiling = 1  # a state rose above its ceiling: outputs are NaN from there on
    too_many_steps = 2  # all outputs are NaN
    step_too_small = 3  # all outputs are NaN
    bad_start = 4  # a state starts, or is left by a dose, at what is no number or below 0 on the log scale: NaN
    not_finite = 5  # an output is NaN or infinite while the states are not; outputs are as they were computed

    @classmethod
    def failed(cls, codes: np.ndarray) -> np.ndarray:
        """Whether each of these patients has no result: neither all outputs nor those up to a ceiling."""
        return np.asarray(codes) >= cls.too_many_steps


class Trajectories(NamedTuple):
    """Outputs (k, n, m), NaN where there are none, and for each of n patients (n,) how it went."""

    outputs: NDArray[np.float64]
    status: NDArray[np.int64]
    steps: NDArray[np.int64]
    rejected: NDArray[np.int64]
    retreated: NDArray[np.float64]  # time of the first conditional infusion, NaN where there was none
    ended: NDArray[np.float64]  # time reached

    @classmethod
    def empty(cls, columns: int, n: int, times: int) -> Trajectories:
        """Room for n patients."""
        status, steps, rejected = np.zeros((3, n), np.int64)
        return cls(np.empty((columns, n, times)), status, steps, rejected, np.full(n, np.nan), np.zeros(n))

    def part(self, patients: slice) -> Trajectories:
        """The room of some of the patients: what is written there is seen here."""
        own: Any = [each[patients] for each in self[1:]]
        return Trajectories(self.outputs[:, patients], *own)
