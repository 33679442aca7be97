"""Invariants of systems of scalars from Darboux polynomials.

A Darboux polynomial is a p with  X(p) = k p,  k its polynomial cofactor: the flow never crosses p = 0. Invariants are products
of their powers and of exponentials, and all come out of *one* exact null space: for constants n_i, c and a polynomial g,

    sum_i n_i k_i + X(g) + c = 0      if and only if      prod_i p_i^{n_i} e^{g}  evolves as  e^{-c t}.

With c = 0 it is conserved. Polynomial, rational, log-linear and relaxing invariants are cases of this.
Candidates for p need no nonlinear equation: every p = alpha a + beta b, with monomials a, b of the states and *unknown*
coefficients, divides the Wronskian  a X(b) - b X(a).  So do irreducible factors of the components of X.
Imported by `derive.invariants.search`, `derive.flows.elimination` and by users who want the polynomials themselves.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import comb, lcm
from typing import Any

import numpy as np
import sympy as sp

from derive.algebra.nullspace import null_vectors
from derive.errors import BudgetExceeded, CheckFailed
from derive.invariants.darboux_field import PolynomialField, read_field
from derive.reductions.scalar import ScalarSystem, to_scalar, value
from derive.system import Flow, flow_of

__all__ = ["DarbouxPolynomial", "Invariant", "darboux_polynomials", "independent", "invariants_of", "made"]

DEGREE = 2
MONOMIALS = 300  # of a conserved polynomial at most: degree 3 of 10 states
PAIRS = 200  # Wronskians that are factored at most: five states of degree 2, nineteen of degree 1; seconds in bad cases


@dataclass(frozen=True, slots=True, kw_only=True)
class DarbouxPolynomial:
    """p and its cofactor k with X(p) = k p, in the symbols of the system."""

    expr: sp.Expr
    cofactor: sp.Expr


@dataclass(frozen=True, slots=True, kw_only=True)
class Invariant:
    """An expression with  d expr / dt = rate * expr, and its logarithm (itself, for a conserved polynomial).

    ``positive`` lists what stands under a logarithm in ``expr``.
    """

    expr: sp.Expr
    rate: sp.Expr
    logarithm: sp.Expr
    positive: tuple[sp.Expr, ...] = ()


def made(expr: sp.Expr, rate: Any = 0) -> Invariant:
    """An invariant that was found elsewhere."""
    rate = sp.sympify(rate)
    return Invariant(expr=expr, rate=rate, logarithm=expr if rate == 0 else sp.log(expr))


def darboux_polynomials(system: Flow | ScalarSystem, *, degree: int = DEGREE) -> tuple[DarbouxPolynomial, ...]:
    """Darboux polynomials of an elementwise system, with symbolic coefficients.

    Parameters
    ----------
    system : Flow or ScalarSystem
    degree : int
        Largest degree, 1 or 2, of the monomials a, b of a candidate. Irreducible polynomials of three and more terms are found
        only if they divide a component or the Wronskian of two polynomials that were found before.

    Raises
    ------
    UnsupportedNode
        If the states are matrices, or a right-hand side is not rational.
    BudgetExceeded
        If there are too many pairs of monomials.

    >>> from derive.indices.indexed import arr
    >>> from derive.system import Block
    >>> a, b, s = arr("a"), arr("b"), arr("s")
    >>> flow = Flow(name="mode", state=(Block(name="a"), Block(name="b")), rhs={"a": b * (s - a * b), "b": a * (s - a * b)})
    >>> [p.expr for p in darboux_polynomials(flow)]
    [a - b, a + b]
    """
    scalar = system if isinstance(system, ScalarSystem) else to_scalar(flow_of("darboux_polynomials", system))
    field = read_field(scalar)
    if degree_within_budget(field.states) < degree:
        raise BudgetExceeded(
            f"{scalar.flow.name}: {field.states} states have more than {PAIRS} pairs of monomials of degree {degree}; "
            f"search with degree={degree - 1}, or eliminate states by invariants that are known"
        )
    *_, found = _search(field, degree)
    out = []
    for p in found:
        x = field.write(p)
        rate = sum((sp.diff(x, u) * f for u, f in zip(scalar.states, scalar.rhs, strict=True)), sp.Integer(0))
        out.append(DarbouxPolynomial(expr=x, cofactor=sp.cancel(sp.together(rate) / x)))
    return tuple(out)


def invariants_of(system: ScalarSystem, known: Sequence[Invariant] = (), *, relaxing: bool = False) -> tuple[Invariant, ...]:
    """Functionally independent invariants that are no functions of the ``known`` ones, simplest first.

    ``relaxing`` adds those that decay or grow exponentially. The search stops as soon as no more are possible: n states have
    n - 1 independent conserved quantities, and n if time may enter. Its degree is the largest within the budget: 2 for up to
    five states, 1 beyond.
    """
    field = read_field(system)
    degree = degree_within_budget(field.states)
    most = field.states - 1 + int(relaxing)
    found: tuple[Invariant, ...] = ()
    if len(known) >= most or not any(field.rates):
        return ()
    plain: tuple[Invariant, ...] = ()
    for top in (1, 2, 3):
        if len(known) + len(plain) < field.states - 1 and comb(field.states + top, top) <= MONOMIALS:
            plain = (*plain, *independent(system, (*known, *plain), _combine(system, field, (), top, False)))
    for polynomials in _search(field, degree):
        if len(known) + len(plain) + len(found) >= most:
            break
        found = independent(system, (*known, *plain), _combine(system, field, polynomials, DEGREE, relaxing))
    return (*plain, *found)


def degree_within_budget(states: int) -> int:
    """Largest degree of which all pairs of monomials are searched.

    >>> [degree_within_budget(n) for n in (2, 5, 6, 12, 40)]
    [2, 2, 1, 1, 0]
    """
    linear = comb(states + 1, 2)
    return 0 if linear > PAIRS else 1 if states > 5 else DEGREE


# Candidates -------------------------------------------------------------------------------------------------------------------


def _search(field: PolynomialField, degree: int) -> Iterator[tuple[Any, ...]]:
    """Darboux polynomials found so far, after each round: components, pairs of rising degree, pairs with those found."""
    found: dict[Any, None] = {}
    seen: dict[Any, None] = {}

    def take(product: Any) -> None:
        for p in _factors(field, product, found):
            if p not in seen:
                seen[p] = None
                if not field.along(p).div(p)[1]:
                    found[p] = None

    for f in (*field.variables, *field.rates):
        take(f)
    yield tuple(found)
    for top in range(1, degree + 1):
        for a, b in _pairs(field, top):
            take(a * field.along(b) - b * field.along(a))
        yield tuple(found)
    larger = [p for p in found if len(p) > 1]
    for a, b in itertools.combinations([field.ring.one, *field.variables, *larger], 2):
        if len(a) > 1 or len(b) > 1:
            take(a * field.along(b) - b * field.along(a))
    yield tuple(found)


def _factors(field: PolynomialField, product: Any, found: dict[Any, None]) -> list[Any]:
    """Irreducible factors that contain a state; known ones are divided out before the rest is factored."""
    for p in found:
        quotient, rest = product.div(p)
        while product and not rest:
            product = quotient
            quotient, rest = product.div(p)
    if not product or not field.moves(product):
        return []
    return [p if p.LC > 0 else -p for p, _ in product.factor_list()[1] if field.moves(p)]


def _pairs(field: PolynomialField, top: int) -> list[tuple[Any, Any]]:
    """Pairs of coprime monomials whose larger degree is ``top``, by total degree."""
    monomials = [
        (d, i, sp.prod(choice, start=field.ring.one))
        for d in range(top + 1)
        for i, choice in enumerate(itertools.combinations_with_replacement(field.variables, d))
    ]
    pairs = [(a, b) for a, b in itertools.combinations(monomials, 2) if max(a[0], b[0]) == top and a[2].gcd(b[2]) == 1]
    return [(a[2], b[2]) for a, b in sorted(pairs, key=lambda pair: (pair[0][0] + pair[1][0], pair[0][:2], pair[1][:2]))]


# The null space -------------------------------------------------------------------------------------------------------------


def _combine(
    system: ScalarSystem, field: PolynomialField, polynomials: tuple[Any, ...], top: int, relaxing: bool
) -> list[Invariant]:
    """Invariants of the polynomials and of exponentials of degree <= ``top``; without polynomials, conserved polynomials."""
    monomials = [
        sp.prod(choice, start=field.ring.one)
        for d in range(1, top + 1)
        for choice in itertools.combinations_with_replacement(field.variables, d)
    ]
    cofactors = [field.along(p).exquo(p) for p in polynomials]
    columns = [field.columns(k) for k in cofactors] + [field.columns(field.along(g)) for g in monomials]
    time = relaxing and bool(field.factor)
    if time:
        columns.append(field.columns(field.factor))
    out = []
    for vector in null_vectors(columns):
        vector = vector if time else (*vector, sp.Integer(0))
        out.append(_written(field, polynomials, monomials, vector))
    out.sort(key=lambda i: (i.rate != 0, i.expr != i.logarithm, len(i.positive), sp.count_ops(i.expr), str(i.expr)))
    for i in out:
        _check(system, i)
    return out


def _written(
    field: PolynomialField, polynomials: tuple[Any, ...], monomials: list[Any], vector: tuple[sp.Expr, ...]
) -> Invariant:
    """The quantity of a null vector: a polynomial, a product of powers, or a sum of logarithms."""
    powers, rest = vector[: len(polynomials)], vector[len(polynomials) : -1]
    lead = next((n for n in powers if n != 0), sp.Integer(1))
    ratios = [sp.cancel(n / lead) for n in powers]
    whole = all(r.is_Rational for r in ratios)
    scale = sp.Integer(lcm(1, *(int(r.q) for r in ratios))) / lead if whole else sp.Integer(1)
    back = dict(field.back)

    def coefficient(v: sp.Expr) -> sp.Expr:
        return sp.cancel(v * scale).xreplace(back)

    g = sp.Add(*(coefficient(v) * field.write(m) for v, m in zip(rest, monomials, strict=True)))
    rate = -coefficient(vector[-1])
    terms = [(coefficient(n), field.write(p)) for n, p in zip(powers, polynomials, strict=True) if n != 0]
    logarithm = sp.Add(g, *(n * sp.log(p) for n, p in terms))
    if not terms and rate == 0:
        return Invariant(expr=g, rate=rate, logarithm=g)
    if whole:
        product = sp.Mul(*(p**n for n, p in terms))
        product = min(sp.expand(product), product, key=sp.count_ops)  # (a - b)(a + b) is a^2 - b^2
        return Invariant(expr=product * sp.exp(g) if g != 0 else product, rate=rate, logarithm=logarithm)
    expr = logarithm if rate == 0 else sp.exp(logarithm)
    return Invariant(expr=expr, rate=rate, logarithm=logarithm, positive=tuple(p for _, p in terms))


def _check(system: ScalarSystem, found: Invariant) -> None:
    """The rate of the expression by SymPy, at a random point and to 40 digits."""
    rng = random.Random(7)
    names = sorted({s for f in (*system.rhs, found.expr, found.rate) for s in f.free_symbols} | set(system.states), key=str)
    at = {s: sp.Rational(rng.randint(11, 99), rng.randint(11, 29)) for s in names}
    terms = [(sp.diff(found.expr, x) * f).xreplace(at).evalf(40) for x, f in zip(system.states, system.rhs, strict=True)]
    wanted = (found.rate * found.expr).xreplace(at).evalf(40)
    size = sum((abs(e) for e in terms), sp.Float(0, 40)) + abs(wanted)
    if abs(sp.Add(*terms) - wanted) > size * sp.Float("1e-30", 40):
        raise CheckFailed(f"{found.expr} of {system.flow.name} does not change at the rate {found.rate}")


def independent(system: ScalarSystem, known: Sequence[Invariant], found: Sequence[Invariant]) -> tuple[Invariant, ...]:
    """Those whose gradients (of logarithms, time as one more variable) do not depend on earlier ones, at a random point."""
    rng = random.Random(5)
    used = [e for i in (*known, *found) for e in (i.logarithm, i.rate)] + list(system.states)
    names = sorted({s for e in used for s in e.free_symbols}, key=str)
    at = {s.name: rng.uniform(0.5, 1.5) for s in names}

    def row(i: Invariant) -> Any:
        out = np.array([float(value(sp.diff(i.logarithm, x), at)) for x in system.states] + [float(value(-i.rate, at))])
        return out / np.linalg.norm(out)

    rows = [row(i) for i in known]
    out = []
    for i in found:
        more = [*rows, row(i)]
        if np.linalg.matrix_rank(np.array(more), tol=1e-9) == len(more):  # rows have length 1, rounding is 1e-14
            rows = more
            out.append(i)
    return tuple(out)
