"""The ensemble integrator: Rodas5P over many patients at once, each with its own time, step and end.

``LANES`` patients advance side by side. One call of the model's ``attempt`` tries a step for all of them in packed
arithmetic; this file does the rest for each: accepts or rejects, reads outputs off the dense interpolant, infuses,
watches for events, and hands the lane to the next patient. A patient's results never depend on its neighbors.
"""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np
from numba import typeof, types

from cartsim.engine.advance import MOST_REFUSED, advance, factor, limited
from cartsim.engine.arithmetic import fast_exp
from cartsim.engine.events import crossing, first_emptied, inside, read_inside, triggered
from cartsim.engine.kernel import Kernel
from cartsim.engine.layout import LANES
from cartsim.engine.machine_code import MachineCode
from cartsim.engine.scale import ABSENT, EMPTY_BELOW, NOTHING, carried, inlined, natural
from cartsim.engine.start import explicit_step, first_step
from cartsim.engine.task import Patients, Task, Trigger
from cartsim.engine.trajectories import Status, Trajectories
from cartsim.engine.work import GOES_ON, NOBODY, Work


def integrate(kernel: Kernel, task: Task, patients: Patients, found: Trajectories) -> None:
    """Integrate all patients and write what comes of it into ``found``."""
    work = Work.empty(kernel.n_states, kernel.n_constants, kernel.n_factors, len(task.times))
    k = kernel
    driver()(k.attempt, k.constants, k.initial, k.infuse, k.rates, k.outputs, task, patients, work, tuple(found))


@inlined
def _admit(constants: Any, initial: Any, task: Task, patients: Patients, work: Work, lane: Any, who: int) -> None:
    """Put a patient into an empty lane, at time 0 and before any dose."""
    p, k = patients.parameters[who], lane.place
    constants(p, work.c)
    for i in range(work.c.size):
        work.constants[i, k] = work.c[i]
    initial(p, work.x)
    work.time[k] = work.tried[k] = work.rejected[k] = 0.0
    work.alive[:, k] = 1.0
    _carry(work.x, task, work, lane)
    lane.patient, lane.next_time, lane.next_dose, lane.triggered = who, 0, 0, 0
    lane.pending = lane.nadir = np.inf
    lane.ending = Status.bad_start if _not_a_start(work.x, task) else GOES_ON


@inlined
def _arrive(infuse: Any, rates: Any, task: Task, patients: Patients, work: Work, lane: Any) -> None:
    """Go on from the start or a dose: infuse what is due, read outputs of this moment, choose the first step."""
    p, x, t = patients.parameters[lane.patient], work.x, work.time[lane.place]
    for i in range(x.size):
        x[i] = natural(work.y[i, lane.place], task.log_scaled[i])
    infused = _infuse_due(infuse, task, patients, work, lane)
    if infused:
        work.alive[:, lane.place] = 1.0
        if _not_a_start(x, task):
            lane.ending = Status.bad_start
            return
    while lane.next_time < task.times.size and task.times[lane.next_time] <= t:
        _see(x, task, work, lane)
    h = 0.0
    if lane.next_time < task.times.size and _fills(rates, infused, task, patients, work, lane):
        h = _fill(rates, p, task, work, lane)
        if h == 0.0:
            lane.ending = Status.step_too_small  # pools that are empty would never fill
            return
    if lane.next_time == task.times.size:
        lane.ending = Status.ok
        return
    _carry(x, task, work, lane)
    work.step[lane.place] = h if h > 0.0 else _cautious_step(rates, p, task, work, lane)
    work.refused[lane.place] = 0.0


@inlined
def _infuse_due(infuse: Any, task: Task, patients: Patients, work: Work, lane: Any) -> bool:
    """Give planned and triggered infusions that are due; whether there was any."""
    who, t = lane.patient, work.time[lane.place]
    infused = False
    while lane.next_dose < task.dose_times.size and task.dose_times[lane.next_dose] <= t:
        amount = patients.dose_amounts[who, lane.next_dose]
        if amount > 0.0:
            infuse(patients.parameters[who], amount, work.x)
            infused = True
        lane.next_dose += 1
    if lane.pending <= t:
        if patients.trigger_amounts[who] > 0.0:
            infuse(patients.parameters[who], patients.trigger_amounts[who], work.x)
            infused = True
        lane.pending = lane.nadir = np.inf
    return infused


