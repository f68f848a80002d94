"""Correlation and covariance matrices as users give them, checked, and their roots."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError, brief

if TYPE_CHECKING:
    import pandas as pd


def correlation_pairs(
    correlation: Mapping[tuple[str, str], float] | pd.DataFrame | None,
) -> dict[tuple[str, str], float]:
    """Correlations by pair of names, each pair in both orders."""
    if correlation is None:
        return {}
    if isinstance(correlation, Mapping):
        pairs = dict(correlation)
    else:
        if not hasattr(correlation, "columns"):
            raise InputError(f'correlation is {brief(correlation)}; give a mapping, such as {{("K12", "K21"): 0.5}}')
        names, matrix = symmetric(correlation, "correlation")
        pairs = {(a, b): float(matrix[i, j]) for i, a in enumerate(names) for j, b in enumerate(names)}
    # Correlations that were computed miss 1 and symmetry by rounding; hence the small tolerance.
    for pair, rho in pairs.items():
        if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(rho, Real)):
            raise InputError(f'correlation: {brief(pair)}: {brief(rho)}; write pairs of names, ("K12", "K21"): 0.5')
    for (a, b), rho in pairs.items():
        if a == b and not abs(rho - 1) < 1e-8:
            raise InputError(f"correlation: {a} with itself is {rho:g}; the diagonal must be 1")
        if not abs(rho) < 1 + 1e-8:
            raise InputError(f"correlation: {a} with {b} is {rho:g}; a correlation is a number from -1 to 1")
        if not abs(pairs.get((b, a), rho) - rho) < 1e-8:
            raise InputError(f"correlation: {a} with {b} is {rho:g} and also {pairs[b, a]:g}; give one")
    return pairs | {(b, a): rho for (a, b), rho in pairs.items()}


def symmetric(frame: pd.DataFrame, what: str) -> tuple[list[str], NDArray[np.float64]]:
    """Names and values of a symmetric matrix given as a frame."""
    names = list(frame.columns)
    if len(set(names)) < len(names) or len(frame) != len(names) or set(frame.index) != set(names):
        raise InputError(f"{what}: the matrix needs the same names as index and columns, each once")
    try:
        matrix = frame.loc[names].to_numpy(dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{what}: the matrix must hold numbers only") from None
    if not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T, rtol=1e-8, atol=0):
        raise InputError(f"{what}: the matrix must be finite and symmetric")
    return names, (matrix + matrix.T) / 2


def symmetric_root(matrix: NDArray[np.float64], what: str) -> NDArray[np.float64]:
    """The symmetric A with A @ A = matrix: singular matrices have it too, and the order of names is free."""
    values, vectors = np.linalg.eigh(matrix)
    if values.size and values[0] < -1e-10 * max(values[-1], 0.0):
        raise InputError(
            f"{what}: the matrix is not positive semidefinite (smallest eigenvalue {values[0]:.3g}); "
            "bring its entries off the diagonal nearer to 0"
        )
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
