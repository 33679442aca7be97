"""Sleep-phase weight sharing: neurons that see the same inputs pull their weights together by a local rule.

Reference: R. Pogodin, Y. Mehta, T. P. Lillicrap, P. E. Latham, "Towards biologically plausible convolutional networks",
NeurIPS 2021, arXiv:2106.13031 (dynamic weight sharing).

========  ========  =========================================================  ==================
symbol    shape     meaning                                                    name in the paper
========  ========  =========================================================  ==================
W         (N, d)    weights of N neurons that should be equal, in rows         w_i
Winit     (N, d)    weights that the sleep phase starts with                   w_i^init
x         (d, 1)    common input of all neurons, covariance C                  x
z         (N, 1)    responses, W x; their mean is sent back                    z_i
g         scalar    strength of the pull to the start                          gamma
D         (N, d)    deviation of every neuron from the mean weight             -
tau       scalar    time constant                                              1 / eta
========  ========  =========================================================  ==================

Each neuron moves by -(z_i - mean z) x - g (w_i - w_i^init); a rule, stated without any loss.
Along an eigenvector of C with value c the deviations shrink by g/(g+c) + c/(g+c) e^{-(g+c)t}; the mean stays where it started.
Assumes slow learning: the rule is averaged over inputs; noise of the order of the step is not in the flow.
Fails for inputs that differ between neurons.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from derive.claims.entry import Entry, MatchesSimulation, Published, Rests, Solves
from derive.spec.laws import Normal
from derive.spec.model import Model
from derive.spec.rules import Rate
from derive.spec.sugar import norm2
from derive.spec.symbols import dims, matrix, scalars, vector

NAME = "pogodin_2021_weight_sharing"
REFERENCE = "Pogodin, Mehta, Lillicrap, Latham, NeurIPS 2021"
EIGENVALUES = (3.0, 2.0, 1.5, 1.0, 0.7, 0.5, 0.3, 0.2, 0.1)
N, d = dims("N d")
W, Winit, C = matrix("W", N, d), matrix("Winit", N, d), matrix("C", d, d)
D, Dinit, x, wbar, first = matrix("D", N, d), matrix("Dinit", N, d), vector("x", d), vector("wbar", d), vector("first", d)
g, tau = scalars("g tau", positive=True)
ONES = sp.OneMatrix(N, 1)


def entry(
    N: int = 12, d: int = 5, g: float = 0.1, tau: float = 1.0, time: float = 6.0, eta: float = 0.005, seeds: int = 10,
    seed: int = 0,
) -> Entry:  # fmt: skip
    """``N`` neurons with ``d`` <= 9 inputs, whose covariance has eigenvalues 3, 2, 1.5, 1, .7, .5, ... in random directions."""
    rng = np.random.default_rng(seed)
    V = np.linalg.qr(rng.standard_normal((d, d)))[0]
    weights = rng.standard_normal((N, d))
    run = {"time": time, "eta": eta, "seeds": seeds, "seed": seed}
    return Entry(
        name=NAME, title="sleep-phase weight sharing", reference=REFERENCE, kind="matrix", model=model(), claims=claims(),
        values={"N": N, "d": d, "g": g, "tau": tau, "C": (V * EIGENVALUES[:d]) @ V.T, "W": weights, "Winit": weights, **run},
        docs=__doc__ or "",
    )  # fmt: skip


def model() -> Model:
    """The local rule; the deviation per neuron is watched."""
    z = W * x
    centred = z - ONES * ONES.T * z / N
    return Model(
        name=NAME,
        state=W,
        given=(Winit, C, g, tau),
        data=Normal(x, cov=C),
        learn=Rate({W: -(centred * x.T + g * (W - Winit)) / tau}),
        observe={"deviation": norm2(W - ONES * ONES.T * W / N) / N},
    )


def claims() -> tuple[Any, ...]:
    """Averaged rule, its parts for the mean and the deviations, the printed solution and where it ends."""
    parts = {wbar: W.T * ONES / N, first: Winit.T * ONES / N, D: centred(W), Dinit: centred(Winit)}
    return (
        Published("averaged rule", rate={W: -(centred(W) * C + g * (W - Winit)) / tau}),
        Published("mean weight", where=parts, rate={wbar: -g * (wbar - first) / tau}),
        Published("deviations", where=parts, rate={D: -(D * C + g * (D - Dinit)) / tau}),
        Solves("printed solution", {W: printed}, initial={W: sp.Symbol("W0")}),
        Solves("closed form of the engine", {}),
        Rests("printed limit", at={W: resting}),
        MatchesSimulation("the rule on samples", observables=("deviation",), sizes=(100, 400), seeds=16, time=1.0),
    )


def centred(weights: Any) -> Any:
    """Without the mean over neurons."""
    return weights - ONES * ONES.T * weights / N


def printed(values: Any) -> Any:
    """Mean and deviations along eigenvectors of C, from any start; from Winit the factor of the head of this file comes out."""
    c, V = np.linalg.eigh((values["C"] + values["C"].T) / 2)
    s, out = float(values["g"]), []
    begin, fixed = values["W0"] @ V, values["Winit"] @ V
    for t in np.ravel(values["t"]) / float(values["tau"]):
        centre = fixed.mean(axis=0) + np.exp(-s * t) * (begin.mean(axis=0) - fixed.mean(axis=0))
        fall = np.exp(-(s + c) * t)
        spread = fall * (begin - begin.mean(axis=0)) + s / (s + c) * (1 - fall) * (fixed - fixed.mean(axis=0))
        out.append((centre + spread) @ V.T)
    return np.array(out)


def resting(values: Any) -> Any:
    """w_i = (C + g)^-1 (C mean + g w_i^init)."""
    C, first, s = values["C"], values["Winit"], float(values["g"])
    pull = first.mean(axis=0) @ C + s * first
    return np.linalg.solve(C + s * np.eye(len(C)), pull.T).T
