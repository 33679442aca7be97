"""Two-layer network learning from a two-layer teacher by one-pass SGD: order-parameter equations.

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
kappa   scalar    weight decay of the first layer, if any          kappa
Q, R, T           overlaps W.W/N, W.Wstar/N, Wstar.Wstar/N         Q, R, T
eg      scalar    generalisation error (without label noise)       epsilon_g
======  ========  ===============================================  ==================

The networks are of erf(z / sqrt 2), of max(z, 0) or linear. Second layers learn without decay.
Assumes Gaussian white inputs, each seen once; N -> oo with K, M of order one; time alpha = steps / N.
Fails for repeated samples, and for overlaps that start at order 1/sqrt(N): runs then leave the saddle at random times.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.catalog.claims_of_erf_networks import Averages
from derive.catalog.claims_of_linear_networks import LinearAverages, linear_error
from derive.catalog.claims_of_rectified_networks import committee_rates
from derive.claims.entry import Entry, MatchesSimulation, Published
from derive.errors import InvalidSpec
from derive.library.teacher import teacher_student

#: Function of the networks, and rates at which they are stable.
NETWORKS: dict[str, tuple[str, float, float]] = {
    "erf": ("erf2", 0.5, 0.3), "linear": ("linear", 0.1, 0.1), "relu": ("relu", 0.15, 0.15),
}  # fmt: skip


def entry(
    K: int = 2,
    M: int = 2,
    N: int = 1000,
    activation: str = "erf",
    eta: float | None = None,
    eta_v: float | None = None,
    sigma: float = 0.1,
    kappa: float = 0.0,
    train: str = "both",
    time: float = 20.0,
    seeds: int = 20,
    seed: int = 0,
) -> Entry:
    """Student with K, teacher with M hidden units; ``activation`` is erf, linear or relu; ``train`` is "both" or "first".

    ``eta`` and ``eta_v`` are 0.5 and 0.3 for erf, 0.15 for relu and 0.1 for linear networks if not given; ``time`` is in units
    of steps / N.
    """
    if activation not in NETWORKS:
        raise InvalidSpec(f"activation={activation!r}: write one of {', '.join(NETWORKS)}")
    function, slow, slow_v = NETWORKS[activation]
    values = {
        "K": K, "M": M, "N": N, "A": [1 - 0.3 * m / M for m in range(M)], "sigma": sigma, **({"kappa": kappa} if kappa else {}),
        "eta": slow if eta is None else eta, "eta_v": slow_v if eta_v is None else eta_v,
    }  # fmt: skip
    runs = seeds * max(1, 4 // max(1, K * M))  # the fewer overlaps, the more runs an exponent needs
    run = MatchesSimulation("one-pass SGD", observables=("eg", "Q", "R"), sizes=(200, 400, 800), seeds=runs, time=8.0)
    return Entry(
        name="goldt_2019_teacher_student",
        title="two-layer teacher and student, one-pass SGD" + ("" if activation == "erf" else f", {activation}"),
        reference="Goldt, Advani, Saxe, Krzakala, Zdeborova, NeurIPS 2019",
        kind="online",
        model=teacher_student(function, train, decay=bool(kappa), name="goldt_2019_teacher_student"),
        values={**values, "time": time, "seeds": seeds, "seed": seed},
        claims=(*published(train, activation, decay=bool(kappa)), run),
        docs=__doc__ or "",
    )


def published(train: str, activation: str = "erf", *, decay: bool = False) -> tuple[Published, ...]:
    """The printed equations, with the averages I2, I3, I4 and J2 of the activation."""
    k, l, n, i, j = sp.symbols("k l n i j", integer=True)
    K, M = sp.symbols("K M", integer=True, positive=True)
    eta, eta_v, sigma, kappa = sp.symbols("eta eta_v sigma kappa", positive=True)
    Q, R, T, v, A = (sp.IndexedBase(name) for name in ("Q", "R", "T", "v", "A"))
    if activation == "relu":
        found = committee_rates(decay=decay, readout=train == "both")
        return (Published(f"order parameters, d({', '.join(found)})/dalpha", rate=found),)

    def cov(f: tuple[Any, ...], g: tuple[Any, ...]) -> sp.Expr:
        if f[0] == g[0]:
            return Q[f[1], g[1]] if f[0] == "student" else T[f[1], g[1]]
        return R[f[1], g[1]] if f[0] == "student" else R[g[1], f[1]]

    av = Averages(cov=cov) if activation == "erf" else LinearAverages(cov=cov)

    def total(term: Any, label: sp.Symbol) -> sp.Expr:
        """Sum over students with weight v and over teachers with weight -A."""
        students = sp.Sum(v[label] * term(("student", label)), (label, 1, K))
        return students - sp.Sum(A[label] * term(("teacher", label)), (label, 1, M))

    def pull(a: Any, b: Any) -> sp.Expr:
        return -eta * v[a[1]] * total(lambda c: av.i3(a, b, c), i)

    a, b, shrink = ("student", k), ("student", l), kappa if decay else 0
    noise = total(lambda c: total(lambda d: av.i4(a, b, c, d), j), i) + sigma**2 * av.j2(a, b)
    rates = {
        R[k, n]: pull(a, ("teacher", n)) - shrink * R[k, n],
        Q[k, l]: pull(a, b) + pull(b, a) - 2 * shrink * Q[k, l] + eta**2 * v[k] * v[l] * noise,
    }
    if train == "both":
        rates[v[k]] = -eta_v * total(lambda c: av.i2(a, c), i)
    closed = (linear_error(),) if activation == "linear" and train == "first" and not decay else ()
    named = (Published(f"order parameters, d{letter}/dalpha", rate={letter: rate}) for letter, rate in rates.items())
    return (*named, *closed)
