r"""Squares of inputs concentrate: |x|^2 / N = rho var(x) + O(N^(-1/2)), and what stands beside them in lower order is dropped.

A scalar product of two N-vectors that hold inputs, such as |r|^2 or r . x for a residual r, is

    N (sum over inputs of their variances times coefficients)  +  O(1) functions of fields and overlaps.

In a loss the second part has the gradient that learning is about. In a step or an observable that is of order one because it
*is* such a product over N, the second part is smaller than the fluctuation of the first, and both vanish in the limit. So terms
of lower order are dropped if the leading one holds |x|^2, and only then: without a square a wrong power of N is a mistake in
the spec, and is refused. Imported by the extraction of the field rule, the observables and the overlap chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from derive.fields.calculus import powers_of, without_stops
from derive.fields.crossed import settled
from derive.indices.indexed import ZERO, Node, arr, arrays, mul, power, rebuild, sum_over
from derive.indices.indexed import replace as put
from derive.spec.tree import Tree

if TYPE_CHECKING:
    from derive.fields.values import Reader


def square_name(x: str) -> str:
    """Name of |x|^2 / N; no user's name has bars."""
    return f"|{x}|^2"


def with_squares(reader: Reader) -> Reader:
    """The same reader, but |x|^2 / N of every input is a letter of its own instead of its limit."""
    return replace(reader, inputs={x: arr(square_name(x)) for x in reader.inputs})


def alike(reader: Reader, other: Reader) -> Reader:
    """``reader``, with squares as letters if ``other`` has them."""
    kept = any(limit == arr(square_name(x)) for x, limit in other.inputs.items())
    return with_squares(reader) if kept else reader


def squares_in(node: Node, inputs: Mapping[str, Node]) -> tuple[str, ...]:
    """The squares of inputs that a node holds."""
    names = arrays(node)
    return tuple(s for x in sorted(inputs) if (s := square_name(x)) in names)


def without_squares(node: Node, inputs: Mapping[str, Node]) -> Node:
    """Squares of inputs replaced by their limits."""
    limits = {square_name(x): limit for x, limit in inputs.items()}
    return put(node, lambda a: limits.get(a.args[0], a)) if squares_in(node, inputs) else node


def concentrated(parts: Mapping[Fraction, Node], expected: Fraction, inputs: Mapping[str, Node]) -> tuple[str, ...]:
    """The squares beside which lower powers of N may be dropped; none if a power is too high or the leading term has none.

    ``parts`` holds the coefficients of the powers, read with squares as letters.
    """
    if expected not in parts or max(parts) > expected:
        return ()
    return squares_in(parts[expected], inputs)


def settle_inside(node: Node, big: str, inputs: Mapping[str, Node]) -> Node:
    """Arguments of functions and bases of powers replaced by their leading order, where that holds a square.

    >>> from derive.indices.indexed import ONE, add, fun, mul, power
    >>> square = add(arr("|x|^2"), mul(power(arr("N"), -1), arr("w.x")))
    >>> settle_inside(fun("log", square), "N", {"x": ONE})
    log(|x|^2)
    """
    if big not in arrays(node):
        return node
    if node.op == "sum":
        return sum_over(node.args[0], settle_inside(node.args[1], big, inputs))
    args = [settle_inside(a, big, inputs) if isinstance(a, Node) else a for a in node.args]
    if node.op == "fun" or (node.op == "pow" and (node.args[1] < 0 or node.args[1].denominator != 1)):
        args = [_leading(a, big, inputs) if isinstance(a, Node) else a for a in args]
    return rebuild(node, args)


def _leading(node: Node, big: str, inputs: Mapping[str, Node]) -> Node:
    if big not in arrays(node):
        return node
    parts = settled(powers_of(node, big, "an argument"), Fraction(0), inputs)
    if len(parts) < 2 or not concentrated(parts, max(parts), inputs):
        return node
    top = max(parts)
    return mul(power(arr(big), top), parts[top])


def limit_of(tree: Tree, reader: Reader, where: str) -> Node:
    """A number of order one, without the lower powers of N that stand beside a square.

    If nothing can be dropped the node comes back as it is: its powers are judged by the caller.
    """
    node = without_stops(reader.scalar(tree))
    found = powers_of(node, reader.big, where)
    parts = settled(found, Fraction(0), reader.inputs)
    if parts != found and list(parts) in ([], [Fraction(0)]):
        return parts.get(Fraction(0), ZERO)
    if len(parts) < 2 or max(parts) != 0:
        return node
    marked = settled(powers_of(without_stops(with_squares(reader).scalar(tree)), reader.big, where), Fraction(0), reader.inputs)
    return parts[Fraction(0)] if concentrated(marked, Fraction(0), reader.inputs) else node


__all__ = [
    "alike", "concentrated", "limit_of", "settle_inside", "square_name", "squares_in", "with_squares", "without_squares",
]  # fmt: skip
