"""Index-level kernels: emitted loops against term-by-term evaluation of the same nodes (two roads), in three backends."""

import math

import mpmath
import numpy as np
import pytest

from codegen import compile
from codegen.build import build
from derive.indices.indexed import Index, arr, evaluate, fun, kron, sum_over
from derive.system import Block, Flow
from tests.codegen import flows

FLOATS = {"pi": math.pi, "asin": math.asin, "exp": math.exp}
EXACT = {"pi": mpmath.pi, "asin": mpmath.asin, "exp": mpmath.exp, "number": lambda q: mpmath.mpf(q.numerator) / q.denominator}


def oracle(flow, values, functions):
    """Time derivatives, entry by entry."""
    out = []
    for b in flow.state:
        shape = tuple(values[i.family] for i in b.indices)
        entries = [
            evaluate(flow.rhs[b.name], values, dict(zip(b.indices, at, strict=True)), functions) for at in np.ndindex(shape)
        ]
        out.append(np.array(entries, dtype=object).reshape(shape))
    return out


def setting(flow, K, M, seed=3):
    rng = np.random.default_rng(seed)
    state, T = flows.overlaps(rng, K, M)
    given = {"T": T, "A": rng.standard_normal(M), "eta": 0.3, "eta_v": 0.2, "sigma": 0.4, "N": 50.0}
    kept = {b.name: given[b.name] for b in build(flow).parameters}
    return state, kept


def deviation(got, want):
    return max(float(np.max(np.abs(np.asarray(g, dtype=object) - w))) for g, w in zip(got, want, strict=True))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("make", [flows.committee, flows.teacher_student])
def test_loops_agree_with_term_by_term_evaluation_at_every_size(make, backend):
    flow = make()
    kernel = compile(flow, backend)
    for K, M in [(1, 1), (2, 3), (3, 2)]:
        state, params = setting(flow, K, M)
        got = kernel.rhs(0.0, *state.values(), *kernel.arguments(params))
        want = oracle(flow, {**state, **params, "K": K, "M": M}, FLOATS)
        assert deviation(got, want) < 1e-13  # sums of fewer than 100 terms of order one
        eg = kernel.observables(0.0, *state.values(), *kernel.arguments(params))
        (node,) = flow.observables.values()
        assert abs(eg[0] - evaluate(node, {**state, **params, "K": K, "M": M}, {}, FLOATS)) < 1e-13  # as above


def test_the_oracle_backend_keeps_thirty_digits():
    flow = flows.committee()
    kernel = compile(flow, "mpmath")
    state, params = setting(flow, 2, 2)
    with mpmath.workdps(35):
        exact = {n: np.vectorize(mpmath.mpf, otypes=[object])(a) for n, a in state.items()}
        given = kernel.arguments(params)
        values = {**exact, **dict(zip([b.name for b in kernel.parameters], given, strict=True)), "K": 2, "M": 2}
        got = kernel.rhs(mpmath.mpf(0), *exact.values(), *given)
        assert deviation(got, oracle(flow, values, EXACT)) < 1e-30  # 35 working digits less five for cancellation
    low = compile(flow, "numpy").rhs(0.0, *state.values(), *compile(flow, "numpy").arguments(params))
    assert 0 < deviation(got, low) < 1e-13  # and double precision differs, by rounding only


def test_one_kernel_serves_every_size():
    flow = flows.teacher_student()
    kernel = compile(flow, "numpy")
    assert "range(4)" not in kernel.source
    shapes = [
        kernel.rhs(0.0, *s.values(), *kernel.arguments(p))[1].shape for s, p in (setting(flow, 2, 5), setting(flow, 4, 1))
    ]
    assert shapes == [(2, 5), (4, 1)]
    assert compile(flow, "numpy").digest == kernel.digest


