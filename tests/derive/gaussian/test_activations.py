"""Activations of a user in Gaussian averages. Road one: derived equations and averages. Road two: stated in each test."""

import math

import numpy as np
import pytest
import sympy as sp

from derive import fn
from derive.errors import UnsupportedNode
from derive.gaussian import average
from derive.gaussian.activations import applied
from derive.gaussian.factors import wave
from derive.gaussian.opaque import body, is_opaque, opaque
from derive.gaussian.quadrature import FINER, NUMPY
from derive.indices.indexed import ONE, add, arr, const, evaluate, fun, mul, power
from derive.library.teacher import teacher_student
from derive.online.limit import online_limit
from derive.spec.symbols import activation

z = arr("z")
GRID = np.linspace(-4.03, 4.01, 400)
HARD = {
    "clip": (
        add(const(-1), mul(fun("step", add(z, ONE)), add(z, ONE)), mul(const(-1), fun("relu", add(z, const(-1))))),
        lambda x: np.clip(x, -1, 1),
        "-1 + relu(1 + u) - relu(-1 + u)",
    ),
    "huber": (
        add(
            mul(fun("step", add(ONE, mul(const(-1), fun("abs", z)))), power(z, 2), power(const(2), -1)),
            mul(fun("step", add(fun("abs", z), const(-1))), add(fun("abs", z), mul(const(-1), power(const(2), -1)))),
        ),
        lambda x: np.where(np.abs(x) < 1, x**2 / 2, np.abs(x) - 0.5),
        None,
    ),
    "bump": (
        fun("relu", add(ONE, mul(const(-1), power(z, 2)))),
        lambda x: np.maximum(1 - x**2, 0),
        None,
    ),
}


@pytest.mark.parametrize("name", HARD)
def test_piecewise_polynomials_in_steps_and_relus(name):
    """Road two: the function typed in NumPy."""
    node, want, shown = HARD[name]
    made = applied(name, node, "z", arr("u"))
    got = evaluate(made, {"u": GRID}, {}, NUMPY)
    np.testing.assert_allclose(got, want(GRID), rtol=0, atol=1e-13)  # polynomials of order ten
    assert not is_opaque(made.args[0] if made.op == "fun" else "")
    assert shown is None or repr(made) == shown


def test_names_hold_bodies_and_derivatives():
    """Road two: derivatives of softplus typed by hand."""
    name = opaque("softplus", fun("log", add(ONE, fun("exp", z))), "z")
    assert body(name) == fun("log", add(ONE, fun("exp", z)))
    s = 1 / (1 + np.exp(-GRID))
    np.testing.assert_allclose(NUMPY[name + "'"](GRID), s, atol=1e-15)
    np.testing.assert_allclose(NUMPY[name + "''"](GRID), s * (1 - s), atol=1e-15)
    with pytest.raises(UnsupportedNode, match="write a number for beta"):
        opaque("swish", mul(z, fun("exp", mul(arr("beta"), z))), "z")


def test_a_kink_inside_a_smooth_function_is_refused():
    softsign = activation("softsign", lambda x: x / (1 + sp.Abs(x)))
    with pytest.raises(UnsupportedNode, match="smooth it"):
        online_limit(teacher_student(softsign, train="readout"))


