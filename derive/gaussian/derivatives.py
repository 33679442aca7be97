r"""Derivatives of any order of the built-in functions, at numbers: f''' of tanh, erf2, sin, ...

Averages by Stein's lemma raise the order of derivatives, E[x_t f(u)] = C_tu E[f'(u)], once for every power of a field. The
table of `derive.fn` holds f'; f^(n+1) is the derivative of the expression of f^(n). Imported by `derive.gaussian.quadrature`
when a name with primes is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from derive.fields.calculus import differentiate
from derive.fn import DERIVATIVES
from derive.indices.indexed import ONE, PI, Node, add, arr, const, evaluate, fun, mul, power
from derive.spec.tree import Tree, as_fraction

_Z = arr("z")


def derivative_value(name: str) -> Callable[[Any], Any] | None:
    """The function of a name with primes; None if it is no derivative of a smooth function of `derive.fn`.

    >>> third = derivative_value("tanh'''")
    >>> float(third(0.0))
    -2.0
    """
    base = name.rstrip("'")
    if base == name or base not in DERIVATIVES or _jumps(DERIVATIVES[base]):
        return None
    from derive.gaussian.quadrature import NUMPY

    node = _derivative(base, len(name) - len(base))
    return lambda z: evaluate(node, {"z": z}, {}, NUMPY)


@cache
def _derivative(base: str, order: int) -> Node:
    """f^(order) as an expression of z; it may hold derivatives of lower order by name."""
    if order == 1:
        return _node(DERIVATIVES[base])
    return differentiate(_derivative(base, order - 1), lambda a: ONE)


def _node(tree: Tree) -> Node:
    q = as_fraction(tree)
    if q is not None:
        return const(q)
    if isinstance(tree, str):
        return _Z
    head, *rest = tree
    if head == "pi":
        return PI
    if head == "map":
        return fun(rest[0], _node(rest[1]))
    if head == "pow":
        e = as_fraction(rest[1])
        assert e is not None  # of all exponents in the table
        return power(_node(rest[0]), e)
    return (add if head == "add" else mul)(*(_node(p) for p in rest))


def _jumps(tree: Tree) -> bool:
    """Whether a derivative jumps, so that the next one is a delta function."""
    return isinstance(tree, tuple) and tree[0] == "map" and tree[1] in ("dirac", "step", "sgn")


__all__ = ["derivative_value"]
