"""The tape engine: order of blocks, batches, averages, replicas, rates; and what it refuses.

Roads: simulated runs on one side, the recursion worked out by hand on the other.
"""

import copy

import numpy as np
import pytest

from numerics.simulate import BindingError, NotSimulable, Stream, one_step, simulate

NORMAL = {"law": "Normal", "symbols": ["x"], "shapes": [[]]}
MINUS = ["frac", -1, 1]


def plan(blocks, *, state=("u", "w"), draws=(), let=(), observe=None, dt=1, batch=1, given=()):
    return {
        "version": 1, "state": {name: [] for name in state}, "given": {name: [] for name in given}, "draws": list(draws),
        "let": list(let), "rule": {"kind": "update", "blocks": blocks, "dt": dt, "batch": batch}, "observe": observe or {},
    }  # fmt: skip


def rate(tree, **options):
    data = plan([], state=("w",), **options)
    return {**data, "rule": {"kind": "rate", "rates": [["w", tree]], "noise": []}}


def test_a_block_assigns_from_old_values_and_the_next_block_sees_the_new():
    swap = plan([[["u", "w"], ["w", "u"]]])
    end = one_step(swap, {}, {"u": 1.0, "w": 2.0}, {})
    assert (end["u"], end["w"]) == (2.0, 1.0)
    in_order = plan([[["u", "w"]], [["w", "u"]]])
    end = one_step(in_order, {}, {"u": 1.0, "w": 2.0}, {})
    assert (end["u"], end["w"]) == (2.0, 2.0)


def test_draws_are_shared_by_blocks_and_definitions_are_evaluated_anew():
    blocks = [[["u", ["add", "u", "x"]]], [["w", ["add", "w", "y"]]]]
    shared = plan(blocks, draws=[NORMAL], let=[["y", ["mul", "u", "x"]]])
    run = simulate(shared, {}, {"u": 1.0, "w": 0.0}, 1, seed=3)
    x = Stream(root=3).generator("train").standard_normal()
    assert run.values["u"][0, -1] == pytest.approx(1 + x, rel=1e-15)  # one addition
    assert run.values["w"][0, -1] == pytest.approx((1 + x) * x, rel=1e-15)  # the new u, the same x


def test_the_first_block_is_averaged_over_the_batch():
    batched = plan([[["u", ["mul", "x", "x", "w"]], ["w", "w"]]], draws=[NORMAL], batch=7)
    run = simulate(batched, {}, {"u": 0.0, "w": 2.0}, 1, seed=1)
    x = Stream(root=1).generator("train").standard_normal(7)
    assert run.values["u"][0, -1] == pytest.approx(2 * np.mean(x**2), rel=1e-14)  # a sum of seven
    late = plan([[["u", "u"]], [["w", "x"]]], draws=[NORMAL], batch=7)
    with pytest.raises(NotSimulable, match="first block"):
        simulate(late, {}, {"u": 0.0, "w": 2.0}, 1)


def test_a_replica_does_not_depend_on_the_others_and_a_run_not_on_its_records():
    walk = plan([[["u", ["add", "u", "x"]], ["w", ["mul", "w", "x"]]]], draws=[NORMAL], dt=["frac", 1, 4])
    start = {"u": 0.0, "w": 1.0}
    many = simulate(walk, {}, start, 20, seed=2, replicas=3, every=7)
    alone = simulate(walk, {}, start, 20, seed=2, every=1)
    assert np.array_equal(many.values["u"][0, -1], alone.values["u"][0, -1])
    assert np.array_equal(many.steps, [0, 7, 14, 20])
    assert np.array_equal(many.t, np.array([0, 7, 14, 20]) / 4)
    assert len({float(u) for u in many.values["u"][:, -1]}) == 3
    assert np.array_equal(simulate(walk, {}, start, 20, seed=2, replicas=3).values["u"][:, -1], many.values["u"][:, -1])
    assert not np.array_equal(simulate(walk, {}, start, 20, seed=9).values["u"][0, -1], alone.values["u"][0, -1])


def test_replicas_may_start_apart():
    still = plan([[["u", "u"], ["w", "w"]]])
    run = simulate(still, {}, {"u": [1.0, 2.0], "w": 5.0}, 1, replicas=2)
    assert run.values["u"][:, -1].tolist() == [1.0, 2.0]
    assert run.values["w"].shape == (2, 2)


def test_observing_does_not_change_the_run_and_a_sampled_mean_is_near_the_exact_one():
    observed = plan(
        [[["u", ["add", "u", "x"]], ["w", "w"]]], draws=[NORMAL], observe={"m": ["mean", ["pow", ["add", "u", "x"], 2]]}
    )
    start = {"u": 0.5, "w": 0.0}
    seen = simulate(observed, {}, start, 30, seed=4, mean_draws=40_000)
    blind = simulate(observed, {}, start, 30, seed=4, observe=False)
    assert np.array_equal(seen.values["u"], blind.values["u"])
    assert not blind.observables
    u = seen.values["u"][0]
    error = np.sqrt((2 + 4 * u**2) / 40_000)  # variance of (u + x)^2 for a standard normal x
    assert np.max(np.abs(seen.observables["m"][0] - (u**2 + 1)) / error) < 5.5  # 31 scores: fixed seed, false alarm 1e-6
    assert np.ptp(u) > 1


