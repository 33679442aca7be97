r"""Averages of functions of a binomial count, in closed form.

For k ~ Bin(n, p) and a function R that is a sum of products of powers of k, comparisons and exponentials of forms a k + b:

    E[k (k-1) .. (k-j+1)]              = n (n-1) .. (n-j+1) p^j
    E[k (k-1) .. (k-j+1) 1{k >= c}]    = n (n-1) .. (n-j+1) p^j P(Bin(n-j, p) >= c - j)
    E[R(k) 1{k = c}]                   = R(c) C(n, c) p^c (1-p)^(n-c),           p^n for c = n
    E[R(k) e^{a k}]                    = (1 - p + p e^a)^n E'[R(k)],             p' = p e^a / (1 - p + p e^a)

n, p, c and the parameters of R stay symbols, so that one formula serves every number of trials. Imported by the averages over
episodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from fractions import Fraction
from math import lcm

from derive.errors import UnsupportedNode
from derive.fields.calculus import powers_of
from derive.gaussian.terms import Term, expand
from derive.indices.indexed import ONE, ZERO, Node, add, arr, arrays, const, fun, mul, power, replace, text

MINUS = const(-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """``name ~ Bin(n, p)``; ``shown`` is what the count is called in messages, ``sizes`` are names of positive numbers."""

    name: str
    n: Node
    p: Node
    shown: str = "the count"
    sizes: tuple[str, ...] = ()

    @property
    def rest(self) -> Node:
        """``1 - p``."""
        return add(ONE, mul(MINUS, self.p))


def raised(base: Node, exponent: Node) -> Node:
    """``base^exponent`` for an exponent that may be a symbol.

    >>> raised(arr("P"), add(arr("T"), MINUS)), raised(arr("P"), const(2))
    (power(P, -1 + T), P^2)
    """
    return power(base, exponent.args[0]) if exponent.op == "const" else fun("power", base, exponent)


def falling(n: Node, j: int) -> Node:
    """``n (n - 1) .. (n - j + 1)``."""
    return mul(*(add(n, const(-i)) for i in range(j)))


def count_mean(R: Node, law: Law, shift: int = 0) -> Node:
    """Average of ``R(k + shift)`` over the count.

    Raises
    ------
    UnsupportedNode
        If R is not made of powers, comparisons and exponentials of the count, or jumps at a value that the count takes.

    >>> law = Law(name="k", n=arr("T"), p=arr("P"))
    >>> count_mean(power(arr("k"), 2), law)
    P*T + T*P^2*(-1 + T)
    >>> count_mean(fun("is_zero", arr("k") - arr("T")), law)
    power(P, T)
    """
    if law.name not in arrays(R):
        return R
    if shift:
        R = replace(R, lambda a: add(a, const(shift)) if a.args[0] == law.name else a)
    try:
        terms = expand(R, lambda a: a.args[0] == law.name)
    except UnsupportedNode:
        raise _unread(R, law) from None
    return add(*(_term(t, law) for t in terms))


def _shown(node: Node, law: Law) -> str:
    """Text with the letter k for the count."""
    return text(replace(node, lambda a: arr("k") if a.args[0] == law.name else a))


def _unread(R: Node, law: Law) -> UnsupportedNode:
    return UnsupportedNode(
        f"{_shown(R, law)[:120]} is not made of powers, comparisons (KroneckerDelta, fn.step) and exponentials of {law.shown}; "
        "write it as a sum of such terms (k is the count), or list its values with case(k, {...})"
    )


def _term(term: Term, law: Law) -> Node:
    if term.bound:
        raise _unread(term.coefficient, law)
    degree, zeros, exponent = 0, [], []
    products: list[Option] = [(ONE, 0, ())]
    for f in term.factors:
        if f.kind == "x":
            degree += _degree(f.slot, law)
            continue
        if f.kind != "fun":
            raise _unread(f.slot, law)
        if f.function == "is_zero":
            zeros.append(f.slot)
        elif f.function == "exp":
            exponent.append(f.slot)
        else:
            options = _compared(f.function, f.slot, law)
            products = [(mul(c, d), p + q, (*s, *u)) for c, p, s in products for d, q, u in options]
    value = add(*(_product(c, degree + p, s, zeros, exponent, law) for c, p, s in products))
    return mul(term.coefficient, value)


def _degree(slot: Node, law: Law) -> int:
    if slot != arr(law.name):
        raise _unread(slot, law)
    return 1


def _line(slot: Node, law: Law) -> tuple[Node, Node]:
    """(a, b) of a form a k + b."""
    parts = powers_of(slot, law.name, "a reward")
    a, b = parts.get(Fraction(1), ZERO), parts.get(Fraction(0), ZERO)
    if any(p not in (0, 1) for p in parts) or a == ZERO:
        raise _unread(slot, law)
    return a, b


Option = tuple[Node, int, tuple[Node, ...]]
"""coefficient * k^power * product of 1{k >= c}."""


def _sign(a: Node, law: Law) -> int:
    """Sign of a number times powers of sizes; 0 if it is not known."""
    out = 1
    for f in a.args if a.op == "mul" else (a,):
        base = f.args[0] if f.op == "pow" else f
        if f.op == "const":
            out = -1 if f.args[0] < 0 else 1
        elif base.op != "arr" or base.args[0] not in law.sizes:
            return 0
    return out


def _compared(name: str, slot: Node, law: Law) -> list[Option]:
    """A function with one jump or kink, in lower thresholds."""
    if name not in ("step", "sgn", "relu", "abs"):
        raise _unread(fun(name, slot), law)
    a, b = _line(slot, law)
    sign = _sign(a, law)
    if not sign:
        raise UnsupportedNode(
            f"{name}({_shown(slot, law)}): the sign of {text(a)} decides what is counted; divide the comparison by it"
        )
    c = _threshold(name, _spread(mul(MINUS, b, power(a, -1))), _shown(slot, law))
    above: list[Option] = [(ONE, 0, (c,))]  # 1{slot > 0}
    if sign < 0:
        above = [(ONE, 0, ()), (MINUS, 0, (c,))]
    if name == "step":
        return above
    signed = [(mul(const(2), d), p, s) for d, p, s in above] + [(MINUS, 0, ())]
    if name == "sgn":
        return signed
    base = above if name == "relu" else signed
    return [(mul(a, d), p + 1, s) for d, p, s in base] + [(mul(b, d), p, s) for d, p, s in base]


def _threshold(name: str, c: Node, shown: str) -> Node:
    """The place c of the jump; refused where a count can take this value, because 0 is no matter of convention there."""
    number, step = Fraction(0), 1
    for part in c.args if c.op == "add" else (c,):
        if part.op == "const":
            number += part.args[0]
        else:
            q = part.args[0].args[0] if part.op == "mul" and part.args[0].op == "const" else Fraction(1)
            step = lcm(step, q.denominator)
    if (number * step).denominator == 1 and name in ("step", "sgn"):
        raise UnsupportedNode(
            f"{name}({shown}) jumps at {text(c)}, a value that a count may take; move the jump between two values, for "
            "instance fn.step(k - n + Rational(1, 2)) for at least n"
        )
    return c


def _product(c: Node, degree: int, steps: Sequence[Node], zeros: Sequence[Node], exponent: Sequence[Node], law: Law) -> Node:
    weight = c
    for slot in exponent:
        a, b = _line(slot, law)
        tilt = fun("exp", a)
        total = add(law.rest, mul(law.p, tilt))
        weight = mul(weight, fun("exp", b) if b != ZERO else ONE, raised(total, law.n))
        law = replaced(law, p=mul(law.p, tilt, power(total, -1)))
    if zeros:
        return mul(weight, _exactly(degree, steps, zeros, law))
    if not steps:
        return mul(weight, add(*(mul(const(s), falling(law.n, j), power(law.p, j)) for j, s in _stirling(degree))))
    least = _largest(steps)
    return mul(
        weight,
        add(*(mul(const(s), falling(law.n, j), power(law.p, j), _tail(least, j, law)) for j, s in _stirling(degree))),
    )


def _stirling(degree: int) -> list[tuple[int, int]]:
    """(j, S(degree, j)): ``k^degree`` in falling factorials."""
    row = [1]
    for _ in range(degree):
        row = [(row[j - 1] if j else 0) + (j * row[j] if j < len(row) else 0) for j in range(len(row) + 1)]
    return [(j, s) for j, s in enumerate(row) if s]


def _largest(values: Sequence[Node]) -> Node:
    out = values[0]
    for v in values[1:]:
        d = add(v, mul(MINUS, out))
        larger = mul(const(Fraction(1, 2)), add(v, out, fun("abs", d)))
        out = larger if d.op != "const" else v if d.args[0] > 0 else out
    return out


def _tail(least: Node, j: int, law: Law) -> Node:
    n, c = add(law.n, const(-j)), add(least, const(-j))
    d = add(n, mul(MINUS, c))
    if d.op == "const" and d.args[0] < 1:
        return raised(law.p, n) if d.args[0] >= 0 else ZERO
    if c.op == "const" and c.args[0] <= 0:
        return ONE
    return fun("binomial_tail", c, n, law.p)


def _exactly(degree: int, steps: Sequence[Node], zeros: Sequence[Node], law: Law) -> Node:
    """``E[k^degree 1{k = c} ..]``."""
    a, b = _line(zeros[0], law)
    c = _spread(mul(MINUS, b, power(a, -1)))
    at = lambda node: replace(node, lambda x: c if x.args[0] == law.name else x)  # noqa: E731
    out = [power(c, degree)] if degree else []
    for z in dict.fromkeys(zeros[1:]):
        if z != zeros[0]:
            d = at(z)
            out.append(const(int(d == ZERO)) if d.op == "const" else fun("is_zero", d))
    for s in steps:
        d = add(c, mul(MINUS, s))
        out.append(const(int(d.args[0] >= 0)) if d.op == "const" else fun("step", d))
    return mul(_probability(c, law), *out)


def _spread(c: Node) -> Node:
    """A product with one sum in it, multiplied out, so that differences of counts cancel."""
    sums = [n for n, f in enumerate(c.args) if f.op == "add"] if c.op == "mul" else []
    if len(sums) != 1:
        return c
    (n,) = sums
    return add(*(mul(*c.args[:n], *c.args[n + 1 :], t) for t in c.args[n].args))


def _probability(c: Node, law: Law) -> Node:
    d = add(law.n, mul(MINUS, c))
    if d == ZERO:
        return raised(law.p, law.n)
    if c == ZERO:
        return raised(law.rest, law.n)
    if (d.op == "const" and d.args[0] < 0) or (c.op == "const" and c.args[0] < 0):
        return ZERO
    if any(x.op == "const" and x.args[0].denominator != 1 for x in (c, d)):
        return ZERO
    return fun("binomial", c, law.n, law.p)


__all__ = ["Law", "count_mean", "falling", "raised"]
