"""Index-level equations -> loops.

The outputs form a tree of loops (blocks that share their leading index share its loop; a symmetric block is computed for l
<= k and stored twice). At each nest the sums and array temporaries that `codegen.scopes` placed there come first, grouped
into as few loops as their dependencies allow, then the values themselves. Imported by codegen only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from codegen.functions import HelperSet
from codegen.names import Names
from codegen.program import Allocate, Assign, Comment, Expr, Increase, Statement, Store, add, item, mul, num, power, var
from codegen.program import Loop as LoopStatement
from codegen.scopes import LEAVES, Item, Loop, Nest, Placement, is_number
from derive.errors import UnsupportedNode
from derive.indices.indexed import Index, Node, substitute
from derive.system import Block


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One array to compute: its name in the code, its labels, its expression, and the comment above it."""

    name: str
    labels: tuple[Index, ...]
    symmetric: bool
    node: Node
    comment: str


def output(name: str, block: Block, node: Node, comment: str) -> Output:
    """An output whose labels are those of its block."""
    symmetric = block.symmetric and len(block.indices) == 2 and block.indices[0].family == block.indices[1].family
    return Output(name=name, labels=block.indices, symmetric=symmetric, node=node, comment=comment)


@dataclass(slots=True)
class _Scope:
    """A place in the code under construction: statements so far, and the place before its open loop."""

    nest: Nest
    parent: _Scope | None
    index: dict[Index, str]
    body: list[Statement | _Scope] = field(default_factory=list)
    values: dict[Node, Expr] = field(default_factory=dict)
    open: int | None = None

    def put(self, s: Statement) -> None:
        """Append a statement, or insert it before the open loop."""
        if self.open is None:
            self.body.append(s)
        else:
            self.body.insert(self.open, s)
            self.open += 1

    def at(self, nest: Nest) -> _Scope:
        """The enclosing scope of a nest."""
        here = self
        while here.nest != nest:
            assert here.parent is not None
            here = here.parent
        return here


