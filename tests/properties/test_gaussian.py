"""Gaussian averages against rules that share no code with them.

Road one: the ladder. Road two: Gaussian factors absorbed into the precision matrix, (C^-1 + D)^-1 = C (1 + D C)^-1, and what
is left, a function of two fields, by Gauss-Hermite nodes of the physicists' kind; steps by seeded samples.
"""

from fractions import Fraction
from functools import cache

import numpy as np
import pytest
import sympy as sp
from scipy.special import erf

from derive import fn
from derive.errors import BudgetExceeded, ShapeMismatch, UnsupportedNode
from derive.gaussian import average
from derive.gaussian.factors import factor, pattern_of
from derive.gaussian.ladder import expectation
from derive.gaussian.measure import linear_measure
from derive.gaussian.quadrature import NUMPY, gauss_hermite, quadrature
from derive.gaussian.terms import close, expand
from derive.indices.indexed import ZERO, Index, add, arr, const, evaluate, fun, mul, power, sum_over
from derive.spec.nodes import Fn
from derive.spec.symbols import activation

a, b, c, d = FIELDS = sp.symbols("a b c d", real=True)
ERROR = 1e-10  # 150 nodes on products of erf(z/sqrt 2) are converged to 1e-13 at variance 5


def g(z):
    return erf(z / np.sqrt(2))


def prime(z: sp.Symbol) -> sp.Expr:
    return sp.sqrt(2 / sp.pi) * sp.exp(-(z**2) / 2)


rule = cache(np.polynomial.hermite.hermgauss)


def two(f, C, nodes=150):
    """E[f(u, w)] for a 2 x 2 covariance, singular ones included."""
    t, weight = rule(nodes)
    s = np.sqrt(max(C[0, 0], 0.0))
    slope = C[0, 1] / s if s else 0.0
    rest = np.sqrt(max(C[1, 1] - slope**2, 0.0))
    u = np.sqrt(2) * s * t[:, None] + 0 * t[None, :]
    w = np.sqrt(2) * (slope * t[:, None] + rest * t[None, :])
    return float(weight @ f(u, w) @ weight / np.pi)


def tilt(C, where):
    """Weight and covariance of N(0, C) times exp(-u_i^2 / 2) for each i in ``where``."""
    D = np.zeros_like(C)
    D[where, where] = 1.0
    one = np.eye(len(C)) + D @ C
    return np.linalg.det(one) ** -0.5 * (2 / np.pi) ** (len(where) / 2), C @ np.linalg.inv(one)


def covariances(count, seed):
    """Random, nearly singular, and with coinciding fields, in turn."""
    rng = np.random.default_rng(seed)
    for n in range(count):
        B = rng.normal(size=(4, 4)) * rng.uniform(0.3, 0.9)
        if n % 4 == 1:
            B[1] = B[0] + 1e-7 * rng.normal(size=4)  # nearly the same field
        if n % 4 == 2:
            B[3] = B[2]  # the same field twice
        if n % 4 == 3:
            B[2] = B[0] - 2 * B[1]  # rank three
        B /= max(1.0, np.sqrt(np.max(np.sum(B**2, axis=1)) / 4))  # variances up to 4: what the oracle resolves
        yield B @ B.T


def test_erf_averages_at_200_covariances():
    cases = {
        "I2": (fn.erf2(a) * fn.erf2(b), lambda C: two(lambda u, w: g(u) * g(w), C[:2, :2])),
        "J2": (prime(a) * prime(b), lambda C: tilt(C, [0, 1])[0]),
        "I3": (prime(a) * b * fn.erf2(c), lambda C: _tilted(lambda u, w: u * g(w), C, [0], [1, 2])),
        "I4": (prime(a) * prime(b) * fn.erf2(c) * fn.erf2(d), lambda C: _tilted(lambda u, w: g(u) * g(w), C, [0, 1], [2, 3])),
        "x2": (c**2 * d * fn.erf2(d) * prime(a), lambda C: _tilted(lambda u, w: u**2 * w * g(w), C, [0], [2, 3])),
    }
    compiled = {name: (_symbolic(e), oracle) for name, (e, oracle) in cases.items()}
    for C in covariances(200, 7):
        for name, (node, oracle) in compiled.items():
            got = evaluate(node, {"C": C, "n": 4}, {_INDEX[i]: i for i in range(4)}, NUMPY)
            assert abs(got - oracle(C)) < ERROR, name


