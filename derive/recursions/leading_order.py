"""The rest of a recursion to leading order in a small parameter: lowest powers of rational functions.

    (1 - S) z = s:    every row is divided by its lowest power, the limit of the matrix inverted, the lowest powers of s kept

Sums over modes keep their form: the leading order of a sum of functions of one h is the sum of their leading orders.
Imported by `derive.recursions.stationary_modes`.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.errors import InvalidSpec, NotClosed, UnsupportedNode
from derive.recursions.rational import solved, tidy
from derive.reductions.ansatz import name_of


def leading(made: Any, small: Any) -> dict[str, sp.Expr]:
    """See `Stationary.leading`."""
    name = name_of(small)
    symbol = next((s for s in _symbols(made) if s.name == name), None)
    if symbol is None:
        raise InvalidSpec(f"leading: {name} does not occur in the rest of {made.recursion.name}")
    z = _unknowns(made, symbol)
    out: dict[str, sp.Expr] = {}
    for n, e in made.modes.items():
        terms = sp.Poly(e.as_numer_denom()[0], *made.unknowns).terms() if made.unknowns else [((), e.as_numer_denom()[0])]
        below = _lowest(e.as_numer_denom()[1], symbol)
        parts = []
        for powers, c in terms:
            p, f = _lowest(c, symbol)
            for unknown, k in zip(made.unknowns, powers, strict=True):
                p, f = p + k * z[unknown][0], f * z[unknown][1] ** k
            if f != 0:
                parts.append((p - below[0], f / below[1]))
        out[n] = _sum(n, parts, symbol)
    return out | {x.name: f * symbol**p for x, (p, f) in z.items()}


def _symbols(made: Any) -> list[sp.Symbol]:
    every = [*made.modes.values(), *made.S, *made.s]
    return sorted({s for e in every for s in e.free_symbols if isinstance(s, sp.Symbol)}, key=lambda s: str(s.name))


def _unknowns(made: Any, small: sp.Symbol) -> dict[sp.Symbol, tuple[int, sp.Expr]]:
    """Couplings and numbers: (1 - S) z = s with every row divided by its lowest power of the small parameter."""
    n = len(made.unknowns)
    rows = [[_less(int(i == j), made.S[i, j], small) for j in range(n)] for i in range(n)]
    low = [min((p for p, f in row if f != 0), default=0) for row in rows]
    limit = sp.Matrix(n, n, lambda i, j: rows[i][j][1] if rows[i][j][0] == low[i] else sp.Integer(0))
    why = f"leading: several numbers of {made.recursion.name} are of one order in {small}; evaluate the rest at small values"
    try:
        inverse = solved(limit, sp.eye(n), why)
    except NotClosed:
        raise UnsupportedNode(why) from None
    right = [_power_of(e, small) for e in made.s]
    out = {}
    for j, x in enumerate(made.unknowns):
        parts = [(p - low[i], inverse[j, i] * f) for i, (p, f) in enumerate(right) if f != 0 and inverse[j, i] != 0]
        lowest = min((p for p, _ in parts), default=0)
        out[x] = lowest, sp.Add(*(f for p, f in parts if p == lowest))
    return out


def _less(one: int, e: sp.Expr, small: sp.Symbol) -> tuple[int, sp.Expr]:
    """Lowest power of 1 - e (or of -e), and its coefficient."""
    if not e.has(sp.Sum):
        return _power_of(one - e, small)
    p, f = _power_of(e, small)
    if not one or f == 0 or p < 0:
        return (p, -f) if f != 0 else (0, sp.Integer(one))
    return (0, sp.Integer(1)) if p > 0 else (0, 1 - f)


def _power_of(e: sp.Expr, small: sp.Symbol) -> tuple[int, sp.Expr]:
    """Lowest power of a sum over modes, or of a rational function, and its coefficient."""
    if isinstance(e, sp.Sum):
        p, f = _power_of(e.function, small)
        return p, sp.Sum(f, *e.limits) if f != 0 else sp.Integer(0)
    above, below = (_lowest(q, small) for q in sp.fraction(sp.together(e)))
    return (0, sp.Integer(0)) if above[1] == 0 else (above[0] - below[0], tidy(above[1] / below[1]))


def _lowest(e: sp.Expr, small: sp.Symbol) -> tuple[int, sp.Expr]:
    """Lowest power of a polynomial in the small parameter, and its coefficient; sums over modes are letters."""
    sums = {s: sp.Dummy() for s in sorted(e.atoms(sp.Sum), key=sp.default_sort_key)}
    if any(small in s.free_symbols for s in sums):
        raise UnsupportedNode(f"leading: {small} stands inside a sum over modes that multiplies others")
    terms = sp.Poly(sp.expand(e.xreplace(sums)), small).terms()
    (p,), c = min(terms)
    return int(p), sp.factor(c).xreplace({d: s for s, d in sums.items()})


def _sum(name: str, parts: list[tuple[int, sp.Expr]], small: sp.Symbol) -> sp.Expr:
    if not parts:
        return sp.Integer(0)
    lowest = min(p for p, _ in parts)
    total = tidy(sp.Add(*(f for p, f in parts if p == lowest)))
    if total == 0:
        raise UnsupportedNode(
            f"leading: the leading terms of {name} cancel; evaluate the rest at small values of {small} instead"
        )
    return total * small**lowest
