"""Printed spectra: the claimed rows against the derived ones at random sizes, and against the eigenvalues of an array.

Rows are compared as lists with every value repeated by its multiplicity, in order of size. Imported by `numerics.verify`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.spectra.eigenspaces import evaluated
from derive.spectra.spectral import mode_classes, sample_points, spectrum
from derive.spectra.structures import number
from numerics.claims.subject import Subject
from numerics.compare import deviation
from numerics.report import Check, worst
from numerics.trajectory import Array


def check(claim: Any, subject: Subject) -> tuple[Check, ...]:
    """Derived against claimed at random sizes; with an array also claimed against measured."""
    pair = isinstance(claim.of, tuple)
    matrices = claim.of if pair else (claim.of,)
    derived: list[tuple[Any, ...]] = [(s.value, s.multiplicity) for s in spectrum(claim.of)] if not pair else []
    if pair:
        derived = [(m.s, m.d, m.multiplicity) for m in mode_classes(claim.of[0], claim.of[1], claim.items)]
    claimed = [tuple(number(claim.label, x) for x in row) for row in claim.rows]
    points = sample_points(matrices, 3)
    found = [_difference(listed(derived, at), listed(claimed, at)) for at in points]
    rows = [
        Check(
            claim=claim.label,
            statistic=worst(found),
            bound=1e-12,
            reason=f"largest relative difference from the derived spectrum at {len(found)} random sizes; rounding",
            seed=subject.seed,
            detail=f"{len(derived)} eigenspaces",
        )
    ]
    if claim.array is not None:
        rows.append(
            Check(
                claim=f"{claim.label}: eigenvalues of the data",
                statistic=_difference(_measured(claim.array), listed(claimed, claim.values)),
                bound=1e-10,
                reason="largest relative difference; rounding of a dense eigenvalue problem",
                seed=subject.seed,
            )
        )
    return tuple(rows)


def listed(rows: list[tuple[Any, ...]], at: Mapping[str, Any]) -> Array:
    """Values repeated by multiplicity, shape (n, columns), in decreasing order of the first, then the second column."""
    out: list[list[float]] = []
    for *values, multiplicity in rows:
        out += [[evaluated(v, at) for v in values]] * round(evaluated(multiplicity, at))
    return _ordered(np.array(out, dtype=float))


def _ordered(rows: Array) -> Array:
    keys = np.round(rows / max(float(np.abs(rows).max()), 1e-300), 9)  # equal values must not be ordered by rounding
    return np.asarray(rows[np.lexsort(keys.T[::-1])[::-1]])


def _difference(a: Array, b: Array) -> float:
    return deviation(a, b) if a.shape == b.shape else float("inf")


def _measured(array: Any) -> Array:
    if not isinstance(array, tuple):
        return _ordered(np.linalg.eigvalsh(np.asarray(array, dtype=float))[:, None])
    from derive.reductions.modes_numeric import singular_modes

    inputs, targets = (np.asarray(a, dtype=float) for a in array)
    count = len(inputs)
    left, right = (symmetric_root(a @ a.T / count) for a in (inputs, targets))
    _, s, d, _ = singular_modes(right @ left, left @ left, count)
    return _ordered(np.stack([s, d], axis=1))


def symmetric_root(gram: Array) -> Array:
    """The positive semidefinite root."""
    w, v = np.linalg.eigh(gram)
    w = np.where(w > len(w) * 2e-15 * w[-1], w, 0.0)  # the root of what rounding leaves would be 1e-8
    return np.asarray((v * np.sqrt(w)) @ v.T)
