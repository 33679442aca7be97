"""Operations of the tape: value, shape check, and the way back of each.

    A B:  ct B', A' ct        tr A:  ct I        A^-1:  -A^-T ct A^-T        f(A):  ct o f'(A)        det A:  ct det(A) A^-T

Shapes are strict: nothing is broadcast except over batch axes. Elementwise functions carry their derivative as a node, with
erf2(z) = erf(z / sqrt 2), and at a kink the convention step(0) = 1/2, sgn(0) = 0. Imported by the interpreter only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from .errors import NotSimulable
from .tape import Array, Node, constant


def add(*terms: Node) -> Node:
    """Sum of nodes of equal shape."""
    for term in terms[1:]:
        _same("a sum", terms[0], term)
    value = terms[0].value
    for term in terms[1:]:
        value = value + term.value
    return Node(value, terms[0].rank, terms, tuple(_identity for _ in terms))


def scale(factor: Node, a: Node) -> Node:
    """Product of a scalar with anything."""
    if factor.rank != 0:
        raise NotSimulable(f"a matrix of shape {factor.shape} stands where a number belongs. Write dot(a, b) or had(A, B).")
    if a.rank == 0:
        return Node(factor.value * a.value, 0, (factor, a), (lambda ct: scale(ct, a), lambda ct: scale(factor, ct)))
    value = factor.value[..., None, None] * a.value
    return Node(value, 2, (factor, a), (lambda ct: total(had(ct, a)), lambda ct: scale(factor, ct)))


def had(a: Node, b: Node) -> Node:
    """Elementwise product of equal shapes."""
    _same("an elementwise product", a, b)
    return Node(a.value * b.value, a.rank, (a, b), (lambda ct: had(ct, b), lambda ct: had(a, ct)))


def matmul(a: Node, b: Node) -> Node:
    """Matrix product."""
    if a.rank != 2 or b.rank != 2 or a.shape[1] != b.shape[0]:
        raise NotSimulable(f"matrix product of shapes {a.shape} and {b.shape}: the inner dimensions differ.")
    return Node(a.value @ b.value, 2, (a, b), (lambda ct: matmul(ct, transpose(b)), lambda ct: matmul(transpose(a), ct)))


def transpose(a: Node) -> Node:
    """Transpose."""
    _matrix("a transpose", a)
    return Node(a.value.swapaxes(-1, -2), 2, (a,), (transpose,))


def trace(a: Node) -> Node:
    """Trace of a square matrix."""
    _square("a trace", a)
    unit = constant(np.eye(a.shape[0]), 2)
    return Node(np.trace(a.value, axis1=-2, axis2=-1), 0, (a,), (lambda ct: scale(ct, unit),))


def total(a: Node) -> Node:
    """Sum of all entries."""
    if a.rank == 0:
        return a
    ones = constant(np.ones(a.shape), 2)
    return Node(a.value.sum(axis=(-2, -1)), 0, (a,), (lambda ct: scale(ct, ones),))


def inverse(a: Node) -> Node:
    """Matrix inverse."""
    _square("an inverse", a)
    minus = constant(-1.0, 0)
    out = Node(np.asarray(np.linalg.inv(a.value), dtype=np.float64), 2)
    out.parents = (a,)
    out.vjps = (lambda ct: scale(minus, matmul(transpose(out), matmul(ct, transpose(out)))),)
    return out


def determinant(a: Node) -> Node:
    """Determinant of an invertible matrix."""
    _square("a determinant", a)
    out = Node(np.asarray(np.linalg.det(a.value)), 0)
    out.parents = (a,)
    out.vjps = (lambda ct: scale(scale(ct, out), transpose(inverse(a))),)
    return out


def diag(v: Node) -> Node:
    """Diagonal matrix of a column vector."""
    if v.rank != 2 or v.shape[1] != 1:
        raise NotSimulable(f"diag needs a column vector, not shape {v.shape}.")
    return Node(v.value * np.eye(v.shape[0]), 2, (v,), (_diagonal,))


def _diagonal(a: Node) -> Node:
    value = np.diagonal(a.value, axis1=-2, axis2=-1)[..., None]
    return Node(value, 2, (a,), (diag,))


def stack(*blocks: Node) -> Node:
    """Rows of several matrices on top of each other."""
    for block in blocks:
        _matrix("a stack", block)
    batch = np.broadcast_shapes(*(block.batch for block in blocks))
    values = [np.broadcast_to(block.value, (*batch, *block.shape)) for block in blocks]
    edges = np.cumsum([0, *(block.shape[0] for block in blocks)])
    pieces = tuple(_slicer(int(i), int(j)) for i, j in pairwise(edges))
    return Node(np.concatenate(values, axis=-2), 2, blocks, pieces)


def _slicer(start: int, stop: int) -> Callable[[Node], Node]:
    def rows(a: Node) -> Node:
        above, below = start, a.shape[0] - stop

        def back(ct: Node) -> Node:
            padding = [constant(np.zeros((n, ct.shape[1])), 2) for n in (above, below)]
            return stack(*([padding[0]] if above else []), ct, *([padding[1]] if below else []))

        return Node(a.value[..., start:stop, :], 2, (a,), (back,))

    return rows


def power(base: Node, exponent: Node) -> Node:
    """Scalar power. The derivative by the exponent needs a positive base."""
    if base.rank or exponent.rank:
        raise NotSimulable("pow is a power of numbers; write matmul(A, A) or fn.sq for matrices.")
    out = Node(np.power(base.value, exponent.value), 0)
    minus_one = constant(-1.0, 0)
    out.parents = (base, exponent)
    out.vjps = (
        lambda ct: scale(ct, scale(exponent, power(base, add(exponent, minus_one)))),
        lambda ct: scale(ct, scale(out, apply("log", base))),
    )
    return out


def stop(a: Node) -> Node:
    """The value without its history."""
    return Node(a.value, a.rank)


def lift(a: Node) -> Node:
    """A new batch axis of size one behind the others; on the way back it is summed over."""
    axis = a.value.ndim - a.rank
    return Node(np.expand_dims(a.value, axis), a.rank, (a,), (_sum_last,))


def _sum_last(a: Node) -> Node:
    axis = a.value.ndim - a.rank - 1
    if axis < 0:
        return a
    size = a.value.shape[axis]
    return Node(a.value.sum(axis=axis), a.rank, (a,), (lambda ct: _spread(ct, np.ones(size)),))


def _spread(a: Node, weights: Array) -> Node:
    """Weighted copies along a new last batch axis; weights have shape (batch..., size)."""
    up = lift(a)
    return scale(constant(np.broadcast_to(weights, np.broadcast_shapes(up.batch, weights.shape)), 0), up)


def weighted_mean(a: Node, weights: Array) -> Node:
    """Average over the last batch axis with weights of shape (batch..., size) that sum to one."""
    w = weights if a.rank == 0 else weights[..., None, None]
    if not a.batch:
        return a
    axis = -1 - a.rank
    return Node((w * a.value).sum(axis=axis), a.rank, (a,), (lambda ct: _spread(ct, weights),))


def as_scalars(a: Node) -> Node:
    """The entries of a matrix as a batch of numbers, so that the body of a function acts on each."""
    if a.rank == 0:
        return a
    shape = a.shape
    return Node(a.value, 0, (a,), (lambda ct: as_matrix(ct, shape),))


def as_matrix(a: Node, shape: tuple[int, ...]) -> Node:
    """Inverse of `as_scalars`; a number that is the same for all entries is repeated."""
    value = a.value
    batch = value.shape[:-2] if value.ndim >= 2 else ()
    return Node(np.broadcast_to(value, (*batch, *shape)), 2, (a,), (as_scalars,))


def apply(function: str, a: Node) -> Node:
    """A built-in elementwise function of a scalar or of each entry of a matrix."""
    evaluate, slope = FUNCTIONS[function]
    out = Node(evaluate(a.value), a.rank)
    out.parents, out.vjps = (a,), (lambda ct: had(ct, slope(a, out)),)
    return out


def _erf2(z: Array) -> Array:
    from scipy.special import erf

    return np.asarray(erf(z * math.sqrt(0.5)))


def _affine(factor: float, a: Node, shift: float = 0.0) -> Node:
    product = scale(constant(factor, 0), a)
    return add(product, constant(np.full(a.shape, shift), a.rank)) if shift else product


def _zero(a: Node) -> Node:
    return constant(np.zeros(a.shape), a.rank)


_Slope = Callable[[Node, Node], Node]
#: name -> (value, derivative as a node of the argument and of the value)
FUNCTIONS: dict[str, tuple[Callable[[Array], Array], _Slope]] = {
    "erf2": (_erf2, lambda a, out: _affine(math.sqrt(2 / math.pi), apply("exp", _affine(-0.5, apply("sq", a))))),
    "tanh": (np.tanh, lambda a, out: _affine(-1.0, apply("sq", out), 1.0)),
    "relu": (lambda z: np.maximum(z, 0.0), lambda a, out: apply("step", a)),
    "step": (lambda z: np.heaviside(z, 0.5), lambda a, out: _zero(a)),
    "sgn": (np.sign, lambda a, out: _zero(a)),
    "exp": (np.exp, lambda a, out: out),
    "log": (np.log, lambda a, out: apply("inv", a)),
    "abs": (np.abs, lambda a, out: apply("sgn", a)),
    "sq": (np.square, lambda a, out: _affine(2.0, a)),
    "inv": (lambda z: 1.0 / z, lambda a, out: _affine(-1.0, apply("sq", out))),
    "sqrt": (np.sqrt, lambda a, out: _affine(0.5, apply("inv", out))),
    "sin": (np.sin, lambda a, out: apply("cos", a)),
    "cos": (np.cos, lambda a, out: _affine(-1.0, apply("sin", a))),
}


def _identity(ct: Node) -> Node:
    return ct


def _matrix(what: str, a: Node) -> None:
    if a.rank != 2:
        raise NotSimulable(f"{what} of a number: only matrices have one.")


def _square(what: str, a: Node) -> None:
    if a.rank != 2 or a.shape[0] != a.shape[1]:
        raise NotSimulable(f"{what} needs a square matrix, not shape {a.shape}.")


def _same(what: str, a: Node, b: Node) -> None:
    if a.rank != b.rank or a.shape != b.shape:
        raise NotSimulable(f"{what} of shapes {a.shape} and {b.shape}: they must be equal (write s*ones(n, m) for a constant).")
