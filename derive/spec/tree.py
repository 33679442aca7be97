"""Trees: what the user typed, lowered once to plain nested tuples (the table is in docs/architecture.md).

A tree is a symbol name (``str``), an integer, or a tuple whose first entry names the operation. Trees are hashable, compare by
value, and turn into JSON by turning tuples into lists, so passes, digest and simulation plan read one and the same thing.
Imported by the spec, by the passes and by the printers; imports nothing of the project.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, TypeAlias

Tree: TypeAlias = Any  # str | int | tuple[str, Tree, ...]; mypy has no recursive alias that is also a tuple head

#: Operations whose entries are all trees. The others are treated one by one in `children` and `rebuild`.
PLAIN = (
    "add", "mul", "pow", "matmul", "T", "trace", "inv", "det", "had", "eye", "ones", "zeros", "diag", "stack", "delta",
    "grad", "mean", "stop", "root",
)  # fmt: skip
LEAVES = ("frac", "pi", "oo")


def number(value: int | Fraction) -> Tree:
    """Tree of an exact rational number.

    >>> number(Fraction(1, 2)), number(Fraction(4, 2))
    (('frac', 1, 2), 2)
    """
    q = Fraction(value)
    return int(q) if q.denominator == 1 else ("frac", q.numerator, q.denominator)


def as_fraction(tree: Tree) -> Fraction | None:
    """The rational number a tree stands for, or None if it is not a number."""
    if isinstance(tree, int):
        return Fraction(tree)
    if isinstance(tree, tuple) and tree[0] == "frac":
        return Fraction(tree[1], tree[2])
    return None


def children(tree: Tree) -> tuple[Tree, ...]:
    """The sub-trees of a node, in order; a leaf has none."""
    if not isinstance(tree, tuple) or tree[0] in LEAVES:
        return ()
    if tree[0] == "map":
        return (tree[2],)
    return tree[1:]


def rebuild(tree: Tree, parts: tuple[Tree, ...]) -> Tree:
    """The same node over other sub-trees."""
    if tree[0] == "map":
        return ("map", tree[1], parts[0])
    return (tree[0], *parts)


def transform(tree: Tree, leaf: Callable[[str], Tree]) -> Tree:
    """Replace every symbol name by ``leaf(name)``."""
    if isinstance(tree, str):
        return leaf(tree)
    parts = children(tree)
    return rebuild(tree, tuple(transform(p, leaf) for p in parts)) if parts else tree


def walk(tree: Tree) -> Iterator[Tree]:
    """Every node of a tree, parents first."""
    yield tree
    for part in children(tree):
        yield from walk(part)


def names(tree: Tree) -> tuple[str, ...]:
    """Symbol names that occur in a tree, sorted.

    >>> names(("matmul", "W", ("map", "erf2", "x")))
    ('W', 'x')
    """
    return tuple(sorted({node for node in walk(tree) if isinstance(node, str)}))


def to_json(tree: Tree) -> Any:
    """Tree as JSON-ready lists."""
    return [to_json(p) for p in tree] if isinstance(tree, tuple) else tree


def from_json(data: Any) -> Tree:
    """Inverse of `to_json`."""
    return tuple(from_json(p) for p in data) if isinstance(data, list) else data
