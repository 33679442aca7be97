"""One step of the chain, without statistics.

Roads: (1) the overlaps before and after a step of the tape on full weights, (2) `chain_step` in matrix form at the same fields,
(3) the compiled loop, with its draws repeated from the same stream and a Cholesky factor computed here.
"""

import numpy as np
import pytest
from chain_models import MODELS, OUTCOMES, SIZES, exact_chain, overlap_arrays, plan, setting, split, vectors

from derive.gaussian.quadrature import NUMPY
from derive.indices.indexed import evaluate
from derive.library.teacher import teacher_student
from derive.online.limit import online_limit
from numerics.simulate import Stream, one_step
from numerics.simulate.chain import chain, chain_step
from numerics.simulate.chain_bind import bind

SIZE = SIZES["N"]
ROUNDING = 1e-13  # a few hundred operations on numbers of order one, each correct to 2e-16
BATCH = {"a mini-batch": 3, "two lengths, a mini-batch": 2}

LUCKY = {"two episodes": 5, "a product in a loss": 3}  # a reward is rare, a step may be small


def prepared(case, seed=1):
    model = MODELS[case]()
    seed += LUCKY.get(case, 0)
    arrays, draws = setting(model, np.random.default_rng(seed), draws_of=BATCH.get(case, 1))
    return model, exact_chain(model), arrays, draws


def centred_columns(case, data, arrays, draws):
    """Centred input columns of all draws by block: {input: (batch, length, columns)}."""
    out = {}
    for x in data["inputs"]:
        array = draws[x["name"]].reshape(BATCH.get(case, 1), SIZES[x["block"]], -1)
        mean = {
            "inputs with a mean": lambda at: at["b"], "clusters": lambda at: at["m"],
            "a unit column": lambda at: -at["Mu"].T @ np.array([[0.0], [1.0]]),
        }.get(case)  # fmt: skip
        out[x["name"]] = array - (mean(arrays) / np.sqrt(SIZE) if mean else 0.0)
    return out


@pytest.mark.parametrize("case", list(MODELS))
def test_a_step_is_the_step_of_full_weights(case):
    model, data, arrays, draws = prepared(case)
    low = model.lowered
    given, start = (
        {k: arrays[k] for k in (*low.given, *(d for d in ("T", "T0", "T1") if d in arrays))},
        {k: arrays[k] for k in low.state},
    )
    picked, labels = OUTCOMES.get(case, ((), lambda at: {}))
    after = {**arrays, **one_step(plan(model), given, start, {**draws, **labels(arrays)})}
    values, state = split(data, overlap_arrays(data, arrays, SIZE), arrays)
    _, want = split(data, overlap_arrays(data, after, SIZE), after)
    columns = centred_columns(case, data, arrays, draws)
    block = {x["name"]: x["block"] for x in data["inputs"]}
    batch = BATCH.get(case, 1)
    flat = [(x, columns[x][n, :, t]) for n in range(batch) for x in columns for t in range(columns[x].shape[2])]
    fields = {}
    for f in data["families"]:
        V = vectors(arrays[f["name"]], SIZES[f["block"]])
        fields[f["name"]] = np.array([V @ c / np.sqrt(SIZE) if block[x] == f["block"] else 0 * V[:, 0] for x, c in flat]).T
    products = np.array([[c @ d if block[x] == block[y] else 0.0 for y, d in flat] for x, c in flat])
    noises = {n["name"]: {**draws, **labels(arrays)}[n["name"]] for n in (*data["noises"], *data["masks"])}
    got = chain_step(data, values, state, SIZE, fields, products, noises, picked)
    assert sorted(got) == sorted(state)
    assert max(np.max(np.abs(want[name] - state[name])) for name in want) > 1e-4  # the step is not trivial
    for name in want:
        np.testing.assert_allclose(got[name], want[name], rtol=0, atol=ROUNDING)


def pivoted_cholesky(C):
    """C = B B' of full rank, the row with the largest relative residual first, and the order of rows; no code of the chain."""
    rest, columns, done = C.copy(), [], []
    while len(done) < len(C):
        relative = [-1.0 if p in done else rest[p, p] / C[p, p] for p in range(len(C))]
        p = int(np.argmax(relative))
        column = rest[:, p] / np.sqrt(rest[p, p])
        column[done] = 0.0
        rest, done = rest - np.outer(column, column), [*done, p]
        columns.append(column)
    return np.array(columns).T, done


