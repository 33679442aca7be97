"""The joint Gram matrix of order-parameter equations: overlaps are those of vectors if none of its eigenvalues is negative.

    C = [[Q, R], [R', T]] >= 0,       one matrix for each block of inputs

Imported by `numerics.analysis`, and by the drawing of states in `numerics.blame_spots`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.fields.overlaps import Overlaps
from derive.system import Flow
from numerics.trajectory import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Gram:
    """The Gram matrix of one block.

    Attributes
    ----------
    matrix : array, shape (n, n)
    place : mapping family -> slice
        Rows of a family.
    pairs : tuple of (family, family, name)
        The overlaps that it is made of.
    """

    matrix: Array
    place: Mapping[str, slice]
    pairs: tuple[tuple[str, str, str], ...]


def gram_matrices(overlaps: Overlaps, values: Mapping[str, Any]) -> Iterator[Gram]:
    """The Gram matrix of every block, from overlaps by name.

    >>> from derive.fields.overlaps import make_overlaps
    >>> one = make_overlaps({"w": 1}, {"b": 1}, taken=())
    >>> next(gram_matrices(one, {"Q": 2.0, "R": 0.5, "T": 1.0})).matrix.tolist()
    [[2.0, 0.5], [0.5, 1.0]]
    """
    for block in dict.fromkeys(overlaps.blocks.get(f) for f in overlaps.families):
        families = [f for f in overlaps.families if overlaps.blocks.get(f) == block]
        counts = [1 if overlaps.families[f] == 1 else len(np.atleast_1d(values[overlaps.name(f, f)[0]])) for f in families]
        ends = np.cumsum([0, *counts])
        place = {f: slice(int(ends[k]), int(ends[k + 1])) for k, f in enumerate(families)}
        pairs = tuple((a, b, n) for (a, b), n in overlaps.names.items() if a in place and b in place)
        matrix = np.zeros((int(ends[-1]), int(ends[-1])))
        for a, b, name in pairs:
            matrix[place[a], place[b]] = np.reshape(values[name], matrix[place[a], place[b]].shape)
            matrix[place[b], place[a]] = matrix[place[a], place[b]].T
        yield Gram(matrix=matrix, place=place, pairs=pairs)


def least_eigenvalue(flow: Flow, values: Mapping[str, Any]) -> float:
    """Smallest eigenvalue of the Gram matrices of a system, relative to the largest entry; 0 if it has none."""
    from derive.fields.rule import overlaps_of
    from derive.spec.lowered import LoweredUpdate

    low = getattr(flow.source, "lowered", None)
    if flow.level != "index" or low is None or low.limit is None or not isinstance(low.rule, LoweredUpdate):
        return 0.0
    overlaps = overlaps_of(low)
    if any(n not in values for n in overlaps.names.values()):
        return 0.0  # other coordinates, or an overlap that the equations do not need
    found = [g.matrix for g in gram_matrices(overlaps, values)]
    return min(float(np.linalg.eigvalsh(m)[0] / max(1e-300, np.abs(m).max())) for m in found)


__all__ = ["Gram", "gram_matrices", "least_eigenvalue"]
