"""Elimination of a number from a flow of matrices: the conserved quantity is a polynomial of it with words as coefficients.

    A x^2 + B x + C = 0      gives      x = (-B +- sqrt(B^2 - 4 A C)) / (2 A),

with A a single term, so that no reciprocal of a sum appears. Imported by `derive.flows.elimination`.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from derive.errors import InvalidSpec, UnsupportedNode
from derive.flows.check import random_array
from derive.flows.level_set import level_set, reduced_flow
from derive.matrices.calculus import ddt, substitute
from derive.matrices.composite import atoms, mentions, parameters, scalar_power
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly, constant, monomial, param, power, text
from derive.matrices.word_space import state_poly
from derive.matrices.words import Key, is_ones
from derive.spec.tree import names as tree_names
from derive.system import Assumption, Block, ConservedQuantity, Flow, Reduction, Step

POINTS = 12


def eliminate_words(flow: Flow, invariant: Any, x: str, *, name: str, root: int) -> Reduction:
    """See `derive.flows.elimination.eliminate`."""
    block = flow.block(x)
    if block.shape:
        raise UnsupportedNode(f"eliminate: {x} is a matrix of shape {block.shape}; a conserved quantity gives one number only")
    quantity = _read(flow, invariant)
    if quantity.shape is not None or ddt(quantity, flow):
        raise InvalidSpec(f"eliminate: {text(quantity)} is no conserved number of {flow.name}; see conserved({flow.name})")
    solution = _root(flow, quantity, x, name, root)
    rhs = {b.name: _replaced(_poly(flow.rhs[b.name]), x, solution) for b in flow.state if b.name != x}
    observables = {n: _replaced(p, x, solution) for n, p in flow.observables.items() if isinstance(p, Poly)}
    assumption = Assumption(
        text=f"{x} {'> 0' if root == 1 else '< 0'} along the trajectory, on the level set {text(quantity)} = {name}",
        remedy=f"keep {x} as a state where it changes its sign",
    )
    step = Step(
        title=f"{x} eliminated by a conserved quantity",
        detail=f"{x} = {text(solution)}",
        check=f"the quantity is conserved word by word; the root gives {x} back at {POINTS} random states",
    )
    shown = (*rhs.values(), *observables.values())
    used = {b.name for b in flow.parameters if any(mentions(p, b.name) for p in shown)}
    level = Block(name=name, meaning=f"conserved value of {text(quantity)}")
    reduced = reduced_flow(flow, x, rhs, observables, level, used, assumption, step)
    lift = {b.name: solution if b.name == x else state_poly(b) for b in flow.state}

    def number(p: Poly) -> Any:
        return lambda values: evaluate(p, values, functions=flow.functions)

    return level_set(flow, reduced, lift, number(quantity), number(solution))


def _replaced(p: Poly, x: str, solution: Poly) -> Poly:
    """p with x replaced; a factor common to all terms is split off first, so that reciprocals stay short."""
    (first, c), *more = solution.items()
    common = {n: min([e, *(dict(k.params).get(n, Fraction(0)) for k, _ in more)]) for n, e in first.params if e < 0}
    factor = constant(abs(c)) if all(abs(d) == abs(c) for _, d in more) else constant(1)
    for n, e in common.items():
        factor = factor * param(n, e)
    rest = solution * power(factor, Fraction(-1))
    return substitute(substitute(p, {x: factor * param(x)}), {x: rest})


def _poly(e: Any) -> Poly:
    assert isinstance(e, Poly)
    return e


def _read(flow: Flow, invariant: Any) -> Poly:
    from derive.completion.read import read_wanted

    e = invariant.expr if isinstance(invariant, ConservedQuantity) else invariant
    return e if isinstance(e, Poly) else read_wanted(flow, [e])[0].poly


def _root(flow: Flow, quantity: Poly, x: str, name: str, sign: int) -> Poly:
    """The root of  quantity = name  that gives x back at random states."""
    candidates = _roots(quantity - param(name), x)
    kept = list(candidates)
    for point in range(POINTS):
        values = _point(flow, quantity, np.random.default_rng([2, point]))
        values[x] = sign * abs(values[x])
        values[name] = evaluate(quantity, values, functions=flow.functions)
        with np.errstate(all="ignore"):
            kept = [r for r in kept if np.isclose(evaluate(r, values), values[x], rtol=1e-9)]  # rounding near double roots
    if len(kept) != 1:
        raise UnsupportedNode(
            f"eliminate: {text(quantity)} = {name} cannot be solved for {x}: "
            f"of {len(candidates)} roots {len(kept)} give it back at random states; eliminate another state"
        )
    return kept[0]


def _point(flow: Flow, quantity: Poly, rng: np.random.Generator) -> dict[str, Any]:
    found = [a for a in atoms(quantity) if not is_ones(a)]
    names = sorted({n for a in found for size in (a.rows, a.cols) for n in tree_names(size)})
    sizes = {n: 2 + i % 2 for i, n in enumerate(names)}
    values: dict[str, Any] = {a.name: random_array(a, sizes, rng) for a in found}
    return values | {n: rng.uniform(0.5, 1.5) for n in parameters(quantity) if n not in sizes}


def _roots(relation: Poly, x: str) -> list[Poly]:
    parts = _by_powers(relation, x)
    if parts is None:
        return []
    low = min(parts)
    p: Mapping[Fraction, Poly] = {e - low: c for e, c in parts.items()}
    top = max(p)
    if top not in (1, 2) or any(e not in (0, 1, 2) for e in p) or len(p[top].terms) != 1:
        return []
    a, b, c = p[top], p.get(Fraction(1), constant(0)), p.get(Fraction(0), constant(0))
    if top == 1:
        return [-c * power(a, Fraction(-1))]
    over = power(a.scale(2), Fraction(-1))
    half = scalar_power(b * b - a.scale(4) * c, Fraction(1, 2))
    return [(half - b) * over, (-half - b) * over]


def _by_powers(relation: Poly, x: str) -> dict[Fraction, Poly] | None:
    """Coefficients of the powers of x, or None if it stands inside a function."""
    out: dict[Fraction, Poly] = {}
    for key, c in relation.items():
        e = next((e for n, e in key.params if n == x), Fraction(0))
        rest = monomial(None, Key(tuple((n, k) for n, k in key.params if n != x), key.traces, None), c)
        if mentions(rest, x):
            return None
        out[e] = out.get(e, constant(0)) + rest
    return out
