"""Headlines of papers whose models have a protocol, by `follow` on the models of the catalogue."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from derive import Drop, Phase, course, two_tasks
from derive.catalog import load
from numerics import follow


def forgetting(similarity: float, made: Any) -> float:
    """Error of task 1 at the end minus that at the switch, from a small start."""
    rng, n = np.random.default_rng(0), 400
    frame = np.linalg.qr(rng.standard_normal((n, 2)))[0].T * np.sqrt(n)
    v = {"B1": frame[:1], "B2": similarity * frame[:1] + np.sqrt(1 - similarity**2) * frame[1:]}
    v["W"] = 0.03 * rng.standard_normal((2, n))
    pairs = {"Q_W": "WW", "R_W_B1": ("W", "B1"), "R_W_B2": ("W", "B2"), "T_B1": ("B1", "B1"), "T_B1_B2": ("B1", "B2"),
             "T_B2": ("B2", "B2")}  # fmt: skip
    gram = {name: v[a] @ v[b].T / n for name, (a, b) in pairs.items()}
    y0 = {**{k: g for k, g in gram.items() if k[0] in "QR"}, "h1": [0.2, 0.02], "h2": [0.1, 0.1]}
    params = {**{k: g for k, g in gram.items() if k[0] == "T"}, "A1": [1.0], "A2": [1.0], "eta": 1.0, "eta_h": 1.0}
    path = follow(made, y0, params, backend="numpy", rtol=1e-6, records=2).raise_if_failed()
    return float(path.segments[1].observables["eg1"][-1] - path.segments[0].observables["eg1"][-1])


def test_forgetting_is_worst_at_intermediate_similarity() -> None:
    """Forgetting at V = 0, 0.5, 1 is .009, .136, .001 in an independent code; the start moves it by less than 0.003."""
    made = course(two_tasks(lengths=(150, 50)))
    low, middle, high = (forgetting(v, made) for v in (0.0, 0.5, 1.0))
    assert (low, middle, high) == pytest.approx((0.009, 0.136, 0.001), abs=0.003)
    assert middle > 10 * max(low, high)


def test_switching_becomes_faster_with_practice() -> None:
    """Time to reach a tenth of the initial loss in each of eight blocks: it falls to less than half (a virtuous cycle)."""
    entry = load("sandbrink_2024_flexible_gating", tau_c=0.03, block=1.0, n=20, o=10, rho=0.1, regularised=True)
    rng = np.random.default_rng(0)
    start = {**{f"W{p}": 0.1 * rng.standard_normal((10, 20)) / np.sqrt(20) for p in (1, 2)}, "c1": 0.5, "c2": 0.45}
    made = course(entry.model)
    params = {k: entry.values[k] for k in ("T1", "T2", "tau_w", "tau_c", "rho", "o", "n")}
    path = follow(made, start, params, backend="numpy", records=401).raise_if_failed()
    level = 0.1 * np.sum(entry.values["T1"] ** 2) / 20
    times = []
    for block in path.segments:
        below = np.flatnonzero(block.observables["loss"] < level)
        times.append(float(block.t[below[0]] - block.t[0]))
    assert len(times) == 8
    assert max(times[-2:]) < 0.5 * min(times[:3])
    assert path.statistics["kernels"] == 1


@pytest.mark.parametrize("kept", [3, 6, 10])
def test_relearning_ends_in_the_truncated_svd(kept: int) -> None:
    """Roads: all deletions followed by a long phase; the tail of the squared singular values of the task."""
    entry = load("jarvis_2023_semantic_dementia", kept=kept)
    network = entry.model
    made = network.replace(protocol=(*network.protocol[:-1], Phase(300)))
    y0 = {n: entry.values[n] for n in ("W1", "W2")}
    path = follow(course(made), y0, {"tau": 1.0}, backend="numpy", rtol=1e-11).raise_if_failed()
    tail = np.sum(np.linalg.svd(network.values["Syx"], compute_uv=False)[kept:] ** 2) / 2
    # losses of unit items are halves of squares per item; rtol 1e-11 over 300 time constants
    assert path.observables["loss"][-1] == pytest.approx(tail, abs=1e-7)
    assert sum(isinstance(part, Drop) for part in network.protocol) == 16 - kept


def test_without_relearning_every_mode_keeps_the_fraction_of_neurons_on_average() -> None:
    """h/H of a mode is left after a random deletion: mean 1/2 over 200 seeds, standard error about 0.01 for H = 16."""
    entry = load("jarvis_2023_semantic_dementia", kept=8, each=8)
    w1, w2, s = entry.values["W1"], entry.values["W2"], entry.model.values["Syx"]
    u, strengths, v = np.linalg.svd(s, full_matrices=False)
    shares = []
    for seed in range(200):
        left = np.random.default_rng(seed).choice(16, size=8, replace=False)
        shares.append(np.diag(u.T @ w2[:, left] @ w1[left] @ v.T) / strengths)
    assert np.abs(np.mean(shares, axis=0) - 0.5).max() < 0.05  # five standard errors of the worst mode; fixed seeds
