r"""Exact Gaussian averages by rewriting, each rule removing a delta or a power until only signs are left.

For a product of factors under a Gaussian law with covariance C and mean m, in this order:

0. sgn_0(t)^2 = 1 (hard signs only: two soft signs carry two independent noises); a constant slot is its value.
1. delta_s(t): the weight ``(2 pi V)^(-1/2) exp(-m_t^2 / (2 V))``, V = C_tt + s, times the average of the rest given t
(`Measure.condition`). 2. a power, by Stein: ``E[x_t f] = m_t E[f] + sum_b C_tb E[df/db]``, over distinct factors b with their
multiplicity. 3. signs only, V_i = C_ii + s_i: an odd number, centred: 0; one: erf2(m V^(-1/2)); two, centred: (2/pi)
asin(C_ab V_a^(-1/2) V_b^(-1/2)).

Rule 1 precedes rule 2, so that no delta is ever differentiated. Each step removes a power or a delta, so the rewriting ends,
and every result is exact. Not covered, and refused by name: several signs with means, four and more signs, signs under an
exact condition together with a second one, functions that are not made of these primitives. Correlations of two hard signs
can leave [-1, 1] by rounding when fields coincide: evaluations of ``asin`` clip their argument. Imported by the Gaussian
averages and `online_limit`.
"""

from __future__ import annotations

from fractions import Fraction

from derive.errors import UnsupportedNode
from derive.gaussian.factors import Factor, factor
from derive.gaussian.measure import Measure
from derive.indexed import ONE, PI, ZERO, Node, add, const, fun, mul, power, text

_HALF = Fraction(1, 2)


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
    if any(f.kind == "smooth" for f in factors):
        raise UnsupportedNode(
            f"the average of {' '.join(repr(f) for f in factors)} has no closed form in erf, exp and powers; use "
            "fn.erf2 or a polynomial "
            "instead, or gaussian.average with a numerical covariance (quadrature)"
        )
    return _signs(law, factors)


def _without(factors: tuple[Factor, ...], f: Factor) -> tuple[Factor, ...]:
    n = factors.index(f)
    return (*factors[:n], *factors[n + 1 :])


def _delta(law: Measure, f: Factor, rest: tuple[Factor, ...], *, weighted: bool = False) -> Node:
    """``weighted``: the delta is multiplied by the variance of its field, so that a vanishing variance does no harm."""
    if law.hard and not f.softness and not weighted:
        raise UnsupportedNode(
            f"delta({text(f.slot)}) under another exact condition: its limit for coinciding fields is not covered yet; "
            "use fn.erf2 instead of "
            "a step or ReLU, or noise='none'"
        )
    if not f.softness and any(g.kind == "delta" and not g.softness and g.slot == f.slot for g in rest):
        raise UnsupportedNode(
            f"delta({text(f.slot)})^2: the square of a delta function has no average; the update squares the derivative "
            "of a step in "
            "its noise term; use a smooth activation, or noise='none'"
        )
    v, m = add(law.cov(f.slot, f.slot), const(f.softness)), law.mean(f.slot)
    child = law.condition(f.slot, f.softness)
    bump = ONE if m == ZERO else fun("exp", mul(const(-_HALF), power(m, 2), power(v, -1)))
    return mul(power(const(2), -_HALF), power(PI, -_HALF), power(v, -_HALF), bump, expectation(child, rest))


def _stein(law: Measure, f: Factor, rest: tuple[Factor, ...]) -> Node:
    terms = [mul(law.mean(f.slot), expectation(law, rest))] if law.mean(f.slot) != ZERO else []
    for g in dict.fromkeys(rest):
        c = law.cov(f.slot, g.slot)
        if c == ZERO:
            continue
        others = _without(rest, g)
        if g.kind == "x":
            inner = expectation(law, others)
        elif g.kind == "sgn":
            delta = factor("delta", g.slot, g.softness)
            inner = mul(const(2), _delta(law, delta, others, weighted=g.slot == f.slot))
        else:
            inner = expectation(law, (*others, factor("smooth", g.slot, function=g.function + "'")))
        terms.append(mul(const(rest.count(g)), c, inner))
    return add(*terms)


def _signs(law: Measure, factors: tuple[Factor, ...]) -> Node:
    means = [law.mean(f.slot) for f in factors]
    centred = all(m == ZERO for m in means)
    if centred and len(factors) % 2:
        return ZERO
    v = [add(law.cov(f.slot, f.slot), const(f.softness)) for f in factors]
    if any(x == ZERO for x in v):
        raise UnsupportedNode(
            f"{' '.join(repr(f) for f in factors)}: the sign of a constant field is not averaged; remove the constant"
        )
    if len(factors) == 1:
        return fun("erf2", mul(means[0], power(v[0], -_HALF)))
    if len(factors) == 2 and centred:
        a, b = factors
        if law.hard and not (a.softness and b.softness):
            raise UnsupportedNode(
                f"{a} {b}: two steps under an exact condition are not covered yet; use fn.erf2 instead of a step or ReLU"
            )
        c = law.cov(a.slot, b.slot)
        return mul(const(2), power(PI, -1), fun("asin", mul(c, power(v[0], -_HALF), power(v[1], -_HALF))))
    means_text = "" if centred else " with means"
    raise UnsupportedNode(
        f"{' '.join(repr(f) for f in factors)}: the average of {len(factors)} signs{means_text} is an integral that is "
        "not covered yet; "
        "use a centred input and at most two activations outside derivatives, e.g. fn.erf2 trained on the squared error"
    )
