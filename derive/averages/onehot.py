"""Averages over a random unit column s (one item out of P): exact, also through nonlinear functions.

A unit column selects, so it moves through everything that acts entry by entry:

    f(A s + b) = f(A + b 1') s          (A s) o (B s) = (A o B) s          (u's)(v's) = (u o v)'s          s'A s = diag(A)'s

After these rules a monomial holds s in one place only, or as s s' between two matrices, and  E[s] = p,  E[s s'] = diag(p)
with the probabilities p (1/P each if none are given). Imported by `derive.averages.expect`.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from derive.errors import UnsupportedNode
from derive.matrices.composite import diagonal, elem, hadamard, letter_mentions, ones, scalar_power
from derive.matrices.poly import Poly, atom, constant, identity, monomial, param, product, text, zero
from derive.matrices.words import Atom, Elem, Had, Key, Letter, Word, flip


def average_over_items(p: Poly, item: Atom, probabilities: Poly | None = None) -> Poly:
    """Average over the unit column ``item``; ``probabilities`` is a column, None for equal ones.

    Raises
    ------
    UnsupportedNode
        If the item is inside an inverse, or inside a function of a matrix.

    >>> A, s = atom(Atom("A", "N", "P")), Atom("s", "P", 1)
    >>> average_over_items(elem("tanh", A * atom(s)), s)
    tanh(A)*ones[P,1]/P
    """
    total = zero(p.shape)
    for key, c in pulled_out(p, item).items():
        total = total + _averaged(key, item, probabilities, p.shape).scale(c)
    return without_diagonals(total)


def without_diagonals(p: Poly) -> Poly:
    """Products with diagonal matrices as elementwise ones, F diag(v) = F o (1 v'), where F is elementwise itself.

    >>> A, v, B = atom(Atom("A", "n", "m")), atom(Atom("v", "m", 1)), atom(Atom("B", "m", "k"))
    >>> without_diagonals(elem("tanh", A) * diagonal(v) * B)
    (ones[n,1]*v' o tanh(A))*B
    """
    total = zero(p.shape)
    for key, c in p.items():
        out = monomial(None, Key(key.params, (), None), c)
        for word, e in key.traces:
            found = _absorbed(word)
            out = out * (monomial(None, Key((), ((word, e),), None)) if found is None else scalar_power(found.trace(), e))
        if key.word is not None:
            found = _absorbed(key.word)
            out = out * (monomial(p.shape, Key((), (), key.word)) if found is None else found)
        total = total + out
    return total if total == p else without_diagonals(total)


def _absorbed(word: Word) -> Poly | None:
    """The word with its first diagonal matrix beside an elementwise letter absorbed; None if there is none."""
    for i, x in enumerate(word):
        v = _diagonal_of(x)
        if v is None:
            continue
        for j, left in ((i - 1, False), (i + 1, True)):
            if 0 <= j < len(word) and isinstance(word[j].atom.comp, Elem | Had) and _diagonal_of(word[j]) is None:
                f = product((word[j],), word[j].rows)
                assert f.shape is not None
                row = v * ones(f.shape[1], 1).T if left else ones(f.shape[0], 1) * v.T
                before, after = word[: min(i, j)], word[max(i, j) + 1 :]
                return product(before, word[0].rows) * hadamard(f, row) * product(after, word[max(i, j)].cols)
    return None


def _diagonal_of(x: Letter) -> Poly | None:
    """v of a letter diag(v) = I o (v 1')."""
    comp = x.atom.comp
    if not isinstance(comp, Had) or identity(x.rows) not in comp.factors:
        return None
    rest = [f for f in comp.factors if f != identity(x.rows)]
    return hadamard(*comp.factors) * ones(x.rows, 1) if len(rest) != 1 else _column_of(rest[0], x.rows)


def _column_of(f: Poly, size: object) -> Poly:
    """v with I o F = diag(v): v of F = v 1' or 1 v', else the diagonal of F."""
    ((key, c),) = f.terms.items()
    one = ones(size, 1)
    for word in (key.word or (), flip(key.word or ())):
        if len(word) > 1 and product(word[-1:], word[-1].rows) == one.T:
            return product(word[:-1], size).scale(c)
    return hadamard(identity(size), f) * one


def pulled_out(p: Poly, item: Atom) -> Poly:
    """The same expression with the unit column outside of every composite, under natural powers only."""
    total = zero(p.shape)
    for key, c in p.items():
        out = monomial(None, Key(key.params, (), None), c)
        for word, e in key.traces:
            out = out * _pulled_power(word, e, item)
        if key.word is not None:
            assert p.shape is not None
            out = out * (_pulled_word(key.word, item) if key.word else identity(p.shape[0]))
        total = total + out
    return total


def _pulled_power(word: Word, e: Fraction, item: Atom) -> Poly:
    if not any(letter_mentions(x, item.name) for x in word):
        return monomial(None, Key((), ((word, e),), None))
    inner = _pulled_word(word, item).trace()
    if e.denominator == 1 and e > 0:
        return scalar_power(inner, e)
    if e.denominator > 2:
        raise UnsupportedNode(f"power {e} of {text(inner)} in an average over items: integer and half-integer powers are known")
    row = columns_of(inner * identity(1), item)  # (u's)^e = (u^e)'s, entry by entry
    base = elem("sqrt", row) if e.denominator == 2 else row
    base = elem("inv", base) if e < 0 else base
    return (hadamard(*[base] * abs(e.numerator)) * atom(item)).trace()


def _pulled_word(word: Word, item: Atom) -> Poly:
    out = _pulled_letter(word[0], item)
    for x in word[1:]:
        out = out * _pulled_letter(x, item)
    return out


def _pulled_letter(x: Letter, item: Atom) -> Poly:
    comp = x.atom.comp
    if comp is None or not letter_mentions(x, item.name):
        new = atom(x.atom)
    elif isinstance(comp, Elem):
        new = _through([pulled_out(comp.argument, item)], item, lambda a: elem(comp.function, a, comp.order))
    elif isinstance(comp, Had):
        new = _through([pulled_out(f, item) for f in comp.factors], item, hadamard)
    else:
        raise UnsupportedNode(f"average of {x.atom.name} over the items {item.name}: an inverse of a random matrix has no word")
    return new.T if x.t else new


def _through(arguments: list[Poly], item: Atom, entrywise: Callable[..., Poly]) -> Poly:
    """An entrywise function of columns, rows or numbers that hold the unit column."""
    columns = [a * identity(1) if a.shape is None else a for a in arguments]
    assert columns[0].shape is not None
    rows, cols = columns[0].shape
    if cols == 1:
        return entrywise(*(columns_of(a, item) for a in columns)) * atom(item)
    if rows == 1:
        return (entrywise(*(columns_of(a.T, item) for a in columns)) * atom(item)).T
    raise UnsupportedNode(
        f"a function of the matrix {text(columns[0])}: only columns can be averaged over the items {item.name}"
    )


def columns_of(p: Poly, item: Atom) -> Poly:
    """The matrix A with p = A s, for a column p; terms without s are the same for every item."""
    assert p.shape is not None
    total = zero((p.shape[0], item.rows))
    for key, c in p.items():
        scalars, weights = _scalars(key, item)
        word = key.word or ()
        if word and word[-1] == Letter(item, False):
            matrix = product(word[:-1], p.shape[0])
        else:
            matrix = product(word, p.shape[0]) * ones(item.rows, 1).T
        if weights:
            matrix = hadamard(matrix, *(ones(p.shape[0], 1) * w.T for w in weights))
        total = total + scalars.scale(c) * matrix
    return total


def _scalars(key: Key, item: Atom) -> tuple[Poly, list[Poly]]:
    """Scalar factors without the unit column, and the columns u of the factors u's."""
    kept, weights = [], []
    for word, e in key.traces:
        if any(x.atom == item for x in word):
            weights += [_weight(word, item)] * int(e)
        else:
            kept.append((word, e))
    return monomial(None, Key(key.params, tuple(kept), None)), weights


def _weight(word: Word, item: Atom) -> Poly:
    """The column u with  word = u's, for a scalar word: u's or s'A s."""
    places = [i for i, x in enumerate(word) if x.atom == item]
    if len(places) == 2:
        return hadamard(identity(item.rows), product(word[1:-1], item.rows)) * ones(item.rows, 1)
    i = places[0]
    rest = word[i + 1 :] + word[:i]
    return product(rest if word[i].t else flip(rest), item.rows)


def _averaged(key: Key, item: Atom, probabilities: Poly | None, shape: tuple[object, object] | None) -> Poly:
    """Average of one monomial in which the unit column stands outside of composites."""
    square = next((w for w, e in key.traces if e == 1 and sum(x.atom == item for x in w) == 2), None)
    if square is not None and not any(x.atom == item for x in key.word or ()):
        # s'A s u's averages to tr(diag(u o p) A)
        key = Key(key.params, tuple(t for t in key.traces if t[0] != square), key.word)
    else:
        square = None
    outer, weights = _scalars(key, item)
    word = key.word or ()
    places = [i for i, x in enumerate(word) if x.atom == item]
    if square is None and not weights and not places:
        return monomial(shape, key)
    size = item.rows
    if probabilities is None:
        outer = outer * (constant(Fraction(1, size)) if isinstance(size, int) else param(str(size), -1))
    else:
        weights = [*weights, probabilities]
    weight = hadamard(*weights) if weights else ones(size, 1)
    if not places:
        if square is None:
            mean = outer * (ones(size, 1).T * weight).trace()
        else:
            inner = product(square[1:-1], size)
            mean = outer * (diagonal(weight) * inner if weights else inner).trace()
        return mean if key.word is None else mean * product(word, shape[0] if shape else 1)
    i, j = places[0], places[-1]
    if len(places) == 1:
        middle = weight.T if word[i].t else weight
    elif (word[i].t, word[j].t, j) == (False, True, i + 1):
        middle = diagonal(weight) if weights else identity(size)
    else:
        raise UnsupportedNode(f"average over the items {item.name} of {text(monomial(shape, key))}: this word has no rule")
    return outer * product(word[:i], word[i].rows) * middle * product(word[j + 1 :], word[j].cols)
