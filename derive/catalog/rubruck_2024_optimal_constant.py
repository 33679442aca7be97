"""A linear network with a bias at its input: the best constant answer is learned first, faster by a factor sqrt(1 + P).

Reference: J. Rubruck, J. P. Bauer, A. M. Saxe, C. Summerfield, "Early learning of the optimal constant solution in neural
networks and humans", 2024.

===========  ==============  =======================================================  ==================
symbol       shape           meaning                                                  name in the paper
===========  ==============  =======================================================  ==================
W1, W2       (N1,N0), ...    weights; the last column of W1 is the bias               W^1, b^1, W^2
x            (N0,)           one-hot item, then the constant 1 if there is a bias     x
Sx, Syx      correlations    averages over P = 2^(levels-1) items of a tree           Sigma^x, Sigma^yx
s, d         (r,)            singular values, input variances along the modes         s, d
u            (r,)            strength of a mode                                       a
tau          scalar          time constant                                            tau
===========  ==============  =======================================================  ==================

y = W2 (W1 x + b) is the network without bias on x with a 1 appended: X^T X gains the matrix of ones.
Assumes, for the modes only: a start along the singular vectors with equal layers. The constant vector over the items is a
right singular vector, because the tree is balanced; only its mode changes.
Fails for a bias at the output: it has a line of fixed points and is another model.
"""

from __future__ import annotations

import numpy as np
import sympy as sp

from derive.catalog.saxe_2019_semantic_development import deep
from derive.catalog_data import tree_features
from derive.entry import Entry, MatchesSimulation, Spectrum
from derive.library_linear import linear_network
from derive.structures import RankOne, Tree


def entry(
    levels: int = 4,
    flip: float = 0.15,
    bias: bool = True,
    hidden: int = 8,
    tau: float = 1.0,
    u0: float = 1e-3,
    eta: float = 0.02,
    time: float | None = None,
    seed: int = 0,
) -> Entry:
    """``bias`` False leaves the constant input out, for comparison."""
    Y = tree_features(levels, flip)
    X = np.hstack([np.eye(len(Y)), np.ones((len(Y), 1))]) if bias else np.eye(len(Y))
    model = linear_network(depth=2).bind(x=X, y=Y)
    run = {"tau": tau, "u0": u0, "eta": eta, "seed": seed} | ({"time": time} if time else {})
    return Entry(
        name="rubruck_2024_optimal_constant",
        title=f"linear network {'with' if bias else 'without'} input bias on a tree of {levels} levels",
        reference="Rubruck, Bauer, Saxe, Summerfield, 2024",
        kind="matrix",
        model=model,
        values={"N1": hidden, **run},
        claims=(
            *deep(model.state),
            MatchesSimulation("gradient descent on the items"),
            strengths(levels, flip, bias, X, Y),
        ),
        docs=__doc__ or "",
    )


def strengths(levels: int, flip: float, bias: bool, X: np.ndarray, Y: np.ndarray) -> Spectrum:
    """Only the constant mode changes: s -> s sqrt(1 + P) and d -> (1 + P) d."""
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
    at = {"q": (1 - 2 * flip) ** 2}
    return Spectrum("strengths and variances of the modes", of=(inputs, tree), rows=rows, values=at, array=(X, Y))
