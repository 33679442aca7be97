"""Laws: samples against the moments that define them, and enumeration against samples.

Each statistical check has a fixed seed and a bound of five standard errors: a right sampler fails it with probability 6e-7 per
number, so with less than 1e-4 over the file.
"""

import numpy as np
import pytest

from numerics.simulate import NotSimulable, simulate

HALF = ["frac", 1, 2]


def keep(draws, state, given=None, let=(), rule=None, functions=None):
    """A plan whose state is the draw itself: one step with a batch of replicas shows the law."""
    blocks = [[[name, rule[name] if rule else source] for name, source in state.items()]]
    return {
        "version": 1, "state": {name: SHAPES[source] for name, source in state.items()}, "given": given or {}, "draws": draws,
        "let": list(let), "functions": functions or {}, "rule": {"kind": "update", "blocks": blocks},
    }  # fmt: skip


SHAPES = {"x": [3, 1], "y": [2, 1], "c": [], "s": [4, 1], "X": [3, 5]}


def sample(plan, values, runs=5000, seed=0, **options):
    state = {name: np.zeros([int(n) for n in shape]) for name, shape in plan["state"].items()}
    end = simulate(plan, values, state, 1, seed=seed, replicas=runs, **options)
    return {name: array[:, -1] for name, array in end.values.items()}


def within(samples, expected, sigmas=5.0):
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    return bool(
        np.all(np.abs(samples.mean(axis=0) - expected) <= sigmas * error + 1e-12)
    )  # 1e-12: rounding where nothing varies


def test_normal_with_mean_and_singular_covariance():
    root = np.array([[1.0, 0.0], [0.5, 2.0], [1.5, 2.0]])  # rank two in three dimensions
    law = {"law": "Normal", "symbols": ["x"], "shapes": [[3, 1]], "cov": "C", "mean": "m"}
    plan = keep([law], {"u": "x"}, {"C": [3, 3], "m": [3, 1]})
    values = {"C": root @ root.T, "m": [1.0, 0.0, -1.0]}
    x = sample(plan, values)["u"][..., 0]
    centred = x - values["m"]
    assert within(x, values["m"])
    assert within(centred[:, :, None] * centred[:, None, :], values["C"])
    assert not within(centred[:, :, None] * centred[:, None, :], 1.3 * values["C"])  # thirty per cent more variance is seen
    assert np.max(np.abs(centred @ np.linalg.svd(root)[0][:, 2])) < 1e-6  # null direction: square root of rounding 1e-16 * norm


