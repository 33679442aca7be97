"""A semantic tree with a property that cuts across it: if it is frequent, it is learned before the first split of the tree.

Reference: J. L. McClelland, Z. Sadeghi, A. M. Saxe, "A critique of pure hierarchy: uncovering cross-cutting structure in a
natural dataset", 2016; the items here are constructed, not the natural ones.

===========  ============  ========================================================  ==================
symbol       shape         meaning                                                   name in the paper
===========  ============  ========================================================  ==================
W1, W2       (N1,8), ...   weights                                                   W^1, W^2
Syx          (N2, 8)       properties of 8 items, rows; Sx = I                       Y
s, u         (r,)          singular values, strengths of the modes                   s, a
c            number        copies of the cross-cutting property (and its opposite)
tau          scalar        time constant                                             tau
===========  ============  ========================================================  ==================

Rows: 1 of 8 items, 2 of 4, 4 of 2, 8 of 1 item, then c pairs of alternating properties 1,0,1,0,... and 0,1,0,1,...
Assumes, for the modes only: one-hot items, a start along the singular vectors with equal layers.
Fails for c = 0 read as cross-cutting: then only the tree is left.
"""

from __future__ import annotations

import sympy as sp

from derive.catalog.saxe_2019_semantic_development import deep
from derive.claims.entry import Entry, MatchesSimulation, Spectrum
from derive.errors import InvalidSpec
from derive.library.data_sets import crosscutting_features, one_hot_items
from derive.library.linear import linear_network
from derive.spectra.structures import Kron, Plus, Tree


def entry(
    copies: int = 2,
    hidden: int = 8,
    tau: float = 1.0,
    u0: float = 1e-3,
    eta: float = 0.005,
    batch: int = 8,
    seeds: int = 10,
    time: float | None = None,
    seed: int = 0,
) -> Entry:
    """``copies`` of the cross-cutting property."""
    if not 1 <= copies <= 8:
        raise InvalidSpec(f"copies={copies}: give 1 to 8 copies of the property")
    features = crosscutting_features(copies)
    X, Y = one_hot_items(features)
    model = linear_network(depth=2).bind(x=X, y=Y)
    run = {"tau": tau, "u0": u0, "eta": eta, "batch": batch, "seeds": seeds, "seed": seed} | ({"time": time} if time else {})
    return Entry(
        name="mcclelland_2016_crosscutting",
        title=f"semantic tree of 8 items and a cross-cutting property in {copies} copies",
        reference="McClelland, Sadeghi, Saxe, 2016",
        kind="matrix",
        model=model,
        values={"N1": hidden, **run},
        claims=(
            *deep(model.state),
            MatchesSimulation("gradient descent on the items"),
            squares(copies, features.T @ features),
        ),
        docs=__doc__ or "",
    )


def squares(copies: int, array: object) -> Spectrum:
    """Squared singular values: root, cross-cutting property, first split, second splits, what is left of the last ones."""
    c = sp.Symbol("c", positive=True)
    one, same = Tree(branching=(2,), values=(0, 1)), Tree(branching=(2,), values=(1, 1))
    levels = Plus(
        Kron(Kron(same, same), same), Kron(Kron(one, same), same), Kron(Kron(one, one), same), Kron(Kron(one, one), one)
    )
    scaled = Kron(Kron(same, same), Tree(branching=(2,), values=(0, c)))
    rows = ((15 + 4 * c, 1), (1 + 4 * c, 1), (7, 1), (3, 2), (1, 3))
    return Spectrum("squared singular values", of=Plus(levels, scaled), rows=rows, values={"c": copies}, array=array)
