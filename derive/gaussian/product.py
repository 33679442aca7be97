r"""Which rung of the ladder averages a product: formula, guarded formula of local covariances, quadrature.

    1. functions made of soft signs, at most one exact condition: a formula (`derive.gaussian.ladder`);
    2. other products with steps: Gaussian factors are absorbed into the law, the rest is a local average
       (`derive.gaussian.local`), a formula with integrals over one or two variables in it;
    3. other smooth functions: Gaussian factors are absorbed, powers of fields without a function are removed by Stein's lemma,
       ``E[x_t f] = m_t E[f] + sum_b C_tb E[df/db]``, one delta function (of a jump) conditions its field exactly, and a
       quadrature over the remaining fields is left.

Exponentials ``exp(a t)`` shift the means by a C_bt and give the factor exp(a m_t + a^2 C_tt / 2), exactly.
Imported by the Gaussian averages only.
"""

from __future__ import annotations

from fractions import Fraction

from derive.gaussian.factors import WAVES, Factor, factor, opened, pattern_of, wave
from derive.gaussian.ladder import NeedsGuard, expectation
from derive.gaussian.local import local_average, open_all
from derive.gaussian.measure import Measure
from derive.indices.indexed import ONE, ZERO, Node, add, const, fun, mul


def product_average(law: Measure, factors: tuple[Factor, ...], *, numbers: bool = True) -> Node:
    """Average of a product of functions, powers and Gaussian factors; without ``numbers`` formulas only.

    Raises
    ------
    UnsupportedNode
        If no rung covers the product; the message names it.
    """
    factors = _without_squares(tuple(sorted(factors)))
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
    if not smooth and not (numbers and _may_coincide(law, factors)):
        try:
            return add(*(mul(c, expectation(law, primitives)) for c, primitives in open_all(factors)))
        except NeedsGuard:
            if not numbers:
                raise
    for f in factors:
        split = _gaussian(f, exact=bool(smooth) and not law.hard)
        if split is not None:
            rest = _without(factors, f)
            return add(*(mul(c, _tilted(law, parts, rest, numbers)) for c, parts in split))
    if smooth and all(f.function in WAVES for f in factors if f.kind == "fun"):
        return _waves(law, factors, smooth, numbers)
    if smooth and not numbers:
        open_all(factors)  # refuses, naming the function
    if smooth:
        busy = [f.slot for f in factors if f.kind == "fun"]
        for f in factors:
            if f.kind == "x" and f.slot not in busy:
                return _stein(law, f, _without(factors, f), numbers)
    return local_average(law, factors)


def _may_coincide(law: Measure, factors: tuple[Factor, ...]) -> bool:
    """Whether jumps of several fields with means stand together: under a condition on one of them the sign of another has a
    mean and, if the two coincide for some values of their labels, no variance, so that a plain formula would divide by zero."""
    hard = dict.fromkeys(f.slot for f in factors if any(kind in ("sgn", "delta") and not s for kind, s in _primitives(f)))
    return len(hard) > 1 and any(law.mean(slot) != ZERO for slot in hard)


def _primitives(f: Factor) -> list[tuple[str, Fraction]]:
    if f.kind != "fun":
        return [(f.kind, f.softness)]
    return [p for _, primitives in pattern_of(f.function) or () for p in primitives]


def _without(factors: tuple[Factor, ...], f: Factor) -> tuple[Factor, ...]:
    n = factors.index(f)
    return (*factors[:n], *factors[n + 1 :])


def _without_squares(factors: tuple[Factor, ...]) -> tuple[Factor, ...]:
    """``sgn^2 = 1`` and ``step^2 = step``."""
    out: list[Factor] = []
    for f in factors:
        if f.function in ("sgn", "step") and out and out[-1] == f:
            if f.function == "sgn":
                out.pop()
        else:
            out.append(f)
    return tuple(out)


def _gaussian(f: Factor, *, exact: bool) -> list[tuple[Node, tuple[Factor, ...]]] | None:
    """The primitives of a factor, if a soft delta (``exact``: any) is among them."""
    parts = opened(f)
    return parts if parts and any(p.kind == "delta" and (p.softness or exact) for _, fs in parts for p in fs) else None


def _tilted(law: Measure, parts: tuple[Factor, ...], rest: tuple[Factor, ...], numbers: bool) -> Node:
    delta = next(p for p in parts if p.kind == "delta")
    inner = law.condition(delta.slot, delta.softness)
    return mul(expectation(law, (delta,)), product_average(inner, (*_without(parts, delta), *rest), numbers=numbers))


def _shifted(law: Measure, f: Factor, rest: tuple[Factor, ...], numbers: bool) -> Node:
    inner = law.shift(f.slot)
    m, v = law.mean(f.slot), law.cov(f.slot, f.slot)
    return mul(fun("exp", add(m, mul(const(Fraction(1, 2)), v))), product_average(inner, rest, numbers=numbers))


def _waves(law: Measure, factors: tuple[Factor, ...], waves: list[Factor], numbers: bool) -> Node:
    """Powers times sines and cosines: products of waves as sums of one, powers by Stein's lemma, and one wave left,
    ``E[cos t] = cos(m_t) exp(-C_tt / 2)``, the same for sin."""
    f, *others = waves
    rest = _without(factors, f)
    if others:
        g = others[0]
        rest = _without(rest, g)
        minus = (add(f.slot, mul(const(-1), g.slot)), 1 if f.function == g.function else -1 if f.function == "cos" else 1)
        plus = (add(f.slot, g.slot), -1 if f.function == g.function == "sin" else 1)
        name = "cos" if f.function == g.function else "sin"
        terms = []
        for slot, sign in (minus, plus):
            if slot != ZERO:
                inner = product_average(law, (*rest, factor("fun", slot, function=name)), numbers=numbers)
            else:
                inner = product_average(law, rest, numbers=numbers) if name == "cos" else ZERO
            terms.append(mul(const(Fraction(sign, 2)), inner))
        return add(*terms)
    if rest:
        x, *_ = rest
        return _stein(law, x, _without(factors, x), numbers)
    m, v = law.mean(f.slot), law.cov(f.slot, f.slot)
    start = ONE if m == ZERO and f.function == "cos" else ZERO if m == ZERO else fun(f.function, m)
    return mul(start, fun("exp", mul(const(Fraction(-1, 2)), v)))


def _stein(law: Measure, f: Factor, rest: tuple[Factor, ...], numbers: bool) -> Node:
    terms = [mul(law.mean(f.slot), product_average(law, rest, numbers=numbers))] if law.mean(f.slot) != ZERO else []
    for g in dict.fromkeys(rest):
        c = law.cov(f.slot, g.slot)
        if c == ZERO:
            continue
        sign, name = wave(g.function + "'")
        slope = () if g.kind == "x" else (factor("fun", g.slot, function=name),)
        inner = product_average(law, (*_without(rest, g), *slope), numbers=numbers)
        terms.append(mul(const(rest.count(g)), sign if slope else ONE, c, inner))
    return add(*terms)


__all__ = ["product_average"]
