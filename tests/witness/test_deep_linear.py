"""Deep linear network, one step of SGD on a batch: tape, family and a step written by hand.

Roads: `witness` below (item by item, reads neither plan nor family), the tape on deep_linear.json, the family in its compiled
and in its NumPy form. All are given the same items.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from numerics.simulate import Stream, one_step, simulate
from numerics.simulate.families import deep_linear

PLAN = json.loads((Path(__file__).parent / "deep_linear.json").read_text())
ROUNDING = 1e-12  # products of matrices of width <= 6 with entries of order one


def witness(W1, W2, X, Y, items, eta):
    """The average over items of the outer products that the chain rule gives, one item at a time."""
    d1, d2 = np.zeros_like(W1), np.zeros_like(W2)
    for item in items:
        x, y = X[:, item], Y[:, item]
        hidden = W1 @ x
        error = W2 @ hidden - y
        d2 += np.outer(error, hidden) / len(items)
        d1 += np.outer(W2.T @ error, x) / len(items)
    return W1 - eta * d1, W2 - eta * d2


@pytest.fixture
def setting():
    rng = np.random.default_rng(1)
    values = {"X": rng.standard_normal((5, 6)), "Y": rng.standard_normal((4, 6)), "eta": 0.05}
    return values, {"W1": rng.standard_normal((3, 5)), "W2": rng.standard_normal((4, 3))}


def with_batch(batch):
    return {**PLAN, "rule": {**PLAN["rule"], "batch": batch}}


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("narrow", [True, False])
def test_tape_family_and_witness_take_the_same_step(setting, batch, narrow, monkeypatch):
    values, state = setting
    items = np.random.default_rng(2).integers(0, 6, size=(1, batch))[0]
    W1, W2 = witness(state["W1"], state["W2"], values["X"], values["Y"], items, values["eta"])
    tape = one_step(with_batch(batch), values, state, {"item": np.eye(6)[items]})
    if not narrow:
        monkeypatch.setattr(deep_linear, "NARROW", 0)
    layers = (state["W1"], state["W2"])
    run = deep_linear.mini_batch(np.random.default_rng(2), layers, values["X"], values["Y"], values["eta"], batch, 1)
    for end in ((tape["W1"], tape["W2"]), tuple(W[-1] for W in run.weights)):
        assert np.max(np.abs(end[0] - W1)) < ROUNDING
        assert np.max(np.abs(end[1] - W2)) < ROUNDING
    assert np.max(np.abs(W1 - state["W1"])) > 1e-2  # the step does move the weights


def test_full_batch_is_the_witness_on_every_item_and_the_enumerated_rate(setting, monkeypatch):
    values, state = setting
    X, Y = values["X"], values["Y"]
    W1, W2 = witness(state["W1"], state["W2"], X, Y, range(6), 0.05)
    flow = {**PLAN, "rule": {"kind": "rate", "rates": [[n, ["mul", -1, ["grad", "L", n]]] for n in ("W1", "W2")], "noise": []}}
    rate = simulate(flow, values, state, 1, dt=0.05)
    arguments = ((state["W1"], state["W2"]), X @ X.T / 6, Y @ X.T / 6, 0.05, 1)
    compiled = deep_linear.full_batch(*arguments)
    monkeypatch.setattr(deep_linear, "NARROW", 0)
    wide = deep_linear.full_batch(*arguments)
    for end in (
        (rate.values["W1"][0, -1], rate.values["W2"][0, -1]),
        tuple(W[-1] for W in compiled.weights),
        tuple(W[-1] for W in wide.weights),
    ):
        assert np.max(np.abs(end[0] - W1)) < ROUNDING
        assert np.max(np.abs(end[1] - W2)) < ROUNDING


def test_a_whole_run_of_the_family_is_the_run_of_the_tape(setting):
    values, state = setting
    layers = (state["W1"], state["W2"])
    rng = Stream(root=3).generator("train")
    family = deep_linear.mini_batch(rng, layers, values["X"], values["Y"], values["eta"], 2, 300, every=60)
    tape = simulate(with_batch(2), values, state, 300, seed=3, every=60)
    assert family.t == pytest.approx(tape.t, abs=ROUNDING)
    assert np.max(np.abs(family.product - tape.observables["total"][0])) < 1e-10  # 300 contracting steps of rounding 1e-15


def test_full_batch_of_depth_four_descends_the_loss_like_finite_differences():
    rng = np.random.default_rng(7)
    layers = [
        rng.standard_normal((4, 3)),
        rng.standard_normal((2, 4)),
        rng.standard_normal((5, 2)),
        rng.standard_normal((3, 5)),
    ]
    Sx, Syx = np.eye(3) + 0.1, rng.standard_normal((3, 3))
    eta, h = 1e-3, 1e-6

    def loss(stack):
        P = stack[3] @ stack[2] @ stack[1] @ stack[0]
        return 0.5 * np.trace(P @ Sx @ P.T) - np.trace(P @ Syx.T)

    run = deep_linear.full_batch(layers, Sx, Syx, eta, 1)
    for number in range(4):
        for index in ((0, 0), (1, 1)):
            plus, minus = ([W.copy() for W in layers] for _ in range(2))
            plus[number][index] += h
            minus[number][index] -= h
            slope = (loss(plus) - loss(minus)) / (2 * h)
            moved = (layers[number][index] - run.weights[number][-1][index]) / eta
            assert moved == pytest.approx(slope, rel=1e-6, abs=1e-6)  # central differences: h^2 = 1e-12, rounding 1e-16 / h
