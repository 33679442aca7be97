"""Reductions: proved ones commute with the full matrix flow, false ones are refused with leftover term and point."""

from functools import reduce as fold

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

import derive
from derive.errors import InvalidSpec, NotInvariant, UnsupportedNode
from derive.indices.indexed import Index, arr, power
from derive.indices.indexed import evaluate as evaluate_node
from derive.invariants.search import conserved
from derive.matrices.assumptions import measure
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly, atom, param
from derive.matrices.words import Atom
from derive.reductions.ansatz import Balanced, Manifold, Modes
from derive.reductions.modes_numeric import singular_modes
from derive.reductions.reduction import reduce
from derive.solutions.solve import closed_form
from derive.system import Block, Flow

TIMES = np.linspace(0, 6, 13)
I = Index("i", "r")


def deep(depth, **options):
    return derive.gradient_flow(derive.linear_network(depth=depth, **options))


def data(sizes, rng, white=False):
    """Correlations that share their right singular vectors."""
    n_in, n_out = sizes[0], sizes[-1]
    v = np.linalg.qr(rng.normal(size=(n_in, n_in)))[0]
    u = np.linalg.qr(rng.normal(size=(n_out, n_out)))[0]
    k = min(n_in, n_out)
    s = np.linspace(2.0, 0.4, k)
    d = np.ones(n_in) if white else rng.uniform(0.5, 2.0, size=n_in)
    values = {"Syx": (u[:, :k] * s) @ v[:, :k].T, "Sx": (v * d) @ v.T, "Syy": np.eye(n_out), "tau": 1.6}
    return values | {f"N{l}": n for l, n in enumerate(sizes)}


def full_solution(values, start, depth, times=TIMES):
    """The full matrix flow, typed by hand: the second road."""
    names = [f"W{l}" for l in range(1, depth + 1)]
    splits = np.cumsum([start[n].size for n in names])[:-1]

    def unpack(y):
        return [part.reshape(start[n].shape) for n, part in zip(names, np.split(y, splits), strict=True)]

    def rhs(t, y):
        w = unpack(y)
        e = values["Syx"] - fold(lambda p, m: m @ p, w) @ values["Sx"]
        out = []
        for l in range(depth):
            after = fold(lambda p, m: m @ p, w[l + 1 :], np.eye(w[l].shape[0]))
            before = fold(lambda p, m: m @ p, w[:l], np.eye(w[0].shape[1]))
            out.append((after.T @ e @ before.T).ravel() / values["tau"])
        return np.concatenate(out)

    y0 = np.concatenate([start[n].ravel() for n in names])
    y = solve_ivp(rhs, (0, times[-1]), y0, t_eval=times, method="DOP853", rtol=1e-12, atol=1e-14).y
    return {n: np.array([unpack(c)[k] for c in y.T]) for k, n in enumerate(names)}


def mode_solution(system, params, start, times=TIMES):
    """The derived mode equations, evaluated node by node."""
    names = [b.name for b in system.state]
    r = len(start[names[0]])
    known = {**params, "r": r}

    def rhs(t, y):
        at = {**known, **dict(zip(names, y.reshape(len(names), r), strict=True))}
        rows = [[evaluate_node(system.rhs[n], at, {I: k}, {"pi": np.pi}) for k in range(r)] for n in names]
        return np.array(rows, dtype=float).ravel()

    y = solve_ivp(
        rhs, (0, times[-1]), np.concatenate([start[n] for n in names]), t_eval=times, method="DOP853", rtol=1e-12, atol=1e-14
    ).y
    return {n: y[k * r : (k + 1) * r].T for k, n in enumerate(names)}


