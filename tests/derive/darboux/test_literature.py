"""Published systems through the whole chain: derived, reduced, and compared with closed or asymptotic forms."""

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

import derive
from codegen import compile as compiled
from derive.catalog import load
from derive.flows.change_of_variables import change_variables
from derive.flows.elimination import eliminate
from derive.flows.equivalence import equivalent
from derive.invariants.search import conserved
from derive.reductions.ansatz import Balanced, Modes
from derive.reductions.reduction import reduce
from tests.derive.darboux.systems import numbers


def flat(flow, state, params):
    kernel = compiled(flow, backend="numpy")
    layout = kernel.layout(state)
    return kernel.flat_rhs(layout, kernel.arguments({p.name: params[p.name] for p in kernel.parameters})), layout


@pytest.mark.parametrize("seed", range(4))
def test_one_neuron_follows_the_hyperbolic_tangent(seed):
    """Equal rates: nu = w.betastar/a is a tangent, or a cotangent if |delta + 2 nu| > K at the start."""
    flow, rng = derive.gradient_flow(load("kunin_2024_get_rich_quick").model), np.random.default_rng(seed)
    params = {"betastar": rng.normal(size=(3, 1)), "eta_a": 1.0, "eta_w": 1.0}
    state = {"a": rng.uniform(0.5, 1.0), "w": rng.normal(size=(3, 1))}
    state["w"] *= np.sign((state["w"] * params["betastar"]).sum())  # the gain does not cross zero
    f, layout = flat(flow, state, params)
    times = np.linspace(0, 3, 7)
    path = solve_ivp(f, (0, 3), layout.pack(state), t_eval=times, method="DOP853", rtol=1e-12, atol=1e-13).y.T
    seen = [float((layout.unpack(y)["w"] * params["betastar"]).sum() / layout.unpack(y)["a"]) for y in path]
    delta = state["a"] ** 2 - (state["w"] ** 2).sum()
    K = np.sqrt(delta**2 + 4 * (params["betastar"] ** 2).sum())
    start = (delta + 2 * seen[0]) / K
    form, inverse = (np.tanh, np.arctanh) if abs(start) < 1 else (lambda z: 1 / np.tanh(z), lambda z: np.arctanh(1 / z))
    assert np.allclose(seen, (K * form(K * times / 2 + inverse(start)) - delta) / 2, rtol=1e-9)  # integration at rtol 1e-12


def learned(flow, state, params, small, level=0.5):
    """First times at which the maps of A and B reach half of what they reach alone and at the end."""
    f, layout = flat(flow, dict.fromkeys(state, small), params)

    def crossing(n, wanted):
        def event(t, y):
            return float(layout.unpack(y)[n]) ** 2 - level * wanted

        return event

    goals = [crossing("uA", params["syA"] / params["sA"]), crossing("uB", 1.0)]
    y0 = layout.pack(dict.fromkeys(state, small))
    path = solve_ivp(f, (0, 80), y0, events=goals, method="DOP853", rtol=1e-11, atol=1e-6 * small)
    return path.t_events[0][0], path.t_events[1][0]


def test_the_ratio_of_learning_times_is_of_leading_order():
    """1 + (syA - syB) / (syB - syA sAB / sA) = 5; the deviation falls like 1 / log(1 / u0)."""
    entry = load("zhang_2024_unimodal_bias")
    on = next(c.on for c in entry.claims if getattr(c, "on", None) is not None)
    flow = reduce(derive.gradient_flow(entry.model), on).system
    params = {n: entry.values[n] for n in ("sA", "sB", "sAB", "syA", "syB", "tau")} | {"sy": 7.0}
    scales = (1e-2, 1e-4, 1e-8)
    gaps = []
    for small in scales:
        first, second = learned(flow, ("uA", "uB"), params, small)
        gaps.append(abs(second / first - 5))
    assert gaps[0] > gaps[1] > gaps[2]
    scaled = [gap * np.log(1 / small) for gap, small in zip(gaps, scales, strict=True)]
    assert max(scaled) < 1.2 * min(scaled)  # one term of a series in 1 / log: the next is a tenth of it at 1e-2


def test_early_fusion_keeps_the_strengths_on_a_cone():
    entry = load("zhang_2024_unimodal_bias", fusion="early")
    on = next(c.on for c in entry.claims if getattr(c, "on", None) is not None)
    (claim,) = conserved(reduce(derive.gradient_flow(entry.model), on).system)
    assert str(claim.expr) == "uA^2 - u^2 + uB^2"


def test_routing_in_one_variable():
    """Both invariants eliminate two of three strengths: x' = (x^2 + c)/M (s - x (x^2 + c)/M), typed here by hand."""
    b1, b2, b3, s = sp.symbols("b1 b2 b3 s", real=True)
    M = sp.Symbol("M", positive=True)
    gap = s - b1 * b2 * b3
    flow = numbers({b1: b2 * b3 * gap / M, b2: b1 * b3 * gap, b3: b1 * b2 * gap / M})
    made = eliminate(eliminate(flow, b1**2 - b3**2, "b3", name="c1"), M * b1**2 - b2**2, "b1", name="c")
    assert [z.name for z in made.system.state] == ["b2"]
    params = made.parameters_from({"M": 7.0, "s": 1.3, "b1": 0.2, "b2": 0.2, "b3": 0.2})
    f, layout = flat(made.system, {"b2": 0.2}, params)
    c = 7 * 0.04 - 0.04
    for x in (0.1, 0.5, 2.0):
        (rate,) = f(0.0, layout.pack({"b2": x}))
        assert np.isclose(rate, (x * x + c) / 7 * (1.3 - x * (x * x + c) / 7), rtol=1e-13)  # rounding


@pytest.mark.parametrize("alpha", [2, 3, 4])
def test_powers_are_deep_modes_on_a_faster_clock(alpha):
    """theta = phi^alpha moves like a balanced mode of depth alpha, alpha times as fast."""
    phi, s, theta = sp.symbols("phi s theta", positive=True)
    power = numbers({phi: alpha * phi ** (alpha - 1) * (s - phi**alpha)})
    weights = change_variables(power, {theta: phi**alpha}).system
    deep = reduce(derive.gradient_flow(derive.linear_network(depth=alpha)), (Modes(white=True), Balanced())).system
    found = equivalent(weights, deep)
    assert found.constant
    assert [str(found.factor)] == [f"{alpha}*tau"]
