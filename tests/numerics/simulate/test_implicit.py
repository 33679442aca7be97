"""``root`` on the tape: values and gradients against SciPy's solvers and central differences, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import solve_continuous_lyapunov

from numerics.simulate import simulate
from numerics.simulate.errors import NotSimulable
from numerics.simulate.tape import constant

RNG = np.random.default_rng(2)
N = 4
RESIDUAL = ["add", ["matmul", "W", "P"], ["matmul", "P", ["T", "W"]], ["matmul", "u", ["T", "u"]]]


def made(residual: object = RESIDUAL, loss: object = None) -> dict:
    loss = loss or ["trace", ["matmul", ["T", "v"], "P", "v"]]
    return {
        "version": 1, "name": "r", "dims": ["N"], "state": {"W": ["N", "N"]}, "given": {"u": ["N", 1], "v": ["N", 1]},
        "let": [["P", ["root", residual]], ["L", loss]],
        "rule": {"kind": "rate", "rates": [["W", ["mul", -1, ["grad", "L", "W"]]]], "noise": []}, "observe": {"loss": "L"},
    }  # fmt: skip


def loss(W: np.ndarray, u: np.ndarray, v: np.ndarray) -> float:
    return float((v.T @ solve_continuous_lyapunov(W, -u @ u.T) @ v)[0, 0])


def start() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    W = 0.2 * RNG.standard_normal((N, N)) - np.eye(N)
    return W, {"u": RNG.standard_normal((N, 1)), "v": RNG.standard_normal((N, 1))}


def test_value_and_gradient():
    W, given = start()
    dt = 1e-7
    run = simulate(made(), given, {"W": W}, 1, seed=0, dt=dt)
    assert run.observables["loss"][0, 0] == pytest.approx(loss(W, **given), rel=1e-12)  # two direct solvers
    slope = -(run.values["W"][0, 1] - W) / dt
    h, E = 1e-5, RNG.standard_normal((N, N))
    difference = (loss(W + h * E, **given) - loss(W - h * E, **given)) / (2 * h)
    assert float(np.sum(slope * E)) == pytest.approx(difference, rel=1e-6)  # 1e-16 / dt of the slope


def test_gradient_inside_a_loss():
    """grad of |grad L|^2: the solver is differentiated twice."""
    W, given = start()
    inner = ["grad", "L", "W"]
    plan = made()
    plan["let"].append(["S", ["trace", ["matmul", ["T", inner], inner]]])
    plan["rule"]["rates"] = [["W", ["grad", "S", "W"]]]
    plan["observe"] = {"S": "S"}

    def value(at: np.ndarray) -> float:
        return float(simulate(plan, given, {"W": at}, 0, seed=0, dt=1.0).observables["S"][0, 0])

    moved = simulate(plan, given, {"W": W}, 1, seed=0, dt=1e-7).values["W"][0, 1] - W
    h, E = 1e-5, RNG.standard_normal((N, N))
    assert float(np.sum(moved * E)) / 1e-7 == pytest.approx((value(W + h * E) - value(W - h * E)) / (2 * h), rel=1e-5)


def test_an_equation_that_is_not_linear_is_refused():
    W, given = start()
    squared = ["add", ["matmul", "P", "P"], ["matmul", "u", ["T", "u"]]]
    with pytest.raises(NotSimulable, match=r"root for P.*not linear"):
        simulate(made(squared), given, {"W": W}, 1, seed=0, dt=0.1)


def test_a_singular_equation_is_refused():
    _, given = start()
    with pytest.raises(NotSimulable, match="no unique solution"):
        simulate(made(), given, {"W": np.zeros((N, N))}, 1, seed=0, dt=0.1)


def test_a_term_without_the_unknown_is_needed():
    W, given = start()
    with pytest.raises(NotSimulable, match="term without P"):
        simulate(made(["matmul", "W", "P"]), given, {"W": W}, 1, seed=0, dt=0.1)


def test_numbers():
    from numerics.simulate import tape_ops as ops
    from numerics.simulate.implicit import solve_root

    four = constant(4.0, 0)
    found = solve_root("x", lambda x, _: ops.add(ops.scale(four, x), constant(-2.0, 0)), ())
    assert float(found.value) == 0.5
