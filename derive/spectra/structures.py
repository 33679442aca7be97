"""Structured symmetric matrices as data: what `derive.spectra.spectral` can diagonalise with symbols in sizes and entries.

    Tree      ultrametric: entry (i, j) is the value of the depth at which the branches of leaves i and j part
    Bits      a I + c 11' + sum_g w_g B_g on all 2^n items of n bits +-1;  B_g = sum over the bits of group g of x x'
    Circulant entry (i, j) is row[(j - i) mod n], symmetric
    Kron      A (x) B;      KronSum  A (x) I + I (x) B
    RankOne   A + w 11', where the constant vector 1 is an eigenvector of A
    Plus      sum of matrices of one frame

Imported by users and by `derive.spectra.spectral`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import sympy as sp

from derive.errors import InvalidSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Ultrametric matrix of a tree: hierarchically block-constant.

    Parameters
    ----------
    branching : tuple
        Children of a node at depth 0, 1, ...; integers or positive integer symbols.
    values : tuple
        ``values[k]``: entry of two leaves whose last common ancestor has depth k; the last one stands on the diagonal.

    Raises
    ------
    InvalidSpec
        If there is not one value more than there are branchings.

    >>> Tree(branching=(2, 3), values=(0, 1, 5)).size
    6
    """

    branching: tuple[Any, ...]
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.branching or len(self.values) != len(self.branching) + 1:
            raise InvalidSpec(
                f"Tree: {len(self.branching)} branchings have {len(self.branching) + 1} depths, but {len(self.values)} values "
                "are given; give one value for each depth, the last one for the diagonal"
            )
        object.__setattr__(self, "branching", sympified("Tree.branching", self.branching))
        object.__setattr__(self, "values", sympified("Tree.values", self.values))

    @property
    def size(self) -> sp.Expr:
        """Number of leaves."""
        return sp.Mul(*self.branching)


def diffusion_tree(depth: int, flip: Any, branching: Any = 2) -> Tree:
    """Similarity of leaves whose features diffuse down a tree and flip their sign with probability ``flip`` on every edge.

    .. math:: C_{ij} = (1 - 2\\epsilon)^{2 (D - 1 - k)}

    for leaves of last common depth k in a tree of D = ``depth`` levels, so D - 1 branchings.

    >>> diffusion_tree(3, sp.Rational(1, 4)).values
    (1/16, 1/4, 1)
    """
    if not isinstance(depth, int) or depth < 2:
        raise InvalidSpec(f"diffusion_tree: depth={depth!r}; give at least 2 levels, root and leaves")
    q = (1 - 2 * number("diffusion_tree.flip", flip)) ** 2
    return Tree(branching=(branching,) * (depth - 1), values=tuple(q ** (depth - 1 - k) for k in range(depth)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bits:
    """Gram matrix over all items of n bits +-1 (n = total count of the groups), one weight for each group of bits.

    Parameters
    ----------
    groups : tuple of (count, weight)
        Numbers of bits and the weight of their x x' (0: the bits of this group are not shown).
    identity, constant : expression
        Coefficients of I and of 11'.

    >>> Bits(groups=((3, 1),), identity=2).size
    8
    """

    groups: tuple[tuple[Any, Any], ...]
    identity: Any = 0
    constant: Any = 0

    def __post_init__(self) -> None:
        if not self.groups or any(not isinstance(g, tuple) or len(g) != 2 for g in self.groups):
            raise InvalidSpec("Bits: give groups of bits as pairs (count, weight), for instance groups=((n, 1),)")
        object.__setattr__(self, "groups", tuple(sympified("Bits.groups", g) for g in self.groups))
        object.__setattr__(self, "identity", number("Bits.identity", self.identity))
        object.__setattr__(self, "constant", number("Bits.constant", self.constant))

    @property
    def size(self) -> sp.Expr:
        """Number of items."""
        return sp.Integer(2) ** sp.Add(*(count for count, _ in self.groups))


@dataclass(frozen=True, slots=True, kw_only=True)
class Circulant:
    """Symmetric circulant matrix of a first row of fixed length, with symbols as entries.

    Raises
    ------
    InvalidSpec
        If the row is not symmetric, row[k] = row[n - k].

    >>> Circulant(row=(2, 1, 0, 1)).size
    4
    """

    row: tuple[Any, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "row", sympified("Circulant.row", self.row))
        for k in range(1, len(self.row)):
            if sp.expand(self.row[k] - self.row[-k]) != 0:
                raise InvalidSpec(
                    f"Circulant: row[{k}] = {self.row[k]} but row[-{k}] = {self.row[-k]}; a symmetric one needs them equal"
                )

    @property
    def size(self) -> sp.Expr:
        """Number of rows."""
        return sp.Integer(len(self.row))


@dataclass(frozen=True, slots=True)
class Kron:
    """Kronecker product of two structured matrices; the first index is the slow one."""

    first: Structure
    second: Structure

    @property
    def size(self) -> sp.Expr:
        """Number of rows."""
        return self.first.size * self.second.size


@dataclass(frozen=True, slots=True)
class KronSum:
    """Kronecker sum A (x) I + I (x) B of two structured matrices."""

    first: Structure
    second: Structure

    @property
    def size(self) -> sp.Expr:
        """Number of rows."""
        return self.first.size * self.second.size


@dataclass(frozen=True, slots=True, kw_only=True)
class RankOne:
    """``base + weight * 11'``: for instance an input that is 1 for every item, added to a Gram matrix."""

    base: Structure
    weight: Any = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", number("RankOne.weight", self.weight))

    @property
    def size(self) -> sp.Expr:
        """Number of rows."""
        return self.base.size


@dataclass(frozen=True, slots=True, init=False)
class Plus:
    """Sum of structured matrices of one frame (the same branching, groups of bits, length, or factors of these)."""

    terms: tuple[Structure, ...]

    def __init__(self, *terms: Structure):
        if not terms:
            raise InvalidSpec("Plus: nothing to add; give at least one structured matrix")
        object.__setattr__(self, "terms", terms)

    @property
    def size(self) -> sp.Expr:
        """Number of rows."""
        return self.terms[0].size


Structure: TypeAlias = Tree | Bits | Circulant | Kron | KronSum | RankOne | Plus
STRUCTURES = (Tree, Bits, Circulant, Kron, KronSum, RankOne, Plus)


def number(where: str, value: Any) -> sp.Expr:
    """A SymPy scalar from a symbol or a number; text is refused.

    Raises
    ------
    InvalidSpec
        For text and everything that is no scalar.
    """
    if isinstance(value, str) or not isinstance(value, sp.Expr | int | float):
        raise InvalidSpec(f"{where}: {value!r} is no scalar; give a number or an expression of SymPy symbols")
    return sp.sympify(value)


def sympified(where: str, values: tuple[Any, ...]) -> tuple[sp.Expr, ...]:
    """`number` for each entry."""
    return tuple(number(where, v) for v in values)
