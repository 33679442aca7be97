"""Atoms, letters and words of noncommuting matrices, and their normal form.

A word is a product of letters, a letter an atom or its transpose. Every word is stored in normal form:

1. isometries cancel (tag ``orth``: R^T R = I; with ``square`` also R R^T = I), in traces also around the corner;
2. maximal runs of diagonal letters are sorted (tag ``diag``), since diagonal matrices commute;
3. a word is cut where a size is 1: scalars leave an open word, a trace splits into inner products;
4. a trace is the smallest of its rotations and of the rotations of its reversed transpose.

Composite atoms (elementwise functions, Hadamard products, inverses, solutions of linear equations) carry Polys, so no second
expression tree is needed.
The only constant atoms are columns of ones: a matrix of ones is a product of two.
Imported by `derive.matrices.poly` and by passes that look inside words. Imports nothing of the project.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from derive.matrices.poly import Poly

Size: TypeAlias = Any  # int, dimension name, or a tree of both


@dataclass(frozen=True, slots=True)
class Elem:
    """f^(order)(argument), applied to every entry."""

    function: str
    order: int
    argument: Poly


@dataclass(frozen=True, slots=True)
class Had:
    """Elementwise product of two or more single words."""

    factors: tuple[Poly, ...]


@dataclass(frozen=True, slots=True)
class Inverse:
    """Inverse of a square matrix."""

    argument: Poly


@dataclass(frozen=True, slots=True)
class Solution:
    """The matrix X at which an expression linear in X vanishes; ``unknown`` is the name of X in it, and bound there."""

    unknown: str
    equation: Poly


#: What a composite atom may be made of.
Composite: TypeAlias = Elem | Had | Inverse | Solution


@dataclass(frozen=True, slots=True, eq=False)
class Atom:
    """A named matrix: sizes, tags among ``sym diag orth square``, and for composites what it is made of."""

    name: str
    rows: Size
    cols: Size
    tags: tuple[str, ...] = ()
    comp: Composite | None = None

    @property
    def symmetric(self) -> bool:
        return self.rows == self.cols and (self.rows == 1 or "sym" in self.tags or "diag" in self.tags)

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Atom)
            and (self.name, self.rows, self.cols, self.tags) == (other.name, other.rows, other.cols, other.tags)
            and self.comp == other.comp
        )

    def __hash__(self) -> int:
        return hash((self.name, self.rows, self.cols))


class Letter(NamedTuple):
    """An atom or its transpose."""

    atom: Atom
    t: bool

    @property
    def rows(self) -> Size:
        return self.atom.cols if self.t else self.atom.rows

    @property
    def cols(self) -> Size:
        return self.atom.rows if self.t else self.atom.cols

    def flip(self) -> Letter:
        return self if self.atom.symmetric else Letter(self.atom, not self.t)


Word: TypeAlias = tuple[Letter, ...]
#: The name of the number pi among the parameters of a monomial; no user symbol can have it.
PI = "π"

Params: TypeAlias = tuple[tuple[str, Fraction], ...]
Traces: TypeAlias = tuple[tuple[Word, Fraction], ...]


class Key(NamedTuple):
    """What a coefficient belongs to: parameter monomial, traces with exponents, open word (None for a scalar)."""

    params: Params
    traces: Traces
    word: Word | None


def word_order(word: Word | None) -> tuple[tuple[str, bool], ...]:
    """Sort key of a word: names, then transposition."""
    return tuple((x.atom.name, x.t) for x in word) if word else ()


def key_order(key: Key) -> tuple[Any, ...]:
    """Deterministic order of monomials: open word, traces, parameters."""
    return (len(key.word or ()), word_order(key.word), tuple((word_order(w), e) for w, e in key.traces), key.params)


def flip(word: Word) -> Word:
    """Transpose of a word."""
    return tuple(x.flip() for x in reversed(word))


def _cancels(a: Letter, b: Letter) -> bool:
    """Does the adjacent pair a b give the identity?"""
    if a.atom != b.atom or a.t == b.t or "orth" not in a.atom.tags:
        return False
    return a.t or "square" in a.atom.tags


def _cancel(word: Word) -> Word:
    out: list[Letter] = []
    for x in word:
        if out and _cancels(out[-1], x):
            out.pop()
        else:
            out.append(x)
    return tuple(out)


def sort_runs(word: Word) -> Word:
    """Sort every maximal run of diagonal letters."""
    out: list[Letter] = []
    run: list[Letter] = []
    for x in word:
        if "diag" in x.atom.tags:
            run.append(x)
            continue
        out += sorted(run, key=lambda y: y.atom.name)
        run = []
        out.append(x)
    return tuple(out + sorted(run, key=lambda y: y.atom.name))


def _ones(word: Word) -> list[int]:
    """Places of an open word at which the size is 1 (place i stands before letter i)."""
    sizes = [word[0].rows, *(x.cols for x in word)]
    return [i for i, s in enumerate(sizes) if s == 1]


def _inner(word: Word) -> Word:
    """Normal form of a 1 x 1 word without an inner place of size 1."""
    word = sort_runs(word)
    return min(word, sort_runs(flip(word)), key=word_order)


def normal_open(word: Word) -> tuple[list[Word], Word]:
    """Normal form of an open word: the scalars that leave it (as 1 x 1 words), and what remains."""
    word = sort_runs(_cancel(word))
    if not word:
        return [], word
    ones = _ones(word)
    if len(ones) < 2:
        return [], word
    first, last = ones[0], ones[-1]
    scalars = [_inner(word[i:j]) for i, j in itertools.pairwise(ones)]
    return scalars, _cancel(word[:first] + word[last:])


def normal_trace(word: Word, size: Size) -> tuple[list[Word], list[Size]]:
    """Normal form of tr(word): factors, and sizes for emptied words. ``size`` is the side of the word."""
    word = _cancel(word)
    while len(word) > 1 and _cancels(word[-1], word[0]):
        size = word[0].cols
        word = word[1:-1]
    if not word:
        return [], [size]
    cuts = [i for i, x in enumerate(word) if x.rows == 1]
    if cuts:
        turned = word[cuts[0] :] + word[: cuts[0]]
        ends = [i - cuts[0] for i in cuts] + [len(word)]
        return [_inner(turned[i:j]) for i, j in itertools.pairwise(ends)], []
    if all("diag" in x.atom.tags for x in word):
        return [sort_runs(word)], []
    best: Word | None = None
    for w in (word, flip(word)):
        for i in range(len(w)):
            if "diag" in w[i].atom.tags and "diag" in w[i - 1].atom.tags:
                continue  # a run must not straddle the boundary
            candidate = sort_runs(w[i:] + w[:i])
            if best is None or word_order(candidate) < word_order(best):
                best = candidate
    assert best is not None
    return [best], []


def _bases(name: str) -> list[tuple[str, int]]:
    """A parameter itself; an integer as its prime factors, so that equal radicals are equal."""
    if not name.isdigit():
        return [(name, 1)]
    out, n, p = [], int(name), 2
    while p * p <= n:
        k = 0
        while n % p == 0:
            n, k = n // p, k + 1
        if k:
            out.append((str(p), k))
        p += 1
    return out + ([(str(n), 1)] if n > 1 else [])


def is_ones(a: Atom) -> bool:
    """Is this the column of ones (its name, ``ones[n,1]``, cannot be typed)?"""
    return a.name.startswith("ones[")


def merge_params(*groups: Iterable[tuple[str, Fraction]]) -> tuple[Fraction, Params]:
    """Product of parameter monomials. Integer bases (radicals such as 2^(1/2)) give up their integer powers to a factor."""
    powers: dict[str, Fraction] = {}
    for group in groups:
        for name, e in group:
            for base, k in _bases(name):
                powers[base] = powers.get(base, Fraction(0)) + k * e
    factor = Fraction(1)
    for name in list(powers):
        if name.isdigit():
            whole = powers[name].__floor__()
            factor *= Fraction(int(name)) ** whole
            powers[name] -= whole
    return factor, tuple(sorted((n, e) for n, e in powers.items() if e))


def merge_traces(*groups: Iterable[tuple[Word, Fraction]]) -> Traces:
    """Product of powers of traces."""
    powers: dict[Word, Fraction] = {}
    for group in groups:
        for word, e in group:
            powers[word] = powers.get(word, Fraction(0)) + e
    return tuple(sorted(((w, e) for w, e in powers.items() if e), key=lambda item: (word_order(item[0]), item[1])))
