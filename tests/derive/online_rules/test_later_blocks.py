"""Blocks after the first one: normalisation, decay; batches.

Road one: derived from the spec. Road two: hand-made forms, the system without these parts, SGD in plain NumPy.
"""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from sympy import DiagMatrix, Identity, OneMatrix, Rational, oo, sqrt

from derive import fn
from derive.errors import CheckFailed, UnsupportedNode
from derive.fields.rule import field_rule
from derive.gaussian.quadrature import NUMPY
from derive.indices.indexed import ONE, add, evaluate
from derive.online.check import checked
from derive.online.limit import online_limit
from derive.spec.laws import Choice, Normal
from derive.spec.model import Model
from derive.spec.nodes import grad
from derive.spec.rules import Limit, Update
from derive.spec.sugar import dot, had, norm2
from derive.spec.symbols import activation, dims, matrix, scalars, vector

N, K, M = dims("N K M")
eta, kappa, size = scalars("eta kappa size", positive=True)
L, s = scalars("L s")
w, b, x = vector("w", N), vector("b", N), vector("x", N)
W, B, v, A = matrix("W", K, N), matrix("B", M, N), vector("v", K), vector("A", M)
TIGHT = 1e-12  # rounding of a few hundred operations
HEBB = eta / sqrt(N) * fn.sgn(dot(b, x) / sqrt(N)) * x
UNIT = w / sqrt(norm2(w) / N)


INPUT = (Normal(x),)


def perceptron(*blocks, given=(b, eta), data=INPUT, batch=1):
    return Model(
        name="perceptron",
        state=(w,),
        given=given,
        data=data,
        learn=Update(*blocks, dt=1 / N, batch=batch),
        limit=Limit({N: oo}),
    )


def rates(flow, **at):
    return np.array([float(evaluate(flow.rhs[n], at, {}, NUMPY)) for n in ("Q", "R")])


def test_normalised_hebbian_learning_by_hand():
    """dR = eta sqrt(2T/pi) - R (eta sqrt(2/(pi T)) R + eta^2 / 2) at Q = 1, and Q stays."""
    flow = online_limit(perceptron({w: w + HEBB}, {w: UNIT}))
    c = 0.5 * np.sqrt(2 / np.pi)
    want = c * np.sqrt(1.4) - 0.3 * (c * 0.3 / np.sqrt(1.4) + 0.125)
    assert np.max(np.abs(rates(flow, Q=1.0, R=0.3, T=1.4, eta=0.5) - [0.0, want])) < TIGHT
    assert any("manifold" in a.text for a in flow.assumptions)
    assert sum(step.title == "check" for step in flow.steps) == 5


def test_the_place_of_a_decay_among_the_blocks_does_not_matter():
    """The next step's normalisation sees a decay that stands after it."""
    decay = {w: w - kappa / N * w}
    one = online_limit(perceptron({w: w + HEBB}, {w: UNIT}, decay, given=(b, eta, kappa)))
    two = online_limit(perceptron({w: w + HEBB}, decay, {w: UNIT}, given=(b, eta, kappa)))
    three = online_limit(perceptron({w: w + HEBB - kappa / N * w}, given=(b, eta, kappa)))
    four = online_limit(perceptron({w: w + HEBB}, decay, given=(b, eta, kappa)))
    at = {"Q": 1.0, "R": 0.3, "T": 1.4, "eta": 0.5, "kappa": 0.2}
    assert np.max(np.abs(rates(one, **at) - rates(two, **at))) < TIGHT
    assert np.max(np.abs(rates(three, **at) - rates(four, **at))) < TIGHT
    assert abs(rates(one, **at)[0]) < TIGHT


def committee(*later):
    loss = {L: (dot(v, fn.erf2(W * x / sqrt(N))) - dot(A, fn.erf2(B * x / sqrt(N)))) ** 2 / 2}
    return Model(
        name="committee", state=(W,), given=(B, v, A, eta), data=(Normal(x),), let=loss,
        learn=Update({W: W - eta * grad(L, W)}, *later, dt=1 / N), limit=Limit({N: oo}),
    )  # fmt: skip


def table(flow, at):
    out = {}
    for block in flow.state:
        out[block.name] = np.zeros([at[i.family] for i in block.indices])
        for place in np.ndindex(out[block.name].shape):
            labels = dict(zip(block.indices, place, strict=True))
            out[block.name][place] = evaluate(flow.rhs[block.name], at, labels, NUMPY)
    return out


