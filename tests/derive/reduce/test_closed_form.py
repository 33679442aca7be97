"""Closed forms: against high-accuracy integration of the same scalar equation, at extreme values, and refusals."""

from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

from derive.errors import CheckFailed, NoClosedForm
from derive.indices.indexed import Index, Node, arr
from derive.solutions.closed_check import check_explicit, check_implicit
from derive.solutions.closed_implicit import antiderivative
from derive.solutions.solve import closed_form
from derive.system import Block, Flow

I = Index("i", "r")
A, B, S, D, U = (arr(n, I) for n in ("a", "b", "s", "d", "u"))
TAU = arr("tau")
TIMES = np.linspace(0, 8, 33)


def flow(name: str = "mode", **rhs: Node) -> Flow:
    return Flow(name=name, state=tuple(Block(name=n, shape=("r",), indices=(I,)) for n in rhs), rhs=rhs)


def integrated(f, start, times=TIMES):
    """The second road: SciPy's DOP853 at rtol 1e-12."""
    out = solve_ivp(
        lambda t, y: f(y), (0, times[-1]), np.atleast_1d(start), t_eval=times, method="DOP853", rtol=1e-12, atol=1e-30
    )
    assert out.success
    return out.y


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("start", [1e-2, 0.3, 2.7])
def test_balanced_mode_of_any_depth(depth, start):
    rate = U ** (2 - Fraction(2, depth)) * (S - U * D) * depth / TAU
    form = closed_form(flow(u=rate))
    s, d, tau = 1.3, 0.8, 1.7
    got = form.evaluate(TIMES, {"u": start}, {"s": s, "d": d, "tau": tau})["u"]
    reference = integrated(lambda u: depth * u ** (2 - 2 / depth) * (s - d * u) / tau, start)[0]
    assert got.shape == TIMES.shape
    assert np.max(np.abs(got / reference - 1)) <= 1e-8  # rtol 1e-12 of the reference times growth by up to 1e2
    assert form.kind == ("explicit" if depth <= 2 else "implicit")
    assert "60 digits" in form.checked


def test_modes_run_side_by_side():
    form = closed_form(flow(u=2 * U * (S - U * D)))
    start, s, d = np.array([1e-3, 0.1, 0.5]), np.array([2.0, 1.0, 0.5]), np.array([1.0, 2.0, 0.3])
    got = form.evaluate(TIMES, {"u": start}, {"s": s, "d": d})["u"]
    assert got.shape == (len(TIMES), 3)
    for k in range(3):
        one = form.evaluate(TIMES, {"u": start[k]}, {"s": s[k], "d": d[k]})["u"]
        np.testing.assert_array_equal(got[:, k], one)  # the same arithmetic


def test_logistic_as_printed():
    form = closed_form(flow(u=2 * U * (S - U * D) / TAU))
    u0, t = form.initial["u"], form.time
    s, d, tau = (sp.Symbol(n, real=True) for n in ("s", "d", "tau"))
    known = s / d / (1 - (1 - s / (d * u0)) * sp.exp(-2 * s * t / tau))  # the sigmoid of the two-layer mode
    assert sp.cancel(sp.together(form.solution["u"] / known)) == 1


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("start", [1e-300, 1e-12, 0.999999, 5.0])
def test_extreme_starts_and_times(depth, start):
    form = closed_form(flow(u=U ** (2 - Fraction(2, depth)) * (S - U) * depth))
    times = np.array([0.0, 1e-8, 1.0, 1e2, 1e4, 1e8])
    got = form.evaluate(times, {"u": start}, {"s": 1.0})["u"]
    assert np.all(np.isfinite(got))
    assert got[0] == pytest.approx(start, rel=1e-15)  # the start itself
    moves = np.diff(got) * np.sign(1.0 - start)
    assert np.all(moves >= -4e-16)  # monotone up to rounding
    if start > 1e-13 or depth <= 2:  # small starts of deep modes wait longer than 1e8
        assert got[-1] == pytest.approx(1.0, rel=1e-12)


