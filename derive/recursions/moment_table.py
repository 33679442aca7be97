"""Moments of the state: products of state letters in an expression replaced by the names of their averages.

A moment is the average of an expression with one leading product, e.g. X = E[(w - c)(w - c)'], so its leading product is the
moment less the rest:  E[w w'] = X + w c' + c w' - c c'.  The rest has fewer letters and is replaced in turn, m = E[w - c].

    columns and numbers a, b      E[a b'] known: every product of degree two, wherever its letters stand (`averages.wick`)
    anything else                 where the leading product stands as a part of a word, or as a trace

Imported by `derive.recursions.averaged_step`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction

from derive.averages.wick import contract, random_letters
from derive.errors import InvalidSpec, UnsupportedNode
from derive.matrices.calculus import substitute
from derive.matrices.composite import letter_mentions
from derive.matrices.poly import Poly, atom, identity, monomial, param, product, text, zero
from derive.matrices.words import Atom, Key, Word, flip

ROUNDS = 8  # a product of degree two may bring others, then single letters; what still stands after that is left


@dataclass(frozen=True, slots=True, kw_only=True)
class MomentTable:
    """Rules that take the letters of the state out of an expression.

    Attributes
    ----------
    state : mapping name -> (rows, columns)
        Letters; numbers are 1 x 1.
    first : mapping name -> Poly
        E[a], for letters whose mean is a moment.
    pairs : mapping (a, b) -> Poly
        E[a b'] of columns.
    words : tuple of (Word, Poly)
        Open products and their averages.
    traces : tuple of (Word, Poly)
        Scalar products and their averages.
    """

    state: Mapping[str, tuple[object, object]]
    first: Mapping[str, Poly]
    pairs: Mapping[tuple[str, str], Poly]
    words: tuple[tuple[Word, Poly], ...] = ()
    traces: tuple[tuple[Word, Poly], ...] = ()

    def averaged(self, p: Poly) -> Poly:
        """The same expression with every product that has a name replaced by it; what has none is left as it stands."""
        for _ in range(ROUNDS):
            new = zero(p.shape)
            for key, c in p.items():
                scalars = Poly(None, {Key(key.params, (), None): c})
                new = new + scalars * self._monomial(Key((), key.traces, key.word), p.shape)
            if new == p:
                break
            p = new
        return p

    def left(self, p: Poly) -> tuple[str, ...]:
        """Monomials in which letters of the state stand, as text."""
        return tuple(text(monomial(p.shape, k)) for k, _ in p.items() if self.degree(k) != 0)

    def degree(self, key: Key) -> int:
        """Number of state letters in a monomial; -1 if one stands inside a function or under a power that is no count."""
        try:
            return random_letters(key, self.state)
        except UnsupportedNode:
            return -1

    def _monomial(self, key: Key, shape: tuple[object, object] | None) -> Poly:
        degree = self.degree(key)
        if degree < 1:
            return monomial(shape, key)
        for pattern, value in self.traces:
            if any(w == pattern and e >= 1 for w, e in key.traces):
                rest = tuple((w, e - 1 if w == pattern else e) for w, e in key.traces)
                return value * monomial(shape, Key((), tuple((w, e) for w, e in rest if e), key.word))
        for pattern, value in self.words:
            found = _replaced(key, pattern, value, shape)
            if found is not None:
                return found
        if degree == 2:
            return self._pair(key, shape)
        if degree == 1:
            p = monomial(shape, key)
            return substitute(p, self.first)
        return monomial(shape, key)

    def _pair(self, key: Key, shape: tuple[object, object] | None) -> Poly:
        found = [x.atom.name for w, e in key.traces for x in w * int(e) if x.atom.name in self.state]
        a, b = found + [x.atom.name for x in key.word or () if x.atom.name in self.state]
        if (a, b) not in self.pairs:
            return monomial(shape, key)
        return contract(key, self.state, shape, lambda x, y: (self.pairs[x.name, y.name], identity(1)))


def _replaced(key: Key, pattern: Word, value: Poly, shape: tuple[object, object] | None) -> Poly | None:
    """A monomial with the first occurrence of a word in it replaced; None if it does not occur."""
    for word, new in ((pattern, value), (flip(pattern), value.T)):
        n = len(word)
        open_word = key.word or ()
        for i in range(len(open_word) - n + 1):
            if open_word[i : i + n] == word:
                line = product(open_word[:i], open_word[0].rows) * new * product(open_word[i + n :], word[-1].cols)
                return monomial(None, Key((), key.traces, None)) * line
        for number, (trace, e) in enumerate(key.traces):
            if e < 1 or len(trace) < n:
                continue
            for i in range(len(trace)):
                turned = trace[i:] + trace[:i]
                if turned[:n] == word:
                    line = (new * product(turned[n:], word[-1].cols)).trace()
                    others = tuple((w, f - (k == number)) for k, (w, f) in enumerate(key.traces))
                    rest = Key((), tuple((w, f) for w, f in others if f), key.word)
                    return line * monomial(shape, rest)
    return None


def letters_of(p: Poly, shapes: Mapping[str, tuple[object, ...]]) -> Poly:
    """Numbers of the state as 1 x 1 letters, so that they pair like matrices."""
    numbers = {n: atom(Atom(n, 1, 1)).trace() for n, s in shapes.items() if not s}
    return substitute(p, numbers) if numbers else p


def moment_table(
    definitions: Mapping[str, Poly], shapes: Mapping[str, tuple[object, ...]], values: Mapping[str, Poly]
) -> MomentTable:
    """The rules that follow from the definitions of moments.

    Parameters
    ----------
    definitions : mapping moment -> Poly
        In the state (numbers as letters, see `letters_of`).
    shapes : mapping state -> shape
    values : mapping moment -> Poly
        The letter or parameter that stands for each of them.

    Raises
    ------
    InvalidSpec
        If a moment has no leading product of its own.
    """
    state = {n: (s[0], s[1]) if s else (1, 1) for n, s in shapes.items()}
    empty = MomentTable(state=state, first={}, pairs={})
    first: dict[str, Poly] = {}
    pairs: dict[tuple[str, str], Poly] = {}
    words: list[tuple[Word, Poly]] = []
    traces: list[tuple[Word, Poly]] = []
    taken: list[tuple[str, ...]] = []
    for name, p in definitions.items():
        key, c = _leading(name, p, empty, taken)
        taken.append(_letters(key))
        average = (values[name] - p + monomial(p.shape, key, c)).scale(1 / c)
        alone = [x for w, e in key.traces for x in w * int(e)]
        every = [*alone, *(key.word or ())]
        outer = len(key.word or ()) == 2 == len(every) and (key.word or ())[0].cols == 1
        single = all(len(w) == 1 for w, _ in key.traces) and len(key.word or ()) < 2
        if len(every) == 1:
            column = average if average.shape is not None else average * identity(1)
            first[every[0].atom.name] = column.T if every[0].t else column
        elif all(x.atom.name in state for x in every) and (outer or (single and len(every) == 2)):
            x, y = every if outer else every[::-1]
            square = average * identity(1) if average.shape is None else average
            square = square.T if not outer and x.t else square
            pairs[y.atom.name, x.atom.name], pairs[x.atom.name, y.atom.name] = square.T, square
        elif key.word is not None and not key.traces:
            words.append((key.word, average))
        elif len(key.traces) == 1 and key.traces[0][1] == 1 and key.word is None:
            traces.append((key.traces[0][0], average))
        else:
            raise InvalidSpec(
                f"the moment {name} = E[{text(p)}] leads with a product of scalars and matrices; give one product, e.g. w*w.T"
            )
    return MomentTable(state=state, first=first, pairs=pairs, words=tuple(words), traces=tuple(traces))


def _letters(key: Key) -> tuple[str, ...]:
    return tuple(x.atom.name for w, e in (*key.traces, (key.word or (), Fraction(1))) for x in w * int(e))


def _leading(name: str, p: Poly, table: MomentTable, taken: Collection[tuple[str, ...]]) -> tuple[Key, Fraction]:
    """The monomial with the most letters of the state; of several, a square (or a letter) that leads no other moment.

    So  D = E[(v - w)(v - w)']  is read as  E[v v'] = D + E[v w'] + E[w v'] - E[w w'],  and what it leaves must cancel.
    """
    degrees = {k: table.degree(k) for k in p.terms}
    top = max(degrees.values(), default=0)
    if min(degrees.values(), default=0) < 0 or not 1 <= top <= 2:
        raise InvalidSpec(
            f"the moment {name} = E[{text(p)}]: give a product of one or two letters of the state, e.g. (w - c)*(w - c).T"
        )
    found = [k for k, _ in p.items() if degrees[k] == top and not k.params]
    if sum(degree == top for degree in degrees.values()) > 1:
        found = [k for k in found if len(dict.fromkeys(_letters(k))) == 1 and _letters(k) not in taken]
    if not found:
        raise InvalidSpec(
            f"the moment {name} = E[{text(p)}] has no leading product of its own with a number before it; name one "
            "moment for each"
        )
    return found[0], p.terms[found[0]]


def stands_inside(p: Poly, names: Mapping[str, object]) -> bool:
    """Does a letter of the state stand inside a function?"""
    words = [w for k in p.terms for w in (*(w for w, _ in k.traces), k.word or ())]
    return any(x.atom.comp is not None and letter_mentions(x, n) for w in words for x in w for n in names)


def named(name: str, shape: tuple[object, ...], tags: tuple[str, ...]) -> Poly:
    """The letter or parameter of a moment."""
    return atom(Atom(name, shape[0], shape[1], tags)) if shape else param(name)


__all__ = ["MomentTable", "letters_of", "moment_table", "named", "stands_inside"]
