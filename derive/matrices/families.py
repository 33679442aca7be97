r"""Index families at matrix level: a symbolic number H of equal members (heads, experts, paths, ensemble members).

Members are stored on top of each other, so that a family is one array and has one equation, whatever H is:

    numbers a_h           column (H, 1)
    rows                  matrix (H, D)
    P x D matrices        matrix (HP, D), with two constant arrays of zeros and ones that say who is where:

    E = I_H (x) 1_P  (HP, H): row belongs to member h        F = 1_H (x) I_P  (HP, P): row is the p-th one of its member

    sum_h a_h U_h  =  (E a 1' o F)' U         sum_h |W_h c_h|^2  =  c' (W'W o E E') c         columns c_h  =  F' (E o c 1')

H appears as a size only, so derivation time and the text of the kernel do not depend on it. Imported by users and libraries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from derive.errors import InvalidSpec, ShapeMismatch
from derive.spec.sugar import had
from derive.spec.symbols import dims, matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A family of members with ``part`` rows each, stacked.

    Attributes
    ----------
    count, part, rows : SymPy symbols
        Number of members H, rows of each P, and their product HP, a dimension of its own.
    member, place : SymPy matrices
        E (HP, H) and F (HP, P), constant arrays: list them as given (``given``), and fill them from ``arrays``.
    """

    count: Any
    part: Any
    rows: Any
    member: Any
    place: Any

    @property
    def given(self) -> tuple[Any, Any]:
        """The two constant arrays, for ``Model(given=...)``."""
        return self.member, self.place

    def arrays(self, count: int, part: int) -> dict[str, Any]:
        """Values of everything that the family adds to a model: E, F and the size of the stack.

        >>> sorted(family("head", *dims("H D")).arrays(2, 3))
        ['head_in', 'head_of', 'head_rows']
        """
        if count < 1 or part < 1:
            raise InvalidSpec(f"a family of {count} members of {part} rows: both numbers must be positive")
        return {
            self.member.name: np.kron(np.eye(count), np.ones((part, 1))),
            self.place.name: np.kron(np.ones((count, 1)), np.eye(part)),
            self.rows.name: count * part,
        }

    def sum(self, weights: Any, members: Any) -> sp.MatrixExpr:
        """sum_h a_h U_h of stacked members U (HP, D) with weights a (H, 1)."""
        self._rows(weights, self.count, "the weights")
        self._rows(members, self.rows, "the members")
        spread = had(self.member * weights * sp.OneMatrix(1, self.part), self.place)
        return spread.T * members

    def columns(self, stacked: Any) -> sp.MatrixExpr:
        """The members c_h of a stacked column (HP, 1) as the columns of a matrix (P, H)."""
        self._rows(stacked, self.rows, "the stacked column")
        return self.place.T * self.apart(stacked)

    def apart(self, stacked: Any) -> sp.MatrixExpr:
        """A stacked column (HP, 1) as a matrix (HP, H) that has in column h the entries of member h, and zeros elsewhere.

        A wide array W (O, HP) of members W_h side by side times this has the columns  W_h c_h. For columns that are not
        random: an average needs ``blocks``.
        """
        self._rows(stacked, self.rows, "the stacked column")
        return had(stacked * sp.OneMatrix(1, self.count), self.member)

    def blocks(self, square: Any) -> sp.MatrixExpr:
        """The diagonal blocks of a stacked square matrix (HP, HP); zeros between different members.

        With it the squares of separate members,  sum_h |W_h c_h|^2 = c' blocks(W'W) c,  hold no random number inside a product.
        """
        self._rows(square, self.rows, "the square matrix")
        return had(square, self.member * self.member.T)

    def copies(self, column: Any) -> sp.MatrixExpr:
        """The same column for every member: (P, 1) -> (P, H)."""
        return column * sp.OneMatrix(1, self.count)

    def _rows(self, value: Any, size: Any, what: str) -> None:
        if not isinstance(value, sp.MatrixExpr) or value.shape[0] != size:
            shown = getattr(value, "shape", ())
            raise ShapeMismatch(
                f"family of {self.count}: {what} {value} {shown} must have {size} rows; use the sizes of the family"
            )


def family(name: str, count: Any, part: Any) -> Family:
    """A family of ``count`` members with ``part`` rows each; ``name`` begins the names of its constants.

    Parameters
    ----------
    name : str
        For instance "head": the constants are called head_of (E), head_in (F), and the size of the stack head_rows.
    count, part : dimensions

    Raises
    ------
    InvalidSpec
        If the name is no name, or ``count`` is a number: a family is there so that it need not be one.

    >>> heads = family("head", *dims("H D"))
    >>> U, v = matrix("U", heads.rows, dims("D")), matrix("v", dims("H"), 1)
    >>> heads.sum(v, U).shape
    (D, D)
    """
    if not isinstance(count, sp.Symbol):
        raise InvalidSpec(
            f"family {name!r}: count={count!r} is no dimension; make it by dims('H') and give the number at run time"
        )
    rows = dims(f"{name}_rows")
    return Family(
        count=count, part=part, rows=rows, member=matrix(f"{name}_of", rows, count), place=matrix(f"{name}_in", rows, part)
    )


def stacked(members: Sequence[Any]) -> Any:
    """Arrays of the members on top of each other.

    >>> stacked([np.zeros((2, 3)), np.ones((2, 3))]).shape
    (4, 3)
    """
    shapes = {np.shape(m) for m in members}
    if len(shapes) != 1:
        raise ShapeMismatch(f"members of shapes {', '.join(str(s) for s in sorted(shapes))}: equal shapes are needed")
    return np.concatenate([np.atleast_2d(np.asarray(m, dtype=float)) for m in members])
