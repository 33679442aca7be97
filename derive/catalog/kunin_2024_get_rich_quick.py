"""One linear neuron with two learning rates: an unbalanced start decides between lazy and rich learning.

Reference: D. Kunin, A. Raventos, C. Domine, F. Chen, D. Klindt, A. Saxe, S. Ganguli, "Get rich quick: exact solutions reveal
how unbalanced initializations promote rapid feature learning", NeurIPS 2024.

===============  ========  ==================================================  ==================
symbol           shape     meaning                                             name in the paper
===============  ========  ==================================================  ==================
a                scalar    second weight                                       a
w                (d, 1)    first weights                                       w
betastar         (d, 1)    solution of least squares, X^T y                    beta_*
eta_a, eta_w     scalars   learning rates of both layers                       eta_a, eta_w
beta             (d, 1)    a w, the function of the network                    beta
delta            scalar    eta_w a^2 - eta_a |w|^2                             delta
omega, nu        (d, 1)    w / a, and its projection on betastar               zeta, mu
===============  ========  ==================================================  ==================

The loss |betastar - a w|^2 / 2 is that of whitened data, X^T X = I, up to a constant. In function space
beta' = -M (beta - betastar), M = (kappa + delta)/2 I + (kappa - delta)/2 beta beta^T / |beta|^2,
kappa = sqrt(delta^2 + 4 eta_a eta_w |beta|^2): delta -> oo is lazy, delta = 0 rich, delta -> -oo first freezes the direction.
Assumes gradient flow on whitened data; no assumption on the start.
Fails, in the variable omega, where a crosses zero; a, w and beta stay regular there.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.claims.entry import Conserved, Entry, MatchesSimulation, Published, Solves
from derive.completion.closure import complete
from derive.errors import InvalidSpec
from derive.flows.change_of_variables import change_variables
from derive.flows.elimination import eliminate
from derive.spec.model import Model
from derive.spec.nodes import grad
from derive.spec.rules import Rate
from derive.spec.sugar import dot, norm2
from derive.spec.symbols import dims, scalars, t, vector

NAME = "kunin_2024_get_rich_quick"
REFERENCE = "Kunin, Raventos, Domine, Chen, Klindt, Saxe, Ganguli, NeurIPS 2024"
D = dims("d")
a, w, betastar = scalars("a"), vector("w", D), vector("betastar", D)
eta_a, eta_w = scalars("eta_a eta_w", positive=True)
nu, nu0 = scalars("nu nu0")


def entry(
    d: int = 3, eta_a: float = 1.0, eta_w: float = 1.0, strength: float = 1.5, scale: float = 0.5, time: float = 4.0,
    seed: int = 0,
) -> Entry:  # fmt: skip
    """``d`` inputs; least squares has length ``strength``; a start of order ``scale``."""
    if d < 1:
        raise InvalidSpec(f"d={d}: give at least one input")
    target = [[strength * (-1) ** i / d**0.5] for i in range(d)]
    return Entry(
        name=NAME, title="one linear neuron, unbalanced start", reference=REFERENCE, kind="matrix", model=model(),
        values={"d": d, "eta_a": eta_a, "eta_w": eta_w, "betastar": target, "scale": scale, "time": time, "seed": seed},
        claims=claims(time),
        docs=__doc__ or "",
    )  # fmt: skip


def model() -> Model:
    """Both layers follow one loss, each with its rate."""
    L = scalars("L")
    return Model(
        name=NAME, state=(a, w), given=(betastar, eta_a, eta_w),
        let={L: norm2(betastar - a * w) / 2},
        learn=Rate({a: -eta_a * grad(L, a), w: -eta_w * grad(L, w)}),
        observe={"loss": L},
    )  # fmt: skip


def claims(time: float) -> tuple[Any, ...]:
    """Flow of both layers, its form in function space, and the Riccati equation of the ratio of the layers."""
    beta, omega, phi, (delta, eps) = vector("beta", D), vector("omega", D), vector("phi", D), scalars("delta eps")
    imbalance = eta_w * a**2 - eta_a * norm2(w)
    kappa = sp.sqrt(delta**2 + 4 * eta_a * eta_w * norm2(beta))
    gap = betastar - beta
    along, projected = (kappa - delta) / 2 * dot(beta, gap) / norm2(beta), dot(beta, gap) / norm2(beta) * beta
    space: dict[str, Any] = {"where": {delta: imbalance, beta: a * w}}
    lazy, delayed = ({**space, "small": eps, "vary": v} for v in ({a: a / eps, w: eps * w}, {a: eps * a, w: w / eps}))
    return (
        Published("both layers", rate={a: eta_a * (dot(w, betastar) - a * norm2(w)), w: eta_w * a * (betastar - a * w)}),
        Conserved("imbalance of the layers", imbalance),
        Published("function space", rate={beta: (kappa + delta) / 2 * gap + along * beta}, **space),
        Published("lazy: delta -> oo", rate={beta: delta * gap}, **lazy),
        Published("delayed rich: delta -> -oo", rate={beta: -delta * projected}, **delayed),
        Published("rich: delta -> 0", rate={beta: sp.sqrt(eta_a * eta_w * norm2(beta)) * (gap + projected)}, **space, small=eps,
                  vary={a: sp.sqrt((eps + eta_a * norm2(w)) / eta_w)}),
        Published("mirror flow", where={phi: sp.sign(a) * w}, rate={phi: eta_w * sp.Abs(a) * (betastar - a * w)}),
        Published("Riccati equation of the ratio", where={delta: imbalance, omega: w / a},
                  rate={omega: eta_w * betastar - delta * omega - eta_a * dot(omega, betastar) * omega}),
        Published("Riccati equation of its projection", where={delta: imbalance, nu: dot(w, betastar) / a},
                  rate={nu: eta_w * norm2(betastar) - delta * nu - eta_a * nu**2}),
        Solves("projection of the ratio, upstream", {nu: projection(1)}, initial={nu: nu0}, ansatz=ratio(1)),
        Solves("projection of the ratio, downstream", {nu: projection(-1)}, initial={nu: nu0}, ansatz=ratio(-1)),
        MatchesSimulation("gradient descent", observables=("loss",), seeds=2, time=time),
    )  # fmt: skip


def ratio(sign: int) -> tuple[Any, ...]:
    """The system of nu = w.betastar / a and a: inner products, with |w|^2 eliminated; ``size`` = |delta|."""
    x, n = scalars("x n")
    return (
        lambda flow: complete(flow, {"x": dot(w, betastar), "n": norm2(w)}),
        lambda flow: eliminate(flow, sign * (eta_w * a**2 - eta_a * n), "n", name="size"),
        lambda flow: change_variables(flow, {nu: x / a, scalars("readout"): a}),
    )


def projection(sign: int) -> Any:
    """Printed for equal rates, with tanh(artanh + ...) written out, so that it holds on both sides of the fixed points."""
    size, s2 = scalars("size", positive=True), scalars("n_betastar", positive=True)
    K = sp.sqrt(size**2 + 4 * eta_a * eta_w * s2)
    r, T = (sign * size + 2 * eta_a * nu0) / K, sp.tanh(K * t / 2)
    return (-sign * size + K * (r + T) / (1 + r * T)) / (2 * eta_a)
