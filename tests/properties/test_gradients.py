"""Gradients, directional derivatives and substitutions of random expressions.

Roads: the backward rules of `derive.matrices.calculus` against central differences of the value; the forward rules against the
backward ones. Expressions are drawn by Hypothesis: words with traces, products of traces, Hadamard products, tanh networks,
inverses.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derive.errors import CheckFailed, UnsupportedNode
from derive.flows.check import check_gradient
from derive.matrices.calculus import along, grad, substitute
from derive.matrices.composite import elem, hadamard, inverse, ones, scalar_power
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly, atom, constant, identity, param
from derive.matrices.words import Atom

W, A, S, x, y, U = (
    Atom("W", "n", "m"),
    Atom("A", "m", "n"),
    Atom("S", "m", "m", ("sym",)),
    Atom("x", "m", 1),
    Atom("y", "n", 1),
    Atom("U", "n", "n"),
)
SIZES = {"n": 3, "m": 2}


def values_at(seed: int) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    out: dict[str, object] = {
        a.name: 0.6 * rng.standard_normal((SIZES.get(a.rows, 1), SIZES.get(a.cols, 1))) for a in (W, A, S, x, y, U)
    }
    out["S"] = out["S"] + out["S"].T
    out["c"] = rng.uniform(0.5, 1.5)
    return out


# matrices of shape (n, m), closed under the operations of the engine
leaf = st.sampled_from([atom(W), atom(A).T, atom(y) * atom(x).T, atom(W) * atom(S), atom(U) * atom(W), atom(U).T * atom(W)])


def grown(inner):
    shift = identity("m").scale(3)
    return st.one_of(
        st.tuples(inner, inner).map(lambda p: p[0] + p[1].scale(Fraction(-1, 2))),
        st.tuples(inner, inner).map(lambda p: hadamard(*p)),
        inner.map(lambda p: elem("tanh", p)),
        inner.map(lambda p: p * atom(A) * atom(W)),
        inner.map(lambda p: p * inverse(shift + elem("tanh", p.T * p))),
        inner.map(lambda p: p * (p.T * atom(W)).trace() * param("c")),
        inner.map(lambda p: p * elem("exp", (p * atom(A)).trace().scale(Fraction(1, 8)))),
        inner.map(lambda p: p * scalar_power((p.T * p).trace() + constant(1), Fraction(-1, 2))),
    )


matrices = st.recursive(leaf, grown, max_leaves=3)


@st.composite
def losses(draw) -> Poly:
    p, q = draw(matrices), draw(matrices)
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return (p.T * q).trace()
    if kind == 1:
        error = atom(y) - elem("tanh", p * atom(x))
        return (error.T * error).trace().scale(Fraction(1, 2))
    if kind == 2:
        return (p.T * q).trace() * (atom(A) * atom(W)).trace() + (p.T * p).trace()
    return (ones("n", 1).T * hadamard(p, q) * ones("m", 1)).trace()


def central(f, value):
    """Fourth-order central differences of a number by every entry."""
    out, h = np.zeros_like(value), 1e-3
    for i in np.ndindex(value.shape):
        e = np.zeros_like(value)
        e[i] = h
        out[i] = (8 * (f(value + e) - f(value - e)) - f(value + 2 * e) + f(value - 2 * e)) / (12 * h)
    return out


@settings(max_examples=60, deadline=None, derandomize=True)
@given(loss=losses(), seed=st.integers(0, 10**6))
def test_gradient_of_random_losses(loss, seed):
    values = values_at(seed)
    difference = central(lambda w: evaluate(loss, {**values, "W": w}, sizes=SIZES), values["W"])
    exact = evaluate(grad(loss, W), values, sizes=SIZES)
    size = abs(evaluate(loss, values, sizes=SIZES)) + np.abs(exact).max()
    assert np.abs(difference - exact).max() <= 1e-7 * (1 + size)  # O(h^4) truncation 1e-12 times derivatives of order five


@settings(max_examples=40, deadline=None, derandomize=True)
@given(loss=losses(), seed=st.integers(0, 10**6))
def test_forward_and_backward_agree(loss, seed):
    values = values_at(seed)
    direction = Atom("E", "n", "m")
    values["E"] = np.random.default_rng(seed + 1).standard_normal((3, 2))
    forward = evaluate(along(loss, {"W": atom(direction)}), values, sizes=SIZES)
    backward = np.sum(evaluate(grad(loss, W), values, sizes=SIZES) * values["E"])
    assert abs(forward - backward) <= 1e-11 * (1 + abs(forward) + abs(backward))  # rounding only


@settings(max_examples=40, deadline=None, derandomize=True)
@given(loss=losses(), seed=st.integers(0, 10**6))
def test_substitution_commutes_with_evaluation(loss, seed):
    values = values_at(seed)
    new = atom(U) * atom(A).T + atom(W).scale(2)
    replaced = evaluate(substitute(loss, {"W": new}), values, sizes=SIZES)
    direct = evaluate(loss, {**values, "W": values["U"] @ values["A"].T + 2 * values["W"]}, sizes=SIZES)
    assert abs(replaced - direct) <= 1e-9 * (1 + abs(direct))  # cancellation between expanded words


@settings(max_examples=15, deadline=None, derandomize=True)
@given(loss=losses())
def test_gradient_by_a_number(loss):
    check_gradient(loss * param("c", 2), "c", grad(loss * param("c", 2), "c"))


MUTANTS = {
    "sign": lambda g: -g,
    "factor": lambda g: g.scale(Fraction(101, 100)),
    "missing transpose": lambda g: substitute(g, {"U": atom(U).T}),
    "missing term": lambda g: Poly(g.shape, dict(list(g.terms.items())[1:])),
}


@pytest.mark.parametrize("mutant", sorted(MUTANTS))
def test_the_check_rejects_wrong_gradients(mutant):
    loss = (atom(y).T * elem("tanh", atom(U) * atom(W) * atom(x))).trace() + (atom(W) * atom(S) * atom(W).T).trace()
    right = grad(loss, W)
    assert check_gradient(loss, W, right) <= 1e-7
    with pytest.raises(CheckFailed, match="W"):
        check_gradient(loss, W, MUTANTS[mutant](right))


@pytest.mark.parametrize("function", ["erf2", "tanh", "relu", "exp", "log", "abs", "sq", "inv", "sqrt", "sin", "cos"])
def test_gradient_through_every_builtin(function):
    entries = elem(function, atom(W) * atom(A) + ones("n", "n").scale(2))
    loss = (entries * atom(U)).trace()
    check_gradient(loss, W, grad(loss, W))


@pytest.mark.parametrize("function", ["step", "sgn"])
def test_a_delta_function_is_refused(function):
    with pytest.raises(UnsupportedNode, match="online_limit"):
        grad((elem(function, atom(W)).T * atom(W)).trace(), W)
