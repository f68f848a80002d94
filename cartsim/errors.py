"""The one exception that a user of cartsim is meant to see, and how its messages end."""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from numbers import Integral, Real
from typing import Any, TypeVar

Called = TypeVar("Called", bound=Callable[..., Any])


class InputError(ValueError):
    """Bad input, in one line: what was given, what is allowed and what to do.

    The command line prints the message and exits with code 2; no work has started when it is raised.
    """


def brief(value: Any) -> str:
    """A value for a message: on one line, short, numpy's scalars as plain numbers."""
    shape = getattr(value, "shape", None)
    if shape == () and hasattr(value, "item"):
        value = value.item()
    elif isinstance(shape, tuple):
        return f"{type(value).__name__} of shape {shape}"
    elif isinstance(value, (list, tuple)) and len(value) <= 8:
        inner = ", ".join(brief(each) for each in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    text = " ".join(repr(value).split())
    return text if len(text) <= 100 else type(value).__name__


def check_kind(what: str, value: Any, kinds: type | tuple[type, ...], give: str) -> None:
    """Raise `InputError` unless the value is of one of these kinds."""
    if not isinstance(value, kinds):
        raise InputError(f"{what} is {brief(value)}; give {give}")


def whole(value: Any) -> bool:
    """Whether it is a whole number, Python's or numpy's; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_count(value: Any, what: str) -> int:
    """A whole number, 1 or more. Raises `InputError`, which begins with ``what``, for anything else."""
    if not whole(value) or value < 1:
        raise InputError(f"{what}; give a whole number, 1 or more")
    return int(value)


def check_seed(seed: Any) -> None:
    """Raise `InputError` unless it is a seed: a whole number, 0 or more."""
    if not whole(seed) or seed < 0:
        raise InputError(f"the seed is {brief(seed)}; give a whole number, 0 or more")


def check_level(level: Any) -> None:
    """Raise `InputError` unless it is a level of confidence: a share between 0 and 1."""
    if not isinstance(level, Real) or not 0 < float(level) < 1:
        raise InputError(f"the level is {brief(level)}; give a share between 0 and 1, such as 0.95")


def check_jobs(n_jobs: Any) -> None:
    """Raise `InputError` unless it is a number of threads or processes as joblib counts them."""
    if not whole(n_jobs) or n_jobs == 0:
        raise InputError(f"n_jobs is {brief(n_jobs)}; give 1 or more, or -1 for all cores")


def choices(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the known names that come closest, or all of them."""
    spelled = {each.lower(): each for each in known}
    close = difflib.get_close_matches(str(name).lower(), spelled, n=3)
    if close:
        return f"; did you mean {' or '.join(spelled[each] for each in close)}?"
    return f"; choose from {', '.join(spelled.values())}" if spelled else ""


def elsewhere(*groups: type, **places: str) -> Callable[[Called], Called]:
    """A decorator: keywords that belong elsewhere are refused with the place where they belong, unknown ones by name.

    groups: typed dictionaries that say which keywords a function takes as ``**keywords``.
    """

    def decorate(called: Called) -> Called:
        inner: Any = vars(called)["__init__"] if isinstance(called, type) else called
        parameters = inspect.signature(inner).parameters
        named = [name for name, each in parameters.items() if name != "self" and each.kind is not each.VAR_KEYWORD]
        known = [*named, *(name for group in groups for name in group.__annotations__)]
        closed = bool(groups) or all(each.kind is not each.VAR_KEYWORD for each in parameters.values())

        @wraps(inner)
        def checked(*args: Any, **options: Any) -> Any:
            for name in options.keys() & places.keys():
                raise InputError(f"{called.__name__} takes no {name}={options[name]!s}; {places[name]}")
            for name in options.keys() - known if closed else ():
                raise InputError(f"{called.__name__} takes no {name}={brief(options[name])}{choices(name, known)}")
            return inner(*args, **options)

        if isinstance(called, type):
            called.__init__ = checked  # type: ignore[misc]
            return called
        return checked  # type: ignore[return-value]

    return decorate


def say(message: str) -> None:
    """A message for the user, on stderr."""
    print(f"cartsim: {message}", file=sys.stderr)
