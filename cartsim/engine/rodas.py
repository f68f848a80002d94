"""The ensemble integrator: Rodas5P over many patients at once, each with its own time, step and end.

``LANES`` patients advance side by side. One call of the model's ``attempt`` tries a step for all of them in packed
arithmetic; this file does the rest for each: accepts or rejects, reads outputs off the dense interpolant, infuses,
watches for events, and hands the lane to the next patient. A patient's results never depend on its neighbors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numba import njit, types

from cartsim.engine.arithmetic import fast_exp
from cartsim.engine.kernel import Kernel
from cartsim.engine.layout import EMPTY_BELOW, LANES, Rows
from cartsim.engine.machine_code import MachineCode


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


@dataclass(frozen=True)
class Retreatment:
    """A further infusion when ``state`` rises past ``factor`` times its lowest value so far and past ``above``."""

    state: int
    factor: float
    above: float
    earliest: float
    delay: float
    maximum: int


@dataclass(frozen=True)
class Trajectories:
    """What :func:`integrate` fills: outputs (k, n, m) and, for each patient, how it went."""

    outputs: np.ndarray
    status: np.ndarray
    steps: np.ndarray
    rejected: np.ndarray
    retreated: np.ndarray  # time of the first conditional infusion, NaN where there was none
    ended: np.ndarray  # time reached

    @classmethod
    def empty(cls, columns: int, n: int, times: int) -> Trajectories:
        """Room for n patients."""
        return cls(
            outputs=np.empty((columns, n, times)),
            status=np.zeros(n, np.int64),
            steps=np.zeros(n, np.int64),
            rejected=np.zeros(n, np.int64),
            retreated=np.full(n, np.nan),
            ended=np.zeros(n),
        )

    def part(self, patients: slice) -> Trajectories:
        """The room of some of the patients: what is written there is seen here."""
        return Trajectories(
            self.outputs[:, patients],
            self.status[patients],
            self.steps[patients],
            self.rejected[patients],
            self.retreated[patients],
            self.ended[patients],
        )


# A pool below e^-600 (1e-261) of its unit is empty until the next dose: it is set to e^-650, its slope to 0, and reads
# as exactly 0. The gap between the two keeps every ratio with an empty pool within the range of doubles.
NOTHING = -600.0
ABSENT = -650.0
EMPTY = math.exp(NOTHING)
SAFETY = 0.9
GROWTH = 6.0
SHRINK = 0.2
START_STEP = 1e-4

_vector = types.float64[::1]
_Attempt = types.FunctionType(types.void(_vector, types.float64))
_Constants = types.FunctionType(types.void(_vector, _vector))
_Infuse = types.FunctionType(types.void(_vector, types.float64, _vector))
_Rates = types.FunctionType(types.void(types.float64, _vector, _vector, _vector))
_Outputs = types.FunctionType(
    types.void(
        _vector,
        _vector,
        types.float64[:, ::1],
        types.int64[::1],
        types.int64,
        types.int64,
        types.float64[:, :, :],
    )
)


def integrate(
    kernel: Kernel,
    parameters: np.ndarray,
    dose_times: np.ndarray,
    dose_amounts: np.ndarray,
    times: np.ndarray,
    columns: np.ndarray,
    result: Trajectories,
    *,
    log_scaled: np.ndarray,
    negligible: np.ndarray,
    ceilings: np.ndarray,
    needed: np.ndarray,
    seeded: bool,
    extinction: np.ndarray | None = None,
    retreatment: Retreatment | None = None,
    retreatment_amounts: np.ndarray | None = None,
    rtol: float = 1e-6,
    max_steps: int = 20_000,
) -> None:
    """Integrate every row of ``parameters`` (n, p) and write the outputs at ``times`` (m,) into ``result``.

    Times are sorted and not negative. ``dose_times`` (d,) with ``dose_amounts`` (n, d): infusions in amounts of the
    dosing section; an amount of zero is no infusion. ``columns`` (outputs + states,) holds each quantity's column in
    the result, or -1. ``needed`` are the states that those read. ``extinction`` (n, s), where given, is the value below
    which a state's pool is gone until the next dose (0 for never).
    """
    n = len(parameters)
    result.outputs[...] = np.nan  # here and not when room is made, so that threads share the work
    if n == 0:
        return
    rule = np.array([-1.0, 0, 0, 0, 0, 0])
    if retreatment is not None:
        r = retreatment
        rule = np.array([r.state, r.factor, r.above, r.earliest, r.delay, r.maximum], float)
    n_states = kernel.n_states
    at = Rows(n_states, kernel.n_constants)
    with np.errstate(divide="ignore"):
        limits = np.where(log_scaled, np.log(ceilings), ceilings)
    _run(
        kernel.attempt,
        kernel.constants,
        kernel.initial,
        kernel.infuse,
        kernel.rates,
        kernel.outputs,
        kernel.n_constants,
        (at.time, at.step, at.error, at.y, at.new, at.alive, at.constants),
        np.ascontiguousarray(parameters, float),
        np.ascontiguousarray(dose_times, float),
        np.ascontiguousarray(dose_amounts, float),
        np.ascontiguousarray(times, float),
        np.ascontiguousarray(columns, np.int64),
        np.ascontiguousarray(log_scaled, np.bool_),
        np.ascontiguousarray(negligible, float),
        np.ascontiguousarray(limits, float),
        np.ascontiguousarray(needed, np.int64),
        seeded,
        np.zeros((0, n_states)) if extinction is None else np.ascontiguousarray(extinction, float),
        rule,
        np.zeros(n) if retreatment_amounts is None else np.ascontiguousarray(retreatment_amounts, float),
        rtol,
        max_steps,
        result.outputs,
        result.status,
        result.steps,
        result.rejected,
        result.retreated,
        result.ended,
    )


# The explicit start: Dormand and Prince 5(4), J. Comput. Appl. Math. 6:19 (1980).
_DP_A = np.array(
    [
        [0, 0, 0, 0, 0, 0],
        [1 / 5, 0, 0, 0, 0, 0],
        [3 / 40, 9 / 40, 0, 0, 0, 0],
        [44 / 45, -56 / 15, 32 / 9, 0, 0, 0],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729, 0, 0],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656, 0],
        [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
    ]
)
_DP_C = np.array([0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1])
_DP_E = np.array([71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40])


@njit(error_model="numpy", nogil=True)
def _explicit(rates, p, t, x, h, k, end):  # type: ignore[no-untyped-def]
    """One explicit step from ``x`` in natural units: its slopes ``k`` and its ``end``."""
    for s in range(7):
        for i in range(x.size):
            total = 0.0
            for m in range(s):
                total += _DP_A[s, m] * k[m, i]
            end[i] = x[i] + h * total
        rates(t + _DP_C[s] * h, p, end, k[s])


@njit(error_model="numpy", nogil=True)
def _start(rates, p, t, x, longest, log_scaled, negligible, rtol, k, trial):  # type: ignore[no-untyped-def]
    """The first step, in natural units, where a pool that fills from nothing is a straight line.

    Its logarithm has a pole there and would cost dozens of tiny steps. Returns the length of the step (0 if none would
    do), which ends at ``trial``.
    """
    h = min(START_STEP, longest)
    for _ in range(60):
        _explicit(rates, p, t, x, h, k, trial)
        worst = 0.0
        for i in range(x.size):
            error = 0.0
            for s in range(7):
                error += _DP_E[s] * k[s, i]
            size = abs(h * error) / (0.1 * rtol * (abs(trial[i]) + negligible[i]) + 1e-300)
            if not size <= worst:
                worst = size
            # A pool that is still empty while something flows in would stay so: its logarithm cannot leave -inf.
            if log_scaled[i] and (not trial[i] >= 0.0 or (trial[i] < EMPTY and k[6, i] > 0.0)):
                worst = np.inf
        if worst <= 1.0:
            return h
        h *= max(0.1, 0.9 * worst**-0.2) if worst < np.inf else 0.1
    return 0.0


@njit(error_model="numpy", nogil=True)
def _carried(value, log):  # type: ignore[no-untyped-def]
    """A natural value as it is carried: ln of a log-scaled one, ABSENT where its pool is empty."""
    if not log:
        return value
    if value > 0.0:
        return math.log(value)
    return ABSENT if value <= 0.0 else value  # what is no number is no empty pool either


@njit(error_model="numpy", nogil=True)
def _next_stop(dose_times, next_dose, pending):  # type: ignore[no-untyped-def]
    """The next time at which a step has to end."""
    return min(dose_times[next_dose], pending) if next_dose < dose_times.size else pending


@njit(error_model="numpy", nogil=True)
def _dense(w, lane, i, n_states, theta):  # type: ignore[no-untyped-def]
    """State i of a lane inside the step just tried, 0 <= theta <= 1."""
    block = n_states * LANES  # y, new and the three blocks of the interpolant follow each other, see layout.Rows
    start = 3 * LANES + i * LANES + lane
    old, new, dense = w[start], w[start + block], start + 2 * block
    rest = 1.0 - theta
    return rest * old + theta * (new + rest * (w[dense] + theta * (w[dense + block] + theta * w[dense + 2 * block])))


@njit(error_model="numpy", nogil=True)
def _crossing(w, lane, i, n_states, limit):  # type: ignore[no-untyped-def]
    """Where in the step just tried state i passes the limit that lies between its two ends."""
    falling = _dense(w, lane, i, n_states, 1.0) < limit
    before, after = 0.0, 1.0
    for _ in range(60):
        middle = 0.5 * (before + after)
        value = _dense(w, lane, i, n_states, middle)
        if (value < limit) if falling else (value > limit):
            after = middle
        else:
            before = middle
    return after


@njit(error_model="numpy", nogil=True)
def _first_emptied(w, lane, limits, log_scaled):  # type: ignore[no-untyped-def]
    """The first state to fall through its limit in the step just tried: (where in the step, which), or (1, -1)."""
    n_states = log_scaled.size
    first, which = 1.0, -1
    for i in range(n_states):
        if limits[i] > 0.0:
            limit = _carried(limits[i], log_scaled[i])
            if _dense(w, lane, i, n_states, 1.0) < limit <= _dense(w, lane, i, n_states, 0.0):
                theta = _crossing(w, lane, i, n_states, limit)
                if theta < first:
                    first, which = theta, i
    return first, which


@njit(error_model="numpy", nogil=True)
def _condition_met(w, lane, t, h, fraction, rule, nadir, log_scaled):  # type: ignore[no-untyped-def]
    """Where in the step the condition of retreatment is first met (-1 if it is not), and the lowest value so far.

    The step is looked at in sixteenths, so that a nadir and the rise after it are seen within one long step.
    """
    i, n_states = int(rule[0]), log_scaled.size
    for part in range(1, 17):
        theta = part / 16 * fraction
        value = _dense(w, lane, i, n_states, theta)
        if log_scaled[i]:
            value = math.exp(value)
        nadir = min(nadir, value)
        trigger = max(rule[1] * nadir, rule[2])
        if value >= trigger and t + theta * h >= rule[3]:
            limit = _carried(trigger, log_scaled[i])
            below = theta - fraction / 16
            for _ in range(60):
                middle = 0.5 * (below + theta)
                if _dense(w, lane, i, n_states, middle) >= limit and t + middle * h >= rule[3]:
                    theta = middle
                else:
                    below = middle
            return theta, nadir
    return -1.0, nadir


@njit(error_model="numpy", nogil=True)
def _not_a_start(x, log_scaled):  # type: ignore[no-untyped-def]
    """Whether a state is no finite number, or is negative where its logarithm is to be carried."""
    wrong = False
    for i in range(x.size):
        wrong |= not abs(x[i]) < np.inf or (log_scaled[i] and x[i] < 0.0)
    return wrong


@njit(error_model="numpy", nogil=True)
def _finish(outputs, times, p, seen, log_scaled, residue, needed, columns, who, done, out):  # type: ignore[no-untyped-def]
    """Turn a patient's states into its outputs; what lies below zero by less than the tolerance is zero.

    Returns whether all of them are finite.
    """
    for k in range(needed.size):
        i = needed[k]
        if log_scaled[i]:
            for j in range(done):
                value = fast_exp(seen[i, j])
                seen[i, j] = 0.0 if seen[i, j] <= EMPTY_BELOW else value
        else:
            for j in range(done):
                value = seen[i, j]
                seen[i, j] = 0.0 if -residue[i] < value < 0.0 else value
    outputs(times, p, seen, columns, who, done, out)
    total = 0.0
    for k in range(columns.size):
        if columns[k] >= 0:
            for j in range(done):
                value = out[columns[k], who, j]
                total += value - value  # 0, or NaN for NaN and the infinities
    return total == 0.0


_machine_code = MachineCode("driver")


@_machine_code.kept(
    types.void(
        _Attempt,
        _Constants,
        _Constants,
        _Infuse,
        _Rates,
        _Outputs,
        types.int64,
        types.UniTuple(types.int64, 7),
        types.float64[:, ::1],
        _vector,
        types.float64[:, ::1],
        _vector,
        types.int64[::1],
        types.boolean[::1],
        _vector,
        _vector,
        types.int64[::1],
        types.boolean,
        types.float64[:, ::1],
        _vector,
        _vector,
        types.float64,
        types.int64,
        types.float64[:, :, :],
        types.int64[::1],
        types.int64[::1],
        types.int64[::1],
        _vector,
        _vector,
    ),
    error_model="numpy",
    nogil=True,
)
def _run(  # type: ignore[no-untyped-def]
    attempt,
    constants,
    initial,
    infuse,
    rates,
    outputs,
    n_constants,
    rows,
    parameters,
    dose_times,
    dose_amounts,
    times,
    columns,
    log_scaled,
    negligible,
    limits,
    needed,
    seeded,
    extinction,
    rule,
    rule_amounts,
    rtol,
    max_steps,
    out,
    status,
    steps,
    rejected,
    retreated,
    ended,
):
    n = parameters.shape[0]
    n_states = log_scaled.size
    residue = 10.0 * rtol * negligible
    n_times = times.size
    TIME, STEP, ERROR, Y, NEW, ALIVE, CONSTANTS = rows
    size = CONSTANTS + n_constants * LANES
    room = np.zeros(size + 8)
    first = (-room.ctypes.data % 64) // 8  # rows on cache lines: a packed load that straddles two costs double
    w = room[first : first + size]
    w[STEP : STEP + LANES] = 1.0
    w[ALIVE:CONSTANTS] = 1.0

    patient = np.full(LANES, -1)
    next_time = np.zeros(LANES, np.int64)
    next_dose = np.zeros(LANES, np.int64)
    retreatments = np.zeros(LANES, np.int64)
    pending = np.full(LANES, np.inf)
    nadir = np.full(LANES, np.inf)
    refused = np.zeros(LANES, np.int64)
    x = np.empty(n_states)
    trial = np.empty(n_states)
    start = np.empty(n_states)
    slopes = np.empty((7, n_states))
    c = np.empty(n_constants)
    seen = np.zeros((LANES, n_states, n_times))  # states at the output times, as carried

    waiting = 0
    running = 0
    for lane in range(LANES):
        # An idle lane repeats a patient, so that its arithmetic stays ordinary.
        constants(parameters[0], c)
        for m in range(n_constants):
            w[CONSTANTS + m * LANES + lane] = c[m]

    arriving = np.ones(LANES, np.bool_)  # lanes that stand at a dose or at their start
    spoilt = np.zeros(LANES, np.bool_)  # lanes whose patient has no start
    while True:
        # Lanes without a patient take the next; those at the start or at a dose are set up to go on.
        for lane in range(LANES):
            if arriving[lane] and patient[lane] < 0:
                if waiting == n:
                    arriving[lane] = False
                    continue
                patient[lane] = waiting
                waiting += 1
                running += 1
                p = parameters[patient[lane]]
                constants(p, c)
                for m in range(n_constants):
                    w[CONSTANTS + m * LANES + lane] = c[m]
                initial(p, x)
                spoilt[lane] = _not_a_start(x, log_scaled)
                w[TIME + lane] = 0.0
                next_time[lane] = 0
                next_dose[lane] = 0
                retreatments[lane] = 0
                pending[lane] = np.inf
                nadir[lane] = np.inf
                refused[lane] = 0
                for i in range(n_states):
                    w[ALIVE + i * LANES + lane] = 1.0
                    w[Y + i * LANES + lane] = _carried(x[i], log_scaled[i])
            if not arriving[lane]:
                continue
            arriving[lane] = False
            who = patient[lane]
            p = parameters[who]
            t = w[TIME + lane]
            for i in range(n_states):
                value = w[Y + i * LANES + lane]
                x[i] = value
                if log_scaled[i]:
                    x[i] = math.exp(value) if value > NOTHING else 0.0
            infused = False
            while next_dose[lane] < dose_times.size and dose_times[next_dose[lane]] <= t:
                amount = dose_amounts[who, next_dose[lane]]
                if amount > 0.0:
                    infuse(p, amount, x)
                    infused = True
                next_dose[lane] += 1
            if pending[lane] <= t:
                if rule_amounts[who] > 0.0:
                    infuse(p, rule_amounts[who], x)
                    infused = True
                pending[lane] = np.inf
                nadir[lane] = np.inf
            if infused:
                for i in range(n_states):
                    w[ALIVE + i * LANES + lane] = 1.0
                spoilt[lane] |= _not_a_start(x, log_scaled)
            if spoilt[lane]:
                running -= 1
                status[who] = Status.bad_start
                ended[who] = t
                patient[lane] = -1
                arriving[lane] = True
                continue
            while next_time[lane] < n_times and times[next_time[lane]] <= t:
                for i in range(n_states):
                    seen[lane, i, next_time[lane]] = _carried(x[i], log_scaled[i])
                next_time[lane] += 1
            h = 0.0
            stuck = False
            # A log-scaled pool that is empty fills from what is infused, or from the start, or it would stay empty.
            filling = infused and seeded
            if not filling and (infused or t == 0.0):
                rates(t, p, x, trial)
                for i in range(n_states):
                    filling |= log_scaled[i] and x[i] == 0.0 and trial[i] > 0.0
            if filling and next_time[lane] < n_times:
                # Not quite to the next stop, which only the steps below recognize.
                longest = 0.5 * (_next_stop(dose_times, next_dose[lane], pending[lane]) - t)
                h = _start(rates, p, t, x, longest, log_scaled, negligible, rtol, slopes, trial)
                stuck = h == 0.0  # empty pools would never fill
                start[:] = x
                if not stuck:
                    x[:] = trial
                while next_time[lane] < n_times and times[next_time[lane]] < t + h:
                    _explicit(rates, p, t, start, times[next_time[lane]] - t, slopes, trial)
                    for i in range(n_states):
                        seen[lane, i, next_time[lane]] = _carried(trial[i], log_scaled[i])
                    next_time[lane] += 1
                t += h
                w[TIME + lane] = t
            if h == 0.0:
                rates(t, p, x, trial)
                h = np.inf
                for i in range(n_states):
                    if trial[i] != 0.0 and not (log_scaled[i] and x[i] == 0.0):
                        size = abs(x[i]) + negligible[i]
                        h = min(h, 0.01 * size / abs(trial[i]))
                if not h < 1.0:
                    h = 1.0
            for i in range(n_states):
                w[Y + i * LANES + lane] = _carried(x[i], log_scaled[i])
            w[STEP + lane] = h
            refused[lane] = 0
            if stuck or next_time[lane] == n_times:
                running -= 1
                if stuck:
                    status[who] = Status.step_too_small
                elif not _finish(
                    outputs, times, p, seen[lane], log_scaled, residue, needed, columns, who, n_times, out
                ):
                    status[who] = Status.not_finite
                ended[who] = t
                patient[lane] = -1
                arriving[lane] = True
        if running == 0:
            if waiting == n:
                break
            continue

        # No step goes past the next dose, and none leaves a sliver before it.
        for lane in range(LANES):
            who = patient[lane]
            if who < 0:
                continue
            stop = _next_stop(dose_times, next_dose[lane], pending[lane])
            left = stop - w[TIME + lane]
            if w[STEP + lane] >= left:
                w[STEP + lane] = left
            elif w[STEP + lane] > 0.5 * left:
                w[STEP + lane] = 0.5 * left

        attempt(w, rtol)

        # Accept or reject, look for events, read outputs.
        for lane in range(LANES):
            who = patient[lane]
            if who < 0:
                continue
            t = w[TIME + lane]
            h = w[STEP + lane]
            error = w[ERROR + lane]
            steps[who] += 1
            ending = 0
            if not error <= 1.0:
                rejected[who] += 1
                refused[lane] += 1
                w[STEP + lane] = h * max(SHRINK, SAFETY * error**-0.2) if error < np.inf else 0.1 * h
                if t + w[STEP + lane] == t or refused[lane] > 100:
                    ending = Status.step_too_small
            else:
                stop = _next_stop(dose_times, next_dose[lane], pending[lane])
                at_stop = h == stop - t
                t_new = stop if at_stop else t + h
                fraction, emptied = 1.0, -1  # of the step that is kept; the state whose pool ran out
                if extinction.shape[0]:
                    fraction, emptied = _first_emptied(w, lane, extinction[who], log_scaled)
                if emptied >= 0:
                    t_new = t + fraction * h
                    at_stop = False
                if rule[0] >= 0.0 and retreatments[lane] < rule[5] and pending[lane] == np.inf:
                    theta, nadir[lane] = _condition_met(w, lane, t, h, fraction, rule, nadir[lane], log_scaled)
                    if theta >= 0.0:
                        pending[lane] = t + theta * h + rule[4]
                        retreatments[lane] += 1
                        given = rule_amounts[who] > 0.0 and pending[lane] <= times[-1]
                        if given and np.isnan(retreated[who]):
                            retreated[who] = pending[lane]
                        if pending[lane] <= t_new:  # the step goes no further than the infusion
                            t_new = pending[lane]
                            fraction, emptied = (t_new - t) / h, -1
                            at_stop = True
                reach = t_new  # nothing is read beyond a ceiling
                for i in range(n_states):
                    if w[NEW + i * LANES + lane] > limits[i]:
                        reach = min(reach, t + _crossing(w, lane, i, n_states, limits[i]) * h)
                while next_time[lane] < n_times and (
                    times[next_time[lane]] < reach or (times[next_time[lane]] == reach and not at_stop)
                ):
                    theta = (times[next_time[lane]] - t) / h
                    for k in range(needed.size):
                        i = needed[k]
                        seen[lane, i, next_time[lane]] = _dense(w, lane, i, n_states, theta)
                    next_time[lane] += 1
                if reach < t_new and next_time[lane] < n_times:
                    ending = Status.ceiling
                if fraction < 1.0:
                    for i in range(n_states):
                        trial[i] = _dense(w, lane, i, n_states, fraction)
                    for i in range(n_states):
                        w[NEW + i * LANES + lane] = trial[i]
                for i in range(n_states):
                    value = w[NEW + i * LANES + lane]
                    if log_scaled[i] and value < NOTHING:
                        value = ABSENT
                    w[Y + i * LANES + lane] = value
                w[TIME + lane] = t_new
                grown = GROWTH if refused[lane] == 0 else 1.0
                factor = SAFETY * error**-0.2 if error > 1e-12 else GROWTH
                w[STEP + lane] = h * min(grown, max(SHRINK, factor))
                refused[lane] = 0
                if emptied >= 0:
                    w[Y + emptied * LANES + lane] = ABSENT if log_scaled[emptied] else 0.0
                    w[ALIVE + emptied * LANES + lane] = 0.0
                if at_stop:
                    arriving[lane] = True
            if next_time[lane] < n_times:
                if steps[who] >= max_steps:
                    ending = Status.too_many_steps
                if ending == 0:
                    continue
            # This patient is done.
            status[who] = ending
            ended[who] = w[TIME + lane]
            if ending == Status.ok or ending == Status.ceiling:
                done = next_time[lane]
                if not _finish(
                    outputs, times, parameters[who], seen[lane], log_scaled, residue, needed, columns, who, done, out
                ):
                    status[who] = Status.not_finite
            running -= 1
            patient[lane] = -1
            arriving[lane] = True


_machine_code.keep()
