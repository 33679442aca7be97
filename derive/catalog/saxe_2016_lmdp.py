"""Linearly solvable control: the exponential of the value moves linearly, so that solved tasks compose.

Reference: A. M. Saxe, A. C. Earle, B. Rosman, "Hierarchy through composition with multitask LMDPs", arXiv:1612.02757 (2016).

==========  ========  =======================================================  ==================
symbol      shape     meaning                                                  name in the paper
==========  ========  =======================================================  ==================
V, Z        (n, T)    values of n interior states in T tasks; Z = e^V          V, z
q           (n, 1)    rewards of interior states                               q_i
PI, PB      (n, n)..  passive transitions, to interior and boundary states     P_ii, P_ib
VB          (b, T)    values at the boundary, which define the tasks           q_b
==========  ========  =======================================================  ==================

``rule`` is "iterate": V' = exp(q + log P e^V - V) - 1, the flow of the iteration z <- e^q P z, which is linear in z; or
"bellman": V' = q + log P e^V - V, which rests at the same values.
Assumes rewards <= 0 in the interior, so that e^q PI contracts, and Z > 0.
Fails where rewards are so large that e^q PI has an eigenvalue above 1: values then grow without end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from derive import fn
from derive.claims.entry import Entry, MatchesSimulation, Published, Rests, Solves
from derive.errors import InvalidSpec
from derive.reductions.ansatz import Manifold
from derive.spec.model import Model
from derive.spec.rules import Rate
from derive.spec.sugar import had, norm2
from derive.spec.symbols import dims, matrix, vector

NAME = "saxe_2016_lmdp"
REFERENCE = "Saxe, Earle, Rosman, arXiv:1612.02757 (2016)"
n, b, T = dims("n b T")
V, Z, VB = matrix("V", n, T), matrix("Z", n, T), matrix("VB", b, T)
q, PI, PB, zsum = vector("q", n), matrix("PI", n, n), matrix("PB", n, b), vector("zsum", n)
REWARD, ONES, TASKS = q * sp.OneMatrix(1, T), sp.OneMatrix(n, T), sp.OneMatrix(T, 1)
REACHED = PI * fn.exp(V) + PB * fn.exp(VB)


def entry(
    rule: str = "iterate", n: int = 6, b: int = 2, T: int = 2, reward: float = -0.3, scale: float = 0.5, time: float = 12.0,
    seed: int = 0,
) -> Entry:  # fmt: skip
    """``T`` random tasks on ``n`` interior and ``b`` boundary states; ``reward`` in every interior state."""
    if rule not in ("iterate", "bellman"):
        raise InvalidSpec(f"rule={rule!r}: write 'iterate' or 'bellman'")
    if not reward <= 0:
        raise InvalidSpec(f"reward={reward}: rewards in the interior are costs, at most 0; larger ones make the values diverge")
    rng = np.random.default_rng(seed)
    P = rng.uniform(0, 1, (n, n + b)) ** 2
    P /= P.sum(axis=1, keepdims=True)
    world = {"PI": P[:, :n], "PB": P[:, n:], "q": np.full((n, 1), reward), "VB": rng.normal(size=(b, T))}
    return Entry(
        name=NAME, title=f"linearly solvable control, {rule} flow of the values", reference=REFERENCE, kind="matrix",
        model=model(rule), values={"n": n, "b": b, "T": T, **world, "scale": scale, "time": time, "seed": seed},
        claims=claims(rule), docs=__doc__ or "",
    )  # fmt: skip


def model(rule: str = "iterate") -> Model:
    """Relaxation of the values; the square of what is missing in the Bellman equation is watched."""
    missing = REWARD + fn.log(REACHED) - V
    learn = Rate({V: missing if rule == "bellman" else fn.exp(missing) - ONES})
    return Model(name=NAME, state=V, given=(q, PI, PB, VB), learn=learn, observe={"residual": norm2(missing)})


def desirability() -> Manifold:
    """Z = e^V in the place of V."""
    return Manifold({V: fn.log(Z)}, coordinates=(Z,), solve_for={Z: fn.exp(V)})


def claims(rule: str) -> tuple[Any, ...]:
    """The flow, its linear form and solution, the sum of tasks, and the values at rest."""
    simulated = MatchesSimulation("Euler steps", observables=("residual",), seeds=2, time=2.0)
    rest = Rests("values of the linear problem", at={V: lambda x: np.log(goal(x))})
    if rule == "bellman":
        return Published("relaxation of values", rate={V: fn.log(REACHED) + REWARD - V}), rest, simulated
    linear = had(fn.exp(REWARD), PI * Z + PB * fn.exp(VB)) - Z
    summed = had(fn.exp(q), PI * zsum + PB * fn.exp(VB) * TASKS) - zsum
    return (
        Published("relaxation of values", rate={V: had(fn.exp(REWARD - V), REACHED) - ONES}),
        Published("linear flow of desirability", rate={Z: linear}, on=desirability()),
        Published("tasks compose: their sum obeys the same equation", where={zsum: fn.exp(V) * TASKS}, rate={zsum: summed}),
        Solves("printed solution", {Z: printed}, initial={Z: sp.Symbol("Z0")}, ansatz=desirability()),
        Solves("closed form of the engine", {}, ansatz=desirability()),
        rest, simulated,
    )  # fmt: skip


def goal(x: Any) -> Any:
    """(1 - e^q PI)^-1 e^q PB e^VB, linear in the boundary."""
    rewards = np.exp(x["q"])
    return np.linalg.solve(np.eye(len(rewards)) - rewards * x["PI"], rewards * (x["PB"] @ np.exp(x["VB"])))


def printed(x: Any) -> Any:
    """What is left of the start decays as e^{(e^q PI - 1) t}."""
    a, R = np.linalg.eig(np.exp(x["q"]) * x["PI"] - np.eye(len(x["q"])))
    left = np.linalg.solve(R, (x["Z0"] - goal(x)).astype(complex))
    return np.array([goal(x) + np.real(R @ (np.exp(a * t)[:, None] * left)) for t in np.ravel(x["t"])])
