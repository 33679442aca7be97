"""Solution of  x' = sqrt(m + n x^2) (A - B x)  with n > 0, which is not a sum of powers of x.

With  y = sqrt(m + n x^2) + sqrt(n) x  the root disappears:  x = (y - m/y) / (2 sqrt n)  and

    y' = B m / 2 + sqrt(n) A y - (B/2) y^2,

a Riccati equation with constant coefficients. Imported by `derive.solutions.solve`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import sympy as sp

from derive.solutions.closed_explicit import Array, Solved, riccati, riccati_value


def root_times_affine(f: sp.Expr, x: sp.Symbol, x0: sp.Symbol, t: sp.Symbol) -> Solved | None:
    """The solution if f has this shape, else None.

    >>> x, x0, s, t = sp.symbols("x x0 s t", real=True)
    >>> root_times_affine(sp.sqrt(1 + 4 * x**2) * (s - x), x, x0, t).shape
    'root of a quadratic times affine'
    """
    roots, rest = [], sp.Integer(1)
    for factor in sp.Mul.make_args(sp.factor_terms(f)):
        if isinstance(factor, sp.Pow) and factor.exp == sp.Rational(1, 2) and factor.has(x):
            roots.append(factor.base)
        else:
            rest *= factor
    rest = sp.expand(rest)
    if len(roots) != 1 or not roots[0].is_polynomial(x) or not rest.is_polynomial(x):
        return None
    inside, outside = sp.Poly(sp.expand(roots[0]), x), sp.Poly(rest, x)
    m, middle, n = (inside.coeff_monomial(x**k) for k in range(3))
    if inside.degree() != 2 or outside.degree() > 1 or middle != 0 or n.is_positive is not True:
        return None
    a, b = outside.coeff_monomial(1), -outside.coeff_monomial(x)
    k = sp.sqrt(n)
    y0 = sp.sqrt(m + n * x0**2) + k * x0
    inner = riccati(b * m / 2, k * a, -b / 2, y0, t)
    assert inner.explicit is not None  # the Riccati shape always has one
    y = inner.explicit
    return Solved(
        shape="root of a quadratic times affine",
        explicit=(y - m / y) / (2 * k),
        coefficients={**inner.coefficients, "m": m, "n": n},
        advance=_advance,
        domain="all starts if m + n x^2 > 0, up to a blow-up",
    )


def _advance(t: Array, x0: Array, v: Mapping[str, Array]) -> Array:
    """Through y, or for x0 < 0 through the y of -x, whose equation has the linear term of opposite sign."""
    m, n, k = v["m"], v["n"], np.sqrt(v["n"])
    side = np.where(np.asarray(x0) < 0, -1.0, 1.0)
    size = np.abs(x0)
    y0 = np.sqrt(m + n * size * size) + k * size
    y = riccati_value(t, y0, {"A": v["A"], "B": side * v["B"], "C": v["C"]})
    with np.errstate(divide="ignore", invalid="ignore"):
        return side * np.where(y0 == 0, 0.0, (y - np.where(y == 0, 0.0, m / y)) / (2 * k))
