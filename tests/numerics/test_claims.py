"""Claim checkers: each accepts what is true and rejects what is not, on small systems written by hand.

The other road is always one line of mathematics in the test.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import sympy as sp

from derive.claims.entry import Conserved, Published, Solves
from derive.errors import InvalidSpec, UnsupportedNode
from derive.fields.overlaps import make_overlaps
from derive.indices.indexed import Index, arr, const
from derive.system import Block, Flow
from numerics.claims import conserved, published, solves
from numerics.claims.blocks import place_vectors, project
from numerics.claims.ensembles import common_times
from numerics.claims.expressions import value
from numerics.claims.states import draw_matrix, draw_values
from numerics.claims.subject import Subject

I = Index("i", "r")
A, B, S = arr("a", I), arr("b", I), arr("s", I)
A_, B_, S_, T_ = sp.symbols("a b s t", positive=True)


def pair(sign: int = 1) -> Flow:
    """a' = b (s - a b), b' = sign a (s - a b), for each mode."""
    rest = S - A * B
    blocks = tuple(Block(name=n, shape=("r",), indices=(I,)) for n in "ab")
    rhs = {"a": B * rest, "b": const(sign) * A * rest}
    return Flow(name="pair", state=blocks, rhs=rhs, parameters=(Block(name="s", shape=("r",)),))


def single() -> Flow:
    u = arr("u", I)
    block = Block(name="u", shape=("r",), indices=(I,))
    return Flow(name="mode", state=(block,), rhs={"u": 2 * u * (S - u)}, parameters=(Block(name="s", shape=("r",)),))


def subject(flow: Flow, **values) -> Subject:
    return Subject(entry=SimpleNamespace(values=values, model=SimpleNamespace(values={}), kind="matrix", name="x"), flow=flow)


def test_published_rates():
    rest = S_ - A_ * B_
    good = Published("both", rate={A_: B_ * rest, B_: A_ * rest})
    assert published.check(good, subject(pair()))[0].passed
    (row,) = published.check(good, subject(pair(sign=-1)))
    assert not row.passed
    assert row.detail == "largest for b"


def test_published_letters_are_expressions_of_the_state():
    """u = a b has u' = (a^2 + b^2)(s - u): the product rule by hand."""
    u = sp.Symbol("u")
    claim = Published("u", where={u: A_ * B_}, rate={u: (A_**2 + B_**2) * (S_ - u)})
    assert published.check(claim, subject(pair()))[0].statistic < 1e-14  # a complex step has no truncation error
    wrong = Published("u", where={u: A_ * B_}, rate={u: 2 * A_ * B_ * (S_ - u)})
    assert not published.check(wrong, subject(pair()))[0].passed


def test_published_indexed_letters():
    u, s, i = sp.IndexedBase("u"), sp.IndexedBase("s"), sp.Symbol("i")
    assert published.check(Published("u", rate={u[i]: 2 * u[i] * (s[i] - u[i])}), subject(single()))[0].passed
    assert not published.check(Published("u", rate={u[i]: 2 * u[i] * (s[1] - u[i])}), subject(single()))[0].passed


def test_published_about_an_unknown_letter_names_the_remedy():
    with pytest.raises(InvalidSpec, match="say what it is by where="):
        published.check(Published("?", rate={sp.Symbol("q"): 1}), subject(single()))


def test_conserved_quantities():
    claim = Conserved("c", A_**2 - B_**2)
    assert conserved.check(claim, subject(pair()))[0].passed
    assert not conserved.check(claim, subject(pair(sign=-1)))[0].passed  # then a^2 + b^2 is conserved
    assert conserved.check(Conserved("c", A_**2 + B_**2), subject(pair(sign=-1)))[0].passed


