"""Several pictures, drawn by two processes: a second has its libraries by the time that there is something to draw."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from cartsim.cli.options import Pictures
from cartsim.threads import cores

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

Draw = Callable[[], Any]
MOST = 20_000  # patients whose table and visits are copied to the other process in less time than a picture takes


class Drawing(AbstractContextManager["Drawing"]):
    """Draws the pictures of a command; with a second core in a second process too, which begins at once.

    A picture is a function without arguments that gives a figure and that can be sent to another process: one of a
    module, with `functools.partial` where it needs something.
    """

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self._left: deque[tuple[Path, Draw]] = deque()
        self._here: list[tuple[Path, Draw]] = []
        self._second = _second_process() if pictures else None
        self._sender = Thread(target=self._send)
        self._error: Exception | None = None

    def add(self, figures: Mapping[Path, Draw], patients: int = 0) -> None:
        """Draw these and write them under their paths, if there are to be pictures: at once there, at the end here.

        ``patients`` says of how many there is data in them: those of more than `MOST` are all drawn here.
        """
        if not self._pictures:
            return
        (self._here if patients > MOST else self._left).extend(figures.items())
        if self._second is not None and self._left and not self._sender.is_alive():
            self._sender = Thread(target=self._send, daemon=True)
            self._sender.start()

    def __exit__(self, failed: object, *_: object) -> None:
        try:
            for path, draw in self._here if not failed else ():
                _save(self._pictures, path, draw)
            while not failed and (self._left or self._sender.is_alive()):
                with suppress(IndexError):  # the last was sent in the meantime
                    _save(self._pictures, *self._left.pop())
                    continue
                self._sender.join()  # it may give one back
        finally:
            if self._second is not None:
                self._second[0].terminate()
        if self._error is not None and not failed:
            raise self._error

    def _send(self) -> None:
        """Have the second process draw one picture after the other."""
        assert self._second is not None
        while self._left:
            with suppress(IndexError):  # the last is drawn here
                path, draw = self._left.popleft()
                try:
                    self._second[1].send((self._pictures, path, draw))
                    self._error = self._second[1].recv() or self._error
                except (OSError, EOFError):  # somebody killed it
                    self._left.append((path, draw))
                    return


def plotted(result: Any, name: str, *given: Any, **settings: Any) -> Any:
    """``result.plot.name(*given, **settings)``, as a function that can be sent."""
    return getattr(result.plot, name)(*given, **settings)


def _second_process() -> tuple[BaseProcess, Connection] | None:
    """A process that draws what comes through a pipe, and the pipe's end; None where no other core is free for it."""
    from multiprocessing import get_context

    if cores() < 2:
        return None
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_draw_all, args=(there,), daemon=True)
    try:
        with _safe_path():
            process.start()
    except OSError:  # no process is to be had
        return None
    there.close()
    return process, here


@contextmanager
def _safe_path() -> Iterator[None]:
    """New processes import nothing from the folder that one is in, where a file may have the name of a module."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


def _draw_all(pipe: Connection) -> None:
    """What the second process does: import what pictures need, and draw until it is ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first, which ends this one
    for name in ("pandas", "matplotlib.figure", "matplotlib.backends.backend_agg", "cartsim.plots.trial"):
        import_module(name)
    with suppress(EOFError):  # the first has ended
        while True:
            error: Exception | None = None
            try:
                _save(*pipe.recv())
            except EOFError:
                raise
            except Exception as found:
                error = found
            pipe.send(error)


def _save(pictures: Pictures, path: Path, draw: Draw) -> None:
    pictures.save(draw(), path)