@inlined
def _fills(rates: Any, infused: bool, task: Task, patients: Patients, work: Work, lane: Any) -> bool:
    """Whether a log-scaled pool that is empty begins to fill, from what is infused or from the start."""
    t, slopes = work.time[lane.place], work.end
    if infused and task.seeded:
        return True
    filling = False
    if infused or t == 0.0:
        rates(t, patients.parameters[lane.patient], work.x, slopes)
        for i in range(slopes.size):
            filling |= task.log_scaled[i] and work.x[i] == 0.0 and slopes[i] > 0.0
    return filling


@inlined
def _fill(rates: Any, p: Any, task: Task, work: Work, lane: Any) -> float:
    """Take the explicit first step and read the outputs in it; its length, 0 if there is none."""
    x, t = work.x, work.time[lane.place]
    # Not quite to the next stop, which only the steps of ``attempt`` recognize.
    h = first_step(rates, p, t, 0.5 * (_next_stop(task, lane) - t), task, work)
    if h == 0.0:
        return h
    while lane.next_time < task.times.size and task.times[lane.next_time] < t + h:
        explicit_step(rates, p, t, task.times[lane.next_time] - t, x, work.slopes, work.between)
        _see(work.between, task, work, lane)
    for i in range(x.size):
        x[i] = work.end[i]
    work.time[lane.place] = t + h
    return h


@inlined
def _cautious_step(rates: Any, p: Any, task: Task, work: Work, lane: Any) -> float:
    """A step in which no state changes by more than a hundredth, 1 at most."""
    x, slopes, h = work.x, work.end, 1.0
    rates(work.time[lane.place], p, x, slopes)
    for i in range(x.size):
        if slopes[i] != 0.0 and not (task.log_scaled[i] and x[i] == 0.0):
            h = min(h, 0.01 * (abs(x[i]) + task.negligible[i]) / abs(slopes[i]))
    return h if h < 1.0 else 1.0


@inlined
def _not_a_start(x: Any, task: Task) -> bool:
    """Whether a state is no finite number, or is negative where its logarithm is to be carried."""
    wrong = False
    for i in range(x.size):
        wrong |= not abs(x[i]) < np.inf or (task.log_scaled[i] and x[i] < 0.0)
    return wrong


@inlined
def _carry(x: Any, task: Task, work: Work, lane: Any) -> None:
    """Let the next step begin at ``x``."""
    work.taken[lane.place] = 0.0
    for i in range(x.size):
        work.y[i, lane.place] = carried(x[i], task.log_scaled[i])


@inlined
def _see(x: Any, task: Task, work: Work, lane: Any) -> None:
    """Keep ``x`` as the states at the next output time."""
    for i in range(x.size):
        work.seen[lane.place, i, lane.next_time] = carried(x[i], task.log_scaled[i])
    lane.next_time += 1


@inlined
def _next_stop(task: Task, lane: Any) -> float:
    """The next time at which a step has to end."""
    if lane.next_dose < task.dose_times.size:
        return min(task.dose_times[lane.next_dose], lane.pending)
    return lane.pending


@inlined
def _limit(task: Task, patients: Patients, work: Work, lane: Any) -> None:
    """No step goes past the next dose, and none leaves a sliver before it; when the lane is to be looked at next."""
    k = lane.place
    work.stop[k] = _next_stop(task, lane)
    work.step[k] = limited(work.step[k], work.stop[k] - work.time[k])
    watched = patients.extinction.shape[0] > 0 or task.trigger.maximum > 0
    work.due[k] = -np.inf if watched else task.times[lane.next_time]


@inlined
def _settle(task: Task, patients: Patients, work: Work, lane: Any, found: Trajectories) -> None:
    """Take the step just tried, or refuse it."""
    if work.error[lane.place] <= 1.0:
        _accept(task, patients, work, lane, found)
    else:
        _refuse(work, lane)
    if lane.next_time < task.times.size and work.tried[lane.place] >= task.max_steps:
        lane.ending = Status.too_many_steps
    lane.halted |= lane.ending != GOES_ON


