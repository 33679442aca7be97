"""Curricula for a two-layer network on Gaussian clusters with XOR labels: centres +-mu_1 have one label, +-mu_2 the other.

Reference: S. Sarao Mannelli, Y. Ivashynka, A. Saxe, L. Saglietti, "Tilting the odds at the lottery: the interplay of
overparameterisation and curricula in neural networks", ICML 2024. An analogue: scaling, rates and lengths are chosen here.

==========  ========  ===============================================================  ==================
symbol      shape     meaning                                                          name in the paper
==========  ========  ===============================================================  ==================
W, v        (K, N)    layers of the network, v (K,)                                    W, v
Mu, label   (P, N)    centres, and the label (P,) of each pair of clusters +-mu_p      mu_p, y
Delta       scalar    variance within a cluster: difficulty                            Delta
eta, eta_v  scalars   learning rates                                                   -
Q, R, T               overlaps W.W/N, W.Mu/N, Mu.Mu/N                                  -
loss        scalar    mean of (f - y)^2 / 2 at the difficulty of the phase             -
==========  ========  ===============================================================  ==================

x = s mu_p / sqrt N + sqrt(Delta) z with s = +-1; f = v . g(W x / sqrt N). With g = square all averages are polynomials. With
g = relu, as in the paper, they are quadratures over up to four hard signs with means, and the cost grows like K^4: K = 2 takes
a minute to compile or to verify, larger networks are for patience (their printed equations are not compared).
Assumes each example is seen once; N -> oo with K, P of order one; time alpha = steps / N.
Fails for overlaps R that start at order 1/sqrt(N): runs then leave the saddle at random times.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive import fn
from derive.catalog.claims_of_clusters import rectified
from derive.claims.entry import Entry, MatchesSimulation, Published
from derive.errors import InvalidSpec
from derive.library.difficulty import signed_clusters

ORDERS = ("curriculum", "anti", "hard", "easy")
ACTIVATIONS: dict[str, Any] = {"square": fn.sq, "relu": fn.relu}
START = {"Q": [[0.8, 0.1], [0.1, 0.8]], "R": [[0.6, 0.1], [0.1, 0.6]], "v": [0.5, -0.5]}


def entry(
    order: str = "curriculum",
    activation: str = "square",
    K: int = 2,
    N: int = 400,
    eta: float = 0.1,
    eta_v: float = 0.1,
    easy: float = 0.05,
    hard: float = 0.3,
    time: float = 10.0,
    seeds: int = 20,
    seed: int = 0,
) -> Entry:
    """``order``: curriculum (easy, then hard), anti (hard, then easy), hard or easy; ``activation`` is square or relu."""
    if order not in ORDERS or activation not in ACTIVATIONS:
        raise InvalidSpec(
            f"order={order!r}, activation={activation!r}: write one of {', '.join(ORDERS)}, and one of {', '.join(ACTIVATIONS)}"
        )
    first = easy if order in ("curriculum", "easy") else hard
    second = hard if order in ("curriculum", "hard") else easy
    run = MatchesSimulation("one-pass SGD", observables=("Q", "R", "v"), sizes=(100, 200, 400), seeds=20, time=2.0)
    return Entry(
        name="mannelli_2024_tilting_the_odds",
        title={"curriculum": "clusters, easy first", "anti": "clusters, hard first"}.get(order, f"clusters, {order} only"),
        reference="Sarao Mannelli, Ivashynka, Saxe, Saglietti, ICML 2024 (analogue)",
        kind="online",
        model=signed_clusters(
            ACTIVATIONS[activation],
            lengths=(time, time),
            difficulties=(first, second),
            name="mannelli_2024_tilting_the_odds",
        ),
        values={
            "K": K, "P": 2, "N": N, "eta": eta, "eta_v": eta_v, "Delta": first, "label": [1.0, -1.0],
            "T": [[1.0, 0.0], [0.0, 1.0]], **(START if K == 2 else {}), "seeds": seeds, "seed": seed,
        },
        claims=(*(published() if activation == "square" else rectified(K)), run),
        docs=__doc__ or "",
    )  # fmt: skip


def published() -> tuple[Published, ...]:
    """Equations for g = square: moments of fields with means, < a b ... > = m_a < b ... > + sum_c C_ac < ... without c >."""
    K, P = sp.symbols("K P", integer=True, positive=True)
    k, l, n, i, j, b = sp.symbols("k l n i j b", integer=True)
    eta, eta_v, Delta = sp.symbols("eta eta_v Delta", positive=True)
    Q, R, T, v, label = (sp.IndexedBase(name) for name in ("Q", "R", "T", "v", "label"))

    def cov(a: Any, c: Any) -> Any:
        (_, p), (kind, q) = sorted((a, c), key=lambda field: field[0], reverse=True)  # units first
        return Delta * (Q[p, q] if kind == "unit" else R[p, q])

    def moment(*fields: Any) -> Any:
        """In the cluster +mu_b; all moments asked for are even, so that of -mu_b is the same."""
        if not fields:
            return sp.S.One
        (kind, p), rest = fields[0], fields[1:]
        pairs = (cov(fields[0], c) * moment(*rest[:m], *rest[m + 1 :]) for m, c in enumerate(rest))
        return (R[p, b] if kind == "unit" else T[b, p]) * moment(*rest) + sp.Add(*pairs)

    def error(*fields: Any) -> Any:
        """< fields (f - y) >."""
        u = ("unit", i)
        return sp.Sum(v[i] * moment(*fields, u, u), (i, 1, K)) - label[b] * moment(*fields)

    def average(term: Any) -> Any:
        return sp.Sum(term, (b, 1, P)) / P

    a, c, centre, u, w = ("unit", k), ("unit", l), ("centre", n), ("unit", i), ("unit", j)
    both = sp.Sum(v[i] * v[j] * moment(a, c, u, u, w, w), (i, 1, K), (j, 1, K))
    square = both - 2 * label[b] * sp.Sum(v[i] * moment(a, c, u, u), (i, 1, K)) + label[b] ** 2 * moment(a, c)
    rates = {
        R[k, n]: -2 * eta * v[k] * average(error(a, centre)),
        Q[k, l]: -2 * eta * (v[k] + v[l]) * average(error(a, c)) + 4 * eta**2 * Delta * v[k] * v[l] * average(square),
        v[k]: -eta_v * average(error(a, a)),
    }
    return tuple(Published(f"d{letter}/dalpha", rate={letter: rate}) for letter, rate in rates.items())
