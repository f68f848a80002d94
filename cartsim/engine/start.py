"""The first step where an empty pool fills: explicit, in natural units, in which its course is a straight line.

Its logarithm has a pole there and would cost dozens of tiny steps. The method is that of Dormand and Prince, 5(4),
J. Comput. Appl. Math. 6:19 (1980).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cartsim.engine.scale import EMPTY, compiled
from cartsim.engine.task import Task
from cartsim.engine.work import Work

LONGEST = 1e-4
A = np.array(
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
C = np.array([0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1])
E = np.array([71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40])


@compiled
def explicit_step(rates: Any, p: Any, t: float, h: float, x: Any, slopes: Any, end: Any) -> None:
    """One step from ``x``: its ``slopes`` and its ``end``."""
    for s in range(7):
        for i in range(x.size):
            total = 0.0
            for m in range(s):
                total += A[s, m] * slopes[m, i]
            end[i] = x[i] + h * total
        rates(t + C[s] * h, p, end, slopes[s])


@compiled
def first_step(rates: Any, p: Any, t: float, longest: float, task: Task, work: Work) -> float:
    """A step from ``work.x`` to ``work.end`` that is accurate enough: its length, 0 if there is none."""
    x, end, slopes = work.x, work.end, work.slopes
    h = min(LONGEST, longest)
    for _ in range(60):
        explicit_step(rates, p, t, h, x, slopes, end)
        worst = 0.0
        for i in range(x.size):
            error = 0.0
            for s in range(7):
                error += E[s] * slopes[s, i]
            size = abs(h * error) / (0.1 * task.rtol * (abs(end[i]) + task.negligible[i]) + 1e-300)
            if not size <= worst:
                worst = size
            # A pool that is still empty while something flows in would stay so: its logarithm cannot leave -inf.
            if task.log_scaled[i] and (not end[i] >= 0.0 or (end[i] < EMPTY and slopes[6, i] > 0.0)):
                worst = np.inf
        if worst <= 1.0:
            return h
        h *= max(0.1, 0.9 * worst**-0.2) if worst < np.inf else 0.1
    return 0.0
