"""Layouts: packing and unpacking are inverse, and every error names symbol, axis and sizes."""

import numpy as np
import pytest
import sympy as sp

from codegen import Layout, compile
from derive.errors import InvalidSpec, ShapeMismatch
from derive.system import Block
from tests.codegen import flows

STATE = (Block(name="W", shape=("K", "N")), Block(name="c"), Block(name="x", shape=("N", 1)))
VALUES = {"W": np.arange(6.0).reshape(2, 3), "c": 7.0, "x": np.array([[8.0], [9.0], [10.0]])}


def test_pack_and_unpack_are_inverse():
    layout = Layout.of(STATE, VALUES)
    y = layout.pack(VALUES)
    assert layout.size == 10
    assert layout.sizes == (("K", 2), ("N", 3))
    back = layout.unpack(y)
    assert all(np.array_equal(back[n], v) for n, v in VALUES.items())
    assert np.shape(back["c"]) == ()


def test_leading_axes_such_as_time_stay_in_front():
    layout = Layout.of(STATE, VALUES)
    back = layout.unpack(np.tile(layout.pack(VALUES), (5, 1)))
    assert back["W"].shape == (5, 2, 3)
    assert back["c"].shape == (5,)


def test_symbols_are_accepted_as_keys():
    N, K = sp.symbols("N K", integer=True, positive=True)
    keys = {sp.MatrixSymbol("W", K, N): VALUES["W"], sp.Symbol("c"): 7.0, sp.MatrixSymbol("x", N, 1): VALUES["x"]}
    assert np.array_equal(Layout.of(STATE, keys).pack(keys), Layout.of(STATE, VALUES).pack(VALUES))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": np.ones((4, 1))}, ShapeMismatch, r"x: axis 0 is N = 3 \(axis 1 of W\), but the array has shape \(4, 1\), so 4"),
        ({"x": np.ones(3)}, ShapeMismatch, r"x: expected an array of shape \(N, 1\), got .* \(3,\); write x\[:, None\]"),
        ({"c": np.ones(2)}, ShapeMismatch, "c: expected a number"),
        ({"x": np.ones((3, 2))}, ShapeMismatch, "x: axis 1 is 1 = 1 .by declaration."),
        ({"V": 1.0}, InvalidSpec, "'V' is no state or parameter"),
        ({"xx": 1.0}, InvalidSpec, "did you mean 'x'"),
    ],
)
def test_wrong_values_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        Layout.of(STATE, {**VALUES, **change})


def test_a_missing_state_is_named():
    with pytest.raises(InvalidSpec, match=r"no initial value for c; give one array for each of W, c, x"):
        Layout.of(STATE, {n: v for n, v in VALUES.items() if n != "c"})


def test_a_state_of_another_shape_is_refused_by_pack_and_unpack():
    layout = Layout.of(STATE, VALUES)
    with pytest.raises(ShapeMismatch, match=r"W: the layout has shape \(2, 3\), the array has shape \(3, 2\)"):
        layout.pack({**VALUES, "W": np.ones((3, 2))})
    with pytest.raises(ShapeMismatch, match="length 10"):
        layout.unpack(np.ones(9))


def test_arguments_are_checked_by_name_value_and_size():
    kernel = compile(flows.deep_linear(2), "numpy")
    good = {"Sx": np.eye(3), "Syx": np.ones((2, 3)), "Syy": np.eye(2), "tau": 2}
    args = kernel.arguments(good)
    assert [np.shape(a) for a in args] == [(3, 3), (2, 3), (2, 2), ()]
    assert all(a.dtype == np.float64 and a.flags.c_contiguous for a in args[:3])
    assert args[0] is not good["Sx"]  # a copy: later changes of the user's array do not reach the kernel
    cases = [
        ({"tua": 2.0}, InvalidSpec, "'tua' is no parameter of this system; did you mean 'tau'"),
        ({"tau": np.nan}, InvalidSpec, "parameter tau is NaN"),
        ({"Sx": np.array([[1.0, 0, 0], [0, np.nan, 0], [0, 0, 1]])}, InvalidSpec, r"parameter Sx\[1, 1\] is NaN"),
        ({"tau": np.ones(2)}, ShapeMismatch, "tau is a number"),
        ({"tau": "fast"}, InvalidSpec, "tau: str is not made of real numbers"),
        ({"Sx": np.eye(4)}, ShapeMismatch, r"Syx: axis 1 is N0 = 4 \(axis 0 of Sx\)"),
    ]
    for change, error, message in cases:
        with pytest.raises(error, match=message):
            kernel.arguments({**good, **change})
    with pytest.raises(InvalidSpec, match="no value for parameter tau; this system needs Sx, Syx, Syy, tau"):
        kernel.arguments({n: v for n, v in good.items() if n != "tau"})
    layout = kernel.layout({"W1": np.ones((4, 3)), "W2": np.ones((2, 4))})
    wrong = kernel.layout({"W1": np.ones((4, 5)), "W2": np.ones((2, 4))})
    assert kernel.flat_rhs(layout, args)(0.0, np.ones(20)).shape == (20,)
    with pytest.raises(ShapeMismatch, match=r"Sx: axis 0 is N0 = 5 \(the state\)"):
        kernel.flat_rhs(wrong, args)


def test_the_flat_right_hand_side_is_the_packed_one():
    for backend in ("numpy", "numba"):
        kernel = compile(flows.deep_linear(2), backend)
        rng = np.random.default_rng(5)
        state = {"W1": rng.standard_normal((4, 3)), "W2": rng.standard_normal((2, 4))}
        args = kernel.arguments({"Sx": np.eye(3), "Syx": rng.standard_normal((2, 3)), "Syy": np.eye(2), "tau": 1.0})
        layout = kernel.layout(state)
        y = layout.pack(state)
        want = layout.pack(dict(zip(layout.names, kernel.rhs(0.0, *state.values(), *args), strict=True)))
        f = kernel.flat_rhs(layout, args)
        assert np.array_equal(f(0.0, y), want)
        assert np.array_equal(f(0.0, np.repeat(y, 2)[::2]), want)  # a strided view, as integrators pass
        assert f(0.0, y) is not f(0.0, y)
        assert kernel.flat_observables(layout, args)(0.0, y).keys() == {"loss"}
