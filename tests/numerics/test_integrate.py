"""Integration: exact solutions known by hand are the second road; every way to end has its status."""

import math

import numpy as np
import pytest
from fake_kernel import FakeKernel

from derive.errors import InvalidSpec, ShapeMismatch
from numerics.integrate import integrate
from numerics.status import IntegrationFailed, Status
from numerics.steppers import METHODS

LOGISTIC = FakeKernel(lambda t, u, s: (2 * u * (s - u),), ("u",), ("s",))
DECAY = FakeKernel(lambda t, x: (-x,), ("x",))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("u0", [1e-3, 1e-6, 1e-10, 1e-13, 1e-16])
def test_half_time_of_a_saddle_escape(method, u0):
    """t_half = log(s/u0 - 1)/(2s), known exactly; u(t_half) = s/2, and dt = du / (s^2/2)."""
    s = 1.3
    half = math.log(s / u0 - 1) / (2 * s)
    path = integrate(LOGISTIC, {"u": u0}, {"s": s}, (0, half + 1), [half], method=method)
    error = abs(path.values["u"][0] - s / 2) / (s**2 / 2)
    assert path.status is Status.OK
    assert error <= (3e-6 if method == "BDF" else 1e-6)  # BDF of order <= 5 takes 800 steps of relative error 1e-8, one sign


def test_default_tolerance_of_scipy_would_fail():
    """The control: with SciPy's default atol the start is below the noise, and the escape is badly timed."""
    half = math.log(1e12 - 1) / 2
    path = integrate(LOGISTIC, {"u": 1e-12}, {"s": 1.0}, (0, half + 1), [half], method="Radau", rtol=1e-3, atol=1e-6)
    assert abs(path.values["u"][0] - 0.5) > 0.1


def test_noise_of_rounding_does_not_stall_a_rotation():
    """An entry of 1e-18 beside entries of order one is rounding; x(t) = cos t, y(t) = -sin t is the second road."""
    turn = FakeKernel(lambda t, x: (np.array([x[1], -x[0]]),), ("x",))
    path = integrate(turn, {"x": [1.0, 1e-18]}, {}, (0, 10), [10.0])
    assert path.status is Status.OK
    assert path.statistics["steps"] < 200
    assert np.allclose(path.values["x"][0], [math.cos(10), -math.sin(10)], atol=1e-6)  # 100 steps of rtol 1e-8


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("rhs", "status", "time"),
    [
        (lambda t, x: (x**2,), Status.BLOWUP, 1.0),  # x = 1/(1 - t)
        (lambda t, x: (x**3,), Status.BLOWUP, 0.5),  # x = (1 - 2t)^(-1/2)
        (lambda t, x: (-0.5 / x,), Status.STIFF_LIMIT, 1.0),  # x = sqrt(1 - t): the slope is singular, the state is not
        (lambda t, x: (-np.sqrt(1 - t) + 0 * x,), Status.NONFINITE, 1.0),
    ],
)
def test_ways_to_end(method, rhs, status, time):
    path = integrate(FakeKernel(rhs, ("x",)), {"x": 1.0}, {}, (0, 2), method=method, time_limit=20)
    assert path.status is status
    assert abs(path.t[-1] - time) < 1e-3  # LSODA stops a little early, the others within rounding
    with pytest.raises(IntegrationFailed, match=status.value):
        path.raise_if_failed()


def test_exponential_growth_ends_as_blowup():
    path = integrate(FakeKernel(lambda t, x: (x,), ("x",)), {"x": 1.0}, {}, (0, 1000))
    assert path.status is Status.BLOWUP
    assert 200 < path.t[-1] < 260  # 1e100 = e^230


def test_nan_right_hand_side_names_symbol_and_index():
    def rhs(t, a, b):
        return (a, np.array([[0.0, np.nan]]))

    path = integrate(FakeKernel(rhs, ("a", "b")), {"a": 1.0, "b": [[1.0, 2.0]]}, {}, (0, 1))
    assert path.status is Status.NONFINITE
    assert "b[0, 1]" in path.detail
    assert path.t.tolist() == [0.0]  # what was reached is kept


