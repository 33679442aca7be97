"""Numba backend: compiled loops and matrix products.

Only ``contract reassoc nsz arcp`` of fastmath, so that NaN and infinities keep their meaning; division follows NumPy; every
function that a kernel calls is printed into its file, because Numba's cache does not see changes in imported helpers.
"""

from __future__ import annotations

from codegen.backends.numpy import METHODS
from codegen.printer import Backend, decimal
from codegen.program import Helper

DECORATOR = "@jit"
SUPPORT = {
    "asin": '''@jit
def asin(x):
    """Arcsine; arguments that left [-1, 1] by rounding are set back."""
    if x > 1.0:
        return 0.5 * math.pi
    if x < -1.0:
        return -0.5 * math.pi
    return math.asin(x)''',
    "acos": '''@jit
def acos(x):
    """Arccosine; arguments that left [-1, 1] by rounding are set back."""
    if x > 1.0:
        return 0.0
    if x < -1.0:
        return math.pi
    return math.acos(x)''',
    "relu": '''@jit
def relu(x):
    """max(x, 0)."""
    return 0.0 if x <= 0.0 else x''',
    "step": '''@jit
def step(x):
    """1 for x > 0, else 0."""
    if x > 0.0:
        return 1.0
    return 0.0 if x <= 0.0 else x''',
    "sgn": '''@jit
def sgn(x):
    """Sign of x."""
    if x > 0.0:
        return 1.0
    return -1.0 if x < 0.0 else x''',
}
FUNCTIONS = {
    **{name: f"math.{name}" for name in ("atan", "cos", "cosh", "erf", "exp", "log", "sin", "sinh", "sqrt", "tan", "tanh")},
    **{name: name for name in SUPPORT},
    "abs": "abs",
}


def _each(helper: str, array: str, extra: tuple[str, ...]) -> str:
    return f"{helper}_each({', '.join((array, *extra))})"


def _loops(h: Helper) -> str:
    args, extra = ", ".join(("A", *h.extra)), "".join(f", {x}" for x in h.extra)
    return f'''def {h.name}_each({args}):
    """{h.name} of every entry of A."""
    out = np.empty(A.shape)
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            out[i, j] = {h.name}(A[i, j]{extra})
    return out'''


BACKEND = Backend(
    name="numba",
    imports=("import math", "", "import numba", "import numpy as np"),
    prelude=('jit = numba.njit(cache=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})',),
    decorator=DECORATOR,
    pi="math.pi",
    number=decimal,
    functions=FUNCTIONS,
    support=SUPPORT,
    each=_each,
    wholesale=False,
    loops=_loops,
    empty="np.empty({})",
    methods=METHODS,
    run="needs Python, NumPy and Numba; import it, or run it with `python -i`; arrays must be float64 and C-contiguous",
)
