"""exp and log of the engine: correct to 2 ulp everywhere, and compiled to packed instructions."""

from __future__ import annotations

import re

import llvmlite.binding as llvm
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from cartsim.engine.arithmetic import FAST, fast_exp, fast_log, quick_exp

LOWEST_SUBNORMAL, LOWEST_NORMAL = 5e-324, 2.2250738585072014e-308
LARGEST = np.finfo(float).max


@njit
def exp_of(x):
    return [fast_exp(v) for v in x]


@njit
def quick_exp_of(x):
    return [quick_exp(v) for v in x]


@njit
def log_of(x):
    return [fast_log(v) for v in x]


def errors_in_ulp(found: np.ndarray, x: np.ndarray, exact) -> np.ndarray:
    """Distance of each result from the exact value, in units of the last place of its double."""
    with mpmath.workprec(200):
        differences = [abs(mpmath.mpf(f) - exact(mpmath.mpf(v))) for f, v in zip(found, x, strict=True)]
        return np.array([float(d / mpmath.mpf(np.spacing(abs(f)))) for d, f in zip(differences, found, strict=True)])


def exp_arguments() -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.concatenate(
        [
            rng.uniform(-708.39, 709.78, 4000),
            rng.uniform(-1, 1, 2000),
            rng.choice([-1, 1], 1000) * 10.0 ** rng.uniform(-320, 0, 1000),
            (np.arange(-1021, 1023) + 0.5) * np.log(2),  # where the reduction changes its k
            [0.0, -0.0, 709.782712893384, 709.0, -708.39, -708.0],
        ]
    )


def log_arguments() -> np.ndarray:
    rng = np.random.default_rng(2)
    near_one = 1 + rng.choice([-1, 1], 2000) * 10.0 ** rng.uniform(-16, -0.3, 2000)
    return np.concatenate(
        [
            10.0 ** rng.uniform(-307, 308, 4000),
            rng.uniform(LOWEST_SUBNORMAL, LOWEST_NORMAL, 500),
            10.0 ** rng.uniform(-323, -308, 500),
            near_one,
            2.0 ** np.arange(-1074, 1024),
            np.sqrt(2) * 2.0 ** np.arange(-1000, 1000),  # where the reduction changes its k
            [LOWEST_SUBNORMAL, LOWEST_NORMAL, LARGEST, 1.0, np.nextafter(1, 0), np.nextafter(1, 2)],
        ]
    )


def test_exp_is_within_two_ulp() -> None:
    x = exp_arguments()
    errors = errors_in_ulp(np.array(exp_of(x)), x, mpmath.exp)
    assert errors.max() <= 2, x[errors.argmax()]


def test_log_is_within_two_ulp() -> None:
    x = log_arguments()
    errors = errors_in_ulp(np.array(log_of(x)), x, mpmath.log)
    assert errors.max() <= 2, x[errors.argmax()]


@given(st.floats(-708.39, 709.78))
def test_exp_of_any_number_is_within_two_ulp(x: float) -> None:
    assert errors_in_ulp(np.array(exp_of(np.array([x]))), np.array([x]), mpmath.exp)[0] <= 2


@given(st.floats(LOWEST_SUBNORMAL, LARGEST))
def test_log_of_any_number_is_within_two_ulp(x: float) -> None:
    assert errors_in_ulp(np.array(log_of(np.array([x]))), np.array([x]), mpmath.log)[0] <= 2


def test_the_exp_of_steps_is_within_three_ulp() -> None:
    x = exp_arguments()
    errors = errors_in_ulp(np.array(quick_exp_of(x)), x, mpmath.exp)
    assert errors.max() <= 3, x[errors.argmax()]


def test_exp_that_would_be_subnormal_is_zero() -> None:
    x = np.concatenate([np.linspace(-708.3964, -746, 1000), -(10.0 ** np.linspace(2.9, 308, 1000))])
    np.testing.assert_array_equal(exp_of(x), 0.0)
    np.testing.assert_array_equal(quick_exp_of(x), 0.0)


def test_exp_at_the_ends_of_the_range() -> None:
    x = np.array([np.inf, 710.0, 1e4, LARGEST, -746.0, -1e5, -LARGEST, -np.inf, 0.0, np.nan])
    expected = np.array([np.inf, np.inf, np.inf, np.inf, 0, 0, 0, 0, 1, np.nan])
    np.testing.assert_array_equal(exp_of(x), expected)
    np.testing.assert_array_equal(quick_exp_of(x), expected)


def test_log_at_the_ends_of_the_range() -> None:
    x = np.array([np.inf, 0.0, -0.0, -LOWEST_SUBNORMAL, -1.0, -LARGEST, -np.inf, 1.0, np.nan])
    expected = np.array([np.inf, -np.inf, -np.inf, np.nan, np.nan, np.nan, np.nan, 0, np.nan])
    np.testing.assert_array_equal(log_of(x), expected)


def test_exp_and_log_undo_each_other() -> None:
    x = np.linspace(-700, 700, 2001)
    np.testing.assert_allclose(log_of(np.array(exp_of(x))), x, rtol=4e-16, atol=2e-16)


@pytest.mark.skipif("+avx2" not in llvm.get_host_cpu_features().flatten(), reason="no AVX2 on this processor")
@pytest.mark.parametrize("function", [fast_exp, quick_exp, fast_log])
def test_a_loop_over_them_is_packed(function) -> None:
    @njit("void(float64[::1])", error_model="numpy", fastmath=FAST)
    def loop(w):
        for i in range(1600):  # a short loop would be unrolled before it can be packed
            w[1600 + i] = function(w[i])

    assembly = "\n".join(loop.inspect_asm().values())
    packed = len(re.findall(r"\bv(?:mul|add|sub|div|fn?m(?:add|sub)\d+)pd\b.*[yz]mm", assembly))
    single = len(re.findall(r"\bv(?:mul|add|sub|div|fn?m(?:add|sub)\d+)sd\b", assembly))
    assert packed >= 10
    assert single == 0
    assert not re.findall(r"\bcallq?\b.*\b(?:exp|log)\b", assembly)