def test_columns_of_a_matrix_draw_are_independent():
    law = {"law": "Normal", "symbols": ["X"], "shapes": [[3, 5]], "cov": "C"}
    C = np.array([[2.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    X = sample(keep([law], {"u": "X"}, {"C": [3, 3]}), {"C": C}, 4000)["u"]
    expected = np.einsum("ij,kl->ikjl", C, np.eye(5))
    assert within(np.einsum("rik,rjl->rikjl", X, X), expected)


def test_choice_draws_with_its_probabilities_and_mixtures_follow_it():
    choice = {"law": "Choice", "symbols": ["x", "c"], "shapes": [[3, 1], []], "probs": ["p", ["add", 1, ["mul", -1, "p"]]]}
    choice["values"] = [["mu", 1], [["mul", -1, "mu"], -1]]
    noise = {"law": "Normal", "symbols": ["y"], "shapes": [[2, 1]], "cov": ["add", 2, "c"]}
    plan = keep([choice, noise], {"u": "x", "k": "c", "z": "y"}, {"p": [], "mu": [3, 1]})
    mu = np.array([1.0, 2.0, 3.0])
    got = sample(plan, {"p": 0.3, "mu": mu})
    assert within(got["k"], 0.3 - 0.7)
    assert np.array_equal(got["u"][..., 0], got["k"][:, None] * mu)  # jointly, not each for itself
    assert within(got["z"][got["k"] > 0] ** 2, 3.0)
    assert within(got["z"][got["k"] < 0] ** 2, 1.0)


def test_a_choice_without_values_is_a_random_unit_column():
    uniform = {"law": "Choice", "symbols": ["s"], "shapes": [[4, 1]]}
    s = sample(keep([uniform], {"u": "s"}), {})["u"][..., 0]
    assert np.array_equal(s.sum(axis=1), np.ones(5000))
    assert within(s, 0.25)
    policy = {**uniform, "probs": "p"}
    p = np.array([0.1, 0.2, 0.0, 0.7])
    s = sample(keep([policy], {"u": "s"}, {"p": [4, 1]}), {"p": p})["u"][..., 0]
    assert within(s, p)
    assert s[:, 2].sum() == 0


def test_marginal_entries_are_independent_with_a_rate_each():
    law = {"law": "Marginal", "symbols": ["x"], "shapes": [[3, 1]], "values": [[0], [1]]}
    law["probs"] = [["add", ["ones", 3, 1], ["mul", -1, "p"]], "p"]
    p = np.array([0.1, 0.5, 0.9])
    x = sample(keep([law], {"u": "x"}, {"p": [3, 1]}), {"p": p})["u"][..., 0]
    assert within(x, p)
    assert within(x[:, :1] * x[:, 1:], p[0] * p[1:])
    curved = {"law": "Marginal", "symbols": ["x"], "shapes": [[3, 1]], "transform": "relu"}
    assert within(sample(keep([curved], {"u": "x"}), {})["u"][..., 0], 1 / np.sqrt(2 * np.pi))  # E max(z, 0)


def test_once_is_drawn_once_for_each_run():
    law = {"law": "Normal", "symbols": ["x"], "shapes": [[3, 1]], "once": True}
    plan = keep([law], {"u": "x"}, rule={"u": ["add", "u", "x"]})
    run = simulate(plan, {}, {"u": np.zeros(3)}, 4, replicas=3, every=1).values["u"][..., 0]
    assert run[:, 4] == pytest.approx(4 * run[:, 1], rel=1e-14)  # four times the same draw
    assert np.ptp(run[:, 1, 0]) > 0


def test_an_open_law_is_refused_unless_the_gaussian_is_chosen():
    law = {"law": "Moments", "symbols": ["x", "y"], "shapes": [[3, 1], [2, 1]]}
    law["moments"] = [[["matmul", "x", ["T", "x"]], "Sx"], [["matmul", "y", ["T", "x"]], "Syx"]]
    plan = keep([law], {"u": "x", "z": "y"}) | {"moments": {"Sx": [3, 3], "Syx": [2, 3]}}
    rng = np.random.default_rng(0)
    root, Syx = rng.standard_normal((3, 3)), rng.standard_normal((2, 3))
    values = {"Sx": root @ root.T, "Syx": Syx}
    with pytest.raises(NotSimulable, match=r"model\.bind"):
        sample(plan, values, 2)
    got = sample(plan, values, open_law="normal")
    x, y = got["u"][..., 0], got["z"][..., 0]
    assert within(x[:, :, None] * x[:, None, :], values["Sx"])
    assert within(y[:, :, None] * x[:, None, :], Syx)
    with pytest.raises(NotSimulable, match="not named"):
        sample({**plan, "draws": [{**law, "moments": law["moments"][:1]}]}, values, 2, open_law="normal")


def test_enumeration_is_the_average_over_samples_of_dependent_choices():
    first = {
        "law": "Choice",
        "symbols": ["c"],
        "shapes": [[]],
        "values": [[0], [1], [3]],
        "probs": [HALF, ["frac", 1, 4], ["frac", 1, 4]],
    }
    second = {"law": "Choice", "symbols": ["s"], "shapes": [[4, 1]], "probs": "q"}
    q = ["add", ["mul", ["delta", "c", 1], "q1"], ["mul", ["add", 1, ["mul", -1, ["delta", "c", 1]]], "q0"]]
    tree = ["mul", ["add", 1, "c"], ["trace", ["matmul", ["T", "r"], "s"]]]
    plan = keep([first, second], {"u": "c"}, {"q0": [4, 1], "q1": [4, 1], "r": [4, 1]}, [["q", q]], {"u": tree})
    plan["observe"] = {"e": ["mean", tree]}
    values = {"q0": [0.1, 0.2, 0.3, 0.4], "q1": [0.7, 0.1, 0.1, 0.1], "r": [1.0, -2.0, 3.0, 0.5]}
    exact = float(simulate(plan, values, {"u": 0.0}, 0).observables["e"][0, 0])
    q0, q1, r = (np.array(values[name]) for name in ("q0", "q1", "r"))
    assert exact == pytest.approx(0.5 * q0 @ r + 0.25 * 2 * q1 @ r + 0.25 * 4 * q0 @ r, rel=1e-14)  # by hand, twelve outcomes
    assert within(sample(plan, values)["u"], exact)


@pytest.mark.parametrize(
    ("law", "values", "remedy"),
    [
        ({"law": "Normal", "cov": "C"}, {"C": np.diag([1.0, -1.0, 1.0])}, "negative eigenvalue"),
        ({"law": "Normal", "cov": "C"}, {"C": np.triu(np.ones((3, 3)))}, "not symmetric"),
        ({"law": "Choice", "values": [["ones", 3, 1], ["zeros", 3, 1]], "probs": [1, 1]}, {"C": np.eye(3)}, "sum to 1"),
        ({"law": "Choice", "values": [1, 2]}, {"C": np.eye(3)}, "another shape"),
        ({"law": "Marginal"}, {"C": np.eye(3)}, "values="),
    ],
)
def test_a_law_that_cannot_be_drawn_is_refused(law, values, remedy):
    plan = keep([{"symbols": ["x"], "shapes": [[3, 1]], **law}], {"u": "x"}, {"C": [3, 3]})
    with pytest.raises(NotSimulable, match=remedy):
        sample(plan, values, 1)
