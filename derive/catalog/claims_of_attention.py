"""Claims about the saddles of linear attention: states at rest, their losses, and how long the plateaus before them last.

M = sum_i v_i U_i, or sum_i v_i k_i q_i^T, is all that the loss sees. Merged heads know two values, M = 0 and the solution M*;
separate heads of rank one rest at every subset of eigenvectors of Lam, and learn them in the order of their eigenvalues.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sympy as sp

from derive.claims.entry import LeadingOrder, Rests
from derive.library.attention import attention_weights
from derive.solutions.asymptotics import learning_times
from derive.spec.symbols import dims, matrix, scalars

D, N = dims("D N")
Lam = matrix("Lam", D, D)
tau, z0, ell, lam, mu = scalars("tau z0 ell lam mu", positive=True)


def merged_saddles(heads: int, white: Any) -> tuple[Any, ...]:
    """Nothing learned, everything learned, and the time of the single drop for white inputs."""
    found, z, tz = attention_weights("merged", heads), *scalars("z tz")
    solution = (Lam + (Lam + sp.Trace(Lam) * sp.Identity(D)) / N).inv()
    learned = {s: e for U, v in found for s, e in ((U, solution / heads), (v, sp.Integer(1)))}
    end = sp.sqrt(sp.sqrt(D) / (heads * ell * (1 + (1 + D) / N)))
    return (
        Rests("nothing is learned", at={s: 0 * s for pair in found for s in pair}, observables={"loss": sp.Trace(Lam)}),
        Rests("everything is learned", at=learned, observables={"loss": sp.Trace(Lam) - sp.Trace(Lam * Lam * solution)}),
        LeadingOrder(
            "time of the drop, white inputs", quantity=tz, times={tz: (z, end / 2)}, start={z: z0}, small=z0, on=white,
            formula=tau * sp.log(1 / z0) / (sp.sqrt(D) * ell**2), derived=first_time,
        ),
    )  # fmt: skip


def separate_saddles(heads: int, dimension: int, one: Any) -> tuple[Any, ...]:
    """The saddles with 0, 1, 2, ... eigenvectors learned, and the time of one plateau."""
    z, tz = scalars("z tz")
    end = (lam * (1 + (1 + (lam + (D - 1) * mu) / lam) / N)) ** sp.Rational(-1, 3)
    many = tuple(
        Rests(f"{m} eigenvectors learned", at=at_eigenvectors(heads, m), observables={"loss": saddle_loss(m)})
        for m in range(min(heads, dimension) + 1)
    )
    return (
        *many,
        LeadingOrder(
            "time on the plateau in front of an eigenvector", quantity=tz, times={tz: (z, end / 2)}, start={z: z0}, small=z0,
            rate=1, formula=tau / (lam**2 * z0), derived=first_time, on=one,
        ),
    )  # fmt: skip


def first_time(flow: Any) -> Any:
    """The engine's time of the only state."""
    return learning_times(flow, small=z0, positive=(D - 1, D, N)).times["z"]


def eigen(values: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Eigenvalues and eigenvectors of Lam, largest first, and 1 + (1 + tr Lam / lam) / N."""
    lam, e = np.linalg.eigh(np.asarray(values["Lam"], dtype=float))
    lam, e = lam[::-1], e[:, ::-1]
    return lam, e, 1 + (1 + lam.sum() / lam) / float(values["N"])


def at_eigenvectors(heads: int, m: int) -> dict[Any, Callable[[Mapping[str, Any]], Any]]:
    """Head i at k = q = z e_i, v = z with z^3 = 1/(lam_i (1 + (1 + tr Lam / lam_i)/N)) for i <= m, the others at zero."""

    def size(i: int) -> Callable[[Mapping[str, Any]], Any]:
        return lambda values: np.cbrt(1 / (eigen(values)[0][i] * eigen(values)[2][i])) if i < m else 0.0

    def vector(i: int) -> Callable[[Mapping[str, Any]], Any]:
        return lambda values: size(i)(values) * eigen(values)[1][:, [i if i < m else 0]]

    found = enumerate(attention_weights("separate", heads))
    return {s: f for i, (k, q, v) in found for s, f in ((k, vector(i)), (q, vector(i)), (v, size(i)))}


def saddle_loss(m: int) -> Callable[[Mapping[str, Any]], float]:
    """tr Lam - sum over the learned of lam / (1 + (1 + tr Lam / lam)/N)."""

    def loss(values: Mapping[str, Any]) -> float:
        lam, _, factor = eigen(values)
        return float(lam.sum() - (lam / factor)[:m].sum())

    return loss