VARIANCES = {"input and noise variance": {"x": "D"}, "a user's activation": {"x": "D"}, "two inputs": {"u": "s"}}
FIXED = {"two lengths": {"h": 2.0}, "two lengths, a mini-batch": {"h": 2.0}}
FREE = [case for case in MODELS if case not in OUTCOMES]  # one outcome, so that nothing is drawn to choose it


@pytest.mark.parametrize("case", FREE)
def test_the_loop_takes_the_step_in_matrix_form(case):
    """Coordinates in the frame are drawn here in the loop's order, and handed to the matrix form as fields and products."""
    _, data, arrays, _ = prepared(case, seed=3)
    values, state = split(data, overlap_arrays(data, arrays, SIZE), arrays)
    rng, batch = Stream(root=11).generator("train"), BATCH.get(case, 1)
    V = {f["name"]: vectors(arrays[f["name"]], SIZES[f["block"]]) for f in data["families"]}
    C = np.zeros((sum(map(len, V.values())),) * 2)
    blocks, at = [], 0
    for f in data["families"]:
        blocks += [f["block"]] * len(V[f["name"]])
    rows = {name: slice(at, at := at + len(v)) for name, v in V.items()}
    for f in data["families"]:
        for g in data["families"]:
            if f["block"] == g["block"]:
                C[rows[f["name"]], rows[g["name"]]] = V[f["name"]] @ V[g["name"]].T / SIZE
    B, order = pivoted_cholesky(C)
    where = [blocks[p] for p in order]
    left = {d: SIZES[d] - blocks.count(d) for d in data["blocks"]}
    coordinates, noises = [], {n["name"]: [] for n in data["noises"]}
    for _ in range(batch):
        for x in data["inputs"]:
            name = x["name"]
            variance = FIXED.get(case, {}).get(name) or values.get(VARIANCES.get(case, {}).get(name), None) or 1.0
            if "Delta" in values and name == "x_i":
                variance = values["Delta"]
            for _ in range(SIZES.get(x["columns"], 1)):
                z = [rng.standard_normal() if d == x["block"] else 0.0 for d in where]
                if left[x["block"]] > 0:
                    z.append(np.sqrt(rng.chisquare(left[x["block"]])))
                    where.append(x["block"])
                    left[x["block"]] -= 1
                coordinates.append(np.sqrt(variance) * np.array(z))
        for noise in data["noises"]:
            scale = np.sqrt(values["s"]) if case == "input and noise variance" else 1.0
            size = SIZES[noise["labels"][0][1]] if noise["labels"] else 1
            noises[noise["name"]].append(scale * rng.standard_normal(size))
    X = np.array([np.pad(z, (0, len(where) - len(z))) for z in coordinates])
    lam = B @ X[:, : len(C)].T
    fields = {name: lam[place] for name, place in rows.items()}
    want = chain_step(data, values, state, SIZE, fields, X @ X.T, noises)
    run = chain(data, values, state, SIZE, 1, seed=11)
    for name in want:
        np.testing.assert_allclose(
            run.values[name][0, -1], want[name], rtol=0, atol=10 * ROUNDING
        )  # sums of squares, reordered


def test_observables_are_those_of_the_limit():
    """Second road: the averaged observable of `online_limit`, evaluated term by term at the recorded overlaps."""
    model = teacher_student("erf2", "both")
    data, (arrays, _) = exact_chain(model), setting(model, np.random.default_rng(2))
    values, state = split(data, overlap_arrays(data, arrays, SIZE), arrays)
    run = chain(data, values, state, 40, 20, every=10)
    flow = online_limit(model)
    for t in range(3):
        at = {**values, **{name: run.values[name][0, t] for name in state}, "K": 3, "M": 2}
        assert abs(run.observables["eg"][0, t] - evaluate(flow.observables["eg"], at, {}, NUMPY)) < ROUNDING


def test_the_number_of_operations_does_not_depend_on_the_dimension():
    model = teacher_student("erf2", "both")
    data, (arrays, _) = exact_chain(model), setting(model, np.random.default_rng(2))
    values, state = split(data, overlap_arrays(data, arrays, SIZE), arrays)
    small, large = (bind(data, values, state, n, 1).segments[0].program for n in (100, 10**9))
    assert len(small.code) == len(large.code) < 60  # K = 3, M = 2; every error term and slope is computed once
    np.testing.assert_array_equal(small.code, large.code)
