"""What a second process compiles meanwhile: the driver, all models' own, beside the first kernel.

Both take about as long, so that on two cores the first model is ready in little more than half of the time.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from cartsim import cache
from cartsim.engine.machine_code import MachineCode
from cartsim.threads import cores

_PROGRAM = "from cartsim.engine import rodas; rodas.driver()"
_LONGEST = 120.0  # seconds, after which the driver is compiled here
_SOURCE = str(Path(__file__).parents[2])


@contextlib.contextmanager
def driver_compiled() -> Iterator[None]:
    """The driver's machine code is on disk at the end, if it is not there and another process can put it there."""
    process = _process()
    if process is None:
        yield
        return
    with process:
        try:
            yield
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LONGEST)
        finally:
            process.kill()  # Ctrl-C, a model that cannot be compiled


def _process() -> subprocess.Popen[bytes] | None:
    """The other process, or None where it would be of no use."""
    if cores() < 2 or not sys.executable or getattr(sys, "frozen", False) or not MachineCode("driver").empty:
        return None
    path = os.pathsep.join(filter(None, [_SOURCE, os.environ.get("PYTHONPATH")]))
    try:
        cache.cache_dir()  # where nothing is kept, nothing is handed over
        return subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM],  # -P: nothing is imported from the folder that one is in
            env=os.environ | {"PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return None
