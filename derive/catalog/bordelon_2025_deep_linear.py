"""Two-layer linear network of infinite width in mean-field scaling: kernels that move, and a closed form for its output.

Reference: B. Bordelon, C. Pehlevan, "Deep linear network training dynamics from random initialization: data, width, depth, and
hyperparameter transfer", ICML 2025 (one hidden layer, white inputs).

=============  ===============  ==================================================  ==================
symbol         shape            meaning                                             name in the paper
=============  ===============  ==================================================  ==================
W, a           (N, D), (N, 1)   layers, entries of variance 1 at the start          W^0, w^1
gamma          scalar           richness: large if the output starts small          gamma_0
beta           (D, 1)           linear map  W'a / (gamma N), learns betastar        beta
H, q           (D, D), scalar   kernels  W'W / N  and  a.a / N                      H, G
b, h, bs       scalars          beta and q along the teacher, and its length        -
=============  ===============  ==================================================  ==================

The equations of beta, H, q close at every width; an infinite one starts at beta = 0, H = I, q = 1. Then H = I + (h - 1) e e'
with the teacher's direction e, h^2 - gamma^2 b^2 stays at 1, and b' = 2 sqrt(1 + gamma^2 b^2) (bs - b); inputs are white.
Assumes learning rates gamma^2 N on the raw gradient. Fails at finite width by fluctuations of order 1/sqrt(N) of the start.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

import derive
from derive.claims.entry import Concentrates, Conserved, Entry, MatchesSimulation, Published
from derive.reductions.ansatz import Manifold
from derive.spec.laws import Moments
from derive.spec.model import Model
from derive.spec.nodes import grad, mean
from derive.spec.rules import Rate
from derive.spec.sugar import dot, norm2
from derive.spec.symbols import dims, matrix, scalars, vector

NAME, REFERENCE = "bordelon_2025_deep_linear", "Bordelon, Pehlevan, ICML 2025"
N, D = dims("N D")
W, a, x, betastar, Sx = matrix("W", N, D), vector("a", N), vector("x", D), vector("betastar", D), matrix("Sx", D, D)
beta, H, e, gamma = vector("beta", D), matrix("H", D, D), vector("e", D), scalars("gamma", positive=True)
q, b, h, bs, f, L = scalars("q b h bs f L")
TEACHER = Manifold(
    {beta: b * e, H: sp.Identity(D) + (h - 1) * e * e.T, q: h}, coordinates=(b, h),
    data={betastar: bs * e, Sx: sp.Identity(D)}, tags={e: "orth"},
)  # fmt: skip


def entry(N: int = 40, D: int = 3, gamma: float = 2.0, time: float = 1.2, seeds: int = 24, seed: int = 0) -> Entry:
    """``gamma`` small is lazy (rate 2), large is rich; ``N`` is the width of the network that is simulated."""
    run = {"time": time, "eta": 0.002, "batch": 4, "seeds": seeds, "seed": seed}
    return Entry(
        name=NAME, title=f"wide two-layer linear network, gamma = {gamma:g}", reference=REFERENCE, kind="matrix",
        model=model().bind(x=np.sqrt(D) * np.eye(D)), claims=claims(D, seeds), docs=__doc__ or "",
        values={"N": N, "D": D, "gamma": gamma, "bs": 1.0, **run, **draw(N, np.random.default_rng(seed), D)},
    )  # fmt: skip


def model() -> Model:
    """Squared error of a linear teacher, in mean-field scaling."""
    return Model(
        name=NAME, state=(W, a), given=(betastar, gamma), data=Moments((x,), {x * x.T: Sx}),
        let={f: dot(a, W * x) / (gamma * N), L: (dot(betastar, x) - f) ** 2 / 2},
        learn=Rate({state: -(gamma**2) * N * grad(L, state) for state in (W, a)}),
        observe={"loss": mean(L), "overlap": dot(betastar, W.T * a) / (gamma * N)},
    )  # fmt: skip


def draw(size: int, rng: np.random.Generator, D: int) -> dict[str, Any]:
    """A start whose output is zero (every neuron has a twin with the opposite readout), and a teacher of length 1."""
    W, a, y = (rng.standard_normal(shape) for shape in ((size // 2, D), (size // 2, 1), (D, 1)))
    return {"W": np.vstack([W, W]), "a": np.vstack([a, -a]), "betastar": y / np.linalg.norm(y)}


def kernels(flow: Any) -> Any:
    """The closed system of the map and both kernels."""
    return derive.complete(flow, {"beta": W.T * a / (gamma * N), "H": W.T * W / N, "q": norm2(a) / N})


def along_teacher(flow: Any) -> Any:
    """The map along the teacher, the kernel eliminated by what is conserved."""
    two = derive.reduce(kernels(flow), TEACHER)
    return derive.eliminate(two, -derive.conserved(two.system)[0].expr, h)


def derived(flow: Any, values: Any) -> dict[str, Any]:
    """Closed form of the map along the teacher."""
    form = derive.closed_form(along_teacher(flow))
    found = form.evaluate(values["t"], {"b": 0.0}, {**values, "c0": 1.0})["b"]
    return {"overlap": found, "loss": (1 - found) ** 2 / 2}


def printed(values: Any) -> Any:
    """b(t) from the printed t(b), by bisection."""
    g, S = values["gamma"], np.sqrt(1 + values["gamma"] ** 2)
    low, high = np.zeros(np.shape(values["t"])), np.ones(np.shape(values["t"]))
    for _ in range(60):
        b = (low + high) / 2
        time = np.log((1 + g**2 * b + S * np.sqrt(1 + g**2 * b**2)) / np.maximum(1 - b, 1e-300) / (1 + S)) / (2 * S)
        low, high = np.where(time < values["t"], b, low), np.where(time < values["t"], high, b)
    return (low + high) / 2


def claims(D: int, seeds: int) -> tuple[Any, ...]:
    """Closure, its restriction to the teacher, what is conserved, and a wide network."""
    error = Sx * (betastar - beta)
    closure = {beta: H * error + q * error, H: gamma**2 * (beta * error.T + error * beta.T), q: 2 * gamma**2 * dot(beta, error)}
    curves = {"overlap": printed, "loss": lambda values: (1 - printed(values)) ** 2 / 2}
    return (
        Published("map and kernels", rate=closure, on=kernels),
        Published("along the teacher", rate={b: 2 * h * (bs - b), h: 2 * gamma**2 * b * (bs - b)}, on=(kernels, TEACHER)),
        Conserved("kernel and map", h**2 - gamma**2 * b**2, on=(kernels, TEACHER)),
        Published("one equation", rate={b: 2 * sp.sqrt(scalars("c0") + gamma**2 * b**2) * (bs - b)}, on=along_teacher),
        Concentrates(
            "wide networks", theory=curves, draw=lambda size, rng: draw(size, rng, D), derived=derived,
            times=(0.25, 0.5, 0.75), step=0.025, sizes=(30, 200, 1200), seeds=seeds,
        ),
        MatchesSimulation("gradient descent and SGD", observables=("loss",), sizes=(1000, 8000), time=0.1),
    )  # fmt: skip
