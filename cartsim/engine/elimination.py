"""LU of (diagonal - J), sparse and written out in full, in an order fixed once a model."""

from __future__ import annotations


class Elimination:
    """The statements that factor and solve, for a Jacobian with a known pattern.

    Pivots stay on the diagonal, in the order with least fill-in (Markowitz). There is no pivoting for size: where a
    pivot vanishes the step's error becomes infinite or NaN, and the integrator tries a smaller step, with which the
    diagonal dominates.
    """

    def __init__(self, n: int, pattern: set[tuple[int, int]]) -> None:
        self.n = n
        self.pattern = pattern
        filled = set(pattern) | {(i, i) for i in range(n)}
        remaining = set(range(n))
        self.plan: list[tuple[int, list[int], list[int]]] = []  # pivot, rows below it, columns right of it
        while remaining:
            pivot = min(remaining, key=lambda p: (_fill_in(p, remaining, filled), p))
            remaining.remove(pivot)
            rows = sorted(i for i in remaining if (i, pivot) in filled)
            columns = sorted(j for j in remaining if (pivot, j) in filled)
            filled.update((i, j) for i in rows for j in columns)
            self.plan.append((pivot, rows, columns))

    def factors(self) -> list[str]:
        """The names that ``solve`` reads."""
        below = [f"m_{i}_{pivot}" for pivot, rows, _ in self.plan for i in rows]
        right = [f"m_{pivot}_{j}" for pivot, _, columns in self.plan for j in columns]
        return [*below, *right, *(f"v_{i}" for i in range(self.n))]

    def factor(self) -> list[str]:
        """From ``diagonal`` and ``j_i_j`` to the factors ``m_i_j`` and the inverse pivots ``v_i``."""
        made = set(self.pattern) | {(i, i) for i in range(self.n)}
        lines = []
        for i, j in sorted(made):
            entry = f"-j_{i}_{j}" if (i, j) in self.pattern else ""
            lines.append(f"m_{i}_{j} = " + (f"diagonal {entry}".strip() if i == j else entry))
        for pivot, rows, columns in self.plan:
            lines.append(f"v_{pivot} = 1.0 / m_{pivot}_{pivot}")
            for i in rows:
                lines.append(f"m_{i}_{pivot} = m_{i}_{pivot} * v_{pivot}")
                for j in columns:
                    before = f"m_{i}_{j} " if (i, j) in made else ""
                    lines.append(f"m_{i}_{j} = {before}- m_{i}_{pivot} * m_{pivot}_{j}")
                    made.add((i, j))
        return lines

    def solve(self, right: list[str], solution: list[str]) -> list[str]:
        """From the right-hand side (overwritten) to the solution, each a list of names."""
        lines = []
        for pivot, rows, _ in self.plan:
            lines += [f"{right[i]} = {right[i]} - m_{i}_{pivot} * {right[pivot]}" for i in rows]
        for pivot, _, columns in reversed(self.plan):
            known = "".join(f" - m_{pivot}_{j} * {solution[j]}" for j in columns)
            lines.append(f"{solution[pivot]} = ({right[pivot]}{known}) * v_{pivot}")
        return lines


def _fill_in(pivot: int, remaining: set[int], filled: set[tuple[int, int]]) -> int:
    """At most so many new entries if this pivot goes next."""
    rows = sum((i, pivot) in filled for i in remaining if i != pivot)
    columns = sum((pivot, j) in filled for j in remaining if j != pivot)
    return rows * columns
