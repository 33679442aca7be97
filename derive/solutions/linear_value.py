"""Numbers of a linear matrix flow  X' = L[X] + B: its operator as an array, and the propagator without overflow.

X is read row by row as a vector x, so that L is one array of shape (n p, n p), found by applying the words to unit matrices.

    x(t) = e^{Lt} x0 + t phi(Lt) b,     phi(z) = (e^z - 1)/z         (symmetric L: by eigenvalues; else by scaling and squaring)

Imported by `derive.solutions.closed_linear`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.errors import BudgetExceeded
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly
from derive.solutions.closed_explicit import phi
from derive.spec.elementwise import Functions

Array = Any
MOST = 1500  # entries of X: the operator has their square, 18 MB
SYMMETRIC = 1e-13
TERMS = 18  # 0.5^19 / 19! = 2e-23


def operator(action: Poly, name: str, shape: tuple[int, int], values: Mapping[str, Any], functions: Functions) -> Array:
    """The array of a linear action on the matrix of that name; ``values`` holds the given arrays and the sizes.

    Raises
    ------
    BudgetExceeded
        If the array would be too large.

    >>> from derive.matrices.poly import atom
    >>> from derive.matrices.words import Atom
    >>> P, X = atom(Atom("P", 2, 2)), atom(Atom("X", 2, 1))
    >>> operator(P * X, "X", (2, 1), {"P": np.array([[1.0, 2.0], [3.0, 4.0]])}, {}).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    count = shape[0] * shape[1]
    if count > MOST:
        raise BudgetExceeded(
            f"{name} has {count} entries, so its linear operator would have {count}^2; the closed form is evaluated up to "
            f"{MOST} entries: integrate instead"
        )
    basis = np.eye(count).reshape(count, *shape)
    columns = [evaluate(action, {**values, name: unit}, functions=functions) for unit in basis]
    return np.array(columns, dtype=float).reshape(count, count).T


def propagated(times: Array, array: Array, start: Array, source: Array, shift: float = 0.0) -> Array:
    """x(t) e^{-shift t} for x' = L x + b; shape (T, n). With a source the shift must be 0.

    >>> propagated([1.0], np.array([[0.0]]), np.array([2.0]), np.array([3.0])).tolist()
    [[5.0]]
    """
    t = np.asarray(times, dtype=float)
    moved = array - shift * np.eye(len(array))
    if np.abs(moved - moved.T).max(initial=0.0) <= SYMMETRIC * np.abs(moved).max(initial=0.0):
        w, v = np.linalg.eigh((moved + moved.T) / 2)
        z = np.multiply.outer(t, w)
        out = np.exp(z) * (v.T @ start) + t[:, None] * phi(z) * (v.T @ source)
        return out @ v.T
    n = len(array)
    whole = np.zeros((n + 1, n + 1))
    whole[:n, :n], whole[:n, n] = moved, source
    begin = np.concatenate([start, [1.0]])
    return np.array([(exponential(whole * x) @ begin)[:n] for x in t]).reshape(len(t), n)


def exponential(array: Array) -> Array:
    """e^A of a square array: Taylor series of A / 2^k with |A| / 2^k <= 1/2, squared k times.

    >>> exponential(np.array([[0.0, np.pi], [-np.pi, 0.0]])).round(12).tolist() == [[-1.0, 0.0], [-0.0, -1.0]]
    True
    """
    size = float(np.abs(array).sum(axis=0).max(initial=0.0))
    halvings = max(0, int(np.ceil(np.log2(max(size, 1e-300) / 0.5))))
    small, eye = array / 2.0**halvings, np.eye(len(array))
    out = eye
    for k in range(TERMS, 0, -1):
        out = eye + small @ out / k
    for _ in range(halvings):
        out = out @ out
    return out


def growth(array: Array) -> float:
    """The largest real part of an eigenvalue."""
    return float(np.linalg.eigvals(array).real.max())
