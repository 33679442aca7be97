"""The lambda-balanced two-layer network: Riccati form, its solution through Q, one mode, and the tangent kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

import derive
from derive.errors import InvalidSpec, NoClosedForm, NotInvariant, UnsupportedNode
from derive.reductions.ansatz import Gram, LambdaBalanced, Modes
from derive.reductions.riccati import riccati_form
from derive.reductions.riccati_value import balanced_blocks, riccati_path, square_root, tangent_kernel

LAM = sp.Symbol("lam", real=True)


@pytest.fixture(scope="module")
def flow() -> Any:
    return derive.gradient_flow(derive.linear_network(depth=2))


def start(lam: float, sizes: tuple[int, int, int], seed: int = 3, scale: float = 0.3) -> tuple[Any, Any, Any]:
    """Balanced weights and a correlation with singular values of order one."""
    rng = np.random.default_rng(seed)
    i, h, o = sizes
    w1, w2 = balanced_blocks(scale * rng.normal(size=(h, i)), scale * rng.normal(size=(o, h)), lam)
    return w1, w2, rng.normal(size=(o, i))


def full_flow(w1: Any, w2: Any, s: Any, times: Any) -> tuple[Any, Any]:
    """W1(t), W2(t) by DOP853 on the weights; written here, nothing of the engine in it."""
    h, i, o = w1.shape[0], w1.shape[1], w2.shape[0]

    def rate(_: float, y: Any) -> Any:
        a, b = y[: h * i].reshape(h, i), y[h * i :].reshape(o, h)
        e = s - b @ a
        return np.concatenate([(b.T @ e).ravel(), (e @ a.T).ravel()])

    y = solve_ivp(rate, (0, times[-1]), np.concatenate([w1.ravel(), w2.ravel()]), "DOP853", times, rtol=1e-12, atol=1e-13).y.T
    return y[:, : h * i].reshape(-1, h, i), y[:, h * i :].reshape(-1, o, h)


def gram(w1: Any, w2: Any) -> Any:
    q = np.concatenate([np.swapaxes(w1, -1, -2), w2], axis=-2)
    return q @ np.swapaxes(q, -1, -2)


def test_the_form_is_found_from_the_rule_alone(flow: Any) -> None:
    """Roads: linear equations over words; the blocks known from the literature."""
    form = riccati_form(flow, LAM)
    shown = [[str(p) for p in row] for row in form.blocks]
    assert shown == [["-1/2*lam*I", "Syx'"], ["Syx", "1/2*lam*I"]]
    assert str(form.rate) == "1/tau"


@pytest.mark.parametrize("lam", [-3.0, -0.5, 0.0, 0.5, 3.0])
@pytest.mark.parametrize("sizes", [(4, 4, 4), (5, 3, 4)])
def test_closed_form_follows_the_weights(flow: Any, lam: float, sizes: tuple[int, int, int]) -> None:
    """Roads: closed form through the semigroup; DOP853 on the weights. Q Q' and the tangent kernel."""
    w1, w2, s = start(lam, sizes)
    times = np.array([0.0, 0.3, 1.0, 3.0, 12.0])
    reduction = derive.reduce(flow, (LambdaBalanced(lam), Gram()))
    form = derive.closed_form(reduction)
    values = {"Syx": s, "tau": 1.0}
    assert reduction.parameters_from is not None
    assert reduction.project_state is not None
    assert form.evaluate is not None
    begin = reduction.project_state(values, {"W1": w1, "W2": w2})
    found = form.evaluate(times, begin, reduction.parameters_from(values))["M"]
    a, b = full_flow(w1, w2, s, times)
    assert np.abs(found - gram(a, b)).max() < 1e-9  # a thousand times the rtol of the integration
    x = np.random.default_rng(1).normal(size=(sizes[0], 6))
    i = sizes[0]
    kernel = np.array([kron_kernel(m[:i, :i], m[i:, i:], x) for m in found])
    assert np.abs(kernel - tangent_kernel(a, b, x)).max() < 1e-7  # the same, times |X|^2 of about 50


def kron_kernel(hidden: Any, out: Any, x: Any) -> Any:
    """I (x) X'W1'W1 X + W2 W2' (x) X'X from blocks of Q Q'."""
    return np.kron(np.eye(len(out)), x.T @ hidden @ x) + np.kron(out, x.T @ x)


@pytest.mark.parametrize("sizes", [(6, 2, 5), (3, 7, 2)])
def test_rank_deficient_problems_at_late_times(sizes: tuple[int, int, int]) -> None:
    """Roads: semigroup at t = 500 with a singular F; the fixed point known by SVD (best approximation of the rank)."""
    w1, w2, s = start(0.0, sizes, scale=0.05)
    s = s * 3 / np.linalg.norm(s, 2)
    rows, cols = s.shape
    f = np.block([[np.zeros((cols, cols)), s.T], [s, np.zeros((rows, rows))]])
    q = riccati_path([500.0], np.concatenate([w1.T, w2]), f)[0]
    u, d, v = np.linalg.svd(s)
    k = min(sizes)
    assert np.abs(q[cols:] @ q[:cols].T - (u[:, :k] * d[:k]) @ v[:k]).max() < 1e-9  # rounding over 200 steps


