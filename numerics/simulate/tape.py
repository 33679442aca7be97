"""Reverse-mode differentiation in NumPy: values, what they came from, and how a cotangent travels back.

A `Node` holds an array of shape (batch..., ) + matrix axes; ``rank`` is 0 for scalars and 2 for matrices, so the batch axes
(replicas, draws, draws of an inner average) are whatever stands in front. No operation sums over a batch axis, hence the
gradient of a loss is taken *per draw*:

    ct(parent) += vjp(ct(node)),  from ct(loss) = 1 backwards.

The products with the Jacobian are written with the operations of `tape_ops` themselves, so a gradient is again a node and may
be differentiated. Imported by `numerics.simulate` only; imports NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import NotSimulable

Array = NDArray[np.float64]
Vjp: TypeAlias = "Callable[[Node], Node]"


class Node:
    """A value on the tape; compared by identity.

    Attributes
    ----------
    value : array, shape (batch...,) or (batch..., rows, cols)
    rank : int
        0 for a scalar, 2 for a matrix.
    parents, vjps : tuples
        Where the value came from, and one map of cotangents for each parent.
    """

    __slots__ = ("parents", "rank", "value", "vjps")

    def __init__(self, value: Array, rank: int, parents: tuple[Node, ...] = (), vjps: tuple[Vjp, ...] = ()):
        self.value, self.rank, self.parents, self.vjps = value, rank, parents, vjps

    @property
    def shape(self) -> tuple[int, ...]:
        """Matrix axes: () or (rows, cols)."""
        return self.value.shape[self.value.ndim - self.rank :]

    @property
    def batch(self) -> tuple[int, ...]:
        """Batch axes."""
        return self.value.shape[: self.value.ndim - self.rank]


def constant(value: float | Array, rank: int) -> Node:
    """A node without history."""
    return Node(np.asarray(value, dtype=np.float64), rank)


def gradient(loss: Node, target: Node, add: Callable[[Node, Node], Node]) -> Node:
    """Gradient of a scalar with respect to a node, per entry of the batch; a node again.

    Parameters
    ----------
    loss : Node of rank 0
    target : Node
        Usually a state array. A loss that does not depend on it has gradient zero.
    add : callable
        The addition of `tape_ops` (passed in, because it is itself written on this tape).

    Raises
    ------
    NotSimulable
        The loss is a matrix.
    """
    if loss.rank != 0:
        raise NotSimulable(f"grad of a matrix of shape {loss.shape}: a loss is a scalar. Write dot(a, b) or trace of it.")
    order = _ancestors(loss, target)
    cotangent: dict[int, Node] = {id(loss): constant(np.ones(loss.value.shape), 0)}
    for node in reversed(order):
        if node is target:
            continue
        ct = cotangent.pop(id(node))
        for parent, vjp in zip(node.parents, node.vjps, strict=True):
            if parent in order:
                part = vjp(ct)
                known = cotangent.get(id(parent))
                cotangent[id(parent)] = part if known is None else add(known, part)
    found = cotangent.get(id(target))
    return constant(np.zeros(target.value.shape), target.rank) if found is None else found


def _ancestors(loss: Node, target: Node) -> dict[Node, None]:
    """Nodes on a path from the target to the loss, parents before children (an insertion-ordered set)."""
    on_path: dict[Node, bool] = {target: True}
    order: dict[Node, None] = {target: None}
    todo: list[tuple[Node, bool]] = [(loss, False)]
    while todo:
        node, expanded = todo.pop()
        if node in on_path:
            continue
        if expanded:
            on_path[node] = any(on_path[parent] for parent in node.parents)
            if on_path[node]:
                order[node] = None
        else:
            todo.append((node, True))
            todo.extend((parent, False) for parent in node.parents)
    return order
