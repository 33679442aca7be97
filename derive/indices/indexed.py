"""Index-level expressions: scalars with symbolic indices, sums over index families, Kronecker deltas.

A `Node` is one of ``const pi arr add mul pow fun kron sum``. Nodes are immutable and normal on construction:

- constants are exact (rationals, rational powers of integers and of pi); equal terms and equal bases are collected;
- commutative arguments are sorted by their structure, never by identity, so text is the same under every hash seed;
- ``sum`` pulls out factors without its index, contracts Kronecker deltas, and is distributed over addends that contain one;
- bound labels are renamed by their height (``#0``, ``#1``, ...), so sums that differ in names only are equal;
- the sizes of index families never appear as numbers: one expression serves every K and M.

Imported by the Gaussian averages, by `online_limit`, by reductions to scalar modes and by emission.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any


@dataclass(frozen=True, slots=True, order=True)
class Index:
    """A label that runs over an index family (a set named by its dimension, e.g. ``K``)."""

    name: str
    family: str

    def __repr__(self) -> str:
        return self.name


class Node:
    """One node; made by the functions of this module only.

    Attributes
    ----------
    op : str
    args : tuple
        const: (Fraction,); arr: (name, (Index, ...)); add, mul: nodes; pow: (node, Fraction); fun: (name, node, ...);
        kron: (Index, Index); sum: (Index, node).
    free : tuple of Index
        Free labels, sorted.
    height : int
        Depth of nested sums.
    symmetric : bool
        An array that is symmetric by declaration: its two labels are kept sorted.
    """

    __slots__ = ("_hash", "_order", "args", "free", "height", "key", "op", "symmetric")

    def __init__(self, op: str, args: tuple[Any, ...], symmetric: bool = False):
        self.op, self.args, self.symmetric = op, args, symmetric
        kids: list[Node] = [a for a in args if isinstance(a, Node)]
        free = {i for kid in kids for i in kid.free}
        if op == "arr":
            free |= set(args[1])
        if op == "kron":
            free |= set(args)
        if op == "sum":
            free.discard(args[0])
        self.free: tuple[Index, ...] = tuple(sorted(free))
        self.height: int = max((kid.height for kid in kids), default=0) + (op == "sum")
        self.key: tuple[Any, ...] = (_RANK[op], *(a.key if isinstance(a, Node) else _plain(a) for a in args))
        self._hash: int = hash((op, *(a._hash if isinstance(a, Node) else a for a in args)))
        self._order = ""

    @property
    def order(self) -> str:
        """Structure as text: the sort key of commutative arguments, comparable across kinds of nodes."""
        if not self._order:
            self._order = repr(self.key)
        return self._order

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Node) and self._hash == other._hash and self.op == other.op and self.args == other.args

    def __add__(self, other: Node | int | Fraction) -> Node:
        return add(self, _node(other))

    def __sub__(self, other: Node | int | Fraction) -> Node:
        return add(self, mul(const(-1), _node(other)))

    def __mul__(self, other: Node | int | Fraction) -> Node:
        return mul(self, _node(other))

    def __truediv__(self, other: Node | int | Fraction) -> Node:
        return mul(self, power(_node(other), -1))

    def __pow__(self, e: int | Fraction) -> Node:
        return power(self, e)

    def __neg__(self) -> Node:
        return mul(const(-1), self)

    def __rsub__(self, other: int | Fraction) -> Node:
        return add(_node(other), mul(const(-1), self))

    __radd__ = __add__
    __rmul__ = __mul__

    def __repr__(self) -> str:
        return text(self)


_RANK = {op: i for i, op in enumerate(("const", "pi", "arr", "kron", "pow", "fun", "sum", "mul", "add"))}


def _plain(a: Any) -> Any:
    """Sortable form of an argument that is not a node."""
    if isinstance(a, Index):
        return (a.name, a.family)
    if isinstance(a, Fraction):
        return (a.numerator, a.denominator)
    if isinstance(a, tuple):
        return tuple(_plain(x) for x in a)
    return a


def _order(node: Node) -> str:
    return node.order


def _node(x: Node | int | Fraction) -> Node:
    return x if isinstance(x, Node) else const(x)


def const(q: int | Fraction) -> Node:
    """An exact rational number."""
    return Node("const", (Fraction(q),))


ZERO, ONE, PI = const(0), const(1), Node("pi", ())


def arr(name: str, *indices: Index, symmetric: bool = False) -> Node:
    """An array entry, or a scalar if there is no index. A symmetric array (by declaration) sorts its two labels."""
    return Node("arr", (name, tuple(sorted(indices)) if symmetric else indices), symmetric)


def fun(name: str, *args: Node) -> Node:
    """A scalar function, e.g. ``fun("asin", x)``; names are those of `math`, and ``erf2``."""
    return Node("fun", (name, *args))


def kron(i: Index, j: Index) -> Node:
    """Kronecker delta; labels of different families differ."""
    if i == j:
        return ONE
    if i.family != j.family:
        return ZERO
    return Node("kron", tuple(sorted((i, j))))


def _coefficient(node: Node) -> tuple[Fraction, Node]:
    """Rational coefficient and the rest."""
    if node.op == "const":
        return node.args[0], ONE
    if node.op == "mul" and node.args[0].op == "const":
        rest = node.args[1:]
        return node.args[0].args[0], rest[0] if len(rest) == 1 else Node("mul", rest)
    return Fraction(1), node


def add(*nodes: Node) -> Node:
    """Sum; equal terms are collected."""
    terms: dict[Node, Fraction] = {}
    stack = list(reversed(nodes))
    while stack:
        node = stack.pop()
        if node.op == "add":
            stack += reversed(node.args)
            continue
        c, rest = _coefficient(node)
        terms[rest] = terms.get(rest, Fraction(0)) + c
    out = [mul(const(c), rest) for rest, c in terms.items() if c]
    if not out:
        return ZERO
    return out[0] if len(out) == 1 else Node("add", tuple(sorted(out, key=_order)))


def mul(*nodes: Node) -> Node:
    """Product; rational factors and equal bases are collected."""
    coefficient = Fraction(1)
    powers: dict[Node, Fraction] = {}
    stack = list(reversed(nodes))
    while stack:
        node = stack.pop()
        if node.op == "mul":
            stack += reversed(node.args)
        elif node.op == "const":
            coefficient *= node.args[0]
        elif node.op == "pow":
            powers[node.args[0]] = powers.get(node.args[0], Fraction(0)) + node.args[1]
        elif node.op == "kron":
            powers[node] = Fraction(1)
        else:
            powers[node] = powers.get(node, Fraction(0)) + 1
    if not coefficient:
        return ZERO
    out = []
    for base, e in powers.items():
        if base.op == "const":  # a radical: keep the exponent in [0, 1)
            whole = e.__floor__()
            coefficient *= base.args[0] ** whole
            e -= whole
        if e == 1:
            out.append(base)
        elif e:
            out.append(Node("pow", (base, e)))
    if not out:
        return const(coefficient)
    if len(out) == 1 and coefficient == 1:
        return out[0]
    if len(out) == 1 and out[0].op == "add":
        return add(*(mul(const(coefficient), term) for term in out[0].args))
    head = [] if coefficient == 1 else [const(coefficient)]
    return Node("mul", (*head, *sorted(out, key=_order)))


def power(base: Node, e: int | Fraction) -> Node:
    """Rational power. Powers of products are not split (their factors may be negative); integer powers are."""
    e = Fraction(e)
    if not e:
        return ONE
    if e == 1 or (base.op == "kron" and e > 0):
        return base
    if base.op == "const":
        q = base.args[0]
        if e.denominator == 1:
            return const(q**e.numerator)
        if q in (0, 1):
            return base
        if q > 0:
            radicals = [(p, n * e) for p, n in _primes(q.numerator)] + [(p, -n * e) for p, n in _primes(q.denominator)]
            return mul(*(Node("pow", (const(p), s)) for p, s in radicals))
    if base.op == "pow" and (e.denominator == 1 or base.args[1].denominator % 2 == 0):
        return power(base.args[0], base.args[1] * e)
    if base.op == "mul" and e.denominator == 1:
        return mul(*(power(f, e) for f in base.args))
    return Node("pow", (base, e))


def _primes(n: int) -> list[tuple[int, int]]:
    """Prime factors with multiplicities (of the small integers that occur in formulas)."""
    out, p = [], 2
    while p * p <= n:
        count = 0
        while n % p == 0:
            n, count = n // p, count + 1
        if count:
            out.append((p, count))
        p += 1
    return [*out, (n, 1)] if n > 1 else out


def sqrt(x: Node) -> Node:
    """Square root."""
    return power(x, Fraction(1, 2))


def substitute(node: Node, change: Mapping[Index, Index]) -> Node:
    """Replace free labels."""
    change = {i: j for i, j in change.items() if i in node.free}
    if not change:
        return node
    if node.op == "arr":
        return arr(node.args[0], *(change.get(i, i) for i in node.args[1]), symmetric=node.symmetric)
    if node.op == "kron":
        return kron(*(change.get(i, i) for i in node.args))
    if node.op == "sum":
        return sum_over(node.args[0], substitute(node.args[1], change))
    return rebuild(node, [substitute(a, change) if isinstance(a, Node) else a for a in node.args])


def replace(node: Node, leaf: Callable[[Node], Node]) -> Node:
    """Replace every ``arr`` node by ``leaf(node)``, which may contain sums of its own."""
    return _replace(node, leaf, 0)


def _replace(node: Node, leaf: Callable[[Node], Node], depth: int) -> Node:
    if node.op == "arr":
        return leaf(node)
    if node.op == "sum":  # opened under a label that no closed sum uses, so that sums made by `leaf` cannot capture it
        i = Index(f"~{depth}", node.args[0].family)
        return sum_over(i, _replace(substitute(node.args[1], {node.args[0]: i}), leaf, depth + 1))
    return rebuild(node, [_replace(a, leaf, depth) if isinstance(a, Node) else a for a in node.args])


def rebuild(node: Node, args: list[Any]) -> Node:
    """A node of the same operation on other arguments, in normal form; what is no sum, product, power or function stays."""
    if node.op == "add":
        return add(*args)
    if node.op == "mul":
        return mul(*args)
    if node.op == "pow":
        return power(args[0], args[1])
    if node.op == "fun":
        return fun(*args)
    return node


def sum_over(i: Index, body: Node) -> Node:
    """Sum of ``body`` over all values of the label i."""
    if i not in body.free:
        return mul(arr(i.family), body)
    if body.op == "add" and any(_has_kron(t, i) for t in body.args):
        return add(*(sum_over(i, t) for t in body.args))
    factors = body.args if body.op == "mul" else (body,)
    for f in factors:
        if f.op == "kron" and i in f.free:
            j = f.args[0] if f.args[1] == i else f.args[1]
            return substitute(mul(*(g for g in factors if g is not f)), {i: j})
    for n, f in enumerate(factors):
        if f.op == "add" and _has_kron(f, i):
            rest = (*factors[:n], *factors[n + 1 :])
            return add(*(sum_over(i, mul(term, *rest)) for term in f.args))
    outside = [f for f in factors if i not in f.free]
    inside = mul(*(f for f in factors if i in f.free))
    label = Index(f"#{inside.height}", i.family)
    inside = inside if i == label else substitute(inside, {i: label})
    return mul(*outside, Node("sum", (label, inside)))


def _has_kron(node: Node, i: Index) -> bool:
    if node.op == "kron":
        return i in node.free
    return i in node.free and node.op in ("mul", "add") and any(_has_kron(a, i) for a in node.args)


def arrays(node: Node) -> tuple[str, ...]:
    """Names of the arrays and scalars in a node, sorted."""
    found: set[str] = set()

    def visit(n: Node) -> None:
        if n.op == "arr":
            found.add(n.args[0])
        for a in n.args:
            if isinstance(a, Node):
                visit(a)

    visit(node)
    return tuple(sorted(found))


def evaluate(node: Node, values: Mapping[str, Any], labels: Mapping[Index, int], functions: Mapping[str, Any]) -> Any:
    """Value at given arrays, term by term: the slow, independent oracle of the emitted kernels.

    ``values`` holds arrays, scalars and the sizes of index families by name; ``functions`` holds scalar functions by name, and
    the constant ``pi``.
    """
    if node.op == "const":
        q = node.args[0]
        return functions["number"](q) if "number" in functions else q.numerator / q.denominator
    if node.op == "pi":
        return functions["pi"]
    if node.op == "arr":
        name, indices = node.args
        return values[name][tuple(labels[i] for i in indices)] if indices else values[name]
    if node.op == "kron":
        return 1 if labels[node.args[0]] == labels[node.args[1]] else 0
    if node.op == "sum":
        i, body = node.args
        return sum(evaluate(body, values, {**labels, i: n}, functions) for n in range(int(values[i.family])))
    if node.op == "pow":
        e = node.args[1]
        base = evaluate(node.args[0], values, labels, functions)
        return (
            base**e.numerator if e.denominator == 1 else base ** (functions["number"](e) if "number" in functions else float(e))
        )
    parts = [evaluate(a, values, labels, functions) for a in node.args if isinstance(a, Node)]
    if node.op == "fun":
        return functions[node.args[0]](*parts)
    out = parts[0]
    for p in parts[1:]:
        out = out + p if node.op == "add" else out * p
    return out


def text(node: Node) -> str:
    """One-line text, e.g. ``2*u[a]*(s[a] - u[a])``; see `derive.indices.text`."""
    from derive.indices.text import text as shown

    return shown(node)
