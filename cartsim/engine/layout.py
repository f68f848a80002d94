"""Where each quantity lies in the work array that the integrator and the generated code share."""

from __future__ import annotations

from cartsim.engine.tableau import STAGES

LANES = 16
"""Patients side by side: two packed registers of eight doubles, or four of four; 8 or 32 are no faster."""


class Rows:
    """First index of each block of the flat array; a block has a row of ``LANES`` numbers for each state.

    time, step, error: one row each. growth: error**-0.2; taken: 1 where y is the last step's end, which is not yet
    copied there, else 0 or less; stop: the time at which a step has to end; due: the time of the next output, or -inf
    where each step is watched; then: the next step, if nothing happens in this one. tried, rejected: attempts so far,
    and those that failed; refused: those since the last step. y: states at the start of the step; new: at its end;
    dense: three blocks of the interpolant's coefficients; alive: 1, or 0 where a pool is gone; constants: what depends
    on parameters alone.

    The others go from one loop of a step to the next. inverse: 1 / step; stages: a block of each stage but the last;
    now: the stage just solved; at, moment: states and time at which slopes are taken; known: the right-hand side
    without them, times the step; drift: the change of slopes with time, times the step squared; factors: a row for each
    entry of the factored matrix.
    """

    def __init__(self, n_states: int, n_constants: int = 0, n_factors: int = 0) -> None:
        block = n_states * LANES
        self.time, self.step, self.error, self.growth, self.taken = (k * LANES for k in range(5))
        self.stop, self.due, self.then, self.tried, self.rejected, self.refused = (k * LANES for k in range(5, 11))
        self.y = 11 * LANES
        self.new = self.y + block
        self.dense = self.new + block
        self.alive = self.dense + 3 * block
        self.constants = self.alive + block
        self.inverse = self.constants + n_constants * LANES
        self.stages = self.inverse + LANES
        self.now = self.stages + (STAGES - 1) * block
        self.at = self.now + block
        self.moment = self.at + block
        self.known = self.moment + LANES
        self.drift = self.known + block
        self.factors = self.drift + block
        self.size = self.factors + n_factors * LANES
