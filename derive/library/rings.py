"""Covariances of stationary processes on a ring, as arrays. Imported by the catalogue and by users.

K_ij = exp(-d_ij^2 / xi^2),    d_ij = min(|i - j|, n - |i - j|) / n
"""

from __future__ import annotations

from typing import Any

import numpy as np


def ring(n: int, xi: float) -> Any:
    """Covariance (n, n) of inputs on a ring of length 1 with a correlation length.

    >>> ring(4, 0.25)[0].round(3).tolist()
    [1.0, 0.368, 0.018, 0.368]
    """
    gap = np.abs(np.subtract.outer(np.arange(n), np.arange(n))) / n
    return np.exp(-(np.minimum(gap, 1 - gap) ** 2) / xi**2)


def root(K: Any) -> Any:
    """A matrix A with A A^T = K; negative eigenvalues, which are rounding, count as zero.

    >>> K = ring(4, 0.25)
    >>> bool(abs(root(K) @ root(K).T - K).max() < 1e-12)
    True
    """
    value, vectors = np.linalg.eigh(K)
    return vectors * np.sqrt(np.maximum(value, 0))
