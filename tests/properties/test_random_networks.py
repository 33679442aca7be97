"""Gradients, invariants and normal forms of 510 random networks of two to four layers.

Roads: the derived flow against central differences of a loss that `random_networks` evaluates in NumPy from the plain data of
the network; invariants along a flow that is integrated with complex-step slopes of that same loss; the flow of one spec against
that of a shuffled spec with other intermediate definitions.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import Phase, assume, find, given, note, settings
from hypothesis import strategies as st
from random_networks import (
    ANY,
    ITEMS,
    Layer,
    Network,
    draw_values,
    loss,
    margin,
    networks,
    pack,
    slopes,
    specification,
    speeds,
    unpack,
)
from scipy.integrate import solve_ivp

from derive import conserved, gradient_flow
from derive.matrices.evaluate import evaluate
from derive.system import Flow

EXAMPLES = 30  # for each ingredient
CLEAR = 1e-3  # distance from a kink at which differences with steps of 1e-5 see one branch only
COMPLEX = 1e-30j
PHASES = (Phase.explicit, Phase.generate, Phase.shrink)  # no tracing of lines, which takes minutes here
SHOWN = {  # what an ingredient is called when it is counted
    "turned": "transpose", "tied": "tie", "matrix": "gate", "entries": "gate", "head": "heads", "context": "contexts",
    "path": "paths", "eta": "rates", "pull": "penalty",
}  # fmt: skip


def gradient_error(net: Network, flow: Flow, seed: int) -> float:
    """Largest deviation of the derived rates from central differences, relative to the largest rate."""
    v = draw_values(net, seed)
    direct = -speeds(net, v) * slopes(net, v, pack(net, v), 1e-5)
    derived = [evaluate(flow.rhs[w], v, functions=flow.functions, sizes={"P": ITEMS}) for w in net.learned()]
    found = np.concatenate([np.ravel(d) for d in derived])
    return float(np.abs(found - direct).max() / (1 + np.abs(direct).max()))


def drift(net: Network, quantities: list, seed: int) -> float:
    """Largest change of any quantity while the weights move by about a fifth, relative to its size."""
    if not quantities:
        return 0.0
    v = draw_values(net, seed)
    start, eta = pack(net, v), speeds(net, v)

    def rhs(t, y):
        return -eta * slopes(net, v, y, COMPLEX)

    def kink(t, y):  # the flow may come to rest on a kink, where no method of high order makes progress
        return min(margin(net, {**v, **unpack(net, v, y)}), 1.0) - CLEAR / 10

    kink.terminal = True
    end = 0.2 * np.linalg.norm(start) / max(np.linalg.norm(rhs(0, start)), 1e-6)
    path = solve_ivp(rhs, (0, end), start, method="DOP853", rtol=1e-9, atol=1e-11, events=kink).y.T
    along = {**v, **unpack(net, v, path)}
    worst = 0.0
    for q in quantities:
        seen = np.asarray(evaluate(q, along, sizes={"P": ITEMS}))
        worst = max(worst, float(np.abs(seen - seen[0]).max() / (1 + np.abs(seen[0]).max())))
    return worst


def examine(net: Network, seed: int) -> int:
    """Number of invariants of a network that passes all three checks."""
    flow, other = gradient_flow(specification(net)), gradient_flow(specification(net, order=seed))
    assert gradient_error(net, flow, seed) <= 1e-6  # steps of 1e-5 leave 1e-10 of a third derivative, rounding 1e-11
    assert dict(flow.rhs) == dict(other.rhs)
    assert dict(flow.observables) == dict(other.observables)
    found = [c.expr for c in conserved(flow)]
    assert drift(net, found, seed) <= 1e-7  # rtol 1e-9 for a time in which nothing grows by more than ten
    return len(found)


@pytest.mark.parametrize("ingredient", ANY)
def test_gradients_invariants_and_order_of_terms(ingredient):
    """30 networks with each of 17 ingredients, and up to two more of any kind: 510 in all."""
    seen, kept = Counter(), []

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=PHASES)
    @given(net=networks(first=ingredient), seed=st.integers(0, 999))
    def every(net: Network, seed: int) -> None:
        assume(margin(net, draw_values(net, seed)) > CLEAR)
        try:
            kept.append(examine(net, seed))
        except AssertionError:
            note(f"\n{gradient_flow(specification(net))}")
            raise
        seen.update(net.ingredients())

    every()
    assert len(kept) >= EXAMPLES
    assert sum(n > 0 for n in kept) >= EXAMPLES // 5  # invariants are really there to be tested
    assert seen[SHOWN.get(ingredient, ingredient)] >= EXAMPLES // 5, seen  # the ingredient fitted


# The checks themselves --------------------------------------------------------------------------------------------------------

TWO = Network(widths=(0, 1, 2), paths=((Layer(weight="W00"), Layer(weight="W01")),), data="moments")
ODD = replace(TWO, paths=((Layer(weight="W00", bias=True, act="tanh"), Layer(weight="W01", turned=True)),), data="arrays")


@pytest.mark.parametrize("net", [TWO, ODD])
def test_a_wrong_gradient_and_a_wrong_invariant_are_seen(net):
    """Mutants: one rate is 1 % larger; a rate is taken for an invariant."""
    flow = gradient_flow(specification(net))
    wrong = flow.replace(rhs={**flow.rhs, "W01": flow.rhs["W01"] * Fraction(101, 100)})
    assert gradient_error(net, flow, 3) <= 1e-8
    assert gradient_error(net, wrong, 3) > 1e-3
    assert drift(net, [flow.rhs["W00"]], 3) > 1e-3  # a quantity that moves


def test_differences_and_complex_steps_agree():
    """Two roads to the slope of the plain loss: O(h^2) differences and a complex step."""
    for seed in range(3):
        v = draw_values(ODD, seed)
        y = pack(ODD, v)
        one, two = slopes(ODD, v, y, 1e-5), slopes(ODD, v, y, COMPLEX)
        np.testing.assert_allclose(one, two, atol=1e-8)  # rounding 1e-16 / 1e-5, with a margin


def test_a_counter_example_shrinks_to_the_ingredient_that_matters():
    """A loss that forgets biases: what is found is one network of two plain layers with one bias."""

    def forgets(net: Network) -> bool:
        v = draw_values(net, 0)
        bare = {w: np.zeros_like(x) if w.startswith("b") else x for w, x in v.items()}
        return abs(loss(net, v) - loss(net, bare)) > 1e-3

    quiet = settings(max_examples=200, derandomize=True, database=None, deadline=None)
    found = find(networks(), forgets, settings=quiet)
    assert found.ingredients() == {"bias"}
    assert len(found.paths[0]) == 2
    assert set(found.widths) == {0}
