r"""Averages of products of n signs of jointly Gaussian fields, for arrays of means and covariances.

With unit variances, means h and correlations R, the variable p with the smallest largest ``|R_pj|`` is decoupled:
r_pj -> t r_pj, t from 0 to 1, and with sin(theta) = t r_pj

    E[s_1..s_n] = E[s_p] E[rest] + (2/pi) sum_j int_0^{asin r_pj}
                  exp(-(h_p^2 + h_j^2 - 2 h_p h_j sin theta) / (2 cos^2 theta)) E[rest without j | p = j = 0, t] dtheta.

The path stays positive semidefinite. What the rest keeps under j = 0 does not change along the path and comes from the frame of
the fields (`derive.gaussian.frames`); the condition on p is one more projection at each node. Two signs are done in
`derive.gaussian.signs`; four centred signs are three one-dimensional integrals. The integrals use 24 Gauss-Legendre nodes per
panel, panels shrink geometrically towards the end of the path where the integrand may have a layer.
Every function broadcasts over arrays and imports nothing but NumPy and its neighbours, because the NumPy backend prints these
functions into its files. Imported by the Gaussian averages and by emission.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from derive.gaussian.frames import frame, frame_cov, frame_given, frame_mean, rsqrt
from derive.gaussian.signs import NODES, WEIGHTS, _correlations, _sign, two_signs

#: Determinant of correlations below which a path has more panels: at larger ones one panel is exact to 1e-12.
LAYER = 0.01


def signs_of(P: Any, places: Any, noises: Any) -> Any:
    """Average of the signs of some fields of a frame, each with a noise of a given variance."""
    places = [int(i) for i in places]
    B, m = P[..., places, 1:], P[..., places, 0]
    r = rsqrt(np.sum(B**2, -1) + np.asarray(noises))
    unit = B * r[..., None]
    R = _correlations(np.einsum("...ia,...ja->...ij", unit, unit), np.ones(r.shape))
    R = np.where(np.eye(len(places)) > 0.0, 1.0, R)
    fixed = np.prod(np.where(r > 0.0, 1.0, np.sign(m)), -1)
    return fixed * _signs(np.where(r > 0.0, np.clip(m * r, -40.0, 40.0), 40.0), R)


def sign4(va: Any, vb: Any, vc: Any, vd: Any, ab: Any, ac: Any, ad: Any, bc: Any, bd: Any, cd: Any) -> Any:
    """Average of four centred signs from their variances and covariances."""
    zero = np.zeros(np.broadcast(va, vb, vc, vd, ab, ac, ad, bc, bd, cd).shape)
    entries = [va, ab, ac, ad, ab, vb, bc, bd, ac, bc, vc, cd, ad, bd, cd, vd]
    C = np.stack([zero + x for x in entries], -1).reshape((*zero.shape, 4, 4))
    return nsign(np.zeros(C.shape[:-1]), C)


def nsign(m: Any, C: Any) -> Any:
    """Average of n signs with means m (..., n) and covariances C (..., n, n); a sign of zero variance is sgn(m)."""
    v = np.einsum("...ii->...i", C)
    keep = v > 0.0
    v = np.where(keep, v, 1.0)
    fixed = np.prod(np.where(keep, 1.0, np.sign(m)), -1)
    R = np.where(keep[..., :, None] & keep[..., None, :], _correlations(C, v), 0.0)
    R = np.where(np.eye(v.shape[-1]) > 0.0, 1.0, R)
    return fixed * _signs(np.where(keep, np.clip(m / np.sqrt(v), -40.0, 40.0), 40.0), R)


def _signs(h: Any, R: Any) -> Any:
    """Average of n signs with unit variances; a mean of 40 makes a sign certain."""
    n = h.shape[-1]
    centred = not np.any(h)
    if n == 0:
        return np.ones(h.shape[:-1])
    if centred and n % 2:
        return np.zeros(h.shape[:-1])
    if n == 1:
        return _sign(h[..., 0])
    if n == 2:
        r = R[..., 0, 1]
        return 2.0 / math.pi * np.arcsin(r) if centred else two_signs(h[..., 0], h[..., 1], r)
    off = np.abs(R) * (1.0 - np.eye(n))
    p = np.argmin(np.max(off, -1), -1)[..., None]
    order = np.argsort(np.where(np.arange(n) == p, -1, np.arange(n)), -1, kind="stable")
    h = np.take_along_axis(h, order, -1)
    R = np.take_along_axis(np.take_along_axis(R, order[..., :, None], -2), order[..., None, :], -1)
    P = frame(h, R)
    total = _sign(h[..., 0]) * _signs(h[..., 1:], R[..., 1:, 1:])
    panels = _panels(float(np.min(np.linalg.det(R))) if R.size else 1.0, centred)
    for j in range(1, n):
        total = total + 2.0 / math.pi * _path(h, R, P, j, panels)
    return total


def _panels(det: float, centred: bool) -> int:
    """Panels of a path, from the least determinant of the correlations."""
    return 1 if det >= LAYER else 4 if centred else 8


def _path(h: Any, R: Any, P: Any, j: int, panels: int) -> Any:
    """The integral over theta for one j; the decoupled variable is the first one."""
    n = h.shape[-1]
    rest = [i for i in range(1, n) if i != j]
    r = R[..., 0, j]
    theta, weight = _nodes(np.arcsin(r), panels)
    rho = np.sin(theta)
    c2 = np.maximum(np.cos(theta) ** 2, 1e-300)
    t = rho / np.where(r == 0.0, 1.0, r)[..., None]
    hp, hj = h[..., 0, None], h[..., j, None]
    weight = weight * np.exp(-np.minimum((hj - hp * rho) ** 2 / c2 + hp**2, 1400.0) / 2.0)
    if not rest:
        return np.sum(weight, -1)
    left = frame_given(P, j, 0.0)
    b = t[..., None] * np.stack([frame_cov(left, 0, i) for i in rest], -1)[..., None, :]  # covariances with p along the path
    K = np.stack([np.stack([frame_cov(left, i, k) for k in rest], -1) for i in rest], -2)[..., None, :, :]
    K = K - b[..., :, None] * (b / c2[..., None])[..., None, :]
    v = np.einsum("...ii->...i", K)
    keep = v > 0.0
    corr = _correlations(K, np.where(keep, v, 1.0))
    corr = np.where(keep[..., :, None] & keep[..., None, :], corr, 0.0)
    m = np.stack([frame_mean(left, i) for i in rest], -1)[..., None, :] - b * ((hp - rho * hj) / c2)[..., None]
    deviates = np.where(keep, m * rsqrt(v), np.where(m == 0.0, 0.0, np.where(m > 0.0, 40.0, -40.0)))
    return np.sum(weight * _signs(np.clip(deviates, -40.0, 40.0), corr), -1)


def _nodes(end: Any, panels: int) -> tuple[Any, Any]:
    """Nodes and weights on [0, end], graded towards the end: the last panel by a fourth power, the others geometrically."""
    x, w = 0.5 * (NODES + 1.0), 0.5 * WEIGHTS
    edges = [1.0, *(8.0**-k for k in range(1, panels))]
    y, u = [], []
    for k, top in enumerate(edges):
        low = edges[k + 1] if k + 1 < panels else 0.0
        if low:
            y.append(1.0 - (low + (top - low) * x))
            u.append((top - low) * w)
        else:
            y.append(1.0 - top * (1.0 - x) ** 4)
            u.append(4.0 * top * (1.0 - x) ** 3 * w)
    return end[..., None] * np.concatenate(y), end[..., None] * np.concatenate(u)
