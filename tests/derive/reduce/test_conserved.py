"""Conserved quantities: known balances come out, drift along integrated flows is rounding, wrong flows have none."""

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

import derive
from derive.algebra.nullspace import null_vectors
from derive.indices.indexed import Index, arr
from derive.invariants.search import conserved
from derive.matrices.calculus import ddt
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import atom, param
from derive.matrices.words import Atom
from derive.system import Block, Flow


def deep(depth):
    return derive.gradient_flow(derive.linear_network(depth=depth))


def weight(l):
    return atom(Atom(f"W{l}", f"N{l}", f"N{l - 1}"))


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_neighbouring_layers_are_balanced(depth):
    found = [c.expr for c in conserved(deep(depth))]
    assert found == [weight(l + 1).T * weight(l + 1) - weight(l) * weight(l).T for l in range(1, depth)]


def test_rates_weight_the_balance():
    flow = deep(2)
    rhs = {"W1": flow.rhs["W1"] * param("tau") * param("tau1", -1), "W2": flow.rhs["W2"] * param("tau") * param("tau2", -1)}
    (claim,) = conserved(flow.replace(rhs=rhs))
    expected = param("tau2") * weight(2).T * weight(2) - param("tau1") * weight(1) * weight(1).T
    assert claim.expr == expected


def test_one_layer_has_none_and_a_broken_flow_loses_its_own():
    assert conserved(deep(1)) == ()
    flow = deep(2)
    assert conserved(flow.replace(rhs={**flow.rhs, "W2": flow.rhs["W2"] + weight(2)})) == ()  # decay on one layer


def test_square_layers_of_equal_size():
    found = conserved(derive.gradient_flow(derive.linear_network(depth=3, sizes=[derive.dims("n")] * 4)))
    assert [str(c.expr) for c in found] == ["W2'*W2 - W1*W1'", "W3'*W3 - W2*W2'"]


def test_drift_along_the_flow():
    flow, rng = deep(3), np.random.default_rng(3)
    sizes = (4, 3, 5, 2)
    values = {"Sx": np.diag([1.0, 2.0, 0.5, 1.5]), "Syx": rng.normal(size=(2, 4)), "Syy": np.eye(2), "tau": 1.0}
    start = {f"W{l}": 0.5 * rng.normal(size=(sizes[l], sizes[l - 1])) for l in (1, 2, 3)}
    splits = np.cumsum([v.size for v in start.values()])[:-1]

    def unpack(y):
        return {n: part.reshape(start[n].shape) for n, part in zip(start, np.split(y, splits), strict=True)}

    def rhs(t, y):
        at = unpack(y)
        w1, w2, w3 = at["W1"], at["W2"], at["W3"]
        e = values["Syx"] - w3 @ w2 @ w1 @ values["Sx"]  # typed by hand: the other road
        return np.concatenate([(w2.T @ w3.T @ e).ravel(), (w3.T @ e @ w1.T).ravel(), (e @ w1.T @ w2.T).ravel()])

    y0 = np.concatenate([v.ravel() for v in start.values()])
    y = solve_ivp(rhs, (0, 20), y0, method="DOP853", rtol=1e-10, atol=1e-12).y[:, -1]
    assert np.linalg.norm(y - y0) > 0.5  # it moves
    for claim in conserved(flow):
        before, after = (evaluate(claim.expr, {**values, **unpack(z)}) for z in (y0, y))
        assert np.max(np.abs(after - before)) <= 1e-9  # rtol 1e-10 over O(10) units of time


def test_own_basis_marks_dependent_quantities():
    w1, w2 = weight(1), weight(2)
    basis = [w2.T * w2, w1 * w1.T, (w2.T * w2).trace(), (w1 * w1.T).trace()]
    found = conserved(deep(2), basis=basis)
    assert [c.functionally_independent for c in found] == [True, False]
    assert all(not ddt(c.expr, deep(2)) for c in found)


def test_scalar_states_beside_matrices():
    u, m = atom(Atom("U", "n", "n")), atom(Atom("M", "n", "n"))
    v = param("v")
    error = m - v * u  # loss |M - v U|^2 / 2
    flow = Flow(
        name="gain",
        state=(Block(name="U", shape=("n", "n")), Block(name="v")),
        rhs={"U": v * error, "v": (u.T * error).trace()},
    )
    (claim,) = conserved(flow)
    assert claim.expr == (u.T * u).trace() - v * v or claim.expr == v * v - (u.T * u).trace()


def test_modes():
    i = Index("i", "r")
    a, b, s, d = (arr(n, i) for n in "absd")
    blocks = tuple(Block(name=n, shape=("r",), indices=(i,)) for n in "ab")
    (claim,) = conserved(Flow(name="modes", state=blocks, rhs={"a": b * (s - a * b * d), "b": a * (s - a * b * d)}))
    assert claim.expr == a**2 - b**2
    assert conserved(Flow(name="other", state=blocks, rhs={"a": b * s, "b": a * a + a})) != ()  # a cubic energy
    assert conserved(Flow(name="none", state=blocks, rhs={"a": b * s - a, "b": a * a + d * b})) == ()


def test_null_vectors_over_rational_functions():
    a, b = sp.symbols("a b")
    (vector,) = null_vectors([{"x": 6 * a}, {"x": 4 * a * b}])
    assert sp.expand(vector[0] * 6 * a + vector[1] * 4 * a * b) == 0
    assert vector == (2 * b, -3)


def test_a_basis_is_typed_as_expressions_of_the_user() -> None:
    """Roads: candidates as SymPy expressions, and as polynomials of words."""
    flow = deep(2)
    W1, W2 = flow.symbols["W1"], flow.symbols["W2"]
    typed = conserved(flow, basis=[W1 * W1.T, W2.T * W2])
    assert [q.expr for q in typed] == [q.expr for q in conserved(flow)]
    assert not conserved(flow, basis=[W2.T * W2]), "one of the two alone is not conserved"
    V = sp.MatrixSymbol("V", *W1.shape)
    with pytest.raises(derive.InvalidSpec, match=r"conserved: V in V'\*V is no symbol"):
        conserved(flow, basis=[V.T * V])
