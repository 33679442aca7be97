"""NumPy backend: readable array code, interpreted loops at index level. NaN and infinities keep their meaning."""

from __future__ import annotations

from codegen.printer import Backend, decimal
from codegen.program import Helper

SUPPORT = {
    "erf": "erf = np.vectorize(math.erf, otypes=[float])",
    "asin": '''def asin(x):
    """Arcsine; arguments that left [-1, 1] by rounding are set back."""
    return np.arcsin(np.minimum(np.maximum(x, -1.0), 1.0))''',
    "acos": '''def acos(x):
    """Arccosine; arguments that left [-1, 1] by rounding are set back."""
    return np.arccos(np.minimum(np.maximum(x, -1.0), 1.0))''',
    "relu": '''def relu(x):
    """max(x, 0)."""
    return np.maximum(x, 0.0)''',
    "step": '''def step(x):
    """1 for x > 0, else 0."""
    return np.heaviside(x, 0.0)''',
}
FUNCTIONS = {
    **{name: f"np.{name}" for name in ("abs", "cos", "cosh", "exp", "log", "sin", "sinh", "sqrt", "tan", "tanh")},
    **{name: name for name in SUPPORT},
    "atan": "np.arctan",
    "sgn": "np.sign",
}


def _each(helper: str, array: str, extra: tuple[str, ...]) -> str:
    return f"{helper}({', '.join((array, *extra))})"


def _loops(helper: Helper) -> str:
    return ""  # array arguments work as they are


#: Whole-array operations; Numba compiles the same calls.
METHODS = {
    "total": "np.sum({})",
    "diagonal": "np.diagonal({})",
    "trace": "np.trace({})",
    "inverse": "np.linalg.inv({})",
    "eye": "np.eye({})",
    "ones": "np.ones(({}, {}))",
    "zeros": "np.zeros(({}, {}))",
}

BACKEND = Backend(
    name="numpy",
    imports=("import math", "", "import numpy as np"),
    pi="np.pi",
    number=decimal,
    functions=FUNCTIONS,
    support=SUPPORT,
    each=_each,
    loops=_loops,
    empty="np.empty({})",
    methods=METHODS,
    run="needs Python and NumPy; import it, or run it with `python -i`",
)
