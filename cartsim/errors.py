"""The one exception that a user of cartsim is meant to see."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input, in one line: what was given, what is allowed and what to do.

    The command line prints the message and exits with code 2; no work has started when it is raised.
    """
