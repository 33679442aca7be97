"""Averages over erf and sign fields as papers print them, for claims: I2, I3, I4 and J2 of D. Saad, S. A. Solla, Phys. Rev. E
52 (1995) 4225, for fields with a covariance ``cov(a, b)``; ``soft(a)`` is 1 for erf(z / sqrt 2) and 0 for sgn(z).

Claims only: no pass imports this file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy as sp

Field = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Averages:
    """The printed averages for one covariance function."""

    cov: Callable[[Field, Field], Any]
    soft: Callable[[Field], int] = lambda field: 1

    def variance(self, a: Field) -> Any:
        """Variance of a field, of an erf field with its softness."""
        return self.soft(a) + self.cov(a, a)

    def i2(self, a: Field, b: Field) -> Any:
        """< g(a) g(b) >."""
        return 2 / sp.pi * sp.asin(self.cov(a, b) / sp.sqrt(self.variance(a) * self.variance(b)))

    def j2(self, a: Field, b: Field) -> Any:
        """< g'(a) g'(b) >."""
        return 2 / sp.pi / sp.sqrt(self.variance(a) * self.variance(b) - self.cov(a, b) ** 2)

    def i3(self, a: Field, b: Field, c: Field) -> Any:
        """< g'(a) b g(c) >."""
        cov, x = self.cov, self.variance(a)
        root = sp.sqrt(x * self.variance(c) - cov(a, c) ** 2)
        return 2 / sp.pi * (cov(b, c) * x - cov(a, b) * cov(a, c)) / root / x

    def i4(self, a: Field, b: Field, c: Field, d: Field) -> Any:
        """< g'(a) g'(b) g(c) g(d) >."""
        cov, x, y, z = self.cov, self.variance(a), self.variance(b), self.cov(a, b)
        det = x * y - z**2

        def inner(p: Field, q: Field, pq: Any) -> Any:
            cross = cov(a, p) * cov(b, q) + cov(a, q) * cov(b, p)
            return det * pq - cov(b, p) * cov(b, q) * x - cov(a, p) * cov(a, q) * y + z * cross

        angle = inner(c, d, cov(c, d)) / sp.sqrt(inner(c, c, self.variance(c)) * inner(d, d, self.variance(d)))
        return 4 / sp.pi**2 / sp.sqrt(det) * sp.asin(angle)


def two_task_rates(weights: tuple[Any, Any]) -> dict[Any, Any]:
    """Rates of a student with two heads; each step uses task i with the weight (0, 1 or a probability) w_i."""
    k, l, n, i, j = sp.symbols("k l n i j", integer=True)
    K, M1, M2 = sp.symbols("K M1 M2", integer=True, positive=True)
    eta, eta_h = sp.symbols("eta eta_h", positive=True)
    Q, R1, R2, T1, T12, T2, h1, h2, A1, A2 = (
        sp.IndexedBase(name) for name in ("Q_W", "R_W_B1", "R_W_B2", "T_B1", "T_B1_B2", "T_B2", "h1", "h2", "A1", "A2")
    )
    R, T, heads, outs, sizes = ({1: a, 2: b} for a, b in ((R1, R2), (T1, T2), (h1, h2), (A1, A2), (M1, M2)))

    def cov(a: Field, b: Field) -> Any:
        (f, p), (g, q) = sorted((a, b), key=lambda field: field[0])
        if f == 0:
            return Q[p, q] if g == 0 else R[g][p, q]
        return T[f][p, q] if f == g else T12[p, q]

    av = Averages(cov=cov)

    def total(task: int, term: Callable[[Field], Any], label: Any) -> Any:
        """Sum over students with the weights of the head, and over the teacher's units with minus its weights."""
        return sp.Sum(heads[task][label] * term((0, label)), (label, 1, K)) - sp.Sum(
            outs[task][label] * term((task, label)),
            (label, 1, sizes[task]),
        )

    def pull(task: int, row: Any, field: Field) -> Any:
        return -eta * heads[task][row] * total(task, lambda c: av.i3((0, row), field, c), i)

    def noise(task: int) -> Any:
        square = total(task, lambda c: total(task, lambda d: av.i4((0, k), (0, l), c, d), j), i)
        return eta**2 * heads[task][k] * heads[task][l] * square

    pairs = tuple(zip((1, 2), weights, strict=True))
    moved = {R[t][k, n]: sum(w * pull(u, k, (t, n)) for u, w in pairs) for t in (1, 2)}
    moved[Q[k, l]] = sum(w * (pull(u, k, (0, l)) + pull(u, l, (0, k)) + noise(u)) for u, w in pairs)
    for u, w in pairs:
        moved[heads[u][k]] = -eta_h * w * total(u, lambda c: av.i2((0, k), c), i)
    return moved
