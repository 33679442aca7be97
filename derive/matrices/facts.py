"""Facts of a model as relations between its given arrays, used by `gradient_flow` to simplify what it derives.

    Eq(X*X.T, m*Identity(d))     X X' -> m I          (white inputs; read from the longer side to the shorter one)
    Eq(Sx, Identity(d))          Sx -> I              (a given array is replaced by what it equals)
    Eq(K, K.T)                   K is symmetric       (`derive.flows.parts.tags_of`)

A fact whose two sides have equally long words is no rule, and stays what it is: an assumption that is measured on data.
Imported by `derive.flows.flow`.
"""

from __future__ import annotations

from collections.abc import Callable

from derive.errors import DerivationError
from derive.matrices.composite import mentions
from derive.matrices.poly import Poly, power
from derive.matrices.relations import Relation
from derive.matrices.words import Key
from derive.spec.lowered import Lowered
from derive.spec.tree import Tree


def relations_of(lowered: Lowered, read: Callable[[Tree], Poly]) -> tuple[Relation, ...]:
    """The facts that are rules, in the order of the model."""
    found = []
    for left, right in lowered.facts:
        try:
            sides = read(left), read(right)
        except DerivationError:
            continue  # a fact about something that words do not express; it is printed as an assumption
        made = relation(*sides) or relation(sides[1], sides[0])
        if made is not None:
            found.append(made)
    return tuple(found)


def relation(left: Poly, right: Poly) -> Relation | None:
    """``left = right`` as a rule for the word of ``left``; None if it is none.

    >>> from derive.matrices.poly import atom, identity
    >>> from derive.matrices.words import Atom
    >>> X = atom(Atom("X", "d", "m"))
    >>> print(relation((X * X.T).scale(2), identity("d")))
    X*X' = 1/2*I
    """
    if left.shape is None or len(left.terms) != 1:
        return None
    ((key, c),) = left.items()
    word = key.word or ()
    if not word or key.traces or any(x.atom.comp is not None for x in word):
        return None
    longest = max((len(k.word or ()) for k in right.terms), default=0)
    alone = len(word) == 1 and not mentions(right, word[0].atom.name)
    if longest >= len(word) and not alone:
        return None
    scale = Poly(None, {Key(key.params, (), None): c})
    return Relation(left=word, right=power(scale, -1) * right)  # type: ignore[arg-type]
