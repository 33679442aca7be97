"""Linear recurrent network, regression in high dimension, wide linear network: figures that the literature gives.

Roads: the derived system (kernel or closed form) against code written here with SciPy and NumPy from the definition of the
model: impulse responses by quadrature, drawn matrices by their eigenvalues, networks step by step.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.linalg import expm

from codegen import compile
from derive import closed_form, conserved, gradient_flow, reduce
from derive.catalog import bordelon_2025_linear_rnn as rnn
from derive.catalog import load
from derive.claims.entry import Concentrates, MatchesSimulation, Published
from derive.matrices.evaluate import evaluate
from numerics.integrate import integrate
from numerics.verify import verify


def course(flow, start, params, times, rtol=1e-11):
    kernel = compile(flow, backend="numpy")
    known = {b.name: np.asarray(params[b.name], dtype=float) for b in kernel.parameters}
    return integrate(kernel, start, known, (0.0, float(times[-1])), np.asarray(times), rtol=rtol).raise_if_failed()


@pytest.fixture(scope="module")
def network():
    return gradient_flow(rnn.model())


def filter_loss(W, v):
    """int (f - f*)^2 / 2 by quadrature of matrix exponentials."""
    A = W - v["leak"] * np.eye(len(W))

    def gap(t):
        f = v["v"].T @ expm(A * t) @ v["u"] - v["vstar"].T @ expm(v["Astar"] * t) @ v["ustar"]
        return float(f[0, 0]) ** 2 / 2

    return quad(gap, 0, 80, epsabs=1e-10, epsrel=1e-10, limit=200)[0]


def test_loss_and_slope_from_impulse_responses(network):
    """Value to 1e-8 (quadrature up to t = 80, where responses are e^-16); slope by differences of that value, to 1e-6."""
    v = dict(load(rnn.NAME, N=3, decay=0.4).values)
    rng = np.random.default_rng(0)
    W, E, h = 0.3 * rng.standard_normal((3, 3)), rng.standard_normal((3, 3)), 1e-3
    assert evaluate(network.observables["loss"], {**v, "W": W}) == pytest.approx(filter_loss(W, v), rel=1e-8)
    slope = (filter_loss(W + h * E, v) - filter_loss(W - h * E, v)) / (2 * h)
    assert -np.sum(evaluate(network.rhs["W"], {**v, "W": W}) * E) == pytest.approx(
        slope, rel=1e-5
    )  # h^2 times a third derivative


@pytest.mark.parametrize("frequency", [0.5, 2.0])
def test_overlaps_of_damped_oscillators(network, frequency):
    """I(a, b) of two filters e^{-ct} cos(wt); equal to rounding."""

    def overlap(c, w, d, x):
        S = c + d
        return 0.5 * (S / (S**2 + (w - x) ** 2) + S / (S**2 + (w + x) ** 2))

    e = np.eye(2)[:, :1]
    own, target = (np.array([[-c, -w], [w, -c]]) for c, w in ((0.7, 1.1), (0.3, frequency)))
    v = {"W": own + 2 * np.eye(2), "leak": 2.0, "u": e, "v": e, "Astar": target, "ustar": e, "vstar": e}
    a, b = (0.7, 1.1), (0.3, frequency)
    exact = (overlap(*a, *a) - 2 * overlap(*a, *b) + overlap(*b, *b)) / 2
    assert evaluate(network.observables["loss"], v) == pytest.approx(exact, rel=1e-13)


def test_outlier_of_an_integrator(network):
    """Full flow of 8 x 8 weights against c' = 1/4c^2 - 1/(c + cs)^2 typed here: 3e-8; W = 0 grows one direction only."""
    v = dict(load(rnn.NAME, target="integrator", N=8, leak=1.0, decay=0.05).values)
    times = np.linspace(0, 3, 13)
    W = course(network, {"W": np.zeros((8, 8))}, v, times).values["W"]
    exact = solve_ivp(lambda t, c: 1 / (4 * c**2) - 1 / (c + 0.05) ** 2, (0, 3), [1.0], t_eval=times, rtol=1e-11, atol=1e-12).y[
        0
    ]
    outlier = 1 - np.einsum("i,tij,j->t", v["u"][:, 0], W, v["u"][:, 0])
    assert np.abs(outlier - exact).max() < 3e-8
    assert np.linalg.svd(W[-1], compute_uv=False)[1] < 1e-12
    first = times[np.argmax(np.abs(outlier - 0.05) < 0.005)]
    assert 0.5 <= first <= 0.75  # within 10 % of the target at t = 0.546


def test_long_memory_is_reached_in_finite_time(network):
    """cs -> 0: c = (1 - 9t/4)^(1/3), at cs = 1e-3 and t = 0.36 to 1 %."""
    lone = next(c for c in rnn.claims() if isinstance(c, Published) and "integrator" in c.label).on
    system = reduce(network, lone).system
    c = course(system, {"c": np.asarray(1.0)}, {"cs": 1e-3, "leak": 1.0}, [0.0, 0.36]).values["c"][-1]
    assert c == pytest.approx(0.578, abs=5e-4)  # the three digits that were given
    assert c == pytest.approx((1 - 9 * 0.36 / 4) ** (1 / 3), rel=1e-2)


