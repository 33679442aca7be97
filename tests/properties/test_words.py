"""Normal form of words, and the algebra of `Poly`.

Roads: equal words by construction (rotation, transposition, commutation of diagonal letters, insertion of R R^T) against
equality of normal forms; the dictionary algebra against plain NumPy products of the same letters. Every sweep has a fixed seed.
"""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest

from derive.errors import ShapeMismatch
from derive.matrices.composite import elem, hadamard, inverse
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import atom, constant, identity, param, product
from derive.matrices.words import Atom, Letter, flip, normal_open, normal_trace

SQUARE = (
    Atom("A", "n", "n"),
    Atom("B", "n", "n"),
    Atom("S", "n", "n", ("sym",)),
    Atom("D", "n", "n", ("diag",)),
    Atom("E", "n", "n", ("diag",)),
    Atom("R", "n", "n", ("orth", "square")),
)
ANY = (*SQUARE, Atom("u", "n", 1), Atom("v", "n", 1), Atom("M", "n", "m"), Atom("C", "m", "m"))
SIZES = {"n": 3, "m": 2, 1: 1}
COUNT = 10_000


def letter(rng: random.Random, atoms) -> Letter:
    a = rng.choice(atoms)
    return Letter(a, not a.symmetric and rng.random() < 0.5)


def commuted(word, rng):
    """Swap one adjacent pair of diagonal letters."""
    places = [i for i in range(len(word) - 1) if "diag" in word[i].atom.tags and "diag" in word[i + 1].atom.tags]
    if not places:
        return word
    i = rng.choice(places)
    return (*word[:i], word[i + 1], word[i], *word[i + 2 :])


def inserted(word, rng):
    """Insert R R^T or R^T R, which is the identity."""
    i, r = rng.randrange(len(word) + 1), Letter(SQUARE[5], rng.random() < 0.5)
    return (*word[:i], r, r.flip(), *word[i:])


def test_trace_words_equal_by_construction_have_one_normal_form():
    rng = random.Random(1)
    for _ in range(COUNT):
        word = tuple(letter(rng, SQUARE) for _ in range(rng.randint(1, 8)))
        other = word
        for _ in range(3):
            change = rng.choice(
                (commuted, inserted, lambda w, r: flip(w), lambda w, r: (*w[(k := r.randrange(len(w))) :], *w[:k]))
            )
            other = change(other, rng)
        assert normal_trace(word, "n") == normal_trace(other, "n"), (word, other)


def test_open_words_equal_by_construction_have_one_normal_form():
    rng = random.Random(2)
    for _ in range(COUNT):
        word = tuple(letter(rng, SQUARE) for _ in range(rng.randint(1, 8)))
        other = word
        for _ in range(3):
            other = rng.choice((commuted, inserted))(other, rng)
        assert normal_open(word) == normal_open(other), (word, other)


def test_different_words_stay_different():
    """The normal form must not merge: words that differ numerically at a random point have different forms."""
    rng, numbers = random.Random(3), np.random.default_rng(3)
    values = arrays(numbers)
    seen: dict[object, float] = {}
    for _ in range(2000):
        word = tuple(letter(rng, SQUARE) for _ in range(rng.randint(1, 5)))
        value = float(np.trace(plain(word, values)))
        form = (tuple(normal_trace(word, "n")[0]), tuple(normal_trace(word, "n")[1]))
        assert abs(seen.setdefault(form, value) - value) < 1e-10 * (1 + abs(value))  # rounding of five products


def test_diagonal_runs_are_sorted_before_the_smallest_rotation_is_taken():
    """The order of these two steps is what a naive normal form gets wrong."""
    D, E, A = (Letter(SQUARE[i], False) for i in (3, 4, 0))
    assert normal_trace((E, A, D), "n") == normal_trace((D, E, A), "n") == normal_trace((A, E, D), "n")


