"""N-vectors at index level: sums of multiples of basis vectors, which are rows of weight families and inputs.

A vector is never looked into: its entries are not functions of few fields. Imported by the extraction of the field rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from derive.indices.indexed import Index, Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One term of an N-vector: ``Sum over bound of coefficient * vector[index]``."""

    bound: tuple[Index, ...] = ()
    coefficient: Node
    vector: str
    index: Index | None = None


Vector: TypeAlias = tuple[Part, ...]
Value: TypeAlias = Node | Vector

__all__ = ["Part", "Value", "Vector"]
