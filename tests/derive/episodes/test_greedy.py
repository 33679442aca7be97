"""Greedy controls. Two roads: the derived value, and the printed formulas or a search over the control by numbers; and SGD with
full weights under the schedule against the governed system.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import sympy as sp

from codegen import compile
from derive import InvalidSpec, UnsupportedNode, fn, greedy, online_limit
from derive.gaussian.quadrature import NUMPY
from derive.indices.indexed import const, evaluate, mul
from derive.library.episodes import compositional_perceptron, rl_perceptron
from derive.library.teacher import teacher_student
from derive.protocols.schedules import Greedy
from numerics import integrate

STATE = {"Q": 1.3, "R": 0.4, "T_wstar": 1.0, "T": 8}
RHO = 0.4 / np.sqrt(1.3)
P = 1 - np.arccos(RHO) / np.pi


def alignment(flow: Any) -> Any:
    return flow.symbols["R"] / sp.sqrt(flow.symbols["Q"])


@cache
def rate_and_length() -> tuple[Greedy, Greedy]:
    flow = online_limit(rl_perceptron("all"))
    rate = greedy(flow, flow.symbols["eta_1"], alignment(flow))
    assert rate.system is not None
    return rate, greedy(rate.system, flow.symbols["T"], alignment(flow))


def test_learning_rate_and_length_of_the_rl_perceptron() -> None:
    rate, length = rate_and_length()
    printed = 8 * np.sqrt(1.3 / 2 / np.pi) * (1 - RHO**2) / (RHO * P)
    assert rate.at(STATE) == pytest.approx(printed, rel=1e-12)  # rounding
    assert length.at(STATE) == pytest.approx(-1 / np.log(P), rel=1e-12)
    grown = (1 - RHO**2) ** 2 * 8 * P**6 / (4 * np.pi * RHO)  # printed growth of the alignment under the greedy rate
    assert evaluate(length.progress, STATE, {}, NUMPY) == pytest.approx(grown, rel=1e-12)


def test_greedy_values_beat_all_others() -> None:
    rate, length = rate_and_length()
    for found, grid in ((rate, np.linspace(0.1, 60, 4001)), (length, np.linspace(0.2, 20, 4001))):
        speeds = [evaluate(found.progress, {**STATE, found.control: c}, {}, NUMPY) for c in grid]
        # the grid's best place is the value, to one step of the grid
        assert abs(grid[int(np.argmax(speeds))] - found.at(STATE)) < grid[1] - grid[0]


def test_value_is_a_sympy_expression() -> None:
    _, length = rate_and_length()
    Q, R, S = (sp.Symbol(n, real=True) for n in ("Q", "R", "T_wstar"))
    shown = length.to_sympy().subs([(Q, 1.3), (R, 0.4), (S, 1.0)])
    assert float(shown) == pytest.approx(-1 / np.log(P), rel=1e-12)


@pytest.mark.parametrize("reward", ["penalty", "at_least", "linear", "survival"])
def test_learning_rate_for_other_rewards(reward: str) -> None:
    flow = online_limit(rl_perceptron(reward))
    found = greedy(flow, flow.symbols["eta_1"], "accuracy")
    values = {**STATE, "T": 1.0 if reward == "survival" else 8, "T0": 3, "T1": 5, "eta_2": 0.1, "n": 5.0, "baseline": 0.4}
    values["eta_1"] = found.at(values)
    speeds = [evaluate(found.progress, {**values, "eta_1": values["eta_1"] * f}, {}, NUMPY) for f in (0.99, 1.0, 1.01)]
    assert speeds[1] > max(speeds[0], speeds[2])


def test_committees_have_a_greedy_rate_with_sums_over_units() -> None:
    flow = online_limit(teacher_student(fn.erf2, train="first", noise=False))
    flow = flow.replace(observables={"gain": mul(const(-1), flow.observables["eg"])})
    found = greedy(flow, flow.symbols["eta"], "gain")
    assert found.value is not None
    assert found.system is not None
    assert "eta" not in [p.name for p in found.system.parameters]
    assert "12 of 12" in found.check


def test_a_root_is_kept_where_there_is_no_formula() -> None:
    flow = online_limit(rl_perceptron("penalty"))
    found = greedy(flow, flow.symbols["T"], alignment(flow))
    assert found.value is None
    assert found.system is None
    values = {**STATE, "eta_1": 10.0, "eta_2": 0.02}
    best = found.at(values, (1.0, 20.0))
    speeds = [evaluate(found.progress, {**values, "T": best + d}, {}, NUMPY) for d in (-0.1, 0.0, 0.1)]
    assert speeds[1] > max(speeds[0], speeds[2])
    with pytest.raises(InvalidSpec, match="two values of the control"):
        found.at(values)


def test_monotone_controls_are_refused() -> None:
    flow = online_limit(compositional_perceptron())
    with pytest.raises(UnsupportedNode, match="monotone in eta_v"):
        greedy(flow, flow.symbols["eta_v"], "accuracy")
    with pytest.raises(InvalidSpec, match="scalar parameters are"):
        greedy(flow, flow.symbols["vstar"], "accuracy")
    with pytest.raises(InvalidSpec, match="no observable"):
        greedy(flow, flow.symbols["eta_w"], "speed")
    with pytest.raises(UnsupportedNode, match="choose another objective"):
        greedy(flow, flow.symbols["eta_w"], sp.Symbol("eta_v"))


def test_sgd_under_the_greedy_rate() -> None:
    """Full weights, the rate read off them at every step, against the governed system."""
    rate, _ = rate_and_length()
    assert rate.system is not None
    T, N, runs, end = 3, 400, 16, 1.5
    kernel = compile(rate.system)
    path = integrate(
        kernel, {"Q": np.asarray(1.0), "R": np.asarray(0.3)}, {"T": np.asarray(3.0), "T_wstar": np.asarray(1.0)},
        (0.0, end), np.array([0.0, end]), rtol=1e-10,
    ).raise_if_failed()  # fmt: skip
    rng = np.random.default_rng(3)
    teacher, other = np.sqrt(N) * np.linalg.qr(rng.standard_normal((N, 2)))[0].T
    w = np.tile(0.3 * teacher + np.sqrt(0.91) * other, (runs, 1))
    for _ in range(int(end * N)):
        Q, R = (w * w).mean(1), (w * teacher).mean(1)
        rho = R / np.sqrt(Q)
        eta = T * np.sqrt(Q / 2 / np.pi) * (1 - rho**2) / (rho * (1 - np.arccos(rho) / np.pi))
        x = rng.standard_normal((runs, N, T))
        y = np.sign(np.einsum("rn,rnt->rt", w, x))
        won = (y == np.sign(np.einsum("n,rnt->rt", teacher, x))).all(1)
        w += (eta * won / T / np.sqrt(N))[:, None] * np.einsum("rt,rnt->rn", y, x)
    aligned = (w * teacher).mean(1) / np.sqrt((w * w).mean(1))
    theory = path.values["R"][-1] / np.sqrt(path.values["Q"][-1])
    # five standard errors of 16 runs (fixed seed) and terms of order T/N
    assert abs(aligned.mean() - theory) < 5 * aligned.std(ddof=1) / 4 + T / N
