"""A deep linear network that learns an orthogonal transform: one mode equation for all, and an obstruction to sparsity.

Reference: M. Nye, A. M. Saxe, "Are efficient deep representations learnable?", 2018. The linear part; parity is not reduced.

===========  ============  ========================================================  ==================
symbol       shape         meaning                                                   name in the paper
===========  ============  ========================================================  ==================
W1 .. WL     (n, n)        weights, L = log2 n as many as the fast transform needs   W_1, W_2, ...
Syx          (n, n)        the transform F, orthogonal; Sx = I                       F
s            (r,)          singular values of F, all 1
u            (r,)          strength of a mode of the whole map
tau          scalar        time constant                                             tau
===========  ============  ========================================================  ==================

F is the Hadamard transform, whose sparse factors (`derive.library.data_sets.butterfly_factors`) are one point of the manifold
of solutions. W_{l+1}^T W_{l+1} - W_l W_l^T is conserved, so noise in the start is never removed from the weights.
Assumes, for the modes only: a start along singular vectors of F with equal layers; any orthonormal basis is one.
Fails for single vectors of the degenerate modes: compare products and Gram matrices.
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from derive.catalog.saxe_2014_deep_linear import claims
from derive.claims.entry import Entry, Spectrum
from derive.errors import InvalidSpec
from derive.library.data_sets import butterfly_factors, one_hot_items
from derive.library.linear import linear_network
from derive.spectra.structures import Tree


def entry(
    levels: int = 3,
    tau: float = 1.0,
    u0: float = 0.05,
    eta: float = 0.01,
    batch: int = 8,
    seeds: int = 10,
    time: float | None = None,
    seed: int = 0,
) -> Entry:
    """``levels`` is the number of layers, the transform has 2^levels points."""
    if levels not in (2, 3, 4):
        raise InvalidSpec(f"levels={levels}: give 2, 3 or 4, that is 4, 8 or 16 points")
    transform = reduce(lambda product, factor: factor @ product, butterfly_factors(levels))
    n = len(transform)
    X, Y = one_hot_items(transform)
    model = linear_network(depth=levels).bind(x=X, y=Y)
    run = {"tau": tau, "u0": u0, "eta": eta, "batch": batch, "seeds": seeds, "seed": seed} | ({"time": time} if time else {})
    equal = Tree(branching=(2,) * levels, values=(*(0,) * levels, 1))
    return Entry(
        name="nye_2018_fft_parity",
        title=f"linear network of {levels} layers that learns the Hadamard transform of {n} points",
        reference="Nye, Saxe, ICLR workshop 2018",
        kind="matrix",
        model=model,
        values={**{f"N{l}": n for l in range(1, levels)}, **run},
        claims=(
            *claims(levels, model.state),
            Spectrum("all strengths are 1", of=equal, rows=((1, n),), array=np.asarray(transform.T @ transform)),
        ),
        docs=__doc__ or "",
    )
