"""Exact null spaces over the field of rational functions of the parameters.

Used to find linear relations with constant coefficients: the columns are candidates, the rows the monomials of their time
derivatives. Vectors are normalised by content: polynomial entries without a common factor, integers coprime.
Imported by `derive.invariants`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import sympy as sp
from sympy import QQ
from sympy.polys.matrices import DomainMatrix


def null_vectors(columns: Sequence[Mapping[Any, sp.Expr]]) -> tuple[tuple[sp.Expr, ...], ...]:
    """All coefficient vectors v with sum_j v_j columns[j] = 0, one per free column, in reduced echelon order.

    >>> a = sp.Symbol("a")
    >>> null_vectors([{"x": a, "y": sp.Integer(2)}, {"x": -a * a, "y": -2 * a}])
    ((a, 1),)
    """
    if not columns:
        return ()
    keys = list(dict.fromkeys(k for column in columns for k in column))
    if not keys:
        return tuple(tuple(sp.Integer(int(i == j)) for j in range(len(columns))) for i in range(len(columns)))
    rows: list[dict[int, sp.Expr]] = [{} for _ in keys]
    at = {k: i for i, k in enumerate(keys)}
    for j, column in enumerate(columns):
        for k, e in column.items():
            if e != 0:
                rows[at[k]][j] = e
    for row in rows:  # a common factor of a row changes nothing; without parameters the rest is rational
        lead = next(iter(row.values()), sp.Integer(1))
        row.update({j: e / lead for j, e in row.items()})
    if all(e.is_Rational for row in rows for e in row.values()):
        entries = {i: {j: QQ(int(e.p), int(e.q)) for j, e in row.items()} for i, row in enumerate(rows) if row}
        matrix = DomainMatrix(entries, (len(rows), len(columns)), QQ)
    else:
        dense = [[row.get(j, sp.Integer(0)) for j in range(len(columns))] for row in rows]
        matrix = DomainMatrix.from_list_sympy(len(rows), len(columns), dense).to_field().to_sparse()
    basis = matrix.nullspace().to_dense().to_Matrix()
    return tuple(_normal(list(basis.row(i))) for i in range(basis.rows))


def _normal(vector: list[sp.Expr]) -> tuple[sp.Expr, ...]:
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
