"""For every expression: the three backends agree, and agree with evaluation straight from the expression.

Random matrix-level flows (words, traces, transposes, elementwise functions, Hadamard products) and random index-level
expressions (sums, deltas, powers, functions). NumPy, mpmath and the evaluators run on every example; Numba, which compiles for
a second, on few.
"""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codegen import compile
from derive.indices.indexed import PI, Index, add, arr, const, evaluate, fun, kron, mul, power, sum_over
from derive.matrices import evaluate as matrix_value
from derive.matrices.composite import elem, hadamard
from derive.matrices.poly import atom, constant, param
from derive.matrices.words import Atom
from derive.system import Block, Flow

QUIET = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}
SHAPES = {"A": ("n", "m"), "B": ("m", "n"), "S": ("n", "n"), "x": ("n", 1)}
ATOMS = {n: atom(Atom(n, *s, ("sym",) if n == "S" else ())) for n, s in SHAPES.items()}
LETTERS = [p for a in ATOMS.values() for p in (a, a.T)]
COEFFICIENTS = st.sampled_from([Fraction(1), Fraction(-1), Fraction(2), Fraction(-1, 3), Fraction(3, 2)])


@pytest.fixture(autouse=True, scope="module")
def private_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIENTFLOW_CACHE", str(tmp_path_factory.mktemp("kernels")))
        yield


@st.composite
def words(draw, rows, cols, depth):
    """A random product of letters from one size to another."""
    out, here = None, rows
    for _ in range(draw(st.integers(0, depth))):
        choices = [p for p in LETTERS if p.shape[0] == here]
        step = draw(st.sampled_from(choices))
        out, here = step if out is None else out * step, step.shape[1]
    for last in [p for p in LETTERS if p.shape == (here, cols)][:1] if here != cols or out is None else []:
        out, here = last if out is None else out * last, cols
    if out is None or here != cols:
        bridge = next(
            p * q for p in LETTERS for q in LETTERS if p.shape[0] == here and p.shape[1] == q.shape[0] and q.shape[1] == cols
        )
        out = bridge if out is None else out * bridge
    return out


@st.composite
def polys(draw, rows, cols):
    """A random sum of scaled words, functions of words and Hadamard products."""
    total = None
    for _ in range(draw(st.integers(1, 4))):
        term = draw(words(rows, cols, 3)).scale(draw(COEFFICIENTS))
        kind = draw(st.sampled_from(["word", "word", "tanh", "slope", "had", "trace", "param"]))
        if kind == "tanh":
            term = elem("tanh", term)
        elif kind == "slope":
            term = elem("erf2", term, 1)
        elif kind == "had":
            term = hadamard(term, draw(words(rows, cols, 2)))
        elif kind == "trace":
            term = term * (draw(words("n", "n", 2)).trace() + constant(2))
        elif kind == "param":
            term = term * param("c", draw(st.sampled_from([1, 2, -1, Fraction(1, 2)])))
        total = term if total is None else total + term
    return total


@st.composite
def matrix_flows(draw):
    rhs = {n: draw(polys(*SHAPES[n])) for n in ("A", "x")}
    return Flow(
        name="random",
        state=tuple(Block(name=n, shape=SHAPES[n]) for n in ("A", "x")),
        rhs=rhs,
        parameters=(*(Block(name=n, shape=SHAPES[n]) for n in ("B", "S")), Block(name="c")),
        observables={"f": draw(polys("n", "n")).trace()},
    )


def matrix_values(seed, sizes):
    rng = np.random.default_rng(seed)
    out = {n: 0.5 * rng.standard_normal([sizes.get(s, s) for s in SHAPES[n]]) for n in ("A", "x", "B", "S")}
    return {**out, "S": out["S"] + out["S"].T, "c": 0.7}


def exact(values):
    return {n: np.vectorize(mpmath.mpf, otypes=[object])(v) if np.ndim(v) else mpmath.mpf(v) for n, v in values.items()}


def worst(got, want):
    pairs = list(zip(got, want, strict=True))
    scale = max(1.0, *(float(np.max(np.abs(w))) for _, w in pairs))
    return max(float(np.max(np.abs(g - w))) for g, w in pairs) / scale


def check_matrix_flow(flow, seed, backends):
    values = matrix_values(seed, {"n": 3, "m": 2})
    wanted = [*(flow.rhs[b.name] for b in flow.state), *flow.observables.values()]
    want = [matrix_value.evaluate(p, values, sizes={"n": 3, "m": 2}) for p in wanted]
    for backend in backends:
        kernel = compile(flow, backend)
        got = [*kernel.rhs(0.0, *values.values()), *kernel.observables(0.0, *values.values())]
        assert worst(got, want) < 1e-12, backend  # sums of at most 20 products of at most 12 small matrices
    with mpmath.workdps(40):
        fine = exact(values)
        want = [matrix_value.evaluate(p, fine, sizes={"n": 3, "m": 2}) for p in wanted]
        kernel = compile(flow, "mpmath")
        got = [*kernel.rhs(0.0, *fine.values()), *kernel.observables(0.0, *fine.values())]
        assert worst(got, want) < 1e-30  # 40 digits less ten


@settings(max_examples=40, **QUIET)
@given(matrix_flows(), st.integers(0, 2**32))
def test_matrix_flows_in_numpy_and_mpmath(flow, seed):
    check_matrix_flow(flow, seed, ["numpy"])


@settings(max_examples=2, **QUIET)
@given(matrix_flows(), st.integers(0, 2**32))
def test_matrix_flows_in_numba(flow, seed):
    check_matrix_flow(flow, seed, ["numba"])


