"""Closures by `complete`: the closed system and the full flow, integrated separately, give the same observables."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import sympy as sp

import derive
from derive import dot, norm2, scalars, vector
from derive.completion.check import check_closure
from derive.completion.closure import complete
from derive.library.attention import linear_attention
from derive.matrices.poly import Poly, atom
from derive.matrices.words import Atom
from derive.reductions.ansatz import Manifold
from tests.derive.closure.roads import AGREE, assert_same_roads, gap, watched

TIMES = np.linspace(0, 3, 7)


def linear(depth):
    return derive.gradient_flow(derive.linear_network(depth=depth))


def linear_values(rng, sizes=(4, 3, 2)):
    x = rng.normal(size=(sizes[0], 20))
    values = {"Sx": x @ x.T / 20, "Syx": rng.normal(size=(sizes[-1], sizes[0])), "Syy": np.eye(sizes[-1]), "tau": 1.4}
    start = {f"W{l}": 0.4 * rng.normal(size=(m, n)) for l, (n, m) in enumerate(pairwise(sizes), 1)}
    return values, start


def test_two_layers_close_in_three_matrices_for_any_input():
    flow = linear(2)
    W1, W2 = flow.symbols["W1"], flow.symbols["W2"]
    r = complete(flow, {"P": W2 * W1})
    assert [(b.name, b.shape) for b in r.system.state] == [
        ("P", ("N2", "N0")), ("W1t_W1", ("N0", "N0")), ("W2_W2t", ("N2", "N2")),
    ]  # fmt: skip
    assert r.proof == "proved"
    assert not r.lift
    values, start = linear_values(np.random.default_rng(0))
    assert_same_roads(r, values, start, TIMES, moves=0.1)
    full, closed = watched(r, values, start)
    assert full.keys() == closed.keys() == {"loss"}
    assert closed["loss"] == pytest.approx(full["loss"], rel=1e-12)  # the same words, other products: rounding


def test_hidden_size_is_gone():
    flow = linear(2)
    r = complete(flow, [flow.symbols["W2"] * flow.symbols["W1"]])
    sizes = {s for b in (*r.system.state, *r.system.parameters) for s in b.shape}
    assert sizes == {"N0", "N2"}


def test_a_wrong_equation_would_be_seen():
    """Mutant: one coefficient of the closed system changed by one per cent."""
    flow = linear(2)
    r = complete(flow, {"P": flow.symbols["W2"] * flow.symbols["W1"]})
    key, c = next(r.system.rhs["P"].items())
    wrong = Poly(r.system.rhs["P"].shape, {**r.system.rhs["P"].terms, key: c * 101 / 100})
    mutant = type(r)(**{
        **{f: getattr(r, f) for f in r.__slots__}, "system": r.system.replace(rhs={**r.system.rhs, "P": wrong}),
    })  # fmt: skip
    values, start = linear_values(np.random.default_rng(0))
    assert gap(mutant, values, start, TIMES)[0] > 1e4 * AGREE


def attention(heads):
    return derive.gradient_flow(linear_attention("separate", heads, white=True))


@pytest.mark.parametrize(("heads", "count"), [(1, 4), (2, 12)])
def test_attention_on_white_inputs_closes_in_inner_products(heads, count):
    r = complete(attention(heads), ["loss"])
    assert len(r.system.state) == count
    assert all(b.shape == () for b in (*r.system.state, *r.system.parameters))
    rng = np.random.default_rng(1)
    start = {b.name: 0.5 * rng.normal(size=(3, 1) if b.shape else ()) for b in r.full.state}
    assert_same_roads(r, {"tau": 1.3, "ell": 0.8, "N": 7, "D": 3}, start, TIMES, moves=0.01)


def coopetition():
    """Two products that share two factors, and a penalty on both: eight inner products."""
    d = derive.dims("d")
    tau, mu1, mu2, alpha, L = scalars("tau mu1 mu2 alpha L")
    names = ("a", "e", "b", "c")
    p, s = {n: vector(n, d) for n in names}, {n: vector(f"{n}star", d) for n in names}

    def loss(first):
        three = (first, "b", "c")
        xs, ns, ts = (
            sp.prod(f(n) for n in three) for f in (lambda n: dot(p[n], s[n]), lambda n: norm2(p[n]), lambda n: norm2(s[n]))
        )
        return (ts - 2 * xs + ns) / (2 * d**3)

    total = (loss("a") + mu1) * (loss("e") + mu2) + alpha / (2 * d**2) * norm2(p["a"]) * norm2(p["e"])
    return derive.Model(
        name="coopetition", state=tuple(p.values()), given=(*s.values(), tau, mu1, mu2, alpha), let={L: total},
        learn=derive.Rate({v: -derive.grad(L, v) / tau for v in p.values()}), observe={"loss": L},
    )  # fmt: skip


def test_competing_products_close_in_eight_numbers():
    flow = derive.gradient_flow(coopetition())
    r = complete(flow, ["loss"])
    assert sorted(b.name for b in r.system.state) == sorted([*(f"n_{v}" for v in "abce"), *(f"x_{v}_{v}star" for v in "abce")])
    rng = np.random.default_rng(2)
    given = {f"{v}star": rng.normal(size=(4, 1)) for v in "abce"} | {"tau": 0.01, "mu1": 0.01, "mu2": 0.1, "alpha": 0.02}
    assert_same_roads(r, given, {v: 0.8 * rng.normal(size=(4, 1)) for v in "abce"}, TIMES, moves=0.05)


def alignment():
    """Two maps of one difference dx; the second learns a target difference (no closure without an ansatz)."""
    n, h, m = derive.dims("n h m")
    Dh, Dy = derive.matrix("Dh", h, n), derive.matrix("Dy", m, h)
    dx, target, (rh, ry, L) = vector("dx", n), vector("target", m), scalars("rh ry L")
    rates = {Dh: -rh * derive.grad(L, Dh), Dy: -ry * derive.grad(L, Dy)}
    return derive.gradient_flow(derive.Model(
        name="alignment", state=(Dh, Dy), given=(dx, target, rh, ry),
        let={L: norm2(Dy * Dh * dx - target) / 8}, learn=derive.Rate(rates),
    ))  # fmt: skip


def test_closes_after_an_ansatz_and_projects_from_the_full_state():
    """On Dy = q (Dh dx)' the flow closes in three numbers; without it words Dy Dy' Dy Dy' ... grow."""
    flow = alignment()
    Dh, Dy, dx, target = (flow.symbols[n] for n in ("Dh", "Dy", "dx", "target"))
    with pytest.raises(derive.NotClosed, match="hidden factor"):
        complete(flow, [norm2(Dy * Dh * dx)])
    m, (h, n) = Dy.shape[0], Dh.shape
    A, q = derive.matrix("A", h, n), vector("q", m)
    on = derive.reduce(
        flow, Manifold({Dh: A, Dy: q * dx.T * A.T}, coordinates=(A, q), solve_for={A: Dh, q: Dy * Dh * dx / norm2(Dh * dx)})
    )
    asked = {"z": norm2(A * dx), "r": norm2(q), "p": dot(q, target)}
    assert [b.name for b in complete(on.system, asked).system.state] == ["z", "r", "p"]
    whole = complete(on, asked)
    assert whole.full is flow
    rng = np.random.default_rng(3)
    given = {"dx": rng.normal(size=(4, 1)), "target": rng.normal(size=(2, 1)), "rh": 4.0, "ry": 2.4}
    a = 0.5 * rng.normal(size=(3, 4))
    start = {"Dh": a, "Dy": (0.1 * given["target"] + 0.1) @ given["dx"].T @ a.T}
    assert_same_roads(whole, given, start, TIMES)
    off = {**start, "Dy": start["Dy"] + 0.3 * rng.normal(size=(2, 3))}
    assert gap(whole, given, off, TIMES)[0] > 1e-3  # off the manifold the three numbers do not close


