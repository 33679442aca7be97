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
Assumes Gaussian white inputs, each seen once; N -> oo with K, M1, M2 of order one.
Fails for overlaps that start at order 1/sqrt(N): runs then leave the saddle at random times.
"""

from __future__ import annotations

from derive.catalog.claims_of_erf_networks import two_task_rates
from derive.entry import Entry, MatchesSimulation, Published
from derive.errors import InvalidSpec
from derive.library_tasks import two_tasks
from derive.protocols import phases

REFERENCE = "Lee, Goldt, Saxe, ICML 2021"


def entry(
    phase: int = 1,
    K: int = 2,
    M: int = 1,
    N: int = 400,
    eta: float = 1.0,
    eta_h: float = 1.0,
    time: float = 25.0,
    seeds: int = 10,
    seed: int = 0,
) -> Entry:
    """``phase`` is 1 (first task) or 2 (second task); ``time`` is the length of both phases, in units of steps / N."""
    if phase not in (1, 2):
        raise InvalidSpec(f"phase={phase}: give 1 for the first task or 2 for the second")
    model = phases(two_tasks(lengths=(time, time), name="lee_2021_continual_learning"))[phase - 1]
    sizes = {"K": K, "M1": M, "M2": M, "N": N}
    rates = two_task_rates((1, 0) if phase == 1 else (0, 1))
    return Entry(
        name="lee_2021_continual_learning",
        title=f"continual learning with two teachers, task {phase}",
        reference=REFERENCE,
        kind="online",
        model=model,
        values={
            **sizes, "eta": eta, "eta_h": eta_h, "A1": [1.0] * M, "A2": [1.0] * M,
            "time": time, "seeds": seeds, "seed": seed,
        },
        claims=(
            *(Published(f"task {phase}, d{letter}/dalpha", rate={letter: rate}) for letter, rate in rates.items()),
            MatchesSimulation(
                "one-pass SGD", observables=("eg1", "eg2", "Q_W"), sizes=(50, 100, 200, 400), seeds=seeds, time=3.0
            ),
        ),
        docs=__doc__ or "",
    )  # fmt: skip
