"""Elimination, change of variables, equivalence: reduced flows against full ones, both integrated; refusals name the remedy."""

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

import derive
from codegen import compile as compiled
from derive.errors import InvalidSpec, UnsupportedNode
from derive.flows.change_of_variables import change_variables
from derive.flows.elimination import eliminate
from derive.flows.equivalence import equivalent
from derive.invariants.search import conserved
from derive.matrices.poly import param
from tests.derive.darboux.systems import numbers

x, y, a, b, c, s, k = sp.symbols("x y a b c s k", real=True)
u, q, P = sp.symbols("u q P", positive=True)
MODE = {a: b * (s - a * b), b: a * (s - a * b)}


def integrated(flow, state, params, time):
    kernel = compiled(flow, backend="numpy")
    layout = kernel.layout(state)
    f = kernel.flat_rhs(layout, kernel.arguments({p.name: params[p.name] for p in kernel.parameters}))
    return layout.unpack(solve_ivp(f, (0, time), layout.pack(state), method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1])


def commutes(made, values, start, time):
    """Full flow from a start, then projected, against the reduced flow from the projected start, and lifted back."""
    params = {**values, **made.parameters_from({**values, **start})}
    low = integrated(made.system, made.project_state(values, start), params, time)
    high = integrated(made.full, start, values, time)
    wanted = made.project_state(values, high)
    lifted = made.lift_state({**values, **start}, low)
    apart = max(np.abs(np.asarray(low[n]) - wanted[n]).max() for n in low)
    return max(apart, *(np.abs(np.asarray(lifted[n]) - high[n]).max() for n in high))


def neuron():
    D, A = derive.dims("D"), derive.scalars("A", positive=True)
    g, L = derive.scalars("g"), derive.scalars("L")
    w, y0 = derive.vector("w", D), derive.vector("y0", D)
    rate_g, rate_w = derive.scalars("rate_g rate_w", positive=True)
    rule = derive.Rate({g: -rate_g * derive.grad(L, g), w: -rate_w * derive.grad(L, w)})
    loss = {L: derive.norm2(y0 - g * w) / 2}
    model = derive.Model(name="neuron", state=(g, w), given=(y0, rate_g, rate_w), let=loss, learn=rule)
    return derive.gradient_flow(model), {A: g**2, derive.vector("beta", D): g * w}


def neuron_values(seed):
    rng = np.random.default_rng(seed)
    values = {"y0": rng.normal(size=(3, 1)), "rate_g": 0.7, "rate_w": 1.3}
    w = rng.normal(size=(3, 1))
    w *= np.sign((w * values["y0"]).sum())  # so that the gain does not cross zero
    return values, {"g": rng.uniform(0.3, 1), "w": w}


def test_a_state_is_eliminated():
    flow = numbers(MODE)
    made = eliminate(flow, conserved(flow)[0], "b")
    assert [z.name for z in made.system.state] == ["a"]
    assert commutes(made, {"s": 1.4}, {"a": 1.1, "b": 0.3}, 2.0) <= 1e-10  # both roads have rtol 1e-12
    lower = eliminate(flow, a**2 - b**2, "b", root=-1)
    assert commutes(lower, {"s": -1.4}, {"a": 1.1, "b": -0.3}, 2.0) <= 1e-10  # the other root
    assert made.assumptions[0].text.startswith("b > 0")


def test_a_log_linear_relation_is_solved_for_either_state():
    rhs = {u: 2 * u * (s - u / P - b / sp.sqrt(P)), b: sp.sqrt(P) * s - b - u / sp.sqrt(P)}
    flow = numbers(rhs)
    (claim,) = conserved(flow)
    for state in ("u", "b"):
        made = eliminate(flow, claim, state)
        assert commutes(made, {"s": 1.4, "P": 4.0}, {"u": 0.2, "b": 0.1}, 3.0) <= 1e-10  # both roads have rtol 1e-12


