"""Symmetric laws at matrix level: rectifiers split by parity, the linear network inside a bias-free one.

Roads: the flow derived with the symmetry against the exact sum over the same items without it; published equations typed here.
"""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

import derive
from derive import Manifold, Model, Moments, Rate, dims, dot, fn, grad, matrix, mean, norm2, scalars, vector
from derive.averages.parity import even_part, homogeneous_lines, merged
from derive.errors import InvalidSpec, NotInvariant, UnsupportedNode
from derive.matrices.composite import elem, hadamard
from derive.matrices.poly import atom, constant
from derive.matrices.words import Atom
from numerics.claims.subject import rates

D, h, k = dims("D h k")
W1, W2, W3, g, r = matrix("W1", h, D), matrix("W2", 1, h), matrix("W3", k, h), vector("g", h), vector("r", D)
Sx, Syx, Syy = matrix("Sx", D, D), matrix("Syx", 1, D), matrix("Syy", 1, 1)
x, y, L = vector("x", D), vector("y", 1), scalars("L")
c = scalars("c", positive=True)
alpha = scalars("alpha")
ACTIVATIONS = {
    "relu": fn.relu,
    "leaky": derive.activation("leaky", lambda z: fn.relu(z) - sp.Rational(3, 10) * fn.relu(-z)),
    "bent": derive.activation("bent", lambda z: sp.Max(z, 0) + alpha * sp.Min(z, 0)),
    "sum": derive.activation("mixed", lambda z: z / 2 + fn.relu(2 * z) + fn.abs(-2 * z)),
}


def data(items: int = 5, seed: int = 0):
    X = np.random.default_rng(seed).standard_normal((items, 3))
    Y = X[:, :1] + X[:, 1:2] ** 3
    return np.concatenate([X, -X]), np.concatenate([Y, -Y])


def network(output, *, weights=(W1, W2), given=(), odd=True) -> Model:
    """Squared error on symmetric items, with or without saying that they are symmetric."""
    law = Moments((x, y), {x * x.T: Sx, y * x.T: Syx, y * y.T: Syy}, odd=(x, y) if odd else ())
    m = Model(
        name="net", state=weights, given=given, data=law, let={L: norm2(y - output) / 2},
        learn=Rate({w: -grad(L, w) for w in weights}), observe={"loss": mean(L)},
    )  # fmt: skip
    X, Y = data()
    return m.bind(x=X, y=Y)


def values(seed=1):
    rng = np.random.default_rng(seed)
    return {"W1": rng.standard_normal((4, 3)), "W2": rng.standard_normal((1, 4)), "alpha": np.float64(0.37)}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_symmetry_changes_the_words_but_not_the_numbers(name):
    phi = ACTIVATIONS[name]
    given = (alpha,) if name == "bent" else ()
    found = []
    for odd in (True, False):
        m = network(W2 * phi(W1 * x), given=given, odd=odd)
        flow = derive.gradient_flow(m)
        at = values()
        found.append(rates(flow, {n: at[n] for n in ("W1", "W2")}, {**dict(m.values), **at}))
        assert ("Sx" in {b.name for b in flow.parameters}) == odd  # the odd half is in named moments
    for n in ("W1", "W2"):
        np.testing.assert_allclose(found[0][n], found[1][n], rtol=0, atol=1e-12)  # rounding of ten items


def test_a_network_of_three_layers_keeps_what_has_no_parity():
    W2w = matrix("W2", 1, k)
    found = []
    for odd in (True, False):
        m = network(W2w * fn.relu(W3 * fn.relu(W1 * x)), weights=(W1, W3, W2w), odd=odd)
        at = {**values(), "W3": np.random.default_rng(3).standard_normal((2, 4)), "W2": np.ones((1, 2))}
        state = {n: at[n] for n in ("W1", "W3", "W2")}
        found.append(rates(derive.gradient_flow(m), state, dict(m.values)))
    for n in found[0]:
        np.testing.assert_allclose(found[0][n], found[1][n], rtol=0, atol=1e-12)  # rounding of ten items


def one_direction(scale) -> Manifold:
    lift = {W1: scale * g * r.T, W2: scale * sp.sqrt(norm2(r)) * g.T}
    return Manifold(lift, coordinates=(r,), tags={g: "orth"}, orthogonal=((g, fn.abs(g)),))


@pytest.mark.parametrize(("slope", "factor"), [(0, "1/2"), (sp.Rational(3, 10), "13/20"), (sp.Rational(-1, 5), "2/5")])
def test_a_bias_free_network_is_a_linear_one_with_a_slower_clock(slope, factor):
    phi = derive.activation("phi", lambda z: fn.relu(z) - slope * fn.relu(-z)) if slope else fn.relu
    bent = derive.reduce(derive.gradient_flow(network(W2 * phi(W1 * x))), one_direction(sp.sqrt(sp.Integer(2) / (1 + slope))))
    linear = derive.reduce(derive.gradient_flow(network(W2 * W1 * x)), one_direction(sp.Integer(1)))
    same = derive.equivalent(bent.system, linear.system)
    assert same is not None
    assert same.constant
    assert str(same.factor) == factor  # (1 + slope)/2, published


