"""Hostile input of every kind ends in a right result or in one line and exit code 2; how to run more: ``fuzzing``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from fuzzing.campaign import KINDS, Kind, Server

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="cases run in forked processes")
SHOWN = 30


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("fuzz")) as started:
        yield started


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_hostile(
    kind: Kind, server: Server, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    option = request.config.getoption
    seed, only = option("--fuzz-seed"), None
    if option("--fuzz-replay"):
        text, name, index = option("--fuzz-replay").split(":")
        if name != kind.name:
            pytest.skip("another case is replayed")
        seed, only = int(text), int(index)
    wanted, minutes = option("--fuzz-cases"), option("--fuzz-minutes")
    cases = kind.cases if wanted is None else max(1, round(wanted * kind.share))
    tally = server.run(kind, seed, cases, None if minutes is None else minutes / len(KINDS), only)
    record_property("fuzz", str(tally))
    rest = f"\n\nand {len(tally.bad) - SHOWN} more" if len(tally.bad) > SHOWN else ""
    if tally.bad:
        pytest.fail(f"{tally}\n\n" + "\n\n".join(tally.bad[:SHOWN]) + rest, pytrace=False)
    if only is None and not minutes and cases >= 4:
        assert tally.right, "no case came through: the kind shows nothing"
