"""Derivatives of any order, sums that hold each average once, and jumps of coinciding fields with means."""

import mpmath
import numpy as np
import pytest
import sympy as sp
from scipy.stats import norm

from derive import fn
from derive.gaussian import average
from derive.gaussian.collect import collect
from derive.gaussian.derivatives import derivative_value
from derive.gaussian.quadrature import NUMPY
from derive.indices.indexed import Index, add, arr, const, evaluate, fun, mul, sum_over

MP = {
    "tanh": mpmath.tanh,
    "erf2": lambda z: mpmath.erf(z / mpmath.sqrt(2)),
    "exp": mpmath.exp,
    "log": mpmath.log,
    "asin": mpmath.asin,
}


@pytest.mark.parametrize("base", sorted(MP))
@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_derivatives_of_any_order(base, order):
    """Road two: mpmath's differences of the function itself, at 60 digits."""
    with mpmath.workdps(60):
        want = [float(mpmath.diff(MP[base], z, order)) for z in (0.3, 0.7)]
    got = NUMPY[base + "'" * order](np.array([0.3, 0.7]))
    np.testing.assert_allclose(got, want, rtol=1e-12)  # rounding of polynomials of degree order + 1


@pytest.mark.parametrize("name", ["tanh", "relu''", "step'", "unheard_of'"])
def test_names_that_are_no_smooth_derivatives(name):
    assert derivative_value(name) is None


def test_a_sum_in_short_form_has_the_same_value():
    """Road two: the sum as it was written; three averages, one of them under a sum over units."""
    k = Index("k", "K")
    Q, q, a, b = arr("Q"), arr("q"), arr("a"), arr("b")
    first, second = fun("E[tanh|tanh]", Q, Q, q), fun("Em[tanh']", a, Q)
    third = sum_over(k, mul(arr("v", k), fun("E[tanh']", arr("C", k))))
    node = add(
        mul(a, first, add(b, second)), mul(const(2), second, first), mul(b, add(first, third)), mul(const(-1), b, third), a
    )
    short = collect(node)
    at = {"Q": 0.9, "q": 0.4, "a": 0.3, "b": -0.7, "K": 2, "v": np.array([0.5, 0.2]), "C": np.array([1.0, 0.6])}
    assert evaluate(short, at, {}, NUMPY) == pytest.approx(evaluate(node, at, {}, NUMPY), rel=1e-13)  # rounding
    assert str(short).count("tanh|tanh") == 2  # alone, and times the second average
    assert "v[" not in str(short)  # its two terms cancel
    assert collect(add(a, mul(b, Q))) == add(a, mul(b, Q))


def test_a_centred_field_beside_jumps_of_coinciding_fields():
    """E[x step(a) step(b)] with b = a of mean m and x centred: Stein's lemma gives C_xa times the density of a at zero."""
    x, a, b = sp.symbols("x a b", real=True)
    cov = np.array([[1.3, 0.5, 0.5], [0.5, 0.8, 0.8], [0.5, 0.8, 0.8]])
    found = average(x * fn.step(a) * fn.step(b), (x, a, b), cov, [0.0, 0.4, 0.4])
    assert found.value == pytest.approx(
        0.5 * norm.pdf(0.4, scale=np.sqrt(0.8)), abs=1e-9
    )  # stated error of integrals over signs
    apart = average(x * fn.step(a) * fn.step(b), (x, a, b), cov + np.diag([0.0, 0.0, 1e-3]), [0.0, 0.4, 0.4])
    assert abs(apart.value - found.value) < 0.01  # fields 0.03 apart
