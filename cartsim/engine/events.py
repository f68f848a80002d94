"""What happens inside a step just tried, found on its dense interpolant."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cartsim.engine.layout import LANES
from cartsim.engine.scale import carried, compiled, inlined
from cartsim.engine.task import Trigger
from cartsim.engine.work import Work


@inlined
def inside(work: Work, lane: Any, i: int, theta: float) -> float:
    """State i of a lane, as carried, at 0 <= theta <= 1 of the step."""
    k, dense = lane.place, work.dense
    return _between(theta, work.y[i, k], work.new[i, k], dense[0, i, k], dense[1, i, k], dense[2, i, k])


@inlined
def read_inside(work: Work, lane: Any, i: int, times: NDArray[np.float64], first: int, last: int) -> None:
    """See state i of a lane at the times from number ``first`` to before ``last``, which lie in the step."""
    k, dense = lane.place, work.dense
    t, h, start, end = work.time[k], work.step[k], work.y[i, k], work.new[i, k]
    a, b, c = dense[0, i, k], dense[1, i, k], dense[2, i, k]
    for j in range(np.uint64(first), np.uint64(last)):
        work.seen[k, i, j] = _between((times[j] - t) / h, start, end, a, b, c)


@inlined
def read_due(work: Work, i: int) -> None:
    """Read state i at the time of the next output, in all lanes."""
    for k in range(LANES):
        theta = (work.due[k] - work.time[k]) / work.step[k]
        a, b, c = work.dense[0, i, k], work.dense[1, i, k], work.dense[2, i, k]
        work.at_due[i, k] = _between(theta, work.y[i, k], work.new[i, k], a, b, c)


@inlined
def _between(theta: float, start: float, end: float, a: float, b: float, c: float) -> float:
    rest = 1.0 - theta
    return rest * start + theta * (end + rest * (a + theta * (b + theta * c)))


@compiled
def crossing(work: Work, lane: Any, i: int, limit: float) -> float:
    """Where in the step state i passes the limit that lies between its two ends."""
    falling = inside(work, lane, i, 1.0) < limit
    before, after = 0.0, 1.0
    for _ in range(60):
        middle = 0.5 * (before + after)
        value = inside(work, lane, i, middle)
        if (value < limit) if falling else (value > limit):
            after = middle
        else:
            before = middle
    return after


@compiled
def first_emptied(work: Work, lane: Any, limits: NDArray[np.float64], log: NDArray[np.bool_]) -> tuple[float, int]:
    """The first state to fall through its limit: (where in the step, which), or (1, -1)."""
    first, which = 1.0, -1
    for i in range(log.size):
        if limits[i] > 0.0:
            limit = carried(limits[i], log[i])
            if inside(work, lane, i, 1.0) < limit <= inside(work, lane, i, 0.0):
                theta = crossing(work, lane, i, limit)
                if theta < first:
                    first, which = theta, i
    return first, which


@compiled
def triggered(work: Work, lane: Any, trigger: Trigger, log: bool, fraction: float) -> float:
    """Where in the first ``fraction`` of the step a further infusion is called for, or -1; keeps the lane's nadir.

    The step is looked at in sixteenths, so that a nadir and the rise after it are seen within one long step.
    """
    i, t, h = trigger.state, work.time[lane.place], work.step[lane.place]
    for part in range(1, 17):
        theta = part / 16 * fraction
        value = inside(work, lane, i, theta)
        if log:
            value = math.exp(value)
        lane.nadir = min(lane.nadir, value)
        level = max(trigger.factor * lane.nadir, trigger.above)
        if value >= level and t + theta * h >= trigger.earliest:
            limit = carried(level, log)
            below = theta - fraction / 16
            for _ in range(60):
                middle = 0.5 * (below + theta)
                if inside(work, lane, i, middle) >= limit and t + middle * h >= trigger.earliest:
                    theta = middle
                else:
                    below = middle
            return theta
    return -1.0
