"""Non-negative matrix factorisation as a flow: factors that are squares of what is trained move multiplicatively.

Reference: A. C. Earle, A. M. Saxe, B. Rosman, "Hierarchical subtask discovery with non-negative matrix factorization",
arXiv:1708.00463 (2017); the gradient flow of the roots stands for the multiplicative updates.

==========  ========  =======================================================  ==================
symbol      shape     meaning                                                  name in the paper
==========  ========  =======================================================  ==================
u, v        (n, k)..  what is trained                                          -
B, H        (n, k)..  subtasks u o u, and their mixtures v o v                 D, W
Y           (n, m)    desirability of n states in m tasks                      Z
tau         scalar    time constant                                            -
==========  ========  =======================================================  ==================

Gradient flow of |Y - B H|^2 / 2 in the roots: B' = -4 B o (gradient by B), so entries never change sign and zeros stay.
Assumes non-negative Y; gradient flow.
Fails to revive an entry that is zero: such a start is a fixed point of that entry.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from derive import fn
from derive.claims.entry import Conserved, Entry, MatchesSimulation, Published
from derive.reductions.ansatz import Manifold
from derive.spec.model import Model
from derive.spec.nodes import grad
from derive.spec.rules import Rate
from derive.spec.sugar import had, norm2
from derive.spec.symbols import dims, matrix, scalars

NAME = "earle_2017_subtask_discovery"
REFERENCE = "Earle, Saxe, Rosman, arXiv:1708.00463 (2017)"
n, k, m = dims("n k m")
u, v, Y, B, H = matrix("u", n, k), matrix("v", k, m), matrix("Y", n, m), matrix("B", n, k), matrix("H", k, m)
tau = scalars("tau", positive=True)


def entry(
    n: int = 6, k: int = 3, m: int = 8, tau: float = 1.0, time: float = 6.0, seed: int = 0,
) -> Entry:  # fmt: skip
    """An (``n``, ``m``) matrix of rank ``k`` with non-negative entries, and random factors of entries in (0, 1)."""
    rng = np.random.default_rng(seed)
    target = rng.uniform(0, 1, (n, k)) @ rng.uniform(0, 1, (k, m))
    start = {"u": np.sqrt(rng.uniform(0, 1, (n, k))), "v": np.sqrt(rng.uniform(0, 1, (k, m)))}
    return Entry(
        name=NAME, title="non-negative factors as squares of what is trained", reference=REFERENCE, kind="matrix",
        values={"n": n, "k": k, "m": m, "tau": tau, "Y": target, **start, "time": time, "seed": seed}, claims=claims(),
        model=model(), docs=__doc__ or "",
    )  # fmt: skip


def model() -> Model:
    """Gradient flow of the roots of both factors."""
    L = scalars("L")
    return Model(
        name=NAME,
        state=(u, v),
        given=(Y, tau),
        let={L: norm2(Y - had(u, u) * had(v, v)) / 2},
        learn=Rate({x: -grad(L, x) / tau for x in (u, v)}),
        observe={"loss": L},
    )


def roots() -> Manifold:
    """The factors in the place of their roots."""
    return Manifold({u: fn.sqrt(B), v: fn.sqrt(H)}, coordinates=(B, H), solve_for={B: had(u, u), H: had(v, v)})


def claims() -> tuple[Any, ...]:
    """Multiplicative flow of the factors, and the balance of their sums."""
    error = B * H - Y
    flow = {B: -4 * had(B, error * H.T) / tau, H: -4 * had(H, B.T * error) / tau}
    sums = had(u, u).T * sp.OneMatrix(n, 1) - had(v, v) * sp.OneMatrix(m, 1)
    return (
        Published("multiplicative flow of the factors", rate=flow, on=roots()),
        Published("the same, from the roots", where={B: had(u, u), H: had(v, v)}, rate=flow),
        Conserved("balance of the sums of every factor", sums),
        MatchesSimulation("gradient descent", observables=("loss",), seeds=2, time=1.0),
    )
