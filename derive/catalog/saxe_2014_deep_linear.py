"""Deep linear network trained by gradient flow: singular modes learn one after the other, each along a sigmoid.

Reference: A. M. Saxe, J. L. McClelland, S. Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear
neural networks", ICLR 2014.

===========  =============  =====================================================  ==================
symbol       shape          meaning                                                name in the paper
===========  =============  =====================================================  ==================
W1 .. WL     (N_l, N_l-1)   weights, first layer first                             W^21, W^32, ...
Sx, Syx      correlations   E[x x^T], E[y x^T] = U diag(s) V^T                     Sigma^11, Sigma^31
tau          scalar         time constant, 1 / learning rate                       tau
s            (r,)           singular values of Syx                                 s
a, b         (r,)           strengths of a mode in both layers (depth 2)           a, b
u            (r,)           strength of a mode of the whole map                    a, u
===========  =============  =====================================================  ==================

Loss E|y - W_L ... W_1 x|^2 / 2, time in the unit of tau.
Assumes, for the modes only: white inputs (Sx = I) and a start whose singular vectors are those of Syx; for one strength per
mode also layers of equal strength. The matrix flow needs none of it.
Fails for inputs whose correlation does not commute with Syx^T Syx: measure it, whiten, or integrate the matrix flow.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import sympy as sp

from derive.claims.entry import Commutes, Conserved, Entry, LeadingOrder, MatchesSimulation, Published, Solves
from derive.errors import InvalidSpec
from derive.flows.limits import at_depth
from derive.library.linear import linear_network
from derive.reductions.ansatz import Balanced, Modes
from derive.solutions.asymptotics import learning_times

REFERENCE = "Saxe, McClelland, Ganguli, ICLR 2014"


def entry(
    depth: int = 2,
    inputs: int = 6,
    hidden: int | None = None,
    outputs: int = 4,
    tau: float = 1.0,
    u0: float = 1e-3,
    eta: float = 0.01,
    batch: int = 8,
    seeds: int = 10,
    time: float | None = None,
    seed: int = 0,
) -> Entry:
    """``depth`` layers; data decide ``inputs`` and ``outputs``; ``u0`` is the strength of a mode at t = 0."""
    if not 2 <= depth <= 8:
        raise InvalidSpec(f"depth={depth}: give 2 to 8 layers (one layer is linear regression; the modes of more are the same)")
    model = linear_network(depth=depth)
    sizes = {"N0": inputs, f"N{depth}": outputs} | ({f"N{l}": hidden for l in range(1, depth)} if hidden else {})
    run = {"u0": u0, "eta": eta, "batch": batch, "seeds": seeds, "seed": seed} | ({"time": time} if time else {})
    return Entry(
        name="saxe_2014_deep_linear", title=f"deep linear network of {depth} layers, gradient flow", reference=REFERENCE,
        model=model, values={**sizes, "tau": tau, **run}, claims=claims(depth, model.state), docs=__doc__ or "",
    )  # fmt: skip


def claims(depth: int, weights: tuple[Any, ...]) -> tuple[Any, ...]:
    """What the paper prints: matrix flow, conserved quantities, modes, their solution."""
    n = sp.symbols(f"N0:{depth + 1}", integer=True, positive=True)
    Sx, Syx = sp.MatrixSymbol("Sx", n[0], n[0]), sp.MatrixSymbol("Syx", n[depth], n[0])
    tau, s, u, u0, t = sp.symbols("tau s u u0 t", positive=True)
    modes = Modes(white=True)
    strengths = (modes, Balanced())
    rate = u ** (2 - sp.Rational(2, depth)) * depth * (s - u) / tau
    out: list[Any] = [Published("matrix flow", rate={W: full_rate(l, weights, Sx, Syx) / tau for l, W in enumerate(weights)})]
    out += [Conserved(f"balance of {a} and {b}", b.T * b - a * a.T) for a, b in pairwise(weights)]
    if depth == 2:
        a, b = sp.symbols("a b", real=True)
        out.append(Published("both strengths of a mode", rate={a: b * (s - a * b) / tau, b: a * (s - a * b) / tau}, on=modes))
    out.append(Published("strength of a balanced mode", rate={u: rate}, on=strengths))
    if depth == 2:
        grown = sp.exp(2 * s * t / tau)
        out.append(Solves("sigmoid", {u: s * grown / (grown - 1 + s / u0)}, initial={u: u0}, ansatz=strengths))
    out.append(Solves("closed form of the engine", {}, ansatz=strengths))
    out += deep_claims(depth)
    out.append(Commutes("modes of the matrix flow", strengths))
    out.append(
        MatchesSimulation("gradient descent and SGD", observables=("loss",), sizes=(500, 1000, 2000), seeds=40, time=2.0)
    )
    return tuple(out)


def deep_claims(depth: int) -> tuple[Any, ...]:
    """Learning time from a small start; any number of layers, and infinitely many in the time depth * t."""
    tau, s, u, u0, L, eps, T = sp.symbols("tau s u u0 L eps T", positive=True)
    half, high, low = {T: (u, s / 2)}, s * sp.Rational(95, 100), s / 2
    first = sp.log(1 / u0) / (2 * s) if depth == 2 else u0 ** (sp.Rational(2, depth) - 1) / (s * (depth - 2))
    implicit = sp.log(high * (low - s) / (low * (high - s))) / s**2 + 1 / (s * low) - 1 / (s * high)
    deep = (Modes(white=True), lambda flow: at_depth(flow, sp.oo))
    return (
        LeadingOrder("time until half of a mode is learned", quantity=T, formula=tau * first, small=u0, times=half,
                     start={u: u0}, values={s: 1}, rate="log" if depth == 2 else 1 - 2 / depth,
                     derived=lambda flow: learning_times(flow).times["u"], on=(Modes(white=True), Balanced())),
        Published("balanced mode of L layers", rate={u: L * u ** (2 - 2 / L) * (s - u) / tau},
                  on=(Modes(white=True), lambda flow: at_depth(flow, L))),
        Published("balanced mode at infinite depth", rate={u: u**2 * (s - u) / tau}, on=deep),
        Solves("infinite depth, closed form of the engine", {}, ansatz=deep),
        LeadingOrder("time at infinite depth", quantity=T / eps, formula=tau * implicit, small=eps, times={T: (u, high)},
                     start={u: low}, values={s: 1, L: 1 / eps}, rate=1, on=(Modes(white=True), lambda flow: at_depth(flow, L))),
    )  # fmt: skip


def full_rate(l: int, weights: tuple[Any, ...], Sx: Any, Syx: Any) -> Any:
    """(product of the layers above)^T (Syx - W_L ... W_1 Sx) (product of the layers below)^T."""
    whole = sp.MatMul(*reversed(weights))
    out = Syx - whole * Sx
    if weights[l + 1 :]:
        out = sp.MatMul(*reversed(weights[l + 1 :])).T * out
    if weights[:l]:
        out = out * sp.MatMul(*reversed(weights[:l])).T
    return out
