"""Real solutions of a system of polynomial equations with parameters, by branching over factors.

1. Every factor of an equation that is a power of an unknown opens two branches: the unknown is 0, or it is divided out.
2. An unknown that is left only in powers of x^n is replaced by X = x^n.
3. Every other equation is factored; a factor is solved for an unknown that occurs linearly, or, if it is alone, quadratically.
   If the coefficient contains unknowns, it may vanish too: one more branch.
4. Back to x = X^(1/n): both signs for even n, where X > 0 is demanded.

Expressions of parameters alone are generic: one that is not identically zero, nor decided by assumptions, is taken to be
nonzero, and is reported. Unknowns that stay free parametrise a continuum of solutions. What needs roots of a polynomial of
degree three or more, after a Groebner basis, is refused. Imported by `derive.rest_states.rest_points`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import gcd, prod

import sympy as sp

from derive.algebra.sign_assumptions import Signs
from derive.errors import BudgetExceeded, UnsupportedNode

CAP = 400  # branches visited
BEZOUT = 9  # largest product of degrees for a Groebner basis, whose cost grows without warning
HARD = 9  # difficulty of a factor that nothing here solves


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """One solution: unknown -> value (in parameters and free unknowns), with what must hold.

    Attributes
    ----------
    values : mapping
    free : tuple of symbols
        Unknowns without a value, here any numbers.
    nonzero : tuple of expressions
        In free unknowns.
    positive : tuple of expressions
        Must be positive for the solution to be real, and is not decided by the assumptions.
    """

    values: Mapping[sp.Symbol, sp.Expr]
    free: tuple[sp.Symbol, ...] = ()
    nonzero: tuple[sp.Expr, ...] = ()
    positive: tuple[sp.Expr, ...] = ()


@dataclass(frozen=True, slots=True)
class _Branch:
    equations: tuple[sp.Expr, ...]
    values: tuple[tuple[sp.Symbol, sp.Expr], ...] = ()
    nonzero: tuple[sp.Expr, ...] = ()
    positive: tuple[sp.Expr, ...] = ()
    based: bool = False


def real_solutions(
    name: str, equations: Sequence[sp.Expr], unknowns: Sequence[sp.Symbol], signs: Signs, nonnegative: Sequence[sp.Symbol] = ()
) -> tuple[tuple[Solution, ...], tuple[sp.Expr, ...]]:
    """All real solutions, isolated ones and continua, and expressions of the parameters that were taken to be nonzero.

    Parameters
    ----------
    name : str
        Of the system, for messages.
    equations : polynomials in the unknowns, with coefficients rational in parameters
    unknowns, nonnegative : SymPy symbols
        Those in ``nonnegative`` are not negative.
    signs : Signs

    Raises
    ------
    UnsupportedNode
        If a root of degree three or more is needed.

    >>> a, b, s = sp.Symbol("a", real=True), sp.Symbol("b", real=True), sp.Symbol("s", positive=True)
    >>> [x.values for x in real_solutions("mode", (b * (s - a * b), a * (s - a * b)), (a, b), Signs())[0]]
    [{a: 0, b: 0}, {a: s/b}]
    """
    out: list[Solution] = []
    generic: list[sp.Expr] = []
    for n in range(len(unknowns) + 1):
        for zero in itertools.combinations(unknowns, n):
            out += _support(name, equations, unknowns, zero, signs, nonnegative, generic)
    found: dict[tuple[tuple[str, sp.Expr], ...], Solution] = {}
    for s in reversed(out):  # supports with many zeros last in `out` come first here
        found.setdefault(tuple((x.name, s.values[x]) for x in unknowns if x in s.values), s)
    return _without_members(tuple(found.values())), _once(generic)


def _support(
    name: str, equations: Sequence[sp.Expr], unknowns: Sequence[sp.Symbol], zero: Sequence[sp.Symbol], signs: Signs,
    nonnegative: Sequence[sp.Symbol], generic: list[sp.Expr],
) -> list[Solution]:  # fmt: skip
    """Solutions in which exactly these unknowns vanish (free unknowns may vanish too)."""
    at = dict.fromkeys(zero, sp.Integer(0))
    alive = [x for x in unknowns if x not in zero]
    bare = [_stripped(sp.expand(e.xreplace(at)), alive) for e in equations]
    bare = [e for e in bare if e != 0]
    powers = {x: _common_power(bare, x) for x in alive}
    big = {x: sp.Symbol(f"{x.name}__{n}", real=True) if n > 1 else x for x, n in powers.items()}
    raised = tuple(_in_powers(e, powers, big) for e in bare)
    found = _search(name, raised, [big[x] for x in alive], signs, generic)
    out = []
    for b in found:
        values = dict(b.values)
        free = [x for x in alive if big[x] not in values]
        if any(powers[x] > 1 for x in free):
            back = {big[x]: x ** powers[x] for x in free}
            values = {k: v.xreplace(back) for k, v in values.items()}
            b = replace(b, nonzero=tuple(e.xreplace(back) for e in b.nonzero))
        options = [_roots(x, values[big[x]], powers[x], signs, x in nonnegative) for x in alive if x not in free]
        for choice in itertools.product(*options):
            made = {x: v for x, v, _ in choice}
            kept = _consistent((*b.positive, *(c for _, _, c in choice if c is not None)), signs)
            if kept is not None:
                out.append(Solution(values={**at, **made}, free=tuple(free), nonzero=b.nonzero, positive=kept))
    return out


def _consistent(conditions: Sequence[sp.Expr], signs: Signs) -> tuple[sp.Expr, ...] | None:
    """Conditions that do not follow from those before; None if one contradicts them."""
    kept: tuple[sp.Expr, ...] = ()
    for c in _once(conditions):
        known = signs.assuming(*kept).sign(c)
        if known == -1:
            return None
        kept = kept if known == 1 else (*kept, c)
    return kept


def _once(items: Sequence[sp.Expr]) -> tuple[sp.Expr, ...]:
    return tuple(dict.fromkeys(items))


def _stripped(e: sp.Expr, alive: Sequence[sp.Symbol]) -> sp.Expr:
    """Without powers of the unknowns as factors: they are not zero here."""
    e = sp.fraction(sp.together(e))[0] if e != 0 else e
    for x in alive:
        if e.has(x):
            p = sp.Poly(e, x)
            low = min(m for (m,) in p.monoms())
            e = sp.expand(e / x**low) if low else sp.expand(e)
    return e


def _common_power(equations: Sequence[sp.Expr], x: sp.Symbol) -> int:
    n = 0
    for e in equations:
        if e.has(x):
            n = gcd(n, *(m for (m,) in sp.Poly(e, x).monoms()))
    return max(n, 1)


def _in_powers(e: sp.Expr, powers: Mapping[sp.Symbol, int], big: Mapping[sp.Symbol, sp.Symbol]) -> sp.Expr:
    for x, n in powers.items():
        if n > 1 and e.has(x):
            p = sp.Poly(e, x)
            e = sp.Add(*(c * big[x] ** (m // n) for (m,), c in p.terms()))
    return sp.expand(e)


def _roots(
    x: sp.Symbol, value: sp.Expr, n: int, signs: Signs, nonnegative: bool
) -> list[tuple[sp.Symbol, sp.Expr, sp.Expr | None]]:
    """(x, root, condition) of x^n = value, x not zero."""
    sign = signs.sign(value) if n > 1 or nonnegative else 1
    if sign == 0:
        return []
    if n == 1:
        return [(x, value, None if sign else value)] if sign != -1 else []
    root = sp.Rational(1, n)
    if n % 2 == 0 or nonnegative:
        if sign == -1:
            return []
        plus = (x, value**root, None if sign else value)
        return [plus] if nonnegative else [plus, (x, -(value**root), plus[2])]
    if sign is None:
        return [(x, value**root, value), (x, -((-value) ** root), -value)]
    return [(x, value**root, None)] if sign > 0 else [(x, -((-value) ** root), None)]


# Branching ------------------------------------------------------------------------------------------------------------------


def _search(
    name: str, equations: tuple[sp.Expr, ...], unknowns: Sequence[sp.Symbol], signs: Signs, generic: list[sp.Expr]
) -> list[_Branch]:
    open_, done, visited = [_Branch(equations)], [], 0
    while open_:
        visited += 1
        if visited > CAP:
            raise BudgetExceeded(
                f"fixed points of {name}: more than {CAP} branches; set parameters to numbers, or reduce first"
            )
        b = open_.pop(0)
        cleaned = _cleaned(b, unknowns, signs, generic)
        if cleaned is None:
            continue
        if not cleaned.equations:
            done.append(cleaned)
            continue
        open_ = [*_split(name, cleaned, unknowns, signs), *open_]
    return done


def _cleaned(b: _Branch, unknowns: Sequence[sp.Symbol], signs: Signs, generic: list[sp.Expr]) -> _Branch | None:
    """Without trivial equations; None if one cannot hold."""
    kept = []
    for e in b.equations:
        e = sp.expand(sp.fraction(sp.cancel(sp.together(e)))[0])
        if e == 0:
            continue
        if not e.has(*unknowns):
            if signs.sign(e) is None:
                generic += [p for p in map(sp.factor, signs.parts(e)) if signs.sign(p) is None]
            return None
        kept.append(e)
    for e in b.nonzero:
        if sp.cancel(sp.together(e)) == 0:
            return None
    return replace(b, equations=tuple(dict.fromkeys(kept)))


def _split(name: str, b: _Branch, unknowns: Sequence[sp.Symbol], signs: Signs) -> list[_Branch]:
    """Branches of the equation whose factors are easiest to solve."""
    best: tuple[int, list[_Branch]] | None = None
    for e in b.equations:
        rest = tuple(q for q in b.equations if q is not e)
        cost, out = 0, list[_Branch]()
        for p, _ in sp.factor_list(e, *unknowns)[1]:
            if not p.has(*unknowns):
                continue
            step, more = _solve_factor(replace(b, equations=rest), p, unknowns, signs)
            cost, out = max(cost, step), out + more
        if best is None or cost < best[0]:
            best = (cost, out)
    assert best is not None
    if best[0] < HARD:
        return best[1]
    mixed = [e for e in b.equations if sum(e.has(x) for x in unknowns) > 1]
    degrees = [int(sp.Poly(e, *unknowns).total_degree()) for e in b.equations]
    if not b.based and mixed and prod(degrees) <= BEZOUT:
        basis = sp.groebner(list(b.equations), *[x for x in unknowns if any(e.has(x) for e in b.equations)], order="lex")
        return [replace(b, equations=tuple(basis.exprs), based=True)]
    worst = min((sp.factor(e) for e in b.equations), key=lambda e: len(str(e)))
    raise UnsupportedNode(
        f"fixed points of {name}: {worst} = 0 has no solution in square roots and powers; set parameters to numbers that make "
        "it factor, or find the fixed point numerically"
    )


def _solve_factor(b: _Branch, p: sp.Expr, unknowns: Sequence[sp.Symbol], signs: Signs) -> tuple[int, list[_Branch]]:
    """Difficulty and branches of p = 0: linear with a coefficient of parameters, linear, quadratic or binomial in one
    unknown, else hard."""
    inside = [x for x in unknowns if p.has(x)]
    linear = [(x, sp.Poly(p, x)) for x in inside if sp.Poly(p, x).degree() == 1]
    for x, q in linear:
        if not q.LC().has(*unknowns):
            return 1, [_put(b, x, -q.TC() / q.LC(), unknowns)]
    known = {sp.factor(e) for e in b.nonzero}
    for x, q in sorted(linear, key=lambda item: len(sp.Add.make_args(sp.expand(item[1].LC())))):
        c = sp.factor(q.LC())
        there = [_put(replace(b, nonzero=(*b.nonzero, c)), x, -q.TC() / c, unknowns)]
        monomial = len(sp.Add.make_args(sp.expand(c))) == 1  # a product of unknowns, which are not zero here
        if monomial or c in known or -c in known:
            return 2, there
        return 3, [*there, replace(b, equations=(*b.equations, sp.expand(c), sp.expand(q.TC())))]
    if len(inside) == 1 and (q := sp.Poly(p, inside[0])).degree() == 2:
        first, second, third = q.all_coeffs()
        inner = sp.factor(sp.expand(second**2 - 4 * first * third))
        sign = signs.sign(inner)
        if sign == -1:
            return 4, []
        outside, inside_root = _square_part(inner)
        extra = () if sign is not None else (inside_root,)
        roots = [(-second + r * outside * sp.sqrt(inside_root)) / (2 * first) for r in (1, -1)]
        return 4, [_put(replace(b, positive=(*b.positive, *extra)), inside[0], r, unknowns) for r in roots]
    if len(inside) == 1 and len(q := sp.Poly(p, inside[0]).terms()) == 2:
        ((n,), lead), (_, last) = q
        found = _roots(inside[0], sp.factor(-last / lead), n, signs, False)
        more = [(root, () if c is None else (c,)) for _, root, c in found]
        return 5, [_put(replace(b, positive=(*b.positive, *c)), inside[0], root, unknowns) for root, c in more]
    return HARD, []


def _square_part(e: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """e = a^2 b as (a, b); the sign of a does not matter where both roots are taken."""
    outside, inside = sp.Integer(1), sp.Integer(1)
    for part in sp.Mul.make_args(sp.factor(e)):
        b, n = part.as_base_exp()
        if n.is_Integer and not b.is_Number:
            outside, inside = outside * b ** (n // 2), inside * b ** (n % 2)
        elif part.is_Rational and sp.sqrt(sp.Abs(part)).is_Rational:
            outside, inside = outside * sp.sqrt(sp.Abs(part)), inside * sp.sign(part)
        else:
            inside = inside * part
    return outside, inside


def _put(b: _Branch, x: sp.Symbol, value: sp.Expr, unknowns: Sequence[sp.Symbol]) -> _Branch:
    value = sp.factor(sp.cancel(sp.together(value)))
    at = {x: value}
    done = tuple((k, sp.factor(sp.cancel(sp.together(v.xreplace(at))))) for k, v in b.values)
    return replace(
        b,
        equations=tuple(e.xreplace(at) for e in b.equations),
        values=(*done, (x, value)),
        nonzero=tuple(n for e in b.nonzero if (n := e.xreplace(at)).has(*unknowns)),
    )


def _without_members(found: tuple[Solution, ...]) -> tuple[Solution, ...]:
    """Drop isolated solutions that lie on a continuum (one with fewer values that agree for some free unknowns)."""
    out = []
    for s in found:
        inside = False
        for c in found:
            if c is s or len(c.free) <= len(s.free):
                continue
            at = {x: s.values.get(x, x) for x in c.free}
            regular = all(sp.cancel(e.xreplace(at)) != 0 for e in c.nonzero)
            if regular and all(x in s.values and sp.cancel(c.values[x].xreplace(at) - s.values[x]) == 0 for x in c.values):
                inside = True
        if not inside:
            out.append(s)
    return tuple(out)
