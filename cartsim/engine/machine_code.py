"""Compiled functions that are kept: numba makes them once, the cache gives them back afterwards.

numba's own cache believes the files that it finds, and fails where it finds no place for them. Here a module's compiled
functions are one entry of ``cartsim.cache``, whose bytes are checked before anything in them is read.
"""

from __future__ import annotations

import functools
import hashlib
import marshal
import pickle
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.registry import cpu_target
from numba.core.serialize import dumps

from cartsim import cache
from cartsim.engine.widest import WidestCompiler
from cartsim.model import expression
from cartsim.version import __version__


class MachineCode:
    """The compiled functions of one module.

    Parameters
    ----------
    kind:
        What the module is, a word.
    content:
        What its source is made of, besides cartsim's own code: a model's digest.
    """

    def __init__(self, kind: str, content: str = "") -> None:
        identity = f"{_environment()} {content}"
        self.name = f"{kind}_{hashlib.sha256(identity.encode()).hexdigest()[:32]}"
        self._parts: dict[str, bytes] = _parts(cache.read(self.name))
        self._made = False  # something that is not yet on disk

    @property
    def empty(self) -> bool:
        """Whether nothing of it is there yet."""
        return not self._parts

    def part(self, name: str, make: Callable[[], bytes]) -> bytes:
        """A part of the entry other than a function, made if it is not there."""
        if name not in self._parts:
            self._parts[name] = make()
            self._made = True
        return self._parts[name]

    def kept(self, signature: Any, **options: Any) -> Callable[[Any], Any]:
        """``numba.njit`` for one signature, which takes the machine code from the entry if it is there."""

        def compiled(function: Any) -> Any:
            dispatcher = numba.njit(pipeline_class=WidestCompiler, **options)(function)
            dispatcher._cache = _Slot(self, function.__name__)
            dispatcher.compile(signature)
            dispatcher.disable_compile()
            return dispatcher

        return compiled

    def keep(self) -> None:
        """Write what was made to disk, once the module is whole; where that cannot be, say so once."""
        if self._made:
            try:
                cache.write(self.name, marshal.dumps(self._parts))
            except OSError as problem:
                _say_once(str(problem))
        self._made = False


class _Slot(NullCache):  # type: ignore[misc]
    """One function's place in the entry, as numba's dispatcher asks for it."""

    def __init__(self, owner: MachineCode, name: str) -> None:
        self._owner = owner
        self._name = name

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        data = self._owner._parts.get(self._name)
        if data is None:
            return None
        target_context.refresh()
        try:
            return CompileResult._rebuild(target_context, *pickle.loads(data))  # checked when it was read
        except Exception:  # whatever stops numba from reading it back: it is compiled instead
            return None

    def save_overload(self, sig: Any, compiled: Any) -> None:
        try:
            self._owner._parts[self._name] = dumps(compiled._reduce())
            self._owner._made = True
        except Exception as problem:  # whatever stops numba from writing it: it works all the same
            _say_once(f"numba {numba.__version__} cannot store it ({problem})")


def _parts(content: bytes | None) -> dict[str, bytes]:
    if content is None:
        return {}
    parts: dict[str, bytes] = marshal.loads(content)
    return parts


@functools.cache
def _environment() -> str:
    """What machine code depends on besides the model: versions, processor, and the code that writes code."""
    code = hashlib.sha256()
    for path in (*sorted(Path(__file__).parent.glob("*.py")), Path(expression.__file__ or "")):
        code.update(path.read_bytes())
    processor = cpu_target.target_context.codegen().magic_tuple()  # with its features: homes are shared in clusters
    versions = (__version__, numba.__version__, llvmlite.__version__, version("sympy"), sys.version)
    return repr((*versions, processor, code.hexdigest()))


_said: set[str] = set()


def _say_once(reason: str) -> None:
    if not _said:
        _said.add(reason)
        print(
            f"cartsim: compiled models cannot be kept, so that every start compiles them anew: {reason}; "
            "set CARTSIM_CACHE to a folder of your own with room in it",
            file=sys.stderr,
        )
