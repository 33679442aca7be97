"""Population gradient flow: overlap equations against typed ones, other derivations, and full vectors in few dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from codegen import compile
from derive import (
    Choice,
    Entry,
    InvalidSpec,
    Limit,
    Model,
    Normal,
    Phase,
    Rate,
    UnsupportedNode,
    Update,
    dims,
    dot,
    fn,
    grad,
    gradient_flow,
    matrix,
    mean,
    online_limit,
    phases,
    population_flow,
    scalars,
    vector,
)  # fmt: skip
from derive.catalog import load
from derive.indices.indexed import arrays

N, K, M = dims("N K M")
w, u, x = vector("w", N), vector("u", N), vector("x", N)
W, B, v, A = matrix("W", K, N), matrix("B", M, N), vector("v", K), vector("A", M)
L, z = scalars("L z")


def rates(flow: Any, state: dict[str, Any], **given: Any) -> dict[str, np.ndarray]:
    kernel = compile(flow, backend="numpy")
    layout = kernel.layout({**state, **given})
    known = {b.name: given[b.name] for b in kernel.parameters}
    return layout.unpack(kernel.flat_rhs(layout, kernel.arguments(known))(0.0, layout.pack(state)))


def unit(loss: Any, rate: Any = None, **sections: Any) -> Model:
    """One learned vector w, one fixed vector u."""
    learn = Rate({w: -grad(L, w) if rate is None else rate})
    return Model(name="unit", state=w, **{"given": u, "data": Normal(x), **sections}, let={L: loss}, learn=learn)


def two_layers(g: Any, scale: Any = 1, factor: Any = 1, **sections: Any) -> Model:
    f = dot(v, g(W * x / scale)) - dot(A, g(B * x / scale))
    learn = Rate({W: -factor * grad(L, W), v: -grad(L, v)})
    return Model(name="two", state=(W, v), given=(B, A), data=Normal(x), let={L: f**2 / 2}, learn=learn, **sections)


# ------------------------------------------------------------------------------------------------------ typed equations
def test_phase_retrieval_has_the_equations_of_wick() -> None:
    """Against E[(a^2 - b^2) a c] by Wick's theorem, typed, with a = w.x and b = u.x."""
    flow = population_flow(unit((dot(w, x) ** 2 - dot(u, x) ** 2) ** 2 / 8))
    q, r, t = 0.7, -0.3, 1.4
    got = rates(flow, {"Q": q, "R": r}, T=t)
    assert float(got["R"]) == pytest.approx(-(3 * q * r - 3 * t * r) / 2, rel=1e-13)  # a handful of operations
    assert float(got["Q"]) == pytest.approx(-(3 * q * q - q * t - 2 * r * r), rel=1e-13)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_hermite_links_see_their_own_order_alone(k: int) -> None:
    """Correlation loss He_k(w.x) He_k(u.x) on the sphere: E = k! R^k (Mehler), so dR/dt = k! k R^(k-1) (1 - R^2), typed."""

    def he(s: Any) -> Any:
        return {1: s, 2: s**2 - 1, 3: s**3 - 3 * s, 4: s**4 - 6 * s**2 + 3}[k]

    g = grad(L, w)
    flow = population_flow(unit(-he(dot(w, x)) * he(dot(u, x)), -g + w * dot(w, g)))
    r = 0.35
    got = rates(flow, {"Q": 1.0, "R": r}, T=1.0)
    assert float(got["R"]) == pytest.approx(sp.factorial(k) * k * r ** (k - 1) * (1 - r * r), rel=1e-12)  # rounding
    # Q stays 1 where the flow is tangent: E[(w.grad)] (1 - Q) = 0
    assert float(got["Q"]) == pytest.approx(0.0, abs=1e-11)  # rounding of terms of order 100


