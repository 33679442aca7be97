"""gradient_flow: from models to flows.

Roads: the derived flow against the equations typed here; its values against differences of losses that are written in plain
NumPy in this file and share nothing with the engine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

from derive import (
    Choice,
    Model,
    Moments,
    Normal,
    Rate,
    Update,
    activation,
    dims,
    dot,
    fn,
    grad,
    matrix,
    mean,
    norm2,
    root,
    scalars,
    stop,
    vector,
)  # fmt: skip
from derive.errors import InvalidSpec, UnsupportedNode
from derive.flows.flow import gradient_flow
from derive.library.linear import linear_network
from derive.matrices.evaluate import evaluate

I, H, O, T = dims("I H O T")
W1, W2, c = matrix("W1", H, I), matrix("W2", O, H), vector("c", H)
x, y = vector("x", I), vector("y", O)
Sx, Syx, Syy, mx = matrix("Sx", I, I), matrix("Syx", O, I), matrix("Syy", O, O), vector("mx", I)
L, Lb, f = scalars("L Lb f")
tau, kappa = scalars("tau kappa", positive=True)
SECOND = {x * x.T: Sx, y * x.T: Syx, y * y.T: Syy}


def numerical_gradient(loss, value):
    """Central differences of fourth order, entry by entry."""
    out, h = np.zeros_like(value), 1e-3
    for i in np.ndindex(value.shape):
        e = np.zeros_like(value)
        e[i] = h
        out[i] = (8 * (loss(value + e) - loss(value - e)) - loss(value + 2 * e) + loss(value - 2 * e)) / (12 * h)
    return out


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_linear_network_against_the_average_loss(depth):
    rng = np.random.default_rng(depth)
    sizes = rng.integers(2, 5, depth + 1)
    weights = {f"W{l}": rng.normal(size=(sizes[l], sizes[l - 1])) for l in range(1, depth + 1)}
    X, Y = rng.normal(size=(sizes[0], 9)), rng.normal(size=(sizes[-1], 9))
    values = weights | {"Sx": X @ X.T / 9, "Syx": Y @ X.T / 9, "Syy": Y @ Y.T / 9, "tau": 2.5}

    def loss(change):
        out = X
        for l in range(1, depth + 1):
            out = (weights | change)[f"W{l}"] @ out
        return np.sum((Y - out) ** 2) / 18

    flow = gradient_flow(linear_network(depth))
    assert evaluate(flow.observables["loss"], values) == pytest.approx(loss({}), rel=1e-12)  # rounding
    for name, rate in flow:
        direct = -numerical_gradient(lambda w, n=name: loss({n: w}), weights[name]) / 2.5
        assert np.abs(evaluate(rate, values) - direct).max() < 1e-8 * (1 + np.abs(direct).max())  # truncation of differences


def test_linear_network_as_a_reader_sees_it():
    flow = gradient_flow(linear_network(2))
    assert str(flow.rhs["W1"]) == "W2'*Syx/tau - W2'*W2*W1*Sx/tau"
    assert str(flow.rhs["W2"]) == "Syx*W1'/tau - W2*W1*Sx*W1'/tau"
    assert [b.name for b in flow.parameters] == ["tau", "Sx", "Syx", "Syy"]
    assert flow.block("Sx").tags == ("sym",)
    assert flow.block("Syx").meaning == "E[y*x.T]"
    titles = [s.title for s in flow.steps]
    assert titles == ["gradient of L by W1", "gradient of L by W2", "average over x, y"]
    assert all("central differences" in s.check for s in flow.steps[:2])
    assert flow.level == "matrix"
    with pytest.raises(InvalidSpec, match="give an integer"):
        linear_network(0)
    with pytest.raises(InvalidSpec, match="give 3, from input to output"):
        linear_network(2, sizes=(3, 4))


def test_where_sympy_is_silently_wrong():
    """A sum of traces has derivative 0 in SymPy 1.14, a two-layer tanh network a wrong one; both are right here."""
    A, B = matrix("A", H, H), matrix("B", H, H)
    m = Model(name="traces", state=B, given=A, let={L: sp.Trace(A * B) - 3 * sp.Trace(B)}, learn=Rate({B: -grad(L, B)}))
    assert str(gradient_flow(m).rhs["B"]) == "3*I - A'"
    net = Model(
        name="net", state=(W1, W2), given=(x, y), let={L: norm2(y - fn.tanh(W2 * fn.tanh(W1 * x))) / 2},
        learn=Rate({W1: -grad(L, W1), W2: -grad(L, W2)}),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    v = {
        "W1": rng.normal(size=(3, 4)),
        "W2": rng.normal(size=(2, 3)),
        "x": rng.normal(size=(4, 1)),
        "y": rng.normal(size=(2, 1)),
    }
    for name, rate in gradient_flow(net):

        def loss(w, name=name):
            u = v | {name: w}
            return np.sum((u["y"] - np.tanh(u["W2"] @ np.tanh(u["W1"] @ u["x"]))) ** 2) / 2

        assert np.abs(evaluate(rate, v) + numerical_gradient(loss, v[name])).max() < 1e-9  # truncation of differences


def bound_network(data):
    g = activation("soft", lambda z: z / sp.sqrt(kappa + z**2))
    m = Model(
        name="net", state=(W1, W2, c), given=kappa, data=Moments((x, y), SECOND),
        let={f: norm2(y - W2 * g(W1 * x + c)) / 2, L: f + kappa * norm2(W1)},
        learn=Rate({W: -grad(L, W) for W in (W1, W2, c)}), observe={"loss": mean(L)},
    )  # fmt: skip
    return m.bind(**data) if data else m


def test_nonlinear_network_on_bound_data_is_an_exact_sum_over_items():
    rng = np.random.default_rng(3)
    data = {"x": rng.normal(size=(7, 3)), "y": rng.normal(size=(7, 2))}
    flow = gradient_flow(bound_network(data))
    state = {"W1": rng.normal(size=(4, 3)), "W2": rng.normal(size=(2, 4)), "c": rng.normal(size=(4, 1))}

    def loss(change):
        v = state | change
        h = v["W1"] @ data["x"].T + v["c"]
        return np.sum((data["y"].T - v["W2"] @ (h / np.sqrt(0.7 + h**2))) ** 2) / 14 + 0.7 * np.sum(v["W1"] ** 2)

    values = {**bound_network(data).values, **state, "kappa": 0.7}
    assert [b.name for b in flow.parameters] == ["kappa", "x_data", "y_data"]
    assert flow.functions["soft"].body is not None
    assert evaluate(flow.observables["loss"], values, functions=flow.functions) == pytest.approx(
        loss({}), rel=1e-12
    )  # rounding
    for name, rate in flow:
        direct = -numerical_gradient(lambda w, n=name: loss({n: w}), state[name])
        assert np.abs(evaluate(rate, values, functions=flow.functions) - direct).max() < 1e-8  # truncation of differences
    assert flow.steps[0].title == "exact sum over the bound items"


def test_nonlinear_network_on_an_open_law_is_refused_with_the_remedy():
    with pytest.raises(UnsupportedNode, match=r"rate of W1.*random x stands inside a nonlinear function.*bind the data"):
        gradient_flow(bound_network({}))


def test_bound_linear_model_keeps_its_named_moments():
    rng = np.random.default_rng(4)
    model = linear_network(2).bind(x=rng.normal(size=(6, 3)), y=rng.normal(size=(6, 2)))
    flow = gradient_flow(model)
    assert flow.rhs == gradient_flow(linear_network(2)).rhs
    assert np.allclose(model.values["Syx"], model.values["y_data"] @ model.values["x_data"].T / 6, rtol=1e-12)  # rounding


def test_bias_and_unnamed_moments():
    b = vector("b", O)
    m = Model(
        name="bias", state=(W1, b), data=Moments((x, y), {x * x.T: Sx, x: mx}),
        let={L: norm2(y - W2 * W1 * x - b) / 2}, given=W2, learn=Rate({W1: -grad(L, W1), b: -grad(L, b)}),
    )  # fmt: skip
    flow = gradient_flow(m)
    assert str(flow.rhs["b"]) == "my - b - W2*W1*mx"
    made = {p.name: p.shape for p in flow.parameters if "unnamed" in p.meaning}
    assert made == {"Sxy": ("I", "O"), "my": ("O", 1)} or made == {"Sxy": ("I", "O"), "Syy": ("O", "O"), "my": ("O", 1)}
    assert list(flow.observables) == ["L"]  # the model watches nothing, so its loss is watched


def test_stopped_part_is_a_constant_of_the_gradient_only():
    U = matrix("U", O, I)
    m = Model(
        name="distil", state=(W1, W2), given=U, data=Moments(x, {x * x.T: Sx}),
        let={L: norm2(stop(U * W1.T * W1 * x) - W2 * W1 * x) / 2},
        learn=Rate({W1: -grad(L, W1), W2: -grad(L, W2)}), observe={"gap": mean(L)},
    )  # fmt: skip
    flow = gradient_flow(m)
    rng = np.random.default_rng(5)
    v = {
        "W1": rng.normal(size=(4, 3)),
        "W2": rng.normal(size=(2, 4)),
        "U": rng.normal(size=(2, 3)),
        "Sx": np.diag([1.0, 2.0, 0.5]),
    }
    held = v["U"] @ v["W1"].T @ v["W1"]

    def loss(w1, target):
        gap = target - v["W2"] @ w1
        return np.trace(gap @ v["Sx"] @ gap.T) / 2

    direct = -numerical_gradient(lambda w: loss(w, held), v["W1"])
    assert np.abs(evaluate(flow.rhs["W1"], v) - direct).max() < 1e-8  # truncation of differences
    moving = -numerical_gradient(lambda w: loss(w, v["U"] @ w.T @ w), v["W1"])
    assert np.abs(direct - moving).max() > 1e-2  # forgetting `stop` would be seen
    assert not any("stop" in str(r) for _, r in flow)


def test_rates_that_are_no_gradient_or_products_of_gradients():
    w, a = vector("w", I), scalars("a")
    m = Model(
        name="mixed", state=(w, a), given=tau, data=Normal(x), let={f: dot(w, x), L: f**2 / 2},
        learn=Rate({w: -f * x / tau - a * w, a: dot(grad(L, w), grad(L, w)) - a}),
    )  # fmt: skip
    flow = gradient_flow(m)
    assert str(flow.rhs["w"]) == "-a*w - w/tau"
    assert str(flow.rhs["a"]) == "2*(w'*w) - a + I*(w'*w)"  # E f^2 |x|^2: the average of a square, not the square of one
    assert {n: str(p) for n, p in flow.observables.items()} == {"L": "1/2*(w'*w)"}


def test_mean_inside_a_loss_and_loss_of_a_number():
    w, a = vector("w", I), scalars("a")
    m = Model(
        name="nested", state=(w, a), data=Normal(x), let={f: mean(dot(w, x) ** 2), L: (a - f) ** 2 / 2},
        learn=Rate({w: -grad(L, w), a: -grad(L, a)}),
    )  # fmt: skip
    flow = gradient_flow(m)
    assert str(flow.rhs["a"]) == "(w'*w) - a"
    assert str(flow.rhs["w"]) == "2*a*w - 2*(w'*w)*w"


def test_linear_attention_from_its_forward_map():
    """Prompt of T columns, b = X X' w / T, yhat = v b' U q; the loss typed here holds at finite T."""
    N = dims("N")
    X, w, q, b, U, Lam = (
        matrix("X", N, T),
        vector("w", N),
        vector("q", N),
        vector("b", N),
        matrix("U", N, N),
        matrix("Lam", N, N),
    )
    v = scalars("v")
    m = Model(
        name="attention", state=(U, v), given=Lam, data=(Normal(w), Normal(X, cov=Lam), Normal(q, cov=Lam)),
        let={b: X * X.T * w / T, L: (dot(w, q) - v * dot(b, U * q)) ** 2}, learn=Rate({U: -grad(L, U), v: -grad(L, v)}),
    )  # fmt: skip
    flow = gradient_flow(m)
    rng = np.random.default_rng(6)
    root_ = rng.normal(size=(3, 3))
    values = {"Lam": root_ @ root_.T, "U": rng.normal(size=(3, 3)), "v": 0.7, "T": 5.0}
    G, K, n = values["Lam"], values["U"], 5

    def loss(u, k=0.7):
        spread = (1 + 1 / n) * np.trace(G @ G @ u @ G @ u.T) + np.trace(G) / n * np.trace(G @ u @ G @ u.T)
        return np.trace(G) - 2 * k * np.trace(G @ G @ u) + k**2 * spread

    assert evaluate(flow.observables["L"], values) == pytest.approx(loss(K), rel=1e-12)  # rounding
    direct = -numerical_gradient(loss, K)
    assert np.abs(evaluate(flow.rhs["U"], values) - direct).max() < 1e-8 * (1 + np.abs(direct).max())  # truncation
    assert [p.name for p in flow.parameters] == ["Lam", "T"]  # T is a number that no array shows


def test_mixture_over_tasks():
    w, s = vector("w", I), scalars("s")
    m = Model(
        name="tasks", state=w, given=(y, matrix("F", O, I)), data=Choice(s, (1, 3)),
        let={L: s * norm2(y - matrix("F", O, I) * w) / 2}, learn=Rate({w: -grad(L, w)}),
    )  # fmt: skip
    assert str(gradient_flow(m).rhs["w"]) == "2*F'*y - 2*F'*F*w"


def test_other_rules_are_refused_by_name():
    w = vector("w", I)
    loss = {L: norm2(w) / 2}
    with pytest.raises(UnsupportedNode, match=r"Update.*online_limit.*recursion"):
        gradient_flow(Model(name="steps", state=w, let=loss, learn=Update({w: w - grad(L, w)})))
    with pytest.raises(UnsupportedNode, match="no rule"):
        gradient_flow(Model(name="none", given=w, let=loss, observe={"L": L}))
    with pytest.raises(UnsupportedNode, match="w has noise"):
        gradient_flow(Model(name="noise", state=w, let=loss, learn=Rate({w: -grad(L, w)}, noise={w: 1})))
    with pytest.raises(UnsupportedNode, match=r"definition of Lb.*not linear in Lb"):
        gradient_flow(Model(name="r", state=w, let={Lb: root(Lb**2 - norm2(w)), L: Lb**2}, learn=Rate({w: -grad(L, w)})))


def test_observable_without_a_word_is_left_out_with_a_reason():
    w = vector("w", I)
    m = Model(
        name="watch", state=w, data=Normal(x), let={L: dot(w, x) ** 2 / 2}, learn=Rate({w: -grad(L, w)}),
        observe={"size": norm2(w), "even": mean(fn.tanh(dot(w, x)) ** 2)},
    )  # fmt: skip
    flow = gradient_flow(m)
    assert list(flow.observables) == ["size"]
    assert any(s.title == "observable even left out" and "online_limit" in s.detail for s in flow.steps)


def test_a_wrong_gradient_does_not_leave(monkeypatch):
    from derive.errors import CheckFailed
    from derive.flows import flow as module

    right = module.grad
    monkeypatch.setattr(module, "grad", lambda p, v: right(p, v).scale(2))
    with pytest.raises(CheckFailed, match="gradient by W1"):
        gradient_flow(linear_network(2))


def test_text_is_the_same_under_every_hash_seed():
    code = """
from derive import Model, Rate, dims, fn, grad, matrix, norm2, scalars, vector
from derive.flows.flow import gradient_flow
from derive.library.linear import linear_network
I, H, O = dims("I H O")
W1, W2, x, y, L = matrix("W1", H, I), matrix("W2", O, H), vector("x", I), vector("y", O), scalars("L")
net = Model(name="net", state=(W1, W2), given=(x, y), let={L: norm2(y - fn.tanh(W2 * fn.erf2(W1 * x))) / 2},
            learn=Rate({W1: -grad(L, W1), W2: -grad(L, W2)}))
for f in (gradient_flow(linear_network(3)), gradient_flow(net)):
    print(list(f), dict(f.observables), [(b.name, b.tags) for b in f.parameters], f.steps, f.assumptions, list(f.functions))
"""
    seen = set()
    for seed in ("0", "1", "7"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        seen.add(done.stdout)
    assert len(seen) == 1