@inlined
def _refuse(work: Work, lane: Any) -> None:
    """Try a shorter step next."""
    k = lane.place
    work.step[k] *= factor(work.error[k], work.growth[k], work.refused[k])
    work.taken[k] = 0.0
    work.rejected[k] += 1.0
    work.refused[k] += 1.0
    if work.time[k] + work.step[k] == work.time[k] or work.refused[k] > MOST_REFUSED:
        lane.ending = Status.step_too_small


@inlined
def _accept(task: Task, patients: Patients, work: Work, lane: Any, found: Trajectories) -> None:
    """Take the step as far as it goes, read the outputs in it, and choose the next."""
    k = lane.place
    fraction, reached, emptied = _kept(task, patients, work, lane, found)
    _read(reached, task, work, lane)
    work.taken[k] = 1.0
    if fraction < 1.0 or lane.halted:
        _end(fraction, emptied, task, work, lane)
    work.time[k] = reached
    work.step[k] *= factor(work.error[k], work.growth[k], work.refused[k])
    work.refused[k] = 0.0


@inlined
def _end(fraction: float, emptied: int, task: Task, work: Work, lane: Any) -> None:
    """Let the step end inside itself, or before a dose."""
    k = lane.place
    for i in range(work.x.size):
        work.x[i] = inside(work, lane, i, fraction) if fraction < 1.0 else work.new[i, k]
    for i in range(work.x.size):
        work.y[i, k] = ABSENT if task.log_scaled[i] and work.x[i] < NOTHING else work.x[i]
    if emptied >= 0:
        work.y[emptied, k] = ABSENT if task.log_scaled[emptied] else 0.0
        work.alive[emptied, k] = 0.0
    work.taken[k] = 0.0


@inlined
def _kept(task: Task, patients: Patients, work: Work, lane: Any, found: Trajectories) -> tuple[float, float, int]:
    """How much of the step is kept, the time reached, and the state whose pool runs out there (-1 for none)."""
    who, t, h = lane.patient, work.time[lane.place], work.step[lane.place]
    stop = _next_stop(task, lane)
    lane.halted = h == stop - t
    fraction, reached, emptied = 1.0, stop if lane.halted else t + h, -1
    if patients.extinction.shape[0]:
        fraction, emptied = first_emptied(work, lane, patients.extinction[who], task.log_scaled)
    if emptied >= 0:
        reached = t + fraction * h
        lane.halted = False
    trigger = task.trigger
    if lane.triggered < trigger.maximum and lane.pending == np.inf:
        theta = triggered(work, lane, trigger, task.log_scaled[trigger.state], fraction)
        if theta >= 0.0:
            lane.triggered += 1
            lane.pending = t + theta * h + trigger.delay
            given = patients.trigger_amounts[who] > 0.0 and lane.pending <= task.times[-1]
            if given and np.isnan(found.retreated[who]):
                found.retreated[who] = lane.pending
            if lane.pending <= reached:  # the step goes no further than the infusion
                fraction, reached, emptied = (lane.pending - t) / h, lane.pending, -1
                lane.halted = True
    return fraction, reached, emptied


@inlined
def _read(reached: float, task: Task, work: Work, lane: Any) -> None:
    """Read the outputs inside the step; what is above a ceiling, or at a dose before it, is not read."""
    t, h = work.time[lane.place], work.step[lane.place]
    readable = reached
    for i in task.bounded:
        if work.new[i, lane.place] > task.ceilings[i]:
            readable = min(readable, t + crossing(work, lane, i, task.ceilings[i]) * h)
    first = last = lane.next_time
    while last < task.times.size:
        time = task.times[last]
        if time > readable or (time == readable and lane.halted):
            break
        last += 1
    if last > first:
        for i in task.needed:
            read_inside(work, lane, i, task.times, first, last)
        lane.next_time = last
    if lane.next_time == task.times.size:
        lane.ending = Status.ok
    elif readable < reached:
        lane.ending = Status.ceiling


