"""Functions of binomial counts and comparisons, printed into emitted modules on demand.

The functions of `derive.fields.binomial` themselves, without annotations: on arrays in NumPy, on single numbers in Numba and
mpmath. Imported by codegen only.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping

from derive.fields import binomial

COUNTS = ("power", "binomial", "binomial_tail", "is_zero")
_IS_ZERO = '''def is_zero(x):
    """1 where x is 0, else 0."""
    return 1.0 if x == 0.0 else 0.0'''


def is_count_function(name: str) -> bool:
    """Whether a function name is printed from here.

    >>> is_count_function("binomial_tail"), is_count_function("tanh")
    (True, False)
    """
    return name in COUNTS


def support(backend: str) -> Mapping[str, str]:
    """Definitions by name, in the order in which they must stand."""
    tree = ast.parse(inspect.getsource(binomial))
    plain = {n.name: _text(n) for n in tree.body if isinstance(n, ast.FunctionDef)} | {"is_zero": _IS_ZERO}
    if backend == "numba":
        return {name: "@jit\n" + text for name, text in plain.items()}
    if backend == "mpmath":
        return plain
    vectorised = "\n\n\n{0} = np.vectorize({0}, otypes=[float])"
    return {name: text if name == "power" else text + vectorised.format(name) for name, text in plain.items()}


def _text(node: ast.FunctionDef) -> str:
    node.returns = None
    for a in node.args.args:
        a.annotation = None
    lines = (ast.get_docstring(node) or "").splitlines()
    node.body[0] = ast.Expr(ast.Constant(lines[0]))
    return ast.unparse(node).replace("'''", '"""')


__all__ = ["is_count_function", "support"]
