"""The lowered Model: the same spec as plain frozen data, which is all that passes, plan, digest and printers read.

Trees are those of `derive.spec.tree`, in the normal form of `derive.spec.normal`; symbols are names. ``roles`` says which
section lists a name. Imported by every pass; made by `derive.spec.assemble` only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from derive.errors import InvalidSpec
from derive.spec.normal import normalise
from derive.spec.shapes import Shape, shape_of
from derive.spec.tree import Tree, children, names, rebuild

Pairs = tuple[tuple[str, Tree], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """One data law. None means: identity covariance, zero mean, unit columns, equal probabilities.

    ``values`` holds one tuple per outcome in the order of ``symbols``; ``probs`` a tuple of trees, or one tree of shape (P, 1).
    ``moments`` holds (tree, name) for an open law, and for the `Choice` that binds one to arrays; (order, tree) for `Marginal`.
    """

    law: str
    symbols: tuple[str, ...]
    shapes: Mapping[str, Shape]
    cov: Tree | None = None
    mean: Tree | None = None
    values: tuple[tuple[Tree, ...], ...] | None = None
    probs: Tree | None = None
    moments: tuple[tuple[Tree, Any], ...] = ()
    odd: tuple[str, ...] = ()
    even: tuple[str, ...] = ()
    once: bool = False
    transform: str | None = None
    opens: tuple[str, ...] = ()  # after bind: the symbols of the open law, now defined in `let`
    item: str = ""  # of an opened law that keeps its arrays: the random unit column,
    items: tuple[tuple[str, Tree], ...] = ()  # and each symbol as a tree in it


@dataclass(frozen=True, slots=True, kw_only=True)
class LoweredRate:
    """``Rate``: (state, rate) and (state, factor of the white noise)."""

    rates: Pairs
    noise: Pairs = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoweredUpdate:
    """``Update``: blocks of (state, new value), the time of one step, the batch."""

    blocks: tuple[Pairs, ...]
    dt: Tree = 1
    batch: Tree = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LoweredOptimum:
    """``Optimum``: objective, states, "min" or "max", equations (left, right)."""

    objective: Tree
    over: tuple[str, ...]
    sense: str = "min"
    subject_to: tuple[tuple[Tree, Tree], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A user's activation: body and derivative as trees in ``variable`` (derivative None if it is not expressible)."""

    name: str
    variable: str
    body: Tree
    derivative: Tree | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """What passes read. Fields as in docs/architecture.md; ``dims`` are the names of the dimensions, ``control`` may be None.

    ``start`` holds ("value", name, tree), ("law", name, Draw) and ("equation", left, right); ``limit`` (to, fixed);
    ``protocol`` plain tuples ("phase", length, binds, until), ("event", pairs), ("drop", dimension, count).
    """

    name: str
    dims: tuple[str, ...]
    shapes: Mapping[str, Shape]
    roles: Mapping[str, str]
    state: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    draws: tuple[Draw, ...] = ()
    let: Pairs = ()
    rule: LoweredRate | LoweredUpdate | LoweredOptimum | None = None
    start: tuple[tuple[Any, ...], ...] = ()
    facts: tuple[tuple[Tree, Tree], ...] = ()
    observe: Pairs = ()
    limit: tuple[Pairs, Pairs] | None = None
    protocol: tuple[tuple[Any, ...], ...] = ()
    control: tuple[Any, ...] | None = None
    functions: Mapping[str, Function] = field(default_factory=dict)
    symbols: Mapping[str, Any] = field(default_factory=dict)

    def inline(self, tree: Tree) -> Tree:
        """Replace every `let` name by its definition until none is left (names defined by `root` stay); normal form."""
        table: dict[str, Tree] = {}
        for name, definition in self.let:
            if not (isinstance(definition, tuple) and definition[0] == "root"):
                table[name] = _replace(definition, table)
        return normalise(_replace(tree, table), self.shapes)

    def shape(self, tree: Tree) -> Shape:
        """Strict shape of a tree over the names of this model."""
        return shape_of(tree, self.shapes)

    def opened(self, *, keep_items: bool = False) -> Lowered:
        """The same model before `bind`: a law bound to arrays is the open law `Moments` again, its symbols are draws.

        What is derived from the open law is evaluated with the values of the arrays, because the averages keep their names.
        With ``keep_items`` the arrays stay known: an average that has no name may then be summed over the items.
        A model that was not bound is returned as it is.
        """
        bound = [d for d in self.draws if d.opens]
        if not bound:
            return self
        opens = [n for d in bound for n in d.opens]
        moments = [name for d in bound for _, name in d.moments]
        holders = [n for name, tree in self.let if name in opens for n in names(tree) if self.roles.get(n) == "given"]
        gone = [*holders, *(n for d in bound for n in d.symbols)]
        sizes = [n for d in bound for dimension in d.shapes[d.symbols[0]] for n in names(dimension)]
        draws = tuple(d if not d.opens else _opened(d, self.shapes) for d in self.draws)
        if keep_items:
            let = dict(self.let)
            draws = tuple(d if not b.opens else _with_items(d, b, let) for d, b in zip(draws, self.draws, strict=True))
            gone, sizes = [], []
        roles = {n: r for n, r in self.roles.items() if n not in gone}
        roles |= dict.fromkeys(opens, "draw") | dict.fromkeys(moments, "moment")
        return replace(
            self,
            draws=draws,
            roles=roles,
            dims=tuple(n for n in self.dims if n not in sizes),
            let=tuple(pair for pair in self.let if pair[0] not in opens),
            given=tuple(n for n in self.given if n not in (*gone, *moments)),
            shapes={n: shape for n, shape in self.shapes.items() if n not in gone},
            symbols={n: s for n, s in self.symbols.items() if n not in (*gone, *sizes)},
        )


def _opened(draw: Draw, shapes: Mapping[str, Shape]) -> Draw:
    return replace(draw, law="Moments", symbols=draw.opens, shapes={n: shapes[n] for n in draw.opens}, opens=())


def _with_items(opened: Draw, bound: Draw, let: Mapping[str, Tree]) -> Draw:
    (item,) = bound.symbols
    items = tuple((n, let[n]) for n in opened.symbols)
    return replace(opened, item=item, items=items, shapes={**opened.shapes, item: bound.shapes[item]})


def _replace(tree: Tree, table: Mapping[str, Tree]) -> Tree:
    if isinstance(tree, str):
        return table.get(tree, tree)
    parts = children(tree)
    return rebuild(tree, tuple(_replace(p, table) for p in parts)) if parts else tree


def lowered_of(verb: str, model: Any) -> Lowered:
    """What a verb reads of a model.

    Raises
    ------
    InvalidSpec
        If it is no model: an entry has one, and derived equations have left theirs behind.
    """
    low = getattr(model, "lowered", None)
    if isinstance(low, Lowered):
        return low
    if hasattr(model, "model"):
        remedy = "pass its model, entry.model"
    elif hasattr(model, "rhs") or hasattr(model, "system"):
        remedy = "its equations are derived already; pass it to reduce, conserved, closed_form or codegen.compile"
    else:
        remedy = "pass a Model(...)"
    raise InvalidSpec(f"{verb}: {type(model).__name__} is no model; {remedy}")
