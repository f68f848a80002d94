"""Work that is counted: seconds depend on what else the machine does, the number of calls does not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import pytest


@dataclass
class Count:
    """So many calls until now."""

    n: int = 0


@contextmanager
def python_calls() -> Iterator[Count]:
    """Count the calls of this thread within the block, Python's functions and those of C."""
    count, before = Count(), sys.getprofile()

    def called(_: FrameType, event: str, __: Any) -> None:
        if event in ("call", "c_call"):
            count.n += 1

    sys.setprofile(called)
    try:
        yield count
    finally:
        sys.setprofile(before)


def counted(
    monkeypatch: pytest.MonkeyPatch, place: Any, name: str, of: Callable[..., int] = lambda *_, **__: 1
) -> Count:
    """Count what ``of`` finds in the arguments of each call of a function from now on; by default the calls."""
    function, count = getattr(place, name), Count()

    def wrapped(*arguments: Any, **named: Any) -> Any:
        count.n += of(*arguments, **named)
        return function(*arguments, **named)

    monkeypatch.setattr(place, name, wrapped)
    return count
