"""Toy model of an induction head: one target tensor learned by a product of three vectors, closed in six numbers.

Reference: A. K. Singh, T. Moskovitz, F. Hill, S. C. Y. Chan, A. M. Saxe, "What needs to go right for an induction head? A
mechanistic study of in-context learning circuits and their formation", ICML 2024 (toy model of the phase change).

=====================  ========  ==============================================  ==================
symbol                 shape     meaning                                         name in the paper
=====================  ========  ==============================================  ==================
a, b, c                (d, 1)    learned factors, one for each sub-circuit       a, b, c
astar, bstar, cstar    (d, 1)    target factors                                  a*, b*, c*
tau                    scalar    time constant, 1 / learning rate                1 / eta
n_a, x_a_astar         scalar    a.a and a.astar; closed with those of b and c
loss                   scalar    mean square over the d^3 entries, halved        L
=====================  ========  ==============================================  ==================

The loss  |a* x b* x c* - a x b x c|^2 / (2 d^3)  (x: outer product) is written in inner products, so no tensor is formed. A
clamped factor is held at its target: it is no state. ``complete`` closes the flow in x_i = p_i . p_i* and n_i = |p_i|^2.
Assumes gradient flow; no assumption on the vectors.
Fails for softmax attention itself: this is a caricature of three interacting sub-circuits.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Any

import sympy as sp

from derive.claims.entry import Conserved, Entry, MatchesSimulation, Published
from derive.errors import InvalidSpec
from derive.spec.model import Model
from derive.spec.nodes import grad
from derive.spec.rules import Rate
from derive.spec.sugar import dot, norm2
from derive.spec.symbols import dims, scalars, vector

NAME = "singh_2024_induction_toy"
REFERENCE = "Singh, Moskovitz, Hill, Chan, Saxe, ICML 2024, toy model of the phase change"
FACTORS = ("a", "b", "c")


def entry(d: int = 5, tau: float = 1.0, clamp: str = "", scale: float = 0.3, time: float = 60.0, seed: int = 0) -> Entry:
    """Vectors of dimension ``d``; ``clamp`` lists the factors held at their targets, for instance "c" or "bc"."""
    if any(letter not in FACTORS for letter in clamp) or len(set(clamp)) == len(FACTORS):
        raise InvalidSpec(
            f"clamp={clamp!r}: give some of the letters a, b, c, for instance 'bc'; one factor or more must learn"
        )
    return Entry(
        name=NAME,
        title="three-factor toy model of an induction head",
        reference=REFERENCE,
        kind="matrix",
        model=model(clamp),
        values={"d": d, "tau": tau, "scale": scale, "time": time, "seed": seed, **targets(d)},
        claims=claims(clamp, time),
        docs=__doc__ or "",
    )


def targets(d: int) -> dict[str, Any]:
    """Target vectors with entries 1 and -1: patterns that differ, of square norm d."""
    return {f"{p}star": [[1.0 - 2.0 * ((i >> k) % 2)] for i in range(d)] for k, p in enumerate(FACTORS)}


def vectors(clamp: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Factors (a clamped one is its target), and targets."""
    d = dims("d")
    stars = {p: vector(f"{p}star", d) for p in FACTORS}
    return {p: stars[p] if p in clamp else vector(p, d) for p in FACTORS}, stars


def model(clamp: str = "") -> Model:
    """Gradient flow of the factors that are not clamped."""
    d, tau, L = dims("d"), scalars("tau", positive=True), scalars("L")
    factors, stars = vectors(clamp)
    free = tuple(factors[p] for p in FACTORS if p not in clamp)
    overlap = prod(dot(factors[p], stars[p]) for p in FACTORS)
    square = prod(norm2(factors[p]) for p in FACTORS)
    target = prod(norm2(stars[p]) for p in FACTORS)
    return Model(
        name=NAME,
        state=free,
        given=(*stars.values(), tau),
        let={L: (target - 2 * overlap + square) / (2 * d**3)},
        learn=Rate({p: -grad(L, p) / tau for p in free}),
        observe={"loss": L},
    )


def claims(clamp: str, time: float) -> tuple[Any, ...]:
    """Equations of the inner products, and the differences of norms that they keep."""
    d, tau = dims("d"), scalars("tau", positive=True)
    factors, stars = vectors(clamp)
    free = [p for p in FACTORS if p not in clamp]
    x, n = ({p: scalars(f"{letter}_{p}") for p in free} for letter in "xn")
    N = {p: norm2(stars[p]) for p in FACTORS}
    where = {x[p]: dot(factors[p], stars[p]) for p in free} | {n[p]: norm2(factors[p]) for p in free}
    rates: dict[Any, Any] = {}
    for p in free:
        others = [q for q in FACTORS if q != p]
        overlap, square = prod(x.get(q, N[q]) for q in others), prod(n.get(q, N[q]) for q in others)
        rates[x[p]] = (N[p] * overlap - x[p] * square) / (d**3 * tau)
        rates[n[p]] = sp.Integer(2) * (x[p] * overlap - n[p] * square) / (d**3 * tau)
    out: list[Any] = [Published("inner products and norms of the factors", where=where, rate=rates)]
    out += [
        Conserved(f"difference of the norms of {p} and {q}", norm2(factors[p]) - norm2(factors[q])) for p, q in pairwise(free)
    ]
    return (*out, MatchesSimulation("gradient descent", observables=("loss",), seeds=2, time=time))
