"""Binding real arrays and turning rates into updates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from derive import (
    InvalidSpec,
    Model,
    Moments,
    Normal,
    Rate,
    UnsupportedNode,
    as_updates,
    dims,
    dot,
    grad,
    matrix,
    norm2,
    plan,
    scalars,
    vector,
)  # fmt: skip
from derive.spec.canonical import digest


@pytest.fixture
def arrays() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(7, 3)), rng.normal(size=(7, 2))


def test_named_averages_are_those_of_the_samples(two_layer: Model, arrays: Any) -> None:
    """Roads: the values of `bind` against explicit sums over the samples."""
    X, Y = arrays
    b = two_layer.bind(x=X, y=Y)
    sums = {"Sx": (X, X), "Syx": (Y, X), "Syy": (Y, Y)}
    for name, (left, right) in sums.items():
        direct = sum(np.outer(u, w) for u, w in zip(left, right, strict=True)) / 7
        np.testing.assert_allclose(b.values[name], direct, rtol=1e-13)  # order of seven additions
    assert {n: b.values[n] for n in ("N", "O", "P")} == {"N": 3, "O": 2, "P": 7}
    np.testing.assert_array_equal(b.values["x_data"], X.T)


def test_a_bound_item_is_a_row_of_the_array(two_layer: Model, arrays: Any) -> None:
    X, Y = arrays
    b = two_layer.bind(x=X, y=Y)
    draw = b.lowered.draws[0]
    assert (draw.law, draw.symbols, draw.values) == ("Choice", ("item",), None)
    assert dict(b.lowered.let)["x"] == ("matmul", "x_data", "item")
    np.testing.assert_array_equal(b.values["x_data"] @ np.eye(7)[:, 3], X[3])


def test_opening_a_bound_model_gives_the_theory_back(two_layer: Model, arrays: Any) -> None:
    b = two_layer.bind(x=arrays[0], y=arrays[1])
    assert digest(b.lowered.opened()) == two_layer.digest != b.digest
    assert two_layer.lowered.opened() is two_layer.lowered


def test_values_take_part_in_equality(two_layer: Model, arrays: Any) -> None:
    X, Y = arrays
    assert two_layer.bind(x=X, y=Y) == two_layer.bind(x=X.tolist(), y=Y)
    assert two_layer.bind(x=X, y=Y) != two_layer.bind(x=X + 1, y=Y)


def test_scalar_targets_and_mixed_averages() -> None:
    """Roads: the sample-by-sample evaluator against NumPy on whole arrays."""
    N = dims("N")
    w, x, b, y, L = vector("w", N), vector("x", N), vector("b", N), *scalars("y L")
    c, k = scalars("c k")
    m = Model(
        name="m", state=w, data=Moments((x, y), {x * x.T: matrix("Sx", N, N), y * x: b, y**2: c, dot(x, x) * y: k}),
        let={L: (y - dot(w, x)) ** 2}, learn=Rate({w: -grad(L, w)}),
    )  # fmt: skip
    rng = np.random.default_rng(1)
    X, Y = rng.normal(size=(600, 4)), rng.normal(size=600)
    values = m.bind(x=X, y=Y).values
    np.testing.assert_allclose(values["b"][:, 0], X.T @ Y / 600, rtol=1e-12)  # rounding of 600 additions
    np.testing.assert_allclose(values["c"], np.mean(Y**2), rtol=1e-12)
    np.testing.assert_allclose(values["k"], np.mean((X**2).sum(1) * Y), rtol=1e-10)  # sum with cancellation
    assert values["b"].shape == (4, 1)


def bad(X: np.ndarray, **changes: Any) -> np.ndarray:
    out = X.copy()
    out[2, 1] = changes["entry"]
    return out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda X, Y: {"x": X}, ("y has no array", "joint")),
        (lambda X, Y: {"x": X, "Y": Y}, ("Y", "did you mean y")),
        (lambda X, Y: {"x": X, "y": Y[:-1]}, ("7 samples", "6")),
        (lambda X, Y: {"x": bad(X, entry=np.nan), "y": Y}, ("x[2, 1] is nan",)),
        (lambda X, Y: {"x": X, "y": bad(Y, entry=np.inf)}, ("y[2, 1] is inf",)),
        (lambda X, Y: {"x": X.astype(str), "y": Y}, ("astype(float)",)),
        (lambda X, Y: {"x": X + 0j, "y": Y}, ("complex", "astype(float)")),
        (lambda X, Y: {"x": "items.npy", "y": Y}, ("str",)),
        (lambda X, Y: {"x": [[1, 2], [3]], "y": Y}, ("ragged",)),
        (lambda X, Y: {"x": X[:, :, None], "y": Y}, ("3 axes", "flatten")),
        (lambda X, Y: {"x": X[:, 0], "y": Y}, ("1 axes", "reshape")),
        (lambda X, Y: {"x": X[:1], "y": Y[:1]}, ("1 samples",)),
        (lambda X, Y: {"x": np.ones_like(X), "y": Y}, ("x is constant",)),
        (lambda X, Y: {"x": X, "y": 0 * Y}, ("y is constant",)),
        (lambda X, Y: {"x": X[:, :0], "y": Y}, ("0 columns",)),
        (lambda X, Y: {"x": 1e200 * X, "y": Y}, ("overflows", "rescale")),
        (lambda X, Y: {"x": np.ma.masked_greater(X, 0.5), "y": Y}, ("masked",)),
    ],
)
def test_unfit_arrays_are_refused(two_layer: Model, arrays: Any, change: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(InvalidSpec) as caught:
        two_layer.bind(**change(*arrays))
    for word in words:
        assert word in str(caught.value)


def test_only_open_laws_are_bound(committee: Model, two_layer: Model, arrays: Any) -> None:
    with pytest.raises(InvalidSpec, match="no open law"):
        committee.bind(x=arrays[0])
    with pytest.raises(InvalidSpec, match="no open law"):
        two_layer.bind(x=arrays[0], y=arrays[1]).bind(x=arrays[0], y=arrays[1])


def test_names_of_the_user_are_left_alone(arrays: Any) -> None:
    N = dims("N")
    w, x, item, x_data = vector("w", N), vector("x", N), vector("item", N), vector("x_data", N)
    m = Model(
        name="m",
        state=w,
        given=(item, x_data),
        data=Moments(x, {x * x.T: matrix("P", N, N)}),
        learn=Rate({w: x - w + item + x_data}),
    )
    b = m.bind(x=arrays[0])
    assert b.lowered.draws[0].symbols == ("item1",)
    assert "x_data1" in b.values
    assert b.values["P"].shape == (3, 3)
    assert b.values["P1"] == 7


def test_a_rate_becomes_an_update(two_layer: Model) -> None:
    eta = scalars("eta", positive=True)
    u = as_updates(two_layer, eta, batch=8)
    assert u.lowered.given == ("tau", "eta")
    assert (u.lowered.rule.dt, u.lowered.rule.batch) == ("eta", 8)
    assert u.lowered.rule.blocks[0][0] == ("W1", ("add", "W1", ("mul", -1, "eta", ("pow", "tau", -1), ("grad", "L", "W1"))))
    assert plan(as_updates(two_layer, sp.Rational(1, 3)))["rule"]["dt"] == ["frac", 1, 3]


def test_values_stay_with_the_updates(two_layer: Model, arrays: Any) -> None:
    b = two_layer.bind(x=arrays[0], y=arrays[1])
    assert as_updates(b, 0.01).values.keys() == b.values.keys()


def test_noise_becomes_a_draw_of_the_square_root_of_the_step() -> None:
    N = dims("N")
    w, x, T = vector("w", N), vector("x", N), scalars("T", positive=True)
    m = Model(name="m", state=w, given=T, data=Normal(x), learn=Rate({w: x - w}, noise={w: sp.sqrt(2 * T)}))
    u = as_updates(m, 0.25).lowered
    assert u.draws[-1].symbols == ("xi_w",)
    assert "dw/dt" in str(m)
    (_, tree), *_ = u.rule.blocks[0]
    noise = next(term for term in tree[1:] if "xi_w" in str(term))
    assert noise[1] == ("frac", 1, 2)  # sqrt(1/4)


@pytest.mark.parametrize("eta", [0, -0.1, 1 / 3, "eta", np.nan])
def test_a_step_size_is_a_positive_number_or_symbol(two_layer: Model, eta: Any) -> None:
    with pytest.raises(InvalidSpec, match=r"eta|Rational"):
        as_updates(two_layer, eta)


def test_updates_are_not_rewritten(committee: Model) -> None:
    with pytest.raises(UnsupportedNode, match="no rewriting"):
        as_updates(committee, 0.1)
    assert norm2 is not None
