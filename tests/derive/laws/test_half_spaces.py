"""Gaussian averages of signs and rectifiers in words.

Roads: integration by parts against samples (4e5 pairs x, -x; fixed seed; |z| <= 4.5 for each of fewer than 150 numbers, false
alarm below 1e-3 for the file) and against the arc-cosine formulas of Cho and Saul, typed here.
"""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

import derive
from derive import Model, Normal, Rate, dims, dot, fn, grad, matrix, mean, norm2, vector
from derive.averages.half_spaces import half_space_average
from derive.errors import UnsupportedNode
from derive.matrices.composite import elem
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly, atom
from derive.matrices.words import Atom
from numerics.claims.subject import rates

N = 3
x, w, v, u, A = (atom(Atom(n, "N", c)) for n, c in (("x", 1), ("w", 1), ("v", 1), ("u", 1), ("A", "N")))
S = atom(Atom("S", "N", "N", ("sym",)))
W, b = atom(Atom("W", "K", "N")), atom(Atom("b", "K", 1))


def dotted(p: Poly, q: Poly) -> Poly:
    return (p.T * q).trace()


sgn_w, sgn_v, abs_w, abs_v = (elem(f, dotted(a, x)) for f in ("sgn", "abs") for a in (w, v))
WORDS = {
    "sgn x": sgn_w * x,
    "sgn sgn": sgn_w * sgn_v,
    "sgn sgn x x'": sgn_w * sgn_v * x * x.T,
    "abs": abs_w,
    "abs abs": abs_w * abs_v,
    "abs x x'": abs_w * x * x.T,
    "abs abs x'Ax": abs_w * abs_v * (x.T * A * x).trace(),
    "sgn abs x": sgn_w * abs_v * x,
    "sgn x x'Ax": sgn_w * (x.T * A * x).trace() * x,
    "three signs x": sgn_w * sgn_v * elem("sgn", dotted(u, x)) * x,
    "abs abs abs": abs_w * abs_v * elem("abs", dotted(u, x)),
    "columns sgn x'": elem("sgn", W * x) * x.T,
    "columns abs abs'": elem("abs", W * x) * elem("abs", W * x).T,
    "columns sgn sgn'": elem("sgn", W * x) * elem("sgn", W * x).T,
    "columns sgn b'abs x'": dotted(b, elem("abs", W * x)) * elem("sgn", W * x) * x.T,
    "columns abs x'Ax": elem("abs", W * x) * (x.T * A * x).trace(),
}


def numbers():
    rng = np.random.default_rng(5)
    root = rng.standard_normal((N, 2 * N))
    shapes = {"w": (N, 1), "v": (N, 1), "u": (N, 1), "A": (N, N), "W": (4, N), "b": (4, 1)}
    return {"S": root @ root.T / (2 * N), **{n: rng.standard_normal(s) for n, s in shapes.items()}}


@pytest.fixture(scope="module")
def samples():
    at = numbers()
    z = np.linalg.cholesky(at["S"]) @ np.random.default_rng(6).standard_normal((400_000, N, 1))
    return at, z


@pytest.mark.parametrize("name", WORDS)
def test_averages_are_those_of_samples(name, samples):
    at, z = samples
    p = WORDS[name]
    derived = np.asarray(evaluate(half_space_average(p, Atom("x", "N", 1), S), at, sizes={"N": N}))
    seen = np.asarray(evaluate(p, {**at, "x": z}))
    mirrored = (seen + np.asarray(evaluate(p, {**at, "x": -z}))) / 2
    z_score = np.abs(mirrored.mean(0) - derived) / (mirrored.std(0) / np.sqrt(len(z)) + 1e-7)  # asin(1 - 1e-16) is off by 1e-8
    assert float(np.max(z_score)) <= 4.5  # see the head of the file


