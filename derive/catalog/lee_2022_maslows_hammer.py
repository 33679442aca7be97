"""Two tasks, then both at once: steps of the tasks are interleaved with probabilities p and 1 - p (replay).

Reference: S. Lee, S. Sarao Mannelli, C. Clopath, S. Goldt, A. Saxe, "Maslow's hammer for catastrophic forgetting: node re-use
vs node activation", ICML 2022.

==============  ========  =================================================  ==================
symbol          shape     meaning                                            name in the paper
==============  ========  =================================================  ==================
W               (K, N)    shared first layer of the student                  W
h1, h2          (K,)      heads of the student                               h^(1), h^(2)
B1, B2          (M1, N)   first layers of the teachers (B2: (M2, N))         W^dagger, W^ddagger
A1, A2          (M1,)     second layers of the teachers (A2: (M2,))          v^dagger, v^ddagger
p               scalar    probability that a step belongs to task 1          replay frequency
eta, eta_h      scalars   learning rates of features and heads               alpha_W, alpha_h
Q_W             (K, K)    overlaps W.W/N                                     Q
R_W_B1, R_W_B2            overlaps of the student with the teachers          R, U
T_B1_B2                   overlap of the teachers: similarity of features    V
eg1, eg2        scalars   generalisation errors of the tasks                 epsilon^(1), epsilon^(2)
==============  ========  =================================================  ==================

Phases: task 1, task 2, both. Each step uses one task, so the terms quadratic in the step are a mean of squares, and the rates
are linear in the weights task_is_1 and task_is_2 of the tasks: 1 and 0, 0 and 1, p and 1 - p. Time alpha = steps / N.
Assumes Gaussian white inputs, each seen once; N -> oo with K, M1, M2 of order one.
Fails for overlaps that start at order 1/sqrt(N): runs then leave the saddle at random times.
"""

from __future__ import annotations

import sympy as sp

from derive.catalog.claims_of_erf_networks import two_task_rates
from derive.claims.entry import Entry, MatchesSimulation, Published
from derive.errors import InvalidSpec
from derive.library.tasks import two_tasks
from derive.protocols.sequence import phases

REFERENCE = "Lee, Sarao Mannelli, Clopath, Goldt, Saxe, ICML 2022"


def entry(
    p: float = 0.3,
    phase: int = 0,
    K: int = 2,
    M: int = 1,
    N: int = 400,
    eta: float = 1.0,
    eta_h: float = 1.0,
    time: float = 20.0,
    seeds: int = 10,
    seed: int = 0,
) -> Entry:
    """``p`` is the share of the first task in phase 3; ``time`` is the length of each phase; ``phase`` 1 to 3 is one alone."""
    if not 0 <= p <= 1:
        raise InvalidSpec(f"p={p}: the share of the first task is a probability, give a number between 0 and 1")
    if phase not in (0, 1, 2, 3):
        raise InvalidSpec(f"phase={phase}: give 0 for all phases, 1 or 2 for a task alone, 3 for both interleaved")
    whole = two_tasks(lengths=(time, time, time), name="lee_2022_maslows_hammer")
    share = sp.Symbol("p", positive=True)
    weights = (sp.symbols("task_is_1 task_is_2"), (1, 0), (0, 1), (share, 1 - share))[phase]
    words = "one task alone" if phase in (1, 2) else "interleaved tasks"
    return Entry(
        name="lee_2022_maslows_hammer",
        title="two tasks, one after the other, then interleaved" if not phase else f"two tasks, phase {phase} alone",
        reference=REFERENCE,
        kind="online",
        model=phases(whole)[phase - 1] if phase else whole,
        values={
            "K": K, "M1": M, "M2": M, "N": N, "p": p, "eta": eta, "eta_h": eta_h, "A1": [1.0] * M, "A2": [1.0] * M,
            "time": time, "seeds": seeds, "seed": seed,
        },
        claims=(
            *(
                Published(f"{words}, d{letter}/dalpha", rate={letter: rate})
                for letter, rate in two_task_rates(weights).items()
            ),
            MatchesSimulation(
                "one-pass SGD with replay", observables=("eg1", "eg2", "Q_W"), sizes=(50, 100, 200), seeds=14, time=2.4
            ),
        ),
        docs=__doc__ or "",
    )  # fmt: skip
