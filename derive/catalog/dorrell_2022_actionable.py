"""Actionable representations: on the sphere, frequencies of a code compete like replicators for its norm.

Reference: W. Dorrell, P. E. Latham, T. E. J. Behrens, J. C. R. Whittington, "Actionable neural representations: grid cells from
minimal constraints", ICLR 2023, arXiv:2209.15563. The dynamics are an analogue, not a reproduction: no non-negativity.

==========  ========  =======================================================  ==================
symbol      shape     meaning                                                  name in the paper
==========  ========  =======================================================  ==================
W           (n, k)    code g(x) = W phi(x), phi = cos and sin of a circle      W
Lap         (k, k)    Laplacian of the separation kernel in the basis phi      -
Lam         (k, k)    Lap if it is diagonal                                    -
p           (k, 1)    squared norms of the columns of W                        -
M           (k, k)    W^T W                                                    -
tau         scalar    time constant                                            -
==========  ========  =======================================================  ==================

Ascent of J = tr(W Lap W^T) / 4 on |W| = 1: W' = W Lap / 2 - <W, W Lap / 2> W, linear up to a common factor. A kernel that
depends on distance along the circle has a diagonal Lap, and then p' = Lam p - (sum of Lam p) p.
Assumes a start on the sphere, where the flow stays; any symmetric Lap for the solution.
Fails to give hexagonal modules, which need the non-negativity of the paper.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from derive.claims.entry import Entry, MatchesSimulation, Published, Solves
from derive.reductions.ansatz import Gram, Manifold
from derive.spec.model import Model
from derive.spec.nodes import grad
from derive.spec.rules import Rate
from derive.spec.sugar import dot, had, norm2
from derive.spec.symbols import dims, matrix, scalars, vector

NAME = "dorrell_2022_actionable"
REFERENCE = "Dorrell, Latham, Behrens, Whittington, arXiv:2209.15563, flow on the sphere as analogue"
n, k = dims("n k")
W, B, Lap, Lam, M = matrix("W", n, k), matrix("B", n, k), matrix("Lap", k, k), matrix("Lam", k, k), matrix("M", k, k)
p, tau, J, size = vector("p", k), scalars("tau", positive=True), *scalars("J size")


def entry(
    n: int = 6, frequencies: int = 3, points: int = 24, width: float = 0.6, tau: float = 1.0, time: float = 30.0, seed: int = 0,
) -> Entry:  # fmt: skip
    """``n`` cells on a circle of ``points`` places; separation counts within ``width`` radians."""
    start = np.random.default_rng(seed).standard_normal((n, 2 * frequencies))
    return Entry(
        name=NAME, title="frequencies of a code compete on the sphere", reference=REFERENCE, kind="matrix", model=model(),
        values={"n": n, "k": 2 * frequencies, "tau": tau, "Lap": laplacian(frequencies, points, width),
                "W": start / np.linalg.norm(start), "time": time, "seed": seed},
        claims=claims(), docs=__doc__ or "",
    )  # fmt: skip


def laplacian(frequencies: int, points: int, width: float) -> Any:
    """Phi (degree - kernel) Phi^T of a kernel of distance on the circle, in orthonormal cosines and sines."""
    x = 2 * np.pi * np.arange(points) / points
    apart = np.abs(x[:, None] - x)
    kernel = np.exp(-(np.minimum(apart, 2 * np.pi - apart) ** 2) / (2 * width**2))
    phi = np.array([f(m * x) for m in range(1, frequencies + 1) for f in (np.cos, np.sin)]) * np.sqrt(2 / points)
    return phi @ (np.diag(kernel.sum(axis=1)) - kernel) @ phi.T


def model() -> Model:
    """Ascent of J, projected onto the sphere."""
    up = grad(J, W)
    return Model(
        name=NAME,
        state=W,
        given=(Lap, tau),
        let={J: sp.Trace(W * Lap * W.T) / 4},
        learn=Rate({W: (up - dot(W, up) * W) / tau}),
        facts=sp.Eq(Lap, Lap.T),
        observe={"J": J, "norm": norm2(W)},
    )


def claims() -> tuple[Any, ...]:
    """Flow on the sphere, its solution, and the competition of frequencies."""
    gain = sp.Trace(W * Lap * W.T) / 2
    diagonal = Manifold({W: B}, coordinates=(B,), data={Lap: Lam}, tags={Lam: "diag"})
    ones = sp.OneMatrix(n, 1)
    return (
        Published("projected ascent", rate={W: (W * Lap / 2 - gain * W) / tau}),
        Published("the sphere is invariant", where={size: norm2(W)}, rate={size: 2 * gain * (1 - size) / tau}),
        Published(
            "frequencies compete",
            where={p: had(B, B).T * ones},
            rate={p: (Lam * p - sp.Trace(sp.OneMatrix(1, k) * Lam * p) * p) / tau},
            on=diagonal,
        ),
        Published("Gram matrix", rate={M: ((M * Lap + Lap * M) / 2 - sp.Trace(M * Lap) * M) / tau}, on=Gram()),
        Solves("printed solution", {W: printed}, initial={W: sp.Symbol("W0")}),
        Solves("closed form of the engine", {}),
        Solves("closed form of the engine for the Gram matrix", {}, ansatz=Gram()),
        MatchesSimulation("Euler steps", observables=("J",), seeds=2, time=1.0),
    )


def printed(values: Any) -> Any:
    """W0 e^{Lap t/2} over its norm, from |W0| = 1; from other starts 1 - |W0|^2 is added under the root."""
    lap, V = np.linalg.eigh((values["Lap"] + values["Lap"].T) / 2)
    times, begin = np.ravel(values["t"]) / float(values["tau"]), values["W0"] @ V
    grown = np.array([begin * np.exp(lap * t / 2) @ V.T for t in times])
    return grown / np.sqrt(1 - np.sum(begin**2) + np.sum(grown**2, axis=(1, 2)))[:, None, None]
