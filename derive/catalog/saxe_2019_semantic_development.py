"""Items of a semantic tree learned by a deep linear network: broad distinctions first, each in a stage; a shallow one has none.

Reference: A. M. Saxe, J. L. McClelland, S. Ganguli, "A mathematical theory of semantic development in deep neural networks",
PNAS 116 (2019).

===========  ============  ========================================================  ==================
symbol       shape         meaning                                                   name in the paper
===========  ============  ========================================================  ==================
W1 .. WL     (N_l, N_l-1)  weights; L = 2 deep, L = 1 shallow                        W^1, W^2; W^s
Sx, Syx      correlations  E[x x^T], E[y x^T] = U diag(s) V^T                        Sigma^x, Sigma^yx
s, d         (r,)          singular values, input variances along the modes          s_a, d_a
u            (r,)          strength of a mode of the whole map                       a(t), b(t)
tau          scalar        time constant                                             tau
C            (P, P)        similarity of the P = 2^(levels-1) leaves of the tree
===========  ============  ========================================================  ==================

Items are one-hot, normalised so that Sx = I; their features diffuse down a binary tree and flip sign with probability ``flip``
on every edge. ``features=0`` takes the limit of infinitely many features, Syx = C^(1/2); otherwise that many are sampled.
Assumes, for the modes only: Sx and Syx^T Syx share eigenvectors, and a start along them with equal layers.
Fails for the first mode read as a split: it is the constant vector, and vanishes if features are centred over the items.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.claims.entry import Commutes, Conserved, Entry, MatchesSimulation, Published, Solves, Spectrum
from derive.errors import InvalidSpec
from derive.library.data_sets import one_hot_items, sampled_tree_features, tree_features
from derive.library.linear import linear_network
from derive.reductions.ansatz import Balanced, Modes
from derive.spectra.structures import Tree


def entry(
    levels: int = 4,
    flip: float = 0.15,
    features: int = 0,
    depth: int = 2,
    hidden: int = 8,
    tau: float = 1.0,
    u0: float = 1e-3,
    eta: float = 0.01,
    batch: int = 8,
    seeds: int = 10,
    time: float | None = None,
    seed: int = 0,
) -> Entry:
    """``levels`` of the tree count root and leaves; ``depth`` 2 is the deep network, 1 the shallow one."""
    if depth not in (1, 2):
        raise InvalidSpec(f"depth={depth}: give 2 (deep) or 1 (shallow); deeper networks are in saxe_2014_deep_linear")
    table = sampled_tree_features(levels, flip, features, seed) if features else tree_features(levels, flip)
    X, Y = one_hot_items(table)
    model = linear_network(depth=depth).bind(x=X, y=Y)
    run = {"tau": tau, "u0": u0, "eta": eta, "batch": batch, "seeds": seeds, "seed": seed} | ({"time": time} if time else {})
    return Entry(
        name="saxe_2019_semantic_development",
        title=f"semantic tree of {levels} levels, {'deep' if depth == 2 else 'shallow'} linear network",
        reference="Saxe, McClelland, Ganguli, PNAS 2019",
        kind="matrix",
        model=model,
        values={**run, **({"N1": hidden} if depth == 2 else {})},
        claims=(
            *(deep(model.state) if depth == 2 else shallow()),
            MatchesSimulation("gradient descent on the items", seeds=10),
            tree_claim(levels, flip, None if features else table),
        ),
        docs=__doc__ or "",
    )


s, d, u0, t, tau = sp.symbols("s d u0 t tau", positive=True)
u = sp.Symbol("u", positive=True)


def deep(weights: tuple[Any, ...]) -> tuple[Any, ...]:
    """Stage-like growth: every mode along its own sigmoid."""
    W1, W2 = weights
    Sx, Syx = sp.MatrixSymbol("Sx", W1.shape[1], W1.shape[1]), sp.MatrixSymbol("Syx", W2.shape[0], W1.shape[1])
    strengths = (Modes(), Balanced())
    error = Syx - W2 * W1 * Sx
    sigmoid = (s / d) / (1 - (1 - s / (d * u0)) * sp.exp(-2 * s * t / tau))
    return (
        Published("matrix flow", rate={W1: W2.T * error / tau, W2: error * W1.T / tau}),
        Conserved("balance of the layers", W2.T * W2 - W1 * W1.T),
        Published("strength of a mode", rate={u: 2 * u * (s - d * u) / tau}, on=strengths),
        Solves("stage-like transition", {u: sigmoid}, initial={u: u0}, ansatz=strengths),
        Solves("closed form of the engine", {}, ansatz=strengths),
        Commutes("modes of the matrix flow", strengths),
    )


def shallow() -> tuple[Any, ...]:
    """Exponential approach, at once in all modes."""
    approach = s / d * (1 - sp.exp(-d * t / tau)) + u0 * sp.exp(-d * t / tau)
    return (
        Published("strength of a mode", rate={u: (s - d * u) / tau}, on=Modes()),
        Solves("exponential approach", {u: approach}, initial={u: u0}, ansatz=Modes()),
        Commutes("modes of the matrix flow", Modes()),
    )


def tree_claim(levels: int, flip: float, table: Any) -> Any:
    """Eigenvalues of the similarity of the leaves: sum over k >= l of (q_k - q_{k-1}) M_k, on 2^(l-1) splits of level l."""
    q = sp.Symbol("q", positive=True)
    similarity = [*(q ** (levels - 1 - k) for k in range(levels)), 0]  # the last entry is q_{-1}
    steps = [(similarity[k] - similarity[k - 1]) * 2 ** (levels - 1 - k) for k in range(levels)]
    rows = tuple((sp.Add(*steps[l:]), 2 ** max(l - 1, 0)) for l in range(levels))
    tree = Tree(branching=(2,) * (levels - 1), values=tuple(similarity[:-1]))
    at = {"q": (1 - 2 * flip) ** 2}
    return Spectrum("spectrum of the tree", of=tree, rows=rows, values=at, array=None if table is None else table.T @ table)
