"""How much memory work would take, against what the machine has: what cannot fit is refused before it begins."""

from __future__ import annotations

import os
from pathlib import Path

from cartsim.errors import InputError

_NUMBER = 8  # bytes
_GROUP = Path("/sys/fs/cgroup")  # the limits of a container, on Linux


def require(needed: float, what: str, instead: str) -> None:
    """Raise `InputError` where ``needed`` bytes are more than the machine has free.

    what: the work, to begin the message; instead: what to do, to end it. Where the free memory is not known nothing
    is refused.
    """
    free = available()
    if free is not None and needed > free:
        raise InputError(f"{what} would take {_shown(needed)} of memory, and {_shown(free)} are free; {instead}")


def require_simulation(n: int, times: int, outputs: int, parameters: int, *, copies: int = 0) -> None:
    """Raise `InputError` where n patients' outputs at all times do not fit into memory.

    parameters: of the model; a patient has them as drawn, as a table and once more for the engine. copies: how often
    the long table (``id``, ``time``, outputs) is made of the outputs besides.
    """
    a_patient = times * (outputs + copies * (outputs + 2)) + 3 * parameters
    what = f"{n:,} patients with {outputs} outputs at {times:,} times"
    require(_NUMBER * n * a_patient, what, "ask for fewer of them at once")


def available() -> int | None:
    """Bytes of memory that can be had now, or None where the system does not say."""
    limits = [free for free in (_machine(), _container()) if free is not None]
    return min(limits) if limits else None


def _machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None


def _container() -> int | None:
    try:
        most, used = ((_GROUP / f"memory.{what}").read_text().strip() for what in ("max", "current"))
        return max(int(most) - int(used), 0)
    except (OSError, ValueError):  # no such limit, or "max", which is none
        return None


def _shown(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 / 10 else f"{size / 2**20:,.1f} MiB"
