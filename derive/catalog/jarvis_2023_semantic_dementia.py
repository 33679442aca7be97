"""Semantic dementia: hidden neurons of a trained linear network are deleted, the rest relearns by a matrix Riccati equation.

Reference: D. Jarvis, V. Klar, R. Klein, B. Rosman, A. M. Saxe, "Revisiting the role of relearning in semantic dementia",
CCN 2023, arXiv:2503.03545. One relearning phase; sizes are chosen here.

===========  =================  ===================================================  ==================
symbol       shape              meaning                                              name in the paper
===========  =================  ===================================================  ==================
W1, W2       (N1,8), (15,N1)    weights of the N1 = kept neurons                     W^1, W^2
Sx, Syx      correlations       one-hot items, Sx = I; Syx = features of a tree      Sigma^x, Sigma^yx
Q, F, M      (n, .)             as in domine_2025_lambda_balanced, lam = 0           Q, F, Q Q^T
tau          scalar             time constant                                        tau
===========  =================  ===================================================  ==================

The start is a balanced, fully trained network of ``hidden`` neurons after the deletion of all but ``kept`` of them, chosen at
random. Deletion keeps W2^T W2 = W1 W1^T, because it takes a principal submatrix of both sides; so every later phase is of the
same kind, with the weights at its beginning as start.
Assumes nothing beyond this start. With kept < rank the flow ends in the truncated SVD: fine distinctions are lost for good.
Fails for single neurons compared with averages over deletions (the fraction kept/hidden of every mode).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derive.ansatz import LambdaBalanced
from derive.catalog.domine_2025_lambda_balanced import claims
from derive.catalog_data import crosscutting_features, one_hot_items
from derive.entry import Entry
from derive.errors import InvalidSpec
from derive.library_linear import linear_network


def entry(
    hidden: int = 16,
    kept: int = 6,
    tau: float = 1.0,
    eta: float = 0.01,
    time: float | None = None,
    seed: int = 0,
) -> Entry:
    """``hidden`` neurons learned, ``kept`` of them are left."""
    if not 1 <= kept <= hidden or hidden < 8:
        raise InvalidSpec(f"hidden={hidden}, kept={kept}: give at least 8 hidden neurons, of which 1 to {hidden} are kept")
    features = crosscutting_features(0)
    X, Y = one_hot_items(features)
    W1, W2 = damaged(features, hidden, kept, seed)
    run = {"tau": tau, "eta": eta, "seed": seed} | ({"time": time} if time else {})
    return Entry(
        name="jarvis_2023_semantic_dementia",
        title=f"relearning after damage: {kept} of {hidden} hidden neurons are left",
        reference="Jarvis, Klar, Klein, Rosman, Saxe, CCN 2023",
        model=linear_network(depth=2).bind(x=X, y=Y),
        values={"N1": kept, "n": sum(features.shape), "W1": W1, "W2": W2, **run},
        claims=claims(LambdaBalanced(0)),
        docs=__doc__ or "",
    )


def damaged(features: Any, hidden: int, kept: int, seed: int) -> tuple[Any, Any]:
    """Balanced weights with W2 W1 = features on random hidden directions, then rows and columns of the kept neurons."""
    rng = np.random.default_rng(seed)
    u, s, v = np.linalg.svd(features, full_matrices=False)
    frame = np.linalg.qr(rng.standard_normal((hidden, len(s))))[0]
    left = np.sort(rng.choice(hidden, size=kept, replace=False))
    return (frame * np.sqrt(s) @ v)[left], (u * np.sqrt(s) @ frame.T)[:, left]
