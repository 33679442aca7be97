"""Two coupled scalar equations, solved by a conserved quadratic form that splits into two real lines.

If  c = alpha x^2 - beta y^2 = p1 p2  is conserved, then p1 = sqrt(alpha) x + sqrt(beta) y obeys p1' = k p1 with a polynomial k
(p1 = 0 is invariant). With p2 = c/p1 the factor k is a function of p1 alone, and q = p1^2 obeys one equation,

    q' = 2 k(q) q,    x = (p1 + c/p1) / (2 sqrt(alpha)),    y = (p1 - c/p1) / (2 sqrt(beta)),

which holds for both signs of c and for c = 0. Nothing about the system is known beforehand but the conserved quantity.
Imported by `derive.solutions.solve`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from derive.reductions.scalar import powers, value
from derive.solutions.closed_explicit import Solved, riccati, riccati_value

Array = Any
_INVARIANT = "#c"  # no name of a user's


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A solved pair of equations: explicit solutions, the intermediate equation, and the numerical evaluation."""

    explicit: tuple[sp.Expr, sp.Expr]
    equation: str
    advance: Callable[[Array, Mapping[str, Array], Mapping[str, Array]], tuple[Array, Array]]


def solve_pair(
    states: tuple[sp.Symbol, sp.Symbol],
    rhs: tuple[sp.Expr, sp.Expr],
    form: sp.Expr,
    starts: tuple[sp.Symbol, sp.Symbol],
    t: sp.Symbol,
) -> Pair | None:
    """Solution by the conserved quadratic ``form``, or None if the steps above do not go through."""
    x, y = states
    split = _split(form, x, y)
    if split is None:
        return None
    a, b, roots = split  # form = (a x)^2 - (b y)^2 in square roots of the parameters
    f, g = (e.xreplace(roots.forward) for e in rhs)
    c, q = sp.Dummy(_INVARIANT, real=True), sp.Dummy("q", positive=True)
    back = roots.backward
    solved = []
    for sign in (1, -1):
        equation = _equation((x, y), (f, g), (a, sign * b), c, q)
        parts = None if equation is None else powers(equation, q)
        if parts is None or any(e not in (0, 1, 2) for e in parts):
            return None
        zero = sp.Integer(0)
        c0, c1, c2 = (sp.factor(parts.get(Fraction(e), zero)).xreplace(back) for e in (0, 1, 2))
        solved.append(riccati(c0, c1, c2, q, t))
    root_a, root_b = a.xreplace(back), b.xreplace(back)
    x0, y0 = starts
    invariant = root_a**2 * x0**2 - root_b**2 * y0**2
    line = root_a * x0 + root_b * y0
    assert solved[0].explicit is not None
    now = solved[0].explicit.xreplace({q: line**2}).xreplace({c: invariant})
    p1 = sp.sqrt(now)
    explicit = ((p1 + invariant / p1) / (2 * root_a), (p1 - invariant / p1) / (2 * root_b))
    rate = sum(solved[0].coefficients[k] * q**e for e, k in enumerate("ABC")).xreplace({c: sp.Symbol("c"), q: sp.Symbol("q")})
    equation_text = f"c = {sp.expand(form)} conserved, q = ({root_a * x + root_b * y})^2: q' = {rate}"
    return Pair(explicit=explicit, equation=equation_text, advance=_advancer(x0, y0, root_a, root_b, solved[0], solved[1]))


def _advancer(x0: sp.Symbol, y0: sp.Symbol, a: sp.Expr, b: sp.Expr, plus: Solved, minus: Solved) -> Callable[..., Any]:
    def advance(t: Array, initial: Mapping[str, Array], params: Mapping[str, Array]) -> tuple[Array, Array]:
        ra, rb = value(a, params), value(b, params)
        p1, p2 = ra * initial[x0.name] + rb * initial[y0.name], ra * initial[x0.name] - rb * initial[y0.name]
        c = p1 * p2
        values = {**params, _INVARIANT: c}

        def line(p: Array, solved: Solved) -> Array:
            q = riccati_value(t, p * p, {k: value(e, values) for k, e in solved.coefficients.items()})
            return np.sign(p) * np.sqrt(q)

        one, two = line(p1, plus), line(p2, minus)
        larger = np.abs(p1) >= np.abs(p2)  # divide by the line that starts farther from 0
        with np.errstate(divide="ignore", invalid="ignore"):
            now1, now2 = np.where(p1 == 0, 0.0, one), np.where(p1 == 0, two, c / one)
            now1, now2 = np.where(larger | (p1 == 0), now1, one), np.where(larger | (p1 == 0), now2, c / one)
        return (now1 + now2) / (2 * ra), (now1 - now2) / (2 * rb)

    return advance


@dataclass(frozen=True, slots=True, kw_only=True)
class _Roots:
    forward: Mapping[sp.Symbol, sp.Expr]
    backward: Mapping[sp.Symbol, sp.Expr]


def _split(form: sp.Expr, x: sp.Symbol, y: sp.Symbol) -> tuple[sp.Expr, sp.Expr, _Roots] | None:
    """(a, b) with form = (a x)^2 - (b y)^2, in positive square roots of the parameters; up to an overall sign."""
    poly = sp.Poly(form, x, y)
    if any(m not in ((2, 0), (0, 2)) for m in poly.monoms()) or len(poly.monoms()) != 2:
        return None
    alpha, beta = poly.coeff_monomial(x**2), -poly.coeff_monomial(y**2)
    names = sorted((alpha.free_symbols | beta.free_symbols), key=lambda s: s.name)
    fresh = {s: sp.Dummy(s.name, positive=True) for s in names}
    forward = {s: d**2 for s, d in fresh.items()}
    alpha, beta = alpha.xreplace(forward), beta.xreplace(forward)
    if alpha.could_extract_minus_sign() and beta.could_extract_minus_sign():
        alpha, beta = -alpha, -beta
    if not (alpha.is_positive and beta.is_positive):
        return None
    backward = {d: sp.sqrt(s) for s, d in fresh.items()}
    return sp.sqrt(alpha), sp.sqrt(beta), _Roots(forward=forward, backward=backward)


def _equation(
    states: tuple[sp.Symbol, sp.Symbol],
    rhs: tuple[sp.Expr, sp.Expr],
    slopes: tuple[sp.Expr, sp.Expr],
    c: sp.Symbol,
    q: sp.Symbol,
) -> sp.Expr | None:
    """2 k q as an expression of q = p1^2 and c = p1 p2, where p1 = a x + b y, p2 = a x - b y and p1' = k p1."""
    (x, y), (f, g), (a, b) = states, rhs, slopes
    p1, p2 = sp.Dummy("p1"), sp.Dummy("p2")
    lines = {x: (p1 + p2) / (2 * a), y: (p1 - p2) / (2 * b)}
    rate = sp.cancel(sp.together((a * f + b * g).xreplace(lines)))
    factor = sp.cancel(rate / p1)
    numerator, denominator = sp.fraction(factor)
    if denominator.has(p1, p2):
        return None
    total = sp.Integer(0)
    for (i, j), coefficient in sp.Poly(numerator, p1, p2).terms():
        if (i - j) % 2:  # p1^i p2^j = c^j q^{(i-j)/2}
            return None
        total += coefficient / denominator * c**j * q ** sp.Integer((i - j) // 2)
    return sp.expand(2 * total * q)
