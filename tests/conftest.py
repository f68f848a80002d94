"""What several tests share; options of the fuzzer and its counts at the end of the run; see ``fuzzing``.

Hypothesis draws the same examples in every run, and no example is timed: a test fails by what it finds, on a busy
machine too. ``pytest --hypothesis-profile explore`` draws others each time.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # there is a worker for each core

_UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", _UNTIMED, derandomize=True, database=None)
settings.register_profile("explore", _UNTIMED)
settings.load_profile("same")


@pytest.fixture(scope="session", autouse=True)
def _commands_made_once() -> Iterator[None]:
    """typer's runner makes click's commands of the app anew at every call, which takes longer than most calls."""
    import typer.testing
    from typer.main import get_command

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing, "_get_command", functools.cache(get_command), raising=False)
        yield


@pytest.fixture(autouse=True)
def _pictures_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process imports for longer than a test draws; tests/cli/test_drawing.py has one."""
    monkeypatch.setattr("cartsim.cli.drawing._second_process", lambda: None)


@pytest.fixture
def _no_warnings() -> Iterator[None]:
    """Any warning is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fuzz", "the fuzzer, tests/fuzzing")
    group.addoption("--fuzz-seed", type=int, default=2021, help="seed of all cases")
    group.addoption("--fuzz-cases", type=int, help="model files, options and data files; other kinds in proportion")
    group.addoption("--fuzz-minutes", type=float, help="run for so long instead, the same time for each kind")
    group.addoption("--fuzz-replay", metavar="SEED:KIND:INDEX", help="run this case only")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    counts = [
        text
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, text in report.user_properties
        if name == "fuzz"
    ]
    if counts:
        terminalreporter.write_line(f"fuzz: {', '.join(counts)}")
