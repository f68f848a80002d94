"""exp and log without branches or calls, so that a loop over lanes becomes packed instructions.

All handle the full range of doubles, infinities and NaN; subnormal results of exp are 0. The error of ``fast_exp`` and
``fast_log`` is below 2 ulp, that of ``quick_exp`` below 3 (see tests/engine/test_arithmetic.py).
Reassociation would break the rounding tricks, so only contraction (fused multiply-add) and the sign of zero are
relaxed.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

FAST = {"contract", "nsz"}


@intrinsic  # type: ignore[misc]
def bits_of(typingctx: Any, value: Any) -> Any:
    """The 64 bits of a double as an integer."""
    return types.int64(types.float64), lambda ctx, b, sig, args: b.bitcast(args[0], ir.IntType(64))


@intrinsic  # type: ignore[misc]
def double_of(typingctx: Any, value: Any) -> Any:
    """The double with these 64 bits."""
    return types.float64(types.int64), lambda ctx, b, sig, args: b.bitcast(args[0], ir.DoubleType())


@njit(error_model="numpy", fastmath=FAST, forceinline=True)
def _reduced(x: float) -> tuple[float, float]:
    """X = k ln2 + r with a whole k and |r| <= 0.347: a double with k in its low bits, and r."""
    shifted = x * 1.4426950408889634 + 6755399441055744.0  # 1.5 * 2**52
    k = shifted - 6755399441055744.0
    return shifted, (x - k * 0.6931471803691238) - k * 1.9082149292705877e-10


@njit(error_model="numpy", fastmath=FAST, forceinline=True)
def _scaled(p: float, shifted: float) -> float:
    """P times 2**k, k added to the exponent bits."""
    y: float = double_of(bits_of(p) + (bits_of(shifted) << 52))  # type: ignore[call-arg]
    return y


@njit(error_model="numpy", fastmath=FAST, forceinline=True)
def _ranged(x: float, y: float) -> float:
    """Y = e**x where that is a normal double, and 0 or infinity elsewhere."""
    y = 0.0 if x < -708.39 else y
    infinity: float = double_of(0x7FF0000000000000)  # type: ignore[call-arg]
    return infinity if x > 709.782712893384 else y


@njit(error_model="numpy", fastmath=FAST, forceinline=True)
def fast_exp(x: float) -> float:
    """e**x, with e**r = 1 + r + r**2 q(r). Results below the smallest normal double (2.2e-308) are 0.

    q interpolates (e**r - 1 - r) / r**2 at Chebyshev nodes; the relative error of the polynomial is 1.6e-17.
    """
    shifted, r = _reduced(x)
    q = 2.510038549551032e-08
    q = q * r + 2.7620088445409746e-07
    q = q * r + 2.7557268459997064e-06
    q = q * r + 2.4801521295954376e-05
    q = q * r + 0.00019841269863053618
    q = q * r + 0.0013888888917213717
    q = q * r + 0.008333333333330062
    q = q * r + 0.04166666666662413
    q = q * r + 0.16666666666666669
    q = q * r + 0.5
    return _ranged(x, _scaled((r * r) * q + r + 1.0, shifted))


@njit(error_model="numpy", fastmath=FAST, forceinline=True)
def quick_exp(x: float) -> float:
    """``fast_exp`` within 3 ulp and with two operations less, for steps, half of whose time it takes.

    The polynomial interpolates e**r at Chebyshev nodes, of which one is 0: e**0 is 1, so that what rests stays at rest.
    Its relative error is 3.5e-16. The range is whole: an infinity is what tells a step that went astray.
    """
    shifted, r = _reduced(x)
    p = 2.7626371065696354e-07
    p = p * r + 2.764019739169484e-06
    p = p * r + 2.480150431378554e-05
    p = p * r + 0.00019841170230570286
    p = p * r + 0.001388888893251478
    p = p * r + 0.008333333385699212
    p = p * r + 0.041666666666573066
    p = p * r + 0.16666666666554314
    p = p * r + 0.5000000000000006
    p = p * r + 1.0000000000000067
    p = p * r + 1.0
    return _ranged(x, _scaled(p, shifted))


@njit(error_model="numpy", fastmath=FAST, forceinline=True)
def fast_log(x: float) -> float:
    """Ln x after fdlibm: x = 2**k (1 + f), ln(1 + f) by the series in f / (2 + f)."""
    small = x < 2.2250738585072014e-308
    scaled = x * 18014398509481984.0 if small else x  # 2**54 lifts subnormals
    bits: int = bits_of(scaled)  # type: ignore[call-arg]
    # Halves the interval at sqrt(1/2), so that f lies in (-0.293, 0.414).
    shifted = bits - 0x3FE6A09E667F3BCD
    k = double_of(((shifted >> 52) + 4096) | 0x4330000000000000) - 4503599627374592.0
    m = double_of(bits - ((shifted >> 52) << 52))
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    series = 1.479819860511658591e-01
    series = series * z + 1.531383769920937332e-01
    series = series * z + 1.818357216161805012e-01
    series = series * z + 2.222219843214978396e-01
    series = series * z + 2.857142874366239149e-01
    series = series * z + 3.999999999940941908e-01
    series = series * z + 6.666666666666735130e-01
    series = series * z
    k = k - 54.0 if small else k
    half_square = 0.5 * f * f
    y = k * 6.93147180369123816490e-01 - (
        (half_square - (s * (half_square + series) + k * 1.90821492927058770002e-10)) - f
    )
    y = x if x > 1.7976931348623157e308 else y
    y = -double_of(0x7FF0000000000000) if x == 0.0 else y
    y = double_of(0x7FF8000000000000) if x < 0.0 else y
    return y if x == x else x
