"""Averages of elementwise products: random letters are taken out of them, because an elementwise product is linear.

    column, random u             F o u = diag(F) u
    trace, random G              tr(M (F o G)) = tr((M o F') G)
    open word, random G          E[A (F o G) B] = A (F o E[G]) B       if nothing else in the word is random

The first two leave plain words that every law can average; the third is used where only the average itself may stand inside,
as in the gradient W o (E[e x']) of a reparametrised weight W o W. What is left (two random factors of one product) is refused
by the law. Imported by `derive.averages.expect`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from fractions import Fraction

from derive.matrices import poly
from derive.matrices.composite import diagonal, hadamard, letter_mentions
from derive.matrices.diagonals import merge_diagonals
from derive.matrices.poly import Poly, monomial, product, zero
from derive.matrices.words import Had, Key, Letter, Word

Average = Callable[[Poly], Poly]


def average_products(p: Poly, symbols: Collection[str], average: Average) -> Poly:
    """Average of p, given the average of expressions without random letters in elementwise products.

    >>> from derive.matrices.composite import hadamard
    >>> from derive.matrices.poly import atom
    >>> from derive.matrices.words import Atom
    >>> W, S, x = atom(Atom("W", "n", "n")), atom(Atom("S", "n", "n")), atom(Atom("x", "n", 1))
    >>> average_products(hadamard(W, x * x.T), ["x"], lambda q: S)
    (S o W)
    """
    if not any(_product_with(x, symbols) for key in p.terms for w in (*(w for w, _ in key.traces), key.word or ()) for x in w):
        return average(p)
    plain, total = zero(p.shape), zero(p.shape)
    for key, c in _opened(p, symbols).items():
        places = [i for i, x in enumerate(key.word or ()) if _mentions(x, symbols)]
        found = _product_with(key.word[places[0]], symbols) if key.word and len(places) == 1 else None
        if found is None or key.word is None:
            plain = plain + monomial(p.shape, key, c)
            continue
        kept, random = found
        i, x = places[0], key.word[places[0]]
        scalars = Poly(None, {Key((), key.traces, None): Fraction(1)})
        inside = hadamard(kept, average_products(scalars * random, symbols, average))
        before, after = product(key.word[:i], key.word[0].rows), product(key.word[i + 1 :], x.cols)
        total = total + Poly(None, {Key(key.params, (), None): c}) * before * inside * after
    return merge_diagonals(total + average(plain) if plain else total)


def _opened(p: Poly, symbols: Collection[str]) -> Poly:
    """The first two rules, until none applies."""
    total = zero(p.shape)
    for key, c in p.items():
        out = Poly(None, {Key(key.params, (), None): c})
        for word, e in key.traces:
            out = out * poly.power(_closed(word, symbols), e)
        if key.word is not None:
            assert p.shape is not None
            out = out * _columns(key.word, symbols) if key.word else out * product((), p.shape[0])
        total = total + out
    return total if total == p else _opened(total, symbols)


def _closed(word: Word, symbols: Collection[str]) -> Poly:
    """The trace of a word; a random matrix factor is freed of its elementwise product by the rest of the word."""
    places = [i for i, x in enumerate(word) if _mentions(x, symbols)]
    found = _product_with(word[places[0]], symbols) if len(places) == 1 else None
    if found is None or 1 in (word[places[0]].rows, word[places[0]].cols):
        return _columns(word, symbols).trace()
    kept, random = found
    x = word[places[0]]
    rest = product(word[places[0] + 1 :] + word[: places[0]], x.cols)
    return (hadamard(rest, kept.T) * random).trace()


def _columns(word: Word, symbols: Collection[str]) -> Poly:
    """A word whose random columns (and rows) F o u are written diag(F) u."""
    out = product((), word[0].rows)
    for x in word:
        found = _product_with(x, symbols)
        if found is None or (x.rows != 1 and x.cols != 1):
            out = out * product((x,), x.rows)
        elif x.cols == 1:
            out = out * diagonal(found[0]) * found[1]
        else:
            out = out * found[1] * diagonal(found[0].T)
    return out


def _product_with(x: Letter, symbols: Collection[str]) -> tuple[Poly, Poly] | None:
    """The sure and the random part of an elementwise product with one random factor, in the orientation of the letter."""
    if not isinstance(x.atom.comp, Had):
        return None
    factors = [f.T if x.t else f for f in x.atom.comp.factors]
    random = [f for f in factors if any(_mentions(y, symbols) for k in f.terms for y in k.word or ())]
    if len(random) != 1:
        return None
    return hadamard(*(f for f in factors if f != random[0])), random[0]


def _mentions(x: Letter, symbols: Collection[str]) -> bool:
    return any(letter_mentions(x, s) for s in symbols)
