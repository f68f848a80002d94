"""What follows an attempt in the lanes in which hardly anything happens: the next step, and outputs in this one.

Most attempts are of this kind, so that all lanes are gone through at once, without branches, in packed instructions.
Where more happens a lane is left as it is, for ``rodas`` to look at by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cartsim.engine.events import read_due, read_inside
from cartsim.engine.layout import LANES, Rows
from cartsim.engine.scale import inlined
from cartsim.engine.task import Task
from cartsim.engine.work import Work

SAFETY = 0.9
GROWTH = 6.0
SHRINK = 0.2
MOST_REFUSED = 100
_AT = Rows(0)  # of the rows that are the same for all models
_TIME, _STEP, _ERROR, _GROWTH, _TAKEN = _AT.time, _AT.step, _AT.error, _AT.growth, _AT.taken
_STOP, _DUE, _THEN, _TRIED, _REJECTED, _REFUSED = _AT.stop, _AT.due, _AT.then, _AT.tried, _AT.rejected, _AT.refused


@inlined
def limited(h: float, left: float) -> float:
    """A step that does not go past the time at which it has to end, and leaves no sliver before it."""
    return left if h >= left else 0.5 * left if h > 0.5 * left else h


@inlined
def factor(error: float, growth: float, refused: float) -> float:
    """By what the step is multiplied after an attempt, one in a row of ``refused``."""
    by = SAFETY * growth
    by = SHRINK if by < SHRINK else by
    most = GROWTH if refused == 0.0 else 1.0
    by = most if most < by else by
    return by if error < np.inf else 0.1


@inlined
def advance(task: Task, work: Work) -> int:
    """Go on in all lanes in which no more happens than outputs or a step that is refused; how many are ``calling``.

    They call for a ceiling, a dose, an end, and where each step is watched.
    """
    w, most = work.flat, float(task.max_steps)
    for k in range(LANES):
        w[_THEN + k] = 0.0
    for i in task.bounded:
        for k in range(LANES):
            w[_THEN + k] = 1.0 if work.new[i, k] > task.ceilings[i] else w[_THEN + k]
    for k in range(LANES):
        t, h, error, refused = w[_TIME + k], w[_STEP + k], w[_ERROR + k], w[_REFUSED + k]
        reached, left, tried = t + h, w[_STOP + k] - t, w[_TRIED + k] + 1.0
        then = h * factor(error, w[_GROWTH + k], refused)
        passed, goes_on = error <= 1.0, tried < most
        good = passed & goes_on & (h != left) & (w[_THEN + k] == 0.0)
        again = (not passed) & goes_on & (t + then != t) & (refused < MOST_REFUSED)
        plain = good & (reached < w[_DUE + k])
        then = limited(then, w[_STOP + k] - reached if passed else left)
        w[_TRIED + k] = tried
        w[_REJECTED + k] += 1.0 if again else 0.0
        w[_REFUSED + k] = 0.0 if plain else refused + 1.0 if again else refused
        w[_THEN + k] = then
        w[_TIME + k] = reached if plain else t
        w[_STEP + k] = then if plain | again else h
        # -1: an output lies in the step; -2: more happens
        w[_TAKEN + k] = 1.0 if plain else 0.0 if again else -1.0 if good & (w[_DUE + k] > -np.inf) else -2.0
    reading = calling = 0
    for k in range(LANES):
        work.reading[reading] = work.calling[calling] = k
        reading += w[_TAKEN + k] == -1.0
        calling += w[_TAKEN + k] == -2.0
    if reading:
        for i in task.needed:
            read_due(work, i)
    for each in range(reading):
        k = work.reading[each]
        if not _pass_outputs(task, work, work.lanes[k]):
            work.calling[calling] = k
            calling += 1
    return calling


@inlined
def _pass_outputs(task: Task, work: Work, lane: Any) -> bool:
    """Keep what was read at the next output and read others in the step, and take it unless there was the last."""
    k, first = lane.place, lane.next_time
    reached, last = work.time[k] + work.step[k], first + 1
    while last < task.times.size and task.times[last] <= reached:
        last += 1
    for i in task.needed:
        work.seen[k, i, first] = work.at_due[i, k]
        if last > first + 1:
            read_inside(work, lane, i, task.times, first + 1, last)
    lane.next_time = last
    if last == task.times.size:
        return False
    work.due[k] = task.times[last]
    work.time[k], work.step[k], work.taken[k], work.refused[k] = reached, work.then[k], 1.0, 0.0
    return True