def test_the_printed_bracket_fails_where_the_semigroup_does_not() -> None:
    """Roads: semigroup and DOP853 agree at t = 20, the formula as printed does not: why it is never used for numbers."""
    w1, w2, s = start(0.0, (4, 3, 4), scale=0.01)
    s = s * 3 / np.linalg.norm(s, 2)
    f = np.block([[np.zeros((4, 4)), s.T], [s, np.zeros((4, 4))]])
    q0, t = np.concatenate([w1.T, w2]), 20.0
    w, v = np.linalg.eigh(f)
    e, p = (v * np.exp(w * t)) @ v.T, (v * np.expm1(2 * w * t) / (2 * w)) @ v.T
    direct = e @ q0 @ np.linalg.inv(np.eye(3) + q0.T @ p @ q0) @ q0.T @ e
    q = riccati_path([t], q0, f)[0]
    a, b = full_flow(w1, w2, s, np.array([0.0, t]))
    assert np.abs(q @ q.T - gram(a, b)[-1]).max() < 1e-8  # growth by e^60 of the rtol is cut at the fixed point
    assert not np.abs(direct - q @ q.T).max() < 0.05  # wrong in the leading digits


def test_without_the_balance_there_is_no_form() -> None:
    """Mutants: different time constants (no balance lasts); a decay (the balance relaxes); three layers."""
    from derive.matrices.poly import atom
    from derive.matrices.words import Atom
    from derive.system import Block, Flow

    w1, w2, s = (atom(Atom(*x)) for x in (("W1", "h", "i"), ("W2", "o", "h"), ("S", "o", "i")))
    e = s - w2 * w1
    blocks = (Block(name="W1", shape=("h", "i")), Block(name="W2", shape=("o", "h")))
    parameters = (Block(name="S", shape=("o", "i")),)

    def of(first: Any, second: Any) -> Any:
        return Flow(name="two layers", state=blocks, rhs={"W1": first, "W2": second}, parameters=parameters)

    assert riccati_form(of(w2.T * e, e * w1.T), sp.Integer(1)).rate
    with pytest.raises(NotInvariant, match="one time constant"):
        riccati_form(of(w2.T * e, (e * w1.T).scale(2)), sp.Integer(0))
    with pytest.raises(NotInvariant, match="no balance lasts"):
        riccati_form(of(w2.T * e - w1, e * w1.T - w2), LAM)
    decaying = of(w2.T * e - w1, e * w1.T - w2)  # keeps only lam = 0
    assert [[str(p) for p in row] for row in riccati_form(decaying, sp.Integer(0)).blocks] == [["-I", "S'"], ["S", "-I"]]
    speed = (w1 * w1.T).trace()  # the balance lasts, but F would depend on the state
    with pytest.raises(NotInvariant, match="Integrate the full flow"):
        riccati_form(of(speed * (w2.T * e), speed * (e * w1.T)), sp.Integer(0))
    with pytest.raises(UnsupportedNode, match="Use Modes"):
        derive.reduce(derive.gradient_flow(derive.linear_network(depth=3)), LambdaBalanced(0))


@pytest.mark.parametrize("lam", [-3.0, -0.5, 0.0, 0.5, 3.0])
@pytest.mark.parametrize("u0", [1e-8, 0.3, 4.0])
def test_a_mode_from_every_side(flow: Any, lam: float, u0: float) -> None:
    """Roads: closed form of u; DOP853 on the two factors a, b of the mode. Starts below and above s."""
    reduction = derive.reduce(flow, (Modes(white=True), LambdaBalanced(lam)))
    form = derive.closed_form(reduction)
    assert form.evaluate is not None
    times, s = np.array([0.0, 0.2, 1.0, 3.0]), 1.3
    got = form.evaluate(times, {"u": u0}, {"s": s, "tau": 1.0})["u"]
    root = np.hypot(lam, 2 * u0)
    ab = np.sqrt([(root - lam) / 2, (root + lam) / 2])
    if lam:  # the small factor without cancellation
        ab[int(lam < 0)] = u0 / ab[int(lam > 0)]

    def rate(_: float, y: Any) -> Any:
        return y[::-1] * (s - y[0] * y[1])

    path = solve_ivp(rate, (0, 3), ab, "DOP853", times, rtol=1e-13, atol=1e-18).y
    wanted = path[0] * path[1]
    assert np.abs((got - wanted) / np.maximum(wanted, abs(lam))).max() < 1e-9  # for lam = 0 relative also at 1e-8


def test_a_mode_at_extreme_times(flow: Any) -> None:
    form = derive.closed_form(derive.reduce(flow, (Modes(white=True), LambdaBalanced(0.5))))
    assert form.evaluate is not None
    late = form.evaluate([1e6], {"u": [1e-9, -2.0]}, {"s": [1.0, 2.5], "tau": 1.0})["u"]
    assert np.abs(late - [[1.0, 2.5]]).max() < 1e-12  # the fixed point, to rounding


