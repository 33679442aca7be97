r"""Numerical averages of smooth functions of Gaussian fields: Gauss-Hermite rules, and how Nodes are evaluated on them.

    E[f(m + B z)] = sum over nodes of w_1 ... w_r f(m + B z),   B B^T = C, r = rank of C,

as a tensor rule over the rank of the covariance (coinciding fields cost nothing and need no care). The stated error is the
difference to the rule with fewer nodes, so it is honest for analytic functions and large, as it should be, for steps.
Imported by `gaussian.average` and by the checks of `online_limit`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from derive.errors import BudgetExceeded, UnsupportedNode
from derive.fields.binomial import binomial, binomial_tail, power
from derive.gaussian.frames import frame_angle, frame_cov, frame_given, frame_mean, normal_weight, rsqrt
from derive.gaussian.opaque import VARIABLE
from derive.gaussian.orthants import sign4
from derive.gaussian.signs import angle, inv0, residual
from derive.indices.indexed import evaluate

Array = NDArray[np.float64]
POINTS = 1_500_000


def factorise(cov: Array) -> Array:
    """B with ``B B^T = cov`` and as many columns as the rank.

    Raises
    ------
    UnsupportedNode
        If ``cov`` is not positive semidefinite.
    """
    values, vectors = np.linalg.eigh(cov)
    top = max(float(values[-1]), 0.0)
    if values[0] < -1e-9 * max(top, 1e-300):
        raise UnsupportedNode(f"the covariance has the eigenvalue {values[0]:.3g} < 0; a covariance is positive semidefinite")
    keep = values > 1e-14 * top if top else np.zeros(len(values), bool)
    return np.asarray(vectors[:, keep] * np.sqrt(values[keep]))


def gauss_hermite(cov: Array, mean: Array, nodes: int) -> tuple[Array, Array]:
    """Points (fields, n) and weights (n,) of the tensor rule for N(mean, cov).

    Raises
    ------
    BudgetExceeded
        If the rule has more than 1.5 million points.

    >>> points, weights = gauss_hermite(np.array([[2.0]]), np.zeros(1), 5)
    >>> float(np.round(weights @ points[0] ** 4, 12))
    12.0
    """
    factor = factorise(np.asarray(cov, float))
    rank = factor.shape[1]
    if nodes**rank > POINTS:
        raise BudgetExceeded(f"a Gauss-Hermite rule of {nodes}^{rank} points is too large; use fewer fields or fewer nodes")
    z, w = np.polynomial.hermite_e.hermegauss(nodes)
    w = w / w.sum()
    weights, grid = np.ones(1), np.zeros((0, 1))
    for _ in range(rank):
        grid = np.vstack([np.repeat(grid, nodes, axis=1), np.tile(z, grid.shape[1])[None]])
        weights = np.repeat(weights, nodes) * np.tile(w, len(weights))
    return factor @ grid + np.asarray(mean, float)[:, None], weights


def quadrature(f: Callable[[Array], Any], cov: Array, mean: Array, *, nodes: int | None = None) -> tuple[float, float]:
    """Average of ``f(fields)`` and the size of its error; ``f`` takes an array of shape (fields, n)."""
    rank = factorise(np.asarray(cov, float)).shape[1]
    n = nodes or {0: 1, 1: 200, 2: 120, 3: 60}.get(rank, max(2, int(POINTS ** (1 / max(rank, 1)))))
    values = []
    for m in (n, max(1, n - max(2, n // 5))):
        points, weights = gauss_hermite(cov, mean, m)
        values.append(float(weights @ np.broadcast_to(f(points), weights.shape)))
    return values[0], abs(values[0] - values[1]) + 1e-14 * abs(values[0])


_erf = np.frompyfunc(math.erf, 1, 1)


def _erf2(z: Any) -> Any:
    """erf(z / sqrt 2); NumPy has none, and 50 ns a value are no burden here."""
    values = np.asarray(z, float) / math.sqrt(2.0)
    return math.erf(float(values)) if values.ndim == 0 else np.asarray(_erf(values), float)


def _sech2(z: Any) -> Any:
    return 1.0 - np.tanh(z) ** 2


def _bump(z: Any) -> Any:
    return np.sqrt(2 / np.pi) * np.exp(-np.square(z) / 2)


class _Named(dict[str, Any]):
    """Functions by name; local averages and signs of any number of fields are made when they are asked for, quadratures with
    nodes ``finer`` times as dense as in a kernel."""

    finer = 1.0

    def __missing__(self, name: str) -> Any:
        from derive.gaussian.derivatives import derivative_value
        from derive.gaussian.evaluation import function
        from derive.gaussian.factors import wave
        from derive.gaussian.opaque import body, is_opaque

        if is_opaque(name):
            made = body(name)
            return lambda z: evaluate(made, {VARIABLE: np.asarray(z, float)}, {}, self)
        sign, other = wave(name)
        if other != name:
            return lambda z: sign.args[0].numerator * self[other](z)
        found = function(name, self.finer) or derivative_value(name)
        if found is None:
            raise KeyError(name)
        return found


#: NumPy versions of the named functions and of their derivatives, for `derive.indices.indexed.evaluate`.
NUMPY: Mapping[str, Any] = _Named({
    "pi": np.pi, "asin": lambda z: np.arcsin(np.clip(z, -1.0, 1.0)), "exp": np.exp, "log": np.log, "tanh": np.tanh,
    "sin": np.sin, "cos": np.cos, "sqrt": np.sqrt, "abs": np.abs, "sgn": np.sign, "step": lambda z: np.heaviside(z, 0.0),
    "relu": lambda z: np.maximum(z, 0.0), "sq": np.square, "inv": lambda z: 1.0 / z, "erf2": _erf2, "erf2'": _bump,
    "erf2''": lambda z: -z * _bump(z), "tanh'": _sech2, "tanh''": lambda z: -2 * np.tanh(z) * _sech2(z),
    "relu'": lambda z: np.heaviside(z, 0.0), "abs'": np.sign, "sq'": lambda z: 2.0 * z, "sq''": lambda z: 2.0 + 0.0 * z,
    "sin'": np.cos, "cos'": lambda z: -np.sin(z), "exp'": np.exp, "log'": lambda z: 1.0 / z,
    "inv0": inv0, "residual": residual, "angle": angle, "sign4": sign4, "frame_given": frame_given,
    "frame_cov": frame_cov, "frame_mean": frame_mean,
    "rsqrt": rsqrt, "normal_weight": normal_weight, "frame_angle": frame_angle,
    "is_zero": lambda z: 1.0 * np.equal(z, 0.0), "power": power, "binomial": binomial, "binomial_tail": binomial_tail,
})  # fmt: skip


class _Finer(_Named):
    finer = 1.2


#: The same with denser quadratures: what the difference to `NUMPY` says is the error of a kernel.
FINER: Mapping[str, Any] = _Finer(NUMPY)
