"""Work shared among threads: how many there are, how much each is given at a time, and doing it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

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
    """What the tasks return, in order. Each is begun when a thread is soon free for it: there may be any number.

    A task that raises ends the work: what it raised is raised here, and of the others none is begun any more.
    """
    tasks = iter(tasks)
    if many == 1:
        yield from (task() for task in tasks)
        return
    from concurrent.futures import Future

    waiting: SimpleQueue[tuple[Callable[[], T], Future[T]] | None] = SimpleQueue()
    for _ in range(many):  # a pool of threads takes a millisecond; these do not keep the program from ending
        Thread(target=_do, args=(waiting,), daemon=True).start()

    def begin(task: Callable[[], T]) -> Future[T]:
        promised: Future[T] = Future()
        waiting.put((task, promised))
        return promised

    begun: deque[Future[T]] = deque()
    try:
        begun.extend(begin(task) for task in islice(tasks, 2 * many))
        while begun:
            yield begun.popleft().result()
            begun.extend(begin(task) for task in islice(tasks, 1))
    finally:
        for promised in begun:
            promised.cancel()
        for _ in range(many):
            waiting.put(None)


def _do(waiting: SimpleQueue[tuple[Callable[[], T], Future[T]] | None]) -> None:
    """Do what is waiting, until there is word that nothing comes."""
    while (each := waiting.get()) is not None:
        task, promised = each
        if promised.set_running_or_notify_cancel():
            try:
                promised.set_result(task())
            except BaseException as problem:  # raised again where it is waited for
                promised.set_exception(problem)
