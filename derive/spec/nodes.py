"""The six expression nodes of our own: `grad`, `mean`, `stop`, `root`, a named function, and its elementwise application.

All are unevaluated SymPy objects, each in a scalar and a matrix version, because SymPy separates scalars from matrices by type.

* ``grad(L, w)``: gradient of the number L with respect to the state w, in the shape of w;
* ``mean(e)``: average over fresh draws;
* ``stop(e)``: e, treated as a constant by `grad`;
* ``root(r)``: the value of the symbol on the left of the definition that makes the residual r vanish;
* ``Fn``: a function of one real variable with a name and a body; ``Fn(z)`` applies it, elementwise to a matrix.

Imported by the spec language only; the passes read trees.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.errors import InvalidSpec, ShapeMismatch


def as_expression(value: Any, where: str) -> sp.Basic:
    """A SymPy expression from a SymPy expression or a plain number; text, arrays and everything else are refused.

    Raises
    ------
    InvalidSpec
        If ``value`` is text (it would be executed), an array, a truth value or no expression at all.
    """
    if isinstance(value, str):
        raise InvalidSpec(f"{where}: text {value[:40]!r} is not an expression; build it from symbols, text is never evaluated")
    if isinstance(value, bool):
        raise InvalidSpec(f"{where}: the truth value {value} is not an expression; write the number 0 or 1")
    if isinstance(value, (sp.Expr, sp.MatrixExpr)):
        return value
    if isinstance(value, sp.MatrixBase):
        raise InvalidSpec(
            f"{where}: an explicit matrix is not part of a spec; declare matrix(...) in `given`, pass its values later"
        )
    if isinstance(value, sp.Basic):
        raise InvalidSpec(f"{where}: {value} is no expression (found {type(value).__name__})")
    if hasattr(value, "ndim") and getattr(value, "ndim", 0) > 0:
        raise InvalidSpec(f"{where}: an array is not part of a spec; declare matrix(...) in `given`, pass its values later")
    try:
        made = sp.sympify(value, strict=True)
    except (sp.SympifyError, TypeError, ValueError, AttributeError):
        made = None
    if not isinstance(made, sp.Expr):
        raise InvalidSpec(f"{where}: {type(value).__name__} is not an expression; use symbols, numbers and derive.fn")
    return made


class Fn(sp.Basic):  # type: ignore[misc]
    """A named function of one real variable, ``name: variable -> body``; the body may contain parameters of the model.

    >>> from sympy.core.symbol import Str
    >>> z = sp.Symbol("z", real=True)
    >>> g = Fn(Str("g"), z, z / (1 + z**2))
    >>> g(sp.Symbol("h")), g(sp.MatrixSymbol("A", 2, 3)).shape
    (g(h), (2, 3))
    """

    @property
    def name(self) -> str:
        """Name under which the function is printed and emitted."""
        return str(self.args[0].name)

    @property
    def variable(self) -> sp.Symbol:
        """The bound variable of the body."""
        return self.args[1]

    @property
    def body(self) -> sp.Expr:
        """The value as an expression of the variable."""
        return self.args[2]

    @property
    def free_symbols(self) -> set[sp.Basic]:
        """Parameters in the body (the variable is bound)."""
        return set(self.body.free_symbols) - {self.variable}

    def _eval_subs(self, old: sp.Basic, new: sp.Basic) -> sp.Basic | None:
        return self if old == self.variable else None

    def _sympystr(self, printer: Any) -> str:
        return self.name

    def _latex(self, printer: Any) -> str:
        return rf"\operatorname{{{self.name}}}"

    def __call__(self, z: Any) -> sp.Expr:
        """Apply to a number or, elementwise, to a matrix."""
        z = as_expression(z, f"{self.name}(...)")
        return MatrixApply(self, z) if isinstance(z, sp.MatrixExpr) else Apply(self, z)


class _Node:
    """Printing shared by the own nodes: ``word(arg, ...)``."""

    __slots__ = ()
    args: Any
    word = ""

    def _sympystr(self, printer: Any) -> str:
        return f"{self.word}({', '.join(printer._print(a) for a in self.args)})"

    def _latex(self, printer: Any) -> str:
        inner = ", ".join(printer._print(a) for a in self.args)
        return rf"\operatorname{{{self.word}}}\left({inner}\right)"


class _Applied:
    __slots__ = ()
    args: Any

    def _sympystr(self, printer: Any) -> str:
        return f"{self.args[0].name}({printer._print(self.args[1])})"

    def _latex(self, printer: Any) -> str:
        return rf"{printer._print(self.args[0])}\left({printer._print(self.args[1])}\right)"


class _Scalar(sp.Expr):  # type: ignore[misc]
    is_commutative = True


class _Matrix(sp.MatrixExpr):  # type: ignore[misc]
    like = 0  # position of the argument that has the shape of the node

    def __new__(cls, *args: sp.Basic) -> Any:
        return sp.Basic.__new__(cls, *args)

    @property
    def shape(self) -> tuple[Any, Any]:
        shape: tuple[Any, Any] = self.args[self.like].shape
        return shape


class Apply(_Applied, _Scalar):
    """``f(z)`` of a number."""


class MatrixApply(_Applied, _Matrix):
    """``f(A)``, elementwise."""

    like = 1


class Grad(_Node, _Scalar):
    """``grad(L, w)`` for a scalar w."""

    word = "grad"


class MatrixGrad(_Node, _Matrix):
    """``grad(L, W)`` for a matrix W."""

    word, like = "grad", 1


class Mean(_Node, _Scalar):
    """``mean(e)`` of a number."""

    word = "mean"


class MatrixMean(_Node, _Matrix):
    """``mean(E)`` of a matrix."""

    word = "mean"


class Stop(_Node, _Scalar):
    """``stop(e)`` of a number."""

    word = "stop"


class MatrixStop(_Node, _Matrix):
    """``stop(E)`` of a matrix."""

    word = "stop"


class Root(_Node, _Scalar):
    """``root(r)`` of a number."""

    word = "root"


class MatrixRoot(_Node, _Matrix):
    """``root(R)`` of a matrix."""

    word = "root"


def grad(loss: Any, state: Any) -> sp.Expr:
    """Gradient of a number with respect to a state symbol, unevaluated, in the shape of the state.

    Raises
    ------
    InvalidSpec
        If ``state`` is not a symbol.
    ShapeMismatch
        If ``loss`` is a matrix.

    >>> W, L = sp.MatrixSymbol("W", 2, 3), sp.Symbol("L")
    >>> grad(L, W), grad(L, W).shape
    (grad(L, W), (2, 3))
    """
    loss = as_expression(loss, "grad")
    if isinstance(loss, sp.MatrixExpr):
        raise ShapeMismatch(f"grad: {loss} is a matrix; differentiate a number, for instance norm2(...) or total(...) of it")
    if isinstance(state, sp.MatrixSymbol):
        return MatrixGrad(loss, state)
    if isinstance(state, sp.Symbol):
        return Grad(loss, state)
    raise InvalidSpec(f"grad: {state} is not a symbol; differentiate with respect to a state symbol")


def mean(expression: Any) -> sp.Expr:
    """Average of an expression over fresh draws.

    >>> mean(sp.Symbol("y") ** 2)
    mean(y**2)
    """
    e = as_expression(expression, "mean")
    return MatrixMean(e) if isinstance(e, sp.MatrixExpr) else Mean(e)


def stop(expression: Any) -> sp.Expr:
    """The same value, treated as a constant by `grad`.

    >>> stop(sp.Symbol("y"))
    stop(y)
    """
    e = as_expression(expression, "stop")
    return MatrixStop(e) if isinstance(e, sp.MatrixExpr) else Stop(e)


def root(residual: Any) -> sp.Expr:
    """Definition by an equation: the value of the defined symbol at which the residual vanishes.

    >>> u = sp.Symbol("u")
    >>> {u: root(u - sp.cos(u))}
    {u: root(u - cos(u))}
    """
    e = as_expression(residual, "root")
    return MatrixRoot(e) if isinstance(e, sp.MatrixExpr) else Root(e)
