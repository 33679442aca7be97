r"""Rates of vectors of a finite length N, read in the fields as the step  V += rate / N.

    V_k += (1/sqrt N) sum_x F_x(k) x + (1/N) sum_U sum_j G_U(k, j) U_j,        theta += (1/N) H:

as in `derive.fields.increments`, but N is a number like any other. No power of it is refused and nothing is dropped, because no
limit is taken; a product of two inputs is random at finite N, and is refused. Imported by the field rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from derive.errors import UnsupportedNode
from derive.fields.calculus import regrouped, without_stops
from derive.fields.increments import row_labels, terms_along
from derive.fields.later_blocks import Push
from derive.fields.values import Reader
from derive.fields.vectors import Part
from derive.indices.indexed import ZERO, Index, Node, add, arr, const, mul, power
from derive.spec.lowered import Lowered, LoweredUpdate
from derive.spec.tree import Tree


def rates(
    low: Lowered, rule: LoweredUpdate, reader: Reader, learned: Mapping[str, Tree]
) -> tuple[Any, Any, Any, Any, dict[str, tuple[str, ...]]]:
    """Labels, F, G, H for one draw; nothing is dropped, so the last entry is empty."""
    labels: dict[str, tuple[Index, ...]] = {}
    F: dict[str, dict[str, Node]] = {}
    G: dict[str, tuple[Push, ...]] = {}
    H: dict[str, Node] = {}

    def scaled(node: Node, order: Fraction) -> Node:
        return regrouped(mul(node, power(arr(reader.big), order)), reader.big)

    for name, tree in rule.blocks[0]:
        row, col = row_labels(low.shapes[name], reader)
        labels[name] = tuple(i for i in (row, col) if i)
        tree = low.inline(tree)
        if name not in learned:
            step = add(reader.node(tree, row, col), mul(const(-1), arr(name, *labels[name])))
            H[name] = scaled(without_stops(step), Fraction(1))
            continue
        value = reader.value(tree, row, col)
        assert isinstance(value, tuple)
        terms = terms_along(name, (*value, Part(coefficient=const(-1), vector=name, index=row or col)), reader)
        nodes = [(m, scaled(m.node, -m.expected)) for m in terms]
        F[name] = {m.vector: node for m, node in nodes if m.vector in reader.inputs and node != ZERO}
        G[name] = tuple(
            Push(bound=m.bound, coefficient=node, family=m.vector, index=m.index)
            for m, node in nodes
            if m.vector not in reader.inputs and node != ZERO
        )
    return labels, F, G, H, {}


def refuse_products(p: Part, q: Part) -> Node:
    """Products of two inputs are random where nothing tends to infinity."""
    shown = f"|{p.vector}|^2" if p.vector == q.vector else f"{p.vector} . {q.vector}"
    raise UnsupportedNode(
        f"{shown} is random at a finite length; write the rate in products of inputs and weights, or add limit=Limit({{N: oo}})"
    )


__all__ = ["rates", "refuse_products"]
