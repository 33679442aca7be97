"""Why a set of observables does not close: the word that is too much, the factor that repeats in it, the remedy that fits.

An infinite family of observables is one word with a factor that occurs more and more often (k' L L L q, W3 W2 W2' W2 ...).
The factor is found by looking for the longest stretch of a word that is a power. If it holds states, a relation among them is
missing; if it is given, the data are too general. Imported by `derive.completion.closure`.
"""

from __future__ import annotations

from collections.abc import Sequence

from derive.completion.units import Reader, UnitKey
from derive.errors import NotClosed
from derive.matrices.poly import product, text
from derive.matrices.words import Word


def repeated_factor(word: Word) -> Word:
    """The factor of the longest power inside a word, each letter seen as it is written; empty if nothing repeats.

    >>> from derive.matrices.words import Atom, Letter
    >>> k, L, q = (Letter(Atom(n, *s), False) for n, s in (("k", (1, "D")), ("L", ("D", "D")), ("q", ("D", 1))))
    >>> [x.atom.name for x in repeated_factor((k, L, L, L, q))]
    ['L']
    """
    best: Word = ()
    covered = 0
    for size in range(1, len(word) // 2 + 1):
        for start in range(len(word) - 2 * size + 1):
            factor, times = word[start : start + size], 1
            while word[start + times * size : start + (times + 1) * size] == factor:
                times += 1
            if times > 1 and times * size > covered:
                best, covered = factor, times * size
    return best


def refusal(name: str, key: UnitKey, parent: UnitKey | None, reader: Reader, units: Sequence[UnitKey], why: str) -> NotClosed:
    """The error for a unit that is too much."""
    longest = max((key, *units), key=lambda u: u.length)
    factor = repeated_factor(longest.word) or repeated_factor(key.word)
    asked = f"the rate of {parent} needs {_short(str(key))}" if parent is not None else f"{_short(str(key))} was asked for"
    if not factor:
        return NotClosed(
            f"{name}: these observables do not close: {asked}, {why}. No factor repeats, so the closure may be finite: raise "
            "cap or max_length, or choose other observables"
        )
    shown = text(product(factor, factor[0].rows))
    if any(reader.moves(x) for x in factor):
        cause = f"the hidden factor {shown} repeats"
        remedy = (
            f"state a relation that removes {shown}: reduce(flow, Modes()) or a Manifold on which the layers are balanced or "
            "aligned, then complete the reduced system"
        ) + ("" if reader.external else "; or ask for matrices instead of numbers (W2*W1), which may close")
    else:
        cause = f"the given factor {shown} repeats"
        remedy = (
            f"take {shown} isotropic (a number instead of a matrix), diagonalise it with Modes, or ask for matrices "
            "instead of numbers, for instance W2*W1 instead of its trace"
        )
    return NotClosed(f"{name}: these observables do not close: {asked}, {why}; {cause}. Remedy: {remedy}")


def _short(shown: str) -> str:
    return shown if len(shown) <= 120 else shown[:117] + "..."
