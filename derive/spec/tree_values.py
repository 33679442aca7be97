"""Numerical values of trees at finite sizes, with gradients by central differences: the plain reading of a spec.

Used at derivation time to compare a derived rule with what the user typed; slow, and independent of every pass. Matrices are
arrays with two axes, numbers are floats. Imported by the checks of `online_limit`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.errors import UnsupportedNode
from derive.gaussian.quadrature import NUMPY
from derive.spec.lowered import Lowered
from derive.spec.tree import Tree, as_fraction

STEP = 1e-3
_STENCIL = ((1.0, 8.0 / 12.0), (-1.0, -8.0 / 12.0), (2.0, -1.0 / 12.0), (-2.0, 1.0 / 12.0))


def tree_value(tree: Tree, values: Mapping[str, Any], lowered: Lowered, *, frozen: Mapping[str, Any] | None = None) -> Any:
    """Value of a tree; ``values`` holds arrays (rows, columns) and numbers by name, sizes of dimensions included.

    ``grad`` is a fourth-order central difference (step 1e-3), ``stop`` keeps the values at which the gradient is taken.

    Raises
    ------
    UnsupportedNode
        For nodes without a value at one draw (``mean``, ``root``).
    """
    if isinstance(tree, str):
        if tree in values:
            return values[tree]
        raise UnsupportedNode(f"{tree} has no value here")
    q = as_fraction(tree)
    if q is not None:
        return float(q)
    head, *rest = tree
    base = values if frozen is None else frozen

    def go(t: Tree) -> Any:
        return tree_value(t, values, lowered, frozen=frozen)

    if head == "grad":
        return _gradient(rest[0], rest[1], values, lowered, base)
    if head == "stop":
        return tree_value(rest[0], base, lowered)
    if head == "map":
        return _apply(rest[0], go(rest[1]), values, lowered)
    if head == "pi":
        return np.pi
    parts = [go(t) for t in rest]
    if head == "add":
        return sum(parts[1:], parts[0])
    if head in ("mul", "had"):
        return _product(parts)
    if head == "matmul":
        out = parts[0]
        for p in parts[1:]:
            out = out @ p
        return out
    if head in _SIMPLE:
        return _SIMPLE[head](*parts)
    raise UnsupportedNode(f"{head} has no value at a single draw")


def _product(parts: list[Any]) -> Any:
    out = parts[0]
    for p in parts[1:]:
        out = out * p
    return out


_SIMPLE: Mapping[str, Any] = {
    "T": np.transpose, "trace": np.trace, "pow": lambda a, b: a**b, "eye": lambda n: np.eye(int(n)),
    "ones": lambda n, m: np.ones((int(n), int(m))), "zeros": lambda n, m: np.zeros((int(n), int(m))),
    "diag": lambda v: np.diag(np.ravel(v)), "inv": np.linalg.inv, "det": np.linalg.det,
    "delta": lambda i, j: float(i == j),
}  # fmt: skip


def _apply(name: str, z: Any, values: Mapping[str, Any], lowered: Lowered) -> Any:
    known = lowered.functions.get(name)
    if known is not None:
        return tree_value(known.body, {**values, known.variable: z}, lowered)
    if name not in NUMPY:
        raise UnsupportedNode(f"{name} has no numerical value")
    return NUMPY[name](z)


def _gradient(loss: Tree, name: str, values: Mapping[str, Any], lowered: Lowered, base: Mapping[str, Any]) -> Any:
    at = np.asarray(values[name], float)
    out = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        for shift, weight in _STENCIL:
            moved = at.copy()
            moved[place] += shift * STEP
            value = tree_value(loss, {**values, name: moved if at.ndim else float(moved)}, lowered, frozen=base)
            out[place] += weight * float(np.squeeze(value)) / STEP
    return out
