"""Roots of symbols made into symbols: with P = g^2 an expression in sqrt(P) and P is a polynomial in g.

Imported by `derive.algebra.nullspace` and `derive.invariants.darboux_field`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import lcm

import sympy as sp


def roots_in(exprs: Iterable[sp.Expr]) -> dict[sp.Symbol, int]:
    """Symbols with fractional exponents, and the common denominator of these.

    >>> x, y = sp.symbols("x y", positive=True)
    >>> roots_in([sp.sqrt(x) * y, x ** sp.Rational(1, 3)])
    {x: 6}
    """
    out: dict[sp.Symbol, int] = {}
    for e in exprs:
        for p in sorted(e.atoms(sp.Pow), key=str):
            if isinstance(p.base, sp.Symbol) and isinstance(p.exp, sp.Rational) and p.exp.q != 1:
                out[p.base] = lcm(out.get(p.base, 1), int(p.exp.q))
    return out


def rooted(e: sp.Expr, forward: Mapping[sp.Symbol, sp.Expr]) -> sp.Expr:
    """e with x = g^q for the items ``x: g**q``; powers of powers are multiplied out, g being positive."""
    powers = {
        p: forward[p.base].base ** (forward[p.base].exp * p.exp)
        for p in e.atoms(sp.Pow)
        if p.base in forward and isinstance(p.exp, sp.Rational)
    }
    return e.xreplace(powers).xreplace(dict(forward))
