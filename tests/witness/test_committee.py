"""Committee, one step of one-pass SGD on both layers: tape, family and a step written entry by entry.

Roads: `witness` below (plain loops, reads neither plan nor family), the tape on committee.json, the compiled family. All three
are given the same draws, so they must agree to rounding.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from numerics.simulate import Stream, one_step, simulate
from numerics.simulate.families import committee

PLAN = json.loads((Path(__file__).parent / "committee.json").read_text())
ROUNDING = 1e-12  # sums over N = 30 entries of order one, each correct to 2e-16


def witness(W, v, Wstar, A, x, zeta, eta, eta_v, sigma, kappa):
    """One step from the definition of the loss: every derivative by hand, every sum a loop."""
    (K, N), M = W.shape, Wstar.shape[0]
    lam = [sum(W[k, i] * x[i] for i in range(N)) / math.sqrt(N) for k in range(K)]
    nu = [sum(Wstar[m, i] * x[i] for i in range(N)) / math.sqrt(N) for m in range(M)]
    output = sum(v[k] * math.erf(lam[k] / math.sqrt(2)) for k in range(K))
    label = sum(A[m] * math.erf(nu[m] / math.sqrt(2)) for m in range(M)) + sigma * zeta
    W_new, v_new = np.zeros_like(W), np.zeros_like(v)
    for k in range(K):
        slope = math.sqrt(2 / math.pi) * math.exp(-(lam[k] ** 2) / 2)
        for i in range(N):
            W_new[k, i] = W[k, i] - kappa / N * W[k, i] - eta * (output - label) * v[k] * slope * x[i] / math.sqrt(N)
        v_new[k] = v[k] - eta_v / N * (output - label) * math.erf(lam[k] / math.sqrt(2))
    return W_new, v_new


@pytest.fixture
def setting():
    rng = np.random.default_rng(4)
    N, K, M = 30, 3, 2
    values = {"Wstar": rng.standard_normal((M, N)), "A": rng.standard_normal(M)}
    values |= {"eta": 0.7, "eta_v": 0.4, "sigma": 0.3, "kappa": 0.2}
    return values, {"W": rng.standard_normal((K, N)), "v": rng.standard_normal(K)}


def by_hand(values, state, x, zeta):
    rates = (values[name] for name in ("eta", "eta_v", "sigma", "kappa"))
    return witness(state["W"], state["v"], values["Wstar"], values["A"], x, zeta, *rates)


def run_family(values, state, rng, steps, **options):
    rates = {"eta": values["eta"], "eta_v": values["eta_v"], "sigma": values["sigma"], "decay": values["kappa"]}
    return committee.one_pass(rng, state["W"], state["v"], values["Wstar"], values["A"], steps=steps, **rates, **options)


def test_tape_family_and_witness_take_the_same_step(setting):
    values, state = setting
    rng = np.random.default_rng(8)
    x, zeta = rng.standard_normal(30), rng.standard_normal()
    W, v = by_hand(values, state, x, zeta)
    tape = one_step(PLAN, values, state, {"x": x, "zeta": zeta})
    assert np.max(np.abs(tape["W"] - W)) < ROUNDING
    assert np.max(np.abs(tape["v"][:, 0] - v)) < ROUNDING
    run = run_family(values, state, np.random.default_rng(8), 1)
    assert np.max(np.abs(run.W_end - W)) < ROUNDING
    assert np.max(np.abs(run.v[-1] - v)) < ROUNDING
    assert np.max(np.abs(W - state["W"])) > 1e-3  # the step does move the weights, so the comparison is not empty


def test_a_whole_run_of_the_family_is_the_run_of_the_tape(setting):
    values, state = setting
    family = run_family(values, state, Stream(root=5).generator("train"), 200, every=50)
    tape = simulate(PLAN, values, state, 200, seed=5, every=50, observe=False)
    W = tape.values["W"][0]
    assert family.t == pytest.approx(tape.t, abs=ROUNDING)
    assert np.max(np.abs(W @ W.swapaxes(1, 2) / 30 - family.Q)) < 1e-10  # 200 steps, each adds rounding of 1e-15
    assert np.max(np.abs(W @ values["Wstar"].T / 30 - family.R)) < 1e-10  # as above
    assert np.max(np.abs(tape.values["v"][0, :, :, 0] - family.v)) < 1e-10  # as above


@pytest.mark.parametrize("wrong", ["sign of the noise", "new v in the step of W", "erf without sqrt 2"])
def test_a_wrong_rule_is_told_apart(setting, wrong):
    values, state = setting
    rng = np.random.default_rng(8)
    x, zeta = rng.standard_normal(30), rng.standard_normal()
    W, v = by_hand(values, state, x, zeta)
    plan = json.loads(json.dumps(PLAN))
    if wrong == "sign of the noise":
        plan["let"][4][1][2].insert(1, -1)
    elif wrong == "new v in the step of W":
        (rule_W, rule_v) = plan["rule"]["blocks"][0]
        plan["rule"]["blocks"] = [[rule_v], [rule_W]]
    else:
        plan["let"][2][1][1][2] = ["map", "erf2", ["mul", ["pow", 2, ["frac", 1, 2]], "lam"]]
    stepped = one_step(plan, values, state, {"x": x, "zeta": zeta})
    assert max(np.max(np.abs(stepped["W"] - W)), np.max(np.abs(stepped["v"][:, 0] - v))) > 1e-4  # 1e8 times the tolerance