@pytest.mark.parametrize("white", [False, True])
@pytest.mark.parametrize("sizes", [(5, 3), (5, 4, 3), (4, 2, 5), (3, 6, 4), (5, 4, 4, 3), (4, 2, 5, 3), (4, 3, 5, 3, 4)])
def test_modes_commute_with_the_matrix_flow(sizes, white):
    rng, depth = np.random.default_rng(1), len(sizes) - 1
    values = data(sizes, rng, white)
    red = reduce(deep(depth), Modes(white=white))
    params = red.parameters_from(values)
    r = min(sizes)
    assert params["s"].shape == (r,)
    assert ("d" in params) != white
    start = {b.name: rng.uniform(0.3, 0.9, size=r) for b in red.system.state}
    modes = mode_solution(red.system, params, start)
    full = full_solution(values, red.lift_state(values, start, seed=4), depth)
    lifted = red.lift_state(values, modes, seed=4)
    for name, w in full.items():
        assert np.max(np.abs(w - lifted[name])) <= 1e-8  # both at rtol 1e-12, growth below 1e3
    back = red.project_state(values, full)
    for name, a in modes.items():
        assert np.max(np.abs(back[name] - a)) <= 1e-8  # the same
    for a in red.assumptions:
        assert a.residual is None or measure(a, values) <= 1e-12  # rounding


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_three_roads_to_the_balanced_mode(depth):
    sizes = (4, 3, 5, 3, 4)[: depth + 1]
    rng = np.random.default_rng(2)
    values = data(sizes, rng)
    red = reduce(deep(depth), (Modes(), Balanced()))
    params = red.parameters_from(values)
    start = {"u": rng.uniform(0.01, 0.3, size=min(sizes))}
    closed = closed_form(red).evaluate(TIMES, start, params)["u"]
    modes = mode_solution(red.system, params, start)["u"]
    full = full_solution(values, red.lift_state(values, start), depth)
    assert np.max(np.abs(closed - modes)) <= 1e-8  # rtol 1e-12, growth below 1e3
    assert np.max(np.abs(red.project_state(values, full)["u"] - modes)) <= 1e-8  # the same


def test_mode_equation_as_printed():
    u, s, d, tau = arr("u", I), arr("s", I), arr("d", I), arr("tau")
    for depth in (2, 3, 5):
        system = reduce(deep(depth), (Modes(), Balanced())).system
        expected = depth * power(u, sp_fraction(2, depth)) * (s - d * u) / tau  # the published equation
        at = {"u": np.array([0.37]), "s": np.array([1.3]), "d": np.array([0.8]), "tau": 1.7}
        one, two = (evaluate_node(e, at, {I: 0}, {}) for e in (system.rhs["u"], expected))
        assert one == pytest.approx(two, rel=1e-14)  # rounding


def sp_fraction(p, q):
    from fractions import Fraction

    return 2 - Fraction(p, q)


def test_loss_on_the_modes():
    rng, sizes = np.random.default_rng(8), (5, 4, 3)
    values, flow = data(sizes, rng), deep(2)
    red = reduce(flow, Modes("W2", "W1"))
    params = red.parameters_from(values)
    start = {"a": rng.uniform(size=3), "b": rng.uniform(size=3)}
    full = evaluate(flow.observables["loss"], {**values, **red.lift_state(values, start)})
    small = evaluate_node(red.system.observables["loss"], {**params, **start, "r": 3}, {}, {})
    assert small == pytest.approx(full, rel=1e-13)  # rounding


def test_unbalanced_modes_keep_the_difference_of_squares():
    red = reduce(deep(2), Modes())
    (claim,) = conserved(red.system)
    assert claim.expr == arr("a", I) ** 2 - arr("b", I) ** 2
    assert closed_form(red).kind == "explicit"


def test_the_product_of_factors_is_exact_for_any_weights():
    rng, sizes = np.random.default_rng(9), (5, 4, 3, 4)
    values = data(sizes, rng)
    red = reduce(deep(3), Modes())
    w = {f"W{l}": rng.normal(size=(7, sizes[l], sizes[l - 1])) for l in (1, 2, 3)}  # seven times, not aligned
    u, _, _, v = singular_modes(values["Syx"], values["Sx"], 3)
    a = red.project_state(values, w)
    direct = np.einsum("oi,toj,ji->ti", u, w["W3"] @ w["W2"] @ w["W1"], v)
    np.testing.assert_allclose(a["a1"] * a["a2"] * a["a3"], direct, rtol=1e-12)  # rounding of products


@pytest.mark.parametrize("rank", [1, 2])
def test_equal_and_vanishing_singular_values(rank):
    rng = np.random.default_rng(6)
    v, u = (np.linalg.qr(rng.normal(size=(n, n)))[0] for n in (5, 4))
    s, d = np.array([1.0, 1.0, 0, 0])[:4] * (np.arange(4) < rank), rng.uniform(0.5, 2, size=5)
    cross, cov = (u * s) @ v[:, :4].T, (v * d) @ v.T
    left, strengths, variances, right = singular_modes(cross, cov, 3)
    np.testing.assert_allclose(left.T @ cross @ right, np.diag(strengths), atol=1e-12)  # rounding
    np.testing.assert_allclose(right.T @ cov @ right, np.diag(variances), atol=1e-12)  # rounding: degenerate modes included
    np.testing.assert_allclose(left.T @ left, np.eye(3), atol=1e-12)  # rounding


