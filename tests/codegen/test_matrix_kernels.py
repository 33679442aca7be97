"""Matrix-level kernels: emitted code against dictionary evaluation of the words, in three backends; product counts."""

import mpmath
import numpy as np
import pytest

from codegen import compile
from codegen.build import build
from codegen.program import products
from derive.errors import InvalidSpec, UnsupportedNode
from derive.matrices.composite import elem
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import atom, param
from derive.matrices.words import Atom
from derive.system import Block, Flow
from tests.codegen import flows

SIZES = {"N0": 5, "N1": 3, "N2": 4, "N3": 2, "K": 3, "N": 4}


def setting(flow, seed=1, sizes=SIZES):
    rng = np.random.default_rng(seed)
    out = {}
    for b in (*flow.state, *flow.parameters):
        shape = tuple(sizes.get(s, s) for s in b.shape)
        out[b.name] = rng.standard_normal(shape) if shape else float(rng.uniform(0.5, 1.5))
        if "sym" in b.tags:
            out[b.name] = out[b.name] @ out[b.name].T
    return out


def deviations(kernel, flow, values, given):
    rhs = kernel.rhs(0.0, *given)
    seen = kernel.observables(0.0, *given)
    pairs = [*zip(rhs, (flow.rhs[b.name] for b in flow.state), strict=True), *zip(seen, flow.observables.values(), strict=True)]
    for got, poly in pairs:
        want = evaluate(poly, values, functions=flow.functions)
        assert np.shape(got) == np.shape(want)
        yield float(np.max(np.abs(got - want)) / max(1.0, float(np.max(np.abs(want)))))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("make", [lambda: flows.deep_linear(3), flows.composites])
def test_kernels_agree_with_dictionary_evaluation(make, backend):
    flow = make()
    kernel = compile(flow, backend)
    values = setting(flow)
    assert max(deviations(kernel, flow, values, list(values.values()))) < 1e-13  # products of at most seven 5 x 5 matrices


@pytest.mark.parametrize("make", [lambda: flows.deep_linear(3), flows.composites])
def test_the_oracle_backend_keeps_thirty_digits(make):
    flow = make()
    kernel = compile(flow, "mpmath")
    with mpmath.workdps(40):
        values = {
            n: np.vectorize(mpmath.mpf, otypes=[object])(v) if np.ndim(v) else mpmath.mpf(v) for n, v in setting(flow).items()
        }
        assert max(deviations(kernel, flow, values, list(values.values()))) < 1e-30  # 40 working digits less ten


@pytest.mark.parametrize("depth", [2, 3, 4, 8])
def test_deep_networks_need_the_products_of_one_forward_and_one_backward_pass(depth):
    """By hand: L - 1 forward, 1 for W Sx, L - 1 backward, and L - 1 to combine them: 3 L - 2."""
    rhs, _ = build(flows.deep_linear(depth)).program.procedures
    assert products(rhs) == 3 * depth - 2


def test_the_lines_are_those_of_a_paper():
    source = compile(flows.deep_linear(2), "numpy").source
    for line in ("E1 = Syx - W2 @ W1 @ Sx", "dW1 = (W2.T @ E1) / tau", "dW2 = (E1 @ W1.T) / tau"):
        assert line in source


def test_columns_are_multiplied_first():
    """A B x costs two products with a column; A B as a matrix would be n times dearer."""
    A, B = atom(Atom("A", "n", "n")), atom(Atom("B", "n", "n"))
    x, y = atom(Atom("x", "n", 1)), atom(Atom("y", "n", 1))
    flow = Flow(
        name="columns",
        state=(Block(name="x", shape=("n", 1)), Block(name="y", shape=("n", 1))),
        rhs={"x": A * B * x, "y": A * B * y},
        parameters=(Block(name="A", shape=("n", "n")), Block(name="B", shape=("n", "n"))),
    )
    source = compile(flow, "numpy").source
    assert "dx = A @ (B @ x)" in source
    assert "A @ B" not in source.split("def rhs")[1].replace("A @ (B", "")


def test_traces_are_sums_of_entries():
    A, B = atom(Atom("A", "n", "m")), atom(Atom("B", "m", "n"))
    blocks = Block(name="A", shape=("n", "m")), Block(name="B", shape=("m", "n"))
    flow = Flow(name="trace", state=blocks[:1], rhs={"A": A}, parameters=blocks[1:], observables={"f": (A * B).trace()})
    assert products(build(flow).program.procedures[1]) == 0
    a, b = np.random.default_rng(0).standard_normal((2, 3, 3))
    assert abs(compile(flow, "numpy").observables(0.0, a, b)[0] - np.trace(a @ b)) < 1e-14  # nine terms


def test_unknown_symbols_are_refused_by_name():
    A = atom(Atom("A", "n", "n"))
    flow = Flow(name="open", state=(Block(name="A", shape=("n", "n")),), rhs={"A": A * param("gamma")})
    with pytest.raises(InvalidSpec, match="gamma occurs in open but is neither state nor parameter"):
        compile(flow.replace(symbols={"A": 1}), "numpy")


def test_functions_without_a_body_and_delta_functions_are_refused():
    A = atom(Atom("A", "n", "m"))
    state = (Block(name="A", shape=("n", "m")),)
    with pytest.raises(UnsupportedNode, match="mystery: no body"):
        compile(Flow(name="f", state=state, rhs={"A": elem("mystery", A)}), "numpy")
    with pytest.raises(UnsupportedNode, match="use a smooth function"):
        compile(Flow(name="f", state=state, rhs={"A": elem("relu", A, 2)}), "numpy")


def test_wide_networks_run_as_fast_as_by_hand():
    """Emitted against hand-written NumPy, width 64; the bound leaves room for a shared machine."""
    from time import perf_counter

    flow = flows.deep_linear(3)
    kernel = compile(flow, "numba")
    values = setting(flow, sizes=dict.fromkeys(("N0", "N1", "N2", "N3"), 64))
    W1, W2, W3, Sx, Syx, _, tau = args = list(values.values())

    def by_hand():
        W21 = W2 @ W1
        E = (Syx - W3 @ W21 @ Sx) / tau
        B = W3.T @ E
        return W2.T @ B, B @ W1.T, E @ W21.T

    def best(call):
        times = []
        for _ in range(30):
            start = perf_counter()
            call()
            times.append(perf_counter() - start)
        return min(times)

    kernel.rhs(0.0, *args)
    assert best(lambda: kernel.rhs(0.0, *args)) < 2.5 * best(by_hand)  # 1.3 on a quiet machine
