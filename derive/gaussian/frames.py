r"""Frames: jointly Gaussian fields as vectors, and exact conditions on them as projections.

    u_i = m_i + B_i . xi,   xi standard normal;   given t = 0:   B_i' = B_i - (B_i . B_t) B_t / |B_t|^2,  m_i' likewise.

A residual variance that is left after a condition is the square of a short vector. As a difference of covariances it is known
to 1e-16, so the vector is lost below 1e-8; as a vector it keeps 1e-16 itself. This decides whether averages of steps and ReLUs
survive fields that nearly lie in a plane: each term of them depends on the directions of short residuals, only the sum is
continuous, and the terms agree on the directions if all are taken from one frame.

Row i of a frame (..., n, 1 + 2n) is m_i, the row of a factor of the covariance by pivoting, and ``TINY`` times the deviation in
a column of its own: fields that coincide, or lie in a plane exactly, keep a direction of infinitesimal length (the average is
the limit of slightly different fields), so that no case needs a rule of its own. Directions shorter than the rounding of the
covariance, and differences of pairs below ``NEAR``, are dropped, once, here. A condition is a Householder reflection that turns
the row into one axis, which is then left out: what is left of the others is orthogonal to it exactly. The field itself becomes
zero. A field without variance is a row of zeros; its sign is that of its mean, ``sgn(0) = 0``.

Every function broadcasts over arrays and imports nothing but NumPy and its neighbour, because the NumPy backend prints these
functions into its files. Imported by the Gaussian averages and by emission.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derive.gaussian.signs import _correlations

#: Squared lengths of dropped directions (rounding of the covariance), distance of pairs that coincide, of vanished residuals.
DROPPED, NEAR, VANISHED = 2e-15, 1e-8, 1e-13
#: Length of the direction of its own that every field has; its square is a normal number.
TINY = 2.0**-400


def frame(m: Any, C: Any) -> Any:
    """The frame of means (..., n) and covariances (..., n, n)."""
    C = np.asarray(C, float)
    n = C.shape[-1]
    v = np.einsum("...ii->...i", C)
    live = v > 0.0
    s = np.sqrt(np.where(live, v, 0.0))
    left = np.where(live[..., :, None] & live[..., None, :], _correlations(C, np.where(live, v, 1.0)), 0.0)
    unit = np.zeros(C.shape)
    for r in range(n):
        p = np.argmax(np.einsum("...ii->...i", left), -1)[..., None, None]
        row = np.take_along_axis(left, p, -2)[..., 0, :]
        top = np.take_along_axis(row, p[..., 0], -1)
        column = np.where(top > DROPPED, row / np.sqrt(np.where(top > DROPPED, top, 1.0)), 0.0)
        unit[..., r] = column
        left = left - column[..., :, None] * column[..., None, :]
        here = np.arange(n) == p[..., 0]
        left = np.where(here[..., :, None] | here[..., None, :], 0.0, left)
    for a in range(n):
        for b in range(a + 1, n):
            sign = np.where(np.sum(unit[..., a, :] * unit[..., b, :], -1) < 0.0, -1.0, 1.0)[..., None]
            same = np.sum((unit[..., b, :] - sign * unit[..., a, :]) ** 2, -1)[..., None] < NEAR**2
            unit[..., b, :] = np.where(same, sign * unit[..., a, :], unit[..., b, :])
    return np.concatenate([np.broadcast_to(m, v.shape)[..., None], s[..., None] * unit, TINY * s[..., None] * np.eye(n)], -1)


def frame_given(P: Any, t: Any, s: Any) -> Any:
    """The frame under the condition ``field t + sqrt(s) * noise = 0``; a hard condition (s = 0) makes the field zero."""
    t, n = int(t), P.shape[-2]
    row = P[..., t, 1:]
    size = np.sum(row**2, -1) + s
    length = np.sqrt(size)
    free = length > 0.0
    safe = np.where(free, length, 1.0)
    weights = np.sum(P[..., 1:] * row[..., None, :], -1)
    mean = P[..., 0] - weights / (safe * safe)[..., None] * P[..., t, 0][..., None]
    if s > 0.0:
        beta = 1.0 / (safe * (safe + np.sqrt(s)))
        rest = P[..., 1:] - (beta[..., None] * weights)[..., None] * row[..., None, :]
        return np.concatenate([mean[..., None], rest], -1)
    c = np.argmax(np.abs(row), -1)[..., None]
    top = np.take_along_axis(row, c, -1)
    end = np.where(top < 0.0, -safe[..., None], safe[..., None])
    part = weights + end * np.take_along_axis(P[..., 1:], c[..., None], -1)[..., 0]
    beta = 1.0 / (safe[..., None] * (safe[..., None] + np.abs(top)))
    rest = P[..., 1:] - (beta * part)[..., None] * row[..., None, :]
    rest = np.where((np.arange(row.shape[-1]) == c)[..., None, :], 0.0, rest)
    own = np.einsum("...ii->...i", P[..., 1 + n :]) / TINY
    gone = np.sum(rest[..., :n] ** 2, -1) <= (VANISHED * own) ** 2
    rest = np.where(gone[..., None] & (np.arange(row.shape[-1]) < n), 0.0, rest)
    mean = np.where(gone & (np.abs(mean) <= VANISHED * (own + np.abs(P[..., 0]))), 0.0, mean)
    out = np.concatenate([mean[..., None], rest], -1)
    out = np.where(free[..., None, None], out, P)
    return np.where((np.arange(n) == t)[:, None], 0.0, out)


def frame_cov(P: Any, i: Any, j: Any) -> Any:
    """Covariance of two fields of a frame."""
    return np.sum(P[..., int(i), 1:] * P[..., int(j), 1:], -1)


def frame_mean(P: Any, i: Any) -> Any:
    """Mean of a field of a frame."""
    return P[..., int(i), 0]


def rsqrt(v: Any) -> Any:
    """v^(-1/2), or 0 where v is not positive."""
    keep = v > 0.0
    return np.where(keep, 1.0 / np.sqrt(np.where(keep, v, 1.0)), 0.0)


def normal_weight(m: Any, r: Any) -> Any:
    """exp(-m^2 r^2 / 2), where m r may be too large for a square; a mean of zero gives 1."""
    return np.exp(-0.5 * np.minimum(np.abs(m * r), 40.0) ** 2)


def frame_angle(P: Any, i: Any, j: Any, s: Any, r: Any) -> Any:
    """asin of the correlation of two centred fields with noises of variances s and r, from the lengths of the sum and of the
    difference of their unit vectors; 0 if one is zero."""
    a, b = P[..., int(i), 1:], P[..., int(j), 1:]
    ra, rb = rsqrt(np.sum(a**2, -1) + s)[..., None], rsqrt(np.sum(b**2, -1) + r)[..., None]
    noise = (s * ra**2 + r * rb**2)[..., 0]
    minus = np.sqrt(np.sum((a * ra - b * rb) ** 2, -1) + noise)
    plus = np.sqrt(np.sum((a * ra + b * rb) ** 2, -1) + noise)
    return np.where((ra * rb)[..., 0] > 0.0, 0.5 * np.pi - 2.0 * np.arctan2(minus, plus), 0.0)
