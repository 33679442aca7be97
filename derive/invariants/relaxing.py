"""Combinations of words that relax exponentially, found by exact linear algebra.

The time derivative maps the span B of candidate words into words inside B (matrix A) and outside (matrix O). The largest
subspace V of B with dV/dt in V is

    V = ker [O; O A; O A^2; ...],

and an eigenvector of A on V with eigenvalue c is a quantity with  dQ/dt = c Q: a balance of layers under weight decay, for
instance. c = 0 gives the conserved ones. Only eigenvalues that are rational functions of the parameters are looked for.
Imported by `derive.invariants.search`.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp
from sympy.polys.matrices import DomainMatrix

from derive.algebra.nullspace import null_vectors, primitive
from derive.errors import CheckFailed
from derive.matrices.calculus import ddt
from derive.matrices.poly import Poly, text
from derive.matrices.word_space import as_coefficient, columns, combination, gram_first, rates
from derive.system import Flow

__all__ = ["relaxing_words"]


def relaxing_words(flow: Flow, space: Sequence[Poly]) -> list[tuple[Poly, sp.Expr]]:
    """Pairs (Q, c) with dQ/dt = c Q, c constant and not zero, in a space of words of one shape.

    >>> from derive.matrices.poly import param
    >>> from derive.system import Block
    >>> a, k = param("a"), param("k")
    >>> flow = Flow(name="leak", state=(Block(name="a"),), rhs={"a": -k * a})
    >>> relaxing_words(flow, [a, a * a])
    [(a, -k), (a^2, -2*k)]
    """
    inside, outside = _split(flow, space)
    basis = _largest_invariant(inside, outside)
    if not basis.shape[1]:
        return []
    turned, pivots = basis.transpose().rref()  # reduced echelon: coordinates in the basis stand at the pivots
    basis = turned.transpose()
    image = (inside * basis).to_dense()
    small = DomainMatrix.vstack(*(image.extract([i], list(range(basis.shape[1]))) for i in pivots))
    out = []
    for c in _eigenvalues(small):
        shifted = (small - DomainMatrix.from_Matrix(sp.eye(small.shape[0]) * c).convert_to(small.domain)).to_Matrix()
        for vector in null_vectors([dict(enumerate(shifted.col(j))) for j in range(shifted.cols)]):
            whole = basis.to_Matrix() * sp.Matrix(vector)
            q = gram_first(combination(primitive(list(whole)), space))
            if columns(flow, [ddt(q, flow)]) != columns(flow, [as_coefficient(sp.expand(c)) * q]):
                raise CheckFailed(f"{text(q)} of {flow.name} does not relax at the rate {c}")
            out.append((q, c))
    return out


def _split(flow: Flow, space: Sequence[Poly]) -> tuple[DomainMatrix, DomainMatrix]:
    """Rows of the derivative inside the span of the candidates, and outside."""
    own = [next(iter(column)) for column in columns(flow, space)]
    derived = rates(flow, space)
    others = [k for k in dict.fromkeys(k for column in derived for k in column) if k not in set(own)]
    a = [[column.get(k, sp.Integer(0)) for column in derived] for k in own]
    o = [[column.get(k, sp.Integer(0)) for column in derived] for k in others] or [[sp.Integer(0)] * len(space)]
    both = DomainMatrix.from_list_sympy(len(a) + len(o), len(space), a + o).to_field()
    every = list(range(len(space)))
    return both.extract(list(range(len(a))), every), both.extract(list(range(len(a), len(a) + len(o))), every)


def _largest_invariant(inside: DomainMatrix, outside: DomainMatrix) -> DomainMatrix:
    """Columns that span the largest subspace mapped into itself."""
    basis = outside.nullspace().transpose()
    power = outside * inside
    while basis.shape[1]:
        kept = (power * basis).nullspace().transpose()
        if kept.shape[1] == basis.shape[1]:
            return basis
        basis, power = basis * kept, power * inside
    return basis


def _eigenvalues(small: DomainMatrix) -> list[sp.Expr]:
    """Roots of the characteristic polynomial that are rational in the parameters, zero left out, by text."""
    x = sp.Dummy("x")
    n = small.shape[0]
    terms = [small.domain.to_sympy(c) * x ** (n - i) for i, c in enumerate(small.charpoly())]
    found: list[sp.Expr] = []
    for factor, _ in sp.factor_list(sp.numer(sp.together(sp.Add(*terms))))[1]:
        if sp.degree(factor, x) == 1:
            found.append(sp.cancel(-factor.coeff(x, 0) / factor.coeff(x, 1)))
    return sorted((c for c in found if c != 0), key=lambda c: (sp.count_ops(c), str(c)))
