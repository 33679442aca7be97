"""Linear attention learning linear regression in context: the exact flow at finite context length, from the forward map.

Reference: Y. Zhang, A. K. Singh, P. E. Latham, A. M. Saxe, "Training dynamics of in-context learning in linear attention",
ICML 2025: merged key-query (one drop of the loss) and separate, rank-one key and query (saddle to saddle).

==============  ========  ==================================================  ==================
symbol          shape     meaning                                             name in the paper
==============  ========  ==================================================  ==================
U1, U2, ...     (D, D)    merged key-query matrix of each head                U_i
k1, q1, ...     (D, 1)    key and query vector of each head (separate)        k_i, q_i
v1, v2, ...     scalar    value weight of each head                           v_i
X, w            (D, N)    context inputs; task vector, new in every sequence  x_n, w
xq, yq          (D, 1)    query input; its target w.xq                        x_q, y_q
Lam             (D, D)    covariance of the inputs                            Lambda
N               size      number of context pairs that enter b = X X'w / N    N
tau             scalar    time constant                                       tau
==============  ========  ==================================================  ==================

Loss E(yq - yhat)^2; the half is in the flow, so SGD with step eta runs through time 2 eta per step.
Assumes Gaussian inputs and tasks; blocks of the value and key-query matrices that do not act start at zero and are left out.
The averages are exact at every N: E[b b'] = Lam^2 (1 + 1/N) + tr(Lam) Lam / N is found by the engine.
Fails if the context mean runs over another number of pairs than N. The scalar equations need the start that they name.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.catalog.claims_of_attention import merged_saddles, separate_saddles
from derive.claims.entry import Conserved, Entry, MatchesSimulation, Published, Solves
from derive.library.attention import attention_weights, linear_attention
from derive.reductions.ansatz import Manifold
from derive.spec.sugar import dot, norm2
from derive.spec.symbols import dims, matrix, scalars, t, vector

NAME = "zhang_2025_linear_attention"
REFERENCE = "Zhang, Singh, Latham, Saxe, ICML 2025, merged and separate key-query parametrisation"
D, N = dims("D N")
Lam, tau = matrix("Lam", D, D), scalars("tau", positive=True)


def entry(
    attention: str = "merged", heads: int = 2, D: int = 4, N: int = 31, tau: float = 1.0, scale: float = 0.1,
    time: float = 40.0, seeds: int = 12, seed: int = 0,
) -> Entry:  # fmt: skip
    """``attention`` is "merged" or "separate"; Lam has eigenvalues proportional to 1..D and trace 1."""
    spectrum = [[2 * (i + 1) / (D * (D + 1)) if i == j else 0.0 for j in range(D)] for i in range(D)]
    sizes = {"D": D, "N": N, "tau": tau, "Lam": spectrum}
    return Entry(
        name=NAME, title=f"linear attention in context, {attention} key and query, {heads} heads", reference=REFERENCE,
        model=linear_attention(attention, heads, name=NAME),
        values={**sizes, "scale": scale, "time": time, "eta": 0.01, "seeds": seeds, "seed": seed},
        claims=merged_claims(heads) if attention == "merged" else separate_claims(heads, D),
        docs=__doc__ or "",
    )  # fmt: skip


def white(heads: int) -> Manifold:
    """White inputs, all heads equal and proportional to the identity: U_i = z I / sqrt(D), v_i = z."""
    z, ell = scalars("z ell", positive=True)
    lift = {
        s: value for U, v in attention_weights("merged", heads) for s, value in ((U, z / sp.sqrt(D) * sp.Identity(D)), (v, z))
    }
    return Manifold(lift, coordinates=(z,), data={Lam: ell * sp.Identity(D)})


def eigenvector(heads: int, rest: Any) -> Manifold:
    """The first head along an eigenvector, k = q = v e, the others at zero; ``rest`` is Lam in the other directions."""
    z, lam, e = scalars("z"), scalars("lam", positive=True), vector("e", D)
    other = sp.Identity(D) - e * e.T
    (k, q, v), *silent = attention_weights("separate", heads)
    lift: dict[Any, Any] = {k: z * e, q: z * e, v: z}
    for k, q, v in silent:
        lift |= {k: 0 * k, q: 0 * q, v: sp.Integer(0)}
    tags = {e: "orth"} | ({rest: "sym"} if rest.is_Matrix else {})
    inside = other * rest * other if rest.is_Matrix else rest * other
    return Manifold(lift, coordinates=(z,), data={Lam: lam * e * e.T + inside}, tags=tags)


def merged_claims(heads: int) -> tuple[Any, ...]:
    """All heads are driven by one residual; white inputs give a logistic curve."""
    found, rates = attention_weights("merged", heads), {}
    A = (1 + 1 / N) * Lam * Lam + sp.Trace(Lam) / N * Lam
    G = Lam * Lam - A * sp.MatAdd(*(v * U for U, v in found)) * Lam
    for U, v in found:
        rates |= {U: v * G / tau, v: dot(U, G) / tau}
    z, ell, z0 = scalars("z ell z0", positive=True)
    a, sigma0 = ell * (1 + (1 + D) / N), heads * z0**2 / sp.sqrt(D)
    sigma = 1 / (a + (1 / sigma0 - a) * sp.exp(-2 * sp.sqrt(D) * ell**2 * t / tau))
    return (
        Published("flow of the heads", rate=rates),
        *(Conserved(f"norm of {U} and {v}", norm2(U) - v**2) for U, v in found),
        Solves("white inputs", {z: sp.sqrt(sp.sqrt(D) * sigma / heads)}, initial={z: z0}, ansatz=white(heads)),
        Solves("white inputs, closed form of the engine", {}, ansatz=white(heads)),
        *merged_saddles(heads, white(heads)),
        MatchesSimulation("SGD on fresh sequences", observables=("loss",), sizes=(100, 400), seeds=24, time=10.0),
    )


def separate_claims(heads: int, dimension: int) -> tuple[Any, ...]:
    """Heads of rank one; a head along an eigenvector obeys one separable equation."""
    found, rates = attention_weights("separate", heads), {}
    A = (1 + 1 / N) * Lam * Lam + sp.Trace(Lam) / N * Lam
    G = Lam * Lam - A * sp.MatAdd(*(v * k * q.T for k, q, v in found)) * Lam
    for k, q, v in found:
        rates |= {k: v * G * q / tau, q: v * G.T * k / tau, v: dot(k, G * q) / tau}
    z, lam, mu, e, S = scalars("z"), *scalars("lam mu", positive=True), vector("e", D), matrix("S", D, D)
    trace = lam + sp.Trace(S) - dot(e, S * e)
    rate = lam**2 * z**2 / tau - lam**3 * (1 + (1 + trace / lam) / N) * z**5 / tau
    return (
        Published("flow of the heads", rate=rates),
        *(Conserved(f"norms of {k} and {q}", norm2(k) - norm2(q)) for k, q, v in found),
        *(Conserved(f"norm of {k} and {v}", norm2(k) - v**2) for k, q, v in found),
        Published("one head along an eigenvector of Lam", rate={z: rate}, on=eigenvector(heads, S)),
        Solves("growth along an eigenvector, closed form of the engine", {}, ansatz=eigenvector(heads, mu)),
        *separate_saddles(heads, dimension, eigenvector(heads, mu)),
        MatchesSimulation("SGD on fresh sequences", observables=("loss",), sizes=(100, 400), seeds=24, time=10.0),
    )
