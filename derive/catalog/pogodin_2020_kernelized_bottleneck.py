"""The kernelised information bottleneck with linear kernels: a local three-factor rule on pairs, and its Riccati equation.

Reference: R. Pogodin, P. E. Latham, "Kernelized information bottleneck leads to biologically plausible 3-factor Hebbian
learning in deep networks", NeurIPS 2020, arXiv:2006.07123 (linear kernel and layer; no grouping, no divisive normalisation).

========  ========  =========================================================  ==================
symbol    shape     meaning                                                    name in the paper
========  ========  =========================================================  ==================
W         (h, d)    one linear layer, z = W x                                  W
X         (d, m)    m inputs, white: X X^T = m I                               x_i
K         (m, m)    centred kernel of the labels                               k(y_i, y_j)
i, j      (m, 1)    a random pair of items                                     i, j
g         scalar    weight of the labels                                       gamma
M         (d, d)    W^T W                                                      -
A         (d, d)    X K X^T / m^2                                              -
tau       scalar    time constant                                              -
========  ========  =========================================================  ==================

The update of one pair is the product of a third factor, 2 z_i.z_j - g k_ij, and of post- and presynaptic activity of both
items. It is stated as this rule, not as a gradient; its average descends the objective pHSIC(z, z) - g pHSIC(y, z).
Assumes white inputs, a symmetric kernel of the labels, and independent pairs; gradient flow.
Fails for Gaussian and cosine kernels of the activity: their equations do not close in M.
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
from derive.spec.nodes import mean
from derive.spec.rules import Rate
from derive.spec.sugar import dot
from derive.spec.symbols import dims, matrix, scalars, vector

NAME = "pogodin_2020_kernelized_bottleneck"
REFERENCE = "Pogodin, Latham, NeurIPS 2020, linear kernel"
D, H, m = dims("d h m")
W, X, K, M = matrix("W", H, D), matrix("X", D, m), matrix("K", m, m), matrix("M", D, D)
i, j = vector("i", m), vector("j", m)
g, tau = scalars("g tau", positive=True)
A = X * K * X.T / m**2


def entry(
    d: int = 5, h: int = 8, m: int = 15, classes: int = 3, g: float = 2.0, tau: float = 4.0, scale: float = 0.1,
    time: float = 12.0, eta: float = 0.02, seeds: int = 10, seed: int = 0,
) -> Entry:  # fmt: skip
    """``m`` white inputs of ``d`` features in 2 to ``m`` ``classes``; the labels are one-hot and centred."""
    run = {"scale": scale, "time": time, "eta": eta, "seeds": seeds, "seed": seed}
    return Entry(
        name=NAME, title="kernelised information bottleneck, linear kernels, a local rule", reference=REFERENCE, kind="matrix",
        model=model(), claims=claims(), docs=__doc__ or "",
        values={"d": d, "h": h, "m": m, "g": g, "tau": tau, **items(d, m, classes, seed), **run},
    )  # fmt: skip


def items(d: int, m: int, classes: int, seed: int) -> dict[str, Any]:
    """Inputs whose first features tell the classes, whitened; kernel of centred one-hot labels, of trace m."""
    rng = np.random.default_rng(seed)
    labels = np.eye(classes)[np.arange(m) % classes]
    labels = labels - labels.mean(axis=0)
    raw = rng.standard_normal((m, d)) + 2 * labels @ rng.standard_normal((classes, d))
    return {"X": np.linalg.qr(raw - raw.mean(axis=0))[0].T * np.sqrt(m), "K": labels @ labels.T * m / np.sum(labels**2)}


def model() -> Model:
    """The three-factor rule, averaged over pairs."""
    zi, zj, xi, xj = W * X * i, W * X * j, X * i, X * j
    k, kept = scalars("k kept")
    return Model(
        name=NAME,
        state=W,
        given=(X, K, g, tau),
        data=(Choice(i), Choice(j)),
        let={k: dot(i, K * j), kept: dot(zi, zj)},
        learn=Rate({W: -(2 * kept - g * k) * (zi * xj.T + zj * xi.T) / tau}),
        facts=(sp.Eq(X * X.T, m * sp.Identity(D)), sp.Eq(K, K.T)),
        observe={"objective": mean(kept**2 - g * k * kept), "power": sp.Trace(W.T * W)},
    )


def claims() -> tuple[Any, ...]:
    """Mean of the local rule, and the Riccati equation of the Gram matrix with its solution and where it ends."""
    return (
        Published("mean of the local rule", rate={W: -2 * W * (2 * W.T * W - g * A) / tau}),
        Published("Riccati equation of W^T W", rate={M: (2 * g * (A * M + M * A) - 8 * M * M) / tau}, on=Gram()),
        Solves("printed solution", {M: printed}, initial={M: sp.Symbol("M0")}, ansatz=Gram()),
        Solves("closed form of the engine", {}, ansatz=Gram()),
        Rests("rest: g/2 times the positive part of A", at={M: resting}, on=Gram()),
        MatchesSimulation(
            "local updates on random pairs", observables=("objective", "power"), sizes=(100, 400), seeds=16, time=2.4
        ),
    )


def printed(values: Any) -> Any:
    """e^(2gAt) [M0^-1 + 8 int_0^t e^(4gAs) ds]^-1 e^(2gAt) in units of tau; A is singular, its rank that of the labels."""
    out = []
    with mpmath.workdps(60):
        X, K = (mpmath.matrix(values[n].tolist()) for n in ("X", "K"))
        a, V = mpmath.eigsy(X * (K + K.T) * X.T / (2 * mpmath.mpf(float(values["m"])) ** 2))
        g, M0 = mpmath.mpf(float(values["g"])), V.T * mpmath.matrix(values["M0"].tolist()) * V
        for t in np.ravel(values["t"]) / float(values["tau"]):
            grown = mpmath.diag([mpmath.exp(2 * g * x * t) for x in a])
            integral = mpmath.diag([mpmath.expm1(4 * g * x * t) / (4 * g * x) if x else mpmath.mpf(t) for x in a])
            out.append((V * grown * (M0**-1 + 8 * integral) ** -1 * grown * V.T).tolist())
    return np.array(out, dtype=float)


def resting(values: Any) -> Any:
    """Positive eigenvalues of A; the rest is forgotten."""
    a, V = np.linalg.eigh(values["X"] @ (values["K"] + values["K"].T) @ values["X"].T / (2 * float(values["m"]) ** 2))
    return float(values["g"]) / 2 * (V * np.maximum(a, 0.0)) @ V.T
