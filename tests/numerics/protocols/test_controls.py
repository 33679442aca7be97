"""Parameters that move in time, in integration and in simulation, against solutions by hand; and conditions of `integrate`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from codegen import compile
from derive import Model, Rate, gradient_flow, matrix, plan, scalars, t
from derive.errors import InvalidSpec, ShapeMismatch
from derive.spec.rules import Update
from derive.spec.symbols import dims
from numerics import Schedule, integrate, simulate
from numerics.simulate import SimulationError

u, eta, a = scalars("u eta a")
CLOSE = 1e-7  # a hundred times the rtol of 1e-9


def kernel() -> Any:
    return compile(gradient_flow(Model(name="m", state=u, given=(eta, a), learn=Rate({u: -eta * a * u}))), backend="numpy")


@pytest.mark.parametrize("control", [lambda now: 1 / (1 + now), a / (1 + t), Schedule([0.0, 3.0], [1.0, 1.0])])
def test_functions_expressions_and_schedules_are_integrated(control: Any) -> None:
    """u' = -eta(t) u: u = 1/(1 + t) for eta = 1/(1 + t), e^{-t} for eta = 1."""
    path = integrate(kernel(), {u: 1.0}, {eta: control, a: 1.0}, (0.0, 3.0), [1.0, 3.0], rtol=1e-9).raise_if_failed()
    want = np.exp([-1.0, -3.0]) if isinstance(control, Schedule) else np.array([0.5, 0.25])
    assert np.abs(path.values["u"] - want).max() < CLOSE
    assert path.parameters["eta"].shape == (2,)


def test_a_narrow_pulse_is_not_stepped_over() -> None:
    """A triangle of width 0.02 and area 1 in a span of 1000: u falls by e^{-1}. Without its points every method misses it."""
    pulse = Schedule([0.0, 500.0, 500.01, 500.02, 1000.0], [0.0, 0.0, 100.0, 0.0, 0.0])
    path = integrate(kernel(), {u: 1.0}, {eta: pulse, a: 1.0}, (0.0, 1000.0), [1000.0], rtol=1e-9).raise_if_failed()
    assert path.values["u"][-1] == pytest.approx(np.exp(-1), abs=CLOSE)


def test_arrays_move_too() -> None:
    """W' = T(t) - W with T = t T1: W = (t - 1 + e^{-t}) T1."""
    n, m = dims("n m")
    W, T = matrix("W", n, m), matrix("T", n, m)
    made = compile(gradient_flow(Model(name="m", state=W, given=T, learn=Rate({W: T - W}))), backend="numpy")
    target = np.arange(6.0).reshape(2, 3)
    both: list[Any] = [lambda now: now * target, Schedule([0.0, 2.0], [0 * target, 2 * target])]
    for control in both:
        path = integrate(made, {W: np.zeros((2, 3))}, {T: control}, (0.0, 2.0), [2.0], rtol=1e-9).raise_if_failed()
        assert np.abs(path.values["W"][-1] - (1 + np.exp(-2)) * target).max() < CLOSE * 5  # entries up to 5


@pytest.mark.parametrize(
    ("control", "error", "remedy"),
    [
        (np.linspace(0, 1, 50), ShapeMismatch, r"Schedule\(times, values\)"),
        (lambda now: np.ones(2), ShapeMismatch, "takes one number"),
        (lambda now: "fast", InvalidSpec, "not made of real numbers"),
        (lambda now: np.nan, InvalidSpec, "not finite"),
        (scalars("b") / (1 + t), InvalidSpec, "b has no fixed value"),
    ],
)
def test_wrong_controls_are_refused_with_one_clear_message(control: Any, error: type[Exception], remedy: str) -> None:
    with pytest.raises(error, match=remedy):
        integrate(kernel(), {u: 1.0}, {eta: control, a: 1.0}, (0.0, 1.0))


@pytest.mark.parametrize(
    ("times", "values"), [([0.0], [1.0]), ([0.0, 0.0], [1.0, 2.0]), ([0.0, 1.0], [1.0]), ([0.0, 1.0], [1.0, np.inf])]
)
def test_wrong_schedules_are_refused(times: list[float], values: list[float]) -> None:
    with pytest.raises(InvalidSpec, match="Schedule"):
        Schedule(times, values)


def test_integration_stops_at_a_condition() -> None:
    """u = e^{-t} reaches 1/2 at log 2, with and without requested times; the state there is recorded."""
    for times in (None, [0.0, 0.5, 1.0, 2.0]):
        path = integrate(
            kernel(), {u: 1.0}, {eta: 1.0, a: 1.0}, (0.0, 2.0), times, rtol=1e-10, until=lambda now, y: 0.5 - y["u"]
        )
        assert path.statistics["stopped"] == pytest.approx(np.log(2), abs=1e-9)  # ten times the rtol
        assert path.t[-1] == path.statistics["stopped"]
        assert path.values["u"][-1] == pytest.approx(0.5, abs=1e-12)  # the root is found to rounding
    with pytest.raises(InvalidSpec, match="lambda t, state"):
        integrate(kernel(), {u: 1.0}, {eta: 1.0, a: 1.0}, (0.0, 2.0), until="u")  # type: ignore[arg-type]


def step() -> dict[str, Any]:
    return plan(Model(name="m", state=u, given=(eta, a), learn=Update({u: u - eta * a * u / 100}, dt=a / 100)))


def test_simulations_take_functions_of_time() -> None:
    """Roads: the engine; the product of (1 - eta(k dt) dt) by hand."""
    run = simulate(step(), {"eta": lambda now: 1 / (1 + now), "a": 1.0}, {"u": 1.0}, 200)
    by_hand = np.prod([1 - 0.01 / (1 + 0.01 * k) for k in range(200)])
    assert run.values["u"][0, -1] == pytest.approx(by_hand, rel=1e-13)  # rounding of 200 products


@pytest.mark.parametrize(
    ("control", "remedy"),
    [
        (np.linspace(0, 1, 50), "function of t"),
        (lambda now: np.ones(2), "function of t"),
        (lambda now: "x", "not made of numbers"),
    ],
)
def test_simulations_refuse_wrong_controls(control: Any, remedy: str) -> None:
    with pytest.raises(SimulationError, match=remedy):
        simulate(step(), {"eta": control, "a": 1.0}, {"u": 1.0}, 5)
