r"""Averages over jointly Gaussian fields: exact by rewriting where possible, by quadrature otherwise.

    average(expression, fields, cov, mean) = E[expression],   fields ~ N(mean, cov).

The result says which rung of the ladder was used and how large its error is. Imported by `online_limit` and by users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from derive.errors import ShapeMismatch, UnsupportedNode
from derive.gaussian.local import ERRORS, RUNGS, rung, rung_text
from derive.gaussian.measure import Measure, linear_measure
from derive.gaussian.product import product_average
from derive.gaussian.terms import Fields, close, expand
from derive.indices.indexed import Node, add, arr, const, evaluate, mul


@dataclass(frozen=True, slots=True, kw_only=True)
class Average:
    """Result of `average`.

    Attributes
    ----------
    value : SymPy expression or float
        Exact and symbolic for a symbolic covariance; a number for a numerical one.
    rung : str
        ``"exact"``, ``"1-D integral"``, ``"2-D integral"`` or ``"quadrature"``.
    error : float
        Stated absolute error; 0 for the exact rung (rounding excepted).
    domain : str
        Where the value holds, in words.
    """

    value: Any
    rung: str
    error: float
    domain: str


def expectation_of(node: Node, fields: Fields, law: Measure, *, numbers: bool = True) -> Node:
    """Average of a node over its Gaussian fields: expanded, averaged term by term, summed up again.

    With ``numbers`` false the result is a formula; otherwise it may hold local averages (`derive.gaussian.local`), which are
    functions of numbers.

    Raises
    ------
    UnsupportedNode
        If a term has no closed average.
    """
    groups: dict[Any, Node] = {}
    for term in expand(node, fields):
        value = product_average(law, term.factors, numbers=numbers)
        whole = close(term.bound, mul(term.coefficient, value))
        groups[len(groups)] = whole
    return add(*groups.values())


def average(expression: Any, fields: Sequence[sp.Symbol], cov: Any, mean: Any = None) -> Average:
    r"""Average of an expression over jointly Gaussian fields.

        E[expression],   (fields_1, ..., fields_n) ~ N(mean, cov)

    Parameters
    ----------
    expression : SymPy expression
        Of the fields and other symbols; functions as in `derive.fn` (``erf2(z) = erf(z / sqrt 2)``).
    fields : sequence of SymPy symbols
        n of them.
    cov : SymPy matrix or array (n, n)
        Symbolic: the value is a SymPy expression. Numerical: the value is a number.
    mean : sequence of n expressions or numbers, optional
        Zero if left out.

    Returns
    -------
    Average

    Raises
    ------
    UnsupportedNode
        If there is no closed form and the covariance is symbolic, or the expression is not one of the functions covered.
    ShapeMismatch
        If sizes do not fit.

    Examples
    --------
    >>> from derive import fn
    >>> a, b, q, r = sp.symbols("a b q r", real=True)
    >>> average(fn.erf2(a) * fn.erf2(b), (a, b), sp.Matrix([[q, r], [r, q]])).value
    2*asin(r/(q + 1))/pi
    >>> tanh = average(fn.tanh(a) ** 2, (a,), [[1.0]])
    >>> tanh.rung, round(tanh.value, 9)
    ('quadrature', 0.39429449)
    """
    from derive.indices.text import from_sympy, to_sympy

    names = [s.name for s in fields]
    n = len(names)
    symbolic = isinstance(cov, sp.MatrixBase)
    shape = cov.shape if symbolic else np.shape(cov)
    means = [0] * n if mean is None else list(mean)
    if shape != (n, n) or len(means) != n:
        raise ShapeMismatch(
            f"average: {n} fields need a covariance of shape ({n}, {n}) and {n} means; found {shape} and {len(means)}"
        )
    node = from_sympy(expression)
    is_field: Fields = lambda a: not a.args[1] and a.args[0] in names  # noqa: E731
    place = {name: i for i, name in enumerate(names)}
    if symbolic:
        c = [[from_sympy(cov[i, j]) for j in range(n)] for i in range(n)]
        m = [from_sympy(x) for x in means]
    else:
        c = [[arr(f"#C{min(i, j)}_{max(i, j)}") for j in range(n)] for i in range(n)]
        m = [arr(f"#m{i}") if means[i] else const(0) for i in range(n)]
    law = linear_measure(is_field, lambda a, b: c[place[a.args[0]]][place[b.args[0]]], lambda a: m[place[a.args[0]]])
    if symbolic:
        value = to_sympy(expectation_of(node, is_field, law, numbers=False))
        return Average(value=value, rung="exact", error=0.0, domain="every positive semidefinite covariance")
    return _numerical(node, names, is_field, law, np.asarray(cov, float), np.asarray(means, float))


def _numerical(node: Node, names: Sequence[str], is_field: Fields, law: Measure, cov: Any, mean: Any) -> Average:
    from derive.gaussian.quadrature import NUMPY, quadrature

    n = len(names)
    values = {f"#C{i}_{j}": cov[i, j] for i in range(n) for j in range(i, n)} | {f"#m{i}": mean[i] for i in range(n)}
    exact: Node | None
    try:
        exact = expectation_of(node, is_field, law)
    except UnsupportedNode:
        exact = None  # the last rung of the ladder, with its stated error
    if exact is None or rung(exact) == 3:
        try:
            value, error = quadrature(lambda f: evaluate(node, dict(zip(names, f, strict=True)), {}, NUMPY), cov, mean)
        except KeyError as missing:
            raise UnsupportedNode(
                f"average: {missing.args[0]!r} has no value and is not a function of derive.fn; substitute numbers for "
                "all symbols except the fields"
            ) from None
        return Average(value=value, rung="quadrature", error=error, domain="smooth functions of the fields")
    with np.errstate(all="ignore"):
        try:
            value = float(evaluate(exact, values, {}, NUMPY))
        except KeyError as missing:
            raise UnsupportedNode(f"average: the symbol {missing.args[0]!r} has no value; substitute a number") from None
    return Average(value=value, rung=RUNGS[rung(exact)], error=ERRORS[rung(exact)], domain="this covariance")


__all__ = ["Average", "average", "expectation_of", "rung_text"]
