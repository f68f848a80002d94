"""Short texts from the command line (times, doses, NAME=VALUE, grids) into checked numbers.

Decimal text is expanded as decimals, so that 0:1:0.1 gives 0.3 and not 0.30000000000000004.
Every function raises `InputError` for text that it cannot read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import TYPE_CHECKING

from cartsim.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TIMES = "times are numbers and inclusive ranges start:stop:step, such as 0:30:1,37:640:7"
_GRID = "a grid is low:high:points, such as 50e6:800e6:24, or a list such as 20,50,95"
_MOST = 1_000_000


def parse_times(text: str) -> NDArray[np.float64]:
    """Times of "0:30:1,37:640:7": single numbers and inclusive ranges start:stop:step, increasing, >= 0.

    Returns an array (number of times,) in the model's time unit. A stop that the step does not hit
    exactly is not itself included.
    """
    import numpy as np

    times: list[Decimal] = []
    for piece in text.split(","):
        numbers = [_decimal(part, f"times {text!r}", _TIMES) for part in piece.split(":")]
        if len(numbers) == 1:
            times.append(numbers[0])
            continue
        if len(numbers) != 3:
            raise InputError(f"times {text!r}: {piece.strip()!r} is not a range; {_TIMES}")
        start, stop, step = numbers
        if float(step) <= 0:
            raise InputError(f"times {text!r}: the step of {piece.strip()!r} must be above 0")
        if stop < start:
            raise InputError(f"times {text!r}: the range {piece.strip()!r} is reversed; write its smaller end first")
        steps = (stop - start) / step
        if steps + len(times) >= _MOST:
            raise InputError(f"times {text!r}: more than {_MOST:,} times; use a larger step")
        times += [start + k * step for k in range(int(steps) + 1)]
    for time in times:
        if time < 0:
            raise InputError(f"times {text!r}: {time} is negative; times start at 0")
    for earlier, later in pairwise(times):
        if float(later) <= float(earlier):
            raise InputError(f"times {text!r}: {earlier} is followed by {later}; times must increase")
    return np.array([float(time) for time in times])


def parse_doses(text: str) -> tuple[float, ...]:
    """Doses of "50e6,150e6": numbers of cells, each finite, not negative and given once."""
    doses = []
    for piece in text.split(","):
        dose = float(_decimal(piece, f"doses {text!r}", "doses are numbers of cells such as 50e6,150e6"))
        if dose < 0:
            raise InputError(f"doses {text!r}: {piece.strip()} is negative; a dose is a number of cells, 0 or more")
        if dose in doses:
            raise InputError(f"doses {text!r}: {piece.strip()} is given twice")
        doses.append(dose)
    return tuple(doses)


def parse_named(texts: Sequence[str] | None, option: str, write: str) -> dict[str, str]:
    """{"Kel_e": "100"} of ["Kel_e=100"]; option: what they were given with; write: how such a text is written."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, _, value = (part.strip() for part in text.partition("="))
        if not (name and value):
            raise InputError(f"{option} {text}: write {write}")
        if name in found:
            raise InputError(f"{option}: {name} is given twice; give it once")
        found[name] = value
    return found


def parse_assignments(texts: Sequence[str] | None, option: str = "--set") -> dict[str, float]:
    """{"Kel_e": 100.0} of ["Kel_e=100"]; whether the names exist is for the model to say."""
    write = "NAME=VALUE with a number, such as Kel_e=100"
    named = parse_named(texts, option, write)
    return {name: float(_decimal(text, f"{option} {name}={text}", f"write {write}")) for name, text in named.items()}


def parse_pair(given: str, text: str, write: str) -> tuple[float, float]:
    """The two numbers of "5:95"; given: the option with all its text; write: how it is written."""
    try:
        first, second = map(float, text.split(":"))
    except ValueError:
        raise InputError(f"{given}: write {write}") from None
    return first, second


def parse_names(text: str) -> list[str]:
    """["Kel_e", "Kel_m"] of "Kel_e, Kel_m"."""
    return [name.strip() for name in text.split(",") if name.strip()]


def parse_grid(text: str, scale: str = "linear") -> NDArray[np.float64]:
    """Grid of "50e6:800e6:24" (low:high:points, both ends included) or of the list "20,50,95".

    `scale` is "linear" or "log": points evenly spread in the value or in its logarithm.
    Returns an increasing array (points,) of at least two values.
    """
    import numpy as np

    if scale not in ("linear", "log"):
        raise InputError(f"scale {scale!r} is not known; it is 'linear' or 'log'")
    where = f"grid {text!r}"
    if ":" not in text:
        values = [float(_decimal(piece, where, _GRID)) for piece in text.split(",")]
        if len(values) < 2 or any(later <= earlier for earlier, later in pairwise(values)):
            raise InputError(f"{where}: a list needs at least two values, in increasing order")
        if scale == "log" and values[0] <= 0:
            raise InputError(f"{where}: a log scale needs values above 0")
        return np.array(values)
    pieces = text.split(":")
    if len(pieces) != 3:
        raise InputError(f"{where}: {_GRID}")
    low, high, points = (_decimal(piece, where, _GRID) for piece in pieces)
    if high <= low:
        raise InputError(f"{where}: the range is empty or reversed; {_GRID}")
    if points != int(points) or not 2 <= points <= _MOST:
        raise InputError(f"{where}: {pieces[2].strip()} points; give a whole number from 2 to {_MOST:,}")
    if scale == "log" and low <= 0:
        raise InputError(f"{where}: a log scale needs a range above 0")
    spread = np.geomspace if scale == "log" else np.linspace
    return spread(float(low), float(high), int(points))


def _decimal(text: str, where: str, allowed: str) -> Decimal:
    text = text.strip()
    try:
        number = Decimal(text if "_" not in text else "")  # Decimal reads 1_ and _1 as 1
    except InvalidOperation:
        raise InputError(f"{where}: {text!r} is not a number; {allowed}") from None
    if not (number.is_finite() and math.isfinite(float(number))):
        raise InputError(f"{where}: {text!r} is not a finite number; {allowed}")
    return number
