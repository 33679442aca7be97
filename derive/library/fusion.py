"""Deep linear networks that see two modalities and fuse them after any number of layers.

Imported by the catalogue and by users.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from derive.errors import InvalidSpec
from derive.reductions.ansatz import Manifold
from derive.spec.laws import Moments
from derive.spec.model import Model
from derive.spec.nodes import grad, mean
from derive.spec.rules import Rate
from derive.spec.sugar import norm2
from derive.spec.symbols import dims, matrix, scalars, vector

__all__ = ["branch_weights", "two_modalities", "two_strengths"]


def branch_weights(layers: int, before: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Weights that A and B pass through, input first; the last ``layers - before`` of both are the same matrices.

    Raises
    ------
    InvalidSpec
        If the numbers of layers do not fit.

    >>> branch_weights(3, 2)
    ((WA1, WA2, W3), (WB1, WB2, W3))
    """
    if not 1 <= before <= layers or layers < 2:
        raise InvalidSpec(f"{layers} layers, {before} of them in front of the fusion: give 2 layers or more, and 1 to {layers}")
    sizes = {
        k: [dims(f"n{k}"), *(dims(f"h{l}" if l >= before else f"h{k}{l}") for l in range(1, layers)), dims("o")] for k in "AB"
    }
    own = {k: tuple(matrix(f"W{k}{l}", s[l], s[l - 1]) for l in range(1, before + 1)) for k, s in sizes.items()}
    shared = tuple(matrix(f"W{l}", sizes["A"][l], sizes["A"][l - 1]) for l in range(before + 1, layers + 1))
    return own["A"] + shared, own["B"] + shared


def two_modalities(layers: int = 2, before: int = 2, *, name: str = "two_modalities") -> Model:
    """A linear network of ``layers`` layers on modalities A and B, which are added after ``before`` layers.

    .. math:: y - \\hat y = y - W_L \\cdots (W_f^A \\cdots W_1^A x_A + W_f^B \\cdots W_1^B x_B)

    ================  ==============  =======================================================
    symbol            shape           meaning
    ================  ==============  =======================================================
    WA1.., WB1..      (h, nA) ...     layers in front of the fusion, for each modality
    W(f+1) .. WL      (h, h) ...      common layers behind it; none if before = layers
    SA, SB, SAB       correlations    E[xA xA'], E[xB xB'], E[xA xB']
    SyA, SyB, Syy     correlations    E[y xA'], E[y xB'], E[y y']
    tau               number          time constant
    ================  ==============  =======================================================

    Raises
    ------
    InvalidSpec
        If the numbers of layers do not fit.

    Examples
    --------
    >>> two_modalities(3, 1).lowered.state
    ('WA1', 'WB1', 'W2', 'W3')
    """
    A, B = branch_weights(layers, before)
    nA, nB, o = dims("nA nB o")
    xA, xB, y, L = vector("xA", nA), vector("xB", nB), vector("y", o), scalars("L")
    tau = scalars("tau", positive=True)
    named = {xA * xA.T: matrix("SA", nA, nA), xB * xB.T: matrix("SB", nB, nB), xA * xB.T: matrix("SAB", nA, nB)}
    named |= {y * xA.T: matrix("SyA", o, nA), y * xB.T: matrix("SyB", o, nB), y * y.T: matrix("Syy", o, o)}
    weights = tuple(dict.fromkeys((*A[:before], *B[:before], *A[before:])))
    return Model(
        name=name, state=weights, given=(tau,), data=Moments((xA, xB, y), named),
        let={L: norm2(y - _through(A, xA) - _through(B, xB)) / 2},
        learn=Rate({W: -grad(L, W) / tau for W in weights}),
        observe={"loss": mean(L)},
    )  # fmt: skip


def _through(weights: Sequence[Any], x: Any) -> Any:
    for W in weights:
        x = W * x
    return x


def two_strengths(layers: int, before: int) -> Manifold:
    """One-dimensional modalities and target: balanced layers of rank one, with strengths uA, uB, and u behind the fusion.

    >>> [str(z) for z in two_strengths(3, 2).coordinates]
    ['uA', 'uB', 'u']
    """
    A, B = branch_weights(layers, before)
    ey: Any = vector("ey", A[-1].rows)
    uA, uB, u = scalars("uA uB u")
    frames = {k: [vector(f"e{k}", w[0].cols), *_frames(k, w, before), ey] for k, w in (("A", A), ("B", B))}
    lift: dict[Any, Any] = {}
    for k, w, own in (("A", A, uA), ("B", B, uB)):
        for l, W in enumerate(w):
            lift[W] = (own if l < before else u) * frames[k][l + 1] * frames[k][l].T
    eA, eB = frames["A"][0], frames["B"][0]
    nA, nB, o = eA.rows, eB.rows, ey.rows
    sA, sB, sAB, syA, syB, sy = scalars("sA sB sAB syA syB sy")
    data = {
        matrix("SA", nA, nA): sA * eA * eA.T, matrix("SB", nB, nB): sB * eB * eB.T, matrix("SAB", nA, nB): sAB * eA * eB.T,
        matrix("SyA", o, nA): syA * ey * eA.T, matrix("SyB", o, nB): syB * ey * eB.T, matrix("Syy", o, o): sy * ey * ey.T,
    }  # fmt: skip
    tags = dict.fromkeys((*frames["A"], *frames["B"]), "orth")
    return Manifold(lift, coordinates=(uA, uB) if before == layers else (uA, uB, u), data=data, tags=tags)


def _frames(k: str, weights: Sequence[Any], before: int) -> list[Any]:
    """Unit vectors of the hidden layers; behind the fusion both modalities share them."""
    return [vector(f"r{l}" if l >= before else f"r{k}{l}", W.rows) for l, W in enumerate(weights[:-1], 1)]
