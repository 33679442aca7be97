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
accuracy   scalar        probability of the right sign, on hard examples     accuracy
=========  ============  ==================================================  ==================

Student erf(lambda / sqrt 2), lambda = (W_r x_r + W_i x_i) / sqrt N; label sgn of B x_r; squared loss. The perceptron of the
paper is K = M = 1; sums over units make it a committee with one output. Time alpha = steps / N.
Assumes Gaussian inputs, each seen once; Nr, Ni -> oo at a fixed ratio. A curriculum is a sequence of phases that bind Delta.
Fails to show a gain at these rates and lengths: the order of the phases changes the final accuracy by less than 0.01.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.catalog.claims_of_erf_networks import Averages
from derive.claims.entry import Entry, MatchesSimulation, Published
from derive.errors import InvalidSpec
from derive.library.difficulty import curriculum_perceptron

REFERENCE = "Saglietti, Sarao Mannelli, Saxe, NeurIPS 2022"
ORDERS = ("curriculum", "anti", "hard", "easy")


def entry(
    order: str = "curriculum",
    N: int = 1000,
    rho: float = 0.5,
    eta: float = 1.5,
    kappa: float = 0.02,
    easy: float = 0.05,
    hard: float = 1.0,
    time: float = 4.0,
    seeds: int = 20,
    seed: int = 0,
) -> Entry:
    """``order``: curriculum (easy, then hard), anti (hard, then easy), hard or easy alone; two phases of ``time`` steps / N."""
    if order not in ORDERS:
        raise InvalidSpec(f"order={order!r}: write one of {', '.join(ORDERS)}")
    first = easy if order in ("curriculum", "easy") else hard
    second = hard if order in ("curriculum", "hard") else easy
    values = {
        "K": 1, "M": 1, "N": N, "eta": eta, "kappa": kappa, "rho": rho, "Delta": first, "seeds": seeds, "seed": seed,
        "hard": hard, "T_B": [[rho]], "Q_W_r": [[0.4]], "Q_W_i": [[0.3]], "R_W_r_B": [[0.1]],
    }  # fmt: skip
    return Entry(
        name="saglietti_2022_curriculum",
        title={"curriculum": "easy examples first", "anti": "hard examples first"}.get(order, f"{order} examples only"),
        reference=REFERENCE,
        kind="online",
        model=curriculum_perceptron(lengths=(time, time), difficulties=(first, second), name="saglietti_2022_curriculum"),
        values=values,
        claims=(
            *published(),
            MatchesSimulation(
                "one-pass SGD", observables=("R_W_r_B", "Q_W_r", "Q_W_i", "accuracy"), sizes=(100, 200, 400), seeds=20, time=4.0
            ),
        ),
        docs=__doc__ or "",
    )


def published() -> tuple[Published, ...]:
    """The printed equations of one perceptron (K = M = 1) in R, Q_r and Q_i."""
    Q_r, Q_i, R, T = (sp.IndexedBase(n)[1, 1] for n in ("Q_W_r", "Q_W_i", "R_W_r_B", "T_B"))
    k, l, n = sp.symbols("k l n", integer=True)
    eta, kappa, Delta, rho = sp.symbols("eta kappa Delta rho", positive=True)
    student, teacher, relevant, rest = ("student",), ("teacher",), ("relevant",), ("rest",)
    table = {
        (student, student): Q_r + Delta * Q_i, (teacher, teacher): T, (student, teacher): R, (student, relevant): Q_r,
        (student, rest): Delta * Q_i, (relevant, teacher): R, (rest, teacher): sp.S.Zero,
    }  # fmt: skip
    av = Averages(cov=lambda a, b: table.get((a, b), table.get((b, a))), soft=lambda f: int(f == student))

    def pull(field: Any) -> Any:
        return -eta * (av.i3(student, field, student) - av.i3(student, field, teacher))

    both = av.i4(student, student, student, student) - 2 * av.i4(student, student, student, teacher)
    square = eta**2 * (both + av.j2(student, student))  # sgn^2 = 1
    rates = {
        sp.IndexedBase("R_W_r_B")[k, n]: pull(teacher) - eta * kappa * R,
        sp.IndexedBase("Q_W_r")[k, l]: 2 * pull(relevant) - 2 * eta * kappa * Q_r + rho * square,
        sp.IndexedBase("Q_W_i")[k, l]: 2 * pull(rest) - 2 * eta * kappa * Q_i + Delta * (1 - rho) * square,
    }
    return tuple(Published(f"order parameters, d{letter}/dalpha", rate={letter: rate}) for letter, rate in rates.items())
