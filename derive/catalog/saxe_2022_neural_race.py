"""Gated deep linear networks: the shared pathway wins the race, unseen routes come for free, and XOR is two linear problems.

Reference: A. M. Saxe, S. Sodhani, S. J. Lewallen, "The neural race reduction: dynamics of abstraction in gated networks", ICML
2022 (routing network; XOR).

=============  ============  =====================================================  ==================
symbol         shape         meaning                                                name in the paper
=============  ============  =====================================================  ==================
A1 .. AM       (h1, n)       edge from every input domain                           W of an input edge
B              (h2, h1)      hidden edge, shared by all routes                      W of the shared edge
C1 .. CM       (o, h2)       edge to every output domain                            W of an output edge
Syx            (o, n)        E[y x^T] = U S V^T, the same for every route           Sigma^yx
b1, b2, b3     (r, r)        strengths of an input, the shared, an output edge      B_1, B_2, B_3
e1, e2         (n, 1)        directions of the two inputs of XOR                    -
u1, u2         scalar        strengths of the two paths of XOR                      -
tau            scalar        time constant
=============  ============  =====================================================  ==================

``task`` "routing": M input and M output domains; ``routes`` of the M output domains are trained for every input domain
(cyclically), the loss is averaged over the K = M routes trained pairs, and untrained routes have the same map on the reduced
manifold: zero-shot transfer. ``task`` "xor": y = - x_1 x_2 on four points, with one path for each sign of x_1.
Assumes white inputs of every domain, E[x x^T] = I, and for the reductions a start along the singular vectors with equal edges.
Fails for routes whose data do not share singular vectors: integrate the matrix flow.
"""

from __future__ import annotations

from math import prod
from typing import Any

import sympy as sp

from derive.claims.entry import Commutes, Conserved, Entry, MatchesSimulation, Published, Solves
from derive.errors import InvalidSpec
from derive.library.gated import edges, gated_xor, routing_network, trained
from derive.reductions.ansatz import Manifold
from derive.spec.sugar import dot
from derive.spec.symbols import dims, matrix, scalars, t, vector

NAME = "saxe_2022_neural_race"
n, h1, h2, o, r, h = dims("n h1 h2 o r h")
tau, u1, u2 = scalars("tau u1 u2", positive=True)
b = tuple(matrix(f"b{l}", r, r) for l in (1, 2, 3))
S, U, V, R1, R2 = matrix("S", r, r), matrix("U", o, r), matrix("V", n, r), matrix("R1", h1, r), matrix("R2", h2, r)


def entry(
    task: str = "routing", M: int = 3, routes: int = 2, n: int = 4, hidden: int = 5, o: int = 3, tau: float = 0.2,
    scale: float = 0.1, time: float = 6.0, seed: int = 0,
) -> Entry:  # fmt: skip
    """``M`` domains on either side, ``routes`` trained for each; targets of rank min(n, o) with strengths 2, 3/2, 9/8, ..."""
    if task not in ("routing", "xor"):
        raise InvalidSpec(f"task={task!r}: write 'routing' or 'xor'")
    if task == "routing" and not 1 <= routes <= M <= 8:
        raise InvalidSpec(f"M={M}, routes={routes}: give 1 to 8 domains, and 1 to M trained routes for each")
    if task == "xor" and n < 2:
        raise InvalidSpec(f"n={n}: XOR has two inputs; give n=2 or more (the others are zero)")
    xor, run = task == "xor", {"n": n, "tau": tau, "scale": scale, "time": time, "seed": seed}
    target = [[(2 * 0.75**i if i == j else 0.0) for j in range(n)] for i in range(o)]
    axes = {f"e{k}": [[float(i == k - 1)] for i in range(n)] for k in (1, 2)}
    return Entry(
        name=NAME,
        title="XOR by two gated paths" if xor else f"routing network, {M} domains, {M * routes} of {M * M} routes trained",
        reference=f"Saxe, Sodhani, Lewallen, ICML 2022, {'XOR' if xor else 'routing network'}",
        kind="matrix",
        model=gated_xor(name=NAME) if xor else routing_network(M, routes, name=NAME),
        values={**run, **({"h": hidden, **axes} if xor else {"h1": hidden, "h2": hidden, "o": o, "Syx": target})},
        claims=(xor_claims if xor else claims)(M, routes, time),
        docs=__doc__ or "",
    )


