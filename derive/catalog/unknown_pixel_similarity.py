"""Similarities of a linear code matched to given ones, as of pixels: the code's Gram matrix obeys a Riccati equation.

Reference: a regulariser that makes similarities in a network brain-like (author and year unknown); this is the smallest linear
analogue of it, not a reproduction: the paper matches artanh of the similarities of a convolutional network.

========  ========  =========================================================  ==================
symbol    shape     meaning                                                    name in the paper
========  ========  =========================================================  ==================
W         (h, d)    code, z = W x                                              -
X         (d, m)    m items, white: X X^T = m I                                -
S         (m, m)    given similarities of the items                            S_pixel
i, j      (m, 1)    a random pair of items                                     i, j
M         (d, d)    W^T W                                                      -
A         (d, d)    X S X^T / m^2                                              -
tau       scalar    time constant                                              -
========  ========  =========================================================  ==================

Loss: the average over pairs of (z_i.z_j - S_ij)^2 / 4. It is of fourth order in W, and M' = A M + M A - 2 M^2.
Assumes white items and symmetric S (facts of the model, used by the derivation); gradient flow.
Fails for artanh of the similarities, and for items that are not white: then the equation of M is no Riccati equation.
"""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import sympy as sp

from derive.claims.entry import Entry, MatchesSimulation, Published, Rests, Solves
from derive.reductions.ansatz import Gram
from derive.spec.laws import Choice
from derive.spec.model import Model
from derive.spec.nodes import grad, mean
from derive.spec.rules import Rate
from derive.spec.sugar import dot
from derive.spec.symbols import dims, matrix, scalars, vector

NAME = "unknown_pixel_similarity"
REFERENCE = "pixel-similarity regulariser (author and year unknown), linear analogue"
D, H, m = dims("d h m")
W, X, S, M = matrix("W", H, D), matrix("X", D, m), matrix("S", m, m), matrix("M", D, D)
i, j = vector("i", m), vector("j", m)
tau = scalars("tau", positive=True)
A = X * S * X.T / m**2


def entry(
    d: int = 4, h: int = 6, m: int = 12, tau: float = 1.0, scale: float = 0.1, time: float = 8.0, eta: float = 0.01,
    seeds: int = 10, seed: int = 0,
) -> Entry:  # fmt: skip
    """Code of size ``h`` for ``m`` items of ``d`` white features; the similarities are those of another linear code."""
    run = {"scale": scale, "time": time, "eta": eta, "seeds": seeds, "seed": seed}
    return Entry(
        name=NAME, title="similarities of a linear code matched to given ones", reference=REFERENCE, kind="matrix",
        model=model(), values={"d": d, "h": h, "m": m, "tau": tau, **items(d, m, seed), **run}, claims=claims(),
        docs=__doc__ or "",
    )  # fmt: skip


def items(d: int, m: int, seed: int) -> dict[str, Any]:
    """White items, and similarities of full rank and either sign: one direction is to be forgotten."""
    rng = np.random.default_rng(seed)
    X = np.linalg.qr(rng.standard_normal((m, d)))[0].T * np.sqrt(m)
    other = rng.standard_normal((d, d)) / np.sqrt(d)
    signs = np.where(np.arange(d) == 0, -1.0, 1.0)
    return {"X": X, "S": X.T @ (other * signs) @ other.T @ X}


def model() -> Model:
    """Gradient flow of the squared errors of similarities, over random pairs of items."""
    L = scalars("L")
    return Model(
        name=NAME,
        state=W,
        given=(X, S, tau),
        data=(Choice(i), Choice(j)),
        let={L: (dot(W * X * i, W * X * j) - dot(i, S * j)) ** 2 / 4},
        learn=Rate({W: -grad(L, W) / tau}),
        facts=(sp.Eq(X * X.T, m * sp.Identity(D)), sp.Eq(S, S.T)),
        observe={"loss": mean(L)},
    )


def claims() -> tuple[Any, ...]:
    """Flow of the code, and the Riccati equation of its Gram matrix with its solution."""
    return (
        Published("flow of the code", rate={W: -W * (W.T * W - A) / tau}),
        Published("Riccati equation of W^T W", rate={M: (A * M + M * A - 2 * M * M) / tau}, on=Gram()),
        Solves("printed solution", {M: printed}, initial={M: sp.Symbol("M0")}, ansatz=Gram()),
        Solves("closed form of the engine", {}, ansatz=Gram()),
        Rests("rest: the positive part of A", at={M: resting}, on=Gram()),
        MatchesSimulation(
            "gradient descent and SGD on random pairs", observables=("loss",), sizes=(100, 400), seeds=16, time=2.0
        ),
    )


def printed(values: Any) -> Any:
    """e^(At) [M0^-1 + 2 int_0^t e^(2Ar) dr]^-1 e^(At) in units of tau; the integral by eigenvalues, zeros among them or not."""
    out = []
    with mpmath.workdps(60):
        X, S = (mpmath.matrix(values[n].tolist()) for n in ("X", "S"))
        a, V = mpmath.eigsy(X * (S + S.T) * X.T / (2 * mpmath.mpf(float(values["m"])) ** 2))
        M0 = V.T * mpmath.matrix(values["M0"].tolist()) * V
        for t in np.ravel(values["t"]) / float(values["tau"]):
            grown = mpmath.diag([mpmath.exp(x * t) for x in a])
            integral = mpmath.diag([mpmath.expm1(2 * x * t) / (2 * x) if x else mpmath.mpf(t) for x in a])
            out.append((V * grown * (M0**-1 + 2 * integral) ** -1 * grown * V.T).tolist())
    return np.array(out, dtype=float)


def resting(values: Any) -> Any:
    """Positive eigenvalues of A; the rest is forgotten."""
    a, V = np.linalg.eigh(values["X"] @ (values["S"] + values["S"].T) @ values["X"].T / (2 * float(values["m"]) ** 2))
    return (V * np.maximum(a, 0.0)) @ V.T
