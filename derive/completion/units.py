"""Observables of a matrix flow as units, and expressions of the flow rewritten in them.

A *unit* is what the closure treats as one variable. Words are cut where a size is external:

    scalar closure   nothing is cut; a unit is the trace of a word that holds a state
    matrix closure   external: 1 and the sizes of all given arrays; a unit is a maximal run of states between external places

so that  W2 W1 Sx W1' W2'  is  P Sx P'  with P = W2 W1, while the hidden size inside P is never seen. A unit and its transpose
are one variable, and one that equals its transpose is symmetric. Numbers of the state are units as they stand. A composite that
can be computed from units (an elementwise function of W2 W1, a root of a norm) is computed from them; others are units.
Imported by `derive.completion.closure`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from derive.matrices.composite import inside, letter_mentions, rebuilt, scalar_power
from derive.matrices.poly import Poly, atom, constant, identity, monomial, param, product, text, zero
from derive.matrices.words import Atom, Key, Letter, Size, Word, flip, sort_runs, word_order


class UnitKey(NamedTuple):
    """What a unit is: a number of the state (``name``), the trace of a word, or an open word; words in canonical form."""

    kind: str  # "name", "trace" or "open"
    name: str
    word: Word

    @property
    def length(self) -> int:
        """Number of letters."""
        return len(self.word) if self.word else 1

    @property
    def symmetric(self) -> bool:
        """Is the open word its own transpose?"""
        return self.kind == "open" and sort_runs(flip(self.word)) == self.word

    @property
    def transposes(self) -> int:
        """Number of transposed letters."""
        return sum(x.t for x in self.word)

    def flip(self) -> UnitKey:
        """The transpose of an open word."""
        return UnitKey(self.kind, self.name, sort_runs(flip(self.word)))

    def poly(self) -> Poly:
        """The unit as an expression of the full state."""
        if self.kind == "name":
            return param(self.name)
        if self.kind == "trace":
            return monomial(None, Key((), ((self.word, Fraction(1)),), None))
        return product(self.word, self.word[0].rows)

    def __str__(self) -> str:
        return text(self.poly())


#: Gives the variable that stands for a unit (or raises), and the value of a trace without states.
Lookup = Callable[[UnitKey], Poly]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """How expressions of a flow are read.

    Attributes
    ----------
    states : collection of str
        Names of the state blocks.
    external : tuple of sizes, or None
        Sizes at which words are cut; None for the scalar closure.
    lookup : callable(UnitKey) -> Poly
        The variable of a unit, asked in the order in which units occur.
    fixed : callable(Word) -> Poly
        The value of a trace that holds no state.
    """

    states: Collection[str]
    external: tuple[Size, ...] | None
    lookup: Lookup
    fixed: Callable[[Word], Poly]

    def express(self, p: Poly) -> Poly:
        """An expression of the full state, in units."""
        total = zero(p.shape)
        for key, c in p.items():
            out = constant(c)
            for name, e in key.params:
                moved = name in self.states
                out = out * (scalar_power(self.lookup(UnitKey("name", name, ())), e) if moved else param(name, e))
            for word, e in key.traces:
                out = out * scalar_power(self.trace(word), e)
            if key.word is not None:
                assert p.shape is not None
                out = out * (self.open(key.word) if key.word else identity(p.shape[0]))
            total = total + out
        return total

    def moves(self, x: Letter) -> bool:
        """Does a state occur in the letter?"""
        return any(letter_mentions(x, name) for name in self.states)

    def is_external(self, size: Size) -> bool:
        """Is a word cut at this size?"""
        return self.external is not None and size in self.external

    def trace(self, word: Word) -> Poly:
        """A trace in units."""
        if not any(self.moves(x) for x in word):
            return self.fixed(word)
        comp = word[0].atom.comp
        if len(word) == 1 and comp is not None and all(q.shape is None for q in inside(comp)):
            return rebuilt(comp, tuple(self.express(q) for q in inside(comp)))
        starts = [i for i, x in enumerate(word) if self.is_external(x.rows)]
        if self.external is None or not starts or (word[0].rows == 1 and not self._cuts(word)):
            return self.lookup(UnitKey("trace", "", word))
        turned = word[starts[0] :] + word[: starts[0]]
        return self.open(turned).trace()

    def _cuts(self, word: Word) -> list[int]:
        """Inner places at which an open word is cut."""
        return [i for i in range(1, len(word)) if self.is_external(word[i].rows)]

    def open(self, word: Word) -> Poly:
        """An open word whose ends are external, in units."""
        ends = [0, *self._cuts(word), len(word)]
        out: Poly | None = None
        for i, j in pairwise(ends):
            run = self._run(word[i:j])
            out = run if out is None else out * run
        assert out is not None
        return out

    def _run(self, run: Word) -> Poly:
        if not any(self.moves(x) for x in run):
            return product(run, run[0].rows)
        comp = run[0].atom.comp
        if len(run) == 1 and comp is not None:
            made = rebuilt(comp, tuple(self.express(q) for q in inside(comp)))
            made = made * identity(1) if made.shape is None else made
            return made.T if run[0].t else made
        turned = sort_runs(flip(run))
        if word_order(turned) < word_order(run):
            return self.lookup(UnitKey("open", "", turned)).T
        return self.lookup(UnitKey("open", "", run))


def variable(key: UnitKey, name: str) -> Poly:
    """The expression that stands for a unit: a number, or a matrix of its shape."""
    if key.kind != "open":
        return param(name)
    first, last = key.word[0].rows, key.word[-1].cols
    return atom(Atom(name, first, last, ("sym",) if key.symmetric and first != 1 else ()))
