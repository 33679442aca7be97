r"""Functions of signs, and events made of signs.

A function of finitely many signs s_1 .. s_m is a polynomial that is linear in each of them (its Walsh expansion),

    f(s_1, .., s_m) = sum over subsets A of c_A prod_{i in A} s_i,      c_A = 2^{-m} sum over s of f(s) prod_{i in A} s_i,

and sgn(a b) = sgn(a) sgn(b). So ``step(y * ystar)``, ``abs(y - ystar)/2`` or ``tanh(b + y)`` with y = sgn(lam) become sums of
products of signs of single fields, which the Gaussian averages treat exactly. A function of fields *and* signs is split by the
same expansion, with coefficients f(lam; s) that still hold the fields, where the argument is linear in them once the signs are
known: ``relu(1 - sgn(nu) lam)``, ``step(kappa - |lam|)``, ``tanh(relu(lam))`` (|z| = z sgn z, relu z = z step z). A function
that takes two values only is an *event*: ``value = low + (high - low) 1[event]``. Imported by the averages over episodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import prod
from typing import Any

from derive.errors import BudgetExceeded
from derive.gaussian.terms import Fields, random
from derive.indices.indexed import ONE, Index, Node, add, const, fun, mul, power, rebuild, substitute, sum_over

SIGNS = ("sgn", "step")
MOST = 8
LONG = 64  # terms of a product of polynomials in signs, beyond which it is written as one


def open_signs(node: Node, fields: Fields) -> Node:
    """The same expression, with functions of signs written as polynomials of signs.

    Sums over labels are left where they are: a function of a sum of signs is no function of finitely many signs.

    >>> from derive.indices.indexed import arr
    >>> y = [fun("sgn", arr(n)) for n in ("a", "b")]
    >>> open_signs(fun("step", mul(*y)), lambda n: True)
    1/2 + (1/2)*sgn(a)*sgn(b)
    """
    if not random(node, fields) or node.op == "arr":
        return node
    if node.op == "sum":
        i, body = node.args
        return sum_over(i, open_signs(body, fields))
    args: list[Any] = [open_signs(a, fields) if isinstance(a, Node) else a for a in node.args]
    if node.op == "add":
        return add(*args)
    if node.op == "mul":
        return _gathered(args, fields)
    if node.op == "pow":
        whole = power(args[0], args[1])
        return _gathered([whole], fields) if args[1].denominator == 1 and args[1] > 0 else _polynomial(whole, fields)
    return _function(fun(*args), fields)


def _gathered(factors: list[Any], fields: Fields) -> Node:
    """A product; factors made of signs alone as one polynomial, linear in each sign, if multiplying them out would be long."""
    made = mul(*factors)
    if _length(made) <= LONG:
        return made
    pure = [f for f in factors if atoms(f, fields)]
    signs = atoms(mul(*pure), fields) or ()
    if not signs or len(signs) > MOST:
        return made
    return mul(*(f for f in factors if f not in pure), walsh(mul(*pure), signs))


def _length(node: Node) -> int:
    """Number of terms after multiplying out."""
    if node.op == "add":
        return sum(_length(a) for a in node.args)
    if node.op == "mul":
        return prod(_length(a) for a in node.args)
    if node.op == "pow":
        return int(_length(node.args[0]) ** max(int(node.args[1]), 1))
    return 1


def _function(node: Node, fields: Fields) -> Node:
    name, *args = node.args
    if len(args) == 1 and name in SIGNS:
        split = _of_product(args[0], fields)
        if split is not None:
            return split if name == "sgn" else add(const(Fraction(1, 2)), mul(const(Fraction(1, 2)), split))
    made = _polynomial(node, fields)
    return _pieces(node, fields) if made == node and len(args) == 1 else made


def _pieces(node: Node, fields: Fields) -> Node:
    """A function whose argument holds signs and fields, as a sum over the values of the signs."""
    argument = _unfolded(node.args[1], fields)
    signs = tuple(sorted(dict.fromkeys(_kinks(argument, fields)), key=lambda n: n.order))
    return walsh(fun(node.args[0], argument), signs) if signs else node


def _unfolded(node: Node, fields: Fields) -> Node:
    """``abs``, ``relu`` and ``step`` of linear forms by signs of forms with a positive leading coefficient; not inside sums."""
    if node.op in ("arr", "sum") or not random(node, fields):
        return node
    args: list[Any] = [_unfolded(a, fields) if isinstance(a, Node) else a for a in node.args]
    name = args[0] if node.op == "fun" and len(args) == 2 else ""
    if name not in ("sgn", "step", "abs", "relu") or _has_sign_sum(args[1], fields):
        return rebuild(node, args)
    z = args[1]
    q = _leading(z)
    s = mul(const(1 if q > 0 else -1), fun("sgn", mul(const(1 / q), z)))
    half = mul(const(Fraction(1, 2)), add(ONE, s))
    return {"sgn": s, "step": half, "abs": mul(z, s), "relu": mul(z, half)}[name]


def _leading(z: Node) -> Fraction:
    first = z.args[0]
    if z.op == "add":
        return _leading(first)
    return Fraction(first.args[0]) if z.op == "mul" and first.op == "const" else Fraction(1)


def _kinks(node: Node, fields: Fields) -> Iterator[Node]:
    """Signs of linear forms that stand in sums, products and powers of a node."""
    if node.op == "fun" and node.args[0] == "sgn" and random(node, fields):
        yield node
    elif node.op in ("add", "mul", "pow"):
        for a in node.args:
            if isinstance(a, Node):
                yield from _kinks(a, fields)


def _of_product(z: Node, fields: Fields) -> Node | None:
    """``sgn(z)`` for a product z of several random factors; None if there is nothing to split."""
    factors = z.args if z.op == "mul" else (z,)
    loud = [f for f in factors if random(f, fields)]
    if len(loud) == 1 and loud[0].op not in ("pow", "fun"):
        return None
    out, quiet = [], mul(*(f for f in factors if f not in loud))
    if quiet != ONE:
        out.append(_sign_of_number(quiet))
    for f in loud:
        base, e = f.args if f.op == "pow" else (f, Fraction(1))
        if e.denominator != 1:
            return None
        if base.op == "fun" and base.args[0] == "sgn":
            out.append(power(base, abs(e)))
        elif base.op == "fun":
            return None
        else:
            out.append(power(_polynomial(fun("sgn", base), fields), abs(e)))
    return _reduced(mul(*out))


def _sign_of_number(node: Node) -> Node:
    if node.op == "const":
        return const((node.args[0] > 0) - (node.args[0] < 0))
    return fun("sgn", node)


def _reduced(node: Node) -> Node:
    """A product of signs without even powers."""
    if node.op == "pow" and node.args[0].op == "fun" and node.args[0].args[0] == "sgn" and node.args[1].denominator == 1:
        return node.args[0] if node.args[1] % 2 else ONE
    return mul(*(_reduced(f) for f in node.args)) if node.op == "mul" else node


def atoms(node: Node, fields: Fields) -> tuple[Node, ...] | None:
    """The signs of a node, if it depends on its fields through finitely many signs only; else None.

    >>> from derive.indices.indexed import arr
    >>> atoms(add(fun("step", arr("a")), arr("b")), lambda n: n.args[0] == "a")
    (step(a),)
    """
    found: dict[Node, None] = {}
    return tuple(sorted(found, key=lambda n: n.order)) if _collect(node, fields, found) else None


def _collect(node: Node, fields: Fields, found: dict[Node, None]) -> bool:
    if not random(node, fields):
        return True
    if node.op == "fun" and node.args[0] in SIGNS and len(node.args) == 2 and _collect(node.args[1], fields, {}) is False:
        if _has_sign_sum(node.args[1], fields):
            return False
        found[node] = None
        return True
    if node.op in ("arr", "sum"):
        return False
    return all(_collect(a, fields, found) for a in node.args if isinstance(a, Node))


def _has_sign_sum(node: Node, fields: Fields) -> bool:
    """Whether functions of fields stand inside: then this is no sign of a linear form."""
    if node.op == "fun" and random(node, fields):
        return True
    return any(_has_sign_sum(a, fields) for a in node.args if isinstance(a, Node))


def assignments(node: Node, signs: tuple[Node, ...]) -> Iterator[tuple[tuple[int, ...], Node]]:
    """Values of a node for all values of its signs.

    Raises
    ------
    BudgetExceeded
        If there are more than eight signs.
    """
    if len(signs) > MOST:
        raise BudgetExceeded(f"{node}: a function of {len(signs)} signs has {2 ** len(signs)} values; write it as a sum")
    for values in product((1, -1), repeat=len(signs)):
        put = dict(zip(signs, values, strict=True))
        yield values, _put(node, put)


def _put(node: Node, put: dict[Node, int]) -> Node:
    if node in put:
        s = put[node]
        return const(s if node.args[0] == "sgn" else Fraction(1 + s, 2))
    args: list[Any] = [_put(a, put) if isinstance(a, Node) else a for a in node.args]
    made = rebuild(node, args)
    return _number(made) if node.op == "fun" else made


def _number(node: Node) -> Node:
    """A function of a rational number, where its value is rational."""
    name, *args = node.args
    if len(args) != 1 or args[0].op != "const":
        return node
    q = args[0].args[0]
    if name == "sgn":
        return const((q > 0) - (q < 0))
    if name == "step" and q:
        return const(int(q > 0))
    if name in ("relu", "abs"):
        return const(max(q, Fraction(0)) if name == "relu" else abs(q))
    if name == "is_zero":
        return const(int(q == 0))
    return node


def _polynomial(node: Node, fields: Fields) -> Node:
    signs = atoms(node, fields)
    if not signs or node in signs:
        return node
    return walsh(node, signs)


def walsh(node: Node, signs: tuple[Node, ...]) -> Node:
    """The polynomial in ``sgn`` of a function of signs."""
    values = [v for _, v in assignments(node, signs)]
    numbers = all(v.op == "const" for v in values)
    sums: list[Any] = _transform([v.args[0] if numbers else v for v in values])
    out = []
    for c, chosen in zip(sums, product((0, 1), repeat=len(signs)), strict=True):
        factors = [fun("sgn", s.args[1]) for s, used in zip(signs, chosen, strict=True) if used]
        out.append(mul(const(Fraction(1, len(values))), const(c) if numbers else c, *factors))
    return add(*out)


def _transform(values: list[Any]) -> list[Any]:
    """Sums of values (numbers or nodes) with the signs of every subset, half by half: the first half has the first sign 1."""
    if len(values) == 1:
        return values
    n = len(values) // 2
    one, other = _transform(values[:n]), _transform(values[n:])
    return [x + y for x, y in zip(one, other, strict=True)] + [x - y for x, y in zip(one, other, strict=True)]


# --------------------------------------------------------------------------------------------------------------- events
@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """``value = low + (high - low) * indicator``: an expression of signs that takes two values.

    ``indicator`` is a polynomial in signs, with the label of the step under the name ``*``.
    """

    low: Fraction
    high: Fraction
    indicator: Node


def event_of(body: Node, label: Index, fields: Fields) -> Event | None:
    """The event behind the summand of a count; None if it takes more than two values or depends on more than its step.

    >>> from derive.indices.indexed import arr
    >>> t = Index("t", "T")
    >>> event_of(mul(fun("sgn", arr("a", t)), fun("sgn", arr("b", t))), t, lambda n: True).indicator
    1/2 + (1/2)*sgn(a[*])*sgn(b[*])
    """
    signs = atoms(body, fields)
    if not signs or any(s.free != (label,) for s in signs):
        return None
    values = [v for _, v in assignments(body, signs)]
    numbers = sorted({v.args[0] for v in values if v.op == "const"})
    if any(v.op != "const" for v in values) or len(numbers) != 2:
        return None
    low, high = numbers
    shown = walsh(mul(const(1 / (high - low)), add(body, const(-low))), signs)
    return Event(low=low, high=high, indicator=substitute(shown, {label: Index("*", label.family)}))


def at_step(indicator: Node, label: Index) -> Node:
    """The indicator of an event at a step."""
    return substitute(indicator, {Index("*", label.family): label})


def complement(event: Event) -> Node:
    """The indicator of the opposite event."""
    return add(ONE, mul(const(-1), event.indicator))


__all__ = ["Event", "assignments", "at_step", "atoms", "complement", "event_of", "open_signs", "walsh"]