class Emitter:
    """Statements that compute some outputs.

    Parameters
    ----------
    outputs : list of Output
    names : Names
        For temporaries and loop indices.
    leaf : callable(name, indices) -> Expr
        Text of an array entry, a scalar, or the size of a family.
    size : callable(family) -> str
        Identifier of the size of a family.
    helpers : HelperSet
    """

    def __init__(
        self,
        outputs: list[Output],
        names: Names,
        leaf: Callable[[str, tuple[str, ...]], Expr],
        size: Callable[[str], str],
        helpers: HelperSet,
        rename: dict[str, str],
    ):
        self.outputs = _align(outputs)
        self.names, self.leaf, self.size, self.helpers, self.rename = names, leaf, size, helpers, rename
        self.nests = [_nest(o) for o in self.outputs]
        self.place = Placement([(nest, o.node) for nest, o in zip(self.nests, self.outputs, strict=True)])
        self.arrays: dict[Item, str] = {}
        self.allocated: list[Statement] = []

    def statements(self) -> tuple[tuple[Statement, ...], tuple[Expr, ...]]:
        """The body, and the values of the outputs in their order."""
        top = _Scope((), None, {})
        for o in self.outputs:
            if o.labels:
                self.allocated.append(Allocate(name=o.name, sizes=tuple(self.size(x.family) for x in o.labels)))
        self._outputs(top, list(range(len(self.outputs))))
        return (*self.allocated, *self._freeze(top)), tuple(var(o.name) for o in self.outputs)

    def _outputs(self, scope: _Scope, members: list[int]) -> None:
        needed: dict[Item, None] = {}
        for n in members:
            needed.update(dict.fromkeys(self.place.roots[n]))
        self._items(scope, self.place.closure(tuple(needed)))
        depth = len(scope.nest)
        for n in members:
            if len(self.nests[n]) == depth:
                self._store(scope, self.outputs[n])
        children: dict[Loop, list[int]] = {}
        for n in members:
            if len(self.nests[n]) > depth:
                children.setdefault(self.nests[n][depth], []).append(n)
        for loop, inside in children.items():
            self._outputs(self._open(scope, loop), inside)
            scope.open = None

    def _store(self, scope: _Scope, o: Output) -> None:
        scope_value = self._value(o.node, scope)
        scope.put(Comment(text=o.comment))
        if not o.labels:
            scope.put(Assign(target=o.name, value=scope_value))
            return
        at = tuple(scope.index[x] for x in o.labels)
        scope.put(Store(array=o.name, indices=at, value=scope_value))
        if o.symmetric:
            scope.put(Store(array=o.name, indices=at[::-1], value=item(o.name, *at)))

    def _open(self, scope: _Scope, loop: Loop) -> _Scope:
        """Open a loop at the end of a scope."""
        wanted = loop.label.name if loop.label.name[0] not in "#@" else ""
        letter = self.names.index(wanted, tuple(scope.index.values()))
        child = _Scope((*scope.nest, loop), scope, {**scope.index, loop.label: letter})
        scope.body.append(child)
        scope.open = len(scope.body) - 1
        return child

    def _items(self, scope: _Scope, needed: tuple[Item, ...]) -> None:
        """Loops for the items of this nest, in as few rounds as their dependencies allow."""
        groups: dict[tuple[int, tuple[Any, ...]], list[Item]] = {}
        for one in needed:
            if one.home == scope.nest and one.node not in scope.values:
                groups.setdefault((self.place.level(one), one.loops), []).append(one)
        for (_, loops), members in sorted(groups.items(), key=lambda g: g[0][0]):
            targets = [self._target(scope, one) for one in members]
            inside = self.place.closure(tuple(x for one in members for x in self.place.items[one]))
            here = scope
            for loop in loops:
                here = self._open(here, loop)
                self._items(here, inside)
            for one, target in zip(members, targets, strict=True):
                value = self._value(one.body, here, entry=one.kind != "fill")
                if one.kind == "fill":
                    here.put(Store(array=target, indices=tuple(here.index[x.label] for x in loops), value=value))
                    continue
                if one.kind == "half":
                    assert loops[0].through is not None
                    value = mul(Expr("twice", (here.index[loops[0].label], here.index[loops[0].through])), value)
                here.put(Increase(target=target, value=value))
            while here is not scope:
                assert here.parent is not None
                here = here.parent
                here.open = None

    def _target(self, scope: _Scope, one: Item) -> str:
        """Name of the accumulator or array of an item, made ready before its loop."""
        if one.kind != "fill":
            name = self.names.numbered("s")
            scope.put(Assign(target=name, value=num(0)))
            scope.values[one.node] = var(name)
            return name
        if one not in self.arrays:
            self.arrays[one] = self.names.numbered("A")
            sizes = tuple(self.size(x.label.family) for x in one.loops)
            self.allocated.append(Allocate(name=self.arrays[one], sizes=sizes))
        scope.values[one.node] = var(self.arrays[one])
        return self.arrays[one]

    def _value(self, node: Node, scope: _Scope, entry: bool = True) -> Expr:
        """The value of a node at a scope; parts of outer scopes are computed there, shared parts get a name."""
        place = self.place
        if node.op in LEAVES and not place.is_sum(node):
            return self._leaf(node, scope)
        found = place.stored(node, scope.nest) if entry else None
        if found:
            return item(self.arrays[found[0]], *(scope.index[x] for x in found[1]))
        base, over = place.home(node, scope.nest)
        if over:
            return self._build(node, scope)
        home = scope.at(base)
        if node not in home.values:
            value = self._build(node, home)
            if is_number(node):
                return value
            shared = place.counts.get((base, node), 0) > 1 and place.cost(node) > 0
            if home is scope and not shared:
                return value
            name = self.names.numbered("x")
            home.put(Assign(target=name, value=value))
            home.values[node] = var(name)
        return home.values[node]

    def _leaf(self, node: Node, scope: _Scope) -> Expr:
        if node.op == "const":
            return num(node.args[0])
        if node.op == "pi":
            return Expr("pi")
        if node.op == "kron":
            return Expr("same", tuple(scope.index[i] for i in node.args))
        name, indices = node.args
        return self.leaf(name, tuple(scope.index[i] for i in indices))

    def _build(self, node: Node, scope: _Scope) -> Expr:
        if node.op in ("add", "mul"):
            parts = [self._value(p, scope) for p in self.place.split(node, scope.nest)]
            return add(*parts) if node.op == "add" else mul(*parts)
        if node.op == "pow":
            return power(self._value(node.args[0], scope), node.args[1])
        if node.op == "fun":
            args = [self._value(a, scope) for a in node.args[1:]]
            return self.helpers.apply(node.args[0], 0, args, self.rename)
        raise UnsupportedNode(f"index expression {node!r} of kind {node.op!r}: no rule for emission")

    def _freeze(self, scope: _Scope) -> tuple[Statement, ...]:
        """Statements of a finished scope."""
        out: list[Statement] = []
        for s in scope.body:
            if isinstance(s, _Scope):
                loop = s.nest[-1]
                through = s.index[loop.through] if loop.through is not None else ""
                stop = self.size(loop.label.family)
                out.append(LoopStatement(index=s.index[loop.label], stop=stop, through=through, body=self._freeze(s)))
            else:
                out.append(s)
        return tuple(out)


def _align(outputs: list[Output]) -> list[Output]:
    """Give the n-th index of a family the same label in all outputs, so that they can share loops."""
    known: dict[tuple[str, int], Index] = {}
    out = []
    for o in outputs:
        seen: dict[str, int] = {}
        change: dict[Index, Index] = {}
        for label in o.labels:
            n = seen[label.family] = seen.get(label.family, -1) + 1
            taken = [*known.values(), *change.values()]
            fresh = label
            while fresh in taken:
                fresh = Index(fresh.name + "_", fresh.family)
            change[label] = known.setdefault((label.family, n), fresh)
        node = substitute(o.node, {a: b for a, b in change.items() if a != b})
        labels = tuple(change[x] for x in o.labels)
        out.append(Output(name=o.name, labels=labels, symmetric=o.symmetric, node=node, comment=o.comment))
    return out


def _nest(o: Output) -> Nest:
    loops = [Loop(x) for x in o.labels]
    if o.symmetric:
        loops[1] = Loop(o.labels[1], o.labels[0])
    return tuple(loops)