def test_a_mean_inside_the_rule_is_differentiated():
    coin = {"law": "Choice", "symbols": ["c"], "shapes": [[]], "values": [1, 3], "probs": [["frac", 3, 4], ["frac", 1, 4]]}
    population = ["mean", ["pow", ["add", ["mul", "c", "w"], -1], 2]]
    descent = plan([[["w", ["add", "w", ["mul", ["frac", -1, 10], ["grad", population, "w"]]]]]], state=("w",), draws=[coin])
    end = simulate(descent, {}, {"w": 0.2}, 1).values["w"][0, -1]
    slope = 0.75 * 2 * (0.2 - 1) + 0.25 * 2 * 3 * (3 * 0.2 - 1)
    assert end == pytest.approx(0.2 - 0.1 * slope, rel=1e-14)  # a few operations
    squared = ["pow", population, 2]  # the gradient of a square of a mean is not the mean of a gradient
    curved = plan([[["w", ["grad", squared, "w"]]]], state=("w",), draws=[coin])
    loss = 0.75 * (0.2 - 1) ** 2 + 0.25 * (0.6 - 1) ** 2
    assert simulate(curved, {}, {"w": 0.2}, 1).values["w"][0, -1] == pytest.approx(2 * loss * slope, rel=1e-14)  # as above


def test_a_sampled_mean_inside_the_rule_moves_by_the_gradient_of_the_sample():
    population = ["mean", ["mul", ["frac", 1, 2], ["pow", ["add", ["mul", "x", "w"], -1], 2]]]
    step = plan([[["w", ["grad", population, "w"]]]], state=("w",), draws=[NORMAL])
    x = Stream(root=6).generator("observe").standard_normal(50)
    end = simulate(step, {}, {"w": 0.3}, 1, seed=6, mean_draws=50).values["w"][0, -1]
    assert end == pytest.approx(np.mean(x * (0.3 * x - 1)), rel=1e-13)  # a sum of fifty


def test_a_rate_without_draws_is_descent_of_first_order():
    flow = rate(["mul", -1, "w"])
    ends = [simulate(flow, {}, {"w": 1.0}, n, dt=1 / n).values["w"][0, -1] for n in (100, 200)]
    errors = [abs(end - np.exp(-1)) for end in ends]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.02)  # slope one in dt, next order dt = 1 %
    assert simulate(flow, {}, {"w": 1.0}, 100, dt=0.01).t[-1] == pytest.approx(1)


def test_a_state_that_runs_away_is_reported():
    grow = plan([[["u", ["pow", "u", 3]], ["w", "w"]]])
    with np.errstate(over="ignore"):
        run = simulate(grow, {}, {"u": [3.0, 0.5], "w": 0.0}, 10, replicas=2)
    assert run.status == ("nonfinite", "ok")


def test_progress_counts_to_the_end():
    calls = []
    simulate(plan([[["u", "u"], ["w", "w"]]]), {}, {"u": 0.0, "w": 0.0}, 5, every=2, progress=lambda *at: calls.append(at))
    assert calls == [(0, 5), (2, 5), (4, 5), (5, 5)]


@pytest.mark.parametrize(
    ("change", "options", "remedy"),
    [
        ({"rule": None}, {}, "learn=Update"),
        ({"protocol": [["phase", 1, [], None]]}, {}, "run it by simulate_protocol"),
        ({}, {"dt": 0.1}, "Leave it out"),
        ({}, {"engine": "committee"}, "families"),
        ({}, {"open_law": "gauss"}, "'normal'"),
        ({"rule": rate("x", draws=[NORMAL])["rule"]}, {}, "as_updates"),
        ({"rule": rate("x", draws=[NORMAL])["rule"]}, {"dt": 0.1}, "cannot be summed exactly"),
        ({"rule": {"kind": "rate", "rates": [["w", 0]], "noise": [["w", 1]]}}, {"dt": 0.1}, "as an Update"),
        ({"observe": {"e": "x"}}, {}, "mean(...)"),
    ],
)
def test_what_cannot_be_run_honestly_is_refused_with_a_remedy(change, options, remedy):
    base = plan([[["w", "w"]]], state=("w",), draws=[NORMAL])
    with pytest.raises(NotSimulable) as error:
        simulate({**copy.deepcopy(base), **change}, {}, {"w": 0.0}, 1, **options)
    assert remedy in str(error.value)


def test_numbers_of_steps_and_draws_are_checked():
    still = plan([[["w", "x"]]], state=("w",), draws=[NORMAL])
    with pytest.raises(BindingError, match="steps must be"):
        simulate(still, {}, {"w": 0.0}, -1)
    with pytest.raises(BindingError, match="no value for the draw x"):
        one_step(still, {}, {"w": 0.0}, {})
    with pytest.raises(BindingError, match=r"batch is 0\.5"):
        simulate(plan([[["w", "x"]]], state=("w",), draws=[NORMAL], batch=["frac", 1, 2]), {}, {"w": 0.0}, 1)
