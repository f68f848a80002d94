"""Work shared among threads: how many there are, how much each is given at a time, and doing it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

MOST = 8000
"""Patients simulated at a time: with more the arrays leave the processor's cache, with fewer Python itself counts."""

FEWEST = 2000
"""Fewer are simulated by all threads and judged by one: what numpy does with them is too short to be shared."""


def cores() -> int:
    """Processor cores that this process may use."""
    from joblib import cpu_count

    return int(cpu_count())


def threads(n_jobs: int) -> int:
    """Threads for n_jobs as joblib counts them, no more than there are cores: more would only wait."""
    if n_jobs == 1:
        return 1
    own = cores()
    return max(1, min(n_jobs, own) if n_jobs > 0 else own + 1 + n_jobs)


def at_once(patients: int, n_jobs: int) -> int:
    """Patients of a chunk, at most `MOST`: all threads have equally much to do if there are enough for them."""
    many = threads(n_jobs)
    chunks = many * -(-patients // (many * MOST))
    return -(-patients // max(1, min(chunks, patients // FEWEST)))


def in_threads(tasks: Iterable[Callable[[], T]], many: int) -> Iterator[T]:
    """What the tasks return, in order. Each is begun when a thread is soon free for it: there may be any number."""
    tasks = iter(tasks)
    if many == 1:
        yield from (task() for task in tasks)
        return
    from multiprocessing.pool import ThreadPool  # its threads do not keep the program from ending

    with ThreadPool(many) as pool:
        begun = deque(pool.apply_async(task) for task in islice(tasks, 2 * many))
        while begun:
            yield begun.popleft().get()
            begun.extend(pool.apply_async(task) for task in islice(tasks, 1))
