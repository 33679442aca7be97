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
mirror flow, whose dual variable psi'(theta), psi'' = |theta|^(2/alpha-2) / alpha^2, stays constant along every direction that
the inputs do not see (more weights than items). For odd alpha theta is a polynomial of phi.
Assumes gradient flow; alpha > 1, and alpha >= 2 for the constants: a weight then never crosses zero.
Fails for 1 < alpha < 2 in the variable theta, whose equation has no unique solution at zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp

from derive import fn
from derive.claims.entry import Conserved, Entry, MatchesSimulation, Published
from derive.errors import InvalidSpec
from derive.spec.lower import exact
from derive.spec.model import Model
from derive.spec.nodes import grad
from derive.spec.rules import Rate
from derive.spec.sugar import had, norm2
from derive.spec.symbols import activation, dims, matrix, scalars, vector

NAME = "schwarz_2021_powerpropagation"
REFERENCE = "Schwarz, Jayakumar, Pascanu, Latham, Teh, NeurIPS 2021"
D, P = dims("d P")
phi, theta, X, Y = vector("phi", D), vector("theta", D), matrix("X", P, D), vector("Y", P)
tau = scalars("tau", positive=True)


def entry(
    alpha: float = 3.0, d: int = 4, P: int = 3, tau: float = 1.0, scale: float = 0.8, time: float = 1.0, seed: int = 0
) -> Entry:  # fmt: skip
    """Power ``alpha``, and ``P`` items with ``d`` inputs drawn from ``seed``; the targets are those of a sparse rule."""
    if not 1 < alpha <= 6:
        raise InvalidSpec(f"alpha={alpha}: give a number above 1, at most 6 (1 is plain linear regression)")
    items = np.random.default_rng(seed).standard_normal((P, d)) / np.sqrt(P)
    data = {"X": items, "Y": items[:, :1]}
    power = sp.Rational(*exact(float(alpha)).as_integer_ratio())
    return Entry(
        name=NAME,
        title=f"weights as powers {power} of parameters, linear regression",
        reference=REFERENCE,
        kind="matrix",
        model=model(power),
        values={"d": d, "tau": tau, "P": P, **data, "scale": scale, "time": time, "seed": seed},
        claims=claims(power, time),
        docs=__doc__ or "",
    )


def weights(alpha: sp.Rational) -> Any:
    """phi |phi|^(alpha-1): a product for integers, a function for all other powers."""
    if alpha.q != 1:
        return activation("power", lambda z: z * sp.Abs(z) ** (alpha - 1))(phi)
    return had(phi, *[phi] * int(alpha - 1)) if alpha % 2 else had(phi, *[phi] * int(alpha - 2), fn.abs(phi))


def model(alpha: sp.Rational) -> Model:
    """Linear regression with these weights."""
    L = scalars("L")
    return Model(
        name=NAME,
        state=phi,
        given=(X, Y, tau),
        let={theta: weights(alpha), L: norm2(Y - X * theta) / 2},
        learn=Rate({phi: -grad(L, phi) / tau}),
        observe={"loss": L},
    )


def claims(alpha: sp.Rational, time: float) -> tuple[Any, ...]:
    """Flow of the parameters and of the weights; the dual variable along null directions of the inputs."""
    size = fn.abs(phi)
    weight = sp.HadamardProduct(phi, sp.HadamardPower(size, alpha - 1))
    metric = sp.HadamardPower(fn.abs(theta), 2 - 2 / alpha)
    flow = alpha * sp.HadamardProduct(sp.HadamardPower(size, alpha - 1), X.T * (Y - X * weight)) / tau
    rate = alpha**2 * sp.HadamardProduct(metric, X.T * (Y - X * theta)) / tau
    constants = (Conserved("dual variable along null directions of the inputs", lambda at: dual(float(alpha), at)),)
    return (
        Published("flow of the parameters", rate={phi: flow}),
        Published("flow of the weights", where={theta: weight}, rate={theta: rate}),
        *(constants if alpha >= 2 else ()),
        MatchesSimulation("gradient descent", observables=("loss",), seeds=2, time=time),
    )


def dual(alpha: float, at: Mapping[str, Any]) -> np.ndarray:
    """N' psi'(theta), the columns of N spanning the null space of X."""
    inputs, p = np.asarray(at["X"]), np.asarray(at["phi"])
    size = np.abs(p) ** alpha
    psi = np.log(size) / 4 if alpha == 2 else size ** ((2 - alpha) / alpha) / (alpha * (2 - alpha))
    null = np.linalg.svd(inputs)[2][np.linalg.matrix_rank(inputs) :]
    return np.asarray(null @ (np.sign(p) * psi))
