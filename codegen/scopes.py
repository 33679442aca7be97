"""Where each part of an index expression is computed: scopes by free indices, array temporaries, half sums.

A *nest* is the chain of loops around a place. A node belongs to the shortest nest that binds its free labels, if these fill
the front of the chain. A node that lacks an enclosing label becomes an array over the labels behind the gap, filled once
per nest before the gap and keyed modulo renaming, so that C_ii and C_jj read one array. A double sum whose summand is
symmetric is summed over j <= i, off-diagonal terms counted twice. Products and sums are split by scope, so that outer
factors are multiplied outside. Imported by codegen only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from derive.indices.indexed import Index, Node, add, arr, const, mul, substitute


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop over a label; with ``through`` up to and including that outer label, else over the whole family."""

    label: Index
    through: Index | None = None


Nest: TypeAlias = tuple[Loop, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """Something that needs loops of its own at a nest: a ``sum``, a ``half`` sum, or an array to ``fill``."""

    kind: str
    home: Nest
    node: Node
    loops: Nest
    body: Node


LEAVES = ("const", "pi", "arr", "kron")
ARRAY_WORTH = 4  # operations that an array entry must save; fewer are cheaper to repeat than to load
HALF = "\0half"


def cost(node: Node, memo: dict[Node, int]) -> int:
    """Rough number of operations of a node; dear parts with fewer labels are computed elsewhere and cost nothing here."""
    if node not in memo:
        memo[node] = _own_cost(node)
        for a in node.args:
            if isinstance(a, Node):
                part = cost(a, memo)
                memo[node] += part if a.free == node.free or part < ARRAY_WORTH else 0
    return memo[node]


def _own_cost(node: Node) -> int:
    if node.op in ("add", "mul"):
        return int(len(node.args) - 1 - (node.args[0].op == "const" and node.args[0].args[0] == -1))
    if node.op == "pow":
        e = node.args[1]
        return abs(e.numerator) - 1 if e.denominator == 1 and e > 0 else 4 if e.denominator == 1 else 8
    return 20 if node.op == "fun" else 10 if node.op == "sum" else 0


def is_number(node: Node) -> bool:
    """Is it made of numbers only, such as 2/pi?"""
    return node.op in ("const", "pi") or (
        node.op in ("add", "mul", "pow") and all(is_number(a) for a in node.args if isinstance(a, Node))
    )


class Placement:
    """The places of all parts of some root expressions.

    Attributes
    ----------
    counts : dict
        How often a node is used at its nest, by different parents.
    items : dict
        Item -> items that its body needs, directly.
    roots : list
        Items that each root needs, directly.
    """

    __slots__ = ("_arrays", "_costs", "_halves", "_homes", "_levels", "_seen", "_splits", "_sums", "counts", "items", "roots")

    def __init__(self, roots: list[tuple[Nest, Node]]):
        self._costs: dict[Node, int] = {}
        self._halves: dict[Node, tuple[Node, Loop, Node]] = {}
        self._splits: dict[tuple[Nest, Node], tuple[Node, ...]] = {}
        self._homes: dict[tuple[Nest, Node], tuple[Nest, Nest]] = {}
        self._sums: dict[Node, Node] = {}
        self._arrays: Mapping[tuple[Nest, Node], Item] = {}
        for _ in range(2):  # the second time with all arrays known
            arrays = self._collect(roots)
            self._arrays = arrays

    def _collect(self, roots: list[tuple[Nest, Node]]) -> dict[tuple[Nest, Node], Item]:
        self.items: dict[Item, tuple[Item, ...]] = {}
        self.counts: dict[tuple[Nest, Node], int] = {}
        self._seen: dict[tuple[Nest, Node], tuple[Item, ...]] = {}
        self._levels: dict[Item, int] = {}
        self.roots: list[tuple[Item, ...]] = [self.needs(node, nest) for nest, node in roots]
        return {(i.home, i.node): i for i in self.items if i.kind == "fill"}

    def cost(self, node: Node) -> int:
        """Rough number of operations."""
        return cost(node, self._costs)

    def home(self, node: Node, nest: Nest) -> tuple[Nest, Nest]:
        """The nest at which a node is computed, and the loops of the array it becomes there (none for a scalar)."""
        key = (nest, node)
        if key not in self._homes:
            free = node.free
            gap = next((n for n, loop in enumerate(nest) if loop.label not in free), len(nest))
            over = tuple(loop for loop in nest[gap:] if loop.label in free)
            self._homes[key] = (nest[:gap], over)
        return self._homes[key]

    def stored(self, node: Node, nest: Nest) -> tuple[Item, tuple[Index, ...]] | None:
        """The array that holds a node, and the labels to read it at; None if the node is no array entry."""
        base, over = self.home(node, nest)
        if over:
            return (self._fill(node, base, over), tuple(x.label for x in over)) if self.cost(node) >= ARRAY_WORTH else None
        if base and node.op not in LEAVES:
            fill = self._fill(node, base[:-1], base[-1:])
            known = self._arrays.get((fill.home, fill.node))
            if known:
                return known, (base[-1].label,)
        return None

    def _fill(self, node: Node, base: Nest, over: Nest) -> Item:
        labels = [Index(f"@{len(base) + n}", loop.label.family) for n, loop in enumerate(over)]
        canonical = substitute(node, {loop.label: new for loop, new in zip(over, labels, strict=True)})
        return Item("fill", base, canonical, tuple(Loop(x) for x in labels), canonical)

    def item(self, node: Node, base: Nest) -> Item:
        """The item of a sum or half sum at its nest."""
        if node in self._halves:
            _, loop, body = self._halves[node]
            return Item("half", base, node, (loop,), body)
        return Item("sum", base, node, (Loop(node.args[0]),), self._body(node))

    def is_sum(self, node: Node) -> bool:
        """Is this a sum or the placeholder of a half sum?"""
        return node.op == "sum" or node in self._halves

    def split(self, node: Node, base: Nest) -> tuple[Node, ...]:
        """Terms or factors of a node at its nest, those of outer nests and of arrays put together."""
        key = (base, node)
        if key not in self._splits:
            self._splits[key] = self._split(node, base)
        return self._splits[key]

    def _split(self, node: Node, base: Nest) -> tuple[Node, ...]:
        join = add if node.op == "add" else mul
        sign, rest = _signed(node)
        inner: list[Node] = []
        outer: list[Node] = []
        arrays: dict[tuple[int, Nest], list[Node]] = {}
        for a in rest:
            at, over = self.home(a, base)
            if over:
                arrays.setdefault((len(at), over), []).append(a)
            else:
                (inner if at == base else outer).append(a)
        out = [join(*outer)] if outer else []
        for members in arrays.values():
            whole = join(*members)
            out += [whole] if self.cost(whole) >= ARRAY_WORTH else members
        if len(out) + len(inner) < 2:
            return node.args
        return (*sign, *out, *inner)

    def needs(self, node: Node, nest: Nest, entry: bool = True) -> tuple[Item, ...]:
        """Items that the value of a node at a nest is read from, collected on the first visit.

        With ``entry`` false the node itself is not looked up among the arrays.
        """
        if node.op in LEAVES and node not in self._halves:
            return ()
        found = self.stored(node, nest) if entry else None
        if found:
            return self._visit(found[0])
        base, over = self.home(node, nest)
        at = nest if over else base
        key = (at, node)
        self.counts[key] = self.counts.get(key, 0) + 1
        if key not in self._seen:
            if self.is_sum(node):
                self._seen[key] = self._visit(self.item(node, at))
            else:
                parts = self.split(node, at) if node.op in ("add", "mul") else node.args
                found_items: dict[Item, None] = {}
                for p in parts:
                    if isinstance(p, Node):
                        found_items.update(dict.fromkeys(self.needs(p, at)))
                self._seen[key] = tuple(found_items)
        return self._seen[key]

    def _visit(self, item: Item) -> tuple[Item, ...]:
        if item not in self.items:
            self.items[item] = ()
            self.items[item] = self.needs(item.body, item.home + item.loops, entry=item.kind != "fill")
        return (item,)

    def closure(self, items: tuple[Item, ...]) -> tuple[Item, ...]:
        """The items and everything that they need."""
        out: dict[Item, None] = {}
        stack = list(reversed(items))
        while stack:
            one = stack.pop()
            if one not in out:
                out[one] = None
                stack += reversed(self.items[one])
        return tuple(out)

    def level(self, item: Item) -> int:
        """How many rounds of loops at the same nest must have run before."""
        if item not in self._levels:
            before = [self.level(x) for x in self.closure(self.items[item]) if x.home == item.home]
            self._levels[item] = 1 + max(before, default=-1)
        return self._levels[item]

    def _body(self, node: Node) -> Node:
        """Summand of a sum; a symmetric inner sum is replaced by the placeholder of its half sum."""
        if node not in self._sums:
            self._sums[node] = self._halved(node) or node.args[1]
        return self._sums[node]

    def _halved(self, node: Node) -> Node | None:
        i, body = node.args
        factors = body.args if body.op == "mul" else (body,)
        inner = [f for f in factors if f.op == "sum" and f.args[0].family == i.family and i in f.free]
        if len(inner) != 1:
            return None
        (one,) = inner
        j, summand = one.args
        rest = [f for f in factors if f is not one]
        whole = mul(*rest, summand)
        if substitute(whole, {i: j, j: i}) != whole:
            return None
        place = arr(f"{HALF}{len(self._halves)}", *one.free)
        self._halves[place] = (one, Loop(j, i), summand)
        return mul(*rest, place)


def _signed(node: Node) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
    """The sign of a product as a factor of its own, so that x and -x share what they can; and the other parts."""
    first = node.args[0]
    if node.op == "mul" and first.op == "const" and first.args[0] < 0:
        size = -first.args[0]
        return (const(-1),), (*((const(size),) if size != 1 else ()), *node.args[1:])
    return (), node.args
