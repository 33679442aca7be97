"""The tape: every operation's derivative against central differences, on random trees of the plan language.

Roads: reverse mode on the tape; finite differences of its own forward values, which NumPy alone computes.
"""

import math

import numpy as np
import pytest

from numerics.simulate import NotSimulable, read_plan
from numerics.simulate.interpret import Scope, evaluate
from numerics.simulate.plan import BUILTIN
from numerics.simulate.tape import constant
from numerics.simulate.tape_ops import FUNCTIONS

SIZES = {"n": 3, "m": 2}
FUNCTION = {"soft": {"variable": "z", "body": ["mul", "z", ["pow", ["add", 1, ["mul", "a", ["map", "sq", "z"]]], -1]]}}
DECLARED = read_plan(
    {"version": 1, "state": {"A": ["n", "n"], "B": ["n", "m"], "v": ["n", 1], "a": []}, "functions": FUNCTION, "rule": None}
    | {"rule": {"kind": "update", "blocks": [[[name, name] for name in ("A", "B", "v", "a")]]}}
)
STEP = 1e-6


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((3, 3)) + 4 * np.eye(3)
    return {"A": A, "B": rng.standard_normal((3, 2)), "v": 1 + rng.random((3, 1)), "a": np.array(0.7)}


def value(tree, at):
    scope = Scope(plan=DECLARED, sizes=SIZES, nodes={name: constant(x, x.ndim) for name, x in at.items()})
    return evaluate(tree, scope)


def dot(left, right):
    return ("trace", ("matmul", ("T", left), right))


def differences(tree, name, at):
    slope = np.zeros_like(at[name])
    for index in np.ndindex(slope.shape):
        values = []
        for sign in (1, -1):
            moved = {**at, name: at[name].copy()}
            moved[name][index] += sign * STEP
            values.append(float(value(tree, moved).value))
        slope[index] = (values[0] - values[1]) / (2 * STEP)
    return slope


TREES = {
    "product": dot(("matmul", "A", "B"), ("matmul", ("T", "A"), "B")),
    "inverse": dot("B", ("matmul", ("inv", "A"), "B")),
    "log det": ("map", "log", ("det", "A")),
    "hadamard": ("trace", ("matmul", ("T", ("had", "B", "B", ("ones", "n", "m"))), "B")),
    "stack": dot(("stack", "B", ("T", ("matmul", ("T", "B"), "A"))), ("stack", ("map", "tanh", "B"), "B")),
    "diag": ("trace", ("matmul", "A", ("diag", "v"), "A")),
    "scalar power": ("pow", ("add", 3, dot("v", "v")), ("mul", "a", ("frac", 1, 2))),
    "scaled": dot("v", ("mul", "a", ("map", "exp", ("pow", "a", 2)), ("matmul", "A", "v"))),
    "user's function": dot(("map", "soft", ("matmul", "A", "v")), "v"),
    "user's function of a number": ("map", "soft", ("mul", "a", dot("v", "v"))),
    "eye": ("trace", ("matmul", ("add", "A", ("mul", "a", ("eye", "n"))), "A")),
}


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("target", ["A", "B", "v", "a"])
def test_gradient_of_every_operation_is_the_slope(name, target):
    at = arrays()
    got = np.broadcast_to(value(("grad", TREES[name], target), at).value, at[target].shape)
    expected = differences(TREES[name], target, at)
    assert got == pytest.approx(expected, rel=1e-6, abs=1e-6)  # central differences: h^2 = 1e-12 times third derivatives ~ 1e3


@pytest.mark.parametrize("function", BUILTIN)
def test_gradient_of_every_function_is_the_slope(function):
    at = arrays(1)
    tree = dot(("map", function, "v"), "v")
    assert value(("grad", tree, "v"), at).value == pytest.approx(
        differences(tree, "v", at), rel=1e-7, abs=1e-8
    )  # as above, smooth


def test_a_second_gradient_is_the_slope_of_the_first():
    at = arrays(2)
    inner = ("grad", ("mul", ("map", "erf2", dot("v", "v")), dot("v", ("matmul", "A", "v"))), "v")
    tree = dot(inner, ("map", "soft", inner))
    for target in ("v", "A"):
        got = value(("grad", tree, target), at).value
        assert got == pytest.approx(differences(tree, target, at), rel=1e-5, abs=1e-5)  # h^2 times larger third derivatives


def test_stop_hides_the_history():
    at = arrays()
    assert value(("grad", ("mul", ("stop", "a"), "a"), "a"), at).value == pytest.approx(0.7)  # only the second factor counts
    assert value(("grad", ("stop", ("pow", "a", 2)), "a"), at).value == 0


def test_erf2_is_the_error_function_of_z_over_sqrt_two():
    assert float(value(("map", "erf2", ("frac", 1, 2)), {}).value) == pytest.approx(
        math.erf(0.5 / math.sqrt(2)), rel=1e-15
    )  # libm


def test_every_function_of_the_plan_is_on_the_tape():
    assert tuple(FUNCTIONS) == BUILTIN


@pytest.mark.parametrize(
    ("tree", "remedy"),
    [
        (("add", "B", "v"), "equal"),
        (("matmul", "B", "A"), "inner dimensions"),
        (("mul", "v", "v"), "dot(a, b)"),
        (("grad", "v", "v"), "dot(a, b)"),
        (("trace", "B"), "square"),
        (("had", "A", "B"), "equal"),
        (("root", "a"), "give it a name"),
        (("oo",), "finite"),
    ],
)
def test_what_has_no_meaning_is_refused_with_a_remedy(tree, remedy):
    with pytest.raises(NotSimulable) as error:
        value(tree, arrays())
    assert remedy in str(error.value)


def test_per_draw_gradients_are_the_gradients_of_single_draws():
    rng = np.random.default_rng(3)
    v, x = rng.standard_normal((3, 1)), rng.standard_normal((5, 3, 1))
    tree = ("grad", ("map", "tanh", dot("v", "B")), "v")

    def at(draws):
        nodes = {"v": constant(v[None, None], 2), "B": constant(draws, 2)}
        return evaluate(tree, Scope(plan=DECLARED, sizes=SIZES, nodes=nodes)).value

    together = at(x[None])
    for number in range(5):
        assert together[0, number] == pytest.approx(at(x[None, number : number + 1])[0, 0], rel=1e-14)  # same arithmetic
