r"""Exact Gaussian averages by rewriting, each rule removing a delta or a power until only signs are left.

For a product of factors under a Gaussian law with covariance C and mean m, in this order:

0. sgn_0(t)^2 = 1 (hard signs only: two soft signs carry two independent noises).
1. delta_s(t): the weight ``(2 pi V)^(-1/2) exp(-m_t^2 / (2 V))``, V = C_tt + s, times the average of the rest given t
   (`Measure.condition`).
2. a power, by Stein: ``E[x_t f] = m_t E[f] + sum_b C_tb E[df/db]``, over distinct factors b with their multiplicity.
3. signs only, V_i = C_ii + s_i: an odd number, centred: 0; one: erf2(m V^(-1/2)); two, centred: (2/pi) asin(C_ab V_a^(-1/2)
   V_b^(-1/2)), written ``angle`` if one is hard; otherwise a function of `derive.gaussian.signs`.

Rule 1 precedes rule 2, so that no delta is ever differentiated. Each step removes a power or a delta, so the rewriting ends.
A plain law covers at most one exact condition and two signs; a product that needs more raises `NeedsGuard` and is averaged in
a framed law of its own fields (`derive.gaussian.local`), which allows coinciding fields. Correlations of two hard signs can
leave [-1, 1] by rounding: evaluations of ``asin`` clip their argument. Imported by the Gaussian averages.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

from derive.errors import UnsupportedNode
from derive.gaussian.factors import Factor, factor
from derive.gaussian.measure import Measure
from derive.indices.indexed import ONE, PI, ZERO, Node, add, const, fun, mul, power, text

_HALF = Fraction(1, 2)
MOST = 6  # signs in one average


class NeedsGuard(UnsupportedNode):
    """A product of hard functions whose average is a function of numbers, not a formula: it is taken in a framed law."""


def expectation(law: Measure, factors: tuple[Factor, ...]) -> Node:
    """Average of a product of factors under a law.

    Raises
    ------
    UnsupportedNode
        If a case is not covered; the message names it.
    """
    factors = _squares(tuple(sorted(factors)))
    key = ("average", factors)
    if key not in law.memo:
        law.memo[key] = _average(law, factors)
    found: Node = law.memo[key]
    return found


def _squares(factors: tuple[Factor, ...]) -> tuple[Factor, ...]:
    """sgn_0^2 = 1."""
    out: list[Factor] = []
    for f in factors:
        if f.kind == "sgn" and not f.softness and out and out[-1] == f:
            out.pop()
        else:
            out.append(f)
    return tuple(out)


def _average(law: Measure, factors: tuple[Factor, ...]) -> Node:
    if not factors:
        return ONE
    for f in factors:
        if f.kind == "delta":
            return _delta(law, f, _without(factors, f))
    powers = [f for f in factors if f.kind == "x"]
    if powers:  # fields without a hard sign first: then no two hard conditions meet but on one field
        hard = [g.slot for g in factors if g.kind == "sgn" and not g.softness]
        f = min(powers, key=lambda p: (p.slot in hard, p))
        return _stein(law, f, _without(factors, f))
    return _signs(law, factors)


def _without(factors: tuple[Factor, ...], f: Factor) -> tuple[Factor, ...]:
    n = factors.index(f)
    return (*factors[:n], *factors[n + 1 :])


def _delta(law: Measure, f: Factor, rest: tuple[Factor, ...], *, weighted: bool = False, bare: bool = True) -> Node:
    """``weighted``: the delta is multiplied by the variance of its field, so that a vanishing variance does no harm; not
    ``bare``: by a covariance of its field, which vanishes with the variance."""
    if law.hard and not f.softness and not weighted and not law.guarded:
        raise NeedsGuard(
            f"delta({text(f.slot)}) under another exact condition: no closed form for a symbolic covariance; give numbers"
        )
    if not f.softness and any(g.kind == "delta" and not g.softness and g.slot == f.slot for g in rest):
        raise UnsupportedNode(
            f"delta({text(f.slot)})^2: the square of a delta function has no average; the update squares the derivative "
            "of a step in its noise term; use a smooth activation, or noise='none'"
        )
    v, m = add(law.cov(f.slot, f.slot), const(f.softness)), law.mean(f.slot)
    if f.slot in law.fixed and not f.softness:
        return ZERO  # the covariances that multiply it vanish
    child = law.condition(f.slot, f.softness)
    if law.guarded and not f.softness and not bare:  # the field may be a constant zero
        root = fun("rsqrt", v)
        bump = ONE if m == ZERO else fun("normal_weight", m, root)
    else:
        root = power(v, -_HALF)
        bump = ONE if m == ZERO else fun("exp", mul(const(-_HALF), power(m, 2), power(v, -1)))
    return mul(power(const(2), -_HALF), power(PI, -_HALF), root, bump, expectation(child, rest))


def _stein(law: Measure, f: Factor, rest: tuple[Factor, ...]) -> Node:
    terms = [mul(law.mean(f.slot), expectation(law, rest))] if law.mean(f.slot) != ZERO else []
    for g in dict.fromkeys(rest):
        c = law.cov(f.slot, g.slot)
        if c == ZERO:
            continue
        others = _without(rest, g)
        if g.kind == "x":
            inner = expectation(law, others)
        else:
            delta = factor("delta", g.slot, g.softness)
            inner = mul(const(2), _delta(law, delta, others, weighted=g.slot == f.slot, bare=False))
        terms.append(mul(const(rest.count(g)), c, inner))
    return add(*terms)


def _signs(law: Measure, factors: tuple[Factor, ...]) -> Node:
    slots = [f.slot for f in factors]
    means = [law.mean(s) for s in slots]
    centred = all(m == ZERO for m in means)
    soft = all(f.softness for f in factors)
    n = len(factors)
    if centred and n % 2:
        return ZERO
    v = [add(law.cov(f.slot, f.slot), const(f.softness)) for f in factors]
    if any(x == ZERO for x in v):
        if law.hard and law.guarded:  # a sign under a condition on its own field, the others independent of its noise
            return ZERO
        raise UnsupportedNode(f"{_shown(factors)}: the sign of a constant field is not averaged; remove the constant")
    if n == 1 and (soft or not law.guarded):
        return fun("erf2", mul(means[0], power(v[0], -_HALF)))
    if n == 2 and centred and not soft and not law.hard:
        return mul(const(2), power(PI, -1), fun("angle", law.cov(*slots), *v))
    if n == 2 and centred and soft:
        return mul(const(2), power(PI, -1), fun("asin", mul(law.cov(*slots), power(v[0], -_HALF), power(v[1], -_HALF))))
    if not law.guarded:
        under = "two steps under an exact condition" if law.hard else f"{n} signs{'' if centred else ' with means'}"
        raise NeedsGuard(
            f"{_shown(factors)}: the average of {under} has no closed form for a symbolic covariance; give numbers, or use a "
            "centred input and at most two activations outside derivatives"
        )
    return _guarded_signs(law, factors, means, v)


def _guarded_signs(law: Measure, factors: tuple[Factor, ...], means: list[Node], v: list[Node]) -> Node:
    """Leaves that are functions of `derive.gaussian.signs` and `derive.gaussian.frames`, evaluated in the kernel."""
    n, slots = len(factors), [f.slot for f in factors]
    if n > MOST:
        raise UnsupportedNode(f"{_shown(factors)}: the average of {n} signs; at most {MOST} are treated, lower the degree")
    pairs = list(combinations(range(n), 2))
    cross = [law.cov(slots[i], slots[j]) for i, j in pairs]
    if not law.hard:
        centred = all(m == ZERO for m in means)
        return fun("sign4", *v, *cross) if centred and n == 4 else fun(f"signs{n}", *means, *v, *cross)
    assert law.frame is not None
    places, noises = [const(law.rows.index(s)) for s in slots], [const(f.softness) for f in factors]
    if n == 2 and all(m == ZERO for m in means):
        return mul(const(2), power(PI, -1), fun("frame_angle", law.frame, *places, *noises))
    return fun(f"framed{n}", law.frame, *places, *noises)


def _shown(factors: tuple[Factor, ...]) -> str:
    return " ".join(repr(f) for f in factors)
