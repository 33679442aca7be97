"""`conserved`: quantities that a flow keeps constant, or that relax, found by exact linear algebra.

A candidate space is spanned by words (or monomials) Q_j of the state. Their time derivatives are collected by words; a
combination with constant coefficients is conserved if and only if

    sum_j c_j dQ_j/dt = 0    word by word,

which is a null space over the rational functions of the parameters. Candidates are all state words of length <= 2 of every open
shape, and the scalars of that degree; for elementwise systems of scalars the polynomials of degree <= 3 in the states, and
products and exponentials of Darboux polynomials (`derive.invariants.darboux`). Quantities that relax are those of
`derive.invariants.relaxing`. Each result is verified once more by `ddt`. Imported by users, by `closed_form` and by numerics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sympy as sp

from derive.algebra.nullspace import null_vectors
from derive.errors import CheckFailed, UnsupportedNode
from derive.invariants.darboux import Invariant, invariants_of, made
from derive.invariants.neurons import neuron_invariants
from derive.invariants.relaxing import relaxing_words
from derive.matrices.calculus import along, ddt
from derive.matrices.convert import to_sympy
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly, atom, constant, text
from derive.matrices.word_space import as_coefficient, by_shape, candidates, combination, gram_first, rates, state_poly
from derive.matrices.words import Atom
from derive.reductions.scalar import ScalarSystem, to_node, to_scalar
from derive.spec.shapes import size_of
from derive.spec.tree import names as tree_names
from derive.system import Assumption, ConservedQuantity, Flow, Reduction, flow_of

__all__ = ["as_coefficient", "conserved", "state_poly"]


def conserved(
    flow: Flow | Reduction, basis: Sequence[Any] | None = None, *, relaxing: bool = False
) -> tuple[ConservedQuantity, ...]:
    """Conserved quantities of a flow in a space of candidates.

    Parameters
    ----------
    flow : Flow or Reduction
        At matrix level, or an elementwise system of scalars at index level. For other systems nothing is searched.
    basis : sequence of expressions, optional
        Candidates of your own, as SymPy expressions of the symbols of the flow or as `Poly`; expressions of equal shape are
        combined. The default candidates yield functionally independent quantities only; with ``basis`` dependent ones are
        listed and marked.
    relaxing : bool
        Also quantities with  dQ/dt = rate * Q  for a constant rate that is not zero.

    Returns
    -------
    tuple of ConservedQuantity
        In a fixed order, coefficients without a common factor.

    Raises
    ------
    BudgetExceeded
        If there are too many candidates of one shape.

    >>> from derive.matrices.poly import atom
    >>> from derive.system import Block
    >>> from derive.matrices.words import Atom
    >>> W1, W2, S = (atom(Atom(*a)) for a in (("W1", "h", "i"), ("W2", "o", "h"), ("S", "o", "i")))
    >>> flow = Flow(name="two layers", state=(Block(name="W1", shape=("h", "i")), Block(name="W2", shape=("o", "h"))),
    ...             rhs={"W1": W2.T * (S - W2 * W1), "W2": (S - W2 * W1) * W1.T})
    >>> print(conserved(flow)[0].expr)
    W2'*W2 - W1*W1'
    """
    flow = flow_of("conserved", flow)
    if flow.level == "index":
        return _of_scalars(flow, (), relaxing)
    spaces = by_shape(_read(flow, basis)) if basis is not None else candidates(flow)
    found = [(p, sp.Integer(0)) for space in spaces for p in _invariants_in(flow, space)]
    if relaxing:
        found += [pair for space in spaces for pair in relaxing_words(flow, space)]
    tests = {}
    if basis is None:
        for p, status in neuron_invariants(flow):
            tests[p] = status
            found.append((p, sp.Integer(0)))
    words = _select(flow, found, tests, keep=basis is not None)
    if basis is None and not any(b.shape for b in flow.state):
        return (*words, *_of_scalars(flow, words, relaxing))
    return words


def _read(flow: Flow, basis: Sequence[Any]) -> list[Poly]:
    from derive.completion.read import read_wanted

    return [found.poly for found in read_wanted(flow, tuple(basis), "conserved")]


def _invariants_in(flow: Flow, space: list[Poly]) -> list[Poly]:
    out = []
    for vector in null_vectors(rates(flow, space)):
        total = combination(vector, space)
        if ddt(total, flow):
            raise CheckFailed(
                f"{text(total)} was found as conserved quantity of {flow.name}, but its derivative does not vanish"
            )
        out.append(gram_first(total))
    return out


def _select(
    flow: Flow, found: list[tuple[Poly, sp.Expr]], tests: Mapping[Poly, str], keep: bool
) -> tuple[ConservedQuantity, ...]:
    """Mark (or drop) quantities that are functions of earlier ones: rank of the Jacobian at a random point."""
    sizes, values = _random_point(flow, [p for p, _ in found])
    span = np.zeros((sum(np.size(values[b.name]) for b in flow.state), 0))  # orthonormal gradients of those before
    out = []
    for p, rate in found:
        gradients = _jacobian(flow, p, sizes, values).T
        rest = gradients - span @ (span.T @ gradients)
        left, size, _ = np.linalg.svd(rest - span @ (span.T @ rest), full_matrices=False)
        new = size > 1e-9 * np.abs(gradients).max(initial=1.0)  # entries are random and of order one
        if new.any() or keep:
            out.append(
                ConservedQuantity(expr=p, rate=rate, status=tests.get(p, "proved"), functionally_independent=bool(new.any()))
            )
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


# Systems of scalars ---------------------------------------------------------------------------------------------------------


def _of_scalars(flow: Flow, words: Sequence[ConservedQuantity], relaxing: bool) -> tuple[ConservedQuantity, ...]:
    """What polynomials of low degree and Darboux polynomials give besides the words."""
    try:
        system = to_scalar(flow)
    except UnsupportedNode:
        return ()
    symbols = {x.name: x for x in (*system.states, *system.parameters)}
    found = [made(sp.sympify(to_sympy(c.expr, symbols)), c.rate) for c in words if isinstance(c.expr, Poly)]
    try:
        return tuple(_claimed(system, i) for i in invariants_of(system, found, relaxing=relaxing))
    except UnsupportedNode:  # no rational functions: there is no search for these
        return ()


def _claimed(system: ScalarSystem, i: Invariant) -> ConservedQuantity:
    signs = [Assumption(text=f"{p} > 0; the flow never crosses {p} = 0") for p in i.positive]
    return ConservedQuantity(expr=to_node(i.expr, system.labels), rate=i.rate, status="proved", assumptions=tuple(signs))