@pytest.mark.parametrize(("k", "power"), [(2, 0.0), (3, 0.5), (4, 1.0)])
def test_escape_times_grow_with_the_information_exponent(k: int, power: float) -> None:
    """From R = N^(-1/2) to 1/2: t ~ log N (k = 2), N^((k-2)/2) (k > 2); the integral of 1/rate, on the derived equation."""
    from scipy.integrate import quad

    def he(s: Any) -> Any:
        return {2: s**2 - 1, 3: s**3 - 3 * s, 4: s**4 - 6 * s**2 + 3}[k]

    g = grad(L, w)
    flow = population_flow(unit(-he(dot(w, x)) * he(dot(u, x)), -g + w * dot(w, g)))

    kernel = compile(flow, backend="numpy")
    state = [b.name for b in kernel.states]

    def time(n: float) -> float:
        def slow(s: float) -> float:
            r = float(np.exp(s))
            return r / float(kernel.rhs(0.0, *(1.0 if name == "Q" else r for name in state), 1.0)[state.index("R")])

        return float(quad(slow, np.log(n**-0.5), np.log(0.5), epsrel=1e-6)[0])

    a, b, c = (time(n) for n in (1e4, 1e6, 1e8))
    if k == 2:
        assert (c - b) / (b - a) == pytest.approx(1.0, abs=1e-3)  # log N: equal increments, corrections of order R^2
        assert b - a == pytest.approx(np.log(10) / 4, rel=1e-3)
    else:
        assert np.log(c / b) / np.log(100) == pytest.approx(power, abs=2e-2)  # corrections N^(-1/2) log N, and the end at 1/2


# --------------------------------------------------------------------------------------------------------- other roads
def test_relu_teacher_student_agrees_with_the_matrix_level_flow() -> None:
    """Rates of overlaps against those of full matrices by `gradient_flow`, another derivation, at N = 5."""
    model = two_layers(fn.relu, sp.sqrt(N))
    rng = np.random.default_rng(0)
    n, full = 5, gradient_flow(model)
    a, b = rng.standard_normal((3, n)), rng.standard_normal((2, n))
    readout, teacher = rng.standard_normal((3, 1)), rng.standard_normal((2, 1))
    flow = population_flow(model)
    assert [p.name for p in flow.parameters] == ["A", "N", "T"]
    given = {p.name: {"B": b, "A": teacher, "N": float(n)}[p.name] for p in full.parameters}
    moved = rates(full, {"W": a, "v": readout}, **given)
    state = {"Q": a @ a.T / n, "R": a @ b.T / n, "v": readout[:, 0]}
    got = rates(flow, state, T=b @ b.T / n, A=teacher[:, 0], N=float(n))
    want = {"Q": (moved["W"] @ a.T + a @ moved["W"].T) / n, "R": moved["W"] @ b.T / n, "v": moved["v"][:, 0]}
    for name in want:
        np.testing.assert_allclose(got[name], want[name], rtol=1e-11, atol=1e-12)  # arcsines and roots near one: rounding


@pytest.mark.parametrize("scaled", [True, False])
def test_smooth_units_agree_with_quadrature_of_full_gradients_in_two_dimensions(scaled: bool) -> None:
    """Against E[-grad] over x in R^2 by a tensor Gauss-Hermite rule on full vectors; with and without 1/sqrt(N)."""
    n = 2
    flow = population_flow(two_layers(fn.erf2, sp.sqrt(N) if scaled else 1))
    rng = np.random.default_rng(1)
    a, b, c, t = (rng.standard_normal(s) * 0.7 for s in ((2, n), (1, n), (2,), (1,)))
    scale, over = (n**0.5, n) if scaled else (1.0, 1)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    points = np.array([(p, q) for p in nodes for q in nodes])
    chance = np.outer(weights, weights).ravel() / (2 * np.pi)
    from scipy.special import erf

    def g(s: Any) -> Any:
        return erf(s / 2**0.5)

    lam, nu = points @ a.T / scale, points @ b.T / scale
    error = g(lam) @ c - g(nu) @ t
    slope = (2 / np.pi) ** 0.5 * np.exp(-(lam**2) / 2) * c * error[:, None]
    da, dc = -(slope * chance[:, None]).T @ points / scale, -(g(lam) * error[:, None]).T @ chance
    given = {"T": b @ b.T / over, "A": t, **({"N": 2.0} if scaled else {})}
    got = rates(flow, {"Q": a @ a.T / over, "R": a @ b.T / over, "v": c}, **given)
    assert ("N" in [p.name for p in flow.parameters]) is scaled
    np.testing.assert_allclose(got["Q"], (da @ a.T + a @ da.T) / over, atol=1e-9)  # 60 nodes of a smooth function
    np.testing.assert_allclose(got["R"], da @ b.T / over, atol=1e-9)
    np.testing.assert_allclose(got["v"], dc, atol=1e-9)


