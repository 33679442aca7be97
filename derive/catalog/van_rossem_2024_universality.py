"""When representations align: two inputs, smooth maps linearised around their mean, closed in three numbers.

Reference: L. van Rossem, A. M. Saxe, "When representations align: universality in representation learning dynamics", ICML 2024
(effective theory of two data points).

===========  ========  ================================================  ==================
symbol       shape     meaning                                           name in the paper
===========  ========  ================================================  ==================
Dh, Dy       (H,N)...  slopes of the maps input -> hidden -> output      D_h, D_y
dx, dystar   (N, 1)..  differences of the two inputs, of their targets   dx, dy*
z            scalar    |dh|^2, dh = Dh dx                                |dh|^2
u, p         scalar    |dy|^2 and dy . dystar, dy = Dy dh                |dy|^2, dy . dy*
q            (O, 1)    dy / |dh|^2: Dy = q dh' on the aligned manifold   -
tau_h, ...   scalar    effective time constants                          tau_h, tau_y
===========  ========  ================================================  ==================

The loss over the two points is |dy - dystar|^2 / 8 beside the mean output, which decouples. On the manifold where Dy has rank
one and reads the hidden difference only, ``complete`` closes the flow in |dh|^2, |q|^2 and q . dystar; z, u and p are products
of these. The end of |dh|^2 is selected by a conserved quantity.
Assumes gradient flow, and for three numbers that Dy is aligned; this attracts from a small Dy, and is proved invariant here.
Fails as dh -> 0, where the aligned manifold is singular, and for networks whose effective time constants change in training.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.claims.entry import Commutes, Conserved, Entry, MatchesSimulation, Published, Rests
from derive.completion.closure import complete
from derive.reductions.ansatz import Manifold
from derive.spec.model import Model
from derive.spec.nodes import grad
from derive.spec.rules import Rate
from derive.spec.sugar import dot, norm2
from derive.spec.symbols import dims, matrix, scalars, vector

NAME = "van_rossem_2024_universality"
REFERENCE = "van Rossem, Saxe, ICML 2024, effective theory of two points"
N, H, O = dims("N H O")
Dh, Dy, G = matrix("Dh", H, N), matrix("Dy", O, H), matrix("G", H, N)
dx, dystar, q = vector("dx", N), vector("dystar", O), vector("q", O)
tau_h, tau_y, z, u = scalars("tau_h tau_y z u", positive=True)
p = scalars("p")


def entry(
    N: int = 4, H: int = 6, O: int = 3, tau_h: float = 1.0, tau_y: float = 0.6, scale: float = 0.05, time: float = 20.0,
    seed: int = 0,
) -> Entry:  # fmt: skip
    """``N`` inputs, ``H`` hidden units, ``O`` outputs; differences of the two points with alternating signs."""
    data = {"dx": [[(-1.0) ** i / (i + 1)] for i in range(N)], "dystar": [[1.0 - 0.8 * (i % 2)] for i in range(O)]}
    values = {"N": N, "H": H, "O": O, "tau_h": tau_h, "tau_y": tau_y, **data}
    return Entry(
        name=NAME,
        title="effective theory of two aligned representations",
        reference=REFERENCE,
        kind="matrix",
        model=model(),
        values={**values, "scale": scale, "time": time, "seed": seed},
        claims=claims(),
        docs=__doc__ or "",
    )


def model() -> Model:
    """Gradient flow of both slopes, each with its own time constant."""
    L = scalars("L")
    return Model(
        name=NAME,
        state=(Dh, Dy),
        given=(dx, dystar, tau_h, tau_y),
        let={L: norm2(Dy * Dh * dx - dystar) / 8},
        learn=Rate({Dh: -grad(L, Dh) / tau_h, Dy: -grad(L, Dy) / tau_y}),
        observe={"loss": L, "hidden": norm2(Dh * dx), "output": norm2(Dy * Dh * dx)},
    )


def aligned() -> Manifold:
    """Dy = q dh', with Dh itself as a coordinate."""
    read = {G: Dh, q: Dy * Dh * dx / norm2(Dh * dx)}
    return Manifold({Dh: G, Dy: q * (G * dx).T}, coordinates=(G, q), solve_for=read)


def closed(reduction: Any) -> Any:
    """|dh|^2, |q|^2 and q . dystar, which close."""
    return complete(reduction.system, (norm2(G * dx), norm2(q), dot(q, dystar)))


def claims() -> tuple[Any, ...]:
    """Slopes, three numbers, what they keep, and where small weights end."""
    error, h, w = Dy * Dh * dx - dystar, Dh * dx, u - p
    X, Y, on = norm2(dx), norm2(dystar), aligned()
    hidden, square, overlap, nX, nY = scalars("n_G_dx n_q x_dystar_q n_dx n_dystar", positive=True)
    rate = {
        z: -X * w / (2 * tau_h),
        u: -w * (z / (2 * tau_y) + X * u / (2 * tau_h * z)),
        p: -z * (p - Y) / (4 * tau_y) - X * w * p / (4 * tau_h * z),
    }
    small = {k: e.xreplace({X: nX, Y: nY}) for k, e in rate.items()}
    vectors = {z: norm2(G * dx), u: norm2(q) * norm2(G * dx) ** 2, p: dot(q, dystar) * norm2(G * dx)}
    numbers = {z: hidden, u: square * hidden**2, p: overlap * hidden}
    kept = tau_h * norm2(G * dx) / X - tau_y * norm2(q) * norm2(G * dx)
    end = sp.sqrt(tau_y * nX * nY / tau_h)
    return (
        Published("flow of the slopes", rate={Dh: -Dy.T * error * dx.T / (4 * tau_h), Dy: -error * h.T / (4 * tau_y)}),
        Published("three equations, in vectors", where=vectors, rate=rate, on=on),
        Published("three equations, closed", where=numbers, rate=small, on=(on, closed)),
        Conserved("hidden against output difference", kept, on=on),
        Conserved("the same in the closed system", tau_h * hidden / nX - tau_y * square * hidden, on=(on, closed)),
        Rests("end of small weights", at={hidden: end, square: nY / end**2, overlap: nY / end}, on=(on, closed)),
        Commutes("aligned slopes stay aligned", on),
        MatchesSimulation("gradient descent on both slopes", observables=("loss",), seeds=2, time=8.0),
    )
