"""Averages over linear units as papers print them, and the error of a linear student, for claims.

Claims only: no pass imports this file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy as sp

from derive.catalog.claims_of_erf_networks import Field
from derive.claims.entry import Published


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearAverages:
    """The averages of `claims_of_erf_networks` for g(z) = z."""

    cov: Callable[[Field, Field], Any]

    def i2(self, a: Field, b: Field) -> Any:
        """< a b >."""
        return self.cov(a, b)

    def j2(self, a: Field, b: Field) -> Any:
        """< 1 >."""
        return sp.S.One

    def i3(self, a: Field, b: Field, c: Field) -> Any:
        """< b c >."""
        return self.cov(b, c)

    def i4(self, a: Field, b: Field, c: Field, d: Field) -> Any:
        """< c d >."""
        return self.cov(c, d)


def linear_error() -> Published:
    """E = |sum_k v_k w_k - sum_m A_m w*_m|^2 / N obeys  E' = -2 eta V E + eta^2 V^2 (E + sigma^2),  V = sum_k v_k^2 fixed."""
    K, M = sp.symbols("K M", integer=True, positive=True)
    k, l, m, n = sp.symbols("k l m n", integer=True)
    eta, sigma, E = sp.symbols("eta sigma E", positive=True)
    Q, R, T, v, A = (sp.IndexedBase(name) for name in ("Q", "R", "T", "v", "A"))
    own = sp.Sum(v[k] * v[l] * Q[k, l], (k, 1, K), (l, 1, K))
    asked = sp.Sum(A[m] * A[n] * T[m, n], (m, 1, M), (n, 1, M))
    error = own - 2 * sp.Sum(v[k] * A[m] * R[k, m], (k, 1, K), (m, 1, M)) + asked
    V = sp.Sum(v[k] ** 2, (k, 1, K))
    rate = -2 * eta * V * E + eta**2 * V**2 * (E + sigma**2)
    return Published("error of the linear student", where={E: error}, rate={E: rate})
