"""`follow`: phases, events, deletions, conditions and schedules, against solutions by hand and explicit vectors."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from derive import (
    Balanced,
    Drop,
    Event,
    Gram,
    LambdaBalanced,
    Manifold,
    Modes,
    Phase,
    Rate,
    course,
    linear_network,
    matrix,
    mean,
    scalars,
    t,
)
from derive.errors import InvalidSpec, NotInvariant, UnsupportedNode
from derive.spec.laws import Normal
from derive.spec.model import Model
from derive.spec.symbols import dims, vector
from numerics import follow

u, s, a, eta = scalars("u s a eta")
RTOL = 1e-10
CLOSE = 1e-8  # a hundred times the rtol of the integration


def decay(*protocol: Any, given: Any = (s,), rate: Any = None) -> Model:
    """u' = s - u, or another rate."""
    return Model(name="decay", state=u, given=given, learn=Rate({u: s - u if rate is None else rate}), protocol=protocol)


def run(model: Model, y0: Any, params: Any, ansatz: Any = None, **options: Any) -> Any:
    return follow(course(model, ansatz), y0, params, backend="numpy", rtol=RTOL, **options).raise_if_failed()


def test_phase_event_phase_and_global_time() -> None:
    """Roads: the path; u = s + (u0 - s) e^{-t} piece by piece. The event acts between the phases, on the state handed over."""
    path = run(decay(Phase(1, bind={s: 2}), Event({u: u / 4 + s}), Phase(2, bind={s: 5})), {u: 0.0}, {s: 7.0})
    first = 2 * (1 - np.exp(-1))
    assert path.segments[0].values["u"][-1] == pytest.approx(first, abs=CLOSE)
    assert path.segments[1].values["u"][0] == pytest.approx(first / 4 + 7, abs=CLOSE)  # the event sees the value of the run
    assert path.values["u"][-1] == pytest.approx(5 + (first / 4 + 2) * np.exp(-2), abs=CLOSE)
    assert path.segments[1].t[[0, -1]].tolist() == [1.0, 3.0]
    assert list(path.t).count(1.0) == 2  # before and after
    assert path.switches[0].t == 1.0
    assert path.switches[0].label.endswith("s = 5")


def test_an_event_may_stand_before_the_first_phase_but_not_at_the_end() -> None:
    path = run(decay(Event({u: 3 * u}), Phase(1, bind={s: 0})), {u: 1.0}, {})
    assert path.values["u"][0] == 3.0
    assert path.switches[0].t == 0.0
    with pytest.raises(InvalidSpec, match="add a Phase after it"):
        run(decay(Phase(1, bind={s: 0}), Event({u: 3 * u})), {u: 1.0}, {})


def test_events_assign_simultaneously() -> None:
    """A swap, which a sequence of assignments would not give."""
    v = scalars("v")
    model = Model(name="pair", state=(u, v), learn=Rate({u: -u, v: -2 * v}), protocol=(Phase(1), Event({u: v, v: u}), Phase(1)))
    path = run(model, {u: 1.0, v: 1.0}, {})
    assert path.segments[1].values["u"][0] == pytest.approx(np.exp(-2), abs=CLOSE)
    assert path.segments[1].values["v"][0] == pytest.approx(np.exp(-1), abs=CLOSE)


