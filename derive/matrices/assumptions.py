"""Measuring an assumption on data: how far the arrays at hand violate it.

The violation is |residual| / |scale| in Frobenius norms, 0 if the residual vanishes. Imported by numerics and by users.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.errors import UnsupportedNode
from derive.matrices.evaluate import evaluate
from derive.system import Assumption


def measure(assumption: Assumption, values: Mapping[Any, Any]) -> float:
    """Relative violation |residual| / |scale| of an assumption by given arrays (by name or SymPy symbol).

    Raises
    ------
    UnsupportedNode
        If the assumption has no residual, so that data cannot tell.

    >>> from derive.matrices.poly import atom
    >>> from derive.matrices.words import Atom
    >>> A = atom(Atom("A", "n", "n"))
    >>> measure(Assumption(text="A is symmetric", residual=A - A.T, scale=A), {"A": np.eye(2)})
    0.0
    """
    if assumption.residual is None:
        raise UnsupportedNode(f"the assumption {assumption.text!r} has no residual: it cannot be measured on data")
    violation = float(np.linalg.norm(evaluate(assumption.residual, values)))
    if assumption.scale is None or violation == 0:
        return violation
    scale = float(np.linalg.norm(evaluate(assumption.scale, values)))
    return violation / scale if scale else float("inf")
