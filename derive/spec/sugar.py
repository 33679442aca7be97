"""Words that make no nodes of their own: `dot`, `norm2`, `had`, `total`, `stack`, `case`.

``dot(a, b) = tr(a' b)``, ``norm2(a) = dot(a, a)``, ``had`` the elementwise product, ``total`` the sum of all entries. Shapes
are checked strictly at the call, so the traceback ends on the line that is wrong. Imported by the spec language and by users.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy as sp

from derive.errors import InvalidSpec, ShapeMismatch
from derive.spec.lower import Collector
from derive.spec.nodes import as_expression
from derive.spec.shapes import Shape, shape_of, show_shape


def _matrix(value: Any, word: str) -> tuple[sp.MatrixExpr, Shape]:
    """A matrix expression and its strict shape."""
    e = as_expression(value, word)
    collector = Collector()
    try:
        shape = shape_of(collector.raw(e), collector.shapes)
    except InvalidSpec as error:
        raise type(error)(f"{word}: {error}") from None
    if not shape:
        remedy = "for numbers write a*b or a**2" if word in ("dot", "norm2", "had", "total") else "give matrices"
        raise ShapeMismatch(f"{word}: {e} is a number; {remedy}")
    return e, shape


def _equal(word: str, first: tuple[Any, Shape], second: tuple[Any, Shape]) -> None:
    if first[1] != second[1]:
        raise ShapeMismatch(
            f"{word}: {first[0]} is {show_shape(first[1])}, {second[0]} is {show_shape(second[1])}; the shapes must be equal, "
            "mend a transpose or a declared dimension"
        )


def dot(a: Any, b: Any) -> sp.Expr:
    """Inner product of two columns, or of two matrices of one shape: the sum of products of entries, ``tr(a' b)``.

    Raises
    ------
    ShapeMismatch
        If the shapes differ.

    >>> v, w = (sp.MatrixSymbol(n, sp.Symbol("K", integer=True, positive=True), 1) for n in "vw")
    >>> dot(v, w)
    Trace(v.T*w)
    """
    first, second = _matrix(a, "dot"), _matrix(b, "dot")
    _equal("dot", first, second)
    return sp.Trace(first[0].T * second[0])


def norm2(a: Any) -> sp.Expr:
    """Sum of the squares of all entries, ``dot(a, a)``.

    >>> norm2(sp.MatrixSymbol("v", 3, 1))
    Trace(v.T*v)
    """
    e, _ = _matrix(a, "norm2")
    return sp.Trace(e.T * e)


def had(*factors: Any) -> sp.MatrixExpr:
    """Elementwise product of matrices of one shape.

    Raises
    ------
    ShapeMismatch
        If the shapes differ.

    >>> A, B = sp.MatrixSymbol("A", 2, 3), sp.MatrixSymbol("B", 2, 3)
    >>> had(A, B).shape
    (2, 3)
    """
    made = [_matrix(f, "had") for f in factors]
    if not made:
        raise InvalidSpec("had: nothing to multiply; give at least one matrix")
    for other in made[1:]:
        _equal("had", made[0], other)
    return made[0][0] if len(made) == 1 else sp.HadamardProduct(*(e for e, _ in made))


def total(a: Any) -> sp.Expr:
    """Sum of all entries of a matrix, ``tr(1' A 1)``.

    >>> total(sp.MatrixSymbol("v", 3, 1))
    Trace(1*v)
    """
    e, _ = _matrix(a, "total")
    rows, columns = e.shape
    product = sp.OneMatrix(1, rows) * e
    return sp.Trace(product if columns == 1 else product * sp.OneMatrix(columns, 1))


def stack(*blocks: Any) -> sp.MatrixExpr:
    """Rows on top of each other; the blocks need equal numbers of columns.

    Raises
    ------
    ShapeMismatch
        If the numbers of columns differ.

    >>> stack(sp.MatrixSymbol("a", 2, 1), sp.MatrixSymbol("b", 3, 1)).shape
    (5, 1)
    """
    made = [_matrix(b, "stack") for b in blocks]
    if not made:
        raise InvalidSpec("stack: nothing to stack; give at least one matrix")
    for e, shape in made[1:]:
        if shape[1] != made[0][1][1]:
            first, known = made[0]
            raise ShapeMismatch(
                f"stack: {first} is {show_shape(known)}, {e} is {show_shape(shape)}; the numbers of columns must be equal"
            )
    return made[0][0] if len(made) == 1 else sp.BlockMatrix([[e] for e, _ in made])


def case(switch: Any, branches: Mapping[Any, Any]) -> sp.Expr:
    """The branch whose number equals the switch: ``sum over k of delta(switch, k) * branch_k``; works for matrices.

    Raises
    ------
    ShapeMismatch
        If the branches mix numbers and matrices.

    >>> task, L1, L2 = sp.symbols("task L1 L2", real=True)
    >>> case(task, {1: L1, 2: L2})
    L1*KroneckerDelta(1, task) + L2*KroneckerDelta(2, task)
    """
    if not isinstance(branches, Mapping) or not branches:
        raise InvalidSpec("case: write case(task, {1: first, 2: second})")
    key = as_expression(switch, "case")
    terms = [(as_expression(k, "case"), as_expression(e, "case")) for k, e in branches.items()]
    matrices = [e for _, e in terms if isinstance(e, sp.MatrixExpr)]
    if matrices and len(matrices) < len(terms):
        raise ShapeMismatch(f"case: {matrices[0]} is a matrix, another branch is a number; the branches need one shape")
    made = [sp.KroneckerDelta(key, k) * e for k, e in terms]
    return sp.MatAdd(*made) if matrices else sp.Add(*made)
