"""Averages over rectified fields as papers print them, for claims: arc-cosines, and moments of truncated normal variables.

With g(z) = max(z, 0), g'(z) = [z > 0] and jointly Gaussian, centred fields of covariance C all averages of a committee are
moments of fields that are cut off at zero. For the set of *distinct* fields that are cut off, and P the probability that all of
them are positive (G. M. Tallis, J. R. Stat. Soc. B 23 (1961) 223, with all thresholds zero),

    < x_i x_j ; all > 0 > = C_ij P + sum_q C_iq sum_(s != q) (C_js - C_qs C_jq / C_qq) phi_qs P(the others > 0 | x_q = x_s = 0),

phi_qs = 1 / (2 pi sqrt(C_qq C_ss - C_qs^2)). P is elementary up to three fields; for four it is one integral (R. L. Plackett,
Biometrika 41 (1954) 351). Numbers only, C of shape (n, n) or (n, n, S) for S states. Claims only: no pass imports this file.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

NODES, WEIGHTS = np.polynomial.legendre.leggauss(64)  # 1e-14 unless correlations exceed 0.99


def orthant(C: Any) -> Any:
    """Probability that all of up to four distinct centred normal variables are positive.

    >>> round(float(orthant(np.eye(3))), 12), round(float(orthant(np.array([[1.0, 0.5], [0.5, 1.0]]))), 12)
    (0.125, 0.333333333333)
    """
    size, pairs = len(C), list(combinations(range(len(C)), 2))
    r = {(i, j): C[i, j] / np.sqrt(C[i, i] * C[j, j]) for i in range(size) for j in range(size)}
    if size <= 3:
        return 0.5**size + sum(np.arcsin(r[p]) for p in pairs) / np.pi * (0, 0, 0.5, 0.25)[size]
    t = 0.5 * (NODES + 1)
    total: Any = 0.0
    for i, j in pairs:
        k, l = (n for n in range(4) if n not in (i, j))
        ij, ik, jk, il, jl, kl = (r[p][..., None] * t for p in ((i, j), (i, k), (j, k), (i, l), (j, l), (k, l)))
        # along the path of correlations t r, given that i and j are zero
        det = 1 - ij**2
        kk, ll = det - ik**2 - jk**2 + 2 * ij * ik * jk, det - il**2 - jl**2 + 2 * ij * il * jl
        corner = (kl * det - ik * il - jk * jl + ij * (ik * jl + jk * il)) / np.sqrt(kk * ll)
        total += r[i, j][..., None] / (2 * np.pi * np.sqrt(det)) * (0.25 + np.arcsin(corner) / (2 * np.pi))
    return 1 / 16 + total @ WEIGHTS / 2


def cut_moment(C: Any, i: int, j: int) -> Any:
    """< x_i x_j ; all > 0 > of up to four distinct variables, two of them i and j, which may be the same.

    >>> round(float(cut_moment(np.array([[2.0]]), 0, 0)), 12)
    1.0
    """
    out, size = C[i, j] * orthant(C), range(len(C))
    for q, s in ((q, s) for q in size for s in size if s != q):
        rest = [n for n in size if n not in (q, s)]
        det = C[q, q] * C[s, s] - C[q, s] ** 2

        def given(a: int, b: int, q: int = q, s: int = s, det: Any = det) -> Any:
            """Covariance of a and b where q and s are zero."""
            square = C[s, s] * C[a, q] * C[b, q] + C[q, q] * C[a, s] * C[b, s]
            return C[a, b] - (square - C[q, s] * (C[a, q] * C[b, s] + C[a, s] * C[b, q])) / det

        left = np.array([[given(a, b) for b in rest] for a in rest]) if rest else np.empty((0, 0))
        density = orthant(left) / (2 * np.pi * np.sqrt(det))
        out = out + C[i, q] * (C[j, s] - C[q, s] * C[j, q] / C[q, q]) * density
    return out


def i2(C: Any, a: int, b: int) -> Any:
    """< g(a) g(b) >, the arc-cosine kernel."""
    return _cut(C, (a, b), a, b)


def j2(C: Any, a: int, b: int) -> Any:
    """< g'(a) g'(b) >."""
    kept = sorted({a, b})
    return orthant(C[np.ix_(kept, kept)])


def i3(C: Any, a: int, b: int, c: int) -> Any:
    """< g'(a) b g(c) >."""
    if a == c:
        return C[a, b] / 2
    angle = np.arccos(C[a, c] / np.sqrt(C[a, a] * C[c, c]))
    side = np.sqrt(C[a, a] * C[c, c] - C[a, c] ** 2)
    return (C[a, b] * side / C[a, a] + C[b, c] * (np.pi - angle)) / (2 * np.pi)


def i4(C: Any, a: int, b: int, c: int, d: int) -> Any:
    """< g'(a) g'(b) g(c) g(d) >; of fields that coincide one is kept."""
    return _cut(C, (a, b, c, d), c, d)


def _cut(C: Any, fields: tuple[int, ...], i: int, j: int) -> Any:
    kept = sorted(set(fields))
    return cut_moment(C[np.ix_(kept, kept)], kept.index(i), kept.index(j))