@pytest.mark.parametrize("where", ["centred", "with means"])
def test_waves_are_exact(where):
    """Road two: 60 Gauss-Hermite nodes in three dimensions, exact to rounding for waves of these lengths."""
    a, b, c = fields = sp.symbols("a b c", real=True)
    B = np.random.default_rng(3).normal(size=(3, 3)) * 0.6
    m = np.array([0.3, -0.7, 0.2]) * (where == "with means")
    for f, g in (
        (fn.sin(a) * fn.cos(b - c) * c, lambda x, y, w: np.sin(x) * np.cos(y - w) * w),
        (fn.sin(a) ** 2 * fn.sin(2 * b) * b, lambda x, y, w: np.sin(x) ** 2 * np.sin(2 * y) * y),
        (fn.cos(a) * fn.sin(a) * sp.exp(b / 2 - c**2), lambda x, y, w: np.cos(x) * np.sin(x) * np.exp(y / 2 - w**2)),
    ):
        made = average(f, fields, B @ B.T, m)
        t, weight = np.polynomial.hermite_e.hermegauss(60)
        grid = np.stack(np.meshgrid(t, t, t, indexing="ij")).reshape(3, -1)
        w3 = np.einsum("i,j,k->ijk", weight, weight, weight).ravel() / (2 * np.pi) ** 1.5
        assert made.rung == "exact"
        assert abs(made.value - w3 @ g(*(B @ grid + m[:, None]))) < 1e-11  # 60 nodes, variances below three
    q = sp.Symbol("q", real=True)
    assert average(fn.cos(a) ** 2, (a,), sp.Matrix([[q]])).value == sp.Rational(1, 2) + sp.exp(-2 * q) / 2
    assert [wave("sin" + "'" * n)[1] for n in range(4)] == ["sin", "cos", "sin", "cos"]
    assert [repr(wave("cos" + "'" * n)[0]) for n in range(4)] == ["1", "-1", "-1", "1"]


def two_units_and_a_teacher(rng):
    """Vectors of two student units and one teacher unit, and the values of the flow at them."""
    U, B = rng.normal(size=(2, 5)), rng.normal(size=(1, 5))
    overlaps = {"T_W": U @ U.T / 5, "T_W_Wstar": U @ B.T / 5, "T_Wstar": B @ B.T / 5}
    return U, B, overlaps | {"v": rng.normal(size=2), "A": np.ones(1)}


@pytest.mark.parametrize(
    ("name", "f", "rungs"),
    [
        ("softplus", lambda x: sp.log(1 + sp.exp(x)), "quadrature"),
        ("swish", lambda x: x / (1 + sp.exp(-x)), "quadrature"),
        ("clip", lambda x: sp.Piecewise((-1, x < -1), (x, x < 1), (1, True)), "1-D integral"),
        ("snake", lambda x: x + sp.sin(x) ** 2, "exact"),
    ],
)
def test_generalisation_error_of_a_readout(name, f, rungs):
    """Road two: 200,000 draws of the fields, typed here."""
    flow = online_limit(teacher_student(activation(name, f), train="readout", noise=False))
    rng = np.random.default_rng(0)
    U, B, s = two_units_and_a_teacher(rng)
    s |= {"K": 2, "M": 1}
    x = rng.normal(size=(5, 200_000)) / math.sqrt(5)
    g = {"softplus": lambda u: np.logaddexp(0, u), "swish": lambda u: u / (1 + np.exp(-u)), "clip": lambda u: np.clip(u, -1, 1),
         "snake": lambda u: u + np.sin(u) ** 2}[name]  # fmt: skip
    samples = 0.5 * (s["v"] @ g(U @ x) - s["A"] @ g(B @ x)) ** 2
    got = float(evaluate(flow.observables["eg"], s, {}, NUMPY))
    assert abs(got - samples.mean()) < 4.5 * samples.std() / math.sqrt(200_000)  # false alarm 7e-6
    assert flow.rungs["v"].startswith(rungs) or flow.rungs["eg"].startswith(rungs)
    finer = float(evaluate(flow.observables["eg"], s, {}, FINER))
    assert abs(got - finer) < 1e-6  # the stated error of two fields, at variances of one


def test_kernel_of_a_users_activation():
    """Road two: `evaluate`."""
    from codegen import compile as emit

    flow = online_limit(teacher_student(activation("softplus", lambda x: sp.log(1 + sp.exp(x))), train="readout", noise=False))
    kernel = emit(flow, backend="numpy")
    rng = np.random.default_rng(1)
    _, _, s = two_units_and_a_teacher(rng)
    s |= {"eta_v": 0.3}
    got = kernel.rhs(0.0, *(s[b.name] for b in (*flow.state, *flow.parameters)))[0]
    k = flow.block("v").indices[0]
    want = [float(evaluate(flow.rhs["v"], s | {"K": 2, "M": 1}, {k: n}, NUMPY)) for n in range(2)]
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)  # the same nodes, other order of operations
    assert "softplus" in kernel.source
    assert ":" not in kernel.source.split("def mean__softplus")[1].split("(")[0]
