"""Where each quantity lies in the work array that the integrator and the generated code share."""

from __future__ import annotations

LANES = 16
"""Patients side by side: two packed registers of eight doubles, or four of four; 8 or 32 are no faster."""


class Rows:
    """First index of each block of the flat array; a block has a row of ``LANES`` numbers for each state.

    time, step, error: one row each. y: states at the start of the step; new: at its end; dense: three blocks of the
    interpolant's coefficients; alive: 1, or 0 where a pool is gone; constants: what depends on parameters alone.
    """

    def __init__(self, n_states: int, n_constants: int = 0) -> None:
        block = n_states * LANES
        self.time, self.step, self.error, self.y = 0, LANES, 2 * LANES, 3 * LANES
        self.new = self.y + block
        self.dense = self.new + block
        self.alive = self.dense + 3 * block
        self.constants = self.alive + block
        self.size = self.constants + n_constants * LANES
