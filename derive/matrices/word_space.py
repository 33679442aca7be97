"""Linear spaces of words of the state: candidates, their time derivatives as columns, combinations as expressions.

Imported by `derive.invariants.search` and `derive.invariants.relaxing`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import sympy as sp

from derive.errors import BudgetExceeded
from derive.matrices.calculus import ddt
from derive.matrices.composite import hadamard
from derive.matrices.poly import Poly, atom, constant, param, zero
from derive.matrices.words import Atom, Key
from derive.system import Block, Flow

CAP = 1500  # candidates of one shape; 18 layers of one and the same width have 1332


def state_poly(b: Block) -> Poly:
    """A state block as an expression."""
    return atom(Atom(b.name, b.shape[0], b.shape[1], b.tags)) if b.shape else param(b.name)


def candidates(flow: Flow) -> list[list[Poly]]:
    """All state words of length <= 2 by open shape, then the scalars of degree <= 2.

    A flow with elementwise functions or products also gets the elementwise products of two states.

    Raises
    ------
    BudgetExceeded
        If there are too many of one shape.
    """
    states = [state_poly(b) for b in flow.state]
    matrices = [p for p in states if p.shape is not None]
    scalars = [p for p in states if p.shape is None]
    letters = [x for p in matrices for x in dict.fromkeys((p, p.T))]
    words = list(letters)
    for a, b in itertools.product(letters, letters):
        if a.shape is not None and b.shape is not None and a.shape[1] == b.shape[0]:
            words.append(a * b)
    words += [s * x for s in scalars for x in letters]
    open_words: dict[Any, list[Poly]] = {}
    numbers: list[Poly] = []
    for w in dict.fromkeys(words):
        assert w.shape is not None
        if w.shape[0] == w.shape[1]:
            numbers.append(w.trace())
        if w.shape == (1, 1) or (w.shape[::-1] in open_words and w.shape[0] != w.shape[1]):
            continue
        open_words.setdefault(w.shape, []).append(w)
    if any(composites(p) for p in flow.rhs.values() if isinstance(p, Poly)):
        for a, b in itertools.combinations_with_replacement(matrices, 2):
            if a.shape == b.shape and a.shape is not None:
                shape = a.shape if a.shape[::-1] not in open_words or a.shape[0] == a.shape[1] else a.shape[::-1]
                open_words.setdefault(shape, []).append(hadamard(a, b) if shape == a.shape else hadamard(a, b).T)
    numbers += scalars + [a * b for a, b in itertools.combinations_with_replacement(scalars, 2)]
    spaces = [*open_words.values(), list(dict.fromkeys(numbers))]
    for space in spaces:
        if len(space) > CAP:
            raise BudgetExceeded(
                f"{flow.name}: {len(space)} candidate words of one shape exceed {CAP}; pass the words to combine as basis=..."
            )
    return spaces


def composites(p: Poly) -> bool:
    """Are there elementwise functions, elementwise products or inverses in an expression?"""
    return any(
        x.atom.comp is not None for key in p.terms for word in (key.word or (), *(w for w, _ in key.traces)) for x in word
    )


def columns(flow: Flow, exprs: Sequence[Poly]) -> list[dict[Key, sp.Expr]]:
    """Each expression by words of the state, with coefficients in the parameters."""
    states = {b.name for b in flow.state}
    out = []
    for p in exprs:
        column: dict[Key, sp.Expr] = {}
        for key, c in p.items():
            inner = tuple((n, e) for n, e in key.params if n in states)
            outer = [
                sp.Symbol(n, positive=True) ** sp.Rational(e.numerator, e.denominator) for n, e in key.params if n not in states
            ]
            row = Key(inner, key.traces, key.word)
            column[row] = column.get(row, sp.Integer(0)) + sp.Mul(sp.Rational(c.numerator, c.denominator), *outer)
        out.append(column)
    return out


def rates(flow: Flow, space: Sequence[Poly]) -> list[dict[Key, sp.Expr]]:
    """Time derivatives of the words of a space, as columns."""
    return columns(flow, [ddt(p, flow) for p in space])


def combination(vector: Sequence[sp.Expr], space: Sequence[Poly]) -> Poly:
    """sum_j v_j space[j], coefficients polynomial in the parameters."""
    total = zero(space[0].shape)
    for v, p in zip(vector, space, strict=True):
        total = total + as_coefficient(v) * p
    return total


def as_coefficient(v: sp.Expr) -> Poly:
    """A polynomial of the parameters as a scalar expression."""
    total = constant(0)
    for term in sp.Add.make_args(v):
        c, rest = term.as_coeff_Mul()
        out = constant(Fraction(int(c.p), int(c.q)))
        for factor in sp.Mul.make_args(rest):
            if factor != 1:
                base, e = factor.as_base_exp()
                out = out * param(base.name, Fraction(int(e.p), int(e.q)))
        total = total + out
    return total


def by_shape(basis: Sequence[Poly]) -> list[list[Poly]]:
    """Expressions grouped by shape, in the order of their first."""
    groups: Mapping[Any, list[Poly]] = {p.shape: [] for p in basis}
    for p in basis:
        groups[p.shape].append(p)
    return list(groups.values())


def gram_first(p: Poly) -> Poly:
    """Sign such that words that begin with a transposed letter (W'W) come with a plus, else the first term does."""
    if p.shape is None:
        return p
    lead = [c for key, c in p.items() if key.word and key.word[0].t]
    return -p if lead and lead[0] < 0 else p
