"""The compiled loop of the deep linear family: all layers in one flat array, one pass forward and one back for each step.

    h_0 = 1 and e = h_L Sx - Syx  (full batch),   or   h_0 = X[:, items] and e = (h_L - Y[:, items]) / batch
    h_l = W_l h_{l-1};   then from the top:  G = e h_{l-1}',  e <- W_l' e,  W_l <- W_l - eta G

Compiled by `deep_linear` at the first call; plain Python that also runs (slowly) uncompiled.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def descend(
    flat: Array,
    sizes: NDArray[np.int64],
    first: Array,
    second: Array,
    items: NDArray[np.int64],
    eta: float,
    done: int,
    marks: NDArray[np.int64],
    record: int,
    kept: Array,
) -> int:
    """One step for each row of ``items``, changing ``flat``; returns the number of the next record.

    Rows without entries mean full batch: ``first``, ``second`` are then Sx, Syx, otherwise the items as rows.
    """
    depth, n_in = sizes.size - 1, sizes[0]
    batch = items.shape[1]
    full = batch == 0
    columns = n_in if full else batch
    widest = 1
    for size in sizes:
        widest = max(widest, size)
    h = np.zeros((depth + 1, widest, columns))
    e, lower = np.zeros((widest, columns)), np.zeros((widest, columns))
    starts = np.zeros(depth + 1, dtype=np.int64)
    for l in range(depth):
        starts[l + 1] = starts[l] + sizes[l] * sizes[l + 1]
    if full:
        for i in range(n_in):
            h[0, i, i] = 1.0
    for step in range(items.shape[0]):
        if marks[record] == done + step:
            for i in range(flat.size):
                kept[record, i] = flat[i]
            record += 1
        if not full:
            for b in range(batch):
                for i in range(n_in):
                    h[0, i, b] = first[items[step, b], i]
        for l in range(depth):
            for i in range(sizes[l + 1]):
                row = starts[l] + i * sizes[l]
                for b in range(columns):
                    h[l + 1, i, b] = 0.0
                for j in range(sizes[l]):
                    w = flat[row + j]
                    for b in range(columns):
                        h[l + 1, i, b] += w * h[l, j, b]
        for i in range(sizes[depth]):
            if full:
                for b in range(columns):
                    e[i, b] = -second[i, b]
                for j in range(n_in):
                    w = h[depth, i, j]
                    for b in range(columns):
                        e[i, b] += w * first[j, b]
            else:
                for b in range(columns):
                    e[i, b] = (h[depth, i, b] - second[items[step, b], i]) / batch
        for l in range(depth - 1, -1, -1):
            for j in range(sizes[l]):
                for b in range(columns):
                    lower[j, b] = 0.0
            for i in range(sizes[l + 1]):
                row = starts[l] + i * sizes[l]
                for j in range(sizes[l]):
                    w, s = flat[row + j], 0.0
                    for b in range(columns):
                        lower[j, b] += w * e[i, b]
                        s += e[i, b] * h[l, j, b]
                    flat[row + j] = w - eta * s
            for j in range(sizes[l]):
                for b in range(columns):
                    e[j, b] = lower[j, b]
    return record
