"""Programs: language-free statements and expressions between equations and source text.

An `Expr` is a number, a name, an array entry, a sum, product or power of expressions, a call of a scalar function, or one
of the array operations ``matmul T total trace inverse eye ones zeros each``. A statement assigns, allocates, stores, adds
up, or loops. Every pass maps equations to a `Program`; every backend prints the same `Program`. Imported by codegen only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Expr:
    """One expression.

    Attributes
    ----------
    op : str
        num: (Fraction,); pi: (); var, size: (name,); item: (array, index, ...); add, mul: expressions; pow: (base, Fraction);
        call: (function, argument, ...); each: (function, array, extra scalar, ...), elementwise; same: (i, j), 1 if i = j,
        else 0; twice: (i, j), 1 if i = j, else 2; matmul: (A, B); T, total, trace, diagonal, inverse, entry: (A,); eye, ones,
        zeros: sizes; lyapunov, sylvester, stein, ...: matrices, see `codegen.functions_linear`.
    args : tuple
    """

    op: str
    args: tuple[Any, ...] = ()


def num(q: int | Fraction) -> Expr:
    """An exact rational number."""
    return Expr("num", (Fraction(q),))


def var(name: str) -> Expr:
    """A scalar or a whole array."""
    return Expr("var", (name,))


def item(array: str, *indices: str) -> Expr:
    """An array entry."""
    return Expr("item", (array, *indices))


def add(*terms: Expr) -> Expr:
    """Sum of one or more expressions."""
    return terms[0] if len(terms) == 1 else Expr("add", terms)


def mul(*factors: Expr) -> Expr:
    """Product; factors of 1 disappear, signs and nested products are merged."""
    lead, rest = Fraction(1), []
    for f in factors:
        parts = f.args if f.op == "mul" else (f,)
        for p in parts:
            if p.op == "num":
                lead *= p.args[0]
            else:
                rest.append(p)
    if not rest:
        return num(lead)
    if lead != 1:
        rest.insert(0, num(lead))
    return rest[0] if len(rest) == 1 else Expr("mul", tuple(rest))


def power(base: Expr, e: Fraction | int) -> Expr:
    """Rational power."""
    return base if e == 1 else Expr("pow", (base, Fraction(e)))


def call(function: str, *args: Expr) -> Expr:
    """A scalar function."""
    return Expr("call", (function, *args))


@dataclass(frozen=True, slots=True, kw_only=True)
class Assign:
    """``target = value``."""

    target: str
    value: Expr


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeOf:
    """``name = array.shape[axis]``."""

    name: str
    array: str
    axis: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocate:
    """``name``: a new array, not yet filled; sizes are names or integers."""

    name: str
    sizes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """``array[indices] = value``."""

    array: str
    indices: tuple[str, ...]
    value: Expr


@dataclass(frozen=True, slots=True, kw_only=True)
class Increase:
    """``target += value``."""

    target: str
    value: Expr


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """``for index in range(stop): body``; with ``through`` the loop ends at that other index, included."""

    index: str
    stop: str
    body: tuple[Statement, ...]
    through: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """A line of comment."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """``return (values)``, a tuple; ``alone``: one value and no tuple."""

    values: tuple[Expr, ...]
    alone: bool = False


Statement: TypeAlias = Assign | SizeOf | Allocate | Store | Increase | Loop | Comment | Return


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """An argument of a procedure: ``ndim`` 0 for a number."""

    name: str
    ndim: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Procedure:
    """A function of the emitted module."""

    name: str
    arguments: tuple[Argument, ...]
    doc: str
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Helper:
    """A scalar function printed into the module: ``name(variable, *extra) = body``.

    ``each``: also needed elementwise. ``primitive``: the function that every backend has and that this helper only renames.
    """

    name: str
    variable: str
    extra: tuple[str, ...]
    body: Expr
    doc: str
    each: bool
    primitive: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Everything that a backend prints; ``averages`` are local averages, functions of numbers that the procedures call."""

    doc: str
    helpers: tuple[Helper, ...]
    procedures: tuple[Procedure, ...]
    averages: tuple[Procedure, ...] = ()


def expressions(body: tuple[Statement, ...]) -> Iterator[Expr]:
    """Every expression of a body and of its loops, parents first."""
    for s in body:
        if isinstance(s, Loop):
            yield from expressions(s.body)
        elif isinstance(s, Return):
            for v in s.values:
                yield from walk(v)
        elif isinstance(s, Assign | Store | Increase):
            yield from walk(s.value)


def walk(e: Expr) -> Iterator[Expr]:
    """An expression and its parts, parents first."""
    yield e
    for a in e.args:
        if isinstance(a, Expr):
            yield from walk(a)


def products(procedure: Procedure) -> int:
    """Number of matrix products in a procedure (loops counted once).

    >>> body = (Assign(target="A", value=Expr("matmul", (var("B"), Expr("matmul", (var("C"), var("D")))))),)
    >>> products(Procedure(name="rhs", arguments=(), doc="", body=body))
    2
    """
    return sum(e.op == "matmul" for e in expressions(procedure.body))
