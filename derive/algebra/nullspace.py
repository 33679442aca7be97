"""Exact null spaces over the field of rational functions of the parameters.

Used to find linear relations with constant coefficients: the columns are candidates, the rows the monomials of their time
derivatives. Vectors are normalised by content: polynomial entries without a common factor, integers coprime.
Imported by `derive.invariants.search`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import sympy as sp
from sympy import QQ
from sympy.polys.matrices import DomainMatrix

from derive.algebra.radicals import rooted, roots_in


def null_vectors(columns: Sequence[Mapping[Any, sp.Expr]]) -> tuple[tuple[sp.Expr, ...], ...]:
    """All coefficient vectors v with sum_j v_j columns[j] = 0, one per free column, in reduced echelon order.

    >>> a = sp.Symbol("a")
    >>> null_vectors([{"x": a, "y": sp.Integer(2)}, {"x": -a * a, "y": -2 * a}])
    ((a, 1),)
    """
    keys = list(dict.fromkeys(k for column in columns for k in column))
    if not keys:
        return tuple(tuple(sp.Integer(int(i == j)) for j in range(len(columns))) for i in range(len(columns)))
    entries, back = _without_roots(columns)
    rows = _rows(entries, keys)
    if all(e.is_Rational for row in rows for e in row.values()):
        return _vectors(_rational(rows, len(columns)).nullspace(), range(len(columns)), len(columns))
    support = _support(rows, len(columns))
    if not support:
        return ()
    dense = [[row.get(j, sp.Integer(0)) for j in support] for row in rows]
    matrix = DomainMatrix.from_list_sympy(len(rows), len(support), dense).to_field().to_sparse()
    found = _vectors(matrix.nullspace(), support, len(columns))
    return tuple(tuple(v.xreplace(back) for v in vector) for vector in found) if back else found


def _without_roots(
    columns: Sequence[Mapping[Any, sp.Expr]],
) -> tuple[list[dict[Any, sp.Expr]], dict[sp.Symbol, sp.Expr]]:
    """The entries as rational functions: a symbol with roots is a power of a new one."""
    forward: dict[sp.Symbol, sp.Expr] = {}
    back: dict[sp.Symbol, sp.Expr] = {}
    for x, q in roots_in(e for column in columns for e in column.values()).items():
        g = sp.Dummy(f"{x}_root", positive=True)
        forward[x], back[g] = g**q, x ** sp.Rational(1, q)
    if not forward:
        return [dict(column) for column in columns], {}
    return [{k: rooted(e, forward) for k, e in column.items()} for column in columns], back


def _rows(columns: Sequence[Mapping[Any, sp.Expr]], keys: Sequence[Any]) -> list[dict[int, sp.Expr]]:
    rows: list[dict[int, sp.Expr]] = [{} for _ in keys]
    at = {k: i for i, k in enumerate(keys)}
    for j, column in enumerate(columns):
        for k, e in column.items():
            if e != 0:
                rows[at[k]][j] = e
    for row in rows:  # a common factor of a row changes nothing; without parameters the rest is rational
        lead = next(iter(row.values()), sp.Integer(1))
        row.update({j: e / lead for j, e in row.items()})
    return rows


def _rational(rows: Sequence[Mapping[int, sp.Expr]], width: int) -> DomainMatrix:
    entries = {i: {j: QQ(int(e.p), int(e.q)) for j, e in row.items() if e != 0} for i, row in enumerate(rows)}
    return DomainMatrix({i: row for i, row in entries.items() if row}, (len(rows), width), QQ)


def _support(rows: Sequence[Mapping[int, sp.Expr]], width: int) -> list[int]:
    """Columns in which a null vector may have an entry: those of the null space at random integer parameters.

    If there is none the null space is trivial, since the rank at a point is at most the rank. An accident, by which an entry
    vanishes at the point alone, can lose a vector, but never make a wrong one.
    """
    rng = random.Random(17)
    names = sorted({s for row in rows for e in row.values() for s in e.free_symbols}, key=str)
    at = {s: sp.Integer(rng.randint(10**6, 10**7)) for s in names}
    fixed = [{j: e.xreplace(at) for j, e in row.items()} for row in rows]
    if not all(e.is_Rational for row in fixed for e in row.values()):
        return list(range(width))
    basis = _rational(fixed, width).nullspace().to_dense().to_Matrix()
    return [j for j in range(width) if any(basis[i, j] != 0 for i in range(basis.rows))]


def _vectors(basis: DomainMatrix, support: Sequence[int], width: int) -> tuple[tuple[sp.Expr, ...], ...]:
    """Rows of a basis, normalised, with zeros outside the support."""
    matrix = basis.to_dense().to_Matrix()
    out = []
    for i in range(matrix.rows):
        entries = dict(zip(support, primitive(list(matrix.row(i))), strict=True))
        out.append(tuple(entries.get(j, sp.Integer(0)) for j in range(width)))
    return tuple(out)


def primitive(vector: list[sp.Expr]) -> tuple[sp.Expr, ...]:
    """Clear denominators, divide by the content, first entry with a positive leading coefficient."""
    pairs = [sp.fraction(sp.cancel(v)) for v in vector]
    common = reduce(sp.lcm, (d for _, d in pairs), sp.Integer(1))
    whole = [sp.expand(sp.cancel(n * common / d)) for n, d in pairs]
    content = reduce(sp.gcd, whole, sp.Integer(0))
    out = [sp.expand(sp.cancel(w / content)) for w in whole]
    lead = next(w for w in out if w != 0)
    names = sorted(lead.free_symbols, key=str)
    negative = (sp.Poly(lead, *names).LC() if names else lead) < 0
    return tuple(-w for w in out) if negative else tuple(out)


def rank(rows: Sequence[Sequence[Any]]) -> int:
    """Rank of a matrix of integers or fractions, exactly."""
    if not rows or not rows[0]:
        return 0
    entries = [[sp.Rational(v.numerator, v.denominator) for v in row] for row in rows]
    return int(DomainMatrix.from_list_sympy(len(entries), len(entries[0]), entries).to_field().rank())
