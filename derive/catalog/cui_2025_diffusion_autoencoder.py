r"""Flow-based generative model with a denoising auto-encoder, trained online: what its weights learn of the centre of the data.

Reference: H. Cui, C. Pehlevan, Y. M. Lu, "A precise asymptotic analysis of learning diffusion models: theory and insights",
arXiv:2501.03937, 2025. Its setting; scaling and letters are chosen here, and generation (running the learned flow) is left out.

========  ========  =======================================================  ==================
symbol    shape     meaning                                                  name in the paper
========  ========  =======================================================  ==================
w         (N,)      weights of the hidden unit                               w
c         scalar    skip connection                                          c
mu        (N,)      centre: x1 = s mu/sqrt N + sigma z, s = +-1              mu
a, b      scalars   xt = a x1 + b x0: weights of data and noise              -
sigma     scalar    spread of the data around the centres                    sigma
eta       scalar    learning rate of w                                       -
eta_c     scalar    learning rate of c                                       -
Q, R, T             overlaps w.w/N, w.mu/N, mu.mu/N                          -
mse       scalar    |x1 - f(xt)|^2/(2N), to leading order                    -
========  ========  =======================================================  ==================

f(x) = c x + w g(w.x/sqrt N)/sqrt N with g = tanh. The skip connection learns by itself, c(t) = c* (1 - exp(-eta_c B t)).
Assumes each sample is seen once, at one fixed time t of the interpolation; N -> oo; time alpha = steps / N.
Fails for overlaps that start at order 1/sqrt(N): runs then leave the saddle R = 0 at random times.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from derive.claims.entry import Entry, MatchesSimulation, Published, Solves
from derive.library.autoencoder import denoising_autoencoder


def entry(
    N: int = 400, eta: float = 0.3, eta_c: float = 0.5, sigma: float = 0.5, a: float = 0.8, b: float = 0.6, T: float = 4.0,
    Q: float = 1.0, R: float = 1.0, c: float = 0.0, time: float = 20.0, seeds: int = 6, seed: int = 0,
) -> Entry:  # fmt: skip
    """``T`` is the squared length of the centre; ``Q``, ``R`` and ``c`` are the start; ``time`` in units of steps / N."""
    start = {"Q": Q, "R": R, "c": c}
    return Entry(
        name="cui_2025_diffusion_autoencoder",
        title="denoising auto-encoder with a skip connection, one-pass SGD",
        reference="Cui, Pehlevan, Lu, arXiv:2501.03937",
        kind="online",
        model=denoising_autoencoder(name="cui_2025_diffusion_autoencoder"),
        values={
            "N": N, "eta": eta, "eta_c": eta_c, "sigma": sigma, "a": a, "b": b, "T": T, **start,
            "time": time, "seeds": seeds, "seed": seed,
        },
        claims=(
            skip_rate(),
            skip_course(),
            Published("overlap with the centre and norm", rate={"R": overlap, "Q": norm}),
            MatchesSimulation("one-pass SGD", observables=("R", "Q", "c"), sizes=(100, 200, 400), seeds=20, time=2.0),
        ),
        docs=__doc__ or "",
    )  # fmt: skip


def traces(sigma: Any, a: Any, b: Any, c: Any) -> tuple[Any, Any, Any]:
    """|r|^2 / N, |xt|^2 / N and r . xt / N for the residual r = x1 - f(xt), far from the few directions that are learned."""
    return sigma**2 * (1 - c * a) ** 2 + c**2 * b**2, a**2 * sigma**2 + b**2, a * sigma**2 * (1 - c * a) - c * b**2


def skip_rate() -> Published:
    """dc/dalpha = eta_c r.xt/N."""
    c, eta_c, sigma, a, b = sp.symbols("c eta_c sigma a b")
    return Published("skip connection", rate={c: eta_c * traces(sigma, a, b, c)[2]})


def skip_course() -> Solves:
    """Exponential approach to the best linear denoiser of isotropic noise."""
    t, eta_c, sigma, a, b = sp.symbols("t eta_c sigma a b")
    B = traces(sigma, a, b, 0)[1]
    return Solves("course of the skip connection", {"c": a * sigma**2 / B * (1 - sp.exp(-eta_c * B * t))}, initial={"c": 0})


def overlap(values: Any) -> Any:
    """< g (x1.mu - c xt.mu - R g) + g' rho xt.mu >, times eta."""
    g, slope, h1, h0, x1, x0, weight = fields(values)
    R, Q, a, b, c = (float(values[n]) for n in ("R", "Q", "a", "b", "c"))
    xt, h = a * x1 + b * x0, a * h1 + b * h0
    return values["eta"] * np.sum(weight * (g * (x1 - c * xt - R * g) + slope * (h1 - c * h - Q * g) * xt))


def norm(values: Any) -> Any:
    """2 eta < g rho + g' rho h > + eta^2 < g^2 A + g'^2 rho^2 B + 2 g g' rho D >, rho = w.r / sqrt N."""
    g, slope, h1, h0, _, _, weight = fields(values)
    Q, a, b, c, eta = (float(values[n]) for n in ("Q", "a", "b", "c", "eta"))
    h = a * h1 + b * h0
    rho = h1 - c * h - Q * g
    A, B, D = traces(float(values["sigma"]), a, b, c)
    square = g**2 * A + slope**2 * rho**2 * B + 2 * g * slope * rho * D
    return np.sum(weight * (2 * eta * (g * rho + slope * rho * h) + eta**2 * square))


def fields(values: Any) -> tuple[Any, ...]:
    """g, g', w.x1, w.x0, x1.mu, x0.mu at nodes of two standard normal numbers in the cluster s = +1, and the weights.

    s = -1 turns the signs of all fields, and every average that is asked for is even. The fields with mu stand for their means
    given those with w, since they enter linearly.
    """
    R, Q, T, sigma, a, b = (float(values[n]) for n in ("R", "Q", "T", "sigma", "a", "b"))
    z = np.arange(-8.5, 8.5, 0.1)  # the trapezoidal rule is exact here but for exp(-2 pi^2/0.1^2), and for the poles of tanh
    w = np.exp(-(z**2) / 2) * 0.1 / np.sqrt(2 * np.pi)
    y1, y0 = np.meshgrid(z, z, indexing="ij")
    h1, h0 = R + sigma * np.sqrt(Q) * y1, np.sqrt(Q) * y0
    g = np.tanh(a * h1 + b * h0)
    return g, 1 - g**2, h1, h0, T + sigma * R * y1 / np.sqrt(Q), R * y0 / np.sqrt(Q), np.outer(w, w)
