"""Linear stability of a fixed point with parameters, decided by the signs of a Routh array, never by eigenvalues in floats.

    det(lam I - J) = product of factors,      sign changes in the first Routh column of a factor = its roots with Re lam > 0.

A sign that the assumptions do not decide is reported. Directions with lam = 0 are those of a continuum of fixed points, or
degenerate; then the lowest power of a displacement along each coordinate that stays by itself decides (u' = c u^p, p > 1).
Imported by `derive.rest_states.rest_points`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import sympy as sp

from derive.algebra.sign_assumptions import Signs
from derive.reductions.scalar import powers

LAM = sp.Symbol("eigenvalue__")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """What the Jacobian says.

    Attributes
    ----------
    characteristic : SymPy expression
        det(lam I - J) in factors, in the symbol `LAM`.
    eigenvalues : tuple of (expression, multiplicity)
        Roots of the factors of degree one and two.
    unstable : int or None
        Number of eigenvalues with positive real part; None if signs are open.
    neutral : int
        Number of eigenvalues that vanish identically, or are purely imaginary.
    kind : str
        "stable", "unstable", "saddle", "neutral", "degenerate" or "undecided".
    open : tuple of expressions
        Whose signs would decide.
    """

    characteristic: sp.Expr
    eigenvalues: tuple[tuple[sp.Expr, int], ...]
    unstable: int | None
    neutral: int
    kind: str
    open: tuple[sp.Expr, ...] = ()


def tidy(e: sp.Expr) -> sp.Expr:
    """Factored over the rationals; equal expressions with roots may still differ in form."""
    return sp.factor(sp.cancel(sp.together(sp.expand(e))))


def stability(
    rhs: Sequence[sp.Expr],
    states: Sequence[sp.Symbol],
    at: Mapping[sp.Symbol, sp.Expr],
    signs: Signs,
    *,
    continuum: int = 0,
    one_sided: Sequence[sp.Symbol] = (),
) -> Stability | None:
    """Classify a fixed point; None if the Jacobian is not finite there.

    Parameters
    ----------
    rhs, states : the system
    at : mapping state -> value (states without a value stay free)
    continuum : int
        Number of free states, whose directions are neutral for a good reason.
    one_sided : states that are not negative

    >>> u, s = sp.symbols("u s", positive=True)
    >>> stability((u * (s - u),), (u,), {u: s}, Signs()).kind
    'stable'
    """
    values = dict(at)
    jacobian = sp.Matrix(len(states), len(states), lambda i, j: tidy(sp.diff(rhs[i], states[j]).xreplace(values)))
    if any(e.has(sp.zoo, sp.nan, sp.oo) for e in jacobian):
        return None
    factors = _factors(jacobian)
    positive, negative, neutral, turning, open_ = 0, 0, 0, 0, list[sp.Expr]()
    pairs, factors_left = _opposite(factors, signs)
    positive += pairs
    negative += pairs
    for p, n in factors_left:
        if p.as_expr() == LAM:
            neutral += n
            continue
        found = _right_half(p, signs)
        if isinstance(found, tuple):
            open_ += list(found)
            continue
        positive += n * found
        imaginary = p.degree() == 2 and p.all_coeffs()[1] == 0 and found == 0
        turning += 2 * n if imaginary else 0
        negative += 0 if imaginary else n * (p.degree() - found)
    kind = _kind(positive, negative, bool(open_))
    if not open_ and neutral > continuum:
        outward = [_outward(rhs, states, values, x, signs, x in one_sided) for x in states]
        if any(w for w in outward):
            kind = "saddle" if negative or not all(outward) else "unstable"
        elif len(states) == 1 and outward[0] is False:
            kind = "stable"
        else:
            kind = "saddle" if positive and negative else "unstable" if positive else "degenerate"
    return Stability(
        characteristic=sp.Mul(*(p.as_expr() ** n for p, n in factors)),
        eigenvalues=tuple((root, n * m) for p, n in factors for root, m in _solved(p)),
        unstable=None if open_ else positive,
        neutral=neutral + turning,
        kind=kind,
        open=tuple(dict.fromkeys(open_)),
    )


def _opposite(factors: list[tuple[sp.Poly, int]], signs: Signs) -> tuple[int, list[tuple[sp.Poly, int]]]:
    """Pairs of real eigenvalues of opposite but unknown signs, and the other factors."""
    left, pairs = list(factors), 0
    for p, n in factors:
        for q, m in factors:
            if (p, n) in left and (q, m) in left and p != q and n == m and p.degree() == q.degree() == 1:
                a, b = -p.all_coeffs()[1], -q.all_coeffs()[1]
                if a != 0 and b != 0 and signs.sign(a) is None and signs.sign(a * b) == -1:
                    left.remove((p, n))
                    left.remove((q, m))
                    pairs += n
    return pairs, left


def _kind(positive: int, negative: int, open_: bool) -> str:
    if positive and negative:
        return "saddle"
    if open_:
        return "undecided"
    return "unstable" if positive else "stable" if negative else "neutral"


def _factors(jacobian: sp.Matrix) -> list[tuple[sp.Poly, int]]:
    """Monic factors of the characteristic polynomial, block by block of the coupling graph."""
    out: dict[sp.Expr, int] = {}
    for block in jacobian.strongly_connected_components():
        part = jacobian.extract(block, block)
        coefficients = [tidy(c) for c in part.charpoly(LAM).all_coeffs()]
        whole = sp.Add(*(c * LAM ** (len(block) - k) for k, c in enumerate(coefficients)))
        for p, n in sp.factor_list(sp.fraction(sp.together(whole))[0], LAM)[1]:
            if p.has(LAM):
                lead = sp.Poly(p, LAM).LC()
                monic = sp.Add(*(tidy(c / lead) * LAM**m for (m,), c in sp.Poly(p, LAM).terms()))
                out[monic] = out.get(monic, 0) + n
    return [(sp.Poly(e, LAM), n) for e, n in out.items()]


def _solved(p: sp.Poly) -> list[tuple[sp.Expr, int]]:
    c = p.all_coeffs()
    if p.degree() == 1:
        return [(-c[1], 1)]
    if p.degree() != 2:
        return []
    inner = tidy(c[1] ** 2 - 4 * c[2])
    return [((-c[1] + sign * sp.sqrt(inner)) / 2, 1) for sign in (1, -1)]


def _right_half(p: sp.Poly, signs: Signs) -> int | tuple[sp.Expr, ...]:
    """Roots with positive real part, or the expressions whose signs are open."""
    c = p.all_coeffs()
    if p.degree() == 2:
        trace, det = signs.sign(c[1]), signs.sign(c[2])
        if det == -1:
            return 1
        if det == 1 and trace is not None:
            return 0 if trace >= 0 else 2
        return tuple(signs.unknown(e) for e, known in ((c[2], det), (c[1], trace)) if known is None)
    column = _routh(c)
    known = [signs.sign(e) for e in column]
    if all(k in (1, -1) for k in known):
        return sum(a != b for a, b in pairwise(known))
    return tuple(signs.unknown(e) for e, k in zip(column, known, strict=True) if k is None) or (p.as_expr(),)


def _routh(c: list[sp.Expr]) -> list[sp.Expr]:
    """First column of the Routh array (generic: no entry of it vanishes)."""
    rows = [list(c[0::2]), list(c[1::2])]
    width = len(rows[0])
    rows = [r + [sp.Integer(0)] * (width - len(r)) for r in rows]
    while len(rows) < len(c):
        up, low = rows[-2], rows[-1]
        if low[0] == 0:
            return [low[0]]
        rows.append([tidy((low[0] * up[k + 1] - up[0] * low[k + 1]) / low[0]) for k in range(width - 1)] + [sp.Integer(0)])
    return [r[0] for r in rows]


def _outward(
    rhs: Sequence[sp.Expr], states: Sequence[sp.Symbol], at: Mapping[sp.Symbol, sp.Expr], x: sp.Symbol, signs: Signs, one: bool
) -> bool | None:
    """Does a displacement along x alone grow? None if it moves other states too, or its sign is open."""
    if x not in at:
        return None
    e = sp.Symbol("displacement", positive=True)
    moved = {**at, x: at[x] + e}
    for y, f in zip(states, rhs, strict=True):
        if y != x and y in at and sp.cancel(sp.together(f.xreplace(moved))) != 0:
            return None
    own = rhs[list(states).index(x)]
    sides = [(own.xreplace(moved), 1)] if one and at[x] == 0 else [
        (own.xreplace(moved), 1),
        (own.xreplace({**at, x: at[x] - e}), -1),
    ]  # fmt: skip
    seen = []
    for f, side in sides:
        parts = powers(sp.expand(f), e)
        low = next((c for _, c in sorted((parts or {}).items()) if tidy(c) != 0), None)
        sign = None if low is None else signs.sign(low)
        if sign is None:
            return None
        seen.append(sign * side > 0)
    return any(seen)
