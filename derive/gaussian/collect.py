"""Sums of smooth local averages in a short form: each average once, with everything that multiplies it in one coefficient.

Stein's lemma and labels give an average by quadrature in many terms; written as  sum_n A_n E_n  with different averages E_n the
equations are short, and a kernel takes each of them once. Exact averages are formulas and stay as they are.
Imported by the extraction of the field rule.
"""

from __future__ import annotations

from derive.gaussian.local import quadratures
from derive.indices.indexed import ONE, Node, add, mul, sum_over

LIMIT = 5_000  # terms; longer expressions stay as they are


def collect(node: Node) -> Node:
    """The same value, with terms that share their averages by quadrature added up.

    >>> from derive.indices.indexed import arr, const, fun
    >>> E = fun("E[tanh|tanh]", arr("Q"), arr("Q"), arr("q"))
    >>> collect(add(mul(arr("a"), E), mul(arr("b"), add(E, ONE)), mul(const(2), E)))
    b + E[tanh|tanh](Q, Q, q)*(2 + a + b)
    """
    if not quadratures(node):
        return node
    terms = _terms(node)
    if terms is None:
        return node
    groups: dict[Node, list[Node]] = {}
    for coefficient, average in terms:
        groups.setdefault(average, []).append(coefficient)
    return add(*(mul(add(*coefficients), average) for average, coefficients in groups.items()))


def _terms(node: Node) -> list[tuple[Node, Node]] | None:
    """(coefficient, product of averages) of every term; None if there are too many."""
    if not quadratures(node):
        return [(node, ONE)]
    if node.op == "add":
        out: list[tuple[Node, Node]] = []
        for a in node.args:
            more = _terms(a)
            if more is None:
                return None
            out += more
        return out if len(out) <= LIMIT else None
    if node.op == "mul":
        out = [(ONE, ONE)]
        for a in node.args:
            more = _terms(a)
            if more is None or len(out) * len(more) > LIMIT:
                return None
            out = [(mul(c, d), mul(p, q)) for c, p in out for d, q in more]
        return out
    if node.op == "sum":
        return [(ONE, sum_over(node.args[0], collect(node.args[1])))]
    return [(ONE, node)]


__all__ = ["collect"]