def test_a_factor_and_a_power_of_an_observable():
    """An overlap a.b/N is a variable under its own factor; a negative power needs no variable of its own."""
    N, (tau, R) = derive.dims("N"), scalars("tau R")
    a, b = vector("a", N), vector("b", N)
    flow = derive.gradient_flow(derive.Model(
        name="pull", state=a, given=(b, tau), learn=derive.Rate({a: b / norm2(a) - a / tau}),
    ))  # fmt: skip
    r = complete(flow, {R: dot(a, b) / N})
    assert [b.name for b in r.system.state] == ["R", "n_a"]
    rng = np.random.default_rng(4)
    given = {"b": rng.normal(size=(5, 1)), "tau": 2.0}
    assert_same_roads(r, given, {"a": rng.normal(size=(5, 1))}, TIMES, moves=0.05)
    start = {"a": np.arange(1.0, 6.0)[:, None]}
    assert r.project_state(given, start)["R"] == pytest.approx(float(start["a"][:, 0] @ given["b"][:, 0]) / 5, rel=1e-14)


def test_numbers_of_the_state_are_their_own_variables():
    flow = attention(1)
    r = complete(flow, ["v1"])
    assert r.system.state[0].name == "v1"
    assert {b.name for b in r.system.state} == {"v1", "n_k1", "n_q1", "x_k1_q1"}


def test_the_numerical_check_sees_a_wrong_rate():
    """Mutant of the check's own input: a rate off by one part in a thousand."""
    flow = linear(2)
    r = complete(flow, {"P": flow.symbols["W2"] * flow.symbols["W1"]})
    W1, W2 = (atom(Atom(b.name, *b.shape)) for b in flow.state)
    values = {"P": W2 * W1, "W1t_W1": W1.T * W1, "W2_W2t": W2 * W2.T}
    assert "agrees" in check_closure(flow, values, {}, r.system.rhs)
    wrong = {**r.system.rhs, "W2_W2t": r.system.rhs["W2_W2t"].scale(Fraction(1001, 1000))}
    with pytest.raises(derive.CheckFailed, match="W2_W2t"):
        check_closure(flow, values, {}, wrong)
