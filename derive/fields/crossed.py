r"""Scalar products of two different inputs:  x . z = sqrt(N) c,  c ~ N(0, rho var(x) var(z)),  independent of all fields.

Given x the product is Gaussian, and its covariance with a field V . z / sqrt N is V . x / N, of order N^(-1/2). So c is a
field of its own: noise that perturbs a weight enters the loss through it. Where a product stands in lower order, such as
x . z / N, it vanishes in the limit and is dropped. Imported by the extraction of the field rule and by its checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from derive.fields.calculus import powers_of
from derive.indices.indexed import ZERO, Node, add, arr, arrays, mul, power
from derive.indices.indexed import replace as put


def cross_name(x: str, z: str) -> str:
    """Name of x . z / sqrt(N), which is that of a field.

    >>> cross_name("z", "x")
    'x.z'
    """
    return ".".join(sorted((x, z)))


def crosses_in(node: Node, inputs: Mapping[str, Any]) -> tuple[str, ...]:
    """The products of two inputs that a node holds."""
    return tuple(n for n in arrays(node) if "." in n and all(part in inputs for part in n.split(".")))


def settled(parts: Mapping[Fraction, Node], expected: Fraction, inputs: Mapping[str, Node]) -> dict[Fraction, Node]:
    """Coefficients of powers of N without the products of inputs in lower powers than the expected one.

    >>> from derive.indices.indexed import ONE
    >>> settled({Fraction(0): ONE, Fraction(-1, 2): arr("x.z")}, Fraction(0), {"x": ONE, "z": ONE})
    {Fraction(0, 1): 1}
    """
    out = {}
    for p, node in parts.items():
        found = crosses_in(node, inputs) if p < expected else ()
        node = put(node, lambda a, found=found: ZERO if a.args[0] in found else a) if found else node  # type: ignore[misc]
        if node != ZERO:
            out[p] = node
    return out


def leading(node: Node, big: str, inputs: Mapping[str, Any]) -> Node:
    """An integrand without the products of inputs in lower powers of N than its highest one."""
    if not crosses_in(node, inputs):
        return node
    parts = powers_of(node, big, "mean(...)")
    kept = settled(parts, max(parts), inputs)
    return node if kept == parts else add(*(mul(c, power(arr(big), p)) for p, c in kept.items()))


__all__ = ["cross_name", "crosses_in", "leading", "settled"]
