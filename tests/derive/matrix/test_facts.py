"""Facts of a model as rewrite rules, and what stays an assumption."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

import derive
from derive.errors import InvalidSpec
from derive.matrices.assumptions import measure
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import atom, identity
from derive.matrices.relations import Relation, related
from derive.matrices.words import Atom, Letter
from derive.spec.sugar import norm2
from derive.spec.symbols import dims, matrix, scalars

d, m, o = dims("d m o")
W, X, Y, K, G = matrix("W", o, d), matrix("X", d, m), matrix("Y", o, m), matrix("K", m, m), matrix("G", m, m)
L = scalars("L")


def flow(loss: Any, facts: Any, *given: Any) -> Any:
    model = derive.Model(
        name="facts",
        state=W,
        given=given,
        let={L: loss},
        learn=derive.Rate({W: -derive.grad(L, W)}),
        facts=facts,
        observe={"loss": L},
    )
    return derive.gradient_flow(model)


def test_white_items_simplify_rates_and_observables() -> None:
    """X X' = m I, also around the corner of a trace. Roads: words; evaluation of the unsimplified flow at white items."""
    loss = norm2(Y - W * X) / (2 * m)
    white, plain = flow(loss, sp.Eq(X * X.T, m * sp.Identity(d)), X, Y), flow(loss, (), X, Y)
    assert str(white.rhs["W"]) == "Y*X'/m - W"
    rng = np.random.default_rng(0)
    at = {
        "X": np.linalg.qr(rng.normal(size=(7, 3)))[0].T * np.sqrt(7),
        "Y": rng.normal(size=(2, 7)),
        "W": rng.normal(size=(2, 3)),
    }
    for p, q in ((white.rhs["W"], plain.rhs["W"]), (white.observables["loss"], plain.observables["loss"])):
        assert len(p.terms) <= len(q.terms)
        assert np.allclose(evaluate(p, at), evaluate(q, at), rtol=1e-13)  # rounding
    assert any(s.title == "facts of the model used" for s in white.steps)


@pytest.mark.parametrize(
    "fact", [sp.Eq(m * sp.Identity(d), X * X.T), sp.Eq(X * X.T / m, sp.Identity(d)), ((2 * X * X.T, 2 * m * sp.Identity(d)),)]
)
def test_a_fact_may_be_written_in_any_way(fact: Any) -> None:
    assert str(flow(norm2(Y - W * X) / (2 * m), fact, X, Y).rhs["W"]) == "Y*X'/m - W"


def test_a_given_array_is_replaced_by_what_it_equals() -> None:
    made = flow(norm2(Y - W * X) / 2 + sp.Trace(W * X * K * X.T * W.T), sp.Eq(K, sp.Identity(m)), X, Y, K)
    assert "K" not in {b.name for b in made.parameters}


def test_symmetric_arrays_are_tagged_and_still_measured() -> None:
    """K = K': words use it, and the assumption is measured on arrays that break it."""
    made = flow(sp.Trace(W * X * K * X.T * W.T) / 2, sp.Eq(K, K.T), X, K)
    assert str(made.rhs["W"]) == "-W*X*K*X'"
    (fact,) = made.assumptions
    K_ = np.array([[0.0, 1.0], [0.0, 0.0]])
    assert measure(fact, {"K": K_}) == pytest.approx(np.sqrt(2), rel=1e-12)  # |K - K'| / |K| by hand


def test_a_fact_that_does_not_shorten_words_stays_an_assumption() -> None:
    made = flow(norm2(Y - W * X * K * G), ((K * G, G * K),), X, Y, K, G)
    assert not any(s.title == "facts of the model used" for s in made.steps)
    assert any("fact of the model" in a.text for a in made.assumptions)


def test_relations_end_or_are_refused() -> None:
    A, B = Atom("A", "n", "n"), Atom("B", "n", "n")
    with pytest.raises(InvalidSpec, match="turn it round"):
        Relation(left=(Letter(A, False),), right=atom(A) * atom(B))
    rules = [
        Relation(left=(Letter(A, False), Letter(A, False)), right=identity("n")),
        Relation(left=(Letter(B, False),), right=atom(A)),
    ]
    assert related(atom(B) * atom(A) * atom(B).T * atom(B), rules) == atom(A).T * atom(A)
