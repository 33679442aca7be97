"""Raising: tree -> SymPy, so that users can print results, take them away and go on with them.

The inverse of lowering up to what SymPy rewrites by itself; built-in functions come back as applied nodes of `derive.fn`.
Imported by printers and claims.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy as sp
from sympy.core.symbol import Str

from derive import fn
from derive.errors import UnsupportedNode
from derive.spec import nodes
from derive.spec.lowered import Function
from derive.spec.tree import Tree, as_fraction


def to_sympy(tree: Tree, symbols: Mapping[str, Any], functions: Mapping[str, Function] | None = None) -> sp.Basic:
    """SymPy expression of a tree over these symbols.

    Raises
    ------
    UnsupportedNode
        If a name has no symbol or a function no body.

    >>> W, x = sp.MatrixSymbol("W", 2, 3), sp.MatrixSymbol("x", 3, 1)
    >>> to_sympy(("matmul", "W", "x"), {"W": W, "x": x})
    W*x
    """
    if isinstance(tree, str):
        if tree == "t" and "t" not in symbols:
            return sp.Symbol("t", real=True)
        if tree not in symbols:
            raise UnsupportedNode(f"to_sympy: no symbol is known for {tree}; pass it in `symbols`")
        return symbols[tree]
    q = as_fraction(tree)
    if q is not None:
        return sp.Rational(q.numerator, q.denominator)
    head = tree[0]
    if head == "map":
        return _apply(tree[1], to_sympy(tree[2], symbols, functions), symbols, functions or {})
    if head in ("pi", "oo"):
        return sp.pi if head == "pi" else sp.oo
    parts = [to_sympy(p, symbols, functions) for p in tree[1:]]
    if head in ("grad", "mean", "stop", "root"):
        return getattr(nodes, head)(*parts)
    return _BUILD[head](*parts)


def _apply(name: str, z: Any, symbols: Mapping[str, Any], functions: Mapping[str, Function]) -> sp.Basic:
    if name == "dirac":
        return sp.DiracDelta(z)
    if name in fn.BODIES:
        return getattr(fn, name)(z)
    if name not in functions:
        raise UnsupportedNode(f"to_sympy: the function {name} has no body here; pass it in `functions`")
    f = functions[name]
    variable = sp.Symbol(f.variable, real=True)
    body = to_sympy(f.body, {**symbols, f.variable: variable}, functions)
    return nodes.Fn(Str(name), variable, body)(z)


def _add(*parts: Any) -> sp.Basic:
    return sp.MatAdd(*parts) if isinstance(parts[0], sp.MatrixExpr) else sp.Add(*parts)


def _mul(*parts: Any) -> sp.Basic:
    if isinstance(parts[-1], sp.MatrixExpr):
        matrix = parts[-1].args if isinstance(parts[-1], sp.MatMul) else (parts[-1],)
        return sp.MatMul(sp.Mul(*parts[:-1]), *matrix)
    return sp.Mul(*parts)


_BUILD: dict[str, Any] = {
    "add": _add, "mul": _mul, "pow": sp.Pow, "matmul": sp.MatMul, "T": lambda a: a.T, "trace": sp.Trace, "inv": sp.Inverse,
    "det": sp.Determinant, "had": sp.HadamardProduct, "eye": sp.Identity, "ones": sp.OneMatrix, "zeros": sp.ZeroMatrix,
    "diag": sp.DiagMatrix, "stack": lambda *p: sp.BlockMatrix([[a] for a in p]), "delta": sp.KroneckerDelta,
}  # fmt: skip
