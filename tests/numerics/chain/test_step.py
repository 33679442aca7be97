"""One step of the chain, without statistics.

Roads: (1) the overlaps before and after a step of the tape on full weights, (2) `chain_step` in matrix form at the same fields,
(3) the compiled loop, with its draws repeated from the same stream and a Cholesky factor computed here.
"""

import numpy as np
import pytest
from chain_models import MODELS, exact_chain, overlap_arrays, plan, setting, split, vectors

from derive.gaussian.quadrature import NUMPY
from derive.indices.indexed import evaluate
from derive.library.teacher import teacher_student
from derive.online.limit import online_limit
from numerics.simulate import Stream, one_step
from numerics.simulate.chain import chain, chain_step
from numerics.simulate.chain_bind import bind

SIZE = 9
ROUNDING = 1e-13  # a few hundred operations on numbers of order one, each correct to 2e-16


def prepared(case, seed=1):
    model = MODELS[case]()
    data, (arrays, draws) = exact_chain(model), setting(model, np.random.default_rng(seed), n=SIZE)
    return model, data, arrays, draws


@pytest.mark.parametrize("case", list(MODELS))
def test_a_step_is_the_step_of_full_weights(case):
    model, data, arrays, draws = prepared(case)
    low = model.lowered
    given, start = ({k: arrays[k] for k in names} for names in (low.given, low.state))
    after = {**arrays, **one_step(plan(model), given, start, draws)}
    values, state = split(data, overlap_arrays(data, arrays, SIZE), arrays)
    _, want = split(data, overlap_arrays(data, after, SIZE), after)
    centred = draws["x"][:, 0] - (arrays["b"][:, 0] / np.sqrt(SIZE) if case == "inputs with a mean" else 0.0)
    fields = {f["name"]: vectors(arrays[f["name"]], SIZE) @ centred / np.sqrt(SIZE) for f in data["families"]}
    noises = {n["name"]: draws[n["name"]] for n in data["noises"]}
    got = chain_step(data, values, state, SIZE, fields, float(centred @ centred), noises)
    assert sorted(got) == sorted(state)
    assert max(np.max(np.abs(want[name] - state[name])) for name in want) > 1e-4  # the step is not trivial
    for name in want:
        np.testing.assert_allclose(got[name], want[name], rtol=0, atol=ROUNDING)


def pivoted_cholesky(C):
    """C = B B', the row with the largest relative residual first (no code of the chain)."""
    rest, columns, done = C.copy(), [], []
    while len(done) < len(C):
        relative = [-1.0 if p in done else rest[p, p] / C[p, p] for p in range(len(C))]
        p = int(np.argmax(relative))
        column = rest[:, p] / np.sqrt(rest[p, p])
        column[done] = 0.0
        rest, done = rest - np.outer(column, column), [*done, p]
        columns.append(column)
    return np.array(columns).T


@pytest.mark.parametrize("case", list(MODELS))
def test_the_loop_takes_the_step_in_matrix_form(case):
    _, data, arrays, _ = prepared(case, seed=3)
    grams = overlap_arrays(data, arrays, SIZE)
    values, state = split(data, grams, arrays)
    rng = Stream(root=11).generator("train")
    V = np.concatenate([vectors(arrays[f["name"]], SIZE) for f in data["families"]])
    B = pivoted_cholesky(V @ V.T / SIZE)
    g = rng.standard_normal(len(V))
    variance = values.get("D", 1.0)
    square = variance * (g @ g + rng.chisquare(SIZE - len(V)))
    lam = np.split(np.sqrt(variance) * B @ g, np.cumsum([len(vectors(arrays[f["name"]], SIZE)) for f in data["families"]])[:-1])
    noises = {}
    for noise in data["noises"]:
        scale = np.sqrt(values["s"]) if "s" in values else 1.0
        noises[noise["name"]] = scale * rng.standard_normal(3 if noise["labels"] else 1)
    fields = {f["name"]: part for f, part in zip(data["families"], lam, strict=True)}
    want = chain_step(data, values, state, SIZE, fields, float(square), noises)
    run = chain(data, values, state, SIZE, 1, seed=11)
    for name in want:
        np.testing.assert_allclose(run.values[name][0, -1], want[name], rtol=0, atol=ROUNDING)


def test_observables_are_those_of_the_limit():
    """Second road: the averaged observable of `online_limit`, evaluated term by term at the recorded overlaps."""
    model = teacher_student("erf2", "both")
    data, (arrays, _) = exact_chain(model), setting(model, np.random.default_rng(2), n=SIZE)
    values, state = split(data, overlap_arrays(data, arrays, SIZE), arrays)
    run = chain(data, values, state, 40, 20, every=10)
    flow = online_limit(model)
    for t in range(3):
        at = {**values, **{name: run.values[name][0, t] for name in state}, "K": 3, "M": 2}
        assert abs(run.observables["eg"][0, t] - evaluate(flow.observables["eg"], at, {}, NUMPY)) < ROUNDING


def test_the_number_of_operations_does_not_depend_on_the_dimension():
    model = teacher_student("erf2", "both")
    data, (arrays, _) = exact_chain(model), setting(model, np.random.default_rng(2), n=SIZE)
    values, state = split(data, overlap_arrays(data, arrays, SIZE), arrays)
    small, large = (bind(data, values, state, n, 1).program for n in (100, 10**9))
    assert len(small.code) == len(large.code) < 60  # K = 3, M = 2; every error term and slope is computed once
    np.testing.assert_array_equal(small.code, large.code)
