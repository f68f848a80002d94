"""Machine code whose loops take the widest registers of the processor.

By itself LLVM takes registers of 256 bits where there are some of 512 (AVX-512), to keep the clock of the first such
processors high in programs that hardly calculate. A kernel does nothing else. Where registers are narrower this changes
nothing.

Registers kept in memory are put on boundaries of their size: one that lies across two cache lines costs double.

A patient's numbers are the same bits on one processor. Between kinds of processors they differ as a sum does that is
rounded in another place (see tests/engine/test_widest.py): the compiler fuses other multiplications with additions.
"""

from __future__ import annotations

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

_ATTRIBUTES = ('"prefer-vector-width"="512"', '"stackrealign"')


class WidestLibrary(JITCodeLibrary):  # type: ignore[misc]
    """The code of a function and of what it calls."""

    def add_ir_module(self, ir_module: Any) -> None:
        for function in ir_module.functions:
            set.update(function.attributes, _ATTRIBUTES)  # llvmlite's own ``add`` knows no attributes in quotes
        super().add_ir_module(ir_module)


class WidestCompiler(Compiler):  # type: ignore[misc]
    """numba's compiler, with the widest registers."""

    def __init__(self, typingctx: Any, targetctx: Any, library: Any, *rest: Any) -> None:
        library = WidestLibrary(targetctx.codegen(), "widest")
        library.enable_object_caching()
        super().__init__(typingctx, targetctx, library, *rest)
