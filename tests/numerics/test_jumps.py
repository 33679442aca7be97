"""Flows that jump at zeros of the state: crossings, sliding, leaving; and what an L1 penalty does to gated weights.

Two roads: the event-driven integration against closed forms by hand, or against a proximal step that never evaluates a sign.
"""

import numpy as np
import pytest

from codegen import compile
from derive import (
    Model,
    Rate,
    broken_invariants,
    dims,
    exit_time,
    fn,
    grad,
    gradient_flow,
    matrix,
    norm2,
    scalars,
    total,
    vector,
)
from derive.catalog import load
from derive.errors import InvalidSpec, NoClosedForm, UnsupportedNode
from derive.flows.switches import jumps, smooth_branch
from derive.matrices.composite import elem
from derive.matrices.poly import atom, param
from derive.matrices.words import Atom
from derive.system import Block, Flow
from numerics import Status, integrate

n = dims("n")


def gated():
    return gradient_flow(load("loewe_2024_insight").model)


DATA = {"Sx": np.array([[1.0, 0.2], [0.2, 1.0]]), "k": np.array([[0.4], [0.9]]), "Syy": 1.0}
START = {"w": np.array([[0.3], [0.2]]), "g": np.array([[0.4], [0.25]])}


def proximal(lam, start, end, dt):
    """Euler for w, soft threshold for g: no sign is evaluated, and zero is reached exactly."""
    w, g = start["w"][:, 0].copy(), start["g"][:, 0].copy()
    for _ in range(round(end / dt)):
        r = DATA["k"][:, 0] - DATA["Sx"] @ (g * w)
        moved = g + dt * w * r
        w, g = w + dt * g * r, np.sign(moved) * np.maximum(np.abs(moved) - dt * lam, 0)
    return w, g


def test_the_lasso_of_one_number_slides_into_zero_or_stays_where_it_must():
    """g' = c - g - lam sgn(g): towards c - lam, c + lam, or into zero after a time known by hand."""
    g, c, lam = vector("g", n), vector("c", n), scalars("lam", positive=True)
    L = scalars("L")
    model = Model(
        name="lasso", state=g, given=(c, lam), let={L: norm2(g - c) / 2 + lam * total(fn.abs(g))}, learn=Rate({g: -grad(L, g)})
    )
    kernel = compile(gradient_flow(model), backend="numpy")
    start, target = np.array([[1.0], [-0.5], [0.4], [-0.3]]), np.array([[0.2], [1.4], [0.3], [-2.0]])
    path = integrate(kernel, {"g": start}, {"c": target, "lam": 0.5}, (0, 40), [1.0, 40.0], rtol=1e-10)
    assert np.allclose(path.values["g"][-1, :, 0], [0, 0.9, 0, -1.5], atol=1e-9)  # soft threshold of c; rtol 1e-10
    assert path.values["g"][-1, 0, 0] == 0.0  # exactly: it slides
    times = {place: t for t, place, side in path.statistics["changes"] if side == 0}
    assert times[0] == pytest.approx(np.log(1.3 / 0.3), abs=1e-8)  # g = -0.3 + 1.3 e^-t
    assert times[2] == pytest.approx(np.log(0.6 / 0.2), abs=1e-8)  # g = -0.2 + 0.6 e^-t
    (crossing,) = [t for t, place, side in path.statistics["changes"] if place == 1]
    assert crossing == pytest.approx(np.log(2.4 / 1.9), abs=1e-8)  # g = 1.9 - 2.4 e^-t goes through zero


def test_sliding_ends_when_the_drive_has_grown():
    """g' = q - lam sgn(g), q' = 1: g rests until q = lam, then g = (q - lam)^2 / 2."""
    g, q, lam = atom(Atom("g", 2, 1)), atom(Atom("q", 2, 1)), param("lam")
    one = atom(Atom("ones[2,1]", 2, 1))
    flow = Flow(
        name="drive", state=(Block(name="g", shape=(2, 1)), Block(name="q", shape=(2, 1))),
        rhs={"g": q - lam * elem("sgn", g), "q": one}, parameters=(Block(name="lam"),),
    )  # fmt: skip
    start = {"g": np.zeros((2, 1)), "q": np.array([[0.0], [-2.0]])}
    path = integrate(compile(flow, backend="numpy"), start, {"lam": 0.5}, (0, 2), [0.25, 2.0], rtol=1e-10)
    assert path.values["g"][0, 0, 0] == 0.0
    assert path.values["g"][1, 0, 0] == pytest.approx(1.5**2 / 2, abs=1e-7)  # left at 1 + 1e-9 of the interval
    assert path.values["g"][1, 1, 0] == pytest.approx(-1.0, abs=1e-8)  # integral of t - 2 + 1/2 to t = 2; rtol 1e-10
    changes = [(round(t, 6), place, side) for t, place, side in path.statistics["changes"]]
    assert (0.5, 0, 1) in changes


