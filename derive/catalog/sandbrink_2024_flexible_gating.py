"""Gated paths of a linear network on tasks that alternate: exact reduction to coordinates in the span of the teachers.

Reference: K. Sandbrink, J. P. Bauer, A. M. Proca, A. M. Saxe, C. Summerfield, A. Hummos, "Flexible task abstractions emerge in
linear networks with fast and bounded units", NeurIPS 2024.

============  ========  ============================================================  ==================
symbol        shape     meaning                                                       name in the paper
============  ========  ============================================================  ==================
W1, W2        (o, n)    weights of the two paths                                      W^1, W^2
c1, c2        scalar    gates of the paths                                            c^1, c^2
T1, T2        (o, n)    teachers                                                      W*
e1, e2        scalar    which teacher is active: (1, 0) or (0, 1), bound by blocks    context
tau_w, tau_c  scalar    time constants of weights and gates, tau_c < tau_w            tau_w, tau_c
rho           scalar    strength of the regulariser of the gates                      lambda
w11 .. w22    scalar    W_p = w_p1 T1 + w_p2 T2 on the span                           projections
g1, g2        scalar    gates c1, c2 in the reduced system
============  ========  ============================================================  ==================

Loss |y - sum_p c_p W_p x|^2 / (2 o), y the output of the active teacher; the 1/o is taken up in tau_w for the weights. The
protocol is ``blocks`` of length ``block`` in which the teachers alternate; weights and gates are handed over.
Assumes white inputs; for the reduction, weights that start in the span of the teachers (zero does).
Fails for bounded gates with a kink, sum |c|: the flow slides on c = 0. The smooth (c1 + c2 - 1)^2 is offered (``regularised``).
The form of the regulariser is not taken from the paper.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from derive.claims.entry import Commutes, Conserved, Entry, MatchesSimulation, Published, Throughout
from derive.errors import InvalidSpec
from derive.reductions.ansatz import Manifold
from derive.spec.laws import Normal
from derive.spec.model import Model
from derive.spec.nodes import grad, mean
from derive.spec.rules import Phase, Rate
from derive.spec.sugar import dot, norm2
from derive.spec.symbols import dims, matrix, scalars, vector

NAME = "sandbrink_2024_flexible_gating"
REFERENCE = "Sandbrink, Bauer, Proca, Saxe, Summerfield, Hummos, NeurIPS 2024"
n, o = dims("n o")
W, T = [matrix(f"W{p}", o, n) for p in (1, 2)], [matrix(f"T{m}", o, n) for m in (1, 2)]
c, e, g = scalars("c1 c2"), scalars("e1 e2"), scalars("g1 g2")
w = (scalars("w11 w12"), scalars("w21 w22"))
tau_w, tau_c, rho = scalars("tau_w tau_c rho", positive=True)


def entry(
    n: int = 6, o: int = 3, tau_w: float = 1.3, tau_c: float = 0.3, regularised: bool = False, rho: float = 0.5,
    blocks: int = 8, block: float = 3.0, seeds: int = 12, seed: int = 0,
) -> Entry:  # fmt: skip
    """Two paths, two teachers drawn from ``seed``, active by turns in ``blocks`` of length ``block``."""
    if blocks < 1 or not block > 0:
        raise InvalidSpec(f"blocks={blocks}, block={block:g}: give one block or more, of positive length")
    rng = np.random.default_rng(seed)
    teachers = {f"T{m}": rng.standard_normal((o, n)) / np.sqrt(n) for m in (1, 2)}
    values = {"n": n, "o": o, "tau_w": tau_w, "tau_c": tau_c, **({"rho": rho} if regularised else {})}
    return Entry(
        name=NAME,
        title=f"gated paths and two teachers{', regularised gates' if regularised else ''}",
        reference=REFERENCE,
        kind="matrix",
        model=model(regularised, tuple(Phase(block, bind={e[0]: 1 - k % 2, e[1]: k % 2}) for k in range(blocks))),
        values={**values, **teachers, "scale": 0.3, "eta": 0.02, "seeds": seeds, "seed": seed},
        claims=claims(regularised),
        docs=__doc__ or "",
    )


def model(regularised: bool = False, protocol: tuple[Phase, ...] = ()) -> Model:
    """Weights and gates follow one loss at two speeds."""
    x, y, L, R = vector("x", n), vector("y", o), *scalars("L R")
    output = c[0] * W[0] * x + c[1] * W[1] * x
    let = {y: e[0] * T[0] * x + e[1] * T[1] * x, L: norm2(y - output) / (2 * o)}
    drive = {p: -grad(L, p) / tau_c for p in c}
    if regularised:
        let |= {R: rho * (c[0] + c[1] - 1) ** 2 / 2}
        drive = {p: -(grad(L, p) + grad(R, p)) / tau_c for p in c}
    return Model(
        name=NAME,
        state=(*W, *c),
        given=(*T, *e, tau_w, tau_c, *((rho,) if regularised else ())),
        data=Normal(x),
        let=let,
        learn=Rate({p: -o * grad(L, p) / tau_w for p in W} | drive),
        protocol=protocol,
        observe={"loss": mean(L)},
    )


def span() -> Manifold:
    """Every path a combination of the teachers."""
    lift = {W[p]: w[p][0] * T[0] + w[p][1] * T[1] for p in (0, 1)} | dict(zip(c, g, strict=True))
    return Manifold(lift, coordinates=(*w[0], *w[1], *g))


def claims(regularised: bool) -> tuple[Any, ...]:
    """Flow of the paths, its six numbers on the span, and one conserved number for each path."""
    error = e[0] * T[0] + e[1] * T[1] - c[0] * W[0] - c[1] * W[1]
    pull = [rho * (s[0] + s[1] - 1) if regularised else sp.Integer(0) for s in (c, g)]
    full = {W[p]: c[p] * error / tau_w for p in (0, 1)} | {c[p]: (dot(W[p], error) / o - pull[0]) / tau_c for p in (0, 1)}
    gap = [e[m] - g[0] * w[0][m] - g[1] * w[1][m] for m in (0, 1)]
    small = {w[p][m]: g[p] * gap[m] / tau_w for p in (0, 1) for m in (0, 1)}
    for p in (0, 1):
        drive = sum(w[p][i] * dot(T[i], T[j]) / o * gap[j] for i in (0, 1) for j in (0, 1))
        small[g[p]] = (drive - pull[1]) / tau_c
    out: list[Any] = [Published("flow of paths and gates", rate=full), Published("span of the teachers", rate=small, on=span())]
    out += [Throughout(Commutes("six numbers follow the paths through all blocks", span()))]
    if not regularised:
        kept = [Conserved(f"path {p + 1}: weights against gate", tau_w * norm2(W[p]) / o - tau_c * c[p] ** 2) for p in (0, 1)]
        out += [*kept, *(Throughout(claim) for claim in kept)]
    return (*out, MatchesSimulation("SGD on fresh inputs", observables=("loss",), sizes=(100, 400), seeds=24, time=3.2))
