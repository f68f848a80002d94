"""The process that a command runs in: its streams, and how it ends when it is told to or cannot write."""

from __future__ import annotations

import os
import re
import signal
import sys
from contextlib import suppress
from typing import Any, NoReturn

INTERRUPTED, CLOSED, TERMINATED = 130, 141, 143
"""Exit codes after Ctrl-C, when the reader of stdout went away, and after SIGTERM: 128 and the signal's number."""

_LONGEST = 2000  # characters of a message
_WORD = 200  # of one word in it, such as a path


class Terminated(KeyboardInterrupt):
    """SIGTERM, on which as little is left behind as on Ctrl-C."""


def prepare() -> None:
    """Give streams that were closed a place to go, and let SIGTERM be an exception."""
    # The number of a closed stream would be given to the next file that is opened, and output be written into that.
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (open to the end)
        getattr(sys, name).reconfigure(errors="replace")  # a terminal without UTF-8 gets "?"
    signal.signal(signal.SIGTERM, _terminate)


def _terminate(*_: Any) -> NoReturn:
    raise Terminated


def note(message: str) -> None:
    """A message for the user, on stderr: one line, whatever is quoted in it. A stderr that is full is no error."""
    line = re.sub(rf"\S{{{_WORD},}}", lambda word: _clipped(word[0], _WORD), " ".join(message.split()))
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in _clipped(line, _LONGEST))
    with suppress(OSError):
        print(f"cartsim: {shown}", file=sys.stderr, flush=True)


def _clipped(text: str, most: int) -> str:
    """The beginning and the end of what is too long; what to do about an error stands at its end."""
    return text if len(text) <= most else f"{text[: most // 2]}...{text[-most // 2 :]}"


def interrupted(stop: KeyboardInterrupt) -> int:
    """Say that the command was stopped; the exit code."""
    note("terminated" if isinstance(stop, Terminated) else "interrupted")
    return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED


def discard_output() -> None:
    """Drop what stdout still holds and cannot write, or Python would try again at its end and complain."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def end(code: object) -> NoReturn:
    """Raise SystemExit with this exit code, or another if what is still to be written cannot be."""
    if code in (INTERRUPTED, TERMINATED):
        os._exit(code)  # type: ignore[arg-type]  # at once: machine code in a thread may run on for long
    try:
        sys.stdout.flush()
    except OSError as error:  # a full disk; of what the command itself wrote it has said so
        discard_output()
        if code == 0:
            note(f"cannot write the output: {error.strerror}")
            code = 1
    sys.exit(code)  # type: ignore[arg-type]


def leave(code: object) -> NoReturn:
    """End the process at once: to take down all that was imported lasts a third of a second."""
    if not (code is None or isinstance(code, int)):
        sys.exit(code)  # type: ignore[arg-type]  # a text, which Python prints
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(code or 0)
