"""Expression trees as the simulation reads them: tuples of tuples, turned from JSON lists, checked once.

A tree is a name, a number, or ``(operation, ...)``; the table of operations is the one of the plan format. Dimensions are trees
of names and integers, evaluated exactly. This file repeats a few lines of the derivation side on purpose: the two roads share
the plan format and no code. Imported by `numerics.simulate` only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, TypeAlias

from .errors import BindingError, PlanError

Tree: TypeAlias = Any

#: Number of arguments of each operation; a pair is (least, most), None is "any number".
ARITY: dict[str, tuple[int, int | None]] = {
    "add": (1, None), "mul": (1, None), "pow": (2, 2), "matmul": (1, None), "T": (1, 1), "trace": (1, 1), "inv": (1, 1),
    "det": (1, 1), "had": (1, None), "map": (2, 2), "eye": (1, 1), "ones": (2, 2), "zeros": (2, 2), "diag": (1, 1),
    "stack": (1, None), "delta": (2, 2), "grad": (2, 2), "mean": (1, 1), "stop": (1, 1), "root": (1, 1),
    "frac": (2, 2), "pi": (0, 0), "oo": (0, 0),
}  # fmt: skip


def read_tree(data: Any, where: str) -> Tree:
    """Tuples out of JSON lists, with every operation and its number of arguments checked.

    >>> read_tree(["matmul", "W", ["T", "x"]], "let y")
    ('matmul', 'W', ('T', 'x'))
    """
    if isinstance(data, bool) or not isinstance(data, (str, int, list, tuple)):
        raise PlanError(f"{where}: {data!r} is no expression; numbers are integers or ['frac', p, q].")
    if isinstance(data, (str, int)):
        return data
    if not data or not isinstance(data[0], str) or data[0] not in ARITY:
        head = data[0] if data else data
        raise PlanError(f"{where}: unknown operation {head!r}. The plan format knows {', '.join(ARITY)}.")
    least, most = ARITY[data[0]]
    if len(data) - 1 < least or (most is not None and len(data) - 1 > most):
        raise PlanError(f"{where}: operation {data[0]!r} has {len(data) - 1} arguments; the plan format says {least}.")
    return (data[0], *(read_tree(part, where) for part in data[1:]))


def parts(tree: Tree) -> tuple[Tree, ...]:
    """Sub-trees of a node; the function name of ``map`` is not one."""
    if not isinstance(tree, tuple) or tree[0] == "frac":
        return ()
    return tree[2:] if tree[0] == "map" else tree[1:]


def walk(tree: Tree, *, into_means: bool = True) -> Iterator[Tree]:
    """Every node of a tree, parents first; ``into_means=False`` stops at averages over fresh draws."""
    if isinstance(tree, tuple) and tree[0] == "mean" and not into_means:
        return
    yield tree
    for part in parts(tree):
        yield from walk(part, into_means=into_means)


def has(tree: Tree, operation: str) -> bool:
    """Whether an operation occurs in a tree."""
    return any(isinstance(node, tuple) and node[0] == operation for node in walk(tree))


def exact(tree: Tree, sizes: Mapping[str, int]) -> Fraction:
    """Exact value of a tree of dimension names and rational numbers."""
    match tree:
        case int():
            return Fraction(tree)
        case str():
            if tree not in sizes:
                raise BindingError(f"dimension {tree} has no size: no array carries it. Pass it in values, {{{tree!r}: ...}}.")
            return Fraction(sizes[tree])
        case ("frac", p, q):
            return Fraction(p, q)
        case ("add", *terms):
            return sum((exact(term, sizes) for term in terms), Fraction(0))
        case ("mul", *factors):
            product = Fraction(1)
            for factor in factors:
                product *= exact(factor, sizes)
            return product
        case ("pow", base, exponent):
            power = exact(exponent, sizes)
            if power.denominator == 1:
                return exact(base, sizes) ** int(power)
    raise PlanError(f"{tree!r} cannot be a dimension: use names, integers, sums and products.")


def dimension(tree: Tree, sizes: Mapping[str, int]) -> int:
    """Size that a dimension tree stands for.

    >>> dimension(("add", ("mul", 2, "K"), 1), {"K": 3})
    7
    """
    value = exact(tree, sizes)
    if value.denominator != 1 or value < 1:
        raise BindingError(f"dimension {tree!r} is {value} for the sizes {dict(sizes)}; it must be a positive integer.")
    return int(value)
