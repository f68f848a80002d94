"""The machine code of a model: made once, kept on disk, loaded in a moment afterwards.

A model's kernel module holds a handful of small functions for one patient (``constants``, ``initial``, ``infuse``,
``rates``, ``outputs``) and one large one, ``attempt``, which tries one Rodas5P step for every lane at once: slopes,
analytic Jacobian, a sparse elimination written out in full, eight stages, error estimate and dense output. It is a row
of loops, of which the longest, ``stage``, is one for all stages: code short enough for the processor to keep at hand.
They have no branches and work on one flat array with rows at fixed offsets, so that the compiler turns them into packed
instructions. ``source`` writes the module; it never lies on disk as text: what is kept is what it was compiled to.
"""

from __future__ import annotations

import contextlib
import marshal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from cartsim.engine.machine_code import MachineCode
from cartsim.engine.meanwhile import driver_compiled
from cartsim.model.reader import Model


@dataclass(frozen=True)
class Kernel:
    """The compiled functions of one model."""

    attempt: Any
    constants: Any
    initial: Any
    infuse: Any
    rates: Any
    outputs: Any
    n_states: int
    n_constants: int
    n_factors: int


def compile_model(model: Model, announce: Callable[[str], None] | None = None) -> Kernel:
    """The kernel of a model, from memory, from disk, or newly made (some seconds, of which ``announce`` is told)."""
    with _one_at_a_time:
        module = _loaded.get(model.digest)
        if module is None:
            module = _loaded[model.digest] = _module(model, announce)
    return Kernel(
        attempt=module.attempt,
        constants=module.constants,
        initial=module.initial,
        infuse=module.infuse,
        rates=module.rates,
        outputs=module.outputs,
        n_states=len(model.states),
        n_constants=module.N_CONSTANTS,
        n_factors=module.N_FACTORS,
    )


_loaded: dict[str, ModuleType] = {}
_one_at_a_time = threading.Lock()


def _module(model: Model, announce: Callable[[str], None] | None) -> ModuleType:
    code = MachineCode("kernel", model.digest)

    def written() -> bytes:
        if announce:
            announce(f"compiling {model.name} for this machine, once, about 5 s")
        from cartsim.engine.source import generate

        return marshal.dumps(compile(generate(model), f"<{code.name}>", "exec"))

    module = ModuleType(code.name)
    module.__dict__["kept"] = code.kept  # the decorator of the module's functions
    sys.modules[code.name] = module  # numba names machine code by its module; two models must not share names
    with driver_compiled() if code.empty else contextlib.nullcontext():
        exec(marshal.loads(code.part("module", written)), module.__dict__)
        code.keep()
    return module