K, L = Index("k", "K"), Index("l", "K")
M = Index("m", "M")


@st.composite
def nodes(draw, labels, depth):
    """A random index expression with labels among those given; arguments of roots are kept positive."""
    kinds = (
        ["leaf", "leaf", "const"]
        if depth == 0
        else ["leaf", "add", "mul", "mul", "root", "inverse", "fun", "sum", "double", "kron"]
    )
    kind = draw(st.sampled_from(kinds))
    if kind == "leaf":
        return draw(st.sampled_from(leaves(labels)))
    if kind == "const":
        return draw(st.sampled_from([const(2), const(Fraction(-1, 3)), PI, power(const(2), Fraction(1, 2))]))
    if kind in ("add", "mul"):
        parts = draw(st.lists(nodes(labels, depth - 1), min_size=2, max_size=3))
        return add(*parts) if kind == "add" else mul(*parts)
    if kind in ("root", "inverse"):
        inner = draw(nodes(labels, depth - 1))
        return power(1 + inner**2, Fraction(-1, 2) if kind == "root" else -1)
    if kind == "fun":
        inner = draw(nodes(labels, depth - 1))
        return fun(draw(st.sampled_from(["tanh", "asin"])), inner * power(1 + inner**2, Fraction(-1, 2)))
    if kind == "kron":
        return draw(nodes(labels, depth - 1)) * kron(K, L) if {K, L} <= set(labels) else draw(nodes(labels, depth - 1))
    i = Index(f"i{depth}{len(labels)}", draw(st.sampled_from(["K", "M"])))
    if kind == "sum":
        return sum_over(i, draw(nodes((*labels, i), depth - 1)))
    j = Index(f"j{depth}{len(labels)}", i.family)
    f = draw(nodes((*labels, i, j), depth - 1))
    from derive.indices.indexed import substitute

    return sum_over(i, sum_over(j, f + substitute(f, {i: j, j: i})))  # a symmetric summand


def leaves(labels):
    out = [arr("eta")]
    out += [arr("v" if i.family == "K" else "A", i) for i in labels]
    for i in labels:
        for j in labels:
            if i.family == j.family:
                out.append(arr("Q" if i.family == "K" else "T", i, j, symmetric=True))
            elif i.family == "K":
                out.append(arr("R", i, j))
    return out


@st.composite
def index_flows(draw):
    from derive.indices.indexed import substitute

    q = draw(nodes((K, L), 3))
    rhs = {"Q": q + substitute(q, {K: L, L: K}), "R": draw(nodes((K, M), 3)), "v": draw(nodes((K,), 3))}
    state = (
        Block(name="Q", shape=("K", "K"), indices=(K, L), symmetric=True),
        Block(name="R", shape=("K", "M"), indices=(K, M)),
        Block(name="v", shape=("K",), indices=(K,)),
    )
    given_ = (Block(name="T", shape=("M", "M")), Block(name="A", shape=("M",)), Block(name="eta"))
    return Flow(name="random", state=state, rhs=rhs, parameters=given_, observables={"f": draw(nodes((), 4))})


FLOATS = {"pi": math.pi, "tanh": math.tanh, "asin": math.asin}
EXACT = {"pi": mpmath.pi, "tanh": mpmath.tanh, "asin": mpmath.asin, "number": lambda q: mpmath.mpf(q.numerator) / q.denominator}


def index_values(seed, k, m):
    rng = np.random.default_rng(seed)
    Q, T = rng.uniform(-0.5, 0.5, (k, k)), rng.uniform(-0.5, 0.5, (m, m))
    R, v, A = rng.uniform(-0.5, 0.5, (k, m)), rng.uniform(-1, 1, k), rng.uniform(-1, 1, m)
    return {"Q": Q + Q.T, "R": R, "v": v, "T": T + T.T, "A": A, "eta": 0.3}


def index_truth(flow, values, functions, sizes):
    out = []
    for b in flow.state:
        shape = tuple(sizes[i.family] for i in b.indices)
        full = {**values, **sizes}
        cells = [evaluate(flow.rhs[b.name], full, dict(zip(b.indices, at, strict=True)), functions) for at in np.ndindex(shape)]
        out.append(np.array(cells, dtype=object).reshape(shape))
    return [*out, evaluate(flow.observables["f"], {**values, **sizes}, {}, functions)]


def check_index_flow(flow, seed, backends):
    sizes = {"K": 3, "M": 2}
    values = index_values(seed, 3, 2)
    want = index_truth(flow, values, FLOATS, sizes)
    for backend in backends:
        kernel = compile(flow, backend)
        got = [*kernel.rhs(0.0, *values.values()), *kernel.observables(0.0, *values.values())]
        assert worst(got, want) < 1e-12, backend  # at most some hundred terms, relative to the largest value
    with mpmath.workdps(40):
        fine = exact(values)
        kernel = compile(flow, "mpmath")
        got = [*kernel.rhs(0.0, *fine.values()), *kernel.observables(0.0, *fine.values())]
        assert worst(got, index_truth(flow, fine, EXACT, sizes)) < 1e-30  # 40 digits less ten


@settings(max_examples=40, **QUIET)
@given(index_flows(), st.integers(0, 2**32))
def test_index_flows_in_numpy_and_mpmath(flow, seed):
    check_index_flow(flow, seed, ["numpy"])


@settings(max_examples=2, **QUIET)
@given(index_flows(), st.integers(0, 2**32))
def test_index_flows_in_numba(flow, seed):
    check_index_flow(flow, seed, ["numba"])
