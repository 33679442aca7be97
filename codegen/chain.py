"""Order of multiplication in a chain of matrices, by the classical recursion  c(i,j) = min_k c(i,k) + c(k,j) + r_i r_k r_j.

Sizes that are known only at run time count as 32, so that products with columns come first and other ties go from left to
right. Imported by codegen only.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

from derive.matrices.words import Word

TYPICAL = 32


def weight(size: Any) -> int:
    """Number that stands for a size."""
    if isinstance(size, int):
        return size
    if isinstance(size, tuple) and size[0] in ("add", "mul"):
        parts = [weight(s) for s in size[1:]]
        return sum(parts) if size[0] == "add" else prod(parts)
    return TYPICAL


def sizes(word: Word) -> tuple[int, ...]:
    """Weights of the sizes along a word, one more than letters."""
    return (weight(word[0].rows), *(weight(x.cols) for x in word)) if word else ()


@lru_cache(maxsize=4096)
def _plan(r: tuple[int, ...]) -> tuple[int, int]:
    """Cost of the best order, and its last split."""
    n = len(r) - 1
    if n < 2:
        return 0, 0
    best = min(
        ((_plan(r[: k + 1])[0] + _plan(r[k:])[0] + r[0] * r[k] * r[n], -k) for k in range(1, n)),
    )
    return best[0], -best[1]


def cost(word: Word) -> int:
    """Cost of multiplying a word out.

    >>> from derive.matrices.words import Atom, Letter
    >>> A, x = Letter(Atom("A", "n", "n"), False), Letter(Atom("x", "n", 1), False)
    >>> cost((A, A, x)), cost((A, A))
    (2048, 32768)
    """
    return _plan(sizes(word))[0]


def split(word: Word) -> int:
    """Number of letters in the left factor of the last product."""
    return _plan(sizes(word))[1]


def trace_split(word: Word) -> tuple[int, int]:
    """Cost of tr(word) as a sum over entries of left times right, and the number of letters on the left."""
    r = sizes(word)
    if len(word) < 2:
        return 0, 0
    return min((_plan(r[: k + 1])[0] + _plan(r[k:])[0] + r[0] * r[k], k) for k in range(1, len(word)))