def test_violated_assumption_is_measured():
    rng = np.random.default_rng(5)
    values = data((4, 3, 4), rng)
    common = reduce(deep(2), Modes()).assumptions[0]
    white = reduce(deep(2), Modes(white=True)).assumptions[0]
    x = rng.normal(size=(4, 50))
    values["Sx"] = x @ x.T / 50
    assert measure(common, values) > 0.05  # eigenvectors of a random covariance are not those of Syx
    assert measure(white, values) > 0.05
    assert "whiten" in common.remedy


def test_other_names_and_factors():
    A, B = atom(Atom("V", "h", "i")), atom(Atom("U", "o", "h"))  # names that the reduction itself uses
    target = atom(Atom("S", "o", "i"))
    error = (target - B * A) * param("s", -1) * 2
    flow = Flow(
        name="own",
        state=(Block(name="V", shape=("h", "i")), Block(name="U", shape=("o", "h"))),
        rhs={"V": B.T * error, "U": error * A.T},
        parameters=(Block(name="S", shape=("o", "i")), Block(name="s")),
    )
    red = reduce(flow, (Modes(), Balanced()))
    values = {"S": np.diag([2.0, 1.0]), "s": 1.5, "h": 3}
    params = red.parameters_from(values)
    got = closed_form(red).evaluate([0.0, 0.7], {"u": np.array([0.1, 0.2])}, params)["u"]
    logistic = [s / (1 - (1 - s / u) * np.exp(-4 * s * 0.7 / 1.5)) for s, u in ((2.0, 0.1), (1.0, 0.2))]
    np.testing.assert_allclose(got[1], logistic, rtol=1e-13)  # rounding


# The user's own manifolds ----------------------------------------------------------------------------------------------------


def user_symbols(flow):
    r = derive.dims("r")
    n0, n1, n2 = (flow.symbols[n] for n in ("N0", "N1", "N2"))
    m = {
        n: derive.matrix(n, a, b)
        for n, a, b in (
            ("U", n2, r),
            ("V", n0, r),
            ("V2", n0, r),
            ("R2", n1, r),
            ("S", r, r),
            ("D", r, r),
            ("D1", r, r),
            ("D2", r, r),
        )
    }
    tags = {
        m["U"]: "orth",
        m["V"]: "orth",
        m["V2"]: "orth",
        m["R2"]: "orth",
        m["S"]: "diag",
        m["D"]: "diag",
        m["D1"]: "diag",
        m["D2"]: "diag",
    }
    return m, tags


def test_users_manifold_is_proved_by_projection_and_by_division():
    flow = deep(2)
    m, tags = user_symbols(flow)
    W1, W2, Syx, Sx = (flow.symbols[n] for n in ("W1", "W2", "Syx", "Sx"))
    lift = {W1: m["R2"] * m["D1"] * m["V"].T, W2: m["U"] * m["D2"] * m["R2"].T}
    given = {Syx: m["U"] * m["S"] * m["V"].T, Sx: m["V"] * m["D"] * m["V"].T}
    solve_for = {m["D1"]: m["R2"].T * W1 * m["V"], m["D2"]: m["U"].T * W2 * m["R2"]}
    one = reduce(flow, Manifold(lift, (m["D1"], m["D2"]), given, tags, solve_for))
    two = reduce(flow, Manifold(lift, (m["D1"], m["D2"]), given, tags))
    assert one.system.rhs == two.system.rhs
    assert str(one.system.rhs["D1"]).count("D") >= 3
    assert one.proof == "proved"


def test_other_eigenvectors_of_the_inputs_are_refused():
    flow = deep(2)
    m, tags = user_symbols(flow)
    W1, W2, Syx, Sx = (flow.symbols[n] for n in ("W1", "W2", "Syx", "Sx"))
    lift = {W1: m["R2"] * m["D1"] * m["V"].T, W2: m["U"] * m["D2"] * m["R2"].T}
    given = {Syx: m["U"] * m["S"] * m["V"].T, Sx: m["V2"] * m["D"] * m["V2"].T}
    solve_for = {m["D1"]: m["R2"].T * W1 * m["V"], m["D2"]: m["U"].T * W2 * m["R2"]}
    with pytest.raises(NotInvariant) as caught:
        reduce(flow, Manifold(lift, (m["D1"], m["D2"]), given, tags, solve_for))
    assert isinstance(caught.value.leftover, Poly)
    assert "V2" in str(caught.value.leftover)
    assert "W1" in str(caught.value)
    assert caught.value.size > 1e-2  # off the manifold by an amount of order one
    assert set(caught.value.point) >= {"D1", "U", "V", "V2"}


