"""Backends by name; each is one file that says, as data, how the target writes numbers, functions and array operations."""

from __future__ import annotations

from codegen.backends import mpmath, numba, numpy
from codegen.printer import Backend

NAMES = ("numba", "numpy", "mpmath")


def backend(name: str) -> Backend:
    """The backend of a name.

    Raises
    ------
    ValueError
        If there is none of that name.

    >>> backend("numpy").pi
    'np.pi'
    """
    found = {"numba": numba.BACKEND, "numpy": numpy.BACKEND, "mpmath": mpmath.BACKEND}.get(name)
    if found is None:
        raise ValueError(f"backend {name!r}: there is none of this name; choose one of {', '.join(NAMES)}")
    return found
