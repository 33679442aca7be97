"""Linear recurrent network that learns a filter: gradient flow on the recurrent weights of an H2 norm.

Reference: B. Bordelon, J. Cotler, C. Pehlevan, J. Zavatone-Veth, "Dynamically learning to integrate in recurrent neural
networks", 2025 (chosen here: read-in and read-out are fixed, no powers of N in loss and time).

===================  ==============  ============================================================  ==================
symbol               shape           meaning                                                       name in the paper
===================  ==============  ============================================================  ==================
W                    (N, N)          recurrent weights,  h' = -leak h + W h + u x(t),  y = v.h     W
u, v                 (N, 1)          read-in and read-out                                          u, v
Astar, ustar, vstar  (m, m), (m, 1)  a realisation of the target filter  f_*(t) = v*.exp(A* t) u*
c, cs                scalars         outlier: decay rate of the network, of the target             lambda, lambda_*
===================  ==============  ============================================================  ==================

The loss  int (f - f_*)^2 dt / 2  is half of the stationary mean square error for white noise. Reduced:
weights that start in the span of read-in and read-out stay there (a 2 x 2 block; the eigenvalues of an oscillator collide, so
follow trace and discriminant). With u = v of length one and a target e^{-cs t} one number is left.
Assumes that all eigenvalues of W - leak lie left of the imaginary axis. Fails where one crosses it: kernels give NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from derive.claims.entry import Commutes, Entry, MatchesSimulation, Published
from derive.errors import InvalidSpec
from derive.reductions.ansatz import Manifold
from derive.spec.model import Model
from derive.spec.nodes import grad, root
from derive.spec.rules import Rate
from derive.spec.sugar import dot
from derive.spec.symbols import dims, matrix, scalars, vector

NAME, REFERENCE = "bordelon_2025_linear_rnn", "Bordelon, Cotler, Pehlevan, Zavatone-Veth, 2025"
N, m, h = dims("N m h")
W, A, P, R = matrix("W", N, N), matrix("A", N, N), matrix("P", N, N), matrix("R", N, m)
Astar, Pstar = matrix("Astar", m, m), matrix("Pstar", m, m)
u, v, ustar, vstar = vector("u", N), vector("v", N), vector("ustar", m), vector("vstar", m)
M, B, a, b, e, d = matrix("M", h, h), matrix("B", N, h), vector("a", h), vector("b", h), vector("e", N), vector("d", m)
c = scalars("c", positive=True)
leak, cs, L = scalars("leak cs L")


def entry(
    target: str = "oscillator", N: int = 5, leak: float = 2.0, decay: float = 0.2, frequency: float = 0.7, time: float = 80.0
) -> Entry:
    """``target`` is "oscillator", e^(-decay t) cos(frequency t), or "integrator", e^(-decay t)."""
    if target not in ("integrator", "oscillator"):
        raise InvalidSpec(f"target={target!r}: write 'integrator' or 'oscillator'")
    first, second = np.linalg.qr(np.random.default_rng(0).standard_normal((N, 2)))[0].T[:, :, None]
    turn = frequency * np.array([[0.0, -1.0], [1.0, 0.0]]) if target == "oscillator" else np.zeros((1, 1))
    unit = np.eye(len(turn))[:, :1]
    v = first if target == "integrator" else 0.8 * first + 0.6 * second
    filters = {"Astar": turn - decay * np.eye(len(turn)), "ustar": unit, "vstar": unit, "u": first, "v": v}
    return Entry(
        name=NAME, title=f"linear recurrent network, target: {target}", reference=REFERENCE, kind="matrix", model=model(),
        values={"N": N, "m": len(turn), "h": 2, "leak": leak, "W": np.zeros((N, N)), **filters, "time": time},
        claims=claims(), docs=__doc__ or "",
    )  # fmt: skip


def model() -> Model:
    """The loss by covariances of the states; each solves a linear equation, and so do its derivatives."""
    seen = {"trace": sp.Trace(W), "discriminant": 2 * sp.Trace(W * W) - sp.Trace(W) ** 2}
    return Model(
        name=NAME, state=(W,), given=(u, v, Astar, ustar, vstar, leak), learn=Rate({W: -grad(L, W)}),
        let={
            A: W - leak * sp.Identity(N),
            P: root(A * P + P * A.T + u * u.T),
            R: root(A * R + R * Astar.T + u * ustar.T),
            Pstar: root(Astar * Pstar + Pstar * Astar.T + ustar * ustar.T),
            L: dot(v, P * v) / 2 - dot(v, R * vstar),
        },
        observe={"loss": L + dot(vstar, Pstar * vstar) / 2, **seen},
    )  # fmt: skip


def claims() -> tuple[Any, ...]:
    """Flow of all weights, of the block, and of the outlier."""
    block = Manifold({W: B * M * B.T}, coordinates=(M,), data={u: B * a, v: B * b}, tags={B: "orth"})
    lone = {u: e, v: e, Astar: -cs * d * d.T, ustar: d, vstar: d}
    outlier = Manifold({W: (leak - c) * e * e.T}, coordinates=(c,), data=lone, tags={e: "orth", d: "orth"})
    return (
        Published("decay rate of an integrator", rate={c: 1 / (4 * c**2) - 1 / (c + cs) ** 2}, on=outlier),
        Published("flow of all weights, from the Gramians of network and target", rate={W: gramians}),
        Published("flow of the block, by residues", rate={M: residues}, on=block),
        Commutes("the block follows the full flow", block, times=(1, 2, 5, 10)),
        MatchesSimulation("gradient descent", observables=("loss",), sizes=(8, 16, 32, 64), time=1.0),
    )


def gramians(values: Any) -> Any:
    """-(Q P) of the network's corner, for the joint system of network and target."""
    n = len(values["W"])
    corner = np.zeros((n, len(values["Astar"])))
    joint = np.block([[values["W"] - values["leak"] * np.eye(n), corner], [corner.T, values["Astar"]]])
    into, out = np.vstack([values["u"], values["ustar"]]), np.vstack([values["v"], -values["vstar"]])

    def gramian(J: Any, w: Any) -> Any:
        one = np.eye(len(J))
        return -np.linalg.solve(np.kron(J, one) + np.kron(one, J), (w @ w.T).ravel()).reshape(J.shape)

    return -(gramian(joint.T, out) @ gramian(joint, into))[:n, :n]


def residues(values: Any) -> Any:
    """Two by two: Gramians by the theorem of Cayley and Hamilton, the target by partial fractions in its eigenvalues."""
    one, a, b, A = np.eye(2), values["a"], values["b"], values["M"] - values["leak"] * np.eye(2)

    def gramian(A: Any, w: Any) -> Any:
        D, side = np.linalg.det(A), (np.trace(A) * one - A) @ w
        return -(D * w @ w.T + side @ side.T) / (2 * np.trace(A) * D)

    poles, vectors = np.linalg.eig(values["Astar"])
    weights = (values["vstar"].T @ vectors).ravel() * np.linalg.solve(vectors, values["ustar"] + 0j).ravel()
    back = [np.linalg.inv(A + pole * one).T for pole in poles]
    return sum(k * r @ b @ a.T @ r for k, r in zip(weights, back, strict=True)).real - gramian(A.T, b) @ gramian(A, a)
