"""Rational functions of an eigenvalue and of parameters, in which sums over modes may stand as letters.

Imported by `derive.recursions.stationary_modes` and `derive.recursions.leading_order`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp

from derive.errors import InvalidSpec, NotClosed, UnsupportedNode


def tidy(e: sp.Expr) -> sp.Expr:
    """A rational function with factored numerator and denominator, the latter positive where all its letters are small."""
    above, below = sp.fraction(sp.factor(e))
    parts, sign = [], sp.Integer(1)
    for f in sp.Mul.make_args(below):
        flip = f.is_Add and _sign(f) < 0
        parts.append(sp.Add(*(-a for a in f.args)) if flip else f)
        sign = -sign if flip else sign
    return sign * above / sp.Mul(*parts)


def _sign(f: sp.Expr) -> int:
    """Sign of the coefficient of the term of lowest degree (the first one of them)."""
    poly = sp.Poly(f, *sorted(f.free_symbols, key=str))
    return -1 if min(poly.terms(), key=lambda term: (sum(term[0]), term[0]))[1].could_extract_minus_sign() else 1


def solved(A: sp.Matrix, B: sp.Matrix, why: str) -> sp.Matrix:
    """A^-1 B over the field of rational functions; sums over modes are letters in it."""
    from sympy.polys.matrices import DomainMatrix
    from sympy.polys.matrices.exceptions import DMNonInvertibleMatrixError

    if not A.shape[0]:
        return B
    sums = sorted({e for m in (A, B) for e in m.atoms(sp.Sum)}, key=sp.default_sort_key)
    there = {e: sp.Dummy(f"sum{i}") for i, e in enumerate(sums)}
    both = DomainMatrix.from_Matrix(A.row_join(B).xreplace(there)).to_field()
    n = A.shape[0]
    left, right = both.extract(range(n), range(n)), both.extract(range(n), range(n, n + B.shape[1]))
    try:
        found = left.lu_solve(right).to_Matrix()
    except DMNonInvertibleMatrixError:
        raise NotClosed(why) from None
    return sp.Matrix(found.applyfunc(sp.factor)).xreplace({v: k for k, v in there.items()})


def value_of(e: sp.Expr, env: Mapping[str, Any]) -> Any:
    """Value of a rational function of h and the parameters, arrays over the modes; sums are over all modes."""
    if e.is_Number:
        return float(e)
    if e is sp.pi:
        return np.pi
    if isinstance(e, sp.Indexed):
        return env[e.base.label.name]
    if e.is_Symbol:
        if e.name not in env:
            raise InvalidSpec(f"stationary: {e.name} has no value; pass values={{{e.name!r}: ...}}")
        return np.asarray(env[e.name], dtype=float) if np.ndim(env[e.name]) else float(env[e.name])
    if isinstance(e, sp.Sum):
        inner = value_of(e.function, env)
        count = int(value_of(e.limits[0][2], env))
        return float(np.sum(np.broadcast_to(inner, (count,))))
    parts = [value_of(a, env) for a in e.args]
    if e.is_Add:
        return sum(parts[1:], parts[0])
    if e.is_Mul:
        out = parts[0]
        for p in parts[1:]:
            out = out * p
        return out
    if e.is_Pow:
        return parts[0] ** parts[1]
    raise UnsupportedNode(f"stationary: {type(e).__name__} in {e} has no value here")
