"""Controls over a horizon, each against a second road: Riccati, closed forms, greedy values, direct search, Euler steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import quad, solve_ivp
from scipy.optimize import minimize

from derive import Control, Model, Rate, fn, grad, gradient_flow, greedy, online_limit, optimal, scalars
from derive.errors import InvalidSpec
from derive.library.episodes import rl_perceptron
from derive.library.teacher import teacher_student
from numerics import Schedule, solve_optimal
from numerics.control_task import open_task

x, u, a, q, r, s = scalars("x u a q r s")
NUMBERS = {a: 0.5, q: 1.0, r: 0.7, s: 2.0, u: 0.0}


def line(**settings: Any) -> Any:
    """dx/dt = a x + u with quadratic costs."""
    flow = gradient_flow(Model(name="line", state=x, given=(u, a), learn=Rate({x: a * x + u})))
    return optimal(flow, u, -s * x**2 / 2, running=-(q * x**2 + r * u**2) / 2, **settings)


def riccati(t: np.ndarray, y: float = 2.0) -> np.ndarray:
    """S(t) with dS/dt = S^2 / r - 2 a S - q, S(T) = s."""
    back = solve_ivp(lambda t, S: S**2 / 0.7 - S - 1.0, (2.0, 0.0), [y], t_eval=t[::-1], rtol=1e-11, atol=1e-13)
    return back.y[0, ::-1]


def test_linear_quadratic_control() -> None:
    """Roads: ascent with the derived costates; Riccati's equation: J = -S(0) / 2, p = -S x, u = p / r."""
    run = solve_optimal(line(), {x: 1.0}, NUMBERS, (0, 2), intervals=40)
    S = riccati(run.t)
    assert run.success
    assert run.value == pytest.approx(-S[0] / 2, abs=1e-6)  # lines in place of curves: h^4 / 100
    assert np.allclose(run.costates["p_x"], -S * run.trajectory.values["x"], atol=2e-4)  # h^2 / 12
    assert np.allclose(run.control["u"], run.costates["p_x"] / 0.7, atol=2e-3)  # h^2 at the ends
    assert run.error < 1e-6


def test_bounds_and_a_direct_search() -> None:
    """Roads: the adjoint; a search with differences over eight lines, by steps written here."""
    run = solve_optimal(line(bounds={u: (-1, sp.Rational(-1, 4))}), {x: 1.0}, NUMBERS, (0, 2), intervals=8)
    fine = np.linspace(0, 2, 161)

    def loss(v: np.ndarray) -> float:
        c, h, y, total = np.interp(fine, np.linspace(0, 2, 9), v), 2 / 80, 1.0, 0.0
        for k in range(0, 160, 2):  # Runge-Kutta steps of length h by hand; Simpson's rule for the price
            k1 = 0.5 * y + c[k]
            k2 = 0.5 * (y + h / 2 * k1) + c[k + 1]
            k3 = 0.5 * (y + h / 2 * k2) + c[k + 1]
            k4 = 0.5 * (y + h * k3) + c[k + 2]
            middle, last = y + h / 4 * (k1 + k2), y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            total += h / 12 * (y**2 + 4 * middle**2 + last**2 + 0.7 * (c[k] ** 2 + 4 * c[k + 1] ** 2 + c[k + 2] ** 2))
            y = last
        return float(y**2 + total)

    found = minimize(loss, np.full(9, -0.5), method="L-BFGS-B", bounds=[(-1, -0.25)] * 9)
    assert run.value == pytest.approx(-found.fun, abs=1e-5)  # the middle of a step to h^3
    assert np.allclose(run.control["u"], found.x, atol=5e-3)  # the square root of that
    assert run.control["u"].min() == -1.0
    assert run.control["u"].max() == -0.25
    assert run.success


