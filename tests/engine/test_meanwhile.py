"""The driver compiled by a second process while the first kernel is."""

from __future__ import annotations

import os

import pytest

from cartsim import cache
from cartsim.engine import machine_code, meanwhile
from cartsim.engine.machine_code import MachineCode


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CARTSIM_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def _two_cores(monkeypatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)


@pytest.mark.usefixtures("_two_cores")
def test_the_driver_lies_on_disk_afterwards(folder) -> None:
    with meanwhile.driver_compiled():
        assert MachineCode("driver").empty
    assert not MachineCode("driver").empty
    with meanwhile.driver_compiled():  # nothing is left to be made
        assert meanwhile._process() is None


@pytest.mark.usefixtures("_two_cores")
def test_an_interruption_ends_the_other_process(folder, monkeypatch) -> None:
    begun = []
    monkeypatch.setattr(meanwhile.subprocess, "Popen", lambda *a, _popen=meanwhile.subprocess.Popen, **k: (
        begun.append(_popen(*a, **k)) or begun[-1]
    ))  # fmt: skip
    with pytest.raises(KeyboardInterrupt), meanwhile.driver_compiled():
        raise KeyboardInterrupt
    assert begun[0].returncode != 0
    assert MachineCode("driver").empty


def _no_folder() -> None:
    raise PermissionError("no folder")


@pytest.mark.usefixtures("_two_cores")
@pytest.mark.parametrize(
    ("target", "name", "value"),
    [
        (os, "sched_getaffinity", lambda _: {0}),
        (meanwhile.sys, "executable", ""),
        (meanwhile.sys, "frozen", True),  # its executable is no Python
        (cache, "cache_dir", _no_folder),
        (machine_code.MachineCode, "empty", False),
    ],
    ids=["one core", "no interpreter", "an application", "no cache", "compiled already"],
)
def test_no_process_where_it_is_of_no_use(folder, monkeypatch, target, name, value) -> None:
    monkeypatch.setattr(target, name, value, raising=False)
    monkeypatch.setattr(meanwhile.subprocess, "Popen", lambda *_, **__: pytest.fail("a process"))
    with meanwhile.driver_compiled():
        pass