@pytest.mark.parametrize("g", [0.02, 0.1])
def test_small_random_weights_have_the_same_outlier(network, g):
    """A bulk of radius g moves the outlier by less than 2 g^2 + g/50 in a 20 x 20 network."""
    n = 20
    v = dict(load(rnn.NAME, target="integrator", N=n, leak=1.0, decay=0.2).values)
    W0 = g * np.random.default_rng(1).standard_normal((n, n)) / np.sqrt(n)
    W = course(network, {"W": W0}, v, [0.0, 2.0, 4.0], rtol=1e-8).values["W"][-1]
    exact = solve_ivp(lambda t, c: 1 / (4 * c**2) - 1 / (c + 0.2) ** 2, (0, 4), [1.0], rtol=1e-10).y[0, -1]
    outlier = 1 - np.linalg.eigvals(W).real.max()
    assert abs(outlier - exact) < 2 * g**2 + g / 50


def test_eigenvalues_of_an_oscillator_collide(network):
    """The 2 x 2 block follows the full flow to 2e-7; eigenvalues are real, then a pair, as the discriminant says."""
    v = dict(load(rnn.NAME, N=3).values)
    times = np.linspace(0, 80, 33)
    full = course(network, {"W": v["W"]}, v, times, rtol=1e-10)
    a, b = np.array([[1.0], [0.0]]), np.array([[0.8], [0.6]])
    block = reduce(network, next(c.on for c in rnn.claims() if isinstance(c, Published) and "block" in c.label)).system
    small = course(block, {"M": np.zeros((2, 2))}, {**v, "a": a, "b": b}, times)
    for name in ("loss", "trace", "discriminant"):
        assert np.abs(full.observables[name] - small.observables[name]).max() < 2e-7
    pairs = [np.abs(np.linalg.eigvals(M).imag).max() for M in small.values["M"]]
    assert pairs[4] < 1e-6 < 0.5 < pairs[-1]
    seen = small.observables["discriminant"]
    assert all((d < 0) == (p > 0) for d, p in zip(seen[1:], pairs[1:], strict=True))
    assert full.observables["loss"][-1] < 0.05 * full.observables["loss"][0]


def test_unstable_weights_stop_the_integration(network):
    v = dict(load(rnn.NAME, N=3).values)
    kernel = compile(network, backend="numpy")
    layout = kernel.layout({"W": np.zeros((3, 3))})
    f = kernel.flat_rhs(layout, kernel.arguments({b.name: np.asarray(v[b.name]) for b in kernel.parameters}))
    assert np.isnan(f(0.0, layout.pack({"W": np.diag([2.5, 0.0, 0.0])}))).all()


@pytest.mark.parametrize("name", [rnn.NAME, "advani_2020_high_dimensional", "bordelon_2025_deep_linear"])
def test_a_wrong_flow_is_rejected(name):
    """A right-hand side of 1.01 times the derived one fails the printed equations."""
    entry = load(name)
    flow = gradient_flow(entry.model)
    first = flow.state[0].name
    from fractions import Fraction

    wrong = flow.replace(rhs={**flow.rhs, first: flow.rhs[first].scale(Fraction(101, 100))})
    printed = tuple(c for c in entry.claims if isinstance(c, Published) and c.on is None) or entry.claims[:1]
    assert not verify(replace(entry, claims=printed), system=wrong).passed


def errors(alpha, draws, N=200, sigma=0.5, times=(0.0, 0.5, 1.0, 2.0, 4.0)):
    """E_g and E_t of drawn problems, exactly in the eigenvectors of X X'."""
    rows = []
    for seed in range(draws):
        rng = np.random.default_rng([seed, 7])
        P = round(alpha * N)
        X, w = rng.standard_normal((N, P)) / np.sqrt(N), rng.standard_normal(N)
        y = X.T @ w + sigma * rng.standard_normal(P)
        eigenvalues, U = np.linalg.eigh(X @ X.T)
        l = np.maximum(eigenvalues, 1e-12)  # frozen modes have no data: U'X y = 0 there
        found = [U @ (-np.expm1(-l * t) / l * (U.T @ (X @ y))) for t in times]
        rows.append([[np.mean((x - w) ** 2) + sigma**2, np.mean((y - X.T @ x) ** 2)] for x in found])
    return np.array(rows)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_errors_of_drawn_problems(alpha):
    """12 draws at N = 200: relative deviations of E_g below 5 %, of E_t below 7 %, as six draws at N = 400 show."""
    entry = load("advani_2020_high_dimensional", alpha=alpha, N=20, scale=0.0)
    claim = next(c for c in entry.claims if isinstance(c, Concentrates))
    times = np.array([0.0, 0.5, 1.0, 2.0, 4.0])
    known = {"alpha": alpha, "sigma": 0.5, "scale": 0.0, "tau": 1.0, "t": times}
    derived = claim.derived(gradient_flow(entry.model), known)
    drawn = errors(alpha, 12)
    mean = drawn.mean(0)
    assert np.abs(mean[:, 0] / derived["Eg"] - 1).max() < 0.05
    late = 0.01 * derived["Et"][0]  # what is left late is a handful of slow modes
    assert np.all(np.abs(mean[:, 1] - derived["Et"]) < 0.07 * derived["Et"] + late)
    scores = (mean - np.stack([derived["Eg"], derived["Et"]], 1)) / (drawn.std(0, ddof=1) / np.sqrt(12))
    assert np.abs(scores).max() < 4.5  # Student with 11 degrees of freedom, 10 entries, Sidak: 1 % false alarms


