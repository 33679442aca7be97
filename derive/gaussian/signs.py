r"""Averages of products of signs, and the guarded inverses that conditioning on exact zeros needs, for arrays of covariances.

With unit variances, means h and correlations R, the variable p with the smallest largest ``|R_pj|`` is decoupled:
r_pj -> t r_pj, t from 0 to 1, and with sin(theta) = t r_pj

    E[s_1..s_n] = erf2(h_p) E[rest] + (2/pi) sum_j int_0^{asin r_pj}
                  exp(-(h_p^2 + h_j^2 - 2 h_p h_j sin theta) / (2 cos^2 theta)) E[rest without j | p = j = 0, t] dtheta.

The path stays positive semidefinite. Two centred signs: (2/pi) asin R. Four centred signs: three one-dimensional integrals. The
integrals use 24 Gauss-Legendre nodes per panel, panels shrink geometrically towards the end of the path where the integrand may
have a layer (correlations near one with different means). Fields whose variance vanishes, and fields that coincide, take the
limits described in `derive.gaussian.measure`. Every function broadcasts over arrays and imports nothing but NumPy, because the
NumPy backend prints these functions into its files. Imported by the Gaussian averages and by emission.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

#: Pairs with 1 - |correlation| < PAIR coincide; residuals below SNAP are removed next: what is left of them is below TOL.
PAIR, SNAP, TOL = 5e-9, 1e-9, 1e-12
#: Correlations this close to one are one: the arcsine would make 1e-8 of a rounding error of 1e-16.
ROUNDING = 2e-15
NODES, WEIGHTS = np.polynomial.legendre.leggauss(24)
_erf = np.frompyfunc(math.erf, 1, 1)


def limit(m: Any, C: Any, root: Any, noise: Any) -> Any:
    """Average of n signs under exact conditions.

    ``root`` (..., n) are the variances before conditioning, ``noise`` (..., n, n) is how C grows with a small noise of all
    fields: signs whose variance vanishes average as signs of that noise, independent of the others.
    """
    m, root = np.asarray(m, float), np.asarray(root, float)
    n = m.shape[-1]
    v = np.einsum("...ii->...i", C)
    gone = v <= TOL * root
    sure = gone & (np.abs(m) > np.sqrt(TOL * root))
    apart = gone[..., :, None] == gone[..., None, :]
    both = gone[..., :, None] & gone[..., None, :]
    scale = np.where(gone, np.maximum(np.einsum("...ii->...i", noise), 1e-300), np.maximum(v, 1e-300))
    R = np.where(apart, np.where(both, _correlations(noise, scale), _correlations(C, scale)), 0.0)
    alone = sure[..., :, None] | sure[..., None, :]
    R = np.where(alone & (np.eye(n) == 0.0), 0.0, R)
    h = np.where(sure, 40.0, np.where(gone, 0.0, m / np.sqrt(scale)))
    return np.prod(np.where(sure, np.sign(m), 1.0), -1) * _signs(h, np.where(np.eye(n) > 0.0, 1.0, R))


def snap(C: Any) -> Any:
    """Covariances (..., n, n) without near dependences: pairs that nearly coincide do so, and near combinations are exact ones.

    After equal rows for near pairs, a Cholesky factor of the correlations with pivots; what is left below SNAP is dropped.
    Residual variances of nearly dependent fields are rounding noise, and a threshold on each of them alone is inconsistent when
    there are several. Only this local copy is changed; averages of continuous functions change by less than the distance of the
    fields, at most sqrt(2 PAIR).
    """
    C = np.array(C, float)
    n = C.shape[-1]
    v = np.einsum("...ii->...i", C)
    s = np.sqrt(np.maximum(v, 0.0))
    left = _correlations(C, np.where(v > 0.0, v, 1.0)) * (v > 0.0)[..., :, None] * (v > 0.0)[..., None, :]
    for a in range(n):
        for b in range(a + 1, n):
            r = left[..., a, b, None]
            row = np.where(np.abs(r) > 1.0 - PAIR, np.sign(r) * left[..., a, :], left[..., b, :])
            row[..., b] = left[..., b, b]
            left[..., b, :] = left[..., :, b] = row
    out = np.zeros(C.shape)
    for _ in range(n):
        p = np.argmax(np.einsum("...ii->...i", left), -1)[..., None, None]
        row = np.take_along_axis(left, p, -2)[..., 0, :]
        top = np.take_along_axis(row, p[..., 0], -1)
        keep = top > SNAP
        step = np.where(keep, row, 0.0)[..., :, None] * row[..., None, :] / np.where(keep, top, 1.0)[..., None]
        step = np.where(np.arange(n)[:, None] == p, row[..., None, :], step) * keep[..., None]
        step = np.where(np.arange(n) == p, row[..., :, None] * keep[..., None], step)
        out, left = out + step, left - step
    d = np.einsum("...ii->...i", out)
    R = _correlations(out, np.where(v > 0.0, d, 1.0))
    return np.where(np.eye(n) > 0.0, v[..., None, :], R * s[..., :, None] * s[..., None, :])


def residual(v: Any, root: Any) -> Any:
    """A residual variance, or 0 where it is rounding noise of the variance ``root``."""
    return np.where(v > ROUNDING * root, v, 0.0)


def inv0(v: Any, root: Any) -> Any:
    """1/v, or 0 where v vanishes against ``root``."""
    v, root = np.broadcast_arrays(np.asarray(v, float), np.asarray(root, float))
    keep = v > TOL * root
    return np.where(keep, 1.0 / np.where(keep, v, 1.0), 0.0)


def isqrt0(v: Any, root: Any) -> Any:
    """v^(-1/2), or 0 where v vanishes against ``root``."""
    return np.sqrt(inv0(v, root))


def angle(c: Any, va: Any, vb: Any) -> Any:
    """asin of the correlation; 0 if a variance vanishes."""
    v = np.asarray(va, float) * np.asarray(vb, float)
    keep = v > 0.0
    r = np.where(keep, c / np.sqrt(np.where(keep, v, 1.0)), 0.0)
    return np.arcsin(_rounded(r))


def angle0(c: Any, va: Any, vb: Any, ra: Any, rb: Any, nc: Any, na: Any, nb: Any) -> Any:
    """asin of the correlation of two conditioned fields; of the limiting one if both variances vanish, 0 if one does."""
    da, db = va <= TOL * ra, vb <= TOL * rb
    return np.where(da & db, angle(nc, na, nb), np.where(da | db, 0.0, angle(c, va, vb)))


def erf0(m: Any, v: Any, root: Any) -> Any:
    """Average of a sign with mean m and variance v: erf(m / sqrt(2 v)); sgn(m) if v vanishes, 0 if m does too."""
    m, v, root = np.broadcast_arrays(np.asarray(m, float), np.asarray(v, float), np.asarray(root, float))
    keep = v > TOL * root
    h = m / np.sqrt(2.0 * np.where(keep, v, 1.0))
    return np.where(keep, np.asarray(_erf(h), float), np.where(np.abs(m) > np.sqrt(TOL * root), np.sign(m), 0.0))


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
    return fixed * _signs(np.where(keep, m / np.sqrt(v), 40.0), _correlations(C, v))


def _correlations(C: Any, v: Any) -> Any:
    """C_ij / sqrt(v_i v_j), set back to [-1, 1]; what differs from 1 by rounding is 1."""
    return _rounded(C / np.sqrt(v[..., :, None] * v[..., None, :]))


def _rounded(r: Any) -> Any:
    return np.where(r > 1.0 - ROUNDING, 1.0, np.where(r < ROUNDING - 1.0, -1.0, r))


def _signs(h: Any, R: Any) -> Any:
    """Average of n signs with unit variances; a mean of 40 makes a sign certain."""
    n = h.shape[-1]
    centred = not np.any(h)
    if n == 0:
        return np.ones(h.shape[:-1])
    if centred and n % 2:
        return np.zeros(h.shape[:-1])
    if n == 1:
        return np.asarray(_erf(h[..., 0] / math.sqrt(2.0)), float)
    if n == 2 and centred:
        return 2.0 / math.pi * np.arcsin(R[..., 0, 1])
    off = np.abs(R) * (1.0 - np.eye(n))
    p = np.argmin(np.max(off, -1), -1)[..., None]
    order = np.argsort(np.where(np.arange(n) == p, -1, np.arange(n)), -1, kind="stable")
    h = np.take_along_axis(h, order, -1)
    R = np.take_along_axis(np.take_along_axis(R, order[..., :, None], -2), order[..., None, :], -1)
    total = np.asarray(_erf(h[..., 0] / math.sqrt(2.0)), float) * _signs(h[..., 1:], R[..., 1:, 1:])
    panels = 8 if not centred else 4 if np.any(np.linalg.det(R) < 0.01) else 1
    for j in range(1, n):
        total = total + 2.0 / math.pi * _path(h, R, j, centred, panels)
    return total


def _path(h: Any, R: Any, j: int, centred: bool, panels: int) -> Any:
    """The integral over theta for one j."""
    rest = [i for i in range(1, h.shape[-1]) if i != j]
    r = R[..., 0, j]
    end = np.arcsin(r)
    theta, weight = _nodes(end, panels)
    rho = np.sin(theta)
    c2 = np.maximum(np.cos(theta) ** 2, 1e-300)
    t = rho / np.where(r == 0.0, 1.0, r)[..., None]
    hp, hj = h[..., 0, None], h[..., j, None]
    bump = np.exp(-((hj - hp * rho) ** 2 / c2 + hp**2) / 2.0)
    if not rest:
        return np.sum(weight * bump, -1)
    a = R[..., j, rest][..., None, :]  # covariances with j
    b = t[..., None] * R[..., 0, rest][..., None, :] - rho[..., None] * a  # with what p adds to j, times its deviation
    K = R[..., rest, :][..., :, rest][..., None, :, :] - a[..., :, None] * a[..., None, :]
    K = K - b[..., :, None] * b[..., None, :] / c2[..., None, None]
    v = np.einsum("...ii->...i", K)
    keep = v > TOL
    v = np.where(keep, v, 1.0)
    corr = _correlations(K, v)
    mean = h[..., rest][..., None, :] - a * hj[..., None] - b * ((hp - rho * hj) / c2)[..., None]
    if centred:
        gone = ~keep  # fields that coincide with j (or with +-p): their limits, see `derive.gaussian.measure`
        ka, kp = a - b * (rho / c2)[..., None], b / c2[..., None]
        N = ka[..., :, None] * ka[..., None, :] + kp[..., :, None] * kp[..., None, :] + np.eye(len(rest))
        limit = _correlations(N, np.einsum("...ii->...i", N))
        both, one = gone[..., :, None] & gone[..., None, :], gone[..., :, None] ^ gone[..., None, :]
        corr = np.where(both, limit, np.where(one, 0.0, corr))
        return np.sum(weight * _signs(np.zeros(mean.shape), corr), -1)
    sure = np.where(np.abs(mean) > math.sqrt(TOL), np.sign(mean), 0.0)
    factor = np.prod(np.where(keep, 1.0, sure), -1)
    return np.sum(weight * bump * factor * _signs(np.where(keep, mean / np.sqrt(v), 40.0), corr), -1)


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
