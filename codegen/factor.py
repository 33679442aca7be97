"""Kernel extraction: what several terms share to the left, to the right and as a scalar is multiplied once.

If terms of an equation read  c_m P M_m S  with one prefix P, suffix S and scalar factor, then K = sum_m c_m M_m / c_0 is a
kernel and the terms become  c_0 P K S. Kernels that agree up to transposition and a factor, in any equations, are one
candidate; the one that saves most is taken, and the search is repeated. Gradients of products thus become residuals times
forward and backward products. Imported by codegen only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from codegen import chain
from derive.matrices.poly import Poly, text
from derive.matrices.words import Atom, Key, Letter, Word, key_order, merge_params, merge_traces

ROUNDS = 200


@dataclass(frozen=True, slots=True)
class Use:
    """A group of terms in an equation: prefix, suffix, the terms, and the common factor as a scalar key with a coefficient."""

    equation: str
    prefix: Word
    suffix: Word
    keys: tuple[Key, ...]
    common: Key
    coefficient: Fraction
    transposed: bool


def extract(polys: dict[str, Poly], label: str = "\0E") -> dict[Atom, Poly]:
    """Replace kernels in all equations, in place; returns the kernels by their new atoms, in order of extraction."""
    kernels: dict[Atom, Poly] = {}
    names: dict[Atom, str] = {}
    for n in range(ROUNDS):
        found = _best(polys)
        if found is None:
            break
        kernel, uses = found
        assert kernel.shape is not None
        symmetric = kernel.shape[0] == kernel.shape[1] and kernel == kernel.T
        atom = Atom(f"{label}{n}", *kernel.shape, ("sym",) if symmetric else ())
        for use in uses:
            polys[use.equation] = _replaced(polys[use.equation], use, atom)
        names[atom] = atom.name
        polys[atom.name] = kernel
        kernels[atom] = kernel
    return {atom: polys[name] for atom, name in names.items()}


def _replaced(p: Poly, use: Use, atom: Atom) -> Poly:
    terms = {k: c for k, c in p.terms.items() if k not in use.keys}
    letter = Letter(atom, use.transposed and not atom.symmetric)
    key = Key(use.common.params, use.common.traces, (*use.prefix, letter, *use.suffix))
    terms[key] = terms.get(key, Fraction(0)) + use.coefficient
    return Poly(p.shape, terms)


def _best(polys: dict[str, Poly]) -> tuple[Poly, list[Use]] | None:
    """The kernel that saves most, and where it occurs."""
    uses: dict[Poly, list[Use]] = {}
    for name, p in polys.items():
        if p.shape is not None and len(p.terms) > 1:
            for prefix, suffix, keys in _groups(p):
                made = _kernel(name, p, prefix, suffix, keys)
                if made is not None:
                    uses.setdefault(made[0], []).append(made[1])
    best: tuple[tuple[int, int, str], Poly, list[Use]] | None = None
    for kernel, found in uses.items():
        kept = _disjoint(found)
        gain = sum(_saved(u, kernel) for u in kept) - sum(chain.cost(k.word or ()) for k in kernel.terms)
        if gain > 0:
            rank = (-gain, len(kernel.terms), text(kernel))
            if best is None or rank < best[0]:
                best = (rank, kernel, kept)
    return None if best is None else (best[1], best[2])


def _disjoint(found: list[Use]) -> list[Use]:
    """Uses without common terms, longest prefix and suffix first."""
    kept: list[Use] = []
    for use in sorted(found, key=lambda u: -len(u.prefix) - len(u.suffix)):
        if not any(o.equation == use.equation and any(k in o.keys for k in use.keys) for o in kept):
            kept.append(use)
    return kept


def _saved(use: Use, kernel: Poly) -> int:
    assert kernel.shape is not None
    letter = Letter(Atom("\0", *kernel.shape), use.transposed)
    before = sum(chain.cost(k.word or ()) for k in use.keys)
    return before - chain.cost((*use.prefix, letter, *use.suffix))


def _groups(p: Poly) -> Iterator[tuple[Word, Word, tuple[Key, ...]]]:
    """Groups of terms with a common prefix and suffix."""
    keys = [k for k, _ in p.items()]
    ends: dict[tuple[Word, Word], None] = {((), ()): None}
    for n, a in enumerate(keys):
        for b in keys[:n]:
            u, v = a.word or (), b.word or ()
            front, back = _common(u, v), _common(u[::-1], v[::-1])
            most = min(len(u), len(v))
            ends[u[:front], u[len(u) - min(back, most - front) :]] = None
            ends[u[: min(front, most - back)], u[len(u) - back :]] = None
    for prefix, suffix in ends:
        rows = tuple(k for k in keys if _framed(k.word or (), prefix, suffix))
        if len(rows) > 1:
            yield prefix, suffix, rows


def _common(u: Word, v: Word) -> int:
    n = 0
    while n < min(len(u), len(v)) and u[n] == v[n]:
        n += 1
    return n


def _framed(word: Word, prefix: Word, suffix: Word) -> bool:
    return (
        len(word) >= len(prefix) + len(suffix) and word[: len(prefix)] == prefix and word[len(word) - len(suffix) :] == suffix
    )


def _kernel(name: str, p: Poly, prefix: Word, suffix: Word, keys: tuple[Key, ...]) -> tuple[Poly, Use] | None:
    """Kernel of a group in canonical form, and its use."""
    assert p.shape is not None
    rows = prefix[-1].cols if prefix else p.shape[0]
    cols = suffix[0].rows if suffix else p.shape[1]
    middles = [(k.word or ())[len(prefix) : len(k.word or ()) - len(suffix)] for k in keys]
    if any(not m for m in middles) and rows != cols:
        return None
    params = [x for x in keys[0].params if all(x in k.params for k in keys)]
    traces = [x for x in keys[0].traces if all(x in k.traces for k in keys)]
    terms: dict[Key, Fraction] = {}
    for key, middle in zip(keys, middles, strict=True):
        rest = tuple(x for x in key.params if x not in params), tuple(x for x in key.traces if x not in traces)
        terms[Key(*rest, middle)] = p.terms[key]
    kernel, factor, transposed = _canonical(Poly((rows, cols), terms))
    common = Key(merge_params(params)[1], merge_traces(traces), None)
    return kernel, Use(name, prefix, suffix, keys, common, factor, transposed)


def _canonical(p: Poly) -> tuple[Poly, Fraction, bool]:
    """Of a kernel and its transpose the one with fewer transposed letters, leading coefficient 1."""
    choices = []
    for q, transposed in ((p, False), (p.T, True)):
        lead = q.terms[min(q.terms, key=lambda k: (*_plain(k), key_order(k)))]
        flips = sum(x.t for k in q.terms for x in k.word or ())
        one = q.scale(1 / lead)
        choices.append(((flips, text(one), transposed), one, lead, transposed))
    _, one, lead, transposed = min(choices, key=lambda c: c[0])
    return one, lead, transposed


def _plain(k: Key) -> tuple[int, int]:
    """Terms without scalar factors lead."""
    return len(k.params) + len(k.traces), len(k.word or ())
