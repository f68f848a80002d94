"""Pieces of compiled functions: they become machine code as parts of these only, never by themselves.

By itself numba makes every function ready to be called, from Python too: optimized and turned into machine code with
all that it calls, once for each floor of calls. What is only a piece needs none of it, which is two thirds of the time.
"""

from __future__ import annotations

from typing import Any

from numba import njit
from numba.core.compiler import Compiler

from cartsim.engine.widest import WidestLibrary


class _Library(WidestLibrary):  # type: ignore[misc]
    """The code of a piece and its own pieces, joined and left as it is."""

    def finalize(self) -> None:
        for library in dict.fromkeys(self._linking_libraries):
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        return 0

    @property
    def codegen(self) -> Any:  # asked only to tell code that runs where its Python objects are
        return self

    def set_env(self, name: str, env: Any) -> None:
        pass


class _Compiler(Compiler):  # type: ignore[misc]
    def __init__(self, typingctx: Any, targetctx: Any, library: Any, *rest: Any) -> None:
        super().__init__(typingctx, targetctx, _Library(targetctx.codegen(), "piece"), *rest)


def piece(**options: Any) -> Any:
    """``numba.njit`` for a function that only compiled functions call."""
    unreached: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return njit(error_model="numpy", pipeline_class=_Compiler, **unreached, **options)
