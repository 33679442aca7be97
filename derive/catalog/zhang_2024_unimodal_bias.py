"""Two-layer linear network on two modalities: with late fusion one modality is learned long before the other.

Reference: Y. Zhang, P. E. Latham, A. M. Saxe, "Understanding unimodal bias in multimodal deep linear networks", ICML 2024.

=================  =============  ================================================  ==================
symbol             shape          meaning                                           name in the paper
=================  =============  ================================================  ==================
WA1, WB1           (h, nA), ...   first layer of every modality                     W_A^1, W_B^1
WA2, WB2 (late)    (o, h)         second layers, one for each branch                W_A^2, W_B^2
W2 (early)         (o, h)         second layer behind the fusion                    W_tot
SA, SB, SAB        correlations   E[xA xA^T], E[xB xB^T], E[xA xB^T]                Sigma_A, Sigma_B, Sigma_AB
SyA, SyB           correlations   E[y xA^T], E[y xB^T]                              Sigma_yxA, Sigma_yxB
uA, uB, u          scalars        strengths of both first layers, of the second     u_A, u_B, u
tau                scalar         time constant                                     tau
=================  =============  ================================================  ==================

Reduced: modalities and target are one-dimensional, xA = eA times a number, and layers balanced and of rank one. Then a branch
of late fusion obeys uk' = uk gk with gk the correlation of modality k with the error, and the ratio of the times at which
B and A are learned tends to 1 + (syA - syB) / |syB - syA sAB / sA| for equal small starts and syA > syB.
Assumes gradient flow; any correlations for the matrix flow.
Fails, for the ratio, at starts that are not small: it is of leading order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derive.ansatz import Manifold
from derive.entry import Conserved, Entry, MatchesSimulation, Published
from derive.errors import InvalidSpec
from derive.laws import Moments
from derive.model import Model
from derive.nodes import grad, mean
from derive.rules import Rate
from derive.sugar import norm2
from derive.symbols import dims, matrix, scalars, vector

NAME = "zhang_2024_unimodal_bias"
REFERENCE = "Zhang, Latham, Saxe, ICML 2024"
nA, nB, h, o = dims("nA nB h o")
tau = scalars("tau", positive=True)
WA1, WB1 = matrix("WA1", h, nA), matrix("WB1", h, nB)
WA2, WB2, W2 = (matrix(name, o, h) for name in ("WA2", "WB2", "W2"))
OVER = {"late": (WA2, WB2), "early": (W2, W2)}  # second layers that A and B pass through
SA, SB, SAB = matrix("SA", nA, nA), matrix("SB", nB, nB), matrix("SAB", nA, nB)
SyA, SyB, Syy = matrix("SyA", o, nA), matrix("SyB", o, nB), matrix("Syy", o, o)
uA, uB, u = scalars("uA uB u")
sA, sB, sAB, syA, syB = scalars("sA sB sAB syA syB")


def entry(
    fusion: str = "late", nA: int = 3, nB: int = 2, h: int = 6, o: int = 2, tau: float = 1.0, scale: float = 0.3,
    eta: float = 0.02, batch: int = 8, seeds: int = 10, time: float = 6.0, seed: int = 0,
) -> Entry:  # fmt: skip
    """``fusion`` is "late" (one branch for each modality) or "early" (a common second layer)."""
    if fusion not in OVER:
        raise InvalidSpec(f"fusion={fusion!r}: write 'late' or 'early'")
    run = {"scale": scale, "eta": eta, "batch": batch, "seeds": seeds, "time": time, "seed": seed}
    return Entry(
        name=NAME, title=f"two modalities, {fusion} fusion", reference=REFERENCE, kind="matrix", model=model(fusion),
        values={"nA": nA, "nB": nB, "h": h, "o": o, "tau": tau, **inputs(nA, nB, seed), **run},
        claims=claims(fusion),
        docs=__doc__ or "",
    )  # fmt: skip


def inputs(nA: int, nB: int, seed: int) -> dict[str, Any]:
    """Correlations of inputs with common causes; one-dimensional ones: deviations 2 and 1, correlation 1/2, y = xA + xB."""
    root = np.random.default_rng(seed).standard_normal((nA + nB, 2 * (nA + nB)))
    S = root @ root.T / root.shape[1]
    return {"SA": S[:nA, :nA], "SB": S[nA:, nA:], "SAB": S[:nA, nA:], "sA": 4.0, "sB": 1.0, "sAB": 1.0, "syA": 5.0, "syB": 2.0}


def model(fusion: str = "late") -> Model:
    """Squared error of the sum of both branches."""
    xA, xB, y, L = vector("xA", nA), vector("xB", nB), vector("y", o), scalars("L")
    weights = dict.fromkeys((WA1, WB1, *OVER[fusion]))
    named = {xA * xA.T: SA, xB * xB.T: SB, xA * xB.T: SAB, y * xA.T: SyA, y * xB.T: SyB, y * y.T: Syy}
    return Model(
        name=NAME, state=tuple(weights), given=(tau,), data=Moments((xA, xB, y), named),
        let={L: norm2(y - OVER[fusion][0] * WA1 * xA - OVER[fusion][1] * WB1 * xB) / 2},
        learn=Rate({W: -grad(L, W) / tau for W in weights}),
        observe={"loss": mean(L)},
    )  # fmt: skip


def strengths(fusion: str) -> Manifold:
    """One-dimensional modalities and target; balanced layers of rank one."""
    eA, eB, ey = vector("eA", nA), vector("eB", nB), vector("ey", o)
    rA, rB = (vector("rA", h), vector("rB", h)) if fusion == "late" else (vector("r", h),) * 2
    lift = {WA1: uA * rA * eA.T, WB1: uB * rB * eB.T}
    lift |= {WA2: uA * ey * rA.T, WB2: uB * ey * rB.T} if fusion == "late" else {W2: u * ey * rA.T}
    data = {SA: sA * eA * eA.T, SB: sB * eB * eB.T, SAB: sAB * eA * eB.T, SyA: syA * ey * eA.T, SyB: syB * ey * eB.T}
    data[Syy] = scalars("sy") * ey * ey.T
    tags = dict.fromkeys((eA, eB, ey, rA, rB), "orth")
    return Manifold(lift, coordinates=(uA, uB) if fusion == "late" else (uA, uB, u), data=data, tags=tags)


def claims(fusion: str) -> tuple[Any, ...]:
    """Flow of all layers, their balance, and the strengths of one-dimensional modalities."""
    overA, overB = OVER[fusion]
    gA, gB = SyA - overA * WA1 * SA - overB * WB1 * SAB.T, SyB - overB * WB1 * SB - overA * WA1 * SAB
    full = {WA1: overA.T * gA / tau, WB1: overB.T * gB / tau}
    above = (uA, uB) if fusion == "late" else (u, u)
    dA, dB = syA - above[0] * uA * sA - above[1] * uB * sAB, syB - above[1] * uB * sB - above[0] * uA * sAB
    small = {uA: above[0] * dA / tau, uB: above[1] * dB / tau}
    if fusion == "late":
        full |= {WA2: gA * WA1.T / tau, WB2: gB * WB1.T / tau}
        kept = [Conserved(f"balance of branch {k}", b.T * b - a * a.T) for k, a, b in (("A", WA1, WA2), ("B", WB1, WB2))]
    else:
        full[W2], small[u] = (gA * WA1.T + gB * WB1.T) / tau, (uA * dA + uB * dB) / tau
        kept = [Conserved("balance at the fusion", W2.T * W2 - WA1 * WA1.T - WB1 * WB1.T)]
        kept.append(Conserved("balance of the strengths", u**2 - uA**2 - uB**2, on=strengths(fusion)))
    reduced = Published("strengths of both modalities", rate=small, on=strengths(fusion))
    return (
        Published("flow of all layers", rate=full), *kept, reduced,
        MatchesSimulation("gradient descent and SGD", observables=("loss",), sizes=(500, 1000, 2000), seeds=40, time=1.0),
    )  # fmt: skip
