"""Context-dependent decisions in a two-layer ReLU network: in the lazy limit its outputs follow a frozen kernel.

Reference: T. Flesch, K. Juechems, T. Dumbalska, A. Saxe, C. Summerfield, "Orthogonal representations for robust
context-dependent task performance in brains and neural networks", Neuron 110 (2022) 1258.

==============  ============  ==================================================  ==================
symbol          shape         meaning                                             name in the paper
==============  ============  ==================================================  ==================
W1              (h, 4)        first layer                                         W_in
W2              (1, h)        second layer                                        W_out
x_data, y_data  (4, P) (1, P) stimuli with their context, and targets             x, y
f               (1, P)        outputs on all stimuli                              y hat
n               number        of stimuli (here P)
K               (P, P)        neural tangent kernel at the start
epsilon         number        1 / scale^2 of the starting weights
tau             number        time constant                                       1 / learning rate
==============  ============  ==================================================  ==================

A stimulus is a point of a grid in the plane with a unit for each of two contexts; the target is its first coordinate in the
first context and the second one in the other. Starts are symmetric, W1 = s (V; V) and W2 = s (b, -b), so outputs start at 0.
For large s the weights hardly move, f' = -K (f - y)/n and f(t) = (1 - e^{-K t/n}) y. The deviation vanishes like 1/s^2 or
faster; a rectifier that is switched at a stimulus on the way adds of order 1/h, and ever fewer are.
Assumes gradient flow on all stimuli; for the kernel equation large starting weights at moderate width.
Fails, for the kernel equation, in the rich regime of small weights, where representations of the contexts become orthogonal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from derive import fn
from derive.claims.entry import Approaches, Entry, MatchesSimulation, Published, Solves
from derive.errors import InvalidSpec
from derive.flows.lazy_limit import linearise
from derive.spec.laws import Moments
from derive.spec.model import Model
from derive.spec.nodes import grad, mean
from derive.spec.rules import Rate
from derive.spec.sugar import had, norm2
from derive.spec.symbols import dims, matrix, scalars, vector

NAME, REFERENCE = "flesch_2022_context", "Flesch, Juechems, Dumbalska, Saxe, Summerfield, Neuron 2022"
D, h, P = dims("D h P")
tau = scalars("tau", positive=True)
W1, W2, f = matrix("W1", h, D), matrix("W2", 1, h), vector("f", 1)
Sx, Syx, Syy = matrix("Sx", D, D), matrix("Syx", 1, D), matrix("Syy", 1, 1)


def entry(
    h: int = 40, grid: int = 5, scale: float = 10.0, tau: float = 1.0, eta: float = 5e-4, batch: int = 10, seeds: int = 8,
    time: float = 0.2, seed: int = 0,
) -> Entry:  # fmt: skip
    """``grid`` x ``grid`` stimuli in two contexts; ``scale`` of the starting weights, large is lazy."""
    if h < 2 or h % 2 or grid < 2 or scale <= 0:
        raise InvalidSpec(f"h={h}, grid={grid}, scale={scale}: take an even number of hidden units, a grid >= 2, a scale > 0")
    x, y = stimuli(grid)
    start = {"W1": first(h, seed, scale), "W2": second(h, seed, scale)}
    return Entry(
        name=NAME, title="two contexts, lazy or rich", reference=REFERENCE, kind="matrix", model=model().bind(x=x, y=y),
        values={"D": 4, "h": h, "tau": tau, "scale": scale, "eta": eta, "batch": batch, "seeds": seeds, "time": time,
                "seed": seed, **start},
        claims=claims(h, tau, seed), docs=__doc__ or "",
    )  # fmt: skip


def stimuli(grid: int) -> tuple[Any, Any]:
    """Stimuli in rows, and targets."""
    line = np.linspace(-1.0, 1.0, grid)
    points = np.array([(u, v) for u in line for v in line])
    both = [np.hstack([points, np.tile(context, (len(points), 1))]) for context in ((1.0, 0.0), (0.0, 1.0))]
    return np.concatenate(both), np.concatenate([points[:, :1], points[:, 1:]])


def first(h: int, seed: int, scale: float) -> Any:
    """First layer at the start: two equal halves."""
    half = np.random.default_rng([seed, 1]).standard_normal((h // 2, 4)) / 2
    return scale * np.concatenate([half, half])


def second(h: int, seed: int, scale: float) -> Any:
    """Second layer at the start: two opposite halves."""
    half = np.random.default_rng([seed, 2]).standard_normal((1, h // 2)) * np.sqrt(2 / h)
    return scale * np.concatenate([half, -half], axis=1)


def model() -> Model:
    """Squared error of one output."""
    x, y, L = vector("x", D), vector("y", 1), scalars("L")
    return Model(
        name=NAME, state=(W1, W2), given=(tau,), data=Moments((x, y), {x * x.T: Sx, y * x.T: Syx, y * y.T: Syy}),
        let={f: W2 * fn.relu(W1 * x), L: norm2(y - f) / 2}, learn=Rate({w: -grad(L, w) / tau for w in (W1, W2)}),
        observe={"loss": mean(L)},
    )  # fmt: skip


def claims(h: int, unit: float, seed: int) -> tuple[Any, ...]:
    """Flow of the network, the kernel equation and its solution, and how the flow tends to it."""
    X, Y, F = matrix("x_data", D, P), matrix("y_data", 1, P), matrix("f", 1, P)
    error, gates, hidden = Y - W2 * fn.relu(W1 * X), fn.step(W1 * X), fn.relu(W1 * X)
    full = {W1: had(W2.T * error, gates) * X.T / P / tau, W2: error * hidden.T / P / tau}
    across = W2.T * sp.OneMatrix(1, P)
    K = hidden.T * hidden + had(gates.T * had(across, gates, across), X.T * X)

    def lazy(flow: Any) -> Any:
        return linearise(flow, f)

    return (
        Published("both layers", rate=full, states=100),
        Published("frozen kernel", rate={F: (Y - F) * K / P / tau}, on=lazy, states=100),
        Solves("outputs in the eigenbasis of the kernel", {}, ansatz=lazy),
        Approaches(
            "lazy limit", on=lazy, small="epsilon", time=lambda eps: 20 * eps * unit,
            start={W1: lambda eps: first(h, seed, eps**-0.5), W2: lambda eps: second(h, seed, eps**-0.5)},
        ),
        MatchesSimulation("gradient descent", observables=("loss",), sizes=(100, 200, 400), seeds=20, time=1.0),
    )  # fmt: skip
