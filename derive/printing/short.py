r"""Abbreviations for long index-level equations: repeated sums of terms get a name, with their labels as arguments.

    asin((R_ki - Q_k./(1 + Q_kk) ...)/sqrt(1 + Q_kk) ...)    reads    asin(c2[k,i]/sqrt(c1[k]) ...)    where c1[k] = 1 + Q[k,k]

Two sums are the same if they differ in their labels only: each is brought to the least text over all namings of its labels.
A sum is named if it stands in two places; places inside of a named sum count once. For order-parameter equations these names
are the conditional variances and covariances of the fields. Imported by the printers only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any

from derive.indices.indexed import Index, Node, add, arr, fun, mul, power, substitute, sum_over

LETTERS = ("c", "h", "g", "e", "w", "z")
SHORT = 12  # letters up to which a sum without labels keeps its form
LABELS = ("i", "j", "p", "q", "r", "a", "b", "c", "d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Short:
    """One abbreviation ``name[labels] = body``; the body may use the names before it."""

    name: str
    labels: tuple[Index, ...]
    body: Node


def shorten(nodes: Mapping[str, Node], taken: tuple[str, ...] = ()) -> tuple[dict[str, Node], tuple[Short, ...]]:
    """Equations with names for their repeated sums, and the definitions of these names, in order.

    Parameters
    ----------
    nodes : mapping name -> Node
    taken : tuple of str
        Names that must not be used.

    >>> k, l = Index("k", "K"), Index("l", "K")
    >>> one = lambda i: 1 + arr("Q", i, i)
    >>> short, made = shorten({"R": arr("R", k) / one(k) + power(one(l), 2)}, ("c",))
    >>> short["R"], made[0].name, made[0].labels, made[0].body
    (h1[l]^2 + R[k]*h1[k]^(-1), 'h1', (l,), 1 + Q[l,l])
    """
    letter = next((x for x in LETTERS if not any(re.fullmatch(rf"{x}\d*", n) for n in taken)), "short")
    work = _Work(letter)
    for node in nodes.values():
        for part in node.args if node.op == "add" else (node,):
            work.count(part)
    out = {name: work.outside(node) for name, node in nodes.items()}
    return out, tuple(work.made.values())


class _Work:
    """Counts and names of one call."""

    def __init__(self, letter: str):
        self.letter = letter
        self.seen: dict[Node, int] = {}
        self.made: dict[Node, Short] = {}
        self.order: dict[Node, tuple[int, ...]] = {}
        self.memo: dict[Node, tuple[Node, tuple[Index, ...]]] = {}

    def template(self, node: Node) -> tuple[Node, tuple[Index, ...]]:
        """The node under its canonical labels, and its own labels in their order."""
        if node not in self.memo:
            families: dict[str, list[Index]] = {}
            for i in node.free:
                families.setdefault(i.family, []).append(i)
            ways = [tuple(i for group in way for i in group) for way in product(*(permutations(g) for g in families.values()))]
            named = [(substitute(node, {i: Index(f"${n}", i.family) for n, i in enumerate(way)}), way) for way in ways]
            self.memo[node] = min(named, key=lambda pair: pair[0].order)
        return self.memo[node]

    def count(self, node: Node) -> None:
        if node.op == "add" and (node.free or len(repr(node)) > SHORT):
            same = self.template(node)[0]
            self.seen[same] = self.seen.get(same, 0) + 1
            if self.seen[same] > 1:
                return
        for a in node.args:
            if isinstance(a, Node):
                self.count(a)

    def outside(self, node: Node) -> Node:
        """An equation: the sum of its terms keeps its form."""
        return add(*(self.change(a) for a in node.args)) if node.op == "add" else self.change(node)

    def change(self, node: Node) -> Node:
        if node.op == "add":
            same, labels = self.template(node)
            if self.seen.get(same, 0) > 1:
                if same not in self.made:
                    body = add(*(self.change(a) for a in node.args))
                    self.define(same, labels, body)
                return arr(self.made[same].name, *(labels[n] for n in self.order[same]))
        args: list[Any] = [self.change(a) if isinstance(a, Node) else a for a in node.args]
        if node.op in ("add", "mul"):
            return add(*args) if node.op == "add" else mul(*args)
        if node.op == "pow":
            return power(args[0], args[1])
        if node.op == "fun":
            return fun(*args)
        return sum_over(args[0], args[1]) if node.op == "sum" else node

    def define(self, same: Node, labels: tuple[Index, ...], body: Node) -> None:
        """A name, with labels in reading order; bound labels of the place where it was met become letters."""
        order = tuple(sorted(range(len(labels)), key=lambda n: (labels[n].name.startswith("#"), labels[n].name)))
        free = [x for x in LABELS if x not in {i.name for i in labels}]
        own = {i: Index(free.pop(0), i.family) for i in sorted(labels) if i.name.startswith("#")}
        shown = tuple(own.get(labels[n], labels[n]) for n in order)
        self.order[same] = order
        self.made[same] = Short(name=f"{self.letter}{len(self.made) + 1}", labels=shown, body=substitute(body, own))
