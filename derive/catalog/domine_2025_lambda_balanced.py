"""Two-layer linear network from a lambda-balanced start: a matrix Riccati equation, between rich and lazy learning.

Reference: C. C. J. Domine et al., "From lazy to rich: exact learning dynamics in deep linear networks", ICLR 2025.

===========  =================  ===================================================  ==================
symbol       shape              meaning                                              name in the paper
===========  =================  ===================================================  ==================
W1, W2       (N1,N0), (N2,N1)   weights                                              W_1, W_2
Sx, Syx      correlations       E[x x^T] = I for the reductions, E[y x^T]            Sigma^xx, Sigma^yx
lam          scalar             W2^T W2 - W1 W1^T = lam I at the start               lambda
Q            (n, N1)            (W1^T; W2), n = N0 + N2                              Q
F            (n, n)             [[-lam/2 I, Syx^T], [Syx, lam/2 I]]                  F
M            (n, n)             Q Q^T; holds W1^T W1, W2 W2^T and W2 W1              Q Q^T
s, u         (r,)               singular values, strengths of modes                  s, a
tau          scalar             time constant                                        tau
===========  =================  ===================================================  ==================

Tangent kernel on data X: I (x) X^T W1^T W1 X + W2 W2^T (x) X^T X, so blocks of M; its trace is an observable.
Assumes, except for the matrix flow: white inputs, and the balanced start; lam > 0 needs N1 <= N2, lam < 0 N1 <= N0.
Fails for starts that are not balanced: the matrix flow still holds. Do not integrate the equation of M below full rank.
"""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import sympy as sp

from derive.claims.entry import Commutes, Conserved, Entry, MatchesSimulation, Published, Solves
from derive.library.linear import linear_network
from derive.reductions.ansatz import Gram, LambdaBalanced, Modes
from derive.reductions.riccati_value import balanced_blocks
from derive.spec.model import Model


def entry(
    lam: float = 0.5,
    inputs: int = 5,
    hidden: int = 3,
    outputs: int = 4,
    scale: float = 0.3,
    tau: float = 1.0,
    eta: float = 0.01,
    time: float | None = None,
    seed: int = 0,
) -> Entry:
    """``lam`` sets the balance of a random start whose first layer has entries of size ``scale``."""
    W = np.random.default_rng(seed).standard_normal((hidden, inputs + outputs)) * scale
    W1, W2 = balanced_blocks(W[:, :inputs], W[:, inputs:].T, lam)
    run = {"tau": tau, "eta": eta, "seed": seed} | ({"time": time} if time else {})
    return Entry(
        name="domine_2025_lambda_balanced",
        title=f"two-layer linear network, start balanced with lambda = {lam:g}",
        reference="Domine et al., ICLR 2025",
        model=model(),
        values={"N0": inputs, "N1": hidden, "N2": outputs, "n": inputs + outputs, "W1": W1, "W2": W2, **run},
        claims=claims(LambdaBalanced(float(lam))),
        docs=__doc__ or "",
    )


def model() -> Model:
    """The linear network of two layers; the trace of its tangent kernel is an observable."""
    network = linear_network(depth=2)
    (W1, W2), Sx = network.state, network.symbols["Sx"]
    kernel = W2.shape[0] * sp.Trace(W1 * Sx * W1.T) + sp.Trace(W2 * W2.T) * sp.Trace(Sx)
    return network.replace(name="lambda_balanced_network", observe={**network.observe, "kernel_trace": kernel})


def claims(balance: LambdaBalanced) -> tuple[Any, ...]:
    """Riccati equation, its printed solution, one mode, the factors of the tangent kernel."""
    n, N0, N1, N2 = sp.symbols("n N0 N1 N2", integer=True, positive=True)
    W1, W2, Q = sp.MatrixSymbol("W1", N1, N0), sp.MatrixSymbol("W2", N2, N1), sp.MatrixSymbol("Q", n, N1)
    Sx, Syx, F = sp.MatrixSymbol("Sx", N0, N0), sp.MatrixSymbol("Syx", N2, N0), sp.MatrixSymbol("F", n, n)
    G, H, M = sp.MatrixSymbol("G", N0, N0), sp.MatrixSymbol("H", N2, N2), sp.MatrixSymbol("M", n, n)
    tau, s, u0, t = sp.symbols("tau s u0 t", positive=True)
    lam, u = balance.lam, sp.Symbol("u", real=True)
    error, mode = (Syx - W2 * W1 * Sx) / tau, (Modes(white=True), balance)
    kernel = {G: W1.T * W2.T * error + error.T * W2 * W1, H: error * W1.T * W2.T + W2 * W1 * error.T}
    return (
        Published("matrix flow", rate={W1: W2.T * error, W2: error * W1.T}),
        Conserved("balance", W2.T * W2 - W1 * W1.T),
        Published("Riccati equation of Q", rate={Q: (F * Q - Q * Q.T * Q / 2) / tau}, on=balance),
        Published("Riccati equation of Q Q^T", where={M: Q * Q.T}, rate={M: (F * M + M * F - M * M) / tau}, on=balance),
        Commutes("the Riccati equation follows the matrix flow", balance),
        Solves("printed solution for Q Q^T", {M: printed}, initial={M: sp.Symbol("M0")}, ansatz=(balance, Gram())),
        Solves("closed form of the engine for Q Q^T", {}, ansatz=(balance, Gram())),
        Published("factors of the tangent kernel", where={G: W1.T * W1, H: W2 * W2.T}, rate=kernel),
        Published("strength of a mode", rate={u: sp.sqrt(lam**2 + 4 * u**2) * (s - u) / tau}, on=mode),
        Solves("printed solution of a mode", {u: printed_mode(lam, s, u0, t / tau)}, initial={u: u0}, ansatz=mode),
        Solves("closed form of the engine for a mode", {}, ansatz=mode),
        Commutes("modes of the matrix flow", mode),
        MatchesSimulation("gradient descent and SGD", observables=("loss",)),
    )


def printed(values: Any) -> Any:
    """e^(Ft) Q0 [I + Q0^T (int e^(2Fr) dr) Q0]^-1 Q0^T e^(Ft) in units of tau, invertible F; floats lose its bracket."""
    out = []
    with mpmath.workdps(60):
        w, V = mpmath.eigsy(mpmath.matrix(values["F"].tolist()))
        Q0 = V.T * mpmath.cholesky(mpmath.matrix(values["M0"].tolist()))
        for t in np.ravel(values["t"]) / float(values["tau"]):
            grown = mpmath.diag([mpmath.exp(f * t) for f in w])
            integral = mpmath.diag([mpmath.expm1(2 * f * t) / (2 * f) for f in w])
            half = V * grown * Q0
            out.append((half * (mpmath.eye(len(w)) + Q0.T * integral * Q0) ** -1 * half.T).tolist())
    return np.array(out, dtype=float)


def printed_mode(lam: Any, s: Any, u0: Any, t: Any) -> Any:
    """Through T = tanh(theta/2), 2u = |lam| sinh theta; the sigmoid for lam = 0."""
    if lam == 0:
        return s / (1 - (1 - s / u0) * sp.exp(-2 * s * t))
    size, K = abs(lam), sp.sqrt(lam**2 + 4 * s**2)
    T0 = 2 * u0 / (size + sp.sqrt(lam**2 + 4 * u0**2))
    T = (K * sp.tanh(K * t / 2 + sp.atanh((size + 2 * s * T0) / K)) - size) / (2 * s)
    return size * T / (1 - T**2)