def arrays(rng) -> dict[str, np.ndarray]:
    out = {}
    for a in ANY:
        value = rng.standard_normal((SIZES[a.rows], SIZES[a.cols]))
        if "sym" in a.tags:
            value = value + value.T
        if "diag" in a.tags:
            value = np.diag(np.diag(value))
        if "orth" in a.tags:
            value = np.linalg.qr(value)[0]
        out[a.name] = value
    return out


def plain(word, values):
    """Product of the letters, as typed."""
    out = None
    for x in word:
        m = values[x.atom.name].T if x.t else values[x.atom.name]
        out = m if out is None else out @ m
    return out


def fitting(rng, length):
    """A random word whose letters fit."""
    word = [letter(rng, ANY)]
    while len(word) < length:
        x = letter(rng, ANY)
        if x.rows == word[-1].cols:
            word.append(x)
    return tuple(word)


def test_products_sums_traces_and_transposes_agree_with_arrays():
    rng, numbers = random.Random(4), np.random.default_rng(4)
    values = arrays(numbers)
    for _ in range(600):
        word = fitting(rng, rng.randint(1, 7))
        cut = rng.randint(1, len(word))
        p = product(word[:cut], word[0].rows)
        if cut < len(word):
            p = p * product(word[cut:], word[cut].rows)
        direct = plain(word, values)
        scale = 1e-12 * (1 + np.abs(direct).max())  # seven products of O(1) numbers
        assert np.abs(evaluate(p, values) - direct).max() < scale
        assert np.abs(evaluate(p.T, values) - direct.T).max() < scale
        square = p * p.T - p.scale(Fraction(2, 3)) * p.T
        assert np.abs(evaluate(square, values, sizes=SIZES) - direct @ direct.T / 3).max() < 1e-11 * (
            1 + np.abs(direct).max() ** 2
        )
        assert abs(evaluate((p * p.T).trace(), values, sizes=SIZES) - np.sum(direct**2)) < 1e-11 * (1 + np.sum(direct**2))


def test_scalars_leave_words_and_sizes_are_numbers():
    u, v, A = (atom(ANY[i]) for i in (6, 7, 0))
    assert u * v.T * u == (v.T * u).trace() * u
    assert (u * v.T).trace() == (v.T * u).trace() == (u.T * v).trace()
    assert identity("n").trace() == param("n")
    R = atom(SQUARE[5])
    assert R * R.T == R.T * R == identity("n")
    assert (R * A * R.T).trace() == A.trace()
    tall = atom(Atom("Q", "n", "m", ("orth",)))
    assert tall.T * tall == identity("m")
    assert tall * tall.T != identity("n")


def test_radicals_are_exact():
    assert param("12", Fraction(1, 2)) == param("3", Fraction(1, 2)).scale(2)
    assert param("2", Fraction(-1, 2)) * param("2", Fraction(-1, 2)) == constant(Fraction(1, 2))


def test_composites_have_one_form():
    A, B, u, v, w = atom(SQUARE[0]), atom(SQUARE[1]), *(atom(Atom(n, "n", 1)) for n in "uvw")
    assert hadamard(u, hadamard(v, w)) == hadamard(hadamard(w, u), v)
    assert hadamard(A.T, A.T) + hadamard(B.T, A.T) == hadamard(A + B, A).T
    assert elem("tanh", B.T * A) == elem("tanh", A.T * B).T
    assert inverse(A.T) == inverse(A).T
    assert inverse(inverse(A)) == A


def test_misfitting_shapes_are_refused():
    A, M, u = atom(ANY[0]), atom(ANY[8]), atom(ANY[6])
    with pytest.raises(ShapeMismatch, match="M has m columns but A has n rows"):
        M * A
    with pytest.raises(ShapeMismatch, match="cannot add u"):
        A + u
    with pytest.raises(ShapeMismatch, match="square"):
        M.trace()
    with pytest.raises(ShapeMismatch, match="equal shapes"):
        hadamard(A, M)
