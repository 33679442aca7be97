"""Deep linear network on two modalities: fused late, one modality is learned long before the other.

Reference: Y. Zhang, P. E. Latham, A. M. Saxe, "Understanding unimodal bias in multimodal deep linear networks", ICML 2024.

=================  =============  ================================================  ==================
symbol             shape          meaning                                           name in the paper
=================  =============  ================================================  ==================
WA1, WB1, ...      (h, nA), ...   layers of every modality in front of the fusion   W_A^1, W_B^1, ...
W2, ...            (h, h), ...    layers behind it; none for late fusion            W_tot
SA, SB, SAB        correlations   E[xA xA^T], E[xB xB^T], E[xA xB^T]                Sigma_A, Sigma_B, Sigma_AB
SyA, SyB           correlations   E[y xA^T], E[y xB^T]                              Sigma_yxA, Sigma_yxB
uA, uB, u          scalars        strengths in front of the fusion, and behind it   u_A, u_B, u
tau                scalar         time constant                                     tau
=================  =============  ================================================  ==================

Reduced: modalities and target are one-dimensional, layers balanced and of rank one; gk is the correlation of modality k with
the error. Fused after f of L layers, uk' = uk^(f-1) u^(L-f) gk. For equal small starts and syA > syB the times at which B and
A are learned have the ratio 1 + (syA - syB) / (syB - syA sAB / sA) at every depth of late fusion; in between it tends to 1.
Assumes gradient flow; any correlations for the matrix flow.
Fails, for times and ratios, at starts that are not small: they are of leading order.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import sympy as sp

from derive.catalog.claims_of_fusion import time_claims
from derive.claims.entry import Conserved, Entry, MatchesSimulation, Published
from derive.errors import InvalidSpec
from derive.library.fusion import branch_weights, two_modalities, two_strengths
from derive.spec.symbols import dims, matrix, scalars

NAME = "zhang_2024_unimodal_bias"
uA, uB, u, sA, sB, sAB, syA, syB = scalars("uA uB u sA sB sAB syA syB")
tau = scalars("tau", positive=True)


def entry(
    fusion: str | int = "late", layers: int = 2, nA: int = 3, nB: int = 2, h: int = 6, o: int = 2, tau: float = 1.0,
    scale: float = 0.3, eta: float = 0.02, batch: int = 8, seeds: int = 10, time: float = 6.0, seed: int = 0,
) -> Entry:  # fmt: skip
    """``fusion`` is "late" (one branch for each modality), "early" (after the first layer), or a number of layers."""
    f = {"late": layers, "early": 1}.get(str(fusion), int(fusion) if str(fusion).isdigit() else fusion)
    if not isinstance(f, int) or not isinstance(layers, int) or not 1 <= f <= layers or layers < 2:
        raise InvalidSpec(
            f"fusion={fusion!r} of {layers} layers: write 'late', 'early', or a number of layers from 1 to {layers}"
        )
    how = f"{fusion} fusion" if layers == 2 and fusion != f else f"{layers} layers, fused after {f}"
    sizes = {"nA": nA, "nB": nB, "o": o} | {f"h{k}{l}": h for l in range(1, layers) for k in (("A", "B") if l < f else ("",))}
    sgd = MatchesSimulation("gradient descent and SGD", observables=("loss",), sizes=(500, 1000, 2000), seeds=40, time=1.0)
    run = {"scale": scale, "eta": eta, "batch": batch, "seeds": seeds, "time": time, "seed": seed}
    return Entry(
        name=NAME, title=f"two modalities, {how}", reference="Zhang, Latham, Saxe, ICML 2024",
        kind="matrix", model=two_modalities(layers, f, name=NAME),
        values={**sizes, "tau": tau, **inputs(nA, nB, seed), **run},
        claims=(*flow_claims(layers, f), *mode_claims(layers, f), *(time_claims(layers, f) if f > 1 else ()), sgd),
        docs=__doc__ or "",
    )  # fmt: skip


def inputs(nA: int, nB: int, seed: int) -> dict[str, Any]:
    """Correlations of inputs with common causes; one-dimensional ones: deviations 2 and 1, correlation 1/2, y = xA + xB."""
    root = np.random.default_rng(seed).standard_normal((nA + nB, 2 * (nA + nB)))
    S = root @ root.T / root.shape[1]
    return {"SA": S[:nA, :nA], "SB": S[nA:, nA:], "SAB": S[:nA, nA:], "sA": 4.0, "sB": 1.0, "sAB": 1.0, "syA": 5.0, "syB": 2.0}


def flow_claims(layers: int, f: int) -> tuple[Any, ...]:
    """Flow of all layers, balance inside the branches, at the fusion and behind it."""
    (A, B), (nA, nB, o) = branch_weights(layers, f), dims("nA nB o")
    SAB, whole = matrix("SAB", nA, nB), [sp.MatMul(*reversed(W)) for W in (A, B)]
    gA = matrix("SyA", o, nA) - whole[0] * matrix("SA", nA, nA) - whole[1] * SAB.T
    gB = matrix("SyB", o, nB) - whole[1] * matrix("SB", nB, nB) - whole[0] * SAB
    rates: dict[Any, Any] = {}
    for W, g in ((A, gA), (B, gB)):
        for l in range(layers):
            above, below = W[:l:-1], W[:l][::-1]
            term = sp.MatMul(*([sp.MatMul(*above).T] if above else []), g, *([sp.MatMul(*below).T] if below else []))
            rates[W[l]] = rates[W[l]] + term / tau if W[l] in rates else term / tau
    chains = [pair for part in (A[:f], B[:f], A[f:]) for pair in pairwise(part)]
    kept = [Conserved(f"balance of {a} and {b}", b.T * b - a * a.T) for a, b in chains]
    if f < layers:
        kept.append(Conserved("balance at the fusion", A[f].T * A[f] - A[f - 1] * A[f - 1].T - B[f - 1] * B[f - 1].T))
    return Published("flow of all layers", rate=rates), *kept


def mode_claims(layers: int, f: int) -> tuple[Any, ...]:
    """Strengths of one-dimensional modalities, and what they keep."""
    after = u ** (layers - f)
    dA = syA - sA * uA**f * after - sAB * uB**f * after
    dB = syB - sB * uB**f * after - sAB * uA**f * after
    rates = {uA: uA ** (f - 1) * after * dA / tau, uB: uB ** (f - 1) * after * dB / tau}
    if f == layers:
        return (Published("strengths of both modalities", rate=rates, on=two_strengths(layers, f)),)
    rates[u] = (uA**f * dA + uB**f * dB) * u ** (layers - f - 1) / tau
    kept = Conserved("balance of the strengths", u**2 - uA**2 - uB**2, on=two_strengths(layers, f))
    return Published("strengths of both modalities", rate=rates, on=two_strengths(layers, f)), kept
