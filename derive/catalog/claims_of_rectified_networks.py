"""Printed order-parameter equations of a rectified student of a rectified teacher, as functions of the values.

With c = (v, -A), fields of covariance C = [[Q, R], [R^T, T]], and the averages of `claims_of_rectifiers`,

    dR_kn = -eta v_k sum_i c_i I3(k, n, i) - kappa R_kn,                       dv_k = -eta_v sum_i c_i I2(k, i),
    dQ_kl = -eta sum_i c_i (v_k I3(k, l, i) + v_l I3(l, k, i)) - 2 kappa Q_kl
            + eta^2 v_k v_l (sum_ij c_i c_j I4(k, l, i, j) + sigma^2 J2(k, l)).

Claims only: no pass imports this file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement
from typing import Any

import numpy as np

from derive.catalog.claims_of_rectifiers import i2, i3, i4, j2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A printed rate as a function of the values, of many states side by side if need be."""

    of: Callable[[Any, Any, Mapping[str, Any]], Any]
    side_by_side: bool = True

    def __call__(self, values: Mapping[str, Any]) -> Any:
        v, A, Q, R, T = (np.asarray(values[n], dtype=float) for n in ("v", "A", "Q", "R", "T"))
        C = np.concatenate([np.concatenate([Q, R], axis=1), np.concatenate([np.swapaxes(R, 0, 1), T], axis=1)])
        return self.of(C, np.concatenate([v, -A]), values)


def committee_rates(*, decay: bool, readout: bool) -> dict[str, Rate]:
    """Printed rates of R, Q and (if it learns) v of a rectified student of a rectified teacher."""

    def pull(C: Any, c: Any, values: Mapping[str, Any]) -> Any:
        """-eta v_k sum_i c_i < g'(k) field g(i) >, for all k and fields."""
        every, students = range(len(c)), range(len(values["v"]))
        return -values["eta"] * np.array([[c[k] * sum(c[i] * i3(C, k, b, i) for i in every) for b in every] for k in students])

    def shrink(name: str, times: int, values: Mapping[str, Any]) -> Any:
        return times * values["kappa"] * values[name] if decay else 0.0

    def overlap(C: Any, c: Any, values: Mapping[str, Any]) -> Any:
        return pull(C, c, values)[:, len(values["v"]) :] - shrink("R", 1, values)

    def norm(C: Any, c: Any, values: Mapping[str, Any]) -> Any:
        every, K = range(len(c)), len(values["v"])
        drift = pull(C, c, values)[:, :K]
        noise = np.empty_like(drift)
        for k, l in combinations_with_replacement(range(K), 2):
            noise[k, l] = noise[l, k] = square(C, c, k, l, every) + values["sigma"] ** 2 * j2(C, k, l)
        outer = c[:K, None] * c[None, :K]
        return drift + np.swapaxes(drift, 0, 1) + values["eta"] ** 2 * outer * noise - shrink("Q", 2, values)

    def square(C: Any, c: Any, k: int, l: int, every: range) -> Any:
        twice = sum(2 * c[i] * c[j] * i4(C, k, l, i, j) for i, j in combinations(every, 2))
        return twice + sum(c[i] ** 2 * i4(C, k, l, i, i) for i in every)

    def second(C: Any, c: Any, values: Mapping[str, Any]) -> Any:
        students, every = range(len(values["v"])), range(len(c))
        return -values["eta_v"] * np.array([sum(c[i] * i2(C, k, i) for i in every) for k in students])

    return {"R": Rate(of=overlap), "Q": Rate(of=norm), **({"v": Rate(of=second)} if readout else {})}
