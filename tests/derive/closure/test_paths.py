"""The loss along a curve: polynomials of a path against direct evaluation, physics of the straight path, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

import derive
from derive import fn
from derive.catalog import load
from derive.errors import BudgetExceeded, CheckFailed, InvalidSpec, UnsupportedNode
from derive.flows.paths import along, coefficients
from derive.matrices.evaluate import evaluate
from derive.reductions.ansatz import Manifold
from derive.spec.symbols import dims, matrix, scalars, vector
from numerics.claims.subject import solve
from tests.derive.closure.roads import solved

alpha = scalars("alpha")


def networks(depth: int, width: int, seed: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Random ends of a path, and correlations of random data."""
    rng = np.random.default_rng(seed)
    ends = {
        f"W{l}{e}": rng.normal(size=(width, width)) / np.sqrt(width) for l in range(1, depth + 1) for e in ("_start", "_step")
    }
    x, y = rng.normal(size=(2, width, 30))
    return ends, {"Sx": x @ x.T / 30, "Syx": y @ x.T / 30, "Syy": y @ y.T / 30, "x": x, "y": y}


@pytest.mark.parametrize(("depth", "width"), [(1, 3), (2, 6), (3, 4), (4, 2)])
def test_polynomial_of_degree_twice_the_depth(depth: int, width: int) -> None:
    """Roads: words as coefficients of alpha; mean squared error of the network on the data at that place of the path."""
    path = along(derive.gradient_flow(derive.linear_network(depth=depth)))
    terms = coefficients(path, "loss")
    assert len(terms) == 2 * depth + 1
    ends, data = networks(depth, width)
    numbers = [float(evaluate(p, {**ends, **data})) for p in terms]
    for place in np.linspace(-0.5, 1.5, 50):
        output = data["x"]
        for l in range(1, depth + 1):
            output = (ends[f"W{l}_start"] + place * ends[f"W{l}_step"]) @ output
        direct = np.sum((data["y"] - output) ** 2) / 60
        assert abs(np.polyval(numbers[::-1], place) - direct) < 1e-13 * max(1.0, direct)  # rounding of 4^depth terms


def test_widths_do_not_matter_for_the_words() -> None:
    small, large = (along(derive.gradient_flow(derive.linear_network(depth=2, sizes=s))) for s in ((2, 3, 2), (20, 30, 20)))
    assert [len(p.terms) for p in coefficients(small, "loss")] == [len(p.terms) for p in coefficients(large, "loss")]


def test_no_barrier_from_a_small_start() -> None:
    """The paper's finding: train from small weights, then the loss falls along the straight line to the end."""
    entry = load("goodfellow_2015_linear_path")
    flow = derive.gradient_flow(entry.model)
    given = {b.name: np.asarray(entry.values[b.name], dtype=float) for b in flow.parameters}
    start = {b.name: np.asarray(entry.values[b.name]) / 2 for b in flow.state}
    end = solved(flow, start, given, np.array([0.0, 200.0]))
    steps = {f"{n}_step": v[-1] - v[0] for n, v in end.items()} | {f"{n}_start": v[0] for n, v in end.items()}
    path = along(flow)
    curve = [float(evaluate(path.observables["loss"], {**given, **steps, "alpha": a})) for a in np.linspace(0, 1, 101)]
    assert np.all(np.diff(curve) < 0)
    assert curve[-1] < 1e-3 * curve[0]


def test_the_path_is_a_system_that_can_be_compiled() -> None:
    """Roads: kernel of the path, integrated; words evaluated."""
    path = along(derive.gradient_flow(derive.linear_network(depth=2)))
    ends, data = networks(2, 3)
    run = solve(path, {"alpha": np.float64(0.0)}, {**ends, **{k: data[k] for k in ("Sx", "Syx", "Syy")}}, np.linspace(0, 1, 5))
    direct = [float(evaluate(path.observables["loss"], {**ends, **data, "alpha": a})) for a in np.linspace(0, 1, 5)]
    assert np.allclose(run.observables["loss"], direct, rtol=1e-9)  # the step of the integrator lands on alpha to 1e-10


def test_a_curve_of_the_users_own() -> None:
    """A quadratic curve through three networks, of another model: tanh output, so no polynomial, but a system."""
    n, o = dims("n o")
    W, x, y, L = matrix("W", o, n), vector("x", n), vector("y", o), scalars("L")
    model = derive.Model(
        name="one", state=W, given=(x, y), let={L: derive.norm2(y - fn.tanh(W * x))}, learn=derive.Rate({W: -derive.grad(L, W)})
    )
    a, b, c = (matrix(s, o, n) for s in ("Wa", "Wb", "Wc"))
    bend = Manifold({W: (1 - alpha) ** 2 * a + 2 * alpha * (1 - alpha) * b + alpha**2 * c}, coordinates=(alpha,))
    path = along(derive.gradient_flow(model), bend)
    rng = np.random.default_rng(0)
    at = {
        **{s: rng.normal(size=(2, 3)) for s in ("Wa", "Wb", "Wc")},
        "x": rng.normal(size=(3, 1)),
        "y": rng.normal(size=(2, 1)),
    }
    place = 0.3
    weights = 0.49 * at["Wa"] + 0.42 * at["Wb"] + 0.09 * at["Wc"]
    direct = np.sum((at["y"] - np.tanh(weights @ at["x"])) ** 2)
    assert evaluate(path.observables["L"], {**at, "alpha": place}) == pytest.approx(direct, rel=1e-13)  # rounding
    with pytest.raises(UnsupportedNode, match="no polynomial of alpha"):
        coefficients(path, "L")


def test_what_is_no_curve_is_refused() -> None:
    flow = derive.gradient_flow(derive.linear_network(depth=2))
    W1, W2 = flow.symbols["W1"], flow.symbols["W2"]
    beta = sp.Symbol("beta", real=True)
    for curve, word in (
        (Manifold({W1: alpha * matrix("A1", *W1.shape)}, coordinates=(alpha,)), "says nothing about W2"),
        (Manifold({W1: alpha * beta * matrix("A1", *W1.shape), W2: 0 * W2}, coordinates=(alpha, beta)), "one number"),
    ):
        with pytest.raises(InvalidSpec, match=word):
            along(flow, curve)
    with pytest.raises(InvalidSpec, match="it has loss"):
        coefficients(along(flow), "error")
    with pytest.raises(BudgetExceeded, match="fewer layers"):
        along(derive.gradient_flow(derive.linear_network(depth=7)))
    with pytest.raises(InvalidSpec, match="it has loss"):
        along(flow, observables=("error",))
    with pytest.raises(InvalidSpec, match="observe="):
        along(flow.replace(observables={}))
    with pytest.raises(UnsupportedNode, match="gradient_flow"):
        along(derive.reduce(flow, derive.Modes()))


def test_a_wrong_expansion_does_not_survive_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: the expanded observables lose a term."""
    import derive.flows.paths as module

    right = module.on_manifold

    def wrong(p: Any, proposal: Any) -> Any:
        made = right(p, proposal)
        return type(made)(made.shape, dict(list(made.terms.items())[1:]))

    monkeypatch.setattr(module, "on_manifold", wrong)
    with pytest.raises(CheckFailed, match="does not agree"):
        along(derive.gradient_flow(derive.linear_network(depth=2)))
