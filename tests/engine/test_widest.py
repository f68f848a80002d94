"""The widest registers that a processor has, and the same numbers on processors that have narrower ones."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest

import cartsim
from cartsim.engine import machine_code

MODEL = Path(__file__).parents[1] / "models" / "two_doses.toml"
HOST = llvm.get_host_cpu_features().flatten()
pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="registers of x86 processors")

PROGRAM = """
import json, re, sys
import cartsim
from cartsim.engine.kernel import compile_model
from cartsim.engine.machine_code import MachineCode

model = cartsim.load(sys.argv[1])
assembly = "\\n".join(compile_model(model).attempt.inspect_asm().values())
arithmetic = re.findall(r"\\bv?(?:mul|add|sub|div)pd\\b.*%([xyz]mm)", assembly)
found = {"kernel": MachineCode("kernel", model.digest).name, "registers": {r: arithmetic.count(r) for r in arithmetic}}
run = cartsim.simulate(cartsim.Population(model), n=40, times=[0.0, 0.5, 2.0, 9.0, 20.0], outputs=list(model.states))
found["values"] = [run[name].tolist() for name in model.states]
print(json.dumps(found))
"""


def without(features: str) -> str:
    """This processor's features, those that match taken away."""
    return re.sub(rf"\+({features})(?=,|$)", r"-\1", HOST)


@pytest.fixture(scope="module")
def processors(tmp_path_factory) -> dict[str, dict]:
    """The same program, in fresh processes, on three processors: this one and two that have less."""
    cache = str(tmp_path_factory.mktemp("cache"))
    source = str(Path(cartsim.__file__).parents[1])
    found = {}
    for name, environment in {
        "this": {},
        "AVX2": {"NUMBA_CPU_FEATURES": without(r"avx512\w*|avx10\S*?")},
        "SSE2": {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2"},
    }.items():
        own = os.environ | {"CARTSIM_CACHE": cache, "PYTHONPATH": source} | environment
        command = [sys.executable, "-c", PROGRAM, str(MODEL)]
        done = subprocess.run(command, env=own, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found[name] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("processor", "register"),
    [
        pytest.param("this", "zmm", marks=pytest.mark.skipif("+avx512f" not in HOST, reason="no AVX-512 here")),
        pytest.param("AVX2", "ymm", marks=pytest.mark.skipif("+avx2" not in HOST, reason="no AVX2 here")),
        ("SSE2", "xmm"),
    ],
)
def test_a_step_takes_the_widest_registers(processors, processor: str, register: str) -> None:
    assert set(processors[processor]["registers"]) == {register}
    assert processors[processor]["registers"][register] > 50


def test_each_processor_has_its_own_machine_code(processors) -> None:
    names = {each["kernel"] for each in processors.values()}
    assert len(names) == len({HOST, without(r"avx512\w*|avx10\S*?"), "+sse2"})


def test_processors_differ_by_rounding_alone(processors) -> None:
    here = np.array(processors["this"]["values"])
    assert np.isfinite(here).all()
    for other in processors.values():
        np.testing.assert_allclose(other["values"], here, rtol=1e-9, atol=1e-12)


def test_the_name_of_machine_code_has_the_processor_and_its_features() -> None:
    _, name, features = machine_code.cpu_target.target_context.codegen().magic_tuple()
    assert name in machine_code._environment()
    assert features in machine_code._environment()
