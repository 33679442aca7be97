"""Structured data sets of catalogue entries, items in rows.

Averages over P items use one-hot inputs of length sqrt(P), so that E[x x'] = I and E[y x'] holds the features as they are.
Imported by the catalogue and by users.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from derive.errors import InvalidSpec

Array = Any


def one_hot_items(features: Array) -> tuple[Array, Array]:
    """Inputs and targets whose averages are Sx = I and Syx = features (o, P).

    >>> X, Y = one_hot_items(np.array([[1.0, 2.0]]))
    >>> (X.T @ X / 2).round(12).tolist(), (Y.T @ X / 2).round(12).tolist()
    ([[1.0, 0.0], [0.0, 1.0]], [[1.0, 2.0]])
    """
    table = np.asarray(features, dtype=float)
    count = table.shape[1]
    return np.sqrt(count) * np.eye(count), np.sqrt(count) * table.T


def tree_features(levels: int, flip: float) -> Array:
    """Features (P, P) of the leaves of a binary tree: the root of their similarity (1 - 2 flip)^(2 (levels - 1 - k)).

    It is the limit of infinitely many sampled features, up to a rotation of them.

    Raises
    ------
    InvalidSpec
        If the tree has fewer than 2 or more than 7 levels, or flip is no probability below 1/2.

    >>> C = tree_features(2, 0.25)
    >>> (C @ C).round(12).tolist()
    [[1.0, 0.25], [0.25, 1.0]]
    """
    if not 2 <= levels <= 7 or not 0 < flip < 0.5:
        raise InvalidSpec(f"levels={levels}, flip={flip}: give 2 to 7 levels and a flip probability between 0 and 1/2")
    p = 2 ** (levels - 1)
    similarity = np.zeros((p, p))
    for depth in range(levels):
        inner = p >> depth
        same = np.kron(np.eye(p // inner), np.ones((inner, inner))) > 0
        similarity[same] = (1 - 2 * flip) ** (2 * (levels - 1 - depth))
    w, v = np.linalg.eigh(similarity)
    return (v * np.sqrt(w)) @ v.T


def sampled_tree_features(levels: int, flip: float, count: int, seed: int = 0) -> Array:
    """``count`` features (count, P) that diffuse down a binary tree from +-1 and flip on each edge, divided by sqrt(count).

    >>> sampled_tree_features(3, 0.1, 5).shape
    (5, 4)
    """
    rng = np.random.default_rng(seed)
    now = rng.choice([-1.0, 1.0], size=(count, 1))
    for _ in range(levels - 1):
        now = np.repeat(now, 2, axis=1)
        now = now * np.where(rng.random(now.shape) < flip, -1.0, 1.0)
    return now / np.sqrt(count)


def bit_items(bits: int) -> Array:
    """All items of some bits +-1, shape (2^bits, bits).

    >>> bit_items(2).tolist()
    [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]
    """
    if not 1 <= bits <= 8:
        raise InvalidSpec(f"bits={bits}: give 1 to 8, there are 2^bits items")
    return np.indices((2,) * bits).reshape(bits, -1).T * 2.0 - 1.0


def compositional_items(bits: int, shown: int, copies: Sequence[int], scale: float) -> tuple[Array, Array]:
    """Inputs: all bits and ``copies[0]`` scaled one-hot codes; targets: the first ``shown`` bits and ``copies[1]`` codes.

    >>> X, Y = compositional_items(3, 2, (1, 2), 0.5)
    >>> X.shape, Y.shape
    ((8, 11), (8, 18))
    """
    if not 0 <= shown <= bits:
        raise InvalidSpec(f"{shown} of {bits} bits cannot be shown in the targets; give 0 to {bits}")
    items = bit_items(bits)
    code = scale * np.eye(len(items))
    inputs, targets = ([code] * copies[0], [code] * copies[1])
    return np.hstack([items, *inputs]), np.hstack([items[:, :shown], *targets])


def crosscutting_features(copies: int = 2) -> Array:
    """Properties (rows) of 8 items: nested categories of a binary tree, and copies of an alternating property and its opposite.

    >>> crosscutting_features().shape
    (19, 8)
    """
    tree = [np.kron(np.eye(2**k), np.ones((1, 8 >> k))) for k in range(4)]
    across = np.array([[1.0, 0.0] * 4, [0.0, 1.0] * 4])
    return np.vstack([*tree, *([across] * copies)])


def butterfly_factors(levels: int) -> tuple[Array, ...]:
    """Sparse orthogonal factors of the Hadamard transform of 2^levels points, first applied first.

    >>> F = butterfly_factors(2)
    >>> (F[1] @ F[0] * 2).round(12).tolist()
    [[1.0, 1.0, 1.0, 1.0], [1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0], [1.0, -1.0, -1.0, 1.0]]
    """
    if not 1 <= levels <= 6:
        raise InvalidSpec(f"levels={levels}: give 1 to 6, the transform has 2^levels points")
    pair = np.array([[1.0, 1.0], [1.0, -1.0]]) / np.sqrt(2)
    return tuple(np.kron(np.kron(np.eye(2 ** (levels - 1 - l)), pair), np.eye(2**l)) for l in range(levels))