@inlined
def _discharge(outputs: Any, task: Task, patients: Patients, work: Work, lane: Any, found: Trajectories) -> None:
    """Empty the lane of a patient who is done."""
    who = lane.patient
    found.ended[who] = work.time[lane.place]
    found.status[who] = lane.ending
    found.steps[who], found.rejected[who] = int(work.tried[lane.place]), int(work.rejected[lane.place])
    work.due[lane.place] = -np.inf  # an empty lane takes no step
    done = 0
    if lane.ending == Status.ok or lane.ending == Status.ceiling:
        seen, done = work.seen[lane.place], lane.next_time
        _to_natural(seen, done, task)
        outputs(task.times, patients.parameters[who], seen, task.columns, who, done, found.outputs)
        if not _finite(found.outputs, who, done, task):
            found.status[who] = Status.not_finite
    for column in task.columns:
        if column >= 0:
            for j in range(done, task.times.size):
                found.outputs[column, who, j] = np.nan
    lane.patient = NOBODY


@inlined
def _to_natural(seen: Any, done: int, task: Task) -> None:
    """The needed states in their units; what lies below zero by less than the tolerance is zero."""
    for i in task.needed:
        if task.log_scaled[i]:
            for j in range(done):
                value = fast_exp(seen[i, j])
                seen[i, j] = 0.0 if seen[i, j] <= EMPTY_BELOW else value
        else:
            residue = 10.0 * task.rtol * task.negligible[i]
            for j in range(done):
                value = seen[i, j]
                seen[i, j] = 0.0 if -residue < value < 0.0 else value


@inlined
def _finite(out: Any, who: int, done: int, task: Task) -> bool:
    """Whether all outputs of a patient are."""
    found = False
    for column in task.columns:
        if column >= 0:
            for j in range(done):
                found |= not abs(out[column, who, j]) < np.inf
    return not found


_void, _real, _int = types.void, types.float64, types.int64
_vector, _matrix, _cube, _counts = _real[::1], _real[:, ::1], _real[:, :, :], _int[::1]
_reals, _whole, _table = np.zeros(1), np.zeros(1, np.int64), np.zeros((1, 1))
_places = np.zeros(1, np.uint64)
_example = Task(_reals, _reals, _whole, _places, _reals > 0, _reals, _reals, _whole, False, 0.0, 0, Trigger())
_SIGNATURE = _void(
    types.FunctionType(_void(_vector, _real)),
    types.FunctionType(_void(_vector, _vector)),
    types.FunctionType(_void(_vector, _vector)),
    types.FunctionType(_void(_vector, _real, _vector)),
    types.FunctionType(_void(_real, _vector, _vector, _vector)),
    types.FunctionType(_void(_vector, _vector, _matrix, _counts, _int, _int, _cube)),
    typeof(_example),
    typeof(Patients(_table, _table, _reals, _table)),
    typeof(Work.empty(1, 1, 1, 1)),
    types.Tuple([_cube, _counts, _counts, _counts, _vector, _vector]),  # converted
)


def _run(attempt, constants, initial, infuse, rates, outputs, task, patients, work, found):  # noqa: PLR0913 (functions go one by one)
    """Take all patients through: each lane, on its own, from start to end, then the next patient."""
    found = Trajectories(*found)
    n = patients.parameters.shape[0]
    waiting = under_way = 0
    calling = LANES
    while True:
        for each in range(calling):
            lane = work.lanes[work.calling[each]]
            if lane.patient != NOBODY:
                _settle(task, patients, work, lane, found)
            while lane.halted:
                if lane.patient == NOBODY:
                    if waiting == n:
                        break
                    _admit(constants, initial, task, patients, work, lane, waiting)
                    waiting += 1
                    under_way += 1
                if lane.ending == GOES_ON:
                    _arrive(infuse, rates, task, patients, work, lane)
                lane.halted = lane.ending != GOES_ON
                if lane.halted:
                    _discharge(outputs, task, patients, work, lane, found)
                    under_way -= 1
            if lane.patient != NOBODY:
                _limit(task, patients, work, lane)
        if under_way == 0:
            return
        attempt(work.flat, task.rtol)
        calling = advance(task, work)


_one_at_a_time = threading.Lock()


def driver() -> Any:
    """``_run`` as machine code, from memory, from disk, or newly made (some seconds)."""
    with _one_at_a_time:
        return _driver()


@functools.cache
def _code() -> MachineCode:
    return MachineCode("driver")  # read when it is wanted, which another process may have made by then


@functools.cache
def _driver() -> Any:
    code = _code()
    # no counted references: as the pieces, see ``scale``
    made = code.kept(_SIGNATURE, error_model="numpy", nogil=True, _nrt=False)(_run)
    code.keep()
    return made
