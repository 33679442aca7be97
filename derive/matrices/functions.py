"""Unevaluated functions of matrices in printed solutions: exponentials of matrices and of linear actions on matrices.

    MatrixExp(A)             e^A
    Evolved(t, L, X, X0)     e^{tL}[X0]                    L a linear action on matrices, given as an expression in X
    Source(t, L, X, B)       int_0^t e^{rL}[B] dr

They are printed, never computed. Imported by the closed forms of matrices.
"""

from __future__ import annotations

from typing import Any

import sympy as sp


class MatrixExp(sp.MatrixExpr):  # type: ignore[misc]
    """exp of a square matrix expression, unevaluated.

    >>> MatrixExp(sp.MatrixSymbol("F", 2, 2)).shape
    (2, 2)
    """

    def __new__(cls, exponent: sp.MatrixExpr) -> MatrixExp:
        return super().__new__(cls, exponent)  # type: ignore[no-any-return]

    @property
    def shape(self) -> tuple[Any, Any]:
        """Shape of the exponent."""
        return self.args[0].shape  # type: ignore[no-any-return]

    def _sympystr(self, printer: Any) -> str:
        return f"exp({printer._print(self.args[0])})"

    def _latex(self, printer: Any) -> str:
        return f"e^{{{printer._print(self.args[0])}}}"


class _Action(sp.MatrixExpr):  # type: ignore[misc]
    """A linear action applied to a matrix: arguments t, the action, the symbol it acts on, the matrix."""

    def __new__(cls, t: sp.Symbol, action: sp.MatrixExpr, unknown: sp.MatrixSymbol, matrix: sp.MatrixExpr) -> Any:
        return super().__new__(cls, t, action, unknown, matrix)

    @property
    def shape(self) -> tuple[Any, Any]:
        """Shape of the matrix."""
        return self.args[3].shape  # type: ignore[no-any-return]


class Evolved(_Action):
    """e^{tL}[X0].

    >>> t, X, D = sp.Symbol("t"), sp.MatrixSymbol("X", 2, 1), sp.MatrixSymbol("D", 2, 1)
    >>> Evolved(t, sp.HadamardProduct(D, X), X, sp.MatrixSymbol("X0", 2, 1))
    exp(t*(X -> HadamardProduct(D, X)))[X0]
    """

    def _sympystr(self, printer: Any) -> str:
        t, action, unknown, matrix = (printer._print(a) for a in self.args)
        return f"exp({t}*({unknown} -> {action}))[{matrix}]"

    def _latex(self, printer: Any) -> str:
        t, action, unknown, matrix = (printer._print(a) for a in self.args)
        return rf"e^{{{t}\,({unknown}\mapsto {action})}}\left[{matrix}\right]"


class Source(_Action):
    """int_0^t e^{rL}[B] dr."""

    def _sympystr(self, printer: Any) -> str:
        t, action, unknown, matrix = (printer._print(a) for a in self.args)
        return f"int_0^{t} exp(r*({unknown} -> {action}))[{matrix}] dr"

    def _latex(self, printer: Any) -> str:
        t, action, unknown, matrix = (printer._print(a) for a in self.args)
        return rf"\int_0^{{{t}}} e^{{r\,({unknown}\mapsto {action})}}\left[{matrix}\right] dr"
