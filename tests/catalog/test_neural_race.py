"""Gated networks: routes that are never trained, the shared edge, and XOR as two linear problems.

Two roads in each test: the reduced equations or their closed form, and the matrix flow integrated as it is.
"""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from scipy.optimize import brentq

from codegen import compile
from derive import closed_form, gradient_flow, reduce
from derive.catalog import load
from derive.errors import InvalidSpec
from numerics import integrate, verify


def routing(M, routes, scale, end, seed=0):
    """The full flow of a routing network from small random weights; their path."""
    entry = load("saxe_2022_neural_race", M=M, routes=routes)
    flow = gradient_flow(entry.model)
    rng = np.random.default_rng(seed)
    sizes = {k: entry.values[k] for k in ("n", "h1", "h2", "o")}
    start = {b.name: scale * rng.standard_normal(tuple(sizes[s] for s in b.shape)) for b in flow.state}
    params = {"Syx": np.array(entry.values["Syx"]), "tau": entry.values["tau"]}
    kernel = compile(flow, backend="numpy")
    return integrate(kernel, start, params, (0, end), np.linspace(0, end, 41), rtol=1e-9)


def test_routes_that_were_never_trained_learn_the_map_of_the_trained_ones():
    """From small random weights, off the manifold: 3 of 5 outputs are trained for each of 5 inputs."""
    path = routing(5, 3, 0.05, 40.0)
    for name in ("loss", "untrained"):
        assert path.observables[name][-1] < 1e-7 * path.observables[name][0]  # 1.3e-9, 6.8e-9 at t = 40; weights differ by 0.05
    on = load("saxe_2022_neural_race", M=5, routes=3).claims[6].ansatz
    made = reduce(gradient_flow(load("saxe_2022_neural_race", M=5, routes=3).model), on)
    assert made.system.observables["untrained"] == made.system.observables["loss"]  # on it: the same words


@pytest.mark.parametrize("M", [2, 7])
def test_the_shared_edge_wins_the_race_by_nearly_the_root_of_the_number_of_domains(M):
    """b2^2 - M b1^2 is conserved: b2/b1 -> sqrt(M) from small starts; from 0.2 at M = 7 the published end is 2.56."""
    entry = load("saxe_2022_neural_race", M=M, routes=1)
    system = reduce(gradient_flow(entry.model), entry.claims[3].on).system
    kernel = compile(system, backend="numpy")
    ends = {}
    for start in (0.2, 1e-3):
        one = {name: np.array([[start]]) for name in ("b1", "b2", "b3")}
        given = {"S": np.array([[2.0]]), "tau": 1.0, "Syx": np.zeros((1, 1))}
        used = {b.name: given[b.name] for b in kernel.parameters if b.name in given}
        path = integrate(kernel, one, used, (0, 2e4 if start < 0.1 else 200), rtol=1e-10)
        ends[start] = float(path.values["b2"][-1, 0, 0] / path.values["b1"][-1, 0, 0])
    assert ends[1e-3] == pytest.approx(np.sqrt(M), rel=1e-4)  # the start is 1e-6 of the end in squares
    b2 = ends[0.2]
    # independent: b1 = b3, b2^2 = M b1^2 - c with c = (M - 1) 0.04, and b1^2 b2 = 2 at the end
    b1 = brentq(lambda x: x**2 * np.sqrt(M * x**2 - (M - 1) * 0.04) - 2, 0.2, 3)
    assert b2 == pytest.approx(np.sqrt(M * b1**2 - (M - 1) * 0.04) / b1, rel=1e-8)  # rtol 1e-10, converged


def test_xor_is_two_sigmoids():
    """Closed form of each path against the matrix flow of the whole gated network, 2e-9 as published."""
    entry = load("saxe_2022_neural_race", task="xor")
    on = entry.claims[0].on
    made = reduce(gradient_flow(entry.model), on)
    times, u0 = np.linspace(0, 4, 21), {"u1": 0.01, "u2": 0.003}
    form = closed_form(made.system).evaluate(times, u0, {"tau": 0.2})
    axes = {"e1": np.eye(4)[:, :1], "e2": np.eye(4)[:, 1:2]}
    rng = np.random.default_rng(2)
    units = [v / np.linalg.norm(v) for v in (rng.standard_normal((5, 1)) for _ in range(2))]
    letters = {"f1": axes["e1"], "f2": axes["e2"], "r1": units[0], "r2": units[1]}
    start = made.lift_state(letters, u0)
    path = integrate(compile(made.full, backend="numpy"), start, {**axes, "tau": 0.2}, (0, 4), times, rtol=1e-12)
    seen = {
        "u1": -np.array([(c @ a)[0, 1] for a, c in zip(path.values["A1"], path.values["C1"], strict=True)]),
        "u2": np.array([(c @ a)[0, 1] for a, c in zip(path.values["A2"], path.values["C2"], strict=True)]),
    }
    for name, u in seen.items():
        assert np.abs(u - np.ravel(form[name])).max() < 2e-9  # rtol 1e-12, growth from 0.003 to 1


def test_claims_of_xor_reject_wrong_equations():
    entry = load("saxe_2022_neural_race", task="xor")
    strength, sigmoid, _, _, _, commutes, _ = entry.claims
    u1, tau = next(iter(strength.rate)), sp.Symbol("tau", positive=True)
    for wrong in (
        replace(strength, rate={**strength.rate, u1: 2 * strength.rate[u1]}),
        replace(sigmoid, solution={**sigmoid.solution, u1: sigmoid.solution[u1].subs(tau, 2 * tau)}),
    ):
        assert not verify(replace(entry, claims=(wrong,))).passed
    flow = gradient_flow(entry.model)
    slow = flow.replace(rhs={**flow.rhs, "C2": flow.rhs["C2"].scale(2)})
    assert verify(replace(entry, claims=(commutes,))).passed
    assert not verify(replace(entry, claims=(commutes,)), system=slow).passed


@pytest.mark.parametrize(
    ("settings", "remedy"), [({"task": "and"}, "'routing' or 'xor'"), ({"task": "xor", "n": 1}, "n=2 or more")]
)
def test_bad_settings_are_refused(settings, remedy):
    with pytest.raises(InvalidSpec, match=remedy):
        load("saxe_2022_neural_race", **settings)
