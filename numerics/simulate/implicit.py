"""Values that are defined by a linear equation R(X) = 0, on the tape.

    R(X) = R(0) + K vec X,    column k of K is R(E_k) - R(0),    vec X = -K^-1 vec R(0)

The unit matrices E_k are one batch, so the equation is read twice whatever its terms are. Both readings, and the solution, are
operations of the tape: gradients of any order pass through. That the equation is linear is checked at one more matrix.
Imported by the interpreter only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from . import tape_ops as ops
from .errors import NotSimulable
from .tape import Node, constant

#: The residual tree at a value of the unknown; True if that value carries a batch of its own.
Residual: TypeAlias = "Callable[[Node, bool], Node]"
TOLERANCE = 1e-9  # relative; a linear equation agrees to the rounding of a few sums, a product of unknowns is off by 1


def solve_root(name: str, residual: Residual, shape: tuple[int, ...]) -> Node:
    """The value of ``name`` at which a residual vanishes that is linear in it.

    Parameters
    ----------
    name : str
        For messages.
    residual : callable
    shape : () or (rows, cols)

    Raises
    ------
    NotSimulable
        The equation is not linear, or has no unique solution.

    Examples
    --------
    >>> three, two = constant(3.0, 0), constant(2.0, 0)
    >>> float(solve_root("x", lambda x, _: ops.add(ops.scale(three, x), two), ()).value)
    -0.6666666666666666
    """
    rows, cols = shape or (1, 1)
    size = rows * cols
    rest = residual(constant(np.zeros(shape), len(shape)), False)
    if rest.shape != shape:
        raise NotSimulable(f"root for {name}: the equation has shape {rest.shape}, {name} has {shape}.")
    probe = np.cos(1.7 * np.arange(1, size + 1))
    members = constant(np.vstack([np.eye(size), probe]).reshape(size + 1, *shape), len(shape))
    minus = constant(-1.0, 0)
    change = ops.add(residual(members, True), ops.scale(minus, ops.lift(rest)))
    matrix = _columns(change, (rows, cols))
    seen = change.value.reshape(*change.batch, size)[..., -1, :]
    error = np.abs(seen - matrix.value @ probe).max()
    if not error <= TOLERANCE * (np.abs(matrix.value).max() * size + np.abs(rest.value).max()):
        raise NotSimulable(f"root for {name}: the equation is not linear in {name}; only linear ones are solved here.")
    try:
        inverse = ops.inverse(matrix)
    except np.linalg.LinAlgError:
        raise NotSimulable(f"root for {name}: its equation has no unique solution at this state.") from None
    return _reshaped(ops.scale(minus, ops.matmul(inverse, _reshaped(rest, (size, 1)))), shape)


def _reshaped(a: Node, shape: tuple[int, ...]) -> Node:
    """Other matrix axes for the same entries."""
    before = a.shape
    return Node(a.value.reshape((*a.batch, *shape)), len(shape), (a,), (lambda ct: _reshaped(ct, before),))


def _columns(a: Node, shape: tuple[int, int]) -> Node:
    """The entries of all members of a batch but the last, one column for each."""
    rank = a.rank
    value = a.value.reshape(*a.batch, shape[0] * shape[1])[..., :-1, :].swapaxes(-1, -2)
    return Node(value, 2, (a,), (lambda ct: _members(ct, shape, rank),))


def _members(a: Node, shape: tuple[int, int], rank: int) -> Node:
    """Columns as members of a batch, and zero as a last member: the adjoint of `_columns`."""
    rows = a.value.swapaxes(-1, -2)
    padded = np.concatenate([rows, np.zeros_like(rows[..., :1, :])], axis=-2)
    value = padded.reshape(*a.batch, padded.shape[-2], *(shape if rank else ()))
    return Node(value, rank, (a,), (lambda ct: _columns(ct, shape),))
