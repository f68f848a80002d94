"""Room for the patients under way, ``LANES`` side by side."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cartsim.engine.layout import LANES, Rows

NOBODY = -1
GOES_ON = -1
_LANE = np.dtype(
    [
        ("place", np.uint64),  # of the lane among the others: as an index it needs no look at its sign
        ("patient", np.int64),  # or NOBODY
        ("halted", np.bool_),  # at a start, a dose or an end, or empty
        ("ending", np.int64),  # Status of the patient, or GOES_ON
        ("next_time", np.int64),  # which output time
        ("next_dose", np.int64),
        ("pending", np.float64),  # time of the infusion that was triggered
        ("triggered", np.int64),  # how often
        ("nadir", np.float64),  # of the state that the trigger watches
    ],
    align=True,
)


class Work(NamedTuple):
    """What the integrator writes on; all but the last lines are parts of ``flat``, see ``layout.Rows``."""

    flat: NDArray[np.float64]
    time: NDArray[np.float64]  # (lanes,)
    step: NDArray[np.float64]  # (lanes,)
    error: NDArray[np.float64]  # (lanes,)
    growth: NDArray[np.float64]  # (lanes,)
    taken: NDArray[np.float64]  # (lanes,)
    stop: NDArray[np.float64]  # (lanes,)
    due: NDArray[np.float64]  # (lanes,)
    then: NDArray[np.float64]  # (lanes,)
    tried: NDArray[np.float64]  # (lanes,)
    rejected: NDArray[np.float64]  # (lanes,)
    refused: NDArray[np.float64]  # (lanes,)
    y: NDArray[np.float64]  # (states, lanes)
    new: NDArray[np.float64]  # (states, lanes)
    dense: NDArray[np.float64]  # (3, states, lanes)
    alive: NDArray[np.float64]  # (states, lanes)
    constants: NDArray[np.float64]  # (constants, lanes)
    at_due: NDArray[np.float64]  # (states, lanes) as carried, at the time of the next output
    reading: NDArray[np.int64]  # (lanes,) places of the lanes whose step passes that time
    calling: NDArray[np.int64]  # (lanes,) places of the lanes in which more happens
    lanes: np.ndarray  # (lanes,) of _LANE
    seen: NDArray[np.float64]  # (lanes, states, times) as carried
    x: NDArray[np.float64]  # (states,) of one patient, in natural units; so are these:
    end: NDArray[np.float64]  # (states,)
    between: NDArray[np.float64]  # (states,)
    slopes: NDArray[np.float64]  # (7, states)
    c: NDArray[np.float64]  # (constants,)

    @classmethod
    def empty(cls, n_states: int, n_constants: int, n_factors: int, n_times: int) -> Work:
        """Room for patients of one model."""
        at = Rows(n_states, n_constants, n_factors)
        room = np.zeros(at.size + 8)
        first = -room.ctypes.data % 64 // 8  # rows on cache lines: a packed load that straddles two costs double
        flat = room[first : first + at.size]
        lanes = np.zeros(LANES, _LANE)
        lanes["place"], lanes["patient"], lanes["halted"] = np.arange(LANES), NOBODY, True

        def rows(start: int, end: int) -> NDArray[np.float64]:
            return flat[start:end].reshape(-1, LANES)

        return cls(
            flat=flat,
            time=flat[at.time : at.step],
            step=flat[at.step : at.error],
            error=flat[at.error : at.growth],
            growth=flat[at.growth : at.taken],
            taken=flat[at.taken : at.stop],
            stop=flat[at.stop : at.due],
            due=flat[at.due : at.then],
            then=flat[at.then : at.tried],
            tried=flat[at.tried : at.rejected],
            rejected=flat[at.rejected : at.refused],
            refused=flat[at.refused : at.y],
            y=rows(at.y, at.new),
            new=rows(at.new, at.dense),
            dense=rows(at.dense, at.alive).reshape(3, n_states, LANES),
            alive=rows(at.alive, at.constants),
            constants=rows(at.constants, at.inverse),
            at_due=np.zeros((n_states, LANES)),
            reading=np.zeros(LANES, np.int64),
            calling=np.arange(LANES),  # all, to begin with
            lanes=lanes,
            seen=np.empty((LANES, n_states, n_times)),
            x=np.empty(n_states),
            end=np.empty(n_states),
            between=np.empty(n_states),
            slopes=np.empty((7, n_states)),
            c=np.empty(n_constants),
        )
