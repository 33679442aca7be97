"""Curriculum in a perceptron: relevant inputs, and irrelevant ones whose variance is the difficulty of an example.

Reference: L. Saglietti, S. Sarao Mannelli, A. Saxe, "An analytical theory of curriculum learning in teacher-student networks",
NeurIPS 2022; the part on online learning.

=========  ============  ==================================================  ==================
symbol     shape         meaning                                             name in the paper
=========  ============  ==================================================  ==================
W_r, W_i   (K, Nr), ..   weights on relevant and on irrelevant inputs        w_r, w_i
B          (M, Nr)       teacher                                             w_T
Delta      scalar        variance of the irrelevant inputs: difficulty       Delta
rho        scalar        share of relevant inputs, Nr / (Nr + Ni)            rho
eta        scalar        learning rate                                       eta
kappa      scalar        L2 penalty                                          gamma
Q_W_r      (K, K)        overlap W_r.W_r / N, N = Nr + Ni                    Q_r
Q_W_i      (K, K)        overlap W_i.W_i / N                                 Q_i
R_W_r_B    (K, M)        overlap W_r.B / N                                   R
accuracy   scalar        probability of the right sign                       accuracy
=========  ============  ==================================================  ==================

Student erf(lambda / sqrt 2), lambda = (W_r x_r + W_i x_i) / sqrt N; label sgn of B x_r; squared loss. The perceptron of the
paper is K = M = 1; sums over units make it a committee with one output. Time alpha = steps / N.
Assumes Gaussian inputs, each seen once; Nr, Ni -> oo at a fixed ratio. A curriculum is a sequence of phases that bind Delta.
"""

from __future__ import annotations

import sympy as sp

from derive import fn
from derive.catalog.saglietti_2022_curriculum import published
from derive.claims.entry import Entry
from derive.spec.laws import Normal
from derive.spec.model import Model
from derive.spec.nodes import grad, mean
from derive.spec.rules import Limit, Phase, Update
from derive.spec.sugar import total
from derive.spec.symbols import dims, matrix, scalars, vector

REFERENCE = "Saglietti, Sarao Mannelli, Saxe, NeurIPS 2022"


def entry(eta: float = 1.5, kappa: float = 0.02, Delta: float = 0.05, rho: float = 0.5, easy: float = 4.0) -> Entry:
    """Learning at difficulty ``Delta``; the protocol is ``easy`` units of time at Delta, then as many at difficulty 1."""
    return Entry(
        name="saglietti_2022_curriculum",
        title="curriculum learning in a perceptron, one-pass SGD",
        reference=REFERENCE,
        kind="online",
        model=perceptron(easy),
        values={"K": 1, "M": 1, "eta": eta, "kappa": kappa, "Delta": Delta, "rho": rho},
        claims=published(),
        docs=__doc__ or "",
    )


def perceptron(length: float = 4.0) -> Model:
    """Sign teacher on the relevant inputs, erf student on all of them."""
    Nr, Ni, K, M = dims("Nr Ni K M")
    eta, kappa, Delta, rho = scalars("eta kappa Delta rho", positive=True)
    lam, y, L = scalars("lam y L")
    W_r, W_i, B = matrix("W_r", K, Nr), matrix("W_i", K, Ni), matrix("B", M, Nr)
    x_r, x_i, N = vector("x_r", Nr), vector("x_i", Ni), Nr + Ni
    return Model(
        name="saglietti_2022_curriculum",
        state=(W_r, W_i),
        given=(B, eta, kappa, Delta),
        data=(Normal(x_r), Normal(x_i, cov=Delta * sp.Identity(Ni))),
        let={
            lam: total(W_r * x_r + W_i * x_i) / sp.sqrt(N),
            y: fn.sgn(total(B * x_r) / sp.sqrt(N)),
            L: (fn.erf2(lam) - y) ** 2 / 2,
        },
        learn=Update({w: w - eta * grad(L, w) - eta * kappa / N * w for w in (W_r, W_i)}, dt=1 / N),
        limit=Limit({Nr: sp.oo, Ni: sp.oo}, fixed={rho: Nr / N}),
        protocol=(Phase(length), Phase(length, bind={Delta: 1})),
        observe={"accuracy": mean((1 + fn.sgn(lam) * y) / 2), "loss": mean(L)},
    )
