"""Reading a system as a race from a small start:  x_j' = x_j^p h(x) g_j(x)  with one power p and one common factor h.

h collects the factors that all rates share and that vanish at x = 0, for instance a power of the norm; it must be homogeneous.
Imported by `derive.solutions.asymptotics`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import lcm
from typing import Any

import sympy as sp

from derive.algebra.sign_assumptions import Signs, read_signs
from derive.errors import InvalidSpec, UnsupportedNode
from derive.reductions.ansatz import name_of
from derive.reductions.scalar import powers, to_scalar
from derive.solutions.stability import tidy
from derive.system import EMPTY, Flow

__all__ = ["Race", "error_rate", "factor_powers", "read_race", "with_letters"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """The equations  x_j' = x_j^p h g_j.

    Attributes
    ----------
    states : tuple of symbols, all positive
    rhs : tuple of expressions
    p : exponent, at least 1
    h : common factor that vanishes at x = 0, or 1; homogeneous of degree ``degree``
    g : mapping state -> expression, not 0 at x = 0
    """

    name: str
    states: tuple[sp.Symbol, ...]
    rhs: tuple[sp.Expr, ...]
    p: sp.Rational
    h: sp.Expr
    degree: sp.Rational
    g: Mapping[sp.Symbol, sp.Expr]
    signs: Signs
    start: Mapping[sp.Symbol, sp.Expr] = field(default_factory=lambda: EMPTY)


def read_race(flow: Flow, positive: Iterable[Any], at: Mapping[Any, Any], start: Mapping[Any, Any]) -> Race:
    """The equations of a flow in the form of a race.

    Raises
    ------
    UnsupportedNode
        If the rates have no common power, or their common factor is not homogeneous.
    """
    scalar = to_scalar(flow)
    known = {p.name: p for p in scalar.parameters}
    lost = [name_of(k) for k in at if name_of(k) not in known]
    if lost:
        raise InvalidSpec(f"learning times of {flow.name}: at= names {lost[0]}, which is no parameter ({', '.join(known)})")
    rename, signs = read_signs(flow.name, known, positive)
    put = {known[name_of(k)]: sp.sympify(v, strict=True) for k, v in at.items()}
    states = {x: sp.Symbol(x.name, positive=True) for x in scalar.states}
    rhs = [f.xreplace(put).xreplace({**rename, **states}) for f in scalar.rhs]
    rhs = [f.replace(lambda e: isinstance(e, sp.Pow), lambda e: sp.Pow(sp.factor(e.base), e.exp)) for f in rhs]
    xs = tuple(states.values())
    parts = [_powers_out(f, xs) for f in rhs]
    own = {x: {**d} for x, d in zip(xs, parts, strict=True)}
    ps = {x: own[x].pop(x, sp.Integer(0)) for x in xs}
    if len(dict.fromkeys(ps.values())) != 1 or min(ps.values()) < 1:
        raise UnsupportedNode(
            f"learning times of {flow.name}: the rates vanish like " + ", ".join(f"{x}^{p}" for x, p in ps.items())
            + "; one common power of at least 1 is needed (a smaller one has no saddle at 0: take closed_form)"
        )  # fmt: skip
    common = {
        b: min(own[x].get(b, sp.Integer(0)) for x in xs)
        for b in own[xs[0]]
        if b.has(*xs) and all(b in own[x] for x in xs) and b.xreplace(dict.fromkeys(xs, sp.Integer(0))) == 0
    }
    h = sp.Mul(*(b**e for b, e in common.items() if e > 0))
    g = {x: sp.Mul(*(b ** (e - (common.get(b, 0))) for b, e in own[x].items())) for x in xs}
    for x, e in g.items():
        if tidy(e.xreplace(dict.fromkeys(xs, sp.Integer(0)))) == 0:
            raise UnsupportedNode(
                f"learning times of {flow.name}: {x}'/({x}^{ps[x]}*{h}) vanishes at 0; there is no common factor to take out"
            )
    begin = {known_x: sp.sympify(start.get(known_x.name, start.get(x, 1))) for x, known_x in states.items()}
    degree = sum((e * _degree(flow.name, b, xs) for b, e in common.items() if e > 0), sp.Integer(0))
    return Race(name=flow.name, states=xs, rhs=tuple(rhs), p=ps[xs[0]], h=h, degree=degree, g=g, signs=signs, start=begin)


def _powers_out(f: sp.Expr, xs: Sequence[sp.Symbol]) -> dict[sp.Expr, sp.Expr]:
    """f as a product of powers of factors; roots of sums are letters while it is factored."""
    out: dict[sp.Expr, sp.Expr] = {}
    f, letters = with_letters(f)
    for part in sp.Mul.make_args(sp.factor_terms(f)):
        base, e = part.as_base_exp()
        inner = [(base, sp.Integer(1))]
        if isinstance(base, sp.Add):
            low = {x: min(parts) for x in xs if base.has(x) and (parts := powers(base, x)) is not None}
            taken = sp.Mul(*(x ** sp.Rational(n.numerator, n.denominator) for x, n in low.items()))
            rest = sp.expand(base / taken)
            inner = [(x, sp.Rational(n.numerator, n.denominator)) for x, n in low.items() if n]
            inner += [(b, n) for b, n in factor_powers(rest)]
        for b, n in inner:
            b, n = (letters[b][0], n / letters[b][1]) if b in letters else (b, n)
            b = b.xreplace({k: v ** sp.Rational(1, q) for k, (v, q) in letters.items()})
            out[b] = out.get(b, sp.Integer(0)) + e * n
    return {b: e for b, e in out.items() if e != 0}


def with_letters(f: sp.Expr) -> tuple[sp.Expr, dict[sp.Symbol, tuple[sp.Expr, int]]]:
    """Roots of sums by new letters: letter -> (sum, q) where letter = sum^(1/q)."""
    found: dict[sp.Expr, int] = {}
    for p in sorted(f.atoms(sp.Pow), key=str):
        if isinstance(p.base, sp.Add) and p.exp.is_Rational and p.exp.q != 1:
            found[p.base] = lcm(found.get(p.base, 1), int(p.exp.q))
    letters = {sp.Symbol(f"root__{n}", positive=True): (b, q) for n, (b, q) in enumerate(found.items())}
    for r, (b, q) in letters.items():
        f = f.xreplace({p: r ** (p.exp * q) for p in f.atoms(sp.Pow) if p.base == b}).xreplace({b: r**q})
    return f, letters


def factor_powers(e: sp.Expr) -> list[tuple[sp.Expr, sp.Expr]]:
    """Bases and exponents of the factors."""
    return [part.as_base_exp() for part in sp.Mul.make_args(sp.factor(e))]


def _degree(name: str, base: sp.Expr, xs: Sequence[sp.Symbol]) -> sp.Expr:
    """Degree of a homogeneous factor."""
    scale = sp.Symbol("scale", positive=True)
    parts = powers(sp.expand(base.xreplace({x: scale * x for x in xs})), scale) or {}
    if len(parts) != 1:
        raise UnsupportedNode(
            f"learning times of {name}: the common factor {base} is not homogeneous in the states; expand it around 0 first"
        )
    n: Fraction = next(iter(parts))
    return sp.Rational(n.numerator, n.denominator)


def _root_of_sum(e: Any) -> bool:
    return isinstance(e, sp.Pow) and isinstance(e.base, sp.Add)


def _scaled_root(e: Any) -> sp.Expr:
    """(c^2 a + c^2 b)^n as c^(2n) (a + b)^n for positive c."""
    return sp.expand_power_base(sp.factor(e.base) ** e.exp, force=True)


def error_rate(race: Race) -> Any:
    """Order of the relative error of the first time."""
    if race.p == 1 and race.h == 1:
        return "log"
    scale = sp.Symbol("scale", positive=True)
    lowest = []
    for e in race.g.values():
        e = e.xreplace({x: scale * x for x in race.states}).replace(_root_of_sum, _scaled_root)
        parts = powers(sp.expand(e), scale)
        lowest += [n for n in parts or {Fraction(1): 0} if n > 0][:1]
    return float(min([race.p + race.degree - 1, *(sp.Rational(n.numerator, n.denominator) for n in lowest)]))
