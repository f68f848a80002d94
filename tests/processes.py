"""Processes that a test starts and interrupts at a chosen moment."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

LONGEST = 600.0  # seconds until something is taken to hang; far more than anything takes on a busy machine


def wait_until(seen: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait until something is seen of what a process does, which must not end before; see `LONGEST`.

    Files may be renamed or removed while ``seen`` lists them: it has then seen nothing yet.
    """
    until = time.monotonic() + LONGEST
    while not _seen(seen):
        assert process.poll() is None, process.communicate()[1]
        if time.monotonic() > until:
            process.kill()
            raise AssertionError(f"nothing to be seen after {LONGEST:g} s: {process.communicate()[1]}")
        time.sleep(0.02)


def _seen(seen: Callable[[], object]) -> bool:
    try:
        return bool(seen())
    except FileNotFoundError:
        return False
