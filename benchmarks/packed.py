"""The share of packed instructions in the machine code of a model's step, counted in its assembly.

    python benchmarks/packed.py [MODEL]

A packed instruction works on several lanes at once (on four or eight doubles in one register of AVX2 or AVX-512).
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections import Counter

ARITHMETIC = r"v?(?:f(?:n?m(?:add|sub)\d*)|add|sub|mul|div|sqrt|max|min|and|or|xor|cmp\w*)"
INSTRUCTION = re.compile(rf"^\s+({ARITHMETIC})(pd|sd)\b(.*)$", re.MULTILINE)


def count(assembly: str) -> Counter[tuple[str, str]]:
    """How often each kind of floating-point arithmetic occurs: (packed or single, register) -> number."""
    found: Counter[tuple[str, str]] = Counter()
    for _, kind, operands in INSTRUCTION.findall(assembly):
        register = next((r for r in ("zmm", "ymm", "xmm") if r in operands), "other")
        found["packed" if kind == "pd" else "single", register] += 1
    return found


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "bb2121_clinical"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CARTSIM_CACHE"] = folder  # machine code read back from disk cannot be shown
        import cartsim
        from cartsim.engine.kernel import compile_model

        kernel = compile_model(cartsim.load(name))
        assembly = "\n".join(kernel.attempt.inspect_asm().values())
    found = count(assembly)
    total, packed = sum(found.values()), sum(n for (kind, _), n in found.items() if kind == "packed")
    doubles = {"zmm": 8, "ymm": 4, "xmm": 2}
    work = sum(n * (doubles.get(register, 1) if kind == "packed" else 1) for (kind, register), n in found.items())
    single = sum(n for (kind, _), n in found.items() if kind == "single")
    print(f"{name}: {packed} of {total} floating-point instructions packed ({100 * packed / total:.1f} %)")
    print(f"arithmetic done packed: {100 * (1 - single / work):.1f} % of {work} operations in the code")
    for (kind, register), n in sorted(found.items()):
        print(f"  {kind:6} {register}: {n}")
    calls = sorted(set(re.findall(r"\bcallq?\s+\*?%?(\S+)", assembly)))
    print(f"calls in the code (none of them in the loop if all arithmetic is packed): {', '.join(calls) or 'none'}")


if __name__ == "__main__":
    main()
