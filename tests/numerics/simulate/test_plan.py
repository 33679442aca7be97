"""Reading plans and binding arrays: what is wrong is named, with the remedy."""

import copy
import json

import numpy as np
import pytest

from numerics.simulate import BindingError, PlanError, read_plan, simulate
from numerics.simulate.bind import bind_values, sizes_of
from numerics.simulate.trees import dimension

GOOD = {
    "version": 1,
    "name": "lms",
    "state": {"w": ["N", 1]},
    "given": {"S": ["N", ["mul", 2, "N"]], "eta": []},
    "draws": [{"law": "Normal", "symbols": ["x"], "shapes": [["N", 1]]}],
    "let": [["L", ["trace", ["matmul", ["T", "w"], "x"]]]],
    "rule": {"kind": "update", "blocks": [[["w", ["add", "w", ["mul", "eta", "x"]]]]], "dt": 1, "batch": 1},
    "facts": [[["matmul", "S", ["T", "S"]], ["mul", 2, ["eye", "N"]]]],
    "observe": {"norm": ["trace", ["matmul", ["T", "w"], "w"]]},
}
VALUES = {"S": np.hstack([np.eye(3), np.eye(3)]), "eta": 0.1}


def changed(path, value):
    plan = copy.deepcopy(GOOD)
    node = plan
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return plan


def test_a_plan_survives_json_and_lists_of_shapes_may_be_mappings():
    mapped = changed(("draws", 0, "shapes"), {"x": ["N", 1]})
    assert read_plan(json.loads(json.dumps(GOOD))) == read_plan(GOOD) == read_plan(mapped)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("version",), 2, "version 2"),
        (("rulle",), None, "unknown key 'rulle'"),
        (("let", 0, 1), ["matmull", "w", "x"], "unknown operation 'matmull'"),
        (("let", 0, 1), ["pow", "eta"], "'pow' has 1 arguments"),
        (("let", 0, 1), 0.5, "0.5"),
        (("let", 0, 1), ["map", "gelu", "w"], "'gelu'"),
        (("observe", "norm"), "q", "symbol q is not declared"),
        (("rule", "blocks", 0, 0, 0), "S", "S, which is no state"),
        (("rule", "blocks", 0), [], "state w has no rule"),
        (("given", "w"), [], "w has two roles"),
        (("draws", 0, "law"), "Cauchy", "unknown law 'Cauchy'"),
        (("state", "w"), ["N"], "[rows, cols]"),
        (("rule", "kind"), "optimum", "'update' or a 'rate'"),
    ],
)
def test_a_broken_plan_is_refused(path, value, message):
    with pytest.raises(PlanError) as error:
        read_plan(changed(path, value))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("values", "state", "message"),
    [
        ({"eta": 0.1}, {"w": np.zeros(3)}, "no value for S"),
        (VALUES, {}, "no initial value for w"),
        (VALUES, {"w": np.zeros(4)}, "dimension N is 4 in w but 3 in S"),
        ({**VALUES, "S": np.ones((3, 5))}, {"w": np.zeros(3)}, "S has shape (3, 5)"),
        ({**VALUES, "eta": [0.1, 0.2]}, {"w": np.zeros(3)}, "eta has shape (2,)"),
        ({**VALUES, "eat": 0.1}, {"w": np.zeros(3)}, "value eat is not declared"),
        (VALUES, {"w": [0, 0, np.nan]}, "NaN"),
        ({**VALUES, "S": np.ones((3, 6))}, {"w": np.zeros(3)}, "break the fact"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(values, state, message):
    with pytest.raises(BindingError) as error:
        simulate(GOOD, values, state, 1)
    assert message in str(error.value)


def test_sizes_come_from_arrays_and_composite_dimensions_are_exact():
    plan = read_plan(GOOD)
    sizes = sizes_of(plan, VALUES, {"w": np.zeros((3, 1))})
    assert sizes == {"N": 3}
    assert bind_values(plan, VALUES, sizes)["S"].shape == (3, 6)
    assert dimension(("mul", ("frac", 1, 2), ("add", "N", 1)), sizes) == 2
    with pytest.raises(BindingError, match="positive integer"):
        dimension(("mul", ("frac", 1, 2), "N"), sizes)