def symmetric(M: int) -> Manifold:
    """All input edges equal, all output edges equal, along the singular vectors of the data."""
    A, B, C = edges(M)
    lift = dict.fromkeys(A, R1 * b[0] * V.T) | {B: R2 * b[1] * R1.T} | dict.fromkeys(C, U * b[2] * R2.T)
    tags = dict.fromkeys((U, V, R1, R2), "orth") | dict.fromkeys((*b, S), "diag")
    return Manifold(lift, coordinates=b, data={matrix("Syx", o, n): U * S * V.T}, tags=tags)


def claims(M: int, routes: int, time: float) -> tuple[Any, ...]:
    """Flow of every edge, balance at the shared one, and the race of three strengths."""
    (A, B, C), Syx = edges(M), matrix("Syx", o, n)
    pairs, K = trained(M, routes), M * routes
    error = {(i, j): Syx - C[j] * B * A[i] for i, j in pairs}
    full = {A[i]: sp.MatAdd(*(B.T * C[j].T * error[i, j] for k, j in pairs if k == i)) / (K * tau) for i in range(M)}
    full |= {C[j]: sp.MatAdd(*(error[i, j] * A[i].T * B.T for i, k in pairs if k == j)) / (K * tau) for j in range(M)}
    full[B] = sp.MatAdd(*(C[j].T * error[i, j] * A[i].T for i, j in pairs)) / (K * tau)
    gap, on = S - prod(b[1:], start=b[0]), symmetric(M)
    small = {b[0]: b[1] * b[2] * gap / (M * tau), b[1]: b[0] * b[2] * gap / tau, b[2]: b[0] * b[1] * gap / (M * tau)}
    return (
        Published("flow of every edge", rate=full),
        Conserved("shared edge against all input edges", B.T * B - sum((W * W.T for W in A[1:]), A[0] * A[0].T)),
        Conserved("shared edge against all output edges", B * B.T - sum((W.T * W for W in C[1:]), C[0].T * C[0])),
        Published("race of the strengths", rate=small, on=on),
        Conserved("strength of the shared edge", b[1] * b[1] - M * b[0] * b[0], on=on),
        Conserved("input against output edges", b[0] * b[0] - b[2] * b[2], on=on),
        Commutes("trained and untrained routes have one map", on),
        MatchesSimulation("gradient descent", observables=("loss",), seeds=2, time=min(time, 4.0)),
    )


def xor_claims(M: int, routes: int, time: float) -> tuple[Any, ...]:
    """Two paths that do not meet, each a sigmoid du/dt = 2u (s - d u), s = d = 1/2."""
    A, C = (matrix("A1", h, n), matrix("A2", h, n)), (matrix("C1", 1, h), matrix("C2", 1, h))
    e, f, R = (vector("e1", n), vector("e2", n)), (vector("f1", n), vector("f2", n)), (vector("r1", h), vector("r2", h))
    u, u0, sign = (u1, u2), scalars("u10 u20", positive=True), (-1, 1)
    lift = {A[k]: sp.sqrt(u[k]) * R[k] * f[1].T for k in (0, 1)} | {C[k]: sign[k] * sp.sqrt(u[k]) * R[k].T for k in (0, 1)}
    read = {u[k]: sign[k] * dot(C[k].T, A[k] * e[1]) for k in (0, 1)}
    data, tags = dict(zip(e, f, strict=True)), dict.fromkeys((*f, *R), "orth")
    on = Manifold(lift, coordinates=u, data=data, tags=tags, orthogonal=(f,), solve_for=read)
    sigmoid = {u[k]: 1 / (1 + (1 / u0[k] - 1) * sp.exp(-t / tau)) for k in (0, 1)}
    return (
        Published("strength of each path", rate={p: 2 * p * (sp.Rational(1, 2) - p / 2) / tau for p in u}, on=on),
        Solves("two sigmoids", sigmoid, initial=dict(zip(u, u0, strict=True)), ansatz=on),
        Solves("closed form of the engine", {}, ansatz=on),
        *(Conserved(f"balance of path {k + 1}", C[k].T * C[k] - A[k] * A[k].T) for k in (0, 1)),
        Commutes("paths of the matrix flow", on),
        MatchesSimulation("gradient descent on four points", observables=("loss",), seeds=10, time=1.0),
    )