def test_solutions():
    u, u0 = sp.symbols("u u0", positive=True)
    form = S_ / (1 + (S_ / u0 - 1) * sp.exp(-2 * S_ * T_))
    assert solves.check(Solves("logistic", {u: form}, initial={u: u0}), subject(single()))[0].passed
    late = form.subs(T_, T_ * sp.Rational(1001, 1000))
    assert not solves.check(Solves("logistic", {u: late}, initial={u: u0}), subject(single()))[0].passed


def test_values_of_expressions_against_numpy():
    rng = np.random.default_rng(0)
    W, V = sp.MatrixSymbol("W", 3, 4), sp.MatrixSymbol("V", 4, 3)
    arrays = {"W": rng.normal(size=(3, 4)), "V": rng.normal(size=(4, 3)), "c": 2.5}
    w, v, c = arrays["W"], arrays["V"], sp.Symbol("c")
    for expression, expected in (
        (c * W * V + sp.Identity(3), 2.5 * w @ v + np.eye(3)),
        (sp.Trace(W * V) * W.T, np.trace(w @ v) * w.T),
        ((W * V).inv(), np.linalg.inv(w @ v)),
        (sp.hadamard_product(W, W), w * w),
        (sp.Max(c, 3) + sp.Abs(-c) + sp.erf(c), 3 + 2.5 + 0.9995930479825550),
    ):
        assert np.allclose(value(expression, arrays), expected, rtol=1e-13)  # rounding of a few products


def test_values_refuse_what_they_do_not_know():
    with pytest.raises(InvalidSpec, match="uses q, which has no value here; known are c"):
        value(sp.Symbol("q"), {"c": 1.0})
    with pytest.raises(UnsupportedNode, match="cannot evaluate"):
        value(sp.besselj(0, sp.Symbol("c")), {"c": 1.0})


def test_random_overlaps_are_consistent():
    blocks = (
        Block(name="Q", shape=("K", "K"), indices=(Index("k", "K"), Index("l", "K"))),
        Block(name="R", shape=("K", "M"), indices=(Index("k", "K"), Index("n", "M"))),
    )
    flow = Flow(
        name="o",
        state=blocks,
        rhs={"Q": const(0), "R": const(0)},
        parameters=(Block(name="T", shape=("M", "M")), Block(name="eta")),
    )
    state, params, sizes = draw_values(flow, {"K": 3, "M": 2, "eta": 0.5}, np.random.default_rng(0))
    joint = np.block([[state["Q"], state["R"]], [state["R"].T, params["T"]]])
    assert np.linalg.eigvalsh(joint).min() > 0
    assert (params["eta"], sizes) == (0.5, {"K": 3, "M": 2})
    overlaps = make_overlaps({"W": "K"}, {"V": "M"}, taken=())
    placed = place_vectors(overlaps, {**state, **params}, 50, np.random.default_rng(1))
    for name, array in project(overlaps, placed, {**state, "T": params["T"]}).items():
        assert np.allclose(array, {**state, **params}[name], atol=1e-13)  # rounding of a square root
    with pytest.raises(ValueError, match="raise the sizes"):
        place_vectors(overlaps, {**state, **params}, 4, np.random.default_rng(1))


def test_random_matrices_have_their_kind():
    rng = np.random.default_rng(0)
    assert np.allclose((q := draw_matrix((5, 3), ("orth",), rng)).T @ q, np.eye(3), atol=1e-14)  # rounding
    assert np.linalg.eigvalsh(draw_matrix((4, 4), ("sym",), rng)).min() > 0
    with pytest.raises(InvalidSpec, match="does not exist"):
        draw_matrix((2, 3), ("orth",), rng)


def test_common_times_are_whole_steps_at_every_size():
    for sizes, end in (((50, 100, 400), 2.3), ((250, 500, 1000, 2000), 10.0), ((62, 125), 3.0), ((7,), 0.5)):
        times, every = common_times(sizes, end, 5)
        for size, step in zip(sizes, every, strict=True):
            assert np.allclose(times * size, step * np.arange(1, len(times) + 1), rtol=1e-12)
        assert times[-1] >= end * (1 - 1e-9)