def test_a_condition_ends_a_phase_at_its_crossing() -> None:
    """u = 5 (1 - e^{-t}) reaches theta = 3 at log(5/2); the next phase begins there. A condition that holds ends at once."""
    theta = scalars("theta")
    model = decay(Phase(50, bind={s: 5}, until=u > theta), Phase(1, bind={s: 0}), given=(s, theta))
    path = run(model, {u: 0.0}, {theta: 3.0})
    assert path.switches[0].t == pytest.approx(np.log(2.5), abs=1e-9)  # rtol 1e-10 of u over its slope 2
    assert path.segments[0].values["u"][-1] == pytest.approx(3.0, abs=1e-12)  # the root is found to rounding
    assert path.values["u"][-1] == pytest.approx(3 * np.exp(-1), abs=CLOSE)
    at_once = run(model, {u: 4.0}, {theta: 3.0})
    assert at_once.switches[0].t == 0.0
    assert len(at_once.segments[0].t) == 1
    falling = run(decay(Phase(50, bind={s: 0}, until=u <= 1)), {u: np.e}, {})
    assert falling.t[-1] == pytest.approx(1.0, abs=1e-9)
    never = run(decay(Phase(2, bind={s: 0}, until=u > 9)), {u: 1.0}, {})
    assert never.t[-1] == 2.0


def test_a_condition_on_an_average_is_derived_like_an_observable() -> None:
    """w' = E[-grad] = -w for white inputs: E[(w x)^2]/2 = n e^{-2t}/2 falls to 1/2 n e^{-1} at t = 1/2."""
    n = dims("n")
    w, x, L = vector("w", n), vector("x", n), scalars("L")
    from derive import dot, grad

    model = Model(name="white", state=w, data=Normal(x), let={L: dot(w, x) ** 2 / 2}, learn=Rate({w: -grad(L, w)}),
                  protocol=(Phase(9, until=mean(L) < scalars("theta")),), given=(scalars("theta"),))  # fmt: skip
    path = run(model, {w: np.ones((3, 1))}, {"theta": 1.5 * np.exp(-1)})
    assert path.t[-1] == pytest.approx(0.5, abs=1e-9)
    assert "until" not in path.observables


def test_equations_and_times_are_no_conditions() -> None:
    import sympy as sp

    with pytest.raises(InvalidSpec, match="write the side"):
        course(decay(Phase(1, bind={s: 1}, until=sp.Ne(u, 2))))
    with pytest.raises(UnsupportedNode, match="by its length"):
        course(decay(Phase(1, bind={s: 1}, until=u > t)))


def test_a_schedule_runs_in_global_time() -> None:
    """u' = -u/(1 + t) on [1, 3], after a phase that rests: u falls by (1 + 1)/(1 + 3), not by 1/3 as in a restarted time."""
    model = decay(Phase(1, bind={eta: 0}), Phase(2, bind={eta: a / (1 + t)}), given=(eta, a), rate=-eta * u)
    path = run(model, {u: 1.0}, {a: 1.0})
    assert path.segments[1].values["u"][0] == 1.0
    assert path.values["u"][-1] == pytest.approx(0.5, abs=CLOSE)
    assert path.statistics["kernels"] == 1


def test_a_parameter_may_be_a_function_of_time() -> None:
    """The same, with the callable passed to the run, in a phase that binds nothing."""
    model = decay(Phase(1), Phase(2), given=(eta,), rate=-eta * u)
    path = run(model, {u: 1.0}, {eta: lambda now: 1 / (1 + now)})
    assert path.values["u"][-1] == pytest.approx(0.25, abs=CLOSE)


def test_phases_that_differ_in_values_share_one_system() -> None:
    made = course(decay(*(Phase(1, bind={s: k}) for k in range(6))))
    assert len({id(p.flow) for p in made.stretches}) == 1
    assert follow(made, {u: 0.0}, {}, backend="numpy").statistics["kernels"] == 1


def test_unknown_and_missing_values_are_named() -> None:
    made = course(decay(Phase(a, bind={s: 1}), given=(s, a)))
    with pytest.raises(InvalidSpec, match="zeta is no given symbol"):
        follow(made, {u: 0.0}, {"zeta": 1.0, a: 1.0})
    with pytest.raises(InvalidSpec, match="'a'"):
        follow(made, {u: 0.0}, {}, backend="numpy")
    with pytest.raises(InvalidSpec, match="no initial value for u"):
        follow(made, {}, {a: 1.0}, backend="numpy")
    with pytest.raises(InvalidSpec, match="no positive number"):
        follow(made, {u: 0.0}, {a: -1.0}, backend="numpy")
    with pytest.raises(InvalidSpec, match="no Course"):
        follow("decay", {u: 0.0}, {})  # type: ignore[arg-type]
    with pytest.raises(InvalidSpec, match="has no phases"):
        course(decay(given=(s,)))