@pytest.mark.parametrize("g", [fn.erf2, fn.relu, fn.tanh])
def test_it_is_the_limit_of_small_steps_of_the_one_pass_rule(g: Any) -> None:
    """Against `online_limit(noise="none")` of the Update that takes steps of 1/N along the rate."""
    rate = two_layers(g, sp.sqrt(N), N, limit=Limit({N: sp.oo}), observe={"eg": mean(L)})
    learn = Update({W: W - grad(L, W), v: v - grad(L, v) / N}, dt=1 / N)
    one, two = population_flow(rate), online_limit(rate.replace(learn=learn), noise="none")
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((2, 7)), rng.standard_normal((3, 7))
    state = {"Q": a @ a.T / 7, "R": a @ b.T / 7, "v": rng.standard_normal(2)}
    given = {"T": b @ b.T / 7, "A": rng.standard_normal(3)}
    assert "N" not in [p.name for p in one.parameters]
    left, right = (rates(f, state, **given) for f in (one, two))
    for name in state:
        np.testing.assert_allclose(
            left[name], right[name], rtol=1e-10, atol=1e-12
        )  # the same averages, summed in another order


def test_same_and_different_closes_on_two_gram_matrices_in_either_coordinates() -> None:
    """P, M of the (p, m) flow against those of the (u, v) flow, whose three overlaps are other functions."""
    flow = population_flow(load("tong_2025_same_different").model)
    assert [b.name for b in flow.state] == ["Q_p", "Q_m", "a"]
    assert any("Q_p_m" in s.detail for s in flow.steps)
    d, U, V, a = dims("d"), matrix("U", K, dims("d")), matrix("V", K, dims("d")), vector("a", K)
    z1, z2, (same, f) = vector("z1", d), vector("z2", d), scalars("same f")
    second = same * z1 + (1 - same) * z2
    model = Model(
        name="uv", state=(U, V, a), data=(Choice(same, (1, 0)), Normal(z1), Normal(z2)),
        let={f: dot(a, fn.relu((U * z1 + V * second) / sp.sqrt(d))), L: (f - 2 * same + 1) ** 2 / 2},
        learn=Rate({U: -d * grad(L, U), V: -d * grad(L, V), a: -grad(L, a)}),
    )  # fmt: skip
    other = population_flow(model)
    rng = np.random.default_rng(3)
    p, q, r = rng.standard_normal((3, 9)), rng.standard_normal((3, 9)), rng.standard_normal(3)
    one = rates(flow, {"Q_p": (p + q) @ (p + q).T / 9, "Q_m": (p - q) @ (p - q).T / 9, "a": r})
    two = rates(other, {"Q_U": p @ p.T / 9, "Q_U_V": p @ q.T / 9, "Q_V": q @ q.T / 9, "a": r})
    both = two["Q_U"] + two["Q_V"]
    cross = two["Q_U_V"] + two["Q_U_V"].T
    np.testing.assert_allclose(one["Q_p"], both + cross, rtol=1e-10, atol=1e-12)  # rounding of a few hundred operations
    np.testing.assert_allclose(one["Q_m"], both - cross, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(one["a"], two["a"], rtol=1e-10, atol=1e-12)


def test_the_gradient_of_an_average_is_the_average_of_the_gradient() -> None:
    """grad(mean(L)) against grad(L), for a loss with a penalty outside the average."""
    loss = (fn.relu(dot(w, x)) - fn.relu(dot(u, x))) ** 2 / 2
    one = population_flow(unit(mean(loss) + dot(w, w) / 2))
    two = population_flow(unit(loss + dot(w, w) / 2))
    for name in ("Q", "R"):
        got, want = (rates(f, {"Q": 0.8, "R": 0.3}, T=1.1)[name] for f in (one, two))
        assert float(got) == pytest.approx(float(want), rel=1e-13)  # the same expression


def test_classes_with_means_are_averaged_apart() -> None:
    """A linear unit on two Gaussian classes: E[(w.x - c) x] = (I + mu mu') w - mu, typed."""
    c, mu = scalars("c"), vector("mu", N)
    model = unit((dot(w, x) - c) ** 2 / 2, given=mu, data=(Choice(c, (1, -1)), Normal(x, mean=c * mu)))
    q, r, t = 0.9, 0.4, 1.7
    got = rates(population_flow(model), {"Q": q, "R": r}, T=t)
    assert float(got["Q"]) == pytest.approx(-2 * (q + r * r - r), rel=1e-13)
    assert float(got["R"]) == pytest.approx(-(r + t * r - t), rel=1e-13)


# ------------------------------------------------------------------------------------------------------------ refusals
@pytest.mark.parametrize(
    ("model", "remedy"),
    [
        (unit((dot(w, x) - dot(u, x)) ** 2, w * 0 - grad(L, w) / dot(x, x)), "limit=Limit"),
        (unit((dot(w, x) - dot(u, x)) ** 2).replace(learn=Update({w: w - grad(L, w)}, dt=1)), "online_limit"),
        (unit((dot(w, x) - dot(u, x)) ** 2).replace(learn=Rate({w: -grad(L, w)}, noise={w: 1})), "drop noise="),
        (unit((dot(w, w) - 1) ** 2 + 0 * dot(u, u), given=(), data=()), "use gradient_flow"),
    ],
)  # fmt: skip
def test_what_has_no_exact_flow_is_refused_with_a_remedy(model: Model, remedy: str) -> None:
    with pytest.raises(UnsupportedNode, match=remedy.replace("(", r"\(")):
        population_flow(model)


def test_two_dimensions_that_could_be_the_input_need_to_be_told_apart() -> None:
    """Noise along the hidden units: K and N are both lengths of Gaussian draws that weights meet."""
    xi = vector("xi", K)
    loss = (dot(v, xi) + dot(v, fn.erf2(W * x)) - dot(u, x)) ** 2 / 2
    sections = {"state": (W, v), "given": u, "data": (Normal(x), Normal(xi)), "let": {L: loss}}
    learn = Rate({W: -grad(L, W), v: -grad(L, v)})
    with pytest.raises(UnsupportedNode, match="Limit"):
        population_flow(Model(name="noisy", **sections, learn=learn))
    flow = population_flow(Model(name="noisy", **sections, learn=learn, limit=Limit({N: sp.oo})))
    state = {"Q": np.eye(2), "R": np.zeros(2), "v": np.array([0.5, 1.0])}
    silent = {**sections, "data": Normal(x), "let": {L: (dot(v, fn.erf2(W * x)) - dot(u, x)) ** 2 / 2}}
    quiet = population_flow(Model(name="quiet", **silent, learn=learn))
    noisy, plain = rates(flow, state, T=1.0)["v"], rates(quiet, state, T=1.0)["v"]
    np.testing.assert_allclose(noisy - plain, -state["v"], rtol=1e-12)  # E[(v.xi) xi] = v


def test_an_equation_with_a_term_too_few_is_another_one() -> None:
    """Mutant: without the pull of the teacher the typed equation of phase retrieval does not hold."""
    flow = population_flow(unit((dot(w, x) ** 2 - dot(u, x) ** 2) ** 2 / 8))
    assert arrays(flow.rhs["R"]) == ("Q", "R", "T")
    got = rates(flow, {"Q": 0.7, "R": -0.3}, T=0.0)
    assert float(got["R"]) != pytest.approx(-(3 * 0.7 * -0.3 - 3 * 1.4 * -0.3) / 2, rel=1e-2)


def test_a_rate_with_a_limit_is_derived_as_a_population() -> None:
    """The limit only names the length of the vectors: the equations are those without it, and they hold at any length."""
    from derive.derivation import derive_all

    model = unit((fn.erf2(dot(w, x)) - fn.erf2(dot(u, x))) ** 2 / 2)
    made = derive_all(model.replace(limit=Limit({N: sp.oo})))
    assert made.kind == "population flow"
    assert dict(made.flow) == dict(population_flow(model))
    assert [s.title for s in made.flow.steps][-1] == "exact"
    with pytest.raises(InvalidSpec, match="Limit"):
        Entry(name="unit", model=model, kind="population")


def test_squares_of_inputs_concentrate_only_if_the_limit_is_taken() -> None:
    """dw/dt = -sqrt(N) (lam - nu) x / (|x|^2/N): |x|^2/N is 1 for N -> oo, and the equations are those without it."""
    error = (dot(w, x) - dot(u, x)) / sp.sqrt(N)
    rate = -sp.sqrt(N) * error * x
    normed = unit(error**2 / 2, rate / (dot(x, x) / N), observe={"eg": mean(L)})
    with pytest.raises(UnsupportedNode, match="limit"):
        population_flow(normed)
    flow = population_flow(normed.replace(limit=Limit({N: sp.oo})))
    assert dict(flow) == dict(population_flow(unit(error**2 / 2, rate, observe={"eg": mean(L)})))
    assert any("-> oo" in a.text for a in flow.assumptions)


@pytest.mark.parametrize(
    ("square", "divided"),
    [
        (lambda w: (dot(w, x) / sp.sqrt(N)) ** 2, True),
        (lambda w: dot(w, x) ** 2 / N, True),
        (lambda w: dot(w, x) ** 2, False),
    ],
)
def test_overlaps_are_divided_by_the_length_where_the_fields_are(square: Any, divided: bool) -> None:
    """Phase retrieval three ways; with overlaps in the scale of the fields the loss has no N, and the rate at most a factor."""
    flow = population_flow(unit((square(w) - square(u)) ** 2 / 8))
    assert flow.block("Q").meaning == ("overlap w . w / N" if divided else "overlap w . w")
    assert "N" not in arrays(flow.observables["L"])
    n = {"N": 7.0} if divided else {}
    got = rates(flow, {"Q": 0.7, "R": -0.3}, T=1.4, **n)
    want = -(3 * 0.7 * -0.3 - 3 * 1.4 * -0.3) / 2  # Wick, typed
    assert float(got["R"]) == pytest.approx(want / (7.0 if divided else 1.0), rel=1e-13)


def test_phases_are_derived_one_by_one() -> None:
    """A frozen readout first: the flow of each phase has its own state, and an entry with a protocol is refused."""
    rate = scalars("rate")
    learn = Rate({W: -N * grad(L, W), v: -rate * grad(L, v)})
    base = two_layers(fn.erf2, sp.sqrt(N), limit=Limit({N: sp.oo}))
    model = base.replace(given=(B, A, rate), learn=learn, protocol=(Phase(1, bind={rate: 0}), Phase(2, bind={rate: 1})))
    first, second = (population_flow(one) for one in phases(model))
    state = {"Q": np.eye(2), "R": np.full((2, 1), 0.2), "v": np.array([0.5, 1.0])}
    given = {"T": np.eye(1), "A": np.ones(1)}
    frozen, moving = rates(first, state, **given), rates(second, state, **given)
    assert not frozen["v"].any()
    assert moving["v"].any()
    np.testing.assert_allclose(frozen["R"], moving["R"], rtol=1e-13)  # the same expression
    with pytest.raises(InvalidSpec, match=r"phases\(model\)"):
        Entry(name="two", model=model, kind="population")
