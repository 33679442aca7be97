"""Shaping: a perceptron of combined features learns in episodes, first a primitive sub-task, then the composition of sub-tasks.

Reference: J. H. Lee, S. Sarao Mannelli, A. Saxe, "Why do animals need shaping? A theory of task composition and curriculum
learning", ICML 2024. An analogue of its model: the scaling and the update used here are those of the RL perceptron.

======================  ========  ============================================================  ==================
symbol                  shape     meaning                                                       name in the paper
======================  ========  ============================================================  ==================
W, v                    (K, N)    features of the student; their weights (K,) in its action     W, v
Wstar, vstar            (M, N)    sub-tasks; their weights (M,) in what is asked for            W*, v*
X                       (N, T)    the inputs of an episode                                      x_t
eta_w, eta_v            scalars   learning rates                                                -
Q, R, T_Wstar                     overlaps W.W/N, W.Wstar/N, Wstar.Wstar/N                      -
accuracy, reward        scalars   probability of a right action, and of a right episode         -
======================  ========  ============================================================  ==================

Action y = sgn(v . W x / sqrt N). Only if all T actions of an episode are right, w_k += eta_w v_k / (T sqrt N) sum_t y_t x_t and
v_k += eta_v / (T N) sum_t y_t w_k . x_t / sqrt N. Shaping: a first phase with vstar on one sub-task, then the composite.
Assumes Gaussian white inputs, each seen once; N -> oo with K, M, T of order one; time alpha = episodes / N.
Fails late at finite N: weights are not normalised, norms grow as long as rewards come, and relative deviations with them.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.claims.entry import Entry, MatchesSimulation, Published
from derive.errors import InvalidSpec
from derive.library.episodes import compositional_perceptron

TASKS = {"primitive": [1.0, 0.0], "composite": [0.8, 0.6]}


def entry(
    task: str = "shaping",
    T: int = 3,
    N: int = 400,
    eta_w: float = 0.5,
    eta_v: float = 0.2,
    first: float = 6.0,
    time: float = 8.0,
    seeds: int = 20,
    seed: int = 0,
) -> Entry:
    """``task`` is shaping (primitive for ``first``, then composite for ``time`` episodes / N), or one of its phases alone."""
    if task not in ("shaping", *TASKS):
        raise InvalidSpec(f"task={task!r}: write shaping, primitive or composite")
    shaped = task == "shaping"
    run = MatchesSimulation(
        "SGD over episodes", observables=("Q", "R", "v"), sizes=(100, 200, 400), seeds=seeds, time=4.0 if shaped else 2.0
    )
    start = {"Q": [[1.0, 0.2], [0.2, 1.0]], "R": [[0.6, 0.2], [0.1, 0.5]], "T_Wstar": [[1.0, 0.0], [0.0, 1.0]], "v": [0.6, 0.4]}
    return Entry(
        name="lee_2024_shaping",
        title="shaping in the compositional RL perceptron" + ("" if shaped else f", {task} task"),
        reference="Lee, Sarao Mannelli, Saxe, ICML 2024 (analogue)",
        kind="online",
        model=compositional_perceptron(lengths=(first, time) if shaped else (), name="lee_2024_shaping"),
        values={
            "K": 2, "M": 2, "N": N, "T": T, "eta_w": eta_w, "eta_v": eta_v, **start, "seeds": seeds, "seed": seed,
            **(TASKS if shaped else {"vstar": TASKS[task], "time": time}),
        },
        claims=(*published(), run),
        docs=__doc__ or "",
    )  # fmt: skip


def published() -> tuple[Published, ...]:
    """The equations, with z_f = P^(T-1) / sqrt(2 pi) (Cov(f, S) / sigma_S + Cov(f, S*) / sigma_S*)."""
    K, M, T = sp.symbols("K M T", integer=True, positive=True)
    k, l, n, i, j = sp.symbols("k l n i j", integer=True)
    eta_w, eta_v = sp.symbols("eta_w eta_v", positive=True)
    Q, R, S, v, u = (sp.IndexedBase(name) for name in ("Q", "R", "T_Wstar", "v", "vstar"))
    own = sp.Sum(v[i] * v[j] * Q[i, j], (i, 1, K), (j, 1, K))
    asked = sp.Sum(u[i] * u[j] * S[i, j], (i, 1, M), (j, 1, M))
    both = sp.Sum(v[i] * u[j] * R[i, j], (i, 1, K), (j, 1, M))
    P = 1 - sp.acos(both / sp.sqrt(own * asked)) / sp.pi

    def z(with_own: Any, with_asked: Any) -> Any:
        return P ** (T - 1) / sp.sqrt(2 * sp.pi) * (with_own / sp.sqrt(own) + with_asked / sp.sqrt(asked))

    def feature(a: Any) -> Any:
        return z(sp.Sum(v[i] * Q[a, i], (i, 1, K)), sp.Sum(u[j] * R[a, j], (j, 1, M)))

    rates = {
        R[k, n]: eta_w * v[k] * z(sp.Sum(v[i] * R[i, n], (i, 1, K)), sp.Sum(u[j] * S[j, n], (j, 1, M))),
        Q[k, l]: eta_w * (v[k] * feature(l) + v[l] * feature(k)) + eta_w**2 * v[k] * v[l] * P**T / T,
        v[k]: eta_v * feature(k),
    }
    return tuple(Published(f"d{letter}/dalpha", rate={letter: rate}) for letter, rate in rates.items())
