"""`simulate_protocol` against the engine of one phase, against steps by hand, and against derived courses."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from derive import (
    Choice,
    Drop,
    Event,
    Model,
    Phase,
    Rate,
    as_updates,
    course,
    gradient_flow,
    matrix,
    mean,
    norm2,
    plan,
    scalars,
    t,
)
from derive.spec.laws import Normal
from derive.spec.nodes import grad
from derive.spec.symbols import dims, vector
from numerics import follow
from numerics.simulate import BindingError, NotSimulable, PlanError, simulate, simulate_protocol

n, h, o = dims("n h o")
W1, W2, T, x = matrix("W1", h, n), matrix("W2", o, h), matrix("T", o, n), vector("x", n)
L, level, task, p = scalars("L level task p")
RNG = np.random.default_rng(5)
START = {"W1": RNG.standard_normal((4, 3)) / 2, "W2": RNG.standard_normal((2, 4)) / 2}
TARGET = RNG.standard_normal((2, 3))


def student(*protocol: Any, given: tuple[Any, ...] = (T, level), target: Any = None) -> Model:
    """A linear student of a teacher on white inputs."""
    return Model(
        name="student", state=(W1, W2), given=given, data=Normal(x),
        let={L: norm2((level * T if target is None else target) * x - W2 * W1 * x) / 2},
        learn=Rate({W: -grad(L, W) for W in (W1, W2)}), observe={"loss": mean(L)}, protocol=protocol,
    )  # fmt: skip


@cache
def two_phases() -> Model:
    return student(Phase(1, bind={level: 1}), Drop(h, 2), Event({W1: 2 * W1, W2: W2 / 2}), Phase(1, bind={level: 2}))


def sgd(model: Model, inverse: int, **options: Any) -> Any:
    import sympy as sp

    data = plan(as_updates(model, eta=sp.Rational(1, inverse)))
    return simulate_protocol(data, {"T": TARGET}, START, observe=False, **options)


def test_the_first_phase_is_that_of_the_plain_engine_and_later_ones_draw_anew() -> None:
    """Roads: the protocol; the model of one phase with the same seed. A second phase with the same draws would repeat them."""
    import sympy as sp

    made = student(Phase(1, bind={level: 1}), Phase(1, bind={level: 1}))
    run = sgd(made, 50, replicas=2, seed=3)
    alone = plan(as_updates(made.replace(protocol=()), eta=sp.Rational(1, 50)))
    single = simulate(alone, {"T": TARGET, "level": 1.0}, START, 50, seed=3, replicas=2, observe=False)
    first = int(np.flatnonzero(run.t == 1.0)[0])
    assert np.array_equal(run.values["W1"][:, first], single.values["W1"][:, -1])
    again = simulate(
        alone, {"T": TARGET, "level": 1.0}, {k: v[:, -1] for k, v in single.values.items()}, 50, seed=3, replicas=2
    )
    assert not np.allclose(again.values["W1"][:, -1], run.values["W1"][:, -1])


def test_events_and_deletions_by_hand() -> None:
    run = sgd(two_phases(), 50, dropped=[(0, 3)], records=2)
    assert run.t.tolist() == [0.0, 1.0, 1.0, 2.0]
    before, after = run.values["W1"][0, 1], run.values["W1"][0, 2]
    assert np.array_equal(after[[1, 2]], 2 * before[[1, 2]])
    assert np.isnan(after[[0, 3]]).all()
    assert np.array_equal(run.values["W2"][0, 2][:, [1, 2]], run.values["W2"][0, 1][:, [1, 2]] / 2)
    assert run.dropped == ((0, 3),)
    assert run.switches == ((1.0, "drop 2 of h, W1 -> ..., W2 -> ..., level = 2"),)
    assert run.status == ("ok",)


def test_it_deletes_the_same_units_as_the_course_with_the_same_seed() -> None:
    path = follow(course(two_phases()), START, {T: TARGET}, backend="numpy", seed=7)
    assert sgd(two_phases(), 50, seed=7, records=2).dropped == path.dropped


def test_descent_through_a_protocol_tends_to_the_course() -> None:
    """A rate without draws runs exactly: the error halves with the step, order 1. Its flow is that of the student."""
    made = student(Phase(1, bind={level: 1}), Drop(h, 1), Phase(1, bind={level: 2}))
    flow = gradient_flow(made.replace(protocol=()))
    exact = Model(
        name="flow", state=(W1, W2), given=(T, level), protocol=made.protocol,
        learn=Rate({W1: W2.T * (level * T - W2 * W1), W2: (level * T - W2 * W1) * W1.T}),
    )  # fmt: skip
    assert [str(flow.rhs[k]) for k in ("W1", "W2")] == [
        str(gradient_flow(exact.replace(protocol=())).rhs[k]) for k in ("W1", "W2")
    ]
    path = follow(course(made), START, {T: TARGET}, backend="numpy", rtol=1e-11, dropped=[(2,)], records=5)
    errors = []
    for dt in (0.01, 0.005, 0.0025):
        run = simulate_protocol(plan(exact), {"T": TARGET}, START, dt=dt, records=5, dropped=[(2,)])
        assert np.abs(run.t - path.t).max() < 1e-12
        errors.append(np.nanmax(np.abs(run.values["W1"][0] - path.values["W1"])))
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.03)  # 2 + O(dt)
    assert errors[1] / errors[2] == pytest.approx(2, abs=0.03)


def test_a_law_of_a_phase_is_drawn_at_every_step() -> None:
    """u <- u + dt task with task 1 or 2 at random: the mean rate is p + 2 (1 - p); p = 0 and 1 are exact."""
    u = scalars("u")
    made = Model(name="m", state=u, given=(task, p), learn=Rate({u: task}), observe={"u2": u**2},
                 protocol=(Phase(1, bind={task: Choice(task, (1, 2), (p, 1 - p))}),))  # fmt: skip
    data = plan(as_updates(made, eta=0.01))
    for value, want in ((1.0, 1.0), (0.0, 2.0)):
        run = simulate_protocol(data, {"p": value}, {"u": 0.0})
        assert run.values["u"][0, -1] == pytest.approx(want, abs=1e-12)  # rounding of a hundred sums
    mixed = simulate_protocol(data, {"p": 0.5}, {"u": 0.0}, replicas=50).values["u"][:, -1]
    assert 0 < mixed.std() < 0.2  # sd 0.05
    assert abs(mixed.mean() - 1.5) < 5 * 0.05 / np.sqrt(50)  # five standard errors; the seed is fixed


def test_schedules_run_in_global_time_and_conditions_end_a_phase() -> None:
    u, s = scalars("u s")
    made = Model(
        name="m",
        state=u,
        given=(s,),
        learn=Rate({u: s}),
        observe={"u2": u**2},
        protocol=(Phase(1, bind={s: 0}), Phase(1, bind={s: t})),
    )
    run = simulate_protocol(plan(made), {}, {"u": 0.0}, dt=0.01)
    assert run.values["u"][0, -1] == pytest.approx(sum(0.01 * (1 + 0.01 * k) for k in range(100)), abs=1e-12)  # rounding
    stopped = made.replace(protocol=(Phase(9, bind={s: 1}, until=u > level), Phase(1, bind={s: -1})), given=(s, level))
    run = simulate_protocol(plan(stopped), {"level": 0.505}, {"u": 0.0}, dt=0.01)
    assert run.switches[0][0] == pytest.approx(0.51, abs=1e-12)  # the first step at or beyond the level
    with pytest.raises(NotSimulable, match="one replica per seed"):
        simulate_protocol(plan(stopped), {"level": 0.5}, {"u": 0.0}, dt=0.01, replicas=2)


def test_refusals_name_the_remedy() -> None:
    data = plan(two_phases())
    with pytest.raises(NotSimulable, match="ends with a phase"):
        simulate_protocol({**data, "protocol": []}, {"T": TARGET}, START, dt=0.01)
    with pytest.raises(PlanError, match=r"derive\.plan"):
        simulate_protocol({**data, "protocol": [["pause", 1]]}, {"T": TARGET}, START, dt=0.01)
    rates = {"kind": "rate", "rates": [["W1", "W1"], ["W2", "W2"]], "noise": []}
    still = {**data, "rule": rates}
    with pytest.raises(BindingError, match="divides it"):
        simulate_protocol(still, {"T": TARGET}, START, dt=0.3)
    with pytest.raises(BindingError, match="no step"):
        simulate_protocol(still, {"T": TARGET}, START, dt=5.0)
    with pytest.raises(BindingError, match="different places"):
        simulate_protocol(still, {"T": TARGET}, START, dt=0.1, dropped=[(1, 9)])
    with pytest.raises(BindingError, match="1 drops"):
        simulate_protocol(still, {"T": TARGET}, START, dt=0.1, dropped=[])
    with pytest.raises(BindingError, match="value S is not declared"):
        simulate_protocol(still, {"T": TARGET, "S": 1.0}, START, dt=0.1)
