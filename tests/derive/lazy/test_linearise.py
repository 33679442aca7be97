"""The lazy limit: linearised outputs, their kernel, and how the full network tends to them.

Roads: the derived rate against Jacobians by central differences (NumPy networks typed here), the kernel of a linear network
against `derive.tangent_kernel`, the closed form against gradient descent of the full plan (`numerics.simulate`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import derive
from derive import Model, Moments, Normal, Rate, dims, fn, grad, linearise, matrix, mean, norm2, scalars, vector
from derive.catalog import load
from derive.catalog.flesch_2022_context import first, second
from derive.errors import InvalidSpec, NoClosedForm, UnsupportedNode
from numerics.claims.subject import rates
from numerics.simulate import simulate
from numerics.verify import verify

D, h, k, o, P = dims("D h k o P")
W1, W2, W3 = matrix("W1", h, D), matrix("W2", o, h), matrix("W3", h, k)
x, y, f, L = vector("x", D), vector("y", o), vector("f", o), scalars("L")
Sx, Syx, Syy = matrix("Sx", D, D), matrix("Syx", o, D), matrix("Syy", o, o)


def items(count=5):
    rng = np.random.default_rng(0)
    return rng.standard_normal((count, 3)), rng.standard_normal((count, 2))


def network(output, loss=None, weights=(W1, W2), rate=None) -> Model:
    law = Moments((x, y), {x * x.T: Sx, y * x.T: Syx, y * y.T: Syy})
    m = Model(
        name="net", state=weights, data=law, let={f: output, L: norm2(y - f) / 2 if loss is None else loss},
        learn=Rate(rate or {w: -grad(L, w) for w in weights}), observe={"loss": mean(L), "size": norm2(weights[0])},
    )  # fmt: skip
    X, Y = items()
    return m.bind(x=X, y=Y)


def weights_of(names):
    rng = np.random.default_rng(1)
    shapes = {"W1": (4, 3), "W2": (2, 4), "W3": (4, 4)}
    return {n: rng.standard_normal(shapes[n]) for n in names}


def differences(forward, slope, at, factors):
    """Rate of the outputs: Jacobian times minus its transpose times the slopes, column by column."""
    F = forward(at)
    total = np.zeros_like(F)
    for n, w in at.items():
        J = np.empty((*w.shape, *F.shape))
        for place in np.ndindex(w.shape):
            e = np.zeros_like(w)
            e[place] = 1e-5
            J[place] = (forward({**at, n: w + e}) - forward({**at, n: w - e})) / 2e-5
        total -= factors.get(n, 1.0) * np.einsum("ijab,ijcd,cd->ab", J, J, slope)
    return total


def relu(z):
    return np.maximum(z, 0)


CASES = {
    "relu": (W2 * fn.relu(W1 * x), lambda w, X: w["W2"] @ relu(w["W1"] @ X), (W1, W2)),
    "tanh": (W2 * fn.tanh(W1 * x), lambda w, X: w["W2"] @ np.tanh(w["W1"] @ X), (W1, W2)),
    "three layers": (
        W2 * fn.relu(matrix("W3", h, h) * fn.tanh(W1 * x)),
        lambda w, X: w["W2"] @ relu(w["W3"] @ np.tanh(w["W1"] @ X)),
        (W1, matrix("W3", h, h), W2),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_rate_is_the_kernel_times_the_error(name):
    output, forward, weights = CASES[name]
    m = network(output, weights=weights, rate={w: -(2 if w == W2 else 1) * grad(L, w) for w in weights})
    made = linearise(m, f)
    at = weights_of([w.name for w in weights])
    X, Y = (a.T for a in items())
    F = np.random.default_rng(2).standard_normal(Y.shape)
    seen = rates(made.system, {"f": F}, {**dict(m.values), **at})["f"]
    expected = differences(lambda w: forward(w, X), (F - Y) / 5, at, {"W2": 2.0})
    np.testing.assert_allclose(seen, expected, rtol=1e-7, atol=1e-7)  # central differences: h^2 = 1e-10 times third derivatives
    np.testing.assert_allclose(made.project_state({**dict(m.values)}, at)["f"], forward(at, X), rtol=1e-14)  # rounding


def test_the_kernel_of_a_linear_network_is_the_known_one():
    m = network(W2 * W1 * x)
    made, at = linearise(m, f), weights_of(["W1", "W2"])
    X, Y = (a.T for a in items())
    K = derive.tangent_kernel(at["W1"], at["W2"], X)
    F = np.random.default_rng(3).standard_normal(Y.shape)
    seen = rates(made.system, {"f": F}, {**dict(m.values), **at})["f"]
    np.testing.assert_allclose(seen.ravel(), -K @ (F - Y).ravel() / 5, rtol=1e-12)  # sums of dozens of products


def test_the_solution_is_that_of_the_eigenbasis():
    m = network(W2 * fn.tanh(W1 * x))
    form, at = derive.closed_form(linearise(m, f)), weights_of(["W1", "W2"])
    X, Y = (a.T for a in items())
    t = np.array([0.0, 0.3, 4.0])
    F0 = at["W2"] @ np.tanh(at["W1"] @ X)
    basis = np.eye(Y.size).reshape(-1, *Y.shape)
    J = np.array([differences(lambda w: w["W2"] @ np.tanh(w["W1"] @ X), -e / 5, at, {}).ravel() for e in basis])
    w, V = np.linalg.eigh((J + J.T) / 2)
    expected = [Y + (V @ (np.exp(-w * s) * (V.T @ (F0 - Y).ravel()))).reshape(Y.shape) for s in t]
    seen = form.evaluate(t, {"f": F0}, {**dict(m.values), **at})["f"]
    np.testing.assert_allclose(seen, expected, rtol=1e-6, atol=1e-7)  # the eigenvalues come from central differences


def test_other_losses_are_linearised_but_not_solved():
    soft = fn.log(1 + fn.exp(norm2(f) - derive.dot(f, y)))
    made = linearise(network(W2 * fn.tanh(W1 * x), loss=soft), f)
    assert "exp" in str(made.system.rhs["f"])
    with pytest.raises(NoClosedForm):
        derive.closed_form(made)


def test_given_matrices_need_no_draw():
    X, Y, F = matrix("X", D, P), matrix("Y", o, P), matrix("F", o, P)
    m = Model(
        name="whole",
        state=(W2,),
        given=(W1, X, Y),
        let={F: W2 * fn.tanh(W1 * X), L: norm2(Y - F) / 2},
        learn=Rate({W2: -grad(L, W2)}),
    )
    assert str(linearise(m, F).system.rhs["F"]) == "Y*tanh(W1*X)'*tanh(W1*X) - F*tanh(W1*X)'*tanh(W1*X)"


def test_observables_of_the_outputs_come_along():
    assert list(linearise(network(W2 * fn.tanh(W1 * x)), f).system.observables) == ["loss"]


def test_refusals_name_the_way_out():
    with pytest.raises(InvalidSpec, match="no definition"):
        linearise(network(W2 * fn.tanh(W1 * x)), W1)
    with pytest.raises(UnsupportedNode, match="leave such terms"):
        linearise(network(W2 * fn.tanh(W1 * x), loss=norm2(y - f) + norm2(W1)), f)
    decay = {W1: -grad(L, W1) - W1, W2: -grad(L, W2)}
    with pytest.raises(UnsupportedNode, match="decay"):
        linearise(network(W2 * fn.tanh(W1 * x), rate=decay), f)
    drawn = Model(
        name="drawn", state=(W1, W2), data=(Normal(x), Normal(y)),
        let={f: W2 * W1 * x, L: norm2(y - f)}, learn=Rate({w: -grad(L, w) for w in (W1, W2)}),
    )  # fmt: skip
    with pytest.raises(UnsupportedNode, match="bind the model to arrays"):
        linearise(drawn, f)


def descent(scale: float, steps: int = 400) -> float:
    """Largest deviation of full gradient descent from the closed form of its lazy limit, relative weights scale."""
    e = load("flesch_2022_context", scale=scale)
    made = linearise(e.model, load_output())
    start = {"W1": first(40, 0, scale), "W2": second(40, 0, scale)}
    values = {**dict(e.model.values), "tau": 1.0, "h": 40, "D": 4}
    end = 6 / scale**2
    data = derive.plan(e.model)
    usable = {*data["given"], *data["moments"], *data["dims"]}
    run = simulate(
        data, {n: v for n, v in values.items() if n in usable}, start, steps, every=steps // 4, dt=end / steps, observe=False
    )
    given = {**values, **start}
    form = derive.closed_form(made).evaluate(run.t * end / run.t[-1], made.project_state(given, start), given)["f"]
    seen = [made.project_state(given, {n: run.values[n][0, i] for n in start})["f"] for i in range(len(run.t))]
    return float(np.abs(np.array(seen) - form).max())


def load_output():
    from derive.catalog.flesch_2022_context import f as output

    return output


def test_descent_tends_to_the_lazy_limit_with_the_scale():
    """Scales 0.5, 2, 8: the last deviation is that of steps of finite size, 400 to the horizon."""
    rich, middle, lazy = (descent(s) for s in (0.5, 2.0, 8.0))
    assert rich > 0.1
    assert middle < rich / 3
    assert lazy < 0.02  # eta lambda / 2 of the fastest mode, 6 / 400 times a few


def test_a_wrong_kernel_is_rejected():
    """A mutated lazy equation (the share of the second layer is doubled) fails its claims."""
    e = load("flesch_2022_context")
    made = linearise(e.model, load_output())
    p = made.system.rhs["f"]
    hidden = [key for key in p.terms if not any("relu'" in z.atom.name for z in key.word or ())]
    assert hidden
    wrong = type(p)(p.shape, {key: c * (2 if key in hidden else 1) for key, c in p.terms.items()})
    mutated = replace(made.system, rhs={"f": wrong})
    for claim in e.claims[1:4:2]:  # the published kernel, and the approach of the full flow
        assert not verify(replace(e, claims=(claim,)), system=mutated).passed, claim.label