@pytest.mark.parametrize(("lam", "end"), [(0.05, 30.0), (0.3, 12.0)])
def test_gated_weights_agree_with_proximal_steps(lam, end):
    """Event-driven drift against soft-threshold descent at two steps, extrapolated."""
    path = integrate(compile(gated(), backend="numpy"), START, {**DATA, "lam": lam}, (0, end), [end], rtol=1e-10)
    coarse, fine = (np.concatenate(proximal(lam, START, end, dt)) for dt in (4e-3, 2e-3))
    theory = np.concatenate([path.values["w"][-1, :, 0], path.values["g"][-1, :, 0]])
    assert np.abs(2 * fine - coarse - theory).max() < 2e-4  # second order of the step, 4e-6, times a growth of some tens
    suppressed = np.array([path.values["g"][-1, :, 0] == 0, fine[2:] == 0])
    assert (suppressed[0] == suppressed[1]).all()
    assert suppressed[0].any() == (lam > 0.1)


def test_a_plain_solver_would_step_over_the_jump():
    """The same kernel without its branch: the solver crawls or chatters, and is slower by far."""
    from dataclasses import replace

    kernel = compile(gated(), backend="numpy")
    params, start = {**DATA, "lam": 0.3}, {"w": np.array([[0.3], [0.5]]), "g": np.array([[-0.4], [0.25]])}
    honest = integrate(kernel, start, params, (0, 5), [5.0], rtol=1e-8)
    plain = integrate(replace(kernel, branch=None), start, params, (0, 5), [5.0], rtol=1e-8, max_steps=3000)
    assert honest.status is Status.OK
    assert honest.values["g"][-1, 0, 0] == 0.0
    assert plain.status is not Status.OK or plain.values["g"][-1, 0, 0] != 0.0


def test_the_penalty_breaks_the_balance_at_a_known_rate():
    """d(w o w - g o g)/dt = 2 lam |g|: derived, and measured on a trajectory through a suppression."""
    (law,) = broken_invariants(gated(), "lam")
    assert str(law) == "d/dt [(w o w) - (g o g)] = 2*lam*abs(g)"
    times = np.linspace(0, 4, 4001)
    start = {"w": np.array([[0.3], [0.5]]), "g": np.array([[-0.4], [0.25]])}
    path = integrate(compile(gated(), backend="numpy"), start, {**DATA, "lam": 0.3}, (0, 4), times, rtol=1e-11)
    w, g = (path.values[name][..., 0] for name in ("w", "g"))
    gained = np.array([np.trapezoid(0.6 * np.abs(g[:, i]), times) for i in range(2)])
    change = (w**2 - g**2)[-1] - (w**2 - g**2)[0]
    assert np.abs(change - gained).max() < 1e-6  # trapezium rule at a step of 1e-3
    none = integrate(compile(gated(), backend="numpy"), start, {**DATA, "lam": 0.0}, (0, 4), [4.0], rtol=1e-12)
    rest = (none.values["w"] ** 2 - none.values["g"] ** 2)[0] - (start["w"] ** 2 - start["g"] ** 2)
    assert np.abs(rest).max() < 3e-12  # published drift; rtol 1e-12


def test_the_drift_is_the_mean_of_stochastic_gradient_descent():
    """64 runs with Gaussian inputs, step 2e-3, to t = 30: published agreement .011."""
    rng, dt, steps, runs = np.random.default_rng(0), 2e-3, 15000, 64
    root = np.linalg.cholesky(DATA["Sx"])
    teacher = np.linalg.solve(DATA["Sx"], DATA["k"])[:, 0]
    w, g = (np.tile(START[name][:, 0], (runs, 1)) for name in ("w", "g"))
    noise = rng.standard_normal((steps, runs, 2))
    for i in range(steps):
        x = noise[i] @ root.T
        e = ((teacher - g * w) * x).sum(1, keepdims=True) * x
        moved = g + dt * w * e
        w, g = w + dt * g * e, np.sign(moved) * np.maximum(np.abs(moved) - dt * 0.05, 0)
    path = integrate(compile(gated(), backend="numpy"), START, {**DATA, "lam": 0.05}, (0, 30), [30.0], rtol=1e-9)
    for name, runs_ in (("w", w), ("g", g)):
        assert np.abs(runs_.mean(0) - path.values[name][0, :, 0]).max() < 0.011


