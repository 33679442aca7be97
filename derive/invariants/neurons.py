"""Invariants entry by entry and neuron by neuron: Hadamard words, and activations that are homogeneous.

Candidates are A o B for states of one shape, and row sums (B o B) 1, one number per neuron, for every state with a row or a
column per neuron. Their time derivatives are brought to a normal form by identities that words alone do not have:

    (F o G) 1 = diag(F G'),  which fixes where a word is split,        (F o u v') 1 = u o (F v),
    f'(z) o z = k f(z)       for an activation with f(c z) = c^k f(z), c > 0.

The last one is registered for built-in functions; for a user's activation it is tested at random points, and the invariant says
so. Found in this way: eta_W a o a - eta_a (W o W) 1 for rectifiers, w o w - g o g for gates. Imported by
`derive.invariants.search`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from derive.algebra.nullspace import null_vectors
from derive.averages.onehot import without_diagonals
from derive.errors import UnsupportedNode
from derive.matrices.calculus import ddt
from derive.matrices.composite import elem, functions_in, hadamard, ones
from derive.matrices.poly import Poly, constant, monomial, power, product, zero
from derive.matrices.word_space import columns, combination, state_poly
from derive.matrices.words import Elem, Had, Key, Letter, Word, flip, is_ones, word_order
from derive.spec.elementwise import body_of
from derive.spec.elementwise import value as scalar_value
from derive.system import Flow

__all__ = ["neuron_invariants"]

#: Degrees k of built-in functions with f(c z) = c^k f(z) for c > 0.
DEGREES: Mapping[str, int] = {"relu": 1, "abs": 1}
POINTS = 40  # at which a user's activation is tested
ROUNDS = 8  # rewriting passes; every identity shortens a word or removes a derivative


def neuron_invariants(flow: Flow) -> list[tuple[Poly, str]]:
    """Pairs (quantity, status) of a flow with elementwise products or activations; empty for others.

    >>> from derive.matrices.poly import atom
    >>> from derive.system import Block
    >>> from derive.matrices.words import Atom
    >>> w, g, e = (atom(Atom(n, "N", 1)) for n in "wge")
    >>> flow = Flow(name="gates", state=(Block(name="w", shape=("N", 1)), Block(name="g", shape=("N", 1))),
    ...             rhs={"w": hadamard(g, e - hadamard(w, g)), "g": hadamard(w, e - hadamard(w, g))})
    >>> neuron_invariants(flow)
    [((w o w) - (g o g), 'proved')]
    """
    shown = [p for p in flow.rhs.values() if isinstance(p, Poly)]
    if not any(_composite(p) for p in shown):
        return []
    functions = [f for f in dict.fromkeys(f for p in shown for f in functions_in(p)) if f in flow.functions]
    tested = {f: k for f in functions for k in [_degree(flow, f)] if k is not None}
    status = f"tested at {POINTS} points" if tested else "proved"
    found = []
    for space in _candidates(flow):
        try:
            rates = [normal(ddt(p, flow), {**DEGREES, **tested}) for p in space]
        except UnsupportedNode:  # a derivative that is a delta function
            continue
        for vector in null_vectors(columns(flow, rates)):
            found.append((combination(vector, space), status))
    return found


def _composite(p: Poly) -> bool:
    words = [w for key in p.terms for w in (*(w for w, _ in key.traces), key.word or ())]
    return any(isinstance(x.atom.comp, Elem | Had) for w in words for x in w)


def _candidates(flow: Flow) -> list[list[Poly]]:
    """Hadamard products of states of one shape, then row sums by number of neurons."""
    spaces: dict[Any, dict[Poly, None]] = {}
    states = [state_poly(b) for b in flow.state if b.shape and b.shape != (1, 1)]
    turned = [x for p in states for x in dict.fromkeys((p, p.T))]
    for i, a in enumerate(turned):
        for b in turned[i:]:
            if a.shape == b.shape and a.shape is not None and a.shape[::-1] not in spaces:
                spaces.setdefault(a.shape, {})[hadamard(a, b)] = None
    for a in turned:
        assert a.shape is not None
        if a.shape[0] != 1:
            row = hadamard(a, a) * ones(a.shape[1], 1)
            spaces.setdefault((a.shape[0], 1), {})[row] = None
    return [list(space) for space in spaces.values()]


def _degree(flow: Flow, f: str) -> int | None:
    """k with z f'(z) = k f(z) at random points of a user's activation, or None."""
    z = np.random.default_rng(3).normal(size=POINTS)
    try:
        (v0, b0), (v1, b1) = body_of(f, 0, flow.functions), body_of(f, 1, flow.functions)
        y = np.asarray(scalar_value(b0, {v0: z}, flow.functions))
        slope = z * np.asarray(scalar_value(b1, {v1: z}, flow.functions))
    except (UnsupportedNode, KeyError):  # parameters inside, or no derivative
        return None
    for k in (1, 2, 3):
        if np.allclose(slope, k * y, rtol=1e-12, atol=1e-12):  # rounding of one product
            return k
    return None


# Normal form ------------------------------------------------------------------------------------------------------------------


def normal(p: Poly, degrees: Mapping[str, int]) -> Poly:
    """A column with every row sum and every homogeneous activation rewritten."""
    for _ in range(ROUNDS):
        p = without_diagonals(p)
        total = zero(p.shape)
        for key, c in p.items():
            scalar = monomial(None, Key(key.params, key.traces, None), c)
            total = total + scalar * (_word(key.word, degrees) if key.word else _plain(p, key.word))
        if total == p:
            break
        p = total
    return p


def _plain(p: Poly, word: Word | None) -> Poly:
    if word is None or p.shape is None:
        return constant(1)
    return product(word, p.shape[0])


def _word(word: Word, degrees: Mapping[str, int]) -> Poly:
    factors = _factors(word[0])
    if factors is None:
        return product(word, word[0].rows)
    inner = [normal(f, degrees) for f in factors]
    if inner != factors:
        return hadamard(*inner) * product(word[1:], word[0].cols)
    reduced = _homogeneous(factors, degrees)
    if reduced is not None:
        return reduced * product(word[1:], word[0].cols)
    if len(word) != 2 or not is_ones(word[1].atom):
        return product(word, word[0].rows)
    return _row_sum(factors, word[0].rows, word[0].cols)


def _factors(x: Letter) -> list[Poly] | None:
    if not isinstance(x.atom.comp, Had):
        return None
    return [f.T if x.t else f for f in x.atom.comp.factors]


def _homogeneous(factors: Sequence[Poly], degrees: Mapping[str, int]) -> Poly | None:
    """f'(z) o z = k f(z), for the first term of a sum z if z is one."""
    for i, f in enumerate(factors):
        (key,) = f.terms
        (x,) = key.word if key.word and len(key.word) == 1 else (None,)
        comp = x.atom.comp if x is not None else None
        if x is None or not isinstance(comp, Elem):
            continue
        name = "abs" if (comp.function, comp.order) == ("sgn", 0) else comp.function if comp.order == 1 else ""
        if name not in degrees:
            continue
        z = comp.argument.T if x.t else comp.argument
        (first, c), *_ = z.items()
        lead = monomial(z.shape, Key((), (), first.word))
        for j, other in enumerate(factors):
            if j != i and other == lead:
                scale = power(monomial(None, Key(first.params, first.traces, None), c), Fraction(-1))
                rest = [g for n, g in enumerate(factors) if n not in (i, j)]
                remaining = z - monomial(z.shape, first, c)
                value = elem(name, z).scale(degrees[name])
                value = value - hadamard(f, remaining) if remaining else value
                return hadamard(scale * value, *rest)
    return None


def _row_sum(factors: list[Poly], rows: Any, cols: Any) -> Poly:
    """(F1 o F2 o ...) 1 in normal form."""
    for i, f in enumerate(factors):
        (key,) = f.terms
        word = key.word or ()
        cut = next((n for n in range(1, len(word)) if word[n].rows == 1), None)
        if cut is not None:  # an outer product u v'
            rest = hadamard(*factors[:i], *factors[i + 1 :])
            return hadamard(product(word[:cut], rows), rest * product(flip(word[cut:]), cols))
    if len(factors) != 2:
        return hadamard(*factors) * ones(cols, 1)
    (first,), (second,) = (f.terms for f in factors)
    word = (first.word or ()) + flip(second.word or ())
    return _diagonal(min(word, flip(word), key=word_order))


def _diagonal(word: Word) -> Poly:
    """diag of a word, split where an elementwise product can be opened, else after the first letter."""
    for w in (word, flip(word)):
        if _factors(w[0]) is not None and len(w) > 1:
            word = w
            break
    head, tail = product(word[:1], word[0].rows), product(flip(word[1:]), word[0].rows)
    return hadamard(head, tail) * ones(word[0].cols, 1)
