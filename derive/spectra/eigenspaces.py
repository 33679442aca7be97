"""Eigenspaces of structured symmetric matrices: value, multiplicity and projector of each, one rule for each structure.

    Tree      lambda_l = sum_{k >= l} (q_k - q_{k-1}) M_k,  M_k leaves below a node of depth k,  q_{-1} = 0;
              multiplicity = nodes of depth l minus nodes of depth l - 1 (l = 0: 1)
    Bits      a + w_g 2^n on the n_g bits of group g,  a + c 2^n on the constant vector,  a on the rest
    Circulant c_0 + sum_k c_k cos(2 pi j k / n), j and n - j together
    Kron      products (KronSum: sums) of the eigenvalues of both factors
    RankOne   w times the size is added to the eigenvalue of the constant vector
    Plus      sums of the eigenvalues on each eigenspace of the common frame

Nothing is checked here. Imported by `derive.spectra.spectral` only.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import singledispatch
from math import prod
from typing import Any

import numpy as np
import sympy as sp

from derive.errors import InvalidSpec
from derive.spectra.structures import Bits, Circulant, Kron, KronSum, Plus, RankOne, Tree

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Eigenspace:
    """One joint eigenspace.

    Attributes
    ----------
    values : tuple of SymPy expressions
        Eigenvalue of every matrix, in the order asked for.
    multiplicity : SymPy expression
    text : str
        The eigenvectors in words.
    projector : callable(values) -> array (n, n)
        Orthogonal projector at sizes and parameters by name.
    key : tuple
        Identity of the eigenspace within its frame.
    constant : bool
        It is spanned by the constant vector.
    """

    values: tuple[sp.Expr, ...]
    multiplicity: sp.Expr
    text: str
    projector: Callable[[Values], Any]
    key: tuple[Any, ...]
    constant: bool = False

    @property
    def value(self) -> sp.Expr:
        """Eigenvalue of the first matrix."""
        return self.values[0]


def _space(
    value: sp.Expr,
    multiplicity: sp.Expr,
    text: str,
    key: tuple[Any, ...],
    projector: Callable[[Values], Any],
    constant: bool = False,
) -> Eigenspace:
    return Eigenspace(values=(value,), multiplicity=multiplicity, text=text, key=key, projector=projector, constant=constant)


@singledispatch
def spaces_of(structure: Any) -> tuple[Eigenspace, ...]:
    """Eigenspaces of one structure, unmerged."""
    raise InvalidSpec(f"spectrum: {structure} is no structured matrix")


@singledispatch
def array_of(structure: Any, values: Values) -> Any:
    """The matrix in numbers, at sizes and parameters by name."""
    raise InvalidSpec(f"spectrum: {structure} is no structured matrix")


def evaluated(e: sp.Expr, values: Values) -> float:
    """Value of an expression at numbers by name.

    >>> evaluated(sp.Symbol("n") + 1, {"n": 2})
    3.0
    """
    at = {}
    for s in sorted(e.free_symbols, key=str):
        if str(s) not in values:
            raise InvalidSpec(f"{s} has no value; known are {', '.join(sorted(values)) or 'none'}")
        at[s] = sp.sympify(values[str(s)])
    out = complex(e.xreplace(at))
    if abs(out.imag) > 1e-12 * abs(out):
        raise InvalidSpec(f"{e} is not real at {', '.join(f'{s} = {v}' for s, v in at.items())}; a similarity is not positive")
    return out.real


def _whole(e: sp.Expr, values: Values) -> int:
    return round(evaluated(e, values))


def _blocks(tree: Tree, depth: int, values: Values) -> Any:
    """Indicator of a common ancestor of this depth: blocks of ones."""
    sizes = [_whole(b, values) for b in tree.branching]
    outer, inner = prod(sizes[:depth]), prod(sizes[depth:])
    return np.kron(np.eye(outer), np.ones((inner, inner)))


@spaces_of.register
def _(tree: Tree) -> tuple[Eigenspace, ...]:
    b, q = tree.branching, tree.values
    depths = range(len(q))
    below = [sp.Mul(*b[k:]) for k in depths]
    steps = [(q[k] - (q[k - 1] if k else 0)) * below[k] for k in depths]

    def projector(l: int) -> Callable[[Values], Any]:
        def at(values: Values) -> Any:
            mean = _blocks(tree, l, values) / evaluated(below[l], values)
            return mean - _blocks(tree, l - 1, values) / evaluated(below[l - 1], values) if l else mean

        return at

    return tuple(
        _space(
            sp.Add(*steps[l:]),
            sp.Mul(*b[:l]) - (sp.Mul(*b[: l - 1]) if l else 0),
            "the constant vector" if l == 0 else f"contrasts between the children of nodes of depth {l - 1}",
            ("tree", b, l),
            projector(l),
            constant=l == 0,
        )
        for l in depths
    )


@array_of.register
def _(tree: Tree, values: Values) -> Any:
    q = [evaluated(v, values) for v in tree.values]
    steps = (q[k] - (q[k - 1] if k else 0.0) for k in range(len(q)))
    return sum(step * _blocks(tree, k, values) for k, step in enumerate(steps))


def _columns(bits: Bits, values: Values) -> list[Any]:
    """Columns of +-1, one array (P, count) for each group."""
    counts = [_whole(count, values) for count, _ in bits.groups]
    items = np.indices((2,) * sum(counts)).reshape(sum(counts), -1).T * 2.0 - 1.0
    edges = np.cumsum([0, *counts])
    return [items[:, i:j] for i, j in itertools.pairwise(edges)]


@spaces_of.register
def _(bits: Bits) -> tuple[Eigenspace, ...]:
    size, total = bits.size, sp.Add(*(count for count, _ in bits.groups))
    frame = ("bits", tuple(count for count, _ in bits.groups))

    def of_group(g: int) -> Callable[[Values], Any]:
        return lambda values: _columns(bits, values)[g] @ _columns(bits, values)[g].T / evaluated(size, values)

    def of_constant(values: Values) -> Any:
        n = _whole(size, values)
        return np.ones((n, n)) / n

    def of_rest(values: Values) -> Any:
        known = [of_group(g)(values) for g in range(len(bits.groups))]
        return np.eye(_whole(size, values)) - of_constant(values) - sum(known)

    out = [
        _space(bits.identity + w * size, count, f"the bits of group {g + 1}", (*frame, g), of_group(g))
        for g, (count, w) in enumerate(bits.groups)
    ]
    constant = bits.identity + bits.constant * size
    out.append(_space(constant, sp.Integer(1), "the constant vector", (*frame, "constant"), of_constant, constant=True))
    out.append(_space(bits.identity, size - total - 1, "products of two and more bits", (*frame, "rest"), of_rest))
    return tuple(out)


@array_of.register
def _(bits: Bits, values: Values) -> Any:
    n = _whole(bits.size, values)
    out = evaluated(bits.identity, values) * np.eye(n) + evaluated(bits.constant, values) * np.ones((n, n))
    for columns, (_, w) in zip(_columns(bits, values), bits.groups, strict=True):
        out = out + evaluated(w, values) * columns @ columns.T
    return out


@spaces_of.register
def _(circulant: Circulant) -> tuple[Eigenspace, ...]:
    row = circulant.row
    n = len(row)

    def projector(j: int) -> Callable[[Values], Any]:
        wave = np.cos(2 * np.pi * j * (np.arange(n)[:, None] - np.arange(n)) / n)
        return lambda values: wave * (1 if j in (0, n / 2) else 2) / n

    return tuple(
        _space(
            sp.Add(*(c * sp.cos(2 * sp.pi * j * k / n) for k, c in enumerate(row))),
            sp.Integer(1 if j in (0, n / 2) else 2),
            "the constant vector" if j == 0 else f"waves of {j} periods",
            ("circulant", n, j),
            projector(j),
            constant=j == 0,
        )
        for j in range(n // 2 + 1)
    )


@array_of.register
def _(circulant: Circulant, values: Values) -> Any:
    row = np.array([evaluated(c, values) for c in circulant.row])
    n = len(row)
    return row[(np.arange(n) - np.arange(n)[:, None]) % n]


def _kron(m: Kron | KronSum, combine: Callable[[sp.Expr, sp.Expr], sp.Expr]) -> tuple[Eigenspace, ...]:
    def both(a: Eigenspace, b: Eigenspace) -> Eigenspace:
        return _space(
            combine(a.value, b.value),
            a.multiplicity * b.multiplicity,
            f"({a.text}) x ({b.text})",
            ("kron", a.key, b.key),
            lambda values: np.kron(a.projector(values), b.projector(values)),
            constant=a.constant and b.constant,
        )

    return tuple(both(a, b) for a in spaces_of(m.first) for b in spaces_of(m.second))


@spaces_of.register
def _(m: Kron) -> tuple[Eigenspace, ...]:
    return _kron(m, lambda a, b: a * b)


@array_of.register
def _(m: Kron, values: Values) -> Any:
    return np.kron(array_of(m.first, values), array_of(m.second, values))


@spaces_of.register
def _(m: KronSum) -> tuple[Eigenspace, ...]:
    return _kron(m, lambda a, b: a + b)


@array_of.register
def _(m: KronSum, values: Values) -> Any:
    a, b = array_of(m.first, values), array_of(m.second, values)
    return np.kron(a, np.eye(len(b))) + np.kron(np.eye(len(a)), b)


@spaces_of.register
def _(m: RankOne) -> tuple[Eigenspace, ...]:
    spaces = spaces_of(m.base)
    return tuple(
        _space(s.value + m.weight * m.size, s.multiplicity, s.text, s.key, s.projector, constant=True) if s.constant else s
        for s in spaces
    )


@array_of.register
def _(m: RankOne, values: Values) -> Any:
    return array_of(m.base, values) + evaluated(m.weight, values)


def same_frame(matrices: tuple[Any, ...]) -> tuple[tuple[Eigenspace, ...], ...]:
    """Eigenspaces of every matrix, in one order.

    Raises
    ------
    InvalidSpec
        If the matrices are not built on the same frame.
    """
    found = tuple(spaces_of(m) for m in matrices)
    for m, spaces in zip(matrices, found, strict=True):
        if [s.key for s in spaces] != [s.key for s in found[0]]:
            raise InvalidSpec(
                f"spectrum: {matrices[0]} and {m} are not built on the same frame, so common eigenspaces are not known; write "
                "both with the same branching, groups of bits, length or factors (weights may be 0)"
            )
    return found


@spaces_of.register
def _(m: Plus) -> tuple[Eigenspace, ...]:
    return tuple(
        _space(
            sp.Add(*(s.value for s in same)),
            same[0].multiplicity,
            same[0].text,
            same[0].key,
            same[0].projector,
            constant=same[0].constant,
        )
        for same in zip(*same_frame(m.terms), strict=True)
    )


@array_of.register
def _(m: Plus, values: Values) -> Any:
    return sum(array_of(term, values) for term in m.terms)