def test_missing_direction_is_refused():
    n, k = derive.dims("n k")
    W, T1, T2 = (derive.matrix(x, k, n) for x in ("W", "T1", "T2"))
    w = derive.scalars("w")
    blocks = tuple(Block(name=x, shape=("k", "n")) for x in ("T1", "T2"))
    polys = {x: atom(Atom(x, "k", "n")) for x in ("W", "T1", "T2")}
    flow = Flow(
        name="two_teachers",
        state=(Block(name="W", shape=("k", "n")),),
        parameters=blocks,
        rhs={"W": polys["T1"] + polys["T2"] - polys["W"].scale(2)},
        symbols={"W": W, "T1": T1, "T2": T2, "k": k, "n": n},
    )
    with pytest.raises(NotInvariant) as caught:
        reduce(flow, Manifold({W: w * T1}, (w,)))
    assert str(caught.value.leftover) == "T2"
    assert caught.value.size > 1e-2
    v = derive.scalars("v")
    red = reduce(flow, Manifold({W: w * T1 + v * T2}, (w, v)))
    assert {n: str(p) for n, p in red.system.rhs.items()} == {"w": "1 - 2*w", "v": "1 - 2*v"}
    lifted = red.lift_state({"T1": np.eye(2), "T2": np.ones((2, 2))}, {"w": 2.0, "v": 1.0})
    np.testing.assert_array_equal(lifted["W"], [[3.0, 1.0], [1.0, 3.0]])
    assert closed_form(red).kind == "explicit"


def test_balance_needs_equal_rates():
    a, b, s = arr("a", I), arr("b", I), arr("s", I)
    blocks = tuple(Block(name=n, shape=("r",), indices=(I,)) for n in "ab")
    flow = Flow(name="rates", state=blocks, rhs={"a": b * (s - a * b) / arr("tau1"), "b": a * (s - a * b) / arr("tau2")})
    with pytest.raises(NotInvariant) as caught:
        reduce(flow, Balanced())
    assert caught.value.leftover.has(sp.Symbol("tau1", real=True))
    assert caught.value.size > 1e-2
    assert set(caught.value.point) >= {"u", "s", "tau1", "tau2"}


def test_scalar_manifold_of_the_user():
    a, b, u = sp.Symbol("a", real=True), sp.Symbol("b", real=True), sp.Symbol("w", positive=True)
    blocks = tuple(Block(name=n, shape=("r",), indices=(I,)) for n in "ab")
    x, y, s = arr("a", I), arr("b", I), arr("s", I)
    flow = Flow(name="modes", state=blocks, rhs={"a": y * (s - x * y), "b": x * (s - x * y)})
    red = reduce(flow, Manifold({a: u, b: -u}, (u,)))  # the other diagonal is invariant too
    w = arr("w", I)
    assert red.system.rhs["w"] == w * (s + w * w) * (-1)
    with pytest.raises(NotInvariant):
        reduce(flow, Manifold({a: u, b: 2 * u}, (u,)))


@pytest.mark.parametrize(
    ("flow", "ansatz", "error", "word"),
    [
        (lambda: deep(2), Modes("W1"), InvalidSpec, "W2"),
        (lambda: deep(2), Modes("W1", "W3"), InvalidSpec, "W3"),
        (lambda: reduce(deep(2), Modes()).system, Modes(), UnsupportedNode, "matrices"),
        (lambda: deep(2), Balanced(), UnsupportedNode, "Modes"),
        (lambda: deep(2), "modes", InvalidSpec, "Manifold"),
    ],
)
def test_ansatz_that_does_not_fit(flow, ansatz, error, word):
    with pytest.raises(error, match=word):
        reduce(flow(), ansatz)


def test_wrong_mode_equation_would_be_noticed():
    """Mutant: the lifted solution of an equation with a factor 1.01 misses the bound of the commuting roads."""
    rng, sizes = np.random.default_rng(1), (4, 3, 4)
    values = data(sizes, rng)
    red = reduce(deep(2), Modes())
    start = {n: rng.uniform(0.3, 0.9, size=3) for n in "ab"}
    wrong = red.system.replace(rhs={**red.system.rhs, "b": red.system.rhs["b"] * arr("c")})
    modes = mode_solution(wrong, {**red.parameters_from(values), "c": 1.01}, start)
    full = full_solution(values, red.lift_state(values, start), 2)
    lifted = red.lift_state(values, modes)
    assert max(np.max(np.abs(full[n] - lifted[n])) for n in full) > 1e-4
