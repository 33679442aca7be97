r"""A recursion in the eigenbasis of one symmetric matrix H: its words become functions of an eigenvalue h.

    (H^a X H^b)_kk = h_k^(a+b) x_k,    (H^a u v' H^b)_kk = h_k^(a+b) u_k v_k,    tr(H^a X) = sum_j h_j^a x_j

so the diagonal entries of all moments obey, with couplings tau_a = sum_j t_a(h_j) . u_j and numbers y,

    u_k(n+1) = A(h_k) u_k + B(h_k) (tau, y) + c(h_k).

A word that needs an entry off the diagonal, or a second matrix, is refused. Imported by `derive.recursions.stationary_modes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp

from derive.errors import InvalidSpec, NotClosed
from derive.matrices.poly import Poly, monomial, text
from derive.matrices.words import Key, Word
from derive.recursions.discrete import Recursion

K = sp.Symbol("k", integer=True, positive=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeForm:
    """The linear equations of one mode, of the couplings and of the numbers.

    Attributes
    ----------
    h : Symbol
        The eigenvalue of this mode; sums run over ``IndexedBase(h.name)[k]``.
    columns : mapping name -> Symbol
        Components of given columns in this mode.
    modes, numbers : tuple of str
        Moments with an entry for each mode, and without.
    couplings : mapping Symbol -> (name, function of h)
        tau = sum over modes of the function times that moment.
    own : mapping (name, name) -> expression
        A.
    driven : mapping (name, Symbol or name) -> expression
        B: influence of couplings and numbers.
    constant : mapping name -> expression
    dropped : tuple of str
        Moments on which no other depends and that have no entries in this basis.
    """

    h: sp.Symbol
    size: sp.Expr
    columns: Mapping[str, sp.Symbol]
    modes: tuple[str, ...]
    numbers: tuple[str, ...]
    couplings: Mapping[sp.Symbol, tuple[str, sp.Expr]]
    own: Mapping[tuple[str, str], sp.Expr]
    driven: Mapping[tuple[str, Any], sp.Expr]
    constant: Mapping[str, sp.Expr]
    dropped: tuple[str, ...] = ()


def mode_form(made: Recursion, basis: str) -> ModeForm:
    """The recursion in the eigenbasis of ``basis``.

    Raises
    ------
    InvalidSpec
        If it is no symmetric given matrix of the recursion.
    NotClosed
        If a word is no function of it.
    """
    blocks = {b.name: b for b in (*made.state, *made.parameters)}
    if basis not in blocks or basis not in [b.name for b in made.parameters]:
        known = ", ".join(b.name for b in made.parameters if "sym" in b.tags) or "none"
        raise InvalidSpec(f"stationary: {basis} is no given matrix of {made.name}; its symmetric ones are: {known}")
    if "sym" not in blocks[basis].tags:
        raise InvalidSpec(
            f"stationary: {basis} is not known to be symmetric, so it need not have an eigenbasis; use it as a covariance, or "
            f"add the fact Eq({basis}, {basis}.T), or take the rest in numbers: rest_in_numbers(recursion, values)"
        )
    return _Reading(made, basis).form()


class _Reading:
    """One reading: symbols of the mode, and the couplings found so far."""

    def __init__(self, made: Recursion, basis: str):
        self.made, self.basis = made, basis
        taken = {*made.symbols, *(b.name for b in (*made.state, *made.parameters))}
        self.taken = taken
        self.h = sp.Symbol(self._free((basis.lower(), "h", "ev", "lam")), nonnegative=True)
        n = next(b for b in made.parameters if b.name == basis).shape[0]
        self.n = n
        self.kinds = {b.name: self._kind(b.shape, n) for b in made.state}
        self.columns = {b.name: sp.Symbol(b.name, real=True) for b in made.parameters if b.shape == (n, 1)}
        self.couplings: dict[sp.Symbol, tuple[str, sp.Expr]] = {}

    def _free(self, wishes: tuple[str, ...]) -> str:
        found = next(w for w in (*wishes, *(f"{wishes[0]}_{i}" for i in range(1, 99))) if w not in self.taken)
        self.taken = {*self.taken, found}
        return found

    @staticmethod
    def _kind(shape: tuple[Any, ...], n: Any) -> str:
        return "number" if not shape else "mode" if shape in ((n, n), (n, 1)) else "other"

    def form(self) -> ModeForm:
        own: dict[tuple[str, str], sp.Expr] = {}
        driven: dict[tuple[str, Any], sp.Expr] = {}
        constant: dict[str, sp.Expr] = {}
        dropped = tuple(n for n, kind in self.kinds.items() if kind == "other")
        for name, p in self.made:
            if name in dropped:
                continue
            for key, c in p.items():
                factor, target = self._monomial(key, sp.Rational(c.numerator, c.denominator), p, name)
                if target is None:
                    constant[name] = constant.get(name, sp.Integer(0)) + factor
                elif isinstance(target, str) and self.kinds[target] == "mode":
                    own[name, target] = own.get((name, target), sp.Integer(0)) + factor
                else:
                    driven[name, target] = driven.get((name, target), sp.Integer(0)) + factor
        size = self.made.symbols.get(self.n, sp.Symbol(str(self.n), integer=True, positive=True))
        return ModeForm(
            h=self.h, size=sp.Integer(self.n) if isinstance(self.n, int) else size, columns=self.columns,
            modes=tuple(n for n, k in self.kinds.items() if k == "mode"),
            numbers=tuple(n for n, k in self.kinds.items() if k == "number"),
            couplings=self.couplings, own=own, driven=driven, constant=constant, dropped=dropped,
        )  # fmt: skip

    def symbol(self, name: str) -> sp.Expr:
        """The SymPy symbol of a number; the root of an integer for a digit string."""
        if name.isdigit():
            return sp.Integer(int(name))
        if name == "π":
            return sp.pi
        return self.made.symbols.get(name, sp.Symbol(name, real=True))

    def _monomial(self, key: Key, factor: sp.Expr, p: Poly, name: str) -> tuple[sp.Expr, Any]:
        target: Any = None
        shown = text(monomial(p.shape, key))
        for n, e in key.params:
            if self.kinds.get(n) == "number":
                target = self._one(target, n, shown)
                continue
            factor = factor * self.symbol(n) ** sp.Rational(e.numerator, e.denominator)
        for word, e in key.traces:
            f, moment = self._word(word, True, shown)
            if moment is None:
                total = self.size if f == 1 else sp.Sum(self.summand(f), (K, 1, self.size))
                factor = factor * total ** sp.Rational(e.numerator, e.denominator)
            else:
                target = self._one(target, self._coupling(moment, f), shown)
        if key.word is not None:
            f, moment = self._word(key.word, False, shown)
            factor = factor * f
            target = target if moment is None else self._one(target, moment, shown)
        if self.kinds[name] == "number" and isinstance(target, str) and self.kinds[target] == "mode":
            raise NotClosed(f"stationary({self.made.name}): {name} needs {shown}, which is no sum over modes")
        return factor, target

    @property
    def size(self) -> sp.Expr:
        """The number of modes."""
        return sp.Integer(self.n) if isinstance(self.n, int) else self.symbol(self.n)

    def _one(self, target: Any, new: Any, shown: str) -> Any:
        if target is not None:
            raise NotClosed(f"stationary({self.made.name}): {shown} is a product of moments")
        return new

    def _coupling(self, moment: str, f: sp.Expr) -> sp.Symbol:
        for symbol, known in self.couplings.items():
            if known == (moment, f):
                return symbol
        symbol = sp.Symbol(self._free(("tau",)), real=True)
        self.couplings[symbol] = (moment, f)
        return symbol

    def summand(self, f: sp.Expr) -> sp.Expr:
        """A function of this mode as one of mode k."""
        names = {self.h: sp.IndexedBase(self.h.name)[K], **{s: sp.IndexedBase(s.name)[K] for s in self.columns.values()}}
        return f.xreplace(names)

    def _word(self, word: Word, closed: bool, shown: str) -> tuple[sp.Expr, str | None]:
        """A word as a function of h, and the moment in it."""
        f: sp.Expr = sp.Integer(1)
        moment: str | None = None
        rows = 0
        for x in word:
            name = x.atom.name
            if name == self.basis:
                f = f * self.h
            elif name in self.columns:
                f, rows = f * self.columns[name], rows + 1
            elif self.kinds.get(name) == "mode" and moment is None:
                moment, rows = name, rows + (x.atom.cols == 1)
            else:
                raise NotClosed(
                    f"stationary({self.made.name}): {name} in {shown} is no function of {self.basis}; take the rest in "
                    "numbers: rest_in_numbers(recursion, values)"
                )
        square = moment is not None and self.made.block(moment).shape == (self.n, self.n)
        if rows > (0 if square else 2):
            raise NotClosed(
                f"stationary({self.made.name}): {shown} needs entries of {moment} off the diagonal; take the rest in numbers: "
                "rest_in_numbers(recursion, values)"
            )
        return f, moment