def test_jumps_are_found_where_they_are_and_nowhere_else():
    (jump,) = jumps(gated())
    assert (jump.state, jump.function, jump.held) == ("g", "sgn", "sgn_g")
    branch = smooth_branch(gated(), (jump,))
    assert jumps(branch) == ()
    assert "sgn_g" in [b.name for b in branch.parameters]
    W, x = matrix("W", 3, n), vector("x", n)
    L, y = scalars("L y")
    relu = Model(name="relu", state=W, given=(x, y), let={L: (y - total(fn.relu(W * x))) ** 2}, learn=Rate({W: -grad(L, W)}))
    assert jumps(gradient_flow(relu)) == ()  # a kink of the loss at W x = 0, no zero of an entry of the state


def test_a_state_that_is_pushed_away_from_zero_on_both_sides_is_refused():
    g = atom(Atom("g", 2, 1))
    flow = Flow(name="split", state=(Block(name="g", shape=(2, 1)),), rhs={"g": elem("sgn", g)})
    kernel = compile(flow, backend="numpy")
    with pytest.raises(UnsupportedNode, match="start from a value that is not zero"):
        integrate(kernel, {"g": np.array([[0.0], [1.0]])}, {}, (0, 1))
    assert integrate(kernel, {"g": np.array([[-0.5], [1.0]])}, {}, (0, 1), [1.0]).values["g"].ravel() == pytest.approx(
        [-1.5, 2.0]
    )


def test_what_is_not_followed_across_jumps_is_refused():
    with pytest.raises(InvalidSpec, match="phase by phase"):
        integrate(compile(gated(), backend="numpy"), START, {**DATA, "lam": 0.3}, (0, 1), until=lambda t, y: -1.0)
    with pytest.raises(InvalidSpec, match="choose among Syy, lam"):
        broken_invariants(gated(), "mu")


@pytest.mark.parametrize("drift", [0.0, 0.3])
def test_the_mean_exit_time_against_a_walk(drift):
    """The derived mean against 3000 Euler walks with the barrier moved by 0.5826 steps; false alarm 1e-4, seed fixed."""
    import sympy as sp

    x = sp.Symbol("x")
    formula = exit_time(x, drift=sp.nsimplify(drift), variance=sp.Rational(1, 4), between=(-1, 1))
    rng, dt = np.random.default_rng(4), 2e-3
    at, left = np.full(3000, 0.2), np.full(3000, np.nan)
    edge = 1 - 0.5826 * 0.5 * np.sqrt(dt)  # of the walk, so that it stands for a continuous path to 1
    for i in range(40_000):
        at = at + dt * drift + 0.5 * np.sqrt(dt) * rng.standard_normal(3000)
        out = (np.abs(at) > edge) & np.isnan(left)
        left[out] = (i + 1) * dt
        if not np.isnan(left).any():
            break
    z = (left.mean() - float(formula.subs(x, 0.2))) / (left.std() / np.sqrt(3000))
    assert abs(z) < 3.9  # two-sided normal quantile of 1e-4


def test_an_exit_time_without_a_closed_form_is_refused():
    import sympy as sp

    x = sp.Symbol("x")
    for drift in (x**3, -x):
        with pytest.raises(NoClosedForm, match="numerically"):
            exit_time(x, drift=drift, variance=1, between=(-1, 1))


def test_the_claim_about_escape_rejects_a_wrong_formula():
    from dataclasses import replace

    from numerics import verify

    entry = load("loewe_2024_insight")
    escape = entry.claims[2]
    wrong = replace(escape, mean=escape.mean * 2, values={**escape.values, n: 500}, derived=None, step=None)
    report = verify(replace(entry, claims=(wrong,)))
    assert not report.passed
    assert report.checks[0].statistic > 10  # half the claimed time
