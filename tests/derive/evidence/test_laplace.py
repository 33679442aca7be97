"""Evidence of a loss: the integral over weights against the marginal law of the targets, quadrature, and large precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from derive import Model, Normal, Rate, activation, describe, dims, dot, grad, laplace, matrix, norm2, scalars, total, vector
from derive.errors import InvalidSpec, UnsupportedNode

d, n = dims("d n")
w, X, y, x = vector("w", d), matrix("X", n, d), vector("y", n), vector("x", d)
L, k, beta, lam, sigma = scalars("L k beta lam sigma")
rng = np.random.default_rng(2)


def ridge() -> Model:
    loss = norm2(y - X * w) / (2 * sigma**2) + lam * norm2(w) / 2
    return Model(name="ridge", state=w, given=(X, y, lam, sigma), let={L: loss}, learn=Rate({w: -grad(L, w)}))


@pytest.mark.parametrize(("features", "items"), [(3, 8), (6, 4)])
def test_laplace_is_the_exact_gaussian_evidence(features: int, items: int) -> None:
    """Over weights by words, over targets by the density of N(0, sigma^2 + X X' / lam) from NumPy."""
    a, t, s, b = rng.normal(size=(items, features)), rng.normal(size=(items, 1)), 0.7, 1.3
    made = laplace(ridge(), L, w)
    assert made.exact
    found = made.evaluate({X: a, y: t, sigma: s, lam: b}, np.zeros((features, 1)))
    constants = items / 2 * np.log(2 * np.pi * s**2) + features / 2 * np.log(2 * np.pi / b)
    C = s**2 * np.eye(items) + a @ a.T / b
    marginal = float((t.T @ np.linalg.solve(C, t))[0, 0]) / 2 + np.linalg.slogdet(2 * np.pi * C)[1] / 2
    assert found["free_energy"] + constants == pytest.approx(marginal, rel=2e-14)  # rounding of two determinants
    assert found["curvature"] == pytest.approx(a.T @ a / s**2 + b * np.eye(features))


def test_a_quartic_loss_is_not_exact_and_improves_with_precision() -> None:
    """L = beta (k^2/2 + k^4/4): one-dimensional quadrature; the error of F is 3/(4 beta) + O(1/beta^2)."""
    model = Model(name="quartic", state=k, given=beta, let={L: beta * (k**2 / 2 + k**4 / 4)}, learn=Rate({k: -grad(L, k)}))
    made = laplace(model, L, k)
    assert not made.exact
    grid = np.linspace(-3, 3, 40_001)  # trapezoids of a smooth function that vanishes at the ends: exact to rounding
    for b in (100.0, 1000.0):
        z = float(np.sum(np.exp(-b * (grid**2 / 2 + grid**4 / 4)))) * (grid[1] - grid[0])
        free = made.evaluate({beta: b}, 0.3)["free_energy"]
        assert (-np.log(z) - free) * b == pytest.approx(0.75, rel=20 / b)  # the next order is a few times 1/beta smaller


def test_the_flatter_of_two_minima_of_one_depth_wins() -> None:
    """A double well of depth zero on both sides, curvatures 2 a b^2 and 2 a^2 b ... by hand at its two minima."""
    loss = beta * (k + 1) ** 2 * (k - 2) ** 2 * (1 + k / 4)
    model = Model(name="wells", state=k, given=beta, let={L: loss}, learn=Rate({k: -grad(L, k)}))
    made = laplace(model, L, k)
    left, right = (made.evaluate({beta: 10.0}, at) for at in (-0.95, 2.05))
    assert left["energy"] == pytest.approx(0, abs=1e-12)
    assert right["energy"] == pytest.approx(0, abs=1e-12)
    assert left["curvature"][0, 0] == pytest.approx(10 * 2 * 9 * 0.75)
    assert right["curvature"][0, 0] == pytest.approx(10 * 2 * 9 * 1.5)
    assert right["free_energy"] - left["free_energy"] == pytest.approx(np.log(2) / 2)


def test_logistic_regression_against_its_own_hessian() -> None:
    hinge = activation("hinge", lambda z: sp.log(1 + sp.exp(-z)))
    loss = total(hinge(X * w)) + lam * norm2(w) / 2
    model = Model(name="logistic", state=w, given=(X, lam), let={L: loss}, learn=Rate({w: -grad(L, w)}))
    a = rng.normal(size=(20, 2))
    found = laplace(model, L, w).evaluate({X: a, lam: 0.5}, np.zeros((2, 1)))
    p = 1 / (1 + np.exp(a @ found["minimum"]))
    assert np.abs(-a.T @ p + 0.5 * found["minimum"]).max() < 1e-12  # the gradient, typed by hand
    assert found["curvature"] == pytest.approx((a * p * (1 - p)).T @ a + 0.5 * np.eye(2))


def test_what_has_no_evidence_is_refused() -> None:
    fresh = Model(name="fresh", state=w, given=lam, data=Normal(x), let={L: dot(w, x) ** 2 * lam}, learn=Rate({w: -grad(L, w)}))
    with pytest.raises(UnsupportedNode, match="state them as given arrays"):
        laplace(fresh, L, w)
    with pytest.raises(InvalidSpec, match="is no state"):
        laplace(ridge(), L, y)
    with pytest.raises(InvalidSpec, match="give a number"):
        laplace(ridge(), X * w, w)
    flat = Model(name="flat", state=k, given=beta, let={L: beta * k**4 - k**2}, learn=Rate({k: -grad(L, k)}))
    for start, message in ((0.01, "no minimum"), (0.0, "no minimum")):
        with pytest.raises(InvalidSpec, match=message):
            laplace(flat, L, k).evaluate({beta: 1.0}, start)


def test_it_prints() -> None:
    made: Any = laplace(ridge(), L, w)
    assert "equal to -log Z" in describe(made)
    assert '"exact": true' in describe(made, "json")