def test_symbolic_balance_reaches_both_known_limits(flow: Any) -> None:
    """Roads: the derived rate; the sigmoid rate at lam = 0 and the linear one |lam| (s - u) for large lam."""
    system = derive.reduce(flow, (Modes(white=True), LambdaBalanced(LAM))).system
    from derive.reductions.scalar import to_scalar, value

    rate = to_scalar(system).rhs[0]
    at = {"u": 0.4, "s": 1.1, "tau": 2.0}
    assert value(rate, {**at, "lam": 0.0}) == pytest.approx(2 * 0.4 * 0.7 / 2, rel=1e-14)  # rounding
    assert value(rate, {**at, "lam": -1e6}) == pytest.approx(1e6 * 0.7 / 2, rel=1e-12)  # next order (u/lam)^2


@pytest.mark.parametrize("lam", [-0.7, 0.0, 1.2])
@pytest.mark.parametrize("sizes", [(4, 3, 3), (3, 3, 5), (2, 2, 2)])
def test_balanced_blocks_are_balanced(lam: float, sizes: tuple[int, int, int]) -> None:
    w1, w2, _ = start(lam, sizes)
    assert np.abs(w2.T @ w2 - w1 @ w1.T - lam * np.eye(sizes[1])).max() < 1e-14  # rounding of an SVD


def test_wide_hidden_layers_can_only_be_balanced_at_zero() -> None:
    w1, w2, _ = start(0.0, (2, 6, 3))
    assert np.abs(w2.T @ w2 - w1 @ w1.T).max() < 1e-15  # entries of order 0.1
    with pytest.raises(InvalidSpec, match="take at most 3 hidden units"):
        start(0.5, (2, 6, 3))
    with pytest.raises(InvalidSpec, match="take at most 2 hidden units"):
        start(-0.5, (2, 6, 3))


def test_the_kernel_moves_less_for_larger_balance() -> None:
    """Lazy learning for large |lam|: the tangent kernel turns by an angle that vanishes."""
    x, moved = np.eye(4), []
    for lam in (0.0, 1.0, 10.0, 100.0):
        w1, w2, s = start(lam, (4, 3, 4), scale=0.5)
        s = s / np.linalg.norm(s, 2)
        f = np.block([[-lam / 2 * np.eye(4), s.T], [s, lam / 2 * np.eye(4)]])
        m = [q @ q.T for q in riccati_path([0.0, 20.0], np.concatenate([w1.T, w2]), f)]
        first, last = (kron_kernel(g[:4, :4], g[4:, 4:], x) for g in m)
        moved.append(1 - np.sum(first * last) / np.linalg.norm(first) / np.linalg.norm(last))
    assert moved[0] > moved[1] > moved[2] > moved[3]
    assert moved[2] < 0.2 * moved[0]
    assert moved[3] < 0.002


def test_one_jump_equals_many_steps() -> None:
    """The semigroup property: Q(3) from 0 equals Q(3) through Q(1.1), at unequal speeds of both terms."""
    rng = np.random.default_rng(8)
    f = rng.normal(size=(5, 5))
    f, q0 = f + f.T, rng.normal(size=(5, 2))
    once = riccati_path([3.0], q0, f, 0.7, 1.9)[0]
    middle = riccati_path([1.1], q0, f, 0.7, 1.9)[0]
    twice = riccati_path([1.9], middle, f, 0.7, 1.9)[0]
    assert np.abs(once @ once.T - twice @ twice.T).max() < 1e-11  # rounding of a few steps
    slope = (gram_at(1e-7, q0, f) - q0 @ q0.T) / 1e-7
    m = q0 @ q0.T
    assert np.abs(slope - (0.7 * (f @ m + m @ f) - 1.9 * m @ m)).max() < 1e-3  # one-sided difference, curvature of order 1e4


def gram_at(t: float, q0: Any, f: Any) -> Any:
    q = riccati_path([t], q0, f, 0.7, 1.9)[0]
    return q @ q.T


def test_refusals_say_what_to_do(flow: Any) -> None:
    with pytest.raises(InvalidSpec, match="one SymPy symbol"):
        LambdaBalanced("0.5")
    with pytest.raises(NoClosedForm, match=r"Gram\(\)"):
        derive.closed_form(derive.reduce(flow, LambdaBalanced(0)))
    with pytest.raises(NoClosedForm, match="LambdaBalanced"):
        derive.closed_form(flow)
    with pytest.raises(UnsupportedNode, match="LambdaBalanced"):
        derive.reduce(flow, Gram())
    with pytest.raises(InvalidSpec, match="not symmetric"):
        riccati_path([1.0], np.eye(2), np.array([[0.0, 1.0], [0.0, 0.0]]))
    with pytest.raises(InvalidSpec, match="forwards"):
        riccati_path([-1.0], np.eye(2), np.eye(2))
    with pytest.raises(InvalidSpec, match="no Gram matrix"):
        square_root(np.diag([1.0, -1.0]))
