"""Vectors that vanish in finite time: the event, what rests, what does not, and full vectors beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from codegen import compile
from derive import Model, Normal, Rate, dims, dot, fn, grad, matrix, population_flow, scalars, total, vector
from derive.catalog import load
from numerics.claims.simulation import check as simulate_claim
from numerics.claims.subject import Subject
from numerics.integrate import integrate
from numerics.status import Status
from numerics.verify import verify

N, K = dims("N K")
w, u, x, W = vector("w", N), vector("u", N), vector("x", N), matrix("W", K, N)
L, c = scalars("L c")
SPEED = (2 * np.pi) ** -0.5  # E[step(w.x) x] = w / (|w| sqrt(2 pi))


def shrinking(push: Any = 0, **sections: Any) -> Any:
    """dw/dt = -w / (|w| sqrt(2 pi)) + push u: the mean output of a ReLU unit is made small, and u attracts."""
    loss = fn.relu(dot(w, x)) - push * dot(w, u)
    return compile(population_flow(Model(name="unit", state=w, data=Normal(x), let={L: loss}, learn=Rate({w: -grad(L, w)}),
                                         **({"given": (u, c)} if push != 0 else {}))), backend="numpy")  # fmt: skip


def test_a_unit_shrinks_to_zero_at_the_printed_time_and_stays() -> None:
    """Against |w| = |w_0| - t / sqrt(2 pi), solved by hand."""
    kernel = shrinking()
    assert [v.gram for v in kernel.vanishing] == ["Q"]
    t = np.linspace(0, 6, 25)
    path = integrate(kernel, {"Q": 1.44}, {}, (0.0, 6.0), t, rtol=1e-10).raise_if_failed()
    (event, place), *rest = path.statistics["events"]
    assert not rest
    assert place == 0
    assert event == pytest.approx(1.2 / SPEED, abs=2e-6 * 1.2 / SPEED)  # what is left at the event: 1e-6 of the length
    np.testing.assert_allclose(path.t, t)
    np.testing.assert_allclose(path.values["Q"], np.maximum(1.2 - SPEED * t, 0) ** 2, atol=1e-8)  # tolerances of the solver


@pytest.mark.parametrize("strength", [0.5, 1.5])
def test_it_rests_only_where_every_direction_pushes_back(strength: float) -> None:
    """dw/dt = -S n + c u with |c u| = strength * S: held at zero if strength < 1, refused by name if not (typed by hand)."""
    kernel = shrinking(c)
    pull = strength * SPEED
    start = {"Q": 0.04, "R": -0.2}  # w = -0.2 u: both terms drive it to zero, at the speed S + c
    path = integrate(kernel, start, {"c": pull, "T": 1.0}, (0.0, 3.0), np.linspace(0, 3, 7), rtol=1e-10)
    assert path.statistics["events"][0][0] == pytest.approx(0.2 / (SPEED + pull), rel=1e-5)  # the last 1e-6 of the length
    if strength < 1:
        assert path.status is Status.OK
        assert abs(float(path.values["R"][-1])) < 1e-12
        assert float(path.values["Q"][-1]) < 1e-12
    else:
        assert path.status is Status.NONFINITE
        assert "Q" in path.detail


def test_a_unit_that_only_fades_is_not_held() -> None:
    """dw/dt = -w by weight decay alone, beside an equation with |w| in it: |w|^2 = e^(-2t) down to 1e-17, no event."""
    size = scalars("size")
    learn = Rate({w: -w, size: fn.relu(dot(w, x)) - size})
    model = Model(name="fading", state=(w, size), data=Normal(x), learn=learn)
    kernel = compile(population_flow(model), backend="numpy")
    assert [v.gram for v in kernel.vanishing] == ["Q"]
    t = np.linspace(0, 20, 11)
    path = integrate(kernel, {"Q": 1.0, "size": 0.0}, {}, (0.0, 20.0), t, rtol=1e-10, atol=1e-25).raise_if_failed()
    assert path.statistics["events"] == ()
    np.testing.assert_allclose(path.t, t)
    np.testing.assert_allclose(path.values["Q"], np.exp(-2 * t), rtol=1e-6)  # rtol 1e-10 over 40 lifetimes
    np.testing.assert_allclose(path.values["size"], SPEED * t * np.exp(-t), atol=1e-8)  # E[relu(w.x)] = |w| / sqrt(2 pi)


def test_two_units_vanish_one_after_the_other_as_full_vectors_do() -> None:
    """Overlaps through both events against full vectors in R^3 that are stopped by hand at zero."""
    weights = vector("g", K)
    loss = dot(weights, fn.relu(W * x)) + total(W * W.T) / 20
    model = Model(name="pair", state=W, given=weights, data=Normal(x), let={L: loss}, learn=Rate({W: -grad(L, W)}))
    kernel = compile(population_flow(model), backend="numpy")
    rng = np.random.default_rng(0)
    a, g = rng.standard_normal((2, 3)), np.array([1.0, 1.4])
    t = np.linspace(0, 6, 13)
    path = integrate(kernel, {"Q": a @ a.T}, {"g": g}, (0.0, 6.0), t, rtol=1e-9).raise_if_failed()
    assert len(path.statistics["events"]) == 2
    rows, step = [a @ a.T], 2e-4
    for n in range(1, 30_001):
        length = np.linalg.norm(a, axis=1, keepdims=True)
        pull = g[:, None] * SPEED * np.divide(a, length, out=np.zeros_like(a), where=length > 0)
        new = a - step * (pull + np.ones((2, 1)) * a.sum(axis=0) / 10)
        gone = (length[:, 0] == 0) | ((new * a).sum(axis=1) <= 0)
        a = np.where(gone[:, None], 0.0, new)
        if n % 2500 == 0:
            rows.append(a @ a.T)
    np.testing.assert_allclose(path.values["Q"], rows, atol=2e-3)  # Euler steps of 2e-4 over a time of 6, and at the events


@pytest.fixture(scope="module")
def same_different() -> Any:
    entry = load("tong_2025_same_different")
    return entry, population_flow(entry.model)


def test_negative_units_become_antiparallel_in_finite_time(same_different: Any) -> None:
    """2 u.v / (|u|^2 + |v|^2) = (P - M)/(P + M) = -1 to rounding, and |w|^2/d - a^2 is kept through both events."""
    entry, flow = same_different
    start = {n: np.array(entry.values[n], dtype=float) for n in ("Q_p", "Q_m", "a")}
    path = integrate(
        compile(flow, backend="numpy"), start, {}, (0.0, 10.0), np.linspace(0, 10, 21), rtol=1e-9
    ).raise_if_failed()
    p, m = (np.diagonal(path.values[n], axis1=1, axis2=2) for n in ("Q_p", "Q_m"))
    np.testing.assert_allclose(((p - m) / (p + m))[-1, 2:], -1.0, atol=1e-12)  # what is left of p: 1e-24 of its start
    assert all(4 < t < 7 for t, _ in path.statistics["events"])
    assert len(path.statistics["events"]) == 2
    kept = (p + m) / 2 - path.values["a"] ** 2
    np.testing.assert_allclose(kept - kept[0], 0.0, atol=1e-7)  # rtol 1e-8 over two events; a regularised flow loses 9e-3


def test_a_wrong_equation_is_rejected_by_every_claim(same_different: Any) -> None:
    """Mutant: M moves 30 % too fast. The typed rates, the conserved quantity and the simulation each say no."""
    entry, flow = same_different
    typed, kept, runs = entry.claims
    short = replace(entry, values={**entry.values, "time": 2.0}, claims=(replace(typed, states=3), kept))
    wrong = flow.replace(rhs={**flow.rhs, "Q_m": flow.rhs["Q_m"] * 13 / 10})
    assert [row.passed for row in verify(short, system=flow).checks] == [True, True]
    assert [row.passed for row in verify(short, system=wrong).checks] == [False, False]
    few = replace(runs, sizes=(100, 200, 400), seeds=15)  # the right flow passes it in `gradientflow verify`
    assert not simulate_claim(few, Subject(entry=entry, flow=wrong, claim=2))[0].passed


@pytest.mark.slow
def test_full_vectors_of_length_forty_pass_both_events_beside_the_theory(same_different: Any) -> None:
    """Fresh batches of 256 + 256 at d = 40, written here in (u, v): P, M, a within 0.007 up to t = 10, u = -v at the end."""
    _, flow = same_different
    d, step, rng = 40, 2e-3, np.random.default_rng(1)
    first = 0.3 * rng.standard_normal((2, 4, d))
    kernel, t = compile(flow, backend="numpy"), np.linspace(0, 10, 11)
    p, m = first[0] + first[1], first[0] - first[1]
    start = {"Q_p": p @ p.T / d, "Q_m": m @ m.T / d, "a": np.array([0.3, 0.3, -0.3, -0.3])}
    path = integrate(kernel, start, {}, (0.0, 10.0), t, rtol=1e-8).raise_if_failed()
    found: dict[str, list[Any]] = {n: [] for n in start}
    for _ in range(3):
        u, v, a = first[0].copy(), first[1].copy(), start["a"].copy()
        rows: dict[str, list[Any]] = {n: [start[n]] for n in start}
        for n in range(1, 5001):
            moves = [np.zeros_like(u), np.zeros_like(v), np.zeros_like(a)]
            for y in (1, -1):
                one = rng.standard_normal((256, d))
                two = one if y == 1 else rng.standard_normal((256, d))
                field = (one @ u.T + two @ v.T) / d**0.5
                error = (np.maximum(field, 0) @ a - y) / 512
                back = (field > 0) * error[:, None] * a
                for place, grad_ in enumerate((back.T @ one * d**0.5, back.T @ two * d**0.5, np.maximum(field, 0).T @ error)):
                    moves[place] += grad_
            u, v, a = u - step * moves[0], v - step * moves[1], a - step * moves[2]
            if n % 500 == 0:
                p, m = u + v, u - v
                for name, value in (("Q_p", p @ p.T / d), ("Q_m", m @ m.T / d), ("a", a)):
                    rows[name].append(value)
        for name, values in rows.items():
            found[name].append(values)
    for name, runs in found.items():
        np.testing.assert_allclose(np.mean(runs, axis=0), path.values[name], atol=7e-3)  # three runs, and the step of 2e-3
    similar = 2 * (u * v).sum(axis=1) / ((u * u).sum(axis=1) + (v * v).sum(axis=1))
    np.testing.assert_allclose(similar[2:], -1.0, atol=1e-5)  # |p|^2 of the order of the step squared
