"""Plateau, escape and largest rates against formulas in print and linear responses by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq

from codegen import compile
from derive.library.difficulty import curriculum_perceptron
from derive.library.episodes import rl_perceptron
from derive.library.teacher import teacher_student
from derive.online.alike_units import Group, symmetric
from derive.online.limit import online_limit
from numerics import integrate
from numerics.analysis import find_rest, largest_stable, symmetric_plateau

ALIKE = {"u": Group(size="K", families=("K",)), "t": Group(size="M", families=("M",))}


@pytest.fixture(scope="module")
def erf():
    return online_limit(teacher_student(train="first", noise=False))


@pytest.fixture(scope="module")
def one(erf):
    """As many students as teachers, pair by pair alike."""
    return symmetric(erf, {"p": Group(size="M", families=("K", "M"))})


@pytest.mark.parametrize("K", [2, 4])
def test_unspecialised_plateau_of_the_soft_committee(erf, K):
    """Roads: Newton on the derived equations at a small rate; Saad and Solla (1995), in the limit of small rates."""
    eta = 1e-4
    start = {"Q": np.full((K, K), 1 / (2 * K)) + 0.05 * np.eye(K), "R": np.full((K, K), 0.3)}
    plateau = symmetric_plateau(erf, ALIKE, start, {"A": np.ones(K), "v": np.ones(K), "T": np.eye(K), "eta": eta})
    rest = plateau.full
    assert np.allclose(rest.state["Q"], 1 / (2 * K - 1), atol=1e-4)  # corrections of first order in eta
    assert np.allclose(rest.state["R"], 1 / np.sqrt(K * (2 * K - 1)), atol=1e-4)
    error = K / np.pi * (np.pi / 6 - K * np.arcsin(1 / (2 * K)))
    assert float(rest.observables["eg"]) == pytest.approx(error, rel=2e-4)
    escape = 2 / np.pi * K / (np.sqrt(2 * K - 1) * (2 * K + 1) ** 1.5)
    assert rest.escape_rate / eta == pytest.approx(escape, rel=2e-4)
    assert plateau.symmetric.stable


def near_the_teacher(eta: float, K: int) -> np.ndarray:
    """Linear response of x = |w_k - B_k|^2 / N and y = (w_k - B_k).(w_l - B_l) / N around a teacher with T = 1, by hand.

    The error is a sum of g'(nu_i) u_i with fields u that are independent of nu, so only moments of g' occur, which is
    (2/pi)^(1/2) exp(-nu^2/2):  <g'^p> = (2/pi)^(p/2) (1 + p)^(-1/2).
    """
    e1, e2, e3, e4 = ((2 / np.pi) ** (p / 2) / np.sqrt(1 + p) for p in (1, 2, 3, 4))
    m, n = e1**2, K - 1
    first = np.array([[e2, n * m], [m, e2 + (K - 2) * m]])
    second = np.array(
        [
            [e4 + n * e2**2, 2 * n * e3 * e1 + n * (K - 2) * e2 * m],
            [2 * e3 * e1 + (K - 2) * m * e2, 2 * e2**2 + 4 * (K - 2) * e2 * m + (K - 2) * (K - 3) * m**2],
        ]
    )
    whole = -2 * eta * first + eta**2 * second
    return whole if K > 1 else whole[:1, :1]


@pytest.mark.parametrize("K", [1, 2, 3])
def test_largest_rate_of_the_soft_committee(one, K):
    """Roads: bisection on the spectrum of the derived equations; linear response by hand, pi (5/3)^(1/2) for one unit."""
    by_hand = brentq(lambda h: np.linalg.eigvals(near_the_teacher(h, K)).real.max(), 0.5, 8)
    if K == 1:
        assert by_hand == pytest.approx(np.pi * np.sqrt(5 / 3), rel=1e-12)  # in print: Biehl and Schwarze (1995), 4.06
    units = ("Q_p", "R_p", "A_p", "v_p", "T_p")
    at = {b.name: float(b.name in units) for b in (*one.system.state, *one.system.parameters)}
    params = {b.name: at[b.name] for b in one.system.parameters if b.name != "eta"} | {"M": K}
    start = {b.name: at[b.name] for b in one.system.state}
    found = largest_stable(one, "eta", start, params, low=0.99 * by_hand, high=1.01 * by_hand, tolerance=1e-5)
    assert found == pytest.approx(by_hand, rel=1e-4)  # the bisection, and what is taken for zero


def test_where_a_curriculum_ends():
    """Roads: Newton on the derived equations; integration for a long time."""
    flow = online_limit(curriculum_perceptron())
    known = {"eta": 1.0, "kappa": 0.1, "rho": 0.5, "Delta": 0.3, "T_B": np.full((1, 1), 0.5), "hard": 1.0}
    kernel = compile(flow, backend="numpy")
    params = {b.name: known[b.name] for b in kernel.parameters}
    blocks = {b.name: np.full((1,) * len(b.shape), 0.3) for b in flow.state}
    path = integrate(kernel, blocks, params, (0.0, 400.0), [400.0], rtol=1e-10)
    rest = find_rest(flow, {n: a[-1] * 1.05 for n, a in path.values.items()}, params)
    assert rest.stable
    for n, a in path.values.items():
        assert np.allclose(rest.state[n], a[-1], atol=1e-8)  # tolerances of both


def test_overlaps_that_no_vectors_have_are_marked():
    """The RL perceptron grows with every reward, and where P = 0 the equations rest: beyond R^2 = Q T, where nothing is."""
    flow = online_limit(rl_perceptron("all"))
    rest = find_rest(flow, {"Q": 1.0, "R": 0.3}, {"eta_1": 1.0, "T": 3, "T_wstar": 1.0})
    Q, R = float(rest.state["Q"]), float(rest.state["R"])
    assert R**2 > Q
    assert rest.least == pytest.approx(np.linalg.eigvalsh([[Q, R], [R, 1.0]])[0], rel=1e-9)  # rounding; the largest entry is 1
    assert "no vectors have these overlaps" in str(rest)
    flow = online_limit(teacher_student("linear", train="first"))
    params = {"A": [1.0], "v": [1.0], "T": [[1.0]], "eta": 0.1, "sigma": 0.3}
    right = find_rest(flow, {"Q": np.eye(1), "R": np.eye(1)}, params)
    assert right.least > -1e-9
    assert "no vectors" not in str(right)
