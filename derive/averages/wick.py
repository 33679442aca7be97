"""Pairings of random matrices in words: the algebra of averages.

A pair of random letters X, Y with  E[A_ij B_kl] = L_ik S_jl  (swapped if A is transposed) is replaced, "parallel" if both or
neither are transposed, "cross" otherwise:

    X m Y  in one word             parallel: L m' S          cross: L tr(S' m)
    X  here,  tr(Y q)  elsewhere   parallel: X -> L q' S'    cross: X -> L q S'

A zero-mean Gaussian average is the sum over all pairings: take the first letter, pair it with each other one, recurse.
An average with given second moments is the single pairing of its two letters. Imported by `derive.averages.expect`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from fractions import Fraction

from derive.errors import BudgetExceeded, UnsupportedNode
from derive.matrices.composite import letter_mentions
from derive.matrices.poly import Poly, constant, monomial, product, text, zero
from derive.matrices.words import Atom, Key, Letter, Word

Covariance = Callable[[Atom, Atom], tuple[Poly, Poly] | None]

#: Largest number of random factors in a monomial; the number of pairings is (degree - 1)!!.
DEGREE_CAP = 12


def random_letters(key: Key, names: Collection[str]) -> int:
    """Number of random letters in a monomial, with multiplicity.

    Raises
    ------
    UnsupportedNode
        If a random letter is inside a composite, or under a power that is no natural number.
    """
    count = 0
    for word, e in (*key.traces, *(((key.word, Fraction(1)),) if key.word else ())):
        found = [x for x in word if x.atom.name in names]
        for x in word:
            if x.atom.comp is not None and any(letter_mentions(x, n) for n in names):
                inside = sorted(n for n in names if letter_mentions(x, n))
                raise UnsupportedNode(
                    f"average of {x.atom.name}: the random {', '.join(inside)} stands inside a nonlinear function, which "
                    "words cannot average; use population_flow or online_limit (Gaussian fields), or bind the data (exact sum)"
                )
        if found and (e.denominator != 1 or e < 0):
            raise UnsupportedNode(
                f"average of a power {e} of a random number with {found[0].atom.name}: only natural powers have moments"
            )
        count += len(found) * int(e) if found else 0
    return count


def contract(key: Key, names: Collection[str], shape: tuple[object, object] | None, pair: Covariance) -> Poly:
    """Sum over the partners of the first random letter of a monomial, each pair replaced by its covariance."""
    outer, words, open_word = _unfold(key, names)
    total = zero(shape)
    tail = constant(1) if shape is None else product(open_word or (), shape[0])
    for rest in _first_with_partners(words, open_word, tail, names, pair):
        total = total + outer * rest
    return total


def _unfold(key: Key, names: Collection[str]) -> tuple[Poly, list[Word], Word | None]:
    """The non-random scalar part, random trace words repeated by multiplicity, the open word."""
    kept, words = [], []
    for word, e in key.traces:
        if any(x.atom.name in names for x in word):
            words += [word] * int(e)
        else:
            kept.append((word, e))
    return monomial(None, Key(key.params, tuple(kept), None)), words, key.word


def _first_with_partners(
    words: list[Word], open_word: Word | None, tail: Poly, names: Collection[str], pair: Covariance
) -> list[Poly]:
    """One Poly per partner. The first letter is taken from the open word if it has one, else from the first trace."""
    places = [i for i, x in enumerate(open_word or ()) if x.atom.name in names]
    if open_word is not None and places:
        first, here, others, closed = places[0], open_word, words, False
    else:
        first, here, others, closed = 0, _turned(words[0], names), words[1:], True
    x = here[first]
    out = []
    before, after = here[:first], here[first + 1 :]
    rest_open = tail if closed else constant(1)
    for i, y in enumerate(after):
        if y.atom.name in names:
            found = _oriented(x, y, pair)
            if found is not None:
                left, right, parallel = found
                m = product(after[:i], x.cols)
                middle = left * m.T * right if parallel else left * (right.T * m).trace()
                line = product(before, here[0].rows) * middle * product(after[i + 1 :], y.cols)
                out.append(_closed(line, closed) * rest_open * _traces(others))
    for k, word in enumerate(others):
        for i, y in enumerate(word):
            if y.atom.name in names:
                found = _oriented(x, y, pair)
                if found is not None:
                    left, right, parallel = found
                    q = product(word[i + 1 :] + word[:i], y.cols)
                    middle = left * (q.T if parallel else q) * right.T
                    line = product(before, here[0].rows) * middle * product(after, x.cols)
                    out.append(_closed(line, closed) * rest_open * _traces(others[:k] + others[k + 1 :]))
    return out


def _turned(word: Word, names: Collection[str]) -> Word:
    """A trace word rotated so that a random letter stands first."""
    i = next(i for i, x in enumerate(word) if x.atom.name in names)
    return word[i:] + word[:i]


def _closed(line: Poly, closed: bool) -> Poly:
    return line.trace() if closed else line


def _traces(words: list[Word]) -> Poly:
    out = constant(1)
    for w in words:
        out = out * product(w, 1).trace()
    return out


def _oriented(x: Letter, y: Letter, pair: Covariance) -> tuple[Poly, Poly, bool] | None:
    found = pair(x.atom, y.atom)
    if found is None:
        return None
    left, right = (found[1], found[0]) if x.t else found
    return left, right, x.t == y.t


def gaussian_average(p: Poly, names: Collection[str], pair: Covariance) -> Poly:
    """Average over zero-mean jointly Gaussian matrices of these names.

    Parameters
    ----------
    p : Poly
    names : collection of str
    pair : callable
        (A, B) -> (L, S) with E[A_ij B_kl] = L_ik S_jl, or None if they are declared independent.

    Raises
    ------
    BudgetExceeded
        If a monomial has more than 12 random factors.

    >>> from derive.matrices.poly import atom, identity
    >>> X = Atom("X", "N", "T")
    >>> gaussian_average(atom(X) * atom(X).T, ["X"], lambda a, b: (identity("N"), identity("T")))
    T*I
    """
    return _average(p, tuple(sorted(names)), pair, {})


def _average(p: Poly, names: tuple[str, ...], pair: Covariance, memo: dict[tuple[object, Key], Poly]) -> Poly:
    total = zero(p.shape)
    for key, c in p.items():
        degree = random_letters(key, names)
        if degree > DEGREE_CAP:
            raise BudgetExceeded(
                f"average of {text(monomial(p.shape, key))}: {degree} Gaussian factors, "
                f"at most {DEGREE_CAP} are paired; lower the degree"
            )
        if degree % 2:
            continue
        if degree == 0:
            total = total + monomial(p.shape, key, c)
            continue
        scalars = Poly(None, {Key(key.params, (), None): c})
        core = Key((), key.traces, key.word)
        if (p.shape, core) not in memo:
            memo[p.shape, core] = _average(contract(core, names, p.shape, pair), names, pair, memo)
        total = total + scalars * memo[p.shape, core]
    return total
