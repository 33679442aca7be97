"""Printed flow of a rectified neuron on saturated inputs x = erf(gamma z)/Z, as a function of the values.

    w' = p phi(a) / 2 - (p S1 + (1 - p) S0) w / 2,   a = S1 w / sqrt(w^T S1 w),   phi(a) = E_x[x erf(x a / sqrt(2 (1 - a^2)))],

the average over z ~ N(0, 1) by 400 Gauss-Legendre nodes on each half line, 1e-13 for any gamma up to 30. Claims only: no pass
imports this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.claims.entry import Published

NODES, WEIGHTS = np.polynomial.legendre.leggauss(400)
REACH = 10.0  # of z; beyond lies a probability of 1e-23
ERROR = 1e-4  # of the derived average, 32 nodes: reached where one entry of x decides the sign, a near 1


def pull(a: Any, gamma: float, Z: float) -> Any:
    """phi(a), entry by entry.

    >>> small = pull(np.array([1e-4]), 0.01, 0.01 * np.sqrt(4 / np.pi))  # nearly Gaussian inputs: sqrt(2/pi) a
    >>> bool(abs(small[0] / 1e-4 - np.sqrt(2 / np.pi)) < 1e-3)
    True
    """
    from scipy.special import erf

    z = REACH * (NODES + 1) / 2
    x, weight = erf(gamma * z) / Z, REACH * WEIGHTS * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)  # both halves count alike
    slope = np.asarray(a)[..., None] / np.sqrt(2 * (1 - np.asarray(a)[..., None] ** 2))
    return erf(slope * x) @ (weight * x)


def rate(values: Mapping[str, Any]) -> Any:
    """The printed w'."""
    w, S1, S0, p = (np.asarray(values[n], dtype=float) for n in ("w", "S1", "S0", "p"))
    a = S1 @ w / np.sqrt(w.T @ S1 @ w)
    return p * pull(a, float(values["gamma"]), float(values["Z"])) / 2 - (p * S1 + (1 - p) * S0) @ w / 2


def saturated(w: Any) -> Published:
    """The claim for a symbol w."""
    return Published("flow of the weights", rate={w: rate}, error=ERROR)
