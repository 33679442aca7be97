"""Semantic dementia: hidden neurons of a trained linear network die one after another, the rest relearns in between.

Reference: D. Jarvis, V. Klar, R. Klein, B. Rosman, A. M. Saxe, "Revisiting the role of relearning in semantic dementia",
CCN 2023, arXiv:2503.03545. Sizes, the number of deletions and the time between them are chosen here.

===========  =================  ===================================================  ==================
symbol       shape              meaning                                              name in the paper
===========  =================  ===================================================  ==================
W1, W2       (N1,8), (15,N1)    weights; N1 = hidden neurons, less at each deletion  W^1, W^2
Sx, Syx      correlations       one-hot items, Sx = I; Syx = features of a tree      Sigma^x, Sigma^yx
Q, F, M      (n, .)             as in domine_2025_lambda_balanced, lam = 0           Q, F, Q Q^T
tau          scalar             time constant                                        tau
===========  =================  ===================================================  ==================

Protocol: ``hidden`` neurons have learned all features; ``each`` random ones of them are deleted, the rest relearns for
``relearn``, and so on until ``kept`` are left. A deletion removes rows of W1 and the same columns of W2, hence a principal
submatrix of W2^T W2 = W1 W1^T: the balance survives, and every phase is a Riccati equation from the weights at its beginning.
Assumes nothing beyond this start. With kept < rank the flow tends to the truncated SVD: fine distinctions are lost for good.
Fails for single neurons compared with averages over deletions (the fraction kept/hidden of every mode).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derive.catalog.domine_2025_lambda_balanced import claims
from derive.claims.entry import Commutes, Conserved, Entry, MatchesSimulation, Solves, Throughout
from derive.errors import InvalidSpec
from derive.library.data_sets import crosscutting_features, one_hot_items
from derive.library.linear import linear_network
from derive.reductions.ansatz import Gram, LambdaBalanced
from derive.spec.rules import Drop, Phase

PRINTED = "printed solution for Q Q^T"  # checked in domine_2025_lambda_balanced; its 60 digits take long at 23 rows


def entry(
    hidden: int = 16, kept: int = 3, each: int = 1, relearn: float = 0.5, tau: float = 1.0, eta: float = 0.01, seeds: int = 12,
    seed: int = 0,
) -> Entry:  # fmt: skip
    """``hidden`` neurons learned; ``each`` at a time are deleted, until ``kept`` are left."""
    if hidden < 8 or not 1 <= kept < hidden or each < 1 or (hidden - kept) % each:
        raise InvalidSpec(
            f"hidden={hidden}, kept={kept}, each={each}: give at least 8 hidden neurons, of which 1 to {hidden - 1} are kept, "
            "and an each that divides the number of deleted ones"
        )
    features = crosscutting_features(0)
    X, Y = one_hot_items(features)
    network = linear_network(depth=2)
    damage = (Drop(network.symbols["N1"], each), Phase(relearn)) * ((hidden - kept) // each)
    W1, W2 = trained(features, hidden, seed)
    return Entry(
        name="jarvis_2023_semantic_dementia",
        title=f"relearning while {hidden} hidden neurons fall to {kept}",
        reference="Jarvis, Klar, Klein, Rosman, Saxe, CCN 2023",
        model=network.replace(name="jarvis_2023_semantic_dementia", protocol=damage).bind(x=X, y=Y),
        values={
            "N1": hidden,
            "n": sum(features.shape),
            "W1": W1,
            "W2": W2,
            "tau": tau,
            "eta": eta,
            "seeds": seeds,
            "seed": seed,
        },
        claims=(*along(network), *(c for c in claims(LambdaBalanced(0)) if c.label != PRINTED and not simulates(c)), SIMULATED),
        docs=__doc__ or "",
    )


SIMULATED = MatchesSimulation("gradient descent and SGD", observables=("loss",), sizes=(50, 100, 200))


def simulates(claim: Any) -> bool:
    """Whether a claim is about one phase of constant size, which this entry has not."""
    return isinstance(claim, MatchesSimulation)


def along(network: Any) -> tuple[Any, ...]:
    """What holds through all deletions."""
    W1, W2 = network.state
    balance = LambdaBalanced(0)
    return (
        Throughout(Conserved("balance", W2.T * W2 - W1 * W1.T)),
        Throughout(Commutes("Riccati equation with neurons deleted from Q", balance)),
        Throughout(Solves("closed form of Q Q^T from the weights after each deletion", {}, ansatz=(balance, Gram()))),
    )


def trained(features: Any, hidden: int, seed: int) -> tuple[Any, Any]:
    """Balanced weights with W2 W1 = features on random hidden directions."""
    u, s, v = np.linalg.svd(features, full_matrices=False)
    frame = np.linalg.qr(np.random.default_rng(seed).standard_normal((hidden, len(s))))[0]
    return frame * np.sqrt(s) @ v, u * np.sqrt(s) @ frame.T
