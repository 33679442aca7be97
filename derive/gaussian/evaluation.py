"""Numerical values of local averages and of averages of n signs, for `derive.indices.indexed.evaluate`.

The formula of a local average is evaluated at its arguments, with nearly coinciding fields snapped together; a quadrature is a
tensor rule of equidistant nodes on the Cholesky factor. Imported by `derive.gaussian.quadrature` when a name is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from itertools import combinations
from typing import Any

import numpy as np

from derive.gaussian.local import RULES, Local, hard_body, read
from derive.gaussian.signs import inv0, limit, nsign, snap
from derive.indices.indexed import evaluate


def function(name: str) -> Callable[..., Any] | None:
    """The function of a name ``E[...]``, ``signs3``, ``limit2``; None for other names.

    >>> two = function("signs2")
    >>> round(float(two(0.0, 0.0, 1.0, 1.0, 0.5)), 12)
    0.333333333333
    """
    made = read(name)
    if made is not None:
        return lambda *args: smooth_value(made, args) if made.smooth else hard_value(made, args)
    for stem, apply in (("signs", _signs), ("limit", _limit)):
        if name.startswith(stem) and name[len(stem) :].isdigit():
            return partial(_packed, apply, int(name[len(stem) :]))
    return None


def hard_value(made: Local, args: tuple[Any, ...]) -> Any:
    """A local average with steps, at arrays of arguments."""
    from derive.gaussian.quadrature import NUMPY

    n = len(made.slots)
    m = args[: n * made.means]
    cov = snap(_matrix(n, args[len(m) :]))
    numbers = [*m, *(cov[..., i, i] for i in range(n)), *(cov[..., i, j] for i, j in made.pairs)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return evaluate(hard_body(made), dict(zip(made.arguments, numbers, strict=True)), {}, NUMPY)


def smooth_value(made: Local, args: tuple[Any, ...], finer: float = 1.0) -> float:
    """A local average of smooth functions at numbers, by the rule of the kernels; ``finer`` divides the distance of the
    nodes, whose range grows by 1.3 then."""
    from derive.gaussian.quadrature import NUMPY

    n = len(made.slots)
    m = [float(x) for x in args[: n * made.means]] if made.means else [0.0] * n
    L = _cholesky(_matrix(n, [float(x) for x in args[n * made.means :]]))
    count, step = RULES[n]
    count = math.ceil(count * (1.3 * finer if finer > 1.0 else 1.0))
    z = step / finer * (np.arange(count) - (count - 1) / 2)
    w = np.exp(-(z**2) / 2.0)
    w /= w.sum()
    value: Any = 1.0
    for i, names in enumerate(made.slots):
        u = m[i] + sum(L[i, j] * z.reshape([-1 if k == j else 1 for k in range(n)]) for j in range(i + 1))
        value = value * w.reshape([-1 if k == i else 1 for k in range(n)])
        for f in names:
            value = value * (u if f == "x" else NUMPY[f](u))
    return float(np.sum(value))


def _cholesky(C: Any) -> Any:
    """Lower factor; columns of fields without variance of their own are zero."""
    L = np.zeros(C.shape)
    for i in range(len(C)):
        for j in range(i):
            L[i, j] = (C[i, j] - L[i, :j] @ L[j, :j]) * L[j, j] * float(inv0(L[j, j] ** 2, C[j, j]))
        L[i, i] = math.sqrt(max(C[i, i] - L[i, :i] @ L[i, :i], 0.0))
    return L


@cache
def reference_error(name: str) -> float:
    """Error of a quadrature at unit variances, correlations and means of one half: its rule against a denser and wider one.

    >>> reference_error("E[tanh|tanh]") < 1e-8
    True
    """
    made = read(name)
    assert made is not None
    n = len(made.slots)
    args = (*([0.5] * (n * made.means)), *([1.0] * n), *([0.5] * len(made.pairs)))
    return abs(smooth_value(made, args) - smooth_value(made, args, finer=1.5))


def _matrix(n: int, args: Any) -> Any:
    """Symmetric matrices (..., n, n) from variances and covariances."""
    shape = np.broadcast(*args).shape if len(args) > 1 else np.shape(args[0])
    out = np.empty((*shape, n, n))
    for i in range(n):
        out[..., i, i] = args[i]
    for (i, j), c in zip(combinations(range(n), 2), args[n:], strict=True):
        out[..., i, j] = out[..., j, i] = c
    return out


def _vector(args: Any) -> Any:
    return np.stack(np.broadcast_arrays(*(np.asarray(a, float) for a in args)), -1)


def _packed(apply: Callable[[int, tuple[Any, ...]], Any], n: int, *args: Any) -> Any:
    return apply(n, args)


def _signs(n: int, args: tuple[Any, ...]) -> Any:
    C = _matrix(n, args[n:])
    return nsign(np.broadcast_to(_vector(args[:n]), C.shape[:-1]), C)


def _limit(n: int, args: tuple[Any, ...]) -> Any:
    pairs = n * (n - 1) // 2
    cut = 2 * n + pairs
    C, N = _matrix(n, args[n:cut]), _matrix(n, args[cut + n :])
    return limit(
        np.broadcast_to(_vector(args[:n]), C.shape[:-1]), C, np.broadcast_to(_vector(args[cut : cut + n]), C.shape[:-1]), N
    )
