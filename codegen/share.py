"""Shared sub-words: the adjacent pair of letters whose product saves most, up to transposition, becomes a letter; repeat.

(A B)^T = B^T A^T counts as the same product. The saving is measured with the cost of whole chains, so that a shared product
of two matrices is not formed where two products with a column are cheaper. Imported by codegen only.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from codegen import chain
from derive.matrices.poly import Poly
from derive.matrices.words import Atom, Key, Letter, Word, flip, merge_traces, word_order

ROUNDS = 2000


def share(polys: dict[str, Poly], label: str = "\0P") -> dict[Atom, Word]:
    """Replace shared products in all equations, in place; returns the products by their new atoms."""
    made: dict[Atom, Word] = {}
    for n in range(ROUNDS):
        pair = _best(polys, made)
        if pair is None:
            break
        square = pair[0].rows == pair[1].cols and flip(pair) == pair
        atom = Atom(f"{label}{n}", pair[0].rows, pair[1].cols, ("sym",) if square else ())
        change = _replacer(pair, atom)
        for name, p in polys.items():
            polys[name] = rewrite(p, change)
        for known, word in list(made.items()):
            made[known] = change(word)
        made[atom] = pair
    return made


def rewrite(p: Poly, change: Callable[[Word], Word]) -> Poly:
    """Apply a change of words to every open word and trace."""
    terms = {}
    for key, c in p.terms.items():
        traces = merge_traces((change(w), e) for w, e in key.traces)
        terms[Key(key.params, traces, None if key.word is None else change(key.word))] = c
    return Poly(p.shape, terms)


def _canonical(a: Letter, b: Letter) -> Word:
    pair = (a, b)
    return min(pair, flip(pair), key=lambda w: (sum(x.t for x in w), word_order(w)))


def _replacer(pair: Word, atom: Atom) -> Callable[[Word], Word]:
    other = flip(pair)

    def change(word: Word) -> Word:
        out: list[Letter] = []
        n = 0
        while n < len(word):
            here = word[n : n + 2]
            if here in (pair, other):
                out.append(Letter(atom, here != pair and not atom.symmetric))
                n += 2
            else:
                out.append(word[n])
                n += 1
        return tuple(out)

    return change


def _occurrences(polys: dict[str, Poly], made: dict[Atom, Word]) -> list[tuple[Word, bool]]:
    """Every word that is multiplied out, with its kind (trace or not)."""
    out: list[tuple[Word, bool]] = [(w, False) for w in made.values()]
    traces: dict[Word, None] = {}
    for p in polys.values():
        for key, _ in p.items():
            if key.word and len(key.word) > 1:
                out.append((key.word, False))
            traces.update(dict.fromkeys(w for w, _ in key.traces if len(w) > 2))
    return out + [(w, True) for w in traces]


def _cost(word: Word, trace: bool) -> int:
    return chain.trace_split(word)[0] if trace else chain.cost(word)


def _best(polys: dict[str, Poly], made: dict[Atom, Word]) -> Word | None:
    words = _occurrences(polys, made)
    found: dict[Word, list[tuple[Word, bool]]] = {}
    for word, trace in words:
        pairs = dict.fromkeys(_canonical(a, b) for a, b in itertools.pairwise(word))
        for pair in pairs:
            found.setdefault(pair, []).append((word, trace))
    best: tuple[tuple[int, int, object], Word] | None = None
    for pair, where in found.items():
        change = _replacer(pair, Atom("\0", pair[0].rows, pair[1].cols))
        gain = sum(_cost(w, t) - _cost(change(w), t) for w, t in where) - chain.cost(pair)
        if gain > 0 and (best is None or (-gain, -len(where), word_order(pair)) < best[0]):
            best = ((-gain, -len(where), word_order(pair)), pair)
    return None if best is None else best[1]
