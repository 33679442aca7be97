"""Families of N-vectors and the names of their Gram matrices, the order parameters.

A family is a weight matrix with one axis of length N (one vector for each value of the other axis). With one learned family
and at most one fixed one the names are the customary ones, unless the user has taken them:

    Q = W W^T / N (learned),   R = W W*^T / N,   T = W* W*^T / N (fixed, a parameter).

Otherwise ``Q_A``, ``Q_A_B`` (learned), ``R_A_B`` (learned, fixed), ``T_A``, ``T_A_B`` (fixed). Vectors of different blocks
(axes of different infinite dimensions) have no overlap. Imported by `online_limit` and the extraction of the field rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from derive.errors import UnsupportedNode
from derive.indices.indexed import Index, Node, arr
from derive.spec.tree import Tree


def field_name(family: str, source: str) -> str:
    """Name of the field ``family . input / sqrt(N)``; a dot cannot occur in a user's name."""
    return f"{family}.{source}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlaps:
    """Gram matrices between families.

    Attributes
    ----------
    families : mapping name -> size
        Learned families first; the size is the dimension of the index axis, 1 for a single vector.
    learned : tuple of str
    names : mapping (A, B) -> str
        For A not after B in the order of ``families``.
    blocks : mapping name -> str
        The infinite dimension that a family has as its long axis; empty if there is one only.
    """

    families: Mapping[str, Tree]
    learned: tuple[str, ...]
    names: Mapping[tuple[str, str], str]
    blocks: Mapping[str, str] = field(default_factory=dict)

    def name(self, a: str, b: str) -> tuple[str, bool]:
        """Name of the Gram matrix of two families, and whether its axes are (b, a)."""
        if (a, b) in self.names:
            return self.names[a, b], False
        if (b, a) in self.names:
            return self.names[b, a], True
        raise UnsupportedNode(
            f"no overlap is defined between {a} and {b}; both must have an axis of the same length that tends to infinity"
        )

    def entry(self, a: str, i: Index | None, b: str, j: Index | None) -> Node:
        """``a_i . b_j / N``."""
        name, swapped = self.name(a, b)
        labels = (j, i) if swapped else (i, j)
        return arr(name, *(x for x in labels if x), symmetric=a == b)

    def kind(self, a: str, b: str) -> str:
        """``"learned"`` if the Gram matrix moves, else ``"fixed"``."""
        return "learned" if a in self.learned or b in self.learned else "fixed"

    def together(self, a: str, b: str) -> bool:
        """Whether two families live in the same block."""
        return self.blocks.get(a) == self.blocks.get(b)


def make_overlaps(
    learned: Mapping[str, Tree], fixed: Mapping[str, Tree], taken: Sequence[str], blocks: Mapping[str, str] | None = None
) -> Overlaps:
    """Names for all Gram matrices, none of them in ``taken``.

    >>> made = make_overlaps({"W": "K"}, {"Wstar": "M"}, taken=("R",))
    >>> made.names[("W", "W")], made.names[("W", "Wstar")]
    ('Q', 'R_W_Wstar')
    """
    families = {**learned, **fixed}
    where = blocks or {}
    order = list(families)
    conventional = len(learned) == 1 and len(fixed) <= 1
    names: dict[tuple[str, str], str] = {}
    used = list(taken)
    for n, a in enumerate(order):
        for b in order[n:]:
            if where.get(a) != where.get(b):
                continue
            letter = "Q" if b in learned else "R" if a in learned else "T"
            long = f"{letter}_{a}" if a == b else f"{letter}_{a}_{b}"
            options = ([letter] if conventional else []) + [long] + [f"{long}_{i}" for i in range(1, len(used) + 2)]
            names[a, b] = next(o for o in options if o not in used)
            used.append(names[a, b])
    return Overlaps(families=families, learned=tuple(learned), names=names, blocks=where)
