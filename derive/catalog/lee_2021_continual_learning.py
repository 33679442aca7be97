"""Two tasks in sequence: a student with shared features and one head per task learns from one teacher, then from another.

Reference: S. Lee, S. Goldt, A. Saxe, "Continual learning in the teacher-student setup: impact of task similarity", ICML 2021.

==============  ========  =================================================  ==================
symbol          shape     meaning                                            name in the paper
==============  ========  =================================================  ==================
W               (K, N)    shared first layer of the student                  W
h1, h2          (K,)      heads of the student                               h^(1), h^(2)
B1, B2          (M1, N)   first layers of the teachers (B2: (M2, N))         W^dagger, W^ddagger
A1, A2          (M1,)     second layers of the teachers (A2: (M2,))          v^dagger, v^ddagger
eta, eta_h      scalars   learning rates of features and heads               alpha_W, alpha_h
Q_W             (K, K)    overlaps W.W/N                                     Q
R_W_B1, R_W_B2            overlaps of the student with the teachers          R, U
T_B1_B2                   overlap of the teachers: similarity of features    V
eg1, eg2        scalars   generalisation errors of the tasks                 epsilon^(1), epsilon^(2)
==============  ========  =================================================  ==================

Loss (f_i - y_i)^2 / 2 of the task of the phase; the other head rests. Time alpha = steps / N; the state is handed over.
The task enters through its weights: task_is_1 = 1 in the first phase, task_is_2 = 1 in the second.
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

REFERENCE = "Lee, Goldt, Saxe, ICML 2021"


def entry(
    phase: int = 0,
    K: int = 2,
    M: int = 1,
    N: int = 400,
    eta: float = 1.0,
    eta_h: float = 1.0,
    time: float = 25.0,
    seeds: int = 10,
    seed: int = 0,
) -> Entry:
    """Task 1, then task 2, each for ``time`` in units of steps / N; ``phase`` = 1 or 2 is one of them alone, 0 both."""
    if phase not in (0, 1, 2):
        raise InvalidSpec(f"phase={phase}: give 0 for both tasks, 1 for the first one or 2 for the second one")
    whole = two_tasks(lengths=(time, time), name="lee_2021_continual_learning")
    model = phases(whole)[phase - 1] if phase else whole
    sizes = {"K": K, "M1": M, "M2": M, "N": N}
    weights = sp.symbols("task_is_1 task_is_2") if not phase else (1, 0) if phase == 1 else (0, 1)
    rates = two_task_rates(weights)
    return Entry(
        name="lee_2021_continual_learning",
        title="continual learning with two teachers" + (f", task {phase}" if phase else ", one after the other"),
        reference=REFERENCE,
        kind="online",
        model=model,
        values={
            **sizes, "eta": eta, "eta_h": eta_h, "A1": [1.0] * M, "A2": [1.0] * M,
            "time": time, "seeds": seeds, "seed": seed,
        },
        claims=(
            *(Published(f"task {phase or '1 or 2'}, d{letter}/dalpha", rate={letter: rate}) for letter, rate in rates.items()),
            MatchesSimulation(
                "one-pass SGD", observables=("eg1", "eg2", "Q_W"), sizes=(50, 100, 200), seeds=14, time=2.4
            ),
        ),
        docs=__doc__ or "",
    )  # fmt: skip
