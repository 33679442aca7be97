r"""Which rung of the ladder averages a product: formula, guarded formula of local covariances, quadrature.

    1. functions made of soft signs, at most one exact condition: a formula (`derive.gaussian.ladder`);
    2. other products with steps: Gaussian factors are absorbed into the law, the rest is a local average
       (`derive.gaussian.local`), a formula with integrals over one or two variables in it;
    3. other smooth functions: Gaussian factors are absorbed, powers of fields without a function are removed by Stein's lemma,
       ``E[x_t f] = m_t E[f] + sum_b C_tb E[df/db]``, and a quadrature over the remaining fields is left.

Exponentials ``exp(a t)`` shift the means by a C_bt and give the factor exp(a m_t + a^2 C_tt / 2), exactly.
Imported by the Gaussian averages only.
"""

from __future__ import annotations

from fractions import Fraction

from derive.gaussian.factors import Factor, factor, opened, pattern_of
from derive.gaussian.ladder import NeedsGuard, expectation
from derive.gaussian.local import local_average, open_all
from derive.gaussian.measure import Measure
from derive.indices.indexed import ZERO, Node, add, const, fun, mul


def product_average(law: Measure, factors: tuple[Factor, ...], *, numbers: bool = True) -> Node:
    """Average of a product of functions, powers and Gaussian factors; without ``numbers`` formulas only.

    Raises
    ------
    UnsupportedNode
        If no rung covers the product; the message names it.
    """
    factors = tuple(sorted(factors))
    key = ("product", numbers, factors)
    if key not in law.memo:
        law.memo[key] = _product(law, factors, numbers)
    found: Node = law.memo[key]
    return found


def _product(law: Measure, factors: tuple[Factor, ...], numbers: bool) -> Node:
    for f in factors:
        if f.kind == "fun" and f.function in ("exp", "exp'"):
            return _shifted(law, f, _without(factors, f), numbers)
    smooth = [f for f in factors if f.kind == "fun" and pattern_of(f.function) is None]
    if not smooth:
        try:
            return add(*(mul(c, expectation(law, primitives)) for c, primitives in open_all(factors)))
        except NeedsGuard:
            if not numbers:
                raise
    elif not numbers:
        open_all(factors)  # refuses, naming the function
    for f in factors:
        split = _gaussian(f)
        if split is not None:
            rest = _without(factors, f)
            return add(*(mul(c, _tilted(law, parts, rest, numbers)) for c, parts in split))
    if smooth:
        busy = [f.slot for f in factors if f.kind == "fun"]
        for f in factors:
            if f.kind == "x" and f.slot not in busy:
                return _stein(law, f, _without(factors, f), numbers)
    return local_average(law, factors)


def _without(factors: tuple[Factor, ...], f: Factor) -> tuple[Factor, ...]:
    n = factors.index(f)
    return (*factors[:n], *factors[n + 1 :])


def _gaussian(f: Factor) -> list[tuple[Node, tuple[Factor, ...]]] | None:
    """The primitives of a factor, if a soft delta is among them."""
    parts = opened(f)
    return parts if parts and any(p.kind == "delta" and p.softness for _, fs in parts for p in fs) else None


def _tilted(law: Measure, parts: tuple[Factor, ...], rest: tuple[Factor, ...], numbers: bool) -> Node:
    delta = next(p for p in parts if p.kind == "delta")
    inner = law.condition(delta.slot, delta.softness)
    return mul(expectation(law, (delta,)), product_average(inner, (*_without(parts, delta), *rest), numbers=numbers))


def _shifted(law: Measure, f: Factor, rest: tuple[Factor, ...], numbers: bool) -> Node:
    inner = law.shift(f.slot)
    m, v = law.mean(f.slot), law.cov(f.slot, f.slot)
    return mul(fun("exp", add(m, mul(const(Fraction(1, 2)), v))), product_average(inner, rest, numbers=numbers))


def _stein(law: Measure, f: Factor, rest: tuple[Factor, ...], numbers: bool) -> Node:
    terms = [mul(law.mean(f.slot), product_average(law, rest, numbers=numbers))] if law.mean(f.slot) != ZERO else []
    for g in dict.fromkeys(rest):
        c = law.cov(f.slot, g.slot)
        if c == ZERO:
            continue
        slope = () if g.kind == "x" else (factor("fun", g.slot, function=g.function + "'"),)
        inner = product_average(law, (*_without(rest, g), *slope), numbers=numbers)
        terms.append(mul(const(rest.count(g)), c, inner))
    return add(*terms)


__all__ = ["product_average"]
