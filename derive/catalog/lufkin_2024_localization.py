"""One ReLU neuron that tells two kinds of correlated inputs apart: its weights become localised unless inputs are Gaussian.

Reference: L. Lufkin, A. M. Saxe, E. Grant, "Nonlinear dynamics of localization in neural receptive fields", NeurIPS 2024.

==============  ==================  ==================================================  ==================
symbol          shape               meaning                                             name in the paper
==============  ==================  ==================================================  ==================
w               (n, 1)              weights of the neuron                               w
x_data, y_data  (n, P), (P, 1)      items, with each one its mirror image; labels       x, y
Sx              (n, n)              covariance of all inputs                            Sigma
S1, S0          (n, n)              covariances of inputs with label 1 and 0            Sigma_1, Sigma_0
p               number              fraction of inputs with label 1                     p_1
a               (n, 1)              S1 w / sqrt(w^T S1 w)                               a
ipr             number              sum w^4 / (sum w^2)^2: 1/n spread out, 1 localised  IPR
==============  ==================  ==================================================  ==================

Inputs live on a ring; x = erf(gamma z)/Z entry by entry for Gaussian z, so that large gamma gives entries near -1 and 1. On
symmetric data w' = E[y sgn(w.x) x]/2 - Sx w/2, exactly (inputs="items"). For Gaussian inputs the average is
p sqrt(2/pi) a (inputs="gaussian"), for other marginals p phi(a) with phi(a) = E_x[x erf(x a / sqrt(2 (1 - a^2)))], by a
conditional central limit (inputs="binary": entries -1 and 1; inputs="process": entries erf(gamma z)/Z).
Assumes a law that is symmetric in x; large n for phi.
Fails, for phi, at finite n: it predicts localisation, but too little of it; and for marginals that are not symmetric. As w and
-w are alike, the noise of SGD decides which of them it ends near; at small gamma waves on the ring compete, and large batches
are needed to see the flow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from derive import fn
from derive.catalog.claims_of_localization import saturated
from derive.claims.entry import Entry, MatchesSimulation, Published
from derive.errors import InvalidSpec
from derive.library.rings import ring, root
from derive.spec.laws import Choice, Law, Marginal, Moments, Normal
from derive.spec.model import Model
from derive.spec.nodes import grad, mean
from derive.spec.rules import Rate
from derive.spec.sugar import dot, had, norm2, total
from derive.spec.symbols import activation, dims, matrix, scalars, vector

NAME, REFERENCE = "lufkin_2024_localization", "Lufkin, Saxe, Grant, NeurIPS 2024"
n, P = dims("n P")
w, x, y, L = vector("w", n), vector("x", n), *scalars("y L")
S1, S0, Sx = (matrix(name, n, n) for name in ("S1", "S0", "Sx"))
p, Z, gamma = scalars("p Z gamma", positive=True)


def entry(
    inputs: str = "items", n: int = 20, gamma: float = 3.0, xi1: float = 0.1, xi0: float = 0.03, p: float = 0.5,
    items: int = 100, scale: float = 0.2, eta: float = 0.004, batch: int = 20, seeds: int = 10, time: float = 8.0,
    seed: int = 0,
) -> Entry:  # fmt: skip
    """``xi1``, ``xi0``: correlation lengths on a ring of length 1; ``items`` of both labels, before mirroring."""
    if inputs not in ("items", "gaussian", "binary", "process"):
        raise InvalidSpec(f"inputs={inputs!r}: write 'items', 'gaussian', 'binary' or 'process'")
    rng = np.random.default_rng(seed)
    ones = round(p * items)
    norm = np.sqrt(2 / np.pi * np.arcsin(2 * gamma**2 / (1 + 2 * gamma**2)))
    rings = [ring(n, xi) for xi in (xi1, xi0)]
    made = model(inputs)
    values = {"n": n, "p": p, "gamma": gamma, "Z": float(norm), "S1": rings[0], "S0": rings[1]}
    if inputs == "process":
        values |= {k: 2 / np.pi * np.arcsin(2 * gamma**2 * values[k] / (1 + 2 * gamma**2)) / norm**2 for k in ("S1", "S0")}
    if inputs == "items":
        from scipy.special import erf

        z = [rng.standard_normal((m, n)) @ root(K).T for m, K in zip((ones, items - ones), rings, strict=True)]
        data = erf(gamma * np.concatenate(z)) / norm
        made = made.bind(x=np.concatenate([data, -data]), y=np.tile((np.arange(items) < ones).astype(float), 2))
    run = {"scale": scale, "eta": eta, "batch": batch, "seeds": seeds, "time": time, "seed": seed}
    return Entry(
        name=NAME, title=f"localisation on a ring, inputs: {inputs}", reference=REFERENCE, kind="matrix", model=made,
        values={**values, **run}, claims=claims(inputs), docs=__doc__ or "",
    )  # fmt: skip


def laws(inputs: str) -> tuple[Law, ...]:
    """What is stated about inputs and labels."""
    if inputs == "items":
        return (Moments((x, y), {x * x.T: Sx}, odd=(x,), even=(y,)),)
    cov = y * S1 + (1 - y) * S0
    given: dict[str, Law] = {
        "gaussian": Normal(x, cov=cov),
        "binary": Marginal(x, values=(-1, 1), cov=cov),
        "process": Marginal(x, transform=activation("saturating", lambda v: sp.erf(gamma * v) / Z), cov=cov),
    }
    return Choice(y, (0, 1), (1 - p, p)), given[inputs]


def model(inputs: str = "items") -> Model:
    """Squared error of one rectified neuron."""
    given: tuple[Any, ...] = () if inputs == "items" else (S1, S0, p, *((gamma, Z) if inputs == "process" else ()))
    return Model(
        name=NAME, state=w, given=given, data=laws(inputs), let={L: (y - fn.relu(dot(w, x))) ** 2 / 2},
        learn=Rate({w: -grad(L, w)}), observe={"loss": mean(L), "ipr": total(had(w, w, w, w)) / norm2(w) ** 2},
    )  # fmt: skip


def claims(inputs: str) -> tuple[Any, ...]:
    """The flow, with its average of signs for each kind of inputs."""
    X, Y, a = matrix("x_data", n, P), matrix("y_data", P, 1), S1 * w / sp.sqrt(dot(w, S1 * w))
    phi = activation("phi", lambda v: sp.erf(v / sp.sqrt(2 * (1 - v**2))))
    pull = {"items": X * had(Y, fn.sgn(X.T * w)) / P, "gaussian": p * sp.sqrt(2 / sp.pi) * a, "binary": p * phi(a)}
    decay = X * X.T / P if inputs == "items" else p * S1 + (1 - p) * S0
    if inputs == "process":
        return (saturated(w),)
    found = Published("flow of the weights", rate={w: pull[inputs] / 2 - decay * w / 2}, states=100)
    simulated = MatchesSimulation("gradient descent and SGD", observables=("loss",), sizes=(100, 200, 400), seeds=20, time=1.0)
    return (found, *((simulated,) if inputs in ("items", "gaussian") else ()))