def test_a_size_that_no_array_shows_is_an_argument():
    kernel = compile(flows.committee(), "numpy")
    assert [b.name for b in kernel.parameters] == ["T", "eta", "sigma", "N"]
    state, params = setting(flows.committee(), 2, 2)
    other = {**params, "N": 1e9}
    v, w = (kernel.rhs(0.0, *state.values(), *kernel.arguments(p))[2] for p in (params, other))
    assert np.allclose(
        v - w, np.exp(-(state["v"] ** 2)) * (1 / 50 - 1e-9), atol=1e-14, rtol=0
    )  # rounding of terms of order one


def test_symmetric_outputs_are_computed_once_and_symmetric_sums_over_half_the_range():
    source = compile(flows.teacher_student(), "numba").source
    assert "for l in range(k + 1):" in source
    assert "dQ[l, k] = dQ[k, l]" in source
    assert "for j in range(i + 1):" in source


def test_an_asymmetric_sum_keeps_its_full_range():
    """The half-sum rule must not fire on x_i y_j asin(Q_ij), whose summand is not symmetric (a mutant)."""
    i, j = Index("i", "K"), Index("j", "K")
    node = sum_over(i, sum_over(j, arr("x", i) * arr("y", j) * fun("asin", arr("Q", i, j, symmetric=True))))
    state = (Block(name="x", shape=("K",), indices=(i,)),)
    given = (Block(name="y", shape=("K",)), Block(name="Q", shape=("K", "K")))
    flow = Flow(name="half", state=state, rhs={"x": arr("x", i)}, parameters=given, observables={"f": node})
    kernel = compile(flow, "numba")
    assert "+ 1)" not in kernel.source
    rng = np.random.default_rng(0)
    x, y, Q = rng.standard_normal(4), rng.standard_normal(4), rng.uniform(-0.5, 0.5, (4, 4))
    Q = (Q + Q.T) / 2
    (got,) = kernel.observables(0.0, x, y, Q)
    assert abs(got - x @ np.arcsin(Q) @ y) < 1e-13  # 16 terms of order one


def test_kronecker_deltas_and_scalar_states():
    k, l = Index("k", "K"), Index("l", "K")
    c = arr("c")
    flow = Flow(
        name="deltas",
        state=(Block(name="D", shape=("K", "K"), indices=(k, l)), Block(name="c")),
        rhs={"D": kron(k, l) * arr("x", k) + arr("x", l), "c": -c + sum_over(k, arr("D", k, k))},
        parameters=(Block(name="x", shape=("K",)),),
    )
    x, D = np.array([1.0, 2.0, 3.0]), np.arange(9.0).reshape(3, 3)
    for backend in ("numpy", "numba"):
        dD, dc = compile(flow, backend).rhs(0.0, D, 0.5, x)
        assert np.array_equal(dD, np.diag(x) + x[None, :])
        assert dc == np.trace(D) - 0.5


def test_elementwise_systems_are_array_lines_in_numpy():
    source = compile(flows.modes(), "numpy").source
    assert "du = x1 * u * (s - u)" in source
    assert "for " not in source.split("def rhs")[1]
    u, s = np.array([0.1, 0.7]), np.array([1.0, 2.0])
    for backend in ("numpy", "numba"):
        kernel = compile(flows.modes(), backend)
        assert np.allclose(kernel.rhs(0.0, u, s, 0.5)[0], 4 * u * (s - u), rtol=1e-15, atol=0)  # the same three operations
        assert np.allclose(kernel.observables(0.0, u, s, 0.5), (u.sum(), u.mean()), rtol=1e-15, atol=0)  # two terms


def test_arguments_of_asin_beyond_one_are_set_back_and_nan_stays():
    k = Index("k", "K")
    flow = Flow(name="guard", state=(Block(name="x", shape=("K",), indices=(k,)),), rhs={"x": fun("asin", arr("x", k))})
    x = np.array([1 + 1e-15, -1 - 1e-15, 0.5, np.nan])
    for backend in ("numpy", "numba"):
        (got,) = compile(flow, backend).rhs(0.0, x)
        assert np.array_equal(got, [math.pi / 2, -math.pi / 2, math.asin(0.5), np.nan], equal_nan=True)
