"""The absolute tolerance of an integration that starts at a saddle.

With a fixed tolerance a start at u0 = 1e-8 is below the noise that the solver permits: some methods never leave the saddle, and
report success. Here, for every component i,

    atol_i = max( min(1e-6, rtol) * m,  4 eps * M * n_i / max_j n_j ),      m = min |y0_j| > 0,   M = max |y0_j|,

so no component is lost, however small its start. The second entry is round-off: n is the change of the right-hand side f
under small relative changes of y0 (its maximum is replaced by that of |f| times the change, if that is larger). It is as small
as the component itself where growth is multiplicative (modes), and of size eps * M where f mixes components (matrix products).
Imported by `numerics.integrate` only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from numerics.trajectory import Array

SHARE = 1e-6  # of the smallest start; a relative error of this size in it shifts an escape time by as much
TINY = 1e-300
CHANGE = 1e-8


def default_atol(f: Callable[[float, Array], Array], t0: float, y0: Array, rtol: float) -> Array:
    """Absolute tolerance per component; see the equation above. An all-zero start gets ``rtol``.

    >>> grow = lambda t, u: 2 * u * (1 - u)
    >>> float(f"{default_atol(grow, 0.0, np.array([0.4, 1e-16]), 1e-8)[1]:.3g}")
    1e-24
    """
    sizes = np.abs(y0)
    if not sizes.any():
        return np.full(y0.shape, rtol)
    smallest = max(min(SHARE, rtol) * sizes[sizes > 0].min(), TINY)
    noise, peak = _round_off(f, t0, y0)
    floor = 4 * np.finfo(float).eps * sizes.max() * (noise / peak if peak > 0 else 0.0)
    return np.asarray(np.maximum(smallest, floor), dtype=np.float64)


def _round_off(f: Callable[[float, Array], Array], t0: float, y0: Array) -> tuple[Array, float]:
    """Change of f under three seeded relative changes of y0, and the scale that it is compared with."""
    rng = np.random.default_rng(0)
    with np.errstate(all="ignore"):
        base = f(t0, y0)
        changes = [np.abs(f(t0, y0 * (1 + CHANGE * rng.standard_normal(y0.shape))) - base) for _ in range(3)]
    noise = np.nan_to_num(np.max(changes, axis=0), nan=0.0, posinf=0.0)
    return noise, float(max(noise.max(), CHANGE * np.nan_to_num(np.abs(base), nan=0.0, posinf=0.0).max()))
