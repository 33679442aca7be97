"""diag(u) v = u o v: a diagonal matrix before a column becomes an elementwise product, so that equal columns are equal words.

Imported by `derive.averages.products`, which takes random columns out of elementwise products by diagonal matrices, and by the
printers.
"""

from __future__ import annotations

from fractions import Fraction

from derive.matrices import poly
from derive.matrices.composite import hadamard
from derive.matrices.poly import Poly, identity, product, zero
from derive.matrices.words import Had, Key, Letter, Word, flip, is_ones


def merge_diagonals(p: Poly) -> Poly:
    """The same expression without diagonal matrices that stand before a column or after a row.

    >>> from derive.matrices.composite import diagonal
    >>> from derive.matrices.poly import atom
    >>> from derive.matrices.words import Atom
    >>> u, v, A = atom(Atom("u", "n", 1)), atom(Atom("v", "n", 1)), atom(Atom("A", "m", "n"))
    >>> merge_diagonals(A * diagonal(u) * v), merge_diagonals(v.T * diagonal(u) * v)
    (A*(u o v), ((u o v)'*v)*I)
    """
    total = zero(p.shape)
    for key, c in p.items():
        out = Poly(None, {Key(key.params, (), None): c})
        for word, e in key.traces:
            out = out * poly.power(_merged(word).trace(), e)
        if key.word is not None:
            assert p.shape is not None
            out = out * (_merged(key.word) if key.word else product((), p.shape[0]))
        total = total + out
    return total


def _merged(word: Word) -> Poly:
    """A word with its diagonal matrices merged into the column at its end, or the row at its beginning."""
    if word[-1].cols != 1:
        return _merged(flip(word)).T if word[0].rows == 1 else product(word, word[0].rows)
    out = product(word[-1:], word[-1].rows)
    for x in reversed(word[:-1]):
        u = diagonal_of(x)
        out = hadamard(u, out) if u is not None else product((x,), x.rows) * out
    return out


def diagonal_of(x: Letter) -> Poly | None:
    """u of a letter  diag(u) = I o (u 1'); None for all others."""
    comp = x.atom.comp
    if not isinstance(comp, Had) or x.atom.rows != x.atom.cols:
        return None
    unit = identity(x.atom.rows)
    found = [_column(f) for f in comp.factors if f != unit]
    if len(found) == len(comp.factors):
        return None
    columns = [u for u in found if u is not None]
    return hadamard(*columns) if len(columns) == len(found) else None


def _column(p: Poly) -> Poly | None:
    """u of  u 1'  or  1 u'."""
    (key,) = p.terms if len(p.terms) == 1 else (Key((), (), None),)
    word = key.word or ()
    if len(word) < 2 or key.params or key.traces or p.terms[key] != Fraction(1):
        return None
    if word[-1].t and is_ones(word[-1].atom) and word[-1].rows == 1:
        return product(word[:-1], word[0].rows)
    if not word[0].t and is_ones(word[0].atom) and word[0].cols == 1:
        return product(flip(word[1:]), word[-1].cols)
    return None