def test_one_neuron_in_function_space():
    """Words: change of variables, then the number is eliminated; the sign of the gain does not matter for the function."""
    flow, new = neuron()
    made = eliminate(change_variables(flow, new), conserved(flow)[0], "A", name="delta")
    assert [z.name for z in made.system.state] == ["beta"]
    for seed in range(3):
        values, start = neuron_values(seed)
        assert commutes(made, values, start, 1.5) <= 1e-9  # both roads have rtol 1e-12, growth O(10)
    wrong = {n: p.scale(2) if n == "beta" else p for n, p in made.system.rhs.items()}
    values, start = neuron_values(0)
    broken = derive.Reduction(
        full=made.full, system=made.system.replace(rhs=wrong), lift=made.lift, parameters_from=made.parameters_from,
        lift_state=made.lift_state, project_state=made.project_state,
    )  # fmt: skip
    assert commutes(broken, values, start, 1.5) > 1e-2


def test_monomials_of_numbers_are_inverted():
    flow = numbers({x: x * (1 - y), y: y * (x - 1)})
    z, r = sp.symbols("z r", positive=True)
    made = change_variables(flow, {z: x**2 * y, r: y / x})
    assert commutes(made, {}, {"x": 0.7, "y": 1.2}, 2.0) <= 1e-10  # both roads have rtol 1e-12
    given = change_variables(flow, {z: x + y, r: x - y}, {x: (z + r) / 2, y: (z - r) / 2})
    assert commutes(given, {}, {"x": 0.7, "y": 1.2}, 2.0) <= 1e-10


def test_refusals():
    flow = numbers(MODE)
    with pytest.raises(InvalidSpec, match="not conserved"):
        eliminate(flow, a**2 + b**2, "b")
    with pytest.raises(InvalidSpec, match="choose among a, b"):
        eliminate(flow, a**2 - b**2, "c")
    with pytest.raises(InvalidSpec, match="another name"):
        eliminate(flow, a**2 - b**2, "b", name="a")
    with pytest.raises(UnsupportedNode, match="eliminate another state"):
        eliminate(numbers({x: -(3 * y**2 - 1), y: 3 * x**2 + 1}), x**3 + x + y**3 - y, "x")
    with pytest.raises(UnsupportedNode, match="inverse"):
        change_variables(flow, {u: a + b, q: a - b})
    with pytest.raises(InvalidSpec, match="independent"):
        change_variables(flow, {u: a * b, q: a**2 * b**2})
    matrices, _ = neuron()
    with pytest.raises(UnsupportedNode, match="one number only"):
        eliminate(matrices, conserved(matrices)[0], "w")
    with pytest.raises(InvalidSpec, match="no conserved number"):
        eliminate(matrices, param("g", 2), "g")


def test_clocks_are_compared():
    slow, fast = numbers({x: x * (s - x)}, "slow"), numbers({y: 3 * k * y**2 * (s - y)}, "fast")
    found = equivalent(fast, slow)
    assert sp.simplify(found.factor - 3 * k * y) == 0
    assert not found.constant
    assert equivalent(numbers({x: 2 * x * (s - x)}), slow).constant
    assert equivalent(numbers({x: 2 * x * (s - x) + x}), slow) is None
    assert equivalent(numbers(MODE), numbers({a: b * (s - a * b), b: k * a * (s - a * b)})) is None
    with pytest.raises(InvalidSpec, match="reduce the larger"):
        equivalent(slow, numbers(MODE))


def test_clocks_of_matrix_flows():
    flow = derive.gradient_flow(derive.linear_network(depth=2))
    faster = flow.replace(rhs={n: p.scale(5) for n, p in flow.rhs.items()})
    assert equivalent(faster, flow).factor == param("x", 0).scale(5)
    uneven = flow.replace(rhs={**flow.rhs, "W1": flow.rhs["W1"].scale(5)})
    assert equivalent(uneven, flow) is None
