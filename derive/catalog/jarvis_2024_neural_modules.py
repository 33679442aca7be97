"""Compositional data learned by a linear network: three classes of modes; modules decide whether bits and codes share them.

Reference: D. Jarvis, R. Klein, B. Rosman, A. M. Saxe, "On the specialization of neural modules", 2024.

===========  ==============  =====================================================  ==================
symbol       shape           meaning                                                name in the paper
===========  ==============  =====================================================  ==================
W1, W2       (N1,N0), ...    weights                                                W^1, W^2
Sx, Syx      correlations    averages over all P = 2^bits items                     Sigma^x, Sigma^yx
s, d         (r,)            singular values, input variances along the modes       lambda, delta
u            (r,)            strength of a mode                                     pi
bits, shown  numbers         bits +-1 of an item; how many of them are targets      n_x, n_y
k_x, k_y     numbers         copies of the code r I_P in inputs and targets         k_x, k_y
r            scalar          scale of the codes                                     r
tau          scalar          time constant                                          tau
===========  ==============  =====================================================  ==================

``module`` selects the targets: all of them (dense), or those of one output module (bits, codes), which learns by itself.
Assumes, for the modes only: a start along the singular vectors with equal layers. Sx and Syx^T Syx commute by construction.
Fails for bits 0 and 1 in place of +-1. Modes of one class are degenerate: compare projectors, not vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from derive.catalog.saxe_2019_semantic_development import deep
from derive.claims.entry import Entry, MatchesSimulation, Spectrum
from derive.errors import InvalidSpec
from derive.library.data_sets import compositional_items
from derive.library.linear import linear_network
from derive.spectra.structures import Bits

MODULES = ("dense", "bits", "codes")


def entry(
    bits: int = 3,
    shown: int = 2,
    kx: int = 1,
    ky: int = 1,
    r: float = 1.5,
    module: str = "dense",
    hidden: int = 8,
    tau: float = 1.0,
    u0: float = 1e-3,
    eta: float = 0.01,
    time: float | None = None,
    seed: int = 0,
) -> Entry:
    """``bits`` of an item, of which ``shown`` are targets; ``kx`` and ``ky`` codes of scale ``r`` on both sides."""
    if module not in MODULES:
        raise InvalidSpec(f"module={module!r}: choose one of {', '.join(MODULES)}")
    if bits > 5 or min(kx, ky, shown) < 1:
        raise InvalidSpec(f"bits={bits}, shown={shown}, kx={kx}, ky={ky}: give up to 5 bits, and at least one of the others")
    X, Y = compositional_items(bits, shown, (kx, ky), r)
    Y = Y if module == "dense" else Y[:, :shown] if module == "bits" else Y[:, shown:]
    model = linear_network(depth=2).bind(x=X, y=Y)
    run = {"tau": tau, "u0": u0, "eta": eta, "seed": seed} | ({"time": time} if time else {})
    return Entry(
        name="jarvis_2024_neural_modules",
        title=f"compositional data of {bits} bits, {module} targets",
        reference="Jarvis, Klein, Rosman, Saxe, 2024",
        kind="matrix",
        model=model,
        values={"N1": hidden, **run},
        claims=(
            *deep(model.state),
            MatchesSimulation("gradient descent on the items"),
            classes(module, X, Y, {"n_x": bits, "n_y": shown, "k_x": kx, "k_y": ky, "r": r}),
        ),
        docs=__doc__ or "",
    )


def classes(module: str, X: np.ndarray, Y: np.ndarray, at: dict[str, Any]) -> Spectrum:
    """Strength, input variance and number of the modes of each class."""
    n_x, n_y = sp.symbols("n_x n_y", integer=True, positive=True)
    k_x, k_y, r = sp.symbols("k_x k_y r", positive=True)
    P, own, code = 2**n_x, k_x * r**2, k_y * r**2
    inputs = Bits(groups=((n_y, 1), (n_x - n_y, 1)), identity=own)
    outputs = Bits(groups=((n_y, int(module != "codes")), (n_x - n_y, 0)), identity=0 if module == "bits" else code)
    d1, d3 = (own + P) / P, own / P
    last = sp.sqrt(k_x * k_y) * r**2 / P
    rows: dict[str, tuple[tuple[Any, ...], ...]] = {
        "dense": (
            (sp.sqrt((own + P) * (code + P)) / P, d1, n_y),
            (sp.sqrt((own + P) * code) / P, d1, n_x - n_y),
            (last, d3, P - n_x),
        ),
        "bits": ((sp.sqrt((own + P) * P) / P, d1, n_y), (0, d1, n_x - n_y), (0, d3, P - n_x)),
        "codes": ((sp.sqrt((own + P) * code) / P, d1, n_x), (last, d3, P - n_x)),
    }
    return Spectrum("classes of modes", of=(inputs, outputs), rows=rows[module], values=at, array=(X, Y))
