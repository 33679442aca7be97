"""Averages of elementwise products: gated and reparametrised networks on open laws.

Roads: the derived rate, from moments, against the same rate averaged in plain NumPy over a finite data set with these moments.
"""

from __future__ import annotations

import numpy as np
import pytest

from derive import Model, Moments, Normal, Rate, dims, dot, grad, gradient_flow, had, matrix, mean, norm2, scalars, vector
from derive.errors import UnsupportedNode
from derive.matrices.evaluate import evaluate

n, h, o = dims("n h o")
x, y, g = vector("x", n), vector("y", o), vector("g", h)
W1, W2 = matrix("W1", h, n), matrix("W2", o, h)
Sx, Syx, Syy = matrix("Sx", n, n), matrix("Syx", o, n), matrix("Syy", o, o)
L = scalars("L")
LAW = Moments((x, y), {x * x.T: Sx, y * x.T: Syx, y * y.T: Syy})


def data(seed=0):
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(3, 7)), rng.normal(size=(2, 7))
    v = {"W1": rng.normal(size=(4, 3)), "W2": rng.normal(size=(2, 4)), "g": rng.normal(size=(4, 1))}
    return X, Y, v | {"Sx": X @ X.T / 7, "Syx": Y @ X.T / 7, "Syy": Y @ Y.T / 7}


def test_gated_hidden_units():
    """y = W2 (g o W1 x): every word has a gate between random letters; d/dW1 = (g o W2'e) x', d/dW2 = e (g o W1 x)'."""
    model = Model(
        name="gated", state=(W1, W2), given=g, data=LAW, let={L: norm2(y - W2 * had(g, W1 * x)) / 2},
        learn=Rate({W: -grad(L, W) for W in (W1, W2)}), observe={"loss": mean(L)},
    )  # fmt: skip
    flow = gradient_flow(model)
    X, Y, v = data()
    hidden = v["g"] * (v["W1"] @ X)
    error = Y - v["W2"] @ hidden
    direct = {"W1": (v["g"] * (v["W2"].T @ error)) @ X.T / 7, "W2": error @ hidden.T / 7}
    for name, rate in flow:
        np.testing.assert_allclose(evaluate(rate, v), direct[name], rtol=1e-11)  # rounding of a dozen products
    assert evaluate(flow.observables["loss"], v) == pytest.approx(np.sum(error**2) / 14, rel=1e-11)  # the same


def test_reparametrised_weights():
    """W = P o P, y = W x: the gradient holds the random error inside its product, 2 P o (e x')."""
    P = matrix("P", o, n)
    model = Model(
        name="powers", state=P, data=LAW, let={L: norm2(y - had(P, P) * x) / 2}, learn=Rate({P: -grad(L, P)}),
        observe={"loss": mean(L)},
    )  # fmt: skip
    flow = gradient_flow(model)
    assert str(flow.rhs["P"]) == "2*(P o Syx) - 2*((P o P)*Sx o P)"
    X, Y, v = data(1)
    v["P"] = np.random.default_rng(2).normal(size=(2, 3))
    error = Y - v["P"] ** 2 @ X
    np.testing.assert_allclose(evaluate(flow.rhs["P"], v), 2 * v["P"] * (error @ X.T) / 7, rtol=1e-11)  # rounding
    assert evaluate(flow.observables["loss"], v) == pytest.approx(np.sum(error**2) / 14, rel=1e-11)  # rounding


def test_gaussian_inputs_of_fourth_degree():
    """E[(w o x)'A (w o x) (w o x)] vanishes, E[|w o x|^4] by Isserlis: (sum w^2)^2 + 2 sum w^4."""
    w = vector("w", n)
    model = Model(
        name="gauss", state=w, data=Normal(x), let={L: dot(had(w, x), had(w, x)) ** 2}, learn=Rate({w: -grad(L, w)}),
        observe={"fourth": mean(L)},
    )  # fmt: skip
    flow = gradient_flow(model)
    v = {"w": np.array([[0.5], [1.0], [2.0]])}
    q = v["w"] ** 2
    assert evaluate(flow.observables["fourth"], v) == pytest.approx(
        float(q.sum() ** 2 + 2 * (q**2).sum()), rel=1e-12
    )  # rounding
    np.testing.assert_allclose(evaluate(flow.rhs["w"], v), -4 * v["w"] * (q.sum() + 2 * q), rtol=1e-12)  # by hand


def test_two_random_factors_are_refused():
    model = Model(
        name="squares", state=W2, data=LAW, let={L: norm2(had(y, W2 * W1 * x))}, given=W1, learn=Rate({W2: -grad(L, W2)}),
    )  # fmt: skip
    with pytest.raises(UnsupportedNode, match="bind the data"):
        gradient_flow(model)
