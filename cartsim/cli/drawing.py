"""Several pictures, drawn by two processes: a second has its libraries by the time that there is something to draw."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import AbstractContextManager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from cartsim.cli.options import Pictures

Draw = Callable[[], Any]


class Drawing(AbstractContextManager["Drawing"]):
    """Draws the pictures of a command; with a second core in a second process too, which begins at once.

    A picture is a function without arguments that gives a figure and that can be sent to another process: one of a
    module, with `functools.partial` where it needs something.
    """

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self._second = _second_process() if pictures else None
        self._left: deque[tuple[Path, Draw]] = deque()
        self._sent: list[tuple[Path, Draw, Future[None]]] = []
        self._more = True

    def add(self, figures: Mapping[Path, Draw]) -> None:
        """Draw these and write them under their paths, if there are to be pictures: at once, or at the end here."""
        if self._pictures:
            self._left.extend(figures.items())
            if not self._sent or self._sent[-1][2].done():
                self._send_next()

    def __exit__(self, failed: object, *_: object) -> None:
        self._more = False
        while self._left and not failed:
            with suppress(IndexError):  # the last was sent in the meantime
                _save(self._pictures, *self._left.pop())
        if self._second is not None:
            self._second.shutdown(cancel_futures=bool(failed))
        for path, draw, done in self._sent if not failed else ():
            try:
                done.result()
            except BrokenExecutor:  # somebody killed it
                _save(self._pictures, path, draw)

    def _send_next(self, _: object = None) -> None:
        if self._second is None:
            return
        try:
            path, draw = self._left.popleft()
            self._sent.append((path, draw, self._second.submit(_save, self._pictures, path, draw)))
            self._sent[-1][2].add_done_callback(self._send_next)
        except IndexError:
            if not self._more:
                self._second.shutdown(wait=False)  # it ends while the last picture is drawn here
        except BrokenExecutor:
            self._left.append((path, draw))


def plotted(result: Any, name: str, *given: Any, **settings: Any) -> Any:
    """``result.plot.name(*given, **settings)``, as a function that can be sent."""
    return getattr(result.plot, name)(*given, **settings)


def _second_process() -> Executor | None:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from joblib import cpu_count

    if cpu_count() < 2:
        return None
    pool = ProcessPoolExecutor(1, get_context("spawn"), _prepare)
    try:
        pool.submit(int)
    except OSError:  # no process is to be had
        return None
    return pool


def _prepare() -> None:
    """Import what pictures need, in the second process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first, which ends this one
    for name in ("pandas", "matplotlib.figure", "matplotlib.backends.backend_agg", "cartsim.plots.trial"):
        import_module(name)


def _save(pictures: Pictures, path: Path, draw: Draw) -> None:
    pictures.save(draw(), path)
