"""Symbols of a spec: dimensions, numbers, columns, matrices, and a user's own activation.

Symbols stay plain SymPy (``Symbol``, ``MatrixSymbol``): a dimension is a positive integer, a number is real, a column of
dimension K is a K x 1 matrix. The *role* of a symbol is the section of the Model that lists it, not a property of the symbol.
Imported by the spec language and by users.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

import sympy as sp
from sympy.core.symbol import Str

from derive.errors import InvalidSpec
from derive.spec.nodes import Fn, as_expression

RESERVED = ("t", "mean", "grad", "stop", "root")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")

#: Time, in the unit of the rule; schedules of a `Phase` are written with it.
t = sp.Symbol("t", real=True)


def check_name(name: Any) -> str:
    """The name itself, if it may be used for a symbol.

    Raises
    ------
    InvalidSpec
        If it is not of the form letters, digits, single underscores; longer than 32; reserved; or a word of Python.

    >>> check_name("W_out")
    'W_out'
    """
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > 32:
        raise InvalidSpec(
            f"{str(name)[:40]!r} cannot name a symbol; use a letter, then letters and digits, "
            "single underscores in between, at most 32 characters"
        )
    if name in RESERVED:
        raise InvalidSpec(f"{name!r} cannot name a symbol: it is a word of the spec language; write {name}0 or {name.upper()}")
    if keyword.iskeyword(name):
        short = {"lambda": "lam"}.get(name, name + "_1")
        raise InvalidSpec(
            f"{name!r} cannot name a symbol: it is a keyword of Python, generated code could not use it; write {short!r}"
        )
    return name


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant, or None; upper and lower case are a small difference.

    >>> closest("etaa", ["eta", "W"]), closest("X", ["x"]), closest("zeta9", ["W"])
    ('eta', 'x', None)
    """
    table = {n.lower(): n for n in sorted(known, reverse=True)}
    found = get_close_matches(name.lower(), sorted(table), n=1)
    return table[found[0]] if found else None


def _split(names: str) -> list[str]:
    if not isinstance(names, str) or not names.replace(",", " ").split():
        raise InvalidSpec(f"{names!r}: give the names as one text, separated by spaces, for instance 'N K M'")
    return [check_name(n) for n in names.replace(",", " ").split()]


def dims(names: str) -> Any:
    """Dimensions: positive integer symbols; one symbol, or a tuple if there are several names.

    >>> N, K = dims("N K")
    >>> N.is_integer, N.is_positive
    (True, True)
    """
    made = tuple(sp.Symbol(n, integer=True, positive=True) for n in _split(names))
    return made[0] if len(made) == 1 else made


def scalars(names: str, *, positive: bool = False) -> Any:
    """Real numbers; one symbol, or a tuple if there are several names.

    >>> eta, sigma = scalars("eta sigma", positive=True)
    >>> y = scalars("y")
    >>> y.is_real, eta.is_positive
    (True, True)
    """
    kind = {"positive": True} if positive else {"real": True}
    made = tuple(sp.Symbol(n, **kind) for n in _split(names))
    return made[0] if len(made) == 1 else made


def _dimension(size: Any, name: str) -> sp.Expr:
    size = as_expression(size, f"{name}: dimension")
    if isinstance(size, sp.MatrixExpr) or size.is_integer is not True or size.is_positive is False:
        raise InvalidSpec(f"{name}: {size} is not a dimension; use dims(...) or a positive integer")
    return size


def matrix(name: str, rows: Any, columns: Any) -> sp.MatrixSymbol:
    """A matrix of shape (rows, columns).

    >>> N, K = dims("N K")
    >>> matrix("W", K, N).shape
    (K, N)
    """
    check_name(name)
    return sp.MatrixSymbol(name, _dimension(rows, name), _dimension(columns, name))


def vector(name: str, rows: Any) -> sp.MatrixSymbol:
    """A column: a matrix of shape (rows, 1).

    >>> vector("x", dims("N")).shape
    (N, 1)
    """
    return matrix(name, rows, 1)


def activation(name: str, body: Callable[[Any], Any]) -> Fn:
    """A function of one real variable from a SymPy body; parameters of the model may occur in the body.

    The body is called once, with a symbol. The result applies to numbers and, elementwise, to matrices.

    Raises
    ------
    InvalidSpec
        If the body cannot be evaluated on a symbol, or the name is one of the functions in `derive.fn`.

    >>> g = activation("softsign", lambda z: z / (1 + sp.Abs(z)))
    >>> g(vector("h", dims("K")))
    softsign(h)
    """
    from derive.fn import BODIES

    check_name(name)
    if name in BODIES:
        raise InvalidSpec(f"activation {name!r}: this name belongs to derive.fn.{name}; choose another one")
    dummy = sp.Dummy("z", real=True)
    try:
        value = body(dummy)
    except Exception as error:  # the user's own code: NumPy functions and truth tests fail in many ways
        raise InvalidSpec(
            f"activation {name!r}: the body cannot be evaluated on a symbol ({type(error).__name__}: {str(error)[:80]}); "
            "use SymPy functions, and Piecewise or Max instead of `if` and NumPy"
        ) from error
    value = as_expression(value, f"activation {name!r}")
    if isinstance(value, sp.MatrixExpr):
        raise InvalidSpec(f"activation {name!r}: the body is a matrix; it must be a number for every number z")
    taken = sorted(s.name for s in value.free_symbols - {dummy})
    free = next(c for c in ("z", *(f"z{i}" for i in range(1, 99))) if c not in taken)
    variable = sp.Symbol(free, real=True)
    return Fn(Str(name), variable, value.xreplace({dummy: variable}))
