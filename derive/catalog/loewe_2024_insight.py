"""Insight: gates under an L1 penalty and gradient noise open suddenly, long after their weights began to wander.

Reference: A. T. Loewe, L. Touzo, P. S. Muhle-Karbe, A. M. Saxe, C. Summerfield, N. W. Schuck, "Abrupt and spontaneous strategy
switches emerge in simple regularised neural networks", 2024.

==========  ========  ================================================  ==================
symbol      shape     meaning                                           name in the paper
==========  ========  ================================================  ==================
w, g        (n, 1)    weights, and gates that multiply them             w, g
x, y        (n,1) ..  input and target; their law is left open          x, y
Sx, k       (n,n) ..  E[x x^T], E[y x]                                  Sigma_x, -
lam         scalar    strength of the penalty on |g|                    lambda
r           (n, 1)    k - Sx (g o w), what is left to learn             -
s, h        scalar    noise of the weights per sqrt(time); step         sigma, -
==========  ========  ================================================  ==================

yhat = (g o w) . x,  L = (y - yhat)^2 / 2 + lam sum |g|: w' = g o r, g' = w o r - lam sgn(g). The right-hand side jumps at
g_i = 0: a gate that arrives there stays as long as |w_i r_i| < lam, and its weight then feels no gradient. With noise on the
weights it wanders freely until |w_i| = lam / |r_i|, and the gate opens: a first passage.
Assumes the mean over data and noise for the drift; for the time of escape a residual r that is held fixed.
Fails for the schedule of the task (motion, then colour), which is not modelled.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive import fn
from derive.claims.entry import Entry, MatchesSimulation, MeanExit, Published
from derive.solutions.passage import exit_time
from derive.spec.laws import Moments, Normal
from derive.spec.model import Model
from derive.spec.nodes import grad, mean
from derive.spec.rules import Rate, Update
from derive.spec.sugar import dot, had, total
from derive.spec.symbols import dims, matrix, scalars, vector

NAME = "loewe_2024_insight"
n = dims("n")
w, g, x, k, Sx = vector("w", n), vector("g", n), vector("x", n), vector("k", n), matrix("Sx", n, n)
lam, s, h = scalars("lam s h", positive=True)
BARRIER = sp.Rational(5826, 10000)  # -zeta(1/2) / sqrt(2 pi): a walk of Gaussian steps passes a barrier by this many of them


def entry(
    n: int = 2, lam: float = 0.05, noise: float = 0.2, scale: float = 0.3, time: float = 30.0, eta: float = 0.01, seed: int = 0
) -> Entry:  # fmt: skip
    """``n`` inputs; ``noise`` of the weights is that of the escape."""
    run = {"scale": scale, "time": time, "eta": eta, "seed": seed}
    return Entry(
        name=NAME,
        title="gated weights under an L1 penalty: suppression and escape",
        reference="Loewe, Touzo, Muhle-Karbe, Saxe, Summerfield, Schuck, 2024",
        kind="matrix",
        model=model(),
        values={"n": n, "lam": lam, **run},
        claims=claims(noise),
        docs=__doc__ or "",
    )


def model() -> Model:
    """Gradient flow of weights and gates."""
    y, yhat, L, Syy = scalars("y yhat L Syy")
    return Model(
        name=NAME,
        state=(w, g),
        given=lam,
        data=Moments((x, y), {x * x.T: Sx, y * x: k, y**2: Syy}),
        let={yhat: dot(had(g, w), x), L: (y - yhat) ** 2 / 2 + lam * total(fn.abs(g))},
        learn=Rate({w: -grad(L, w), g: -grad(L, g)}),
        observe={"loss": mean(L)},
    )


def suppressed() -> Model:
    """A gate held down, its weight in noise: Euler step of w, proximal step of g, residual r fixed."""
    r, xi, moved = scalars("r", positive=True), vector("xi", n), vector("moved", n)
    shrunk = had(fn.sgn(moved), fn.relu(fn.abs(moved) - h * lam * sp.OneMatrix(n, 1)))
    return Model(
        name=f"{NAME}_escape",
        state=(w, g),
        given=(r, lam, s, h),
        data=Normal(xi),
        let={moved: g + h * r * w},
        learn=Update({w: w + h * r * g + s * sp.sqrt(h) * xi, g: shrunk}, dt=h),
    )


def claims(noise: float) -> tuple[Any, ...]:
    """Drift of both, the balance that the penalty breaks, and the mean time of escape."""
    left, c, r, w0 = k - Sx * had(g, w), vector("c", n), scalars("r", positive=True), scalars("w0", positive=True)
    size = lam / r
    escape = ((size + BARRIER * s * sp.sqrt(h)) ** 2 - w0**2) / s**2
    values = {n: 5_000, lam: 0.3, r: 0.5, s: noise, w0: 0.2, h: 0.01}
    return (
        Published("drift of weights and gates", rate={w: had(g, left), g: had(w, left) - lam * fn.sgn(g)}, states=100),
        Published("broken balance", where={c: had(w, w) - had(g, g)}, rate={c: 2 * lam * fn.abs(g)}, states=100),
        MeanExit(
            "mean time of escape of a suppressed gate",
            model=suppressed(),
            leaves=g,
            start={w: 0.2, g: 0},
            values=values,
            mean=escape,
            derived=exit_time(w0, variance=s**2, between=(-size, size)),
            step=h,
        ),
        MatchesSimulation("gradient descent on items", observables=("loss",), seeds=30, time=1.0),
    )
