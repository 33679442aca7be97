r"""Signs of one and of two Gaussian fields, correlations, and inverses that survive rounding, for arrays of covariances.

Two signs of fields with unit variances, means h and k, correlation r:

    E[sgn(x + h) sgn(y + k)] = erf2(h) erf2(k) + (2/pi) int_0^{asin r} exp(-(h^2 + k^2 - 2 h k sin t) / (2 cos^2 t)) dt.

Up to |r| = 0.925 the integral is a Gauss-Legendre rule of 20 nodes. Beyond, where the integrand has a layer of width
sqrt(1 - r^2) at its end, the leading terms of the layer are integrated in closed form and the rest by the same rule in cos t
(Z. Drezner and G. O. Wesolowsky, J. Stat. Comput. Simul. 35 (1990); A. Genz, Stat. Comput. 14 (2004)). Both are accurate to
2e-11 or better. Every function broadcasts over arrays and imports nothing but NumPy, because the NumPy backend prints these
functions into its files. Imported by the Gaussian averages and by emission.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

#: What is left of a variance below this part of it is rounding.
TOL = 1e-12
#: Correlations this close to one are one: the arcsine would make 1e-8 of a rounding error of 1e-16.
ROUNDING = 2e-15
NODES, WEIGHTS = np.polynomial.legendre.leggauss(24)
HALF_NODES, HALF_WEIGHTS = np.polynomial.legendre.leggauss(20)
_erf = np.frompyfunc(math.erf, 1, 1)
_erfc = np.frompyfunc(math.erfc, 1, 1)


def residual(v: Any, root: Any) -> Any:
    """A residual variance, or 0 where it is rounding noise of the variance ``root``."""
    return np.where(v > ROUNDING * root, v, 0.0)


def inv0(v: Any, root: Any) -> Any:
    """1/v, or 0 where v vanishes against ``root``."""
    v, root = np.broadcast_arrays(np.asarray(v, float), np.asarray(root, float))
    keep = v > TOL * root
    return np.where(keep, 1.0 / np.where(keep, v, 1.0), 0.0)


def angle(c: Any, va: Any, vb: Any) -> Any:
    """asin of the correlation; 0 if a variance vanishes."""
    v = np.asarray(va, float) * np.asarray(vb, float)
    keep = v > 0.0
    r = np.where(keep, c / np.sqrt(np.where(keep, v, 1.0)), 0.0)
    return np.arcsin(_rounded(r))


def _correlations(C: Any, v: Any) -> Any:
    """C_ij / sqrt(v_i v_j), set back to [-1, 1]; what differs from 1 by rounding is 1."""
    s = np.sqrt(v)
    return _rounded(C / (s[..., :, None] * s[..., None, :]))


def _rounded(r: Any) -> Any:
    return np.where(r > 1.0 - ROUNDING, 1.0, np.where(r < ROUNDING - 1.0, -1.0, r))


def _sign(h: Any) -> Any:
    """Average of the sign of a field of unit variance with mean h."""
    return np.asarray(_erf(h / math.sqrt(2.0)), float)


def two_signs(h: Any, k: Any, r: Any) -> Any:
    """Average of two signs of fields with unit variances, means h and k, and correlation r."""
    h, k, r = np.broadcast_arrays(np.asarray(h, float), np.asarray(k, float), np.asarray(r, float))
    near = np.abs(r) > 0.925
    t = np.arcsin(np.where(near, 0.0, r))[..., None] * (0.5 * (HALF_NODES + 1.0))
    sine = np.sin(t)
    power = (h * h + k * k)[..., None] - 2.0 * (h * k)[..., None] * sine
    far = np.sum(HALF_WEIGHTS * np.exp(-0.5 * power / (1.0 - sine * sine)), -1) * np.arcsin(np.where(near, 0.0, r)) / np.pi
    out = _sign(h) * _sign(k) + far
    if not np.any(near):
        return out
    sign = np.where(r < 0.0, -1.0, 1.0)
    return np.where(near, sign * _close(h, sign * k, np.where(near, np.abs(r), 1.0)), out)


def _close(h: Any, k: Any, r: Any) -> Any:
    """Two signs with a correlation near one: 1 - 2 |Phi(h) - Phi(k)| less four times what is cut off by 1 - r."""
    a2 = (1.0 - r) * (1.0 + r)
    a, b = np.sqrt(a2), np.abs(h - k)
    hk = h * k
    c, d = (4.0 - hk) / 8.0, (12.0 - hk) / 80.0
    layer = 0.5 * b * b / np.where(a2 > 0.0, a2, 1.0)
    first = a * np.exp(np.minimum(-layer - 0.5 * hk, 0.0))
    first = first * (1.0 - c * (b * b - a2) * (1.0 - d * b * b) / 3.0 + c * d * a2 * a2)
    tail = np.asarray(_erfc(np.sqrt(layer)), float)
    tail = np.where(tail > 0.0, tail * np.exp(np.where(tail > 0.0, -0.5 * hk, 0.0)), 0.0)
    second = math.sqrt(0.5 * math.pi) * tail * b * (1.0 - c * b * b * (1.0 - d * b * b) / 3.0)
    x = (0.5 * a[..., None] * (HALF_NODES + 1.0)) ** 2
    root = np.sqrt(1.0 - x)
    layer = 0.5 * (b * b)[..., None] / np.where(x > 0.0, x, 1.0)
    hk = hk[..., None]
    term = np.exp(np.minimum(-layer - 0.5 * hk, 0.0)) * (1.0 + c[..., None] * x * (1.0 + 5.0 * d[..., None] * x))
    exact = np.exp(np.minimum(-layer - hk / (1.0 + root), 0.0)) / root
    third = 0.5 * a * np.sum(HALF_WEIGHTS * (term - exact), -1)
    cut = np.where(a2 > 0.0, (first - second - third) / (2.0 * math.pi), 0.0)
    return 1.0 - np.abs(_sign(h) - _sign(k)) - 4.0 * cut
