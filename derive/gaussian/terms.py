"""Integrands as sums of terms: coefficient times factors, under sums over index labels.

`expand` multiplies a `Node` out in its Gaussian fields only; what does not contain a field stays together in the coefficient.
Every sum that contains a field is opened under a label of its own (``~1``, ``~2``, ...), so that products of equal sums keep
two labels. `close` puts the sums back; the order of nested sums is canonical, so that equal double sums become equal nodes.
Imported by the Gaussian averages and by the extraction of the field rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import count, permutations
from typing import TypeAlias

from derive.errors import BudgetExceeded, UnsupportedNode
from derive.gaussian.factors import Factor, factor, gaussian_bump, wave
from derive.indices.indexed import ONE, ZERO, Index, Node, add, const, mul, substitute, sum_over, text

#: Says whether an ``arr`` node is a Gaussian field.
Fields: TypeAlias = Callable[[Node], bool]
LIMIT = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """``Sum over bound of coefficient * product of factors``; factors are sorted."""

    bound: tuple[Index, ...]
    coefficient: Node
    factors: tuple[Factor, ...]


def random(node: Node, fields: Fields) -> bool:
    """Whether a node contains a Gaussian field."""
    if node.op == "arr":
        return fields(node)
    return any(random(a, fields) for a in node.args if isinstance(a, Node))


def expand(node: Node, fields: Fields, *, tag: str = "") -> list[Term]:
    """Terms of a node; ``tag`` keeps the labels of two expansions apart.

    Raises
    ------
    UnsupportedNode
        If a field occurs in a root, a quotient, or a function of several variables.
    BudgetExceeded
        If there are more than 20 000 terms.
    """
    return _expand(node, fields, count(1), tag)


def _expand(node: Node, fields: Fields, fresh: count[int], tag: str) -> list[Term]:
    if not random(node, fields):
        return [Term(bound=(), coefficient=node, factors=())]
    if node.op == "arr":
        return [Term(bound=(), coefficient=ONE, factors=(factor("x", node),))]
    if node.op == "add":
        return [t for a in node.args for t in _expand(a, fields, fresh, tag)]
    if node.op == "sum":
        i, body = node.args
        label = Index(f"~{tag}{next(fresh)}", i.family)
        return [
            Term(bound=(label, *t.bound), coefficient=t.coefficient, factors=t.factors)
            for t in _expand(substitute(body, {i: label}), fields, fresh, tag)
        ]
    if node.op == "fun":
        return _function(node, fields)
    parts = list(node.args)
    if node.op == "pow":
        base, e = node.args
        if e.denominator != 1 or e < 0:
            raise UnsupportedNode(
                f"{text(node)}: a power {e} of a Gaussian field has no closed average; write it as a function of one field, "
                "for instance with activation(...)"
            )
        parts = [base] * int(e)
    out = [Term(bound=(), coefficient=ONE, factors=())]
    for part in parts:
        out = [_times(a, b) for a in out for b in _expand(part, fields, fresh, tag)]
        if len(out) > LIMIT:
            raise BudgetExceeded(f"{text(node)[:80]}...: more than {LIMIT} terms after expansion; lower the degree of the rule")
    return out


def _times(a: Term, b: Term) -> Term:
    return Term(
        bound=(*a.bound, *b.bound),
        coefficient=mul(a.coefficient, b.coefficient),
        factors=tuple(sorted((*a.factors, *b.factors))),
    )


def _function(node: Node, fields: Fields) -> list[Term]:
    name, *args = node.args
    if len(args) != 1:
        raise UnsupportedNode(f"{text(node)}: a function of several fields has no closed average; use functions of one field")
    made = _exponential(args[0], fields) if name == "exp" else None
    sign, name = wave(name)
    c, factors = made or (sign, (factor("fun", args[0], function=name),))
    return [Term(bound=(), coefficient=c, factors=tuple(sorted(factors)))]


def _exponential(argument: Node, fields: Fields) -> tuple[Node, tuple[Factor, ...]] | None:
    """``exp(-u^T A u + b.u + c)`` with rational positive semidefinite A as Gaussian factors times one exponential of a form."""
    linear: list[Node] = []
    square: dict[tuple[Node, Node], Fraction] = {}
    slots: dict[Node, None] = {}
    for part in argument.args if argument.op == "add" else (argument,):
        for t in expand(part, fields):
            degree = len(t.factors)
            if any(f.kind != "x" for f in t.factors) or degree > 2:
                return None
            if degree < 2:
                continue
            if t.bound or t.coefficient.op != "const":
                return None
            a, b = (f.slot for f in t.factors)
            slots.update({a: None, b: None})
            for pair in ((a, b), (b, a)):
                square[pair] = square.get(pair, Fraction(0)) - t.coefficient.args[0] / 2
        if all(len(t.factors) < 2 for t in expand(part, fields)):
            linear.append(part)
        elif any(len(t.factors) < 2 for t in expand(part, fields)):
            return None
    bumps = _squares(square, list(slots))
    if bumps is None:
        return None
    rest = add(*linear)
    fixed = () if rest == ZERO else (factor("fun", rest, function="exp"),)
    return mul(*(c for c, _ in bumps)), (*(f for _, fs in bumps for f in fs), *fixed)


def _squares(A: dict[tuple[Node, Node], Fraction], slots: list[Node]) -> list[tuple[Node, tuple[Factor, ...]]] | None:
    """``exp(-u^T A u)`` as a product of Gaussians of single forms, by completing squares; None if A is not positive."""
    out: list[tuple[Node, tuple[Factor, ...]]] = []
    while slots:
        t = next((s for s in slots if A.get((s, s), 0) > 0), None)
        if t is None:
            return None if any(A.get((a, b), 0) for a in slots for b in slots) else out
        d = A[t, t]
        row = {s: A.get((s, t), Fraction(0)) / d for s in slots}
        for a in slots:
            for b in slots:
                A[a, b] = A.get((a, b), Fraction(0)) - d * row[a] * row[b]
        slots.remove(t)
        out.append(gaussian_bump(add(*(mul(const(q), s) for s, q in row.items())), d))
    return out


def close(bound: tuple[Index, ...], body: Node) -> Node:
    """Sum of ``body`` over labels, nested in the order with the first text, since labels of one index set may be renamed."""
    bound = tuple(sorted(bound, key=lambda i: (i.family, i.name)))
    families = [[i for i in bound if i.family == f] for f in dict.fromkeys(i.family for i in bound)]
    best: Node | None = None
    for order in _orders(families):
        node = body
        for i in order:
            node = sum_over(i, node)
        if best is None or node.order < best.order:
            best = node
    return body if best is None else best


def _orders(families: list[list[Index]]) -> list[tuple[Index, ...]]:
    out: list[tuple[Index, ...]] = [()]
    for family in families:
        choices = list(permutations(family)) if len(family) <= 3 else [tuple(family)]
        out = [(*done, *c) for done in out for c in choices]
    return out


__all__ = ["Fields", "Term", "close", "expand", "random"]
