"""A ReLU network learns whether two inputs are the same: exact population gradient flow of its Gram matrices.

Reference: W. L. Tong, C. Pehlevan, "Learning richness modulates equality reasoning in neural networks", 2025 (title from
memory); here gradient flow at square loss. The headline of the paper (few symbols, logistic loss) is not reproduced.

=========  ========  ==============================================================  =====================
symbol     shape     meaning                                                         name in the paper
=========  ========  ==============================================================  =====================
p, m       (K, d)    u + v and u - v for weights u, v on the two inputs              w = (u, v)
a          (K,)      readout                                                         a
z1, z2     (d,)      symbols: x = (z1, z1) if ``same``, else (z1, z2)                x
Q_p, Q_m   (K, K)    p p' / d and m m' / d, the Gram matrices                        P, M
loss       scalar    half the mean square of f - y, y = 1 (same) or -1 (different)   L
=========  ========  ==============================================================  =====================

f = sum_k a_k relu((u_k x_1 + v_k x_2) / sqrt d); d(u, v)/dt = -d grad L and da/dt = -grad L, averaged over the two classes
of probability 1/2. P, M and a close at every d, without p m'. A unit with a negative readout loses p in finite time: its
weights are then antiparallel, u = -v, and stay so; there 1/|p| is singular, and the integration stops and goes on by itself.
Assumes infinitely many Gaussian symbols (no repeated ones) and vanishing steps.
Fails for finitely many symbols; runs of SGD with a finite step leave |p|^2 of the order of the step where the theory has 0.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive import fn
from derive.claims.entry import Conserved, Entry, MatchesSimulation, Published
from derive.spec.laws import Choice, Normal
from derive.spec.model import Model
from derive.spec.nodes import grad, mean
from derive.spec.rules import Limit, Rate
from derive.spec.sugar import dot
from derive.spec.symbols import dims, matrix, scalars, vector

P0 = [[0.137, 0.022, -0.01, 0.025], [0.022, 0.115, 0.0, 0.01], [-0.01, 0.0, 0.213, 0.018], [0.025, 0.01, 0.018, 0.182]]
M0 = [[0.216, -0.02, 0.015, 0.01], [-0.02, 0.131, 0.008, -0.03], [0.015, 0.008, 0.106, 0.012], [0.01, -0.03, 0.012, 0.125]]


def entry(d: int = 8, time: float = 10.0, seeds: int = 8, seed: int = 0) -> Entry:
    """``d``: length of the symbols in simulations (the theory is the same for all); ``time`` in units of the rates."""
    return Entry(
        name="tong_2025_same_different",
        title="same or different, a ReLU network",
        reference="Tong, Pehlevan 2025 (population flow at square loss)",
        kind="population",
        model=same_different(),
        values={
            "K": 4, "d": d, "Q_p": P0, "Q_m": M0, "a": [0.3, 0.3, -0.3, -0.3], "time": time, "seeds": seeds, "seed": seed,
        },
        claims=(
            published(),
            Conserved("|w_k|^2 / d - a_k^2 of every unit", balance),
            MatchesSimulation("mini-batch SGD", observables=("loss", "Q_p", "Q_m", "a"), sizes=(200, 400, 800), time=1.0),
        ),
        docs=__doc__ or "",
    )  # fmt: skip


def same_different() -> Model:
    """The network in p = u + v and m = u - v, whose rates are twice those of u and v."""
    d, K = dims("d K")
    p, m, u, v = (matrix(name, K, d) for name in ("p", "m", "u", "v"))
    a, z1, z2, x1, x2 = vector("a", K), *(vector(name, d) for name in ("z1", "z2", "x1", "x2"))
    same, y, f, L = scalars("same y f L")
    return Model(
        name="tong_2025_same_different",
        state=(p, m, a),
        data=(Choice(same, (1, 0)), Normal(z1), Normal(z2)),
        let={
            x1: z1, x2: same * z1 + (1 - same) * z2, y: 2 * same - 1, u: (p + m) / 2, v: (p - m) / 2,
            f: dot(a, fn.relu((u * x1 + v * x2) / sp.sqrt(d))), L: (f - y) ** 2 / 2,
        },
        learn=Rate({p: -2 * d * grad(L, p), m: -2 * d * grad(L, m), a: -grad(L, a)}),
        limit=Limit({d: sp.oo}),
        observe={"loss": mean(L)},
    )  # fmt: skip


def balance(values: Any) -> Any:
    """One number for every unit."""
    return (values["Q_p"].diagonal() + values["Q_m"].diagonal()) / 2 - values["a"] ** 2


def published() -> Published:
    """Rates by class with the angles between units: B of each class acts on the rows of p and of m."""
    K = sp.Symbol("K", integer=True, positive=True)
    k, l, j = sp.symbols("k l j", integer=True)
    P, M, a = (sp.IndexedBase(name) for name in ("Q_p", "Q_m", "a"))
    classes: dict[int, Any] = {1: lambda r, s: P[r, s], -1: lambda r, s: (P[r, s] + M[r, s]) / 2}

    def angle(C: Any, r: Any, s: Any) -> Any:
        return sp.acos(sp.Min(1, C(r, s) / sp.sqrt(C(r, r) * C(s, s))))

    def sum_but(r: Any, term: Any) -> Any:
        """Sum over all units but r, whose angle with itself is zero."""
        return sp.Sum((1 - sp.KroneckerDelta(j, r)) * term(j), (j, 1, K))

    def pull(y: int, G: Any, r: Any, s: Any) -> Any:
        """(diag(a) B G)_rs, without the factor -1/2."""
        C = classes[y]
        others = a[r] * G[r, s] / 2 + sum_but(r, lambda j: a[j] * (sp.pi - angle(C, r, j)) / (2 * sp.pi) * G[j, s])
        own = sum_but(r, lambda j: a[j] * sp.sin(angle(C, r, j)) * sp.sqrt(C(j, j))) / (2 * sp.pi) - y / sp.sqrt(2 * sp.pi)
        return a[r] * (others + own / sp.sqrt(C(r, r)) * G[r, s])

    def relu2(C: Any, r: Any, s: Any) -> Any:
        turned = sp.sin(angle(C, r, s)) + (sp.pi - angle(C, r, s)) * sp.cos(angle(C, r, s))
        return sp.sqrt(C(r, r) * C(s, s)) / (2 * sp.pi) * turned

    def rate(G: Any, weights: dict[int, int]) -> Any:
        return sum(-sp.Rational(w, 2) * (pull(y, G, k, l) + pull(y, G, l, k)) for y, w in weights.items())

    readout = sum(
        C(k, k) / 2 * a[k] + sum_but(k, lambda j, C=C: relu2(C, k, j) * a[j]) - y * sp.sqrt(C(k, k) / (2 * sp.pi))  # type: ignore[misc]
        for y, C in classes.items()
    )
    rates = {P[k, l]: rate(P, {1: 2, -1: 1}), M[k, l]: rate(M, {-1: 1}), a[k]: -readout / 2}
    return Published("dP/dt, dM/dt and da/dt, class by class", rate=rates)