# Deletions ------------------------------------------------------------------------------------------------------------------


def network(*protocol: Any, depth: int = 2) -> tuple[Model, dict[str, Any], dict[str, Any]]:
    """A linear network with a start and values."""
    rng = np.random.default_rng(3)
    made = linear_network(depth=depth).replace(protocol=protocol)
    sizes = [3, *([5] * (depth - 1)), 4]
    y0 = {f"W{k + 1}": rng.standard_normal((b, c)) / 2 for k, (c, b) in enumerate(pairwise(sizes))}
    return made, y0, {"Sx": np.eye(3), "Syx": rng.standard_normal((4, 3)), "Syy": 2 * np.eye(4), "tau": 1.0}


N1 = linear_network(depth=2).symbols["N1"]


def test_a_deletion_takes_the_same_units_out_of_every_array() -> None:
    """Roads: the course with a Drop; a hand-made second run from rows and columns that are left."""
    model, y0, params = network(Phase(1), Drop(N1, 2), Phase(1))
    path = run(model, y0, params, dropped=[(1, 4)])
    first, second = path.segments
    assert path.dropped == ((1, 4),)
    left = [0, 2, 3]
    assert np.array_equal(second.values["W1"][0], first.values["W1"][-1][left])
    assert np.array_equal(second.values["W2"][0], first.values["W2"][-1][:, left])
    plain = run(network(Phase(1))[0], {n: second.values[n][0] for n in y0}, params)
    assert np.abs(plain.values["W1"][-1] - second.values["W1"][-1]).max() < CLOSE
    gone = np.isnan(path.values["W1"][-1])
    assert gone.all(axis=1).tolist() == [False, True, False, False, True]
    assert np.array_equal(path.values["W1"][-1][left], second.values["W1"][-1])


def test_deletions_at_one_switch_count_those_present() -> None:
    model, y0, params = network(Drop(N1, 1), Phase(1), Drop(N1, 1), Drop(N1, 2), Phase(1))
    path = run(model, y0, params, dropped=[[4], [0], [0, 2]])
    assert path.segments[0].values["W1"].shape[1] == 4
    assert np.flatnonzero(np.isfinite(path.values["W1"][-1][:, 0])).tolist() == [2]
    assert path.switches[1].dropped == ((0,), (0, 2))


def test_random_deletions_are_seeded() -> None:
    model, y0, params = network(Phase(1), Drop(N1, 2), Phase(1))
    one, two, other = (run(model, y0, params, seed=seed).dropped for seed in (1, 1, 2))
    assert one == two
    assert one != other


@pytest.mark.parametrize(
    ("count", "dropped", "remedy"),
    [(5, None, "give 1 to 4"), (2, [(1,)], "2 different places"), (2, [(1, 1)], "2 different places"), (2, [], "1 Drop")],
)
def test_impossible_deletions_are_refused(count: int, dropped: Any, remedy: str) -> None:
    model, y0, params = network(Phase(1), Drop(N1, count), Phase(1))
    with pytest.raises(InvalidSpec, match=remedy):
        run(model, y0, params, dropped=dropped)


# Coordinates of a reduction -------------------------------------------------------------------------------------------------


def balanced() -> tuple[dict[str, Any], Any]:
    from derive.reductions.riccati_value import balanced_blocks

    _, y0, params = network()
    w1, w2 = balanced_blocks(y0["W1"], y0["W2"], 0.0)
    return {"W1": w1, "W2": w2}, params


