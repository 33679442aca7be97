"""Two-layer (leaky) ReLU network without biases on symmetric data: it learns like a linear network with a slower clock.

Reference: Y. Zhang, A. M. Saxe, P. E. Latham, "When are bias-free ReLU networks effectively linear networks?", TMLR 2025.

==============  ==================  ==================================================  ==================
symbol          shape               meaning                                             name in the paper
==============  ==================  ==================================================  ==================
W1, W2          (h, D), (1, h)      weights                                             W_1, W_2
alpha           number              slope of the activation on the negative side        alpha
x_data, y_data  (D, P), (1, P)      P items, with each one also its mirror image        x, y
Sx, Syx         (D, D), (1, D)      E[x x^T], E[y x^T]                                  Sigma, beta^T
g               (h, 1)              a unit vector with as much norm above as below 0
r               (D, 1)              weights of one direction, W1 = g r^T / sqrt c       r
w               (D, 1)              |r| r, the linear map that the network is           w
u               number              length of w along beta, if Sx = I and |beta| = s
tau             number              time constant                                       tau
==============  ==================  ==================================================  ==================

Here c = (1 + alpha)/2. On the manifold W1 = g r^T / sqrt c, W2 = |r| g^T / sqrt c the network is the linear map w^T x, and w
follows the balanced linear network with time multiplied by c, whatever the odd target is. Small starts come near it.
Assumes data that look the same under (x, y) -> (-x, -y); gradient flow.
Fails off the manifold (the even part of the network moves too), for targets with an even part, and with biases.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from derive import fn
from derive.claims.entry import Commutes, Conserved, Entry, MatchesSimulation, Published, Solves
from derive.errors import InvalidSpec
from derive.reductions.ansatz import Manifold
from derive.spec.laws import Moments
from derive.spec.model import Model
from derive.spec.nodes import grad, mean
from derive.spec.rules import Rate
from derive.spec.sugar import dot, had, norm2
from derive.spec.symbols import activation, dims, matrix, scalars, t, vector

NAME = "zhang_2025_bias_free_relu"
REFERENCE = "Zhang, Saxe, Latham, TMLR 2025"
D, h, P = dims("D h P")
tau, s, u = scalars("tau s u", positive=True)
W1, W2, g, r, e = matrix("W1", h, D), matrix("W2", 1, h), vector("g", h), vector("r", D), vector("e", D)
Sx, Syx, Syy = matrix("Sx", D, D), matrix("Syx", 1, D), matrix("Syy", 1, 1)


def entry(
    alpha: float = 0.0, D: int = 4, h: int = 6, items: int = 40, tau: float = 1.0, scale: float = 0.1, eta: float = 0.02,
    batch: int = 8, seeds: int = 10, time: float = 4.5, seed: int = 0,
) -> Entry:  # fmt: skip
    """``alpha`` = 0 is ReLU, 1 a linear network; ``items`` inputs and their mirror images."""
    if not -1 < alpha <= 1 or h < 2:
        raise InvalidSpec(f"alpha={alpha}, h={h}: take -1 < alpha <= 1 and at least 2 hidden units, one of each sign")
    x = np.random.default_rng(seed).standard_normal((items, D))
    y = x[:, :1] - 0.5 * x[:, 1:2] + 0.3 * x[:, :1] ** 3  # odd, not linear
    bound = model(alpha).bind(x=np.concatenate([x, -x]), y=np.concatenate([y, -y]))
    halves = np.concatenate([np.ones(h // 2), -np.ones(h // 2), np.zeros(h % 2)])[:, None] / np.sqrt(2 * (h // 2))
    run = {"scale": scale, "eta": eta, "batch": batch, "seeds": seeds, "time": time, "seed": seed}
    return Entry(
        name=NAME, title=f"bias-free network, slope {alpha:g} below zero", reference=REFERENCE, kind="matrix", model=bound,
        values={"D": D, "h": h, "tau": tau, "g": halves, **run}, claims=claims(alpha), docs=__doc__ or "",
    )  # fmt: skip


def phi(z: Any, alpha: float) -> Any:
    """The activation."""
    a = sp.Rational(str(alpha))
    return fn.relu(z) if a == 0 else activation("leaky", lambda v: fn.relu(v) - a * fn.relu(-v))(z)


def model(alpha: float = 0.0) -> Model:
    """Squared error of one output; the law of the data is symmetric."""
    x, y, L = vector("x", D), vector("y", 1), scalars("L")
    return Model(
        name=NAME, state=(W1, W2), given=(tau,),
        data=Moments((x, y), {x * x.T: Sx, y * x.T: Syx, y * y.T: Syy}, odd=(x, y)),
        let={L: norm2(y - W2 * phi(W1 * x, alpha)) / 2}, learn=Rate({w: -grad(L, w) / tau for w in (W1, W2)}),
        observe={"loss": mean(L)},
    )  # fmt: skip


def one_direction(alpha: float = 0.0) -> Manifold:
    """Weights of rank one; positive and negative hidden units have equal norms, and so have the layers."""
    k = 1 / sp.sqrt((1 + sp.Rational(str(alpha))) / 2)
    lift = {W1: k * g * r.T, W2: k * sp.sqrt(norm2(r)) * g.T}
    return Manifold(lift, coordinates=(r,), tags={g: "orth"}, orthogonal=((g, fn.abs(g)),))


def one_number(alpha: float = 0.0) -> Manifold:
    """White inputs, and the direction of the linear regression."""
    c = (1 + sp.Rational(str(alpha))) / 2
    return Manifold(
        {W1: sp.sqrt(u) / sp.sqrt(c) * g * e.T, W2: sp.sqrt(u) / sp.sqrt(c) * g.T}, coordinates=(u,),
        data={Sx: sp.Identity(D), Syx: s * e.T}, tags={g: "orth", e: "orth"}, solve_for={u: c * norm2(W2.T)},
        orthogonal=((g, fn.abs(g)),),
    )  # fmt: skip


def claims(alpha: float) -> tuple[Any, ...]:
    """Flow of both layers, balance of every neuron, the linear map on the manifold and its logistic growth."""
    a, c = sp.Rational(str(alpha)), (1 + sp.Rational(str(alpha))) / 2
    X, Y, w, u0 = matrix("x_data", D, P), matrix("y_data", 1, P), vector("w", D), scalars("u0")
    error, slope = Y - W2 * phi(W1 * X, alpha), a * sp.OneMatrix(h, P) + (1 - a) * fn.step(W1 * X)
    full = {W1: had(W2.T * error, slope) * X.T / P / tau, W2: error * phi(W1 * X, alpha).T / P / tau}
    gap, length = Syx.T - Sx * w, sp.sqrt(norm2(w))
    linear = c * (length * gap + dot(w, gap) / length * w) / tau
    return (
        Published("both layers", rate=full),
        Conserved("balance of every neuron", had(W1, W1) * sp.OneMatrix(D, 1) - had(W2, W2).T),
        Published("the linear map", where={w: sp.sqrt(norm2(r)) * r}, rate={w: linear}, on=one_direction(alpha)),
        Commutes("the manifold of one direction", one_direction(alpha)),
        Solves("logistic growth", {u: s / (1 + (s / u0 - 1) * sp.exp(-2 * c * s * t / tau))}, initial={u: u0},
               ansatz=one_number(alpha)),
        MatchesSimulation("gradient descent and SGD", observables=("loss",), sizes=(100, 200, 400), seeds=20, time=1.0),
    )  # fmt: skip
