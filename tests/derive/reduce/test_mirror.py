"""Constants along directions that the data do not see, and the signs inside elementwise products.

Two roads: the dual variable, found by integration and differentiated back, against its published form; and its drift along
integrated flows, against the same with a wrong power.
"""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from codegen import compile
from derive import (
    Model,
    Rate,
    activation,
    dims,
    fn,
    grad,
    gradient_flow,
    linear_network,
    matrix,
    mirror_invariants,
    norm2,
    scalars,
    vector,
)
from derive.catalog import load
from derive.matrices.composite import elem, hadamard
from derive.matrices.poly import atom
from derive.matrices.signs import merge_signs
from derive.matrices.words import Atom
from derive.spec.sugar import had
from numerics import integrate, verify

D, P = dims("d P")
phi, X, Y, L = vector("phi", D), matrix("X", P, D), vector("Y", P), scalars("L")


def regression(weights, *given):
    """Linear regression in reparametrised weights."""
    return gradient_flow(
        Model(name="m", state=phi, given=(X, Y, *given), let={L: norm2(Y - X * weights) / 2}, learn=Rate({phi: -grad(L, phi)}))
    )


def power(alpha):
    return activation("power", lambda z: z * sp.Abs(z) ** (alpha - 1))(phi)


def drift(flow, invariant, values, seed=0, start=None):
    """Largest change of the constants along an integrated flow, relative to their size."""
    rng = np.random.default_rng(seed)
    items = {"X": rng.standard_normal((2, 5)) / 2, "Y": rng.standard_normal((2, 1))}
    start = rng.uniform(0.4, 1.2, (5, 1)) * np.sign(rng.standard_normal((5, 1))) if start is None else start
    path = integrate(
        compile(flow, backend="numpy"), {"phi": start}, {**items, **values}, (0, 20), np.linspace(0, 20, 9), rtol=1e-12
    )
    assert np.abs(path.values["phi"][-1] - start).max() > 0.05  # it moved
    seen = np.array([invariant.value({**items, **values}, w) for w in path.values["phi"]])
    assert seen.shape[1:] == (3, 1)  # five weights, two items
    return np.abs(seen - seen[0]).max() / np.abs(seen[0]).max()


@pytest.mark.parametrize("alpha", [2, 3, 4, sp.Rational(5, 2), sp.Rational(7, 3)])
def test_the_dual_variable_of_a_power_is_constant_along_null_directions(alpha):
    flow = regression(power(alpha))
    (found,) = mirror_invariants(flow)
    z = sp.Symbol("z", positive=True)
    published = (
        sp.log(z) / 2 if alpha == 2 else z ** (2 - alpha) / (alpha * (2 - alpha))
    )  # psi'(theta) in phi, theta = phi^alpha
    ratio = [sp.N((found.potential / published).subs(z, at), 30) for at in (sp.Rational(1, 3), sp.Rational(7, 2))]
    assert abs(ratio[0] - ratio[1]) < 1e-25  # equal up to a factor; 30 digits
    assert drift(flow, found, {}) < 2e-10  # published 2e-13 for one start; rtol 1e-12 through weights near zero
    assert str(found).startswith("N'*psi_phi(phi) = const for every N with X*N = 0")


def test_a_symbolic_power_is_one_result_for_all():
    alpha = scalars("alpha", positive=True)
    flow = regression(power(alpha), alpha)
    (found,) = mirror_invariants(flow)
    assert "2 - alpha is not zero" in [a.text for a in found.quantity.assumptions]
    assert drift(flow, found, {"alpha": 2.6}) < 2e-10  # rtol 1e-12
    assert drift(flow, replace(found), {"alpha": 2.6}, seed=1) < 2e-10


def test_a_wrong_dual_variable_drifts():
    right, wrong = (mirror_invariants(regression(power(a)))[0] for a in (3, 4))
    assert drift(regression(power(3)), wrong, {}) > 1e-3
    assert drift(regression(power(3)), right, {}) < 2e-10  # rtol 1e-12


@pytest.mark.parametrize(
    ("weights", "potential"),
    [(fn.exp(phi), "-exp(-z)"), (fn.sq(phi), "log(z)"), (had(phi, phi, phi), "-1/z"), (phi, "z"), (fn.tanh(phi), None)],
)
def test_other_reparametrisations(weights, potential):
    """Mirror maps of the exponential (entropy), of squares and cubes, of plain and of bounded weights; potentials by hand."""
    flow = regression(weights)
    (found,) = mirror_invariants(flow)
    assert potential is None or str(found.potential) == potential
    assert drift(flow, found, {}, start=np.array([[0.5], [0.8], [0.3], [0.6], [0.9]])) < 1e-9  # rtol 1e-12


def test_weights_outside_the_span_of_the_inputs_of_a_deep_network_do_not_move():
    (found,) = mirror_invariants(gradient_flow(linear_network(depth=3)))
    assert (found.state, found.side, found.dual) == ("W1", "right", None)
    assert str(found) == "W1*N = const for every N with Syx*N = 0 and Sx*N = 0"


def test_weight_decay_leaves_no_constant():
    """A word that ends in the weights themselves: nothing is claimed."""
    decay = Model(
        name="m", state=phi, given=(X, Y), let={L: norm2(Y - X * phi) / 2 + norm2(phi) / 2}, learn=Rate({phi: -grad(L, phi)})
    )
    assert mirror_invariants(gradient_flow(decay)) == ()


@pytest.mark.parametrize(
    ("n", "absolute", "sign"), [(a, b, c) for a in range(3) for b in range(3) for c in range(4) if a + b + c > 1]
)
def test_signs_merge_exactly_at_every_point(n, absolute, sign):
    """Values of the product before and after, at negative, zero and positive entries."""
    u = atom(Atom("u", "n", 1))
    factors = [u] * n + [elem("abs", u)] * absolute + [elem("sgn", u)] * sign
    at = np.array([-1.5, 0.0, 0.7])
    table = {"u": at, "abs(u)": np.abs(at), "sgn(u)": np.sign(at)}
    before = np.prod([table[repr(f)] for f in factors], axis=0)
    merged = merge_signs(factors)
    assert np.array_equal(before, np.prod([table[repr(f)] for f in merged], axis=0))
    assert sum(repr(f) != "u" for f in merged) <= 2
    assert merge_signs(merged) == merged  # a normal form


def test_the_gradient_of_a_power_with_a_modulus_is_one_word():
    """d(u |u|)/du = 2 |u|, and |u| o sgn(u) = u inside longer products."""
    u, v = atom(Atom("u", "n", 1)), atom(Atom("v", "n", 1))
    assert hadamard(u, elem("sgn", u), v) == hadamard(elem("abs", u), v)
    assert len(regression(had(phi, fn.abs(phi))).rhs["phi"].terms) == 2


def test_claims_of_powerpropagation_hold_for_any_power_and_reject_a_wrong_one():
    for alpha in (2.0, 2.5):
        entry = load("schwarz_2021_powerpropagation", alpha=alpha)
        constant = entry.claims[2]
        assert verify(replace(entry, claims=entry.claims[:3])).passed
        other = load("schwarz_2021_powerpropagation", alpha=3.0).claims[2]
        assert not verify(replace(entry, claims=(replace(constant, quantity=other.quantity),))).passed
