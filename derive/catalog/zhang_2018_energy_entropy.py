"""SGD on linear regression: the exact recursion of its second moments, and the isotropic noise that favours flat directions.

Reference: Y. Zhang, A. M. Saxe, M. S. Advani, A. A. Lee, "Energy-entropy competition and the effectiveness of stochastic
gradient descent in machine learning", Molecular Physics 116 (2018).

===========  =============  ====================================================  ==================
symbol       shape          meaning                                               name in the paper
===========  =============  ====================================================  ==================
w, ws        (d, 1)         weights, and those that made the targets              w, w*
H            (d, d)         covariance of the inputs, Hessian of the loss         H
sigma        scalar         standard deviation of the label noise                 sigma
eta, B       scalars        step, items per step                                  eta, B
m_w          (d, 1)         E[w - ws]                                             -
X_w          (d, d)         E[(w - ws)(w - ws)^T]                                 covariance at rest
tau          scalar         tr(H X_w), twice the excess loss                      -
===========  =============  ====================================================  ==================

At rest X_w is diagonal with H. With S = (eta/B) sum_k h_k / (2 - eta (1 + 1/B) h_k), tau = sigma^2 S / (1 - S) and

    x_k = eta (tau + sigma^2) / (B [2 - eta (1 + 1/B) h_k]),        to leading order eta sigma^2 / (2 B)  for every h_k:

noise in proportion to the Hessian leaves an isotropic cloud, no Boltzmann law, so that the volume of flat directions (entropy)
counts against their loss (energy). Assumes Gaussian inputs and noise, drawn afresh; exact at every step size, batch and d.
Fails (diverges) for S >= 1. The fourth moments, H X H / B and H tr(H X) / B, are a fifth of the cloud at practical steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from derive.claims.entry import Entry, MatchesSimulation, Published, Rests
from derive.errors import InvalidSpec
from derive.spec.laws import Normal
from derive.spec.model import Model
from derive.spec.nodes import grad, mean
from derive.spec.rules import Update
from derive.spec.sugar import dot
from derive.spec.symbols import dims, matrix, scalars, vector

d, B = dims("d B")
w, ws, x = vector("w", d), vector("ws", d), vector("x", d)
H, X, m = matrix("H", d, d), matrix("X_w", d, d), vector("m_w", d)
zeta, loss = scalars("zeta loss")
eta, sigma = scalars("eta sigma", positive=True)


def entry(
    d: int = 6, low: float = 0.3, high: float = 2.0, eta: float = 0.08, sigma: float = 0.5, B: int = 2,
    seeds: int = 400, time: float = 240, seed: int = 0,
) -> Entry:  # fmt: skip
    """``low`` and ``high`` are the ends of an equidistant spectrum of H; ``time`` counts the steps of a run, ``seeds`` runs."""
    if not 0 < low <= high:
        raise InvalidSpec(f"low={low:g}, high={high:g}: the ends of the spectrum of H; give 0 < low <= high")
    h = np.linspace(low, high, d)
    if not coupling(h, eta, B) < 1:
        raise InvalidSpec(f"eta={eta:g}, B={B}: S = {coupling(h, eta, B):.3g} is not below 1, so SGD diverges; lower eta")
    sizes = {"d": d, "B": B, "H": np.diag(h), "eta": eta, "sigma": sigma, "ws": np.ones((d, 1)), "w": np.full((d, 1), 0.85)}
    return Entry(
        name="zhang_2018_energy_entropy",
        title="stationary noise of SGD on linear regression",
        reference="Zhang, Saxe, Advani, Lee, Molecular Physics 2018",
        kind="recursion",
        model=model(),
        values={**sizes, "seeds": seeds, "time": time, "seed": seed},
        claims=claims(seeds),
        docs=__doc__ or "",
    )


def model() -> Model:
    """One step of SGD on a batch of fresh items."""
    return Model(
        name="sgd_on_linear_regression",
        state=w,
        given=(ws, H, eta, sigma, B),
        data=(Normal(x, cov=H), Normal(zeta)),
        let={loss: (dot(w - ws, x) - sigma * zeta) ** 2 / 2},
        learn=Update({w: w - eta * grad(loss, w)}, batch=B),
        observe={"loss": mean(loss)},
    )


def claims(seeds: int) -> tuple[Any, ...]:
    """One step, the state at rest, simulation."""
    step = X - eta * (H * X + X * H) + eta**2 * ((1 + 1 / B) * H * X * H + (sp.Trace(H * X) + sigma**2) * H / B)
    return (
        Published("second moments after one step", rate={X: step, m: m - eta * H * m}),
        Rests(
            "stationary covariance", at={X: covariance, m: lambda v: np.zeros((len(v["H"]), 1))}, observables={"loss": excess}
        ),
        MatchesSimulation("SGD", seeds=seeds, time=1000),
    )


def coupling(h: Any, eta: Any, B: Any) -> float:
    """S, what a unit of tau gives back."""
    return float(eta / B * np.sum(h / (2 - eta * (1 + 1 / B) * h)))


def covariance(v: Any) -> Any:
    """The printed covariance at rest, in the eigenbasis of H."""
    h, U = np.linalg.eigh(np.asarray(v["H"]))
    return (U * (2 * excess(v) * v["eta"] / (v["B"] * (2 - v["eta"] * (1 + 1 / v["B"]) * h)))) @ U.T


def excess(v: Any) -> float:
    """Loss at rest, (tau + sigma^2) / 2 = sigma^2 / (2 (1 - S))."""
    S = coupling(np.linalg.eigvalsh(np.asarray(v["H"])), v["eta"], v["B"])
    return float(v["sigma"]) ** 2 / (2 * (1 - S))
