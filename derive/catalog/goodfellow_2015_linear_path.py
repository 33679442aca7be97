"""The loss of a deep linear network along the straight line from its start to a solution: a polynomial without a barrier.

Reference: I. J. Goodfellow, O. Vinyals, A. M. Saxe, "Qualitatively characterizing neural network optimization problems", ICLR
2015 (linear networks).

=================  =============  =========================================================  ==================
symbol             shape          meaning                                                    name in the paper
=================  =============  =========================================================  ==================
W1 .. WL           (N_l, N_l-1)   weights                                                    theta
T                  (N_L, N_0)     map to be learned, y = T x, white inputs x                 -
W1_start, ..       (N_l, N_l-1)   weights at one end of a straight path                      theta_0
W1_step, ..        (N_l, N_l-1)   other end minus that one                                   theta_1 - theta_0
alpha              scalar         place on the path                                          alpha
u0, u1, s          scalars        aligned strengths: start, end, and that of T                -
=================  =============  =========================================================  ==================

The loss on the path is a polynomial of degree 2 L in alpha with words of matrices as coefficients (`along`, `coefficients`).
``halfway`` is the loss half way between the start (A1 .. AL) and the weights of this moment: it falls, too.
Assumes white inputs. The aligned path is monotone for u0, u1 > 0 with u1^L = s.
Fails to be monotone for starts with wrong signs: then the path crosses a barrier.
"""

from __future__ import annotations

from functools import partial, reduce
from itertools import pairwise
from operator import mul
from typing import Any

import numpy as np
import sympy as sp

from derive.claims.entry import Conserved, Entry, MatchesSimulation, Published
from derive.errors import InvalidSpec
from derive.flows.paths import along
from derive.reductions.ansatz import Manifold
from derive.spec.laws import Normal
from derive.spec.model import Model
from derive.spec.nodes import grad, mean
from derive.spec.rules import Rate
from derive.spec.sugar import dot, norm2
from derive.spec.symbols import dims, matrix, scalars, vector

NAME = "goodfellow_2015_linear_path"
REFERENCE = "Goodfellow, Vinyals, Saxe, ICLR 2015, linear networks"
alpha, u0, u1, s = scalars("alpha u0 u1 s")
Z, tau = u0 + alpha * (u1 - u0), scalars("tau", positive=True)


def entry(
    depth: int = 3, N: int = 4, tau: float = 1.0, scale: float = 0.3, time: float = 12.0, eta: float = 0.01, seeds: int = 10,
    seed: int = 0,
) -> Entry:  # fmt: skip
    """``depth`` layers of width ``N``; the target has singular values 3, 2, 1, 1/2, ... on its diagonal."""
    if not 1 <= depth <= 5:
        raise InvalidSpec(f"depth={depth}: give 1 to 5 layers; the polynomial has 4^depth words before they are collected")
    run = {"time": time, "eta": eta, "seeds": seeds, "seed": seed}
    weights = [scale * W for W in np.random.default_rng(seed).standard_normal((depth, N, N))]
    start = {f"{letter}{l + 1}": W for l, W in enumerate(weights) for letter in "WA"}
    target = np.diag([3.0 - k if k < 3 else 2.0 ** (2 - k) for k in range(N)])
    return Entry(
        name=NAME, title=f"loss of a linear network of {depth} layers along straight paths", reference=REFERENCE, kind="matrix",
        model=model(depth), claims=claims(depth), docs=__doc__ or "",
        values={**dict.fromkeys((f"N{l}" for l in range(depth + 1)), N), **start, "T": target, "tau": tau, **run},
    )  # fmt: skip


def layers(letter: str, depth: int, end: str = "") -> list[Any]:
    """Matrices of every layer, first layer first."""
    n = dims(" ".join(f"N{l}" for l in range(depth + 1)))
    return [matrix(f"{letter}{l}{end}", n[l], n[l - 1]) for l in range(1, depth + 1)]


def whole(weights: list[Any]) -> Any:
    """The product of some layers, the last one first."""
    return reduce(mul, reversed(weights))


def model(depth: int = 3) -> Model:
    """Gradient flow on y = T x with white inputs."""
    W, A, L = layers("W", depth), layers("A", depth), scalars("L")
    x, T = vector("x", W[0].shape[1]), matrix("T", W[-1].shape[0], W[0].shape[1])
    middle = whole([(a + w) / 2 for a, w in zip(A, W, strict=True)])
    return Model(
        name=NAME, state=tuple(W), given=(*A, T, tau), data=Normal(x),
        let={L: norm2(T * x - whole(W) * x) / 2},
        learn=Rate({w: -grad(L, w) / tau for w in W}),
        observe={"loss": mean(L), "halfway": mean(norm2(T * x - middle * x) / 2)},
    )  # fmt: skip


def aligned(depth: int) -> Manifold:
    """Every layer of one strength along fixed directions, u0 + alpha (u1 - u0)."""
    W = layers("W", depth)
    r = [vector(f"r{l}", w.shape[1]) for l, w in enumerate(W)] + [vector(f"r{depth}", W[-1].shape[0])]
    T = matrix("T", W[-1].shape[0], W[0].shape[1])
    return Manifold(
        {w: Z * r[l + 1] * r[l].T for l, w in enumerate(W)}, coordinates=(alpha,), tags=dict.fromkeys(r, "orth"),
        data={T: s * r[-1] * r[0].T, **{A: 0 * A for A in layers("A", depth)}},
    )  # fmt: skip


def claims(depth: int) -> tuple[Any, ...]:
    """Flow, slope of the loss on every straight path, and the aligned path in closed form."""
    W, start, step = layers("W", depth), layers("W", depth, "_start"), layers("W", depth, "_step")
    T = matrix("T", W[-1].shape[0], W[0].shape[1])
    here = [a + alpha * b for a, b in zip(start, step, strict=True)]
    turned = sp.MatAdd(*(whole([*here[:l], step[l], *here[l + 1 :]]) for l in range(depth)))
    slope = -depth * (s - Z**depth) * Z ** (depth - 1) * (u1 - u0)  # of (s - Z^L)^2 / 2
    rates, only = {}, ("loss",)
    for l, w in enumerate(W):
        above, below = ([whole(part).T] if part else [] for part in (W[l + 1 :], W[:l]))
        rates[w] = reduce(mul, [*above, T - whole(W), *below]) / tau
    return (
        Published("gradient flow", rate=rates),
        *(Conserved(f"balance of {a} and {b}", b.T * b - a * a.T) for a, b in pairwise(W)),
        Published("slope on a straight path", rate={"loss": dot(whole(here) - T, turned)}, on=partial(along, observables=only)),
        Published("aligned path", rate={"loss": slope}, on=lambda flow: along(flow, aligned(depth), observables=only)),
        MatchesSimulation("gradient descent", observables=("loss", "halfway"), sizes=(200, 800), seeds=16, time=1.0),
    )