def test_the_same_with_a_symbolic_slope():
    """phi(z) = c z + (1 - c)|z| has the slope 2c - 1 below zero."""
    phi = derive.activation("phi", lambda z: c * z + (1 - c) * fn.abs(z))
    bent = derive.reduce(derive.gradient_flow(network(W2 * phi(W1 * x), given=(c,))), one_direction(1 / sp.sqrt(c)))
    linear = derive.reduce(derive.gradient_flow(network(W2 * W1 * x)), one_direction(sp.Integer(1)))
    same = derive.equivalent(bent.system, linear.system)
    assert same is not None
    assert str(same.factor) == "c"


def test_unequal_halves_leave_the_manifold():
    wrong = Manifold({W1: g * r.T, W2: sp.sqrt(norm2(r)) * g.T}, coordinates=(r,), tags={g: "orth"})
    with pytest.raises(NotInvariant, match="normal component"):
        derive.reduce(derive.gradient_flow(network(W2 * fn.relu(W1 * x))), wrong)


def test_balances_of_neurons_are_proved_for_any_homogeneous_activation():
    for name in ("relu", "leaky"):
        (found,) = derive.conserved(derive.gradient_flow(network(W2 * ACTIVATIONS[name](W1 * x))))
        assert found.status == "proved"
        assert str(found.expr) == "(W1 o W1)*ones[D,1] - (W2 o W2)'"


def test_gates_split_an_odd_residual_in_half():
    """E[1(w.x > 0) e x] = E[e x]/2 for every odd e, here e = y."""
    w, v = vector("w", D), vector("v", D)
    m = Model(
        name="gated", state=v, given=w, data=Moments((x, y), {x * x.T: Sx, y * x.T: Syx, y * y.T: Syy}, odd=(x, y)),
        learn=Rate({v: fn.step(dot(w, x)) * x * y - v}),
    )  # fmt: skip
    assert str(derive.gradient_flow(m).rhs["v"]) == "1/2*Syx' - v"


def test_even_symbols_do_not_change_sign():
    w, label = vector("w", D), scalars("label")
    m = Model(
        name="neuron", state=w, data=Moments((x, label), {x * x.T: Sx}, odd=(x,), even=(label,)),
        let={L: (label - fn.relu(dot(w, x))) ** 2 / 2}, learn=Rate({w: -grad(L, w)}),
    )  # fmt: skip
    X = data()[0]
    b = m.bind(x=X, label=np.tile([1.0, 0.0, 1.0, 1.0, 0.0], 2))
    assert str(derive.gradient_flow(b).rhs["w"]) == "1/2*x_data*(label_data o sgn(w'*x_data)')/P - 1/2*Sx*w"


def test_data_without_mirror_images_are_refused():
    X, Y = data()
    law = Moments((x, y), {x * x.T: Sx}, odd=(x, y))
    plain = Model(name="net", state=(W1,), data=law, let={L: norm2(y) * norm2(W1 * x)}, learn=Rate({W1: -grad(L, W1)}))
    with pytest.raises(InvalidSpec, match=r"np.concatenate\(\[X, -X\]\)"):
        plain.bind(x=X[:5], y=Y[:5])


def test_an_open_law_says_what_it_cannot_average():
    law = Moments((x, y), {x * x.T: Sx, y * x.T: Syx, y * y.T: Syy}, odd=(x, y))
    m = Model(
        name="net",
        state=(W1, W2),
        data=law,
        let={L: norm2(y - W2 * fn.relu(W1 * x))},
        learn=Rate({W2: -grad(L, W2), W1: -grad(L, W1)}),
    )
    with pytest.raises(UnsupportedNode, match="bind the data"):
        derive.gradient_flow(m)


def test_products_of_signs_merge():
    z = (atom(Atom("w", "N", 1)).T * atom(Atom("x", "N", 1))).trace()
    sign, size = elem("sgn", z), elem("abs", z)
    assert merged(sign * sign) == constant(1)
    assert merged(sign * size) == z
    assert merged(sign * z) == size
    assert merged(size * size * size) == z * z * size
    W = atom(Atom("W", "K", "N")) * atom(Atom("x", "N", 1))
    assert merged(hadamard(elem("sgn", W), W)) == elem("abs", W)


def test_parity_is_read_off_bodies():
    w, s = atom(Atom("w", "N", 1)), atom(Atom("x", "N", 1))
    z = (w.T * s).trace()
    assert even_part(elem("tanh", z), ["x"], homogeneous_lines({})) == constant(0)
    kept = elem("exp", z)
    assert even_part(kept, ["x"], homogeneous_lines({})) == kept  # neither even nor odd