def test_row_by_row_normalisation_of_a_committee():
    """dC_pq - C_pq (dC_pp/C_pp + dC_qq/C_qq)/2 with the rates of the committee that is not normalised."""
    root = activation("rsqrt", lambda z: z ** Rational(-1, 2))
    rows = DiagMatrix(root(had(W * W.T / N, Identity(K)) * OneMatrix(K, 1))) * W
    plain, normal = online_limit(committee()), online_limit(committee({W: rows}))
    rng = np.random.default_rng(2)
    V, U = rng.normal(size=(3, 10)), rng.normal(size=(2, 10))
    V *= np.sqrt(10) / np.linalg.norm(V, axis=1)[:, None]
    at = {"Q": V @ V.T / 10, "R": V @ U.T / 10, "T": U @ U.T / 10, "v": rng.normal(size=3), "A": rng.normal(size=2), "eta": 0.7,
          "K": 3, "M": 2}  # fmt: skip
    free, got = table(plain, at), table(normal, at)
    growth = np.diag(free["Q"])
    np.testing.assert_allclose(got["R"], free["R"] - at["R"] * growth[:, None] / 2, rtol=0, atol=TIGHT)
    np.testing.assert_allclose(got["Q"], free["Q"] - at["Q"] * (growth[:, None] + growth) / 2, rtol=0, atol=TIGHT)
    assert np.max(np.abs(np.diag(got["Q"]))) < TIGHT


def test_normalised_learning_against_sgd_with_full_weights():
    flow = online_limit(perceptron({w: w + HEBB}, {w: UNIT}))

    def rhs(t, u):
        return [rates(flow, Q=1.0, R=u[0], T=1.0, eta=0.8)[1]]

    theory = float(solve_ivp(rhs, (0, 2), [0.1], rtol=1e-8).y[0, -1])
    rng, n, seeds = np.random.default_rng(4), 400, 60
    e = np.linalg.qr(rng.normal(size=(n, 2)))[0].T * np.sqrt(n)
    runs = np.tile(0.1 * e[0] + np.sqrt(0.99) * e[1], (seeds, 1))
    for _ in range(2 * n):
        inputs = rng.normal(size=(seeds, n))
        runs += 0.8 / np.sqrt(n) * np.sign(inputs @ e[0])[:, None] * inputs
        runs *= np.sqrt(n) / np.linalg.norm(runs, axis=1)[:, None]
    R = runs @ e[0] / n
    error = R.std(ddof=1) / np.sqrt(seeds) + 1 / n  # of the mean, and the bias of order 1/N
    assert abs(R.mean() - theory) < 5 * error  # Student score of 59 degrees: false alarm 1e-5, and the seed is fixed
    free = float(solve_ivp(lambda t, u: [0.8 * np.sqrt(2 / np.pi)], (0, 2), [0.1]).y[0, -1])
    assert abs(R.mean() - free) > 20 * error  # without the projection the theory would be seen to be wrong


@pytest.mark.parametrize("count", [4, size])
def test_a_batch_divides_the_quadratic_term(count):
    given = (b, eta) if count == 4 else (b, eta, size)
    batched = online_limit(perceptron({w: w + HEBB}, given=given, batch=count))
    one, none = online_limit(perceptron({w: w + HEBB})), online_limit(perceptron({w: w + HEBB}), noise="none")
    at = {"Q": 0.8, "R": 0.3, "T": 1.4, "eta": 0.5, "size": 4}
    assert np.max(np.abs(rates(batched, **at) - (rates(none, **at) + (rates(one, **at) - rates(none, **at)) / 4))) < TIGHT


# ------------------------------------------------------------------------------------------------------------ refusals
def test_blocks_without_a_limit_are_refused():
    with pytest.raises(UnsupportedNode, match="only a projection has a limit"):
        online_limit(perceptron({w: w + HEBB}, {w: w / 2}))
    with pytest.raises(UnsupportedNode, match=r"uses the draw x again.*one block"):
        online_limit(perceptron({w: w + HEBB}, {w: w + HEBB}))
    with pytest.raises(UnsupportedNode, match="as separate blocks"):
        online_limit(perceptron({w: w + HEBB}, {w: UNIT - kappa / N * w}, given=(b, eta, kappa)))
    with pytest.raises(UnsupportedNode, match=r"of order N\^\(1/2\)"):
        online_limit(perceptron({w: w + HEBB}, {w: w * sqrt(N)}))
    with pytest.raises(UnsupportedNode, match="noise='none' for an infinite batch"):
        online_limit(perceptron({w: w + HEBB}, batch=N))


def test_the_overlap_chain_writes_later_blocks_batches_and_labels():
    """By hand: what the chain reads of each; `tests/numerics/chain` compares its steps and its law with full weights."""
    from derive.online.chain_plan import exact_chain

    unit, batch = exact_chain(perceptron({w: w + HEBB}, {w: UNIT})), exact_chain(perceptron({w: w + HEBB}, batch=4))
    assert [(block["replaces"], block["families"]) for block in unit["later"]] == [(True, ["w"])]
    assert batch["batch"] == ["const", 4, 1]
    labels = exact_chain(perceptron({w: w + s * HEBB}, data=(Normal(x), Choice(s, (1, 3)))))
    assert [(o["shown"], o["weight"]) for o in labels["outcomes"]] == [("s = 1", ["const", 1, 2]), ("s = 3", ["const", 1, 2])]


def test_a_wrong_projection_is_caught_at_derivation_time():
    model = perceptron({w: w + HEBB}, {w: UNIT})
    flow, rule = online_limit(model), field_rule(model)
    wrong = flow.replace(rhs={**flow.rhs, "R": add(flow.rhs["R"], ONE / 100)})
    with pytest.raises(CheckFailed, match="later blocks and differences"):
        checked(wrong, rule, "sgd")
