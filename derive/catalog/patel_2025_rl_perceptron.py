"""The RL perceptron: a student acts in episodes of T inputs and learns from a reward for the number of right actions.

Reference: N. Patel, S. Lee, S. Sarao Mannelli, S. Goldt, A. Saxe, "RL perceptron: generalization dynamics of policy learning in
high dimensions", Phys. Rev. X 15 (2025).

===================  ========  =======================================================  ==================
symbol               shape     meaning                                                  name in the paper
===================  ========  =======================================================  ==================
w, wstar             (N,)      student and teacher                                      w, w*
X                    (N, T)    the inputs of an episode                                 x_t
y, ystar             (T,)      actions of the student, right actions                    y_t
k                    scalar    number of right actions                                  -
eta_1, eta_2         scalars   learning rates of reward and of penalty or bonus         eta_1, eta_2
n, T, T0             scalars   right actions asked for; length of the episode; of the   n, T, T_0
                               part that earns a bonus
baseline             scalar    reward that is taken off                                 -
Q, R, T_wstar        scalars   overlaps w.w/N, w.wstar/N, wstar.wstar/N                 Q, R
accuracy             scalar    probability of a right action                            P
===================  ========  =======================================================  ==================

w <- w + r / (T sqrt N) sum_t y_t x_t, with r = eta_1 (all right); eta_1, otherwise -eta_2 (penalty); eta_1 (n or more right);
eta_1 (k/T - baseline) (linear); survival: eta_1 on all steps if all are right, and eta_2 on the first T0 if these are.
Assumes Gaussian white inputs, each seen once; N -> oo with T of order one; time alpha = episodes / N.
Fails first for small overlaps: at finite N the inputs of one episode overlap, which adds terms of order T / N to dQ/dalpha.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.claims.entry import Entry, MatchesSimulation, Published
from derive.errors import InvalidSpec
from derive.library.episodes import REWARDS, rl_perceptron


def length_of_teacher(reward: str) -> str:
    """Name of wstar.wstar / N: the letter T is free where the episode has two parts."""
    return "T" if reward == "survival" else "T_wstar"


def entry(
    reward: str = "all",
    T: int = 4,
    n: int = 3,
    T0: int = 2,
    N: int = 400,
    eta_1: float = 1.0,
    eta_2: float = 0.05,
    baseline: float = 0.5,
    time: float = 10.0,
    seeds: int = 40,
    seed: int = 0,
) -> Entry:
    """``reward`` is all, penalty, at_least, linear or survival; T0 < T only for survival; ``time`` in units of episodes / N."""
    if reward not in REWARDS:
        raise InvalidSpec(f"reward={reward!r}: write one of {', '.join(REWARDS)}")
    lengths = {"T0": T0, "T1": T - T0} if reward == "survival" else {"T": T}
    given = {"eta_1": eta_1, "eta_2": eta_2, "n": float(n), "baseline": baseline}
    model = rl_perceptron(reward, name="patel_2025_rl_perceptron")
    values = {k: v for k, v in given.items() if k in model.symbols}
    return Entry(
        name="patel_2025_rl_perceptron",
        title=f"RL perceptron, reward: {reward}",
        reference="Patel, Lee, Sarao Mannelli, Goldt, Saxe, Phys. Rev. X 15 (2025)",
        kind="online",
        model=model,
        values={
            **lengths,
            **values,
            "N": N,
            length_of_teacher(reward): 1.0,
            "Q": 1.0,
            "R": 0.3,
            "time": time,
            "seeds": seeds,
            "seed": seed,
        },
        claims=(
            *published(reward),
            MatchesSimulation("SGD over episodes", observables=("Q", "R"), sizes=(100, 200, 400, 800), seeds=seeds, time=2.0),
        ),
        docs=__doc__ or "",
    )


def published(reward: str) -> tuple[Published, ...]:
    """The printed equations, for a teacher of any length: rho = R / sqrt(Q T_wstar), P = 1 - arccos(rho) / pi."""
    Q, R, e1, e2, n, b = sp.symbols("Q R eta_1 eta_2 n baseline", positive=True)
    S = sp.Symbol(length_of_teacher(reward), positive=True)
    T, T0, T1 = sp.symbols("T T0 T1", positive=True)
    rho = R / sp.sqrt(Q * S)
    P = 1 - sp.acos(rho) / sp.pi
    root, length = sp.sqrt(2 * sp.pi), sp.sqrt(S)
    k = sp.Symbol("k", integer=True)

    def mean(f: Any, m: Any) -> Any:
        """Average of f over the number of right ones among m actions."""
        return sp.Sum(sp.binomial(m, k) * P**k * (1 - P) ** (m - k) * f(k), (k, 0, m))

    if reward in ("all", "penalty"):
        loss = e2 if reward == "penalty" else 0
        up = (e1 + loss) * (1 + rho) * P ** (T - 1)
        dR = length * (up / root - loss * rho * sp.sqrt(2 / sp.pi))
        dQ = sp.sqrt(2 * Q / sp.pi) * (up - 2 * loss) + ((e1**2 - loss**2) * P**T + loss**2) / T
    elif reward == "survival":
        total = T0 + T1
        gain = (1 + rho) / root * (e1 * P ** (total - 1) + e2 * T0 / total * P ** (T0 - 1))
        dR = length * gain
        dQ = 2 * sp.sqrt(Q) * gain + (e1**2 * total * P**total + 2 * e1 * e2 * T0 * P**total + e2**2 * T0 * P**T0) / total**2
    else:
        r = (lambda j: e1 * sp.Heaviside(j - n + sp.Rational(1, 2))) if reward == "at_least" else (lambda j: e1 * (j / T - b))
        u, d = mean(lambda j: r(j + 1), T - 1), mean(r, T - 1)
        dR = length * ((1 + rho) * u - (1 - rho) * d) / root
        dQ = 2 * sp.sqrt(Q) * ((1 + rho) * u + (1 - rho) * d) / root + mean(lambda j: r(j) ** 2, T) / T
    return Published("growth of the overlap R", rate={R: dR}), Published("growth of the norm Q", rate={Q: dQ})
