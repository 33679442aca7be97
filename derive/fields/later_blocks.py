r"""Blocks of an update after the first one: maps of the state alone, such as normalisation or decay.

A later block sees no draw. Two kinds have a limit:

    drift:       V_p += (1/N) sum_q G_pq V_q,  theta += (1/N) H        (added to the rates)
    projection:  V_p <- sum_q A_pq V_q,        theta <- h              (A, h of order one, functions of overlaps and theta)

A projection keeps the state on the manifold that it maps to; there it acts on the rates by its derivative,

    d C'/d alpha = D(A C A^T)[dC/d alpha],

so ``W <- W / |w_k|`` row by row gives dC_pq - C_pq (dC_pp/C_pp + dC_qq/C_qq)/2, and any other projection is as easy. That it is
one (applied twice it does what it does once) is checked when the equations are derived. Wherever a drift stands among the
blocks, the projection of the next step sees it, so drifts are added first and projections act on the sum (`in_effect`).
Imported by the extraction of the field rule and by `online_limit`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from derive.errors import UnsupportedNode
from derive.fields.calculus import differentiate, powers_of, without_stops
from derive.fields.overlaps import Overlaps
from derive.fields.values import Reader
from derive.fields.vectors import Part
from derive.indices.indexed import ONE, ZERO, Index, Node, add, arr, mul, substitute, sum_over, text
from derive.spec.lowered import Lowered, Pairs
from derive.spec.tree import names

_ZERO, _MINUS = Fraction(0), Fraction(-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """``coefficient * family[index]``, summed over ``bound``: one term of G, or of a projection."""

    bound: tuple[Index, ...]
    coefficient: Node
    family: str
    index: Index | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """A block without draws.

    Attributes
    ----------
    projection : bool
        New values (order one), instead of increments of order 1/N.
    labels : mapping name -> tuple of Index
    G : mapping family -> tuple of Push
    H : mapping state -> Node
    """

    projection: bool
    labels: Mapping[str, tuple[Index, ...]]
    G: Mapping[str, tuple[Push, ...]]
    H: Mapping[str, Node]


def later_block(low: Lowered, block: Pairs, number: int, reader: Reader, row_labels: Callable[..., Any]) -> Later:
    """Read one block after the first.

    Raises
    ------
    UnsupportedNode
        If it uses a draw, or mixes moves of order one and of order 1/N.
    """
    drawn = [s for d in low.draws for s in d.symbols]
    labels: dict[str, tuple[Index, ...]] = {}
    G: dict[Fraction, dict[str, tuple[Push, ...]]] = {_ZERO: {}, _MINUS: {}}
    H: dict[Fraction, dict[str, Node]] = {_ZERO: {}, _MINUS: {}}
    moves, small = False, False
    for name, tree in block:
        tree = low.inline(tree)
        if used := [n for n in names(tree) if n in drawn]:
            raise UnsupportedNode(
                f"{low.name}: block {number} of the update uses the draw {used[0]} again, whose fields the earlier block has "
                "moved by an amount of order one; write both moves as one block, or average with mean(...)"
            )
        row, col = row_labels(low.shapes[name], reader)
        labels[name] = tuple(i for i in (row, col) if i)
        where = f"block {number}, {name}"
        if name in reader.overlaps.families:
            value = reader.value(tree, row, col)
            assert isinstance(value, tuple)
            for power, pushes in _pushes(value, reader, where).items():
                G[power][name] = pushes
            unit = G[_ZERO].get(name, ())
            own = (row or col, name, ONE)
            moves |= [(p.index, p.family, p.coefficient) for p in unit] != [own] or bool(unit[0].bound)
            small |= name in G[_MINUS]
        else:
            parts = _orders(reader.node(tree, row, col), reader, where)
            H[_ZERO][name] = parts.get(_ZERO, ZERO)
            H[_MINUS][name] = parts.get(_MINUS, ZERO)
            moves |= H[_ZERO][name] != arr(name, *labels[name])
            small |= _MINUS in parts
    if moves and small:
        raise UnsupportedNode(
            f"{low.name}: block {number} of the update moves by amounts of order one and of order 1/{reader.big}; write the "
            "two as separate blocks"
        )
    order = _ZERO if moves else _MINUS
    return Later(projection=moves, labels=labels, G=G[order], H=H[order])


def _orders(node: Node, reader: Reader, where: str) -> dict[Fraction, Node]:
    parts = powers_of(without_stops(node), reader.big, where)
    for p, c in sorted(parts.items()):
        if p not in (_ZERO, _MINUS):
            raise UnsupportedNode(
                f"{where}: the term {text(c)[:120]} is of order {reader.big}^({p}); a later block moves by order one (a "
                f"projection) or by order 1/{reader.big}, multiply by the power that is missing"
            )
    return parts


def _pushes(value: tuple[Part, ...], reader: Reader, where: str) -> dict[Fraction, tuple[Push, ...]]:
    found: dict[Fraction, dict[tuple[str, Index | None, tuple[Index, ...]], Node]] = {}
    for p in value:
        for power, c in _orders(p.coefficient, reader, where).items():
            table = found.setdefault(power, {})
            key = (p.vector, p.index, p.bound)
            table[key] = add(table.get(key, ZERO), c)
    return {
        power: made
        for power, table in found.items()
        if (made := tuple(Push(bound=b, coefficient=c, family=v, index=i) for (v, i, b), c in table.items() if c != ZERO))
    }


# --------------------------------------------------------------------------------------------------------------- effect
def in_effect(later: tuple[Later, ...]) -> tuple[Later, ...]:
    """Drifts first, then projections, each in the order of the spec."""
    return (*(b for b in later if not b.projection), *(b for b in later if b.projection))


def moved(overlaps: Overlaps, later: Later, a: str, i: Index | None, terms: Callable[[str, Index | None], Node]) -> Node:
    """``sum over pushes of coefficient * terms(family, index)`` for the row i of family a."""
    out = []
    here = dict(zip(later.labels[a], (i,), strict=True)) if i else {}
    for push in later.G[a]:
        label = here.get(push.index, push.index) if push.index else None
        body = mul(substitute(push.coefficient, here), terms(push.family, label))
        for bound in push.bound:
            body = sum_over(bound, body)
        out.append(body)
    return add(*out)


def new_overlap(overlaps: Overlaps, later: Later, a: str, i: Index | None, b: str, j: Index | None) -> Node:
    """``a_i . b_j / N`` after a projection."""

    def second(p: str, m: Index | None) -> Node:
        if b not in later.G:
            return overlaps.entry(p, m, b, j)
        # the sums of the second factor run under labels of their own
        own = Later(
            projection=True, labels=later.labels, H={},
            G={b: tuple(_renamed(push) for push in later.G[b])},
        )  # fmt: skip
        return moved(overlaps, own, b, j, lambda q, n: overlaps.entry(p, m, q, n))

    return moved(overlaps, later, a, i, second) if a in later.G else second(a, i)


def _renamed(push: Push) -> Push:
    change = {i: Index(i.name + "'", i.family) for i in push.bound}
    return Push(
        bound=tuple(change.values()), coefficient=substitute(push.coefficient, change), family=push.family,
        index=change.get(push.index, push.index) if push.index else None,
    )  # fmt: skip


Rates = Mapping[str, tuple[tuple[Index, ...], Node]]
"""Right-hand sides with the labels that they are written in."""


def after(overlaps: Overlaps, later: Later, rates: Rates, pace: Node) -> dict[str, Node]:
    """Right-hand sides with the effect of a later block."""
    kinds = {name: pair for pair, name in overlaps.names.items()}

    def rate(a: Node) -> Node:
        if a.args[0] not in rates:
            return ZERO
        labels, rhs = rates[a.args[0]]
        return substitute(rhs, dict(zip(labels, a.args[1], strict=True)))

    out = {}
    for name, (labels, rhs) in rates.items():
        new = new_value(overlaps, later, name, labels)
        if later.projection:
            out[name] = differentiate(new, rate) if new is not None else rhs
        elif name in kinds:
            a, b = kinds[name]
            i, j = axes(overlaps, a, b, labels)
            first = moved(overlaps, later, a, i, lambda p, m, b=b, j=j: overlaps.entry(p, m, b, j)) if a in later.G else ZERO  # type: ignore[misc]
            second = moved(overlaps, later, b, j, lambda p, m, a=a, i=i: overlaps.entry(p, m, a, i)) if b in later.G else ZERO  # type: ignore[misc]
            out[name] = add(rhs, mul(pace, add(first, second)))
        else:
            step = substitute(later.H.get(name, ZERO), dict(zip(later.labels.get(name, ()), labels, strict=False)))
            out[name] = add(rhs, mul(pace, step))
    return out


def axes(overlaps: Overlaps, a: str, b: str, labels: tuple[Index, ...]) -> tuple[Index | None, Index | None]:
    """The labels of an overlap as (row of a, row of b)."""
    rest = list(labels)
    i = rest.pop(0) if overlaps.families[a] != 1 else None
    return i, (rest.pop(0) if overlaps.families[b] != 1 else None)


def new_value(overlaps: Overlaps, later: Later, name: str, labels: tuple[Index, ...]) -> Node | None:
    """Value of an overlap or state after a projection; None if it stays."""
    if not later.projection:
        return None
    if name in later.H:
        return substitute(later.H[name], dict(zip(later.labels[name], labels, strict=True)))
    pair = next((p for p, n in overlaps.names.items() if n == name), None)
    if pair is None or not (pair[0] in later.G or pair[1] in later.G):
        return None
    i, j = axes(overlaps, *pair, labels)
    return new_overlap(overlaps, later, pair[0], i, pair[1], j)


__all__ = ["Later", "Push", "after", "axes", "in_effect", "later_block", "moved", "new_overlap", "new_value"]
