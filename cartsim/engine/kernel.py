"""The machine code of a model: made once, kept on disk, loaded in a moment afterwards.

A model's kernel module holds a handful of small functions for one patient (``constants``, ``initial``, ``infuse``,
``rates``, ``outputs``) and one large one, ``attempt``, which tries one Rodas5P step for every lane at once: slopes,
analytic Jacobian, a sparse elimination written out in full, eight stages, error estimate and dense output. Its loop
body has no branches and works on one flat array with rows at fixed offsets, so that the compiler turns it into packed
instructions. ``source`` writes the module; here it is kept beside numba's cache of its machine code, under a name made
from the model's mathematics.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from cartsim.cache import cache_dir
from cartsim.model.reader import Model
from cartsim.version import __version__


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
    source: Path


def compile_model(model: Model, announce: Callable[[str], None] | None = None) -> Kernel:
    """The kernel of a model, from memory, from disk, or newly made (some seconds, of which ``announce`` is told)."""
    key = _key(model)
    module = _loaded.get(key)
    if module is None:
        path = cache_dir() / "kernels" / f"kernel_{key}.py"
        if not path.exists():
            if announce:
                announce(f"compiling {model.name} for this machine, once, about 10 s")
            from cartsim.engine.source import generate

            _write_whole(path, generate(model))
        module = _loaded[key] = _import(path)
    return Kernel(
        attempt=module.attempt,
        constants=module.constants,
        initial=module.initial,
        infuse=module.infuse,
        rates=module.rates,
        outputs=module.outputs,
        n_states=len(model.states),
        n_constants=module.N_CONSTANTS,
        source=Path(str(module.__file__)),
    )


_loaded: dict[str, ModuleType] = {}


def _key(model: Model) -> str:
    """Names the module: the model's mathematics, the code that writes it, and cartsim's version."""
    digest = hashlib.sha256(f"{model.digest} {__version__}".encode())
    for name in ("arithmetic", "elimination", "layout", "source", "symbols", "tableau"):
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return digest.hexdigest()[:20]


def _write_whole(path: Path, text: str) -> None:
    """Write beside and rename, so that another process never reads half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, suffix=".part")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.replace(beside, path)


def _import(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
