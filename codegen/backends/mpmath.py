"""mpmath backend, the oracle: the same program on object arrays of ``mpf`` at the current precision ``mpmath.mp.dps``.

Rational numbers are quotients of integers and pi is mpmath's, so no constant is rounded to double precision.
"""

from __future__ import annotations

from fractions import Fraction

from codegen.printer import Backend
from codegen.program import Helper

SUPPORT = {
    "asin": '''def asin(x):
    """Arcsine; arguments that left [-1, 1] by rounding are set back."""
    return mp.asin(min(max(x, mpf(-1)), mpf(1)) if x == x else x)''',
    "acos": '''def acos(x):
    """Arccosine; arguments that left [-1, 1] by rounding are set back."""
    return mp.acos(min(max(x, mpf(-1)), mpf(1)) if x == x else x)''',
    "relu": '''def relu(x):
    """max(x, 0)."""
    return mpf(0) if x <= 0 else x''',
    "step": '''def step(x):
    """1 for x > 0, else 0."""
    return x if x != x else mpf(1) if x > 0 else mpf(0)''',
    "each": '''def each(f, A, *extra):
    """f of every entry of A."""
    out = np.empty(A.shape, dtype=object)
    for place in np.ndindex(A.shape):
        out[place] = f(A[place], *extra)
    return out''',
    "inverse": '''def inverse(A):
    """Inverse of a square matrix."""
    return np.array((mp.matrix(A.tolist()) ** -1).tolist(), dtype=object).reshape(A.shape)''',
    "filled": '''def filled(rows, columns, value, diagonal):
    """Matrix with one value, and another one on its diagonal."""
    out = np.empty((rows, columns), dtype=object)
    out[:] = mpf(value)
    for i in range(min(rows, columns)):
        out[i, i] = mpf(diagonal)
    return out''',
}
FUNCTIONS = {
    **{name: f"mp.{name}" for name in ("atan", "cos", "cosh", "erf", "exp", "log", "sin", "sinh", "sqrt", "tan", "tanh")},
    "asin": "asin",
    "acos": "acos",
    "relu": "relu",
    "step": "step",
    "abs": "abs",
    "sgn": "mp.sign",
}


def _number(q: Fraction) -> str:
    return f"mpf({q.numerator})" if q.denominator == 1 else f"(mpf({q.numerator}) / {q.denominator})"


def _each(helper: str, array: str, extra: tuple[str, ...]) -> str:
    return f"each({', '.join((helper, array, *extra))})"


def _loops(helper: Helper) -> str:
    return ""


BACKEND = Backend(
    name="mpmath",
    imports=("import numpy as np", "from mpmath import mp, mpf"),
    pi="mp.pi",
    number=_number,
    size="mpf({})",
    functions=FUNCTIONS,
    support=SUPPORT,
    each=_each,
    loops=_loops,
    empty="np.empty({}, dtype=object)",
    methods={
        "total": "np.sum({})",
        "diagonal": "np.diagonal({})",
        "trace": "np.trace({})",
        "inverse": "inverse({})",
        "eye": "filled({0}, {0}, 0, 1)",
        "ones": "filled({0}, {1}, 1, 1)",
        "zeros": "filled({0}, {1}, 0, 0)",
    },
    run="needs Python, NumPy and mpmath; set mpmath.mp.dps, pass object arrays of mpf",
)
