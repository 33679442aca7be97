"""A linear network with a bias: the best constant answer is learned first.

Reference: J. Rubruck, J. P. Bauer, A. M. Saxe, C. Summerfield, "Early learning of the optimal constant solution in neural
networks and humans", 2024.

===========  ==============  =======================================================  ==================
symbol       shape           meaning                                                  name in the paper
===========  ==============  =======================================================  ==================
W1, W2       (N1,N0), ...    weights; the last column of W1 is the bias of the input  W^1, b^1, W^2
b            (N2, 1)         bias of the output, if it stands there                   b^2
x            (N0,)           one-hot item, then the constant 1 if the input has a     x
                             bias
Sx, Syx      correlations    averages over P = 2^(levels-1) items of a tree           Sigma^x, Sigma^yx
s, d         (r,)            singular values, input variances along the modes         s, d
q, beta      scalars         layers of the constant mode, q^2 its strength; output    a, b
                             bias along its singular vector
tau          scalar          time constant                                            tau
===========  ==============  =======================================================  ==================

y = W2 (W1 x + b) is the network without bias on x with a 1 appended: X^T X gains the matrix of ones, and the constant mode is
faster by sqrt(1 + P). A bias at the output drives the constant mode and the bias to a line of fixed points, and where they meet
it is decided by an invariant that is no polynomial.
Assumes, for the modes only: a start along the singular vectors with equal layers. The constant vector over the items is a
right singular vector, because the tree is balanced; only its mode changes.
Fails for trees that are not balanced: the constant vector then mixes the modes.
"""

from __future__ import annotations

import numpy as np
import sympy as sp

from derive.catalog.saxe_2019_semantic_development import deep
from derive.claims.entry import Conserved, Entry, MatchesSimulation, Published, Spectrum
from derive.errors import InvalidSpec
from derive.library.data_sets import tree_features
from derive.library.linear import biased_network, linear_network
from derive.reductions.ansatz import Manifold
from derive.spec.symbols import dims, matrix, scalars, vector
from derive.spectra.structures import RankOne, Tree


def entry(
    levels: int = 4, flip: float = 0.15, bias: bool = True, at: str = "input", hidden: int = 8, tau: float = 1.0,
    u0: float = 1e-3, eta: float = 0.02, time: float | None = None, seed: int = 0,
) -> Entry:  # fmt: skip
    """``at`` the "input" or the "output" stands the bias; ``bias`` False leaves it out, for comparison."""
    if at not in ("input", "output"):
        raise InvalidSpec(f"at={at!r}: write 'input' or 'output'; bias=False leaves the bias out")
    Y, after = tree_features(levels, flip), bias and at == "output"
    X = np.hstack([np.eye(len(Y)), np.ones((len(Y), 1))]) if bias and not after else np.eye(len(Y))
    model = (biased_network() if after else linear_network(depth=2)).bind(x=X, y=Y)
    run = {"tau": tau, "u0": u0, "eta": eta, "seed": seed} | ({"time": time} if time else {"time": 60.0} if after else {})
    own = output_bias() if after else deep(model.state)
    return Entry(
        name="rubruck_2024_optimal_constant",
        title=f"linear network with{'' if bias else 'out'} {at} bias on a tree of {levels} levels",
        reference="Rubruck, Bauer, Saxe, Summerfield, 2024",
        kind="matrix",
        model=model,
        values={"N1": hidden, **run},
        claims=(
            *own,
            MatchesSimulation("gradient descent on the items", time=2.0 if after else None),
            strengths(levels, flip, len(X.T) > len(X), X, Y),
        ),
        docs=__doc__ or "",
    )


def constant_mode() -> Manifold:
    """The constant vector v0 over the items apart from all other modes, which are orthogonal to it and still at zero."""
    N0, N1, N2, r = dims("N0 N1 N2 r")
    q, (beta, s) = scalars("q", positive=True), scalars("beta s")
    u0, r0, v0, b = vector("u0", N2), vector("r0", N1), vector("v0", N0), vector("b", N2)
    U, S, V = matrix("U", N2, r), matrix("S", r, r), matrix("V", N0, r)
    Sx, Syx, mx, my = matrix("Sx", N0, N0), matrix("Syx", N2, N0), vector("mx", N0), vector("my", N2)
    return Manifold(
        {matrix("W1", N1, N0): q * r0 * v0.T, matrix("W2", N2, N1): q * u0 * r0.T, b: beta * u0},
        coordinates=(q, beta),
        data={
            Sx: sp.Identity(N0) / N0,
            Syx: s * u0 * v0.T + U * S * V.T,
            mx: v0 / sp.sqrt(N0),
            my: sp.sqrt(N0) * s * u0,
        },
        tags={**dict.fromkeys((u0, r0, v0, U, V), "orth"), S: "diag"},
        orthogonal=((u0, U), (v0, V)),
    )


def output_bias() -> tuple[Published | Conserved, ...]:
    """u = q^2 and beta: du/dt = 2u (s - u/P - beta/sqrt P), dbeta/dt = sqrt P s - beta - u / sqrt P."""
    P, on = sp.Symbol("N0", positive=True), constant_mode()
    u, q, beta, s, tau = sp.symbols("u q beta s tau", positive=True)
    rate = {u: 2 * u * (s - u / P - beta / sp.sqrt(P)) / tau, beta: (sp.sqrt(P) * s - beta - u / sp.sqrt(P)) / tau}
    return (
        Published("constant mode and bias", where={u: q**2}, rate=rate, on=on),
        Conserved("where on the line of fixed points", q**2 * sp.exp(-2 * beta / sp.sqrt(P)), on=on),
    )


def strengths(levels: int, flip: float, bias: bool, X: np.ndarray, Y: np.ndarray) -> Spectrum:
    """Of the constant mode s -> s sqrt(1 + P) and d -> (1 + P) d if the input has a bias; the others do not change."""
    q, P = sp.Symbol("q", positive=True), 2 ** (levels - 1)
    values = [*(q ** (levels - 1 - k) for k in range(levels)), 0]  # the last entry is q_{-1}
    steps = [(values[k] - values[k - 1]) * 2 ** (levels - 1 - k) for k in range(levels)]
    plain = [sp.sqrt(sp.Add(*steps[l:])) / P for l in range(levels)]
    gain = 1 + P if bias else 1
    rest = ((plain[l], sp.Rational(1, P), 2 ** (l - 1)) for l in range(1, levels))
    rows = ((plain[0] * sp.sqrt(gain), sp.Rational(gain, P), 1), *rest)
    codes = Tree(branching=(2,) * (levels - 1), values=(*(0,) * (levels - 1), 1))
    inputs = RankOne(base=codes, weight=int(bias))
    tree = Tree(branching=(2,) * (levels - 1), values=tuple(values[:-1]))
    return Spectrum(
        "strengths and variances of the modes", of=(inputs, tree), rows=rows, values={"q": (1 - 2 * flip) ** 2}, array=(X, Y)
    )
