"""Oja's rule after a change of the inputs: a receptive field turns to the leading eigenvector, in closed form.

Reference: A. M. Saxe, M. Bhand, R. Mudur, B. Suresh, A. Y. Ng, "Unsupervised learning models of primary cortical receptive
fields and receptive field plasticity", NeurIPS 2011. Analogue, not a reproduction: the paper trains sparse models on images.

==========  ========  =======================================================  ==================
symbol      shape     meaning                                                  name in the paper
==========  ========  =======================================================  ==================
w           (d, 1)    receptive field                                          -
x           (d, 1)    input, covariance C after the change                     -
y           scalar    response, w.x                                            -
C           (d, d)    covariance of the inputs                                 -
tau         scalar    time constant                                            -
==========  ========  =======================================================  ==================

Each input moves the field by y x - y^2 w, a local rule that is no gradient. Linear growth by C and a common factor:
w(t) = e^{Ct} w0 / (1 - |w0|^2 + |e^{Ct} w0|^2)^{1/2}, which is e^{Ct} w0 / |e^{Ct} w0| from |w0| = 1.
Assumes slow learning: the rule is averaged over Gaussian inputs, and the noise of the order of the step is not in the flow.
Fails for other nonlinearities, which see more than the covariance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from derive.claims.entry import Entry, MatchesSimulation, Published, Rests, Solves
from derive.spec.laws import Normal
from derive.spec.model import Model
from derive.spec.rules import Rate
from derive.spec.sugar import dot, norm2
from derive.spec.symbols import dims, matrix, scalars, vector

NAME = "saxe_2011_receptive_fields"
REFERENCE = "Saxe, Bhand, Mudur, Suresh, Ng, NeurIPS 2011, Oja's rule as analogue"
d = dims("d")
w, x, C = vector("w", d), vector("x", d), matrix("C", d, d)
y, n = scalars("y n")
tau = scalars("tau", positive=True)


def entry(
    d: int = 5, angle: float = 80.0, tau: float = 1.0, time: float = 10.0, eta: float = 0.01, seeds: int = 20, seed: int = 0,
) -> Entry:  # fmt: skip
    """Variances 1, 1/2, 1/3, ...; the field starts at ``angle`` degrees from the new leading direction."""
    rng = np.random.default_rng(seed)
    V = np.linalg.qr(rng.standard_normal((d, d)))[0]
    begin = np.cos(np.radians(angle)) * V[:, :1] + np.sin(np.radians(angle)) * V[:, -1:]
    run = {"time": time, "eta": eta, "seeds": seeds, "seed": seed}
    return Entry(
        name=NAME, title="Oja's rule after a change of the inputs", reference=REFERENCE, kind="matrix", model=model(),
        values={"d": d, "tau": tau, "C": (V / np.arange(1, d + 1)) @ V.T, "w": begin, **run}, claims=claims(),
        docs=__doc__ or "",
    )  # fmt: skip


def model() -> Model:
    """The rule on one input; variance of the response and squared length of the field are watched."""
    return Model(
        name=NAME,
        state=w,
        given=(C, tau),
        data=Normal(x, cov=C),
        let={y: dot(w, x)},
        learn=Rate({w: (y * x - y**2 * w) / tau}),
        observe={"variance": dot(w, C * w), "length": norm2(w)},
    )


def claims() -> tuple[Any, ...]:
    """Averaged rule, length, solution, and where it ends."""
    power = dot(w, C * w)
    return (
        Published("averaged rule", rate={w: (C * w - power * w) / tau}),
        Published("squared length", where={n: norm2(w)}, rate={n: 2 * power * (1 - n) / tau}),
        Solves("printed solution", {w: printed}, initial={w: sp.Symbol("w0")}),
        Solves("closed form of the engine", {}),
        Rests("leading eigenvector", at={w: leading}, observables={"length": sp.Integer(1)}),
        MatchesSimulation("the rule on samples", observables=("variance",), sizes=(200, 800), seeds=24, time=2.0),
    )


def printed(values: Any) -> Any:
    """By eigenvectors of C."""
    c, V = np.linalg.eigh((values["C"] + values["C"].T) / 2)
    times, begin = np.ravel(values["t"]) / float(values["tau"]), V.T @ values["w0"]
    grown = np.array([V @ (np.exp(c * t)[:, None] * begin) for t in times])
    squares = np.sum(grown**2, axis=(1, 2)) - np.sum(begin**2)
    return grown / np.sqrt(1 + squares)[:, None, None]


def leading(values: Any) -> Any:
    """Eigenvector of the largest eigenvalue."""
    return np.linalg.eigh((values["C"] + values["C"].T) / 2)[1][:, -1:]
