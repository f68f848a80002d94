"""The coefficients satisfy the conditions of their methods: order, dense-output order, stiff accuracy, L-stability."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from reference import rosenbrock

from cartsim.engine import start, tableau

S = tableau.STAGES


def trees(nodes: int) -> list[tuple]:
    """Rooted trees with this many nodes, as nested tuples of children."""
    if nodes == 1:
        return [()]
    found = set()
    for parts in itertools.chain.from_iterable(
        itertools.combinations_with_replacement(range(1, nodes), k) for k in range(1, nodes)
    ):
        if sum(parts) == nodes - 1:
            for children in itertools.product(*(trees(p) for p in parts)):
                found.add(tuple(sorted(children)))
    return sorted(found)


def size(tree: tuple) -> int:
    return 1 + sum(size(child) for child in tree)


def density(tree: tuple) -> int:
    return size(tree) * math.prod(density(child) for child in tree)


def weight(tree: tuple, several: np.ndarray, single: np.ndarray) -> np.ndarray:
    """Elementary weight of each stage: ``single`` joins an only child, ``several`` one of many."""
    matrix = single if len(tree) == 1 else several
    value = np.ones(len(several))
    for child in tree:
        value = value * (matrix @ weight(child, several, single))
    return value


def worst(b: np.ndarray, order: int, several: np.ndarray, single: np.ndarray, theta: float = 1.0) -> float:
    """Largest violation of the conditions of one order at theta."""
    return max(abs(b @ weight(tree, several, single) - theta**order / density(tree)) for tree in trees(order))


def test_there_are_as_many_trees_as_theory_says() -> None:
    assert [len(trees(n)) for n in range(1, 7)] == [1, 1, 2, 4, 9, 20]


@pytest.mark.parametrize("order", range(1, 6))
def test_rodas_has_order_five(order: int) -> None:
    alpha, gamma, b, _ = rosenbrock()
    assert worst(b, order, alpha, alpha + gamma) < 1e-12


def test_rodas_does_not_have_order_six() -> None:
    alpha, gamma, b, _ = rosenbrock()
    assert worst(b, 6, alpha, alpha + gamma) > 1e-6


def test_what_estimates_the_error_has_order_four() -> None:
    alpha, gamma, _, embedded = rosenbrock()
    assert max(worst(embedded, order, alpha, alpha + gamma) for order in range(1, 5)) < 1e-12
    assert worst(embedded, 5, alpha, alpha + gamma) > 1e-6


@pytest.mark.parametrize("theta", [0.1, 0.35, 0.5, 0.8, 0.99])
def test_dense_output_has_order_four(theta: float) -> None:
    alpha, gamma, b, _ = rosenbrock()
    dense = sum(theta**m * np.array(row) for m, row in enumerate(tableau.DENSE)) @ gamma
    at_theta = theta * b + theta * (1 - theta) * dense
    assert max(worst(at_theta, order, alpha, alpha + gamma, theta) for order in range(1, 5)) < 1e-11


def test_times_of_the_stages_are_row_sums() -> None:
    alpha, gamma, _, _ = rosenbrock()
    np.testing.assert_allclose(alpha.sum(axis=1), tableau.NODES, atol=1e-13)
    np.testing.assert_allclose(gamma.sum(axis=1), tableau.DRIFT, atol=1e-12)
    np.testing.assert_allclose(np.diag(gamma), tableau.GAMMA, atol=1e-15)


def test_rodas_is_stiffly_accurate_and_l_stable() -> None:
    alpha, gamma, b, _ = rosenbrock()
    beta = alpha + gamma
    np.testing.assert_allclose(beta[-1], b, atol=1e-12)

    def stability(z: complex) -> float:
        return abs(1 + z * b @ np.linalg.solve(np.eye(S) - z * beta, np.ones(S)))

    assert stability(-1e9) < 1e-7
    for angle in np.linspace(np.pi / 2, np.pi, 9):
        for radius in 10.0 ** np.linspace(-2, 4, 61):
            assert stability(radius * np.exp(1j * angle)) <= 1 + 1e-9


def test_the_explicit_start_has_order_five() -> None:
    a = start.A
    square = np.zeros((7, 7))
    square[:, :6] = a
    b = square[-1]  # the last stage stands at the end of the step
    assert max(worst(b, order, square, square) for order in range(1, 6)) < 1e-13
    assert worst(b, 6, square, square) > 1e-6
    embedded = b - start.E
    assert max(worst(embedded, order, square, square) for order in range(1, 5)) < 1e-13
    assert worst(embedded, 5, square, square) > 1e-6
    np.testing.assert_allclose(square.sum(axis=1), start.C, atol=1e-14)
