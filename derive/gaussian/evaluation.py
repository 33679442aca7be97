"""Numerical values of local averages and of averages of n signs, for `derive.indices.indexed.evaluate`.

The formula of a local average is evaluated at its arguments, through frames of vectors where a condition is exact; a quadrature
is a tensor rule of equidistant nodes on the Cholesky factor, with nodes on both sides of a kink.
Imported by `derive.gaussian.quadrature` when a name is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, lru_cache, partial
from itertools import combinations
from typing import Any

import numpy as np

from derive.gaussian.frames import frame
from derive.gaussian.kinks import kinked, nodes_at
from derive.gaussian.local import RULES, Local, hard_body, read
from derive.gaussian.orthants import nsign, signs_of
from derive.gaussian.signs import inv0
from derive.indices.indexed import Node, evaluate


def function(name: str, finer: float = 1.0) -> Callable[..., Any] | None:
    """The function of a name ``E[...]``, ``signs3``, ``limit2``; None for other names.

    >>> two = function("signs2")
    >>> round(float(two(0.0, 0.0, 1.0, 1.0, 0.5)), 12)
    0.333333333333
    """
    made = read(name)
    if made is not None:
        return lambda *args: smooth_value(made, args, finer) if made.smooth else hard_value(made, args)
    for stem, apply in (("signs", _signs), ("framed", _framed), ("frame", _frame)):
        if name.startswith(stem) and name[len(stem) :].isdigit():
            return partial(_packed, apply, int(name[len(stem) :]))
    return None


def hard_value(made: Local, args: tuple[Any, ...]) -> Any:
    """A local average with steps, at arrays of arguments."""
    if all(np.ndim(a) == 0 for a in args):
        return _hard_number(made, tuple(float(a) for a in args))
    return _hard_arrays(made, args)


@lru_cache(maxsize=20_000)
def _hard_number(made: Local, args: tuple[float, ...]) -> float:
    """Checks ask for the same numbers many times."""
    return float(_hard_arrays(made, args))


def _hard_arrays(made: Local, args: tuple[Any, ...]) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return _shared(hard_body(made), dict(zip(made.arguments, (np.asarray(a, float) for a in args), strict=True)), {})


def _shared(node: Node, values: dict[str, Any], known: dict[Node, Any]) -> Any:
    """Value of a formula without labels; equal parts are evaluated once."""
    from derive.gaussian.quadrature import NUMPY

    if node.op in ("const", "pi", "arr"):
        return evaluate(node, values, {}, NUMPY)
    if node not in known:
        parts = [_shared(a, values, known) for a in node.args if isinstance(a, Node)]
        if node.op == "fun":
            out = NUMPY[node.args[0]](*parts)
        elif node.op == "pow":
            e = node.args[1]
            out = parts[0] ** (e.numerator if e.denominator == 1 else float(e))
        else:
            out = parts[0]
            for p in parts[1:]:
                out = out + p if node.op == "add" else out * p
        known[node] = out
    return known[node]


def smooth_value(made: Local, args: tuple[Any, ...], finer: float = 1.0) -> float:
    """A local average of smooth functions at numbers, by the rule of the kernels; ``finer`` divides the distance of the
    nodes, whose range grows by 1.3 then."""
    from derive.gaussian.quadrature import NUMPY

    n = len(made.slots)
    m = [float(x) for x in args[: n * made.means]] if made.means else [0.0] * n
    L = _cholesky(_matrix(n, [float(x) for x in args[n * made.means :]]))
    hard = [kinked(names) for names in made.slots]
    count, step = RULES[max(1, n - sum(hard))]
    count = math.ceil(count * (1.3 * finer if finer > 1.0 else 1.0))
    flat = step / finer * (np.arange(count) - (count - 1) / 2)
    weights = np.exp(-(flat**2) / 2.0)
    weights /= weights.sum()
    value: Any = np.ones(())
    before: list[Any] = []
    for i, names in enumerate(made.slots):
        mean = m[i] + sum(L[i, j] * z for j, z in enumerate(before))
        z, w = nodes_at(mean, L[i, i], finer) if hard[i] else (flat, weights)
        u = np.asarray(mean)[..., None] + L[i, i] * z
        before = [*(b[..., None] for b in before), np.broadcast_to(z, u.shape)]
        value = np.asarray(value)[..., None] * w
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


def _frame(n: int, args: tuple[Any, ...]) -> Any:
    C = _matrix(n, args[n:])
    return frame(np.broadcast_to(_vector(args[:n]), C.shape[:-1]), C)


def _framed(n: int, args: tuple[Any, ...]) -> Any:
    return signs_of(args[0], args[1 : n + 1], args[n + 1 :])