_INDEX = [Index(f"p{i}", "n") for i in range(4)]


def _symbolic(expression):
    """The average as one node in the entries of an array C, so that 200 covariances cost 200 evaluations."""
    from derive.gaussian import expectation_of
    from derive.indices.text import from_sympy

    names = [s.name for s in FIELDS]

    def cov(p, q):
        return arr("C", *(_INDEX[names.index(n.args[0])] for n in (p, q)), symmetric=True)

    def is_field(n):
        return n.args[0] in names

    return expectation_of(from_sympy(expression), is_field, linear_measure(is_field, cov, lambda p: ZERO))


def _tilted(f, C, where, rest):
    weight, T = tilt(C, where)
    return weight * two(f, T[np.ix_(rest, rest)])


def test_the_oracle_itself_rejects_a_wrong_average():
    C = next(covariances(1, 3))
    node = _symbolic(fn.erf2(a) * fn.erf2(b))
    got = 1.001 * evaluate(node, {"C": C, "n": 4}, {_INDEX[i]: i for i in range(4)}, NUMPY)
    assert abs(got - two(lambda u, w: g(u) * g(w), C[:2, :2])) > 1e3 * ERROR


@pytest.mark.parametrize(
    ("expression", "sampled"),
    [
        (fn.sgn(a) * fn.sgn(b), lambda x: np.sign(x[0]) * np.sign(x[1])),
        (fn.relu(a) * fn.relu(b), lambda x: np.maximum(x[0], 0) * np.maximum(x[1], 0)),
        (fn.step(a) * b * fn.relu(c), lambda x: (x[0] > 0) * x[1] * np.maximum(x[2], 0)),
        (fn.sgn(a) * fn.erf2(b), lambda x: np.sign(x[0]) * g(x[1])),
        (fn.abs(a) * b**2, lambda x: np.abs(x[0]) * x[1] ** 2),
        (fn.erf2(2 * a - b) * c * (a + c), lambda x: g(2 * x[0] - x[1]) * x[2] * (x[0] + x[2])),
        (
            prime(a) * prime(b) * fn.sgn(c) * fn.erf2(d),
            lambda x: 2 / np.pi * np.exp(-(x[0] ** 2 + x[1] ** 2) / 2) * np.sign(x[2]) * g(x[3]),
        ),
    ],
)
def test_steps_and_composite_fields_against_samples(expression, sampled):
    for seed, C in enumerate(covariances(3, 11)):
        B = np.linalg.cholesky(C + 1e-13 * np.eye(4))
        values = sampled(B @ np.random.default_rng(seed).normal(size=(4, 400_000)))
        made = average(expression, FIELDS, C)
        assert made.rung == "exact"
        # 21 tests with fixed seeds, false alarm 1.4e-4; 1e-6 for signs that differ too rarely to be sampled
        assert abs(values.mean() - made.value) < 4.5 * values.std() / np.sqrt(400_000) + 1e-6


def test_averages_with_means():
    """Road two: 1-D and 2-D Gauss-Hermite rules around the means."""
    C, m = np.array([[0.7, 0.3], [0.3, 1.1]]), np.array([0.4, -0.6])
    for expression, f in (
        (fn.erf2(a) * b, lambda u, w: g(u) * w),
        (prime(a) * b**2, lambda u, w: np.sqrt(2 / np.pi) * np.exp(-(u**2) / 2) * w**2),
    ):
        want = two(lambda u, w, f=f: f(u + m[0], w + m[1]), C)
        assert abs(average(expression, (a, b), C, m).value - want) < ERROR
    with pytest.raises(UnsupportedNode, match="2 signs with means"):
        average(fn.erf2(a) * fn.erf2(b), (a, b), sp.Matrix([[1, 0], [0, 1]]), (1, 1))