def test_learning_rate_of_a_linear_perceptron() -> None:
    r"""Roads: the committee's equations; by hand dE/dt = -2 eta E + eta^2 (E + s^2), eta = E / (E + s^2), and its solution."""
    flow = online_limit(teacher_student("linear", train="first"))
    problem = optimal(flow, flow.symbols["eta"], -sp.Symbol("eg"), bounds={"eta": (0, None)})
    params = {"A": [1.0], "v": [1.0], "T": [[1.0]], "sigma": 0.5, "eta": 0.3}
    run = solve_optimal(problem, {"Q": [[1.0]], "R": [[0.0]]}, params, (0, 5), intervals=30)
    E = 2 * run.trajectory.observables["eg"]
    assert run.success
    assert np.abs(np.log(E[0] / E) + 0.25 * (1 / E - 1 / E[0]) - run.t).max() < 1e-6  # lines in place of curves, h^4
    assert np.allclose(run.control["eta"], E / (E + 0.25), atol=5e-4)  # the same, h^2


def test_the_rl_perceptron_needs_no_foresight() -> None:
    """Alignment depends on eta / sqrt(Q) only, so its greedy rate is the optimal one; roads: the adjoint, and `greedy`."""
    flow = online_limit(rl_perceptron("all"))
    problem, best = optimal(flow, "eta_1", "accuracy", bounds={"eta_1": (0, 100)}), greedy(flow, "eta_1", "accuracy")
    run = solve_optimal(problem, {"Q": 1.0, "R": 0.3}, {"T": 4, "T_wstar": 1.0, "eta_1": 1.0}, (0, 3), intervals=15)
    path = run.trajectory.values
    states = [{"Q": Q, "R": R, "T": 4, "T_wstar": 1.0} for Q, R in zip(path["Q"], path["R"], strict=True)]
    assert run.success
    assert np.allclose(run.control["eta_1"], [best.at(v) for v in states], rtol=2e-3)  # lines in place of curves


def effort() -> Any:
    """One weight whose gain 1 + g may be raised at a price, discounted by a clock c."""
    w, c, g, kappa, S, lam, beta, T, L = scalars("w c g kappa S lam beta T L")
    return gradient_flow(
        Model(
            name="effort",
            state=(w, c),
            given=(g, kappa, S, lam, beta, T),
            let={L: (1 - 2 * kappa * w * (1 + g) + S * w**2 * (1 + g) ** 2) / 2 + lam * w**2 / 2},
            learn=Rate({w: -grad(L, w), c: 1}),
            control=Control((g,), fn.exp(-c) * (-L - beta * g**2), T, bounds={g: (0, sp.Rational(1, 2))}),
        )
    )


def euler(g: np.ndarray, steps: int = 400) -> float:
    """Value of a course of gains by Euler steps."""
    w, total, h = 0.0, 0.0, 1 / steps
    for k, gain in enumerate(1 + g):
        loss = (1 - 4 * w * gain + 5 * w**2 * gain**2) / 2 + 0.05 * w**2
        total += h * np.exp(-k * h) * (-loss - 0.3 * (gain - 1) ** 2)
        w += h * (2 * gain - 5 * gain**2 * w - 0.1 * w)
    return total


def test_effort_is_spent_early() -> None:
    """Roads: Pontryagin; 400 Euler steps by hand (-.1036 without control, -.0960 at best), and w(t) in closed form."""
    numbers = {"kappa": 2.0, "S": 5.0, "lam": 0.1, "beta": 0.3, "T": 1.0, "g": 0.0}
    run = solve_optimal(optimal(effort()), {"w": 0.0, "c": 0.0}, numbers, intervals=40)
    g = run.control["g"]
    assert run.success
    assert (np.diff(g) < 0).all()
    assert 0.45 < g[0] < 0.5
    assert 0.02 < g[-1] < 0.04

    def idle(t: float) -> float:
        w = 2 / 5.1 * (1 - np.exp(-5.1 * t))
        return -np.exp(-t) * ((1 - 4 * w + 5 * w**2) / 2 + 0.05 * w**2)

    assert run.value_at_start == pytest.approx(quad(idle, 0, 1)[0], abs=1e-6)  # Runge-Kutta steps
    fine = np.interp(np.arange(400) / 400, run.t, g)
    assert euler(np.zeros(400)) == pytest.approx(-0.1036, abs=1e-4)  # digits in print
    assert euler(fine) == pytest.approx(-0.0960, abs=1e-4)
    better = minimize(lambda v: -euler(np.repeat(v, 20)), np.repeat(0.1, 20), bounds=[(0, 0.5)] * 20, method="L-BFGS-B")
    assert -better.fun < euler(fine) + 2e-5  # twenty steps cannot do better than lines, up to the error of Euler steps


