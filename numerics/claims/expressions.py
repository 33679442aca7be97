"""Numerical value of an expression that a claim holds: SymPy in, NumPy out, by a walk over the tree.

This is the reader of *claims* and shares nothing with the emission of derived systems. Symbols are looked up by name; arrays of
modes broadcast, so ``2*u*(s - u)/tau`` serves all modes at once. Indices of `Indexed` entries count from 1, like printed sums.
Complex arrays pass through (no conjugation anywhere), which gives exact derivatives by a complex step. States side by side are
evaluated at once: every array then has one more axis, the last, along which nothing but numbers is computed.
Imported by the claim checkers only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import sympy as sp

from derive.errors import InvalidSpec, UnsupportedNode

Values = Mapping[str, Any]
QUADRATURE = 1e-11  # relative error of integrals


@dataclass(frozen=True, slots=True, kw_only=True)
class _At:
    """What names mean: arrays, free indices; and whether arrays hold states side by side, along their last axis."""

    values: Values
    labels: Mapping[str, int] = field(default_factory=dict)
    side_by_side: bool = False


def value(expression: Any, values: Values, labels: Mapping[str, int] | None = None, *, side_by_side: bool = False) -> Any:
    """Value of an expression at given arrays.

    Parameters
    ----------
    expression : SymPy expression, number, or callable(values) -> array
    values : mapping name -> array or number
        Symbols, and sizes of index sets and dimensions.
    labels : mapping name -> int
        Values of free indices, counted from 1.
    side_by_side : bool
        Numbers are arrays (S,) and an array of K by M numbers is (K, M, S), for S states; sizes stay numbers. The expression
        may hold symbols, entries and sums, and no matrices.

    Raises
    ------
    InvalidSpec
        If a symbol has no value.
    UnsupportedNode
        If an operation is not known.

    Examples
    --------
    >>> u, s, tau = sp.symbols("u s tau")
    >>> value(2 * u * (s - u) / tau, {"u": np.array([1.0, 2.0]), "s": 3.0, "tau": 2.0}).tolist()
    [2.0, 2.0]
    >>> Q, i, K = sp.IndexedBase("Q"), sp.Symbol("i"), sp.Symbol("K")
    >>> float(value(sp.Sum(Q[i, i], (i, 1, K)), {"Q": np.diag([1.0, 4.0]), "K": 2}))
    5.0
    >>> both = {"Q": np.stack([np.eye(2), np.diag([1.0, 4.0])], axis=-1), "K": 2}
    >>> value(sp.Sum(Q[i, i], (i, 1, K)), both, side_by_side=True).tolist()
    [2.0, 5.0]
    """
    if callable(expression) and not isinstance(expression, sp.Basic):
        return expression(values)
    with np.errstate(over="ignore", invalid="ignore"):  # a form that overflows gives NaN, which no comparison accepts
        return _value(sp.sympify(expression, strict=True), _At(values=values, labels=labels or {}, side_by_side=side_by_side))


def _value(e: Any, at: _At) -> Any:
    def go(x: Any) -> Any:
        return _value(x, at)

    kind = type(e).__name__
    if isinstance(e, sp.Number | sp.NumberSymbol):
        return float(e)
    if isinstance(e, sp.Symbol | sp.MatrixSymbol):
        name = str(e.name)
        return at.labels[name] if name in at.labels else _look(name, at.values)
    if isinstance(e, sp.Indexed):
        return _entry(e, np.asarray(_look(str(e.base.label), at.values)), tuple(int(go(i)) - 1 for i in e.indices), at)
    if isinstance(e, sp.Sum):
        return _sum(e.function, list(e.limits), at)
    if isinstance(e, sp.Integral):
        return _integral(e, at)
    if kind in _RULES:
        return _RULES[kind]([go(a) for a in e.args])
    if kind in ("Apply", "MatrixApply"):
        function, argument = e.args
        inner = {**at.values, str(function.variable.name): go(argument)}
        return _value(function.body, replace(at, values=inner))
    if kind in ("Identity", "ZeroMatrix", "OneMatrix"):
        shape = [int(go(n)) for n in e.shape]
        return np.eye(shape[0]) if kind == "Identity" else np.full(shape, float(kind == "OneMatrix"))
    raise UnsupportedNode(
        f"a claim holds {kind} ({str(e)[:60]}), which the checker cannot evaluate; write it with known functions"
    )


def _look(name: str, values: Values) -> Any:
    if name not in values:
        raise InvalidSpec(f"a claim uses {name}, which has no value here; known are {', '.join(sorted(values))}")
    found = values[name]
    return found if np.iscomplexobj(found) else np.asarray(found, dtype=float)


def _entry(e: Any, array: Any, index: tuple[int, ...], at: _At) -> Any:
    shape = array.shape[:-1] if at.side_by_side else array.shape
    if len(index) != len(shape) or any(not 0 <= i < n for i, n in zip(index, shape, strict=True)):
        shown = ", ".join(str(i + 1) for i in index)
        raise InvalidSpec(f"a claim uses {e} at {shown}, but {e.base.label} has shape {shape}; mend its labels")
    return array[index]


def _sum(body: sp.Expr, limits: list[Any], at: _At) -> Any:
    if not limits:
        return _value(body, at)
    *rest, (label, low, high) = limits
    first, last = (int(_value(x, at)) for x in (low, high))
    return sum(_sum(body, rest, replace(at, labels={**at.labels, str(label.name): n})) for n in range(first, last + 1))


def _integral(e: sp.Integral, at: _At) -> Any:
    """A single definite integral of a real function, by adaptive quadrature, as fine as the worst state needs."""
    from scipy.integrate import quad, quad_vec

    if len(e.limits) != 1 or len(e.limits[0]) != 3:
        raise UnsupportedNode(f"a claim holds {str(e)[:60]}; write one integral with both limits")
    (variable, *ends) = e.limits[0]
    low, high = (float(x) if x.is_infinite else float(_value(x, at)) for x in ends)

    def inside(x: float) -> Any:
        return _value(e.function, replace(at, values={**at.values, str(variable.name): x}))

    if at.side_by_side:
        got, _ = quad_vec(inside, low, high, epsabs=0, epsrel=QUADRATURE, norm="max", limit=400)
    else:
        got, _ = quad(lambda x: float(inside(x)), low, high, epsabs=0, epsrel=QUADRATURE, limit=400)
    return got


def _product(parts: list[Any]) -> Any:
    out = parts[0]
    for p in parts[1:]:
        out = out * p
    return out


def _matmul(parts: list[Any]) -> Any:
    scalars = [p for p in parts if np.ndim(p) == 0]
    matrices = [p for p in parts if np.ndim(p) != 0]
    out = matrices[0]
    for p in matrices[1:]:
        out = out @ p
    return _product([*scalars, out])


def _erf(z: Any) -> Any:
    from scipy.special import erf

    return erf(z)


def _binomial(n: Any, k: Any) -> Any:
    from scipy.special import binom

    return binom(n, k)


def _abs(z: Any) -> Any:
    return np.where(np.real(z) < 0, -z, z)


_RULES: Mapping[str, Callable[[list[Any]], Any]] = {
    "Add": sum, "MatAdd": sum, "Mul": _product, "HadamardProduct": _product, "MatMul": _matmul,
    "Pow": lambda p: p[0] ** p[1], "HadamardPower": lambda p: p[0] ** p[1],
    "MatPow": lambda p: np.linalg.matrix_power(p[0], int(p[1])), "Transpose": lambda p: p[0].T,
    "Trace": lambda p: np.trace(p[0]), "Inverse": lambda p: np.linalg.inv(p[0]),
    "Determinant": lambda p: np.linalg.det(p[0]), "DiagMatrix": lambda p: np.diag(p[0][:, 0]),
    "MatrixElement": lambda p: p[0][int(p[1]), int(p[2])], "KroneckerDelta": lambda p: float(p[0] == p[1]),
    "exp": lambda p: np.exp(p[0]), "log": lambda p: np.log(p[0]), "sin": lambda p: np.sin(p[0]), "cos": lambda p: np.cos(p[0]),
    "tanh": lambda p: np.tanh(p[0]), "sinh": lambda p: np.sinh(p[0]), "cosh": lambda p: np.cosh(p[0]),
    "asin": lambda p: np.arcsin(p[0]), "acos": lambda p: np.arccos(p[0]), "atan": lambda p: np.arctan(p[0]),
    "atanh": lambda p: np.arctanh(p[0]), "erf": lambda p: _erf(p[0]), "Abs": lambda p: _abs(p[0]),
    "sign": lambda p: np.sign(np.real(p[0])), "Heaviside": lambda p: np.heaviside(np.real(p[0]), 0.5),
    "binomial": lambda p: _binomial(*p),
    "Max": lambda p: np.maximum.reduce(np.broadcast_arrays(*p)),
    "Min": lambda p: np.minimum.reduce(np.broadcast_arrays(*p)),
}  # fmt: skip
