"""Built-in functions of one variable: for numbers, and elementwise for matrices.

Convention, printed everywhere: ``erf2(z) = erf(z / sqrt 2)``, the activation of the soft committee machine; ``step(z)`` is the
indicator of z > 0, ``sgn(z)`` the sign, ``sq(z) = z^2``, ``inv(z) = 1/z``, ``relu(z) = max(z, 0)``. In trees a derivative may
contain ``dirac``, the delta function, which cannot be typed. Imported by the spec language, passes and users (`derive.fn`).
"""

from __future__ import annotations

from typing import Any

import sympy as sp
from sympy.core.symbol import Str

from derive.errors import InvalidSpec, ShapeMismatch
from derive.spec.nodes import Fn, as_expression
from derive.spec.tree import Tree

_z = sp.Symbol("z", real=True)

#: Body of every built-in function, as a SymPy expression of the real symbol z.
BODIES: dict[str, sp.Expr] = {
    "erf2": sp.erf(_z / sp.sqrt(2)),
    "tanh": sp.tanh(_z),
    "relu": sp.Max(_z, 0),
    "step": sp.Heaviside(_z),
    "sgn": sp.sign(_z),
    "exp": sp.exp(_z),
    "log": sp.log(_z),
    "abs": sp.Abs(_z),
    "sq": _z**2,
    "inv": 1 / _z,
    "sqrt": sp.sqrt(_z),
    "sin": sp.sin(_z),
    "cos": sp.cos(_z),
    "asin": sp.asin(_z),
}

_half = ("frac", 1, 2)
#: Derivative of every built-in function, as a tree in the name "z".
DERIVATIVES: dict[str, Tree] = {
    "erf2": (
        "mul",
        ("pow", ("mul", 2, ("pow", ("pi",), -1)), _half),
        ("map", "exp", ("mul", ("frac", -1, 2), ("pow", "z", 2))),
    ),
    "tanh": ("add", 1, ("mul", -1, ("pow", ("map", "tanh", "z"), 2))),
    "relu": ("map", "step", "z"),
    "step": ("map", "dirac", "z"),
    "sgn": ("mul", 2, ("map", "dirac", "z")),
    "exp": ("map", "exp", "z"),
    "log": ("pow", "z", -1),
    "abs": ("map", "sgn", "z"),
    "sq": ("mul", 2, "z"),
    "inv": ("mul", -1, ("pow", "z", -2)),
    "sqrt": ("mul", _half, ("pow", "z", ("frac", -1, 2))),
    "sin": ("map", "cos", "z"),
    "cos": ("mul", -1, ("map", "sin", "z")),
    "asin": ("pow", ("add", 1, ("mul", -1, ("pow", "z", 2))), ("frac", -1, 2)),
}


def body(name: str, z: sp.Expr) -> sp.Expr:
    """Body of a built-in function at z.

    >>> body("erf2", sp.Symbol("x"))
    erf(sqrt(2)*x/2)
    """
    return BODIES[name].xreplace({_z: z})


def derivative(name: str, z: sp.Expr) -> sp.Expr:
    """Derivative of a built-in function at z, as a SymPy expression.

    >>> derivative("tanh", sp.Symbol("x"))
    1 - tanh(x)**2
    """
    return sp.diff(BODIES[name], _z).xreplace({_z: z})


erf2, tanh, relu, step, sgn, exp, log, abs, sq, inv, sqrt, sin, cos, asin = (Fn(Str(n), _z, b) for n, b in BODIES.items())


def add(*terms: Any) -> sp.Expr:
    """Sum of numbers or of matrices of one shape (`sum` needs a start value for matrices).

    Raises
    ------
    ShapeMismatch
        If numbers and matrices are mixed.

    >>> A = sp.MatrixSymbol("A", 2, 3)
    >>> add(A, 2 * A).shape
    (2, 3)
    """
    made = [as_expression(term, "fn.add") for term in terms]
    if not made:
        raise InvalidSpec("fn.add: nothing to add; give at least one term")
    matrices = [m for m in made if isinstance(m, sp.MatrixExpr)]
    if matrices and len(matrices) < len(made):
        raise ShapeMismatch(f"fn.add: {matrices[0]} is a matrix, but other terms are numbers; add equal shapes")
    return sp.MatAdd(*made).doit(deep=False) if matrices else sp.Add(*made)