def test_escape_time_from_tiny_start_of_depth_three():
    # two roads: leading asymptotics of t(u) at both ends, t = u0^{-1/3} + O(1) for s = 1, against the inverted form
    form = closed_form(flow(u=3 * U ** Fraction(4, 3) * (S - U)))
    t = 1e4
    before, after = form.evaluate(np.array([0.99 * t, 1.01 * t]), {"u": 1e-12}, {"s": 1.0})["u"]
    assert before < 1e-5  # 1 % before the escape u ~ (0.01 t)^{-3}
    assert after > 0.999


@pytest.mark.parametrize("s", [0.0, 1e-17, 1e-3])
def test_modes_without_signal_decay(s):
    form = closed_form(flow(u=3 * U ** Fraction(4, 3) * (S - U)))
    got = form.evaluate(TIMES, {"u": 0.7}, {"s": s})["u"]
    reference = integrated(lambda u: 3 * u ** (4 / 3) * (s - u), 0.7)[0]
    assert np.max(np.abs(got / reference - 1)) <= 1e-9  # rtol 1e-12, no growth
    assert np.all(form.evaluate(TIMES, {"u": 0.0}, {"s": s})["u"] == 0)


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize(
    "start", [(1.1, 0.2), (0.2, 1.1), (0.4, 0.4), (-0.5, 0.3), (0.3, -0.5), (0.4, -0.4), (-0.2, -0.6), (2.0, 1.9)]
)
def test_unbalanced_two_layers(factor, start):
    residual = (S - A * B * D) * factor
    form = closed_form(flow(a=B * residual / TAU, b=A * residual / TAU))
    s, d, tau = 1.2, 0.7, 1.4
    got = form.evaluate(TIMES, {"a": start[0], "b": start[1]}, {"s": s, "d": d, "tau": tau})
    reference = integrated(lambda y: factor * y[::-1] * (s - d * y[0] * y[1]) / tau, start)
    if start == (0.4, -0.4):  # the stable direction of the saddle: rounding of the reference grows by e^{2st/tau}
        reference = reference[:, :9]
    for k, name in enumerate("ab"):
        assert np.max(np.abs(got[name][: reference.shape[1]] - reference[k])) <= 1e-8  # rtol 1e-12, growth below 1e3


def test_unbalanced_two_layers_with_own_rates_and_names():
    p, q, c, g, tp, tq = (arr(n) for n in ("p", "q", "c", "g", "tp", "tq"))
    system = Flow(
        name="pair",
        state=(Block(name="p"), Block(name="q")),
        rhs={"p": q * (c - g * p * q) / tp, "q": p * (c - g * p * q) / tq},
    )
    got = closed_form(system).evaluate(TIMES, {"p": 0.9, "q": 0.1}, {"c": 1.1, "g": 0.6, "tp": 0.5, "tq": 2.0})
    reference = integrated(lambda y: y[::-1] * (1.1 - 0.6 * y[0] * y[1]) / np.array([0.5, 2.0]), (0.9, 0.1))
    assert np.max(np.abs(got["p"] - reference[0])) <= 1e-8  # rtol 1e-12, growth below 1e3
    assert np.max(np.abs(got["q"] - reference[1])) <= 1e-8  # the same


def test_unbalanced_saturates_at_late_times():
    form = closed_form(flow(a=B * (S - A * B), b=A * (S - A * B)))
    got = form.evaluate(
        np.array([0.0, 1e5]),
        {"a": np.array([1e-9, 3.0, 1e-9]), "b": np.array([2e-9, 0.0, 1.0])},
        {"s": np.array([1.0, 2.0, 0.0])},
    )
    u = got["a"] * got["b"]
    np.testing.assert_allclose(u[1], [1.0, 2.0, 0.0], atol=1e-13)  # rounding
    c = got["a"] ** 2 - got["b"] ** 2
    np.testing.assert_allclose(c[1], c[0], atol=1e-14)  # the conserved quantity, rounding of numbers of order 1..9


