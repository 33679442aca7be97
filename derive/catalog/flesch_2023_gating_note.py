"""Gated paths for two contexts: paths are learned in the order of how often their context comes, times how much it asks for.

Reference: T. Flesch et al., a note on gating of task representations, 2023. Analogue, not a reproduction: the note analyses
data and has no learning system.

===============  ===========  ====================================================  ==================
symbol           shape        meaning                                               name in the paper
===============  ===========  ====================================================  ==================
A1, B1, A2, B2   (h, n), ...  two layers of the path of context 1 and 2             -
A3, B3           (h, n), ...  a path that is open in both contexts                  -
T1, T2           (o, n)       maps asked for in the contexts                        -
c                1 or 2       the context of this sample; context 1 has prob. p     -
z1, z2           scalars      strengths of both layers of a path, balanced          -
a                scalar       strength of a whole path, z1^2                        a
s1, s2           scalars      singular values of T1 and T2 (of rank one)            s
tau              scalar       time constant                                         tau
===============  ===========  ====================================================  ==================

Output in context c: B_c A_c x + B3 A3 x. If the shared path is silent it stays silent, and a' = 2 p a (s - a).
Assumes white inputs, balanced aligned paths for the strengths.
Fails for a shared path that is not zero at the start: it then couples both contexts.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.claims.entry import Entry, LeadingOrder, MatchesSimulation, Published, Solves
from derive.errors import InvalidSpec
from derive.reductions.ansatz import Manifold
from derive.spec.laws import Choice, Normal
from derive.spec.model import Model
from derive.spec.nodes import grad, mean
from derive.spec.rules import Rate
from derive.spec.sugar import case, norm2
from derive.spec.symbols import dims, matrix, scalars, t, vector

NAME = "flesch_2023_gating_note"
REFERENCE = "Flesch et al., 2023, gated linear network as analogue"
n, h, o = dims("n h o")
A1, A2, A3 = (matrix(f"A{i}", h, n) for i in (1, 2, 3))
B1, B2, B3 = (matrix(f"B{i}", o, h) for i in (1, 2, 3))
T1, T2, x = matrix("T1", o, n), matrix("T2", o, n), vector("x", n)
p, tau, s1, s2, a0 = scalars("p tau s1 s2 a0", positive=True)
z1, z2, a, c, L = scalars("z1 z2 a c L")


def entry(
    p: float = 0.7, strengths: tuple[float, float] = (2.0, 2.0), n: int = 4, h: int = 3, o: int = 3, a0: float = 0.05,
    tau: float = 1.0, time: float = 10.0, eta: float = 0.01, seeds: int = 10, seed: int = 0,
) -> Entry:  # fmt: skip
    """Context 1 has probability ``p``; the targets have rank one and these ``strengths``; paths start at ``a0``."""
    if not 0 < p < 1:
        raise InvalidSpec(f"p={p}: give a probability between 0 and 1")

    def unit(rows: int, cols: int, size: float, row: int, col: int) -> Any:
        return [[size * (i == row and j == col) for j in range(cols)] for i in range(rows)]

    targets = {f"T{k + 1}": unit(o, n, s, k, k) for k, s in enumerate(strengths)}
    start = {f"A{k + 1}": unit(h, n, a0**0.5 if k < 2 else 0.0, 0, k) for k in range(3)}
    start |= {f"B{k + 1}": unit(o, h, a0**0.5 if k < 2 else 0.0, k, 0) for k in range(3)}
    run = {"time": time, "eta": eta, "batch": 8, "seeds": seeds, "seed": seed}
    return Entry(
        name=NAME, title="gated paths for two contexts race", reference=REFERENCE, kind="matrix", model=model(),
        values={"n": n, "h": h, "o": o, "p": p, "tau": tau, **targets, **start, **run}, claims=claims(), docs=__doc__ or "",
    )  # fmt: skip


def model() -> Model:
    """Every sample comes with a context that opens one path; the third is always open."""
    shared = B3 * A3 * x
    loss = case(c, {k: norm2(T * x - B * A * x - shared) / 2 for k, T, A, B in ((1, T1, A1, B1), (2, T2, A2, B2))})
    weights = (A1, B1, A2, B2, A3, B3)
    return Model(
        name=NAME, state=weights, given=(T1, T2, p, tau), data=(Choice(c, (1, 2), (p, 1 - p)), Normal(x)), let={L: loss},
        learn=Rate({w: -grad(L, w) / tau for w in weights}), observe={"loss": mean(L)},
    )  # fmt: skip


def silent() -> Manifold:
    """Balanced paths along the singular vectors of their targets; the shared path is silent."""
    r1, r2, v1, v2, w1, w2 = (vector(f"{m}{k}", size) for m, size in (("r", h), ("v", n), ("w", o)) for k in (1, 2))
    lift = {A1: z1 * r1 * v1.T, B1: z1 * w1 * r1.T, A2: z2 * r2 * v2.T, B2: z2 * w2 * r2.T, A3: 0 * A3, B3: 0 * B3}
    data = {T1: s1 * w1 * v1.T, T2: s2 * w2 * v2.T}
    return Manifold(lift, coordinates=(z1, z2), data=data, tags=dict.fromkeys((r1, r2, v1, v2, w1, w2), "orth"))


def claims() -> tuple[Any, ...]:
    """Flow of all paths, the race of the two gated ones, and when each of them arrives."""
    E1, E2 = T1 - B1 * A1 - B3 * A3, T2 - B2 * A2 - B3 * A3
    q, E3 = 1 - p, p * E1 + (1 - p) * E2
    flow = {A1: p * B1.T * E1, B1: p * E1 * A1.T, A2: q * B2.T * E2, B2: q * E2 * A2.T, A3: B3.T * E3, B3: E3 * A3.T}
    y1, y2, t1 = scalars("y1 y2 t1")
    grown = {z: 1 - (1 - s / y**2) * sp.exp(-2 * s * often * t / tau) for z, s, y, often in ((z1, s1, y1, p), (z2, s2, y2, q))}
    race = {z: sp.sqrt(s / grown[z]) for z, s in ((z1, s1), (z2, s2))}
    start = {z1: sp.sqrt(a0), z2: sp.sqrt(a0)}
    return (
        Published("flow of all paths", rate={k: rate / tau for k, rate in flow.items()}),
        Published("strength of a path", where={a: z1**2}, rate={a: 2 * p * a * (s1 - a) / tau}, on=silent()),
        Solves("printed race", race, initial={z1: y1, z2: y2}, ansatz=silent()),
        Solves("closed form of the engine", {}, ansatz=silent()),
        LeadingOrder(
            "time of half the strength", quantity=t1, formula=sp.log(s1 / a0) * tau / (2 * s1 * p), small=a0,
            times={t1: (z1**2, s1 / 2)}, start=start, on=silent(),
        ),
        MatchesSimulation("SGD on samples of both contexts", observables=("loss",), sizes=(100, 400), seeds=12, time=2.0),
    )  # fmt: skip
