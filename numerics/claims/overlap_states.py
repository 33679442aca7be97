"""Random overlaps of families of vectors, some of which are single vectors or have a known Gram matrix.

Every family gets random vectors in R^n, one family after the other, and each overlap is taken between them: so |R|^2 <= Q T,
which independent numbers would not obey. Overlaps that are kept (those of fixed families; at the start of a run those of
learned ones too) are met exactly: with V the vectors placed so far and C the known overlaps with them,

    V_f = C G^-1 V + n^(1/2) (T_f - C G^-1 C^T)^(1/2) E,     G = V V^T / n,     E a random isometry orthogonal to V.

Imported by the drawing of random states only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.fields.overlaps import Overlaps
from derive.system import Flow
from numerics.trajectory import Array

DEPTH = 12  # length n of the vectors


def joint_overlaps(flow: Flow, known: Mapping[str, Any], *, keep: bool = False) -> Overlaps | None:
    """The overlaps of the model behind order-parameter equations, if they must be drawn together.

    That is if a family is a single vector or has a known Gram matrix; with ``keep`` also if any overlap is known.
    """
    from derive.fields.rule import overlaps_of
    from derive.online.population import population_overlaps
    from derive.spec.lowered import LoweredRate, LoweredUpdate

    low = getattr(flow.source, "lowered", None)
    if flow.level == "index" and low is not None and isinstance(low.rule, LoweredRate):
        found = population_overlaps(low)
        return found if any(name in [b.name for b in flow.state] for name in found.names.values()) else None
    if flow.level != "index" or low is None or not isinstance(low.rule, LoweredUpdate) or low.limit is None:
        return None
    found = overlaps_of(low)
    names = [b.name for b in (*flow.state, *flow.parameters)]
    used = any(name in names for name in found.names.values())
    given = any(found.names[f, f] in known for f in found.families if f not in found.learned)
    kept = keep and any(name in known for name in found.names.values())
    return found if used and (given or kept or any(size == 1 for size in found.families.values())) else None


def draw_overlaps(
    overlaps: Overlaps, sizes: Mapping[str, int], known: Mapping[str, Any], rng: np.random.Generator, *, keep: bool = False
) -> dict[str, Array]:
    """A value of every overlap; those known of fixed families, with ``keep`` all known ones, are the known ones.

    Raises
    ------
    ValueError
        If no vectors have the known overlaps.

    >>> made = draw_overlaps(_pair(), {}, {"T": 4.0, "Q": 1.0}, np.random.default_rng(0), keep=True)
    >>> round(float(made["T"]), 12), round(float(made["Q"]), 12), bool(made["R"] ** 2 <= 4)
    (4.0, 1.0, True)
    """
    counts = {f: 1 if size == 1 else int(sizes[str(size)]) for f, size in overlaps.families.items()}
    depth, vectors = max(DEPTH, sum(counts.values())), dict[str, Array]()

    def told(a: str, b: str) -> Array | None:
        """The known overlap of two families that must be met."""
        if not overlaps.together(a, b) or (a == b and a in overlaps.learned and not keep) or (a != b and not keep):
            return None
        name, swapped = overlaps.name(a, b)
        if name not in known or np.size(known[name]) != counts[a] * counts[b]:
            return None
        array = np.reshape(np.asarray(known[name], dtype=float), (counts[b], counts[a]) if swapped else (counts[a], counts[b]))
        return array.T if swapped else array

    for family in sorted(overlaps.families, key=lambda f: told(f, f) is None) if keep else overlaps.families:
        rows = rng.standard_normal((counts[family], depth))
        own = told(family, family)
        with_placed = {f: c for f in vectors if (c := told(family, f)) is not None}
        along = np.zeros_like(rows)
        if with_placed:
            placed, cross = (
                np.concatenate([vectors[f] for f in with_placed]),
                np.concatenate(list(with_placed.values()), axis=1),
            )
            weights = cross @ np.linalg.pinv(placed @ placed.T / depth)
            along = weights @ placed
            rows = rows - rows @ np.linalg.pinv(placed) @ placed
            own = None if own is None else own - weights @ cross.T
        if own is not None:
            values, turn = np.linalg.eigh(own)
            if values[0] < -1e-9 * max(1.0, abs(values[-1])):
                shown = ", ".join(overlaps.name(family, f)[0] for f in (family, *with_placed))
                raise ValueError(
                    f"no vectors have the known {shown}: there is the eigenvalue {values[0]:.3g} where none may be negative; "
                    "give overlaps of vectors, |R|^2 <= Q T, or leave one of them out to have it drawn"
                )
            rows = np.sqrt(depth) * (turn * np.sqrt(np.maximum(values, 0.0))) @ turn.T @ np.linalg.qr(rows.T)[0].T
        vectors[family] = along + rows
    out = {}
    for (a, b), name in overlaps.names.items():
        gram = vectors[a] @ vectors[b].T / depth
        single = tuple(axis for axis, f in enumerate((a, b)) if overlaps.families[f] == 1)
        out[name] = np.asarray(np.squeeze(gram, axis=single))
    return out


def _pair() -> Overlaps:
    from derive.fields.overlaps import make_overlaps

    return make_overlaps({"w": 1}, {"wstar": 1}, taken=())


__all__ = ["draw_overlaps", "joint_overlaps"]
