"""Relations between matrices as rewrite rules of words:  A B ... -> P,  in open words, around traces, inside composites.

A rule replaces adjacent letters by an expression; its transpose is a rule too. Every right-hand side has words shorter than the
left one, or holds none of its letters, so rewriting ends. Rules come from the facts of a model (``X X' = m I``: white inputs)
and from Gram matrices (``Q Q' = M``). Imported by the passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from derive.errors import InvalidSpec
from derive.matrices.composite import atoms, inside, rebuilt, scalar_power
from derive.matrices.poly import Poly, constant, identity, monomial, param, product, text, zero
from derive.matrices.words import Key, Letter, Word, flip

PASSES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """The adjacent letters ``left`` equal the expression ``right``."""

    left: Word
    right: Poly

    def __post_init__(self) -> None:
        names = {x.atom.name for x in self.left}
        longest = max((len(k.word or ()) for k in self.right.terms), default=0)
        if longest >= len(self.left) and names & {a.name for a in atoms(self.right)}:
            raise InvalidSpec(f"the relation {shown(self.left)} = {text(self.right)} does not shorten words; turn it round")

    @property
    def turned(self) -> Relation:
        """The transposed relation."""
        return Relation(left=flip(self.left), right=self.right.T)

    def __str__(self) -> str:
        return f"{shown(self.left)} = {text(self.right)}"


def shown(word: Word) -> str:
    """Text of a word."""
    return text(product(word, word[0].rows))


def related(p: Poly, relations: Sequence[Relation]) -> Poly:
    """Apply relations until none fits.

    >>> from derive.matrices.poly import atom
    >>> from derive.matrices.words import Atom
    >>> A, M = Atom("A", "n", "m"), Atom("M", "n", "n", ("sym",))
    >>> rule = Relation(left=(Letter(A, False), Letter(A, True)), right=atom(M))
    >>> a = atom(A)
    >>> related(a * a.T * a, [rule]), related((a.T * a * a.T * a).trace(), [rule])
    (M*A, tr(M*M))
    """
    both = []
    for r in relations:
        both += [r] if r.turned.left == r.left else [r, r.turned]
    for _ in range(PASSES):
        new = _once(p, both)
        if new == p:
            return p
        p = new
    raise InvalidSpec(f"the relations {'; '.join(map(str, relations))} do not come to an end; orient them from long to short")


def _once(p: Poly, relations: Sequence[Relation]) -> Poly:
    """One replacement in every word that allows it."""
    total = zero(p.shape)
    for key, c in p.items():
        out = constant(c)
        for name, e in key.params:
            out = out * param(name, e)
        for word, e in key.traces:
            new = _trace(word, relations)
            out = out * (monomial(None, Key((), ((word, e),), None)) if new is None else scalar_power(new, e))
        if key.word is not None:
            assert p.shape is not None
            out = out * (_open(key.word, relations) if key.word else identity(p.shape[0]))
        total = total + out
    return total


def _open(word: Word, relations: Sequence[Relation]) -> Poly:
    for r in relations:
        n = len(r.left)
        for i in range(len(word) - n + 1):
            if word[i : i + n] == r.left:
                return product(word[:i], word[0].rows) * r.right * product(word[i + n :], r.left[-1].cols)
    out = identity(word[0].rows)
    for x in word:
        out = out * _letter(x, relations)
    return out


def _trace(word: Word, relations: Sequence[Relation]) -> Poly | None:
    """The trace of a rewritten word; None if nothing fits."""
    for r in relations:
        n = len(r.left)
        for i in range(len(word) if n <= len(word) else 0):
            turned = word[i:] + word[:i]
            if turned[:n] == r.left:
                return (r.right * product(turned[n:], r.left[-1].cols)).trace()
    if all(x.atom.comp is None for x in word):
        return None
    out = identity(word[0].rows)
    for x in word:
        out = out * _letter(x, relations)
    return out.trace()


def _letter(x: Letter, relations: Sequence[Relation]) -> Poly:
    if x.atom.comp is None:
        return product((x,), x.rows)
    parts = inside(x.atom.comp)
    changed = tuple(related(q, relations) for q in parts)
    if changed == parts:
        return product((x,), x.rows)
    new = rebuilt(x.atom.comp, changed)
    new = new * identity(1) if new.shape is None else new
    return new.T if x.t else new
