"""Printed order-parameter equations of a rectified network of one or two units on signed clusters, as functions of the values.

In the cluster s mu_b the fields l = W x / sqrt N are Gaussian with mean s R_.b and covariance Delta Q. With
delta = sum_i v_i [l_i]_+ - y_b and < > the mean over clusters, signs and fields,

    dR_kc = -eta v_k < [l_k > 0] delta x_c >,      x_c = s T_bc + sum_ij (l_i - s R_ib) (Q^-1)_ij R_jc,
    dQ_kl = -eta < (v_k [l_k > 0] l_l + v_l [l_l > 0] l_k) delta > + eta^2 Delta v_k v_l < [l_k > 0] [l_l > 0] delta^2 >,
    dv_k  = -eta_v < [l_k]_+ delta >;

x_c, the field of a centre, enters linearly, so its regression on l is all that counts. Averages are sums over Gauss-Legendre
nodes in every quadrant of l, where integrands are smooth. Values are those of one state or, with one more axis, of many
states. Claims only: no pass imports this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from derive.claims.entry import Published

NODES, WEIGHTS = np.polynomial.legendre.leggauss(64)
REACH = 9.0  # standard deviations; what lies beyond has probability 1e-18
LARGEST = 2  # units: with more of them the nodes are too many
LETTERS = ("Q", "R", "v")


def quadrants(mean: Any, cov: Any) -> tuple[Any, Any]:
    """Nodes (K, P) and weights (P,) of a normal law, none of whose intervals contains a zero of a field.

    >>> at, weight = quadrants(np.zeros(2), np.eye(2))
    >>> bool(abs(weight @ np.maximum(at[0], 0) ** 2 - 0.5) < 1e-12)
    True
    """
    axes = []
    for m, s in zip(mean, np.sqrt(np.diag(cov)), strict=True):
        cut = float(np.clip(0.0, m - REACH * s, m + REACH * s))
        ends = ((m - REACH * s, cut), (cut, m + REACH * s))
        nodes = np.concatenate([low + (high - low) * (NODES + 1) / 2 for low, high in ends])
        axes.append((nodes, np.concatenate([(high - low) / 2 * WEIGHTS for low, high in ends])))
    at = np.stack([a.ravel() for a in np.meshgrid(*(a for a, _ in axes), indexing="ij")])
    width = np.prod([a.ravel() for a in np.meshgrid(*(w for _, w in axes), indexing="ij")], axis=0)
    away = at - np.asarray(mean)[:, None]
    density = np.exp(-np.einsum("ip,ij,jp->p", away, np.linalg.inv(cov), away) / 2)
    return at, width * density / np.sqrt((2 * np.pi) ** len(at) * np.linalg.det(cov))


def printed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The printed rates at one state."""
    Q, R, T, v, label = (np.asarray(values[n], dtype=float) for n in ("Q", "R", "T", "v", "label"))
    eta, eta_v, Delta = (float(values[n]) for n in ("eta", "eta_v", "Delta"))
    found = []
    for b, s in product(range(len(label)), (1.0, -1.0)):
        fields, weight = quadrants(s * R[:, b], Delta * Q)
        on, hidden = (fields > 0).astype(float), np.maximum(fields, 0.0)
        error = v @ hidden - label[b]
        centre = s * T[b][:, None] + R.T @ np.linalg.solve(Q, fields - s * R[:, [b]])
        gate = v[:, None] * on * (error * weight)
        pull, square = gate @ fields.T, (on * (error**2 * weight)) @ on.T
        norm = -eta * (pull + pull.T) + eta**2 * Delta * np.outer(v, v) * square
        found.append((norm, -eta * gate @ centre.T, -eta_v * hidden @ (error * weight)))
    return {n: np.mean([f[i] for f in found], axis=0) for i, n in enumerate(LETTERS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRate:
    """The printed rate of one letter as a function of the values, those of many states side by side if need be."""

    letter: str
    side_by_side: bool = True

    def __call__(self, values: Mapping[str, Any]) -> Any:
        if np.ndim(values["Q"]) == 2:
            return printed(values)[self.letter]
        names = ("Q", "R", "T", "v", "label", "eta", "eta_v", "Delta")
        arrays = {n: a if (a := np.asarray(values[n])).ndim else a[None].repeat(np.shape(values["Q"])[-1]) for n in names}
        each = [printed({n: a[..., i] for n, a in arrays.items()})[self.letter] for i in range(np.shape(values["Q"])[-1])]
        return np.stack(each, axis=-1)


def rectified(units: int) -> tuple[Published, ...]:
    """The claim; at few states for two units, where every derived average is a quadrature, and none for more of them."""
    rates = {letter: ClusterRate(letter=letter) for letter in LETTERS}
    return (Published("order parameters", rate=rates, states=100 if units == 1 else 5),) if units <= LARGEST else ()
