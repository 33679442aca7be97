"""Gradient descent and mini-batch SGD of deep linear networks of any depth.

    f = W_L ... W_1 x,   E = W_L ... W_1 Sx - Syx,   W_l <- W_l - eta (W_L ... W_{l+1})' E (W_{l-1} ... W_1)'

with Sx = E[x x'], Syx = E[y x'] (full batch), or with the averages over ``batch`` columns of X, Y drawn with replacement. All
layers move at once, from old values. Time is steps * eta. Narrow networks run in one compiled loop on flat weights, wide ones
in NumPy, where matrix products dominate. Imports NumPy, and Numba at the first call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .deep_linear_loop import descend
from .jit import compiled

Array = NDArray[np.float64]

#: Widest layer for the compiled loop; above it the products of BLAS win.
NARROW = 24
#: Items drawn at once.
BLOCK = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepLinearRun:
    """Weights along a run.

    Attributes
    ----------
    t : array, shape (T,)
        Steps times eta.
    weights : tuple of arrays, shapes (T, n_l, n_{l-1})
        First layer first.
    """

    t: Array
    weights: tuple[Array, ...]

    @property
    def product(self) -> Array:
        """W_L ... W_1 along the run, shape (T, n_L, n_0)."""
        out = self.weights[0]
        for W in self.weights[1:]:
            out = W @ out
        return out


def full_batch(weights: Sequence[Any], Sx: Any, Syx: Any, eta: float, steps: int, every: int | None = None) -> DeepLinearRun:
    """Gradient descent on the loss 1/2 E|y - W_L ... W_1 x|^2.

    Parameters
    ----------
    weights : sequence of arrays
        Initial layers, first layer first, shapes (n_l, n_{l-1}).
    Sx, Syx : arrays, shapes (n_0, n_0), (n_L, n_0)
    eta : float
    steps, every : int
        Steps, and steps between records (a hundred records by default; the last step is always recorded).

    Raises
    ------
    ValueError
        Shapes do not chain.

    Examples
    --------
    >>> run = full_batch([[[0.1]], [[0.1]]], [[1.0]], [[3.0]], 0.01, 1000)
    >>> run.product[-1].round(6).tolist()
    [[3.0]]
    """
    layers = _layers(weights)
    Sx, Syx = (np.array(S, dtype=np.float64, ndmin=2, order="C") for S in (Sx, Syx))
    _fit(layers, Sx.shape, Syx.shape, "Sx", "Syx")
    marks, kept = _records(layers, steps, every)
    narrow = max(max(W.shape) for W in layers) <= NARROW
    if narrow:
        flat, sizes = _flatten(layers)
        everything = np.empty((steps, 0), dtype=np.int64)
        _kernel()(flat, sizes, Sx, Syx, everything, float(eta), 0, marks, 0, kept)
        kept[-1] = flat
    else:
        record = 0
        for step in range(steps + 1):
            if marks[record] == step:
                kept[record] = np.concatenate([W.ravel() for W in layers])
                record += 1
            if step < steps:
                _descend(layers, Sx, Syx, eta)
    return _unpack(np.asarray(marks * eta, dtype=np.float64), kept, layers)


def mini_batch(
    rng: np.random.Generator,
    weights: Sequence[Any],
    X: Any,
    Y: Any,
    eta: float,
    batch: int,
    steps: int,
    every: int | None = None,
) -> DeepLinearRun:
    """SGD on batches of items drawn with replacement.

    Parameters
    ----------
    rng : Generator
        Each step draws ``batch`` item numbers; the run does not depend on ``every``.
    weights : sequence of arrays
        Initial layers, first layer first.
    X, Y : arrays, shapes (n_0, P), (n_L, P)
        Items as columns.
    eta : float
    batch, steps, every : int

    Examples
    --------
    >>> items = np.eye(2)
    >>> run = mini_batch(np.random.default_rng(0), [np.zeros((2, 2))], items, 2 * items, 0.1, 1, 500)
    >>> run.product[-1].round(4).tolist()
    [[2.0, 0.0], [0.0, 2.0]]
    """
    layers = _layers(weights)
    X, Y = np.array(X, dtype=np.float64, ndmin=2, order="C"), np.array(Y, dtype=np.float64, ndmin=2, order="C")
    _fit(layers, (X.shape[0], X.shape[0]), (Y.shape[0], X.shape[0]), "X", "Y")
    if X.shape[1] != Y.shape[1] or batch < 1:
        raise ValueError(f"X holds {X.shape[1]} items, Y {Y.shape[1]}; they must agree, and the batch be at least 1.")
    marks, kept = _records(layers, steps, every)
    narrow = max(max(W.shape) for W in layers) <= NARROW
    flat, sizes = _flatten(layers)
    item_rows = X.T.copy(), Y.T.copy()
    rows, done, record = max(1, BLOCK // batch), 0, 0
    while done < steps:
        items = rng.integers(0, X.shape[1], size=(min(rows, steps - done), batch))
        if narrow:
            record = _kernel()(flat, sizes, *item_rows, items, float(eta), done, marks, record, kept)
        else:
            for number, chosen in enumerate(items):
                if marks[record] == done + number:
                    kept[record] = np.concatenate([W.ravel() for W in layers])
                    record += 1
                x, y = X[:, chosen], Y[:, chosen]
                _descend(layers, x @ x.T / batch, y @ x.T / batch, eta)
        done += len(items)
    kept[-1] = flat if narrow else np.concatenate([W.ravel() for W in layers])
    return _unpack(np.asarray(marks * eta, dtype=np.float64), kept, layers)


def _descend(layers: list[Array], Sx: Array, Syx: Array, eta: float) -> None:
    """One step of all layers from old values, in place."""
    below = [np.eye(layers[0].shape[1])]
    for W in layers:
        below.append(W @ below[-1])
    push = below[-1] @ Sx - Syx
    steps = []
    for W, before in zip(reversed(layers), reversed(below[:-1]), strict=True):
        steps.append(push @ before.T)
        push = W.T @ push
    for W, step in zip(reversed(layers), steps, strict=True):
        W -= eta * step


def _layers(weights: Sequence[Any]) -> list[Array]:
    layers = [np.array(W, dtype=np.float64, ndmin=2, order="C") for W in weights]
    for number, (lower, upper) in enumerate(pairwise(layers), start=1):
        if upper.shape[1] != lower.shape[0]:
            raise ValueError(
                f"layer {number + 1} {upper.shape} does not fit on layer {number} {lower.shape}: first layer first."
            )
    if not layers:
        raise ValueError("a network needs at least one layer.")
    return layers


def _fit(layers: list[Array], inputs: tuple[int, ...], outputs: tuple[int, ...], x: str, y: str) -> None:
    n_in, n_out = layers[0].shape[1], layers[-1].shape[0]
    if inputs != (n_in, n_in) or outputs != (n_out, n_in):
        raise ValueError(f"{x}, {y} do not fit a network with {n_in} inputs and {n_out} outputs.")


def _records(layers: list[Array], steps: int, every: int | None) -> tuple[NDArray[np.int64], Array]:
    if steps < 0 or (every is not None and every < 1):
        raise ValueError("steps must be >= 0 and every at least 1.")
    marks = np.array([*range(0, steps, every or max(1, steps // 100)), steps])
    return marks, np.empty((marks.size, sum(W.size for W in layers)))


def _flatten(layers: list[Array]) -> tuple[Array, NDArray[np.int64]]:
    return np.concatenate([W.ravel() for W in layers]), np.array([layers[0].shape[1], *(W.shape[0] for W in layers)])


def _unpack(t: Array, kept: Array, layers: list[Array]) -> DeepLinearRun:
    edges = np.cumsum([0, *(W.size for W in layers)])
    blocks = [kept[:, i:j].reshape(-1, *W.shape) for i, j, W in zip(edges[:-1], edges[1:], layers, strict=True)]
    return DeepLinearRun(t=t, weights=tuple(blocks))


@cache
def _kernel() -> Callable[..., int]:
    return compiled(descend)