def test_rectified_products_are_the_arc_cosine_kernels():
    at = numbers()
    relu_w, relu_v = ((abs_ + dotted(a, x)).scale(1) for abs_, a in ((abs_w, w), (abs_v, v)))  # twice the rectifiers
    derived = float(evaluate(half_space_average(relu_w * relu_v, Atom("x", "N", 1), S), at)) / 4
    lengths = [float((at[n].T @ at["S"] @ at[n])[0, 0]) ** 0.5 for n in "wv"]
    angle = np.arccos(float((at["w"].T @ at["S"] @ at["v"])[0, 0]) / lengths[0] / lengths[1])
    assert derived == pytest.approx(
        lengths[0] * lengths[1] * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / 2 / np.pi, rel=1e-12
    )


def test_a_two_layer_leaky_network_has_a_flow_in_words(samples):
    D, h = dims("N h")
    W1, W2, target, cov, z = matrix("W1", h, D), matrix("W2", 1, h), vector("v", D), matrix("S", D, D), vector("x", D)
    leaky = derive.activation("leaky", lambda q: fn.relu(q) - sp.Rational(3, 10) * fn.relu(-q))
    L = sp.Symbol("L", real=True)
    m = Model(
        name="population", state=(W1, W2), given=(target, cov), data=Normal(z, cov=cov),
        let={L: norm2(target.T * z - W2 * leaky(W1 * z)) / 2}, learn=Rate({q: -grad(L, q) for q in (W1, W2)}),
        observe={"loss": mean(L)},
    )  # fmt: skip
    flow = derive.gradient_flow(m)
    at, xs = samples
    state = {"W1": at["W"], "W2": at["b"].T}
    seen = rates(flow, state, {"v": at["v"], "S": at["S"]})
    columns = np.concatenate([xs, -xs])[:, :, 0].T
    pre = at["W"] @ columns
    slope = np.where(pre > 0, 1.0, 0.3)
    error = at["v"].T @ columns - at["b"].T @ (slope * pre)
    parts = {"W1": (at["b"] * error * slope)[:, None, :] * columns[None], "W2": (error * slope * pre)[None]}
    for n, a in parts.items():
        pairs = (a[..., : len(xs)] + a[..., len(xs) :]) / 2
        z_score = np.abs(pairs.mean(-1) - seen[n]) / (pairs.std(-1) / np.sqrt(len(xs)))
        assert float(z_score.max()) <= 4.5  # see the head of the file


def test_a_perfect_student_rests():
    """The angles saturate at equal weights, where the arguments of square roots round below zero."""
    D = dims("N")
    z, student, teacher, L = vector("x", D), vector("w", D), vector("v", D), sp.Symbol("L", real=True)
    m = Model(
        name="one", state=student, given=teacher, data=Normal(z),
        let={L: (fn.relu(dot(student, z)) - fn.relu(dot(teacher, z))) ** 2},
        learn=Rate({student: -grad(L, student)}), observe={"loss": mean(L)},
    )  # fmt: skip
    at = np.random.default_rng(8).standard_normal((5, 1))
    assert np.abs(rates(derive.gradient_flow(m), {"w": at}, {"v": at})["w"]).max() < 1e-7  # acos of 1 - 1e-16 is 1e-8


def test_refusals_name_the_way_out():
    X = Atom("x", "N", 1)
    four = sgn_w * sgn_v * elem("sgn", dotted(u, x)) * elem("sgn", dotted(u, A * x))
    with pytest.raises(UnsupportedNode, match=r"four signs.*online_limit"):
        half_space_average(four, X, S)
    with pytest.raises(UnsupportedNode, match="online_limit"):
        half_space_average(elem("tanh", dotted(w, x)) * x, X, S)
    with pytest.raises(UnsupportedNode, match="not linear"):
        half_space_average(elem("sgn", dotted(x, A * x)), X, S)
    with pytest.raises(UnsupportedNode, match="vectors of their own"):
        half_space_average(elem("sgn", W * x) * elem("sgn", W * x).T * (x.T * A * x).trace(), X, S)
