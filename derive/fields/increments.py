r"""The increments of an update, read in the fields: F along inputs, G along vectors, H of states of order one.

    V_k += (1/sqrt N) sum_x F_x(k) x + (1/N) sum_U sum_j G_U(k, j) U_j,        theta += (1/N) H.

Along an input that is an episode, F holds the label t of its steps (`step_label`). Powers of N are counted, and any other one
is refused with the term that carries it, unless it is lower and stands beside a square of an input, which concentrates.
Imported by the extraction of the field rule, its check and the overlap chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from derive.errors import UnsupportedNode
from derive.fields.calculus import powers_of, without_stops
from derive.fields.concentration import concentrated, settle_inside, squares_in, with_squares, without_squares
from derive.fields.crossed import settled
from derive.fields.later_blocks import Push
from derive.fields.values import Reader
from derive.fields.vectors import Part, Vector
from derive.indices.indexed import ZERO, Index, Node, add, arr, const, mul, power, substitute, sum_over, text
from derive.spec.lowered import Lowered, LoweredUpdate
from derive.spec.tree import Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One term of a step: a multiple of a vector or input, or (``vector`` empty) the step of a state of order one."""

    vector: str = ""
    index: Index | None = None
    bound: tuple[Index, ...] = ()
    expected: Fraction
    where: str
    node: Node


def increments(
    low: Lowered, rule: LoweredUpdate, reader: Reader, learned: Mapping[str, Tree], *, finite: bool = False
) -> tuple[Any, Any, Any, Any, dict[str, tuple[str, ...]]]:
    """Labels, F, G, H of the first block, for one draw, and by name the squares beside which lower orders were dropped.

    ``finite`` keeps lower orders: F, G and H hold N then.
    """
    dropped: dict[str, tuple[str, ...]] = {}
    labels: dict[str, tuple[Index, ...]] = {}
    F: dict[str, dict[str, Node]] = {}
    G: dict[str, tuple[Push, ...]] = {}
    H: dict[str, Node] = {}
    for name, tree in rule.blocks[0]:
        row, col = row_labels(low.shapes[name], reader)
        labels[name] = tuple(i for i in (row, col) if i)
        tree = low.inline(tree)
        found, squares = _moves(name, tree, (row, col), reader, name in learned, finite=finite)
        moves = [m for m in found if m.node != ZERO]
        if squares:
            dropped[name] = squares
        if name in learned:
            F[name] = {m.vector: m.node for m in moves if m.vector in reader.inputs}
            G[name] = tuple(
                Push(bound=m.bound, coefficient=m.node, family=m.vector, index=m.index)
                for m in moves
                if m.vector not in reader.inputs
            )
        else:
            H[name] = moves[0].node if moves else ZERO
    return labels, F, G, H, dropped


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


def _moves(
    name: str, tree: Tree, at: tuple[Index | None, Index | None], reader: Reader, vector: bool, *, finite: bool
) -> tuple[list[Move], tuple[str, ...]]:
    """The terms of a step without their power of N, and the squares beside which lower orders were dropped."""
    refusal = None
    found, parts = [], []
    try:
        found = _read(name, tree, at, reader, vector)
        parts = [_powers(m, m.node, reader) for m in found]
    except UnsupportedNode as reason:
        refusal = reason
    limits = [m.node for m in found]
    if refusal or any(p < m.expected for m, ps in zip(found, parts, strict=True) for p in ps):
        try:
            found = _read(name, tree, at, with_squares(reader), vector)
            limits = [settle_inside(m.node, reader.big, reader.inputs) for m in found]
            parts = [_powers(m, node, reader) for m, node in zip(found, limits, strict=True)]
        except UnsupportedNode as reason:
            raise refusal or reason from None
    out, squares = [], dict[str, None]()
    for m, limit, ps in zip(found, limits, parts, strict=True):
        beside = concentrated(ps, m.expected, reader.inputs) if len(ps) > 1 else ()
        kept = ps[m.expected] if beside else _order_one(ps, m, reader)
        inside = squares_in(limit, reader.inputs) if limit != m.node else ()
        squares |= dict.fromkeys((*beside, *inside))
        whole = finite and (beside or inside)
        node = mul(power(arr(reader.big), -m.expected), m.node) if whole else kept
        out.append(replace(m, node=without_squares(node, reader.inputs)))
    return out, tuple(squares)


def _powers(move: Move, node: Node, reader: Reader) -> dict[Fraction, Node]:
    return settled(powers_of(node, reader.big, move.where), move.expected, reader.inputs)


def _read(name: str, tree: Tree, at: tuple[Index | None, Index | None], reader: Reader, vector: bool) -> list[Move]:
    row, col = at
    if vector:
        value = reader.value(tree, row, col)
        assert isinstance(value, tuple)
        return terms_along(name, (*value, Part(coefficient=const(-1), vector=name, index=row or col)), reader)
    step = add(reader.node(tree, row, col), mul(const(-1), arr(name, *(i for i in at if i))))
    return [Move(expected=Fraction(-1), where=f"the step of {name}", node=without_stops(step))]


def terms_along(name: str, parts: Vector, reader: Reader) -> list[Move]:
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
    where, half = f"the step of {name} along ", Fraction(-1, 2)
    return [
        *(Move(vector=x, expected=half, where=where + x, node=c) for x, c in sorted(inputs.items()) if c != ZERO),
        *(
            Move(vector=v, index=i, bound=b, expected=Fraction(-1), where=where + v, node=c)
            for (v, i, b), c in pushes.items()
            if c != ZERO
        ),
    ]


def _order_one(parts: Mapping[Fraction, Node], move: Move, reader: Reader) -> Node:
    top = max(parts, default=move.expected)
    beside = top < move.expected and squares_in(parts[top], reader.inputs)  # the lower ones would be dropped beside it
    for p, c in [(top, parts[top])] if beside else sorted(parts.items()):
        if p != move.expected:
            fate = "diverges" if p > move.expected else "vanishes in the limit"
            raise UnsupportedNode(
                f"{move.where}: the term {text(without_squares(c, reader.inputs))[:120]} is of order {reader.big}^({p}), but a "
                f"step must be of order {reader.big}^({move.expected}), so it {fate}; "
                f"multiply it by {reader.big}^({move.expected - p})"
            )
    return parts.get(move.expected, ZERO)


__all__ = ["increments", "row_labels", "step_label"]
