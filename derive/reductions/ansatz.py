"""Ansatz objects: data that tell `reduce` on which manifold to look. They hold no equations of any system.

    Modes       W_l = R_{l+1} diag(a_l) R_l',  R_1 = V, R_{L+1} = U from the singular vectors of the input-output correlation
    Balanced    all factors of a mode are equal, a_l = u^{1/L}
    LambdaBalanced  two layers, W2'W2 - W1 W1' = lam I: matrix Riccati equation of Q = (W1'; W2), or one scalar for each mode
    Gram        the flow of Q followed through M = Q Q', or M = Q'Q
    Manifold    the user's own: states as expressions of new symbols

Imported by users and by `derive.reductions.reduction`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import sympy as sp

from derive.errors import InvalidSpec
from derive.spec.nodes import MatrixApply

EMPTY: Mapping[Any, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, init=False)
class Modes:
    """Aligned singular modes of a chain of weights.

    Parameters
    ----------
    *weights : SymPy matrix symbols or names
        The chain in any order; none: all state matrices, ordered by their product in the flow.
    white : bool
        Take the input covariance to be the identity, so that the variances of the modes drop out.

    >>> Modes("W1", "W2").weights
    ('W1', 'W2')
    """

    weights: tuple[str, ...]
    white: bool

    def __init__(self, *weights: Any, white: bool = False):
        object.__setattr__(self, "weights", tuple(name_of(w) for w in weights))
        object.__setattr__(self, "white", white)


@dataclass(frozen=True, slots=True, kw_only=True)
class Balanced:
    """Equal factors: every state of an elementwise system is u^{1/L}, L the number of states.

    >>> Balanced().name
    'u'
    """

    name: str = "u"


@dataclass(frozen=True, slots=True, init=False)
class LambdaBalanced:
    """Two layers whose weights satisfy  W2'W2 - W1 W1' = lam I  at the start (of a mode: b^2 - a^2 = lam).

    Parameters
    ----------
    lam : number or SymPy symbol
        Zero: balanced layers. Binary fractions are taken as they are.

    Raises
    ------
    InvalidSpec
        If ``lam`` is text or a compound expression.

    >>> LambdaBalanced(0.5).lam
    1/2
    """

    lam: sp.Expr

    def __init__(self, lam: Any = 0):
        if isinstance(lam, float):
            lam = sp.Rational(*lam.as_integer_ratio())
        if not isinstance(lam, int | sp.Rational | sp.Symbol):
            raise InvalidSpec(f"LambdaBalanced: lam={lam!r}; give a number or one SymPy symbol")
        object.__setattr__(self, "lam", sp.sympify(lam))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gram:
    """A flow of one matrix Q that does not notice a rotation Q -> Q O, followed through M = Q Q'.

    Below full rank the equation of M is unstable against rounding: use it on paper and for `closed_form`, integrate Q.

    >>> Gram().name
    'M'
    """

    name: str = "M"


@dataclass(frozen=True, slots=True, init=False)
class Manifold:
    """States of a flow as expressions of new symbols.

    Parameters
    ----------
    lift : mapping state -> SymPy expression
        In the coordinates, in new constant arrays, and in arrays of the flow.
    coordinates : iterable of SymPy symbols
        The new symbols that evolve; all other new symbols are constant.
    data : mapping given array -> SymPy expression
        Given arrays in new constants, for instance ``{Syx: U*S*V.T}``.
    tags : mapping symbol -> text
        ``"orth"`` (R'R = I), ``"square"`` (also R R' = I), ``"diag"``, ``"sym"``, separated by blanks.
    solve_for : mapping coordinate -> SymPy expression of the states
        How to read a coordinate off the states; without it the equations are divided by the known factors.
    orthogonal : iterable of pairs of SymPy symbols
        Arrays A, B of as many rows with A'B = 0: a direction and its complement, for instance ``((v0, V),)``. B may be a
        function of A, entry by entry: ``((g, fn.abs(g)),)`` says that the positive and negative entries of g have equal norms.
    """

    lift: Mapping[Any, Any]
    coordinates: tuple[Any, ...]
    data: Mapping[Any, Any] = field(default_factory=lambda: EMPTY)
    tags: Mapping[Any, str] = field(default_factory=lambda: EMPTY)
    solve_for: Mapping[Any, Any] = field(default_factory=lambda: EMPTY)
    orthogonal: tuple[tuple[Any, Any], ...] = ()

    def __init__(
        self,
        lift: Mapping[Any, Any],
        coordinates: Iterable[Any] = (),
        data: Mapping[Any, Any] = EMPTY,
        tags: Mapping[Any, str] = EMPTY,
        solve_for: Mapping[Any, Any] = EMPTY,
        orthogonal: Iterable[tuple[Any, Any]] = (),
    ):
        for name, value in (("lift", lift), ("data", data), ("tags", tags), ("solve_for", solve_for)):
            object.__setattr__(self, name, MappingProxyType(dict(value)))
        object.__setattr__(self, "coordinates", tuple(coordinates))
        object.__setattr__(self, "orthogonal", tuple(_pair(p) for p in orthogonal))


def _pair(pair: Any) -> tuple[Any, Any]:
    """Two matrix symbols with as many rows."""
    fits = isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], sp.MatrixSymbol)
    if not (
        fits and (isinstance(pair[1], sp.MatrixSymbol) or (isinstance(pair[1], MatrixApply) and pair[1].args[1] == pair[0]))
    ):
        raise InvalidSpec(
            f"Manifold: orthogonal={pair!r} is no pair of matrix symbols; write orthogonal=((A, B), ...), or ((g, fn.abs(g)),) "
            "for a column g orthogonal to a function of itself"
        )
    a, b = pair
    if a.shape[0] != b.shape[0] or a == b:
        raise InvalidSpec(
            f"Manifold: {a} ({a.shape[0]} rows) and {b} ({b.shape[0]} rows) cannot be orthogonal, {a}'{b} = 0; "
            "give two different arrays with as many rows"
        )
    return a, b


def name_of(symbol: Any) -> str:
    """Name of a SymPy symbol, or the name itself."""
    return symbol if isinstance(symbol, str) else str(getattr(symbol, "name", symbol))
