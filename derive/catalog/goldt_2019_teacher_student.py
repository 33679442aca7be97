"""Two-layer erf network learning from a two-layer teacher by one-pass SGD: order-parameter equations.

Reference: S. Goldt, M. S. Advani, A. M. Saxe, F. Krzakala, L. Zdeborova, "Dynamics of stochastic gradient descent for two-layer
neural networks in the teacher-student setup", NeurIPS 2019; averages of D. Saad, S. A. Solla, Phys. Rev. E 52 (1995) 4225.

======  ========  ===============================================  ==================
symbol  shape     meaning                                          name in the paper
======  ========  ===============================================  ==================
W       (K, N)    first layer of the student                       w
v       (K,)      second layer of the student                      v
Wstar   (M, N)    first layer of the teacher                       w*
A       (M,)      second layer of the teacher                      v*
eta     scalar    learning rate of the first layer                 eta_w
eta_v   scalar    learning rate of the second layer                eta_v
sigma   scalar    strength of the label noise                      sigma
Q, R, T           overlaps W.W/N, W.Wstar/N, Wstar.Wstar/N         Q, R, T
eg      scalar    generalisation error (without label noise)       epsilon_g
======  ========  ===============================================  ==================

Assumes Gaussian white inputs, each seen once; N -> oo with K, M of order one; time alpha = steps / N.
Fails for repeated samples, and for overlaps that start at order 1/sqrt(N): runs then leave the saddle at random times.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.claims.entry import Entry, MatchesSimulation, Published
from derive.library.teacher import teacher_student


def entry(
    K: int = 2,
    M: int = 2,
    N: int = 1000,
    eta: float = 0.5,
    eta_v: float = 0.3,
    sigma: float = 0.1,
    train: str = "both",
    time: float = 20.0,
    seeds: int = 20,
    seed: int = 0,
) -> Entry:
    """Student with K, teacher with M hidden units; ``train`` is "both" or "first"; ``time`` in units of steps / N."""
    values = {"K": K, "M": M, "N": N, "eta": eta, "eta_v": eta_v, "sigma": sigma, "A": [1 - 0.3 * m / M for m in range(M)]}
    run = {"time": time, "seeds": seeds, "seed": seed}
    return Entry(
        name="goldt_2019_teacher_student",
        title="two-layer teacher and student, one-pass SGD",
        reference="Goldt, Advani, Saxe, Krzakala, Zdeborova, NeurIPS 2019",
        kind="online",
        model=teacher_student(train=train, name="goldt_2019_teacher_student"),
        values={**values, **run},
        claims=(
            *published(train),
            MatchesSimulation(
                "one-pass SGD", observables=("eg", "Q", "R"), sizes=(250, 500, 1000, 2000), seeds=seeds, time=10.0
            ),
        ),
        docs=__doc__ or "",
    )


def published(train: str) -> tuple[Published, ...]:
    """The printed equations, with the averages I2, I3, I4 and J2 of erf networks."""
    k, l, n, i, j = sp.symbols("k l n i j", integer=True)
    K, M = sp.symbols("K M", integer=True, positive=True)
    eta, eta_v, sigma = sp.symbols("eta eta_v sigma", positive=True)
    Q, R, T, v, A = (sp.IndexedBase(name) for name in ("Q", "R", "T", "v", "A"))

    def lam(label: Any) -> tuple[str, Any]:
        return ("student", label)

    def nu(label: Any) -> tuple[str, Any]:
        return ("teacher", label)

    def cov(f: tuple[str, Any], g: tuple[str, Any]) -> sp.Expr:
        if f[0] == g[0]:
            return Q[f[1], g[1]] if f[0] == "student" else T[f[1], g[1]]
        return R[f[1], g[1]] if f[0] == "student" else R[g[1], f[1]]

    def total(term: Any, label: sp.Symbol) -> sp.Expr:
        """Sum over students with weight v and over teachers with weight -A."""
        return sp.Sum(v[label] * term(lam(label)), (label, 1, K)) - sp.Sum(A[label] * term(nu(label)), (label, 1, M))

    def i2(a: Any, b: Any) -> sp.Expr:
        return 2 / sp.pi * sp.asin(cov(a, b) / sp.sqrt((1 + cov(a, a)) * (1 + cov(b, b))))

    def j2(a: Any, b: Any) -> sp.Expr:
        return 2 / sp.pi / sp.sqrt((1 + cov(a, a)) * (1 + cov(b, b)) - cov(a, b) ** 2)

    def i3(a: Any, b: Any, c: Any) -> sp.Expr:
        root = sp.sqrt((1 + cov(a, a)) * (1 + cov(c, c)) - cov(a, c) ** 2)
        return 2 / sp.pi * (cov(b, c) * (1 + cov(a, a)) - cov(a, b) * cov(a, c)) / root / (1 + cov(a, a))

    def i4(a: Any, b: Any, c: Any, d: Any) -> sp.Expr:
        x, y, z = 1 + cov(a, a), 1 + cov(b, b), cov(a, b)
        det = x * y - z**2

        def inner(p: Any, q: Any, pq: sp.Expr) -> sp.Expr:
            cross = cov(a, p) * cov(b, q) + cov(a, q) * cov(b, p)
            return det * pq - cov(b, p) * cov(b, q) * x - cov(a, p) * cov(a, q) * y + z * cross

        angle = inner(c, d, cov(c, d)) / sp.sqrt(inner(c, c, 1 + cov(c, c)) * inner(d, d, 1 + cov(d, d)))
        return 4 / sp.pi**2 / sp.sqrt(det) * sp.asin(angle)

    def pull(a: Any, b: Any) -> sp.Expr:
        return -eta * v[a[1]] * total(lambda c: i3(a, b, c), i)

    noise = total(lambda c: total(lambda d: i4(lam(k), lam(l), c, d), j), i) + sigma**2 * j2(lam(k), lam(l))
    rates = {
        R[k, n]: pull(lam(k), nu(n)),
        Q[k, l]: pull(lam(k), lam(l)) + pull(lam(l), lam(k)) + eta**2 * v[k] * v[l] * noise,
    }
    if train == "both":
        rates[v[k]] = -eta_v * total(lambda c: i2(lam(k), c), i)
    return tuple(Published(f"order parameters, d{letter}/dalpha", rate={letter: rate}) for letter, rate in rates.items())
