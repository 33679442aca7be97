"""Values of expressions, and conversion from trees and to SymPy.

Roads: floats against mpmath; dictionary against NumPy typed by hand; to SymPy and back through lowering.
"""

from __future__ import annotations

from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy as sp

from derive.errors import InvalidSpec, ShapeMismatch, UnsupportedNode
from derive.matrices.calculus import grad
from derive.matrices.composite import diagonal, elem, hadamard, inverse, ones, scalar_power
from derive.matrices.convert import to_poly, to_sympy
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import atom, constant, identity, param
from derive.matrices.words import Atom
from derive.spec.lower import Collector
from derive.system import Function

W, x, y = (Atom(n, r, c) for n, r, c in (("W", "M", "N"), ("x", "N", 1), ("y", "M", 1)))
SHAPES = {"W": ("M", "N"), "x": ("N", 1), "y": ("M", 1), "A": ("N", "N"), "a": (), "b": (), "tau": ()}


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    out = {
        "W": rng.normal(size=(2, 3)),
        "x": rng.normal(size=(3, 1)),
        "y": rng.normal(size=(2, 1)),
        "A": rng.normal(size=(3, 3)),
    }
    return out | {"a": 0.4, "b": 1.3, "tau": 2.0}


def test_values_typed_by_hand():
    v = arrays()
    w = v["W"] @ v["x"]
    error = atom(y) - elem("tanh", atom(W) * atom(x))
    assert np.allclose(evaluate(error, v), v["y"] - np.tanh(w), rtol=1e-15, atol=1e-15)  # the same operations
    loss = scalar_power((error.T * error).trace(), Fraction(1, 2)) * param("tau", Fraction(-1, 2))
    assert evaluate(loss, v) == pytest.approx(np.linalg.norm(v["y"] - np.tanh(w)) / np.sqrt(2), rel=1e-14)  # rounding
    flat = hadamard(atom(W), atom(y) * ones("N", 1).T)
    assert np.allclose(evaluate(flat, v), v["W"] * v["y"], rtol=1e-15)  # one product
    assert np.allclose(evaluate(diagonal(atom(x)), v), np.diag(v["x"][:, 0]), rtol=1e-15)  # exact


def test_floats_agree_with_mpmath():
    v = arrays(1)
    A = atom(Atom("A", "N", "N"))
    p = inverse(A * A.T + identity("N")) * elem("erf2", A) * elem("exp", A).T + A.scale(Fraction(1, 3))
    with mpmath.workdps(40):
        exact = {n: np.array([[mpmath.mpf(float(e)) for e in row] for row in m]) for n, m in v.items() if np.ndim(m)}
        fine = evaluate(p, exact)
        again = evaluate(p * A, exact) - fine @ exact["A"]
        assert max(abs(e) for e in again.flat) < 1e-35  # 40 digits kept all the way
    assert np.abs(evaluate(p, v) - fine.astype(float)).max() < 1e-13  # float rounding, condition about 10


def test_batches_are_leading_axes():
    rng = np.random.default_rng(2)
    xs, cs = rng.normal(size=(5, 3, 1)), rng.normal(size=5)
    p = param("c") * (atom(W) * atom(x)) + atom(y)
    found = evaluate(p, {**arrays(), "x": xs, "c": cs})
    single = [evaluate(p, {**arrays(), "x": xs[i], "c": cs[i]}) for i in range(5)]
    assert np.allclose(found, single, rtol=1e-14)  # the same operations in another order


def test_activation_of_the_user_and_its_derivative():
    body = ("mul", "z", ("pow", ("add", "g", ("pow", "z", 2)), ("frac", -1, 2)))  # z / sqrt(g + z^2)
    functions = {"soft": Function(name="soft", variable="z", body=body)}
    v = {**arrays(), "g": 1.5}
    h = v["W"] @ v["x"]
    p = elem("soft", atom(W) * atom(x))
    assert np.allclose(evaluate(p, v, functions=functions), h / np.sqrt(1.5 + h**2), rtol=1e-14)  # rounding
    slope = elem("soft", atom(W) * atom(x), 1)
    assert np.allclose(evaluate(slope, v, functions=functions), 1.5 / (1.5 + h**2) ** 1.5, rtol=1e-13)  # typed by hand
    with pytest.raises(UnsupportedNode, match="soft has no body"):
        evaluate(p, v)


def test_missing_and_misfitting_values_are_named():
    with pytest.raises(InvalidSpec, match=r"x \(N x 1\) has no value"):
        evaluate(atom(W) * atom(x), {"W": np.ones((2, 3))})
    with pytest.raises(ShapeMismatch, match="x has 4 along axis 0, but N is 3"):
        evaluate(atom(W) * atom(x), {"W": np.ones((2, 3)), "x": np.ones((4, 1))})
    with pytest.raises(InvalidSpec, match="tau"):
        evaluate(param("tau"), {})


def test_two_ways_of_typing_are_one_expression():
    error = ("add", "y", ("mul", -1, ("matmul", "W", "x")))
    squared = to_poly(("trace", ("matmul", ("T", error), error)), SHAPES)
    typed = to_poly(
        ("add", ("trace", ("matmul", ("T", "y"), "y")), ("mul", -2, ("trace", ("matmul", ("T", "x"), ("T", "W"), "y"))),
         ("trace", ("matmul", "W", "x", ("T", "x"), ("T", "W")))), SHAPES
    )  # fmt: skip
    assert squared == typed


def test_roots_split_only_where_signs_allow():
    root = ("frac", 1, 2)
    ab = ("pow", ("mul", "a", "b"), root)
    assert to_poly(ab, SHAPES, positive=("a", "b")) == param("a", Fraction(1, 2)) * param("b", Fraction(1, 2))
    whole = to_poly(ab, SHAPES)
    assert evaluate(whole, {"a": -2.0, "b": -8.0}) == pytest.approx(4.0)  # not the product of two roots of negatives
    assert to_poly(("pow", ("pow", "a", 2), root), SHAPES) != param("a")
    norm = to_poly(("pow", ("trace", ("matmul", ("T", "x"), "x")), root), SHAPES)
    assert norm * norm == (atom(x).T * atom(x)).trace()


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        (("det", "A"), "no matrix-level form"),
        (("pow", "a", "b"), "exponent is not a number"),
        (("grad", "a", "W"), "gradient_flow"),
        (("matmul", "W", "Q"), "Q has no shape"),
        (("pow", ("mul", "a", "b"), ("frac", 1, 3)), "declare its symbols positive"),
    ],
)
def test_what_has_no_matrix_form_is_refused(tree, said):
    with pytest.raises((UnsupportedNode, InvalidSpec), match=said):
        to_poly(tree, SHAPES)


def test_to_sympy_and_back():
    error = atom(y) - elem("tanh", atom(W) * atom(x))
    loss = (error.T * error).trace().scale(Fraction(1, 2)) * param("tau", -1) + param("a", 2) - constant(3)
    collector = Collector()
    tree = collector.lower(to_sympy(loss), "test")
    assert to_poly(tree, collector.shapes) == loss


def test_derivatives_reach_sympy_with_their_body():
    slope = grad((atom(y).T * elem("tanh", atom(W) * atom(x))).trace(), W)
    shown = to_sympy(slope)
    assert shown.shape == (sp.Symbol("M", integer=True, positive=True), sp.Symbol("N", integer=True, positive=True))
    assert "tanh'" in str(shown)
