"""Weights as powers of parameters: small weights learn slowly, so the rich get richer and weights at zero stay there.

Reference: J. Schwarz, S. Jayakumar, R. Pascanu, P. Latham, Y. W. Teh, "Powerpropagation: a sparsity inducing weight
reparameterisation", NeurIPS 2021 (the parametrisation; its gradient flow is derived here, for linear regression).

==========  ========  ================================================  ==================
symbol      shape     meaning                                           name in the paper
==========  ========  ================================================  ==================
phi         (d, 1)    what is trained                                   phi
theta       (d, 1)    phi |phi|^(alpha-1), the weights                  theta
X, Y        (P, d)..  P inputs as rows, and their targets               -
tau         scalar    time constant                                     -
==========  ========  ================================================  ==================

With g = X^T (Y - X theta) the flow is phi' = alpha |phi|^(alpha-1) o g, so theta' = alpha^2 |theta|^(2-2/alpha) o g: a
mirror flow. For odd alpha theta is the polynomial phi^alpha and the second equation is claimed too.
Assumes gradient flow; integer alpha >= 2.
Fails for 1 < alpha < 2 in the variable theta, whose equation has no unique solution at zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derive import fn
from derive.entry import Entry, MatchesSimulation, Published
from derive.errors import InvalidSpec
from derive.model import Model
from derive.nodes import grad
from derive.rules import Rate
from derive.sugar import had, norm2
from derive.symbols import dims, matrix, scalars, vector

NAME = "schwarz_2021_powerpropagation"
REFERENCE = "Schwarz, Jayakumar, Pascanu, Latham, Teh, NeurIPS 2021"
D, P = dims("d P")
phi, X, Y = vector("phi", D), matrix("X", P, D), vector("Y", P)
tau = scalars("tau", positive=True)


def entry(
    alpha: int = 3, d: int = 4, P: int = 3, tau: float = 1.0, scale: float = 0.8, time: float = 1.0, seed: int = 0
) -> Entry:  # fmt: skip
    """Power ``alpha``, and ``P`` items with ``d`` inputs drawn from ``seed``; the targets are those of a sparse rule."""
    if not 2 <= alpha <= 6:
        raise InvalidSpec(f"alpha={alpha}: give an integer from 2 to 6 (1 is plain linear regression)")
    items = np.random.default_rng(seed).standard_normal((P, d)) / np.sqrt(P)
    data = {"X": items, "Y": items[:, :1]}
    return Entry(
        name=NAME,
        title=f"weights as powers {alpha} of parameters, linear regression",
        reference=REFERENCE,
        kind="matrix",
        model=model(alpha),
        values={"d": d, "tau": tau, "P": P, **data, "scale": scale, "time": time, "seed": seed},
        claims=claims(alpha, time),
        docs=__doc__ or "",
    )


def weights(alpha: int) -> Any:
    """phi |phi|^(alpha-1)."""
    return had(phi, *slope(alpha))


def slope(alpha: int) -> list[Any]:
    """Factors of |phi|^(alpha-1)."""
    return [phi] * (alpha - 1) if alpha % 2 else [*[phi] * (alpha - 2), fn.abs(phi)]


def model(alpha: int) -> Model:
    """Linear regression with these weights."""
    L = scalars("L")
    return Model(
        name=NAME,
        state=phi,
        given=(X, Y, tau),
        let={L: norm2(Y - X * weights(alpha)) / 2},
        learn=Rate({phi: -grad(L, phi) / tau}),
        observe={"loss": L},
    )


def claims(alpha: int, time: float) -> tuple[Any, ...]:
    """Flow of the parameters, and for odd powers that of the weights."""
    power = slope(alpha)
    flow = alpha * had(*power, X.T * (Y - X * weights(alpha))) / tau
    out: list[Any] = [Published("flow of the parameters", rate={phi: flow})]
    if alpha % 2:
        theta = vector("theta", D)
        rate = alpha**2 * had(*power, *power, X.T * (Y - X * theta)) / tau
        out.append(Published("flow of the weights", where={theta: weights(alpha)}, rate={theta: rate}))
    return (*out, MatchesSimulation("gradient descent", observables=("loss",), seeds=2, time=time))
