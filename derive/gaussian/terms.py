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
from derive.gaussian.factors import Factor, factor, gaussian_bump, of_function
from derive.indexed import ONE, Index, Node, mul, substitute, sum_over, text

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
        return _function(node)
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


def _function(node: Node) -> list[Term]:
    name, *args = node.args
    if len(args) != 1:
        raise UnsupportedNode(f"{text(node)}: a function of several fields has no closed average; use functions of one field")
    bump = _bump(name, args[0])
    pairs = [bump] if bump else of_function(name, args[0])
    return [Term(bound=(), coefficient=c, factors=tuple(sorted(fs))) for c, fs in pairs]


def _bump(name: str, argument: Node) -> tuple[Node, tuple[Factor, ...]] | None:
    """``exp(-c z^2)`` with a rational c > 0."""
    if name != "exp":
        return None
    c, rest = (
        (argument.args[0].args[0], mul(*argument.args[1:]))
        if argument.op == "mul" and argument.args[0].op == "const"
        else (Fraction(1), argument)
    )
    if c < 0 and rest.op == "pow" and rest.args[1] == 2:
        return gaussian_bump(rest.args[0], -c)
    return None


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
