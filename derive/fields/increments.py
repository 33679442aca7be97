r"""The increments of an update, read in the fields: F along inputs, G along vectors, H of states of order one.

    V_k += (1/sqrt N) sum_x F_x(k) x + (1/N) sum_U sum_j G_U(k, j) U_j,        theta += (1/N) H.

Along an input that is an episode, F holds the label t of its steps (`step_label`). Powers of N are counted, and any other one
is refused with the term that carries it. Imported by the extraction of the field rule and by the overlap chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from derive.errors import UnsupportedNode
from derive.fields.calculus import powers_of, without_stops
from derive.fields.later_blocks import Push
from derive.fields.values import Part, Reader, Vector
from derive.indices.indexed import ZERO, Index, Node, add, arr, const, mul, substitute, sum_over, text
from derive.spec.lowered import Lowered, LoweredUpdate
from derive.spec.tree import Tree


def increments(low: Lowered, rule: LoweredUpdate, reader: Reader, learned: Mapping[str, Tree]) -> tuple[Any, Any, Any, Any]:
    """Labels, F, G, H of the first block, for one draw."""
    labels: dict[str, tuple[Index, ...]] = {}
    F: dict[str, dict[str, Node]] = {}
    G: dict[str, tuple[Push, ...]] = {}
    H: dict[str, Node] = {}
    for name, tree in rule.blocks[0]:
        row, col = row_labels(low.shapes[name], reader)
        labels[name] = tuple(i for i in (row, col) if i)
        tree = low.inline(tree)
        if name in learned:
            value = reader.value(tree, row, col)
            assert isinstance(value, tuple)
            minus = Part(coefficient=const(-1), vector=name, index=row or col)
            F[name], G[name] = _vector(name, (*value, minus), reader)
        else:
            step = add(reader.node(tree, row, col), mul(const(-1), arr(name, *labels[name])))
            H[name] = _order_one(without_stops(step), Fraction(-1), name, reader.big, f"the step of {name}")
    return labels, F, G, H


def step_label(family: str) -> Index:
    """The label of the steps of an episode in F."""
    return Index("t", family)


def row_labels(shape: tuple[Tree, ...], reader: Reader) -> tuple[Index | None, Index | None]:
    """Printable labels of the two axes: k, l, m, ... by axis, None for axes of length 1 and N."""
    if not shape:
        return None, None
    letters = iter([c for c in "klmnpqrsijabcdefgh" if c not in (*reader.lowered.shapes, *reader.lowered.dims)])
    made = [reader.label(d) for d in shape]
    row, col = (None if i is None else Index(next(letters), i.family) for i in made)
    return row, col


def _vector(name: str, parts: Vector, reader: Reader) -> tuple[dict[str, Node], tuple[Push, ...]]:
    pushes: dict[tuple[str, Index | None, tuple[Index, ...]], Node] = {}
    inputs: dict[str, Node] = {}
    for p in parts:
        coefficient = without_stops(p.coefficient)
        if p.vector in reader.inputs:
            if p.index:
                coefficient = substitute(coefficient, {p.index: step_label(p.index.family)})
            for i in p.bound:
                coefficient = sum_over(i, coefficient) if i != p.index else coefficient
            inputs[p.vector] = add(inputs.get(p.vector, ZERO), coefficient)
        else:
            key = (p.vector, p.index, p.bound)
            pushes[key] = add(pushes.get(key, ZERO), coefficient)
    half = Fraction(-1, 2)
    F = {x: _order_one(c, half, x, reader.big, f"the step of {name} along {x}") for x, c in sorted(inputs.items()) if c != ZERO}
    G = tuple(
        Push(bound=bound, coefficient=made, family=vector, index=index)
        for (vector, index, bound), c in pushes.items()
        if (made := _order_one(c, Fraction(-1), vector, reader.big, f"the step of {name} along {vector}")) != ZERO
    )
    return {x: f for x, f in F.items() if f != ZERO}, G


def _order_one(node: Node, expected: Fraction, name: str, big: str, where: str) -> Node:
    parts = powers_of(node, big, where)
    for p, c in sorted(parts.items()):
        if p != expected:
            fate = "diverges" if p > expected else "vanishes in the limit"
            raise UnsupportedNode(
                f"{where}: the term {text(c)[:120]} is of order {big}^({p}), but a step must be of order "
                f"{big}^({expected}), so it {fate}; "
                f"multiply it by {big}^({expected - p})"
            )
    return parts.get(expected, ZERO)


__all__ = ["increments", "row_labels", "step_label"]