def test_stiff_oscillator_switches_and_agrees_with_radau():
    """van der Pol, mu = 1e6 in slow time; Radau from the start is the second road."""
    oscillator = FakeKernel(lambda t, x, y: (y, 1e6 * ((1 - x * x) * y - x)), ("x", "y"))
    start = {"x": 2.0, "y": 0.0}
    auto = integrate(oscillator, start, {}, (0, 2), [1.0, 2.0], rtol=1e-6)
    radau = integrate(oscillator, start, {}, (0, 2), [1.0, 2.0], rtol=1e-7, method="Radau")
    assert auto.status is Status.OK
    assert auto.statistics["method"] == "DOP853, Radau"
    assert auto.statistics["switched"] < 0.01
    assert np.allclose(auto.values["x"], radau.values["x"], atol=1e-4)  # 850 steps of rtol 1e-6
    assert integrate(LOGISTIC, {"u": 0.1}, {"s": 1.0}, (0, 30)).statistics["switched"] is None  # no false alarm


def test_limits():
    assert integrate(DECAY, {"x": 1.0}, {}, (0, 100), max_steps=3).status is Status.STEP_LIMIT
    slow = FakeKernel(lambda t, x: (np.sin(1e4 * t) * x,), ("x",))
    assert integrate(slow, {"x": 1.0}, {}, (0, 1e4), time_limit=0.05).status is Status.TIME_LIMIT


@pytest.mark.parametrize("method", METHODS)
def test_interrupt_keeps_the_complete_part(method):
    calls = [0]

    def rhs(t, x):
        calls[0] += 1
        if calls[0] > 80:
            raise KeyboardInterrupt
        return (-x,)

    path = integrate(FakeKernel(rhs, ("x",)), {"x": 1.0}, {}, (0, 50), method=method)
    assert path.status is Status.INTERRUPTED
    assert len(path.t) == len(path.values["x"]) > 1
    assert np.allclose(path.values["x"], np.exp(-path.t), rtol=1e-5)  # rtol 1e-8, some tens of steps


def test_times_are_exactly_those_asked_for():
    t = np.linspace(0, 3, 7)
    path = integrate(DECAY, {"x": [1.0, 2.0]}, {}, (0, 3), t)
    assert (path.t == t).all()
    assert path.values["x"].shape == (7, 2)
    assert np.allclose(path.values["x"], np.exp(-t)[:, None] * [1, 2], rtol=1e-7)  # rtol 1e-8, dense output of order 7


def test_observables_and_progress():
    kernel = FakeKernel(lambda t, x: (-x,), ("x",), observe=lambda t, x: (x**2,), observed=("energy",))
    seen = []
    path = integrate(kernel, {"x": 1.0}, {}, (0, 1), progress=lambda f, m: seen.append((f, m)))
    assert np.allclose(path.observables["energy"], path.values["x"] ** 2, rtol=0, atol=0)  # the same numbers
    assert seen[-1][0] == 1.0
    assert seen[-1][1].startswith("t = ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"t_span": (1, 0)}, r"t0 < t1.*change the sign"),
        ({"t_span": (0, math.inf)}, "finite times"),
        ({"t_eval": [0.5, 2.0]}, r"entry \[1\] = 2 lies outside"),
        ({"t_eval": [0.5, 0.5]}, r"entry \[1\] = 0.5 does not exceed"),
        ({"t_eval": []}, "a list of times"),
        ({"t_eval": [0.5, math.nan]}, r"entry \[1\] = nan"),
        ({"method": "Euler"}, "choose one of auto, DOP853"),
        ({"rtol": 0.0}, "rtol"),
        ({"atol": -1.0}, "leave it out"),
        ({"max_steps": 0}, "at least one step"),
        ({"y0": {"x": [1.0, math.nan]}}, r"initial value x: entry \[1\] is nan"),
        ({"y0": {"x": ["a", "b"]}}, "initial value x: real numbers"),
        ({"y0": {"x": [1j, 1.0]}}, "initial value x"),
        ({"params": {"s": math.inf}}, r"parameter s: entry \[\] is inf"),
    ],
)
def test_bad_input_names_the_culprit(change, message):
    arguments = {"y0": {"x": [1.0, 2.0]}, "params": {}, "t_span": (0, 1)} | change
    kernel = FakeKernel(lambda t, x: (-x,), ("x",))
    with pytest.raises(InvalidSpec, match=message):
        integrate(kernel, arguments.pop("y0"), arguments.pop("params"), arguments.pop("t_span"), **arguments)


def test_scalar_for_a_vector_is_refused():
    with pytest.raises(ShapeMismatch, match="return one per state"):
        integrate(FakeKernel(lambda t, x: (1.0,), ("x",)), {"x": [1.0, 2.0, 3.0]}, {}, (0, 1))
