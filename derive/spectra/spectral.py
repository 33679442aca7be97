"""`spectrum`: exact eigenvalues, multiplicities and projectors of structured symmetric matrices, sizes symbolic.

The rule of each structure stands in `derive.spectra.eigenspaces`. Commuting matrices of one frame have joint eigenspaces.
Results are checked before they are returned, at random sizes and entries: the projectors are orthogonal, have the stated ranks
and rebuild the matrix.
Imported by users, by the catalogue and by the verifier of claims.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from derive.errors import CheckFailed, InvalidSpec
from derive.spectra.eigenspaces import Eigenspace, Values, array_of, evaluated, same_frame, spaces_of
from derive.spectra.structures import STRUCTURES, Bits, Kron, KronSum, Plus, RankOne, Structure, Tree, number

LARGEST = 256  # rows of a matrix in a check


def spectrum(*matrices: Structure) -> tuple[Eigenspace, ...]:
    """Eigenspaces of a structured matrix, or joint ones of several with the same frame.

    Parameters
    ----------
    *matrices : Tree, Bits, Circulant, Kron, KronSum, RankOne or Plus

    Returns
    -------
    tuple of Eigenspace
        Spaces in which all matrices have equal eigenvalues are merged; empty ones (multiplicity 0) are left out.

    Raises
    ------
    InvalidSpec
        If the matrices are not built on the same frame, or an argument is no structure.
    CheckFailed
        If projectors and eigenvalues do not rebuild the matrices.

    >>> from derive.spectra.structures import Bits, Tree
    >>> a, n = sp.Symbol("a"), sp.Symbol("n", integer=True, positive=True)
    >>> [(s.value, s.multiplicity) for s in spectrum(Bits(groups=((n, 1),), identity=a))]
    [(2**n + a, n), (a, 2**n - n)]
    >>> p, q = sp.symbols("p q")
    >>> [(s.value, s.multiplicity) for s in spectrum(Tree(branching=(2, 2), values=(p, q, 1)))]
    [(2*p + q + 1, 1), (-2*p + q + 1, 1), (1 - q, 2)]
    """
    for m in matrices:
        if not isinstance(m, STRUCTURES):
            raise InvalidSpec(
                f"spectrum: {str(m)[:60]} is no structured matrix; use Tree, Bits, Circulant, Kron, KronSum, RankOne or Plus"
            )
    if not matrices:
        raise InvalidSpec("spectrum: no matrix is given; pass a Tree, Bits, Circulant, Kron, KronSum, RankOne or Plus")
    found = same_frame(matrices)
    joined = [
        Eigenspace(
            values=tuple(sp.expand(s.values[0]) for s in same),
            multiplicity=sp.expand(same[0].multiplicity),
            text=same[0].text,
            projector=same[0].projector,
            key=same[0].key,
            constant=same[0].constant,
        )
        for same in zip(*found, strict=True)
        if sp.expand(same[0].multiplicity) != 0
    ]
    merged: list[Eigenspace] = []
    for s in joined:
        at = next((i for i, m in enumerate(merged) if m.values == s.values), None)
        if at is None:
            merged.append(s)
        else:
            merged[at] = _merge(merged[at], s)
    _check(matrices, tuple(merged))
    return tuple(merged)


def _merge(a: Eigenspace, b: Eigenspace) -> Eigenspace:
    first, second = a.projector, b.projector
    return Eigenspace(
        values=a.values,
        multiplicity=sp.expand(a.multiplicity + b.multiplicity),
        text=f"{a.text}; {b.text}",
        projector=lambda v: first(v) + second(v),
        key=("sum", a.key, b.key),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeClass:
    """Singular modes of equal strength: s of E[y x'], variance d of the inputs along them, and how many there are."""

    s: sp.Expr
    d: sp.Expr
    multiplicity: sp.Expr
    text: str
    projector: Callable[[Values], Any]


def mode_classes(inputs: Structure, outputs: Structure, items: Any = None) -> tuple[ModeClass, ...]:
    """Strengths of the modes of a data set whose input and output similarity matrices share a frame.

    With eigenvalues mu of X'X and nu of Y'Y on a common eigenspace and averages over P items,

    .. math:: s = \\sqrt{\\mu \\nu} / P, \\quad d = \\mu / P.

    Parameters
    ----------
    inputs, outputs : structures
        X'X and Y'Y of shape (P, P), one column of X and Y for each item.
    items : expression, optional
        The number P that averages are divided by; the size of the matrices if left out. Give 1 for sums over the items.

    >>> eye = Tree(branching=(2, 2), values=(0, 0, 1))
    >>> [(m.s, m.d, m.multiplicity) for m in mode_classes(eye, Tree(branching=(2, 2), values=(1, 2, 5)), items=1)]
    [(3, 1, 1), (sqrt(5), 1, 1), (sqrt(3), 1, 2)]
    """
    count = inputs.size if items is None else number("mode_classes.items", items)
    return tuple(
        ModeClass(
            s=sp.sqrt(sp.factor(space.values[0]) * sp.factor(space.values[1])) / count,
            d=sp.expand(space.values[0]) / count,
            multiplicity=space.multiplicity,
            text=space.text,
            projector=space.projector,
        )
        for space in spectrum(inputs, outputs)
    )


# The check at derivation time ------------------------------------------------------------------------------------------------


def _sizes_in(m: Structure) -> list[sp.Expr]:
    """Expressions that must be sizes: branchings and counts of bits."""
    if isinstance(m, Tree):
        return list(m.branching)
    if isinstance(m, Bits):
        return [count for count, _ in m.groups]
    if isinstance(m, Kron | KronSum):
        return [*_sizes_in(m.first), *_sizes_in(m.second)]
    if isinstance(m, Plus):
        return [e for term in m.terms for e in _sizes_in(term)]
    return _sizes_in(m.base) if isinstance(m, RankOne) else []


def _symbols_in(m: Structure) -> set[str]:
    own = {str(x) for s in spaces_of(m) for x in (*s.value.free_symbols, *s.multiplicity.free_symbols)}
    return own | {str(x) for e in (*_sizes_in(m), m.size) for x in e.free_symbols}


def sample_points(matrices: tuple[Structure, ...], count: int = 2) -> list[dict[str, Any]]:
    """Small random sizes and entries by name, at which the matrices can be written out."""
    rng = random.Random(3)
    sizes = [e for m in matrices for e in _sizes_in(m)]
    whole = {str(x) for e in sizes for x in e.free_symbols}
    names = sorted({n for m in matrices for n in _symbols_in(m)})
    out: list[dict[str, Any]] = []
    for _ in range(400):
        at = {n: rng.randint(1, 4) if n in whole else rng.randint(12, 63) / 64 for n in names}
        if all(evaluated(e, at) >= 0 for e in sizes) and evaluated(matrices[0].size, at) <= LARGEST:
            out.append(at)
        if len(out) == (count if names else 1):
            return out
    raise InvalidSpec(
        f"spectrum: found no small sizes at which {matrices[0]} has at most {LARGEST} rows, so it cannot be checked; give "
        "smaller numbers, or symbols in place of numbers"
    )


def _check(matrices: tuple[Structure, ...], spaces: tuple[Eigenspace, ...]) -> None:
    for at in sample_points(matrices):
        projectors = [s.projector(at) for s in spaces]
        n = len(projectors[0])
        for i, m in enumerate(matrices):
            full = array_of(m, at)
            rebuilt = sum(evaluated(s.values[i], at) * p for s, p in zip(spaces, projectors, strict=True))
            ranks = [abs(np.trace(p) - evaluated(s.multiplicity, at)) for s, p in zip(spaces, projectors, strict=True)]
            errors = [np.abs(full - rebuilt).max() / max(np.abs(full).max(), 1.0), max(ranks)]
            errors += [np.abs(p @ p - p).max() for p in projectors] + [np.abs(sum(projectors) - np.eye(n)).max()]
            if not max(errors) < 1e-10:  # sums of at most LARGEST terms of order one
                raise CheckFailed(f"spectrum of {m}: projectors do not rebuild the matrix at {at} (residual {max(errors):.1e})")
