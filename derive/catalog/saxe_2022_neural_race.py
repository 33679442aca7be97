"""Gated deep linear network that routes inputs to outputs: the shared pathway wins the race, and unseen routes come for free.

Reference: A. M. Saxe, S. Sodhani, S. J. Lewallen, "The neural race reduction: dynamics of abstraction in gated networks", ICML
2022 (routing network).

=============  ============  =====================================================  ==================
symbol         shape         meaning                                                name in the paper
=============  ============  =====================================================  ==================
A1 .. AM       (h1, n)       edge from every input domain                           W of an input edge
B              (h2, h1)      hidden edge, shared by all routes                      W of the shared edge
C1 .. CM       (o, h2)       edge to every output domain                            W of an output edge
Syx            (o, n)        E[y x^T] = U S V^T, the same for every route           Sigma^yx
b1, b2, b3     (r, r)        diagonal strengths of an input, the shared, and        B_1, B_2, B_3
                             an output edge
tau            scalar        time constant
=============  ============  =====================================================  ==================

M input and M output domains; ``routes`` of the M output domains are trained for every input domain (cyclically), and the loss
is averaged over the K = M routes trained pairs. Untrained routes have the same map on the reduced manifold: zero-shot transfer.
Assumes white inputs of every domain, E[x x^T] = I, and for the reduction a start along the singular vectors with equal edges.
Fails for routes whose data do not share singular vectors: integrate the matrix flow.
"""

from __future__ import annotations

from math import prod
from typing import Any

import sympy as sp

from derive.ansatz import Manifold
from derive.entry import Conserved, Entry, MatchesSimulation, Published
from derive.errors import InvalidSpec
from derive.model import Model
from derive.nodes import grad
from derive.rules import Rate
from derive.sugar import norm2
from derive.symbols import dims, matrix, scalars

NAME = "saxe_2022_neural_race"
REFERENCE = "Saxe, Sodhani, Lewallen, ICML 2022, routing network"
n, h1, h2, o, r = dims("n h1 h2 o r")
tau = scalars("tau", positive=True)
B, Syx = matrix("B", h2, h1), matrix("Syx", o, n)
b = tuple(matrix(f"b{l}", r, r) for l in (1, 2, 3))
S, U, V, R1, R2 = matrix("S", r, r), matrix("U", o, r), matrix("V", n, r), matrix("R1", h1, r), matrix("R2", h2, r)


def entry(
    M: int = 3, routes: int = 2, n: int = 4, hidden: int = 5, o: int = 3, tau: float = 0.2, scale: float = 0.3,
    time: float = 4.0, seed: int = 0,
) -> Entry:  # fmt: skip
    """``M`` domains on either side, ``routes`` trained for each; targets of rank min(n, o) with strengths 2, 3/2, 9/8, ..."""
    if not 1 <= routes <= M <= 8:
        raise InvalidSpec(f"M={M}, routes={routes}: give 1 to 8 domains, and 1 to M trained routes for each")
    target = [[(2 * 0.75**i if i == j else 0.0) for j in range(n)] for i in range(o)]
    values = {"n": n, "h1": hidden, "h2": hidden, "o": o, "tau": tau, "Syx": target}
    return Entry(
        name=NAME,
        title=f"routing network, {M} domains, {M * routes} of {M * M} routes trained",
        reference=REFERENCE,
        kind="matrix",
        model=model(M, routes),
        values={**values, "scale": scale, "time": time, "seed": seed},
        claims=claims(M, routes, time),
        docs=__doc__ or "",
    )


def edges(M: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Input and output edges."""
    return tuple(matrix(f"A{i}", h1, n) for i in range(1, M + 1)), tuple(matrix(f"C{j}", o, h2) for j in range(1, M + 1))


def trained(M: int, routes: int) -> list[tuple[int, int]]:
    """Pairs of domains that are trained."""
    return [(i, (i + k) % M) for i in range(M) for k in range(routes)]


def model(M: int, routes: int) -> Model:
    """Squared error of every trained route, averaged."""
    A, C = edges(M)
    L, pairs = scalars("L"), trained(M, routes)
    return Model(
        name=NAME,
        state=(*A, B, *C),
        given=(Syx, tau),
        let={L: sp.Add(*(norm2(Syx - C[j] * B * A[i]) for i, j in pairs)) / (2 * len(pairs))},
        learn=Rate({W: -grad(L, W) / tau for W in (*A, B, *C)}),
        observe={"loss": L},
    )


def symmetric(M: int) -> Manifold:
    """All input edges equal, all output edges equal, along the singular vectors of the data."""
    A, C = edges(M)
    lift = dict.fromkeys(A, R1 * b[0] * V.T) | {B: R2 * b[1] * R1.T} | dict.fromkeys(C, U * b[2] * R2.T)
    tags = dict.fromkeys((U, V, R1, R2), "orth") | dict.fromkeys((*b, S), "diag")
    return Manifold(lift, coordinates=b, data={Syx: U * S * V.T}, tags=tags)


def claims(M: int, routes: int, time: float) -> tuple[Any, ...]:
    """Flow of every edge, balance at the shared one, and the race of three strengths."""
    A, C = edges(M)
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
        MatchesSimulation("gradient descent", observables=("loss",), seeds=2, time=time),
    )