def test_a_reduced_course_follows_the_full_one_through_a_deletion() -> None:
    """Roads: Q = (W1'; W2) with its columns deleted; the weights themselves."""
    model = network(Phase(1), Drop(N1, 2), Phase(1))[0]
    y0, params = balanced()
    full = run(model, y0, params, dropped=[(0, 3)])
    low = run(model, {"Q": np.concatenate([y0["W1"].T, y0["W2"]])}, params, LambdaBalanced(0), dropped=[(0, 3)])
    assert low.segments[1].values["Q"].shape[1:] == (7, 3)
    assert np.nanmax(np.abs(low.values["Q"][:, :3].swapaxes(1, 2) - full.values["W1"])) < CLOSE


def test_events_that_leave_the_manifold_or_depend_on_the_frame_are_refused() -> None:
    y0, params = balanced()
    W1, W2 = linear_network(depth=2).state
    q = np.concatenate([y0["W1"].T, y0["W2"]])
    stay = run(network(Phase(1), Event({W1: 2 * W1, W2: 2 * W2}), Phase(1))[0], {"Q": q}, params, LambdaBalanced(0))
    assert np.allclose(stay.segments[1].values["Q"][0], 2 * stay.segments[0].values["Q"][-1], atol=1e-12)  # rounding
    with pytest.raises(NotInvariant, match="leaves the manifold"):
        run(network(Phase(1), Event({W1: 2 * W1}), Phase(1))[0], {"Q": q}, params, LambdaBalanced(0))
    with pytest.raises(UnsupportedNode, match="do not tell them apart"):
        run(network(Phase(1), Drop(N1, 2), Phase(1))[0], {"M": q @ q.T}, {**params, "N1": 5}, (LambdaBalanced(0), Gram()))


def test_closed_forms_take_the_place_of_integration() -> None:
    """Modes u with u' = 2 u (s - u)/tau; both layers halved between phases: u -> u/4. Roads: logistic pieces; integration."""
    W1, W2 = linear_network(depth=2).state
    model, _, params = network(Phase(1), Event({W1: W1 / 2, W2: W2 / 2}), Phase(2))
    y0, params = {"u": np.full(3, 0.1)}, {**params, "N1": 5}
    ansatz = (Modes(white=True), Balanced())
    closed, solved = (run(model, y0, params, ansatz, closed=flag) for flag in (True, False))
    assert "closed form" in closed.statistics["method"]
    assert np.abs(closed.values["u"] - solved.values["u"]).max() < CLOSE
    assert np.allclose(closed.segments[1].values["u"][0], closed.segments[0].values["u"][-1] / 4, rtol=1e-12)  # rounding
    assert np.abs(closed.observables["loss"] - solved.observables["loss"]).max() < CLOSE
    with pytest.raises(UnsupportedNode, match="leave out closed"):
        run(decay(Phase(1, bind={s: t})), {u: 0.0}, {}, closed=True)


def test_new_data_change_what_modes_mean() -> None:
    """A second task with other singular vectors: the mode strengths of the first are no coordinates of it."""
    T, T1, T2 = (matrix(n, *dims("o n")) for n in ("T", "T1", "T2"))
    W = matrix("W", *dims("o n"))
    model = Model(name="two", state=W, given=(T, T1, T2), learn=Rate({W: T - W}),
                  protocol=(Phase(1, bind={T: T1}), Phase(1, bind={T: T2})))  # fmt: skip
    w = scalars("w")
    one, two = np.diag([1.0, 2.0]), np.array([[0.0, 1.0], [1.0, 0.0]])
    with pytest.raises((NotInvariant, UnsupportedNode)):
        run(model, {"w": 0.5}, {"T1": one, "T2": two}, Manifold({W: w * T}, coordinates=(w,)))
    same = run(model, {"w": 0.5}, {"T1": one, "T2": one}, Manifold({W: w * T}, coordinates=(w,)))
    assert same.values["w"][-1] == pytest.approx(1 - 0.5 * np.exp(-2), abs=CLOSE)
