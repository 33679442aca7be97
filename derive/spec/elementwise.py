"""Functions of one variable as trees: derivatives of any order, and values on arrays of floats or of mpmath numbers.

Bodies and slopes of the built-in functions are those of `derive.fn`; a user's activation brings its body as a tree. Derivatives
are taken by the rules of sums, products, powers and chains on the tree itself, so no name of a user meets a parser.
Imported by `derive.matrices.evaluate` and the checks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np

from derive import fn
from derive.errors import UnsupportedNode
from derive.spec.tree import Tree, as_fraction, children, names

Functions = Mapping[str, Any]  # name -> object with `variable` and `body`


def body_of(name: str, order: int, functions: Functions) -> tuple[str, Tree]:
    """Variable and body of the derivative of this order.

    >>> body_of("sq", 1, {})
    ('z', ('mul', 2, 'z'))
    """
    if name in fn.DERIVATIVES:
        return "z", _builtin(name, order)
    if name not in functions or functions[name].body is None:
        raise UnsupportedNode(f"the function {name} has no body here: pass the functions of the model")
    f = functions[name]
    body = f.body
    for _ in range(order):
        body = differentiate(body, f.variable, functions)
    return f.variable, body


@lru_cache(maxsize=256)
def _builtin(name: str, order: int) -> Tree:
    if order == 0:
        return ("map", name, "z")
    body = fn.DERIVATIVES[name]
    for _ in range(order - 1):
        body = differentiate(body, "z", {})
    return body


def differentiate(tree: Tree, name: str, functions: Functions) -> Tree:
    """Derivative of a scalar tree by one of its names.

    >>> differentiate(("pow", "z", 3), "z", {})
    ('mul', 3, ('pow', 'z', 2))
    """
    if isinstance(tree, str):
        return 1 if tree == name else 0
    if name not in names(tree):
        return 0
    head = tree[0]
    if head == "add":
        return _add(*(differentiate(p, name, functions) for p in tree[1:]))
    if head == "mul":
        factors = tree[1:]
        return _add(*(_mul(*factors[:i], differentiate(f, name, functions), *factors[i + 1 :]) for i, f in enumerate(factors)))
    if head == "pow":
        base, e = tree[1:]
        slope = _mul(e, ("pow", base, _add(e, -1)) if _add(e, -1) != 1 else base, differentiate(base, name, functions))
        return _add(slope, _mul(tree, ("map", "log", base), differentiate(e, name, functions)))
    if head == "map":
        inner = differentiate(tree[2], name, functions)
        variable, body = body_of(tree[1], 1, functions)
        return _mul(_at(body, variable, tree[2]), inner)
    raise UnsupportedNode(f"derivative of {head!r} by {name}: sums, products, powers and functions of one variable are known")


def _at(tree: Tree, variable: str, value: Tree) -> Tree:
    if isinstance(tree, str):
        return value if tree == variable else tree
    if not children(tree):
        return tree
    if tree[0] == "map":
        return ("map", tree[1], _at(tree[2], variable, value))
    return (tree[0], *(_at(p, variable, value) for p in tree[1:]))


def _add(*terms: Tree) -> Tree:
    kept = [t for t in terms if t != 0]
    numbers = [as_fraction(t) for t in kept]
    if kept and all(q is not None for q in numbers):
        total = sum(q for q in numbers if q is not None)
        return int(total) if total.denominator == 1 else ("frac", total.numerator, total.denominator)
    return 0 if not kept else kept[0] if len(kept) == 1 else ("add", *kept)


def _mul(*factors: Tree) -> Tree:
    if any(f == 0 for f in factors):
        return 0
    kept = [f for f in factors if f != 1]
    return 1 if not kept else kept[0] if len(kept) == 1 else ("mul", *kept)


def _lift(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of numbers for arrays of any kind of number."""
    raised = np.frompyfunc(f, 1, 1)
    return lambda z: raised(z)


def _float_erf2(z: Any) -> Any:
    return np.asarray(_lift(lambda x: math.erf(x / math.sqrt(2)))(z), dtype=float)


_FLOAT: dict[str, Callable[[Any], Any]] = {
    "erf2": _float_erf2, "tanh": np.tanh, "relu": lambda z: np.maximum(z, 0.0), "step": lambda z: np.heaviside(z, 0.5),
    "sgn": np.sign, "exp": np.exp, "log": np.log, "abs": np.abs, "sq": lambda z: z * z, "inv": lambda z: 1.0 / z,
    "sqrt": np.sqrt, "sin": np.sin, "cos": np.cos,
    "asin": lambda z: np.arcsin(np.clip(z, -1.0, 1.0)),  # correlations leave [-1, 1] by rounding
}  # fmt: skip
_EXACT: dict[str, Callable[[Any], Any]] = {
    "erf2": _lift(lambda x: mpmath.erf(x / mpmath.sqrt(2))),
    "tanh": _lift(mpmath.tanh),
    "relu": _lift(lambda x: max(x, mpmath.mpf())),
    "step": _lift(lambda x: mpmath.mpf(1 + int(mpmath.sign(x))) / 2),
    "sgn": _lift(mpmath.sign),
    "exp": _lift(mpmath.exp),
    "log": _lift(mpmath.log),
    "abs": _lift(abs),
    "sq": lambda z: z * z,
    "inv": _lift(lambda x: 1 / mpmath.mpf(x)),
    "sqrt": _lift(mpmath.sqrt),
    "sin": _lift(mpmath.sin),
    "cos": _lift(mpmath.cos),
    "asin": _lift(lambda x: mpmath.asin(min(max(x, mpmath.mpf(-1)), mpmath.mpf(1)))),
}


def value(tree: Tree, values: Mapping[str, Any], functions: Functions, *, exact: bool = False) -> Any:
    """Value of a scalar tree, entry by entry on arrays; with ``exact`` in mpmath numbers.

    >>> float(value(("mul", 2, ("map", "tanh", "z")), {"z": np.float64(0.0)}, {}))
    0.0
    """
    if isinstance(tree, str):
        return values[tree]
    q = as_fraction(tree)
    if q is not None:
        return mpmath.mpf(q.numerator) / q.denominator if exact else float(q)
    head = tree[0]
    if head == "pi":
        return +mpmath.pi if exact else math.pi
    if head == "map":
        inner = value(tree[2], values, functions, exact=exact)
        table = _EXACT if exact else _FLOAT
        if tree[1] in table:
            return table[tree[1]](inner)
        if tree[1] == "dirac":
            raise UnsupportedNode("a delta function has no values: it can only be averaged over a density")
        variable, body = body_of(tree[1], 0, functions)
        return value(body, {**values, variable: inner}, functions, exact=exact)
    parts = [value(p, values, functions, exact=exact) for p in children(tree)]
    if head == "add":
        return sum(parts[1:], parts[0])
    if head == "mul":
        return math.prod(parts[1:], start=parts[0])
    if head == "pow":
        return parts[0] ** parts[1]
    raise UnsupportedNode(f"value of {head!r}: sums, products, powers and functions of one variable are known")