def test_quadratic_with_constant():
    form = closed_form(flow(u=S + U - D * U**2))
    got = form.evaluate(TIMES, {"u": 0.1}, {"s": 0.4, "d": 1.5})["u"]
    reference = integrated(lambda u: 0.4 + u - 1.5 * u**2, 0.1)[0]
    assert np.max(np.abs(got / reference - 1)) <= 1e-9  # rtol 1e-12, no growth


def test_bernoulli_and_single_powers():
    for rate, f in ((S * U - D * U**3, lambda u: 0.4 * u - 1.5 * u**3), (-D * U**3, lambda u: -1.5 * u**3)):
        got = closed_form(flow(u=rate)).evaluate(TIMES, {"u": 0.1}, {"s": 0.4, "d": 1.5})["u"]
        assert np.max(np.abs(got / integrated(f, 0.1)[0] - 1)) <= 1e-9  # rtol 1e-12, growth below 1e2


def test_blow_up_is_not_a_number_afterwards():
    got = closed_form(flow(u=U**2)).evaluate(np.array([0.5, 2.0]), {"u": 1.0}, {})["u"]
    assert got[0] == pytest.approx(2.0, rel=1e-14)  # 1/(1-t)
    assert np.isnan(got[1])


def test_decoupled_states_are_solved_one_by_one():
    form = closed_form(flow(a=A * (S - A), b=S - B * D))
    assert sorted(form.solution) == ["a", "b"]


@pytest.mark.parametrize(
    ("rhs", "remedy"),
    [
        ({"u": U**2 + U**3 + U**4}, "tegrate"),
        ({"a": B, "b": A**2}, "tegrate"),
        ({"a": B * S, "b": A * U, "u": A * B}, "Balanced"),
    ],
)
def test_unknown_shapes_are_refused_with_a_remedy(rhs, remedy):
    with pytest.raises(NoClosedForm, match=remedy):
        closed_form(flow(**rhs))


def test_a_wrong_proposal_is_caught():
    u, u0, s, t = sp.Symbol("u"), sp.Symbol("u0"), sp.Symbol("s"), sp.Symbol("t")
    wrong = s / (1 - (1 - s / u0) * sp.exp(-3 * s * t))  # factor 3 in place of 2
    with pytest.raises(CheckFailed, match="residual"):
        check_explicit(
            "mode",
            {u: wrong},
            {u: 2 * u * (s - u)},
            {u: u0},
            t,
            lambda t, x, p: {"u": [float(wrong.subs({u0: x["u"], "s": p["s"], "t": t[0]}))]},
        )
    late = antiderivative(u, -1, 1) - antiderivative(u0, -1, 1) + u - u0  # an extra term in t(u)
    with pytest.raises(CheckFailed):
        check_implicit("mode", u, u0, late, u * (1 - u), lambda t, x, p: {"u": [0.0]})


@pytest.mark.parametrize(("e", "n"), [(-1, 1), (-2, 3), (-3, 4), (-4, 5), (-7, 4), (0, 3), (2, 5), (-1, 6), (5, 3)])
def test_antiderivative_differentiated_back(e, n):
    x = sp.Symbol("x")
    rate = sp.diff(antiderivative(x, e, n).replace(sp.Abs, lambda z: z), x)
    for point in (sp.Rational(3, 7), sp.Rational(9, 5)):
        gap = (rate - x**e / (1 - x**n)).xreplace({x: point}).evalf(50)
        assert abs(gap) < 1e-45  # 50 digits carried


@pytest.mark.parametrize(("p", "g"), [(Fraction(3, 2), 2), (Fraction(1, 2), 1), (2, 1), (Fraction(4, 3), Fraction(1, 2))])
def test_other_pairs_of_powers(p, g):
    got = closed_form(flow(u=U**p * (S - D * U**g))).evaluate(TIMES, {"u": np.array([0.05, 3.0])}, {"s": 1.2, "d": 0.9})["u"]
    reference = integrated(lambda u: u ** float(p) * (1.2 - 0.9 * u ** float(g)), [0.05, 3.0])
    assert np.max(np.abs(got / reference.T - 1)) <= 1e-9  # rtol 1e-12, growth below 1e2
