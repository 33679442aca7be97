"""Drift regression: it names wrong terms, leaves right equations alone, and its scores are standard normal."""

from __future__ import annotations

import numpy as np
import pytest
from sympy import oo, sqrt

from benchmarks.blame import KINDS, candidates_of, curriculum, mutations, named, open_case
from derive import fn
from derive.errors import InvalidSpec
from derive.indices.indexed import arr, arrays, const, mul
from derive.library.teacher import teacher_student
from derive.online.limit import online_limit
from derive.spec.laws import Normal
from derive.spec.model import Model
from derive.spec.rules import Limit, Update
from derive.spec.sugar import dot, norm2
from derive.spec.symbols import dims, scalars, vector
from numerics.blame import blame, terms_of


@pytest.fixture(scope="module")
def linear():
    return open_case("linear, decay", states=8)


def test_it_names_the_mutated_term(linear):
    """Eight mutations, one of each kind; roads: the mutated equations, and direct SGD."""
    found = [
        named(linear.judge(m.system, linear.measure(3000, seed=n), candidates_of(m), linear.flow), m)
        for n, m in enumerate(mutations(linear, len(KINDS), seed=5))
    ]
    assert sum(found) >= 7  # of 40 over five systems at most four may be missed (benchmarks/blame.py)


def test_right_equations_have_standard_normal_scores(linear):
    """False alarm 1e-3 per run: in six runs none, up to 0.6 %; the mean of 72 correlated z^2 is 1 within 0.3 or so."""
    runs = [linear.judge(linear.flow, linear.measure(1500, seed=100 + n), {}) for n in range(6)]
    assert all(r.passed and r.culprit is None for r in runs)
    squares = np.mean([t.z**2 for r in runs for t in r.terms])
    assert 0.4 < squares < 1.8  # seeds are fixed: this is one number


def test_the_change_of_a_coefficient_is_measured():
    """Roads: the factor that was typed, 0.8; the estimate with its error from direct SGD."""
    model = teacher_student("linear", train="first")
    flow = online_limit(model)
    noise = next(t for t in flow.rhs["Q"].args if "sigma" in arrays(t))
    wrong = flow.replace(rhs={**flow.rhs, "Q": flow.rhs["Q"] + mul(const(-1) / 5, noise)})
    result = blame(model, wrong, values={"K": 2, "M": 2, "eta": 0.5, "sigma": 1.0}, states=8, bursts=4000)
    assert result.culprit is not None
    assert result.culprit.node == mul(const(4) / 5, noise)
    assert abs(0.8 * (1 + result.culprit.change) - 1) < 4 * 0.8 * result.culprit.error  # four standard errors
    assert result.explained
    assert f"times {1 + result.culprit.change:.3f} +-" in str(result)


def test_a_forgotten_term_is_reported_as_missing():
    """Without the terms quadratic in the step; the candidate is what the engine derives, the judge is SGD."""
    model = teacher_student("linear", train="first", noise=False, decay=True)
    flow = online_limit(model)
    decay = next(t for t in terms_of(flow.rhs["Q"]) if "kappa" in arrays(t))
    wrong = flow.replace(rhs={**flow.rhs, "Q": flow.rhs["Q"] - decay})
    values = {"K": 2, "M": 1, "eta": 0.4, "kappa": 0.5}
    result = blame(model, wrong, values=values, states=6, bursts=3000)
    assert (result.culprit.node, result.culprit.present, result.culprit.equation) == (decay, False, "Q")
    alone = blame(model, wrong, values=values, states=6, bursts=3000, candidates={})
    assert not alone.passed
    assert not alone.explained  # no coefficient of the terms that are there mends it


def test_terms_that_are_one_function_are_named_together():
    """One unit: the two parts of dQ that differ by an exchange of labels are equal. Roads: the term that was doubled; SGD."""
    model = teacher_student(train="first", noise=False)
    flow = online_limit(model)
    twin = next(t for t in terms_of(flow.rhs["Q"]) if "eta^2" not in str(t) and "T" in arrays(t))
    wrong = flow.replace(rhs={**flow.rhs, "Q": flow.rhs["Q"] + twin})
    result = blame(model, wrong, values={"K": 1, "M": 1, "eta": 0.5}, states=6, bursts=3000)
    assert result.culprit is not None
    assert result.culprit.node == mul(const(2), twin)  # the one that the derived equations do not hold
    assert len(result.suspects) == 2
    assert abs(result.suspects[0].z) == pytest.approx(abs(result.suspects[1].z), rel=1e-9)  # rounding
    assert "1 other terms are the same function" in str(result)


def test_overlaps_are_spread_and_stay_those_of_vectors():
    """Roads: congruence of the Gram matrix; its eigenvalues, and the correlation with the teacher, over 40 states."""
    case = open_case("linear, decay", states=40)
    least, seen = [], []
    for spot in case.spots:
        Q, R, T = spot.state["Q"], spot.state["R"], spot.parameters["T"]
        gram = np.block([[Q, R], [R.T, T]])
        least.append(np.linalg.eigvalsh(gram)[0])
        seen.append(R[0, 0] / np.sqrt(Q[0, 0] * T[0, 0]))
    assert min(least) > -1e-12  # rounding
    assert np.std(seen) > 0.4  # random vectors in twelve dimensions: 0.29


def test_blocks_of_inputs_and_normalised_weights_are_measured_too():
    """Two infinite dimensions; a norm that each step restores, which has no noise and no equation."""
    assert blame(
        curriculum(), values={"K": 1, "M": 1, "eta": 0.8, "kappa": 0.3, "Delta": 0.5, "rho": 0.5}, states=3, bursts=1500
    ).passed
    N, eta = dims("N"), scalars("eta", positive=True)
    w, b, x = vector("w", N), vector("b", N), vector("x", N)
    step = eta / sqrt(N) * fn.sgn(dot(b, x) / sqrt(N)) * x
    model = Model(
        name="sphere",
        state=(w,),
        given=(b, eta),
        data=(Normal(x),),
        learn=Update({w: w + step}, {w: w / sqrt(norm2(w) / N)}, dt=1 / N),
        limit=Limit({N: oo}),
    )
    flow = online_limit(model)
    assert blame(model, flow, values={"eta": 0.7}, states=4, bursts=3000).passed
    drive = next(t for t in terms_of(flow.rhs["R"]) if "R" not in arrays(t))
    wrong = flow.replace(rhs={**flow.rhs, "R": flow.rhs["R"] + mul(const(1) / 2, drive)})
    found = blame(model, wrong, values={"eta": 0.7}, states=4, bursts=3000, candidates={})
    assert found.culprit is not None
    assert found.culprit.equation == "R"
    moved = flow.replace(rhs={**flow.rhs, "Q": mul(const(1) / 100, arr("eta"))})
    found = blame(model, moved, values={"eta": 0.7}, states=2, bursts=500, candidates={})
    assert found.culprit is not None
    assert found.culprit.equation == "Q"


def test_what_blame_refuses():
    model = teacher_student("linear", train="first", noise=False)
    both = online_limit(teacher_student("linear", train="both", noise=False))
    with pytest.raises(InvalidSpec, match="has the states"):
        blame(model, both.replace(state=both.state[:1], rhs={"Q": both.rhs["Q"]}), values={"K": 2, "M": 1}, states=1, bursts=10)
