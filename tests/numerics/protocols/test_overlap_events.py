"""Courses of order-parameter equations: labels by weights, and events on long vectors, against explicit vectors in R^n."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from derive import Drop, Event, Phase, course, online_limit, phases, scalars, two_tasks
from derive.errors import UnsupportedNode
from derive.spec.model import Model
from numerics import follow
from numerics.claims.subject import solve

K, N = 3, 40
RTOL = 1e-9
CLOSE = 1e-7  # a hundred times the rtol


def linear(z: Any) -> Any:
    """Networks without nonlinearity are derived in no time; the events do not see the difference."""
    return z


@cache
def vectors() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {"W": rng.standard_normal((K, N)), "B1": rng.standard_normal((1, N)), "B2": rng.standard_normal((2, N))}


def overlaps(v: dict[str, Any]) -> dict[str, Any]:
    """Gram matrices by the names of the system."""
    names = {"Q_W": "WW", "R_W_B1": ("W", "B1"), "R_W_B2": ("W", "B2"), "T_B1": ("B1", "B1"), "T_B1_B2": ("B1", "B2"),
             "T_B2": ("B2", "B2")}  # fmt: skip
    return {n: v[a] @ v[b].T / N for n, (a, b) in names.items()}


HEADS = {"h1": np.array([0.4, -0.2, 0.1]), "h2": np.array([0.1, 0.3, -0.5])}
RATES = {"A1": [1.0], "A2": [1.0, -0.5], "eta": 0.7, "eta_h": 0.3, "p": 0.3}


def start(v: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    every = overlaps(v)
    return {**{n: a for n, a in every.items() if n[0] in "QR"}, **HEADS}, {n: a for n, a in every.items() if n[0] == "T"}


def symbols() -> dict[str, Any]:
    return dict(two_tasks(linear, lengths=(1, 1, 1)).symbols)


def model(*events: Any) -> Model:
    """Phase, events, phase; the first binds task 1, the second task 2."""
    made = two_tasks(linear, lengths=(1, 1))
    return made.replace(protocol=(made.protocol[0], *events, made.protocol[1]))


def run(made: Model, **options: Any) -> Any:
    y0, fixed = start(vectors())
    params = {n: v for n, v in {**fixed, **RATES}.items() if n != "p" or "p" in made.symbols}
    return follow(course(made), y0, params, backend="numpy", rtol=RTOL, **options).raise_if_failed()


def test_one_system_serves_tasks_and_their_mixture() -> None:
    """Roads: one flow with the weights of the tasks; a flow derived for each phase on its own, the random task included."""
    made = two_tasks(linear, lengths=(0.5, 0.5, 0.5))
    path = run(made, records=2)
    assert path.statistics["kernels"] == 1
    y0, fixed = start(vectors())
    state = y0
    for one, segment in zip(phases(made), path.segments, strict=True):
        flow = online_limit(one)
        alone = solve(flow, state, {**fixed, **{n: np.asarray(v) for n, v in RATES.items()}}, np.array([0.0, 0.5]), rtol=RTOL)
        assert all(np.abs(alone.values[n][-1] - segment.values[n][-1]).max() < CLOSE for n in state)
        state = {n: a[-1] for n, a in alone.values.items()}


def jumped(path: Any) -> dict[str, Any]:
    return {n: a[0] for n, a in path.segments[1].values.items()}


def explicit(path: Any) -> dict[str, Any]:
    """Vectors in R^n with the overlaps at the end of the first phase, B1 and B2 being the old ones."""
    v, end = vectors(), path.segments[0].at(-1)
    fixed = np.concatenate([v["B1"], v["B2"]])
    gram = fixed @ fixed.T / N
    cross = np.concatenate([end["R_W_B1"], end["R_W_B2"]], axis=1)
    inside = cross @ np.linalg.solve(gram, fixed)
    rest = np.linalg.cholesky(end["Q_W"] - inside @ inside.T / N)
    free = np.linalg.qr(np.random.default_rng(1).standard_normal((N, 3 + K)) - 0)[0].T
    free = free - free @ np.linalg.pinv(fixed) @ fixed
    free = np.linalg.qr(free.T)[0].T[:K] * np.sqrt(N)
    return {"W": inside + rest @ free, "B1": v["B1"], "B2": v["B2"]}


def test_linear_events_on_long_vectors_act_on_their_overlaps() -> None:
    """W -> W/2 + h1 A1' B1. Roads: the Gram matrix of all families; vectors in R^n."""
    s = symbols()
    W, B1, h1, h2, A1 = (s[n] for n in ("W", "B1", "h1", "h2", "A1"))
    path = run(model(Event({W: W / 2 + h1 * A1.T * B1, h2: h1 + h2, h1: h1 / 3})))
    v, end = explicit(path), path.segments[0].at(-1)
    moved = {**v, "W": v["W"] / 2 + np.outer(end["h1"], [1.0]) @ v["B1"]}
    want = overlaps(moved)
    got = jumped(path)
    for name in ("Q_W", "R_W_B1", "R_W_B2"):
        assert np.abs(got[name] - want[name]).max() < 1e-12  # rounding of a Gram matrix of order one
    assert np.allclose(got["h2"], end["h1"] + end["h2"], atol=1e-14)
    assert np.allclose(got["h1"], end["h1"] / 3, atol=1e-14)


def test_hidden_units_leave_all_overlaps() -> None:
    path = run(model(Drop(symbols()["K"], 1)), dropped=[(1,)])
    end, got = path.segments[0].at(-1), jumped(path)
    assert np.array_equal(got["Q_W"], end["Q_W"][np.ix_([0, 2], [0, 2])])
    assert np.array_equal(got["R_W_B2"], end["R_W_B2"][[0, 2]])
    assert np.array_equal(got["h1"], end["h1"][[0, 2]])
    assert np.isnan(path.values["Q_W"][-1][1]).all()


def test_units_of_a_teacher_leave_its_parameters() -> None:
    """The second teacher loses a node: overlaps, its own Gram matrix and its output weights shrink together."""
    path = run(model(Drop(symbols()["M2"], 1)), dropped=[(0,)])
    assert jumped(path)["R_W_B2"].shape == (K, 1)
    assert path.segments[1].parameters["T_B2"].shape == (1, 1)
    assert path.segments[1].parameters["A2"].tolist() == [-0.5]


def test_events_that_are_no_mixture_of_vectors_are_refused() -> None:
    s = symbols()
    W, h1 = s["W"], s["h1"]
    from derive import fn

    with pytest.raises(UnsupportedNode, match="no linear mixture"):
        run(model(Event({W: fn.tanh(W)})))
    with pytest.raises(UnsupportedNode, match="depends on W itself"):
        run(model(Event({h1: W * W.T * h1})))


def test_learning_stops_where_the_error_reaches_a_level() -> None:
    """Roads: the crossing of eg2 = 0.05 found by the run; the observable at its end."""
    made = two_tasks(linear, lengths=(1, 1))
    level, task = scalars("level"), made.symbols["task"]
    e2 = next(name for name in made.let if name.name == "e2")
    from derive import mean

    made = made.replace(given=(*made.given, level), protocol=(Phase(40, bind={task: 2}, until=mean(e2**2 / 2) < level),))
    y0, fixed = start(vectors())
    params = {**fixed, **{n: v for n, v in RATES.items() if n != "p"}, "level": 0.05}
    path = follow(course(made), y0, params, backend="numpy", rtol=RTOL).raise_if_failed()
    assert 0 < path.t[-1] < 40
    assert path.observables["eg2"][-1] == pytest.approx(0.05, abs=1e-10)  # the root is found to rounding
