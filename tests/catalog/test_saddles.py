"""Saddles and times of catalogue systems: depths and fusions beyond the default, and a run that visits every saddle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from derive import MatchesSimulation, Rests
from derive.catalog import load
from derive.catalog.claims_of_attention import saddle_loss
from derive.errors import InvalidSpec
from numerics import verify


@pytest.mark.parametrize("settings", [{"layers": 3}, {"layers": 3, "fusion": 2}, {"fusion": "early"}])
def test_two_modalities_at_every_place_of_the_fusion(settings: dict[str, Any]) -> None:
    """Flow, balances, strengths and times of leading order; roads are named in the rows."""
    entry = load("zhang_2024_unimodal_bias", **settings)
    entry = replace(entry, claims=tuple(c for c in entry.claims if not isinstance(c, MatchesSimulation)))
    report = verify(entry)
    assert report.passed, str(report)


def test_fusions_that_do_not_exist() -> None:
    for settings in ({"fusion": "middle"}, {"fusion": 3}, {"fusion": 0}, {"layers": 1}):
        with pytest.raises(InvalidSpec, match="write 'late', 'early', or a number of layers"):
            load("zhang_2024_unimodal_bias", **settings)
    assert load("zhang_2024_unimodal_bias", layers=3, fusion="2").title == "two modalities, 3 layers, fused after 2"


def test_the_printed_plateaus_of_separate_attention() -> None:
    """1, 0.6406, 0.3774, 0.2098, 0.1360 for D = 4, N = 31, printed with four digits."""
    values = load("zhang_2025_linear_attention", attention="separate").values
    losses = [saddle_loss(m)(values) for m in range(5)]
    assert losses == pytest.approx([1, 0.6406, 0.3774, 0.2098, 0.1360], abs=5e-5)  # printed digits


def test_a_run_from_a_small_start_visits_every_saddle_in_order() -> None:
    """Four heads, random start of size 3e-4, equations typed here: where the loss rests it has the values of the claims."""
    entry = load("zhang_2025_linear_attention", attention="separate", heads=4)
    lam, n = np.diag(entry.values["Lam"]), entry.values["N"]
    A = np.diag(lam**2 * (1 + 1 / n) + lam.sum() * lam / n)

    def parts(state: np.ndarray) -> tuple[np.ndarray, ...]:
        k, q, v = state[:16].reshape(4, 4), state[16:32].reshape(4, 4), state[32:]
        return k, q, v, (v[:, None] * k).T @ q

    def rates(t: float, state: np.ndarray) -> np.ndarray:
        k, q, v, M = parts(state)
        G = np.diag(lam**2) - A @ M @ np.diag(lam)
        return np.concatenate([(v[:, None] * (q @ G.T)).ravel(), (v[:, None] * (k @ G)).ravel(), np.sum(k * (q @ G.T), axis=1)])

    def loss(state: np.ndarray) -> float:
        M = parts(state)[3]
        return float(lam.sum() - 2 * np.sum(np.diag(lam**2) * M) + np.trace(M.T @ A @ M @ np.diag(lam)))

    start = 3e-4 * np.random.default_rng(4).standard_normal(36)
    times = np.geomspace(1.0, 3e6, 20_000)
    run = solve_ivp(rates, (0, times[-1]), start, method="LSODA", t_eval=times, rtol=1e-9, atol=1e-13)
    seen = np.array([loss(y) for y in run.y.T])
    slope = np.abs(np.diff(seen) / np.diff(times))
    order = []
    for m in range(5):
        level = saddle_loss(m)(entry.values)
        rest = int(np.argmin(np.where(np.abs(seen[1:] - level) < 1e-2, slope, np.inf)))
        assert abs(seen[rest + 1] - level) < 3e-6, m  # what is not learned yet enters with its third power
        order.append(rest)
    assert order == sorted(order)
    assert [c.label for c in entry.claims if isinstance(c, Rests)] == [f"{m} eigenvectors learned" for m in range(5)]
