"""A command loads what it uses and nothing else: most of the seconds of a short one are imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import cartsim

HEAVY = (
    *("IPython", "SALib", "dask", "joblib", "lifelines", "matplotlib", "matplotlib.pyplot", "numba", "numpy", "pandas"),
    *("pint", "pyarrow", "rich", "scipy", "scipy.integrate", "scipy.optimize", "scipy.stats", "statsmodels", "sympy"),
    "xarray",
)
RUN = """
import json, os, sys
from cartsim.cli import main, process
sys.argv = ["cartsim", *json.loads(sys.argv[1])]
def loaded(code):
    print(json.dumps([code, len(sys.modules), [name for name in json.loads(heavy) if name in sys.modules]]), flush=True)
    os._exit(0)
process.end = loaded
main()
"""


def loaded(*words: object) -> tuple[int, set[str]]:
    """The number of modules that a command has loaded at its end, and which of the heavy ones."""
    done = subprocess.run(
        [sys.executable, "-c", f"heavy = {json.dumps(HEAVY)!r}\n{RUN}", json.dumps([str(word) for word in words])],
        capture_output=True, text=True, cwd=Path(cartsim.__file__).parents[1], check=True,
    )  # fmt: skip
    code, number, heavy = json.loads(done.stdout.splitlines()[-1])
    assert code == 0, done.stderr
    return number, set(heavy)


@pytest.mark.parametrize(
    ("words", "most", "heavy"),
    [
        (("--help",), 400, {"numpy"}),
        (("trial", "--help"), 500, {"numpy"}),
        (("show", "bb2121_clinical"), 600, {"numpy", "rich"}),
        (("simulate", "bb2121_clinical", "--times", "0:28:7"), 1100, {"numpy", "numba", "scipy"}),
        (
            ("trial", "--n", "10", "--no-pictures"),
            1700,
            {"numpy", "numba", "scipy", "rich", "pandas", "pyarrow", "joblib"},
        ),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else None,
)
def test_a_command_loads_what_it_uses(tmp_path, words, most, heavy):
    number, found = loaded(*words, *(("--out", tmp_path) if "--n" in words else ()))
    assert number < most
    assert found <= heavy


def test_only_pictures_need_matplotlib_and_none_pyplot(tmp_path):
    _, found = loaded("trial", "--n", "10", "--out", tmp_path)
    assert "matplotlib" in found
    assert not {"matplotlib.pyplot", "scipy.stats"} & found
