"""The vector field of a system of scalars as polynomials with integer coefficients, ready for the search of invariants.

Rational right-hand sides are multiplied by their common denominator m, and a common factor h of all components is divided out,

    m X = h Y,        so that X and Y have the same invariants.

Roots are removed first: a state u with u^{a/q} becomes u = x^q, a parameter likewise, and a number such as sqrt(2) becomes a
letter (what holds for every value of the letter holds for the number). Imported by `derive.invariants.darboux`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp
from sympy import ZZ
from sympy.polys.fields import field

from derive.algebra.radicals import rooted, roots_in
from derive.errors import UnsupportedNode
from derive.reductions.scalar import ScalarSystem


@dataclass(frozen=True, slots=True, kw_only=True)
class PolynomialField:
    """Y and m of a system, as elements of ZZ[states, parameters].

    Attributes
    ----------
    ring : SymPy polynomial ring
        Generators are the states, then the parameters (roots where roots occur).
    states : int
        How many generators are states.
    rates : tuple of ring elements
        Components of Y.
    factor : ring element
        m / h if h divides m, so that time enters as one more column; otherwise zero.
    back : mapping symbol -> SymPy expression
        Generators in the symbols of the system.
    """

    ring: Any
    states: int
    rates: tuple[Any, ...]
    factor: Any
    back: Mapping[sp.Symbol, sp.Expr]

    @property
    def variables(self) -> tuple[Any, ...]:
        """The states as ring elements."""
        return tuple(self.ring.gens[: self.states])

    def along(self, p: Any) -> Any:
        """Y(p) = sum_k dp/dx_k Y_k."""
        total = self.ring.zero
        for x, f in zip(self.variables, self.rates, strict=True):
            total += p.diff(x) * f
        return total

    def columns(self, p: Any) -> dict[tuple[int, ...], sp.Expr]:
        """Coefficients of p by monomials of the states, as expressions of the parameters."""
        parts: dict[tuple[int, ...], Any] = {}
        for monomial, c in p.terms():
            key, rest = monomial[: self.states], (0,) * self.states + monomial[self.states :]
            parts[key] = parts.get(key, self.ring.zero) + self.ring({rest: c})
        return {key: q.as_expr() for key, q in parts.items()}

    def moves(self, p: Any) -> bool:
        """Does a state occur in p?"""
        return any(any(monomial[: self.states]) for monomial in p.itermonoms())

    def write(self, p: Any) -> sp.Expr:
        """A ring element in the symbols of the system."""
        return p.as_expr().xreplace(dict(self.back))


def read_field(system: ScalarSystem) -> PolynomialField:
    """Polynomial form of a system of scalars.

    Raises
    ------
    UnsupportedNode
        If a right-hand side is no rational function of (roots of) the states.

    >>> from derive.indices.indexed import arr
    >>> from derive.reductions.scalar import to_scalar
    >>> from derive.system import Block, Flow
    >>> a, b, s = arr("a"), arr("b"), arr("s")
    >>> flow = Flow(name="mode", state=(Block(name="a"), Block(name="b")), rhs={"a": b * (a * b - s), "b": a * (a * b - s)})
    >>> read_field(to_scalar(flow)).rates
    (b, a)
    """
    roots = roots_in(system.rhs)
    forward: dict[sp.Symbol, sp.Expr] = {}
    back: dict[sp.Symbol, sp.Expr] = {}
    generators: list[sp.Symbol] = []
    symbols = {s for f in system.rhs for s in f.free_symbols} - set(system.states)
    for x in (*system.states, *sorted(symbols, key=str)):
        q = roots.get(x, 1)
        g = x if q == 1 else sp.Dummy(f"{x}_root", positive=True)
        if q != 1:
            forward[x], back[g] = g**q, x ** sp.Rational(1, q)
        generators.append(g)
    rates = []
    for x, g, f in zip(system.states, generators, system.rhs, strict=False):
        q = roots.get(x, 1)
        rates.append(rooted(f, forward) / (q * g ** (q - 1)))
    rates = _letters(rates, generators, back)
    algebra = field(generators, ZZ)[0]
    try:
        fractions = [algebra.from_expr(f) for f in rates]
    except (ValueError, TypeError) as cause:
        raise UnsupportedNode(
            f"{system.flow.name}: its right-hand sides are no rational functions of the states, so Darboux polynomials are not "
            "searched; introduce a state for the function"
        ) from cause
    ring = algebra.ring
    m = ring.one
    for f in fractions:
        m = m.lcm(f.denom)
    whole = [f.numer * m.exquo(f.denom) for f in fractions]
    h = ring.zero
    for f in whole:
        h = h.gcd(f)
    whole = [f.exquo(h) for f in whole] if h else whole
    factor, rest = m.div(h) if h else (m, ring.zero)
    return PolynomialField(
        ring=ring, states=len(system.states), rates=tuple(whole), factor=ring.zero if rest else factor, back=back
    )


def _letters(rates: Iterable[sp.Expr], generators: list[sp.Symbol], back: dict[sp.Symbol, sp.Expr]) -> list[sp.Expr]:
    """Irrational numbers replaced by letters, which become generators."""
    rates = list(rates)
    numbers = sorted({e for f in rates for e in f.atoms(sp.Pow, sp.NumberSymbol) if e.is_number and not e.is_Rational}, key=str)
    for e in numbers:
        letter = sp.Dummy("number")
        back[letter] = e
        generators.append(letter)
        rates = [f.xreplace({e: letter}) for f in rates]
    return rates
