r"""Averages of smooth functions times functions with a jump or a kink: nodes on both sides of it.

    E[h(u_1) f(u_2)] = int dz phi(z) h(m_1 + L_11 z) E[f | z],      the kink of h at  k = -m_1 / L_11,

is analytic on each side of k. So the fields with a kink come first in the Cholesky factor of their covariance, and each has
Gauss-Legendre nodes on (-R, k) and on (k, R); the smooth fields follow with nodes at equal distances (`derive.gaussian.local`).
The error does not grow as the correlation of the two fields tends to 1: a student with a smooth loss that has found the rule of
a teacher with hard labels. The nodes and weights are linear in k,

    z = A + B k,      w = (C + D k) phi(z),

so a kernel holds four arrays of numbers. Imported by the Gaussian averages and by emission.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from derive.gaussian.factors import pattern_of

#: Nodes on each side of a kink, and the half width of the range in standard deviations: the rest has weight 3e-12.
SIDE, RANGE = 24, 7.0
#: Fields of one average: with a kink, and in all; three fields are 48 * 40 * 40 points or 48 * 48 * 80.
MOST, FIELDS = 2, 3


def kinked(functions: Sequence[str]) -> bool:
    """Whether a product of functions of one field jumps or has a kink.

    >>> kinked(("tanh", "x")), kinked(("relu",)), kinked(("erf2'",))
    (False, True, False)
    """
    for name in functions:
        pattern = None if name == "x" else pattern_of(name)
        if pattern and any(kind == "sgn" and not s for _, primitives in pattern for kind, s in primitives):
            return True
    return False


@cache
def half_rule(side: int = SIDE, reach: float = RANGE) -> tuple[Any, Any, Any, Any]:
    """Arrays A, B, C, D of 2 * side numbers.

    >>> A, B, C, D = half_rule()
    >>> z = A + 0.5 * B
    >>> w = (C + 0.5 * D) * np.exp(-z**2 / 2)
    >>> float(np.round(w @ (z > 0.5), 10)), float(np.round(w @ np.abs(z - 0.5), 10))
    (0.3085375387, 0.8955931148)
    """
    p, w = np.polynomial.legendre.leggauss(side)
    p, w = (p + 1) / 2, w / 2 / math.sqrt(2 * math.pi)
    return (
        np.concatenate([reach * (p - 1), reach * p]),
        np.concatenate([p, 1 - p]),
        np.concatenate([reach * w, reach * w]),
        np.concatenate([w, -w]),
    )


def nodes_at(mean: Any, root: Any, finer: float = 1.0) -> tuple[Any, Any]:
    """Nodes and weights (..., 2 * side) for a kink where ``mean + root * z`` vanishes."""
    A, B, C, D = half_rule(math.ceil(SIDE * finer), RANGE + 1.5 * (finer > 1.0))
    reach = -A[0] / (1 - B[0])
    k = np.clip(-np.asarray(mean) / root if root > 0 else np.zeros(np.shape(mean)), -reach, reach)[..., None]
    z = A + B * k
    return z, (C + D * k) * np.exp(-(z**2) / 2)


__all__ = ["FIELDS", "MOST", "RANGE", "SIDE", "half_rule", "kinked", "nodes_at"]
