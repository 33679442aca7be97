"""Invariants of words that relax, and per neuron: weight decay, gates, rectifiers."""

import numpy as np
import pytest
import sympy as sp

import derive
from derive.invariants.search import conserved
from derive.matrices.calculus import ddt
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import param
from derive.matrices.word_space import state_poly


def network(activation, outputs=1):
    N, H, P, O = derive.dims("N H P O")
    out = 1 if outputs == 1 else O
    W, V, X, Y = derive.matrix("W", H, N), derive.matrix("V", out, H), derive.matrix("X", N, P), derive.matrix("Y", out, P)
    eta, eta_v = derive.scalars("eta eta_v", positive=True)
    L = derive.scalars("L")
    model = derive.Model(
        name="net", state=(W, V), given=(X, Y, eta, eta_v), let={L: derive.norm2(V * activation(W * X) - Y) / 2},
        learn=derive.Rate({W: -eta * derive.grad(L, W), V: -eta_v * derive.grad(L, V)}),
    )  # fmt: skip
    return derive.gradient_flow(model)


def residual(flow, claim, seed):
    """Time derivative of a claim at a random point, relative to the field: the second road, plain evaluation."""
    rng = np.random.default_rng(seed)
    values = {
        "W": rng.normal(size=(4, 3)),
        "V": rng.normal(size=(2, 4)),
        "X": rng.normal(size=(3, 6)),
        "Y": rng.normal(size=(2, 6)),
    }
    if flow.block("V").shape[0] == 1:
        values |= {"V": values["V"][:1], "Y": values["Y"][:1]}
    values |= {"eta": 0.7, "eta_v": 1.9}
    rate = evaluate(ddt(claim.expr, flow), values, functions=flow.functions, sizes={"N": 3, "H": 4})
    return np.abs(rate).max() / max(np.abs(evaluate(flow.rhs[n], values, functions=flow.functions)).max() for n in "WV")


@pytest.mark.parametrize("outputs", [1, 2])
def test_rectifiers_keep_the_balance_of_every_neuron(outputs):
    flow = network(derive.fn.relu, outputs)
    (claim,) = conserved(flow)
    assert claim.status == "proved"
    assert claim.expr.shape == ("H", 1)
    assert max(residual(flow, claim, seed) for seed in range(5)) <= 1e-13  # rounding of sums of 24 products


def test_smooth_activations_have_none():
    assert conserved(network(derive.fn.tanh)) == ()


def test_a_users_activation_is_tested():
    leaky = derive.activation("leaky", lambda z: derive.fn.relu(z) - derive.fn.relu(-z) / 10)
    (claim,) = conserved(network(leaky))
    assert claim.status.startswith("tested at")
    shifted = derive.activation("shifted", lambda z: derive.fn.relu(z) + 1)
    assert conserved(network(shifted)) == ()


def test_gates_keep_their_difference_of_squares():
    N, P = derive.dims("N P")
    w, g, X, y = derive.vector("w", N), derive.vector("g", N), derive.matrix("X", P, N), derive.vector("y", P)
    L = derive.scalars("L")
    model = derive.Model(
        name="gates", state=(w, g), given=(X, y), let={L: derive.norm2(X * derive.had(w, g) - y) / 2},
        learn=derive.Rate({w: -derive.grad(L, w), g: -derive.grad(L, g)}),
    )  # fmt: skip
    flow = derive.gradient_flow(model)
    (claim,) = conserved(flow)
    values = {"w": np.array([[1.0], [2.0]]), "g": np.array([[3.0], [0.5]])}
    assert np.allclose(np.abs(evaluate(claim.expr, values)), [[8.0], [3.75]], rtol=1e-15)  # |w^2 - g^2|, exact in binary


def test_balances_relax_under_weight_decay():
    flow = derive.gradient_flow(derive.linear_network(depth=3))
    decay = {b.name: flow.rhs[b.name] - param("k") * state_poly(b) for b in flow.state}
    damped = flow.replace(rhs=decay)
    assert conserved(damped) == ()
    found = conserved(damped, relaxing=True)
    assert [str(c.expr) for c in found] == ["W2'*W2 - W1*W1'", "W3'*W3 - W2*W2'"]
    assert [sp.sympify(c.rate) + 2 * sp.Symbol("k", positive=True) for c in found] == [0, 0]
    uneven = flow.replace(rhs={**decay, "W1": flow.rhs["W1"]})  # decay on two of three layers
    assert [str(c.expr) for c in conserved(uneven, relaxing=True)] == ["W3'*W3 - W2*W2'"]
