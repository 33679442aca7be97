r"""Outcomes of finite random labels: tasks, classes, random events, mixture components.

    E[f] = sum_c p_c E[f | c],        c = (outcome of every `Choice`),

so the mean over labels is outermost, and a square is averaged as a mean of squares, never as the square of a mean.

- ``Choice((mu, y), ((mu1, 1), (mu2, -1)), probs)``: one outcome per value, jointly for all symbols; values may be vectors.
- ``Choice(s)`` with a column s: a random unit column, kept as one outcome with an index p of its own, so P stays symbolic.
- ``Marginal(y, values=...)`` of a number: the same as a `Choice`.
- a given *switch*, ``case(task, {1: ..., 2: ...})``, that no phase has bound: the values that the spec compares it with, with
  weights ``task_is_1``, ``task_is_2`` that are parameters: 0 and 1 for one task, probabilities for interleaved tasks.

Imported by the extraction of the field rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from derive.errors import BudgetExceeded, UnsupportedNode
from derive.indices.indexed import Index
from derive.spec.lowered import Draw, Lowered, LoweredUpdate
from derive.spec.tree import Tree, as_fraction, walk

LIMIT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One joint outcome of all labels.

    Attributes
    ----------
    values : mapping label -> tree
    columns : mapping label -> Index
        Unit columns: the place of their 1.
    weights : tuple of trees
        Factors of the probability that do not concern ``columns``.
    inner : tuple of (Index, tree or None)
        Probability of every place of a unit column: a column of probabilities, or None for equal ones.
    shown : str
    """

    values: Mapping[str, Tree] = field(default_factory=dict)
    columns: Mapping[str, Index] = field(default_factory=dict)
    weights: tuple[Tree, ...] = ()
    inner: tuple[tuple[Index, Tree | None], ...] = ()
    shown: str = ""


def is_label(draw: Draw) -> bool:
    """Whether a draw has finitely many outcomes that are enumerated."""
    return draw.law == "Choice" or (draw.law == "Marginal" and draw.values is not None and draw.shapes[draw.symbols[0]] == ())


def switches(low: Lowered) -> dict[str, tuple[Tree, ...]]:
    """Given numbers that are compared with numbers by ``case``, and those numbers, sorted."""
    found: dict[str, dict[Tree, None]] = {}
    for tree in _trees(low):
        for node in walk(tree):
            if isinstance(node, tuple) and node[0] == "delta":
                numbers = [s for s in node[1:] if as_fraction(s) is not None]
                given = [s for s in node[1:] if isinstance(s, str) and low.roles.get(s) == "given"]
                if len(numbers) == len(given) == 1:
                    found.setdefault(given[0], {})[numbers[0]] = None
    return {name: tuple(sorted(values, key=_exact)) for name, values in sorted(found.items())}


def _exact(tree: Tree) -> Any:
    return as_fraction(tree)


def _trees(low: Lowered) -> Iterator[Tree]:
    assert isinstance(low.rule, LoweredUpdate)
    for block in low.rule.blocks:
        yield from (low.inline(tree) for _, tree in block)
    yield from (low.inline(tree) for _, tree in low.observe)
    for draw in low.draws:
        yield from (low.inline(t) for t in (draw.cov, draw.mean) if t is not None)


def weight_name(switch: str, value: Tree, taken: Sequence[str]) -> str:
    """Name of the weight of one value of a switch, e.g. ``task_is_2``."""
    q = as_fraction(value)
    assert q is not None
    size = abs(q)
    text = f"{size.numerator}" if size.denominator == 1 else f"{size.numerator}_{size.denominator}"
    name = f"{switch}_is_{'minus_' if q < 0 else ''}{text}"
    return name if name not in taken else f"{name}_weight"


def outcomes(low: Lowered) -> tuple[Outcome, ...]:
    """All joint outcomes of the labels of a model; one empty outcome if it has none.

    Raises
    ------
    BudgetExceeded
        If there are more than 64.
    UnsupportedNode
        If labels are drawn once per run.
    """
    options = [_of_switch(s, values, low) for s, values in switches(low).items()]
    options += [_of_draw(d, low, n) for n, d in enumerate(low.draws) if is_label(d)]
    count = 1
    for o in options:
        count *= len(o)
    if count > LIMIT:
        raise BudgetExceeded(
            f"{low.name}: its labels have {count} joint outcomes, more than {LIMIT}; draw a unit column, Choice(s) with s of "
            "shape (P, 1), which keeps P symbolic"
        )
    return tuple(_joint(parts) for parts in product(*options))


def _joint(parts: Sequence[Outcome]) -> Outcome:
    return Outcome(
        values={k: v for p in parts for k, v in p.values.items()},
        columns={k: v for p in parts for k, v in p.columns.items()},
        weights=tuple(w for p in parts for w in p.weights),
        inner=tuple(w for p in parts for w in p.inner),
        shown=", ".join(p.shown for p in parts),
    )


def _of_switch(name: str, values: Sequence[Tree], low: Lowered) -> list[Outcome]:
    taken = (*low.shapes, *low.dims)
    return [Outcome(values={name: v}, weights=(weight_name(name, v, taken),), shown=f"{name} = {_shown(v)}") for v in values]


def _shown(tree: Tree) -> str:
    from derive.spec.notation import text

    return text(tree)


def _of_draw(draw: Draw, low: Lowered, number: int) -> list[Outcome]:
    if draw.once:
        raise UnsupportedNode(
            f"{', '.join(draw.symbols)} is drawn once per run; online_limit needs fresh draws at every step, drop once=True or "
            "make it given"
        )
    if draw.values is None:
        (s,) = draw.symbols
        p = Index(f"@{number}", _size(draw.shapes[s][0], s))
        return [Outcome(columns={s: p}, inner=((p, draw.probs),), shown=f"{s} a unit column")]
    n = len(draw.values)
    probs = draw.probs if draw.probs is not None else tuple(("frac", 1, n) if n > 1 else 1 for _ in draw.values)
    return [
        Outcome(
            values=dict(zip(draw.symbols, row, strict=True)),
            weights=(p,),
            shown=", ".join(f"{s} = {_shown(v)}" for s, v in zip(draw.symbols, row, strict=True)),
        )
        for row, p in zip(draw.values, probs, strict=True)
    ]


def _size(dimension: Tree, name: str) -> str:
    if not isinstance(dimension, str):
        raise UnsupportedNode(
            f"{name} has {dimension} entries; give the axis a name with dims('P'), its size is chosen at run time"
        )
    return dimension


def label_symbols(low: Lowered) -> tuple[str, ...]:
    """Names of all symbols whose value an outcome fixes."""
    return (*switches(low), *(s for d in low.draws if is_label(d) for s in d.symbols))


__all__ = ["Outcome", "is_label", "label_symbols", "outcomes", "switches", "weight_name"]
