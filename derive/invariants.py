"""`conserved`: quantities that a flow keeps constant, found by exact linear algebra.

A candidate space is spanned by words (or monomials) Q_j of the state. Their time derivatives are collected by words; a
combination with constant coefficients is conserved if and only if

    sum_j c_j dQ_j/dt = 0    word by word,

which is a null space over the rational functions of the parameters. Candidates are all state words of length <= 2 of every open
shape, and the scalars of that degree; for elementwise systems of scalars the polynomials of degree <= 3 in the states.
Each result is verified once more by `ddt`. Imported by users, by `closed_form` and by numerics.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from derive.calculus import along, ddt
from derive.errors import BudgetExceeded, CheckFailed, UnsupportedNode
from derive.evaluate import evaluate
from derive.nullspace import null_vectors, rank
from derive.poly import Poly, atom, constant, param, text, zero
from derive.scalar import ScalarSystem, to_node, to_scalar
from derive.shapes import size_of
from derive.system import Block, Conserved, Flow
from derive.tree import names as tree_names
from derive.words import Atom, Key

CAP = 1500  # candidates of one shape; 18 layers of one and the same width have 1332


def conserved(flow: Flow, basis: Sequence[Poly] | None = None) -> tuple[Conserved, ...]:
    """Conserved quantities of a flow in a space of candidates.

    Parameters
    ----------
    flow : Flow
        At matrix level, or an elementwise system of scalars at index level. For other systems nothing is searched.
    basis : sequence of Poly, optional
        Candidates of your own; expressions of equal shape are combined. The default candidates yield functionally
        independent quantities only; with ``basis`` dependent ones are listed and marked.

    Returns
    -------
    tuple of Conserved
        In a fixed order, coefficients without a common factor.

    Raises
    ------
    BudgetExceeded
        If there are too many candidates of one shape.

    >>> from derive.poly import atom
    >>> from derive.words import Atom
    >>> W1, W2, S = (atom(Atom(*a)) for a in (("W1", "h", "i"), ("W2", "o", "h"), ("S", "o", "i")))
    >>> flow = Flow(name="two layers", state=(Block(name="W1", shape=("h", "i")), Block(name="W2", shape=("o", "h"))),
    ...             rhs={"W1": W2.T * (S - W2 * W1), "W2": (S - W2 * W1) * W1.T})
    >>> print(conserved(flow)[0].expr)
    W2'*W2 - W1*W1'
    """
    if flow.level == "index":
        return _scalar_invariants(flow)
    if not all(isinstance(e, Poly) for e in flow.rhs.values()):
        return ()
    spaces = _by_shape(basis) if basis is not None else candidates(flow)
    found: list[Poly] = []
    for space in spaces:
        found += _invariants_in(flow, space)
    return _select(flow, found, keep=basis is not None)


def _by_shape(basis: Sequence[Poly]) -> list[list[Poly]]:
    shapes = list(dict.fromkeys(p.shape for p in basis))
    return [[p for p in basis if p.shape == shape] for shape in shapes]


def state_poly(b: Block) -> Poly:
    """A state block as an expression."""
    return atom(Atom(b.name, b.shape[0], b.shape[1], b.tags)) if b.shape else param(b.name)


def candidates(flow: Flow) -> list[list[Poly]]:
    """All state words of length <= 2 by open shape, then the scalars of degree <= 2."""
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
    numbers += scalars + [a * b for a, b in itertools.combinations_with_replacement(scalars, 2)]
    spaces = [*open_words.values(), list(dict.fromkeys(numbers))]
    for space in spaces:
        if len(space) > CAP:
            raise BudgetExceeded(
                f"{flow.name}: {len(space)} candidate words of one shape exceed {CAP}; pass the words to combine as basis=..."
            )
    return spaces


def _invariants_in(flow: Flow, space: list[Poly]) -> list[Poly]:
    states = {b.name for b in flow.state}
    columns = []
    for p in space:
        column: dict[Key, sp.Expr] = {}
        for key, c in ddt(p, flow).items():
            inner = tuple((n, e) for n, e in key.params if n in states)
            outer = [
                sp.Symbol(n, positive=True) ** sp.Rational(e.numerator, e.denominator) for n, e in key.params if n not in states
            ]
            row = Key(inner, key.traces, key.word)
            column[row] = column.get(row, sp.Integer(0)) + sp.Mul(sp.Rational(c.numerator, c.denominator), *outer)
        columns.append(column)
    out = []
    for vector in null_vectors(columns):
        total = zero(space[0].shape)
        for v, p in zip(vector, space, strict=True):
            total = total + _coefficient(v) * p
        if ddt(total, flow):
            raise CheckFailed(
                f"{text(total)} was found as conserved quantity of {flow.name}, but its derivative does not vanish"
            )
        out.append(_gram_first(total))
    return out


def _coefficient(v: sp.Expr) -> Poly:
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


def _gram_first(p: Poly) -> Poly:
    """Sign such that words that begin with a transposed letter (W'W) come with a plus, else the first term does."""
    if p.shape is None:
        return p
    lead = [c for key, c in p.items() if key.word and key.word[0].t]
    return -p if lead and lead[0] < 0 else p


def _select(flow: Flow, found: list[Poly], keep: bool) -> tuple[Conserved, ...]:
    """Mark (or drop) quantities that are functions of earlier ones: rank of the Jacobian at a random point."""
    sizes, values = _random_point(flow, found)
    span = np.zeros((sum(np.size(values[b.name]) for b in flow.state), 0))  # orthonormal gradients of those before
    out = []
    for p in found:
        gradients = _jacobian(flow, p, sizes, values).T
        rest = gradients - span @ (span.T @ gradients)
        left, size, _ = np.linalg.svd(rest - span @ (span.T @ rest), full_matrices=False)
        new = size > 1e-9 * np.abs(gradients).max(initial=1.0)  # entries are random and of order one
        if new.any() or keep:
            out.append(Conserved(expr=p, status="proved", functionally_independent=bool(new.any())))
        span = np.hstack([span, left[:, new]])
    return tuple(out)


def _random_point(flow: Flow, found: list[Poly]) -> tuple[dict[str, int], dict[str, Any]]:
    rng = np.random.default_rng(11)
    names = list(dict.fromkeys(n for b in flow.state for size in b.shape for n in tree_names(size)))
    sizes = {n: 2 + i % 2 for i, n in enumerate(names)}
    values: dict[str, Any] = {}
    for b in flow.state:
        x = rng.normal(size=tuple(size_of(n, sizes) or 1 for n in b.shape))
        values[b.name] = x + x.T if "sym" in b.tags else x
    for name in sorted({n for p in found for key, _ in p.items() for n, _ in key.params} - set(values) - set(sizes)):
        values[name] = rng.uniform(1, 2)
    return sizes, values


def _jacobian(flow: Flow, p: Poly, sizes: dict[str, int], values: dict[str, Any]) -> Any:
    """One row per entry of p, one column per entry of the state."""
    columns: list[Any] = []
    entries = np.size(evaluate(p, values, sizes=sizes))
    for b in flow.state:
        if not b.shape:
            columns.append(np.ravel(evaluate(along(p, {b.name: constant(1)}), values, sizes=sizes)))
            continue
        tangent = Atom("#tangent", b.shape[0], b.shape[1])
        change = along(p, {b.name: atom(tangent)})
        if not change:
            columns += [np.zeros(entries)] * values[b.name].size
            continue
        for direction in np.eye(values[b.name].size).reshape(-1, *values[b.name].shape):
            columns.append(np.ravel(evaluate(change, {**values, tangent.name: direction}, sizes=sizes)))
    return np.stack(columns, axis=1)


# Polynomials of elementwise scalar systems ---------------------------------------------------------------------------------


def _scalar_invariants(flow: Flow, degree: int = 3) -> tuple[Conserved, ...]:
    try:
        system = to_scalar(flow)
    except UnsupportedNode:
        return ()
    if len(system.states) < 2 or not all(f.is_polynomial(*system.states) for f in system.rhs):
        return ()
    out: list[Conserved] = []
    known: list[sp.Expr] = []
    for top in range(1, degree + 1):
        for expr in _polynomials(system, top):
            if _independent(system, [*known, expr]):
                known.append(expr)
                out.append(Conserved(expr=to_node(expr, system.labels), status="proved"))
    return tuple(out)


def _polynomials(system: ScalarSystem, degree: int) -> list[sp.Expr]:
    monomials = [
        sp.Mul(*choice) for d in range(1, degree + 1) for choice in itertools.combinations_with_replacement(system.states, d)
    ]
    columns = []
    for m in monomials:
        rate = sp.expand(sum(sp.diff(m, x) * f for x, f in zip(system.states, system.rhs, strict=True)))
        columns.append(dict(sp.Poly(rate, *system.states).terms()) if rate != 0 else {})
    return [sp.Add(*(c * m for c, m in zip(v, monomials, strict=True))) for v in null_vectors(columns)]


def _independent(system: ScalarSystem, exprs: list[sp.Expr]) -> bool:
    rng = random.Random(5)
    names = sorted({s for e in exprs for s in e.free_symbols} | set(system.states), key=lambda s: s.name)
    at = {s: sp.Integer(rng.randint(2, 99)) for s in names}
    rows = [[sp.diff(e, x).xreplace(at) for x in system.states] for e in exprs]
    return rank(rows) == len(exprs)