def test_the_discrete_adjoint_is_the_derivative_of_the_sum() -> None:
    """Roads: steps backwards; differences of J. And costates with a wrong sign are seen."""
    flow = online_limit(teacher_student("linear", train="first"))
    problem = optimal(flow, "eta", -sp.Symbol("eg"), running=-(sp.Symbol("eta") ** 2))
    params = {"A": [1.0, 0.5], "v": [1.0, 0.7], "T": np.eye(2), "sigma": 0.5, "eta": Schedule([0, 2], [0.6, 0.2])}
    state = {"Q": [[1.0, 0.2], [0.2, 0.8]], "R": [[0.1, 0.2], [-0.3, 0.1]]}

    def off(one: Any, way: str) -> float:
        task = open_task(one, state, params, (0, 2), 5, way, "numpy")
        _, slope = task.worth.gradient(task.guess)
        seen = np.zeros_like(slope)
        for k in range(len(slope)):
            e = np.zeros_like(slope)
            e[k] = 1e-5
            seen[k] = (task.worth.value(task.guess + e) - task.worth.value(task.guess - e)) / 2e-5
        return float(np.abs(slope - seen).max() / np.abs(seen).max())

    assert off(problem, "equations") < 1e-8  # 1e-10 of third derivatives, and rounding of J over 1e-5
    assert off(problem, "differences") < 1e-8
    wrong = problem.field.replace(rhs={**problem.field.rhs, "p_R": -problem.field.rhs["p_R"]})
    assert off(replace(problem, field=wrong), "equations") > 1e-3


def test_arrays_as_controls() -> None:
    """Readouts that are set freely. Roads: the derived costates; differences of the right-hand sides."""
    flow = online_limit(teacher_student("linear", train="first"))
    problem = optimal(flow, "v", running=-sp.Symbol("eg"), bounds={"v": (0, 2)})
    params = {"A": [1.0], "v": [0.5, 0.4], "T": [[1.0]], "sigma": 0.1, "eta": 0.5}
    start = {"Q": np.eye(2), "R": [[0.1], [0.3]]}
    one, two = (
        solve_optimal(problem, start, params, (0, 2), intervals=8, derivatives=way) for way in ("equations", "differences")
    )
    assert one.control["v"].shape == (9, 2)
    assert one.success
    assert one.value > one.value_at_start
    assert np.allclose(one.control["v"], two.control["v"], atol=1e-3)  # the tolerance of the search on a flat maximum
    assert (one.derivatives, two.derivatives) == ("equations", "differences")


def test_what_is_refused() -> None:
    problem = line()
    with pytest.raises(InvalidSpec, match=r"pass derive\.optimal"):
        solve_optimal(problem.system, {x: 1.0}, NUMBERS, (0, 1))  # type: ignore[arg-type]
    with pytest.raises(InvalidSpec, match="give t_span"):
        solve_optimal(problem, {x: 1.0}, NUMBERS)
    with pytest.raises(InvalidSpec, match="no initial value for x"):
        solve_optimal(problem, {}, NUMBERS, (0, 1))
    with pytest.raises(InvalidSpec, match="first guess for u"):
        solve_optimal(problem, {x: 1.0}, {k: v for k, v in NUMBERS.items() if k != u}, (0, 1))
    with pytest.raises(InvalidSpec, match="no value for parameter r"):
        solve_optimal(problem, {x: 1.0}, {k: v for k, v in NUMBERS.items() if k != r}, (0, 1))
    with pytest.raises(InvalidSpec, match="exchange them"):
        solve_optimal(line(bounds={u: (1, a)}), {x: 1.0}, NUMBERS, (0, 1))
    with pytest.raises(InvalidSpec, match="is no parameter of line"):
        solve_optimal(problem, {x: 1.0}, {**NUMBERS, "b": 1.0}, (0, 1))
    with pytest.raises(InvalidSpec, match="another first guess"):
        solve_optimal(problem, {x: 1.0}, {**NUMBERS, a: 400.0}, (0, 10))
    with pytest.raises(InvalidSpec, match="choose one of auto"):
        solve_optimal(problem, {x: 1.0}, NUMBERS, (0, 1), derivatives="exact")
