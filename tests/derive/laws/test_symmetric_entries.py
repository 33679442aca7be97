"""Entries on symmetric laws reject wrong equations, and the manifold's numbers are those of the full network.

Roads: every word of the derived flow changed by 1 % against the published claims; the reduced flow against a NumPy network.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

import derive
from derive.catalog import load
from derive.catalog.zhang_2025_bias_free_relu import one_direction
from derive.claims.entry import Published
from derive.matrices.poly import Poly
from numerics.claims.subject import solve
from numerics.verify import verify

ENTRIES = (
    ("zhang_2025_bias_free_relu", {}), ("zhang_2025_bias_free_relu", {"alpha": 0.3}), ("lufkin_2024_localization", {}),
    ("lufkin_2024_localization", {"inputs": "gaussian"}), ("lufkin_2024_localization", {"inputs": "binary"}),
    ("flesch_2022_context", {}),
)  # fmt: skip


@pytest.mark.parametrize(("name", "settings"), ENTRIES)
def test_every_word_of_the_flow_matters(name, settings):
    e = load(name, **settings)
    claim = next(c for c in e.claims if isinstance(c, Published) and c.on is None)
    flow = derive.gradient_flow(e.model)
    for state, p in flow.rhs.items():
        for key in p.terms:
            wrong = Poly(p.shape, {k: c * (1 if k != key else Fraction(101, 100)) for k, c in p.terms.items()})
            mutated = replace(flow, rhs={**flow.rhs, state: wrong})
            report = verify(replace(e, claims=(claim,)), system=mutated)
            assert not report.passed, (state, key)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_on_the_manifold_the_network_is_linear(alpha):
    e = load("zhang_2025_bias_free_relu", alpha=alpha)
    made = derive.reduce(derive.gradient_flow(e.model), one_direction(alpha))
    values = {**dict(e.values), **dict(e.model.values)}
    assert made.lift_state is not None
    assert made.parameters_from is not None
    r0 = 0.1 * np.random.default_rng(0).standard_normal((4, 1))
    times = np.linspace(0, 8, 5)
    low = solve(made.system, {"r": r0}, made.parameters_from(values), times, rtol=1e-11)
    full = made.lift_state(values, {"r": r0})
    W1, W2 = full["W1"], full["W2"]
    X, Y = values["x_data"], values["y_data"]
    steps = 4000  # classical Runge-Kutta steps of 0.002: error 1e-11
    h = times[-1] / steps

    def speed(a, b):
        pre = a @ X
        slope = np.where(pre > 0, 1.0, alpha)
        error = (Y - b @ (slope * pre)) / X.shape[1]
        return (b.T * error * slope) @ X.T, error @ (slope * pre).T

    for _ in range(steps):
        k1 = speed(W1, W2)
        k2 = speed(W1 + h / 2 * k1[0], W2 + h / 2 * k1[1])
        k3 = speed(W1 + h / 2 * k2[0], W2 + h / 2 * k2[1])
        k4 = speed(W1 + h * k3[0], W2 + h * k3[1])
        W1 = W1 + h / 6 * (k1[0] + 2 * k2[0] + 2 * k3[0] + k4[0])
        W2 = W2 + h / 6 * (k1[1] + 2 * k2[1] + 2 * k3[1] + k4[1])
    r = low.values["r"][-1]
    probe = np.random.default_rng(1).standard_normal((4, 50))
    pre = W1 @ probe
    output = W2 @ np.where(pre > 0, pre, alpha * pre)
    np.testing.assert_allclose(output, np.linalg.norm(r) * r.T @ probe, atol=1e-8)  # stated agreement of the reduction
    half = (1 + alpha) / 2 * W2 @ W1 @ probe
    np.testing.assert_allclose(output, half, atol=1e-12)  # the function is linear up to rounding that grew along the way