def test_isserlis():
    """E[a^2 b^2 c^2] = product + pairings, typed by hand."""
    C = next(covariances(1, 5))
    aa, bb, cc, ab, ac, bc = C[0, 0], C[1, 1], C[2, 2], C[0, 1], C[0, 2], C[1, 2]
    want = aa * bb * cc + 2 * aa * bc**2 + 2 * bb * ac**2 + 2 * cc * ab**2 + 8 * ab * ac * bc
    assert abs(average(a**2 * b**2 * c**2, FIELDS, C).value - want) < 1e-12  # 15 products of numbers of order one


def test_quadrature_states_its_error():
    C = next(covariances(1, 6))[:2, :2] / 4
    soft = average(fn.tanh(a) * fn.tanh(b), (a, b), C)
    assert soft.rung == "quadrature"
    assert abs(soft.value - two(lambda u, w: np.tanh(u) * np.tanh(w), C, 70)) < max(10 * soft.error, 1e-6)
    assert soft.error < 1e-6
    jump = quadrature(lambda f: np.sign(f[0]) * np.sign(f[1]), C, np.zeros(2))
    assert jump[1] > 1e-4  # a rule for smooth functions says so when the function is not smooth


def test_quadrature_of_a_user_function_and_of_coinciding_fields():
    softsign = activation("softplus", lambda z: sp.log(1 + sp.exp(z)))
    assert isinstance(softsign, Fn)
    C = np.array([[0.8, 0.8], [0.8, 0.8]])
    made = average(softsign(a) * softsign(b), (a, b), C)
    points, weights = gauss_hermite(np.array([[0.8]]), np.zeros(1), 61)
    assert made.rung == "quadrature"
    assert abs(made.value - weights @ np.logaddexp(0, points[0]) ** 2) < 1e-9  # 61 against 200 nodes, analytic in |Im| < pi


def test_refusals():
    with pytest.raises(UnsupportedNode, match=r"under another exact condition|two steps under an exact condition"):
        average(
            fn.relu(a) * fn.relu(b) * fn.step(c) * fn.step(d),
            FIELDS,
            sp.Matrix(4, 4, lambda i, j: sp.Symbol(f"C{min(i, j)}{max(i, j)}")),
        )
    with pytest.raises(UnsupportedNode, match="no closed form"):
        average(fn.tanh(a), (a,), sp.Matrix([[sp.Symbol("q")]]))
    with pytest.raises(ShapeMismatch, match="2 fields need"):
        average(a * b, (a, b), [[1.0]])
    with pytest.raises(UnsupportedNode, match="eigenvalue"):
        average(fn.tanh(a * b), (a, b), [[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(BudgetExceeded, match="too large"):
        gauss_hermite(np.eye(6), np.zeros(6), 40)
    with pytest.raises(UnsupportedNode, match="delta function"):
        pattern_of("sgn''")


def test_rewriting_rules_of_the_ladder():
    x = arr("x")
    law = linear_measure(lambda n: n.args[0] == "x", lambda p, q: arr("q"), lambda p: ZERO)
    hard, soft = factor("sgn", x), factor("sgn", x, Fraction(1))
    assert expectation(law, (hard, hard)) == const(1)
    assert repr(expectation(law, (soft, soft))) == "2*pi^(-1)*asin(q*(1 + q)^(-1))"  # not 1: two independent noises
    assert expectation(law, (hard, soft, factor("x", x))) == ZERO
    with pytest.raises(UnsupportedNode, match="square of a delta"):
        expectation(law, (factor("delta", x), factor("delta", x)))


def test_products_of_sums_keep_their_labels_apart_and_close_canonically():
    i = Index("i", "K")
    total = sum_over(i, mul(arr("v", i), arr("x", i)))
    terms = expand(power(total, 2), lambda n: n.args[0] == "x")
    assert len(terms) == 1
    assert len(terms[0].bound) == 2
    p, q = terms[0].bound
    asymmetric = mul(arr("u", p), fun("exp", arr("B", p, q)))
    swapped = mul(arr("u", q), fun("exp", arr("B", q, p)))
    assert close((p, q), asymmetric) == close((p, q), swapped)
    assert close((p, q), add(asymmetric, swapped)) != close((p, q), asymmetric)