def test_overtraining_is_worst_at_equal_sizes():
    """After t = 64 the noise has been learned most where the spectrum touches zero."""
    late = {}
    for alpha in (0.5, 1.0, 2.0):
        entry = load("advani_2020_high_dimensional", alpha=alpha, N=20)
        claim = next(c for c in entry.claims if isinstance(c, Concentrates))
        known = {**entry.values, "t": np.array([64.0, 256.0, 1024.0])}
        late[alpha] = claim.derived(gradient_flow(entry.model), known)["Eg"]
    assert late[1.0][0] > max(late[0.5][0], late[2.0][0])
    growth = (late[1.0][2] - late[1.0][1]) / (late[1.0][1] - late[1.0][0])
    assert growth == pytest.approx(2.0, rel=0.05)  # sqrt t; the signal that is still missing decays like 1/sqrt t


def test_a_wrong_average_is_rejected():
    """The noise left out of one curve: the derived one no longer equals the printed one."""
    entry = load("advani_2020_high_dimensional", N=20)
    claim = next(c for c in entry.claims if isinstance(c, Concentrates))

    def wrong(flow, values):
        return {n: 1.01 * e for n, e in claim.derived(flow, values).items()}

    short = replace(claim, derived=wrong, sizes=(20, 40), seeds=8)
    rows = verify(replace(entry, claims=(short,))).checks
    assert not next(r for r in rows if "derived" in r.claim).passed


def test_closed_form_of_the_wide_network():
    """Explicit b(t) of the engine against the printed t(b) and the two equations for b and h: 3e-10."""
    from derive.catalog import bordelon_2025_deep_linear as wide

    flow = gradient_flow(load(wide.NAME).model)
    form = closed_form(wide.along_teacher(flow))
    assert form.kind == "explicit"
    times = np.linspace(0, 2, 21)
    for gamma in (0.01, 1.0, 5.0):
        found = form.evaluate(times, {"b": 0.0}, {"bs": 1.0, "gamma": gamma, "c0": 1.0})["b"]
        assert np.abs(found - wide.printed({"gamma": gamma, "t": times})).max() < 1e-10
        ode = solve_ivp(
            lambda t, y, g=gamma: [2 * y[1] * (1 - y[0]), 2 * g**2 * y[0] * (1 - y[0])], (0, 2), [0.0, 1.0], t_eval=times,
            method="DOP853", rtol=1e-12, atol=1e-13,
        )  # fmt: skip
        assert np.abs(found - ode.y[0]).max() < 3e-10
    lazy = form.evaluate(times, {"b": 0.0}, {"bs": 1.0, "gamma": 1e-4, "c0": 1.0})["b"]
    assert np.abs(lazy - (1 - np.exp(-2 * times))).max() < 1e-7  # gamma -> 0: rate 2


def test_the_invariant_is_found_not_given():
    from derive.catalog import bordelon_2025_deep_linear as wide

    found = conserved(reduce(wide.kernels(gradient_flow(load(wide.NAME).model)), wide.TEACHER).system)
    assert [str(q) for q in found] == ["b**2*gamma**2 - h**2 = const  [proved]"]


def test_a_network_of_width_4000():
    """D = 20, gamma = 2, output at the start subtracted: 1e-2 in one run, by plain gradient descent written here."""
    from derive.catalog import bordelon_2025_deep_linear as wide

    N, D, gamma, dt = 4000, 20, 2.0, 0.002
    rng = np.random.default_rng(0)
    W, a, teacher = rng.standard_normal((N, D)), rng.standard_normal((N, 1)), rng.standard_normal((D, 1))
    teacher /= np.linalg.norm(teacher)
    first = W.T @ a / (gamma * N)
    seen = []
    for step in range(501):
        error = teacher + first - W.T @ a / (gamma * N)
        if step % 100 == 0:
            seen.append(1 - float((teacher.T @ error)[0, 0]))
        W, a = W + dt * gamma * a @ error.T, a + dt * gamma * W @ error
    exact = wide.printed({"gamma": gamma, "t": 0.2 * np.arange(6)})
    assert np.abs(np.array(seen) - exact).max() < 1.0e-2


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"target": "integrator"}, {"leak": 2.5, "frequency": 1.2}])
def test_variants_of_the_recurrent_network(settings):
    entry = load(rnn.NAME, **settings)
    kept = tuple(c for c in entry.claims if not isinstance(c, MatchesSimulation))
    assert verify(replace(entry, claims=kept)).passed
