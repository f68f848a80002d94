"""exp and log without branches or calls, so that a loop over lanes becomes packed instructions.

Both handle the full range of doubles, infinities and NaN; their error against correctly rounded results is below 2 ulp
(see tests/test_arithmetic.py). Reassociation would break the rounding tricks, so only contraction (fused
multiply-add) and the sign of zero are relaxed.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

FAST = {"contract", "nsz"}


@intrinsic
def bits_of(typingctx: Any, value: Any) -> Any:  # noqa: ARG001
    """The 64 bits of a double as an integer."""
    return types.int64(types.float64), lambda ctx, b, sig, args: b.bitcast(args[0], ir.IntType(64))


@intrinsic
def double_of(typingctx: Any, value: Any) -> Any:  # noqa: ARG001
    """The double with these 64 bits."""
    return types.float64(types.int64), lambda ctx, b, sig, args: b.bitcast(args[0], ir.DoubleType())


@njit(error_model="numpy", fastmath=FAST, forceinline=True)
def fast_exp(x: float) -> float:
    """e**x: x = k ln2 + r, the Taylor polynomial of e**r for |r| <= 0.347, times 2**k in two factors."""
    x = 710.0 if x > 710.0 else x  # e**710 overflows by itself, e**-746 underflows; NaN passes both comparisons
    x = -746.0 if x < -746.0 else x
    shifted = x * 1.4426950408889634 + 6755399441055744.0  # 1.5 * 2**52: the low bits now hold the rounded k
    k = shifted - 6755399441055744.0
    r = (x - k * 0.6931471803691238) - k * 1.9082149292705877e-10
    p = 1.6059043836821613e-10
    p = p * r + 2.08767569878681e-09
    p = p * r + 2.505210838544172e-08
    p = p * r + 2.755731922398589e-07
    p = p * r + 2.7557319223985893e-06
    p = p * r + 2.48015873015873e-05
    p = p * r + 0.0001984126984126984
    p = p * r + 0.001388888888888889
    p = p * r + 0.008333333333333333
    p = p * r + 0.041666666666666664
    p = p * r + 0.16666666666666666
    p = p * r + 0.5
    p = p * r * r + r + 1.0
    power = (bits_of(shifted) << 32) >> 32
    half = power >> 1
    return p * double_of((half + 1023) << 52) * double_of((power - half + 1023) << 52)


@njit(error_model="numpy", fastmath=FAST, forceinline=True)
def fast_log(x: float) -> float:
    """ln x after fdlibm: x = 2**k (1 + f), ln(1 + f) by the series in f / (2 + f)."""
    small = x < 2.2250738585072014e-308
    scaled = x * 18014398509481984.0 if small else x  # 2**54 lifts subnormals
    bits = bits_of(scaled)
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
