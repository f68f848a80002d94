"""Threads: all have equally much to do, and nothing is begun long before it is wanted."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartsim.threads import FEWEST, MOST, at_once, in_threads


@pytest.mark.parametrize(
    ("patients", "jobs", "each"), [(1, 2, 1), (3000, 2, 3000), (5000, 2, 2500), (40_000, 2, 6667), (9000, 1, 4500)]
)
def test_threads_have_equally_much_to_do(monkeypatch, patients, jobs, each):
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    assert at_once(patients, jobs) == each


@given(patients=st.integers(1, 10**7), cores=st.integers(1, 64))
def test_chunks_are_neither_too_large_nor_too_small(patients, cores):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("joblib.cpu_count", lambda: cores)
        each = at_once(patients, -1)
    assert min(FEWEST, patients) <= each <= MOST
    assert -(-patients // each) <= cores * -(-patients // (cores * MOST))


def test_tasks_are_begun_only_a_little_ahead():
    begun = []
    found = in_threads((partial(begun.append, k) for k in itertools.count()), 3)
    for _ in range(5):
        next(found)
    assert len(begun) <= 5 + 2 * 3
    found.close()
