"""Claims at many states: printed rates evaluated side by side against one state after the other, by the same reader."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from derive.catalog import load
from derive.catalog.claims_of_rectifiers import cut_moment, i3, i4, orthant
from derive.claims.entry import Published
from derive.errors import InvalidSpec
from numerics.claims.expressions import value

K, i, j, x, t = *sp.symbols("K i j", integer=True), *sp.symbols("x t")
Q, v = sp.IndexedBase("Q"), sp.IndexedBase("v")


@pytest.mark.parametrize(
    "expression",
    [
        x * sp.Sum(v[i] * Q[i, j] * v[j], (i, 1, K), (j, 1, K)) + Q[1, 2],
        sp.asin(Q[1, 2] / sp.sqrt(Q[1, 1] * Q[2, 2])) ** 2,
        sp.Integral(sp.exp(-(t**2) * Q[1, 1]) * x, (t, 0, 1)),
        sp.Heaviside(x - 1) * sp.Sum(sp.binomial(K, i) * x**i, (i, 0, K)),
    ],
)
def test_states_side_by_side_are_states_one_by_one(expression: sp.Expr) -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(7, 2, 3))
    states = [{"Q": a @ a.T, "v": rng.normal(size=2), "x": rng.uniform(0.5, 1.5), "K": 2} for a in root]
    together = {n: np.stack([s[n] for s in states], axis=-1) for n in ("Q", "v", "x")}
    found = value(expression, {**together, "K": 2}, side_by_side=True)
    np.testing.assert_allclose(found, [value(expression, s) for s in states], rtol=1e-10)  # that of the quadrature


def test_a_missing_label_is_refused_for_many_states_too() -> None:
    """A matrix of two labels beside seven states has three axes; with one label given the last one is not taken for states."""
    with pytest.raises(InvalidSpec, match="mend its labels"):
        value(Q[1], {"Q": np.ones((2, 2, 7))}, side_by_side=True)
    with pytest.raises(InvalidSpec, match="mend its labels"):
        value(Q[1, 2], {"Q": np.ones((2, 2, 7))})


def test_a_number_of_states_is_one_or_more() -> None:
    with pytest.raises(InvalidSpec, match="one state or more"):
        Published("p", rate={"u": 1}, states=0)


def test_moments_of_cut_fields_are_those_of_samples() -> None:
    """Printed averages of rectifiers, distinct and coinciding, against 10^6 samples: |z| < 4.5, a false alarm in 10^4."""
    rng = np.random.default_rng(1)
    a = rng.normal(size=(4, 6)) / np.sqrt(6)
    C, z = a @ a.T, rng.standard_normal((1_000_000, 6)) @ a.T
    on, up = z > 0, np.maximum(z, 0)
    for b, c, d, e in ((0, 1, 2, 3), (0, 0, 2, 3), (0, 1, 0, 1), (2, 2, 2, 2), (0, 1, 3, 3)):
        seen = on[:, b] * on[:, c] * up[:, d] * up[:, e]
        assert abs(seen.mean() - i4(C, b, c, d, e)) < 4.5 * seen.std() / 1000
    for b, c, d in ((0, 1, 2), (0, 1, 0), (1, 1, 3)):
        seen = on[:, b] * z[:, c] * up[:, d]
        assert abs(seen.mean() - i3(C, b, c, d)) < 4.5 * seen.std() / 1000
    everything = on.all(axis=1)
    assert abs(everything.mean() - orthant(C)) < 4.5 * everything.std() / 1000
    assert cut_moment(C[:1, :1], 0, 0) == pytest.approx(C[0, 0] / 2, rel=1e-15)  # rounding


def test_claims_of_the_catalogue_read_alike_in_both_ways() -> None:
    """Two states of a committee, the printed dQ/dalpha of erf units."""
    e = load("goldt_2019_teacher_student")
    rate = next(r for c in e.claims if isinstance(c, Published) for k, r in c.rate.items() if str(k) == "Q[k, l]")
    rng = np.random.default_rng(2)
    states = []
    for _ in range(2):
        a = rng.normal(size=(4, 8)) / np.sqrt(8)
        C = a @ a.T
        states.append({"Q": C[:2, :2], "R": C[:2, 2:], "T": C[2:, 2:], "v": rng.uniform(size=2), "A": rng.uniform(size=2)})
    fixed = {"K": 2, "M": 2, "eta": 0.5, "sigma": 0.1}
    together = {n: np.stack([s[n] for s in states], axis=-1) for n in states[0]}
    for labels in ({"k": 1, "l": 1}, {"k": 2, "l": 1}):
        found = value(rate, {**together, **fixed}, labels, side_by_side=True)
        np.testing.assert_allclose(found, [value(rate, {**s, **fixed}, labels) for s in states], rtol=1e-13)  # order of sums
