"""The four data laws: plain statements, read in order, about where symbols come from.

``Normal``: Gaussian, independent columns. ``Choice``: finitely many values, jointly; a random unit column if no values are
given. ``Marginal``: independent non-Gaussian entries. ``Moments``: the joint law is left open, these averages have names.
``once=True``: drawn once per run (a data set, random features) instead of afresh at every step. Imported by the spec language.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from math import isfinite
from typing import Any, TypeAlias

import sympy as sp

from derive.errors import InvalidSpec
from derive.spec.nodes import Fn


def symbols_of(value: Any, where: str) -> tuple[sp.Basic, ...]:
    """One symbol, or several, as a tuple of symbols.

    Raises
    ------
    InvalidSpec
        If an entry is not a plain symbol.
    """
    entries = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    for entry in entries:
        if not isinstance(entry, (sp.Symbol, sp.MatrixSymbol)):
            shown = repr(entry)[:60] if isinstance(entry, str) else str(entry)[:60]
            raise InvalidSpec(f"{where}: {shown} is not a symbol; give symbols made by scalars, vector or matrix")
    return entries


def _one(value: Any, where: str) -> None:
    if len(symbols_of(value, where)) != 1 or isinstance(value, (tuple, list)):
        raise InvalidSpec(f"{where}: one symbol is needed; write one law for each symbol")


@dataclass(frozen=True, slots=True)
class Normal:
    """Gaussian number, column, or matrix with independent columns: each column has this mean and covariance.

    The covariance is the identity if none is given; it may depend on earlier draws (mixtures, label noise).

    >>> x = sp.MatrixSymbol("x", 3, 1)
    >>> Normal(x).once
    False
    """

    symbol: Any
    _: KW_ONLY
    cov: Any = None
    mean: Any = None
    once: bool = False

    def __post_init__(self) -> None:
        _one(self.symbol, "Normal")

    @property
    def symbols(self) -> tuple[sp.Basic, ...]:
        """Symbols that this law draws."""
        return symbols_of(self.symbol, "Normal")


@dataclass(frozen=True, slots=True)
class Choice:
    """Finitely many values, jointly for all symbols; probabilities are equal unless given.

    ``Choice(s)`` with s of shape (P, 1) is a random unit column, so ``X*s`` is a random column of X. Probabilities of a unit
    column may be given as one column of shape (P, 1), which may depend on earlier draws and on the state (a policy).

    >>> task = sp.Symbol("task", real=True)
    >>> Choice(task, (1, 2), (sp.Rational(1, 3), sp.Rational(2, 3))).symbols
    (task,)
    """

    symbol: Any
    values: Any = None
    probs: Any = None
    _: KW_ONLY
    once: bool = False
    realises: Any = None  # the open law that `Model.bind` replaced by this one

    def __post_init__(self) -> None:
        names = symbols_of(self.symbol, "Choice")
        if self.values is None:
            _one(self.symbol, "Choice without values")
            if not isinstance(self.symbol, sp.MatrixSymbol) or self.symbol.shape[1] != 1:
                raise InvalidSpec(f"Choice({self.symbol}): a number needs its values; write Choice({self.symbol}, (1, -1))")
            return
        if not isinstance(self.values, (tuple, list)) or not self.values:
            raise InvalidSpec(f"Choice({self.symbol}): give the values as a tuple, for instance (1, -1)")
        for entry in self.rows or ():
            if len(entry) != len(names):
                raise InvalidSpec(
                    f"Choice({self.symbol}): the value {entry} has {len(entry)} entries for {len(names)} symbols; give one each"
                )
        if self.probs is not None and (not isinstance(self.probs, (tuple, list)) or len(self.probs) != len(self.values)):
            raise InvalidSpec(
                f"Choice({self.symbol}): {len(self.values)} values need as many probabilities; give probs=(p1, p2, ...)"
            )
        if self.probs is not None and all(isinstance(p, (int, float, sp.Rational)) for p in self.probs):
            from derive.spec.lower import exact  # exact sum: 0.1 + 0.2 + 0.7 is 1

            for p in self.probs:
                if isinstance(p, float) and not isfinite(p):
                    raise InvalidSpec(
                        f"Choice({self.symbol}): the probability {p} is not finite; give numbers that add up to 1"
                    )
            parts = [exact(p) if isinstance(p, float) else sp.Rational(p) for p in self.probs]
            if any(p < 0 for p in parts) or sum(sp.Rational(p.numerator, p.denominator) for p in parts) != 1:
                raise InvalidSpec(
                    f"Choice({self.symbol}): the probabilities {self.probs} are not a distribution; they must add up to 1"
                )

    @property
    def symbols(self) -> tuple[sp.Basic, ...]:
        """Symbols that this law draws."""
        return symbols_of(self.symbol, "Choice")

    @property
    def rows(self) -> tuple[tuple[Any, ...], ...] | None:
        """Values as one tuple per outcome, in the order of the symbols."""
        if self.values is None:
            return None
        joint = isinstance(self.symbol, (tuple, list))
        return tuple(tuple(v) if joint and isinstance(v, (tuple, list)) else (v,) for v in self.values)


@dataclass(frozen=True, slots=True)
class Marginal:
    """Independent, identically distributed, non-Gaussian entries.

    Give exactly one of: ``values`` with ``probs`` (a probability may be a column: one rate for each entry), ``moments``
    ``{order: value}``, or ``transform``, a function of a standard normal number.

    With ``cov`` the entries have mean 0, variance 1 and this covariance, and averages of signs use a central limit: this states
    less than a joint law, so it can be derived from but not simulated (draw z from Normal and take x = f(z) instead).

    >>> s = sp.MatrixSymbol("s", 5, 1)
    >>> Marginal(s, values=(0, 1), probs=(sp.Rational(9, 10), sp.Rational(1, 10))).values
    (0, 1)
    """

    symbol: Any
    _: KW_ONLY
    values: Any = None
    probs: Any = None
    moments: Any = None
    transform: Any = None
    cov: Any = None
    once: bool = False

    def __post_init__(self) -> None:
        _one(self.symbol, "Marginal")
        if self.cov is not None and (self.moments is not None or getattr(self.symbol, "shape", (0, 0))[1] != 1):
            raise InvalidSpec(f"Marginal({self.symbol}): cov is of a column whose marginal is given by values or a transform")
        given = [w for w in ("values", "moments", "transform") if getattr(self, w) is not None]
        if len(given) != 1:
            raise InvalidSpec(
                f"Marginal({self.symbol}): give exactly one of values, moments, transform; found {given or 'none'}"
            )
        for word in ("values", "probs"):
            given_word = getattr(self, word)
            if given_word is not None and not isinstance(given_word, (tuple, list)):
                raise InvalidSpec(f"Marginal({self.symbol}): give {word} as a tuple, for instance {word}=(0, 1)")
        if self.values is not None and self.probs is not None and len(self.values) != len(self.probs):
            raise InvalidSpec(f"Marginal({self.symbol}): {len(self.values)} values need as many probabilities")
        if self.probs is not None and self.values is None:
            raise InvalidSpec(f"Marginal({self.symbol}): probabilities belong to values; give values=(...)")
        if self.moments is not None and not (
            isinstance(self.moments, Mapping) and all(isinstance(k, int) and k > 0 for k in self.moments)
        ):
            raise InvalidSpec(f"Marginal({self.symbol}): give the moments as {{order: value}}, for instance {{2: 1, 4: 3}}")
        if self.transform is not None and not isinstance(self.transform, Fn):
            raise InvalidSpec(f"Marginal({self.symbol}): transform needs a function of derive.fn or an activation(...)")

    @property
    def symbols(self) -> tuple[sp.Basic, ...]:
        """Symbols that this law draws."""
        return symbols_of(self.symbol, "Marginal")


@dataclass(frozen=True, slots=True)
class Moments:
    """Joint law left open; the listed averages have names, and parity may be asserted.

    ``Moments((x, y), {x*x.T: Sx, y*x.T: Syx, y*y.T: Syy})`` states E x x' = Sx and so on, for *all* data. The names on the
    right are symbols of the spec that need no further declaration. ``odd``/``even`` list symbols that change sign, or do not,
    under the symmetry of the law.

    >>> N = sp.Symbol("N", integer=True, positive=True)
    >>> x, Sx = sp.MatrixSymbol("x", N, 1), sp.MatrixSymbol("Sx", N, N)
    >>> Moments(x, {x * x.T: Sx}).names
    (Sx,)
    """

    symbol: Any
    averages: Any
    _: KW_ONLY
    odd: Any = ()
    even: Any = ()
    once: bool = False

    def __post_init__(self) -> None:
        drawn = self.symbols
        if not isinstance(self.averages, Mapping) or not self.averages:
            raise InvalidSpec(f"Moments({self.symbol}): name the averages, for instance {{x*x.T: Sx}}")
        symbols_of(tuple(self.averages.values()), f"Moments({self.symbol}): names of the averages")
        for word in ("odd", "even"):
            for s in symbols_of(getattr(self, word), f"Moments: {word}"):
                if s not in drawn:
                    raise InvalidSpec(f"Moments({self.symbol}): {word} names {s}, not drawn here; list drawn symbols only")

    @property
    def symbols(self) -> tuple[sp.Basic, ...]:
        """Symbols that this law draws."""
        return symbols_of(self.symbol, "Moments")

    @property
    def names(self) -> tuple[sp.Basic, ...]:
        """Symbols that name the averages."""
        return tuple(self.averages.values())


Law: TypeAlias = Normal | Choice | Marginal | Moments
LAWS = (Normal, Choice, Marginal, Moments)
